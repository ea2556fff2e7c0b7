package schema

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// keepTag ends a migration's transaction: the server puts the ownership tags back before the comments that a file, or
// what it calls, has written in their place.
func (r *Resource) keepTag(ctx context.Context, t tenant.Tenant) command {
	if tenant.LeaseFrom(ctx) == nil { // outside a catalog, which has the function
		return cmd("SELECT")
	}
	return cmd("SELECT tenantctl.keep_tag(%s, %s, %s)", text(t.Schema), text(r.roleOf(t)), text(mark(t)))
}

// roleOf is the role that a tenant is to have; empty where it is to have none.
func (r *Resource) roleOf(t tenant.Tenant) string {
	if !r.hasRole(t) {
		return ""
	}
	return t.Role
}

// putBack gives the statements that put lost tags back before the comments that stand there now. Whether what stands there
// is the tenant's, the caller knows.
func (r *Resource) putBack(t tenant.Tenant, p *place) []command {
	var commands []command
	if p.schema == tenant.Foreign {
		commands = append(commands, cmd("COMMENT ON SCHEMA %s IS %s", quote(t.Schema), tagged(t, p.said)))
	}
	if p.role == tenant.Foreign && r.hasRole(t) {
		commands = append(commands, cmd("COMMENT ON ROLE %s IS %s", quote(t.Role), tagged(t, p.roleSaid)))
	}
	return commands
}

// tagged is a comment behind the tenant's ownership tag, as SQL.
func tagged(t tenant.Tenant, said string) string {
	return text(strings.TrimSpace(mark(t) + " " + said))
}

// keepTagAfter is keepTag for what is no transaction of ours: it looks, and then puts back what was there before. before
// is what stood there when the work began.
func (r *Resource) keepTagAfter(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, before *place) error {
	now := new(place)
	// What the work has set, such as a time-out, is not for this.
	if err := send(ctx, conn.Conn().PgConn(), []command{cmd("SET statement_timeout = 0"), look(t, now)}); err != nil {
		return err
	}
	if before.role != tenant.Ours {
		now.role = tenant.Absent // it is not for this to judge
	}
	if now.schema == tenant.Absent {
		return missing(t)
	}
	return send(ctx, conn.Conn().PgConn(), r.putBack(t, now))
}

// owned refuses to take away what has the tenant's names and does not bear its ownership tag.
func (r *Resource) owned(t tenant.Tenant, p *place) error {
	switch {
	case p.schema == tenant.Foreign:
		return notOwned("schema", t.Schema)
	case p.role == tenant.Foreign && r.hasRole(t):
		return notOwned("role", t.Role)
	}
	return nil
}

func notOwned(what, name string) error {
	return &tenant.Error{
		Kind: tenant.ErrForeign, Store: tenant.KindPostgres, Hint: tenant.HintNotOwned,
		Msg: fmt.Sprintf("%s %s does not bear the tenant's ownership tag, and is left as it is", what, name),
	}
}
