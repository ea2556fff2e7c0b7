package tenant_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// olderCatalog is a catalog as an older program has left it.
func olderCatalog(t *testing.T, version int64) (*tenant.Catalog, *pgxpool.Pool) {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(tenanttest.Postgres(t, tenanttest.Prefix(t)))
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.ConnConfig.RuntimeParams["application_name"] = "tenantctl"
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	c := tenant.NewCatalog(pool, "tester", time.Minute)
	if err := c.InitOnly(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	return c, pool
}

// enterAsOlder is how programs enter an operation that tell no version.
const enterAsOlder = `INSERT INTO tenantctl.operations (id, kind, tenant_id, tenant_name, state, params, actor, owner, lease_until, started_at)
	VALUES (gen_random_uuid(), 'migrate', gen_random_uuid(), 'acme', 'running', '{}', 'x', '%s', now() + interval '1 minute', clock_timestamp())`

const (
	olderElsewhere = "elsewhere|boot|1|run"
	olderVersion   = 11
)

func version(t *testing.T, c *tenant.Catalog) int64 {
	t.Helper()
	v, err := c.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func execute(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func TestAnUpgradeIsRefusedWhileAnOlderProgramIsAtWork(t *testing.T) {
	t.Parallel()
	for _, from := range []int64{5, olderVersion, 12} {
		c, pool := olderCatalog(t, from)
		execute(t, pool, fmt.Sprintf(enterAsOlder, olderElsewhere))
		for _, dry := range []bool{true, false} {
			_, _, err := c.Init(t.Context(), dry)
			wantKind(t, err, tenant.ErrBusy)
			if !strings.Contains(err.Error(), "migrate acme (operation ") || !strings.Contains(err.Error(), "pid 1 on elsewhere") {
				t.Errorf("error is %v", err)
			}
		}
		if v := version(t, c); v != from {
			t.Errorf("the catalog is at version %d", v)
		}
		wantKind(t, c.Require(t.Context()), tenant.ErrNoCatalog) // nor does this program work on the older catalog
		execute(t, pool, `UPDATE tenantctl.operations SET state = 'done', finished_at = now()`)
		if _, to, err := c.Init(t.Context(), false); err != nil || c.Require(t.Context()) != nil {
			t.Errorf("with nothing in work: to version %d, %v", to, err)
		}
	}
}

// A process that is known to be gone is in nobody's way, though its lease has not run out; one that is stopped and holds a tenant by
// an advisory lock is, though its lease has.
func TestAnUpgradeKnowsWhoIsGoneAndWhoMayComeBack(t *testing.T) {
	t.Parallel()
	c, pool := olderCatalog(t, olderVersion)
	self := tenant.ThisProcess()
	execute(t, pool, fmt.Sprintf(enterAsOlder, fmt.Sprintf("%s|%s|%d|run", self.Host, self.Boot, 1<<22+1)))
	stopped, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stopped.Exec(t.Context(), `SELECT pg_advisory_lock(4711)`); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Init(t.Context(), false)
	wantKind(t, err, tenant.ErrBusy)
	if !strings.Contains(err.Error(), "the session of pid ") {
		t.Errorf("error is %v", err)
	}
	if _, err := stopped.Exec(t.Context(), `SELECT pg_advisory_unlock_all()`); err != nil {
		t.Fatal(err)
	}
	stopped.Release()
	if _, _, err := c.Init(t.Context(), false); err != nil {
		t.Error(err)
	}
}

// A program that was started before the upgrade, such as one that waits for an answer, begins nothing after it, whatever the two
// versions are, and takes nothing over.
func TestAnOlderProgramBeginsNothingAfterAnUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("acme")
	current, err := tenant.CatalogVersion()
	if err != nil {
		t.Fatal(err)
	}
	took := `UPDATE tenantctl.operations SET state = 'running', owner = '%s', fence = fence + 1, finished_at = NULL`
	for _, owner := range []string{olderElsewhere, fmt.Sprint(olderElsewhere, "|", current-1), "who knows"} {
		for _, sql := range []string{enterAsOlder, took} {
			_, err := w.pool.Exec(t.Context(), fmt.Sprintf(sql, owner))
			if err == nil || !strings.Contains(err.Error(), "is older than the catalog") {
				t.Errorf("%s: error is %v", owner, err)
			}
		}
	}
	execute(t, w.pool, fmt.Sprintf(enterAsOlder, fmt.Sprint(olderElsewhere, "|", current)))

	// This program, once a newer one has begun to upgrade.
	execute(t, w.pool, `UPDATE tenantctl.admission SET least = $1`, current+1)
	_, err = w.service.Suspend(t.Context(), "acme")
	wantKind(t, err, tenant.ErrInvalid)
	if tenant.Code(err) != "new_catalog" || w.state("acme") != tenant.Active {
		t.Errorf("error is %v", err)
	}
	// That was given up: init with this one lets it in again.
	if _, _, err := w.catalog.Init(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if _, err = w.service.Suspend(t.Context(), "acme"); err != nil {
		t.Error(err)
	}
}

// An operation that an older program enters after the look is found by the migration, in the transaction that shuts it out.
func TestAnUpgradeLooksAgainWhereItShutsOlderProgramsOut(t *testing.T) {
	t.Parallel()
	c, pool := olderCatalog(t, 12)
	execute(t, pool, fmt.Sprintf(enterAsOlder, olderElsewhere))
	current, err := tenant.CatalogVersion()
	if err != nil {
		t.Fatal(err)
	}
	err = c.InitOnly(t.Context(), current)
	wantKind(t, err, tenant.ErrBusy)
	if v := version(t, c); v != 12 || !strings.Contains(err.Error(), "migrate acme ") {
		t.Errorf("version %d, error is %v", v, err)
	}
}

// An upgrade that has to wait for a lock lets others through and tries again.
func TestAnUpgradeWaitsForLocksAndTriesAgain(t *testing.T) {
	t.Parallel()
	c, pool := olderCatalog(t, olderVersion)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT count(*) FROM tenantctl.operations; INSERT INTO tenantctl.audit (actor, origin, action, detail) VALUES ('x', 'x', 'x', '{}'); LOCK TABLE tenantctl.operations IN ROW EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, _, err := c.Init(context.WithoutCancel(t.Context()), false)
		done <- err
	}()
	// Twice by another session: it waits, gave up, waits again.
	var waits []string
	for len(waits) < 2 {
		var since string
		err := pool.QueryRow(t.Context(), `SELECT coalesce(max(xact_start)::text, '') FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`).Scan(&since)
		if err != nil {
			t.Fatal(err)
		}
		if since != "" && (len(waits) == 0 || waits[0] != since) {
			waits = append(waits, since)
		}
		select {
		case err := <-done:
			t.Fatalf("it ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
