package cmd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// importBench is a bench with a model of its own and a legacy database beside the tenants'.
type importBench struct {
	*bench
	legacy string // URL
	old    *pgx.Conn
}

// newImportBench makes the tenants' tables by model and the legacy database by old, both SQL; options are those of
// CREATE DATABASE. The mapping is mapping.yaml.
func newImportBench(t testing.TB, model, options, old, mapping string) *importBench {
	t.Helper()
	b := &importBench{bench: newBench(t)}
	if err := os.RemoveAll(filepath.Join(b.dir, "migrations")); err != nil {
		t.Fatal(err)
	}
	b.write(t, "migrations/postgres/00001_model.sql", "-- +goose Up\n-- +goose StatementBegin\n"+model+"\n-- +goose StatementEnd\n\n-- +goose Down\nSELECT 1;\n")
	b.write(t, "migrations/mongodb/00001_documents.up.json", `[{"create": "documents"}]`)
	b.write(t, "migrations/mongodb/00001_documents.down.json", `[{"drop": "documents"}]`)
	ctx := context.Background()
	name := b.prefix + "legacy"
	super, err := pgx.Connect(ctx, tenanttest.SuperuserURL(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := super.Exec(ctx, "CREATE DATABASE "+name+" "+options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer super.Close(ctx)
		if _, err := super.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop the legacy database: %v", err)
		}
	})
	u, err := url.Parse(tenanttest.SuperuserURL(t))
	if err != nil {
		t.Fatal("the server's URL cannot be read")
	}
	u.Path = "/" + name
	b.legacy = u.String()
	cfg, err := pgx.ParseConfig(b.legacy)
	if err != nil {
		t.Fatal("the server's URL cannot be read")
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	if strings.Contains(options, "SQL_ASCII") {
		cfg.RuntimeParams["client_encoding"] = "SQL_ASCII"
	}
	if b.old, err = pgx.ConnectConfig(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.old.Close(ctx) })
	b.change(t, old)
	b.extra = []string{"LEGACY_URL=" + b.legacy, "TENANTCTL_IMPORT_URL=" + b.legacy}
	b.write(t, "mapping.yaml", "version: 1\nname: old\nsources: {legacy: {url_env: LEGACY_URL}}\n"+mapping)
	b.must(t, "init")
	return b
}

// change runs SQL in the legacy database.
func (b *importBench) change(t testing.TB, sql string) {
	t.Helper()
	if _, err := b.old.PgConn().Exec(context.Background(), sql).ReadAll(); err != nil {
		t.Fatalf("%v\n%.300s", err, sql)
	}
}

func (b *importBench) want(t testing.TB, sql string, want ...string) {
	t.Helper()
	if got := b.column(t, sql); !slices.Equal(got, want) {
		t.Errorf("%s\n got %q\nwant %q", sql, got, want)
	}
}

// clean verifies, and looks for what an import may leave behind.
func (b *importBench) clean(t testing.TB) {
	t.Helper()
	b.must(t, "import", "verify", "-f", "mapping.yaml")
	b.want(t, `SELECT name FROM tenantctl.import_undo UNION ALL SELECT target FROM tenantctl.import_passes UNION ALL SELECT part FROM tenantctl.import_parts
		UNION ALL SELECT kind || ' ' || state FROM tenantctl.operations WHERE state IN ('running', 'undoing', 'stuck')`)
}

