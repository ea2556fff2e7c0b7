package legacy

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// mariaWith starts a server, runs statements there, and opens it as a source.
func mariaWith(t *testing.T, statements ...string) (s *mysqlSource, admin *sql.DB, url string) {
	t.Helper()
	url = tenanttest.MariaDB(t)
	cfg, err := mysqlConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	admin = sql.OpenDB(connector)
	t.Cleanup(func() { _ = admin.Close() })
	admin.SetMaxOpenConns(1)
	mustMySQL(t, admin, statements...)
	return mariaSource(t, url, SourceSpec{}), admin, url
}

func mustMySQL(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, st := range statements {
		if _, err := db.Exec(st); err != nil {
			t.Fatalf("%s: %v", st, err)
		}
	}
}

func mariaSource(t *testing.T, url string, spec SourceSpec) *mysqlSource {
	t.Helper()
	s, err := openMySQL(context.Background(), &spec, url, "old")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s.(*mysqlSource)
}

// legacyShop is a small application whose customers share tables, with what is difficult in it.
var legacyShop = []string{
	"CREATE TABLE companies (id INT PRIMARY KEY, slug VARCHAR(30) NOT NULL UNIQUE, site VARCHAR(100))",
	"INSERT INTO companies VALUES (1, 'acme', 'acme.example'), (2, 'Beta', NULL)",
	"CREATE TABLE orders (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, company INT, placed DATETIME(3) NOT NULL, KEY (company), CONSTRAINT o_c FOREIGN KEY (company) REFERENCES companies (id))",
	"CREATE TABLE order_lines (order_id BIGINT UNSIGNED, no SMALLINT, `select` VARCHAR(40), `Weird \"Name\"` DECIMAL(10,2), PRIMARY KEY (order_id, no))",
	"INSERT INTO orders (id, company, placed) VALUES (1, 1, '2024-02-29 12:00:00.5'), (2, 2, '2024-03-01'), (3, NULL, '2024-03-02')",
	"INSERT INTO order_lines VALUES (1, 1, 'a\tb\nc\\\\d', 1.50), (1, 2, NULL, -0.10), (2, 1, '', 0), (3, 1, 'no company', 1), (9, 1, 'no order', 2)",
	"CREATE VIEW old_orders AS SELECT * FROM orders",
	"CREATE TABLE logs (company VARCHAR(20) COLLATE utf8mb4_unicode_ci, note TEXT)",
	"INSERT INTO logs VALUES ('1', 'x'), ('1', 'x'), (NULL, 'nobody')",
}

func TestMariaDBIsDescribed(t *testing.T) {
	s, _, _ := mariaWith(t, append(slices.Clone(legacyShop),
		"CREATE TABLE kinds (a TINYINT(1), b BIT(1), c BIT(5), d YEAR, e TIMESTAMP NULL, f TIME, g JSON, h LONGBLOB, i ENUM('x','y'), j CHAR(36), k FLOAT, l BIGINT UNSIGNED, m UUID)")...)
	tables, err := s.describe(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]*sourceTable{}
	for _, table := range tables {
		by[table.name] = table
	}
	if l := by["order_lines"]; !slices.Equal(l.primaryKey, []string{"order_id", "no"}) || l.column("select").length != 40 || l.column(`Weird "Name"`).kind != kindDecimal {
		t.Errorf("lines: %+v", l)
	}
	if o := by["orders"]; len(o.foreignKeys) != 1 || o.foreignKeys[0].table != "companies" || !slices.Equal(o.foreignKeys[0].references, []string{"id"}) || !o.column("placed").notNull {
		t.Errorf("orders: %+v", o)
	}
	if c := by["companies"]; len(c.unique) != 1 || c.unique[0][0] != "slug" {
		t.Errorf("companies: %+v", c)
	}
	if !by["old_orders"].view || by["orders"].view {
		t.Error("the view is taken for a table, or the other way round")
	}
	var kinds []string
	for _, c := range by["kinds"].columns {
		kinds = append(kinds, string(c.kind))
	}
	sameTexts(t, kinds, []string{"bool", "bool", "int", "int", "timestamptz", "time", "json", "bytes", "text", "text", "float", "int", "uuid"})
	if some, err := s.describe(context.Background(), []string{"logs", "gone"}); err != nil || len(some) != 1 {
		t.Errorf("of two tables, one of which is missing, came %d, %v", len(some), err)
	}
}

