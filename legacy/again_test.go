package legacy

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// cut runs an import until a condition in the catalog holds, and ends it as a kill does: nothing more is written.
func (s *stand) cut(m *Mapping, req RunRequest, until string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.options.Events = func(Event) {
		if s.rows(until)[0] == "true" {
			cancel()
		}
	}
	defer func() { s.options.Events = nil }()
	if _, err := s.run(ctx, m, req); err == nil || errors.Is(err, tenant.ErrPartial) {
		s.t.Fatal("it was not cut off")
	}
}

// refused wants a run to be refused with these words in it.
func (s *stand) refused(m *Mapping, req RunRequest, words ...string) {
	s.t.Helper()
	_, err := s.run(context.Background(), m, req)
	var e *tenant.Error
	if !errors.As(err, &e) {
		s.t.Fatalf("%v", err)
	}
	for _, w := range words {
		if !strings.Contains(e.Error()+" "+e.Hint, w) {
			s.t.Errorf("%s (%s): nothing of %q", e, e.Hint, w)
		}
	}
}

// mongo gives the stand documents beside its tables.
func (s *stand) mongo() func(firm int, collection string) *mongo.Collection {
	s.t.Helper()
	u, err := url.Parse(tenanttest.MongoURL(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := mongo.Connect(options.Client().ApplyURI(u.String()))
	if err != nil {
		s.t.Fatal(err)
	}
	prefix := tenanttest.Prefix(s.t)
	for n := 1; n <= 3; n++ {
		s.t.Cleanup(func() { _ = client.Database(fmt.Sprint(prefix, "f", n)).Drop(context.Background()) })
	}
	s.options.MongoDB = client
	catalog := tenant.NewCatalog(s.pool, "tester", 30*time.Second)
	s.service.Close()
	s.service = tenant.NewService(catalog, []tenant.Resource{s.tables}, tenant.Options{Naming: tenant.Naming{Prefix: prefix}, MaxParallel: 4})
	s.options.Service = s.service
	return func(firm int, collection string) *mongo.Collection {
		return client.Database(fmt.Sprint(prefix, "f", firm)).Collection(collection)
	}
}

// twoSources is a mapping of tables whose rows come from MongoDB, for the tenants of old.firms.
func (s *stand) twoSources(tables string) *Mapping {
	s.t.Helper()
	m := s.mapping("tables: [{from: firms, key: id, to_collection: none}]\n")
	two, err := LoadBytes("mapping.yaml", []byte("version: 1\nname: old\nsources: {legacy: {url_env: LEGACY_TEST_URL, schema: old}, docs: {url_env: LEGACY_MONGO}}\n"+
		"tenants: {source: legacy, from: firms, key: id, name: \"'f' || id\"}\ntables:\n"+tables))
	if err != nil {
		s.t.Fatal(err)
	}
	m.Sources, m.Tenants, m.Tables = two.Sources, two.Tenants, two.Tables
	return m
}

func documents(t *testing.T, c *mongo.Collection) []string {
	t.Helper()
	cur, err := c.Find(t.Context(), bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		t.Fatal(err)
	}
	var docs []bson.Raw
	if err := cur.All(t.Context(), &docs); err != nil {
		t.Fatal(err)
	}
	out := make([]string, len(docs))
	for n, d := range docs {
		out[n] = d.String()
	}
	return out
}

const notes = `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2);
	CREATE TABLE a (id int PRIMARY KEY, firm int, v text); INSERT INTO a SELECT g, 1 + g % 2, 'v' || g FROM generate_series(1, 10) g;
	CREATE TABLE b (id int PRIMARY KEY, firm int, a int); INSERT INTO b SELECT g, 1 + g % 2, g FROM generate_series(1, 10) g`

func TestReplaceEmptiesOnlyWhatItLoads(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a)`, notes)
	m := s.mapping("tables:\n  - {from: a, key: firm, mode: replace}\n  - {from: b, key: firm, mode: replace}\n")
	s.load(m, RunRequest{Tenants: []tenant.Name{"f1"}}, 0)
	s.sql(`INSERT INTO t_f1.a VALUES (99, 'own')`)
	s.load(m, RunRequest{}, 0)
	s.want(`SELECT (SELECT count(*) FROM t_f1.a), (SELECT count(*) FROM t_f2.a), (SELECT count(*) FROM t_f1.b)`, "6|5|5")
	s.sql(`INSERT INTO old.firms VALUES (3); INSERT INTO old.a VALUES (33, 3, 'x')`)
	s.load(m, RunRequest{}, 0)
	s.want(`SELECT (SELECT count(*) FROM t_f1.a), (SELECT count(*) FROM t_f2.a), (SELECT count(*) FROM t_f3.a)`, "6|5|1")
	s.load(m, RunRequest{Again: true}, 0)
	s.want(`SELECT (SELECT count(*) FROM t_f1.a), (SELECT count(*) FROM t_f2.a), (SELECT count(*) FROM t_f3.a)`, "5|5|1")
	s.clean(m)
}

func TestATableThatOthersReferToIsNotEmptiedAlone(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a)`, notes)
	m := s.mapping("tables:\n  - {from: a, key: firm}\n  - {from: b, key: firm}\n")
	s.load(m, RunRequest{}, 0)
	s.refused(m, RunRequest{Restart: []string{"a"}}, "a cannot be emptied", "rows of b refer to it", "--restart a,b")
	s.want(`SELECT count(*) FROM tenantctl.import_loads WHERE whole AND emptying IS NULL`, "4")
	s.want(`SELECT (SELECT count(*) FROM t_f1.a), (SELECT count(*) FROM t_f2.a)`, "5|5")
	s.load(m, RunRequest{Restart: []string{"a", "b"}}, 0)
	s.want(`SELECT (SELECT count(*) FROM t_f1.a), (SELECT count(*) FROM t_f2.b)`, "5|5")
	s.clean(m)
	// One that has no rows is no obstacle.
	s.sql(`DELETE FROM tenantctl.import_loads WHERE target = 'b'; TRUNCATE t_f1.b, t_f2.b`)
	s.load(m, RunRequest{Restart: []string{"a", "b"}}, 0)
	s.clean(m)
}

