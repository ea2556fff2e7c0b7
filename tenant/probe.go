package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Prober is a Resource that proves by trying that a tenant reaches nothing of others. It never changes a tenant's own
// login: it makes one beside it with exactly its rights, for as long as the trying takes.
type Prober interface {
	Resource
	// Apart says in one sentence why the store itself does not keep tenants apart; empty where it does.
	Apart(ctx context.Context) (why string, err error)
	// Probe logs in with t's rights and tries what is not t's: the others' places and the server's. tried is called for
	// each attempt. An error says that t could not be probed. What it makes carries the id of the operation of ctx's lease.
	Probe(ctx context.Context, t Tenant, others []Tenant, tried func(Attempt)) error
	// Sweep removes what probes have left behind whose operation has ended.
	Sweep(ctx context.Context, ended func(operation uuid.UUID) (bool, error)) error
}

// PoolProber is a Prober that tenants reach through a pooler.
type PoolProber interface {
	Prober
	// Pooled tells whether there is one.
	Pooled() bool
	// ProbePool logs in through the pooler with the rights of two tenants in turn, and tries whether one is taken for the other.
	ProbePool(ctx context.Context, a, b Tenant, tried func(Attempt)) error
}

// AttemptOutcome is what came of an attempt.
type AttemptOutcome string

// The outcomes of an attempt.
const (
	AttemptRefused AttemptOutcome = "refused"     // or nothing was there to be seen
	AttemptThrough AttemptOutcome = "got through" // what must not be
	AttemptUnclear AttemptOutcome = "unclear"     // neither is proven: a time-out, a connection that broke
)

// Attempt is one thing that was tried as a tenant.
type Attempt struct {
	What      string // "read another tenant's rows"
	Object    string // the place it was tried on; empty where it is always the same
	Statement string // without values
	Code      string // SQLSTATE or MongoDB's code name; empty where there is none
	Message   string // the server's; empty where the attempt succeeded
	Outcome   AttemptOutcome
}

// probedAgainst is how many other tenants each one tries; beside that it asks the server which of all it may use.
const probedAgainst = 3

// ProbeRequest chooses who is probed.
type ProbeRequest struct {
	Selection Selection
	Sample    int // so many of those selected, at random; 0 for all. Named tenants are all probed.
	Parallel  int
}

// ProbeReport is the result of a probe.
type ProbeReport struct {
	Operation  uuid.UUID      `json:"operation"`
	State      RunState       `json:"state"`
	Tenants    int            `json:"tenants"`  // probed, or tried to
	Selected   int            `json:"selected"` // of so many
	Attempts   int            `json:"attempts"`
	Refused    int            `json:"refused"`
	Through    int            `json:"got_through"`
	Unclear    int            `json:"unclear"`
	Stores     []ProbedStore  `json:"stores"`
	Tried      []AttemptGroup `json:"tried"`   // alike attempts are one
	Skipped    []FailureGroup `json:"skipped"` // tenants that could not be probed, and why
	DurationMS int64          `json:"duration_ms"`
}

// ProbedStore tells of one store whether it keeps tenants apart at all.
type ProbedStore struct {
	Store    string `json:"store"`
	Enforced bool   `json:"enforced"`
	Pooler   bool   `json:"pooler"`         // probed through a pooler too
	Note     string `json:"note,omitempty"` // why it does not
}

// AttemptGroup is attempts of one kind with one outcome.
type AttemptGroup struct {
	Store     string         `json:"store"`
	What      string         `json:"attempt"`
	Outcome   AttemptOutcome `json:"outcome"`
	Code      string         `json:"code,omitempty"`
	Message   string         `json:"message,omitempty"` // of the first one
	Object    string         `json:"object,omitempty"`  // of the first one
	Statement string         `json:"statement"`         // of the first one
	Count     int            `json:"count"`
	Tenants   []Name         `json:"tenants"` // the first 20 that tried
}

// Err is nil where everything was refused.
func (r *ProbeReport) Err() error {
	switch {
	case r.Through > 0:
		return &Error{Kind: ErrDiffers, Code: "got_through", Msg: fmt.Sprintf("%d of %s got through", r.Through, Plural(r.Attempts, "attempt")), Hint: "take away the grant that let it through: docs/security.md tells what a tenant's role may have"}
	case r.State == RunAborted:
		return &Error{Kind: ErrInterrupted, Msg: "the probe was interrupted", Hint: "run it again; nothing of it is left"}
	case r.Unclear > 0 || len(r.Skipped) > 0:
		return &Error{Kind: ErrPartial, Msg: "not everything could be tried", Hint: "put right what is told of those tenants, and probe again"}
	}
	return nil
}

