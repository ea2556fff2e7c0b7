package legacy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/tenantctl/tenantctl/tenant"
)

// Options are what an Importer works with.
type Options struct {
	Service  *tenant.Service
	Postgres *pgxpool.Pool // the database of the tenants and the catalog
	MongoDB  *mongo.Client // nil where there is none
	// Model names a schema that has the tenant's model as migrated, and a function that removes it if it was made for this.
	Model    func(ctx context.Context) (schema string, done func(), err error)
	Parallel int // readers and writers at once
	// Memory is about how many bytes of rows are held at once; 0 for a default.
	Memory int
	// PartSize is about how many bytes of the source one checkpoint covers; 0 for a default.
	PartSize int64
	MaxRow   int64 // bytes; longer rows are rejected; 0 for a default
	Events   func(Event)
}

// Event is progress on a table.
type Event struct {
	Table  string
	Rows   int64 // read so far
	Of     int64 // about; 0 where nobody knows
	Reject int64
	End    bool
}

const (
	defaultMemory   = 64 << 20
	defaultPartSize = 16 << 20
	defaultMaxRow   = 16 << 20
)

// Importer runs and verifies the import of one mapping.
type Importer struct {
	Options
	m       *Mapping
	sources map[string]source
	tables  map[string][]*sourceTable // by source
	target  target
	list    []listed
	byKey   map[string]int32 // index in list

	toMake   []*Table        // of the shared schema, that are not there
	inModel  map[string]bool // tables that tenants have
	sharedAt int32           // index in list of the shared schema; 0 before it is needed
}

// listed is a tenant of the list.
type listed struct {
	key     string
	request tenant.CreateRequest
	tenant  tenant.Tenant
	there   bool
}

