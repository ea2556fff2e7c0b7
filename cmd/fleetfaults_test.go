package cmd_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// troubled is a fleet whose runs are disturbed. Each of its migrations leaves a row in the table ran, so that one that
// ran twice is seen.
type troubled struct {
	*bench
	names []string
	last  int      // version of the newest migration
	marks []string // versions that leave a row
}

func newTroubled(t testing.TB, tenants int) *troubled {
	t.Helper()
	f := &troubled{bench: newBench(t), names: fleet(tenants), last: 5}
	f.must(t, "init")
	f.must(t, append([]string{"create", "--parallel", "4"}, f.names...)...)
	return f
}

// migration adds a file that leaves its mark after what sql does.
func (f *troubled) migration(t testing.TB, sql string) {
	t.Helper()
	f.last++
	f.marks = append(f.marks, strconv.Itoa(f.last))
	up := fmt.Sprintf("%s\nCREATE TABLE IF NOT EXISTS ran (v int);\nINSERT INTO ran VALUES (%d);\n", sql, f.last)
	f.write(t, fmt.Sprintf("migrations/postgres/%05d_more.sql", f.last), "-- +goose Up\n"+up+"\n-- +goose Down\nDELETE FROM ran;\n")
}

// index adds a file outside any transaction.
func (f *troubled) index(t testing.TB) {
	t.Helper()
	f.last++
	f.write(t, fmt.Sprintf("migrations/postgres/%05d_index.sql", f.last), fmt.Sprintf("-- +goose NO TRANSACTION\n-- +goose Up\nCREATE INDEX CONCURRENTLY by_name_%[1]d ON customers (name);\n\n-- +goose Down\nDROP INDEX by_name_%[1]d;\n", f.last))
}

// lastRun is the id of the newest run of migrate.
func (f *troubled) lastRun(t testing.TB) string {
	t.Helper()
	return f.column(t, `SELECT id::text FROM tenantctl.operations WHERE kind = 'migrate' AND parent_id IS NULL ORDER BY id DESC LIMIT 1`)[0]
}

// current looks for every tenant at the newest version, with each migration applied once and booked once, and held by nobody.
func (f *troubled) current(t testing.TB) {
	t.Helper()
	f.must(t, "migrate", "status", "--verify")
	var all []string
	for v := 6; v <= f.last; v++ {
		all = append(all, strconv.Itoa(v))
	}
	for _, n := range f.names {
		place := f.prefix + n
		if ran := f.column(t, `SELECT r.v::text FROM `+place+`.ran r ORDER BY r.v`); !slices.Equal(ran, f.marks) {
			t.Errorf("%s: migrations %v ran, want each of %v once", n, ran, f.marks)
		}
		if booked := f.column(t, `SELECT b.version_id::text FROM `+place+`.goose_db_version b WHERE version_id > 5 AND is_applied ORDER BY b.version_id`); !slices.Equal(booked, all) {
			t.Errorf("%s: its book has %v, want each of %v once", n, booked, all)
		}
		if held := f.unfinished(t, n); len(held) > 0 {
			t.Errorf("%s is held by %v", n, held)
		}
	}
	if broken := f.column(t, `SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid`); len(broken) > 0 {
		t.Errorf("indexes %v were left half made", broken)
	}
	if recorded := f.column(t, `SELECT DISTINCT version || ' ' || applied FROM tenantctl.versions WHERE kind = 'postgres'`); !slices.Equal(recorded, []string{fmt.Sprint(f.last, " ", f.last)}) {
		t.Errorf("the catalog has %v, want version %d of all", recorded, f.last)
	}
}

