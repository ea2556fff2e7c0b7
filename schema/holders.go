package schema

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// holder is who holds locks that are in our way: a session, or a prepared transaction.
type holder struct {
	pid, gid string // one of them
	number   string // of its virtual transaction, which no other one has; empty where nobody asks
	role     string // that it logged in as
	since    string // when its transaction began; empty where we may not know
	writes   bool   // its locks are not those of a reader
	member   bool   // it may act as the tenant's role, and is neither a superuser nor the provisioning role
}

func (h holder) String() string {
	who := "pid " + h.pid
	if h.gid != "" {
		who = "prepared transaction " + text(h.gid)
	}
	if h.since != "" {
		return fmt.Sprintf("%s (role %s, since %s)", who, h.role, h.since)
	}
	return fmt.Sprintf("%s (role %s)", who, h.role)
}

// end is the statement that ends it.
func (h holder) end() string {
	if h.gid != "" {
		return "ROLLBACK PREPARED " + text(h.gid)
	}
	return fmt.Sprintf("SELECT pg_terminate_backend(%s)", h.pid)
}

// maxNamed is how many holders a message names.
const maxNamed = 3

// namedHolders are the first few of them, and the statements that end these.
func namedHolders(all []holder) (who, ends string) {
	var names, statements []string
	for _, h := range all[:min(len(all), maxNamed)] {
		names, statements = append(names, h.String()), append(statements, h.end())
	}
	if more := len(all) - maxNamed; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", "), strings.Join(statements, "; ")
}

// heldError is a wait that was in vain, and who was in the way.
type heldError struct {
	err     error
	holders []holder
}

func (h *heldError) Error() string { return h.err.Error() }
func (h *heldError) Unwrap() error { return h.err }

// nameHolders completes a failure by who was in the way, where that is known.
func nameHolders(e *tenant.Error, err error) {
	var h *heldError
	if !errors.As(err, &h) || len(h.holders) == 0 {
		return
	}
	who, ends := namedHolders(h.holders)
	e.Msg += "; held by " + who
	e.Hint = strings.TrimPrefix(fmt.Sprintf("%s; what must not go on is ended by: %s", e.Hint, ends), "; ")
}

// blame finds out who holds what was waited for in vain. Other errors are left as they are.
func (r *Resource) blame(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, err error) error {
	var holders []holder
	switch {
	case ctx.Err() != nil || err == nil:
		return err
	case locked(err):
		// The failure matters more than its culprit.
		if holders, _ = r.lockHolders(ctx, conn, t); len(holders) == 0 {
			_ = send(ctx, conn.Conn().PgConn(), []command{oldestSnapshot(&holders)})
		}
		return &heldError{err, holders}
	case !errors.Is(err, tenant.ErrBusy):
		return err
	}
	keeper := r
	if r.keeper != nil {
		keeper = r.keeper
	}
	var named tenant.Error
	var e *tenant.Error
	if keeper.ask(ctx, atWork(t, &holders)) != nil || !errors.As(err, &e) {
		return err
	}
	named = *e
	nameHolders(&named, &heldError{err, holders})
	return &named
}

// blameElsewhere is blame for a transaction that has failed and can be asked nothing any more.
func (r *Resource) blameElsewhere(ctx context.Context, t tenant.Tenant, err error) error {
	conn, failed := r.acquireOwn(ctx)
	if failed != nil {
		return err
	}
	defer conn.Release()
	return r.blame(ctx, conn, t, err)
}

const sinceFormat = `coalesce(to_char(%s AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '')`

// oldestSnapshot reads which session has the oldest transaction that still sees what was before: CREATE INDEX CONCURRENTLY waits for
// such ones wherever they are in the database.
func oldestSnapshot(holders *[]holder) command {
	c := cmd(`SELECT pid, coalesce(usename, ''), `+sinceFormat+` FROM pg_stat_activity
	WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL AND backend_type = 'client backend' ORDER BY age(backend_xmin) DESC LIMIT 1`, "xact_start")
	c.row = func(row [][]byte) {
		*holders = append(*holders, holder{pid: string(row[0]), role: string(row[1]), since: string(row[2])})
	}
	return c
}