func TestEntriesOfOneTableAreRestartedTogether(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, notes)
	m := s.mapping("tables:\n  - {from: a, key: firm, where: id < 6, name: low}\n  - {from: a, key: firm, to: a, where: id > 5, name: high}\n")
	s.load(m, RunRequest{}, 0)
	s.refused(m, RunRequest{Restart: []string{"high"}}, "emptied as a whole", "--restart low")
	s.load(m, RunRequest{Restart: []string{"high", "low"}}, 0)
	s.want(`SELECT (SELECT count(*) FROM t_f1.a), (SELECT count(*) FROM t_f2.a)`, "5|5")
	s.clean(m)
}

func TestAnEmptyingThatWasCutOffIsGoneOnWith(t *testing.T) {
	s := newStand(t, `CREATE TABLE nothing (id int)`, notes)
	collection := s.mongo()
	m := s.mapping("tables:\n  - {from: a, key: firm, to_collection: a, mode: replace}\n")
	s.load(m, RunRequest{}, 0)
	// As a process leaves it that was killed when one of two tenants was emptied.
	for _, state := range []string{"due", "done"} {
		s.sql(`UPDATE tenantctl.import_loads SET whole = false, emptying = '` + state + `' WHERE tenant_id = (SELECT id FROM tenantctl.tenants WHERE name = 'f1')`)
		if state == "done" {
			if _, err := collection(1, "a").DeleteMany(t.Context(), bson.D{}); err != nil {
				t.Fatal(err)
			}
			s.sql(`UPDATE tenantctl.import_loads SET loaded = 0 WHERE NOT whole`)
		}
		if _, err := collection(1, "a").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 77}}); err != nil {
			t.Fatal(err)
		}
		s.sql(`UPDATE old.a SET v = v || '` + state + `'`)
		s.load(m, RunRequest{}, 0)
		one, two := documents(t, collection(1, "a")), documents(t, collection(2, "a"))
		want := 5
		if state == "done" {
			want = 6 // what came after it was emptied
		}
		if len(one) != want || len(two) != 5 || strings.Contains(one[0], `"v":"v2"`) || !strings.Contains(two[0], `"v1"`) {
			t.Errorf("%s: %q %q", state, one, two)
		}
		if _, err := collection(1, "a").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: 77}}); err != nil {
			t.Fatal(err)
		}
	}
}

