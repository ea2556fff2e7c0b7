package tenant

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Planner is a Migrator that knows what its files would do.
type Planner interface {
	Migrator
	// Explain tells of every file, in order of version, what applying it does.
	Explain(ctx context.Context) ([]PlannedFile, error)
}

// PlannedFile is what one file would do to a tenant.
type PlannedFile struct {
	Store      string             `json:"store"`
	Version    int64              `json:"version"`
	Name       string             `json:"name"`
	Path       string             `json:"path"`
	Statements []PlannedStatement `json:"statements"`
}

// PlannedStatement is what one statement would do.
type PlannedStatement struct {
	Line      int           `json:"line"`
	Statement string        `json:"statement"`
	Locks     []PlannedLock `json:"locks"`             // the strongest on each table that others use
	Rewrites  []string      `json:"rewrites"`          // tables that are written anew
	Scans     []string      `json:"scans"`             // tables that are read from end to end
	Unknown   bool          `json:"unknown,omitempty"` // it may do more than that: code that is not read, CASCADE
}

// PlannedLock is a lock on one table, as the store names it.
type PlannedLock struct {
	Table string `json:"table"`
	Mode  string `json:"mode"`
}

// Sizer is a Resource that can tell how large tables are without reading them.
type Sizer interface {
	Resource
	// Sizes gives those of some tenants' tables that are there, in the order of the tenants.
	Sizes(ctx context.Context, ts []Tenant, tables []string) ([][]TableSize, error)
}

// TableSize is one tenant's table.
type TableSize struct {
	Table string
	Heap  int64 // bytes of its rows
	Total int64 // bytes with its indexes
	Rows  int64 // as last estimated; 0 where nobody did
}

// MigratePlan is what a migrate run would do.
type MigratePlan struct {
	Target   map[string]int64 `json:"target"`
	Tenants  int              `json:"tenants"`
	Groups   []*MigrateGroup  `json:"groups"` // the largest first
	Behind   []Behind         `json:"behind"`
	Warnings []string         `json:"warnings,omitempty"`
}

// MigrateGroup are the tenants behind that are at the same versions.
type MigrateGroup struct {
	Versions map[string]int64 `json:"versions"`
	Tenants  int              `json:"tenants"`
	Names    []Name           `json:"names"` // the first 20
	// Late counts the tenants that also lack files below their version: which, only their books know.
	Late     int           `json:"late"`
	Refused  string        `json:"refused,omitempty"` // why nothing would be done to them
	Files    []PlannedFile `json:"files"`
	Largest  *LargestTable `json:"largest"` // of those that are read or written whole; null where none is
	Estimate Estimate      `json:"estimate"`
}

// LargestTable is the largest one of a group.
type LargestTable struct {
	Tenant Name   `json:"tenant"`
	Table  string `json:"table"`
	Bytes  int64  `json:"bytes"` // with its indexes
	Rows   int64  `json:"rows"`  // as last estimated
}

// Estimate is about how long a group takes.
type Estimate struct {
	ReadBytes      int64 `json:"read_bytes"`      // of tables that are read from end to end, once for each time
	RewrittenBytes int64 `json:"rewritten_bytes"` // of tables that are written anew, with their indexes
	TenantMS       int64 `json:"tenant_ms"`       // what a tenant took in the last runs, at the median
	DurationMS     int64 `json:"duration_ms"`
	Parallel       int   `json:"parallel"`
}

// What the estimate goes by, in bytes a second: an index or a constraint read through a table, and a table written anew
// with its indexes, on an ordinary disk that others use too.
const (
	readRate    = 100 << 20
	rewriteRate = 25 << 20
)

// usualTenant is what a tenant takes where no run is known.
const usualTenant = 5 * time.Millisecond

// shownNames is how many tenants of a group are named.
const shownNames = 20

