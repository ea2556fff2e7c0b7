package schema

import (
	"testing"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// What the catalog says of a tenant is compared with its book before a file runs in the same round trip; where it is
// not so, nothing runs, and the tenant is looked at.
func TestOneRoundTripIsRefusedWhereTheTenantIsNotAsTheCatalogSays(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	l := b.catalog()
	tn := b.tenant("acme")
	l.enter(tn)
	must(t, b.Create(l.ctx(1), tn))
	_, err := b.Down(l.ctx(1), tn, 2)
	must(t, err)
	set, err := b.files()
	must(t, err)
	fence := int64(1)
	attempt := func(says int64) bool {
		t.Helper()
		tn := tn
		tn.Versions = map[string]int64{tenant.KindPostgres: says}
		conn, err := b.acquire(t.Context())
		must(t, err)
		defer conn.Release()
		before := b.state(tn)
		_, done, err := b.atOnce(l.ctx(fence), conn, tn, set, func(book map[int64]bool) ([]*migrationfile.File, error) { return set.Above(book, 3, true) })
		must(t, err)
		if after := b.state(tn); !done && after != before {
			t.Errorf("it was refused, and changed\n%s\nto\n%s", before, after)
		}
		return done
	}
	book := tn.Schema + ".goose_db_version"
	for _, c := range []struct {
		name, spoil, mend string
		says              int64
	}{
		{"the book has more", "SELECT", "SELECT", 1},
		{"the book has less", "DELETE FROM " + book + " WHERE version_id = 1", "INSERT INTO " + book + " (version_id, is_applied) VALUES (1, true)", 2},
		{"the book has another", "INSERT INTO " + book + " (version_id, is_applied) VALUES (77, true)", "DELETE FROM " + book + " WHERE version_id = 77", 2},
		{"a version is undone in the book", "INSERT INTO " + book + " (version_id, is_applied) VALUES (2, false)", "DELETE FROM " + book + " WHERE version_id = 2 AND NOT is_applied", 2},
		{"the book is gone", "ALTER TABLE " + book + " RENAME TO gone", "ALTER TABLE " + tn.Schema + ".gone RENAME TO goose_db_version", 2},
		{"the schema is somebody else's", "COMMENT ON SCHEMA " + tn.Schema + " IS 'tenantctl:other'", "COMMENT ON SCHEMA " + tn.Schema + " IS '" + mark(tn) + "'", 2},
		{"the catalog knows no version", "SELECT", "SELECT", 0},
	} {
		b.exec("%s", c.spoil)
		if attempt(c.says) {
			t.Errorf("%s: it was migrated all the same", c.name)
		}
		b.exec("%s", c.mend)
	}
	release := b.holdLock(tn)
	if attempt(2) {
		t.Error("it was migrated while another process was at work")
	}
	release()
	if fence = 0; attempt(2) {
		t.Error("it was migrated under a lease that has ended")
	}
	fence = 1
	b.exec("UPDATE %s SET tstamp = tstamp WHERE version_id = 1", book) // the order of the rows says nothing
	if !attempt(2) {
		t.Error("it was refused where all is as the catalog says")
	}
	if got := l.recorded(tn); got != "3 3" {
		t.Errorf("the catalog says %q", got)
	}
}