// A server that is restarted fails the tenants in work; the others wait for it, and once the run is gone on with, nothing
// ran twice.
func TestARunThatLostItsServerIsGoneOnWith(t *testing.T) {
	server := tenanttest.PostgresServer(t)
	t.Setenv("TENANTCTL_POSTGRES_URL", server.URL())
	f := newTroubled(t, 12)
	for _, mode := range []string{"fast", "immediate"} {
		t.Run(mode, func(t *testing.T) {
			f.migration(t, "")
			f.migration(t, "SELECT pg_sleep(0.2);")
			f.migration(t, "")
			r := f.start(t, "", "migrate", "--parallel", "3", "--max-failures", "100%")
			f.until(t, `SELECT count(*)::text FROM tenantctl.operations WHERE kind = 'migrate' AND parent_id = (SELECT id FROM tenantctl.operations
				WHERE kind = 'migrate' AND parent_id IS NULL ORDER BY id DESC LIMIT 1) AND state = 'done'`, func(rows []string) bool { return rows[0] >= "3" })
			f.until(t, `SELECT pid::text FROM pg_stat_activity WHERE wait_event = 'PgSleep'`, func(rows []string) bool { return len(rows) > 0 })
			server.Restart(mode)
			f.pg.Reset() // the sessions of the test are gone as well
			end := r.wait()
			run := f.lastRun(t)
			if end.code != 3 || !strings.Contains(end.stdout, "12 tenants, ") || !strings.Contains(end.stderr, "--resume "+run[len(run)-12:]) {
				t.Fatalf("it does not say what was done and how to go on: %s", end)
			}
			if !strings.Contains(end.stdout, " 0 not started") {
				t.Errorf("the others did not wait for the server: %s", end)
			}
			if mode == "fast" {
				f.must(t, "migrate", "--resume", run)
			} else {
				f.must(t, "migrate")
			}
			f.current(t)
		})
	}
}

