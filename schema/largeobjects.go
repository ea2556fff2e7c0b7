package schema

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantctl/tenantctl/tenant"
)

// Large objects are outside every schema: a tenant's are those that values of its columns refer to and that its role, or
// its schema's owner, may read. Columns of type oid, or of a domain over it such as lo, may hold such values, and those
// that postgres.large_object_columns names.

// objectColumn is a column whose values may be numbers of large objects.
type objectColumn struct {
	table, column string
	of            string // the type below all domains
	readable      bool   // by the provisioning role
}

// objectTypes are what such a column may be made of.
var objectTypes = []string{"oid", "text", "character varying", "integer", "bigint"}

// objectColumns reads the columns of the schema that may refer to large objects.
func (r *Resource) objectColumns(ctx context.Context, pg *pgconn.PgConn, t tenant.Tenant) (all []objectColumn, err error) {
	c := cmd(objectColumnsSQL, textArray([]string{t.Schema}), textArray(r.cfg.LargeObjectColumns))
	c.row = func(row [][]byte) {
		all = append(all, objectColumn{string(row[1]), string(row[2]), string(row[3]), is(row[4])})
	}
	if err := send(ctx, pg, []command{c}); err != nil {
		return nil, failure("look for columns that refer to large objects in schema "+t.Schema, err)
	}
	for _, c := range all {
		if !slices.Contains(objectTypes, c.of) {
			return nil, invalid("name columns of type oid, lo, text, varchar, integer or bigint in postgres.large_object_columns",
				"column %s.%s of schema %s is of type %s, which refers to no large object", c.table, c.column, t.Schema, c.of)
		}
	}
	return all, nil
}

// readableOf are the columns of tables that the provisioning role may read.
func readableOf(columns []objectColumn) []objectColumn {
	return slices.DeleteFunc(columns, func(c objectColumn) bool { return !c.readable })
}

// textArray is a list as SQL.
func textArray(list []string) string {
	quoted := make([]string, 0, len(list))
	for _, s := range list {
		quoted = append(quoted, text(s))
	}
	return "ARRAY[" + strings.Join(quoted, ", ") + "]::pg_catalog.text[]"
}

// A table is called as in the configuration where it is a partition of one that is.
const objectColumnsSQL = `SELECT s.name, c.relname, a.attname, format_type(y.oid, NULL), has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid),
	y.named OR y.oid <> 'oid'::regtype OR EXISTS (SELECT FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
		WHERE g.tgrelid = c.oid AND p.prosrc = 'lo_manage' AND p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')
			AND g.tgargs = convert_to(a.attname, getdatabaseencoding()) || '\x00')
FROM unnest(%[1]s) s(name) JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident(s.name)) AND d.classid = 'pg_class'::regclass
	JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'r'
	JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
	CROSS JOIN LATERAL (WITH RECURSIVE b AS (SELECT a.atttypid AS oid, false AS named
		UNION ALL SELECT t.typbasetype, b.named OR t.typname = 'lo' FROM b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype = 'd')
		SELECT t.oid, b.named FROM b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype <> 'd') y
WHERE NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
	AND (y.oid = 'oid'::regtype OR EXISTS (SELECT FROM (SELECT c.oid AS relid UNION SELECT relid FROM pg_partition_ancestors(c.oid)) u
		JOIN pg_class n ON n.oid = u.relid WHERE n.relname || '.' || a.attname = ANY (%[2]s)))
ORDER BY 1, 2, a.attnum`

// values is a query for the numbers in a column; what cannot be one is null. No code of the tenant's runs in it.
func (c objectColumn) values(schema string) string {
	from := "FROM ONLY " + quote(schema) + "." + quote(c.table)
	if c.of == "oid" {
		return fmt.Sprintf("SELECT %s::pg_catalog.oid AS n %s", quote(c.column), from)
	}
	return fmt.Sprintf(`SELECT CASE WHEN x ~ '^[1-9][0-9]{0,9}$' THEN CASE WHEN x::pg_catalog.int8 < 4294967296
	THEN x::pg_catalog.int8::pg_catalog.oid END END AS n FROM (SELECT %s::pg_catalog.text AS x %s) q`, quote(c.column), from)
}

// references is a query for each number in the columns, with the places of those that hold it in the list.
func references(schema string, columns []objectColumn) string {
	var each []string
	for i, c := range columns {
		each = append(each, fmt.Sprintf("SELECT %d AS k, n FROM (%s) c%[1]d", i, c.values(schema)))
	}
	return "SELECT n, pg_catalog.array_agg(DISTINCT k ORDER BY k) AS ks FROM (" + strings.Join(each, " UNION ALL ") +
		") u WHERE n <> 0 GROUP BY n"
}

