package schema

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// Apart tells why PostgreSQL does not keep tenants apart.
func (r *Resource) Apart(context.Context) (why string, err error) {
	if !r.cfg.Roles {
		return "postgres.roles is none: the application reaches every tenant with one role", nil
	}
	return "", nil
}

// Probe tries as t whatever is not t's. It logs in by a role of its own that is a member of t's role alone and acts as
// that role from its first statement on, so that it may exactly what t may. t's role and its password stay as they are.
func (r *Resource) Probe(ctx context.Context, t tenant.Tenant, others []tenant.Tenant, tried func(tenant.Attempt)) (err error) {
	relations, err := r.relations(ctx, others)
	if err != nil {
		return err
	}
	l, err := r.lend(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.takeBack(ctx)) }()
	server, _, err := r.past()
	if err != nil {
		return err
	}
	conn, err := l.connect(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it holds nothing
	if err := tenant.Checkpoint(ctx, "postgres/probe-connected"); err != nil {
		return err
	}
	own := trial{what: "use its own schema", object: t.Schema, sql: "SELECT 1 FROM " + quote(t.Schema) + "." + migrationfile.VersionTable + " LIMIT 1"}
	if a := own.try(ctx, conn); a.Outcome != tenant.AttemptThrough { // else all that follows would prove nothing
		return &tenant.Error{
			Kind: tenant.ErrRights, Store: tenant.KindPostgres, Code: a.Code, Statement: a.Statement, Msg: "the tenant cannot use its own schema: " + a.Message,
			Hint: "GRANT it what it lacks; docs/isolation.md tells what a tenant's role has",
		}
	}
	for _, o := range others {
		for _, s := range onTenant(o, relations[o.Schema]) {
			tried(s.try(ctx, conn))
		}
	}
	for _, s := range onServer(t, r.pool.Config().ConnConfig.User) {
		tried(s.try(ctx, conn))
	}
	return ctx.Err()
}

// trial is one statement that must not get through.
type trial struct {
	what, object, sql string
	sees              bool // it may run, and must see nothing
}

// onTenant is what is tried on another tenant, without changing anything where it gets through.
func onTenant(o tenant.Tenant, relations []relation) []trial {
	role, schema := quote(o.Role), quote(o.Schema)
	all := []trial{
		{what: "become another tenant", object: o.Role, sql: "SET LOCAL ROLE " + role},
		{what: "log in as another tenant", object: o.Role, sql: "SET LOCAL SESSION AUTHORIZATION " + role},
		{what: "join another tenant's role", object: o.Role, sql: "GRANT " + role + " TO CURRENT_USER"},
		{what: "change another tenant's role", object: o.Role, sql: "ALTER ROLE " + role + " CONNECTION LIMIT -1"},
		{what: "create in another tenant's schema", object: o.Schema, sql: "CREATE TABLE " + schema + ".tenantctl_probe ()"},
		{what: "take over another tenant's schema", object: o.Schema, sql: "ALTER SCHEMA " + schema + " OWNER TO CURRENT_USER"},
	}
	for _, rel := range relations {
		name := schema + "." + quote(rel.name)
		add := func(what, format string, args ...any) {
			all = append(all, trial{what: what, object: o.Schema + "." + rel.name, sql: fmt.Sprintf(format, args...)})
		}
		add("read another tenant's rows", "SELECT 1 FROM %s LIMIT 1", name)
		if rel.kind == "r" || rel.kind == "p" {
			add("insert into another tenant's table", "INSERT INTO %s SELECT WHERE false", name)
			add("delete from another tenant's table", "DELETE FROM %s WHERE false", name)
			if rel.column != "" {
				add("update another tenant's table", "UPDATE %s SET %s = DEFAULT WHERE false", name, quote(rel.column))
			}
		}
	}
	return all
}