// PlanMigrate tells what Migrate would do with so many tenants at once, and touches nothing.
func (s *Service) PlanMigrate(ctx context.Context, req MigrateRequest, parallel int) (*MigratePlan, error) {
	req, err := s.asked(ctx, req, "")
	if err != nil {
		return nil, err
	}
	ts, warnings, err := s.targets(ctx, req.Only, req.To)
	if err != nil {
		return nil, err
	}
	if err := s.catalog.workable(ctx, req.Selection); err != nil {
		return nil, err
	}
	for _, t := range ts {
		if t.asked {
			warnings = append(warnings, t.kind+": the command of migrations.engine exec is run for every tenant, and what it would do only it knows")
		}
	}
	p := &MigratePlan{Target: versionsOf(ts), Behind: []Behind{}, Groups: []*MigrateGroup{}, Warnings: warnings}
	if p.Tenants, err = s.catalog.count(ctx, s.selectMigrating(req.Selection)); err != nil {
		return nil, err
	}
	q := s.selectMigrating(req.Selection)
	q.and(behind(q, ts))
	b := planner{Service: s, ts: ts, outOfOrder: req.OutOfOrder, parallel: max(1, parallel), byVersions: map[string]*planGroup{}}
	if err := b.groups(ctx, q); err != nil || len(b.all) == 0 {
		return p, err
	}
	if err := b.files(ctx); err != nil {
		return nil, err
	}
	if err := b.tenants(ctx, q, p); err != nil {
		return nil, err
	}
	if err := b.estimate(ctx); err != nil {
		return nil, err
	}
	for _, g := range b.all {
		p.Groups = append(p.Groups, &g.MigrateGroup)
	}
	return p, nil
}

// planner puts a plan together.
type planner struct {
	*Service
	ts         []target
	outOfOrder bool
	parallel   int
	all        []*planGroup
	byVersions map[string]*planGroup
	tables     map[string]map[string]bool // by kind of store, those whose size counts
}

// planGroup is a group while its tenants are added up.
type planGroup struct {
	MigrateGroup
	reads, rewrites map[string]int // how often each table is, by store and name
	longest         float64        // seconds of the slowest tenant
	seconds         float64        // of all
}

// groups counts the tenants behind by their versions.
func (b *planner) groups(ctx context.Context, q *query) error {
	known := map[string][]int64{}
	for _, t := range b.ts {
		files, err := t.m.Files(ctx)
		if err != nil {
			return err
		}
		for _, f := range files {
			known[t.kind] = append(known[t.kind], f.Version)
		}
	}
	rows, err := b.catalog.pool.Query(ctx, `SELECT at, count(*), (array_agg(name ORDER BY name))[1:`+fmt.Sprint(shownNames)+`] FROM (
			SELECT t.name, coalesce((SELECT jsonb_object_agg(v.kind, jsonb_build_array(v.version, v.applied)) FROM tenantctl.versions v WHERE v.tenant_id = t.id), '{}') AS at
			FROM tenantctl.tenants t WHERE `+q.where()+`) x GROUP BY at ORDER BY at`, q.args...)
	if err != nil {
		return catalogError("group the tenants", err)
	}
	var at map[string][2]int64
	var tenants int
	var names []Name
	_, err = pgx.ForEachRow(rows, []any{&at, &tenants, &names}, func() error {
		versions, late := map[string]int64{}, false
		for kind, v := range at {
			versions[kind] = v[0]
			if files := known[kind]; slices.Contains(files, v[0]) {
				below := len(slices.DeleteFunc(slices.Clone(files), func(f int64) bool { return f > v[0] }))
				late = late || int(v[1]) < below
			}
		}
		g := b.group(versions)
		g.Tenants += tenants
		if late {
			g.Late += tenants
		}
		g.Names = append(g.Names, names...)
		slices.Sort(g.Names)
		g.Names = g.Names[:min(shownNames, len(g.Names))]
		at, names = nil, nil
		return nil
	})
	if err != nil {
		return catalogError("group the tenants", err)
	}
	for _, g := range b.all {
		for _, t := range b.ts {
			if v := g.Versions[t.kind]; v != 0 && t.newest && !t.asked && !slices.Contains(known[t.kind], v) {
				g.Refused = fmt.Sprintf("%s is at version %d, which the files do not know", t.kind, v)
			}
		}
		if g.Late > 0 && !b.outOfOrder && g.Refused == "" {
			g.Refused = "files below their version are not applied: add --out-of-order"
			if g.Late < g.Tenants {
				g.Refused = fmt.Sprintf("%d of them: %s", g.Late, g.Refused)
			}
		}
	}
	slices.SortStableFunc(b.all, func(a, c *planGroup) int { return cmp.Compare(c.Tenants, a.Tenants) })
	return nil
}

// group is the one of tenants at those versions.
func (b *planner) group(versions map[string]int64) *planGroup {
	key := jsonText(versions)
	g := b.byVersions[key]
	if g == nil {
		g = &planGroup{MigrateGroup: MigrateGroup{Versions: maps.Clone(versions), Names: []Name{}, Files: []PlannedFile{}}, reads: map[string]int{}, rewrites: map[string]int{}}
		b.byVersions[key], b.all = g, append(b.all, g)
	}
	return g
}

