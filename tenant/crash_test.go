package tenant_test

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// mortal is a process that dies at a point: its connections break there, and it does nothing any more.
type mortal struct {
	*gate
	service *tenant.Service
	mu      sync.Mutex
	lines   []net.Conn
}

func (w *world) mortal(t *testing.T, actor string, g *gate) *mortal {
	t.Helper()
	m := &mortal{gate: g}
	cfg := w.pool.Config()
	cfg.ConnConfig.Tracer = g
	cfg.MaxConns, cfg.MinConns = 4, 0
	dial := cfg.ConnConfig.DialFunc
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.lines = append(m.lines, conn)
		}
		return conn, err
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	stores := []tenant.Resource{gated{w.pg, g}, gated{w.docs, g}}
	m.service = tenant.NewService(tenant.NewCatalog(pool, actor, crashLease), stores, tenant.Options{Naming: tenant.Naming{Prefix: "t_"}})
	return m
}

// crashLease is longer than the test: what dies is seen to be dead by its lease alone, which the test ends.
const crashLease = 30 * 60e9

// die breaks the connections and ends the leases.
func (m *mortal) die(t *testing.T, w *world, actor string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, conn := range m.lines {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err := w.pool.Exec(context.Background(), `UPDATE tenantctl.operations SET lease_until = now() - interval '1 hour'
		WHERE actor = $1 AND state IN ('running', 'undoing')`, actor)
	if err != nil {
		t.Error(err)
	}
}

// recovery is what an operator does after a crash.
type recovery struct {
	name string
	do   func(ctx context.Context, s *tenant.Service, id string) error
}

var recoveries = []recovery{
	{"the same command again", nil},
	{"ops resume", func(ctx context.Context, s *tenant.Service, id string) error {
		_, err := s.ResumeOperation(ctx, id)
		return err
	}},
	{"ops abort", func(ctx context.Context, s *tenant.Service, id string) error {
		_, err := s.Abort(ctx, id)
		return err
	}},
}

// crash is a verb that dies, on its way or while it goes back, and what the operator then does.
type crash struct {
	verb
	start         int64 // the first point to die at
	back          bool
	recovery      recovery
	before, after string // pictures of the tenant
}

// try lets the verb die at a point, recovers, and looks. It tells whether there is such a point.
func (c *crash) try(t *testing.T, w *world, point int64) bool {
	ctx := context.Background()
	name := w.fresh(c.from)
	g := newGate(point)
	g.dies, g.fails = true, c.back
	m := w.mortal(t, name, g)
	done := make(chan error, 1)
	go func() { done <- c.do(ctx, m.service, name) }()
	var held string
	select {
	case held = <-g.at:
	case <-done:
		m.service.Close()
		m.die(t, w, name)
		return false
	}
	m.die(t, w, name)
	if c.recovery.do != nil {
		for _, id := range w.abandoned(name) {
			err := c.recovery.do(ctx, w.service, id)
			if said := outcome(err); err != nil && !slices.Contains([]string{"invalid", "interrupted"}, said) {
				t.Errorf("%s died at %s: %s: %s: %v", c.verb.name, held, c.recovery.name, said, err)
			}
		}
		// An abort past the point of no return is refused, and says to resume: the command again does.
		if got := w.picture(name); len(w.abandoned(name)) == 0 && got != c.before && got != c.after && !c.between() {
			t.Errorf("%s died at %s: after %s there is\n%s\n--- which is neither\n%s\n--- nor\n%s", c.verb.name, held, c.recovery.name, got, c.before, c.after)
		}
	}
	for _, when := range []string{"after the command was run again", "after it was run once more"} {
		err := c.do(ctx, w.service, name)
		if got := w.picture(name); got != c.after {
			t.Errorf("%s died at %s, then %s: %s (%v) there is\n%s\n--- and not\n%s", c.verb.name, held, c.recovery.name, when, err, got, c.after)
		}
	}
	return true
}

// between tells of verbs that have good states between the first and the last.
func (c *crash) between() bool { return strings.HasPrefix(c.verb.name, "migrate") }

// abandoned are the operations on a tenant, and on what is made of it, that nobody works on.
func (w *world) abandoned(name string) []string {
	rows, err := w.pool.Query(context.Background(), `SELECT id::text FROM tenantctl.operations
		WHERE starts_with(tenant_name, $1) AND state IN ('running', 'undoing', 'stuck')`, name)
	if err != nil {
		w.t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	return ids
}

// A process that dies at any statement, commit or call of a store, on the way there or back, leaves what the same command,
// ops resume and ops abort bring to its end: wholly as it was to be, or wholly as before.
func TestEveryVerbConvergesAfterACrashAtEveryPoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	step := int64(len(recoveries))
	if os.Getenv("TENANTCTL_TEST_PAIRS") == "all" {
		step = 1
	}
	var crashes []*crash
	for _, v := range verbs {
		name := w.fresh(v.from)
		before := w.picture(name)
		if err := v.do(context.Background(), w.service, name); err != nil {
			t.Fatal(err)
		}
		after := w.picture(name)
		for i, r := range recoveries {
			for _, back := range []bool{false, true} {
				start := 1 + int64(i)*(step-1)/2 // each point has one recovery at least
				crashes = append(crashes, &crash{verb: v, start: start, back: back, recovery: r, before: before, after: after})
			}
		}
	}
	var tried atomic.Int64
	var workers sync.WaitGroup
	next := make(chan *crash)
	for range 8 {
		workers.Go(func() {
			for c := range next {
				for point := c.start; c.try(t, w, point); point += step {
					tried.Add(1)
				}
			}
		})
	}
	for _, c := range crashes {
		next <- c
	}
	close(next)
	workers.Wait()
	t.Logf("%d crashes of %d verbs", tried.Load(), len(verbs))
	if tried.Load() < 400 {
		t.Error("these are too few: points got lost")
	}
}
