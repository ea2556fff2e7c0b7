package tenant

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// partialAge is how old an archive without a manifest must be to be taken for a dead process's.
const partialAge = 24 * time.Hour

// pruner is one prune at work.
type pruner struct {
	s       *Service
	v       Vault
	req     PruneRequest
	holds   map[uuid.UUID]string
	allowed map[uuid.UUID]bool // what may be removed, where somebody was asked
}

// Prune removes the backups that no rule keeps, and what killed backups left. Backups of a tenant on hold are kept, and
// so are those in other places than the vault, where nothing could be removed.
// verdict gets each backup once it has been kept or removed. Without names it looks into the vault first, as ScanBackups
// does, and tells what it found.
func (s *Service) Prune(ctx context.Context, req PruneRequest, verdict func(Kept)) (*Scan, error) {
	v, err := s.vault(ctx)
	if err != nil {
		return nil, err
	}
	p := &pruner{s: s, v: v, req: req}
	scan := new(Scan)
	var partial []Stored
	if len(req.Names) == 0 && !req.DryRun {
		if scan, partial, err = p.scan(ctx); err != nil {
			return nil, err
		}
	}
	if p.holds, err = s.catalog.holds(ctx); err != nil {
		return nil, err
	}
	if req.Confirm != nil && !req.DryRun {
		if err := p.confirm(ctx, len(partial)); err != nil {
			return scan, err
		}
	}
	for _, st := range partial {
		if err := v.Remove(ctx, st.Tenant, st.ID); err != nil {
			return nil, err
		}
	}
	return scan, p.each(ctx, req.DryRun, verdict)
}

// scan looks into the vault, and gives what killed backups have left there as well.
func (p *pruner) scan(ctx context.Context) (*Scan, []Stored, error) {
	inWork, err := p.s.catalog.uploads(ctx) // before the look at what is whole: one that ends meanwhile is whole then
	if err != nil {
		return nil, nil, err
	}
	scan, err := p.s.scanBackups(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	now, err := p.s.catalog.now(ctx)
	if err != nil {
		return nil, nil, err
	}
	var partial []Stored
	for _, st := range scan.partial {
		// In work, however long it takes; and by both clocks: one that goes wrong must not take away what is being written.
		if !inWork[st.ID] && min(now.Sub(st.At), time.Since(st.At)) >= partialAge {
			partial = append(partial, st)
		}
	}
	return scan, partial, nil
}

// confirm asks whether what would be removed may be.
func (p *pruner) confirm(ctx context.Context, partial int) error {
	plan := PrunePlan{Partial: partial}
	allowed := map[uuid.UUID]bool{}
	err := p.each(ctx, true, func(k Kept) {
		if len(k.Reasons) > 0 {
			return
		}
		allowed[k.Backup.ID] = true
		plan.Backups++
		plan.Size += k.Backup.Size
		if n := len(plan.Tenants); n == 0 || plan.Tenants[n-1] != k.Backup.Tenant {
			plan.Tenants = append(plan.Tenants, k.Backup.Tenant)
		}
	})
	if err == nil && plan.Backups+plan.Partial > 0 {
		err = p.req.Confirm(plan)
	}
	p.allowed = allowed
	return err
}

// each judges the backups of one tenant after the other, and removes those that nothing keeps unless dry.
func (p *pruner) each(ctx context.Context, dry bool, verdict func(Kept)) error {
	var group []*Backup
	for b, err := range p.s.catalog.backups(ctx, prunable(p.req.Names), false) {
		if err != nil {
			return err
		}
		if len(group) > 0 && group[0].TenantID != b.TenantID {
			if err := p.judge(ctx, group, dry, verdict); err != nil {
				return err
			}
			group = group[:0]
		}
		if !b.in(p.v) {
			where := "in another place"
			if p.v.Holds(b.Location) {
				where = "in another store that was at this place"
			}
			verdict(Kept{Backup: b, Reasons: []string{where}})
			continue
		}
		group = append(group, b)
	}
	return p.judge(ctx, group, dry, verdict)
}

// judge is each for the backups of one tenant.
func (p *pruner) judge(ctx context.Context, group []*Backup, dry bool, verdict func(Kept)) error {
	if len(group) == 0 {
		return nil
	}
	reasons := p.req.keep(group)
	why, held := p.holds[group[0].TenantID]
	for i, b := range group {
		k := Kept{Backup: b, Reasons: reasons[i]}
		if held {
			k.Reasons = append(k.Reasons, "hold: "+why)
		}
		if len(k.Reasons) == 0 && p.allowed != nil && !p.allowed[b.ID] {
			k.Reasons = []string{"was not asked about"}
		}
		if len(k.Reasons) == 0 && !dry {
			gone, err := p.s.removeBackup(ctx, p.v, b)
			if err != nil {
				return err
			}
			if !gone {
				k.Reasons = []string{"held meanwhile"}
			}
		}
		verdict(k)
	}
	return nil
}
