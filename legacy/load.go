package legacy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// RunRequest says what of a mapping is loaded, and how.
type RunRequest struct {
	Tenants      []tenant.Name // only these; nil for all of the list
	Tables       []string      // only these, by the names of their targets
	Since        string        // only rows whose since column is at least that; they overwrite what is there
	Again        bool          // also what is loaded already
	Restart      []string      // tables whose rows that the import loaded are taken away and loaded again
	DeferIndexes string        // DeferNever, DeferAuto or DeferAlways; never where it is empty
	MaxErrors    Limit         // more rejects than that stop the import
	Rejects      []byte        // a rejects file: load its rows and nothing else
	DryRun       bool
}

// CodeRejects is the code of the error that says that rows were set aside.
const CodeRejects = "rejects"

// run is one run of an import.
type run struct {
	*Importer
	RunRequest
	held     *tenant.Import
	scope    []int32 // tenants of the list that are loaded
	everyone bool    // scope is the whole list
	report   *Report
	loaders  int // parts that are loaded at once

	rejected atomic.Int64
	read     atomic.Int64

	mu      sync.Mutex
	arenas  []*arena
	reasons map[string]int // rejects by table and reason

	topped map[string]Counts // with Since: what this run has read, by table
}

// noteReason counts a reject by its reason, for the error that too many of them are.
func (r *run) noteReason(table, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reasons == nil {
		r.reasons = map[string]int{}
	}
	if key := table + ": " + reason; len(r.reasons) < 1000 || r.reasons[key] > 0 {
		r.reasons[key]++
	}
}

// mostly are the most frequent reasons.
func (r *run) mostly() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	reasons := slices.SortedFunc(maps.Keys(r.reasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.reasons[b], r.reasons[a]), cmp.Compare(a, b))
	})
	var out []string
	for _, one := range reasons[:min(3, len(reasons))] {
		out = append(out, fmt.Sprintf("%s (%d times)", one, r.reasons[one]))
	}
	return strings.Join(out, "; ")
}

// Run loads what the request asks for. A run that was interrupted or killed is gone on with by the same request.
func (i *Importer) Run(ctx context.Context, req RunRequest) (*Report, error) {
	start := time.Now()
	r := &run{Importer: i, RunRequest: req, report: &Report{Import: i.m.Name, State: "done", Tables: []TableReport{}}, topped: map[string]Counts{}}
	if err := r.choose(); err != nil {
		return nil, err
	}
	if req.Rejects == nil {
		if err := r.checkSequences(ctx); err != nil {
			return nil, err
		}
	}
	if req.DryRun {
		err := errors.Join(r.checkChanges(ctx), r.count(ctx))
		r.report.State, r.report.DurationMS = "planned", time.Since(start).Milliseconds()
		return r.report, err
	}
	if err := r.createTenants(ctx); err != nil {
		return nil, err
	}
	if err := i.sameVersion(r.scope); err != nil {
		return nil, err
	}
	tenants := make([]tenant.Tenant, len(r.scope))
	keys := map[string]uuid.UUID{}
	for n, at := range r.scope {
		tenants[n] = i.list[at].tenant
		keys[i.list[at].key] = tenants[n].ID
	}
	var err error
	if r.held, err = i.Service.BeginImport(ctx, i.m.Name, map[string]any{"tables": req.Tables, "since": req.Since}, tenants); err != nil {
		return nil, err
	}
	r.held.TopUp = req.Since != ""
	id := r.held.ID()
	r.report.Run = &id
	err = r.work(ctx, keys)
	if err == nil || errors.Is(err, tenant.ErrPartial) {
		err = errors.Join(err, r.tell(ctx))
	}
	if err == nil && r.report.Totals.Rejected > 0 {
		r.report.State = "partial"
		err = &tenant.Error{
			Kind: tenant.ErrPartial, Code: CodeRejects, Msg: tenant.Plural(int(r.report.Totals.Rejected), "row") + " of the source were set aside",
			Hint: "look at them in the rejects file; correct them there, and load them with: tenantctl import run --rejects FILE",
		}
	}
	r.report.DurationMS = time.Since(start).Milliseconds()
	if eerr := r.held.End(ctx, r.report.Totals, err); eerr != nil && (err == nil || errors.Is(err, tenant.ErrPartial)) {
		err = eerr // such as that another has taken the import over
	}
	if err != nil && r.report.State == "done" {
		r.report.State = "partial"
	}
	return r.report, err
}

