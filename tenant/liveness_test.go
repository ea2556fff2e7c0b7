package tenant_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestTheActorIsWhoeverTheCallIsFor(t *testing.T) {
	w := newWorld(t)
	var callers sync.WaitGroup
	for i := range 50 {
		callers.Go(func() {
			name := fmt.Sprintf("t%02d", i)
			ctx := tenant.WithActor(t.Context(), "actor of "+name)
			if _, err := w.service.Create(ctx, tenant.CreateRequest{Name: name}, false); err != nil {
				t.Error(err)
			}
			if _, err := w.service.Set(ctx, tenant.Name(name), tenant.Change{Labels: map[string]string{"a": "b"}}); err != nil {
				t.Error(err)
			}
			run := tenant.RunOptions{MaxFailures: tenant.Budget{Count: 1}, Parallel: 2}
			if _, err := w.service.Migrate(ctx, tenant.MigrateRequest{Selection: tenant.Selection{Names: []tenant.Name{tenant.Name(name)}}, To: tenant.Newest}, run); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	var rows, wrong, operations int
	if err := w.pool.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE tenant_name IS NOT NULL AND actor = 'actor of ' || tenant_name), count(*) FILTER (WHERE tenant_name IS NOT NULL AND actor <> 'actor of ' || tenant_name)
		FROM tenantctl.audit`).Scan(&rows, &wrong); err != nil {
		t.Fatal(err)
	}
	if err := w.pool.QueryRow(t.Context(), `SELECT count(*) FROM tenantctl.operations WHERE actor <> 'actor of ' || tenant_name`).Scan(&operations); err != nil {
		t.Fatal(err)
	}
	if rows < 100 || wrong != 0 || operations != 0 {
		t.Errorf("%d rows of the audit are right, %d wrong, and %d operations are another's", rows, wrong, operations)
	}
	if _, err := w.service.Set(t.Context(), "t00", tenant.Change{Labels: map[string]string{"a": "c"}}); err != nil {
		t.Fatal(err)
	}
	var own string
	if err := w.pool.QueryRow(t.Context(), `SELECT actor FROM tenantctl.audit ORDER BY id DESC LIMIT 1`).Scan(&own); err != nil || own != "tester" {
		t.Errorf("without an actor of its own a call is %q's, %v", own, err)
	}
}

func TestAPanicIsAnErrorAndLeavesTheOperationToResume(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex")
	var faulty atomic.Bool
	faulty.Store(true)
	w.docs.before = func(_ context.Context, call string, tn tenant.Tenant) error {
		if faulty.Load() && tn.Name == "acme" && (call == "Lock" || call == "Up") {
			panic("assignment to entry in nil map")
		}
		return nil
	}
	_, err := w.service.Suspend(t.Context(), "acme")
	var e *tenant.Error
	if !errors.As(err, &e) || !errors.Is(err, tenant.ErrStuck) || e.Code != "panic" || !strings.Contains(e.Hint, "ops resume") || strings.Contains(err.Error(), "goroutine") {
		t.Fatalf("%v", err)
	}
	ops := w.unfinished()
	if len(ops) != 1 || !ops[0].Interrupted {
		t.Fatalf("unfinished: %v", ops)
	}
	if _, err := w.service.Suspend(t.Context(), "globex"); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	faulty.Store(false)
	if _, err := w.service.ResumeOperation(t.Context(), ops[0].ID.String()); err != nil || w.state("acme") != tenant.Suspended {
		t.Errorf("resumed: %v, %s", err, w.state("acme"))
	}

	// In a run it is the failure of its tenant.
	w.docs.addFile(2)
	faulty.Store(true)
	r, err := w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{MaxFailures: tenant.Budget{Count: 5}, Parallel: 2})
	if err != nil || r.Summary.Failed != 1 || r.Summary.Changed != 1 || len(w.unfinished()) != 0 {
		t.Errorf("a run: %+v, %v, unfinished: %v", r, err, w.unfinished())
	}
}

// A process that lives on, as a server does, keeps nothing that no goroutine of it works on.
func TestALeaseIsRenewedOnlyWhileSomebodyWorksOnTheOperation(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex")
	inside, end := make(chan struct{}), make(chan struct{})
	w.pg.before = func(_ context.Context, call string, tn tenant.Tenant) error {
		if call == "Lock" && tn.Name == "acme" {
			close(inside)
			<-end
		}
		return nil
	}
	catalog := tenant.NewCatalog(w.pool, "tester", time.Hour)
	var log bytes.Buffer
	s := tenant.NewService(catalog, []tenant.Resource{w.pg, w.docs}, tenant.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	defer s.Close()
	done := make(chan error)
	go func() {
		_, err := s.Suspend(t.Context(), "acme")
		done <- err
	}()
	<-inside
	left := `WITH made AS (INSERT INTO tenantctl.operations (id, kind, tenant_id, tenant_name, state, actor, owner, started_at)
			SELECT gen_random_uuid(), 'set', id, name, 'running', 'tester', $1, now() FROM tenantctl.tenants WHERE name = 'globex' RETURNING id) SELECT FROM made`
	if _, err := w.pool.Exec(t.Context(), left, catalog.Self()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.pool.Exec(t.Context(), `UPDATE tenantctl.operations SET lease_until = now() + interval '1 second', started_at = started_at - interval '1 hour' WHERE state = 'running'`); err != nil {
		t.Fatal(err)
	}
	if err := catalog.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	var renewed string
	if err := w.pool.QueryRow(t.Context(), `SELECT string_agg(tenant_name, ' ') FROM tenantctl.operations WHERE lease_until > now() + interval '1 minute'`).Scan(&renewed); err != nil || renewed != "acme" {
		t.Errorf("renewed: %q, %v", renewed, err)
	}
	for _, op := range w.unfinished() {
		if !op.Slow {
			t.Errorf("%s of %s is not slow after an hour", op.Kind, op.Tenant)
		}
	}
	if log.Len() > 0 {
		t.Errorf("what has just begun is told as slow: %s", log.String())
	}
	catalog.Age(61 * time.Second)
	for range 2 { // it is told once
		if err := catalog.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if said := log.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, `msg="an operation is slow"`) || !strings.Contains(said, "kind=suspend tenant=acme longer_than=1m0s") {
		t.Errorf("after a minute of a suspend the log says: %s", said)
	}
	close(end)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := catalog.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	for op, err := range w.service.Operations(t.Context(), tenant.OperationFilter{Tenant: "acme"}) {
		if err != nil || op.Slow {
			t.Errorf("what has ended is slow: %v, %v", op, err)
		}
	}
}
