package tenant

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Init creates the catalog or brings it to this program's version, and tells the versions before and after.
// With dryRun nothing is touched.
func (c *Catalog) Init(ctx context.Context, dryRun bool) (from, to int64, err error) {
	if to, err = CatalogVersion(); err != nil {
		return 0, 0, err
	}
	if from, err = c.Version(ctx); err != nil {
		return 0, 0, err
	}
	if from > to {
		return from, from, newerCatalog(from, to)
	}
	if dryRun {
		return from, to, c.inWay(ctx, c.pool, from, to)
	}
	if err := c.makeSchema(ctx, from); err != nil {
		return from, 0, err
	}
	release, err := c.lockInit(ctx)
	if err != nil {
		return from, 0, err
	}
	defer release()
	if from, err = c.Version(ctx); err != nil {
		return 0, 0, err
	}
	if from > to { // another init was faster
		return from, from, newerCatalog(from, to)
	}
	if err := c.admitOnly(ctx, from, to); err != nil {
		return from, 0, err
	}
	if err := errors.Join(c.bringTo(ctx, to), c.readmit(ctx)); err != nil {
		return from, 0, err
	}
	if err := c.audit(ctx, c.pool, entry{action: "init", detail: map[string]any{"from": from, "to": to}}); err != nil {
		return from, to, err
	}
	return from, to, nil
}

// initWait is how long an init waits for another one.
const initWait = time.Minute

// lockInit lets one init work at a time. It takes the right to make tables in the catalog's schema, which no tenant has; an
// advisory lock would be anybody's. The lock is a transaction of its own, while goose works on another connection, so that
// it works through a pooler too.
func (c *Catalog) lockInit(ctx context.Context) (release func(), err error) {
	tx, err := c.pool.Begin(ctx)
	if err != nil {
		return nil, catalogError("connect", err)
	}
	release = func() { rollback(ctx, tx) }
	var pid int
	if err := tx.QueryRow(ctx, `SELECT pg_backend_pid(), set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', '0', true)`,
		milliseconds(initWait)).Scan(&pid, nil, nil); err != nil {
		release()
		return nil, catalogError("begin", err)
	}
	holders := c.blockersOf(ctx, pid, initWait/2)
	_, err = tx.Exec(ctx, `CREATE TABLE `+catalogLock+` ()`)
	who := holders()
	if err == nil {
		return release, nil
	}
	release()
	err = catalogError("wait for another init", err)
	var e *Error
	if who != "" && errors.As(err, &e) && errors.Is(err, ErrBusy) {
		e.Msg, e.Hint = "another init is at work: "+who, "try again when it is done"
	}
	return nil, err
}

// blockersOf looks, after a while, who blocks a session. found ends that, and tells what was seen.
func (c *Catalog) blockersOf(ctx context.Context, pid int, after time.Duration) (found func() string) {
	var who string
	seen := make(chan struct{})
	timer := time.AfterFunc(after, func() {
		defer close(seen)
		// Who it is only completes a message.
		_ = c.pool.QueryRow(ctx, `SELECT coalesce(string_agg(format('pid %s (role %s, since %s)', pid, usename, to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')), ', '), '')
			FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids($1))`, pid).Scan(&who)
	})
	return func() string {
		if !timer.Stop() {
			<-seen
		}
		return who
	}
}

func (c *Catalog) makeSchema(ctx context.Context, from int64) error {
	if from == 0 {
		var foreign bool
		err := c.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relname <> 'goose_db_version' AND relname NOT LIKE 'goose_db_version_%')`, catalogSchema).Scan(&foreign)
		if err != nil {
			return catalogError("look for a catalog", err)
		}
		if foreign {
			return &Error{
				Kind: ErrForeign, Store: "catalog", Msg: "a schema tenantctl exists and is not a catalog: it holds other objects",
				Hint: "rename it (ALTER SCHEMA tenantctl RENAME TO ...) or use another database",
			}
		}
	}
	// CREATE SCHEMA IF NOT EXISTS asks for the right to create even where the schema exists.
	var exists bool
	if err := c.pool.QueryRow(ctx, `SELECT to_regnamespace($1) IS NOT NULL`, catalogSchema).Scan(&exists); err != nil {
		return catalogError("look for a catalog", err)
	}
	if exists {
		return nil
	}
	// Citus makes new schemas distributed ones where that is switched on, in which a catalog cannot be.
	_, err := c.pool.Exec(ctx, `SELECT set_config(s, 'off', true) FROM (VALUES ('citus.enable_schema_based_sharding')) v(s) WHERE current_setting(s, true) IS NOT NULL;
		CREATE SCHEMA tenantctl; REVOKE ALL ON SCHEMA tenantctl FROM PUBLIC; COMMENT ON SCHEMA tenantctl IS 'catalog of tenantctl'`)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && (pg.Code == "42P06" || pg.Code == "23505") {
		return nil // another init was faster
	}
	err = catalogError("create the schema tenantctl", err)
	var e *Error
	if errors.As(err, &e) && errors.Is(err, ErrRights) {
		e.Hint = "as the database's owner: GRANT CREATE ON DATABASE ... TO the role in postgres.url"
	}
	return err
}
