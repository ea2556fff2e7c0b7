package tenant

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// WaysOut are the commands that end an operation that nobody works on any more; none for others.
func (o *Operation) WaysOut() []string {
	id := ShortID(o.ID)
	abort, resolve := "tenantctl ops abort "+id, "tenantctl ops resolve "+id+" --as done|undone"
	switch {
	case !o.Interrupted:
		return nil
	case o.Kind == OpImport:
		return []string{"tenantctl import run -f MAPPING", abort}
	case o.TenantID == nil && o.Kind == OpProbe:
		return []string{"tenantctl verify --probe", abort}
	case o.TenantID == nil:
		return []string{fmt.Sprintf("tenantctl %s --resume %s", strings.ReplaceAll(o.Kind, "-", " "), id), abort}
	case o.restartable():
		return []string{abort} // its command can be run again at once, too
	}
	return []string{"tenantctl ops resume " + id, abort, resolve}
}

// Resolve ends an operation that nobody works on any more by a person's word, as done or as undone, and touches no store: the
// catalog says of the tenant what it would say had the operation ended so. It is the last resort, and audited.
func (s *Service) Resolve(ctx context.Context, id string, done bool) (*Operation, error) {
	op, err := s.takeable(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case op.TenantID == nil || op.restartable():
		return nil, Invalid("tenantctl ops abort "+ShortID(op.ID), "%s leaves nothing that a person would have to put right", op.Kind)
	case done && op.Kind == OpPurge:
		return nil, Invalid("tenantctl ops resume "+ShortID(op.ID), "a purge is done when it has proved that nothing is left")
	}
	g, err := s.sagaOf(ctx, op)
	if err != nil {
		return nil, err
	}
	first := op.Error
	if op, err = s.catalog.takeOver(ctx, op); err != nil {
		return nil, err
	}
	state, last, as := OpUndone, g.rollback, "undone"
	if done {
		state, last, as = OpDone, g.commit, "done"
	}
	var cause error
	if !done {
		e := &Error{Tenant: op.Tenant, Msg: op.Kind + " was resolved by hand as undone"}
		if first != nil {
			e.Msg += "; it had failed: " + first.Message
		}
		cause = e
	}
	return op, s.catalog.finish(WithLease(ctx, s.catalog.leaseOf(op)), op, state, cause, func(ctx context.Context, tx pgx.Tx) error {
		if err := s.catalog.audit(ctx, tx, entry{action: "resolve", operation: op, detail: map[string]any{"as": as}}); err != nil || last == nil {
			return err
		}
		return last(ctx, tx)
	})
}