// A row that is updated moves to another block of its table.
func TestASourceThatIsWrittenToLosesAndDoublesNothing(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE c (g int, h text, v text, PRIMARY KEY (g, h)); CREATE TABLE n (id int, v text)`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1);
		CREATE TABLE a (id int PRIMARY KEY, firm int DEFAULT 1, v text); INSERT INTO a SELECT g, 1, repeat('x', 200) FROM generate_series(1, 2000) g;
		CREATE TABLE c (g int, h text, firm int DEFAULT 1, v text, PRIMARY KEY (g, h)); INSERT INTO c SELECT g % 7, 'h''' || g, 1, repeat('x', 200) FROM generate_series(1, 2000) g;
		CREATE TABLE n (id int, firm int DEFAULT 1, v text); INSERT INTO n SELECT g, 1, repeat('x', 200) FROM generate_series(1, 2000) g`)
	s.options.Parallel = 1
	const begun = `SELECT count(*) FILTER (WHERE done) > 0 AND count(*) FILTER (WHERE NOT done) > 0 FROM tenantctl.import_parts`
	for _, table := range []string{"a", "c"} {
		m := s.mapping("tables: [{from: " + table + ", key: firm}]\n")
		m.Name = table
		s.cut(m, RunRequest{}, begun)
		s.sql(`DELETE FROM old.` + table + ` WHERE random() < 0.2`)
		s.sql(`VACUUM old.` + table)
		s.sql(fmt.Sprintf(`UPDATE old.%[1]s SET v = v || '!' WHERE random() < 0.5; UPDATE old.%[1]s SET v = v || '?' WHERE random() < 0.5`, table))
		s.load(m, RunRequest{}, 0)
		s.want(fmt.Sprintf(`SELECT count(*) FROM old.%[1]s WHERE NOT EXISTS (SELECT FROM t_f1.%[1]s t WHERE to_jsonb(t) - 'v' = to_jsonb(%[1]s) - 'v' - 'firm')`, table), "0")
	}
	m := s.mapping("tables: [{from: n, key: firm}]\n")
	m.Name = "n"
	s.cut(m, RunRequest{}, begun)
	s.sql(`UPDATE old.n SET v = v || '!' WHERE id > 1900`)
	s.refused(m, RunRequest{}, "it has no primary key and was written to", "--restart n")
	s.load(m, RunRequest{Restart: []string{"n"}}, 0)
	s.want(`SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE v LIKE '%!') FROM t_f1.n`, "2000|2000|100")
	s.clean(m)
	// Without a change the checkpoints hold.
	s.sql(`TRUNCATE t_f1.n; DELETE FROM tenantctl.imports`)
	s.cut(m, RunRequest{}, begun)
	s.load(m, RunRequest{}, 0)
	s.clean(m)
}

