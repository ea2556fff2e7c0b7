package schema

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sethvargo/go-retry"

	"github.com/tenantctl/tenantctl/tenant"
)

// Lock takes the role's right to log in and ends its sessions; then it takes its use of the schema and ends what others
// still do in it with the role's rights. It waits for no lock that a tenant could hold. Where the tenant has no role of its own
// there is nothing to lock: those are waited for who write in its schema now.
func (r *Resource) Lock(ctx context.Context, t tenant.Tenant) (enforced bool, err error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	enforced, err = r.noLogin(ctx, conn, t, func(p *place) (bool, error) { return r.lockable(ctx, conn, t, p) })
	if err == nil {
		err = tenant.Checkpoint(ctx, "postgres/login-set")
	}
	if err == nil && enforced {
		err = r.endSessions(ctx, conn, t)
	}
	if err == nil && enforced {
		err = r.unguarded(ctx, conn, t, func(*place) ([]command, error) {
			return []command{cmd("REVOKE USAGE ON SCHEMA %s FROM %s", quote(t.Schema), quote(t.Role))}, nil
		})
	}
	if err == nil {
		err = r.endLate(ctx, conn, t, enforced)
	}
	return enforced, refusal("lock role "+t.Role, conn, t, err)
}

// Unlock gives the role back what Lock took.
func (r *Resource) Unlock(ctx context.Context, t tenant.Tenant) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	schema, role := quote(t.Schema), quote(t.Role)
	err = r.transact(ctx, conn, t, nil, func(p *place) ([]command, error) {
		there, err := r.lockable(ctx, conn, t, p)
		if err != nil || !there {
			return nil, err
		}
		return []command{cmd("ALTER ROLE %s LOGIN", role), cmd("GRANT USAGE ON SCHEMA %s TO %s", schema, role)}, nil
	})
	if err == nil {
		err = tenant.Checkpoint(ctx, "postgres/login-set")
	}
	return refusal("unlock role "+t.Role, conn, t, err)
}

// lockable tells whether the tenant has a role of its own here.
func (r *Resource) lockable(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, p *place) (bool, error) {
	if err := r.usable(ctx, conn, t, p); err != nil {
		return false, err
	}
	there, err := r.usableRole(ctx, conn, t, p)
	if err == nil && !there && r.hasRole(t) {
		err = noRole(t, p)
	}
	return there, err
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

// noLogin takes the role's right to log in, where there tells that it is the tenant's. A session of the role that changes its
// own password holds the role's row: such sessions are ended for as long as that takes.
func (r *Resource) noLogin(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, there func(*place) (bool, error)) (is bool, err error) {
	err = r.unguarded(ctx, conn, t, func(p *place) ([]command, error) {
		if is, err = there(p); err != nil || !is || !p.canLogin {
			return nil, err
		}
		return []command{cmd("ALTER ROLE %s NOLOGIN", quote(t.Role))}, nil
	})
	return is, err
}

// rowPatience is how long a role's row may be held before its sessions are ended.
const rowPatience = 200 * time.Millisecond

// endWhile ends the role's sessions again and again until stop, once a wait takes longer than it should.
func (r *Resource) endWhile(ctx context.Context, t tenant.Tenant) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ending, ctx := tenant.NewGroup(ctx)
	ending.Go(func() error {
		tick := time.NewTicker(rowPatience)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				// The wait for the row tells whether it was of use.
				_ = r.endSessionsOnce(ctx, t)
			}
		}
	})
	return func() {
		cancel()
		_ = ending.Wait() // it gives no error
	}
}

// unguarded does a transaction under the lease, without the tenant's lock, and with an end to its waits.
func (r *Resource) unguarded(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, do func(*place) ([]command, error)) error {
	err := r.retry(ctx, func(ctx context.Context) error {
		defer rollback(ctx, conn)
		p := new(place)
		opening := append(r.begin(t), cmd("SET LOCAL lock_timeout = %d", milliseconds(cmp.Or(r.cfg.LockTimeout, cleanUp))))
		opening = append(opening, cmd("%s", tenant.LeaseFrom(ctx).HoldSQL()), look(t, p))
		if err := send(ctx, conn.Conn().PgConn(), opening); err != nil {
			return err
		}
		commands, err := do(p)
		if err != nil {
			return err
		}
		if len(commands) > 0 { // so it is the tenant's role
			defer r.endWhile(ctx, t)()
		}
		return send(ctx, conn.Conn().PgConn(), append(commands, ending(conn, "COMMIT")...))
	})
	return r.blame(ctx, conn, t, err)
}

// endSessionsOnce ends the sessions of the tenant's role that there are now, on a connection of its own.
func (r *Resource) endSessionsOnce(ctx context.Context, t tenant.Tenant) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	pids, err := sessionsOf(ctx, conn, t.Role)
	if err == nil && len(pids) > 0 {
		err = r.terminate(ctx, conn, pids, []string{t.Role})
	}
	return err
}

