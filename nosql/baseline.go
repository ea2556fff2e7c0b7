package nosql

import (
	"context"
	"slices"

	"github.com/tenantctl/tenantctl/tenant"
)

// Baseline marks the migrations up to and including version to as applied, without running them, in both books.
func (r *Resource) Baseline(ctx context.Context, t tenant.Tenant, to int64, dry bool) (tenant.Moved, error) {
	files, err := r.load()
	if err != nil {
		return tenant.Moved{}, err
	}
	if err := knows(files, to); err != nil {
		return tenant.Moved{}, err
	}
	s, err := r.look(ctx, t)
	if err != nil {
		return tenant.Moved{}, err
	}
	if err := s.ours(t); err != nil {
		return tenant.Moved{}, err
	}
	b := &s.book
	applied, err := b.applied(files)
	if err != nil {
		return tenant.Moved{}, err
	}
	if run := b.progress.Running; run != nil {
		return tenant.Moved{}, coded(tenant.ErrMigration, "dirty", "finish it with tenantctl migrate, or undo it with tenantctl migrate down, before anything else",
			"version %d was begun (%s) and not finished", run.Version, run.Direction)
	}
	moved := tenant.Moved{From: newest(applied), To: to, Applied: len(applied)}
	if moved.From > to {
		return tenant.Moved{}, coded(tenant.ErrInvalid, "beyond_baseline", "give that version or a newer one; to take migrations back, use tenantctl migrate down",
			"version %d is applied already, which is above %d", moved.From, to)
	}
	for _, f := range files {
		if _, done := slices.BinarySearch(applied, f.version); !done && f.version <= to {
			moved.Ran = append(moved.Ran, f.version)
		}
	}
	if dry {
		moved.Applied += len(moved.Ran)
		return moved, nil
	}
	if len(moved.Ran) > 0 {
		// golang-migrate's book first: after a crash in between, it tells by itself what is applied.
		if err := r.writeVersion(ctx, t, b, to, false); err != nil {
			return moved, err
		}
		if err := tenant.Checkpoint(ctx, "mongodb/baseline-version"); err != nil {
			return moved, err
		}
		for _, v := range moved.Ran {
			applied = with(applied, v)
		}
		b.progress.Applied = applied
		if err := r.writeProgress(ctx, t, b); err != nil {
			return moved, err
		}
		moved.Applied = len(applied)
	}
	if err := tenant.Checkpoint(ctx, "mongodb/baseline-written"); err != nil {
		return moved, err
	}
	return moved, record(ctx, t, applied)
}
