package schema

import (
	"context"
	"errors"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

// asOwner lets do work in a tenant's schema with the rights of the role that owns it. Where that is another role than the
// provisioning one, it is an adopted tenant's, who may have written code that runs then: it works by a login that is a
// member of that owner and of nothing else, and what it makes is the owner's.
func (r *Resource) asOwner(ctx context.Context, t tenant.Tenant, do func(*Resource) error) error {
	if !t.Adopted || r.keeper != nil {
		return do(r)
	}
	owners, err := r.otherOwners(ctx, []tenant.Tenant{t})
	if err != nil {
		return err
	}
	if owners[t.Schema] == "" {
		return do(r)
	}
	w, err := r.workAs(ctx, t)
	if err != nil {
		return err
	}
	return errors.Join(do(w.Resource), w.done(ctx))
}

// moveAsOwner is move with the rights of the schema's owner.
func (r *Resource) moveAsOwner(ctx context.Context, x *run) (moved tenant.Moved, err error) {
	err = r.asOwner(ctx, x.t, func(r *Resource) (err error) {
		moved, err = r.move(ctx, x)
		return err
	})
	return moved, err
}

// otherOwners tells who owns the adopted tenants' schemas that are not the provisioning role's, by the schema's name.
func (r *Resource) otherOwners(ctx context.Context, ts []tenant.Tenant) (map[string]string, error) {
	owners, schemas, marks := map[string]string{}, []string{}, []string{}
	for _, t := range ts {
		if t.Adopted {
			schemas, marks = append(schemas, text(t.Schema)), append(marks, text(mark(t)))
		}
	}
	if len(schemas) == 0 {
		return owners, nil
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	ask := cmd(`SELECT n.nspname, u.rolname FROM unnest(ARRAY[%s], ARRAY[%s]) q(schema, mark) JOIN pg_namespace n ON n.nspname = q.schema JOIN pg_roles u ON u.oid = n.nspowner
	JOIN pg_description d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0
WHERE u.rolname <> current_user AND split_part(d.description, ' ', 1) = q.mark`, strings.Join(schemas, ", "), strings.Join(marks, ", "))
	ask.row = func(row [][]byte) { owners[string(row[0])] = string(row[1]) }
	return owners, failure("look whose the schemas are", send(ctx, conn.Conn().PgConn(), []command{ask}))
}

// byOwner makes of commands of the provisioning role such as are run as the schema's owner, so that what they make is the
// owner's. None of them may run code of the tenant's, which could end that.
func byOwner(owner, self string) func([]command) []command {
	return func(commands []command) []command {
		if owner == self {
			return commands
		}
		return append(append([]command{cmd("SET LOCAL ROLE %s", quote(owner))}, commands...), cmd("RESET ROLE"))
	}
}
