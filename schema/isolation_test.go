package schema

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// strictly is a database whose transactions begin at another level than PostgreSQL's own default.
func strictly(t *testing.T, dir string) bench {
	t.Helper()
	b := newBench(t, dir)
	for _, setting := range []string{"default_transaction_isolation = 'serializable'", "default_transaction_deferrable = on"} {
		_, err := b.super().Exec(t.Context(), "ALTER DATABASE "+quote(b.pool.Config().ConnConfig.Database)+" SET "+setting)
		must(t, err)
	}
	return b
}

func TestADatabaseWhoseDefaultIsSerializableIsWorkedWithAsAnyOther(t *testing.T) {
	t.Parallel()
	const level = "current_setting('transaction_isolation') || ' ' || current_setting('transaction_deferrable')"
	b := strictly(t, folder(t, map[string]string{
		"00001_a.sql": "-- +goose Up\nCREATE TABLE a (id int, v text);\nCREATE TABLE IF NOT EXISTS public.shared (v text);",
		"00002_b.sql": "-- +goose Up\nINSERT INTO a VALUES (1, " + level + ");\nINSERT INTO public.shared SELECT count(*) FROM public.shared;",
		"00003_c.sql": "-- +goose NO TRANSACTION\n-- +goose Up\nINSERT INTO a VALUES (2, " + level + ");\nSET TIME ZONE 'UTC';",
	}))
	b.asSuper("GRANT CREATE ON SCHEMA public TO %sprovisioner")
	b = b.at(b.cfg.URL)
	b.cfg.LockRetries = 20
	var wg sync.WaitGroup
	var all []tenant.Tenant
	for i := range 8 {
		tn := b.tenant(fmt.Sprintf("acme%d", i))
		all = append(all, tn)
		wg.Go(func() {
			if err := b.Create(t.Context(), tn); err != nil {
				t.Errorf("create %s: %v", tn.Name, err)
			}
		})
	}
	wg.Wait()
	for _, tn := range all {
		if got := b.scalar("SELECT string_agg(DISTINCT v, ',') FROM %s.a", tn.Schema); got != "read committed off" {
			t.Errorf("%s was migrated at %q", tn.Name, got)
		}
		seen := new(rows)
		_, err := b.Exec(t.Context(), tn, "SELECT "+level, seen)
		must(t, err)
		if got := fmt.Sprint(seen.rows); got != "[[read committed off]]" {
			t.Errorf("exec works at %s", got)
		}
	}
	cfg := b.cfg
	cfg.URL = tenanttest.PgBouncer(t, b.cfg.URL, 2)
	_, err := Open(t.Context(), cfg)
	refused(t, err, tenant.ErrUnsupported, "pooler", "ALTER ROLE", "read committed")
}

// SET TRANSACTION is possible only before anything is read, and the tenant's lock and book are to be read first.
func TestAFileMayBeginBySayingWhatItsTransactionIs(t *testing.T) {
	t.Parallel()
	const level = "INSERT INTO a SELECT current_setting('transaction_isolation') || current_setting('timezone');"
	for _, first := range []string{
		"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;", "SET LOCAL transaction_isolation = 'repeatable read';",
		"set /* a */ transaction isolation level repeatable read, read write;\nSET TRANSACTION NOT DEFERRABLE;",
	} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, folder(t, map[string]string{
				"00001_a.sql": "-- +goose Up\nCREATE TABLE a (v text);\nSET TIME ZONE 'Europe/Rome';",
				"00002_b.sql": "-- +goose Up\n" + first + "\n" + level + "\n-- +goose Down\n" + first + "\nDELETE FROM a;",
				"00003_c.sql": "-- +goose Up\nINSERT INTO a VALUES ('c');",
			}))
			l := b.catalog()
			tn := b.tenant("acme")
			l.enter(tn)
			must(t, b.Create(l.ctx(1), tn))
			if got := b.scalar("SELECT string_agg(v, ',' ORDER BY v) FROM %s.a", tn.Schema); got != "c,repeatable readEurope/Rome" {
				t.Errorf("it has %q", got)
			}
			if got := l.recorded(tn); got != "3 3" {
				t.Errorf("the catalog says %q", got)
			}
			if n := b.scalar("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"); n != "0" {
				t.Errorf("%s locks are left", n)
			}
		})
	}
	b := newBench(t, folder(t, map[string]string{"00001_a.sql": "-- +goose Up\nSELECT 1;\nSET TRANSACTION ISOLATION LEVEL SERIALIZABLE;"}))
	refused(t, b.Create(t.Context(), b.tenant("late")), tenant.ErrMigration, "00001_a.sql:3", "25001")
	pooled := b.pooled(1)
	pooled.cfg.DirectURL = ""
	pooled = pooled.over(folder(t, map[string]string{"00001_a.sql": "-- +goose Up\nSET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nSELECT 1;"}))
	never := pooled.tenant("never")
	refused(t, pooled.Create(t.Context(), never), tenant.ErrUnsupported, "SET TRANSACTION", "postgres.direct_url")
	if st, err := b.Stat(t.Context(), never); err != nil || !strings.EqualFold(fmt.Sprint(st.Presence), fmt.Sprint(tenant.Absent)) {
		t.Errorf("it was refused, and there is %+v, %v", st, err)
	}
}
