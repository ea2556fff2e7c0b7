package tenant

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// gate tells resolvers not to send a tenant's requests on while an operation is live.
type gate string

const (
	gateClosing gate = "closing" // its users are about to be locked out for good
	gateMoving  gate = "moving"  // it will be back in a moment
)

// resolverWait is how long an operation waits for resolvers where nothing else is set: longer than resolvers answer by what
// they read last.
const resolverWait = 45 * time.Second

// resolverPatience is after how long an operation says that it waits for resolvers: they mostly answer in milliseconds.
const resolverPatience = 2 * time.Second

// gateStep closes a tenant's gate, and waits until every live resolver has seen that: no request is sent to stores that are
// locked. It comes before the first step that locks one.
func (s *Service) gateStep(op *Operation, g gate, reason string) step {
	return step{
		name: "gate",
		do: func(ctx context.Context) error {
			if err := s.catalog.setGate(ctx, g, reason); err != nil {
				return err
			}
			return s.awaitResolvers(ctx, op)
		},
		undo: func(ctx context.Context) error { return s.catalog.setGate(ctx, "", "") },
	}
}

// setGate writes the gate of the operation in ctx; the one it has already is left.
func (c *Catalog) setGate(ctx context.Context, g gate, reason string) error {
	lease := LeaseFrom(ctx)
	return c.inTx(ctx, "write the tenant's gate", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lease.HoldSQL()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE tenantctl.operations SET gate = nullif($2, ''), gate_reason = nullif($3, '')
			WHERE id = $1 AND (gate, gate_reason) IS DISTINCT FROM (nullif($2, ''), nullif($3, ''))`, lease.Operation, string(g), reason)
		return err
	})
}

// awaitResolvers waits until every live resolver has read the tenant's route as it is now, or answers no more because it
// could not. After the time that is set for it, it says who has not, and goes on.
func (s *Service) awaitResolvers(ctx context.Context, op *Operation) error {
	late, xid, err := s.catalog.lateResolvers(ctx, *op.TenantID)
	began, told := time.Now(), false
	deadline := began.Add(cmp.Or(s.ResolverWait, resolverWait))
	for pause := 2 * time.Millisecond; err == nil && len(late) > 0; pause = min(2*pause, 100*time.Millisecond) {
		if time.Now().After(deadline) {
			for _, r := range late {
				s.warn(fmt.Sprintf("tenant %s: resolver %s has not read that it is closed, and may send requests to it until %s", op.Tenant, r.name, r.expires.UTC().Format(time.RFC3339)))
			}
			return nil
		}
		if !told && time.Since(began) > resolverPatience {
			told = true
			s.sayAwaited(op, late, deadline)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return &Error{Kind: ErrInterrupted, Tenant: op.Tenant, Msg: "interrupted while it waited for resolvers", Err: ctx.Err()}
		}
		late, err = s.catalog.notSeen(ctx, xid)
	}
	return err
}

// sayAwaited says whom the operation waits for, and how long at most: one that was killed no longer than its registration.
func (s *Service) sayAwaited(op *Operation, late []lateResolver, deadline time.Time) {
	for _, r := range late {
		s.warn(fmt.Sprintf("tenant %s: waiting for resolver %s, which has not read that the tenant is closed: until %s if it is gone, else until %s at most",
			op.Tenant, r.name, earlier(r.expires, deadline).UTC().Format(time.RFC3339), deadline.UTC().Format(time.RFC3339)))
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

type lateResolver struct {
	name    string
	expires time.Time
}

// lateResolvers notes a change of the tenant's route, and gives the live resolvers, which have yet to see it.
func (c *Catalog) lateResolvers(ctx context.Context, id uuid.UUID) (late []lateResolver, xid string, err error) {
	if late, err = c.notSeen(ctx, ""); err != nil || len(late) == 0 {
		return nil, "", err
	}
	err = c.pool.QueryRow(ctx, `WITH c AS (INSERT INTO tenantctl.route_changes (tenant_id) VALUES ($1) RETURNING xid)
		SELECT xid::text, pg_notify('tenantctl_routes', '')::text FROM c`, id).Scan(&xid, nil)
	return late, xid, catalogError("wake the resolvers", err)
}

// notSeen are the live resolvers that have not read what a transaction wrote; all of them for none.
func (c *Catalog) notSeen(ctx context.Context, xid string) ([]lateResolver, error) {
	rows, err := c.pool.Query(ctx, `SELECT name, expires_at FROM tenantctl.resolvers WHERE expires_at > clock_timestamp()
		AND NOT coalesce(pg_visible_in_snapshot(nullif($1, '')::xid8, seen), false) ORDER BY name`, xid)
	if err != nil {
		return nil, catalogError("look for resolvers", err)
	}
	late, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r lateResolver, err error) {
		err = row.Scan(&r.name, &r.expires)
		return r, err
	})
	return late, catalogError("look for resolvers", err)
}

// queueTrimRoutes removes changes of routes that every resolver has read long ago. One that has not reads all routes.
func queueTrimRoutes(b *pgx.Batch) {
	b.Queue(`WITH due AS (UPDATE tenantctl.route_feed SET trimmed = next, next = pg_snapshot_xmin(pg_current_snapshot()), next_at = now()
			WHERE next_at < now() - interval '1 hour' RETURNING trimmed)
		DELETE FROM tenantctl.route_changes c USING due WHERE c.xid < due.trimmed`)
	b.Queue(`DELETE FROM tenantctl.resolvers WHERE expires_at < now() - interval '1 hour'`)
}
