// Package nosql keeps a tenant's documents: one MongoDB database and one user each, brought to a version by
// golang-migrate's command files.
//
// Two collections in each tenant's database are tenantctl's: "tenantctl" holds whose the database is and how far a
// migration got, and "schema_migrations" is golang-migrate's own version book. Two processes never migrate one tenant
// at once: the lease of the operation forbids it, and every write of the book names the revision that it replaces.
package nosql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/tenantctl/tenantctl/tenant"
)

// The values of Config.Users.
const (
	UsersAuto    = "auto"    // a user per tenant where the server keeps users
	UsersRequire = "require" // a server without users is refused
	UsersNone    = "none"    // never asked for
)

// Config says how MongoDB is reached and used.
type Config struct {
	URL     string
	Users   string        // UsersAuto where empty
	Dir     string        // folder of the migrations
	Timeout time.Duration // to find a server and to connect; 10 s where zero
	Version string        // of MongoDB, that Check judges the files for; empty: that of the server, where there is a client

	Monitor *event.CommandMonitor // sees every command; nil for none
	Warn    func(string)          // takes what a person must not miss, from many goroutines; may be nil
}

// Resource is the MongoDB database of a tenant. It is safe for use by many goroutines.
type Resource struct {
	client  *mongo.Client
	cfg     Config
	concern bson.D // of the writes that are commands
	parsed  sides
	listing listing
	waits   sync.Once // for the routers of a cluster, which is told once
	sleep   func(context.Context, time.Duration) error
}

var (
	_ tenant.Baseliner    = (*Resource)(nil)
	_ tenant.Rehearser    = (*Resource)(nil)
	_ tenant.Prober       = (*Resource)(nil)
	_ tenant.Migrator     = (*Resource)(nil)
	_ tenant.Locker       = (*Resource)(nil)
	_ tenant.Credentialer = (*Resource)(nil)
	_ tenant.Shell        = (*Resource)(nil)
	_ tenant.Verifier     = (*Resource)(nil)
	_ tenant.Vacancy      = (*Resource)(nil)
)

// New is the resource on a client that Open made with the same Config.
func New(client *mongo.Client, cfg Config) *Resource {
	r := &Resource{client: client, cfg: cfg, concern: concernOf(writeconcern.Majority()), sleep: pause}
	if opts, err := clientOptions(cfg); err == nil { // Open has refused others
		r.concern = concernOf(opts.WriteConcern)
	}
	return r
}

// Kind is "mongodb".
func (r *Resource) Kind() string { return tenant.KindMongoDB }

// The collections of a tenant's database that are no documents of the tenant.
const (
	ownCollection     = "tenantctl"
	versionCollection = "schema_migrations"     // golang-migrate's
	lockCollection    = "migrate_advisory_lock" // golang-migrate's
	ownerID           = "owner"
	progressID        = "progress"
)

func isBook(collection string) bool {
	return collection == ownCollection || collection == versionCollection || collection == lockCollection
}

// Create makes the database by writing whose it is, then its user, then brings it to the newest version.
func (r *Resource) Create(ctx context.Context, t tenant.Tenant) error {
	files, err := r.load()
	if err != nil {
		return err
	}
	s, err := r.look(ctx, t)
	if err != nil {
		return err
	}
	u, err := r.userBy(ctx, t, func() (string, error) { return s.without, nil })
	if err != nil {
		return err
	}
	if u.presence == tenant.Foreign {
		return foreignUser(t, "drop that user, or give this tenant another name")
	}
	if s.presence == tenant.Absent {
		s, err = r.claimWith(ctx, t, firstBook(files[0]))
	} else {
		err = s.ours(t)
	}
	if err != nil {
		return err
	}
	if err := tenant.Checkpoint(ctx, "mongodb/marked"); err != nil {
		return err
	}
	if u.kept {
		if err := r.ensureUser(ctx, t, u); err != nil {
			return err
		}
	}
	if err := tenant.Checkpoint(ctx, "mongodb/user-made"); err != nil {
		return err
	}
	// A create that crashed may find files that were added since; the database is new, so their order is no danger.
	_, err = r.upFrom(ctx, t, files, files[len(files)-1].version, true, s, nil)
	return err
}

// claim writes whose the database is. It decides between two who create at once: the mark has a fixed _id.
func (r *Resource) claim(ctx context.Context, t tenant.Tenant) error {
	_, err := r.claimWith(ctx, t, book{})
	return err
}

