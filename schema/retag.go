package schema

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// untagged tells that there is no ownership tag in a comment, not even another tenant's.
func untagged(whose tenant.Presence, said string) bool {
	return whose == tenant.Foreign && !strings.HasPrefix(said, anyMark)
}

// evidence is what tells of a schema and a role without their tags whether they are the tenant's.
type evidence struct {
	schemaElsewhere, roleElsewhere string // others that bear this tenant's tag: they were renamed
	booked                         bool   // there is a version table
	related                        bool   // the role has rights on the schema
}

func (r *Resource) evidence(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant) (e evidence, err error) {
	c := cmd(evidenceSQL, text(t.Schema), text(t.Role), text(mark(t)))
	c.row = func(row [][]byte) {
		e = evidence{string(row[0]), string(row[1]), is(row[2]), is(row[3])}
	}
	return e, send(ctx, conn.Conn().PgConn(), []command{c})
}

const evidenceSQL = `SELECT (SELECT n.nspname FROM pg_description d JOIN pg_namespace n ON n.oid = d.objoid
		WHERE d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0
			AND split_part(d.description, ' ', 1) = %[3]s AND n.nspname <> %[1]s LIMIT 1),
	(SELECT r.rolname FROM pg_shdescription d JOIN pg_roles r ON r.oid = d.objoid
		WHERE d.classoid = 'pg_authid'::regclass
			AND split_part(d.description, ' ', 1) = %[3]s AND r.rolname <> %[2]s LIMIT 1),
	to_regclass(quote_ident(%[1]s) || '.` + migrationfile.VersionTable + `') IS NOT NULL,
	EXISTS (SELECT FROM pg_namespace n, pg_roles u WHERE n.nspname = %[1]s AND u.rolname = %[2]s
		AND (n.nspowner = u.oid OR EXISTS (SELECT FROM aclexplode(n.nspacl) g WHERE g.grantee = u.oid)
			OR EXISTS (SELECT FROM pg_default_acl a, aclexplode(a.defaclacl) g
				WHERE a.defaclnamespace = n.oid AND g.grantee = u.oid)))`

// usable is ours for what the operator can do while the schema's tag is lost: lock out, read. It warns.
func (r *Resource) usable(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, p *place) error {
	if !untagged(p.schema, p.said) {
		return p.ours(t)
	}
	e, err := r.evidence(ctx, conn, t)
	if err != nil {
		return err
	}
	if e.schemaElsewhere != "" || !e.booked && !e.related && !r.Delegates() {
		return p.ours(t)
	}
	as := *p
	as.schema = tenant.Ours
	if err := as.ours(t); err != nil {
		return err
	}
	r.warnLost(t, "schema "+t.Schema)
	return nil
}

// usableRole tells whether a role is the tenant's, or has only lost its tag. It warns of that.
func (r *Resource) usableRole(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, p *place) (bool, error) {
	if !r.hasRole(t) || !untagged(p.role, p.roleSaid) {
		return p.role == tenant.Ours, nil
	}
	e, err := r.evidence(ctx, conn, t)
	if err != nil || !e.related || e.roleElsewhere != "" {
		return false, err
	}
	r.warnLost(t, "role "+t.Role)
	return true, nil
}

func (r *Resource) warnLost(t tenant.Tenant, what string) {
	r.warn(tenant.LostTag(t, tenant.KindPostgres, what))
}

// warn tells what a person must not miss.
func (r *Resource) warn(message string) {
	if r.cfg.Warn != nil {
		r.cfg.Warn(message)
	}
}