// objectReaders is a query for whose rights count when a tenant's large objects are read: its role's, and those of the role
// that owns its schema where that is not the provisioning one, which reads for everybody; or where there is no role.
func (r *Resource) objectReaders(t tenant.Tenant) string {
	role := ""
	if r.hasRole(t) {
		role = t.Role
	}
	return fmt.Sprintf(objectReadersSQL, text(t.Schema), text(role), text(mark(t)))
}

const objectReadersSQL = `SELECT n.nspowner AS owner, me.oid AS me, own.oid AS role,
	CASE WHEN n.nspowner <> me.oid OR own.oid IS NULL THEN n.nspowner END AS second
FROM pg_namespace n JOIN pg_roles me ON me.rolname = current_user
	LEFT JOIN pg_roles own ON own.rolname = %[2]s AND split_part(shobj_description(own.oid, 'pg_authid'), ' ', 1) = %[3]s
WHERE n.nspname = %[1]s AND split_part(obj_description(n.oid, 'pg_namespace'), ' ', 1) = %[3]s`

// mayReadObject tells, as SQL, whether a reader may read large object m. The provisioning role may read only what it owns.
func mayReadObject(reader string) string {
	return fmt.Sprintf(`EXISTS (SELECT FROM aclexplode(coalesce(m.lomacl, acldefault('L', m.lomowner))) g WHERE g.privilege_type = 'SELECT'
	AND (g.grantee = 0 OR g.grantee = %[1]s OR %[1]s <> w.me AND pg_has_role(%[1]s, g.grantee, 'USAGE')))`, reader)
}

// LargeObjects tells how many large objects of a tenant backups and copies carry, and what they leave out.
func (r *Resource) LargeObjects(ctx context.Context, t tenant.Tenant) (found tenant.LargeObjects, err error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return found, err
	}
	defer conn.Release()
	defer rollback(ctx, conn)
	pg := conn.Conn().PgConn()
	any := false
	look := cmd("SELECT FROM pg_largeobject_metadata LIMIT 1")
	look.row = func([][]byte) { any = true }
	opening := append([]command{cmd("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")}, r.readSettings(t, major(pg))...)
	if err := send(ctx, pg, append(opening, look)); err != nil {
		return found, failure("look for large objects", err)
	}
	if !any {
		return found, nil
	}
	columns, err := r.objectColumns(ctx, pg, t)
	if err != nil {
		return found, err
	}
	for _, c := range columns {
		if !c.readable {
			found.Left = append(found.Left, fmt.Sprintf("large objects that column %s.%s may refer to: the provisioning role may not read the table", c.table, c.column))
		}
	}
	refs := "SELECT 0::oid AS n, NULL::int[] AS ks WHERE false"
	if columns = readableOf(columns); len(columns) > 0 {
		refs = references(t.Schema, columns)
	}
	count := func(format string, row [][]byte) {
		if n := string(row[0]); n != "0" {
			found.Left = append(found.Left, fmt.Sprintf(format, n))
		}
	}
	c := cmd(`WITH w AS MATERIALIZED (%s), f AS MATERIALIZED (%s)
SELECT (SELECT count(*) FROM pg_largeobject_metadata m CROSS JOIN w LEFT JOIN f ON f.n = m.oid WHERE m.lomowner = w.role AND f.n IS NULL),
	count(*) FILTER (WHERE NOT ok), count(*) FILTER (WHERE ok)
FROM (SELECT coalesce(%s OR %s, false) AS ok FROM f JOIN pg_largeobject_metadata m ON m.oid = f.n CROSS JOIN w) q`,
		r.objectReaders(t), refs, mayReadObject("w.role"), mayReadObject("w.second"))
	c.row = func(row [][]byte) {
		count("large objects of role "+t.Role+" to which no column refers: %s", row)
		count("large objects that columns refer to and the tenant may not read: %s", row[1:])
		_, _ = fmt.Sscan(string(row[2]), &found.Carried) // the server writes numbers
	}
	err = send(ctx, pg, []command{c, cmd("COMMIT")})
	return found, failure("look for large objects of schema "+t.Schema, err)
}

// examineLargeObjects tells that there are some, and which are carried.
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
		d.check("large objects", false, tenant.CheckWarning, "name text columns that refer to large objects in postgres.large_object_columns; vacuumlo removes objects to which nothing refers",
			"", "%s are in the database: backups and clones carry those that columns of type oid, of domains over it and in postgres.large_object_columns refer to, and no others", n)
	}
}
