package nosql

import (
	"context"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tenantctl/tenantctl/tenant"
)

// version is golang-migrate's own version book: the one document of schema_migrations.
type version struct {
	Version int64  `bson:"version"` // -1 where all was undone
	Dirty   bool   `bson:"dirty"`
	By      string `bson:"by,omitempty"` // tenantctl; golang-migrate neither reads nor keeps it
}

const (
	nilVersion = -1
	ourHand    = "tenantctl"
	readers    = 8 // books read at once
)

// progress is what golang-migrate does not keep: which versions are applied, and how far the one at work got.
type progress struct {
	ID       string   `bson:"_id"`
	Revision int64    `bson:"revision"` // raised at every write, so that of two writers one fails
	Applied  []int64  `bson:"applied"`  // ascending; wholly applied
	Running  *running `bson:"running,omitempty"`
}

// running is a migration that was begun and is not finished.
type running struct {
	Version   int64  `bson:"version"`
	Direction string `bson:"direction"`
	Step      int    `bson:"step"`     // how many of its commands are done
	Done      string `bson:"done"`     // fingerprint of those commands
	Renaming  bool   `bson:"renaming"` // the next one is a rename whose source was there
}

// Directions, as in the names of the files.
const (
	up   = "up"
	down = "down"
)

// book is both, as read.
type book struct {
	kept     bool // progress has been written
	progress progress
	version  *version // nil where golang-migrate would see none

	announced bool    // the migration that comes next is in progress already
	finished  []int64 // what was applied when the last migration had ended
}

// after is what is applied when a migration has ended.
func (b *book) after(v int64, direction string) []int64 {
	if direction == down {
		return without(b.progress.Applied, v)
	}
	return with(b.progress.Applied, v)
}

// firstBook is that of a database that is made, in which a migration is at work.
func firstBook(m migration) book {
	return book{announced: true, progress: progress{ID: progressID, Revision: 1, Applied: []int64{}, Running: &running{Version: m.version, Direction: up}}}
}

// announce puts into the progress that a migration is at work: what is being undone is not applied any more.
func (b *book) announce(v int64, direction string, run *running) {
	if direction == down {
		b.progress.Applied = without(b.progress.Applied, v)
	}
	b.progress.Running = run
}

// applied lists the versions that are wholly applied, in ascending order. With an error, the list is the best there
// is; files may be nil where they cannot be read.
func (b book) applied(files []migration) ([]int64, error) {
	list := b.progress.Applied
	if b.progress.Running == nil {
		var err error
		if list, err = b.reconciled(files); err != nil {
			return list, err
		}
	}
	for _, v := range list {
		if files != nil && find(files, v) == nil {
			return list, coded(tenant.ErrInvalid, "unknown_version", "use the newer folder of migrations, or the newer release of the application",
				"version %d is applied, but there is no file for it", v)
		}
	}
	return list, nil
}

// reconciled takes in what golang-migrate did since, which knows one number only: everything up to it is applied. What
// tenantctl wrote into its book says nothing that the list does not know better, even where a process that was taken
// over wrote it late.
func (b book) reconciled(files []migration) ([]int64, error) {
	list := b.progress.Applied
	switch {
	case b.kept && b.version != nil && b.version.By == ourHand:
		return list, nil
	case b.version == nil && len(list) == 0:
		return nil, nil
	case b.version == nil:
		return list, refused(tenant.ErrMigration, fmt.Sprintf("put it back with golang-migrate: migrate force %d", newest(list)),
			"the version in schema_migrations is gone, but version %d was applied", newest(list))
	case b.version.Dirty:
		return list, coded(tenant.ErrMigration, "dirty", "repair the database by hand, then: migrate force VERSION",
			"version %d is dirty: it was begun by golang-migrate and not finished", b.version.Version)
	}
	at := max(b.version.Version, 0)
	if at < newest(list) {
		return slices.DeleteFunc(slices.Clone(list), func(v int64) bool { return v > at }), nil
	}
	merged := slices.Clone(list)
	for _, f := range files {
		if f.version > newest(list) && f.version <= at {
			merged = append(merged, f.version)
		}
	}
	if newest(merged) < at {
		merged = append(merged, at) // no file knows it, which the caller sees
	}
	return merged, nil
}

