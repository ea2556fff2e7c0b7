package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// gate holds a process at one of its points: before each statement and commit in the catalog, and before and after each call
// of a store.
type gate struct {
	hold   int64 // the point to be held at, from 1; 0 for none
	dies   bool  // it never goes on: what it has in work stays as it is
	fails  bool  // what it does in MongoDB is done, but it is told that it failed
	passed atomic.Int64
	at     chan string   // takes the point that it is held at
	goOn   chan struct{} // closed when it may go on
}

func newGate(hold int64) *gate {
	return &gate{hold: hold, at: make(chan string, 1), goOn: make(chan struct{})}
}

func (g *gate) pass(point string) {
	switch n := g.passed.Add(1); {
	case n == g.hold:
		g.at <- point
		<-g.goOn
	case g.dies && n > g.hold:
		<-g.goOn
	}
}

func (g *gate) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	if d.SQL != "rollback" {
		g.pass(d.SQL)
	}
	return ctx
}

func (*gate) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (g *gate) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	g.pass(d.Batch.QueuedQueries[d.Batch.Len()-1].SQL)
	return ctx
}

func (*gate) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*gate) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// gated is a store as one process sees it.
type gated struct {
	*memory
	g *gate
}

func (m gated) around(ctx context.Context, call string, do func() error) error {
	m.g.pass("before " + m.kind + " " + call)
	err := do()
	m.g.pass("after " + m.kind + " " + call)
	if m.g.fails && m.kind == tenant.KindMongoDB && err == nil {
		return &tenant.Error{Kind: tenant.ErrUnreachable, Store: m.kind, Msg: "the disk is full"}
	}
	return err
}

func (m gated) Create(ctx context.Context, t tenant.Tenant) error {
	return m.around(ctx, "Create", func() error { return m.memory.Create(ctx, t) })
}

func (m gated) Drop(ctx context.Context, t tenant.Tenant) error {
	return m.around(ctx, "Drop", func() error { return m.memory.Drop(ctx, t) })
}

func (m gated) Lock(ctx context.Context, t tenant.Tenant) (bool, error) {
	return true, m.around(ctx, "Lock", func() error { _, err := m.memory.Lock(ctx, t); return err })
}

func (m gated) Unlock(ctx context.Context, t tenant.Tenant) error {
	return m.around(ctx, "Unlock", func() error { return m.memory.Unlock(ctx, t) })
}

func (m gated) Revive(ctx context.Context, t tenant.Tenant) error { return m.Unlock(ctx, t) }

func (m gated) Clone(ctx context.Context, from, to tenant.Tenant, data bool) error {
	return m.around(ctx, "Clone", func() error { return m.memory.Clone(ctx, from, to, data) })
}

func (m gated) Up(ctx context.Context, t tenant.Tenant, to int64, out bool) (moved tenant.Moved, err error) {
	err = m.around(ctx, "Up", func() error { moved, err = m.memory.Up(ctx, t, to, out); return err })
	return moved, err
}

func (m gated) Down(ctx context.Context, t tenant.Tenant, to int64) (moved tenant.Moved, err error) {
	err = m.around(ctx, "Down", func() error { moved, err = m.memory.Down(ctx, t, to); return err })
	return moved, err
}

// behind is a process behind a gate.
func (w *world) behind(t *testing.T, g *gate) (*tenant.Service, func()) {
	t.Helper()
	cfg := w.pool.Config()
	cfg.ConnConfig.Tracer = g
	cfg.MaxConns, cfg.MinConns = 4, 0
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	stores := []tenant.Resource{gated{w.pg, g}, gated{w.docs, g}}
	s := tenant.NewService(tenant.NewCatalog(pool, "held", 5*time.Minute), stores, tenant.Options{Naming: tenant.Naming{Prefix: "t_"}})
	return s, func() { s.Close(); pool.Close() }
}

// ends is how two verbs and their tenant have come out.
type ends struct{ first, second, picture string }

func (e ends) String() string {
	return fmt.Sprintf("first: %s, second: %s\n%s", e.first, e.second, e.picture)
}

