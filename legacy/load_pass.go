package legacy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// pass is the loading of one table for some tenants.
type pass struct {
	table   *Table
	q       *query
	src     source
	name    string
	tenants []int32 // of the list
	byKey   map[string]int32
	skip    map[string]bool // keys of the list that are not part of this pass: their rows are passed over in silence
	// strangers tells that rows of no tenant are this pass's to report.
	strangers bool
	copied    bool                                    // shared: every row goes to each tenant
	unfit     func(to int32, line []byte, why string) // sees each row that a verification cannot stage; nil where they are counted alone
	aside     map[string]bool                         // with Since: keys of rows that earlier runs set aside
	read      atomic.Int64
	rejected  atomic.Int64
	unread    int64           // by a verification: rows of no tenant that have no line
	leftOut   map[int32]int64 // by a verification: rows of a tenant that have no line or do not fit the types
	of        int64
	done      map[string]tenant.ImportPart
}

// job is a part of a pass.
type job struct {
	pass *pass
	part part
}

// jobQueue hands out jobs to loaders.
type jobQueue struct {
	mu   sync.Mutex
	left []job
}

// next gives the next job, and where p is not nil only one of that pass.
func (q *jobQueue) next(p *pass) (j job, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.left) == 0 || p != nil && q.left[0].pass != p {
		return j, false
	}
	j, q.left = q.left[0], q.left[1:]
	return j, true
}

// groups splits the tenants that a table is still to be loaded for.
func (r *run) groups(ctx context.Context, t *Table) ([][]int32, error) {
	left := r.recipients(t)
	if r.Since == "" {
		whole, err := r.whole(ctx, t.Name())
		if err != nil {
			return nil, err
		}
		left = slices.DeleteFunc(slices.Clone(left), func(at int32) bool { return whole[r.list[at].tenant.ID] })
	}
	if len(left) == 0 {
		return nil, nil
	}
	most, err := r.tenantsAtOnce(ctx, t, r.loaders)
	if err != nil {
		return nil, err
	}
	return slices.Collect(slices.Chunk(left, most)), nil
}

// whole are the tenants that a table is loaded for.
func (r *run) whole(ctx context.Context, name string) (map[uuid.UUID]bool, error) {
	loads, err := r.Service.ImportLoads(ctx, r.m.Name)
	if err != nil {
		return nil, err
	}
	out := map[uuid.UUID]bool{}
	for _, l := range loads {
		if l.Target == name && l.Whole {
			out[l.Tenant] = true
		}
	}
	return out, nil
}

// tenantsAtOnce is how many tenants' tables each of so many transactions can write to before the server runs out of locks.
func (r *run) tenantsAtOnce(ctx context.Context, t *Table, transactions int) (int, error) {
	if t.ToCollection != "" {
		return 1 << 30, nil
	}
	var locks, each int
	err := r.Postgres.QueryRow(ctx, `SELECT current_setting('max_locks_per_transaction')::int * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int),
			3 + (SELECT count(*) FROM pg_index WHERE indrelid = $1::text::regclass) + 3 * (SELECT count(*) FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'f')`,
		r.relation(r.recipients(t)[0], t)).Scan(&locks, &each)
	if err != nil {
		return 0, targetError("look at the server's locks", err)
	}
	// Half of them are left to everybody else.
	return max(1, locks/2/each/transactions), nil
}

// begin begins a pass over a table, or goes on with one. The first of several passes also deals with rows of no tenant:
// tenants that came into the list later make some of those theirs.
func (r *run) begin(ctx context.Context, t *Table, tenants []int32, first bool) (*pass, []part, error) {
	p := &pass{table: t, src: r.sources[t.Source], name: t.Name(), tenants: tenants, copied: t.Shared != "", byKey: map[string]int32{}, skip: map[string]bool{}}
	ids := make([]uuid.UUID, len(tenants))
	for n, at := range tenants {
		p.byKey[r.list[at].key] = int32(n)
		ids[n] = r.list[at].tenant.ID
	}
	var only []string
	for _, e := range r.list {
		if _, in := p.byKey[e.key]; !in {
			p.skip[e.key] = true
		}
	}
	there, parts, err := r.held.Pass(ctx, p.name)
	if err != nil {
		return nil, nil, err
	}
	p.strangers = r.everyone && first
	if there != nil {
		p.strangers = strings.HasSuffix(there.Scope, withStrangers)
	}
	if !p.strangers {
		for _, at := range tenants {
			only = append(only, r.list[at].key)
		}
	}
	p.q = r.query(t, r.sinceOf(t), only)
	p.q.binary = r.canBinary(p)
	want := tenant.ImportPass{Target: p.name, Mapping: checksumOf(r.m, t), Scope: r.scopeOf(ids, p.strangers)}
	var all []part
	switch {
	case there == nil:
		if all, err = p.src.parts(ctx, p.q, r.PartSize); err != nil {
			return nil, nil, err
		}
		if err := r.held.BeginPass(ctx, want, kept(all), p.strangers); err != nil {
			return nil, nil, err
		}
	case there.Mapping != want.Mapping:
		return nil, nil, tenant.Invalid(restartHint(p.name), "the mapping of %s was changed while the table is half loaded", p.name)
	case there.Scope != want.Scope:
		return nil, nil, tenant.Invalid("finish it with the same --tenant, --since and --parallel as before, or "+restartHint(p.name), "%s is half loaded for other tenants or another --since", p.name)
	}
	if r.Since != "" {
		p.aside = map[string]bool{}
		if err := r.Service.Rejects(ctx, r.m.Name, p.name, func(x tenant.ImportReject) error { p.aside[x.Key] = true; return nil }); err != nil {
			return nil, nil, err
		}
	}
	p.done = parts
	if there != nil {
		if all, err = r.resume(ctx, p, parts); err != nil {
			return nil, nil, err
		}
	}
	if err := r.clear(ctx, p); err != nil {
		return nil, nil, err
	}
	for _, one := range all {
		p.of += one.rows
	}
	if err := r.takeAway(ctx, p); err != nil {
		return nil, nil, err
	}
	var todo []part
	for _, one := range all {
		if parts[one.id].Done {
			p.read.Add(one.rows)
			continue
		}
		todo = append(todo, one)
	}
	return p, todo, nil
}

