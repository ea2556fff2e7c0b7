package legacy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// stand is a catalog with tenants in a database of the test's own. The legacy tables lie in the same database, in the
// schema old; their tenants are the rows of old.firms.
type stand struct {
	t       testing.TB
	pool    *pgxpool.Pool
	url     string
	tables  *tables
	service *tenant.Service
	options Options
	last    *Mapping
}

// tables is the store of a stand: a tenant is a schema with the model's tables.
type tables struct {
	pool    *pgxpool.Pool
	model   string
	version int64
}

func (s *tables) Kind() string { return tenant.KindPostgres }

func (s *tables) Create(ctx context.Context, t tenant.Tenant) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, fmt.Sprintf("DROP SCHEMA IF EXISTS %[1]s CASCADE; CREATE SCHEMA %[1]s; SET LOCAL search_path = %[1]s; %[2]s", t.Schema, s.model))
		return err
	})
	if err != nil {
		return err
	}
	return tenant.LeaseFrom(ctx).Record(ctx, t.ID, tenant.KindPostgres, s.version, int(s.version))
}

func (s *tables) Drop(ctx context.Context, t tenant.Tenant) error {
	_, err := s.pool.Exec(ctx, "DROP SCHEMA IF EXISTS "+t.Schema+" CASCADE")
	return err
}

func (s *tables) Stat(context.Context, tenant.Tenant) (tenant.Stat, error) {
	return tenant.Stat{Presence: tenant.Ours, Version: s.version}, nil
}

