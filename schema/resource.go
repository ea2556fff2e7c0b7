package schema

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// Create makes the schema and the role, and applies all migrations. The migrations' folder is read first, so that a
// broken file leaves nothing behind.
func (r *Resource) Create(ctx context.Context, t tenant.Tenant) error {
	set, err := r.files()
	if err != nil {
		return err
	}
	if err := r.settle(ctx, t, set); err != nil {
		return err
	}
	if err := tenant.Checkpoint(ctx, "postgres/settled"); err != nil {
		return err
	}
	_, err = r.Up(ctx, t, tenant.Newest, false)
	return err
}

// settle makes the schema with an empty version book, and the role, in one transaction.
func (r *Resource) settle(ctx context.Context, t tenant.Tenant, set *migrationfile.Set) error {
	conn, err := r.acquireOwn(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	sessions, err := r.sessionsFor(ctx, conn, set)
	if err != nil {
		return err
	}
	err = r.transact(ctx, conn, t, nil, func(p *place) ([]command, error) {
		if p.schema == tenant.Foreign {
			return nil, foreign("schema", t.Schema)
		}
		if r.cfg.Roles && p.role == tenant.Foreign {
			return nil, foreign("role", t.Role)
		}
		commands := []command{cmd(unhurried)} // the migrations come after it, and the operation's end
		newRole := r.cfg.Roles && p.role == tenant.Absent
		if newRole {
			commands = append(commands, r.makeRole(t)...)
		}
		if p.schema == tenant.Absent {
			if p.role == tenant.Ours && !p.canLogin { // what a drop has left
				commands = append(commands, cmd("ALTER ROLE %s LOGIN", quote(t.Role)))
			}
			if err := sessions.allow(set.List, true); err != nil {
				return nil, err
			}
			schema, err := r.makeSchema(t)
			if err != nil {
				return nil, err
			}
			commands = append(commands, schema...)
		}
		if r.cfg.Roles && (newRole || p.schema == tenant.Absent) {
			commands = append(commands, grants(t, p.schema == tenant.Ours, !r.Delegates())...)
		}
		return commands, nil
	})
	return refusal("create schema "+t.Schema, conn, t, err)
}

// makeRole makes a role without a password, so that nobody can log in before one is set.
func (r *Resource) makeRole(t tenant.Tenant) []command {
	role := quote(t.Role)
	return []command{
		cmd("CREATE ROLE %s LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT", role),
		cmd("COMMENT ON ROLE %s IS %s", role, text(mark(t))),
		cmd("ALTER ROLE %s SET search_path = %s", role, r.path(t.Schema)),
	}
}

// makeSchema makes a schema that the provisioning role owns, with goose's version table in it where goose migrates it.
func (r *Resource) makeSchema(t tenant.Tenant) ([]command, error) {
	var book []string
	if !r.Delegates() {
		var err error
		if book, err = migrationfile.NewVersionTable(); err != nil {
			return nil, err
		}
	}
	schema := quote(t.Schema)
	commands := []command{
		cmd("CREATE SCHEMA %s", schema),
		cmd("COMMENT ON SCHEMA %s IS %s", schema, text(mark(t))),
		cmd("REVOKE ALL ON SCHEMA %s FROM PUBLIC", schema),
	}
	for _, s := range book {
		commands = append(commands, cmd("%s", s))
	}
	return commands, nil
}

// grants lets the role use what migrations will make in the schema, and only read the version book. What is there
// already is granted too where the schema is older than the role. booked tells that there is a version book; a schema
// that was adopted may have none.
func grants(t tenant.Tenant, older, booked bool) []command {
	schema, role := quote(t.Schema), quote(t.Role)
	read := cmd("GRANT SELECT ON %s TO %s", migrationfile.VersionTable, role)
	if !booked {
		read = cmd("DO $do$ BEGIN IF to_regclass('%s') IS NOT NULL THEN %s; END IF; END $do$", migrationfile.VersionTable, read.sql)
	}
	commands := append([]command{cmd("GRANT USAGE ON SCHEMA %s TO %s", schema, role), read}, defaults("", t)...)
	if older {
		commands = append(commands, cmd(grantOlder, text(role)))
	}
	return commands
}

// defaults gives the role its rights on what is made from now on by the provisioning role, or by the one that by names.
func defaults(by string, t tenant.Tenant) []command {
	var commands []command
	for _, g := range []string{
		onTables + " ON TABLES", onSequences + " ON SEQUENCES", onRoutines + " ON ROUTINES", onTypes + " ON TYPES",
	} {
		commands = append(commands, cmd("ALTER DEFAULT PRIVILEGES %sIN SCHEMA %s GRANT %s TO %s", by, quote(t.Schema), g, quote(t.Role)))
	}
	return commands
}

// Rights that a tenant's role has on what migrations make.
const (
	onTables    = "SELECT, INSERT, UPDATE, DELETE"
	onSequences = "USAGE, SELECT, UPDATE"
	onRoutines  = "EXECUTE"
	onTypes     = "USAGE"
)

// grantOlder gives a role those rights on what is in the schema, but for goose's book. It finds it by its dependence
// on the schema, which is indexed.
const grantOlder = `DO $do$ DECLARE target text; BEGIN
	FOR target IN SELECT CASE
			WHEN c.relkind = 'S' THEN '` + onSequences + ` ON SEQUENCE ' || c.oid::regclass
			WHEN c.oid IS NOT NULL THEN '` + onTables + ` ON TABLE ' || c.oid::regclass
			WHEN p.oid IS NOT NULL THEN '` + onRoutines + ` ON ROUTINE ' || p.oid::regprocedure
			ELSE '` + onTypes + ` ON TYPE ' || t.oid::regtype END
		FROM pg_depend d
		LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
		LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
		LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
		WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident(current_schema()))
			AND coalesce(c.oid, p.oid, t.oid) IS NOT NULL
			AND coalesce(c.oid NOT IN (to_regclass('` + migrationfile.VersionTable + `'), CASE WHEN to_regclass('` + migrationfile.VersionTable + `') IS NOT NULL THEN pg_get_serial_sequence('` + migrationfile.VersionTable + `', 'id')::regclass END), true)
	LOOP
		EXECUTE 'GRANT ' || target || ' TO ' || %s;
	END LOOP;
END $do$`

// hasRole tells whether a tenant is to have a role of its own; one that was adopted may have none.
func (r *Resource) hasRole(t tenant.Tenant) bool { return r.cfg.Roles && t.Role != "" }

// CheckOwner fails where the tenant's schema is missing, or bears another's ownership tag or none.
func (r *Resource) CheckOwner(ctx context.Context, t tenant.Tenant) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	p := new(place)
	if err := send(ctx, conn.Conn().PgConn(), []command{look(t, p)}); err != nil {
		return failure("look at schema "+t.Schema, err)
	}
	return p.tagged(t)
}

