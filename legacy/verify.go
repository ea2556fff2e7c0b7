package legacy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantctl/tenantctl/tenant"
)

// Difference is a row that is not the same on both sides.
type Difference struct {
	Tenant tenant.Name `json:"tenant,omitempty"`
	Key    string      `json:"key,omitempty"`
	What   string      `json:"what"`
}

const differencesShown = 10 // a table

// Verify compares the source with what the tenants have, on the mapped columns: counts and checksums per table and
// tenant, computed inside both databases where they can. Rows that were set aside are taken into account; nothing else
// of a run is needed. Differences are ErrDiffers.
func (i *Importer) Verify(ctx context.Context, req RunRequest) (*Report, error) {
	start := time.Now()
	v := &run{Importer: i, RunRequest: req, report: &Report{Import: i.m.Name, State: "done", Tables: []TableReport{}}}
	if err := v.choose(); err != nil {
		return nil, err
	}
	for _, at := range v.scope {
		if e := i.list[at]; !e.there {
			return nil, &tenant.Error{Kind: tenant.ErrNotFound, Tenant: tenant.Name(e.request.Name), Msg: "no such tenant", Hint: "load it first: tenantctl import run"}
		}
	}
	for name, s := range i.sources {
		limits, err := s.begin(ctx)
		if err != nil {
			return nil, err
		}
		defer s.end()
		if limits != "" {
			v.report.Notes = append(v.report.Notes, "source "+name+": "+limits)
		}
	}
	same, err := v.verifyCatalog(ctx)
	if err != nil {
		return nil, err
	}
	for _, entries := range v.byTarget() {
		report, err := v.verifyTable(ctx, entries)
		if err != nil {
			return nil, err
		}
		v.report.Tables = append(v.report.Tables, *report)
		v.report.Totals.add(report.Counts)
		same = same && *report.Match
		i.Events(Event{Table: report.Table, Rows: report.Source, Reject: report.Rejected, End: true})
	}
	v.report.Totals.Match = &same
	v.report.DurationMS = time.Since(start).Milliseconds()
	if same {
		return v.report, nil
	}
	v.report.State = "differs"
	return v.report, &tenant.Error{Kind: tenant.ErrDiffers, Msg: "the tenants do not have what the source has", Hint: "the report names the first differing rows of each table"}
}

// verifyCatalog looks for loads that are not over and for foreign keys that do not hold.
func (v *run) verifyCatalog(ctx context.Context) (bool, error) {
	same := true
	changes, err := Changes(ctx, v.Service, v.m)
	if err != nil {
		return false, err
	}
	gone := map[string]bool{}
	for _, c := range changes {
		gone[c.Table] = c.Gone()
		note := c.String()
		if !c.Gone() {
			note += ": it is compared by the mapping as it is now; to load it by that, run the import with --restart " + c.Table
		}
		v.report.Notes = append(v.report.Notes, note)
	}
	states, err := v.Service.Imports(ctx, v.m.Name)
	if err != nil {
		return false, err
	}
	for _, s := range states {
		for _, p := range s.Passes {
			if gone[p.Target] {
				continue
			}
			same = false
			v.report.Notes = append(v.report.Notes, fmt.Sprintf("the load of %s is not over: run the import again", p.Target))
		}
		if s.Owed > 0 {
			same = false
			v.report.Notes = append(v.report.Notes, fmt.Sprintf("%d indexes, constraints or triggers are still to be put back: run the import again", s.Owed))
		}
	}
	schemas := make([]string, len(v.scope))
	for n, at := range v.scope {
		schemas[n] = v.list[at].tenant.Schema
	}
	rows, err := v.Postgres.Query(ctx, `SELECT k.conrelid::regclass::text, k.conname FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
		WHERE n.nspname = ANY($1) AND k.contype = 'f' AND NOT k.convalidated ORDER BY 1, 2 LIMIT 20`, schemas)
	if err != nil {
		return false, targetError("look at the foreign keys", err)
	}
	var table, name string
	_, err = pgx.ForEachRow(rows, []any{&table, &name}, func() error {
		same = false
		v.report.Notes = append(v.report.Notes, fmt.Sprintf("foreign key %s of %s is not validated", name, table))
		return nil
	})
	return same, targetError("look at the foreign keys", err)
}

// setAside is what the rejects of a table mean for its comparison.
type setAside struct {
	counts  map[uuid.UUID]int64  // rejects that are still aside, by tenant; Nil for nobody's
	sums    map[uuid.UUID]digest // rows of the source that are to be subtracted
	rows    map[uuid.UUID][]keyedSum
	without []string            // keys of rows that the source cannot compute a checksum of
	unlike  map[uuid.UUID]int64 // how many those are, by tenant
	// resolved are keys of rows that were mended and loaded: the source's rows are others. A mended row may have come to
	// another tenant, and so counts for Nil, every one; a shared one has not.
	resolved map[uuid.UUID][]string
	nobodys  int64  // rows that were no tenant's, also those that were mended and loaded
	adopted  int64  // of them, those that were mended: the source may have a tenant for them by now
	summed   digest // of them, those whose checksums the source has told
}