// claimWith is claim with a book that is announced, in the same write. The state is what is there then.
func (r *Resource) claimWith(ctx context.Context, t tenant.Tenant, b book) (state, error) {
	names, err := r.listing.names(ctx, r.client)
	if err != nil {
		return state{}, failure("list databases", err)
	}
	for _, name := range names {
		if name != t.Database && strings.EqualFold(name, t.Database) {
			return state{}, foreignByCase(t, fmt.Sprintf("database %q", name))
		}
	}
	docs := []any{bson.D{{Key: "_id", Value: ownerID}, {Key: "tenant", Value: t.ID.String()}}}
	if b.announced {
		docs = append(docs, b.progress)
	}
	err = write(ctx, func(ctx context.Context) error {
		_, err := r.own(t).InsertMany(ctx, docs)
		return err
	})
	switch {
	case err == nil:
		r.listing.add(t.Database)
		b.kept = b.announced
		return state{presence: tenant.Ours, marked: true, book: b}, nil
	case isCode(err, codeCaseCollision):
		return state{}, foreignByCase(t, "another database")
	case !mongo.IsDuplicateKeyError(err):
		return state{}, failure(fmt.Sprintf("mark database %q", t.Database), err)
	}
	s, err := r.look(ctx, t)
	if err != nil {
		return s, err
	}
	return s, s.ours(t)
}

// Vacant goes by the listing of all databases.
func (r *Resource) Vacant(ctx context.Context, t tenant.Tenant) (bool, error) {
	names, err := r.listing.names(ctx, r.client)
	return !slices.Contains(names, t.Database), failure("list databases", err)
}

// listing is the names of a server's databases, which many claims in a row look at. MongoDB itself refuses a name that
// differs by case alone: what others made meanwhile is in nobody's way.
type listing struct {
	mu   sync.Mutex
	at   time.Time
	list []string
}

// listingAge is how long a listing is good for: in a server of 1,000 databases each takes long.
const listingAge = time.Minute

func (l *listing) add(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, name)
}

func (l *listing) names(ctx context.Context, client *mongo.Client) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.at.IsZero() && time.Since(l.at) < listingAge {
		return slices.Clone(l.list), nil
	}
	began := time.Now()
	names, err := client.ListDatabaseNames(ctx, bson.D{})
	if err == nil {
		l.at, l.list = began, names
	}
	return slices.Clone(names), err
}

func foreignByCase(t tenant.Tenant, what string) error {
	return refused(tenant.ErrForeign, "MongoDB does not tell databases apart by case; give this tenant another name",
		"%s has the name of database %q but for upper and lower case", what, t.Database)
}

// collections lists the names in a tenant's database, without the server's own.
func (r *Resource) collections(ctx context.Context, t tenant.Tenant) ([]string, error) {
	names, err := r.db(t).ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return nil, failure("list collections", err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, "system.") })
	slices.Sort(names)
	return names, nil
}

// state is what a tenant's database says of itself.
type state struct {
	presence tenant.Presence // absent where there is nothing but, at most, an empty collection of ours
	marked   bool            // some tenant's mark is there; where it is foreign and there is none, its mark may be lost
	without  string          // why the server made no user
	book     book
	begun    bool // the version book says that a migration is at work, which this process begins
}

// ours refuses a database that is absent or somebody else's.
func (s state) ours(t tenant.Tenant) error {
	switch s.presence {
	case tenant.Absent:
		return refused(tenant.ErrMissing, "restore it, or delete the tenant", "database %q does not exist", t.Database)
	case tenant.Foreign:
		return refused(tenant.ErrForeign, "it is left as it is: drop or move it, or give this tenant another name",
			"database %q was not made for this tenant", t.Database)
	}
	return nil
}

// look reads the mark and the books of a tenant's database.
func (r *Resource) look(ctx context.Context, t tenant.Tenant) (state, error) {
	s, err := r.lookAtMarks(ctx, t)
	if err == nil {
		err = r.lookFurther(ctx, t, &s)
	}
	return s, err
}

// lookAtMarks reads the mark and the progress.
func (r *Resource) lookAtMarks(ctx context.Context, t tenant.Tenant) (state, error) {
	doing := fmt.Sprintf("read database %q", t.Database)
	both := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: bson.A{ownerID, progressID}}}}}
	cursor, err := r.own(t).Find(ctx, both, options.Find().SetLimit(2)) // so that the server keeps no cursor
	if err != nil {
		return state{}, failure(doing, err)
	}
	docs := make([]bson.Raw, 0, 2)
	for cursor.Next(ctx) { // All would make a decoder for each
		docs = append(docs, bytes.Clone(cursor.Current))
	}
	if err := errors.Join(cursor.Err(), cursor.Close(ctx)); err != nil {
		return state{}, failure(doing, err)
	}
	s := state{presence: tenant.Absent}
	for _, d := range docs {
		if id, _ := d.Lookup("_id").StringValueOK(); id == progressID {
			if err := bson.Unmarshal(d, &s.book.progress); err != nil {
				return state{}, refused(tenant.ErrMigration, "restore the collection tenantctl of that database", "the document progress of database %q is not readable", t.Database)
			}
			s.book.kept = true
			continue
		}
		s.presence = tenant.Foreign
		owner, _ := d.Lookup("tenant").StringValueOK()
		_, err := uuid.Parse(owner)
		if s.marked = err == nil; owner == t.ID.String() {
			s.presence, s.without = tenant.Ours, whyIn(d)
		}
	}
	return s, nil
}

