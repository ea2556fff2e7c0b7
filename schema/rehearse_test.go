package schema

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// rehearsed gives what each file did.
func rehearsed(t *testing.T, b bench, tn tenant.Tenant) ([]tenant.RehearsedFile, error) {
	t.Helper()
	var files []tenant.RehearsedFile
	err := b.Rehearse(t.Context(), tn, tenant.Newest, false, func(f tenant.RehearsedFile) { files = append(files, f) })
	return files, err
}

func TestRehearsalTellsLocksAndRewritesOfWhatWasThere(t *testing.T) {
	t.Parallel()
	dir := copied(t, example)
	b := newBench(t, dir)
	tn := b.created("acme")
	shared := b.prefix + "shared"
	b.exec("CREATE SCHEMA %[1]s; CREATE TABLE %[1]s.countries (id int PRIMARY KEY)", shared)
	for name, up := range map[string]string{
		"00006_rewrite.sql": "ALTER TABLE customers ALTER COLUMN name TYPE varchar(300) USING (name || '');",
		"00007_catalog.sql": "ALTER TABLE customers ADD COLUMN note text DEFAULT 'x';",
		"00008_shared.sql":  "CREATE TABLE homes (country int REFERENCES " + shared + ".countries);",
		"00009_drop.sql":    "DROP TABLE homes;",
		"00010_index.sql":   "CREATE INDEX products_x ON products (name);",
		"00011_read.sql":    "INSERT INTO customers (email, name) SELECT 'a@example.com', 'A';",
	} {
		write(t, dir, name, "-- +goose Up\n"+up)
	}
	files, err := rehearsed(t, b.over(dir), tn)
	must(t, err)
	want := []string{
		"00006_rewrite.sql [{customers AccessExclusiveLock reads and writes}] [customers]",
		"00007_catalog.sql [{customers AccessExclusiveLock reads and writes}] []",
		"00008_shared.sql [{" + shared + ".countries ShareRowExclusiveLock writes}] []",
		"00009_drop.sql [{homes AccessExclusiveLock reads and writes} {" + shared + ".countries AccessExclusiveLock reads and writes}] []",
		"00010_index.sql [{products ShareLock writes}] []",
		"00011_read.sql [{customers RowExclusiveLock }] []",
	}
	for i, f := range files {
		got := fmt.Sprint(f.File, " ", f.Locks, " ", f.Rewritten)
		if i >= len(want) || got != want[i] || !f.Transaction || f.Failed || f.Store != tenant.KindPostgres || f.Version != int64(i+6) {
			t.Errorf("file %d is %+v, want %s", i+1, f, want[min(i, len(want)-1)])
		}
	}
	if len(files) != len(want) {
		t.Errorf("%d files were told of", len(files))
	}
	vs, err := b.over(dir).Versions(t.Context(), []tenant.Tenant{tn})
	must(t, err)
	if vs[0].Version != 11 || vs[0].Applied != 11 {
		t.Errorf("versions says %+v", vs[0])
	}
}

func TestRehearsalTellsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	dir := copied(t, example)
	b := newBench(t, dir)
	tn := b.created("acme")
	write(t, dir, "00006_index.sql", concurrently+"CREATE INDEX CONCURRENTLY customers_n ON customers (name);")
	write(t, dir, "00007_full.sql", concurrently+"VACUUM FULL customers;")
	write(t, dir, "00008_broken.sql", "-- +goose Up\nCREATE TABLE customers (id int);")
	write(t, dir, "00009_never.sql", "-- +goose Up\nCREATE TABLE never (id int);")
	files, err := rehearsed(t, b.over(dir), tn)
	refused(t, err, tenant.ErrMigration, "00008_broken.sql:2", "already exists")
	if len(files) != 3 {
		t.Fatalf("told of %+v", files)
	}
	if f := files[0]; f.Transaction || f.Failed || f.Locks == nil || len(f.Locks) != 0 || len(f.Rewritten) != 0 {
		t.Errorf("an index that is made concurrently is %+v", f)
	}
	if f := files[1]; f.Transaction || f.Failed || f.Locks != nil || !slices.Equal(f.Rewritten, []string{"customers"}) {
		t.Errorf("a full vacuum is %+v", f)
	}
	if f := files[2]; !f.Failed || f.File != "00008_broken.sql" {
		t.Errorf("the broken file is %+v", f)
	}
}

func TestSurveyTellsSizesAndStructures(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	a, like, other, gone := b.created("acme"), b.created("globex"), b.created("hooli"), b.tenant("gone")
	b.exec("INSERT INTO %s.customers (email, name) SELECT i || '@example.com', repeat('x', 100) FROM generate_series(1, 2000) i", a.Schema)
	b.exec("ALTER TABLE %s.customers ADD COLUMN nickname text", other.Schema)
	shapes, err := b.Survey(t.Context(), []tenant.Tenant{a, gone, like, other})
	must(t, err)
	if len(shapes) != 4 {
		t.Fatalf("%d answers to 4 questions", len(shapes))
	}
	if shapes[0].Structure != shapes[2].Structure || shapes[0].Structure == "" {
		t.Errorf("two that are alike are %q and %q", shapes[0].Structure, shapes[2].Structure)
	}
	if shapes[3].Structure == shapes[0].Structure {
		t.Error("one with another column looks the same")
	}
	if shapes[0].Bytes < shapes[2].Bytes+200_000 || shapes[2].Bytes <= 0 {
		t.Errorf("the full one has %d bytes, the empty one %d", shapes[0].Bytes, shapes[2].Bytes)
	}
	if shapes[1] != (tenant.Shape{}) {
		t.Errorf("one that is not there is %+v", shapes[1])
	}
}