// choose finds the tenants and tables that are asked for.
func (r *run) choose() error {
	wanted := map[tenant.Name]bool{}
	for _, n := range r.RunRequest.Tenants {
		wanted[n] = true
	}
	for at := range r.list {
		if int32(at) == r.sharedAt && r.sharedAt > 0 {
			continue
		}
		name := r.list[at].tenant.Name
		if !r.list[at].there {
			name = tenant.Name(strings.ToLower(r.list[at].request.Name))
		}
		if len(r.RunRequest.Tenants) == 0 || wanted[name] {
			r.scope = append(r.scope, int32(at))
			delete(wanted, name)
		}
	}
	r.everyone = len(r.RunRequest.Tenants) == 0
	for name := range wanted {
		return &tenant.Error{Kind: tenant.ErrNotFound, Tenant: name, Msg: "is not in the mapping's tenant list", Hint: "leave out --tenant for all of them"}
	}
	var names []string
	for _, t := range r.m.Tables {
		names = append(names, t.Name())
	}
	for _, n := range r.RunRequest.Tables {
		if !slices.Contains(names, n) {
			return tenant.Invalid("the mapping's tables are: "+strings.Join(names, ", "), "there is no table %s in the mapping", n)
		}
	}
	for _, n := range r.Restart {
		if !slices.ContainsFunc(r.wanted(), func(t *Table) bool { return t.Name() == n }) {
			return tenant.Invalid("the mapping's tables are: "+strings.Join(names, ", "), "--restart names %s, which is not a table that is loaded", n)
		}
	}
	for _, t := range r.wanted() {
		// What several entries have loaded into one table cannot be told apart there.
		for _, o := range r.m.entriesOf(t) {
			if slices.Contains(r.Restart, t.Name()) && !slices.Contains(r.Restart, o.Name()) {
				return tenant.Invalid("add --restart "+o.Name(), "%s and %s load into one table, which is emptied as a whole", t.Name(), o.Name())
			}
		}
	}
	for _, t := range r.wanted() {
		upsert := t.Mode == ModeUpsert || r.Since != "" && t.ToCollection == ""
		switch {
		case r.Since != "" && t.ToCollection == "" && len(r.target[t.To].primaryKey) == 0:
			return tenant.Invalid("leave it out with --table", "--since overwrites rows by their primary key, and %s has none", t.Name())
		case r.Since != "" && t.ToCollection == "" && !slices.ContainsFunc(r.query(t, "", nil).fields, func(f field) bool { return f.key }):
			return tenant.Invalid("leave it out with --table", "--since overwrites rows by their primary key, and nothing is loaded into that of %s", t.Name())
		case r.Again && !upsert && t.Mode != ModeReplace && r.Since == "" && t.ToCollection == "":
			return tenant.Invalid("set mode: replace or upsert in the mapping, or leave it out with --table", "--again would load the rows of %s twice: its mode is insert", t.Name())
		}
	}
	return nil
}

// wanted are the tables that are asked for and not skipped.
func (r *run) wanted() []*Table {
	var out []*Table
	for _, t := range r.m.Tables {
		if t.Shared != SharedSkip && (len(r.RunRequest.Tables) == 0 || slices.Contains(r.RunRequest.Tables, t.Name())) {
			out = append(out, t)
		}
	}
	return out
}

func (r *run) createTenants(ctx context.Context) error {
	missing := 0
	for _, at := range r.scope {
		if !r.list[at].there {
			missing++
		}
	}
	if missing == 0 {
		return nil
	}
	requests := func(yield func(tenant.CreateRequest, error) bool) {
		for _, at := range r.scope {
			if e := r.list[at]; !e.there && !yield(e.request, nil) {
				return
			}
		}
	}
	made := map[tenant.Name]tenant.Tenant{}
	result, err := r.Service.CreateMany(ctx, requests, true, tenant.RunOptions{Parallel: r.Parallel, MaxFailures: tenant.Budget{Count: 1}}, func(o tenant.Outcome) {
		if o.Err == nil {
			made[o.Tenant.Name] = o.Tenant
		}
	})
	if err != nil {
		return err
	}
	if err := result.Err(); err != nil {
		if len(result.Failures) > 0 {
			return &tenant.Error{Kind: tenant.ErrPartial, Msg: "create the tenants: " + result.Failures[0].Message, Hint: "nothing was loaded; run the same command again when that is fixed", Err: err}
		}
		return err
	}
	for _, at := range r.scope {
		e := &r.list[at]
		if !e.there {
			e.tenant, e.there = made[tenant.Name(strings.ToLower(e.request.Name))], true
		}
	}
	r.report.Created = missing
	return nil
}

// work loads the tables level by level: what others refer to comes first, collections come last.
func (r *run) work(ctx context.Context, keys map[string]uuid.UUID) error {
	if err := r.rereadTenants(ctx); err != nil {
		return err
	}
	if err := r.held.KeepKeys(ctx, keys); err != nil {
		return err
	}
	if err := r.checkRestarts(ctx); err != nil {
		return err
	}
	if err := r.checkChanges(ctx); err != nil {
		return err
	}
	for name, s := range r.sources {
		limits, err := s.begin(ctx)
		if err != nil {
			return err
		}
		defer s.end()
		if limits != "" {
			r.report.Notes = append(r.report.Notes, "source "+name+": "+limits)
		}
	}
	if r.Rejects != nil {
		return r.loadRejects(ctx)
	}
	if err := r.checkEmptying(ctx); err != nil {
		return err
	}
	if err := r.makeShared(ctx); err != nil {
		return err
	}
	if err := r.beginAgain(ctx); err != nil {
		return err
	}
	if err := r.empty(ctx); err != nil {
		return err
	}
	for _, level := range r.levels() {
		if err := r.loadLevel(ctx, level); err != nil {
			return err
		}
	}
	return r.putBackGone(ctx)
}