// poison is what the scripts of such imports stumble over. Its database has no encoding.
const (
	poisonModel = `CREATE TABLE people (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name varchar(10) NOT NULL, "select" text, "Weird Name" text, age smallint CHECK (age >= 0),
    email text UNIQUE, boss bigint REFERENCES people, doc jsonb, score numeric(5,2));
CREATE INDEX people_age ON people (age);
CREATE TABLE visits (id int PRIMARY KEY, person bigint NOT NULL REFERENCES people, at date);
CREATE TABLE notes (id int PRIMARY KEY);`
	poisonOld = `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2), (3);
CREATE TABLE people (id bigint PRIMARY KEY, firm int, name text, "select" text, "Weird Name" text, age int, email text, boss bigint, doc text, score numeric);
INSERT INTO people SELECT g, 1 + g % 3, 'n' || g, 's' || g, E'tab\there\nnewline \\ back', g % 90, 'e' || g || '@x', CASE WHEN g BETWEEN 100 AND 120 THEN g - 9 END, '{"a": 1}', g % 100 + 0.125 FROM generate_series(1, 1000) g;
UPDATE people SET firm = NULL WHERE id = 5; UPDATE people SET firm = 77 WHERE id = 6; UPDATE people SET name = 'much too long a name' WHERE id = 8;
UPDATE people SET name = NULL WHERE id = 9; UPDATE people SET age = 70000 WHERE id = 10; UPDATE people SET age = -1 WHERE id = 11;
UPDATE people SET email = 'e13@x' WHERE id = 16; UPDATE people SET doc = '{broken' WHERE id = 17; UPDATE people SET score = 99999 WHERE id = 18;
UPDATE people SET name = E'\xff\xfe' WHERE id = 19; UPDATE people SET "select" = repeat('x', 17000000) WHERE id = 20;
UPDATE people SET boss = 999999 WHERE id = 21; UPDATE people SET boss = 25 WHERE id = 24; UPDATE people SET boss = 24 WHERE id = 27;
CREATE TABLE notes (id int, firm int); INSERT INTO notes VALUES (1, 1), (1, 1), (1, 2), (NULL, 3);
CREATE TABLE visits (id int PRIMARY KEY, person bigint, at text);
INSERT INTO visits SELECT g, g + 30, '2026-01-01' FROM generate_series(1, 900) g;
INSERT INTO visits VALUES (2000, 999999, '2026-01-01'), (2001, NULL, '2026-01-01'), (2002, 5, '2026-01-01'), (2003, 8, '2026-01-01');
UPDATE visits SET at = '0000-00-00' WHERE id = 100; UPDATE visits SET at = '2026-02-30' WHERE id = 101`
	poisonMapping = `tenants: {from: firms, key: id, name: "'f' || id"}
tables:
  - {from: visits, via: [{columns: person, table: people, references: id}], key: firm}
  - from: people
    key: firm
    columns: {id: id, name: name, select: select, "Weird Name": "Weird Name", age: age, email: email, boss: boss, doc: doc, score: score}
  - {from: notes, key: firm, columns: {id: id}}
`
)

