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

// applyParams are what the catalog keeps of one tenant's part in an apply.
type applyParams struct {
	Declared
	Action   string    `json:"action"`
	ID       uuid.UUID `json:"id"`
	NoBackup bool      `json:"no_backup,omitempty"`
	GaveUp   bool      `json:"gave_up,omitempty"` // a domain, to another tenant, when the run began
}

// Apply does what a plan says, as one run: each change is an operation of its own, as the command for it would make it.
// plan is nil where opts name the run to go on with.
func (s *Service) Apply(ctx context.Context, plan *ApplyPlan, opts RunOptions) (*RunResult, error) {
	if err := s.runnable(ctx, Selection{}, opts); err != nil {
		return nil, err
	}
	var run *Operation
	var err error
	unchanged := 0
	if opts.Resume != "" {
		run, err = s.resumeRun(ctx, OpApply, &opts)
	} else {
		unchanged = plan.Summary.Unchanged
		run, err = s.startRun(ctx, OpApply, runParams{"prune": plan.request.Prune}, opts.Rollout, nil, func(ctx context.Context, tx pgx.Tx, run uuid.UUID) error {
			return s.enterApply(ctx, tx, run, plan)
		})
	}
	if violates(err, "operations_one_apply") {
		return nil, &Error{Kind: ErrBusy, Msg: "another apply is in work", Hint: "wait for it: tenantctl ops list --unfinished"}
	}
	if err != nil {
		return nil, err
	}
	if plan != nil {
		if err := s.giveUp(ctx, run, plan.moves); err != nil {
			return nil, errors.Join(err, s.abortRun(context.WithoutCancel(ctx), run))
		}
	}
	result, err := s.fleet(ctx, run, unchanged, opts, nil, func(ctx context.Context, child *Operation) (bool, error) {
		return s.applyChild(silently(ctx), run, child)
	})
	if err != nil {
		return nil, err
	}
	result.unrecorded = s.endRun(ctx, run, result)
	return result, nil
}

// enterApply writes a pending operation for each tenant of the plan.
func (s *Service) enterApply(ctx context.Context, tx pgx.Tx, run uuid.UUID, plan *ApplyPlan) error {
	for part := range slices.Chunk(plan.Changes, page) {
		n := len(part)
		ids, names, params, of := make([]string, n), make([]string, n), make([]string, n), make([]*string, n)
		for i, c := range part {
			ids[i], names[i] = newID().String(), string(c.Tenant)
			params[i] = jsonText(applyParams{Declared: c.want, Action: c.Action, ID: c.id, NoBackup: plan.request.NoBackup, GaveUp: plan.givesUp(c.id)})
			if c.id != uuid.Nil {
				of[i] = unlessEmpty(c.id.String())
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO tenantctl.operations (id, kind, parent_id, tenant_id, tenant_name, state, params, actor, owner)
			SELECT i, $5, $6, t, n, 'pending', p::jsonb, $7, $8 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[]) AS x(i, n, p, t)`,
			ids, names, params, of, OpApply, run, s.catalog.actorOf(ctx), s.catalog.self.String())
		if err != nil {
			return err
		}
	}
	return nil
}

// givesUp tells whether a tenant loses a domain to another one when the run begins.
func (p *ApplyPlan) givesUp(id uuid.UUID) bool {
	return slices.ContainsFunc(p.moves, func(m move) bool { return m.from.ID == id })
}

// giveUp takes domains from tenants of the plan that others of it are to have.
func (s *Service) giveUp(ctx context.Context, run *Operation, moves []move) error {
	defer s.catalog.working(run)()
	ctx = silently(ctx)
	for _, m := range moves {
		if _, err := s.Set(ctx, m.from.Name, Change{RemoveDomains: []string{m.domain}}); err != nil {
			return err
		}
	}
	return nil
}

// applyChild brings one tenant to what is declared of it, and records how that ended.
func (s *Service) applyChild(ctx context.Context, run, child *Operation) (bool, error) {
	tag, err := s.catalog.pool.Exec(ctx, `UPDATE tenantctl.operations SET started_at = clock_timestamp(), owner = $4 WHERE id = $1 AND state = 'pending'
		AND EXISTS (SELECT FROM tenantctl.operations WHERE id = $2 AND fence = $3 AND state = 'running')`, child.ID, run.ID, run.Fence, s.catalog.self.String())
	switch {
	case err != nil:
		return false, &catalogAway{catalogError("claim a tenant", err)}
	case tag.RowsAffected() == 0:
		return false, runLost(run)
	}
	var p applyParams
	if err := json.Unmarshal(child.Params, &p); err != nil {
		return false, s.failApply(ctx, child, fmt.Errorf("read the operation's parameters: %w", err))
	}
	changed, err := s.applyOne(ctx, p)
	if err != nil {
		return changed, s.failApply(ctx, child, WithTenant(err, child.Tenant))
	}
	return changed || p.GaveUp, s.catalog.donePending(ctx, child)
}

func (s *Service) failApply(ctx context.Context, child *Operation, err error) error {
	if unwritten := s.catalog.failPending(context.WithoutCancel(ctx), child, err); unwritten != nil {
		return errors.Join(err, unwritten)
	}
	return err
}

// applyOne looks at the tenant anew: what is done already, by an earlier attempt perhaps, is not done again.
func (s *Service) applyOne(ctx context.Context, p applyParams) (changed bool, err error) {
	if p.Action == ApplyDelete {
		out, err := s.Delete(ctx, p.Name, DeleteRequest{NoBackup: p.NoBackup, ID: p.ID})
		return out != nil && out.Operation != nil, err
	}
	t, err := s.catalog.Get(ctx, p.Name)
	switch {
	case p.Action == ApplyChange && (errors.Is(err, ErrNotFound) || err == nil && t.ID != p.ID):
		return false, &Error{Kind: ErrBusy, Tenant: p.Name, Msg: "another process has renamed or removed it", Hint: "run the same command again"}
	case errors.Is(err, ErrNotFound), err == nil && (t.State == Provisioning || t.State == Failed):
		out, err := s.create(ctx, p.request(), true)
		if err != nil {
			return false, err
		}
		changed, t = true, out.Tenant
	case err != nil:
		return false, err
	}
	more, err := s.converge(ctx, t, p.Declared)
	return changed || more, err
}

// converge changes a tenant until it is as declared. An interrupted change that is finished first asks for one more look.
func (s *Service) converge(ctx context.Context, t Tenant, d Declared) (changed bool, err error) {
	for range 3 {
		ch, needed, err := d.change(t)
		if err != nil {
			return changed, err
		}
		if !needed {
			break
		}
		out, err := s.Set(ctx, t.Name, ch)
		if err != nil {
			return changed, err
		}
		changed, t = true, out.Tenant
	}
	if d.State == "" || d.State == t.State {
		return changed, nil
	}
	move := s.Suspend
	if d.State == Active {
		move = s.Resume
	}
	out, err := move(ctx, t.Name)
	if err != nil {
		return changed, err
	}
	for _, w := range out.Warnings {
		s.warn(fmt.Sprintf("tenant %s: %s", t.Name, w))
	}
	return true, nil
}