// doubt is why what stands under a tenant's names without a tag may not be the tenant's; "" where nothing says so.
func (r *Resource) doubt(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, p *place) (string, error) {
	e, err := r.evidence(ctx, conn, t)
	switch {
	case err != nil:
		return "", err
	case p.schema == tenant.Absent:
		return "there is no schema", nil
	case p.schema == tenant.Foreign && !untagged(p.schema, p.said),
		p.role == tenant.Foreign && r.hasRole(t) && !untagged(p.role, p.roleSaid):
		return "it bears the tag of another tenant", nil
	case p.schema == tenant.Foreign && e.schemaElsewhere != "":
		return "the tenant's tag is on schema " + e.schemaElsewhere, nil
	case p.role == tenant.Foreign && e.roleElsewhere != "":
		return "the tenant's tag is on role " + e.roleElsewhere, nil
	case r.hasRole(t) && p.role != tenant.Absent && !e.related:
		return "the tenant's role has no rights on the schema", nil
	}
	return r.doubtVersion(ctx, conn, t, e.booked)
}

// doubtVersion compares the version table with what the catalog says.
func (r *Resource) doubtVersion(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, booked bool) (string, error) {
	v := t.Versions[tenant.KindPostgres]
	if r.Delegates() {
		return "", nil // it is the other tool's; the structure is compared
	}
	if !booked {
		return "it has no version table", nil
	}
	p := new(place)
	read := readBook(p)
	for i := range read {
		read[i].sql = strings.ReplaceAll(read[i].sql, " "+migrationfile.VersionTable+" ", " "+quote(t.Schema)+"."+migrationfile.VersionTable+" ")
	}
	if err := send(ctx, conn.Conn().PgConn(), read); err != nil {
		return "", err
	}
	if at := migrationfile.Newest(p.book); at != v {
		return fmt.Sprintf("its version table says version %d, and the catalog %d", at, v), nil
	}
	return "", nil
}

// likeOthers is how many tenants at the same version a structure is compared with.
const likeOthers = 10

// doubtStructure compares the structure with those of tenants at the same version, where there are any.
func (r *Resource) doubtStructure(ctx context.Context, t tenant.Tenant, peers []tenant.Tenant) (string, error) {
	ts := append([]tenant.Tenant{t}, tenant.AtVersion(peers, t, tenant.KindPostgres, likeOthers)...)
	if len(ts) == 1 {
		return "", nil
	}
	all, err := r.Structures(ctx, ts)
	var away tenant.Unreadable
	if errors.As(err, &away) && away[t.ID] == nil { // others are compared with those that can be read
		err = nil
		all = slices.DeleteFunc(all, func(print string) bool { return print == "" })
	}
	if err != nil {
		return "", err
	}
	return tenant.DoubtStructure(all), nil
}

// judge says of a fault that is a lost tag whether Retag would give it back, or why not.
func (r *Resource) judge(ctx context.Context, t tenant.Tenant, peers []tenant.Tenant, f *tenant.Fault) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	p := new(place)
	var doubt string
	if err = send(ctx, conn.Conn().PgConn(), []command{look(t, p)}); err == nil {
		doubt, err = r.doubt(ctx, conn, t, p)
	}
	conn.Release()
	if err == nil && doubt == "" {
		doubt, err = r.doubtStructure(ctx, t, peers)
	}
	if err != nil {
		return tenant.WithTenant(failure("look at schema "+t.Schema, err), t.Name)
	}
	if doubt != "" {
		f.Message += ": " + doubt
		return nil
	}
	f.Fix, f.Hint, f.Tag = statements(r.putBack(t, p)), hintFix, true
	return nil
}

// Retag gives the schema and the role their tags back where nothing says that they are not the tenant's.
func (r *Resource) Retag(ctx context.Context, t tenant.Tenant, peers []tenant.Tenant) (changed bool, err error) {
	if doubt, err := r.doubtStructure(ctx, t, peers); err != nil || doubt != "" {
		return false, err
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	err = r.transact(ctx, conn, t, nil, func(p *place) ([]command, error) {
		changed = false
		if r.owned(t, p) == nil {
			return nil, nil
		}
		doubt, err := r.doubt(ctx, conn, t, p)
		if err != nil || doubt != "" {
			return nil, err
		}
		changed = true
		return r.putBack(t, p), nil
	})
	if err != nil {
		return false, refusal("give schema "+t.Schema+" its tag back", conn, t, err)
	}
	return changed, tenant.Checkpoint(ctx, "postgres/retagged")
}
