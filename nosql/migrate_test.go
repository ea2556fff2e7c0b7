package nosql

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// steps is a folder of that many small migrations.
func steps(t *testing.T, numbers ...string) string {
	t.Helper()
	files := map[string]string{}
	for _, n := range numbers {
		files["0000"+n+"_s.up.json"] = `[{"create": "c` + n + `"}]`
		files["0000"+n+"_s.down.json"] = `[{"drop": "c` + n + `"}]`
	}
	return folder(t, files)
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
}

// migrated is a tenant at the newest version of the folder.
func migrated(t *testing.T, r *Resource) tenant.Tenant {
	t.Helper()
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	return ten
}

// seenByGolangMigrate reads the book with golang-migrate's own query and types (database/mongodb, Version).
func seenByGolangMigrate(t *testing.T, r *Resource, ten tenant.Tenant) (version int, dirty bool) {
	t.Helper()
	var info struct {
		Version int  `bson:"version"`
		Dirty   bool `bson:"dirty"`
	}
	err := plain(t).Database(ten.Database).Collection("schema_migrations").FindOne(t.Context(), bson.M{}).Decode(&info)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return -1, false
	}
	must(t, err)
	return info.Version, info.Dirty
}

// setByGolangMigrate writes the book as golang-migrate does (SetVersion).
func setByGolangMigrate(t *testing.T, ten tenant.Tenant, version int, dirty bool) {
	t.Helper()
	c := plain(t).Database(ten.Database).Collection("schema_migrations")
	must(t, c.Drop(t.Context()))
	_, err := c.InsertOne(t.Context(), bson.M{"version": version, "dirty": dirty})
	must(t, err)
}

func TestMovesUpAndDownAndTellsWhatItDid(t *testing.T) {
	r := direct(t, steps(t, "1", "2", "3"))
	ten := migrated(t, r)
	for _, c := range []struct {
		name string
		do   func() (tenant.Moved, error)
		want tenant.Moved
		seen int
	}{
		{"nothing to do", func() (tenant.Moved, error) { return r.Up(t.Context(), ten, tenant.Newest, false) }, tenant.Moved{From: 3, To: 3, Applied: 3}, 3},
		{"down to 1", func() (tenant.Moved, error) { return r.Down(t.Context(), ten, 1) }, tenant.Moved{From: 3, To: 1, Ran: []int64{3, 2}, Applied: 1}, 1},
		{"up to 2", func() (tenant.Moved, error) { return r.Up(t.Context(), ten, 2, false) }, tenant.Moved{From: 1, To: 2, Ran: []int64{2}, Applied: 2}, 2},
		{"up to an older one", func() (tenant.Moved, error) { return r.Up(t.Context(), ten, 1, false) }, tenant.Moved{From: 2, To: 2, Applied: 2}, 2},
		{"down to nothing", func() (tenant.Moved, error) { return r.Down(t.Context(), ten, 0) }, tenant.Moved{From: 2, To: 0, Ran: []int64{2, 1}, Applied: 0}, -1},
		{"down again", func() (tenant.Moved, error) { return r.Down(t.Context(), ten, 0) }, tenant.Moved{}, -1},
		{"up to the newest", func() (tenant.Moved, error) { return r.Up(t.Context(), ten, tenant.Newest, false) }, tenant.Moved{From: 0, To: 3, Ran: []int64{1, 2, 3}, Applied: 3}, 3},
	} {
		got, err := c.do()
		must(t, err)
		if got.From != c.want.From || got.To != c.want.To || got.Applied != c.want.Applied || !slices.Equal(got.Ran, c.want.Ran) {
			t.Errorf("%s: moved %+v, want %+v", c.name, got, c.want)
		}
		if v, dirty := seenByGolangMigrate(t, r, ten); v != c.seen || dirty {
			t.Errorf("%s: golang-migrate sees version %d (dirty %v), want %d", c.name, v, dirty, c.seen)
		}
	}
}