// levels are the tables in the order they are loaded.
func (r *run) levels() [][]*Table {
	var names []string
	var collections []*Table
	byTarget := map[string][]*Table{}
	for _, t := range r.wanted() {
		if t.ToCollection != "" {
			collections = append(collections, t)
			continue
		}
		if names = append(names, t.To); byTarget[t.To] != nil {
			names = names[:len(names)-1]
		}
		byTarget[t.To] = append(byTarget[t.To], t)
	}
	order, _ := r.target.loadOrder(names)
	var out [][]*Table
	for _, level := range order {
		var tables []*Table
		for _, name := range level {
			tables = append(tables, byTarget[name]...)
		}
		out = append(out, tables)
	}
	if len(collections) > 0 {
		out = append(out, collections)
	}
	return out
}

func (r *run) loadLevel(ctx context.Context, tables []*Table) error {
	if err := r.setLoaders(ctx, tables); err != nil {
		return err
	}
	// A table with more tenants than one transaction can hold locks for is read once per group of them.
	groups := make([][][]int32, len(tables))
	rounds := 0
	for n, t := range tables {
		var err error
		if groups[n], err = r.groups(ctx, t); err != nil {
			return err
		}
		rounds = max(rounds, len(groups[n]))
	}
	for round := range rounds {
		var jobs []job
		var passes []*pass
		for n, t := range tables {
			if round >= len(groups[n]) {
				continue
			}
			p, parts, err := r.begin(ctx, t, groups[n][round], round == 0)
			if err != nil {
				return err
			}
			passes = append(passes, p)
			for _, one := range parts {
				jobs = append(jobs, job{p, one})
			}
		}
		begun := time.Now()
		if err := r.loadParts(ctx, jobs); err != nil {
			return err
		}
		loaded := time.Now()
		r.report.LoadMS += loaded.Sub(begun).Milliseconds()
		if err := r.setOrphansAside(ctx, passes); err != nil {
			return err
		}
		for _, p := range passes {
			if err := r.endPass(ctx, p); err != nil {
				return err
			}
		}
		r.report.FinishMS += time.Since(loaded).Milliseconds()
	}
	return nil
}

func (r *run) loadParts(ctx context.Context, jobs []job) error {
	if len(jobs) == 0 {
		return nil
	}
	g, ctx := tenant.NewGroup(ctx)
	q := &jobQueue{left: jobs}
	workers := min(r.loaders, len(jobs))
	for range workers {
		g.Go(func() error {
			a := r.takeArena(workers, jobs[0].pass.table.ToCollection != "")
			defer r.giveArena(a)
			for ctx.Err() == nil {
				j, ok := q.next(nil)
				if !ok {
					break
				}
				if err := r.loadPart(ctx, j, q, a); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// setLoaders chooses how many parts of these tables are loaded at once: no more than the sources have connections for, and
// rather fewer than that a table has to be read twice, since the server has no locks for all its tenants.
func (r *run) setLoaders(ctx context.Context, tables []*Table) error {
	connections := 0
	for _, spec := range r.m.Sources {
		connections = max(connections, cmp.Or(spec.MaxConnections, defaultConnections))
	}
	r.loaders = min(r.Parallel, connections)
	for _, t := range tables {
		most, err := r.tenantsAtOnce(ctx, t, 1)
		if err != nil {
			return err
		}
		r.loaders = min(r.loaders, max(2, most/len(r.recipients(t))))
	}
	return nil
}

func (r *run) takeArena(workers int, documents bool) *arena {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := r.Memory / workers
	if documents {
		size /= 4 // as documents, and as what is sent, rows take several times their length
	}
	for n, a := range r.arenas {
		if cap(a.bytes) >= size {
			r.arenas = slices.Delete(r.arenas, n, n+1)
			return a
		}
	}
	r.arenas = nil
	return newArena(size)
}

func (r *run) giveArena(a *arena) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.reset()
	r.arenas = append(r.arenas, a)
}

// relation is a tenant's table in SQL.
func (r *run) relation(at int32, t *Table) string {
	return quoteColumn(r.list[at].tenant.Schema) + "." + quoteColumn(t.To)
}

// rows is a tenant's table to read in SQL: without the rows of tables that inherit from it, unless it is partitioned.
func (r *run) rows(at int32, t *Table) string {
	if to := r.target[t.To]; to != nil && to.partitioned {
		return r.relation(at, t)
	}
	return "ONLY " + r.relation(at, t)
}

// overBudget is the error for too many rejects.
func (r *run) overBudget() error {
	n := r.rejected.Load()
	if !r.MaxErrors.exceeded(n, r.read.Load()) {
		return nil
	}
	return &tenant.Error{
		Kind: tenant.ErrPartial, Code: "too_many_rejects", Msg: fmt.Sprintf("%s were set aside, which is more than --max-errors allows; mostly %s", tenant.Plural(int(n), "row"), r.mostly()),
		Hint: "the same command goes on with what is not loaded yet, after a change in the source or with a larger --max-errors; after a change of a table's mapping add --restart TABLE",
	}
}