// Open opens the mapping's sources and checks the mapping against them and the tenants' model. Nothing is touched.
func Open(ctx context.Context, m *Mapping, o Options) (*Importer, error) {
	o.Memory = cmp.Or(o.Memory, defaultMemory)
	o.PartSize = cmp.Or(o.PartSize, defaultPartSize)
	o.MaxRow = cmp.Or(m.MaxRowBytes, o.MaxRow, defaultMaxRow)
	o.Parallel = max(1, o.Parallel)
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	i := &Importer{Options: o, m: m, sources: map[string]source{}, tables: map[string][]*sourceTable{}}
	if err := i.open(ctx); err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

// Close lets the sources go.
func (i *Importer) Close() {
	for _, s := range i.sources {
		s.close()
	}
}

func (i *Importer) open(ctx context.Context) error {
	if i.MongoDB == nil && slices.ContainsFunc(i.m.Tables, func(t *Table) bool { return t.ToCollection != "" }) {
		return tenant.Invalid("set nosql.enabled and nosql.url", "the mapping loads collections, and MongoDB is switched off")
	}
	for _, name := range slices.Sorted(maps.Keys(i.m.Sources)) {
		s, err := openSource(ctx, i.m.Sources[name], name, filepath.Dir(i.m.file))
		if err != nil {
			return err
		}
		i.sources[name] = s
		i.define(name)
		if i.tables[name], err = s.describe(ctx, i.namesOf(name)); err != nil {
			return err
		}
	}
	if err := i.m.checkFormats(); err != nil {
		return err
	}
	if err := i.readModel(ctx); err != nil {
		return err
	}
	if faults := append(i.m.check(i.tables, i.target), i.sharedFaults()...); len(faults) > 0 {
		return newFaults(faults)
	}
	return i.readList(ctx)
}

// openSource opens a source by the scheme of its URL.
func openSource(ctx context.Context, spec *SourceSpec, name, dir string) (source, error) {
	if spec.Path != "" {
		return openFiles(spec, dir)
	}
	url, err := spec.resolve(dir)
	if err != nil {
		return nil, err
	}
	scheme, _, _ := strings.Cut(url, "://")
	switch scheme {
	case "postgres", "postgresql":
		return openPostgres(ctx, spec, url, name)
	case "mysql", "mariadb":
		return openMySQL(ctx, spec, url, name)
	case "mongodb", "mongodb+srv":
		return openMongoDB(ctx, spec, url, name)
	}
	return nil, tenant.Invalid("write postgres://, mysql:// or mongodb://, or use path for files", "the URL of source %s has an unknown scheme", name)
}

// namesOf are the tables of a source that the mapping speaks of.
func (i *Importer) namesOf(name string) []string {
	names := map[string]bool{}
	if i.m.Tenants.Source == name && i.m.Tenants.From != "" {
		names[i.m.Tenants.From] = true
	}
	for _, t := range i.m.Tables {
		if t.Source != name {
			continue
		}
		names[t.From] = true
		for _, h := range t.Via {
			names[h.Table] = true
		}
		for _, e := range t.Embed {
			names[e.From] = true
		}
		for _, c := range t.Columns {
			if c.Column.Lookup != nil {
				names[c.Column.Lookup.Table] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func (i *Importer) readModel(ctx context.Context) error {
	schema, done, err := i.Model(ctx)
	if err != nil {
		return err
	}
	defer done()
	if i.target, err = readTarget(ctx, i.Postgres, schema); err != nil {
		return err
	}
	if err := i.addOwedKeys(ctx, schema); err != nil {
		return err
	}
	i.inModel = map[string]bool{}
	for name := range i.target {
		i.inModel[name] = true
	}
	return i.readShared(ctx)
}

// readList reads the tenants, checks their names and finds those that are there.
func (i *Importer) readList(ctx context.Context) error {
	i.byKey = map[string]int32{}
	var faults []string
	names := map[string]string{}
	l := &i.m.Tenants
	err := i.sources[l.Source].tenants(ctx, l, func(r tenantRow) error {
		if r.key == nil {
			return nil // a row for it is met as one without a tenant
		}
		if _, twice := i.byKey[*r.key]; twice {
			faults = append(faults, fmt.Sprintf("the tenant list has key %s twice", *r.key))
			return nil
		}
		name := ""
		if r.name != nil {
			name = *r.name
		}
		name = strings.TrimSpace(name)
		if other, twice := names[strings.ToLower(name)]; twice {
			faults = append(faults, fmt.Sprintf("keys %s and %s of the tenant list both give the name %q", other, *r.key, name))
		}
		names[strings.ToLower(name)] = *r.key
		i.byKey[*r.key] = int32(len(i.list))
		i.list = append(i.list, listed{key: *r.key, request: tenant.CreateRequest{Name: name, Domains: r.domains, Labels: r.labels, From: "key " + *r.key}})
		return nil
	})
	if err != nil {
		return err
	}
	if len(i.list) == 0 {
		return tenant.Invalid("check tenants in the mapping", "the tenant list is empty")
	}
	twice, err := i.findTenants(ctx)
	if err != nil {
		return err
	}
	faults = append(faults, twice...)
	missing := 0
	for at := range i.list {
		e := &i.list[at]
		if e.there {
			continue
		}
		missing++
		_, err := i.Service.PlanCreate(ctx, func(yield func(tenant.CreateRequest, error) bool) { yield(e.request, nil) }, true)
		var bad *tenant.Error
		switch {
		case errors.As(err, &bad) && errors.Is(err, tenant.ErrInvalid):
			faults = append(faults, bad.Error())
		case err != nil:
			return err
		}
	}
	switch {
	case len(faults) > 0:
		more := ""
		if len(faults) > 20 {
			more = fmt.Sprintf("\nand %d more", len(faults)-20)
			faults = faults[:20]
		}
		return tenant.Invalid("change the tenants' expressions in the mapping", "the tenant list cannot be used:\n%s%s", strings.Join(faults, "\n"), more)
	case missing > 0 && !l.Creates():
		return &tenant.Error{Kind: tenant.ErrNotFound, Msg: fmt.Sprintf("%d tenants of the list do not exist, and the mapping says create: false", missing), Hint: "create them first, or let the import do it"}
	}
	return nil
}

// findTenants looks the list up in the catalog: first by what earlier runs kept of each key, then by name. It names keys
// that mean one tenant.
func (i *Importer) findTenants(ctx context.Context) (faults []string, err error) {
	known, err := i.Service.ImportKeys(ctx, i.m.Name)
	if err != nil {
		return nil, err
	}
	byID, byName := map[uuid.UUID]tenant.Tenant{}, map[string]tenant.Tenant{}
	for t, err := range i.Service.List(ctx, tenant.Selection{}) {
		if err != nil {
			return nil, err
		}
		byID[t.ID], byName[string(t.Name)] = t, t
	}
	for at := range i.list {
		e := &i.list[at]
		id, ok := known[e.key]
		if e.tenant, e.there = byID[id]; !ok || !e.there {
			e.tenant, e.there = byName[strings.ToLower(e.request.Name)]
		}
		if e.there && !e.tenant.State.Migrates() {
			if e.tenant.State == tenant.Provisioning {
				e.there = false // its create is gone on with
				continue
			}
			return nil, &tenant.Error{Kind: tenant.ErrBusy, Tenant: e.tenant.Name, Msg: "is " + string(e.tenant.State), Hint: "an import goes into active and suspended tenants"}
		}
	}
	return i.oneKeyEach(known), nil
}

// sameVersion refuses tenants whose model is another than the newest among them.
func (i *Importer) sameVersion(tenants []int32) error {
	newest := int64(0)
	for _, at := range tenants {
		newest = max(newest, i.list[at].tenant.Versions[tenant.KindPostgres])
	}
	for _, at := range tenants {
		t := i.list[at].tenant
		if v := t.Versions[tenant.KindPostgres]; v != newest {
			return &tenant.Error{Kind: tenant.ErrInvalid, Tenant: t.Name, Msg: fmt.Sprintf("is at version %d of PostgreSQL, others are at %d", v, newest), Hint: "run: tenantctl migrate"}
		}
	}
	return nil
}

// query is what is read for a table of the mapping.
func (i *Importer) query(t *Table, since string, only []string) *query {
	q := &query{table: t, since: since, maxRow: i.MaxRow, only: only}
	if t.ToCollection != "" {
		q.document = true
		_, q.raw = i.sources[t.Source].(*mongoSource)
		i.documentFields(q)
		q.literal = i.literalOf(q)
		return q
	}
	target := i.target[t.To]
	src, store := i.sourceTable(t), i.m.realStore(t.Source)
	columns := t.Columns
	if len(columns) == 0 {
		for _, c := range target.columns {
			if src.column(c.name) != nil && !c.generated {
				columns = append(columns, NamedColumn{c.name, Column{From: c.name}})
			}
		}
	}
	columns = slices.DeleteFunc(slices.Clone(columns), func(c NamedColumn) bool { return c.Column.Default })
	// A part of the primary key names no row: the rest comes from a sequence or another default.
	whole := !slices.ContainsFunc(target.primaryKey, func(name string) bool { return Columns(columns).Get(name) == nil })
	for _, c := range columns {
		tc := target.column(c.Name)
		q.fields = append(q.fields, field{
			name: c.Name, column: c.Column, kind: tc.kind, typ: tc.typ, cast: castOf(tc), key: whole && slices.Contains(target.primaryKey, c.Name),
			conv: convert(store, src.column(c.Column.From), tc),
		})
	}
	if len(i.m.entriesOf(t)) > 1 {
		// A verification adds up their checksums.
		slices.SortFunc(q.fields, func(a, b field) int { return cmp.Compare(a.name, b.name) })
	}
	q.texts = i.textChecks(q)
	return q
}

func (i *Importer) sourceTable(t *Table) *sourceTable {
	for _, s := range i.tables[t.Source] {
		if s.name == t.From {
			return s
		}
	}
	return nil
}

// documentFields are the fields of a table's documents.
func (i *Importer) documentFields(q *query) {
	t, src := q.table, i.sourceTable(q.table)
	add := func(name string, c Column) {
		f := field{name: name, column: c, kind: kindText, key: name == "_id"}
		if sc := src.column(c.From); sc != nil {
			f.kind = sc.kind
		}
		q.fields = append(q.fields, f)
	}
	id := t.ID
	if id == nil && src != nil && len(src.primaryKey) == 1 && t.Columns.Get("_id") == nil {
		id = &Column{From: src.primaryKey[0]}
	}
	if id != nil {
		add("_id", *id)
	}
	if t.Document != "" {
		return
	}
	columns := t.Columns
	if len(columns) == 0 && src != nil {
		for _, c := range src.columns {
			if id == nil || c.name != id.From {
				columns = append(columns, NamedColumn{c.name, Column{From: c.name}})
			}
		}
	}
	for _, c := range columns {
		if !c.Column.Default {
			add(c.Name, c.Column)
		}
	}
}