func (a *setAside) resolvedOf(id uuid.UUID) []string {
	if id == uuid.Nil {
		return a.resolved[uuid.Nil]
	}
	return append(slices.Clone(a.resolved[uuid.Nil]), a.resolved[id]...)
}

func newSetAside() *setAside {
	return &setAside{counts: map[uuid.UUID]int64{}, sums: map[uuid.UUID]digest{}, rows: map[uuid.UUID][]keyedSum{}, unlike: map[uuid.UUID]int64{}, resolved: map[uuid.UUID][]string{}}
}

// addRejects adds the rejects of an entry.
func (out *setAside) addRejects(ctx context.Context, v *run, t *Table) error {
	return v.Service.AllRejects(ctx, v.m.Name, t.Name(), func(r tenant.ImportReject, loaded string) error {
		if loaded != "" {
			owner := uuid.Nil
			if t.toMany() {
				owner = r.Tenant
			}
			out.resolved[owner] = append(out.resolved[owner], loaded)
		} else {
			out.counts[r.Tenant]++
		}
		switch {
		case r.Tenant == uuid.Nil && t.Shared != SharedSchema:
			out.nobodys++
			if loaded != "" {
				out.adopted++
			}
			if r.Sum != nil {
				out.summed.add(digest{1, *r.Sum})
			}
		case r.Sum != nil:
			out.rows[r.Tenant] = append(out.rows[r.Tenant], keyedSum{r.Key, int64(*r.Sum)})
			d := out.sums[r.Tenant]
			d.add(digest{1, *r.Sum})
			out.sums[r.Tenant] = d
		default:
			out.without = append(out.without, r.Key)
			out.unlike[r.Tenant]++
		}
		return nil
	})
}

// unlike is the report on a table that there is nothing to compare of.
func unlike(t *Table, what string) *TableReport {
	same := false
	return &TableReport{Table: t.Name(), Counts: Counts{Match: &same}, Tenants: []TenantReport{}, Differences: []Difference{{What: what}}}
}

// byTarget are the tables that are asked for, together with all other entries of the same targets.
func (v *run) byTarget() [][]*Table {
	var out [][]*Table
	seen := map[string]bool{}
	for _, t := range v.wanted() {
		if entries := v.m.entriesOf(t); !seen[entries[0].Name()] {
			seen[entries[0].Name()] = true
			out = append(out, entries)
		}
	}
	return out
}

// entriesOf are the entries of the mapping that load into the table that t does, in the file's order.
func (m *Mapping) entriesOf(t *Table) []*Table {
	if t.ToCollection != "" {
		return []*Table{t}
	}
	var out []*Table
	for _, o := range m.Tables {
		if o.ToCollection == "" && o.Shared != SharedSkip && o.To == t.To {
			out = append(out, o)
		}
	}
	return out
}

// notLoaded names the tenants that an entry is not loaded for.
func (v *run) notLoaded(ctx context.Context, t *Table) (string, error) {
	whole, err := v.whole(ctx, t.Name())
	if err != nil {
		return "", err
	}
	var missing []string
	for _, at := range v.recipients(t) {
		if !whole[v.tenantAt(at)] {
			missing = append(missing, string(v.list[at].tenant.Name))
		}
	}
	if len(missing) == 0 {
		return "", nil
	}
	more := ""
	if len(missing) > 5 {
		more = fmt.Sprintf(" and %d more", len(missing)-5)
	}
	return fmt.Sprintf("not loaded for %s%s: run the import", strings.Join(missing[:min(5, len(missing))], ", "), more), nil
}

// sourceSide is what the source has for one entry of a target.
type sourceSide struct {
	*pass
	digests map[string]digest // by the tenants' keys
}

// of is what a tenant should have of it.
func (s *sourceSide) of(key string) digest {
	if !s.copied {
		return s.digests[key]
	}
	var everything digest
	for _, d := range s.digests {
		everything.add(d)
	}
	return everything
}

// left is how many of a tenant's rows do not fit the target.
func (s *sourceSide) left(n int32) int64 {
	if s.copied {
		n = 0
	}
	return s.leftOut[n]
}

