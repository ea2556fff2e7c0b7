package tenant_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// lateLine is a connection whose client loses it at the COMMIT that ends an operation.
type lateLine struct {
	net.Conn
	to   *lateness
	seen bool // the end of an operation is under way on it
	cut  atomic.Bool
}

// lateness is what happens to that COMMIT, once.
type lateness struct {
	deliver func(send func()) // calls send when the COMMIT is to arrive, or never
	cancel  func()            // Ctrl-C at that moment; nil for a connection that is lost alone
	fired   atomic.Bool
}

var (
	endsOperation = regexp.MustCompile(`UPDATE tenantctl.operations SET state = \$3`)
	commits       = []byte("commit\x00")
)

func (l *lateLine) Write(b []byte) (int, error) {
	l.seen = l.seen || endsOperation.Match(b)
	atOnce := l.seen && bytes.Contains(b, []byte("INSERT INTO tenantctl.audit")) && bytes.HasSuffix(b, []byte{'S', 0, 0, 0, 4})
	if !l.seen || !atOnce && !bytes.Contains(b, commits) || !l.to.fired.CompareAndSwap(false, true) {
		return l.Conn.Write(b)
	}
	message := bytes.Clone(b)
	l.cut.Store(true)
	l.Conn.SetReadDeadline(time.Now()) // whoever reads has lost it
	if l.to.cancel != nil {
		l.to.cancel()
	}
	go l.to.deliver(func() {
		l.Conn.SetWriteDeadline(time.Time{})
		_, _ = l.Conn.Write(message)
	})
	return len(b), nil
}

// What is lost stays lost: nobody moves the moment by which reads are over.

func (l *lateLine) SetDeadline(t time.Time) error {
	if l.cut.Load() {
		return nil
	}
	return l.Conn.SetDeadline(t)
}

func (l *lateLine) SetReadDeadline(t time.Time) error {
	if l.cut.Load() {
		return nil
	}
	return l.Conn.SetReadDeadline(t)
}