// sinceOf is what --since means for a table: one without a since column is loaded whole.
func (r *run) sinceOf(t *Table) string {
	if t.Since == "" {
		return ""
	}
	return r.Since
}

// canBinary tells whether a pass can hand tuples on as they are. A top-up reads the keys of rows that it loads.
func (r *run) canBinary(p *pass) bool {
	if _, ok := p.src.(*postgresSource); !ok || p.q.document || r.Since != "" || len(p.q.fields) == 0 {
		return false
	}
	// The checksum of a row that is set aside is computed of its text where the source does not compute it.
	return digesterOf(p) != nil && !slices.ContainsFunc(p.q.fields, func(f field) bool { return !f.conv.binary })
}

// withStrangers ends the scope of a pass that also deals with rows of no tenant.
const withStrangers = "+"

// scopeOf tells one set of tenants from another.
func (r *run) scopeOf(ids []uuid.UUID, strangers bool) string {
	h := sha256.New()
	sorted := slices.Clone(ids)
	slices.SortFunc(sorted, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range sorted {
		h.Write(id[:])
	}
	scope := hex.EncodeToString(h.Sum(nil)[:8]) + r.Since
	if strangers {
		scope += withStrangers
	}
	return scope
}

// kept are parts as the catalog keeps them.
func kept(parts []part) []tenant.ImportPart {
	out := make([]tenant.ImportPart, len(parts))
	for n, p := range parts {
		out[n] = tenant.ImportPart{Part: p.id, Low: p.low, High: p.high, Rows: p.rows}
	}
	return out
}

// resume gives the parts of a load that was interrupted, and keeps those that have come since. It refuses to go on with
// checkpoints that do not mean the same rows any more.
func (r *run) resume(ctx context.Context, p *pass, checkpoints map[string]tenant.ImportPart) ([]part, error) {
	var before []plannedPart
	for _, id := range slices.Sorted(maps.Keys(checkpoints)) {
		c := checkpoints[id]
		before = append(before, plannedPart{part{id: id, low: c.Low, high: c.High, rows: c.Rows}, c.Done || c.Position != ""})
	}
	all, changed, err := p.src.resume(ctx, p.q, before)
	switch {
	case err != nil:
		return nil, err
	case changed != "":
		return nil, tenant.Invalid(restartHint(p.name), "table %s of the source changed since its load was interrupted, and what is loaded cannot be told from what is not: %s", p.table.From, changed)
	}
	var more []part
	for _, one := range all {
		if _, known := checkpoints[one.id]; !known {
			more = append(more, one)
		}
	}
	if len(more) == 0 {
		return all, nil
	}
	return all, r.held.AddParts(ctx, p.name, kept(more))
}

// endPass brings a table to its end: what was taken away is put back, sequences are set, statistics gathered.
func (r *run) endPass(ctx context.Context, p *pass) error {
	if p.table.ToCollection == "" {
		if err := r.putBack(ctx, p); err != nil {
			return err
		}
		if err := r.finishTables(ctx, p); err != nil {
			return err
		}
	}
	ids := make([]uuid.UUID, len(p.tenants))
	for n, at := range p.tenants {
		ids[n] = r.list[at].tenant.ID
	}
	if err := tenant.Checkpoint(ctx, "import/pass/before"); err != nil {
		return err
	}
	if r.Since != "" {
		ids = nil // a part of the rows makes nobody whole
	}
	if err := r.held.EndPass(ctx, p.name, checksumOf(r.m, p.table), ids); err != nil {
		return err
	}
	if r.Since != "" {
		c := r.topped[p.name]
		c.add(Counts{Source: p.read.Load(), Loaded: p.read.Load() - p.rejected.Load(), Rejected: p.rejected.Load()})
		r.topped[p.name] = c
	}
	r.Events(Event{Table: p.name, Rows: p.read.Load(), Of: p.of, Reject: p.rejected.Load(), End: true})
	return nil
}
