package schema

import (
	"strings"
	"testing"
)

// What no backup carries is told of: by its owner, and by each kind of column that refers to it.
func TestLargeObjectsAreToldOf(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, `CREATE TABLE files (a oid, "B" oid, n int); CREATE DOMAIN lo AS oid; CREATE TABLE more (c lo);`))
	tn, other := b.created("acme"), b.created("globex")
	told := func(want string) {
		t.Helper()
		notes, err := b.Uncarried(t.Context(), tn)
		must(t, err)
		if got := strings.ReplaceAll(strings.Join(notes, "; "), tn.Role, "ROLE"); got != want {
			t.Errorf("told of %q, want %q", got, want)
		}
	}
	told("")
	conn := b.as(tn)
	for _, sql := range []string{
		"INSERT INTO files VALUES (1, 2, 3)", `INSERT INTO files ("B") VALUES (lo_from_bytea(0, 'x')), (lo_from_bytea(0, 'y'))`,
		"INSERT INTO more VALUES (lo_from_bytea(0, 'z'))", "SELECT lo_from_bytea(0, 'nobody refers to it')",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	told(`large objects of role ROLE are not carried: 4; large objects that column files."B" refers to are not carried: 2; ` +
		`large objects that column more.c refers to are not carried: 1`)
	if notes, err := b.Uncarried(t.Context(), other); err != nil || len(notes) > 0 {
		t.Errorf("the other tenant has %v, %v", notes, err)
	}
	warned := false
	for _, c := range b.Doctor(t.Context()) {
		warned = warned || c.Name == "large objects" && strings.HasPrefix(c.Message, "4 are in the database")
	}
	if !warned {
		t.Error("doctor does not say so")
	}
}
