package schema

import (
	"context"
	"fmt"

	"github.com/tenantctl/tenantctl/tenant"
)

// Uncarried tells which large objects a tenant has: they are outside every schema, and backups and clones leave them out.
func (r *Resource) Uncarried(ctx context.Context, t tenant.Tenant) (notes []string, err error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	defer rollback(ctx, conn)
	var columns, counts []string
	owned := "0"
	mine := cmd(ownedLargeObjects, text(t.Role))
	mine.row = func(row [][]byte) { owned = string(row[0]) }
	list := cmd(largeObjectColumns, text(quote(t.Schema)))
	list.row = func(row [][]byte) { columns, counts = append(columns, string(row[0])), append(counts, string(row[1])) }
	pg := conn.Conn().PgConn()
	opening := append([]command{cmd("BEGIN READ ONLY")}, r.readSettings(t, major(pg))...)
	if err := send(ctx, pg, append(opening, mine, list)); err != nil {
		return nil, failure("look for large objects of "+t.Schema, err)
	}
	if owned != "0" {
		notes = append(notes, fmt.Sprintf("large objects of role %s are not carried: %s", t.Role, owned))
	}
	for i, sql := range counts {
		found := "0"
		c := cmd("%s", sql)
		c.row = func(row [][]byte) { found = string(row[0]) }
		if err := send(ctx, pg, []command{c}); err != nil {
			return nil, failure("count the large objects of column "+columns[i], err)
		}
		if found != "0" {
			notes = append(notes, fmt.Sprintf("large objects that column %s refers to are not carried: %s", columns[i], found))
		}
	}
	return notes, failure("look for large objects", send(ctx, pg, []command{cmd("COMMIT")}))
}

// examineLargeObjects warns of what no backup carries.
func (r *Resource) examineLargeObjects(ctx context.Context, d *doctor) {
	conn, err := r.acquire(ctx)
	if err != nil {
		d.warn("large objects", err)
		return
	}
	defer conn.Release()
	n := "0"
	c := cmd("SELECT count(*) FROM pg_largeobject_metadata")
	c.row = func(row [][]byte) { n = string(row[0]) }
	if err := send(ctx, conn.Conn().PgConn(), []command{c}); err != nil {
		d.warn("large objects", failure("count large objects", err))
		return
	}
	if n != "0" {
		d.check("large objects", false, tenant.CheckWarning, "keep files in bytea columns or in an object store, or save them with pg_dump --blobs",
			"", "%s are in the database: backups and clones do not carry them", n)
	}
}

const ownedLargeObjects = `SELECT count(*) FROM pg_largeobject_metadata m JOIN pg_roles u ON u.oid = m.lomowner WHERE u.rolname = %s`

// largeObjectColumns are the columns of type oid, or of a domain over it such as lo, with the SQL that counts what they
// refer to.
const largeObjectColumns = `SELECT quote_ident(c.relname) || '.' || quote_ident(a.attname), format(
	'SELECT count(*) FROM pg_catalog.pg_largeobject_metadata WHERE oid IN (SELECT %%I::pg_catalog.oid FROM ONLY %%I.%%I)',
	a.attname, n.nspname, c.relname)
FROM pg_namespace n JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
	AND d.classid = 'pg_class'::regclass
	JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'r'
	JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	JOIN pg_type y ON y.oid = a.atttypid
WHERE n.oid = to_regnamespace(%s) AND (y.oid = 'oid'::regtype OR y.typbasetype = 'oid'::regtype) ORDER BY 1`
