package schema

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

const concurrently = "-- +goose NO TRANSACTION\n-- +goose Up\n"

func TestInvalidIndexIsDroppedBeforeTheRetry(t *testing.T) {
	t.Parallel()
	dir := copied(t, example)
	b := newBench(t, dir)
	tn := b.created("acme")
	b.exec("INSERT INTO %s.customers (email, name) VALUES ('a@example.com', 'twin'), ('b@example.com', 'twin')", tn.Schema)
	write(t, dir, "00006_unique.sql", concurrently+"CREATE UNIQUE INDEX CONCURRENTLY customers_name ON customers (name);\n-- +goose Down\nDROP INDEX customers_name;")
	b = b.over(dir)
	_, err := b.Up(t.Context(), tn, tenant.Newest, false)
	e := refused(t, err, tenant.ErrMigration, "00006_unique.sql:3", "SQLSTATE 23505", "(name)=(…)")
	if strings.Contains(e.Msg, "twin") {
		t.Errorf("a value is in %q", e.Msg)
	}
	valid := func() string {
		return b.scalar("SELECT indisvalid FROM pg_index WHERE indexrelid = '%s.customers_name'::regclass", tn.Schema)
	}
	if valid() != "false" {
		t.Fatalf("the failed index is valid: %s", valid())
	}
	b.exec("UPDATE %s.customers SET name = email", tn.Schema)
	if moved := up(t, b, tn); fmt.Sprint(moved.Ran) != "[6]" {
		t.Errorf("up gave %+v", moved)
	}
	if valid() != "true" {
		t.Error("the index is still invalid")
	}
}

func TestIndexOfThatNameThatWasThereBeforeIsNotTaken(t *testing.T) {
	t.Parallel()
	dir := copied(t, example)
	b := newBench(t, dir)
	tn := b.created("acme")
	b.exec("CREATE INDEX customers_name ON %s.customers (created_at)", tn.Schema)
	write(t, dir, "00006_name.sql", concurrently+"CREATE TABLE more (id int);\nCREATE INDEX CONCURRENTLY customers_name ON customers (name);")
	b = b.over(dir)
	for range 3 { // a call after a failure must not take the index for its own either, nor make the table again
		_, err := b.Up(t.Context(), tn, tenant.Newest, false)
		refused(t, err, tenant.ErrMigration, "00006_name.sql:4", "already exists")
	}
	if def := b.scalar("pg_get_indexdef('%s.customers_name'::regclass)", tn.Schema); !strings.Contains(def, "created_at") {
		t.Errorf("the index is now %s", def)
	}
	b.exec("DROP INDEX %s.customers_name", tn.Schema)
	up(t, b, tn)
	if comment := b.scalar("obj_description('%s.goose_db_version'::regclass)", tn.Schema); comment != "" {
		t.Errorf("the note %q was left", comment)
	}
}

func TestGoesOnWhereAFailureStoppedUnlessTheFileChanged(t *testing.T) {
	t.Parallel()
	dir := copied(t, example)
	b := newBench(t, dir)
	tn := b.created("acme")
	broken := concurrently + "CREATE TABLE one (id int);\nCREATE TABLE two (id int);\nCREATE TABLE customers (id int);\n"
	write(t, dir, "00006_several.sql", broken)
	_, err := b.over(dir).Up(t.Context(), tn, tenant.Newest, false)
	refused(t, err, tenant.ErrMigration, "00006_several.sql:5")

	write(t, dir, "00006_several.sql", strings.Replace(broken, "TABLE one (id int)", "TABLE one (id bigint)", 1))
	_, err = b.over(dir).Up(t.Context(), tn, tenant.Newest, false)
	refused(t, err, tenant.ErrMigration, "00006_several.sql:3", `"one" already exists`)

	write(t, dir, "00006_several.sql", broken)
	b.exec("DROP TABLE %[1]s.one; DROP TABLE %[1]s.two", tn.Schema)
	_, err = b.over(dir).Up(t.Context(), tn, tenant.Newest, false)
	refused(t, err, tenant.ErrMigration, "00006_several.sql:5")

	write(t, dir, "00006_several.sql", strings.Replace(broken, "TABLE customers", "TABLE three", 1))
	if moved := up(t, b.over(dir), tn); moved.Applied != 6 {
		t.Errorf("up gave %+v", moved)
	}
	for _, table := range []string{"one", "two", "three"} {
		if b.scalar("to_regclass('%s.%s')", tn.Schema, table) == "" {
			t.Errorf("table %s is missing", table)
		}
	}
}