func sessionsOf(ctx context.Context, conn *pgxpool.Conn, role string) (pids []string, err error) {
	find := cmd("SELECT pid FROM pg_stat_activity WHERE usesysid = to_regrole(%s)", text(quote(role)))
	find.row = func(row [][]byte) { pids = append(pids, string(row[0])) }
	return pids, send(ctx, conn.Conn().PgConn(), []command{find})
}

// terminate ends sessions that logged in as those roles. Who is no superuser has to be a member of a role for that.
func (r *Resource) terminate(ctx context.Context, conn *pgxpool.Conn, pids, roles []string) error {
	end := cmd("SELECT pg_terminate_backend(pid) FROM unnest(ARRAY[%s]::int[]) pid", strings.Join(pids, ", "))
	err := send(ctx, conn.Conn().PgConn(), []command{end})
	if code(err) != insufficientRights {
		return err
	}
	return r.asMember(ctx, conn, roles, end)
}

// untilEnded does what ends sessions until it says that there are none any more, or the time is over.
func untilEnded(ctx context.Context, limit time.Duration, end func(context.Context) error) error {
	waits := retry.WithMaxDuration(limit, retry.WithCappedDuration(time.Second, retry.NewExponential(5*time.Millisecond)))
	return retry.Do(ctx, waits, end)
}

// endSessions ends all sessions of the tenant's role and waits until they are gone.
func (r *Resource) endSessions(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant) error {
	return untilEnded(ctx, cleanUp, func(ctx context.Context) error {
		pids, err := sessionsOf(ctx, conn, t.Role)
		if err != nil || len(pids) == 0 {
			return err
		}
		if err := r.terminate(ctx, conn, pids, []string{t.Role}); err != nil {
			return err
		}
		return retry.RetryableError(&tenant.Error{
			Kind: tenant.ErrBusy, Store: tenant.KindPostgres, Msg: fmt.Sprintf("%d sessions of role %s do not end", len(pids), t.Role),
			Hint: "look at them in pg_stat_activity, then try again",
		})
	})
}

// endLate makes sure that no transaction goes on that began before the tenant was locked out and could write into its schema
// still. A session that may act as the tenant's role, such as one of an application's own role, is ended; others are waited
// for where they have written. Where nobody is locked out, new ones come all the time: those are waited for that there were at
// the first look. Of prepared transactions it warns: whoever prepared them decides on them.
func (r *Resource) endLate(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, lockedOut bool) error {
	var prepared, first []holder
	looked := false
	err := untilEnded(ctx, cmp.Or(r.cfg.LockTimeout, cleanUp), func(ctx context.Context) error {
		all, err := r.lockHolders(ctx, conn, t)
		if err != nil {
			return err
		}
		isPrepared := func(h holder) bool { return h.gid != "" }
		prepared = slices.DeleteFunc(slices.Clone(all), func(h holder) bool { return !isPrepared(h) })
		all = slices.DeleteFunc(all, func(h holder) bool { return isPrepared(h) || !h.writes && !h.member })
		if !looked {
			looked, first = true, slices.Clone(all)
		}
		if !lockedOut {
			all = slices.DeleteFunc(all, func(h holder) bool {
				return !slices.ContainsFunc(first, func(f holder) bool { return f.number == h.number })
			})
		}
		if len(all) == 0 {
			return nil
		}
		return r.endOrWait(ctx, conn, t, all)
	})
	for _, h := range prepared {
		if r.cfg.Warn != nil {
			r.cfg.Warn(fmt.Sprintf("tenant %s: postgres: %s holds locks in schema %s, and what it wrote is there once it is committed; to take it back: %s", t.Name, h, t.Schema, h.end()))
		}
	}
	return err
}

// endOrWait ends those of the holders that may act as the tenant's role, and says who is still there.
func (r *Resource) endOrWait(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, all []holder) error {
	var pids []string
	for _, h := range all {
		if _, err := strconv.Atoi(h.pid); err == nil && h.member {
			pids = append(pids, h.pid)
		}
	}
	hint := "try again when they are over"
	if len(pids) > 0 {
		err := r.terminate(ctx, conn, pids, rolesOf(all, func(h holder) bool { return h.member }))
		if code(err) == insufficientRights {
			hint, err = "GRANT pg_signal_backend TO "+quote(conn.Conn().Config().User)+", then try again", nil
		}
		if err != nil {
			return err
		}
	}
	e := &tenant.Error{Kind: tenant.ErrBusy, Store: tenant.KindPostgres, Msg: "transactions in schema " + t.Schema + " that began before are not over", Hint: hint}
	nameHolders(e, &heldError{errors.New("not over"), all})
	return retry.RetryableError(e)
}