// onServer is what is tried on the server and the catalog.
func onServer(t tenant.Tenant, provisioner string) []trial {
	return []trial{
		{what: "use any other tenant's schema", sees: true, sql: `SELECT n.nspname FROM pg_namespace n JOIN pg_description d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0
	WHERE d.description LIKE 'tenantctl:%' AND n.nspname <> ` + text(t.Schema) + ` AND (has_schema_privilege(n.oid, 'USAGE') OR has_schema_privilege(n.oid, 'CREATE')) LIMIT 1`},
		{what: "be a member of another role", sees: true, sql: "SELECT rolname FROM pg_roles WHERE rolname <> current_user AND pg_has_role(oid, 'MEMBER') LIMIT 1"},
		{what: "read the catalog", object: "tenantctl.tenants", sql: "SELECT 1 FROM tenantctl.tenants LIMIT 1"},
		{what: "read the catalog", object: "tenantctl.operations", sql: "SELECT 1 FROM tenantctl.operations LIMIT 1"},
		{what: "change the catalog", object: "tenantctl.tenants", sql: "UPDATE tenantctl.tenants SET name = DEFAULT WHERE false"},
		{what: "become the provisioning role", object: provisioner, sql: "SET LOCAL ROLE " + quote(provisioner)},
		{what: "become the provisioning role after RESET ROLE", object: provisioner, sql: "SET LOCAL ROLE NONE; SET LOCAL ROLE " + quote(provisioner)},
		{what: "read the catalog after RESET ROLE", object: "tenantctl.tenants", sql: "SET LOCAL ROLE NONE; SELECT 1 FROM tenantctl.tenants LIMIT 1"},
		// Who may write code where the provisioning role makes the objects has it run by that role.
		{what: "write code that runs as the provisioning role", sees: true, sql: "SELECT nspname FROM pg_namespace WHERE nspname = " + text(t.Schema) +
			" AND pg_get_userbyid(nspowner) = " + text(provisioner) + " AND has_schema_privilege(oid, 'CREATE')"},
		{what: "create in the schema public", object: "public", sql: "CREATE TABLE public.tenantctl_probe ()"},
		{what: "create a schema", sql: "CREATE SCHEMA tenantctl_probe"},
		{what: "create a role", sql: "CREATE ROLE tenantctl_probe"},
		{what: "read a file of the server", sql: "SELECT pg_read_file('PG_VERSION')"},
		{what: "list a folder of the server", sql: "SELECT pg_ls_dir('.') LIMIT 1"},
		{what: "import a file of the server", sql: "SELECT lo_import('PG_VERSION')"},
		{what: "write a file on the server", sql: "COPY (SELECT 1) TO '/dev/null'"},
		{what: "run a program on the server", sql: "COPY (SELECT 1) TO PROGRAM 'true'"},
		{what: "use a language that reaches the server", sees: true, sql: "SELECT lanname FROM pg_language WHERE NOT lanpltrusted AND lanname NOT IN ('internal', 'c') AND has_language_privilege(oid, 'USAGE') LIMIT 1"},
		{what: "connect elsewhere from the server", sees: true, sql: `SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.proname LIKE 'dblink%' AND p.proname ~ '^dblink(_connect.*|_exec)?$'
	AND has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(p.pronamespace, 'USAGE') LIMIT 1`},
		{what: "use a foreign server", sees: true, sql: "SELECT srvname FROM pg_foreign_server WHERE has_server_privilege(oid, 'USAGE') LIMIT 1"},
		{what: "read passwords", object: "pg_authid", sql: "SELECT rolpassword FROM pg_authid LIMIT 1"},
		{what: "read passwords", object: "pg_shadow", sql: "SELECT passwd FROM pg_shadow LIMIT 1"},
		{what: "read the server's settings", object: "hba_file", sql: "SHOW hba_file"},
		// Every role may read what is set for others by ALTER ROLE SET: settings of the application's own may be secrets.
		{what: "read settings of other roles", sees: true, sql: `SELECT split_part(c, '=', 1) FROM pg_db_role_setting s, unnest(s.setconfig) c
	WHERE s.setrole NOT IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user)) AND split_part(c, '=', 1) LIKE '%.%' LIMIT 1`},
		{what: "read statements of other roles", sees: true, sql: `SELECT usename FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename NOT IN (current_user, session_user)
	AND query NOT IN ('', '<insufficient privilege>') LIMIT 1`},
		{what: "end sessions of other roles", sees: true, sql: "SELECT 'pg_signal_backend' WHERE pg_has_role('pg_signal_backend', 'USAGE')"},
	}
}

