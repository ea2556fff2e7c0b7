package tenant

import (
	"context"
	"slices"
)

// Checked is what a check of the migration files found.
type Checked struct {
	Findings []Finding
	Ignored  int // findings that comments in the files silence
}

// changedRule is the only one that the catalog is needed for.
var changedRule = Rule{
	ID: "changed-after-applied", Severity: "error", Reason: "tenants differ from now on, by when each was migrated",
	Alternative: "put the file back and write a new migration",
}

// Rules are those of every store.
func (s *Service) Rules() []Rule {
	var out []Rule
	for _, r := range each[Ruled](s) {
		changed := changedRule
		changed.Store = r.Kind()
		out = append(out, append(r.Rules(), changed)...)
	}
	return out
}

// CheckMigrations finds what is wrong or risky in the migration files; with the catalog, also what changed after it
// was applied. What would be unsafe on tables in use is told of files above the version after, where PostgreSQL counts,
// and, with the catalog, of those that some tenant has not yet applied.
func (s *Service) CheckMigrations(ctx context.Context, withCatalog bool, after int64) (*Checked, error) {
	out := &Checked{Findings: []Finding{}}
	all := each[Migrator](s)
	own := slices.DeleteFunc(slices.Clone(all), func(m Migrator) bool { return delegates(m) })
	if len(own) == 0 {
		return nil, ownWork("checking migrations", all...)
	}
	for _, m := range own {
		found, err := m.Check(ctx)
		if err != nil {
			return nil, err
		}
		past := after
		if withCatalog {
			everywhere, err := s.catalog.appliedEverywhere(ctx, m.Kind())
			if err != nil {
				return nil, err
			}
			past = max(past, everywhere)
		}
		for _, f := range found {
			switch {
			case f.Live && f.Version <= past:
			case f.Ignored:
				out.Ignored++
			default:
				out.Findings = append(out.Findings, f)
			}
		}
		if !withCatalog || slices.ContainsFunc(found, func(f Finding) bool { return f.Severity == "error" && !f.Ignored }) {
			continue
		}
		files, err := m.Files(ctx)
		if err != nil {
			return nil, err
		}
		changed, _, err := s.catalog.changedFiles(ctx, m.Kind(), files)
		if err != nil {
			return nil, err
		}
		for _, c := range changed {
			out.Findings = append(out.Findings, Finding{Store: m.Kind(), File: c.Path, Rule: changedRule.ID, Severity: changedRule.Severity, Message: "was changed after it was first applied; put it back and write a new migration"})
		}
	}
	return out, nil
}

// appliedEverywhere is the version that no tenant is below, 0 where there is none.
func (c *Catalog) appliedEverywhere(ctx context.Context, kind string) (version int64, err error) {
	err = c.pool.QueryRow(ctx, `SELECT coalesce(min(coalesce(v.version, 0)), 0) FROM tenantctl.tenants t
		LEFT JOIN tenantctl.versions v ON v.tenant_id = t.id AND v.kind = $1 WHERE `+migrating, kind).Scan(&version)
	return version, catalogError("look for the oldest version", err)
}
