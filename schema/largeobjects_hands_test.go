package schema

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

type closedBuffer struct{ bytes.Buffer }

func (*closedBuffer) Close() error { return nil }

// The provisioning role reads with the rights of the tenant's role, whatever a release lets it do by itself.
func TestAnExportHasAFileForEachLargeObject(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, objectTables), textColumns)
	tn, conn := b.withObjects("acme")
	files := map[string]*closedBuffer{}
	list, err := b.Export(t.Context(), tn, tenant.FormatCSV, func(name string) (io.WriteCloser, error) {
		files[name] = new(closedBuffer)
		return files[name], nil
	})
	must(t, err)
	if last := list[len(list)-1]; last.File != objectsFolder || last.Rows != 6 {
		t.Errorf("the dictionary tells of %+v", last)
	}
	rows, err := conn.Query(t.Context(), `SELECT n::text, lo_get(n) FROM (SELECT a FROM files UNION SELECT "B ""x""" FROM files UNION SELECT c FROM parted) q(n) WHERE n IS NOT NULL`)
	must(t, err)
	var number string
	var content []byte
	n := 0
	_, err = pgx.ForEachRow(rows, []any{&number, &content}, func() error {
		if f := files[objectsFolder+"/"+number]; f == nil || !bytes.Equal(f.Bytes(), content) {
			t.Errorf("the file of object %s is not what it holds", number)
		}
		n++
		return nil
	})
	must(t, err)
	if n != 5 {
		t.Errorf("%d objects were compared", n)
	}
	must(t, b.Drop(t.Context(), tn))
	if n := b.allObjects(); n != "0" {
		t.Errorf("after the tenant was dropped there are %s large objects", n)
	}
}

func TestLargeObjectsChangeHandsWithARestoreInPlace(t *testing.T) {
	t.Parallel()
	for who, as := range provisioners {
		t.Run(who, func(t *testing.T) { changeHands(t, newBench(t, one(t, objectTables), as)) })
	}
}

func changeHands(t *testing.T, b bench) {
	t.Helper()
	t.Parallel()
	tn, beside := b.created("acme"), b.tenant("acme-r1")
	withoutRole := b.over(b.cfg.Dir, func(c *Config) { c.Roles = false })
	must(t, withoutRole.Create(t.Context(), beside))
	conn := b.as(tn)
	// As the exchange leaves them: the old object is the role's and in the replaced schema, the new one is marked.
	old := scalar(t, conn, "SELECT lo_from_bytea(0, 'old')")
	now := b.scalar("SELECT lo_from_bytea(0, 'new')")
	b.exec("COMMENT ON LARGE OBJECT %s IS %s", now, text(mark(beside)+objectOfRole))
	b.exec("INSERT INTO %s.plain VALUES (1, %s); INSERT INTO %s.plain VALUES (1, %s)", tn.Schema, now, beside.Schema, old)
	for range 2 { // after a crash again
		must(t, b.SettleObjects(t.Context(), tn, beside))
		if is := scalar(t, conn, "SELECT convert_from(lo_get(n), 'UTF8') FROM plain"); is != "new" {
			t.Errorf("the tenant reads %q", is)
		}
		denied(t, conn, fmt.Sprintf("SELECT lo_get(%s)", old))
		if n := b.objectsOwnedBy(tn.Role); n != "1" {
			t.Errorf("the tenant's role owns %s large objects", n)
		}
	}
	must(t, b.Revive(t.Context(), beside))
	if n := b.objectsOwnedBy(beside.Role); n != "1" {
		t.Errorf("what was replaced, a tenant again, owns %s large objects", n)
	}
	must(t, b.Drop(t.Context(), beside))
	must(t, b.Drop(t.Context(), tn))
	if n := b.allObjects(); n != "0" {
		t.Errorf("after both were dropped there are %s large objects", n)
	}
}
