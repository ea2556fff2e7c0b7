package tenant

import (
	"cmp"
	"context"
	"time"
)

// ExecRequest asks for one statement in each of many tenants.
type ExecRequest struct {
	Selection   Selection
	Store       string // KindPostgres where empty
	Statement   Statement
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
	x := req.Statement
	detail := map[string]any{"statement": shortened(store.WithoutValues(x.Text)), "tenants": len(tenants), "store": store.Kind()}
	for what, is := range map[string]bool{"write": x.Write, "ddl": x.DDL, "as_provisioner": x.AsProvisioner} {
		if is {
			detail[what] = true
		}
	}
	err = s.catalog.audit(ctx, s.catalog.pool, entry{action: "exec", detail: detail})
	if err != nil {
		return nil, err
	}
	f := s.overList(len(tenants), req.MaxFailures)
	turns := make([]chan struct{}, len(tenants)+1)
	for i := range turns {
		turns[i] = make(chan struct{})
	}
	close(turns[0])
	f.list(ctx, s.parallel(req.Parallel), func(i int) {
		t := tenants[i]
		child := &Operation{Kind: "exec", Tenant: t.Name}
		f.begun(child)
		one := &oneSink{sink: sink, name: t.Name, turn: turns[i], next: turns[i+1]}
		rows, err := store.Exec(context.WithoutCancel(ctx), t, x, one)
		err = WithTenant(err, t.Name)
		if serr := one.end(rows, err); serr != nil && err == nil {
			err = serr
		}
		f.over(child, true, err)
	})
	return &ExecResult{Summary: f.summary, DurationMS: time.Since(start).Milliseconds(), Failures: f.groups.list()}, nil
}

// AdmitExec refuses a statement that that store never runs.
func (s *Service) AdmitExec(store string, x Statement) error {
	e, err := s.execer(store)
	if err != nil {
		return err
	}
	return e.Admit(x)
}

func (s *Service) execer(kind string) (Execer, error) {
	for _, e := range each[Execer](s) {
		if e.Kind() == kind {
			return e, nil
		}
	}
	return nil, Invalid("set nosql.enabled and nosql.url where tenants have documents", "there is no store %s here that runs statements", kind)
}

// oneSink hands a tenant's rows on when its turn has come: tenants are begun in order, and printed in order. Until then it keeps
// the first rows, so that a short result holds up no transaction.
type oneSink struct {
	sink    ExecSink
	name    Name
	turn    <-chan struct{} // closed when all tenants before this one are printed
	next    chan<- struct{}
	began   bool
	columns []string
	rows    [][]any
}

// keptRows is how many rows a tenant keeps before it waits for its turn.
const keptRows = 500

// begin waits for the tenant's turn, and hands on what was kept.
func (o *oneSink) begin() error {
	if o.began {
		return nil
	}
	<-o.turn
	o.began = true
	if err := o.sink.Tenant(o.name); err != nil {
		return err
	}
	if o.columns != nil {
		if err := o.sink.Columns(o.columns); err != nil {
			return err
		}
	}
	for _, r := range o.rows {
		if err := o.sink.Row(r); err != nil {
			return err
		}
	}
	o.rows = nil
	return nil
}

func (o *oneSink) Columns(names []string) error {
	if o.began {
		return o.sink.Columns(names)
	}
	o.columns = names
	return nil
}

func (o *oneSink) Row(values []any) error {
	if !o.began && len(o.rows) < keptRows {
		o.rows = append(o.rows, values)
		return nil
	}
	if err := o.begin(); err != nil {
		return err
	}
	return o.sink.Row(values)
}

func (o *oneSink) end(rows int64, err error) error {
	defer close(o.next)
	if berr := o.begin(); berr != nil {
		return berr
	}
	return o.sink.End(rows, err)
}

// shortened is a statement short enough for a log.
func shortened(sql string) string {
	if r := []rune(sql); len(r) > 500 {
		return string(r[:500]) + "…"
	}
	return sql
}
