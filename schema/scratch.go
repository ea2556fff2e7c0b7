package schema

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// Pool is the pool that the resource works with.
func (r *Resource) Pool() *pgxpool.Pool { return r.pool }

// scratchLock is an advisory lock: one scratch schema at a time.
const scratchLock = 7381277

// scratch is a place for a look at the model: it is no tenant's, and always the same, so that what a killed process left
// is found again.
var scratch = tenant.Tenant{ID: uuid.MustParse("00000000-0000-7000-8000-000000000001"), Name: "tenantctl-model", Schema: "tenantctl_model"}

// Scratch makes a schema with the tenants' model at the newest version, for a look at it. done removes it.
func (r *Resource) Scratch(ctx context.Context) (schema string, done func(), err error) {
	bare, done, err := r.bareScratch(ctx)
	if err != nil {
		return "", nil, err
	}
	if err := bare.Create(ctx, scratch); err != nil {
		done()
		return "", nil, err
	}
	return scratch.Schema, done, nil
}

// bareScratch makes sure that the scratch schema is not there, and that nobody else uses it until done, which removes it.
func (r *Resource) bareScratch(ctx context.Context) (bare *Resource, done func(), err error) {
	conn, err := r.session(ctx) // which the lock belongs to
	if err != nil {
		return nil, nil, err
	}
	release := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		// A connection that is gone has given its locks up.
		_, _ = conn.Exec(ctx, `SELECT pg_advisory_unlock($1)`, int64(scratchLock))
		conn.Release()
	}
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(scratchLock)); err != nil {
		conn.Release()
		return nil, nil, failure("wait for another look at the model", err)
	}
	cfg := r.cfg
	cfg.Roles = false
	bare = New(r.pool, cfg)
	remove := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return bare.Drop(ctx, scratch)
	}
	if err = remove(ctx); err != nil {
		release()
		return nil, nil, err
	}
	return bare, func() {
		// What cannot be removed now is removed by the next look.
		_ = remove(ctx)
		release()
	}, nil
}