// try runs one statement in a transaction that is always taken back.
func (s trial) try(ctx context.Context, conn *pgx.Conn) tenant.Attempt {
	a := tenant.Attempt{What: s.what, Object: s.object, Statement: s.sql, Outcome: tenant.AttemptThrough}
	results, err := conn.PgConn().Exec(ctx, "BEGIN; "+s.sql).ReadAll()
	if _, rerr := conn.PgConn().Exec(ctx, "ROLLBACK").ReadAll(); err == nil {
		err = rerr
	}
	var pg *pgconn.PgError
	switch {
	case err == nil && s.sees && len(results[1].Rows) == 0:
		a.Outcome, a.Code = tenant.AttemptRefused, noData
	case err == nil && s.sees:
		a.Object = string(results[1].Rows[0][0])
	case err == nil:
	case !errors.As(err, &pg):
		a.Outcome, a.Message = tenant.AttemptUnclear, failure("try", err).Error()
	default:
		a.Code, a.Message, a.Outcome = pg.Code, told(pg), outcomeOf(pg.Code)
	}
	return a
}

// outcomeOf reads a refusal. A statement that fails for another reason than want of rights had them.
func outcomeOf(code string) tenant.AttemptOutcome {
	switch code {
	case insufficientRights, undefinedTable, undefinedObject, "42883", "3F000", "22023": // the last ones: it is not there
		return tenant.AttemptRefused
	}
	switch code[:2] {
	case "22", "23", "58":
		return tenant.AttemptThrough
	}
	return tenant.AttemptUnclear
}

// noData is the SQLSTATE of an empty answer.
const noData = "02000"

// relation is what can be read in a schema.
type relation struct {
	name, kind string
	column     string // one that can be updated; empty where there is none
}

// relations reads what the schemas of tenants hold. They are found by their dependence on the schema, which is indexed.
func (r *Resource) relations(ctx context.Context, ts []tenant.Tenant) (map[string][]relation, error) {
	schemas := make([]string, len(ts))
	for i, t := range ts {
		schemas[i] = t.Schema
	}
	rows, err := r.pool.Query(ctx, `SELECT n.nspname, c.relname, c.relkind::text,
	coalesce((SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum LIMIT 1), '')
FROM pg_namespace n JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid AND d.classid = 'pg_class'::regclass
	JOIN pg_class c ON c.oid = d.objid
WHERE n.nspname = ANY($1::text[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') ORDER BY 1, 2`, schemas)
	if err != nil {
		return nil, failure("list tables", err)
	}
	out := map[string][]relation{}
	var schema string
	var rel relation
	_, err = pgx.ForEachRow(rows, []any{&schema, &rel.name, &rel.kind, &rel.column}, func() error {
		out[schema] = append(out[schema], rel)
		return nil
	})
	return out, failure("list tables", err)
}

// lend makes a login with the rights of t.
func (r *Resource) lend(ctx context.Context, t tenant.Tenant) (*login, error) {
	l, err := r.newLogin(probing, t.Role, t.Role)
	if err != nil {
		return nil, err
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	// A commit that is cut off may be done all the same, and nobody would take the role back.
	err = r.transact(context.WithoutCancel(ctx), conn, t, nil, func(p *place) ([]command, error) {
		if err := errors.Join(ctx.Err(), p.ours(t)); err != nil {
			return nil, err
		}
		if p.role != tenant.Ours {
			return nil, noRole(t, p)
		}
		commands, err := l.make(ctx)
		role := quote(l.role)
		return append(commands,
			cmd("ALTER ROLE %s SET search_path = %s", role, r.path(t.Schema)),
			cmd("ALTER ROLE %s SET lock_timeout = '2s'", role),
			cmd("ALTER ROLE %s SET statement_timeout = '10s'", role)), err
	})
	return l, refusal("make a login to probe as role "+t.Role, conn, t, err)
}