func linesQuery() *query {
	return &query{
		table: &Table{From: "order_lines", Key: "company", Via: []Hop{{Columns: Names{"order_id"}, Table: "orders", References: Names{"id"}}}},
		fields: []field{
			{name: "order_id", column: Column{From: "order_id"}, kind: kindInt, typ: "bigint", key: true},
			{name: "no", column: Column{From: "no"}, kind: kindInt, typ: "integer", key: true},
			{name: "select", column: Column{From: "select"}, kind: kindText, typ: "text"},
			{name: "price", column: Column{From: `Weird "Name"`}, kind: kindDecimal, typ: "numeric(10,2)"},
			{name: "twice", column: Column{SQL: "x.no * 2"}, kind: kindInt, typ: "integer"},
			{name: "kind", column: Column{Value: new("it's \\ a line")}, kind: kindText, typ: "text"},
			{name: "at", column: Column{Lookup: &Lookup{Table: "orders", Match: map[string]string{"id": "order_id"}, Take: "placed"}}, kind: kindTimestamp, typ: "timestamp without time zone"},
			{name: "left out", column: Column{Default: true}},
		},
		maxRow: 1000,
	}
}

func TestRowsOfMariaDBReachTheirTenantThroughForeignKeys(t *testing.T) {
	s, _, _ := mariaWith(t, legacyShop...)
	q := linesQuery()
	got, refs := readAll(t, s, q)
	sameTexts(t, got, []string{
		`1|1|1|a\tb\nc\\d|1.50|2|it's \\ a line|2024-02-29 12:00:00.500`,
		`1|1|2|\N|-0.10|4|it's \\ a line|2024-02-29 12:00:00.500`,
		`2|2|1||0.00|2|it's \\ a line|2024-03-01 00:00:00.000`,
		`NULL|3|1|no company|1.00|2|it's \\ a line|2024-03-02 00:00:00.000`,
		`orphan of the row of orders that it refers to is missing, or its own reference is NULL`,
	})
	originals, err := s.originals(context.Background(), q, append(refs, refs[0]))
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	var rows []json.RawMessage
	for _, o := range originals {
		shown, rows = append(shown, o.key+" "+string(o.row)), append(rows, o.row)
	}
	sameTexts(t, shown, []string{
		`["1","1"] {"order_id":1,"no":1,"select":"a\tb\nc\\d","Weird \"Name\"":1.50}`,
		`["1","2"] {"order_id":1,"no":2,"select":null,"Weird \"Name\"":-0.10}`,
		`["2","1"] {"order_id":2,"no":1,"select":"","Weird \"Name\"":0.00}`,
		`["3","1"] {"order_id":3,"no":1,"select":"no company","Weird \"Name\"":1.00}`,
		`["9","1"] {"order_id":9,"no":1,"select":"no order","Weird \"Name\"":2.00}`,
		`["1","1"] {"order_id":1,"no":1,"select":"a\tb\nc\\d","Weird \"Name\"":1.50}`,
	})
	rows = rows[:5]
	rows[4] = json.RawMessage(strings.Replace(string(rows[4]), `"order_id":9`, `"order_id":2`, 1))
	var again []string
	if err := s.reread(context.Background(), q, rows, func(r *record) error { again = append(again, taken(r)); return nil }); err != nil {
		t.Fatal(err)
	}
	sameTexts(t, again, append(got[:4:4], `2|2|1|no order|2.00|2|it's \\ a line|2024-03-01 00:00:00.000`))
	if _, err := s.originals(context.Background(), q, [][]byte{[]byte(`["77","1"]`)}); err == nil {
		t.Error("a row that is gone was found")
	}
}

