package schema

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// gauge is a resource on a server of the test's own, where nobody else is at work.
func gauge(t *testing.T, server *tenanttest.Server, lag int64, active int) *Resource {
	t.Helper()
	cfg := Config{URL: server.URL(), MaxConnections: 4, ConnectTimeout: 10 * time.Second, Dir: example, MaxReplicationLag: lag, MaxActive: active}
	return New(openPool(t, cfg), cfg)
}

// until waits until something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it was waited in vain until %s", what)
		}
	}
}

// untilSQL waits until the server says so.
func untilSQL(t *testing.T, server *tenanttest.Server, condition string) {
	t.Helper()
	conn := connect(t, server.URL())
	until(t, condition, func() (so bool) {
		must(t, conn.QueryRow(t.Context(), "SELECT "+condition).Scan(&so))
		return so
	})
}

// pressure waits until there is some, and gives it.
func pressure(t *testing.T, r *Resource) (why string) {
	t.Helper()
	until(t, "there is pressure", func() bool {
		var err error
		why, err = r.Pressure(t.Context())
		must(t, err)
		return why != ""
	})
	return why
}

func untilNoPressure(t *testing.T, r *Resource) {
	t.Helper()
	until(t, "there is no pressure", func() bool {
		why, err := r.Pressure(t.Context())
		must(t, err)
		return why == ""
	})
}

func TestSessionsOfOthersAtWorkArePressureAndOursAreNot(t *testing.T) {
	server := tenanttest.PostgresServer(t)
	r := gauge(t, server, 0, 1)
	sleep := func(conn *pgx.Conn) {
		var asleep sync.WaitGroup
		asleep.Go(func() { _, _ = conn.Exec(t.Context(), "SELECT pg_sleep(600)") }) // ended with the test
		t.Cleanup(asleep.Wait)                                                      // before the session is closed
	}
	ours, err := pgx.ConnectConfig(t.Context(), r.pool.Config().ConnConfig)
	must(t, err)
	sleep(ours)
	first := connect(t, server.URL()) // idle sessions do not count
	tx, err := connect(t, server.URL()).Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), "SELECT") // one that holds a transaction open does
	must(t, err)
	untilSQL(t, server, "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'tenantctl' AND wait_event = 'PgSleep')")
	untilNoPressure(t, r)
	sleep(first)
	if why := pressure(t, r); why != "2 sessions at work, the limit is 1" {
		t.Errorf("it says %q", why)
	}
}

func TestAReplicaThatIsBehindIsPressureUntilItHasCaughtUp(t *testing.T) {
	server := tenanttest.PostgresServer(t)
	standby := connect(t, server.Standby("standby1").URL())
	r := gauge(t, server, 1<<20, 0)
	primary := connect(t, server.URL())
	untilSQL(t, server, "EXISTS (SELECT FROM pg_stat_replication WHERE replay_lsn IS NOT NULL)")
	untilNoPressure(t, r)
	_, err := standby.Exec(t.Context(), "SELECT pg_wal_replay_pause()")
	must(t, err)
	_, err = primary.Exec(t.Context(), "SELECT pg_logical_emit_message(true, 'test', repeat('x', 3 << 20))")
	must(t, err)
	untilSQL(t, server, "EXISTS (SELECT FROM pg_stat_replication WHERE flush_lsn >= pg_current_wal_lsn())") // it has all, and replays nothing
	if why := pressure(t, r); !strings.HasPrefix(why, "replica standby1 is 3.") || !strings.HasSuffix(why, " MiB behind, the limit is 1.0 MiB") {
		t.Errorf("it says %q", why)
	}
	_, err = standby.Exec(t.Context(), "SELECT pg_wal_replay_resume()")
	must(t, err)
	untilNoPressure(t, r)
}

func TestARoleThatMayNotSeeOthersSessionsIsToldWhatToGrant(t *testing.T) {
	b := newBench(t, example, func(c *Config) { c.MaxActive = 1000 })
	_, err := b.Pressure(t.Context())
	e := refused(t, err, tenant.ErrInvalid, "may not see how busy the server is", "fleet.max_active")
	grant, found := strings.CutPrefix(e.Hint, "as a superuser: ")
	if !found {
		t.Fatalf("the hint is %q", e.Hint)
	}
	_, err = b.super().Exec(t.Context(), grant)
	must(t, err)
	_, err = b.Pressure(t.Context())
	must(t, err)

	without := newBench(t, example)
	if why, err := without.Pressure(t.Context()); why != "" || err != nil {
		t.Errorf("without limits it wants to know: %q, %v", why, err)
	}
}