// newStand makes the legacy tables by old and has tenants made by model, both SQL.
func newStand(t testing.TB, model, old string) *stand {
	t.Helper()
	s := &stand{t: t, url: tenanttest.Postgres(t, tenanttest.Prefix(t))}
	cfg, err := pgxpool.ParseConfig(s.url)
	if err != nil {
		t.Fatal("the test's URL cannot be read")
	}
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.MaxConns = 12
	if s.pool, err = pgxpool.NewWithConfig(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.pool.Close)
	catalog := tenant.NewCatalog(s.pool, "tester", 30*time.Second)
	if _, _, err := catalog.Init(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	s.tables = &tables{pool: s.pool, model: model, version: 1}
	s.service = tenant.NewService(catalog, []tenant.Resource{s.tables}, tenant.Options{Naming: tenant.Naming{Prefix: "t_"}, MaxParallel: 4})
	t.Cleanup(s.service.Close)
	s.sql("CREATE SCHEMA old; SET search_path = old; " + old + "; RESET search_path; CREATE SCHEMA model; SET search_path = model; " + model + "; RESET search_path")
	s.options = Options{
		Service: s.service, Postgres: s.pool, Parallel: 3, Memory: 96 << 10, PartSize: 32 << 10,
		Model: func(context.Context) (string, func(), error) { return "model", func() {}, nil },
	}
	return s
}

func (s *stand) sql(statements string) {
	s.t.Helper()
	conn, err := s.pool.Acquire(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Conn().PgConn().Exec(context.Background(), statements).ReadAll(); err != nil {
		s.t.Fatalf("%v\n%s", err, statements)
	}
}

// database is a URL with another database.
func database(t testing.TB, at, name string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal("the test's URL cannot be read")
	}
	u.Path = "/" + name
	return u.String()
}

// sqlAt is sql in the database that a URL names.
func (s *stand) sqlAt(at, statements string) {
	s.t.Helper()
	cfg, err := pgx.ParseConfig(at)
	if err != nil {
		s.t.Fatal("the other URL cannot be read")
	}
	cfg.RuntimeParams["client_encoding"] = "UTF8"
	conn, err := pgx.ConnectConfig(context.Background(), cfg)
	if err != nil {
		s.t.Fatal("the other database cannot be reached")
	}
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(context.Background(), statements).ReadAll(); err != nil {
		s.t.Fatalf("%v\n%s", err, statements)
	}
}

// rows are the lines that a query gives, with | between the columns.
func (s *stand) rows(query string) []string {
	s.t.Helper()
	rows, err := s.pool.Query(context.Background(), "SELECT concat_ws('|', VARIADIC array(SELECT coalesce(value, 'NULL') FROM json_each_text(row_to_json(q)))) FROM ("+query+") q")
	if err != nil {
		s.t.Fatalf("%v\n%s", err, query)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.t.Fatalf("%v\n%s", err, query)
	}
	return out
}

func (s *stand) want(query string, want ...string) {
	s.t.Helper()
	if got := s.rows(query); !slices.Equal(got, want) {
		s.t.Errorf("%s\n got %q\nwant %q", query, got, want)
	}
}

// mapping is a mapping of these tables, whose tenants are old.firms by their ids.
func (s *stand) mapping(tables string) *Mapping {
	s.t.Helper()
	m, err := LoadBytes("mapping.yaml", []byte("version: 1\nname: old\nsources: {legacy: {url_env: LEGACY_TEST_URL, schema: old}}\n"+
		"tenants: {from: firms, key: id, name: \"'f' || id\"}\n"+tables))
	if err != nil {
		s.t.Fatal(err)
	}
	if t, ok := s.t.(*testing.T); ok && os.Getenv("LEGACY_TEST_URL") != s.url {
		t.Setenv("LEGACY_TEST_URL", s.url)
	}
	return m
}

func (s *stand) run(ctx context.Context, m *Mapping, req RunRequest) (*Report, error) {
	s.last = m
	i, err := Open(ctx, m, s.options)
	if err != nil {
		return nil, err
	}
	defer i.Close()
	return i.Run(ctx, req)
}

// load runs the import, which has to load everything but rejected rows.
func (s *stand) load(m *Mapping, req RunRequest, rejected int64) *Report {
	s.t.Helper()
	r, err := s.run(context.Background(), m, req)
	if rejected == 0 && err != nil || rejected > 0 && !errors.Is(err, tenant.ErrPartial) {
		s.t.Fatalf("run: %v", err)
	}
	if r.Totals.Rejected != rejected {
		s.t.Fatalf("%d rows were rejected, want %d:\n%s", r.Totals.Rejected, rejected, strings.Join(s.rejects(), "\n"))
	}
	return r
}

func (s *stand) verify(m *Mapping) (*Report, error) {
	s.t.Helper()
	i, err := Open(context.Background(), m, s.options)
	if err != nil {
		s.t.Fatal(err)
	}
	defer i.Close()
	return i.Verify(context.Background(), RunRequest{})
}

func (s *stand) clean(m *Mapping) {
	s.t.Helper()
	r, err := s.verify(m)
	if err != nil {
		s.t.Fatalf("verify: %v\n%s", err, shownAs(r))
	}
	s.want(`SELECT kind, name FROM tenantctl.import_undo`)
	s.want(`SELECT target FROM tenantctl.import_passes UNION ALL SELECT part FROM tenantctl.import_parts`)
}

// differs verifies, and wants these rows of a table named and no others.
func (s *stand) differs(m *Mapping, table string, keys ...string) {
	s.t.Helper()
	r, err := s.verify(m)
	if !errors.Is(err, tenant.ErrDiffers) {
		s.t.Fatalf("verify: %v", err)
	}
	var named []string
	for _, one := range r.Tables {
		for _, d := range one.Differences {
			if one.Table == table {
				named = append(named, d.Key)
			}
		}
	}
	slices.Sort(named)
	if !slices.Equal(named, keys) {
		s.t.Errorf("verify names %q, want %q\n%s", named, keys, shownAs(r))
	}
}

func shownAs(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// rejects are the rows that wait: code, table and key.
func (s *stand) rejects() []string {
	s.t.Helper()
	return s.rows(`SELECT code, target, row_key FROM tenantctl.import_rejects WHERE resolved_at IS NULL ORDER BY target, row_key`)
}

// rejectsFile is what the import writes for them.
func (s *stand) rejectsFile() string {
	s.t.Helper()
	var b strings.Builder
	if _, err := WriteRejects(context.Background(), s.service, s.last, &b); err != nil {
		s.t.Fatal(err)
	}
	return b.String()
}

// forget makes the import not have been and empties the tenants' tables.
func (s *stand) forget() {
	s.t.Helper()
	s.sql(`DELETE FROM tenantctl.imports; DELETE FROM tenantctl.operations;
		DO $$ DECLARE r record; BEGIN FOR r IN SELECT schema_name AS s FROM information_schema.schemata WHERE schema_name LIKE 't\_%' LOOP EXECUTE 'DROP SCHEMA ' || r.s || ' CASCADE'; EXECUTE 'CREATE SCHEMA ' || r.s; EXECUTE 'SET LOCAL search_path = ' || r.s; EXECUTE ` + literal(s.tables.model) + `; END LOOP; END $$`)
}

// crew has what a load takes away for its time, and rows of every fate.
const (
	crewModel = `CREATE TABLE people (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name varchar(20) NOT NULL, boss int CONSTRAINT boss REFERENCES people, note text);
		CREATE INDEX people_name ON people (name); CREATE INDEX people_note ON people (note);
		CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.name = upper(NEW.name); RETURN NEW; END $f$;
		CREATE TRIGGER shout BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION shout();
		CREATE TABLE visits (id bigint PRIMARY KEY, person int NOT NULL REFERENCES people, what text);
		CREATE INDEX visits_person ON visits (person);
		CREATE TABLE kinds (id int PRIMARY KEY, name text UNIQUE);
		CREATE TABLE logs (what text)`
	crewOld = `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2), (3);
		CREATE TABLE people (id int PRIMARY KEY, firm int, name text, boss int, note text);
		INSERT INTO people SELECT g, 1 + g % 3, 'n' || g, CASE WHEN g % 4 = 0 THEN g + 3 END, repeat('x', g % 60) FROM generate_series(1, 3000) g;
		UPDATE people SET boss = NULL WHERE boss > 3000;
		UPDATE people SET firm = NULL WHERE id = 5; UPDATE people SET firm = 9 WHERE id = 6; UPDATE people SET name = repeat('y', 30) WHERE id = 10;
		UPDATE people SET boss = 777777 WHERE id = 13;
		CREATE TABLE visits (id bigint PRIMARY KEY, person int, what text);
		INSERT INTO visits SELECT g, 1 + g % 2990, repeat('v', g % 40) FROM generate_series(1, 5000) g;
		INSERT INTO visits VALUES (6001, 99999, 'orphan');
		CREATE TABLE kinds (id int PRIMARY KEY, name text); INSERT INTO kinds SELECT g, 'k' || g FROM generate_series(1, 20) g;
		CREATE TABLE logs (firm int, what text); INSERT INTO logs SELECT 1 + g % 3, 'w' || g % 7 FROM generate_series(1, 2000) g`
	crewTables = `tables:
  - {from: visits, via: [{columns: person, table: people, references: id}], key: firm}
  - {from: people, key: firm, triggers: skip}
  - {from: kinds, shared: copy}
  - {from: logs, key: firm}
`
)

// whole checks what the crew's tenants have without the import's own words for it.
func (s *stand) whole() {
	s.t.Helper()
	for n := 1; n <= 3; n++ {
		for _, c := range []struct{ old, here string }{
			{fmt.Sprintf(`SELECT id, name, boss, note FROM old.people WHERE firm = %d AND id NOT IN (10, 13)`, n), "SELECT id, name, boss, note FROM t_f%d.people"},
			{fmt.Sprintf(`SELECT v.* FROM old.visits v JOIN old.people p ON p.id = v.person WHERE firm = %d AND p.id NOT IN (10, 13)`, n), "SELECT * FROM t_f%d.visits"},
			{`SELECT * FROM old.kinds`, "SELECT * FROM t_f%d.kinds"},
			{fmt.Sprintf(`SELECT what FROM old.logs WHERE firm = %d`, n), "SELECT what FROM t_f%d.logs"},
		} {
			here := fmt.Sprintf(c.here, n)
			s.want(fmt.Sprintf("SELECT 'lost', count(*) FROM (%s EXCEPT ALL %s) a UNION ALL SELECT 'too many', count(*) FROM (%s EXCEPT ALL %s) b", c.old, here, here, c.old), "lost|0", "too many|0")
		}
	}
	s.want(`SELECT nspname, count(*) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname LIKE 't\_f%' AND indisvalid GROUP BY 1 ORDER BY 1`,
		"t_f1|7", "t_f2|7", "t_f3|7")
	s.want(`SELECT conname, bool_and(convalidated), count(*) FROM pg_constraint c JOIN pg_namespace n ON n.oid = connamespace WHERE nspname LIKE 't\_f%' AND contype = 'f' GROUP BY 1 ORDER BY 1`,
		"boss|true|3", "visits_person_fkey|true|3")
	s.want(`SELECT tgenabled, count(*) FROM pg_trigger g JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname LIKE 't\_f%' AND NOT tgisinternal GROUP BY 1`, "O|3")
	s.want(`SELECT kind, state, count(*) FROM tenantctl.operations WHERE state IN ('running', 'undoing', 'stuck') GROUP BY 1, 2`)
}

// crewRejects is how many of the crew's rows are set aside: visits follow the people they are of.
func (s *stand) crewRejects() int64 {
	s.t.Helper()
	var n int64
	err := s.pool.QueryRow(context.Background(), `SELECT 4 + (SELECT count(*) FROM old.visits v LEFT JOIN old.people p ON p.id = v.person WHERE p.id IS NULL OR p.id IN (5, 6, 10, 13))`).Scan(&n)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func TestALoadThatIsCutOffAtAnyMomentIsGoneOnWith(t *testing.T) {
	s := newStand(t, crewModel, crewOld)
	m := s.mapping(crewTables)
	rejected := s.crewRejects()
	req := RunRequest{DeferIndexes: DeferAlways}
	s.load(m, req, rejected)
	s.whole()
	s.forget()
	start := time.Now()
	s.load(m, req, rejected)
	took := time.Since(start)
	s.clean(m)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	cut := 0
	for n := range 17 {
		s.forget()
		for range 3 {
			ctx, cancel := context.WithTimeoutCause(context.Background(), time.Duration(random.Int64N(int64(took))), context.Canceled)
			_, err := s.run(ctx, m, req)
			cancel()
			if err == nil || errors.Is(err, tenant.ErrPartial) {
				took = max(took*3/4, time.Millisecond) // the first load was measured while the machine was busier
				break
			}
			cut++
		}
		s.load(m, req, rejected)
		s.clean(m)
		s.whole()
		if t.Failed() {
			t.Fatalf("in round %d of the seed %d", n, seed)
		}
	}
	if t.Logf("%d loads of about %v each were cut off", cut, took); cut < 25 {
		t.Error("these are too few to prove anything")
	}
}

func TestUpsertAndReplaceLoadAgain(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a)`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2);
		CREATE TABLE a (id int PRIMARY KEY, firm int, v text); INSERT INTO a SELECT g, 1 + g % 2, 'v' || g FROM generate_series(1, 10) g;
		CREATE TABLE b (id int PRIMARY KEY, firm int, a int); INSERT INTO b SELECT g, 1 + g % 2, g FROM generate_series(1, 10) g`)
	m := s.mapping("tables:\n  - {from: a, key: firm, mode: upsert}\n  - {from: b, key: firm, mode: upsert}\n")
	for _, mode := range []string{ModeUpsert, ModeReplace} {
		s.forget()
		for _, x := range m.Tables {
			x.Mode = mode
		}
		s.load(m, RunRequest{}, 0)
		s.sql(`UPDATE old.a SET v = 'new' WHERE id = 2; INSERT INTO old.a VALUES (11, 1, 'more'); INSERT INTO t_f1.a VALUES (99, 'own')`)
		s.load(m, RunRequest{}, 0)
		s.want(`SELECT v FROM t_f1.a WHERE id IN (2, 11)`, "v2")
		s.load(m, RunRequest{Again: true}, 0)
		own := []string{"new", "more", "own"}
		if mode == ModeReplace {
			own = own[:2]
		}
		s.want(`SELECT v FROM t_f1.a WHERE id IN (2, 11, 99) ORDER BY id`, own...)
		s.want(`SELECT sum(loaded), sum(rejected) FROM tenantctl.import_loads`, "21|0")
		s.sql(`DELETE FROM t_f1.a WHERE id = 99`)
		s.clean(m)
		s.sql(`UPDATE old.a SET v = 'v2' WHERE id = 2; DELETE FROM old.a WHERE id = 11`)
	}
}

func TestSinceTopsUpAndCountsNothingTwice(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, v varchar(5), at int); CREATE TABLE b (id int PRIMARY KEY)`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2);
		CREATE TABLE a (id int PRIMARY KEY, firm int, v text, at int); INSERT INTO a SELECT g, 1 + g % 2, 'v' || g, g FROM generate_series(1, 10) g; UPDATE a SET v = 'too long' WHERE id = 9;
		CREATE TABLE b (id int PRIMARY KEY, firm int); INSERT INTO b VALUES (1, 1)`)
	m := s.mapping("tables:\n  - {from: a, key: firm, since: at}\n  - {from: b, key: firm}\n")
	s.load(m, RunRequest{}, 1)
	s.sql(`INSERT INTO old.a VALUES (12, 1, 'new', 12), (13, NULL, 'lost', 13); UPDATE old.a SET v = 'other', at = 14 WHERE id = 1; UPDATE old.a SET v = 'old', at = 1 WHERE id = 2`)
	r, err := s.run(t.Context(), m, RunRequest{Since: "9"})
	if !errors.Is(err, tenant.ErrPartial) || r.Totals != (Counts{Source: 6, Loaded: 4, Rejected: 2}) {
		t.Fatalf("%v %+v", err, r.Totals)
	}
	s.want(`SELECT v FROM t_f2.a WHERE id IN (1, 2, 12) ORDER BY id`, "other")
	s.want(`SELECT v FROM t_f1.a WHERE id IN (1, 2, 12) ORDER BY id`, "v2", "new")
	if got := s.rejects(); !slices.Equal(got, []string{`no_key|a|["13"]`, `22001|a|["9"]`}) {
		t.Errorf("%q", got)
	}
	if _, err := s.verify(m); !errors.Is(err, tenant.ErrDiffers) {
		t.Errorf("what changed without its since column is not seen: %v", err)
	}
	s.sql(`UPDATE old.a SET v = 'short' WHERE id = 9; UPDATE old.a SET firm = 1 WHERE id = 13`)
	if _, err := s.run(t.Context(), m, RunRequest{Since: "1"}); err != nil {
		t.Fatalf("what is mended in the source is loaded: %v", err)
	}
	s.clean(m)
	if got := s.rejects(); len(got) > 0 {
		t.Errorf("these still wait: %q", got)
	}
}

