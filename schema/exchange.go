package schema

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// replacedBy is what follows a tenant's mark on a schema that an exchange has taken out of use: the operation that did
// it does not do it twice.
func replacedBy(ctx context.Context) string {
	l := tenant.LeaseFrom(ctx)
	if l == nil {
		return " replaced"
	}
	return " replaced by " + l.Operation.String()
}

// Exchange renames the schema that was loaded for beside to t's, and t's to beside's, within the caller's transaction.
// The role keeps its rights on what bears its tenant's name, and loses those on what was replaced.
func (r *Resource) Exchange(ctx context.Context, tx pgx.Tx, t, beside tenant.Tenant) error {
	x := exchange{r: r, pg: tx.Conn().PgConn(), t: t, beside: beside}
	err := x.run(ctx)
	if locked(err) {
		err = r.blameElsewhere(ctx, t, err)
	}
	return failure(fmt.Sprintf("exchange schemas %s and %s", t.Schema, beside.Schema), err)
}

type exchange struct {
	r         *Resource
	pg        *pgconn.PgConn
	t, beside tenant.Tenant
}

func (x exchange) run(ctx context.Context) error {
	one, other := new(place), new(place)
	now, before := new(ownership), new(ownership) // of what bears t's name, and of what it replaces
	var comment, said string
	var locked bool
	settings, err := keepSettings(ctx, x.pg, "search_path", "lock_timeout", "check_function_bodies")
	if err != nil {
		return err
	}
	state := cmd("SELECT obj_description(to_regnamespace(%[2]s), 'pg_namespace'), coalesce(obj_description(to_regnamespace(%[1]s), 'pg_namespace'), ''), NOT coalesce(has_schema_privilege(r.oid, to_regnamespace(%[1]s), 'USAGE'), true) FROM (SELECT (SELECT oid FROM pg_roles WHERE rolname = %[3]s) AS oid) r",
		text(quote(x.t.Schema)), text(quote(x.beside.Schema)), text(x.t.Role))
	state.row = func(row [][]byte) { comment, said, locked = string(row[0]), string(row[1]), is(row[2]) }
	err = send(ctx, x.pg, []command{
		cmd("%s", tenant.LeaseFrom(ctx).HoldSQL()), cmd("SET LOCAL lock_timeout = %d", milliseconds(x.r.cfg.LockTimeout)), cmd("SET LOCAL check_function_bodies = off"),
		tryLock(ctx, x.t, one), tryLock(ctx, x.beside, other), look(x.t, one), look(x.beside, other), state,
	})
	if err != nil {
		return err
	}
	one.inForce, other.inForce = true, true
	switch {
	case !one.free || !other.free:
		return busy()
	case one.ours(x.t) != nil:
		return one.ours(x.t)
	case other.ours(x.beside) != nil:
		return other.ours(x.beside)
	case comment == mark(x.beside)+replacedBy(ctx):
		return send(ctx, x.pg, settings) // it is done
	}
	if err := send(ctx, x.pg, append([]command{cmd(writersOut, text(quote(x.t.Schema)))}, x.rename(ctx, said)...)); err != nil {
		return err
	}
	if x.r.cfg.Roles && one.role == tenant.Ours {
		if err := send(ctx, x.pg, slices.Concat(now.read(text(x.t.Schema))(nil), before.read(text(x.beside.Schema))(nil))); err != nil {
			return err
		}
		if err := send(ctx, x.pg, x.rights(comment != mark(x.beside), locked, now.other(), before.other())); err != nil {
			return err
		}
	}
	// What was beside's is in the schema of t's name now, and the other way round.
	if err := x.rewrite(ctx, x.t.Schema, x.beside.Schema); err != nil {
		return err
	}
	if err := x.rewrite(ctx, x.beside.Schema, x.t.Schema); err != nil {
		return err
	}
	return send(ctx, x.pg, settings)
}

// writersOut keeps writers off the tables of a schema until the transaction ends: an open transaction is waited for, and who
// comes later looks the name up again, and finds the schema that has it then. Tables of others are left out: we may not.
const writersOut = `DO $do$ DECLARE tables text; BEGIN
	SELECT string_agg('ONLY ' || format('%%I.%%I', n.nspname, c.relname), ', ' ORDER BY c.oid) INTO tables FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.oid = to_regnamespace(%s) AND c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'TRUNCATE');
	IF tables IS NOT NULL THEN EXECUTE 'LOCK TABLE ' || tables || ' IN SHARE MODE'; END IF;
END $do$`

func setTo(name, value string) string {
	if name == "search_path" && value != "" {
		return "search_path = " + value
	}
	return name + " = " + text(value)
}

// rename changes the names. said is the comment of t's schema: what stands behind the mark goes on with the name.
func (x exchange) rename(ctx context.Context, said string) []command {
	one, other := quote(x.t.Schema), quote(x.beside.Schema)
	between := quote("tenantctl_" + hex.EncodeToString(x.beside.ID[:]))
	return []command{
		cmd("ALTER SCHEMA %s RENAME TO %s", one, between),
		cmd("ALTER SCHEMA %s RENAME TO %s", other, one),
		cmd("ALTER SCHEMA %s RENAME TO %s", between, other),
		cmd("COMMENT ON SCHEMA %s IS %s", one, text(strings.TrimSpace(mark(x.t)+" "+afterMark(said, x.t)))),
		cmd("COMMENT ON SCHEMA %s IS %s", other, text(mark(x.beside)+replacedBy(ctx))),
	}
}

