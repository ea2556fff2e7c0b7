package schema

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sethvargo/go-retry"

	"github.com/tenantctl/tenantctl/tenant"
)

// place is what stands under a tenant's names, as a transaction sees it that holds the tenant's lock.
type place struct {
	schema, role tenant.Presence
	canLogin     bool
	inForce      bool // the schema is where names are looked up

	said, roleSaid string // their comments

	book      map[int64]bool // versions applied; read on demand
	began     [3]string      // the schemas in force, the role, and the session's; read on demand
	relations []string       // DROP statements for them; read on demand

	outside []tenant.Dependent // what depends on the schema from outside it; read on demand

	free bool // no other process works on the tenant

	noted []command // what is written into the catalog with the transaction
}

// mark is written into what is made for a tenant, and tells it from everything else of that name.
func mark(t tenant.Tenant) string { return anyMark + t.ID.String() }

// marks tells whether a comment is a tenant's mark. More may follow it: the data that a restore has replaced is the
// tenant's all the same.
func marks(comment []byte, t tenant.Tenant) bool {
	first, _, _ := strings.Cut(string(comment), " ")
	return first == mark(t)
}

// tryLock takes the tenant's lock until the transaction ends: a row of the catalog, which no tenant can reach. Without a
// lease there is no catalog, and nobody to share with. It is only ever a try: one that waits for a lock holds a snapshot,
// which CREATE INDEX CONCURRENTLY waits for in turn. What is read under the lock needs a statement of its own, whose
// snapshot is younger.
func tryLock(ctx context.Context, t tenant.Tenant, p *place) command {
	return free(tenant.LeaseFrom(ctx).LockSQL(t.ID), p)
}

// holding is tryLock that holds the lease too.
func holding(ctx context.Context, t tenant.Tenant, p *place) command {
	return free(tenant.LeaseFrom(ctx).TakeSQL(t.ID), p)
}

// free is a command that tells in p whether a lock was free.
func free(sql string, p *place) command {
	c := cmd("%s", sql)
	c.row = func(row [][]byte) { p.free = is(row[0]) }
	return c
}

// look reads a place.
func look(t tenant.Tenant, p *place) command {
	c := cmd(`SELECT current_schema() IS NOT DISTINCT FROM %[1]s,
	CASE WHEN s.oid IS NOT NULL THEN coalesce(obj_description(s.oid, 'pg_namespace'), '') END,
	CASE WHEN r.oid IS NOT NULL THEN coalesce(shobj_description(r.oid, 'pg_authid'), '') END, r.rolcanlogin
FROM (SELECT) here LEFT JOIN pg_namespace s ON s.nspname = %[1]s LEFT JOIN pg_roles r ON r.rolname = %[2]s`,
		text(t.Schema), text(t.Role))
	c.row = func(row [][]byte) {
		p.inForce, p.schema, p.role, p.canLogin = is(row[0]), presence(row[1], t), presence(row[2], t), is(row[3])
		p.said, p.roleSaid = string(row[1]), string(row[2])
	}
	return c
}

// presence tells by the comment of what has a tenant's name whose it is; there is none where the comment is nil.
func presence(comment []byte, t tenant.Tenant) tenant.Presence {
	switch {
	case comment == nil:
		return tenant.Absent
	case marks(comment, t):
		return tenant.Ours
	}
	return tenant.Foreign
}

// lookAtSchema reads of a place what a migration needs to know, for a quarter of the price.
func lookAtSchema(t tenant.Tenant, p *place) command {
	c := cmd(`SELECT current_schema() IS NOT DISTINCT FROM %[1]s, (SELECT coalesce((SELECT description FROM pg_description d
	WHERE d.objoid = s.oid AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0), '') FROM pg_namespace s WHERE s.nspname = %[1]s)`, text(t.Schema))
	c.row = func(row [][]byte) { p.inForce, p.schema, p.said = is(row[0]), presence(row[1], t), string(row[1]) }
	return c
}

// is reads a truth value in text format.
func is(b []byte) bool { return string(b) == "t" }

// transact does one transaction for a tenant in two round trips: the first opens it, holds the lease, takes the lock
// and reads the place (and what reads asks for); then do decides what to run before the commit. Where live traffic or
// another process holds a lock, all of it is tried again.
func (r *Resource) transact(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, reads func(*place) []command, do func(*place) ([]command, error)) error {
	return r.transactAt(ctx, conn, t, look, reads, do)
}