// What the stock goose does in between makes the note stale.
func TestNoteOfAnInterruptedFileGoesStale(t *testing.T) {
	t.Parallel()
	dir := copied(t, example)
	b := newBench(t, dir)
	tn := b.created("acme")
	write(t, dir, "00006_two.sql", concurrently+"CREATE TABLE one (id int);\nCREATE TABLE customers (id int);\n")
	_, err := b.over(dir).Up(t.Context(), tn, tenant.Newest, false)
	refused(t, err, tenant.ErrMigration, "00006_two.sql:4")
	// goose applies the version in its own way, and takes it back.
	b.exec("INSERT INTO %[1]s.goose_db_version (version_id, is_applied) VALUES (6, true); DELETE FROM %[1]s.goose_db_version WHERE version_id = 6; DROP TABLE %[1]s.one", tn.Schema)
	_, err = b.over(dir).Up(t.Context(), tn, tenant.Newest, false)
	refused(t, err, tenant.ErrMigration, "00006_two.sql:4")
	if b.scalar("to_regclass('%s.one')", tn.Schema) == "" {
		t.Error("the first statement was not run again")
	}
}

func TestConcurrentlyWaitsNoLongerThanTheLockTimeout(t *testing.T) {
	t.Parallel()
	dir := copied(t, example)
	b := newBench(t, dir)
	tn := b.created("acme")
	write(t, dir, "00006_name.sql", concurrently+"CREATE INDEX CONCURRENTLY customers_name ON customers (name);")
	tx, err := b.super().Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), "INSERT INTO "+tn.Schema+".customers (email, name) VALUES ('a', 'b')")
	must(t, err)
	_, err = b.over(dir, func(c *Config) { c.LockTimeout, c.LockRetries = 20*time.Millisecond, 1 }).Up(t.Context(), tn, tenant.Newest, false)
	refused(t, err, tenant.ErrLocked, "00006_name.sql:3", "SQLSTATE 55P03")
	must(t, tx.Rollback(t.Context()))
	up(t, b.over(dir), tn)
	if n := b.scalar("SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = '%s'::regnamespace AND NOT indisvalid", tn.Schema); n != "0" {
		t.Errorf("%s invalid indexes are left", n)
	}
}

func TestSessionIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, "SELECT 1;"), func(c *Config) { c.MaxConnections, c.SchemasPerConnection = 1, 0 })
	tn := b.created("acme")
	pid := b.scalar("pg_backend_pid()")
	good := folder(t, map[string]string{"00001_first.sql": "-- +goose Up\nSELECT 1;", "00002_t.sql": concurrently + "CREATE TABLE t (id int);"})
	bad := folder(t, map[string]string{"00001_first.sql": "-- +goose Up\nSELECT 1;", "00002_t.sql": "-- +goose Up\nSELECT 1;", "00003_t.sql": concurrently + "CREATE TABLE t (id int);"})
	if _, err := b.over(good).Up(t.Context(), tn, tenant.Newest, false); err != nil {
		t.Fatal(err)
	}
	_, err := b.over(bad).Up(t.Context(), tn, tenant.Newest, false)
	refused(t, err, tenant.ErrMigration)
	if b.scalar("pg_backend_pid()") != pid {
		t.Fatal("it is another session")
	}
	if path := b.scalar("current_setting('search_path')"); path != `"$user", public` {
		t.Errorf("search_path is %s", path)
	}
	if n := b.scalar("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"); n != "0" {
		t.Errorf("%s advisory locks are held", n)
	}
}

