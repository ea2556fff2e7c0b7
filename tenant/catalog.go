package tenant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
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
	works works
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

// readCommitted is how every transaction begins, whatever the database's default is: what is read after a lock is what is there.
var readCommitted = pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite, DeferrableMode: pgx.NotDeferrable}

// bounded begins a transaction like readCommitted whose waits have ends: for a lock, for a statement, and for this process, should
// it be stopped. What needs other limits sets them after it.
var bounded = pgx.TxOptions{BeginQuery: `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE NOT DEFERRABLE; SET LOCAL lock_timeout = '1min';
	SET LOCAL statement_timeout = '10min'; SET LOCAL idle_in_transaction_session_timeout = '10min'`}

// inTx runs f in one transaction.
func (c *Catalog) inTx(ctx context.Context, verb string, f func(tx pgx.Tx) error) error {
	return c.inTxAs(ctx, verb, "", f)
}

// inTxAs is inTx with statements without parameters that go with the BEGIN.
func (c *Catalog) inTxAs(ctx context.Context, verb, first string, f func(tx pgx.Tx) error) error {
	how := bounded
	if first != "" {
		how.BeginQuery += "; " + first
	}
	tx, err := c.pool.BeginTx(ctx, how)
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
	c.queueAudit(ctx, &b, e)
	return catalogError("write the audit", db.SendBatch(ctx, &b).Close())
}

// queueAudit adds the statement that writes an audit entry.
func (c *Catalog) queueAudit(ctx context.Context, b *pgx.Batch, e entry) {
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
		c.actorOf(ctx), c.self.Label(), e.action, tenantID, string(e.name), operationID, jsonText(e.detail))
}
