package schema

import (
	"context"
	"fmt"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

// Elsewhere refuses a tenant whose role owns something, or was granted something, in other databases of the server: DROP ROLE
// fails because of it, and it can only be taken away there.
func (r *Resource) Elsewhere(ctx context.Context, t tenant.Tenant) error {
	if !r.hasRole(t) {
		return nil
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var held, databases []string
	c := cmd(heldElsewhere, text(t.Role), text(mark(t)))
	c.row = func(row [][]byte) {
		databases = append(databases, string(row[0]))
		held = append(held, fmt.Sprintf("%s (%s)", row[0], row[1]))
	}
	if err := send(ctx, conn.Conn().PgConn(), []command{c}); err != nil {
		return failure("look for what role "+t.Role+" has in other databases", err)
	}
	if len(held) == 0 {
		return nil
	}
	return &tenant.Error{
		Kind: tenant.ErrForeign, Store: tenant.KindPostgres, Tenant: t.Name,
		Msg: fmt.Sprintf("role %s owns or may use objects in other databases of the server: %s", t.Role, upTo(5, held)),
		Hint: fmt.Sprintf(`in %s: REASSIGN OWNED BY %s TO the role that is to keep what it owns, then DROP OWNED BY %[2]s`,
			strings.Join(databases, " and in "), quote(t.Role)),
	}
}

const heldElsewhere = `SELECT d.datname, count(*) FROM pg_shdepend s JOIN pg_roles r ON s.refclassid = 'pg_authid'::regclass AND r.oid = s.refobjid
	JOIN pg_database d ON d.oid = s.dbid
WHERE r.rolname = %s AND split_part(shobj_description(r.oid, 'pg_authid'), ' ', 1) = %s AND d.datname <> current_database()
GROUP BY 1 ORDER BY 1`