func TestPoolerInTransactionModeServesAllButNoTransaction(t *testing.T) {
	t.Parallel()
	direct := newBench(t, example)
	inside := folder(t, map[string]string{
		"00001_a.sql": "-- +goose Up\nCREATE TABLE a (id int PRIMARY KEY);\n-- +goose Down\nDROP TABLE a;",
		"00002_b.sql": "-- +goose Up\nCREATE TABLE b (id int REFERENCES a);\n-- +goose Down\nDROP TABLE b;",
	})
	for _, p := range []pooler{{backends: 1, version: "15.0"}, {backends: 3, version: "15.0"}, {backends: 2, version: "15.0", roundRobin: true}} {
		t.Run(fmt.Sprintf("%d backends, round robin %t", p.backends, p.roundRobin), func(t *testing.T) {
			t.Parallel()
			b := direct
			b.t = t
			b = b.over(inside).at(p.start(t, direct.cfg.URL))
			tn := b.created(fmt.Sprintf("p%d", p.backends))
			for range 3 {
				if _, err := b.Down(t.Context(), tn, 0); err != nil {
					t.Fatal(err)
				}
				up(t, b, tn)
			}
			if n, err := b.Exec(t.Context(), tn, "INSERT INTO a VALUES (1)", new(rows)); n != 1 || err != nil {
				t.Errorf("exec gave %d, %v", n, err)
			}
			must(t, b.SetPassword(t.Context(), tn, password, nil))
			if _, err := b.Lock(t.Context(), tn); err != nil {
				t.Error(err)
			}
			must(t, b.Unlock(t.Context(), tn))
			st, err := b.Stat(t.Context(), tn)
			must(t, err)
			if st.Version != 2 || st.Objects != 2 {
				t.Errorf("stat is %+v", st)
			}

			outside := b.over(copied(t, inside))
			write(t, outside.cfg.Dir, "00003_c.sql", concurrently+"CREATE INDEX CONCURRENTLY c ON a (id);")
			write(t, outside.cfg.Dir, "00004_d.sql", "-- +goose Up\nCREATE TABLE d (id int);")
			refusal := []string{"00003_c.sql", "PgBouncer", "session mode"}
			_, err = outside.Up(t.Context(), tn, tenant.Newest, false)
			refused(t, err, tenant.ErrUnsupported, refusal...)
			never := b.tenant("never")
			refused(t, outside.Create(t.Context(), never), tenant.ErrUnsupported, refusal...)
			elsewhere := direct.over(outside.cfg.Dir)
			elsewhere.t = t
			if state := elsewhere.state(never); state != "" {
				t.Errorf("the refused create left\n%s", state)
			}
			up(t, elsewhere, tn)
			up(t, outside, tn) // nothing is left that needs a session
			must(t, b.Drop(t.Context(), tn))
		})
	}
}

func TestNoTransactionIsTakenOver(t *testing.T) {
	t.Parallel()
	dir := copied(t, example)
	b := newBench(t, dir)
	l := b.catalog()
	tn := b.tenant("acme")
	l.enter(tn)
	must(t, b.Create(l.ctx(1), tn))
	write(t, dir, "00006_name.sql", concurrently+"CREATE TABLE one (id int);")
	_, err := b.over(dir).Up(l.ctx(2), tn, tenant.Newest, false)
	if !errors.Is(err, tenant.ErrFenced) {
		t.Errorf("with a lease that ended, up gave %v", err)
	}
	if b.scalar("to_regclass('%s.one')", tn.Schema) != "" {
		t.Error("it ran all the same")
	}
	// The take-over comes between two statements: the first one makes it.
	write(t, dir, "00006_name.sql", concurrently+"UPDATE tenantctl.operations SET fence = 2;\nCREATE TABLE two (id int);")
	_, err = b.over(dir).Up(l.ctx(1), tn, tenant.Newest, false)
	if !errors.Is(err, tenant.ErrFenced) {
		t.Errorf("with a lease that ended in the midst, up gave %v", err)
	}
	if b.scalar("to_regclass('%s.two')", tn.Schema) != "" {
		t.Error("the statement after the take-over ran all the same")
	}
}