func (v *run) verifyTable(ctx context.Context, entries []*Table) (*TableReport, error) {
	aside := newSetAside()
	var sides []*sourceSide
	for _, t := range entries {
		what, err := v.notLoaded(ctx, t)
		switch {
		case err != nil:
			return nil, err
		case what != "":
			return unlike(t, what), nil
		}
		if err := aside.addRejects(ctx, v, t); err != nil {
			return nil, err
		}
		p := &pass{table: t, src: v.sources[t.Source], name: t.Name(), tenants: v.recipients(t), byKey: map[string]int32{}, copied: t.Shared != "", strangers: true}
		for n, at := range p.tenants {
			p.byKey[v.list[at].key] = int32(n)
		}
		p.q = v.query(t, "", nil)
		sides = append(sides, &sourceSide{pass: p})
	}
	t := entries[0]
	var target []tableDigest
	g, gctx := tenant.NewGroup(ctx)
	g.Go(func() error {
		for _, s := range sides {
			if err := v.digestSource(gctx, s, aside); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() (err error) {
		if t.ToCollection != "" {
			target, err = v.digestCollections(gctx, sides[0].pass, aside)
		} else {
			target, err = v.digestTables(gctx, sides[0].pass, aside)
		}
		return err
	})
	err := g.Wait()
	var pg *pgconn.PgError
	if errors.As(err, &pg) && strings.HasPrefix(pg.Code, "22") {
		report := unlike(t, fmt.Sprintf("the source has values that no load has met and that do not fit the target: %s; run the import again", pg.Message))
		return report, v.nameUnfit(ctx, report, sides, aside)
	}
	if err != nil {
		return nil, err
	}
	return v.compare(ctx, sides, target, aside)
}

func (v *run) digestSource(ctx context.Context, s *sourceSide, aside *setAside) (err error) {
	d := digesterOf(s.pass)
	switch {
	case s.table.ToCollection != "":
		s.digests, err = v.digestDocuments(ctx, s.pass)
	case d != nil:
		s.digests, err = d.digest(ctx, s.q, aside.without)
	default:
		s.digests, err = v.digestByStaging(ctx, s.pass, aside.without)
	}
	return err
}

// digesterOf is the source of a pass where it computes the checksums that the target's rows have; else nil.
func digesterOf(p *pass) digester {
	d, ok := p.src.(digester)
	if !ok || p.q.document || !d.sameBytes() || len(p.q.texts) > 0 || slices.ContainsFunc(p.q.fields, func(f field) bool { return !f.conv.sameSum }) {
		return nil
	}
	return d
}

// compare sets a table's two sides against each other.
func (v *run) compare(ctx context.Context, sides []*sourceSide, target []tableDigest, aside *setAside) (*TableReport, error) {
	p := sides[0].pass
	report := &TableReport{Table: p.name, Tenants: make([]TenantReport, 0, len(p.tenants))}
	same, yes := true, true
	for n, at := range p.tenants {
		id, name := v.tenantAt(at), v.list[at].tenant.Name
		var want digest
		var left int64
		for _, s := range sides {
			want.add(s.of(v.list[at].key))
			left += s.left(int32(n))
		}
		total := want.rows + aside.unlike[id]
		want.rows -= aside.sums[id].rows
		want.sum -= aside.sums[id].sum
		match := want == target[n].digest
		if unknown := left - aside.unlike[id]; unknown > 0 {
			match = false
			report.Differences = append(report.Differences, Difference{
				Tenant: name,
				What:   fmt.Sprintf("%d rows of the source do not fit the target and are not among the rejects: run the import again", unknown),
			})
		}
		report.Tenants = append(report.Tenants, TenantReport{name, Counts{Source: total, Loaded: target[n].all, Rejected: aside.counts[id], Match: &match}})
		if match {
			continue
		}
		if len(report.Differences) < differencesShown {
			found, err := v.differences(ctx, sides, int32(n), aside)
			if err != nil {
				return nil, err
			}
			if len(found) == 0 && p.table.ToCollection == "" && left <= aside.unlike[id] {
				// Row by row all is equal: the source changed a row that is among the rejects to what was mended.
				report.Tenants[len(report.Tenants)-1].Match = &yes
				continue
			}
			if len(found) == 0 {
				found = []Difference{{Tenant: name, What: fmt.Sprintf("%d rows in the source, %d here", want.rows, target[n].rows)}}
			}
			report.Differences = append(report.Differences, found[:min(len(found), differencesShown-len(report.Differences))]...)
		}
		same = false
	}
	if v.everyone && !v.compareStrangers(report, sides, aside) {
		same = false
	}
	for _, t := range report.Tenants {
		report.Counts.add(t.Counts)
	}
	report.Match = &same
	return report, nil
}

// compareStrangers compares the rows that are no tenant's with the rejects, and tells whether they are the same.
func (v *run) compareStrangers(report *TableReport, sides []*sourceSide, aside *setAside) bool {
	var all digest
	summed := aside.adopted == 0 && aside.summed.rows == aside.nobodys
	for _, s := range sides {
		summed = summed && digesterOf(s.pass) != nil
		for key, d := range s.digests {
			if _, ours := s.byKey[key]; !ours && !s.copied {
				all.add(d)
			}
		}
	}
	strangers := all.rows
	if strangers == 0 && aside.nobodys == 0 {
		return true
	}
	match := strangers <= aside.nobodys && strangers >= aside.nobodys-aside.adopted
	others := match && summed && all.sum != aside.summed.sum
	match = match && !others
	report.Tenants = append(report.Tenants, TenantReport{"", Counts{Source: strangers, Rejected: aside.counts[uuid.Nil], Match: &match}})
	switch {
	case others:
		report.Differences = append(report.Differences, Difference{What: "rows of the source that are no tenant's are not those among the rejects: some have changed or are others"})
	case !match:
		report.Differences = append(report.Differences, Difference{What: fmt.Sprintf("%d rows of the source are no tenant's, and %d of them are among the rejects", strangers, aside.nobodys)})
	}
	return match
}

// tablesAtOnce is how many tenants' tables one query reads.
const tablesAtOnce = 50

// tableDigest is a tenant's side: of the rows that are the source's, and how many there are in all.
type tableDigest struct {
	digest
	all int64
}

// digestTables computes the tenants' side inside PostgreSQL.
func (v *run) digestTables(ctx context.Context, p *pass, aside *setAside) ([]tableDigest, error) {
	out := make([]tableDigest, len(p.tenants))
	sum := v.targetSum(p)
	filter := func(at int32) string {
		without := aside.resolvedOf(v.tenantAt(at))
		if len(without) == 0 {
			return ""
		}
		return fmt.Sprintf(" FILTER (WHERE NOT (%s = ANY(ARRAY[%s]::jsonb[])))", v.targetKey(p), literals(without))
	}
	g, ctx := tenant.NewGroup(ctx)
	g.SetLimit(v.Parallel)
	for first := 0; first < len(p.tenants); first += tablesAtOnce {
		g.Go(func() error {
			var selects []string
			for n := first; n < min(first+tablesAtOnce, len(p.tenants)); n++ {
				selects = append(selects, fmt.Sprintf("SELECT %d, count(*)%s, coalesce(sum(%s)%s, 0)::text, count(*) FROM %s AS x", n, filter(p.tenants[n]), sum, filter(p.tenants[n]), v.rows(p.tenants[n], p.table)))
			}
			return v.inSession(ctx, func(tx pgx.Tx) error {
				rows, err := tx.Query(ctx, strings.Join(selects, " UNION ALL "))
				if err != nil {
					return targetError("compute checksums of "+p.name, err)
				}
				var n int
				var d tableDigest
				var text string
				_, err = pgx.ForEachRow(rows, []any{&n, &d.rows, &text, &d.all}, func() (err error) {
					d.sum, err = modulo(text)
					out[n] = d
					return err
				})
				return targetError("compute checksums of "+p.name, err)
			})
		})
	}
	return out, g.Wait()
}

// inSession runs f in a transaction in which values have the same texts as in a source.
func (v *run) inSession(ctx context.Context, f func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, v.Postgres, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, localSettings); err != nil {
			return targetError("begin", err)
		}
		return f(tx)
	})
}

