package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestEachChangeOfATenantIsSeen(t *testing.T) {
	for _, how := range []string{"by notification", "by polling"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			w.create("acme")
			c := w.listening()
			if how == "by polling" {
				c = Config{Poll: 20 * time.Millisecond}
			}
			r := w.start(c)
			ctx := t.Context()
			w.eventually(r, "acme.example.com", http.StatusNoContent)
			w.eventually(r, "globex.example.com", http.StatusNotFound)
			w.create("globex")
			w.eventually(r, "globex.example.com", http.StatusNoContent)
			w.must(w.service.SuspendFor(ctx, "globex", "Unpaid."))
			w.eventually(r, "globex.example.com", http.StatusForbidden)
			w.must(w.service.Resume(ctx, "globex"))
			w.eventually(r, "globex.example.com", http.StatusNoContent)
			w.must(w.service.Rename(ctx, "globex", "initech"))
			w.exec(`UPDATE tenantctl.domains SET domain = 'initech.example.com' WHERE domain = 'globex.example.com'`)
			w.eventually(r, "globex.example.com", http.StatusNotFound)
			w.eventually(r, "initech.example.com", http.StatusNoContent)
			w.exec(`UPDATE tenantctl.domains SET tenant_id = (SELECT id FROM tenantctl.tenants WHERE name = 'acme') WHERE domain = 'initech.example.com'`)
			for r.Resolve(Request{Host: "initech.example.com"}).Tenant.Name != "acme" {
				time.Sleep(time.Millisecond)
			}
			w.exec(`UPDATE tenantctl.domains SET verified_at = NULL WHERE domain = 'initech.example.com'`)
			w.eventually(r, "initech.example.com", http.StatusNotFound)
			w.must(w.service.Delete(ctx, "acme", tenant.DeleteRequest{NoBackup: true}))
			w.eventually(r, "acme.example.com", http.StatusNotFound)
		})
	}
}

func TestATransactionThatCommitsLateIsSeen(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex")
	r := w.start(w.listening())
	late, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = late.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := late.Exec(t.Context(), `DELETE FROM tenantctl.domains WHERE domain = 'acme.example.com'`); err != nil {
		t.Fatal(err)
	}
	w.must(w.service.Suspend(t.Context(), "globex")) // begins later, and is read
	w.eventually(r, "globex.example.com", http.StatusForbidden)
	if err := late.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually(r, "acme.example.com", http.StatusNotFound)
}

// The feed keeps changes for an hour. Who has not read for longer, or reads a catalog that was put back, reads all.
func TestAFeedThatJumpsIsReadWhole(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	r := w.start(Config{Poll: time.Hour, MaxStale: 4 * time.Hour})
	read := func(host string, status int) {
		t.Helper()
		if err := r.sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := r.Resolve(Request{Host: host}); got.Status != status {
			t.Fatalf("%s: got %+v, want %d", host, got, status)
		}
	}
	loads := r.Stats().Loads
	w.exec(`DELETE FROM tenantctl.domains WHERE domain = 'acme.example.com'`)
	read("acme.example.com", http.StatusNotFound)
	if got := r.Stats().Loads; got != loads {
		t.Errorf("a change made it read all, %d times", got-loads)
	}
	w.exec(`INSERT INTO tenantctl.domains (domain, tenant_id, position, verified_at)
			SELECT 'a.example.com', id, 9, now() FROM tenantctl.tenants;
		DELETE FROM tenantctl.route_changes; UPDATE tenantctl.route_feed SET trimmed = '4'`)
	r.at.snapshot = "3:3:" // what it has read last was long ago
	read("a.example.com", http.StatusNoContent)
	if got := r.Stats().Loads; got == loads {
		t.Error("a feed that was trimmed was not read whole")
	}
	loads = r.Stats().Loads
	r.at.snapshot = "4000000000:4000000000:" // as of a catalog that was further
	w.exec(`DELETE FROM tenantctl.domains WHERE domain = 'a.example.com'`)
	read("a.example.com", http.StatusNotFound)
	if got := r.Stats().Loads; got == loads {
		t.Error("a feed that went back was not read whole")
	}
}