func TestReadsWhichIndexIsMeant(t *testing.T) {
	for sql, want := range map[string]index{
		"CREATE INDEX CONCURRENTLY a ON t (x);":                                  {"a", true},
		"create unique index concurrently if not exists \"A b\" on t (x)":        {"A b", true},
		"-- why\nDROP INDEX /* so */ CONCURRENTLY IF EXISTS a;":                  {"a", false},
		"CREATE INDEX CONCURRENTLY ON t (x)":                                     {},
		"CREATE INDEX a ON t (x)":                                                {},
		"SELECT 'CREATE INDEX CONCURRENTLY a ON t (x)'":                          {},
		"REINDEX INDEX CONCURRENTLY a":                                           {},
		"CREATE INDEX CONCURRENTLY a ON t (x); CREATE INDEX CONCURRENTLY b ON t": {},
		"": {},
	} {
		if got := concurrentIndex(sql); got != want {
			t.Errorf("%q: got %+v, want %+v", sql, got, want)
		}
	}
}

// Settings of the statements before are those of the file; a session that ended took with it what else they made.
func TestAFileThatIsGoneOnWithHasTheSettingsThatItMade(t *testing.T) {
	t.Parallel()
	const fails = "INSERT INTO a SELECT current_setting('timezone') || current_setting('app.x', true), 1 / n FROM gate;"
	files := map[string]string{
		"00001_a.sql": "-- +goose Up\nCREATE TABLE a (v text, n int);\nCREATE TABLE gate (n int);\nINSERT INTO gate VALUES (0);",
		"00002_b.sql": concurrently + "SET TIME ZONE 'America/Sao_Paulo';\nSELECT set_config('app.x', '!', false);\nINSERT INTO a VALUES ('once', 0);\n" + fails,
	}
	b := newBench(t, folder(t, files))
	tn := b.tenant("acme")
	refused(t, b.Create(t.Context(), tn), tenant.ErrMigration, "00002_b.sql:6", "stopped after statement 3 of 4", "statement 4")
	b.exec("UPDATE %s.gate SET n = 1", tn.Schema)
	up(t, b, tn)
	if got := b.scalar("SELECT string_agg(v, ',' ORDER BY v) FROM %s.a", tn.Schema); got != "America/Sao_Paulo!,once" {
		t.Errorf("it has %q", got)
	}
	for name, first := range map[string]string{
		"a temporary table": "CREATE TEMP TABLE stage AS SELECT 1 AS n;", "a prepared statement": "PREPARE p AS SELECT 1;", "a lock": "SELECT pg_advisory_lock(4712);",
		"a block": "-- +goose StatementBegin\nDO $$ BEGIN PERFORM set_config('app.x', 'y', false); END $$;\n-- +goose StatementEnd",
	} {
		files["00002_b.sql"] = concurrently + first + "\n" + fails
		b := b.over(folder(t, files))
		tn := b.tenant(strings.ReplaceAll(name, " ", "-"))
		e := refused(t, b.Create(t.Context(), tn), tenant.ErrMigration, "stopped after statement 1 of 2")
		if strings.Contains(e.Hint, "it goes on at") || !strings.Contains(e.Hint, "by hand") {
			t.Errorf("%s: the hint is %q", name, e.Hint)
		}
		b.exec("UPDATE %s.gate SET n = 1", tn.Schema)
		_, err := b.Up(t.Context(), tn, tenant.Newest, false)
		if e := refused(t, err, tenant.ErrMigration, "00002_b.sql:", "by hand", "goose_db_version"); e.Code != "session_ended" {
			t.Errorf("%s: the code is %q", name, e.Code)
		}
		if n := b.scalar("SELECT count(*) FROM %s.a", tn.Schema); n != "0" {
			t.Errorf("%s: %s rows were written without it", name, n)
		}
	}
}
