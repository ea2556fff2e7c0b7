package tenant_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

// route is what resolvers read of a tenant.
func (w *world) route(name string) (gate, reason string) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), `SELECT gate, gate_reason FROM tenantctl.routes WHERE name = $1`, name).Scan(&gate, &reason); err != nil {
		w.t.Fatal(err)
	}
	return gate, reason
}

func (w *world) resolver(expires string) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), `INSERT INTO tenantctl.resolvers (id, name, expires_at) VALUES (gen_random_uuid(), 'proxy-1', clock_timestamp() + $1::interval)`, expires); err != nil {
		w.t.Fatal(err)
	}
}

func TestNoStoreIsLockedBeforeEveryLiveResolverHasSeenTheGate(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	w.resolver("1 hour")
	var seen, early atomic.Bool
	w.pg.before = func(_ context.Context, call string, _ tenant.Tenant) error {
		if call == "Lock" && !seen.Load() {
			early.Store(true)
		}
		return nil
	}
	done := make(chan error, 1)
	go func() {
		_, err := w.service.SuspendFor(context.Background(), "acme", "Unpaid.")
		done <- err
	}()
	for gate, reason := w.route("acme"); gate != "closing"; gate, reason = w.route("acme") {
		if reason != "" {
			t.Fatalf("the gate is %s because %q", gate, reason)
		}
		time.Sleep(5 * time.Millisecond)
	}
	for changes := 0; changes < 3; time.Sleep(5 * time.Millisecond) { // its creation, the gate, and what the resolver is woken by
		if err := w.pool.QueryRow(t.Context(), `SELECT count(*) FROM tenantctl.route_changes`).Scan(&changes); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	seen.Store(true)
	if _, err := w.pool.Exec(t.Context(), `UPDATE tenantctl.resolvers SET seen = pg_current_snapshot()`); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if early.Load() {
		t.Error("a store was locked before the resolver had seen the gate")
	}
	if gate, reason := w.route("acme"); gate != "closed" || reason != "Unpaid." {
		t.Errorf("the gate is %s because %q", gate, reason)
	}
}

func TestAResolverThatDoesNotSeeTheGateIsNamedAfterABoundedWait(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	w.resolver("1 hour")
	var warnings []string
	w.service.ResolverWait = 50 * time.Millisecond
	w.service.Warn = func(text string) { warnings = append(warnings, text) }
	if _, err := w.service.Suspend(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(warnings, func(s string) bool { return strings.HasPrefix(s, "tenant acme: resolver proxy-1 has not read") }) {
		t.Errorf("it warned of %q", warnings)
	}
}

func TestAResolverWhoseRegistrationHasExpiredIsNotWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	w.resolver("-1 second")
	w.service.ResolverWait = time.Hour
	if _, err := w.service.Suspend(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
}

func TestTheGateOpensWithTheEndOfAnOperationThatFailed(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	w.docs.before = func(_ context.Context, call string, _ tenant.Tenant) error {
		if call != "Lock" {
			return nil
		}
		if gate, _ := w.route("acme"); gate != "closing" {
			t.Errorf("the gate is %s while a store is locked", gate)
		}
		return errors.New("refused")
	}
	if _, err := w.service.Suspend(t.Context(), "acme"); err == nil {
		t.Fatal("it did not fail")
	}
	if gate, reason := w.route("acme"); gate != "open" || reason != "" {
		t.Errorf("the gate is %s because %q", gate, reason)
	}
}

func TestAChangeThatCommitsLateIsInTheFeed(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex")
	ctx := t.Context()
	late, err := w.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = late.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := late.Exec(ctx, `UPDATE tenantctl.tenants SET suspended_for = 'late' WHERE name = 'acme'`); err != nil {
		t.Fatal(err)
	}
	if _, err := w.service.Rename(ctx, "globex", "initech"); err != nil {
		t.Fatal(err)
	}
	var read string
	var highest int64
	if err := w.pool.QueryRow(ctx, `SELECT pg_current_snapshot()::text, (SELECT max(seq) FROM tenantctl.route_changes)`).Scan(&read, &highest); err != nil {
		t.Fatal(err)
	}
	if err := late.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	var changed string
	var below bool
	if err := w.pool.QueryRow(ctx, `SELECT coalesce(string_agg(DISTINCT t.name, ','), ''), bool_and(c.seq < $2) FROM tenantctl.route_changes c JOIN tenantctl.tenants t ON t.id = c.tenant_id
		WHERE c.xid >= pg_snapshot_xmin($1::pg_snapshot) AND NOT pg_visible_in_snapshot(c.xid, $1::pg_snapshot)`, read, highest).Scan(&changed, &below); err != nil {
		t.Fatal(err)
	}
	if changed != "acme" || !below {
		t.Errorf("changed since: %q; numbered below what was read: %v, as this test has it", changed, below)
	}
}
