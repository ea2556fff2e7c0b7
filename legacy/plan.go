package legacy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

// PlanOptions say what a first mapping is made from. At least one of Key and TenantsTable is set.
type PlanOptions struct {
	Name         string // of the mapping; "import" where empty
	SourceName   string // "legacy" where empty
	SourceSpec   *SourceSpec
	Key          string // the column with the tenant's key
	TenantsTable string // the table with one row a tenant
	// SameKeys counts rows whose key is a tenant's by the source's collation alone; nil where the source has none.
	SameKeys func(table, column, tenants, key string) (sameKeys, error)
}

// Planned is a first mapping, and how much of it there is.
type Planned struct {
	YAML        []byte   `json:"-" yaml:"-"`
	Keyed       int      `json:"keyed" yaml:"keyed"`             // tables with the tenant's key
	Via         int      `json:"via" yaml:"via"`                 // tables that reach it through foreign keys
	Shared      int      `json:"shared" yaml:"shared"`           // tables that belong to no tenant: to be chosen for
	Collections int      `json:"collections" yaml:"collections"` // of the keyed and shared ones, those that go to MongoDB
	Notes       []string `json:"notes" yaml:"notes"`             // what a person has to look at, one line each
}

// check refuses options by which no tenant would be found.
func (o *PlanOptions) check(src []*sourceTable) error {
	names := make([]string, len(src))
	for i, t := range src {
		names[i] = t.name
	}
	tenants := tableNamed(src, o.TenantsTable)
	switch {
	case o.Key == "" && o.TenantsTable == "":
		return tenant.Invalid("give --key COLUMN, --tenants-table TABLE or both", "nothing says which rows belong to which tenant")
	case o.TenantsTable != "" && tenants == nil:
		return tenant.Invalid("correct --tenants-table", "the source has no table %s%s", shown(o.TenantsTable), didYouMean(o.TenantsTable, names))
	case o.TenantsTable != "" && o.Key == "" && len(tenants.primaryKey) != 1:
		return tenant.Invalid("give --key with the column that the other tables have too", "table %s has no primary key of one column", o.TenantsTable)
	case o.Key != "" && !slices.ContainsFunc(src, func(t *sourceTable) bool { return t.column(o.Key) != nil }):
		columns := map[string]bool{}
		for _, t := range src {
			for _, c := range t.columns {
				columns[c.name] = true
			}
		}
		return tenant.Invalid("correct --key", "no table of the source has a column %s%s", shown(o.Key), didYouMean(o.Key, slices.Collect(maps.Keys(columns))))
	}
	return nil
}

// planner works out what is written for each table.
type planner struct {
	PlanOptions
	Planned
	store   string
	src     []*sourceTable // without views and version books
	tgt     target
	tenants *sourceTable // nil where no table has one row a tenant
	key     string       // of the tenants table
	keys    map[string][]string
	ways    map[string][]way
	down    map[string][]way
	targets map[string]string // by source table
	err     error             // of what was asked of the source
}

// way is a path of foreign keys to a table with the key.
type way struct {
	hops []foreignKey
	key  string
	down bool // rows of the first hop's table refer to this one
}

var nameShape = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// Plan writes a first mapping for the tables of a source and the tenant's model: it needs no more than choosing what is
// done with shared tables, unless its notes say so.
func Plan(o PlanOptions, src []*sourceTable, tgt target) (*Planned, error) {
	if !nameShape.MatchString(o.Name) {
		o.Name = "import"
	}
	if !nameShape.MatchString(o.SourceName) {
		o.SourceName = "legacy"
	}
	p := &planner{PlanOptions: o, tgt: tgt, keys: map[string][]string{}, ways: map[string][]way{}, down: map[string][]way{}, targets: map[string]string{}}
	p.store = (&Mapping{Sources: map[string]*SourceSpec{o.SourceName: o.SourceSpec}}).realStore(o.SourceName)
	var views []string
	for _, t := range slices.SortedFunc(slices.Values(src), func(a, b *sourceTable) int { return cmp.Compare(a.name, b.name) }) {
		switch {
		case t.name == "" || t.name == "goose_db_version" || t.name == "schema_migrations" || tableNamed(p.src, t.name) != nil:
		case t.view:
			views = append(views, t.name)
		default:
			p.src = append(p.src, t)
		}
	}
	if len(views) > 0 {
		p.note("views are left out: %s", strings.Join(views, ", "))
	}
	p.findTenants()
	for _, t := range p.src {
		p.findKeys(t)
	}
	p.findWays()
	p.findDownwards()
	p.findTargets()
	p.write()
	return &p.Planned, p.err
}

