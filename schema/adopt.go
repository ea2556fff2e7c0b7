package schema

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

var (
	_ tenant.Lister     = (*Resource)(nil)
	_ tenant.Recogniser = (*Resource)(nil)
	_ tenant.Roler      = (*Resource)(nil)
)

// anyMark is what every tenant's mark begins with.
const anyMark = "tenantctl:"

// afterMark is what follows the mark in a comment: what somebody else has written there.
func afterMark(comment string, t tenant.Tenant) string {
	return strings.TrimPrefix(strings.TrimPrefix(comment, mark(t)), " ")
}

// Adoptable asks for all schemas in one query.
func (r *Resource) Adoptable(ctx context.Context, ps []tenant.Adoptee) ([]tenant.Adoptable, error) {
	if len(ps) == 0 {
		return nil, nil
	}
	schemas, roles, marked := make([]string, len(ps)), make([]string, len(ps)), make([]string, len(ps))
	for i, p := range ps {
		schemas[i], roles[i], marked[i] = text(p.Schema), text(p.Role), text(mark(p.Tenant))
	}
	var out []tenant.Adoptable
	ask := cmd(adoptable, strings.Join(schemas, ", "), strings.Join(roles, ", "), strings.Join(marked, ", "))
	ask.row = func(row [][]byte) {
		p := ps[len(out)]
		a := tenant.Adoptable{Booked: is(row[3])}
		switch comment := string(row[1]); {
		case row[0] == nil && p.Tenant.State.Migrates():
			a.Err = missing(p.Tenant)
		case row[0] == nil:
			a.Err = noSchema(p)
		case strings.HasPrefix(comment, anyMark) && !marks(row[1], p.Tenant):
			a.Err = otherMark(p, comment)
		case row[2] != nil:
			a.Err = notMember(p.Schema, row[2])
		case is(row[4]):
			a.Err = foreign("role", p.Role)
		}
		out = append(out, a)
	}
	err := r.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error { return send(ctx, conn.Conn().PgConn(), []command{ask}) })
	return out, failure("look at the schemas", err)
}

func noSchema(p tenant.Adoptee) error {
	return &tenant.Error{
		Kind: tenant.ErrNotFound, Store: tenant.KindPostgres, Msg: fmt.Sprintf("schema %s does not exist", p.Schema),
		Hint: "to make a new tenant: tenantctl create " + string(p.Name),
	}
}

func otherMark(p tenant.Adoptee, comment string) error {
	id, _, _ := strings.Cut(strings.TrimPrefix(comment, anyMark), " ")
	return &tenant.Error{
		Kind: tenant.ErrForeign, Store: tenant.KindPostgres, Msg: fmt.Sprintf("schema %s bears the mark of another tenant, %s, which has another schema here or is in another catalog", p.Schema, id),
		Hint: fmt.Sprintf("if that tenant is gone for good: COMMENT ON SCHEMA %s IS NULL", quote(p.Schema)),
	}
}

// Adopt marks the schema, in one transaction with what goes with it: the role and its rights where one is asked for, and
// goose's version table where versions are. What the schema's comment said stays behind the mark.
func (r *Resource) Adopt(ctx context.Context, p tenant.Adoptee) error {
	t := p.Tenant
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var owner, comment, self string
	var booked bool
	stands := cmd("SELECT pg_get_userbyid(n.nspowner), coalesce(obj_description(n.oid, 'pg_namespace'), ''), current_user, EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = '%s') FROM pg_namespace n WHERE n.nspname = %s", migrationfile.VersionTable, text(t.Schema))
	stands.row = func(row [][]byte) {
		owner, comment, self, booked = string(row[0]), string(row[1]), string(row[2]), is(row[3])
	}
	err = r.transact(ctx, conn, t, func(*place) []command { return []command{stands} }, func(at *place) ([]command, error) {
		switch {
		case at.schema == tenant.Absent:
			return nil, noSchema(p)
		case at.schema == tenant.Ours:
			return nil, nil // a process that died has done it
		case strings.HasPrefix(comment, anyMark):
			return nil, otherMark(p, comment)
		case r.hasRole(t) && at.role != tenant.Absent:
			return nil, foreign("role", t.Role)
		case !at.inForce:
			return nil, at.ours(t)
		}
		at.schema, at.inForce = tenant.Ours, true
		commands := []command{cmd("COMMENT ON SCHEMA %s IS %s", quote(t.Schema), text(strings.TrimSpace(mark(t)+" "+comment)))}
		versions, err := r.adoptVersions(ctx, p, at, byOwner(owner, self), booked)
		if err != nil {
			return nil, err
		}
		commands = append(commands, versions...)
		if r.hasRole(t) {
			commands = append(commands, r.roleBeside(t, owner, self)...)
		}
		return commands, nil
	})
	if err != nil {
		return refusal("adopt schema "+t.Schema, conn, t, err)
	}
	if booked || r.Delegates() { // the mark tells by now whose the schema is
		if err := r.recordVersion(ctx, t); err != nil {
			return err
		}
	}
	return tenant.Checkpoint(ctx, "postgres/adopted")
}