func TestPoisonedRowsAreSetAsideAloneEachWithItsReason(t *testing.T) {
	t.Parallel()
	b := newImportBench(t, poisonModel, "ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'", poisonOld, poisonMapping)
	run := []string{"import", "run", "-f", "mapping.yaml"}
	want := []string{
		`notes ["1"] 23505`, `notes [null] 23502`,
		`people ["10"] 22003`, `people ["11"] 23514`, `people ["16"] 23505`, `people ["17"] 22P02`, `people ["18"] 22003`, `people ["19"] 22021`, `people ["20"] too_long`,
		`people ["21"] 23503`, `people ["24"] 23503`, `people ["27"] 23503`, `people ["5"] no_key`, `people ["6"] unknown_key`, `people ["8"] 22001`, `people ["9"] 23502`,
		`visits ["100"] 22008`, `visits ["101"] 22008`, `visits ["2000"] orphan`, `visits ["2001"] orphan`, `visits ["2002"] no_key`, `visits ["2003"] 23503`,
	}
	for range 2 { // the second run finds nothing more to do
		end := b.exits(t, 3, run...)
		if !strings.Contains(end.stderr, fmt.Sprintf("%d rows of the source were set aside", len(want))) {
			t.Errorf("%s", end)
		}
		file, got := b.rejects(t, "old.rejects.ndjson")
		if !slices.Equal(got, want) {
			t.Fatalf(" got %q\nwant %q", got, want)
		}
		if strings.ContainsRune(file, 0) || len(file) > 100_000 {
			t.Errorf("the rejects file has %d bytes", len(file))
		}
		b.clean(t)
	}
	if info, err := os.Stat(filepath.Join(b.dir, "old.rejects.ndjson")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the rejects file, which holds customers' data: %v %v", info.Mode(), err)
	}
	b.want(t, `SELECT concat_ws(',', count(*), count("Weird Name"), min("select"), max(length("Weird Name"))) FROM `+b.prefix+`f1.people`, "327,327,s102,23")

	file, _ := b.rejects(t, "old.rejects.ndjson")
	var fixed strings.Builder
	for line := range strings.Lines(file) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		row, ok := r["row"].(map[string]any)
		if !ok {
			continue // too long to keep
		}
		switch key := fmt.Sprint(r["table"], row["id"]); key {
		case "people5", "people6":
			row["firm"] = 1
		case "people21", "people24", "people27":
			row["boss"] = nil
		case "visits100":
			row["at"] = "2026-03-01"
		default:
			if r["table"] != "people" {
				continue
			}
			row["name"], row["age"], row["doc"], row["score"], row["email"] = "mended", 3, "{}", 1, "mended"+fmt.Sprint(row["id"])
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&fixed, "%s\n", text)
	}
	b.write(t, "fixed.ndjson", fixed.String())
	left := []string{`notes ["1"] 23505`, `notes [null] 23502`, `people ["20"] too_long`, `visits ["101"] 22008`, `visits ["2000"] orphan`, `visits ["2001"] orphan`, `visits ["2002"] no_key`, `visits ["2003"] 23503`}
	for range 2 {
		b.exits(t, 3, append(run, "--rejects", "fixed.ndjson", "--rejects-to", "left.ndjson")...)
		if _, got := b.rejects(t, "left.ndjson"); !slices.Equal(got, left) {
			t.Errorf(" got %q\nwant %q", got, left)
		}
		b.clean(t)
	}
	b.want(t, `SELECT concat_ws(',', count(*), sum((name = 'mended')::int)) FROM `+b.prefix+`f3.people`, "331,3")
	b.want(t, `SELECT concat_ws(',', pg_sequence_last_value(pg_get_serial_sequence('`+b.prefix+`f2.people', 'id')::regclass))`, "1000")
}

// rejects reads a rejects file: all of it, and table, key and code of each line, sorted.
func (b *importBench) rejects(t testing.TB, name string) (string, []string) {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(file)) {
		var r struct {
			Table, Code, Reason string
			Key                 json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Reason == "" {
			t.Fatalf("%v: %.300s", err, line)
		}
		out = append(out, fmt.Sprintf("%s %s %s", r.Table, r.Key, r.Code))
	}
	slices.Sort(out)
	return string(file), out
}

// The load that is killed: tables with everything that a load takes away and puts back.
const (
	killModel = `CREATE TABLE people (id int PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, name varchar(20) NOT NULL, boss int REFERENCES people, note text);
CREATE INDEX people_name ON people (name);
CREATE TABLE visits (id bigint PRIMARY KEY, person int NOT NULL REFERENCES people, what text);
CREATE INDEX visits_person ON visits (person);
CREATE TABLE logs (what text);`
	killOld = `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2), (3);
CREATE TABLE people (id int PRIMARY KEY, firm int, name text, boss int, note text) WITH (autovacuum_enabled = false);
INSERT INTO people SELECT g, 1 + g %% 3, 'n' || g, CASE WHEN g %% 4 = 0 THEN g - 3 END, repeat('x', g %% 60) FROM generate_series(1, %[1]d) g;
UPDATE people SET firm = NULL WHERE id = 5; UPDATE people SET name = repeat('y', 30) WHERE id = 10; UPDATE people SET boss = 999999999 WHERE id = 11;
CREATE TABLE visits (id bigint PRIMARY KEY, person int, what text) PARTITION BY HASH (id);
%[2]sINSERT INTO visits SELECT g, 20 + g %% (%[1]d - 20), repeat('v', g %% 40) FROM generate_series(1, 3 * %[1]d) g;
CREATE TABLE logs (firm int, what text) WITH (autovacuum_enabled = false); INSERT INTO logs SELECT 1 + g %% 3, 'w' || g %% 7 FROM generate_series(1, %[1]d) g`
	killMapping = `tenants: {from: firms, key: id, name: "'f' || id"}
tables:
  - {from: visits, via: [{columns: person, table: people, references: id}], key: firm}
  - {from: people, key: firm}
  - {from: logs, key: firm}
`
)

