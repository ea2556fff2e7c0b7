package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Adopt takes over what is planned, each tenant as an operation of its own. What is adopted already stays as it is, but for
// a role where roles are asked for and it has none. One
// place that was asked for by its name and is refused is the error itself.
func (s *Service) Adopt(ctx context.Context, req AdoptRequest, opts RunOptions) (*RunResult, error) {
	var p *AdoptPlan
	var run *Operation
	var err error
	if err := s.runnable(ctx, Selection{}, opts); err != nil {
		return nil, err
	}
	if opts.Resume != "" {
		p = &AdoptPlan{}
		run, err = s.resumeRun(ctx, OpAdopt, &opts)
	} else {
		if p, err = s.PlanAdopt(ctx, req); err != nil {
			return nil, err
		}
		if req.One != nil && p.Places[0].err != nil {
			return nil, WithTenant(p.Places[0].err, p.Places[0].Name)
		}
		run, err = s.startRun(ctx, OpAdopt, runParams{"refused": len(p.In(AdoptRefused))}, opts.Rollout, nil, func(ctx context.Context, tx pgx.Tx, run uuid.UUID) error {
			return s.enterAdoptions(ctx, tx, run, append(p.In(AdoptNew), p.In(AdoptRole)...))
		})
	}
	if err != nil {
		return nil, err
	}
	result, err := s.fleet(ctx, run, len(p.In(AdoptUnchanged)), opts, nil, func(ctx context.Context, child *Operation) (bool, error) {
		if child.Kind == OpAdoptRole {
			return s.roleChild(ctx, run, child)
		}
		err := s.adoptChild(ctx, run, child)
		return err == nil, err
	})
	if err != nil {
		return nil, err
	}
	result.LeftOut, result.Refused = p.In(AdoptLeftOut), p.In(AdoptRefused)
	if n := len(result.Refused); n > 0 {
		result.Summary.Tenants += n
		result.Summary.Failed += n
		if result.State == RunDone {
			result.State = RunPartial
		}
	}
	result.unrecorded = errors.Join(s.recordFiles(ctx), s.endRun(ctx, run, result))
	return result, nil
}

// enterAdoptions writes a pending operation for each place.
func (s *Service) enterAdoptions(ctx context.Context, tx pgx.Tx, run uuid.UUID, places []AdoptPlace) error {
	for part := range slices.Chunk(places, page) {
		var b pgx.Batch
		for _, x := range part {
			kind, params, id := OpAdopt, any(x.Adoption), (*uuid.UUID)(nil)
			if x.State == AdoptRole {
				kind, params, id = OpAdoptRole, roleParams{x.Role}, &x.tenant.ID
			}
			b.Queue(`INSERT INTO tenantctl.operations (id, kind, parent_id, tenant_id, tenant_name, state, params, actor, owner) VALUES ($1, $2, $3, $4, $5, 'pending', $6::jsonb, $7, $8)`,
				newID(), kind, run, id, string(x.Name), jsonText(params), s.catalog.actorOf(ctx), s.catalog.self.String())
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
	}
	return nil
}

// adoptChild takes one tenant of a run over.
func (s *Service) adoptChild(ctx context.Context, run, child *Operation) error {
	fail := func(err error) error {
		err = WithTenant(err, child.Tenant)
		if child.State == OpPending && !errors.Is(err, errRunLost) && !errors.Is(err, ErrFenced) {
			err = errors.Join(err, s.catalog.failPending(ctx, child, err))
		}
		return err
	}
	var a Adoption
	if err := json.Unmarshal(child.Params, &a); err != nil {
		return fail(fmt.Errorf("read the operation's parameters: %w", err))
	}
	p := s.adoptee(a)
	if child.State != OpPending { // of a process that died
		op, err := s.catalog.yield(ctx, child, OpAdopt)
		if err != nil {
			return fail(err)
		}
		if err := s.catalog.forward(ctx, op); err != nil { // whichever way it was going: this run wants the tenant
			return fail(err)
		}
		*child = *op
		p.Tenant.ID = *op.TenantID
		return s.run(ctx, child, s.adoptSaga(p))
	}
	err := s.catalog.reserveChild(ctx, run, child, &p.Tenant)
	if errors.Is(err, errTaken) {
		if err := s.finishAdoption(ctx, p); err != nil {
			return fail(err)
		}
		return s.catalog.donePending(ctx, child)
	}
	if err != nil {
		return fail(err)
	}
	return s.run(ctx, child, s.adoptSaga(p))
}

// finishAdoption goes on with the adoption of a tenant that an earlier, dead run has begun.
func (s *Service) finishAdoption(ctx context.Context, p Adoptee) error {
	t, err := s.catalog.Get(ctx, p.Name)
	if errors.Is(err, ErrNotFound) {
		return s.placeTaken(ctx, p.Tenant)
	}
	if err != nil {
		return err
	}
	live, err := s.catalog.liveOperation(ctx, t.ID)
	switch {
	case err != nil:
		return err
	case live == nil && t.State == Active && t.Schema == p.Schema:
		return nil // another process was faster
	case live == nil:
		return existsAlready(t)
	}
	op, err := s.catalog.yield(ctx, live, OpAdopt)
	if err != nil {
		return err
	}
	if op == nil {
		return &Error{Kind: ErrBusy, Tenant: t.Name, Msg: "another process has just changed it", Hint: "run the same command again"}
	}
	if err := s.catalog.forward(ctx, op); err != nil { // whichever way it was going: this run wants the tenant
		return err
	}
	g, err := s.sagaOf(ctx, op)
	if err != nil {
		return err
	}
	return s.run(ctx, op, g)
}

// adoptionOf makes an adoption's saga anew from what the ledger keeps of it.
func (s *Service) adoptionOf(op *Operation, t Tenant) (saga, error) {
	var a Adoption
	if err := json.Unmarshal(op.Params, &a); err != nil {
		return saga{}, fmt.Errorf("read the operation's parameters: %w", err)
	}
	return s.adoptSaga(Adoptee{Tenant: t, Adoption: a}), nil
}

// adoptSaga takes each store's place over; what fails is released again.
func (s *Service) adoptSaga(p Adoptee) saga {
	g := saga{
		commit: func(ctx context.Context, tx pgx.Tx) error {
			return s.catalog.moveTenant(ctx, tx, p.Tenant.ID, Active, Provisioning, Failed)
		},
		rollback: func(ctx context.Context, tx pgx.Tx) error {
			return s.catalog.remove(ctx, tx, p.Tenant.ID, Provisioning, Failed)
		},
		stuck: func(ctx context.Context, tx pgx.Tx) error {
			_, err := s.catalog.moveBack(ctx, tx, p.Tenant.ID, Failed, Provisioning)
			return err
		},
	}
	for _, a := range each[Adopter](s) {
		g.steps = append(g.steps, step{
			name: a.Kind(),
			do:   func(ctx context.Context) error { return a.Adopt(ctx, p) },
			undo: func(ctx context.Context) error { return a.Release(ctx, p) },
		})
	}
	g.pivot = len(g.steps)
	return g
}
