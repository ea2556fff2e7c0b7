package schema

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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
	own := trial{what: "use its own schema", object: t.Schema, sql: "SELECT 1 FROM " + quote(t.Schema) + "." + bookTable + " LIMIT 1"}
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

// lent is a login with a tenant's rights.
type lent struct {
	r              *Resource
	tenant         tenant.Tenant
	role, password string
}

const (
	probeMark  = "tenantctl-probe:" // the operation's id follows
	probeValid = "15 minutes"       // after that a login that a killed probe has left lets nobody in
)

// lend makes a login with the rights of t.
func (r *Resource) lend(ctx context.Context, t tenant.Tenant) (*lent, error) {
	random := make([]byte, 4)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	// No tenant's role has a $ in its name. 63 bytes are the longest name there is.
	l := &lent{r: r, tenant: t, password: rand.Text() + rand.Text(), role: t.Role[:min(len(t.Role), 63-len("$probe_")-8)] + "$probe_" + hex.EncodeToString(random)}
	secret, err := verifier(l.password)
	if err != nil {
		return nil, err
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	role, own := quote(l.role), quote(t.Role)
	// A commit that is cut off may be done all the same, and nobody would take the role back.
	err = r.transact(context.WithoutCancel(ctx), conn, t, nil, func(p *place) ([]command, error) {
		if err := errors.Join(ctx.Err(), p.ours(t)); err != nil {
			return nil, err
		}
		if p.role != tenant.Ours {
			return nil, noRole(t, p)
		}
		return []command{
			cmd("CREATE ROLE %s LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD %s", role, text(secret)),
			cmd("COMMENT ON ROLE %s IS %s", role, text(probeMark+operationOf(ctx))),
			cmd("DO $do$ BEGIN EXECUTE format('ALTER ROLE %%I VALID UNTIL %%L', %s, now() + interval %s); END $do$", text(l.role), text(probeValid)),
			cmd("GRANT %s TO %s", own, role),
			cmd("ALTER ROLE %s SET role = %s", role, own),
			cmd("ALTER ROLE %s SET search_path = %s", role, quote(t.Schema)),
			cmd("ALTER ROLE %s SET lock_timeout = '2s'", role),
			cmd("ALTER ROLE %s SET statement_timeout = '10s'", role),
		}, nil
	})
	return l, refusal("make a login to probe as role "+t.Role, conn, t, err)
}

func operationOf(ctx context.Context) string {
	if l := tenant.LeaseFrom(ctx); l != nil {
		return l.Operation.String()
	}
	return uuid.Nil.String()
}

// connect logs in at the server or pooler of to, and makes sure that it acts as the tenant.
func (l *lent) connect(ctx context.Context, to *pgx.ConnConfig) (*pgx.Conn, error) {
	cfg := to.Copy()
	cfg.User, cfg.Password = l.role, l.password
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, l.shutOut(cfg, err)
	}
	var is string
	if err := conn.QueryRow(ctx, "SELECT current_user").Scan(&is); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx)) // of no use any more
		return nil, failure("log in to probe", err)
	}
	if is != l.tenant.Role {
		_ = conn.Close(context.WithoutCancel(ctx)) // of no use any more
		return nil, &tenant.Error{
			Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: fmt.Sprintf("a login with the rights of %s works as %s", l.tenant.Role, is),
			Hint: "let the pooler log in as the user who connects, without a user of its own for the database",
		}
	}
	return conn, nil
}

// shutOut says why the login was of no use.
func (l *lent) shutOut(cfg *pgx.ConnConfig, err error) error {
	err = unreachable(cfg, err)
	var e *tenant.Error
	if errors.As(err, &e) && errors.Is(e.Kind, tenant.ErrUnreachable) {
		e.Msg = strings.ReplaceAll(e.Msg, l.role, "a role with the rights of "+l.tenant.Role) // the same for all tenants but for this
		e.Hint = "let roles whose names begin as the tenants' do log in with a password (pg_hba.conf; a pooler looks them up by auth_query)"
	}
	return err
}

// takeBack ends the login's sessions and removes it.
func (l *lent) takeBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	return l.r.dropProbe(ctx, l.role)
}

func (r *Resource) dropProbe(ctx context.Context, role string) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	as := tenant.Tenant{Role: role}
	err = r.endSessions(ctx, conn, as)
	if err == nil {
		err = send(ctx, conn.Conn().PgConn(), []command{cmd("DROP ROLE IF EXISTS %s", quote(role))})
	}
	return refusal("remove role "+role+", which a probe has made", conn, as, err)
}

// Sweep removes the logins of probes that have ended.
func (r *Resource) Sweep(ctx context.Context, ended func(uuid.UUID) (bool, error)) error {
	rows, err := r.pool.Query(ctx, `SELECT r.rolname, d.description FROM pg_shdescription d JOIN pg_roles r ON r.oid = d.objoid
		WHERE d.classoid = 'pg_authid'::regclass AND starts_with(d.description, $1)`, probeMark)
	if err != nil {
		return failure("look for what probes have left", err)
	}
	left := map[string]uuid.UUID{}
	var role, mark string
	_, err = pgx.ForEachRow(rows, []any{&role, &mark}, func() error {
		if id, err := uuid.Parse(strings.TrimPrefix(mark, probeMark)); err == nil {
			left[role] = id
		}
		return nil
	})
	if err != nil {
		return failure("look for what probes have left", err)
	}
	for role, id := range left {
		over, err := ended(id)
		if err == nil && over {
			err = r.dropProbe(ctx, role)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