// Vacant tells whether there is neither a schema nor a role of the tenant's names.
func (r *Resource) Vacant(ctx context.Context, t tenant.Tenant) (vacant bool, err error) {
	conn, err := r.acquireOwn(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	look := cmd("SELECT pg_catalog.to_regnamespace(%s) IS NULL AND pg_catalog.to_regrole(%s) IS NULL", text(quote(t.Schema)), text(quote(t.Role)))
	look.row = func(row [][]byte) { vacant = is(row[0]) }
	return vacant, failure("look at schema "+t.Schema, send(ctx, conn.Conn().PgConn(), []command{look}))
}

// Stat tells what is there under the tenant's names, and how much.
func (r *Resource) Stat(ctx context.Context, t tenant.Tenant) (tenant.Stat, error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return tenant.Stat{}, err
	}
	defer conn.Release()
	p := new(place)
	st := tenant.Stat{Presence: tenant.Absent, Remains: []string{}, Users: []string{}}
	var book, note, last string
	measure := cmd(measures, text(quote(t.Schema)), text(quote(t.Schema)+"."+migrationfile.VersionTable))
	measure.row = func(row [][]byte) {
		st.Bytes, _ = strconv.ParseInt(string(row[0]), 10, 64)
		st.Objects, _ = strconv.ParseInt(string(row[1]), 10, 64)
		book, note, last = string(row[2]), string(row[3]), string(row[4])
	}
	if err := send(ctx, conn.Conn().PgConn(), []command{r.readPatience(), look(t, p), measure}); err != nil {
		if locked(err) {
			return tenant.Stat{}, r.unreadable(ctx, conn, t)
		}
		return tenant.Stat{}, failure("look at schema "+t.Schema, err)
	}
	if !r.cfg.Roles && p.role == tenant.Foreign {
		p.role = tenant.Absent // never asked for
	}
	st.Presence = p.presence()
	for _, part := range []struct {
		whose tenant.Presence
		name  string
	}{{p.schema, "schema " + t.Schema}, {p.role, "role " + t.Role}} {
		if part.whose != tenant.Absent {
			st.Remains = append(st.Remains, part.name)
		}
		if part.whose == tenant.Foreign {
			st.NotOwned = append(st.NotOwned, part.name)
		}
	}
	switch {
	case p.role == tenant.Ours:
		st.Users, st.Locked = []string{t.Role}, !p.canLogin
	case !r.cfg.Roles:
		st.Notes = append(st.Notes, "no role of its own: postgres.roles is none")
	case t.Role == "":
		st.Notes = append(st.Notes, "no role of its own: the tenant was adopted without one")
	}
	if p.schema != tenant.Ours {
		st.Bytes, st.Objects = 0, 0
		return st, nil
	}
	if r.Delegates() {
		v, err := r.delegatedIn(ctx, conn, t)
		st.Version = v.Version
		return st, errors.Join(err, v.Err)
	}
	if book == "" {
		st.Notes = append(st.Notes, migrationfile.VersionTable+" is missing")
		return st, nil
	}
	versions := make([]tenant.Version, 1)
	if err := r.books(ctx, conn, []tenant.Tenant{t}, versions); err != nil {
		return tenant.Stat{}, err
	}
	st.Version, st.Applied = versions[0].Version, versions[0].Applied
	st.Stopped = r.stopped(note, last)
	return st, versions[0].Err
}

