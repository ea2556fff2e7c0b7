package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Deletion is what a delete takes away, for the confirmation before it and the record after it.
type Deletion struct {
	Tenant Tenant          `json:"tenant"`
	Stores map[string]Stat `json:"stores"`
}

// PlanDelete tells what deleting a tenant would take away, and touches nothing.
func (s *Service) PlanDelete(ctx context.Context, name Name) (*Deletion, error) {
	t, err := s.catalog.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.inventory(ctx, t)
}

func (s *Service) inventory(ctx context.Context, t Tenant) (*Deletion, error) {
	d := &Deletion{Tenant: t, Stores: map[string]Stat{}}
	for _, r := range s.resources {
		st, err := r.Stat(ctx, t)
		if err != nil {
			return nil, WithTenant(err, t.Name)
		}
		d.Stores[r.Kind()] = st
	}
	return d, nil
}

// Delete takes a tenant away in every store, proves that nothing is left, and keeps the record of it as the
// operation's result. Past its first step it only goes forward; after a crash the same call goes on.
func (s *Service) Delete(ctx context.Context, name Name) (*Outcome, error) {
	t, err := s.catalog.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	live, err := s.catalog.liveOperation(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	if live != nil && live.Kind == OpCreate && s.catalog.dead(live) {
		// What a dead create left is taken away by undoing it.
		op, err := s.Abort(ctx, live.ID.String())
		return &Outcome{Operation: op, Tenant: t}, err
	}
	was, err := s.inventory(ctx, t)
	if err != nil {
		return nil, err
	}
	op, _, err := s.begin(ctx, intent{kind: OpDelete, tenant: &t, params: was})
	if errors.Is(err, errAgain) {
		return s.Delete(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	g, err := s.deleteSaga(op, t)
	if err == nil {
		err = s.run(ctx, op, g)
	}
	return &Outcome{Operation: op, Tenant: t, Err: err}, err
}

func (s *Service) deleteSaga(op *Operation, t Tenant) (saga, error) {
	was, err := deletionOf(op)
	if err != nil {
		return saga{}, err
	}
	before := was.Tenant.State
	g := saga{
		steps: []step{{
			name: "lock",
			do:   func(ctx context.Context) error { return s.lockForDelete(ctx, t) },
			undo: func(ctx context.Context) error { return s.unlock(ctx, t, before) },
		}},
		pivot: 1,
		commit: func(ctx context.Context, tx pgx.Tx) error {
			op.Result = op.Params // the record of what was there
			return s.catalog.remove(ctx, tx, t.ID)
		},
		rollback: func(ctx context.Context, tx pgx.Tx) error {
			return s.catalog.setTenantState(ctx, tx, t.ID, before)
		},
	}
	for _, r := range s.reverse() {
		g.steps = append(g.steps, step{name: r.Kind(), do: func(ctx context.Context) error { return r.Drop(ctx, t) }})
	}
	g.steps = append(g.steps, step{name: "prove", do: func(ctx context.Context) error { return s.proveGone(ctx, t) }})
	return g, nil
}

func (s *Service) lockForDelete(ctx context.Context, t Tenant) error {
	err := s.catalog.inTx(ctx, "record that the tenant is being deleted", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, LeaseFrom(ctx).HoldSQL()); err != nil {
			return err
		}
		return s.catalog.setTenantState(ctx, tx, t.ID, Deleting)
	})
	if err != nil {
		return err
	}
	for _, l := range each[Locker](s) {
		if _, err := l.Lock(ctx, t); err != nil && !nobody(err) {
			return err
		}
	}
	return nil
}

// nobody tells that there is nobody to lock out: the place is gone, or somebody else's.
func nobody(err error) bool { return errors.Is(err, ErrMissing) || errors.Is(err, ErrForeign) }

// unlock gives a tenant back what a lock took, unless it was locked before.
func (s *Service) unlock(ctx context.Context, t Tenant, before State) error {
	if before != Active {
		return nil
	}
	for _, l := range each[Locker](s) {
		if err := l.Unlock(ctx, t); err != nil && !nobody(err) {
			return err
		}
	}
	return nil
}

// proveGone looks once more, in every store, for anything of the tenant's.
func (s *Service) proveGone(ctx context.Context, t Tenant) error {
	for _, r := range s.resources {
		st, err := r.Stat(ctx, t)
		if err != nil {
			return err
		}
		if st.Presence == Ours {
			return &Error{Kind: ErrDiffers, Store: r.Kind(), Msg: fmt.Sprintf("%s is still there after it was dropped", list(st.Remains)), Hint: "somebody made it anew; see who is connected"}
		}
	}
	return nil
}

// Purge deletes a tenant that is past its life: deleted, being deleted, or left by a create that failed.
func (s *Service) Purge(ctx context.Context, name Name) (*Outcome, error) {
	t, err := s.purgeable(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.Delete(ctx, t.Name)
}

// PlanPurge tells what Purge would take away, and touches nothing.
func (s *Service) PlanPurge(ctx context.Context, name Name) (*Deletion, error) {
	t, err := s.purgeable(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.inventory(ctx, t)
}

func (s *Service) purgeable(ctx context.Context, name Name) (Tenant, error) {
	t, err := s.catalog.Get(ctx, name)
	if err != nil {
		return t, err
	}
	if t.State == Active || t.State == Suspended {
		return t, &Error{Kind: ErrInvalid, Tenant: name, Msg: fmt.Sprintf("is %s: purge is for what is deleted or was left by a failed create", t.State), Hint: "tenantctl delete " + string(name)}
	}
	return t, nil
}

// Due gives the deleted tenants whose purge_after has passed.
func (s *Service) Due(ctx context.Context) ([]Name, error) {
	var q query
	q.and("t.state = 'deleted' AND t.purge_after <= now()")
	var names []Name
	for t, err := range s.catalog.tenants(ctx, &q) {
		if err != nil {
			return nil, err
		}
		names = append(names, t.Name)
	}
	return names, nil
}

// deletionOf reads what a delete wrote down before it began.
func deletionOf(op *Operation) (*Deletion, error) {
	var d Deletion
	if err := json.Unmarshal(op.Params, &d); err != nil {
		return nil, fmt.Errorf("read the operation's parameters: %w", err)
	}
	return &d, nil
}

// removed is the short record of a deletion for the audit: by store what there was, how many tables or collections, and
// how many bytes.
func removed(op *Operation) any {
	d, err := deletionOf(op)
	if err != nil {
		return op.Params
	}
	type loss struct {
		Places  []string `json:"places"`
		Objects int64    `json:"objects"`
		Bytes   int64    `json:"bytes"`
	}
	out := map[string]loss{}
	for kind, st := range d.Stores {
		if st.Presence == Ours {
			out[kind] = loss{st.Remains, st.Objects, st.Bytes}
		}
	}
	return out
}
