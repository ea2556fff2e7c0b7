package schema

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sethvargo/go-retry"

	"github.com/tenantctl/tenantctl/tenant"
)

// Lock takes the role's right to log in and its use of the schema, and ends its sessions. There is nothing to lock
// where the tenant has no role of its own.
func (r *Resource) Lock(ctx context.Context, t tenant.Tenant) (enforced bool, err error) {
	return r.setLogin(ctx, t, false)
}

// Unlock gives the role back what Lock took.
func (r *Resource) Unlock(ctx context.Context, t tenant.Tenant) error {
	_, err := r.setLogin(ctx, t, true)
	return err
}

func (r *Resource) setLogin(ctx context.Context, t tenant.Tenant, can bool) (enforced bool, err error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	schema, role := quote(t.Schema), quote(t.Role)
	err = r.transact(ctx, conn, t, nil, func(p *place) ([]command, error) {
		if err := r.usable(ctx, conn, t, p); err != nil {
			return nil, err
		}
		var err error
		if enforced, err = r.usableRole(ctx, conn, t, p); err != nil {
			return nil, err
		}
		switch {
		case enforced && can:
			return []command{cmd("ALTER ROLE %s LOGIN", role), cmd("GRANT USAGE ON SCHEMA %s TO %s", schema, role)}, nil
		case enforced:
			return []command{cmd("ALTER ROLE %s NOLOGIN", role), cmd("REVOKE USAGE ON SCHEMA %s FROM %s", schema, role)}, nil
		case r.hasRole(t):
			return nil, noRole(t, p)
		}
		return nil, nil
	})
	if err == nil {
		err = tenant.Checkpoint(ctx, "postgres/login-set")
	}
	if err == nil && enforced && !can {
		err = r.endSessions(ctx, conn, t)
	}
	doing := "lock role "
	if can {
		doing = "unlock role "
	}
	return enforced, refusal(doing+t.Role, conn, t, err)
}

// noRole refuses a tenant whose role is missing or somebody else's.
func noRole(t tenant.Tenant, p *place) error {
	if p.role == tenant.Foreign {
		return foreign("role", t.Role)
	}
	return &tenant.Error{
		Kind: tenant.ErrMissing, Store: tenant.KindPostgres, Msg: fmt.Sprintf("role %s does not exist", t.Role),
		Hint: "it was dropped by hand, or the tenant was made with postgres.roles: none",
	}
}

// endSessions ends all sessions of the tenant's role and waits until they are gone. To be allowed to, the provisioning
// role becomes a member of it in a transaction that is taken back: for ever, it would be a member of thousands.
func (r *Resource) endSessions(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant) error {
	waits := retry.WithMaxDuration(cleanUp, retry.WithCappedDuration(time.Second, retry.NewExponential(5*time.Millisecond)))
	return retry.Do(ctx, waits, func(ctx context.Context) error {
		defer rollback(ctx, conn)
		sessions := int64(0)
		count := cmd("SELECT count(*) FROM pg_stat_activity WHERE usesysid = to_regrole(%s)", text(quote(t.Role)))
		count.row = func(row [][]byte) { sessions, _ = strconv.ParseInt(string(row[0]), 10, 64) }
		end := cmd("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = to_regrole(%s)", text(quote(t.Role)))
		if err := send(ctx, conn.Conn().PgConn(), []command{count}); err != nil || sessions == 0 {
			return err
		}
		if err := send(ctx, conn.Conn().PgConn(), []command{cmd("BEGIN"), cmd("GRANT %s TO CURRENT_USER", quote(t.Role)), end, cmd("ROLLBACK")}); err != nil {
			return err
		}
		return retry.RetryableError(&tenant.Error{
			Kind: tenant.ErrBusy, Store: tenant.KindPostgres, Msg: fmt.Sprintf("%d sessions of role %s do not end", sessions, t.Role),
			Hint: "look at them in pg_stat_activity, then try again",
		})
	})
}