func (p *planner) note(format string, args ...any) {
	p.Notes = append(p.Notes, inComment(fmt.Sprintf(format, args...)))
}

// findTenants finds the table with one row a tenant: the one named, else the one whose primary key the key is, or refers to.
func (p *planner) findTenants() {
	p.tenants = tableNamed(p.src, p.TenantsTable)
	if p.TenantsTable == "" && p.Key != "" {
		for _, t := range p.src {
			if slices.Equal(t.primaryKey, []string{p.Key}) {
				p.tenants = t
				break
			}
			for _, f := range t.foreignKeys {
				if other := tableNamed(p.src, f.table); p.tenants == nil && other != nil && slices.Equal(f.columns, []string{p.Key}) && slices.Equal(f.references, other.primaryKey) {
					p.tenants = other
				}
			}
		}
	}
	switch {
	case p.tenants == nil:
	case len(p.tenants.primaryKey) == 1:
		p.key = p.tenants.primaryKey[0]
	case p.tenants.column(p.Key) != nil:
		p.key = p.Key
	case p.TenantsTable != "" && len(p.tenants.columns) > 0:
		// Files name no primary key.
		p.key = p.tenants.columns[0].name
		for _, name := range []string{"id", "_id"} {
			if p.tenants.column(name) != nil {
				p.key = name
			}
		}
		p.note("%s names no primary key: %s is taken for the tenants' key", p.tenants.name, p.key)
	default:
		p.tenants = nil
	}
}

// findKeys finds the columns of a table that hold the tenant's key, the likeliest first.
func (p *planner) findKeys(t *sourceTable) {
	var keys []string
	add := func(name string) {
		if !slices.Contains(keys, name) {
			keys = append(keys, name)
		}
	}
	if t == p.tenants {
		p.keys[t.name] = []string{p.key}
		return
	}
	if p.Key != "" && t.column(p.Key) != nil {
		add(p.Key)
	}
	if p.tenants != nil {
		for _, f := range t.foreignKeys {
			if f.table == p.tenants.name && slices.Equal(f.references, []string{p.key}) && len(f.columns) == 1 && t.column(f.columns[0]) != nil {
				add(f.columns[0])
			}
		}
	}
	if len(keys) == 0 {
		return
	}
	p.keys[t.name] = keys
	if len(keys) > 1 {
		p.note("%s has several keys of tenants: %s; the mapping takes the first", t.name, strings.Join(keys, ", "))
	}
}

const (
	mostSteps = 5000 // of the search for other ways
	mostWays  = 8    // written for a table
)

// findWays finds the ways from each table without a key to those with one, the shortest first.
func (p *planner) findWays() {
	distance := map[string]int{}
	for name := range p.keys {
		distance[name] = 0
	}
	for changed := true; changed; {
		changed = false
		for _, t := range p.src {
			for _, f := range t.foreignKeys {
				d, reached := distance[f.table]
				if mine, known := distance[t.name]; p.follows(t, f) && reached && (!known || d+1 < mine) {
					distance[t.name], changed = d+1, true
				}
			}
		}
	}
	for _, t := range p.src {
		if d, reached := distance[t.name]; !reached || d == 0 {
			continue
		}
		ways := p.waysFrom(t, distance)
		p.ways[t.name] = ways
		if len(ways) > 1 {
			p.note("%s reaches a tenant in %d ways: through %s; the mapping takes the first", t.name, len(ways), strings.Join(described(ways), "; through "))
		}
	}
}

// follows tells whether a foreign key leads on to another table of the source.
func (p *planner) follows(t *sourceTable, f foreignKey) bool {
	return f.table != t.name && tableNamed(p.src, f.table) != nil && len(f.columns) > 0 && len(f.columns) == len(f.references)
}

