package schema

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// objectsUnlinked is how many large objects one transaction takes away: each takes one of the server's locks.
const objectsUnlinked = 500

// heldObject is one that a drop may take away.
type heldObject struct {
	number string
	owner  string
	shared bool // others may know it
}

// dropObjects takes away the large objects of a tenant: those that its role owns, that bear its mark, and those that its
// columns refer to and that its schema's owner owns, or the provisioning role where the tenant's role has rights on them.
// What columns of other schemas refer to stays, and is the provisioning role's then.
func (r *Resource) dropObjects(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant) error {
	held, err := r.heldObjects(ctx, conn, t)
	if err != nil || len(held) == 0 {
		return err
	}
	stay, err := r.objectsUsedElsewhere(ctx, conn, t, held)
	if err != nil {
		return err
	}
	byOwner := map[string][2][]string{}
	for _, o := range held {
		lists, i := byOwner[o.owner], 0
		if stay[o.number] {
			i = 1
		}
		lists[i] = append(lists[i], o.number)
		byOwner[o.owner] = lists
	}
	for owner, lists := range byOwner {
		if err := r.unlink(ctx, conn, t, owner, lists[0]); err != nil {
			return err
		}
		if owner == t.Role {
			if err := r.keepObjects(ctx, conn, t, lists[1]); err != nil {
				return err
			}
		}
	}
	return tenant.Checkpoint(ctx, "postgres/large-objects-dropped")
}

// heldObjects lists what may be taken away.
func (r *Resource) heldObjects(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant) (held []heldObject, err error) {
	defer rollback(ctx, conn)
	pg := conn.Conn().PgConn()
	p, any := new(place), false
	look0 := cmd("SELECT FROM pg_largeobject_metadata LIMIT 1")
	look0.row = func([][]byte) { any = true }
	opening := append([]command{cmd("BEGIN READ ONLY")}, r.readSettings(t, major(pg))...)
	if err := send(ctx, pg, append(opening, look(t, p), look0)); err != nil || !any {
		return nil, failure("look for large objects", err)
	}
	refs := "SELECT 0::oid AS n WHERE false"
	if p.schema == tenant.Ours {
		columns, err := r.objectColumns(ctx, pg, t)
		if err != nil {
			return nil, err
		}
		if columns = readableOf(columns); len(columns) > 0 {
			refs = references(t.Schema, columns)
		}
	}
	role := ""
	if p.role == tenant.Ours {
		role = t.Role
	}
	c := cmd(heldObjectsSQL, text(role), text(t.Schema), text(mark(t)), refs)
	c.row = func(row [][]byte) { held = append(held, heldObject{string(row[0]), string(row[1]), is(row[2])}) }
	err = send(ctx, pg, []command{c})
	return held, failure("look for large objects of schema "+t.Schema, err)
}

const heldObjectsSQL = `WITH me AS (SELECT oid FROM pg_roles WHERE rolname = current_user), own AS (SELECT oid FROM pg_roles WHERE rolname = %[1]s),
sch AS (SELECT nspowner AS oid FROM pg_namespace WHERE nspname = %[2]s),
owned AS (SELECT s.objid AS oid FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM own) AND s.deptype = 'o'
	AND s.classid = 'pg_largeobject'::regclass AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())),
marked AS (SELECT o.oid FROM (` + ownObjects + `) o JOIN pg_description d ON d.objoid = o.oid AND d.classoid = 'pg_largeobject'::regclass AND d.objsubid = 0
	WHERE split_part(d.description, ' ', 1) = %[3]s),
referred AS (SELECT m.oid FROM (%[4]s) f JOIN pg_largeobject_metadata m ON m.oid = f.n
	WHERE m.lomowner = (SELECT oid FROM sch) AND m.lomowner <> (SELECT oid FROM me)
		OR m.lomowner = (SELECT oid FROM me) AND EXISTS (SELECT FROM aclexplode(m.lomacl) g WHERE g.grantee = (SELECT oid FROM own)))
SELECT m.oid, u.rolname, m.lomowner NOT IN (SELECT oid FROM me UNION SELECT oid FROM own)
	OR EXISTS (SELECT FROM aclexplode(m.lomacl) g WHERE g.grantee <> m.lomowner AND g.grantee NOT IN (SELECT oid FROM own))
FROM (SELECT oid FROM owned UNION SELECT oid FROM marked UNION SELECT oid FROM referred) q
	JOIN pg_largeobject_metadata m ON m.oid = q.oid JOIN pg_roles u ON u.oid = m.lomowner ORDER BY m.oid`

