package tenant

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Roler is a Resource in which a tenant that was adopted without a role can be given one.
type Roler interface {
	Resource
	// GiveRole makes the role or user that t names, with the rights that Create gives. One that is the tenant's is success.
	GiveRole(ctx context.Context, t Tenant) error
	// TakeRole takes back what GiveRole made, and nothing else.
	TakeRole(ctx context.Context, t Tenant) error
}

// roleParams are what the ledger keeps of a role that is given.
type roleParams struct {
	Role string `json:"role"`
}

// wantRole makes of a place that is a tenant's already one whose tenant is to get a role.
func (p *AdoptPlace) wantRole(t Tenant, n Naming) {
	places, err := n.Derive(string(t.Name))
	switch {
	case err != nil:
		p.refuse(err)
	case t.State != Active:
		p.refuse(notActive(t))
	default:
		t.Role = places.Role
		p.State, p.Role, p.tenant = AdoptRole, t.Role, &t
	}
}

func notActive(t Tenant) error {
	return &Error{Kind: ErrInvalid, Msg: fmt.Sprintf("tenant %s is %s, and roles are given to active ones", t.Name, t.State), Hint: "tenantctl resume " + string(t.Name)}
}

// roleChild gives one tenant of a run a role.
func (s *Service) roleChild(ctx context.Context, run, child *Operation) (changed bool, err error) {
	op := child
	if child.State == OpPending { // an earlier run, which is dead, may have begun with it
		op, err = s.catalog.liveOperation(ctx, *child.TenantID)
		if err != nil {
			return false, &catalogAway{err}
		}
	}
	if op != nil && op.Kind == OpAdoptRole {
		if op, err = s.catalog.yield(ctx, op, OpAdoptRole); err != nil {
			return false, WithTenant(err, child.Tenant)
		}
		if err := s.catalog.forward(ctx, op); err != nil { // whichever way it was going: this run wants it
			return false, err
		}
		t, err := s.catalog.byID(ctx, *op.TenantID, op.Tenant)
		if err != nil {
			return false, err
		}
		g, err := s.roleSaga(op, t)
		if err == nil {
			err = s.run(ctx, op, g)
		}
		if err == nil && op.ID != child.ID {
			err = s.catalog.donePending(ctx, child)
		}
		return err == nil, err
	}
	t, err := s.claimChild(ctx, run, child)
	if err != nil {
		return false, err
	}
	if t.Role != "" { // another run was faster
		return false, s.run(ctx, child, saga{})
	}
	if t.State != Active { // any more: a run may pause for days between its waves
		return false, s.fail(ctx, child, saga{}, -1, notActive(t))
	}
	g, err := s.roleSaga(child, t)
	if err != nil {
		return false, err
	}
	err = s.run(ctx, child, g)
	return err == nil, err
}

// roleSaga gives a tenant a role in every store that has them; the catalog names it when all of them do.
func (s *Service) roleSaga(op *Operation, t Tenant) (saga, error) {
	var p roleParams
	if err := json.Unmarshal(op.Params, &p); err != nil {
		return saga{}, fmt.Errorf("read the operation's parameters: %w", err)
	}
	t.Role = p.Role
	g := saga{commit: func(ctx context.Context, tx pgx.Tx) error { return s.catalog.setRole(ctx, tx, t) }}
	for _, r := range each[Roler](s) {
		g.steps = append(g.steps, step{
			name: r.Kind(),
			do:   func(ctx context.Context) error { return r.GiveRole(ctx, t) },
			undo: func(ctx context.Context) error { return r.TakeRole(ctx, t) },
		})
	}
	g.pivot = len(g.steps)
	return g, nil
}

func (c *Catalog) setRole(ctx context.Context, tx pgx.Tx, t Tenant) error {
	_, err := tx.Exec(ctx, `UPDATE tenantctl.tenants SET role_name = $2, updated_at = now() WHERE id = $1`, t.ID, t.Role)
	if _, ok := isUnique(err); ok {
		return &Error{Kind: ErrExists, Tenant: t.Name, Msg: fmt.Sprintf("role %s belongs to another tenant", t.Role), Hint: "tenantctl list -o json tells whose it is; rename this tenant"}
	}
	return err
}
