package schema

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// dropAtOnce is how many tables one transaction drops: each takes some ten of the server's locks, with its indexes.
const dropAtOnce = 50

// Drop takes away the schema and the role, which have to be this tenant's. Each carries its own mark to the end, so that a
// call after a crash goes on where the last one stopped.
func (r *Resource) Drop(ctx context.Context, t tenant.Tenant) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if err := r.shutOut(ctx, conn, t); err != nil {
		return refusal("lock out role "+t.Role, conn, t, err)
	}
	if err := tenant.Checkpoint(ctx, "postgres/shut-out"); err != nil {
		return err
	}
	if err := r.dropObjects(ctx, conn, t); err != nil {
		return err
	}
	for more := true; more; {
		err := r.transact(ctx, conn, t, readContents(t, major(conn.Conn().PgConn())), func(p *place) ([]command, error) {
			more = p.schema == tenant.Ours && len(p.relations) > dropAtOnce
			err := r.owned(t, p)
			if err == nil {
				err = tenant.UsedOutside(tenant.KindPostgres, "schema "+t.Schema, p.outside, func(string) tenant.Name { return "" })
			}
			switch {
			case err != nil:
				return nil, err
			case p.schema != tenant.Ours:
				return nil, nil
			case more:
				// Without its book, what is left can be taken for a whole tenant no more.
				commands := []command{cmd("DROP TABLE IF EXISTS %s", migrationfile.VersionTable)}
				for _, drop := range p.relations[:dropAtOnce] {
					commands = append(commands, cmd("%s", drop))
				}
				return commands, nil
			}
			return []command{cmd("DROP SCHEMA %s CASCADE", quote(t.Schema))}, nil
		})
		if err != nil {
			return refusal("drop schema "+t.Schema, conn, t, err)
		}
	}
	if err := tenant.Checkpoint(ctx, "postgres/schema-dropped"); err != nil {
		return err
	}
	err = r.transact(ctx, conn, t, nil, func(p *place) ([]command, error) {
		if err := r.owned(t, p); err != nil || p.role != tenant.Ours {
			return nil, err
		}
		role := quote(t.Role)
		return []command{cmd("GRANT %s TO CURRENT_USER", role), cmd("DROP OWNED BY %s", role), cmd("DROP ROLE %s", role)}, nil
	})
	return refusal("drop role "+t.Role, conn, t, err)
}

// shutOut keeps the role from logging in again and ends its sessions, whose locks would be in the way.
func (r *Resource) shutOut(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant) error {
	ours, err := r.noLogin(ctx, conn, t, func(p *place) (bool, error) { return p.role == tenant.Ours, r.owned(t, p) })
	if err != nil || !ours {
		return err
	}
	return r.endSessions(ctx, conn, t)
}

// readContents lists what is to be dropped one by one: views, then partitions and children, then tables. What an
// extension owns goes with the extension. It also finds what hangs on the schema from outside it, which CASCADE would
// take away.
func readContents(t tenant.Tenant, major int) func(*place) []command {
	return func(p *place) []command {
		relations := cmd(relationsSQL, text(quote(t.Schema)), dropAtOnce+1)
		relations.row = func(row [][]byte) { p.relations = append(p.relations, string(row[0])) }
		return []command{relations, dependents(t.Schema, major, &p.outside)}
	}
}

const relationsSQL = `SELECT format('DROP %%s IF EXISTS %%I CASCADE',
	CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, c.relname)
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(%[1]s) AND d.classid = 'pg_class'::regclass
	AND c.relkind IN ('v', 'm', 'f', 'r', 'p') AND c.relname <> '` + migrationfile.VersionTable + `'
	AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY c.relkind NOT IN ('v', 'm'), c.relhassubclass, c.oid LIMIT %[2]d`
