package tenant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// FixResult is what a fix did, and what is left.
type FixResult struct {
	Summary    Summary        `json:"summary"` // of the tenants that had something to mend
	Failures   []FailureGroup `json:"failures"`
	Mended     []FaultGroup   `json:"mended"` // what was found before, and is not found any more
	Left       *Verification  `json:"left"`   // what is found now
	DurationMS int64          `json:"duration_ms"`
}

// Err says what is not mended: what failed before what is left.
func (r *FixResult) Err() error {
	if r.Summary.Failed+r.Summary.NotStarted > 0 {
		return partial(r.Summary, r.Failures, "run the same command again")
	}
	return r.Left.Err()
}

// Retagged is how many tenants Fix would give a lost ownership tag back.
func (v *Verification) Retagged() (n int) {
	for _, lost := range v.lost {
		if lost {
			n++
		}
	}
	return n
}

// Mendable is how many tenants have something that Fix would put right.
func (v *Verification) Mendable() int { return len(v.mendable) }

// Fix puts right what Verify has found with a way to mend it, and runs the statements of drifts, each tenant in an operation
// of its own, and verifies again. By itself it takes nothing away but rights, and makes nothing but roles, users and empty
// databases.
func (s *Service) Fix(ctx context.Context, req VerifyRequest, v *Verification, drifts []*Drift, opts RunOptions) (*FixResult, error) {
	start := time.Now()
	ofTenant := map[uuid.UUID][]*Drift{}
	for _, d := range drifts {
		for _, id := range d.tenants {
			ofTenant[id] = append(ofTenant[id], d)
		}
	}
	var tenants, peers []Tenant
	for t, err := range s.catalog.Tenants(ctx, Selection{}) {
		if err != nil {
			return nil, err
		}
		if !v.lost[t.ID] {
			peers = append(peers, t)
		}
		if v.mendable[t.ID] || ofTenant[t.ID] != nil {
			tenants = append(tenants, t)
		}
	}
	stores, err := s.verifiers(req.Only)
	if err != nil {
		return nil, err
	}
	f := s.overList(len(tenants), opts.MaxFailures)
	f.list(ctx, s.parallel(opts.Parallel), func(i int) {
		t := tenants[i]
		child := &Operation{Kind: OpVerifyFix, Tenant: t.Name}
		f.begun(child)
		retag := func(ctx context.Context, store Verifier, t Tenant) (bool, error) {
			if !v.lost[t.ID] {
				return false, nil
			}
			return store.Retag(ctx, t, peers)
		}
		changed, err := s.fixOne(context.WithoutCancel(ctx), t, stores, ofTenant[t.ID], retag)
		f.over(child, changed, err)
	})
	if ctx.Err() != nil {
		return nil, &Error{Kind: ErrInterrupted, Msg: fmt.Sprintf("interrupted: %d of %s are repaired", f.summary.Changed, Plural(len(tenants), "tenant")), Hint: "run the same command again"}
	}
	if err := s.EndFixes(ctx, req.Selection); err != nil { // of tenants that had been mended when they were killed
		return nil, err
	}
	r := &FixResult{Summary: f.summary, Failures: f.groups.list(), Mended: []FaultGroup{}}
	if r.Left, err = s.Verify(ctx, req); err != nil {
		return nil, err
	}
	r.Mended = mended(v.Findings, r.Left.Findings)
	r.DurationMS = time.Since(start).Milliseconds()
	return r, nil
}

// EndFixes ends what killed fixes have left in the ledger where nothing is left to be mended.
func (s *Service) EndFixes(ctx context.Context, sel Selection) error {
	return s.closeDead(ctx, sel, false)
}

// fixOne mends one tenant under an operation. After a crash the next verification finds what is left to be mended.
func (s *Service) fixOne(ctx context.Context, t Tenant, stores []Verifier, drifts []*Drift, retag func(context.Context, Verifier, Tenant) (bool, error)) (changed bool, err error) {
	op, _, err := s.begin(ctx, intent{kind: OpVerifyFix, tenant: &t, params: struct{}{}})
	for errors.Is(err, errAgain) {
		if t, err = s.catalog.byID(ctx, t.ID, t.Name); err == nil {
			op, _, err = s.begin(ctx, intent{kind: OpVerifyFix, tenant: &t, params: struct{}{}})
		}
	}
	if err != nil {
		return false, WithTenant(err, t.Name)
	}
	return s.migrateOne(ctx, op, t, nil, func(ctx context.Context) (bool, error) {
		t, err := s.catalog.byID(ctx, t.ID, t.Name) // as it is now that the operation holds it
		if err != nil {
			return false, err
		}
		for _, store := range stores {
			if err := s.point(ctx, OpVerifyFix, store.Kind(), "before"); err != nil {
				return changed, err
			}
			retagged, err := retag(ctx, store, t)
			mended := false
			if err == nil {
				mended, err = s.mendIn(ctx, store, t)
			}
			changed = changed || retagged || mended
			for _, d := range drifts {
				if err == nil && d.store == store {
					err = store.Realign(ctx, t, d.Statements, d.have, d.want)
					changed = changed || err == nil
				}
			}
			if err != nil {
				return changed, err
			}
			if err := s.point(ctx, OpVerifyFix, store.Kind(), "after"); err != nil {
				return changed, err
			}
		}
		return changed, nil
	})
}

// mendIn mends one store, and then the catalog's record of its version.
func (s *Service) mendIn(ctx context.Context, store Verifier, t Tenant) (changed bool, err error) {
	if changed, err = store.Mend(ctx, t); err != nil || !t.State.Migrates() {
		return changed, err
	}
	versions, err := store.Versions(ctx, []Tenant{t})
	if err != nil {
		return changed, err
	}
	v := versions[0]
	if v.Err != nil || v.Presence != Ours || v.Version == t.Versions[store.Kind()] {
		return changed, nil // what cannot be read is not for this to mend
	}
	return true, catalogError("record the version", LeaseFrom(ctx).Record(ctx, t.ID, store.Kind(), v.Version, v.Applied))
}