func TestGoesOnAtTheCommandThatFailed(t *testing.T) {
	dir := steps(t, "1")
	r, p := proxied(t, dir)
	ten := migrated(t, r)
	put(t, dir, "00002_two.up.json", `[
  {"insert": "c1", "documents": [{"n": 1}]},
  {"createIndexes": "c1", "indexes": [{"key": {"n": 1}, "name": "n", "unique": true}]},
  {"insert": "c1", "documents": [{"n": 2}]}
]`)
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if c.Name == "createIndexes" {
			return mongoproxy.Action{Reply: mongoproxy.Refusal(11000, "DuplicateKey", `E11000 duplicate key error collection: x.c1 index: n dup key: { n: "s3cret" }`)}
		}
		return mongoproxy.Action{}
	})
	moved, err := r.Up(t.Context(), ten, tenant.Newest, false)
	e := refuses(t, err, tenant.ErrMigration, "00002_two.up.json:3", "createIndexes c1", "goes on at command 2")
	if e.Code != "DuplicateKey" || e.Statement != "createIndexes c1" || strings.Contains(e.Msg, "s3cret") {
		t.Errorf("error is %+v", e)
	}
	if moved.To != 1 || moved.Applied != 1 || len(moved.Ran) != 0 {
		t.Errorf("moved %+v", moved)
	}
	if v, dirty := seenByGolangMigrate(t, r, ten); v != 2 || !dirty {
		t.Errorf("golang-migrate sees version %d, dirty %v", v, dirty)
	}
	st, err := r.Stat(t.Context(), ten)
	must(t, err)
	if st.Version != 1 || st.Stopped == nil || st.Stopped.String() != "00002_two.up.json stopped after command 1 of 3" {
		t.Errorf("stat is %+v", st)
	}
	vs, err := r.Versions(t.Context(), []tenant.Tenant{ten})
	must(t, err)
	if vs[0] != (tenant.Version{Presence: tenant.Ours, Version: 1, Applied: 1}) {
		t.Errorf("version is %+v", vs[0])
	}

	p.Intercept(nil)
	moved, err = r.Up(t.Context(), ten, tenant.Newest, false)
	must(t, err)
	if moved.To != 2 || !slices.Equal(moved.Ran, []int64{2}) {
		t.Errorf("moved %+v", moved)
	}
	n, err := r.db(ten).Collection("c1").CountDocuments(t.Context(), bson.D{})
	must(t, err)
	if n != 2 {
		t.Errorf("%d documents: the first insert ran again", n)
	}
}

// half is a tenant whose migration 2 stopped behind its first command.
func half(t *testing.T) (*Resource, tenant.Tenant, string) {
	t.Helper()
	dir := steps(t, "1", "3")
	r, p := proxied(t, dir)
	ten := newTenant(t)
	put(t, dir, "00002_two.up.json", `[{"create": "a"}, {"insert": "a", "documents": [{"_id": 1}]}]`)
	put(t, dir, "00002_two.down.json", `[{"drop": "a"}]`)
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if coll, _ := c.Body.Lookup("insert").StringValueOK(); coll == "a" {
			return mongoproxy.Action{Reply: mongoproxy.Refusal(2, "BadValue", "no")}
		}
		return mongoproxy.Action{}
	})
	refuses(t, r.Create(t.Context(), ten), tenant.ErrMigration, "00002_two.up.json:1: insert a: no")
	p.Intercept(nil)
	return r, ten, dir
}

func TestAFailedMigrationCanBePutRightBehindWhatRan(t *testing.T) {
	r, ten, dir := half(t)
	put(t, dir, "00002_two.up.json", `[{"create": "other"}, {"create": "b"}]`)
	_, err := r.Up(t.Context(), ten, tenant.Newest, false)
	refuses(t, err, tenant.ErrMigration, "00002_two.up.json was changed after its first 1 commands ran")
	put(t, dir, "00002_two.up.json", `[]`)
	_, err = r.Up(t.Context(), ten, tenant.Newest, false)
	refuses(t, err, tenant.ErrMigration, "was changed")
	put(t, dir, "00002_two.up.json", "[\n{\"create\":\"a\"},{\"create\":\"b\"}]")
	moved, err := r.Up(t.Context(), ten, tenant.Newest, false)
	must(t, err)
	if !slices.Equal(moved.Ran, []int64{2, 3}) || moved.To != 3 {
		t.Errorf("moved %+v", moved)
	}
}

