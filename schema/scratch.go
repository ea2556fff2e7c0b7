package schema

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sethvargo/go-retry"

	"github.com/tenantctl/tenantctl/tenant"
)

// Pool is the pool that the resource works with.
func (r *Resource) Pool() *pgxpool.Pool { return r.pool }

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
	g, err := r.lockScratch(ctx)
	if err != nil {
		return nil, nil, failure("wait for another look at the model", err)
	}
	release := func() { g.release(ctx) }
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

// scratchWait is how long to wait while another process uses the scratch schema.
const scratchWait = time.Minute

// lockScratch makes one process at a time use the scratch schema: the one that has this guard.
func (r *Resource) lockScratch(ctx context.Context) (g *guard, err error) {
	waits := retry.WithMaxDuration(scratchWait, retry.NewConstant(200*time.Millisecond))
	err = retry.Do(ctx, waits, func(ctx context.Context) error {
		p := new(place)
		take := cmd("SELECT tenantctl.try_lock('%s')", scratch.ID)
		take.row = func(row [][]byte) { p.free = is(row[0]) }
		if g, err = r.guard(ctx, take); err != nil || p.free {
			return err
		}
		defer g.release(ctx)
		return retry.RetryableError(r.blame(ctx, g.conn, scratch, busy()))
	})
	return g, err
}
