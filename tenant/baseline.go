package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Baseliner is a Migrator whose books can be written for a place that another tool has made.
type Baseliner interface {
	Migrator
	// Baseline marks what is not applied up to and including version to as applied, without running it, and makes the
	// book where it is missing. Books that are beyond to are refused. With dry it tells what it would do, and refuses
	// what it would refuse. Ran are the versions that are marked.
	Baseline(ctx context.Context, t Tenant, to int64, dry bool) (Moved, error)
}

// BaselineRequest asks for migrations to be marked as applied.
type BaselineRequest struct {
	Selection Selection
	Only      string // the store
	Version   int64  // the newest that is marked; 0 makes an empty book

	Confirmed []uuid.UUID // the tenants that were confirmed; nil for whoever is selected
}

// BaselinePlan is what Baseline would do.
type BaselinePlan struct {
	Store   string       `json:"store"`
	Version int64        `json:"version"`
	Tenants []MarkedPlan `json:"tenants"`
}

// MarkedPlan is one tenant's part of it.
type MarkedPlan struct {
	ID    uuid.UUID `json:"-"`
	Name  Name      `json:"name"`
	From  int64     `json:"from"`
	Marks []int64   `json:"marks"` // versions
	Error *Failure  `json:"error,omitempty"`
}

// baseliner gives the store of a request, where everything that needs no tenant's place is right.
func (s *Service) baseliner(ctx context.Context, req BaselineRequest) (Baseliner, []string, error) {
	if req.Version < 0 {
		return nil, nil, Invalid("tenantctl migrate status shows the versions", "there is no version %d", req.Version)
	}
	if ms, err := s.migrators(req.Only); err == nil && req.Only != "" {
		if err := ownWork("marking migrations", ms...); err != nil {
			return nil, nil, err
		}
	}
	ts, warnings, err := s.targets(ctx, req.Only, req.Version)
	if err != nil {
		return nil, nil, err
	}
	if err := s.catalog.workable(ctx, req.Selection); err != nil {
		return nil, nil, err
	}
	b, ok := ts[0].m.(Baseliner)
	if !ok {
		return nil, nil, Invalid("", "%s keeps no books that could be written", req.Only)
	}
	return b, warnings, nil
}

// PlanBaseline tells what Baseline would do in each tenant, by its real books, and touches nothing.
func (s *Service) PlanBaseline(ctx context.Context, req BaselineRequest) (*BaselinePlan, error) {
	b, _, err := s.baseliner(ctx, req)
	if err != nil {
		return nil, err
	}
	p := &BaselinePlan{Store: b.Kind(), Version: req.Version, Tenants: []MarkedPlan{}}
	for t, err := range s.catalog.tenants(ctx, s.selectMigrating(req.Selection)) {
		if err != nil {
			return nil, err
		}
		moved, err := b.Baseline(ctx, t, req.Version, true)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		p.Tenants = append(p.Tenants, MarkedPlan{ID: t.ID, Name: t.Name, From: moved.From, Marks: append([]int64{}, moved.Ran...), Error: NewFailure(err)})
	}
	return p, nil
}

// Baseline marks migrations as applied in one store of the selected tenants, without running them: for schemas that
// another tool has made. It is a run like Migrate.
func (s *Service) Baseline(ctx context.Context, req BaselineRequest, opts RunOptions) (*RunResult, error) {
	b, warnings, err := s.baseliner(ctx, req)
	if err != nil {
		return nil, err
	}
	params := baselineParams{Store: b.Kind(), Version: req.Version}
	var run *Operation
	if opts.Resume != "" {
		if err := s.sameBaseline(ctx, opts.Resume, params); err != nil {
			return nil, err
		}
		run, err = s.resumeRun(ctx, OpBaseline, &opts)
	} else {
		if err := s.closeDead(ctx, req.Selection, false); err != nil {
			return nil, err
		}
		var first []uuid.UUID
		if first, err = s.canaries(ctx, s.selectMigrating(req.Selection), opts.Rollout); err != nil {
			return nil, err
		}
		run, err = s.startRun(ctx, OpBaseline, runParams{"store": params.Store, "version": params.Version}, opts.Rollout, first, func(ctx context.Context, tx pgx.Tx, run uuid.UUID) error {
			if _, err := s.enterChildren(ctx, tx, run, OpBaseline, params, s.selectMigrating(req.Selection)); err != nil {
				return err
			}
			return onlyConfirmed(ctx, tx, run, req.Confirmed)
		})
	}
	if err != nil {
		return nil, err
	}
	over := &ends{c: s.catalog}
	result, err := s.fleet(ctx, run, 0, opts, over, func(ctx context.Context, child *Operation) (bool, error) {
		return s.baselineChild(ctx, run, child, b, req.Version, over)
	})
	if err != nil {
		return nil, err
	}
	result.Target, result.Warnings = map[string]int64{b.Kind(): req.Version}, warnings
	result.unrecorded = errors.Join(s.recordFiles(ctx), s.endRun(ctx, run, result))
	return result, nil
}

// onlyConfirmed refuses a run with a tenant that nobody was asked about.
func onlyConfirmed(ctx context.Context, tx pgx.Tx, run uuid.UUID, confirmed []uuid.UUID) error {
	if confirmed == nil {
		return nil
	}
	ids := make([]string, len(confirmed))
	for i, id := range confirmed {
		ids[i] = id.String()
	}
	var name Name
	err := tx.QueryRow(ctx, `SELECT tenant_name FROM tenantctl.operations WHERE parent_id = $1 AND tenant_id <> ALL($2::uuid[]) ORDER BY tenant_name LIMIT 1`, run, ids).Scan(&name)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return notConfirmed(name)
}

// baselineParams are what the catalog keeps of a run.
type baselineParams struct {
	Store   string `json:"store"`
	Version int64  `json:"version"`
}

// sameBaseline refuses to go on with a run that marks something else.
func (s *Service) sameBaseline(ctx context.Context, id string, want baselineParams) error {
	run, err := s.catalog.findOperation(ctx, id)
	if err != nil || run.Kind != OpBaseline {
		return nil // which the caller finds out
	}
	var was baselineParams
	if err := json.Unmarshal(run.Params, &was); err != nil {
		return fmt.Errorf("read the operation's parameters: %w", err)
	}
	if was != want {
		return Invalid(fmt.Sprintf("--only %s --version %d", was.Store, was.Version), "run %s marks other versions", ShortID(run.ID))
	}
	return nil
}

func (s *Service) baselineChild(ctx context.Context, run, child *Operation, b Baseliner, to int64, over *ends) (changed bool, err error) {
	t, err := s.claimChild(ctx, run, child)
	if err != nil {
		return false, err
	}
	s.emit(Event{Operation: child, Step: "mark"})
	return s.migrateOne(ctx, child, t, over, func(ctx context.Context) (bool, error) {
		if err := s.point(ctx, OpBaseline, b.Kind(), "before"); err != nil {
			return false, err
		}
		moved, err := b.Baseline(ctx, t, to, false)
		if err != nil {
			return false, err
		}
		return len(moved.Ran) > 0, s.point(ctx, OpBaseline, b.Kind(), "after")
	})
}