func TestAFailedMigrationCanBeUndone(t *testing.T) {
	r, ten, _ := half(t)
	moved, err := r.Down(t.Context(), ten, 1)
	must(t, err)
	if !slices.Equal(moved.Ran, []int64{2}) || moved.To != 1 || moved.Applied != 1 {
		t.Errorf("moved %+v", moved)
	}
	names, err := r.collections(t.Context(), ten)
	must(t, err)
	if slices.Contains(names, "a") {
		t.Errorf("collections are %v", names)
	}
	if v, dirty := seenByGolangMigrate(t, r, ten); v != 1 || dirty {
		t.Errorf("golang-migrate sees version %d, dirty %v", v, dirty)
	}
}

func TestAHalfMigrationOutsideTheRangeIsRefused(t *testing.T) {
	r, ten, _ := half(t)
	_, err := r.Up(t.Context(), ten, 1, false)
	e := refuses(t, err, tenant.ErrMigration, "version 2 was begun (up) and not finished")
	if e.Code != "dirty" {
		t.Errorf("code is %q", e.Code)
	}
	_, err = r.Down(t.Context(), ten, 2)
	refuses(t, err, tenant.ErrMigration, "version 2 was begun (up) and not finished")
}

func TestAHalfUndoneMigrationCanBeDoneAgain(t *testing.T) {
	dir := folder(t, map[string]string{
		"1_a.up.json":   `[{"create": "a"}, {"create": "b"}]`,
		"1_a.down.json": `[{"drop": "a"}, {"drop": "b"}]`,
	})
	r, p := proxied(t, dir)
	ten := migrated(t, r)
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if coll, _ := c.Body.Lookup("drop").StringValueOK(); coll == "b" {
			return mongoproxy.Action{Reply: mongoproxy.Refusal(2, "BadValue", "no")}
		}
		return mongoproxy.Action{}
	})
	_, err := r.Down(t.Context(), ten, 0)
	refuses(t, err, tenant.ErrMigration, "1_a.down.json")
	if v, dirty := seenByGolangMigrate(t, r, ten); v != -1 || !dirty {
		t.Errorf("golang-migrate sees version %d, dirty %v", v, dirty)
	}
	vs, err := r.Versions(t.Context(), []tenant.Tenant{ten})
	must(t, err)
	if vs[0].Version != 0 {
		t.Errorf("version is %+v while it is half undone", vs[0])
	}
	p.Intercept(nil)
	moved, err := r.Up(t.Context(), ten, tenant.Newest, false)
	must(t, err)
	names, err := r.collections(t.Context(), ten)
	must(t, err)
	if moved.To != 1 || !slices.Contains(names, "a") || !slices.Contains(names, "b") {
		t.Errorf("moved %+v, collections %v", moved, names)
	}
}

func TestAFileBelowTheNewestNeedsToBeAskedFor(t *testing.T) {
	dir := steps(t, "1", "3")
	r := direct(t, dir)
	ten := migrated(t, r)
	put(t, dir, "00002_late.up.json", `[{"create": "late"}]`)
	put(t, dir, "00004_new.up.json", `[{"create": "new"}]`)
	before := content(t, plain(t), ten.Database)
	_, err := r.Up(t.Context(), ten, tenant.Newest, false)
	if e := refuses(t, err, tenant.ErrInvalid, "version 2 was added below version 3", "--out-of-order"); e.Code != "out_of_order" {
		t.Errorf("code is %q", e.Code)
	}
	if after := content(t, plain(t), ten.Database); after != before {
		t.Errorf("was changed to\n%s", after)
	}
	moved, err := r.Up(t.Context(), ten, tenant.Newest, true)
	must(t, err)
	if !slices.Equal(moved.Ran, []int64{2, 4}) || moved.Applied != 4 || moved.To != 4 {
		t.Errorf("moved %+v", moved)
	}
}

