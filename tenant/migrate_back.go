package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// BackRequest says what goes back.
type BackRequest struct {
	Name Name
	Only string // the store
	To   int64  // the version to go back to; 0 for a redo

	ID uuid.UUID // the tenant that was confirmed; the zero UUID for whoever has the name
}

// MigrateDown takes one tenant's store back to a version.
func (s *Service) MigrateDown(ctx context.Context, req BackRequest) (*Outcome, error) {
	m, t, err := s.back(ctx, req)
	if err != nil {
		return nil, err
	}
	out, err := s.migrateBack(ctx, OpDown, m, t, backParams{Only: req.Only}, func(ctx context.Context) (Moved, error) {
		return m.Down(ctx, t, req.To)
	})
	if errors.Is(err, errAgain) {
		req.ID = t.ID
		return s.MigrateDown(ctx, req)
	}
	return out, err
}

// MigrateRedo takes a tenant's newest migration in one store back and applies it again.
func (s *Service) MigrateRedo(ctx context.Context, req BackRequest) (*Outcome, error) {
	req.To = 0
	m, t, err := s.back(ctx, req)
	if err != nil {
		return nil, err
	}
	begun, last, err := s.begunRedo(ctx, m, t)
	if err != nil {
		return nil, err
	}
	current, _, err := s.newestApplied(ctx, m, t)
	if err != nil {
		return nil, err
	}
	version := max(begun, current)
	if version == 0 {
		return nil, &Error{Kind: ErrInvalid, Tenant: t.Name, Store: m.Kind(), Msg: "no migration is applied", Hint: "tenantctl migrate " + string(t.Name)}
	}
	out, err := s.migrateBack(ctx, OpRedo, m, t, backParams{req.Only, version, &last}, func(ctx context.Context) (Moved, error) {
		current, below, err := s.newestApplied(ctx, m, t)
		if err != nil {
			return Moved{}, err
		}
		if current >= version {
			if _, err := m.Down(ctx, t, below); err != nil {
				return Moved{}, err
			}
		}
		return m.Up(ctx, t, max(current, version), false)
	})
	if errors.Is(err, errAgain) {
		req.ID = t.ID
		return s.MigrateRedo(ctx, req)
	}
	return out, err
}

// backParams are what a way back is entered with. Version is what a redo took back: where it got no further, the next
// one applies that again, and takes nothing else back.
type backParams struct {
	Only    string `json:"only"`
	Version int64  `json:"version,omitempty"`

	upon *lastDone // what the version was decided on
}

// begunRedo gives the version that a redo took back, where that was the last thing done to the tenant and came to no
// good end; else 0. It tells what was done last, too.
func (s *Service) begunRedo(ctx context.Context, m Migrator, t Tenant) (int64, lastDone, error) {
	ops, err := s.catalog.lastOperations(ctx, t.ID, 1)
	if err != nil || len(ops) == 0 {
		return 0, lastDone{}, err
	}
	last := lastDone{ops[0].ID, ops[0].State}
	if ops[0].Kind != OpRedo || ops[0].State == OpDone {
		return 0, last, nil
	}
	var p backParams
	if err := json.Unmarshal(ops[0].Params, &p); err != nil {
		return 0, last, fmt.Errorf("read the operation's parameters: %w", err)
	}
	if p.Only != m.Kind() {
		return 0, last, nil
	}
	return p.Version, last, nil
}

// newestApplied gives a tenant's real version in one store, 0 where there is none, and the file below it.
func (s *Service) newestApplied(ctx context.Context, m Migrator, t Tenant) (current, below int64, err error) {
	vs, err := m.Versions(ctx, []Tenant{t})
	if err != nil {
		return 0, 0, err
	}
	if vs[0].Err != nil {
		return 0, 0, WithTenant(vs[0].Err, t.Name)
	}
	files, err := m.Files(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, f := range files {
		if f.Version < vs[0].Version {
			below = f.Version
		}
	}
	return vs[0].Version, below, nil
}

// PlanBack checks what MigrateDown is asked for, or MigrateRedo with To 0, and touches nothing.
func (s *Service) PlanBack(ctx context.Context, req BackRequest) (Tenant, error) {
	_, t, err := s.back(ctx, req)
	return t, err
}

// back gives the store and the tenant of a way back, where it can be gone.
func (s *Service) back(ctx context.Context, req BackRequest) (Migrator, Tenant, error) {
	only, to := req.Only, req.To
	if only == "" {
		return nil, Tenant{}, Invalid("add --only postgres or --only mongodb", "each store counts its own versions, so going back needs its store")
	}
	ms, err := s.migrators(only)
	if err != nil {
		return nil, Tenant{}, err
	}
	if err := ownWork("going back", ms[0]); err != nil {
		return nil, Tenant{}, err
	}
	files, err := ms[0].Files(ctx)
	if err != nil {
		return nil, Tenant{}, err
	}
	if to != 0 && !slices.ContainsFunc(files, func(f MigrationFile) bool { return f.Version == to }) {
		return nil, Tenant{}, Invalid("tenantctl migrate status shows the versions", "%s has no migration with version %d", only, to)
	}
	t, err := s.confirmed(ctx, req.Name, req.ID)
	if err != nil {
		return nil, t, err
	}
	if !t.State.Migrates() {
		return nil, t, s.catalog.unready(ctx, t)
	}
	return ms[0], t, nil
}

func (s *Service) migrateBack(ctx context.Context, kind string, m Migrator, t Tenant, params backParams, do func(context.Context) (Moved, error)) (*Outcome, error) {
	op, _, err := s.begin(ctx, intent{kind: kind, tenant: &t, params: params, upon: params.upon})
	if err != nil {
		return nil, err
	}
	_, err = s.migrateOne(ctx, op, t, nil, func(ctx context.Context) (bool, error) {
		if err := s.point(ctx, kind, m.Kind(), "before"); err != nil {
			return false, err
		}
		moved, err := do(ctx)
		if err != nil {
			return false, err
		}
		if err := LeaseFrom(ctx).Record(ctx, t.ID, m.Kind(), moved.To, moved.Applied); err != nil {
			return false, catalogError("record the version", err)
		}
		return true, s.point(ctx, kind, m.Kind(), "after")
	})
	if err != nil {
		return &Outcome{Operation: op, Tenant: t, Err: err}, err
	}
	if err := s.recordFiles(context.WithoutCancel(ctx)); err != nil {
		return nil, err
	}
	t, err = s.asEnded(ctx, t)
	return &Outcome{Operation: op, Tenant: t}, err
}