// rights takes from the role what it has on the replaced schema. One that comes back after it was replaced gets its
// rights again; a tenant that is locked out stays so.
func (x exchange) rights(comesBack, locked bool, owner, replaced string) []command {
	role := quote(x.t.Role)
	commands := []command{cmd("REVOKE ALL ON SCHEMA %s FROM %s", quote(x.beside.Schema), role)}
	for _, what := range []string{"TABLES", "SEQUENCES", "ROUTINES", "TYPES"} {
		commands = append(commands, cmd("ALTER DEFAULT PRIVILEGES IN SCHEMA %s REVOKE ALL ON %s FROM %s", quote(x.beside.Schema), what, role))
		if replaced != "" {
			commands = append(commands, cmd("ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA %s REVOKE ALL ON %s FROM %s", quote(replaced), quote(x.beside.Schema), what, role))
		}
	}
	if comesBack {
		commands = append(commands, cmd("SET LOCAL search_path = %s", quote(x.t.Schema)))
		commands = append(commands, grants(x.t, false, false)...)
		if owner != "" {
			commands = append(commands, defaults("FOR ROLE "+quote(owner)+" ", x.t)...)
		}
	}
	if locked {
		commands = append(commands, cmd("REVOKE USAGE ON SCHEMA %s FROM %s", quote(x.t.Schema), role))
	}
	return commands
}

// rewrite makes the routines of a schema anew that speak of its old name.
func (x exchange) rewrite(ctx context.Context, now, old string) error {
	s := &structure{objects: map[string]bool{}}
	var routines []string
	names := cmd("%s%s", members, objectNames)
	names.row = func(row [][]byte) { s.objects[string(row[0])] = true }
	speaking := cmd("%sSELECT pg_get_functiondef(oid) FROM f WHERE prokind <> 'a' AND (strpos(prosrc, %[2]s) > 0 OR strpos(array_to_string(proconfig, ' '), %[2]s) > 0) ORDER BY oid", members, text(old))
	speaking.row = func(row [][]byte) { routines = append(routines, string(row[0])) }
	if err := send(ctx, x.pg, []command{cmd("SET LOCAL search_path = %s", quote(now)), names, speaking}); err != nil {
		return err
	}
	r := sqltext.Renaming{Schema: old, Objects: s.objects, To: sqltext.Spelling{Ident: quote(now), Literal: text(now)}}
	var commands []command
	for _, definition := range routines {
		if renamed := r.SQL(definition); renamed != definition {
			commands = append(commands, cmd("%s", renamed))
		}
	}
	if len(commands) == 0 {
		return nil
	}
	err := send(ctx, x.pg, commands)
	var at *refusedCommand
	if errors.As(err, &at) && code(err) != "" {
		err = failure("rename the schema within a routine", err)
		var e *tenant.Error
		if errors.As(err, &e) {
			e.Statement = sqltext.Show(at.sql)
		}
	}
	return err
}

// Revive makes the role of a tenant whose schema is there, where it is missing, and lets it in.
func (r *Resource) Revive(ctx context.Context, t tenant.Tenant) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	o, made := new(ownership), false
	err = r.transact(ctx, conn, t, o.read(text(t.Schema)), func(p *place) ([]command, error) {
		if err := p.ours(t); err != nil {
			return nil, err
		}
		made = p.role == tenant.Absent
		switch {
		case !r.hasRole(t):
			return nil, nil
		case p.role == tenant.Foreign:
			return nil, foreign("role", t.Role)
		case p.role == tenant.Absent:
			return r.roleBeside(t, o.owner, o.me), nil
		}
		role, schema := quote(t.Role), quote(t.Schema)
		return []command{
			cmd("ALTER ROLE %s LOGIN", role), cmd("ALTER ROLE %s SET search_path = %s", role, r.path(t.Schema)), cmd("GRANT USAGE ON SCHEMA %s TO %s", schema, role),
		}, nil
	})
	if err != nil || !r.hasRole(t) {
		return refusal("make role "+t.Role, conn, t, err)
	}
	if made {
		if err := r.shed(ctx, conn, t); err != nil {
			return refusal("revoke the rights of other tenants in schema "+t.Schema, conn, t, err)
		}
	}
	return r.giveMarked(ctx, t, mark(t)+objectOfRole, t.Role, "")
}

// shed takes from other tenants' roles what they have in a schema that becomes a tenant of its own, as that of the tenant
// whose data it was.
func (r *Resource) shed(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant) error {
	t.State = tenant.Active // as which it is judged
	var fixes []command
	return r.transact(ctx, conn, t, func(*place) []command {
		fixes = nil
		asked, err := r.inquiries([]tenant.Tenant{t}, nil, true, func(f tenant.Fault) {
			if f.Rule == ruleForeignGrant {
				fixes = append(fixes, command{sql: f.Fix, count: len(statementsOf(f.Fix))})
			}
		})
		if err != nil { // a tenant can be written as JSON
			return nil
		}
		return asked
	}, func(p *place) ([]command, error) { return fixes, p.ours(t) })
}