func TestDownNeedsEveryFileBeforeAnythingRuns(t *testing.T) {
	dir := steps(t, "1", "2", "3")
	must(t, os.Remove(filepath.Join(dir, "00002_s.down.json")))
	r := direct(t, dir)
	ten := migrated(t, r)
	before := content(t, plain(t), ten.Database)
	_, err := r.Down(t.Context(), ten, 1)
	if e := refuses(t, err, tenant.ErrInvalid, "version 2 has no down file"); e.Code != "no_down" {
		t.Errorf("code is %q", e.Code)
	}
	if after := content(t, plain(t), ten.Database); after != before {
		t.Errorf("was changed to\n%s", after)
	}
	_, err = r.Down(t.Context(), ten, 2)
	must(t, err)
}

func TestRefusesATargetThatNoFileHas(t *testing.T) {
	r := direct(t, steps(t, "1", "3"))
	ten := migrated(t, r)
	for _, to := range []int64{2, 9, -2} {
		_, err := r.Up(t.Context(), ten, to, false)
		refuses(t, err, tenant.ErrInvalid, "there is no migration with version", "the newest is 3")
		_, err = r.Down(t.Context(), ten, to)
		refuses(t, err, tenant.ErrInvalid, "there is no migration with version")
	}
	_, err := r.Down(t.Context(), ten, tenant.Newest)
	refuses(t, err, tenant.ErrInvalid, "there is no migration with version -1")
}

func TestRefusesABookThatKnowsMoreThanTheFiles(t *testing.T) {
	dir := steps(t, "1", "2")
	r := direct(t, dir)
	ten := migrated(t, r)
	for _, side := range []string{"up", "down"} {
		must(t, os.Remove(filepath.Join(dir, "00002_s."+side+".json")))
	}
	_, err := r.Up(t.Context(), ten, tenant.Newest, false)
	if e := refuses(t, err, tenant.ErrInvalid, "version 2 is applied, but there is no file for it"); e.Code != "unknown_version" {
		t.Errorf("code is %q", e.Code)
	}
	_, err = r.Down(t.Context(), ten, 0)
	refuses(t, err, tenant.ErrInvalid, "version 2 is applied")
	vs, err := r.Versions(t.Context(), []tenant.Tenant{ten})
	must(t, err)
	refuses(t, vs[0].Err, tenant.ErrInvalid, "version 2")
	if vs[0].Version != 2 || vs[0].Presence != tenant.Ours {
		t.Errorf("version is %+v", vs[0])
	}
}

func TestAgreesWithGolangMigrate(t *testing.T) {
	for _, c := range []struct {
		name    string
		at      int
		dirty   bool
		refusal string
		applied int
		ran     []int64 // by the next Up
	}{
		{name: "went on to a newer version", at: 4, applied: 4, ran: []int64{5}},
		{name: "went back", at: 1, applied: 1, ran: []int64{2, 3, 4, 5}},
		{name: "went back to nothing", at: -1, applied: 0, ran: []int64{1, 2, 3, 4, 5}},
		{name: "stopped in the middle", at: 4, dirty: true, refusal: "version 4 is dirty"},
		{name: "knows a version of another folder", at: 9, refusal: "version 9 is applied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := direct(t, steps(t, "1", "2", "3", "4", "5"))
			ten := migrated(t, r)
			_, err := r.Down(t.Context(), ten, 3)
			must(t, err)
			setByGolangMigrate(t, ten, c.at, c.dirty)
			vs, err := r.Versions(t.Context(), []tenant.Tenant{ten})
			must(t, err)
			if c.refusal != "" {
				if vs[0].Err == nil || !strings.Contains(vs[0].Err.Error(), c.refusal) {
					t.Errorf("versions say %v", vs[0].Err)
				}
				_, err = r.Up(t.Context(), ten, tenant.Newest, true)
				if err == nil || !strings.Contains(err.Error(), c.refusal) {
					t.Errorf("up says %v", err)
				}
				return
			}
			if vs[0].Applied != c.applied || vs[0].Version != int64(max(c.at, 0)) || vs[0].Err != nil {
				t.Errorf("version is %+v", vs[0])
			}
			moved, err := r.Up(t.Context(), ten, tenant.Newest, false)
			must(t, err)
			if !slices.Equal(moved.Ran, c.ran) {
				t.Errorf("ran %v, want %v", moved.Ran, c.ran)
			}
		})
	}
	t.Run("made the book alone", func(t *testing.T) {
		r := direct(t, steps(t, "1", "2", "3"))
		ten := migrated(t, r)
		_, err := r.own(ten).DeleteOne(t.Context(), bson.D{{Key: "_id", Value: progressID}})
		must(t, err)
		setByGolangMigrate(t, ten, 2, false)
		moved, err := r.Up(t.Context(), ten, tenant.Newest, false)
		must(t, err)
		if moved.From != 2 || !slices.Equal(moved.Ran, []int64{3}) || moved.Applied != 3 {
			t.Errorf("moved %+v", moved)
		}
	})
	t.Run("lost its book", func(t *testing.T) {
		r := direct(t, steps(t, "1", "2"))
		ten := migrated(t, r)
		must(t, r.versions(ten).Drop(t.Context()))
		_, err := r.Up(t.Context(), ten, tenant.Newest, false)
		refuses(t, err, tenant.ErrMigration, "is gone", "migrate force 2")
	})
}

