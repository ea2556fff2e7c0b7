package tenant

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/tenantctl/tenantctl/migrations"
)

// While the catalog is brought to a new version, and from then on, no process of an older program begins anything: it would go by
// other locks than those of this one. What it has begun is waited for by the person, not by the upgrade.

// sqlstateOlder and sqlstateInWork are raised by the catalog's own functions: this program is older than the catalog, and
// operations of an older program are in work.
const (
	sqlstateOlder  = "TC003"
	sqlstateInWork = "TC004"
)

// upgradeLockTimeout is how long a migration of the catalog keeps others waiting for the locks that it waits for.
const upgradeLockTimeout = time.Second

// setUpgradeLockTimeout is for one transaction.
const setUpgradeLockTimeout = `SELECT set_config('lock_timeout', $1, true)`

// whenFree does a transaction in which locks are waited for. One that waits too long lets those that wait behind it go first, and
// is tried again.
func (c *Catalog) whenFree(ctx context.Context, do func() error) error {
	for until := time.Now().Add(initWait); ; {
		err := do()
		if !isLockTimeout(err) || time.Now().After(until) {
			return err
		}
		c.log.Info("the catalog's tables are in use; trying again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200*time.Millisecond + rand.N(300*time.Millisecond)):
		}
	}
}

// bringTo applies the catalog's migrations up to a version, each in a transaction.
func (c *Catalog) bringTo(ctx context.Context, version int64) error {
	steps, err := catalogSteps()
	if err != nil {
		return fmt.Errorf("read the catalog's migrations: %w", err)
	}
	db := stdlib.OpenDBFromPool(c.pool)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, nil, goose.WithTableName(catalogBook), goose.WithGoMigrations(steps...), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("read the catalog's migrations: %w", err)
	}
	return catalogError("migrate the catalog", c.whenFree(ctx, func() error {
		_, err := p.UpTo(ctx, version)
		return err
	}))
}

// catalogSteps are the files of migrations/control, each with a lock_timeout.
func catalogSteps() ([]*goose.Migration, error) {
	names, err := fs.Glob(migrations.Control, "control/*.sql")
	if err != nil {
		return nil, err
	}
	var steps []*goose.Migration
	for _, name := range names {
		version, err := goose.NumericComponent(path.Base(name))
		if err != nil {
			return nil, err
		}
		text, err := fs.ReadFile(migrations.Control, name)
		if err != nil {
			return nil, err
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		steps = append(steps, goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, setUpgradeLockTimeout, milliseconds(upgradeLockTimeout)); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, up)
			return err
		}}, nil))
	}
	return steps, nil
}

// admitOnly lets none but programs that know a version begin anything, where nothing is in work. From a version on that is
// older than that rule, the migration that brings it looks once more.
func (c *Catalog) admitOnly(ctx context.Context, from, version int64) error {
	if from == 0 {
		return nil
	}
	return c.whenFree(ctx, func() error { return c.tryAdmitOnly(ctx, from, version) })
}

func (c *Catalog) tryAdmitOnly(ctx context.Context, from, version int64) error {
	return c.inTx(ctx, "look for operations in work", func(tx pgx.Tx) error {
		// Who is about to enter an operation has entered it, or waits until this is over.
		if _, err := tx.Exec(ctx, setUpgradeLockTimeout, milliseconds(upgradeLockTimeout)); err != nil {
			return err
		}
		if from < version {
			if _, err := tx.Exec(ctx, `LOCK TABLE tenantctl.operations IN SHARE ROW EXCLUSIVE MODE`); err != nil {
				return err
			}
			if err := c.inWay(ctx, tx, from, version); err != nil {
				return err
			}
			// The rest is of processes that are gone, whatever their leases say.
			if _, err := tx.Exec(ctx, `UPDATE tenantctl.operations SET lease_until = now() WHERE state IN ('running', 'undoing') AND lease_until > now()`); err != nil {
				return err
			}
		}
		return admit(ctx, tx, version)
	})
}

// admit writes down which programs may begin something, where the catalog has a place for that.
func admit(ctx context.Context, tx pgx.Tx, version int64) error {
	var ruled bool
	if err := tx.QueryRow(ctx, `SELECT to_regclass('tenantctl.admission') IS NOT NULL`).Scan(&ruled); err != nil || !ruled {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE tenantctl.admission SET least = $1 WHERE least <> $1`, version)
	return err
}

// readmit lets in the programs that know the version that the catalog has now, also where an upgrade has failed.
func (c *Catalog) readmit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	version, err := c.Version(ctx)
	if err != nil {
		return err
	}
	return c.inTx(ctx, "let the programs in again", func(tx pgx.Tx) error { return admit(ctx, tx, version) })
}

// querier is what a pool and a transaction have in common.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// inWay refuses an upgrade while operations are in work: in a catalog of an older version, they are an older program's.
func (c *Catalog) inWay(ctx context.Context, db querier, from, to int64) error {
	if from == 0 || from == to {
		return nil
	}
	rows, err := db.Query(ctx, `SELECT id, kind, coalesce(tenant_name, ''), owner FROM tenantctl.operations
		WHERE state IN ('running', 'undoing') AND lease_until > now() ORDER BY created_at`)
	if err != nil {
		return catalogError("look for operations in work", err)
	}
	var id uuid.UUID
	var kind, name, owner string
	var found []string
	_, err = pgx.ForEachRow(rows, []any{&id, &kind, &name, &owner}, func() error {
		if p := parseProcess(owner); !c.self.gone(p) {
			found = append(found, strings.Join(strings.Fields(fmt.Sprintf("%s %s (operation %s, %s)", kind, name, id, p.Label())), " "))
		}
		return nil
	})
	if err != nil {
		return catalogError("look for operations in work", err)
	}
	if len(found) == 0 {
		return c.sessionsInWay(ctx, db, from)
	}
	return inWork(list(found))
}

func inWork(what string) error {
	return &Error{
		Kind: ErrBusy, Code: "older_in_work", Store: "catalog", Msg: "nothing is upgraded, since an older tenantctl is at work: " + what,
		Hint: "run init again when it is done; a fleet run is ended by: tenantctl ops abort, with the older program",
	}
}

// rowLocks is the version from which on tenants are locked by rows, and not by advisory locks.
const rowLocks = 12

// sessionsInWay refuses an upgrade while a session of an older program holds a tenant by an advisory lock, which this program does
// not look at: its process may be stopped, and go on later.
func (c *Catalog) sessionsInWay(ctx context.Context, db querier, from int64) error {
	if from >= rowLocks {
		return nil
	}
	rows, err := db.Query(ctx, `SELECT DISTINCT format('the session of pid %s (role %s, from %s)', a.pid, a.usename, coalesce(a.client_addr::text, 'this machine'))
		FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND a.application_name = 'tenantctl' AND a.pid <> pg_backend_pid()`)
	if err != nil {
		return catalogError("look for sessions of older programs", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(found) == 0 {
		return catalogError("look for sessions of older programs", err)
	}
	return inWork(list(found))
}

// milliseconds are a time as PostgreSQL's settings take it.
func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func isLockTimeout(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "55P03" || pg.Code == "40P01")
}
