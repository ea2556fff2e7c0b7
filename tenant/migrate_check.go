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

// changedRules need the catalog: they are about files that differ from what was first applied.
var changedRules = map[fileHow]Rule{
	fileChanged: {ID: "changed-after-applied", Severity: "error", Reason: "tenants differ from now on, by when each was migrated", Alternative: "put the file back and write a new migration"},
	fileRenamed: {ID: "renamed-after-applied", Severity: "warning", Reason: "people look for a file by the name under which it was applied", Alternative: "the name that it had"},
	fileMoved:   {ID: "moved-after-applied", Severity: "error", Reason: "a file that was applied would run once more under its new version", Alternative: "the version that it had"},
}

// emptyRule is the stores' own for a file that does nothing; one that was applied stays as it is.
const emptyRule = "empty"

// Rules are those of every store.
func (s *Service) Rules() []Rule {
	var out []Rule
	for _, r := range each[Ruled](s) {
		out = append(out, r.Rules()...)
		for how := fileChanged; how <= fileMoved; how++ {
			changed := changedRules[how]
			changed.Store = r.Kind()
			out = append(out, changed)
		}
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
		past, applied := after, int64(0)
		var known map[int64]recordedFile
		if withCatalog {
			everywhere, err := s.catalog.appliedEverywhere(ctx, m.Kind())
			if err != nil {
				return nil, err
			}
			if applied, err = s.catalog.newestOf(ctx, m.Kind()); err != nil {
				return nil, err
			}
			if known, err = s.catalog.recordedFiles(ctx, m.Kind()); err != nil {
				return nil, err
			}
			past = max(past, everywhere)
		}
		for _, f := range found {
			switch {
			case f.Live && f.Version <= past, f.Rule == emptyRule && f.Version <= applied:
			case f.Ignored:
				out.Ignored++
			default:
				out.Findings = append(out.Findings, f)
			}
		}
		if !withCatalog || slices.ContainsFunc(found, func(f Finding) bool { return f.Severity == "error" && f.Rule != emptyRule && !f.Ignored }) {
			continue
		}
		files, err := m.Files(ctx)
		if err != nil {
			return nil, err
		}
		changes, _ := compareFiles(known, files)
		for _, c := range changes {
			out.Findings = append(out.Findings, c.finding(m.Kind()))
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