func TestOneOfTwoProcessesMigratesAndTheOtherIsTold(t *testing.T) {
	dir := steps(t, "1")
	r := direct(t, dir)
	ten := migrated(t, r)
	put(t, dir, "00002_two.up.json", `[{"insert": "c1", "documents": [{"a": 1}]}]`)
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() {
			_, err := r.Up(context.Background(), ten, tenant.Newest, false)
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			refuses(t, err, tenant.ErrBusy, "another process is migrating")
		}
	}
	// One that took over from another at the same moment is refused too, and nobody is half done.
	_, err := r.Up(t.Context(), ten, tenant.Newest, false)
	must(t, err)
	if v, dirty := seenByGolangMigrate(t, r, ten); v != 2 || dirty {
		t.Errorf("golang-migrate sees version %d, dirty %v", v, dirty)
	}
}

func TestALateWriteOfAProcessThatWasTakenOverChangesNothing(t *testing.T) {
	for _, late := range []version{versionBook(2, true), versionBook(1, false), versionBook(0, true)} {
		r := direct(t, steps(t, "1", "2"))
		ten := migrated(t, r)
		must(t, r.writeVersion(t.Context(), ten, &book{}, late.Version, late.Dirty))
		vs, err := r.Versions(t.Context(), []tenant.Tenant{ten})
		must(t, err)
		if vs[0] != (tenant.Version{Presence: tenant.Ours, Version: 2, Applied: 2}) {
			t.Errorf("after %+v the version is %+v", late, vs[0])
		}
		moved, err := r.Up(t.Context(), ten, tenant.Newest, false)
		must(t, err)
		if v, dirty := seenByGolangMigrate(t, r, ten); v != 2 || dirty || len(moved.Ran) != 0 {
			t.Errorf("after %+v golang-migrate sees version %d (dirty %v); ran %v", late, v, dirty, moved.Ran)
		}
	}
}

func TestANewFileIsPickedUpByTheSameResource(t *testing.T) {
	dir := steps(t, "1")
	r := direct(t, dir)
	ten := migrated(t, r)
	want := map[string]bool{"c1": true}
	for _, n := range []string{"2", "3"} {
		put(t, dir, "0000"+n+"_s.up.json", `[{"create": "c`+n+`"}]`)
		_, err := r.Up(t.Context(), ten, tenant.Newest, false)
		must(t, err)
		want["c"+n] = true
	}
	names, err := r.collections(t.Context(), ten)
	must(t, err)
	names = slices.DeleteFunc(names, isBook)
	if !slices.Equal(names, slices.Sorted(maps.Keys(want))) {
		t.Errorf("collections are %v", names)
	}
}