// atWork reads which process of ours holds the tenant's lock.
func atWork(t tenant.Tenant, holders *[]holder) command {
	c := cmd(`SELECT a.pid, coalesce(a.usename, ''), `+sinceFormat+` FROM tenantctl.locks k JOIN pg_stat_activity a ON a.pid = coalesce(
	(SELECT l.pid FROM pg_locks l WHERE l.locktype = 'transactionid' AND l.granted AND l.transactionid = k.xmax LIMIT 1), k.pid) WHERE k.id = '%s'`,
		"coalesce(a.xact_start, a.backend_start)", t.ID)
	c.row = func(row [][]byte) {
		*holders = append(*holders, holder{pid: string(row[0]), role: string(row[1]), since: string(row[2])})
	}
	return c
}

// schemaHolders reads who else holds locks on the relations of a schema. A prepared transaction has no pid: its locks and its
// number share a virtual transaction.
const schemaHolders = `SELECT coalesce(l.pid::text, ''), coalesce(p.gid, ''), l.virtualtransaction, coalesce(a.usename, p.owner, ''), ` + sinceFormat + `,
	bool_or(l.mode NOT IN ('AccessShareLock', 'RowShareLock')),
	coalesce(bool_or(NOT o.rolsuper AND o.oid <> me.oid AND pg_has_role(o.oid, t.oid, 'MEMBER')), false)
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.virtualtransaction = l.virtualtransaction
LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
LEFT JOIN pg_roles o ON o.oid = a.usesysid
LEFT JOIN pg_roles t ON t.rolname = %s
JOIN pg_roles me ON me.rolname = session_user
WHERE l.locktype = 'relation' AND l.granted AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
	AND l.pid IS DISTINCT FROM pg_backend_pid() AND coalesce(a.backend_type, '') IN ('', 'client backend')
	AND (SELECT c.relnamespace FROM pg_class c WHERE c.oid = l.relation) = to_regnamespace(%s)
GROUP BY 1, 2, 3, 4, 5 ORDER BY 5, 1, 2`

// lockHolders are the sessions and prepared transactions of others that hold locks on the relations of a tenant's schema.
// When those of its role began may only be seen by a member of it.
func (r *Resource) lockHolders(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant) ([]holder, error) {
	var holders []holder
	ask := cmd(schemaHolders, "coalesce(a.xact_start, p.prepared)", text(t.Role), text(quote(t.Schema)))
	ask.row = func(row [][]byte) {
		holders = append(holders, holder{
			pid: string(row[0]), gid: string(row[1]), number: string(row[2]), role: string(row[3]), since: string(row[4]), writes: is(row[5]), member: is(row[6]),
		})
	}
	if err := send(ctx, conn.Conn().PgConn(), []command{ask}); err != nil {
		return nil, err
	}
	hidden := rolesOf(holders, func(h holder) bool { return h.since == "" && h.member })
	if len(hidden) == 0 {
		return holders, nil
	}
	seen := holders
	holders = nil
	if err := r.asMember(ctx, conn, hidden, ask); err != nil {
		return seen, nil // without the times, then
	}
	return holders, nil
}

// rolesOf are the roles, each once, of those holders that are meant.
func rolesOf(holders []holder, meant func(holder) bool) []string {
	var roles []string
	had := map[string]bool{}
	for _, h := range holders {
		if h.role != "" && meant(h) && !had[h.role] {
			had[h.role] = true
			roles = append(roles, h.role)
		}
	}
	return roles
}

// asMember does commands as a member of roles, in a transaction that is taken back: for ever, the provisioning role would be a
// member of thousands. It is one by way of a role that is made for the moment: the row that makes it a member itself could
// be held by the roles' own sessions.
func (r *Resource) asMember(ctx context.Context, conn *pgxpool.Conn, roles []string, commands ...command) error {
	l, err := r.newLogin(working, "tenantctl", "")
	if err != nil {
		return err
	}
	between := quote(l.role)
	all := []command{cmd(beginning), cmd("SET LOCAL lock_timeout = '2s'"), cmd("CREATE ROLE %s NOLOGIN", between)}
	for _, role := range roles {
		all = append(all, cmd("GRANT %s TO %s", quote(role), between))
	}
	all = append(append(all, cmd("GRANT %s TO CURRENT_USER", between)), commands...)
	defer rollback(ctx, conn)
	return send(ctx, conn.Conn().PgConn(), append(all, cmd("ROLLBACK")))
}