// targetSum is the SQL of a target row's checksum; the row is called x.
func (v *run) targetSum(p *pass) string {
	texts := make([]string, len(p.q.fields))
	for n, f := range p.q.fields {
		texts[n] = "x." + quoteColumn(f.name) + "::text"
	}
	return checksumSQL(p.q.fields, texts)
}

// targetKey is the SQL of what names a target row, called x: its primary key, else its checksum.
func (v *run) targetKey(p *pass) string {
	var key []string
	for _, f := range p.q.fields {
		if f.key {
			key = append(key, "x."+quoteColumn(f.name)+"::text")
		}
	}
	if len(key) == 0 {
		return "jsonb_build_array((" + v.targetSum(p) + ")::text)"
	}
	return "jsonb_build_array(" + strings.Join(key, ", ") + ")"
}

func literals(texts []string) string {
	out := make([]string, len(texts))
	for n, t := range texts {
		out[n] = literal(t)
	}
	return strings.Join(out, ", ")
}

// alone is a pass for one of its tenants.
func (v *run) alone(p *pass, at int32) *pass {
	q := *p.q
	q.only = []string{v.list[at].key}
	return &pass{table: p.table, q: &q, src: p.src, name: p.name, tenants: []int32{at}, byKey: map[string]int32{v.list[at].key: 0}, copied: p.copied}
}