// waysFrom lists ways without circles, by length, then those whose columns are never NULL first.
func (p *planner) waysFrom(t *sourceTable, distance map[string]int) []way {
	type step struct {
		table *sourceTable
		hops  []foreignKey
	}
	var ways []way
	queue := []step{{table: t}}
	for steps := 0; len(queue) > 0 && steps < mostSteps && len(ways) < mostWays; steps++ {
		at := queue[0]
		queue = queue[1:]
		if keys := p.keys[at.table.name]; len(keys) > 0 {
			ways = append(ways, way{hops: at.hops, key: keys[0]})
			continue
		}
		for _, f := range at.table.foreignKeys {
			_, leads := distance[f.table]
			circle := f.table == t.name || slices.ContainsFunc(at.hops, func(h foreignKey) bool { return h.table == f.table })
			if p.follows(at.table, f) && leads && !circle {
				queue = append(queue, step{tableNamed(p.src, f.table), append(slices.Clip(at.hops), f)})
			}
		}
	}
	slices.SortStableFunc(ways, func(a, b way) int {
		return cmp.Or(cmp.Compare(len(a.hops), len(b.hops)), cmp.Compare(p.nullable(t, a), p.nullable(t, b)))
	})
	return ways
}

// nullable counts the columns of a way that may be NULL.
func (p *planner) nullable(t *sourceTable, w way) (n int) {
	for _, f := range w.hops {
		for _, name := range f.columns {
			if c := t.column(name); c != nil && !c.notNull {
				n++
			}
		}
		t = tableNamed(p.src, f.table)
	}
	return n
}

// described gives for each way its tables, each with the columns that lead to it.
func described(ways []way) []string {
	lines := make([]string, len(ways))
	for i, w := range ways {
		var steps []string
		for _, f := range w.hops {
			steps = append(steps, fmt.Sprintf("%s (%s)", f.table, strings.Join(f.columns, ", ")))
		}
		lines[i] = strings.Join(steps, ", ")
	}
	return lines
}

// findTargets gives each table the tenants' table of its name, or of one spelled differently that nobody else has.
func (p *planner) findTargets() {
	taken := map[string]bool{}
	m := &Mapping{Sources: map[string]*SourceSpec{"": p.SourceSpec}}
	take := func(t *sourceTable, name string) {
		p.targets[t.name] = name
		taken[name] = true
	}
	for _, t := range p.src {
		if base := m.baseName(&Table{From: t.name}); p.tgt[base] != nil && !taken[base] {
			take(t, base)
		}
	}
	for _, t := range p.src {
		if p.targets[t.name] != "" {
			continue
		}
		base := m.baseName(&Table{From: t.name})
		for _, name := range slices.Sorted(maps.Keys(p.tgt)) {
			if !taken[name] && loose(name) == loose(base) {
				base = name
				break
			}
		}
		for n := 2; taken[base] || base == ""; n++ {
			base = fmt.Sprintf("%s_%d", m.baseName(&Table{From: t.name}), n)
		}
		take(t, base)
	}
}

// toCollection tells whether a table goes to MongoDB: what comes from there does, unless the model has a table for it.
func (p *planner) toCollection(t *sourceTable) bool {
	return p.store == storeMongoDB && p.tgt[p.targets[t.name]] == nil
}

// sampled tells whether the source does not know which columns may be NULL.
func (p *planner) sampled() bool { return p.store == storeMongoDB || p.store == storeFiles }

// missing tells whether the tenants lack the table that a table goes to.
func (p *planner) missing(t *sourceTable) bool {
	return !p.toCollection(t) && p.tgt[p.targets[t.name]] == nil
}

// referrers are the tables whose foreign keys refer to a table.
func (p *planner) referrers(name string) []string {
	var names []string
	for _, t := range p.src {
		if t.name != name && slices.ContainsFunc(t.foreignKeys, func(f foreignKey) bool { return f.table == name }) {
			names = append(names, t.name)
		}
	}
	return names
}

// schemaID is where editors find the JSON Schema.
func schemaID() string {
	var schema struct {
		ID string `json:"$id"`
	}
	if err := json.Unmarshal(Schema, &schema); err != nil {
		panic(err) // it is embedded
	}
	return schema.ID
}
