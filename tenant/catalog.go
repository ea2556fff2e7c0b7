package tenant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/tenantctl/tenantctl/migrations"
)

const (
	catalogSchema = "tenantctl"
	catalogBook   = "tenantctl.goose_db_version"
	catalogLock   = "tenantctl.goose_db_version_init" // a table that is never there: making it waits for who else is making it
)

// Catalog is tenantctl's own record of tenants and operations, in the PostgreSQL schema "tenantctl".
type Catalog struct {
	pool  *pgxpool.Pool
	self  Process
	actor string
	lease time.Duration
	log   *slog.Logger
}

// NewCatalog is the catalog in pool's database. Operations are entered as actor's and held for lease at a time.
func NewCatalog(pool *pgxpool.Pool, actor string, lease time.Duration) *Catalog {
	if actor == "" {
		actor = OSUser()
	}
	return &Catalog{pool: pool, self: ThisProcess(), actor: actor, lease: lease, log: slog.New(slog.DiscardHandler)}
}

// CatalogVersion is the version of the catalog that this program knows.
func CatalogVersion() (int64, error) {
	names, err := fs.Glob(migrations.Control, "control/*.sql")
	if err != nil {
		return 0, err
	}
	return goose.NumericComponent(path.Base(names[len(names)-1])) // Glob sorts, and the numbers have one width
}

func controlFiles() (fs.FS, error) { return fs.Sub(migrations.Control, "control") }

// Version is the catalog's version; 0 where there is none.
func (c *Catalog) Version(ctx context.Context) (int64, error) {
	var v int64
	err := c.pool.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM `+catalogBook+` WHERE is_applied`).Scan(&v)
	if err = catalogError("read the catalog's version", err); errors.Is(err, ErrNoCatalog) {
		return 0, nil
	}
	return v, err
}

// Require refuses to go on with a catalog that is missing, older or newer than this program.
func (c *Catalog) Require(ctx context.Context) error {
	have, err := c.Version(ctx)
	if err != nil {
		return err
	}
	want, err := CatalogVersion()
	if err != nil {
		return err
	}
	switch {
	case have == 0:
		return &Error{Kind: ErrNoCatalog, Store: "catalog", Msg: "there is no catalog in this database", Hint: "run: tenantctl init"}
	case have < want:
		return &Error{Kind: ErrNoCatalog, Code: "old_catalog", Store: "catalog", Msg: fmt.Sprintf("version %d is older than this program's %d", have, want), Hint: "run: tenantctl init"}
	case have > want:
		return newerCatalog(have, want)
	}
	return nil
}

func newerCatalog(have, want int64) error {
	return &Error{Kind: ErrInvalid, Code: "new_catalog", Store: "catalog", Msg: fmt.Sprintf("version %d is newer than this program's %d", have, want), Hint: "upgrade tenantctl"}
}

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
		return from, to, nil
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
	files, err := controlFiles()
	if err != nil {
		return from, 0, err
	}
	db := stdlib.OpenDBFromPool(c.pool)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithTableName(catalogBook), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return from, 0, fmt.Errorf("read the catalog's migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return from, 0, catalogError("migrate the catalog", err)
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
		strconv.FormatInt(initWait.Milliseconds(), 10)).Scan(&pid, nil, nil); err != nil {
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

// readCommitted is how every transaction begins, whatever the database's default is: what is read after a lock is what is there.
var readCommitted = pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite, DeferrableMode: pgx.NotDeferrable}

// inTx runs f in one transaction.
func (c *Catalog) inTx(ctx context.Context, verb string, f func(tx pgx.Tx) error) error {
	tx, err := c.pool.BeginTx(ctx, readCommitted)
	if err != nil {
		return catalogError(verb, err)
	}
	defer rollback(ctx, tx)
	if err := f(tx); err != nil {
		return catalogError(verb, err)
	}
	return catalogError(verb, commit(ctx, tx))
}

// commitPatience is how long a commit may take after its context has ended.
const commitPatience = 10 * time.Second

// commit ends a transaction. One that is cut off may be done all the same, and nobody would go on with what it has begun.
func commit(ctx context.Context, tx pgx.Tx) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	patient, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(commitPatience, end) })()
	return tx.Commit(patient)
}

// rollback is for a defer: after a commit it does nothing, and where the connection broke the server has done it.
func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = tx.Rollback(ctx)
}

// batcher is what a pool and a transaction have in common.
type batcher interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

type entry struct {
	action    string
	tenant    *Tenant
	name      Name
	operation *Operation
	detail    map[string]any
}

// audit writes who did what, when and from where.
func (c *Catalog) audit(ctx context.Context, db batcher, e entry) error {
	var b pgx.Batch
	c.queueAudit(&b, e)
	return catalogError("write the audit", db.SendBatch(ctx, &b).Close())
}

// queueAudit adds the statement that writes an audit entry.
func (c *Catalog) queueAudit(b *pgx.Batch, e entry) {
	var tenantID, operationID any
	if e.tenant != nil {
		tenantID, e.name = e.tenant.ID, e.tenant.Name
	}
	if e.operation != nil {
		operationID = e.operation.ID
		if e.operation.TenantID != nil && tenantID == nil {
			tenantID = *e.operation.TenantID
		}
		if e.name == "" {
			e.name = e.operation.Tenant
		}
	}
	if e.detail == nil {
		e.detail = map[string]any{}
	}
	b.Queue(`INSERT INTO tenantctl.audit (actor, origin, action, tenant_id, tenant_name, operation_id, detail)
		VALUES ($1, $2, $3, $4, nullif($5, ''), $6, $7::jsonb)`,
		c.actor, c.self.Label(), e.action, tenantID, string(e.name), operationID, jsonText(e.detail))
}