func TestWithoutTheCatalogAnswersEndAfterTheBound(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	r := w.start(Config{Poll: 20 * time.Millisecond, MaxStale: time.Second})
	w.exec(`ALTER VIEW tenantctl.routes RENAME TO away`)
	w.exec(`ALTER TABLE tenantctl.route_feed RENAME TO away_too`)
	if got := r.Resolve(Request{Host: "acme.example.com"}); got.Status != http.StatusNoContent {
		t.Errorf("at once: %+v", got)
	}
	w.eventually(r, "acme.example.com", http.StatusServiceUnavailable)
	if got := r.Certifiable("acme.example.com"); got.Status != http.StatusServiceUnavailable {
		t.Errorf("a certificate: %+v", got)
	}
	var expired bool
	if err := w.pool.QueryRow(t.Context(), `SELECT bool_and(expires_at <= clock_timestamp() + interval '50 milliseconds') FROM tenantctl.resolvers`).Scan(&expired); err != nil || !expired {
		t.Errorf("it answers no more, and the catalog still waits for it (%v)", err)
	}
	w.exec(`ALTER VIEW tenantctl.away RENAME TO routes`)
	w.exec(`ALTER TABLE tenantctl.away_too RENAME TO route_feed`)
	w.eventually(r, "acme.example.com", http.StatusNoContent)
}

// After suspend has returned no resolver says 204, however slow the one is that takes changes in.
func TestWhatIsSuspendedIsAnsweredByNoResolver(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	taken := make(chan struct{})
	slow := w.listening()
	slow.Changed = func(ctx context.Context, r *Resolver) error {
		if r.Resolve(Request{Host: "acme.example.com"}).Status != http.StatusForbidden {
			return nil
		}
		select {
		case <-taken:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	resolvers := []*Resolver{w.start(slow), w.start(w.listening()), w.start(Config{Poll: 30 * time.Millisecond})}
	var returned atomic.Bool
	done := make(chan error, 1)
	go func() {
		_, err := w.service.Suspend(context.WithoutCancel(t.Context()), "acme")
		returned.Store(true)
		done <- err
	}()
	for _, r := range resolvers {
		w.eventually(r, "acme.example.com", http.StatusForbidden)
	}
	time.Sleep(200 * time.Millisecond)
	if returned.Load() {
		t.Error("suspend did not wait for what the resolver tells others")
	}
	close(taken)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, r := range resolvers {
		if got := r.Resolve(Request{Host: "acme.example.com"}); got.Status != http.StatusForbidden {
			t.Errorf("after suspend: %+v", got)
		}
	}
}

// A resolver that was stopped (SIGSTOP, a sleeping machine) is no longer counted on: it reads before it answers.
func TestAResolverThatWasNotCountedOnReadsBeforeItAnswers(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	r := w.start(Config{Poll: time.Hour, MaxStale: 4 * time.Hour})
	w.exec(`UPDATE tenantctl.resolvers SET expires_at = clock_timestamp() - interval '1 second'`)
	w.must(w.service.Suspend(t.Context(), "acme")) // waits for nobody
	r.until.Store(0)                               // its own clock has gone on as well
	if got := r.Resolve(Request{Host: "acme.example.com"}); got.Status != http.StatusServiceUnavailable {
		t.Errorf("before it reads: %+v", got)
	}
	if err := r.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.Resolve(Request{Host: "acme.example.com"}); got.Status != http.StatusForbidden {
		t.Errorf("registered again: %+v", got)
	}
}

func TestAResolverThatIsClosedAnswersNothingAndIsNotWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	c := w.listening()
	c.Pool = w.pool
	r, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.Resolve(Request{Host: "acme.example.com"}); got.Status != http.StatusServiceUnavailable {
		t.Errorf("closed: %+v", got)
	}
	w.service.ResolverWait = time.Hour
	w.must(w.service.Suspend(t.Context(), "acme"))
}

func TestOneRequestIsAnsweredWithoutReadingAllRoutes(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex")
	from := Sources{BaseDomain: "app.test", Header: "X-Tenant", PathPrefix: "/t/"}
	r := w.start(Config{Sources: from, Poll: time.Hour, MaxStale: 4 * time.Hour})
	for _, q := range []Request{
		{Host: "acme.example.com"},
		{Host: "globex.app.test"},
		{Host: "x", Header: "acme"},
		{Host: "x", URI: "/t/globex/a"},
		{Host: "acme.example.com", Header: "globex"},
		{Host: "nobody.example.com"},
		{Host: "a b"},
	} {
		once, err := Once(t.Context(), w.pool, from, q)
		if want := r.Resolve(q); err != nil || fmt.Sprint(once.Status, once.Reason) != fmt.Sprint(want.Status, want.Reason) {
			t.Errorf("%+v: got %+v, %v; want %+v", q, once, err, want)
		}
	}
}

func TestAResolverNeedsNoLibraryButPgx(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%s", exit.Stderr)
	}
	for _, path := range strings.Fields(string(out)) {
		// What pgx itself needs comes with it.
		for _, allowed := range []string{"github.com/tenantctl/tenantctl/resolver", "github.com/jackc/", "golang.org/x/"} {
			if path == allowed || strings.HasSuffix(allowed, "/") && strings.HasPrefix(path, allowed) {
				path = ""
			}
		}
		if path != "" {
			t.Errorf("it needs %s", path)
		}
	}
}