func TestTooManyRejectsEndTheImportWithTheirReasons(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, word varchar(5))`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1);
		CREATE TABLE a (id int PRIMARY KEY, firm int, word text); INSERT INTO a SELECT g, 1, CASE WHEN g % 2 = 0 THEN 'too long' END FROM generate_series(1, 3000) g`)
	m := s.mapping("tables: [{from: a, key: firm}]\n")
	for _, text := range []string{"0", "1499", "49%"} {
		limit, err := ParseLimit(text)
		if err != nil {
			t.Fatal(err)
		}
		s.forget()
		_, err = s.run(t.Context(), m, RunRequest{MaxErrors: limit})
		if !errors.Is(err, tenant.ErrPartial) || !strings.Contains(err.Error(), "more than --max-errors allows; mostly a: value too long for type character varying(5) (column word) (") {
			t.Errorf("--max-errors %s: %v", text, err)
		}
		s.want(`SELECT state FROM tenantctl.operations WHERE state = 'running'`)
	}
	limit, err := ParseLimit("1500")
	if err != nil {
		t.Fatal(err)
	}
	s.load(m, RunRequest{MaxErrors: limit}, 1500)
	s.clean(m)
	s.want(`SELECT count(*), count(word) FROM t_f1.a`, "1500|0")
}