// newest is the highest of ascending versions; 0 where there is none.
func newest(versions []int64) int64 {
	if len(versions) == 0 {
		return 0
	}
	return versions[len(versions)-1]
}

func with(versions []int64, v int64) []int64 {
	i, found := slices.BinarySearch(versions, v)
	if found {
		return versions
	}
	return slices.Insert(slices.Clone(versions), i, v)
}

func without(versions []int64, v int64) []int64 {
	return slices.DeleteFunc(slices.Clone(versions), func(o int64) bool { return o == v })
}

// writeProgress replaces the document that was read, and fails where another process wrote it meanwhile.
func (r *Resource) writeProgress(ctx context.Context, t tenant.Tenant, b *book) error {
	read := b.progress.Revision
	b.progress.ID = progressID
	b.progress.Revision++
	if b.progress.Applied == nil {
		b.progress.Applied = []int64{}
	}
	const doing = "write the progress of the migration"
	if !b.kept {
		err := write(ctx, func(ctx context.Context) error {
			_, err := r.own(t).InsertOne(ctx, b.progress)
			return err
		})
		if mongo.IsDuplicateKeyError(err) {
			return overtaken()
		}
		b.kept = err == nil
		return failure(doing, err)
	}
	return failure(doing, write(ctx, func(ctx context.Context) error {
		res, err := r.own(t).ReplaceOne(ctx, bson.D{{Key: "_id", Value: progressID}, {Key: "revision", Value: read}}, b.progress)
		if err == nil && res.MatchedCount == 0 {
			return overtaken()
		}
		return err
	}))
}

func overtaken() error {
	return refused(tenant.ErrBusy, "wait until it is done, then run the same command again", "another process is migrating this database")
}

// versionBook is what golang-migrate would write.
func versionBook(at int64, dirty bool) version {
	if at == 0 {
		at = nilVersion
	}
	return version{Version: at, Dirty: dirty, By: ourHand}
}

// replaceVersion writes golang-migrate's book where it says what is expected, and tells whether it did.
func (r *Resource) replaceVersion(ctx context.Context, t tenant.Tenant, b *book, expected, v version) (done bool, err error) {
	err = write(ctx, func(ctx context.Context) error {
		res, err := r.versions(t).UpdateOne(ctx, expected, bson.D{{Key: "$set", Value: v}})
		done = err == nil && res.MatchedCount > 0
		return err
	})
	if done {
		b.version = &v
	}
	return done, failure("write schema_migrations", err)
}

// writeVersion keeps golang-migrate's book, without the moment between drop and insert that its own driver has.
func (r *Resource) writeVersion(ctx context.Context, t tenant.Tenant, b *book, at int64, dirty bool) error {
	v := versionBook(at, dirty)
	if b.version != nil && *b.version == v {
		return nil
	}
	err := write(ctx, func(ctx context.Context) error {
		_, err := r.versions(t).UpdateOne(ctx, bson.D{}, bson.D{{Key: "$set", Value: v}}, options.UpdateOne().SetUpsert(true))
		return err
	})
	if err != nil {
		return failure("write schema_migrations", err)
	}
	b.version = &v
	return nil
}

// Versions reads the books of many tenants, a few at a time.
func (r *Resource) Versions(ctx context.Context, ts []tenant.Tenant) ([]tenant.Version, error) {
	files, err := r.load()
	if err != nil {
		return nil, err
	}
	out := make([]tenant.Version, len(ts))
	_ = each(ctx, len(ts), func(ctx context.Context, i int) error {
		out[i] = r.versionOf(ctx, ts[i], files)
		return nil // each tenant has an error of its own
	})
	return out, failure("read versions", ctx.Err())
}

func (r *Resource) versionOf(ctx context.Context, t tenant.Tenant, files []migration) tenant.Version {
	s, err := r.look(ctx, t)
	if err != nil {
		return tenant.Version{Err: err}
	}
	applied, err := s.book.applied(files)
	return tenant.Version{Presence: s.presence, Version: newest(applied), Applied: len(applied), Err: err}
}
