package resolver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Where what a resolver tells others cannot be changed, as with a cache that is away, it answers on, and an operation
// does not take it for one that has seen the gate.
func TestAResolverThatCannotHandChangesOnAnswersOnAndIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex")
	var away atomic.Bool
	r := w.start(Config{Poll: 20 * time.Millisecond, MaxStale: time.Second, Changed: func(context.Context, *Resolver) error {
		if away.Load() {
			return errors.New("the cache is away")
		}
		return nil
	}})
	away.Store(true)
	var warnings []string
	w.service.ResolverWait = 1500 * time.Millisecond // longer than it would answer without registering again
	w.service.Warn = func(text string) { warnings = append(warnings, text) }
	w.must(w.service.Suspend(t.Context(), "acme"))
	if !slices.ContainsFunc(warnings, func(s string) bool { return strings.Contains(s, "has not read that it is closed") }) {
		t.Errorf("suspend took it for one that has seen the gate; warnings: %q", warnings)
	}
	if got := r.Resolve(Request{Host: "acme.example.com"}); got.Status != http.StatusForbidden {
		t.Errorf("the suspended tenant: %+v", got)
	}
	if got := r.Resolve(Request{Host: "globex.example.com"}); got.Status != http.StatusNoContent {
		t.Errorf("another tenant: %+v", got)
	}
	away.Store(false)
	w.service.ResolverWait = time.Hour
	w.must(w.service.Suspend(t.Context(), "globex"))
}

func TestAFailureToHandOnIsNotForgottenByARegistrationThatHadRunOut(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	var calls int
	var fails error
	r := w.start(Config{Poll: time.Hour, MaxStale: 4 * time.Hour, Changed: func(context.Context, *Resolver) error {
		calls++
		return fails
	}})
	w.exec(`UPDATE tenantctl.resolvers SET expires_at = clock_timestamp() - interval '1 second'`)
	w.must(w.service.Suspend(t.Context(), "acme"))
	fails = errors.New("away")
	before, first := r.at.snapshot, calls
	r.told = false
	if err := r.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	var seen string
	if err := w.pool.QueryRow(t.Context(), `SELECT seen::text FROM tenantctl.resolvers`).Scan(&seen); err != nil || seen != before {
		t.Errorf("the catalog is told of %s, %v; what was handed on is %s", seen, err, before)
	}
	fails = nil
	if err := r.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls < first+2 {
		t.Errorf("it was called %d times after %d", calls, first)
	}
	if err := w.pool.QueryRow(t.Context(), `SELECT seen::text FROM tenantctl.resolvers`).Scan(&seen); err != nil || seen == before {
		t.Errorf("the catalog is told of %s, %v", seen, err)
	}
}

// A dump that is put back into a running server brings its tables anew; no trigger and no feed tells of that.
func TestACatalogThatIsPutBackIsReadWhole(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	r := w.start(Config{Poll: time.Hour, MaxStale: 4 * time.Hour})
	w.exec(`ALTER TABLE tenantctl.domains DISABLE TRIGGER USER; DELETE FROM tenantctl.domains; ALTER TABLE tenantctl.domains ENABLE TRIGGER USER;
		CREATE TABLE tenantctl.again (LIKE tenantctl.route_changes INCLUDING ALL);
		DROP TABLE tenantctl.route_changes; ALTER TABLE tenantctl.again RENAME TO route_changes`)
	if err := r.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.Resolve(Request{Host: "acme.example.com"}); got.Status != http.StatusNotFound {
		t.Errorf("got %+v", got)
	}
}

func TestALaterPositionHasAHigherVersion(t *testing.T) {
	var last int64
	for _, snapshot := range []string{"100:100:", "100:101:", "100:103:100,101", "100:103:100", "103:103:", "103:110:103,104,105,106,107,108"} {
		v := position{snapshot: snapshot}.version()
		if v < last || v == last && snapshot != "100:103:100,101" {
			t.Errorf("%s: %d after %d", snapshot, v, last)
		}
		last = v
	}
	for _, broken := range []string{"", "1:2", "a:b:c"} {
		if v := (position{snapshot: broken}).version(); v != 0 {
			t.Errorf("%q: %d", broken, v)
		}
	}
}
