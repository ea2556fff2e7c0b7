package tenant

import (
	"cmp"
	"context"
	"sync"
	"time"
)

// ExecRequest asks for one statement in each of many tenants.
type ExecRequest struct {
	Selection   Selection
	Store       string // KindPostgres where empty
	Statement   string
	Parallel    int
	MaxFailures Budget
}

// ExecSink takes what a statement gives in each tenant. One tenant's calls come together, Tenant first and End last.
type ExecSink interface {
	RowSink
	Tenant(name Name) error
	End(rows int64, err error) error
}

// ExecResult is what came of a statement over the fleet.
type ExecResult struct {
	Summary    Summary        `json:"summary"`
	DurationMS int64          `json:"duration_ms"`
	Failures   []FailureGroup `json:"failures"`
}

// Err is nil where the statement ran in every tenant.
func (r *ExecResult) Err() error {
	if r.Summary.Failed+r.Summary.NotStarted == 0 {
		return nil
	}
	return partial(r.Summary, r.Failures, "")
}

// Targets gives the tenants that a statement would go to: those selected that are active or suspended. One that is
// named and is neither is refused.
func (s *Service) Targets(ctx context.Context, sel Selection) ([]Tenant, error) {
	if err := s.catalog.workable(ctx, sel); err != nil {
		return nil, err
	}
	var out []Tenant
	for t, err := range s.catalog.tenants(ctx, s.selectMigrating(sel)) {
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// Exec runs one statement in each selected tenant, each in a transaction of its own, and streams the rows to sink.
// Ctrl-C lets those in work finish.
func (s *Service) Exec(ctx context.Context, req ExecRequest, sink ExecSink) (*ExecResult, error) {
	store, err := s.execer(cmp.Or(req.Store, KindPostgres))
	if err != nil {
		return nil, err
	}
	if err := store.Admit(req.Statement); err != nil {
		return nil, err
	}
	start := time.Now()
	tenants, err := s.Targets(ctx, req.Selection)
	if err != nil {
		return nil, err
	}
	detail := map[string]any{"statement": shortened(store.WithoutValues(req.Statement)), "tenants": len(tenants), "store": store.Kind()}
	err = s.catalog.audit(ctx, s.catalog.pool, entry{action: "exec", detail: detail})
	if err != nil {
		return nil, err
	}
	f := s.overList(len(tenants), req.MaxFailures)
	var out sync.Mutex
	f.list(ctx, s.parallel(req.Parallel), func(i int) {
		t := tenants[i]
		one := &oneSink{ExecSink: sink, out: &out, name: t.Name}
		rows, err := store.Exec(context.WithoutCancel(ctx), t, req.Statement, one)
		err = WithTenant(err, t.Name)
		if serr := one.end(rows, err); serr != nil && err == nil {
			err = serr
		}
		f.over(&Operation{Kind: "exec", Tenant: t.Name}, true, err)
	})
	return &ExecResult{Summary: f.summary, DurationMS: time.Since(start).Milliseconds(), Failures: f.groups.list()}, nil
}

// AdmitExec refuses a statement that that store never runs.
func (s *Service) AdmitExec(store, statement string) error {
	e, err := s.execer(store)
	if err != nil {
		return err
	}
	return e.Admit(statement)
}

func (s *Service) execer(kind string) (Execer, error) {
	for _, e := range each[Execer](s) {
		if e.Kind() == kind {
			return e, nil
		}
	}
	return nil, Invalid("set nosql.enabled and nosql.url where tenants have documents", "there is no store %s here that runs statements", kind)
}

// oneSink keeps a tenant's rows together: the first row takes the output, the end gives it back.
type oneSink struct {
	ExecSink
	out  *sync.Mutex
	name Name
	held bool
}

func (o *oneSink) hold() error {
	if o.held {
		return nil
	}
	o.out.Lock()
	o.held = true
	return o.Tenant(o.name)
}

func (o *oneSink) Columns(names []string) error {
	if err := o.hold(); err != nil {
		return err
	}
	return o.ExecSink.Columns(names)
}

func (o *oneSink) end(rows int64, err error) error {
	if herr := o.hold(); herr != nil {
		o.out.Unlock()
		return herr
	}
	defer o.out.Unlock()
	return o.End(rows, err)
}

// shortened is a statement short enough for a log.
func shortened(sql string) string {
	if r := []rune(sql); len(r) > 500 {
		return string(r[:500]) + "…"
	}
	return sql
}