// transactAt is transact with a reader of the place of its own. A worker's transaction has a guard, which holds the lease and
// the lock for it.
func (r *Resource) transactAt(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, look func(tenant.Tenant, *place) command, reads func(*place) []command, do func(*place) ([]command, error)) error {
	err := r.retry(ctx, func(ctx context.Context) (err error) {
		pg := conn.Conn().PgConn()
		defer rollback(ctx, conn)
		p := new(place)
		opening := r.begin(t)
		var g *guard
		if r.keeper == nil {
			opening = append(opening, holding(ctx, t, p))
		} else {
			if g, err = r.keeper.guard(ctx, holding(ctx, t, p)); err != nil {
				return err
			}
			defer g.release(ctx)
			defer rollback(ctx, conn) // before the guard ends
			if !p.free {
				return busy()
			}
		}
		opening = append(opening, look(t, p))
		if reads != nil {
			opening = append(opening, reads(p)...)
		}
		if err := send(ctx, pg, opening); err != nil {
			if code(err) == undefinedTable && p.schema != "" {
				return p.noBook(t)
			}
			return err
		}
		if !p.free {
			return busy()
		}
		commands, err := do(p)
		if err != nil {
			return err
		}
		if g == nil {
			return send(ctx, pg, append(append(commands, p.noted...), ending(conn, "COMMIT")...))
		}
		if err := send(ctx, pg, append(commands, cmd("SELECT"))); err != nil {
			return err
		}
		return g.commit(ctx, pg, p.noted...)
	})
	return r.blame(ctx, conn, t, err)
}

// begin begins a transaction in which names are looked up in the tenant's schema.
func (r *Resource) begin(t tenant.Tenant) []command {
	commands := []command{cmd(beginning), cmd("SET LOCAL idle_in_transaction_session_timeout = %d", milliseconds(idleInTransaction))}
	for _, s := range r.settings(t) {
		commands = append(commands, cmd("SET LOCAL %s", s))
	}
	return commands
}

// path is the search_path of a tenant: its schema, and behind it the one that holds extensions, where there is one.
func (r *Resource) path(schema string) string {
	if r.cfg.ExtensionsSchema == "" {
		return quote(schema)
	}
	return quote(schema) + ", " + quote(r.cfg.ExtensionsSchema)
}

// beginning begins a transaction as this program expects it, whatever the database's defaults are.
const beginning = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE, NOT DEFERRABLE"

// settings are in force while work is done for a tenant.
func (r *Resource) settings(t tenant.Tenant) []string {
	all := []string{
		"search_path = " + r.path(t.Schema),
		fmt.Sprintf("lock_timeout = %d", milliseconds(r.cfg.LockTimeout)),
		fmt.Sprintf("statement_timeout = %d", milliseconds(r.cfg.StatementTimeout)),
	}
	if r.acts != "" { // DISCARD ALL has taken it back
		all = append(all, "role = "+quote(r.acts))
	}
	return all
}

// idleInTransaction is how long a transaction for a tenant may stand still: one whose machine has vanished keeps the
// application from the tables that it has locked.
const idleInTransaction = time.Minute

// milliseconds are rounded up, since 0 is no limit.
func milliseconds(d time.Duration) int64 {
	return (d + time.Millisecond - 1).Milliseconds()
}

// rollback ends a transaction that did not commit. Where even that fails, the pool closes the connection.
func rollback(ctx context.Context, conn *pgxpool.Conn) {
	pg := conn.Conn().PgConn()
	if pg.IsClosed() || pg.TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	_ = send(ctx, pg, ending(conn, "ROLLBACK"))
}

// cleanUp bounds what is done after a failure or Ctrl-C.
const cleanUp = 10 * time.Second

// retry does again what live traffic or another process on the same tenant was in the way of.
func (r *Resource) retry(ctx context.Context, do func(context.Context) error) error {
	waits := retry.NewExponential(50 * time.Millisecond)
	waits = retry.WithJitterPercent(50, retry.WithCappedDuration(2*time.Second, waits))
	waits = retry.WithMaxRetries(uint64(max(r.cfg.LockRetries, 0)), waits)
	return retry.Do(ctx, waits, func(ctx context.Context) error {
		err := do(ctx)
		if locked(err) || raced(err) || errors.Is(err, tenant.ErrBusy) {
			return retry.RetryableError(err)
		}
		return err
	})
}

func busy() error {
	return &tenant.Error{Kind: tenant.ErrBusy, Store: tenant.KindPostgres, Msg: "another process is at work in the schema", Hint: "try again when it is done"}
}

// code is the SQLSTATE of an error, or "".
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// raced tells whether another transaction changed the same entries of PostgreSQL's own tables at the same moment, such as
// those of a function of all tenants, or whether it cannot be told apart from one that came before.
func raced(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	switch pg.Code {
	case serializationFailure:
		return true
	case internalError:
		return strings.HasPrefix(pg.Message, "tuple concurrently ") || strings.HasPrefix(pg.Message, "cache lookup failed ")
	case uniqueViolation:
		return pg.SchemaName == "pg_catalog"
	case duplicateObject, duplicateTable, duplicateSchema, duplicateFunction:
		var at *refusedCommand
		return errors.As(err, &at) && at.of != nil && tolerant.MatchString(at.of.SQL)
	}
	return false
}

// tolerant statements say what to do where the object is there: only one that came meanwhile is in their way.
var tolerant = regexp.MustCompile(`(?i)\bif\s+not\s+exists\b|\bor\s+replace\b`)

// locked tells whether a lock was not to be had.
func locked(err error) bool {
	return code(err) == lockNotAvailable || code(err) == deadlockDetected
}