func (l *lateLine) Read(b []byte) (int, error) {
	if l.cut.Load() {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := l.Conn.Read(b)
	if l.cut.Load() {
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// Close leaves a lost connection open, as a machine does that has lost its network.
func (l *lateLine) Close() error {
	if l.cut.Load() {
		return nil
	}
	return l.Conn.Close()
}

// late is a second process whose ending COMMIT is lost, the first time.
func (w *world) late(l *lateness) *tenant.Service {
	cfg := w.pool.Config()
	cfg.ConnConfig.RuntimeParams["application_name"] = "tenantctl"
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &lateLine{Conn: c, to: l}, err
	}
	pool, err := pgxpool.NewWithConfig(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(pool.Close)
	s := tenant.NewService(tenant.NewCatalog(pool, "late", 30*time.Second), []tenant.Resource{w.pg, w.docs}, tenant.Options{Naming: tenant.Naming{Prefix: "t_"}})
	w.t.Cleanup(s.Close)
	return s
}

// After a connection is lost, or Ctrl-C pressed, at the COMMIT that ends an operation, what is said is what the catalog says:
// whether the COMMIT arrived, arrives later, or never does.
func TestALateCommitIsWhatCounts(t *testing.T) {
	t.Parallel()
	moments := map[string]func(send func()){
		"arrives":       func(send func()) { send() },
		"arrives later": func(send func()) { time.Sleep(200 * time.Millisecond); send() },
		"never arrives": func(func()) {},
	}
	w := newWorld(t)
	w.service = w.another(time.Hour)
	for i, v := range verbs {
		for moment, deliver := range moments {
			for _, ctrlC := range []bool{false, true} {
				if moment == "never arrives" && i%4 > 0 { // each waits for holderPatience
					continue
				}
				name := v.name + " " + moment
				if ctrlC {
					name += " with Ctrl-C"
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					w.losesTheEnd(t, v, deliver, ctrlC)
				})
			}
		}
	}
}

func (w *world) losesTheEnd(t *testing.T, v verb, deliver func(func()), ctrlC bool) {
	name := w.fresh(v.from)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l := &lateness{deliver: deliver}
	if ctrlC {
		l.cancel = cancel
	}
	err := v.do(ctx, w.late(l), name)
	if !l.fired.Load() {
		t.Fatal("the operation never came to its end")
	}
	got := w.picture(name)
	ref := w.fresh(v.from)
	before := w.picture(ref)
	if err := v.do(t.Context(), w.service, ref); err != nil {
		t.Fatal(err)
	}
	after := w.picture(ref)
	switch {
	case err == nil && got == after:
	case err != nil && errors.Is(err, tenant.ErrInterrupted) && got == before:
	default:
		t.Errorf("it says %v, and the tenant is\n%s\nwhich was\n%s\nand was to be\n%s", err, got, before, after)
	}
}

// A machine that vanished inside a transaction, whose connection the server still takes for alive, does not keep another from
// taking its operation over: the connection is ended, and the operation goes on.
func TestATakeOverEndsTheConnectionsOfAMachineThatVanished(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	cfg := w.pool.Config().ConnConfig
	cfg.RuntimeParams["application_name"] = "tenantctl"
	lost, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close(context.Background())
	bystander, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer bystander.Close(context.Background())
	if _, err := bystander.Exec(t.Context(), "BEGIN; SELECT count(*) FROM tenantctl.operations"); err != nil {
		t.Fatal(err)
	}
	vanished := w.another(time.Hour) // its heartbeat is too slow to matter
	inside, end := make(chan struct{}), make(chan struct{})
	var entered atomic.Bool
	w.pg.before = func(ctx context.Context, call string, _ tenant.Tenant) error {
		if call == "Lock" && entered.CompareAndSwap(false, true) {
			if _, err := lost.Exec(ctx, "BEGIN; "+tenant.LeaseFrom(ctx).HoldSQL()); err != nil {
				t.Error(err)
			}
			close(inside)
			<-end
		}
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = vanished.Suspend(context.Background(), "acme") // nobody hears what it says
	}()
	defer func() { close(end); <-done }()
	<-inside
	if _, err := w.pool.Exec(t.Context(), `UPDATE tenantctl.operations SET lease_until = now() - interval '1 second' WHERE state = 'running'`); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := w.service.Suspend(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
	if w.state("acme") != tenant.Suspended {
		t.Errorf("the tenant is %s", w.state("acme"))
	}
	if err := lost.Ping(t.Context()); err == nil {
		t.Error("the connection of the vanished machine is alive")
	}
	if err := bystander.Ping(t.Context()); err != nil {
		t.Errorf("a connection that held nothing was ended: %v", err)
	}
}

// Work that holds every connection that the program may open does not keep it from renewing its leases.
func TestLeasesAreRenewedWhateverTheConnectionsAreBusyWith(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	busy := w.another(time.Second)
	inside, end := make(chan struct{}), make(chan struct{})
	w.pg.before = func(_ context.Context, call string, _ tenant.Tenant) error {
		if call == "Lock" {
			close(inside)
			<-end
		}
		return nil
	}
	done := make(chan error)
	go func() {
		_, err := busy.Suspend(t.Context(), "acme")
		done <- err
	}()
	<-inside
	look, err := pgx.ConnectConfig(t.Context(), w.pool.Config().ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer look.Close(context.Background())
	var held []*pgxpool.Conn
	for range w.pool.Config().MaxConns {
		conn, err := w.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	var before, now time.Time
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err := look.QueryRow(t.Context(), `SELECT lease_until FROM tenantctl.operations WHERE state = 'running'`).Scan(&now); err != nil {
			t.Fatal(err)
		}
		if before.IsZero() {
			before = now
		}
		if now.Sub(before) > 2*time.Second { // of a lease of one
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody renews the lease")
		}
	}
	close(end)
	for _, conn := range held {
		conn.Release()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Purge and delete take away what a create has left that could be neither finished nor undone.
func TestAFailedTenantIsPurgedAndDeleted(t *testing.T) {
	w := newWorld(t)
	for name, take := range map[string]func() error{
		"purged": func() error {
			return failure(w.service.Purge(t.Context(), "purged", tenant.PurgeRequest{}))
		},
		"deleted": func() error {
			return failure(w.service.Delete(t.Context(), "deleted", tenant.DeleteRequest{NoBackup: true}))
		},
	} {
		broken := true
		w.docs.before = func(_ context.Context, call string, _ tenant.Tenant) error {
			if broken && call == "Create" {
				return errors.New("disk full")
			}
			return nil
		}
		w.pg.before = func(_ context.Context, call string, _ tenant.Tenant) error {
			if broken && call == "Drop" {
				return errors.New("lock held")
			}
			return nil
		}
		_, err := w.service.Create(t.Context(), tenant.CreateRequest{Name: name}, false)
		wantKind(t, err, tenant.ErrStuck)
		if w.state(name) != tenant.Failed {
			t.Fatalf("the tenant is %s", w.state(name))
		}
		broken = false
		if err := take(); err != nil {
			t.Fatal(err)
		}
		if left := w.picture(name); left != "" {
			t.Errorf("after it was %s, this is left:\n%s", name, left)
		}
	}
}

// What a run has done is kept while the run is there, and goes with it.
func TestTheHistoryOfARunIsKeptAndForgottenWhole(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex")
	w.pg.addFile(3)
	w.pg.before = func(_ context.Context, call string, x tenant.Tenant) error {
		if call == "Up" && x.Name == "globex" {
			return errors.New("broken")
		}
		return nil
	}
	if _, err := w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 1, MaxFailures: tenant.Budget{Count: 5}}); err != nil {
		t.Fatal(err)
	}
	count := func(where string) (n int) {
		if err := w.pool.QueryRow(t.Context(), `SELECT count(*) FROM tenantctl.operations WHERE `+where).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	w.service.Keep = time.Hour
	age := func(sql string) {
		if _, err := w.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		if _, err := w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest, Selection: tenant.Selection{Names: []tenant.Name{"acme"}}}, tenant.RunOptions{Parallel: 1}); err != nil {
			t.Fatal(err)
		}
	}
	age(`UPDATE tenantctl.operations SET finished_at = now() - interval '1 day' WHERE parent_id IS NOT NULL`)
	if n := count(`parent_id IS NOT NULL`); n != 2 {
		t.Errorf("%d of 2 tasks of a run are left that can be resumed", n)
	}
	age(`UPDATE tenantctl.operations SET finished_at = now() - interval '1 day' WHERE kind = 'migrate'`)
	if n := count(`parent_id IS NOT NULL`); n != 0 {
		t.Errorf("%d tasks of a run are left that is forgotten", n)
	}
}