func TestOnErrorFailEndsTheImportAtTheFirstRow(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY)`, `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1); CREATE TABLE a (id int, firm int); INSERT INTO a VALUES (1, 1), (2, NULL)`)
	m := s.mapping("tables: [{from: a, key: firm, on_error: fail}]\n")
	_, err := s.run(t.Context(), m, RunRequest{})
	if !errors.Is(err, tenant.ErrInvalid) || !strings.Contains(err.Error(), "a row of a does not fit: the tenant's key is NULL") {
		t.Fatalf("%v", err)
	}
	s.want(`SELECT * FROM t_f1.a`)
	s.sql(`UPDATE old.a SET firm = 1`)
	s.load(m, RunRequest{}, 0)
	s.clean(m)
}

func TestCirclesOfTablesAreLoadedAndTheirKeysComeBack(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a, best int REFERENCES b); ALTER TABLE a ADD CONSTRAINT to_b FOREIGN KEY (b) REFERENCES b ON DELETE SET NULL DEFERRABLE`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2);
		CREATE TABLE a (id int PRIMARY KEY, firm int, b int); INSERT INTO a SELECT g, 1 + g % 2, g FROM generate_series(1, 100) g;
		CREATE TABLE b (id int PRIMARY KEY, firm int, a int, best int); INSERT INTO b SELECT g, 1 + g % 2, g, nullif(g, 100) + 2 FROM generate_series(1, 100) g;
		UPDATE b SET best = NULL WHERE best > 100; UPDATE a SET b = 1000 WHERE id = 3; UPDATE b SET best = 4 WHERE id = 5`)
	m := s.mapping("tables: [{from: a, key: firm}, {from: b, key: firm}]\n")
	_, err := s.run(t.Context(), m, RunRequest{})
	if err != nil && !errors.Is(err, tenant.ErrPartial) {
		t.Fatal(err)
	}
	s.clean(m)
	if got := s.rejects(); !slices.Contains(got, `23503|a|["3"]`) || !slices.Contains(got, `23503|b|["5"]`) {
		t.Errorf("rows that refer to nothing, or to another tenant's, are not set aside: %q", got)
	}
	s.want(`SELECT conname, pg_get_constraintdef(c.oid), convalidated FROM pg_constraint c WHERE connamespace = 't_f1'::regnamespace AND contype = 'f' ORDER BY 1`,
		"b_a_fkey|FOREIGN KEY (a) REFERENCES t_f1.a(id)|true", "b_best_fkey|FOREIGN KEY (best) REFERENCES t_f1.b(id)|true", "to_b|FOREIGN KEY (b) REFERENCES t_f1.b(id) ON DELETE SET NULL DEFERRABLE|true")
	s.want(`SELECT 'all', (SELECT count(*) FROM old.a) + (SELECT count(*) FROM old.b) - (SELECT count(*) FROM tenantctl.import_rejects) - (SELECT sum(loaded) FROM tenantctl.import_loads)`, "all|0")
}

// A tenant that gives the model lacks the keys that the killed load took away.
func TestKeysThatAreOwedAreStillOfTheModel(t *testing.T) {
	s := newStand(t, `CREATE TABLE "A b" ("I, d" int, "s(""x" int, up int, PRIMARY KEY ("I, d", "s(""x")); ALTER TABLE "A b" ADD CONSTRAINT "up (to)" FOREIGN KEY (up, "s(""x") REFERENCES "A b" ("I, d", "s(""x") ON UPDATE CASCADE`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2);
		CREATE TABLE "A b" ("I, d" int, "s(""x" int, up int, firm int); INSERT INTO "A b" SELECT g, 1, nullif(g + 1, 101), 1 + g % 2 FROM generate_series(1, 100) g; UPDATE "A b" SET up = up + 1 WHERE up < 100; UPDATE "A b" SET up = NULL WHERE up = 100; UPDATE "A b" SET up = 500 WHERE "I, d" = 90`)
	m := s.mapping("tables: [{from: A b, key: firm}]\n")
	for _, n := range []string{"f1", "f2"} {
		if _, err := s.service.Create(t.Context(), tenant.CreateRequest{Name: n}, false); err != nil {
			t.Fatal(err)
		}
	}
	s.options.Model = func(context.Context) (string, func(), error) { return "t_f1", func() {}, nil }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.options.Events = func(Event) { cancel() }
	if _, err := s.run(ctx, m, RunRequest{}); !errors.Is(err, tenant.ErrInterrupted) {
		t.Fatalf("%v", err)
	}
	s.want(`SELECT kind, count(*) FROM tenantctl.import_undo GROUP BY 1`, "foreign key|2")
	s.options.Events = nil
	_, err := s.run(t.Context(), m, RunRequest{})
	if !errors.Is(err, tenant.ErrPartial) {
		t.Fatalf("%v", err)
	}
	s.clean(m)
	s.want(`SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'up (to)' AND connamespace::regnamespace::text LIKE 't\_f%' ORDER BY 1`,
		`FOREIGN KEY (up, "s(""x") REFERENCES t_f1."A b"("I, d", "s(""x") ON UPDATE CASCADE`, `FOREIGN KEY (up, "s(""x") REFERENCES t_f2."A b"("I, d", "s(""x") ON UPDATE CASCADE`)
}