// outcome is what a verb has said: done, or the kind of its refusal.
func outcome(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, tenant.ErrPartial): // a run of one tenant: what it says of that is another's word
		return "partial"
	case errors.Is(err, tenant.ErrBusy):
		return "busy"
	}
	return tenant.Code(err)
}

// pair is two verbs on a tenant that is as the first wants it.
type pair struct {
	first, second verb
	allowed       []ends // what may come of them: one after the other, or either alone, with the other refused as busy
}

// serially finds out what the verbs do one after the other.
func (w *world) serially(p *pair) {
	ctx := context.Background()
	run := func(verbs ...verb) (said []string, picture string) {
		name := w.fresh(p.first.from)
		for _, v := range verbs {
			said = append(said, outcome(v.do(ctx, w.service, name)))
		}
		return said, w.picture(name)
	}
	said, picture := run(p.first, p.second)
	p.allowed = append(p.allowed, ends{said[0], said[1], picture})
	said, picture = run(p.second, p.first)
	p.allowed = append(p.allowed, ends{said[1], said[0], picture})
	first, afterFirst := run(p.first)
	second, afterSecond := run(p.second)
	for _, refused := range []string{"busy", "partial"} {
		p.allowed = append(p.allowed, ends{first[0], refused, afterFirst}, ends{refused, second[0], afterSecond})
	}
}

// blocked is how long the second may wait for what the held process has locked, before that goes on.
const blocked = 150 * time.Millisecond

// interleave holds the first verb at a point while the second runs; held is empty where it has no such point.
func (w *world) interleave(t *testing.T, p *pair, point int64) (held string, got ends) {
	name := w.fresh(p.first.from)
	g := newGate(point)
	s, end := w.behind(t, g)
	defer end()
	ctx := context.Background()
	first := make(chan error, 1)
	go func() { first <- p.first.do(ctx, s, name) }()
	select {
	case held = <-g.at:
	case <-first:
		return "", got
	}
	second := make(chan error, 1)
	go func() { second <- p.second.do(ctx, w.service, name) }()
	var err error
	select {
	case err = <-second:
		close(g.goOn)
	case <-time.After(blocked):
		close(g.goOn)
		err = <-second
	}
	got.second = outcome(err)
	got.first = outcome(<-first)
	got.picture = w.picture(name)
	return held, got
}

// Whatever two verbs on one tenant do at the same moment, with either held at each of its points, comes out as if one had come
// after the other, or as one alone, with the other refused.
func TestEveryPairOfVerbsComesOutAsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	all := os.Getenv("TENANTCTL_TEST_PAIRS") == "all"
	w := newWorld(t)
	var pairs []*pair
	for _, first := range verbs {
		for _, second := range verbs {
			pairs = append(pairs, &pair{first: first, second: second})
		}
	}
	var tried atomic.Int64
	var workers sync.WaitGroup
	next := make(chan *pair)
	for range 8 {
		workers.Go(func() {
			for p := range next {
				w.serially(p)
				tried.Add(w.try(t, p, all))
			}
		})
	}
	for _, p := range pairs {
		next <- p
	}
	close(next)
	workers.Wait()
	t.Logf("%d interleavings of %d pairs", tried.Load(), len(pairs))
	if tried.Load() < 500 {
		t.Error("these are too few: points got lost")
	}
}

// stride is how many points are left out between two that are tried, where not all are; each pair begins at another.
const stride = 4

func (w *world) try(t *testing.T, p *pair, all bool) (tried int64) {
	step := int64(stride)
	start := 1 + int64(len(p.first.name)+len(p.second.name))%step
	if all || strings.HasPrefix(p.first.name, "migrate-") && strings.HasPrefix(p.second.name, "migrate-") { // a redo goes by what was done last
		start, step = 1, 1
	}
	for point := start; ; point += step {
		held, got := w.interleave(t, p, point)
		if held == "" {
			return tried
		}
		tried++
		if !slices.Contains(p.allowed, got) {
			var allowed []string
			for _, a := range p.allowed {
				allowed = append(allowed, a.String())
			}
			t.Errorf("%s held at point %d while %s runs:\n%s\n--- came out as\n%s\n--- which is none of\n%s", p.first.name, point, p.second.name, held, got, strings.Join(allowed, "\n-\n"))
		}
	}
}
