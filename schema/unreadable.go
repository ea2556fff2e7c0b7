package schema

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// readPatience is how long a look at many schemas waits for a lock that one of them has.
func (r *Resource) readPatience() command {
	return cmd("SELECT set_config('lock_timeout', '%d', true)", milliseconds(cmp.Or(r.cfg.LockTimeout, 2*time.Second)))
}

// lockedAway finds those of the tenants whose schemas cannot be read, since somebody locks a relation in them against readers
// or waits for that, and says who.
func (r *Resource) lockedAway(ctx context.Context, conn *pgxpool.Conn, ts []tenant.Tenant) (tenant.Unreadable, error) {
	locked := map[string]bool{}
	find := cmd(`SELECT DISTINCT (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = l.relation) FROM pg_locks l
	WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.pid IS DISTINCT FROM pg_backend_pid() AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())`)
	find.row = func(row [][]byte) { locked[string(row[0])] = true }
	if err := send(ctx, conn.Conn().PgConn(), []command{find}); err != nil {
		return nil, err
	}
	away := tenant.Unreadable{}
	for _, t := range ts {
		if locked[t.Schema] {
			away[t.ID] = r.unreadable(ctx, conn, t)
		}
	}
	return away, nil
}

// unreadable says that a schema cannot be read, and who is in the way.
func (r *Resource) unreadable(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant) *tenant.Error {
	e := &tenant.Error{
		Kind: tenant.ErrLocked, Code: lockNotAvailable, Store: tenant.KindPostgres, Msg: "schema " + t.Schema + " cannot be read: it is locked",
		Hint: "run the command again when it is not",
	}
	holders, err := r.lockHolders(ctx, conn, t)
	if err == nil { // without a name, then
		nameHolders(e, &heldError{e, holders})
	}
	return e
}

// lockedBook tells of a version table that could not be read since it was locked.
func lockedBook(fault string) bool {
	return strings.HasSuffix(fault, "(SQLSTATE "+lockNotAvailable+")")
}