func TestTenantsOfDifferentVersionsAreRefused(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY)`, `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2); CREATE TABLE a (id int, firm int); INSERT INTO a VALUES (1, 1)`)
	for _, n := range []string{"f1", "f2"} {
		if _, err := s.service.Create(t.Context(), tenant.CreateRequest{Name: n}, false); err != nil {
			t.Fatal(err)
		}
		s.tables.version++
	}
	m := s.mapping("tables: [{from: a, key: firm}]\n")
	var e *tenant.Error
	if _, err := s.run(t.Context(), m, RunRequest{}); !errors.As(err, &e) || !errors.Is(err, tenant.ErrInvalid) || e.Tenant != "f1" || e.Hint != "run: tenantctl migrate" {
		t.Fatalf("%v", err)
	}
	s.want(`SELECT * FROM t_f1.a`)
	s.load(m, RunRequest{Tenants: []tenant.Name{"f1"}}, 0) // alone it is no matter
}

func TestTwoImportsAtOnceAreRefused(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY)`, `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1); CREATE TABLE a (id int, firm int); INSERT INTO a VALUES (1, 1)`)
	m := s.mapping("tables: [{from: a, key: firm}]\n")
	held, err := s.service.BeginImport(t.Context(), "old", map[string]any{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.run(t.Context(), m, RunRequest{}); !errors.Is(err, tenant.ErrBusy) {
		t.Fatalf("%v", err)
	}
	if err := held.End(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	s.load(m, RunRequest{}, 0)
	s.clean(m)
}

func TestTheSharedSchemaGetsItsTablesOnce(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE rates (id int PRIMARY KEY, v numeric(6,2) NOT NULL)`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2); CREATE TABLE a (id int, firm int); INSERT INTO a VALUES (1, 1);
		CREATE TABLE rates (id int, v text); INSERT INTO rates VALUES (1, '1.5'), (2, 'none'); CREATE TABLE lands (code text PRIMARY KEY, area bigint); INSERT INTO lands VALUES ('de', 1), ('fr', 2)`)
	m, err := LoadBytes("mapping.yaml", []byte("version: 1\nname: old\nshared_schema: common\nsources: {legacy: {url_env: LEGACY_TEST_URL, schema: old}}\ntenants: {from: firms, key: id, name: \"'f' || id\"}\n"+
		"tables:\n  - {from: a, key: firm}\n  - {from: rates, shared: schema}\n  - {from: lands, shared: schema}\n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LEGACY_TEST_URL", s.url)
	for range 2 {
		s.load(m, RunRequest{}, 1)
		s.clean(m)
	}
	s.want(`SELECT * FROM common.rates`, "1|1.50")
	s.want(`SELECT * FROM common.lands ORDER BY 1`, "de|1", "fr|2")
	s.want(`SELECT * FROM t_f1.rates`)
	s.sql(`UPDATE common.lands SET area = 3 WHERE code = 'de'`)
	if r, err := s.verify(m); !errors.Is(err, tenant.ErrDiffers) || !strings.Contains(shownAs(r), `[\"de\"]`) {
		t.Errorf("%v %s", err, shownAs(r))
	}
}
