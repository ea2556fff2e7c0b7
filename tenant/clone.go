package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// CloneRequest asks for a tenant that is made from another.
type CloneRequest struct {
	From Name
	To   CreateRequest
	Data bool // with its rows; else with its structure and its books of versions alone
}

type cloneParams struct {
	From uuid.UUID     `json:"from"`
	Data bool          `json:"data"`
	To   CreateRequest `json:"to"`
	Was  string        `json:"was"` // what the source was when the clone began: a copy of two states is none
}

// PlanClone gives the tenant that Clone would make, and touches nothing.
func (s *Service) PlanClone(ctx context.Context, req CloneRequest) (from, to Tenant, err error) {
	if err = s.mayRunCode(ctx); err != nil {
		return from, to, err
	}
	if from, err = s.catalog.Get(ctx, req.From); err != nil {
		return from, to, err
	}
	if !from.State.Migrates() {
		return from, to, s.catalog.unready(ctx, from)
	}
	if req.To.Labels == nil {
		req.To.Labels = givenLabels(from.Labels)
	}
	if to, err = s.plan(req.To); err != nil {
		return from, to, err
	}
	existing, err := s.catalog.Get(ctx, to.Name)
	switch {
	case errors.Is(err, ErrNotFound):
		return from, to, nil
	case err != nil:
		return from, to, err
	case existing.State != Provisioning:
		return from, to, existsAlready(existing)
	}
	return from, to, nil // an interrupted one, which is gone on with
}

// Clone makes a tenant as a copy of another, at the same versions, without an archive. After a crash at any point the
// same call goes on.
func (s *Service) Clone(ctx context.Context, req CloneRequest) (*Outcome, error) {
	if _, err := s.archivers(""); err != nil {
		return nil, err
	}
	from, to, err := s.PlanClone(ctx, req)
	if err != nil {
		return nil, err
	}
	for _, r := range each[CodeRunner](s) {
		owner, err := r.OwnerOf(ctx, from)
		if err != nil {
			return nil, err
		}
		to.Adopted = to.Adopted || owner != ""
	}
	params := cloneParams{From: from.ID, Data: req.Data, To: req.To}
	if params.Was, err = s.standing(ctx, from); err != nil {
		return nil, err
	}
	op, resumed, err := s.beginNew(ctx, OpClone, &to, params)
	if err != nil {
		return nil, err
	}
	out := &Outcome{Operation: op, Tenant: to}
	if resumed {
		var was cloneParams
		if err := json.Unmarshal(op.Params, &was); err != nil || was.From != params.From || was.Data != params.Data {
			err := stuck(op, "")
			return out, errors.Join(err, s.catalog.setState(context.WithoutCancel(ctx), op, OpStuck, err, nil))
		}
	}
	g, err := s.cloneSaga(op, to)
	if err == nil {
		err = s.run(ctx, op, g)
	}
	if out.Err = err; err != nil {
		return out, err
	}
	out.Tenant, err = s.asEnded(ctx, to)
	return out, err
}

func (s *Service) cloneSaga(op *Operation, t Tenant) (saga, error) {
	var p cloneParams
	if err := json.Unmarshal(op.Params, &p); err != nil {
		return saga{}, fmt.Errorf("read the operation's parameters: %w", err)
	}
	g := saga{
		steps: []step{{name: "check", do: func(ctx context.Context) error { return s.checkPlaces(ctx, t) }}},
		commit: func(ctx context.Context, tx pgx.Tx) error {
			return s.catalog.moveTenant(ctx, tx, t.ID, Active, Provisioning)
		},
		rollback: func(ctx context.Context, tx pgx.Tx) error { return s.catalog.remove(ctx, tx, t.ID, Provisioning) },
	}
	for _, a := range each[Archiver](s) {
		g.steps = append(g.steps, step{
			name: a.Kind(),
			do:   func(ctx context.Context) error { return s.cloneInto(ctx, a, p, t) },
			undo: func(ctx context.Context) error { return a.Drop(ctx, t) },
		})
	}
	g.steps = append(g.steps, step{name: "confirm", do: func(ctx context.Context) error { return s.sameSource(ctx, p) }})
	g.pivot = len(g.steps)
	return g, nil
}

// standing is what a copy of a tenant depends on: its places, and the newest operation that may change what is in them.
// One that is at work on it is refused.
func (s *Service) standing(ctx context.Context, t Tenant) (string, error) {
	live, err := s.catalog.liveOperation(ctx, t.ID)
	switch {
	case err != nil:
		return "", err
	case live != nil && live.Kind != OpBackup && !s.catalog.dead(live):
		return "", s.catalog.busy(live)
	}
	var newest string
	err = s.catalog.pool.QueryRow(ctx, `SELECT coalesce(max(seq), 0)::text FROM tenantctl.operations WHERE tenant_id = $1 AND kind <> ALL($2)`,
		t.ID, []string{OpBackup, OpSet, OpRename, OpPassword}).Scan(&newest)
	return t.Schema + " " + t.Database + " " + newest, catalogError("read the operations", err)
}

// sameSource refuses a copy whose source was restored, migrated or deleted while it was made.
func (s *Service) sameSource(ctx context.Context, p cloneParams) error {
	from, err := s.catalog.byID(ctx, p.From, "")
	if err != nil {
		return err
	}
	now, err := s.standing(ctx, from)
	if err == nil && now != p.Was {
		err = &Error{Kind: ErrBusy, Msg: fmt.Sprintf("tenant %s was changed while it was copied", from.Name), Hint: "run the same command again"}
	}
	return err
}

// cloneInto copies one store, after what an earlier attempt left was taken away.
func (s *Service) cloneInto(ctx context.Context, a Archiver, p cloneParams, t Tenant) error {
	from, err := s.catalog.byID(ctx, p.From, "")
	if err != nil {
		return err
	}
	if err := s.sameSource(ctx, p); err != nil {
		return err
	}
	if err := s.sweepWorkers(ctx); err != nil {
		return err
	}
	if err := a.Drop(ctx, t); err != nil {
		return err
	}
	if err := s.warnObjectsLeft(ctx, from); err != nil {
		return err
	}
	if err := a.Clone(ctx, from, t, p.Data); err != nil {
		return err
	}
	m, ok := a.(Migrator)
	if !ok {
		return nil
	}
	versions, err := m.Versions(ctx, []Tenant{t})
	if err != nil {
		return err
	}
	if err := versions[0].Err; err != nil {
		return err
	}
	return catalogError("record the version", LeaseFrom(ctx).Record(ctx, t.ID, a.Kind(), versions[0].Version, versions[0].Applied))
}