// What is wrong with one tenant fails that tenant, with its name and the way out; the others go on. Once it is mended,
// the run is resumed and ends.
func TestATenantThatCannotBeMigratedStopsNoOther(t *testing.T) {
	f := newTroubled(t, 6)
	f.extra = []string{"TENANTCTL_POSTGRES_LOCK_TIMEOUT=50ms", "TENANTCTL_POSTGRES_LOCK_RETRIES=2"}
	sick := f.prefix + "f03"
	do := func(sql string) func(t *testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if _, err := f.pg.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	var holder pgx.Tx
	for _, c := range []struct {
		name, sql    string
		strike, mend func(t *testing.T)
		says         []string
	}{
		{
			name: "a table that a long transaction reads", sql: "ALTER TABLE customers ADD COLUMN note text;",
			strike: func(t *testing.T) {
				var err error
				if holder, err = f.pg.Begin(t.Context()); err == nil {
					_, err = holder.Exec(t.Context(), `SELECT count(*) FROM `+sick+`.customers`)
				}
				if err != nil {
					t.Fatal(err)
				}
			},
			mend: func(t *testing.T) {
				if err := holder.Rollback(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
			says: []string{"55P03", "live traffic holds the lock"},
		},
		{
			name: "no right to create", strike: do(`REVOKE CREATE ON SCHEMA ` + sick + ` FROM ` + f.prefix + `provisioner`),
			sql:  "CREATE TABLE more (id int);",
			mend: do(`GRANT CREATE ON SCHEMA ` + sick + ` TO ` + f.prefix + `provisioner`), says: []string{"42501", "permission denied"},
		},
		{
			name: "another owner", strike: do(`ALTER TABLE ` + sick + `.products OWNER TO CURRENT_USER`),
			sql:  "ALTER TABLE products ADD COLUMN note text;",
			mend: do(`ALTER TABLE ` + sick + `.products OWNER TO ` + f.prefix + `provisioner`), says: []string{"42501", "must be owner of table products"},
		},
		{
			name: "no room on the server's disk", strike: do(`ALTER DATABASE ` + f.prefix + `db SET test.sick = '` + sick + `'`),
			sql: "-- +goose StatementBegin\nDO $$ BEGIN IF current_setting('test.sick', true) = current_schema() THEN " +
				"RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END IF; END $$;\n-- +goose StatementEnd",
			mend: do(`ALTER DATABASE ` + f.prefix + `db RESET test.sick`), says: []string{"53100", "the server's disk is full"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.migration(t, c.sql)
			c.strike(t)
			end := f.exits(t, 3, "migrate", "--max-failures", "2")
			if !strings.Contains(end.stdout, "6 tenants, 5 changed, 0 unchanged, 1 failed, 0 not started") || !strings.Contains(end.stdout, "f03") {
				t.Errorf("%s", end)
			}
			for _, what := range c.says {
				if !strings.Contains(end.stdout+end.stderr, what) {
					t.Errorf("it does not say %q: %s", what, end)
				}
			}
			if ran := f.column(t, fmt.Sprintf(`SELECT count(*)::text FROM %sgoose_db_version WHERE version_id = %d`, sick+".", f.last)); ran[0] != "0" {
				t.Errorf("the migration that failed is booked")
			}
			c.mend(t)
			end = f.must(t, "migrate", "--resume", f.lastRun(t))
			if !strings.Contains(end.stdout, "6 tenants, 1 changed, 5 unchanged, 0 failed, 0 not started") {
				t.Errorf("%s", end)
			}
			f.current(t)
		})
	}
	t.Run("a schema that is gone", func(t *testing.T) {
		f.must(t, "backup", "f03")
		f.migration(t, "")
		do(`DROP SCHEMA ` + sick + ` CASCADE`)(t)
		end := f.exits(t, 3, "migrate") // it counts against no budget
		if !strings.Contains(end.stdout, "6 tenants, 5 changed, 0 unchanged, 1 failed, 0 not started") || !strings.Contains(end.stdout, "schema "+sick+" does not exist") {
			t.Errorf("%s", end)
		}
		f.must(t, "restore", "f03@latest", "--yes")
		f.must(t, "migrate", "--resume", f.lastRun(t))
		f.current(t)
	})
}

// The network that breaks between a commit and its answer leaves the outcome unknown: the version table decides, and
// nothing runs twice.
func TestACommitWhoseAnswerIsLostIsNotRunAgain(t *testing.T) {
	f := newTroubled(t, 9)
	for _, answered := range []bool{true, false} {
		t.Run(map[bool]string{true: "after the server has done it", false: "before the server hears of it"}[answered], func(t *testing.T) {
			f.migration(t, "")
			f.migration(t, "")
			f.migration(t, "")
			cut := newScissors(t, f.postgres, "goose_db_version", 2, answered)
			direct := f.postgres
			f.postgres = cut.url
			end := f.exits(t, 3, "migrate", "--parallel", "3", "--max-failures", "100%")
			f.postgres = direct
			if n := cut.cuts.Load(); n < 4 {
				t.Fatalf("%d commits were cut off only: %s", n, end)
			}
			if !strings.Contains(end.stdout, "the connection broke") {
				t.Errorf("it does not say what happened: %s", end)
			}
			f.must(t, "migrate", "--resume", f.lastRun(t))
			f.current(t)
		})
	}
}

// A run that is killed at any instant is gone on with by the next, however often.
func TestFiftyKillsInARowLeaveEveryMigrationAppliedOnce(t *testing.T) {
	f := newTroubled(t, 30)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	more := func() {
		f.migration(t, "")
		f.index(t)
		f.migration(t, "")
	}
	more()
	began := time.Now()
	f.must(t, "migrate", "--parallel", "4")
	longest := time.Since(began)
	more()
	for kills := 0; kills < 50; {
		args := []string{"migrate", "--parallel", "4"}
		open := f.column(t, `SELECT id::text FROM tenantctl.operations WHERE kind = 'migrate' AND parent_id IS NULL AND state = 'running' ORDER BY id DESC LIMIT 1`)
		if len(open) > 0 && kills%2 == 1 {
			args = append(args, "--resume", open[0])
		}
		r := f.start(t, "", args...)
		time.Sleep(time.Duration(chance.Int64N(int64(longest)))) // an instant; nothing is waited for
		r.signal(syscall.SIGKILL)
		switch end := r.wait(); {
		case end.killed:
			kills++
		case end.code != 0:
			t.Fatalf("after %d kills: tenantctl %s: %s", kills, strings.Join(args, " "), end)
		default:
			more()
		}
	}
	f.must(t, "migrate")
	f.current(t)
	t.Logf("%d migrations over %d tenants", f.last-5, len(f.names))
}

// Shards of one fleet at once, and a run over all of it at the same time, migrate no tenant twice.
func TestShardsAtOnceMigrateEveryTenantOnce(t *testing.T) {
	f := newTroubled(t, 20)
	f.migration(t, "")
	f.migration(t, "")
	var all []*running
	for _, shard := range [][]string{{"--shard", "1/2"}, {"--shard", "2/2"}, nil} {
		r := f.start(t, "stop@migrate/run/begun", append([]string{"migrate", "--parallel", "4", "-o", "json"}, shard...)...)
		r.stopped() // its set of tenants is frozen
		all = append(all, r)
	}
	for _, r := range all {
		r.goOn()
	}
	changed := 0
	for _, r := range all {
		end := r.wait()
		var doc struct {
			Summary struct{ Tenants, Changed int }
		}
		if err := json.Unmarshal([]byte(end.stdout), &doc); err != nil || end.code != 0 {
			t.Fatalf("%v: %s", err, end)
		}
		changed += doc.Summary.Changed
	}
	if changed != len(f.names) {
		t.Errorf("the runs say that they changed %d tenants, and there are %d", changed, len(f.names))
	}
	if twice := f.column(t, `SELECT tenant_name FROM tenantctl.operations o WHERE kind = 'migrate' AND parent_id IN (SELECT id FROM tenantctl.operations WHERE parent_id IS NULL)
		GROUP BY tenant_name HAVING count(*) > 2`); len(twice) > 0 {
		t.Errorf("both shards hold %v", twice)
	}
	f.current(t)
}

// Whether a lease has run out and how old a backup is are told by the server's clock: the one that a process has may be
// wrong by days.
func TestLeasesAndBackupsGoByTheServersClock(t *testing.T) {
	for name, off := range map[string]string{"ten days behind": "-10 days", "ten days ahead": "10 days"} {
		t.Run("the server is "+name, func(t *testing.T) {
			f := newTroubled(t, 3)
			f.migration(t, "")
			f.extra = []string{"TENANTCTL_OPERATIONS_LEASE=3s"}
			// For sessions from now on, another clock stands before PostgreSQL's own.
			for _, sql := range []string{
				`CREATE SCHEMA clock`,
				`CREATE FUNCTION clock.now() RETURNS timestamptz STABLE LANGUAGE sql AS $$ SELECT pg_catalog.now() + interval '` + off + `' $$`,
				`CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '` + off + `' $$`,
				`GRANT USAGE ON SCHEMA clock TO PUBLIC`,
				`ALTER DATABASE ` + f.prefix + `db SET search_path = clock, pg_catalog, public`,
			} {
				if _, err := f.pg.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			first := f.start(t, "stop@migrate/postgres/before#2", "migrate", "--parallel", "1")
			first.stopped()
			if days := f.column(t, `SELECT round(abs(extract(epoch FROM lease_until - pg_catalog.now())) / 86400)::text FROM tenantctl.operations WHERE state = 'running' LIMIT 1`); days[0] != "10" {
				t.Fatalf("the lease is not by the other clock: off by %s days", days[0])
			}
			for _, args := range [][]string{{"suspend", "f02"}, {"migrate", "--resume", f.lastRun(t)}} {
				if end := f.exits(t, 5, args...); !strings.Contains(end.stderr, "is in progress") {
					t.Errorf("%s", end)
				}
			}
			if _, err := f.pg.Exec(t.Context(), `SELECT pg_sleep(extract(epoch FROM max(lease_until) - interval '`+off+`' - pg_catalog.clock_timestamp()) + 0.1) FROM tenantctl.operations WHERE state = 'running'`); err != nil {
				t.Fatal(err)
			}
			f.must(t, "migrate", "--resume", f.lastRun(t))
			first.goOn()
			if end := first.wait(); end.code == 0 {
				t.Errorf("the first says that it did it: %s", end)
			}
			f.current(t)
			if end := f.must(t, "suspend", "f03"); strings.Contains(end.stdout, "h0m") {
				t.Errorf("it took two clocks to tell how long it took: %s", end)
			}
			f.must(t, "backup", "f01")
			if days := f.column(t, `SELECT round(abs(extract(epoch FROM created_at - pg_catalog.now())) / 86400)::text FROM tenantctl.backups`); days[0] != "10" {
				t.Errorf("the backup is not by the other clock: off by %s days", days[0])
			}
			writing := filepath.Join("backups", uuid.NewString(), uuid.NewString(), "backup.tar")
			f.write(t, writing, "half of a backup")
			f.must(t, "backup", "prune", "--keep-last", "1", "--yes")
			if _, err := os.Stat(filepath.Join(f.dir, writing)); err != nil {
				t.Errorf("what another process writes at this moment is taken for old: %v", err)
			}
		})
	}
}