// presence is whose the place is as a whole: ours where a part of it is.
func (p *place) presence() tenant.Presence {
	for _, whose := range []tenant.Presence{tenant.Ours, tenant.Foreign} {
		if p.schema == whose || p.role == whose {
			return whose
		}
	}
	return tenant.Absent
}

// ours refuses a place whose schema is missing or somebody else's, or not the one that names are looked for in.
func (p *place) ours(t tenant.Tenant) error {
	if err := p.tagged(t); err != nil || p.inForce {
		return err
	}
	return &tenant.Error{
		Kind: tenant.ErrRights, Store: tenant.KindPostgres, Msg: "no right to use schema " + t.Schema,
		Hint: "connect as the role that owns it, or GRANT that role to this one",
	}
}

// tagged refuses a place whose schema is missing or does not bear the tenant's ownership tag.
func (p *place) tagged(t tenant.Tenant) error {
	switch {
	case p.schema == tenant.Absent:
		return missing(t)
	case untagged(p.schema, p.said):
		lost := *foreign("schema", t.Schema)
		lost.Hint = strings.ReplaceAll(tenant.HintNotOwned, "NAME", string(t.Name))
		return &lost
	case p.schema == tenant.Foreign:
		return foreign("schema", t.Schema)
	}
	return nil
}

// noBook says why goose's version table cannot be read.
func (p *place) noBook(t tenant.Tenant) error {
	if err := p.ours(t); err != nil {
		return err
	}
	return &tenant.Error{
		Kind: tenant.ErrMissing, Store: tenant.KindPostgres, Msg: fmt.Sprintf("schema %s has no %s", t.Schema, migrationfile.VersionTable),
		Hint: "restore the table, or tell by tenantctl migrate baseline which migrations are applied: nobody knows without it",
	}
}

// measures is the size of a schema and the number of its tables. They are found by their dependence on the schema,
// which is indexed: pg_class holds the tables of all tenants.
const measures = `SELECT coalesce(sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relkind IN ('r', 'm', 'S')), 0),
	count(*) FILTER (WHERE c.relkind IN ('r', 'p') AND c.relname <> '` + migrationfile.VersionTable + `'), coalesce(to_regclass(%[2]s)::text, ''),
	coalesce(obj_description(to_regclass(%[2]s), 'pg_class'), ''), CASE WHEN to_regclass(%[2]s) IS NOT NULL THEN coalesce(pg_sequence_last_value(pg_get_serial_sequence(%[2]s, 'id')), 0) END
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(%[1]s) AND d.classid = 'pg_class'::regclass`