// lookFurther reads golang-migrate's book of a database that is ours, and whether there is anything in one without a mark.
func (r *Resource) lookFurther(ctx context.Context, t tenant.Tenant, s *state) (err error) {
	switch s.presence {
	case tenant.Ours:
		s.book.version, err = r.version(ctx, t)
	case tenant.Absent:
		var names []string
		names, err = r.collections(ctx, t)
		// A server makes the collection before it writes the mark into it, and may crash between.
		if len(names) > 0 && (s.book.kept || !slices.Equal(names, []string{ownCollection})) {
			s.presence = tenant.Foreign
		}
	}
	return err
}

// CheckOwner fails where the tenant's database is missing, or bears another's ownership tag or none.
func (r *Resource) CheckOwner(ctx context.Context, t tenant.Tenant) error {
	s, err := r.look(ctx, t)
	if err != nil {
		return err
	}
	return s.ours(t)
}

// version reads golang-migrate's book; nil where there is none.
func (r *Resource) version(ctx context.Context, t tenant.Tenant) (*version, error) {
	var v version
	switch err := r.versions(t).FindOne(ctx, bson.D{}).Decode(&v); {
	case errors.Is(err, mongo.ErrNoDocuments):
		return nil, nil
	case err != nil:
		return nil, failure(fmt.Sprintf("read database %q", t.Database), err)
	}
	return &v, nil
}

// Stat reads what the server holds under the tenant's names.
func (r *Resource) Stat(ctx context.Context, t tenant.Tenant) (tenant.Stat, error) {
	st := tenant.Stat{Remains: []string{}, Users: []string{}}
	s, err := r.look(ctx, t)
	if err != nil {
		return st, err
	}
	u, err := r.user(ctx, t)
	if err != nil {
		return st, err
	}
	there, err := r.listed(ctx, t)
	if err != nil {
		return st, err
	}
	st.Presence = s.presence
	if s.presence == tenant.Absent {
		st.Presence = u.presence // what a drop has left, or somebody else's user in the way
	}
	if there {
		st.Remains = append(st.Remains, "database "+t.Database)
	}
	if s.presence == tenant.Foreign {
		st.NotOwned = append(st.NotOwned, "database "+t.Database)
	}
	if u.presence != tenant.Absent {
		st.Remains = append(st.Remains, "user "+t.Role)
	}
	if u.presence == tenant.Foreign {
		st.NotOwned = append(st.NotOwned, "user "+t.Role)
	}
	if u.presence == tenant.Ours {
		st.Users = append(st.Users, t.Role)
		st.Locked = len(u.roles) == 0
	}
	if !u.kept {
		st.Notes = append(st.Notes, u.note)
	}
	if s.presence != tenant.Ours {
		return st, nil
	}
	return st, r.measure(ctx, t, s.book, &st)
}

// measure fills in the version and the sizes of a database that is ours.
func (r *Resource) measure(ctx context.Context, t tenant.Tenant, b book, st *tenant.Stat) error {
	files, err := r.load()
	if err != nil {
		st.Notes = append(st.Notes, "the migrations cannot be read: "+err.Error())
	}
	applied, err := b.applied(files)
	if err != nil {
		st.Notes = append(st.Notes, err.Error())
	}
	st.Version, st.Applied = newest(applied), len(applied)
	if run := b.progress.Running; run != nil {
		st.Stopped = run.stopped(files)
	}
	names, err := r.collections(ctx, t)
	if err != nil {
		return err
	}
	for _, n := range names {
		if !isBook(n) {
			st.Objects++
		}
	}
	// Servers give these as any type of number, and old ones give no total.
	var size struct {
		Storage float64 `bson:"storageSize"`
		Index   float64 `bson:"indexSize"`
	}
	if err := r.db(t).RunCommand(ctx, bson.D{{Key: "dbStats", Value: 1}}).Decode(&size); err != nil {
		return failure("measure the database", err)
	}
	st.Bytes = int64(size.Storage + size.Index)
	return nil
}

func (r *Resource) db(t tenant.Tenant) *mongo.Database { return r.client.Database(t.Database) }

func (r *Resource) own(t tenant.Tenant) *mongo.Collection {
	return r.db(t).Collection(ownCollection)
}

func (r *Resource) versions(t tenant.Tenant) *mongo.Collection {
	return r.db(t).Collection(versionCollection)
}

// Client is the client that the resource works with.
func (r *Resource) Client() *mongo.Client { return r.client }