// Warnings are what a reader must not miss.
func (r *ProbeReport) Warnings() []string {
	var all []string
	for _, s := range r.Stores {
		if !s.Enforced {
			all = append(all, fmt.Sprintf("%s does not keep tenants apart: %s", s.Store, s.Note))
		}
	}
	return all
}

// Probe proves by trying: with the rights of tenants, a sample or all, it goes for what belongs to others. Only active
// tenants are probed. What killed probes have left is removed first.
func (s *Service) Probe(ctx context.Context, req ProbeRequest) (*ProbeReport, error) {
	start := time.Now()
	chosen, ring, selected, err := s.probed(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := s.sweep(ctx); err != nil {
		return nil, err
	}
	none := func(context.Context, pgx.Tx, uuid.UUID) error { return nil }
	op, err := s.startRun(ctx, OpProbe, runParams{"tenants": len(chosen)}, Rollout{}, nil, none)
	if err != nil {
		return nil, err
	}
	defer s.catalog.working(op)()
	p := &probe{seen: map[attemptKey]*AttemptGroup{}, report: &ProbeReport{Operation: op.ID, State: RunDone, Tenants: len(chosen), Selected: selected, Stores: []ProbedStore{}, Tried: []AttemptGroup{}}}
	err = s.probeAll(WithLease(ctx, s.catalog.leaseOf(op)), p, chosen, ring, req.Parallel)
	r := p.report
	r.Skipped, r.DurationMS = p.skipped.list(), time.Since(start).Milliseconds()
	state := OpDone
	switch {
	case ctx.Err() != nil:
		r.State, state, err = RunAborted, OpAborted, nil
	case err != nil:
		state = OpFailed
	case r.Err() != nil:
		r.State = RunPartial
	}
	op.Result = json.RawMessage(jsonText(map[string]int{"attempts": r.Attempts, "got_through": r.Through, "unclear": r.Unclear}))
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return r, errors.Join(err, s.catalog.finish(last, op, state, err, nil))
}

// probed gives the tenants to probe, and after them others that there must be something to try on.
func (s *Service) probed(ctx context.Context, req ProbeRequest) (chosen, ring []Tenant, selected int, err error) {
	names := req.Selection.Names
	if err := s.catalog.workable(ctx, req.Selection); err != nil {
		return nil, nil, 0, err
	}
	const active = "t.state = 'active'"
	if err := s.catalog.matches(ctx, req.Selection, active, "active tenant"); err != nil {
		return nil, nil, 0, err
	}
	var q query
	req.Selection.where(&q)
	q.and(active)
	if selected, err = s.catalog.count(ctx, &q); err != nil {
		return nil, nil, 0, err
	}
	n := req.Sample
	if n == 0 || len(names) > 0 {
		n = selected
	}
	if chosen, err = s.catalog.anyOf(ctx, &q, n); err != nil {
		return nil, nil, 0, err
	}
	switch {
	case len(names) > len(chosen):
		active := namesOf(chosen)
		i := slices.IndexFunc(names, func(n Name) bool { return !slices.Contains(active, n) })
		return nil, nil, 0, &Error{Kind: ErrInvalid, Tenant: names[i], Msg: "is suspended: it has no login to probe with", Hint: "tenantctl resume " + string(names[i])}
	case len(chosen) == 0 && !req.Selection.AllowEmpty:
		return nil, nil, 0, &Error{Kind: ErrNotFound, Msg: "no active tenant is selected", Hint: "tenantctl list shows all"}
	}
	ring = chosen
	if len(chosen) <= probedAgainst {
		var more query
		more.and("t.state = 'active'")
		more.and("NOT t.name = ANY(" + more.arg(texts(namesOf(chosen))) + ")")
		others, err := s.catalog.anyOf(ctx, &more, probedAgainst)
		if err != nil {
			return nil, nil, 0, err
		}
		ring = append(slices.Clone(chosen), others...)
	}
	return chosen, ring, selected, nil
}

func namesOf(ts []Tenant) []Name {
	out := make([]Name, len(ts))
	for i, t := range ts {
		out[i] = t.Name
	}
	return out
}

// anyOf gives up to n tenants that q selects, at random.
func (c *Catalog) anyOf(ctx context.Context, q *query, n int) ([]Tenant, error) {
	var picked query
	picked.args = slices.Clone(q.args)
	picked.and("t.id IN (SELECT t.id FROM tenantctl.tenants t WHERE " + q.where() + " ORDER BY random() LIMIT " + picked.arg(n) + ")")
	var out []Tenant
	for t, err := range c.tenants(ctx, &picked) {
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// ended tells whether an operation is over. What this catalog does not know of is another's.
func (s *Service) ended(ctx context.Context) func(uuid.UUID) (bool, error) {
	return func(id uuid.UUID) (bool, error) {
		op, err := s.catalog.oneOperation(ctx, "o.id = $1", id)
		return op != nil && (!op.State.Live() || s.catalog.dead(op)), err
	}
}

// sweepWorkers removes the logins that killed operations have left in stores which run what tenants wrote.
func (s *Service) sweepWorkers(ctx context.Context) error {
	for _, r := range each[Prober](s) {
		if _, runs := r.(CodeRunner); !runs {
			continue
		}
		if err := r.Sweep(ctx, s.ended(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes what killed probes have left, and closes their operations.
func (s *Service) sweep(ctx context.Context) error {
	for _, r := range each[Prober](s) {
		if err := r.Sweep(ctx, s.ended(ctx)); err != nil {
			return err
		}
	}
	rows, err := s.catalog.pool.Query(ctx, `SELECT `+operationColumns+` FROM tenantctl.operations o WHERE o.kind = $1 AND o.state IN ('running', 'undoing', 'stuck')`, OpProbe)
	if err != nil {
		return catalogError("look for interrupted probes", err)
	}
	ops, err := pgx.CollectRows(rows, scanOperation)
	if err != nil {
		return catalogError("look for interrupted probes", err)
	}
	for _, op := range ops {
		if s.catalog.dead(op) {
			if err := s.catalog.closeDead(ctx, op); err != nil && !errors.Is(err, ErrBusy) {
				return err
			}
		}
	}
	return nil
}

// probe gathers what came of it, from many workers.
type probe struct {
	mu      sync.Mutex
	report  *ProbeReport
	seen    map[attemptKey]*AttemptGroup
	order   []attemptKey
	skipped failureGroups
}

type attemptKey struct {
	store, what, code string
	outcome           AttemptOutcome
}

func (p *probe) tried(store string, by Name, a Attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.report
	r.Attempts++
	switch a.Outcome {
	case AttemptRefused:
		r.Refused++
	case AttemptThrough:
		r.Through++
	case AttemptUnclear:
		r.Unclear++
	}
	k := attemptKey{store, a.What, a.Code, a.Outcome}
	g := p.seen[k]
	if g == nil {
		g = &AttemptGroup{Store: store, What: a.What, Outcome: a.Outcome, Code: a.Code, Message: a.Message, Object: a.Object, Statement: a.Statement}
		p.seen[k], p.order = g, append(p.order, k)
	}
	g.Count++
	if len(g.Tenants) < groupNames && !slices.Contains(g.Tenants, by) {
		g.Tenants = append(g.Tenants, by)
	}
}

// probeAll lets workers probe the chosen tenants in each store, each against those that follow it in the ring.
func (s *Service) probeAll(ctx context.Context, p *probe, chosen, ring []Tenant, parallel int) error {
	for _, r := range each[Prober](s) {
		why, err := r.Apart(ctx)
		if err != nil {
			return err
		}
		pooled, _ := r.(PoolProber)
		st := ProbedStore{Store: r.Kind(), Enforced: why == "", Note: why, Pooler: why == "" && pooled != nil && pooled.Pooled() && len(ring) > 1}
		p.report.Stores = append(p.report.Stores, st)
		if !st.Enforced {
			continue
		}
		todo := make(chan int)
		var workers sync.WaitGroup
		for range s.parallel(parallel) {
			workers.Go(func() {
				for i := range todo {
					t, others := chosen[i], following(ring, i)
					tried := func(a Attempt) { p.tried(r.Kind(), t.Name, a) }
					err := s.safely("probe", t.Name, func() error {
						if err := r.Probe(ctx, t, others, tried); err != nil || !st.Pooler {
							return err
						}
						return pooled.ProbePool(ctx, t, others[0], tried)
					})
					if err != nil && ctx.Err() == nil {
						p.skip(t.Name, err)
					}
				}
			})
		}
		for i := range chosen {
			if ctx.Err() != nil {
				break
			}
			todo <- i
		}
		close(todo)
		workers.Wait()
	}
	for _, k := range p.order {
		p.report.Tried = append(p.report.Tried, *p.seen[k])
	}
	// What got through comes last, where a person looks first.
	last := []AttemptOutcome{AttemptRefused, AttemptUnclear, AttemptThrough}
	slices.SortStableFunc(p.report.Tried, func(a, b AttemptGroup) int { return slices.Index(last, a.Outcome) - slices.Index(last, b.Outcome) })
	return nil
}

// following are the tenants after number i in the ring, as many as each is probed against.
func following(ring []Tenant, i int) []Tenant {
	var out []Tenant
	for n := 1; n <= probedAgainst && n < len(ring); n++ {
		out = append(out, ring[(i+n)%len(ring)])
	}
	return out
}

func (p *probe) skip(name Name, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skipped.add(name, NewFailure(err))
}
