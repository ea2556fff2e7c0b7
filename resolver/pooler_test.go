package resolver

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// The pool may cache statements, and each of them may meet another connection of the pooler's.
func TestAResolverReadsByWayOfAPoolerInTransactionMode(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	cfg, err := pgxpool.ParseConfig(tenanttest.PgBouncer(t, w.pool.Config().ConnString(), 2))
	if err != nil {
		t.Fatal(err)
	}
	pooled, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pooled.Close()
	r, err := New(t.Context(), Config{Pool: pooled, Listen: w.pool.Config().ConnConfig, Poll: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	w.must(w.service.Suspend(t.Context(), "acme"))
	if got := r.Resolve(Request{Host: "acme.example.com"}); got.Status != http.StatusForbidden {
		t.Errorf("after suspend: %+v", got)
	}
	if failures := r.Stats().Failures; failures != 0 {
		t.Errorf("%d readings failed", failures)
	}
	if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// What is notified while the connection is away is lost: with its return everything is read.
func TestANotificationThatIsLostIsMadeUpFor(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	r := w.start(w.listening()) // it does not poll
	const listening = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE datname = current_database() AND query LIKE 'LISTEN %'`
	ended := 0
	for until := time.Now().Add(20 * time.Second); ended == 0 && time.Now().Before(until); time.Sleep(time.Millisecond) {
		if err := w.pool.QueryRow(t.Context(), listening).Scan(&ended); err != nil {
			t.Fatal(err)
		}
	}
	if ended == 0 {
		t.Fatal("it does not listen")
	}
	w.exec(`UPDATE tenantctl.tenants SET state = 'suspended' WHERE name = 'acme'`)
	w.eventually(r, "acme.example.com", http.StatusForbidden)
}