// objectsUsedElsewhere are those, of objects that others may know, to which columns in other schemas refer.
func (r *Resource) objectsUsedElsewhere(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, held []heldObject) (map[string]bool, error) {
	var shared []string
	for _, o := range held {
		if o.shared {
			shared = append(shared, o.number)
		}
	}
	used := map[string]bool{}
	if len(shared) == 0 {
		return used, nil
	}
	defer rollback(ctx, conn)
	pg := conn.Conn().PgConn()
	type other struct {
		objectColumn
		schema string
	}
	var others []other
	c := cmd(objectColumnsElsewhere, text(t.Schema), textArray(r.cfg.LargeObjectColumns))
	c.row = func(row [][]byte) {
		others = append(others, other{objectColumn{string(row[1]), string(row[2]), string(row[3]), is(row[4])}, string(row[0])})
	}
	opening := append([]command{cmd("BEGIN READ ONLY")}, r.readSettings(t, major(pg))...)
	if err := send(ctx, pg, append(opening, c)); err != nil {
		return nil, failure("look for other references to large objects", err)
	}
	for _, o := range others {
		if !o.readable {
			r.warn(fmt.Sprintf("large objects of schema %s that others may know are left: table %s.%s may not be read, and may refer to them", t.Schema, o.schema, o.table))
			for _, number := range shared {
				used[number] = true
			}
			return used, nil
		}
		c := cmd("SELECT DISTINCT n FROM (%s) q WHERE n = ANY ('{%s}'::pg_catalog.oid[])", o.values(o.schema), strings.Join(shared, ","))
		c.row = func(row [][]byte) { used[string(row[0])] = true }
		if err := send(ctx, pg, []command{c}); err != nil {
			return nil, failure(fmt.Sprintf("look for references to large objects in table %s.%s", o.schema, o.table), err)
		}
	}
	return used, nil
}

const objectColumnsElsewhere = `SELECT n.nspname, c.relname, a.attname, format_type(y.oid, NULL), has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	CROSS JOIN LATERAL (WITH RECURSIVE b AS (SELECT a.atttypid AS oid
		UNION ALL SELECT t.typbasetype FROM b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype = 'd')
		SELECT t.oid FROM b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype <> 'd') y
WHERE c.relkind = 'r' AND a.attgenerated = '' AND n.nspname <> %[1]s AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'tenantctl')
	AND (y.oid = 'oid'::regtype OR y.oid IN ('text'::regtype, 'varchar'::regtype, 'int4'::regtype, 'int8'::regtype) AND EXISTS (
		SELECT FROM (SELECT c.oid AS relid UNION SELECT relid FROM pg_partition_ancestors(c.oid)) u
		JOIN pg_class v ON v.oid = u.relid WHERE v.relname || '.' || a.attname = ANY (%[2]s)))
ORDER BY 1, 2, 3`

// unlink takes objects away that a role owns, or that are gone.
func (r *Resource) unlink(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, owner string, numbers []string) error {
	for some := range slices.Chunk(numbers, objectsUnlinked) {
		err := r.transact(ctx, conn, t, nil, func(*place) ([]command, error) {
			commands := asRole(owner, r.pool.Config().ConnConfig.User)
			return append(commands, cmd(`SELECT pg_catalog.lo_unlink(m.oid) FROM pg_catalog.pg_largeobject_metadata m
WHERE m.oid = ANY ('{%s}'::pg_catalog.oid[]) AND m.lomowner = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = %s)`, strings.Join(some, ","), text(owner))), nil
		})
		if err != nil {
			return refusal("unlink large objects of schema "+t.Schema, conn, t, err)
		}
	}
	return nil
}

// asRole lets a transaction act for another role than the provisioning one.
func asRole(role, self string) []command {
	if role == self {
		return nil
	}
	return []command{cmd("GRANT %s TO CURRENT_USER", quote(role)), cmd("SET LOCAL ROLE %s", quote(role))}
}

// keepObjects gives objects of the tenant's role to the provisioning one.
func (r *Resource) keepObjects(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, numbers []string) error {
	for some := range slices.Chunk(numbers, objectsUnlinked) {
		err := r.transact(ctx, conn, t, nil, func(*place) ([]command, error) {
			commands := []command{cmd("GRANT %s TO CURRENT_USER", quote(t.Role))}
			for _, number := range some {
				commands = append(commands, cmd("ALTER LARGE OBJECT %s OWNER TO CURRENT_USER", number))
			}
			return commands, nil
		})
		if err != nil {
			return refusal("keep large objects of schema "+t.Schema, conn, t, err)
		}
	}
	if len(numbers) > 0 {
		r.warn(fmt.Sprintf("large objects of role %s stay, and are the provisioning role's now: other schemas refer to them: %s", t.Role, listed(numbers)))
	}
	return nil
}

// unlinkMarked takes away what bears the tenant's mark.
func (r *Resource) unlinkMarked(ctx context.Context, t tenant.Tenant) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var numbers []string
	for _, kind := range []string{objectOfRole, objectKept} {
		c := cmd(markedObjects, text(mark(t)+kind), "0", 1<<31-1)
		c.row = func(row [][]byte) { numbers = append(numbers, string(row[0])) }
		if err := send(ctx, conn.Conn().PgConn(), []command{c}); err != nil {
			return failure("look for large objects of schema "+t.Schema, err)
		}
	}
	return r.unlink(ctx, conn, t, r.pool.Config().ConnConfig.User, numbers)
}