// newKillBench has people rows, three visits each, in partitions that are loaded one by one.
func newKillBench(t testing.TB, people int) *importBench {
	t.Helper()
	var partitions strings.Builder
	for n := range 4 {
		fmt.Fprintf(&partitions, "CREATE TABLE visits_%d PARTITION OF visits FOR VALUES WITH (MODULUS 4, REMAINDER %[1]d) "+
			"WITH (autovacuum_enabled = false); ", n)
	}
	b := newImportBench(t, killModel, "", fmt.Sprintf(killOld, people, partitions.String()), killMapping)
	b.must(t, "create", "f1", "f2", "f3")
	return b
}

// forget makes the import and its rows not have been.
func (b *importBench) forget(t testing.TB) {
	t.Helper()
	sql := "DELETE FROM tenantctl.imports; DELETE FROM tenantctl.operations WHERE state IN ('running', 'aborted')"
	for _, n := range []string{"f1", "f2", "f3"} {
		sql += "; TRUNCATE " + b.prefix + n + ".people, " + b.prefix + n + ".visits, " + b.prefix + n + ".logs"
	}
	if _, err := b.pg.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

// whole checks what the tenants have, by counts of its own and by what the import verifies.
func (b *importBench) whole(t testing.TB, people int) {
	t.Helper()
	b.clean(t)
	all := func(sql string) string {
		var parts []string
		for _, n := range []string{"f1", "f2", "f3"} {
			parts = append(parts, strings.ReplaceAll(sql, "SCHEMA", b.prefix+n))
		}
		return strings.Join(parts, " UNION ALL ")
	}
	b.want(t, `SELECT concat_ws(',', sum(p), sum(v), sum(l)) FROM (`+all(`SELECT (SELECT count(*) FROM SCHEMA.people) p, (SELECT count(*) FROM SCHEMA.visits) v, (SELECT count(*) FROM SCHEMA.logs) l`)+`) x`,
		fmt.Sprintf("%d,%d,%d", people-4, 3*people, people))
	b.want(t, all(`SELECT count(*)::text FROM pg_indexes WHERE schemaname = 'SCHEMA' AND tablename <> 'goose_db_version'`), "4", "4", "4")
	b.want(t, all(`SELECT count(*)::text FROM pg_constraint WHERE connamespace = 'SCHEMA'::regnamespace AND contype = 'f' AND convalidated`), "2", "2", "2")
	b.want(t, `SELECT row_key || code FROM tenantctl.import_rejects ORDER BY 1`, `["10"]22001`, `["11"]23503`, `["5"]no_key`, `["8"]23503`)
}

var killRun = []string{"import", "run", "-f", "mapping.yaml", "--defer-indexes=always"}

func TestALoadIsGoneOnWithAfterAFaultAtEveryPoint(t *testing.T) {
	t.Parallel()
	const people = 600
	b := newKillBench(t, people)
	trace := filepath.Join(b.dir, "trace")
	whole := b.prepared(t, "", killRun...)
	whole.Env = append(whole.Env, "TENANTCTL_TEST_FAULT_TRACE="+trace)
	if err := whole.Start(); err != nil {
		t.Fatal(err)
	}
	if end := whole.wait(); end.code != 3 {
		t.Fatalf("%s", end)
	}
	b.whole(t, people)
	content, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	points := strings.Fields(string(content))
	for _, name := range []string{"import/begun#1", "import/part/before#1", "import/part/after#6", "import/putback/after#9", "import/pass/before#3"} {
		if !slices.Contains(points, name) {
			t.Errorf("the load does not pass %s: %q", name, points)
		}
	}
	for n, p := range points {
		action := []string{"kill", "fail", "kill", "interrupt"}[n%4]
		var end ended
		// Parts that one worker reads are committed together: a run may end before it passes the last of these points.
		for range 20 {
			b.forget(t)
			if end = b.start(t, action+"@"+p, killRun...).wait(); end.code != 3 {
				break
			}
		}
		if action == "kill" && !end.killed || action == "fail" && end.code != 1 || action == "interrupt" && end.code != 130 {
			t.Errorf("%s@%s: %s", action, p, end)
		}
		b.exits(t, 3, killRun...)
		b.whole(t, people)
		if t.Failed() {
			t.Fatalf("after %s@%s", action, p)
		}
	}
	t.Logf("%d faults", len(points))
}

func TestALoadIsGoneOnWithAfterAKillAtAnyInstant(t *testing.T) {
	t.Parallel()
	const people = 50_000
	b := newKillBench(t, people)
	start := time.Now()
	b.exits(t, 3, killRun...)
	took := time.Since(start)
	b.whole(t, people)
	b.forget(t)
	killed := 0
	for range 10 {
		r := b.start(t, "", killRun...)
		time.Sleep(time.Duration(rand.Int64N(int64(took / 3))))
		r.signal(syscall.SIGKILL)
		if r.wait().killed {
			killed++
		}
	}
	b.exits(t, 3, killRun...)
	b.whole(t, people)
	if killed < 3 {
		t.Errorf("%d runs were killed, in %v each", killed, took)
	}
}

func TestAnImportWhoseTenantsWereTakenOverIsFenced(t *testing.T) {
	t.Parallel()
	b := newKillBench(t, 300)
	b.extra = append(b.extra, "TENANTCTL_OPERATIONS_LEASE=3s")
	// One at a time: a transaction that is open while its process is stopped would keep everybody out.
	run := append(slices.Clone(killRun), "--parallel", "1")
	for _, point := range []string{"import/begun", "import/part/after#2", "import/putback/after"} {
		b.forget(t)
		first := b.start(t, "stop@"+point, run...)
		first.stopped()
		if end := b.run(t, run...); end.code != 5 || !strings.Contains(end.stderr, fmt.Sprintf("pid %d on ", first.Process.Pid)) {
			t.Errorf("%s: a live import is not in the way: %s", point, end)
		}
		if _, err := b.pg.Exec(t.Context(), `SELECT pg_sleep(extract(epoch FROM max(lease_until) - clock_timestamp()) + 0.1) FROM tenantctl.operations WHERE state = 'running'`); err != nil {
			t.Fatal(err)
		}
		b.exits(t, 3, run...)
		b.whole(t, 300)
		before := b.everything(t)
		first.goOn()
		if end := first.wait(); end.code == 0 || end.code == 3 {
			t.Errorf("%s: the first pretends to have done it: %s", point, end)
		}
		if diff := differences(before, b.everything(t)); diff != "" {
			t.Errorf("%s: the first came back and changed something:\n%s", point, diff)
		}
		b.whole(t, 300)
	}
}

func TestATenantThatIsHeldIsNotLoadedInto(t *testing.T) {
	t.Parallel()
	b := newKillBench(t, 50)
	other := b.start(t, "stop@suspend/postgres/after", "suspend", "f2")
	other.stopped()
	end := b.exits(t, 5, killRun...)
	if !strings.Contains(end.stderr, "f2") {
		t.Errorf("it does not say which: %s", end)
	}
	b.want(t, `SELECT count(*)::text FROM `+b.prefix+`f1.people`, "0")
	other.goOn()
	other.wait()
	b.must(t, "resume", "f2")
	b.exits(t, 3, killRun...)
	b.whole(t, 50)
	// And the other way round: what is being loaded is not deleted.
	b.forget(t)
	load := b.start(t, "stop@import/part/after", killRun...)
	load.stopped()
	for _, args := range [][]string{{"delete", "f1", "--yes"}, {"suspend", "f3"}, killRun} {
		b.exits(t, 5, args...)
	}
	load.goOn()
	if end := load.wait(); end.code != 3 {
		t.Errorf("%s", end)
	}
	b.whole(t, 50)
}

func TestNorthwindNeedsNothingButChoosing(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../shared/data/northwind.sql")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("Northwind is not here: it is not part of the repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	b := newImportBench(t, northwindModel(string(content)), "", string(content), "tenants: {}\n")
	b.must(t, "import", "plan", "--from", b.legacy, "--key", "customer_id", "--tenants-table", "customers", "--name", "northwind", "--out", "planned.yaml")
	planned, err := os.ReadFile(filepath.Join(b.dir, "planned.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	b.write(t, "mapping.yaml", strings.ReplaceAll(string(planned), "shared: choose", "shared: copy")+`
  - from: orders
    key: customer_id
    to_collection: documents
    embed:
      details: {from: order_details, match: {order_id: order_id}}
`)
	end := b.must(t, "import", "run", "-f", "mapping.yaml")
	if !strings.Contains(end.stdout, "done: 29932 rows loaded, 0 rejected, 91 tenants created") {
		t.Errorf("%s", end)
	}
	b.clean(t)
	var got struct {
		ID      int `bson:"_id"`
		Details []bson.M
	}
	if err := b.mongo.Database(b.prefix+"alfki").Collection("documents").FindOne(t.Context(), bson.D{{Key: "_id", Value: 10643}}).Decode(&got); err != nil || len(got.Details) != 3 {
		t.Errorf("an order with its details: %+v %v", got, err)
	}
	if _, err := b.mongo.Database(b.prefix+"alfki").Collection("documents").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: 10643}}); err != nil {
		t.Fatal(err)
	}
	if end := b.exits(t, 6, "import", "verify", "-f", "mapping.yaml", "--table", "mongodb/documents"); !strings.Contains(end.stdout, "tenant alfki: row") || !strings.Contains(end.stdout, "10643") {
		t.Errorf("%s", end)
	}
}

// northwindModel is the legacy schema as a migration, without its rows and what is no table.
func northwindModel(dump string) string {
	var out []string
	for statement := range strings.SplitSeq(dump, ";\n") {
		lines := strings.Split(statement, "\n")
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "--") || strings.TrimSpace(l) == "" })
		if len(lines) > 0 && (strings.HasPrefix(lines[0], "CREATE TABLE") || strings.HasPrefix(lines[0], "ALTER TABLE ONLY")) {
			out = append(out, strings.Join(lines, "\n")+";")
		}
	}
	return strings.Join(out, "\n")
}

func TestPgbenchBranchesBecomeTenants(t *testing.T) {
	t.Parallel()
	b := newImportBench(t, `CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));`, "", "SELECT 1",
		"tenants: {from: pgbench_branches, key: bid, name: \"'branch-' || bid\"}\ntables:\n  - {from: pgbench_branches, key: bid}\n  - {from: pgbench_tellers, key: bid}\n  - {from: pgbench_accounts, key: bid}\n  - {from: pgbench_history, key: bid}\n")
	runPgbench(t, b.legacy)
	b.must(t, "import", "run", "-f", "mapping.yaml", "--defer-indexes=always")
	b.clean(t)
	b.want(t, `SELECT concat_ws(',', (SELECT count(*) FROM `+b.prefix+`branch_1.pgbench_accounts), (SELECT count(*) FROM `+b.prefix+`branch_1.pgbench_history))`, "100000,100")
}

// runPgbench fills a database as pgbench does at scale 1, with a hundred transactions. A server that was downloaded comes
// without it: then the same tables and as many rows are made by hand.
func runPgbench(t *testing.T, url string) {
	t.Helper()
	pgbench, err := exec.LookPath(filepath.Join(os.Getenv("DEVSTACK_PG_BINDIR"), "pgbench"))
	if err != nil {
		pgbench, err = exec.LookPath("pgbench")
	}
	if err != nil {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), `CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88)); INSERT INTO pgbench_branches VALUES (1, 0);
			CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84)); INSERT INTO pgbench_tellers SELECT g, 1, 0 FROM generate_series(1, 10) g;
			CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84)); INSERT INTO pgbench_accounts SELECT g, 1, 0, '' FROM generate_series(1, 100000) g;
			CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22)); INSERT INTO pgbench_history SELECT 1, 1, g, g, now() FROM generate_series(1, 100) g`); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, args := range [][]string{{"-i", "-q", "-s", "1"}, {"-n", "-t", "50", "-c", "2"}} {
		if out, err := exec.Command(pgbench, append(args, url)...).CombinedOutput(); err != nil {
			t.Fatalf("pgbench: %v\n%s", err, out)
		}
	}
}
