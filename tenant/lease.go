package tenant

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sqlstateFenced is raised by the catalog's own functions: the operation was taken over or has ended.
const sqlstateFenced = "TC001"

// Lease is the right to change a tenant's stores under one operation. It ends when another process takes the
// operation over, which raises the fence. A nil Lease holds nothing and never ends: for work outside the catalog.
type Lease struct {
	Operation uuid.UUID
	Fence     int64
	db        DB
	silent    bool                      // the versions of a copy that is there for no longer are not recorded
	known     atomic.Pointer[time.Time] // until when Current need not ask
}

type leaseKey struct{}

// WithLease hands a lease down to the stores.
func WithLease(ctx context.Context, l *Lease) context.Context {
	return context.WithValue(ctx, leaseKey{}, l)
}

// LeaseFrom is the lease that ctx carries, or nil.
func LeaseFrom(ctx context.Context) *Lease {
	l, _ := ctx.Value(leaseKey{}).(*Lease)
	return l
}

// HoldSQL is one SQL statement that makes the surrounding transaction fail where the lease has ended, and a take-over
// wait until the transaction is over. It holds no parameters, so it fits into a simple query of many statements.
func (l *Lease) HoldSQL() string {
	if l == nil {
		return "SELECT"
	}
	return fmt.Sprintf("SELECT tenantctl.hold('%s', %d)", l.Operation, l.Fence)
}

// TakeSQL is HoldSQL that takes the lock on a tenant too, until the transaction ends, and tells whether it was free.
func (l *Lease) TakeSQL(tenant uuid.UUID) string {
	if l == nil {
		return "SELECT true"
	}
	return fmt.Sprintf("SELECT tenantctl.take('%s', %d, '%s')", l.Operation, l.Fence, tenant)
}

// LockSQL is one SQL statement that takes the lock on a tenant until the transaction ends, and tells whether it was free.
func (l *Lease) LockSQL(tenant uuid.UUID) string {
	if l == nil {
		return "SELECT true"
	}
	return fmt.Sprintf("SELECT tenantctl.try_lock('%s')", tenant)
}

// Records tells whether the versions that the work comes to are written into the catalog.
func (l *Lease) Records() bool { return l != nil && !l.silent }

// RecordSQL is one SQL statement that writes a tenant's version into the catalog, in the transaction that made it so.
// kind is one of the Kind constants.
func (l *Lease) RecordSQL(tenant uuid.UUID, kind string, version int64, applied int) string {
	if !l.Records() {
		return "SELECT"
	}
	return fmt.Sprintf("SELECT tenantctl.record('%s', '%s', %d, %d)", tenant, kind, version, applied)
}

// Check fails with ErrFenced where the lease has ended: before an effect in a store that cannot share a transaction
// with the catalog.
func (l *Lease) Check(ctx context.Context) error {
	if l == nil {
		return nil
	}
	_, err := l.db.Exec(ctx, l.HoldSQL())
	return Fenced(err)
}

// currentFor is how long an answer of the catalog holds for Current at most.
const currentFor = time.Second

// Current is Check for effects that follow each other closely: it does not ask again within a second while the lease that
// the catalog told of still runs, for nobody takes over an operation whose lease runs.
func (l *Lease) Current(ctx context.Context) error {
	if l == nil {
		return nil
	}
	// By the wall clock too: the other one stands still while a machine sleeps.
	if until, now := l.known.Load(), time.Now(); until != nil && now.Before(*until) && now.Round(0).Before(until.Round(0)) {
		return nil
	}
	_, err := l.Remaining(ctx)
	return err
}

// Remaining is Check that tells how long nobody can take the operation over: an effect that may take longer is given up then.
// It is 0 where nothing limits it.
func (l *Lease) Remaining(ctx context.Context) (time.Duration, error) {
	if l == nil {
		return 0, nil
	}
	asked := time.Now()
	var seconds float64
	err := l.db.QueryRow(ctx, `SELECT coalesce(extract(epoch FROM o.lease_until - clock_timestamp()), 0)::float8
		FROM tenantctl.operations o, LATERAL tenantctl.hold(o.id, $2) WHERE o.id = $1`, l.Operation, l.Fence).Scan(&seconds)
	if errors.Is(err, pgx.ErrNoRows) {
		err = takenOver(err)
	}
	if err != nil {
		return 0, Fenced(err)
	}
	left := max(time.Duration(seconds*float64(time.Second)), time.Nanosecond)
	until := asked.Add(min(left, currentFor))
	l.known.Store(&until)
	return left - time.Since(asked), nil
}

// Record writes a tenant's version into the catalog, for a store that cannot share a transaction with it.
func (l *Lease) Record(ctx context.Context, tenant uuid.UUID, kind string, version int64, applied int) error {
	if l == nil {
		return nil
	}
	_, err := l.db.Exec(ctx, l.HoldSQL()+";"+l.RecordSQL(tenant, kind, version, applied))
	return Fenced(err)
}

// Fenced turns the catalog's own SQLSTATE into ErrFenced, and leaves other errors as they are.
func Fenced(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == sqlstateFenced {
		return takenOver(err)
	}
	return err
}

func takenOver(cause error) error {
	return &Error{Kind: ErrFenced, Store: "catalog", Msg: "operation was taken over by another process", Hint: "look at it with: tenantctl ops list", Err: cause}
}