func TestRowsWithoutAPrimaryKeyAreFoundAgain(t *testing.T) {
	s, _, _ := mariaWith(t, append(slices.Clone(legacyShop), "CREATE TABLE tags (company VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, t INT)", "INSERT INTO tags VALUES ('1', 7)")...)
	q := &query{table: &Table{From: "logs", Key: "company"}, fields: []field{
		{name: "note", column: Column{From: "note"}, kind: kindText, typ: "text"},
		{name: "n", column: Column{SQL: "CHAR_LENGTH(x.note)"}, kind: kindInt, typ: "integer"},
		{name: "same", column: Column{SQL: "(SELECT COUNT(*) FROM logs l WHERE l.company = x.company)"}, kind: kindInt, typ: "integer"},
	}}
	got, refs := readAll(t, s, q)
	slices.Sort(got)
	sameTexts(t, got, []string{"1|x|1|2", "1|x|1|2", "NULL|nobody|6|0"})
	originals, err := s.originals(context.Background(), q, refs)
	if err != nil {
		t.Fatal(err)
	}
	rows := []json.RawMessage{originals[0].row, originals[1].row, originals[2].row}
	var again []string
	if err := s.reread(context.Background(), q, rows, func(r *record) error { again = append(again, taken(r)); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(again)
	sameTexts(t, again, got)
}

func TestPartsCoverEachRowOnce(t *testing.T) {
	s, _, _ := mariaWith(t,
		"CREATE TABLE big (id BIGINT PRIMARY KEY, k INT, v VARCHAR(100))",
		"INSERT INTO big SELECT CAST(seq AS SIGNED) * 3 - 5000, seq % 7, REPEAT('v', 50) FROM seq_1_to_5000",
		"CREATE TABLE empty (id INT PRIMARY KEY, k INT)",
		"CREATE TABLE edges (id BIGINT UNSIGNED PRIMARY KEY, k INT)", "INSERT INTO edges VALUES (0, 1), (18446744073709551615, 2)",
		"CREATE TABLE words (w VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, k INT)", "INSERT INTO words SELECT CONCAT('Wö', seq), 1 FROM seq_1_to_300",
		"CREATE TABLE sizes (s ENUM('z','a','m') PRIMARY KEY, k INT)", "INSERT INTO sizes VALUES ('z', 1), ('a', 1), ('m', 1)")
	ctx := context.Background()
	for table, want := range map[string]int{"big": 5000, "empty": 0, "edges": 2, "words": 300, "sizes": 3} {
		described, err := s.table(ctx, table)
		if err != nil {
			t.Fatal(err)
		}
		q := &query{table: &Table{From: table, Key: "k"}, fields: []field{{name: "id", column: Column{From: described.primaryKey[0]}, kind: kindText, key: true}}}
		parts, err := s.parts(ctx, q, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		same, err := s.parts(ctx, q, 10_000)
		if err != nil || !slices.Equal(parts, same) {
			t.Errorf("%s: the parts were %v, and then %v, %v", table, parts, same, err)
		}
		if table == "big" && len(parts) < 10 {
			t.Errorf("%d parts only", len(parts))
		}
		seen := map[string]bool{}
		for _, p := range parts {
			after, left := "", 1000 // stopped again and again
			for stopped := true; stopped; {
				stopped = false
				n := 0
				err := s.read(ctx, q, p, after, func(r *record) error {
					if n == left {
						stopped = true
						return errEnough
					}
					n++
					if seen[string(r.line)] {
						return fmt.Errorf("%s came twice", r.line)
					}
					seen[string(r.line)], after = true, r.after
					return nil
				})
				if err != nil && !errors.Is(err, errEnough) {
					t.Fatal(err)
				}
				if stopped && after == "" {
					t.Fatal("there is no way to go on")
				}
				left = 37
			}
		}
		if len(seen) != want {
			t.Errorf("%s: %d rows, want %d", table, len(seen), want)
		}
	}
}

func TestTheSnapshotIsOneMomentOnAllConnections(t *testing.T) {
	s, admin, url := mariaWith(t, append(slices.Clone(legacyShop), "CREATE TABLE old_engine (id INT) ENGINE=MyISAM",
		"CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'reader-secret'", "GRANT SELECT ON legacy.* TO reader@'127.0.0.1'")...)
	ctx := context.Background()
	count := func(s *mysqlSource) int {
		t.Helper()
		n := 0
		q := linesQuery()
		if err := s.read(ctx, q, part{}, "", func(*record) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	limits, err := s.begin(ctx)
	if err != nil || limits != "their engine has no snapshots: old_engine" {
		t.Errorf("limits %q, %v", limits, err)
	}
	weak := mariaSource(t, strings.Replace(url, "legacy:legacy-secret", "reader:reader-secret", 1), SourceSpec{MaxConnections: 3})
	limits, err = weak.begin(ctx)
	if err != nil || !strings.Contains(limits, "RELOAD") {
		t.Errorf("limits %q, %v", limits, err)
	}
	// It is not locked any more.
	mustMySQL(t, admin, "INSERT INTO order_lines VALUES (1, 9, 'late', 1)")
	// Each connection is used in turn.
	for range 4 {
		if n := count(s); n != 5 {
			t.Errorf("%d rows, the snapshot has 5", n)
		}
	}
	if n := count(weak); n != 5 {
		t.Errorf("over one connection: %d rows, the snapshot has 5", n)
	}
	s.end()
	if n := count(s); n != 6 {
		t.Errorf("%d rows after the snapshot, want 6", n)
	}
}

func TestATenantListInMariaDB(t *testing.T) {
	s, _, _ := mariaWith(t, legacyShop...)
	for _, c := range []struct {
		list TenantList
		want []string
	}{
		{TenantList{From: "companies", Key: "id", Name: "LOWER(slug)", Domains: []string{"site"}, Labels: map[string]string{"was": "CONCAT('c', id)"}}, []string{"1 acme [acme.example] map[was:c1]", "2 beta [] map[was:c2]"}},
		{TenantList{From: "companies", Key: "id", Where: "x.site IS NULL"}, []string{"2 2 [] map[]"}},
		{TenantList{Query: "SELECT slug AS s FROM companies ORDER BY id", Key: "s"}, []string{"acme acme [] map[]", "Beta Beta [] map[]"}},
		{TenantList{From: "logs", Key: "company", Distinct: true, Name: "CONCAT('t', company)"}, []string{"1 t1 [] map[]"}},
	} {
		var got []string
		if err := s.tenants(context.Background(), &c.list, func(r tenantRow) error {
			got = append(got, fmt.Sprint(*r.key, " ", *r.name, " ", r.domains, " ", r.labels))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		sameTexts(t, got, c.want)
	}
}

func TestPoisonOfMariaDBIsPassedOnToBeRefused(t *testing.T) {
	s, _, _ := mariaWith(t, "SET sql_mode = ''",
		"CREATE TABLE poison (id INT PRIMARY KEY, tenant VARCHAR(20), d DATE, at DATETIME, big LONGBLOB)",
		"INSERT INTO poison VALUES (1, NULL, '0000-00-00', '0000-00-00', NULL), (2, 'a', '2024-00-10', NULL, REPEAT('x', 5000)), (3, 'a', NULL, NULL, X'00')")
	q := &query{table: &Table{From: "poison", Key: "tenant"}, maxRow: 1000, fields: []field{
		{name: "id", column: Column{From: "id"}, kind: kindInt, key: true},
		{name: "d", column: Column{From: "d"}, kind: kindDate},
		{name: "at", column: Column{From: "at"}, kind: kindInstant},
		{name: "big", column: Column{From: "big"}, kind: kindBytes},
	}}
	got, refs := readAll(t, s, q)
	sameTexts(t, got, []string{`NULL|1|0000-00-00|0000-00-00 00:00:00+00|\N`, "too long: 10000", `a|3|\N|\N|\\x00`})
	originals, err := s.originals(context.Background(), q, refs)
	if err != nil {
		t.Fatal(err)
	}
	if o := originals[0]; o.key != `["1"]` || string(o.row) != `{"id":1,"tenant":null,"d":"0000-00-00","at":"0000-00-00 00:00:00","big":null}` {
		t.Errorf("got %s %s", o.key, o.row)
	}
	if o := originals[1]; string(o.row) != "null" {
		t.Errorf("the row that is too long was kept: %d bytes", len(o.row))
	}
}

func TestRowsOfMariaDBBecomeDocumentsWithTheirChildren(t *testing.T) {
	s, _, _ := mariaWith(t, append(slices.Clone(legacyShop),
		"CREATE TABLE docs (id BIGINT PRIMARY KEY, tenant VARCHAR(20), body JSON, b BLOB, f DOUBLE, ok TINYINT(1), d DATE, at TIMESTAMP NULL, note TEXT, bits BIT(5))",
		`INSERT INTO docs VALUES (9007199254740993, 'a', '{"x": [1, 2], "y": "\\"z\\""}', X'0001ff', 0.5, 1, '1969-12-31', '2024-02-29 12:00:00', 'quote " slash \\ nl \n tab \t one `+"\x01"+` é 😀', b'11')`,
		`INSERT INTO docs (id, tenant, body) VALUES (2, 'a', '{}'), (3, 'a', '[1]'), (4, 'a', NULL)`)...)
	ctx := context.Background()
	documents := func(q *query) (got []string) {
		t.Helper()
		q.document = true
		if err := s.read(ctx, q, part{}, "", func(r *record) error {
			if r.line == nil {
				got = append(got, taken(r))
				return nil
			}
			values, _ := splitLine(r.line, nil, nil)
			var doc bson.D
			if err := bson.UnmarshalExtJSON(values[0], false, &doc); err != nil {
				t.Errorf("%s: %v", values[0], err)
			}
			got = append(got, string(r.key)+" "+string(values[0]))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	orders := &query{
		table: &Table{From: "orders", Key: "company", ToCollection: "orders", Embed: map[string]*Embed{"lines": {From: "order_lines", Match: map[string]string{"order_id": "id"}}}},
		fields: []field{
			{name: "_id", column: Column{From: "id"}, kind: kindInt, key: true},
			{name: "placed", column: Column{From: "placed"}, kind: kindTimestamp},
			{name: "n", column: Column{SQL: "x.id + 1"}},
			{name: "s", column: Column{SQL: "CONCAT('\"', x.id)"}},
			{name: "v", column: Column{Value: new("'\"")}},
		},
	}
	sameTexts(t, documents(orders), []string{
		`1 {"_id":{"$numberLong":"1"},"placed":{"$date":{"$numberLong":"1709208000500"}},"n":2,"s":"\"1","v":"'\"","lines":[{"no":1,"select":"a\tb\nc\\d","Weird \"Name\"":{"$numberDecimal":"1.50"}},{"no":2,"select":null,"Weird \"Name\"":{"$numberDecimal":"-0.10"}}]}`,
		`2 {"_id":{"$numberLong":"2"},"placed":{"$date":{"$numberLong":"1709251200000"}},"n":3,"s":"\"2","v":"'\"","lines":[{"no":1,"select":"","Weird \"Name\"":{"$numberDecimal":"0.00"}}]}`,
		` {"_id":{"$numberLong":"3"},"placed":{"$date":{"$numberLong":"1709337600000"}},"n":4,"s":"\"3","v":"'\"","lines":[{"no":1,"select":"no company","Weird \"Name\"":{"$numberDecimal":"1.00"}}]}`,
	})
	docs := &query{table: &Table{From: "docs", Key: "tenant", ToCollection: "docs"}}
	for _, name := range []string{"id", "body", "b", "f", "ok", "d", "at", "note", "bits"} {
		docs.fields = append(docs.fields, field{name: name, column: Column{From: name}})
	}
	got := documents(docs)
	want := `a {"id":{"$numberLong":"9007199254740993"},"body":{"x": [1, 2], "y": "\"z\""},"b":{"$binary":{"base64":"AAH/","subType":"00"}},"f":{"$numberDouble":"0.5"},"ok":true,"d":{"$date":{"$numberLong":"-86400000"}},"at":{"$date":{"$numberLong":"1709208000000"}},"note":"quote \" slash \\ nl \n tab \t one \u0001 é 😀","bits":3}`
	got = got[len(got)-1:]
	if got[0] != want {
		t.Errorf("got\n%s\nwant\n%s", got[0], want)
	}
	docs.table.Document, docs.fields = "body", []field{{name: "_id", column: Column{From: "id"}, key: true}}
	sameTexts(t, documents(docs), []string{
		`a {"_id":{"$numberLong":"2"}}`,
		"broken: its document is no JSON object, or was cut off at the source's max_allowed_packet",
		"broken: its document is no JSON object, or was cut off at the source's max_allowed_packet",
		`a {"_id":{"$numberLong":"9007199254740993"},"x": [1, 2], "y": "\"z\""}`,
	})
	refs := [][]byte{[]byte(`["2"]`)}
	originals, err := s.originals(ctx, docs, refs)
	if err != nil || originals[0].key != `["2"]` || !json.Valid(originals[0].row) {
		t.Errorf("got %+v, %v", originals, err)
	}
}

func TestErrorsOfMariaDBKeepThePasswordAndTellTheWayOut(t *testing.T) {
	s, _, url := mariaWith(t, legacyShop...)
	ctx := context.Background()
	open := func(url string) error {
		s, err := openMySQL(ctx, &SourceSpec{}, url, "old")
		if err == nil {
			s.close()
		}
		return err
	}
	for _, c := range []struct {
		url  string
		kind error
	}{
		{strings.Replace(url, "legacy-secret", "wrong-secret", 1), tenant.ErrUnreachable},
		{strings.Replace(url, "/legacy", "/gone", 1), tenant.ErrUnreachable},
		{"mysql://u:very-secret@127.0.0.1:1/db", tenant.ErrUnreachable},
		{"mysql://u:very-secret@host:port/db", tenant.ErrInvalid},
		{"mysql://u:very-secret@127.0.0.1/db?tls=very-secret", tenant.ErrInvalid},
		{"mysql://u:very-secret@127.0.0.1/", tenant.ErrInvalid},
		{"mysql://127.0.0.1/db", tenant.ErrInvalid},
	} {
		if err := open(c.url); !errors.Is(err, c.kind) || strings.Contains(fmt.Sprintf("%+v", err), "secret") {
			t.Errorf("%v", err)
		}
	}
	q := linesQuery()
	q.table.Where = "x.gone = 1"
	if err := s.read(ctx, q, part{}, "", nil); !errors.Is(err, tenant.ErrInvalid) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("got %v", err)
	}
	q.table.Where = "gone(x.no) = 1"
	if err := s.read(ctx, q, part{}, "", nil); !errors.Is(err, tenant.ErrInvalid) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("got %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.read(canceled, linesQuery(), part{}, "", func(*record) error { return nil }); !errors.Is(err, context.Canceled) && !errors.Is(err, tenant.ErrInterrupted) {
		t.Errorf("got %v", err)
	}
}