// files gives each group what it lacks, and finds the tables whose size counts.
func (b *planner) files(ctx context.Context) error {
	b.tables = map[string]map[string]bool{}
	for _, t := range b.ts {
		m, ok := t.m.(Planner)
		if !ok {
			continue
		}
		files, err := m.Explain(ctx)
		if err != nil {
			return err
		}
		b.tables[t.kind] = map[string]bool{}
		for _, f := range files {
			for _, g := range b.all {
				if f.Version > g.Versions[t.kind] && f.Version <= t.to {
					g.Files = append(g.Files, f)
					g.count(t.kind, f, b.tables[t.kind])
				}
			}
		}
	}
	return nil
}

// count notes which tables a file reads and writes whole.
func (g *planGroup) count(kind string, f PlannedFile, tables map[string]bool) {
	for _, s := range f.Statements {
		for _, t := range s.Scans {
			if !slices.Contains(s.Rewrites, t) {
				g.reads[kind+" "+t]++
				tables[t] = true
			}
		}
		for _, t := range s.Rewrites {
			g.rewrites[kind+" "+t]++
			tables[t] = true
		}
	}
}

// tenants lists those behind, and adds the sizes of their tables to their groups, some hundred at a time.
func (b *planner) tenants(ctx context.Context, q *query, p *MigratePlan) error {
	var batch []Tenant
	flush := func() error {
		defer func() { batch = batch[:0] }()
		return b.sizes(ctx, batch)
	}
	for t, err := range b.catalog.tenants(ctx, q) {
		if err != nil {
			return err
		}
		p.Behind = append(p.Behind, Behind{Name: t.Name, Versions: t.Versions})
		if batch = append(batch, t); len(batch) == page {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (b *planner) sizes(ctx context.Context, batch []Tenant) error {
	seconds := make([]float64, len(batch))
	for _, t := range b.ts {
		m, ok := t.m.(Sizer)
		if !ok || len(b.tables[t.kind]) == 0 || len(batch) == 0 {
			continue
		}
		sizes, err := m.Sizes(ctx, batch, slices.Sorted(maps.Keys(b.tables[t.kind])))
		if err != nil {
			return err
		}
		for i, of := range sizes {
			if g := b.byVersions[jsonText(batch[i].Versions)]; g != nil { // else it moved on in this moment
				for _, size := range of {
					seconds[i] += g.add(batch[i].Name, t.kind, size)
				}
			}
		}
	}
	for i, t := range batch {
		if g := b.byVersions[jsonText(t.Versions)]; g != nil {
			g.seconds += seconds[i]
			g.longest = max(g.longest, seconds[i])
		}
	}
	return nil
}

// add counts one table of a tenant, and tells how many seconds it takes.
func (g *planGroup) add(name Name, kind string, size TableSize) float64 {
	reads, rewrites := int64(g.reads[kind+" "+size.Table]), int64(g.rewrites[kind+" "+size.Table])
	if reads+rewrites == 0 {
		return 0
	}
	if g.Largest == nil || size.Total > g.Largest.Bytes {
		g.Largest = &LargestTable{Tenant: name, Table: size.Table, Bytes: size.Total, Rows: size.Rows}
	}
	g.Estimate.ReadBytes += reads * size.Heap
	g.Estimate.RewrittenBytes += rewrites * size.Total
	return float64(reads*size.Heap)/readRate + float64(rewrites*size.Total)/rewriteRate
}

// estimate tells how long each group takes: no less than its slowest tenant.
func (b *planner) estimate(ctx context.Context) error {
	usual, err := b.catalog.usualMigration(ctx)
	if err != nil {
		return err
	}
	for _, g := range b.all {
		each := usual.Seconds()
		at := min(b.parallel, g.Tenants)
		g.Estimate.TenantMS, g.Estimate.Parallel = usual.Milliseconds(), at
		all := (g.seconds + each*float64(g.Tenants)) / float64(at)
		g.Estimate.DurationMS = int64(math.Round(1000 * max(all, g.longest+each)))
	}
	return nil
}

// usualMigration is what a tenant took in the last runs that changed it, at the median.
func (c *Catalog) usualMigration(ctx context.Context) (time.Duration, error) {
	var seconds float64
	err := c.pool.QueryRow(ctx, `SELECT coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at)), $1::float8) FROM (
			SELECT started_at, finished_at FROM tenantctl.operations
			WHERE kind = 'migrate' AND parent_id IS NOT NULL AND state = 'done' AND result @> '{"changed": true}' ORDER BY id DESC LIMIT 200) last`,
		usualTenant.Seconds()).Scan(&seconds)
	return time.Duration(seconds * float64(time.Second)), catalogError("look at the last runs", err)
}