func TestAChangedMappingAsksForARestartAndIsNoDeadEnd(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, a int, x text)`, notes)
	tables := "tables:\n  - {from: a, key: firm}\n  - {from: b, key: firm, columns: {id: id, a: a}}\n"
	m := s.mapping(tables)
	s.load(m, RunRequest{}, 0)
	changed := s.mapping(strings.Replace(tables, "a: a}", "a: a, x: a}", 1))
	s.refused(changed, RunRequest{}, "mapping changed since run ", "table b", "--restart b")
	s.load(changed, RunRequest{Tables: []string{"a"}}, 0)
	r, err := s.verify(changed)
	if !errors.Is(err, tenant.ErrDiffers) || !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "table b: changed") }) {
		t.Errorf("%v %q", err, r.Notes)
	}
	s.sql(`INSERT INTO t_f2.b VALUES (99, 0)`)
	s.refused(changed, RunRequest{Restart: []string{"b"}}, "tenant f2", "b has 6 rows, and this import loaded 5", "mode: replace")
	s.sql(`DELETE FROM t_f2.b WHERE id = 99`)
	s.load(changed, RunRequest{Restart: []string{"b"}}, 0)
	s.want(`SELECT count(*), count(x) FROM t_f1.b`, "5|5")
	s.clean(changed)
	// How rows are loaded may change.
	s.load(s.mapping(strings.Replace(tables, "a: a}", "a: a, x: a}, mode: upsert, on_error: fail", 1)), RunRequest{}, 0)
	for _, without := range []string{"tables:\n  - {from: a, key: firm}\n", strings.Replace(tables, "{from: b, key: firm", "{from: b, shared: skip", 1)} {
		gone := s.mapping(without)
		r = s.load(gone, RunRequest{}, 0)
		if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "table b") }) {
			t.Errorf("%q", r.Notes)
		}
		s.clean(gone)
	}
}

func TestATableThatIsTakenOutOfTheMappingGetsBackWhatItsLoadTookAway(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, a int CONSTRAINT self REFERENCES b); CREATE INDEX b_a ON b (a)`, notes)
	m := s.mapping("tables:\n  - {from: a, key: firm}\n  - {from: b, key: firm}\n")
	s.cut(m, RunRequest{DeferIndexes: DeferAlways}, `SELECT count(*) > 0 FROM tenantctl.import_undo WHERE target = 'b'`)
	n, imports, err := s.service.LeftAway(t.Context())
	if err != nil || n == 0 || imports != "old" {
		t.Errorf("%d %q %v", n, imports, err)
	}
	gone := s.mapping("tables:\n  - {from: a, key: firm}\n")
	if _, err := s.verify(gone); !errors.Is(err, tenant.ErrDiffers) {
		t.Errorf("what is away is clean: %v", err)
	}
	s.load(gone, RunRequest{}, 0)
	s.clean(gone)
	s.want(`SELECT count(*) FROM pg_constraint WHERE conname = 'self' AND convalidated AND connamespace::regnamespace::text LIKE 't\_f%'`, "2")
	s.want(`SELECT count(*) FROM pg_indexes WHERE indexname = 'b_a' AND schemaname LIKE 't\_f%'`, "2")
}

func TestTwoKeysOfOneTenantAreRefused(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TABLE firms (id text PRIMARY KEY); INSERT INTO firms VALUES ('acme');
		CREATE TABLE a (id int PRIMARY KEY, firm text, v text); INSERT INTO a VALUES (1, 'acme', 'x')`)
	m := s.mapping("tables: [{from: a, key: firm}]\n")
	m.Tenants.Name = "id"
	s.load(m, RunRequest{}, 0)
	open := func(words ...string) {
		t.Helper()
		_, err := Open(t.Context(), m, s.options)
		for _, w := range words {
			if !errors.Is(err, tenant.ErrInvalid) || !strings.Contains(err.Error(), w) {
				t.Errorf("%v: nothing of %q", err, w)
			}
		}
	}
	s.sql(`INSERT INTO old.firms VALUES ('Foo'), ('foo')`)
	open("keys Foo and foo")
	s.sql(`DELETE FROM old.firms WHERE id <> 'acme'; UPDATE tenantctl.tenants SET name = 'bigco'; INSERT INTO old.firms VALUES ('bigco')`)
	open("keys acme and bigco mean one tenant, bigco")
	s.sql(`DELETE FROM old.firms WHERE id = 'acme'`)
	open("keys acme and bigco mean one tenant, bigco")
}

// restored is a tenant that another command gave another schema after an import had read its tenants.
func TestTenantsAreReadAgainOnceTheyAreHeld(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, a int)`, notes)
	m := s.mapping("tables: [{from: a, key: firm}]\n")
	s.load(m, RunRequest{}, 0)
	m = s.mapping("tables: [{from: b, key: firm}]\n")
	m.Name = "second"
	i, err := Open(t.Context(), m, s.options)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	s.sql(`ALTER SCHEMA t_f1 RENAME TO t_retired; CREATE SCHEMA t_new; SET search_path = t_new; ` + s.tables.model + `; RESET search_path;
		UPDATE tenantctl.tenants SET schema_name = 't_new' WHERE name = 'f1'`)
	if _, err := i.Run(t.Context(), RunRequest{}); err != nil {
		t.Fatal(err)
	}
	s.want(`SELECT (SELECT count(*) FROM t_retired.b), (SELECT count(*) FROM t_new.b)`, "0|5")
	s.sql(`UPDATE tenantctl.tenants SET state = 'deleted' WHERE name = 'f2'`)
	if _, err := i.Run(t.Context(), RunRequest{}); !errors.Is(err, tenant.ErrInvalid) || !strings.Contains(err.Error(), "f2") {
		t.Errorf("%v", err)
	}
}