// recordVersion records in the catalog what a schema's own version table tells.
func (r *Resource) recordVersion(ctx context.Context, t tenant.Tenant) error {
	versions, err := r.Versions(ctx, []tenant.Tenant{t})
	if err == nil {
		err = versions[0].Err
	}
	if err != nil {
		return err
	}
	return failure("record the version", tenant.LeaseFrom(ctx).Record(ctx, t.ID, tenant.KindPostgres, versions[0].Version, versions[0].Applied))
}

// adoptVersions makes goose's version table, the schema's owner's, where versions are to be marked, and records them.
func (r *Resource) adoptVersions(ctx context.Context, p tenant.Adoptee, at *place, asOwner func([]command) []command, booked bool) ([]command, error) {
	if r.Delegates() || booked || p.Version == nil {
		return nil, nil
	}
	set, err := r.files()
	if err != nil {
		return nil, err
	}
	if err := set.Knows(*p.Version); err != nil {
		return nil, err
	}
	book, err := r.missingBook(p.Tenant, at)
	if err != nil {
		return nil, err
	}
	marks, done, err := marking(set, nil, *p.Version)
	if err != nil {
		return nil, err
	}
	return append(asOwner(append(book, marks...)), cmd("%s", tenant.LeaseFrom(ctx).RecordSQL(p.Tenant.ID, tenant.KindPostgres, done.To, done.Applied))), nil
}

// Release takes the mark, the role and the version table away that Adopt made. Whether it made the table, the intent
// tells: it was written before.
func (r *Resource) Release(ctx context.Context, p tenant.Adoptee) error {
	t := p.Tenant
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	comment := ""
	said := cmd("SELECT coalesce(obj_description(to_regnamespace(%s), 'pg_namespace'), '')", text(quote(t.Schema)))
	said.row = func(row [][]byte) { comment = string(row[0]) }
	err = r.transact(ctx, conn, t, func(*place) []command { return []command{said} }, func(at *place) ([]command, error) {
		var commands []command
		if at.schema == tenant.Ours {
			before := "NULL"
			if rest := afterMark(comment, t); rest != "" {
				before = text(rest)
			}
			commands = append(commands, cmd("COMMENT ON SCHEMA %s IS %s", quote(t.Schema), before))
			if p.Version != nil && !p.Booked {
				commands = append(commands, cmd("DROP TABLE IF EXISTS %s.%s", quote(t.Schema), migrationfile.VersionTable))
			}
		}
		if at.role == tenant.Ours {
			commands = append(commands, dropRole(t)...)
		}
		return commands, nil
	})
	return refusal("release schema "+t.Schema, conn, t, err)
}

// roleBeside makes a role that may use what is in the schema, and what its owner and self, the provisioning role, make in it later.
func (r *Resource) roleBeside(t tenant.Tenant, owner, self string) []command {
	commands := append(r.makeRole(t), grants(t, true, false)...)
	if owner != self {
		commands = append(commands, defaults("FOR ROLE "+quote(owner)+" ", t)...)
	}
	return commands
}

func dropRole(t tenant.Tenant) []command {
	role := quote(t.Role)
	return []command{cmd("GRANT %s TO CURRENT_USER", role), cmd("DROP OWNED BY %s", role), cmd("DROP ROLE %s", role)}
}

// GiveRole makes the role that an adopted tenant lacks, in one transaction with its rights.
func (r *Resource) GiveRole(ctx context.Context, t tenant.Tenant) error {
	if !r.hasRole(t) {
		return nil
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var owner, self string
	whose := cmd("SELECT pg_get_userbyid(nspowner), current_user FROM pg_namespace WHERE nspname = %s", text(t.Schema))
	whose.row = func(row [][]byte) { owner, self = string(row[0]), string(row[1]) }
	err = r.transact(ctx, conn, t, func(*place) []command { return []command{whose} }, func(at *place) ([]command, error) {
		switch err := at.ours(t); {
		case err != nil:
			return nil, err
		case at.role == tenant.Ours:
			return nil, nil // a process that died has done it
		case at.role == tenant.Foreign:
			return nil, foreign("role", t.Role)
		}
		return r.roleBeside(t, owner, self), nil
	})
	if err != nil {
		return refusal("make role "+t.Role, conn, t, err)
	}
	return tenant.Checkpoint(ctx, "postgres/role-given")
}

// TakeRole drops the role and its rights.
func (r *Resource) TakeRole(ctx context.Context, t tenant.Tenant) error {
	if !r.hasRole(t) {
		return nil
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	err = r.transact(ctx, conn, t, nil, func(at *place) ([]command, error) {
		if at.role != tenant.Ours {
			return nil, nil
		}
		return dropRole(t), nil
	})
	return refusal("drop role "+t.Role, conn, t, err)
}
