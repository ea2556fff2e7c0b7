package legacy

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tenantctl/tenantctl/tenant"
)

const goodMapping = `version: 1
name: shop
sources:
  legacy: {url: "postgres://me:hunter2@localhost/old"}
tenants:
  from: companies
  key: id
  name: lower(name)
tables:
  - from: orders
    key: company_id
  - from: order_lines
    via:
      - {columns: order_id, table: orders, references: id}
    key: company_id
    to: lines
    columns:
      id: id
      select: '"Weird Name"'
      "Weird Name": {sql: "upper(x.name)"}
      price: {value: 1.50}
      note: null
`

// expectFaults asserts the very faults of a mapping called m.yaml, in their order.
func expectFaults(t *testing.T, content string, want ...string) {
	t.Helper()
	_, err := LoadBytes("m.yaml", []byte(content))
	var faults *Faults
	if !errors.As(err, &faults) {
		t.Fatalf("got %v, want *Faults\n%s", err, content)
	}
	got := make([]string, len(faults.Faults))
	for i, f := range faults.Faults {
		got[i] = f.String()
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !errors.Is(err, tenant.ErrInvalid) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestFillsInWhatTheFileLeavesOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(path, []byte(goodMapping), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	orders, lines := m.Tables[0], m.Tables[1]
	if m.Tenants.Source != "legacy" || orders.Source != "legacy" || orders.To != "orders" || orders.Mode != ModeInsert || orders.OnError != OnErrorReject || orders.Triggers != TriggersFire {
		t.Errorf("got %+v", orders)
	}
	if lines.To != "lines" || lines.Columns.Get("select").From != `"Weird Name"` || *lines.Columns.Get("price").Value != "1.50" || !lines.Columns.Get("note").Default {
		t.Errorf("got %+v", lines)
	}
}

func TestNamesTheTargetOfFilesWithoutFolderAndEndings(t *testing.T) {
	m := &Mapping{Sources: map[string]*SourceSpec{"f": {Path: "dump"}}}
	for from, want := range map[string]string{"a/orders.csv.gz": "orders", "orders.ndjson": "orders", "orders": "orders", "orders/": "orders", "o.rders.jsonl.zst": "o.rders"} {
		m.Tables = []*Table{{From: from}}
		m.Tenants = TenantList{}
		if m.fillDefaults(); m.Tables[0].To != want {
			t.Errorf("%s becomes %s", from, m.Tables[0].To)
		}
	}
}

func TestReportsEveryFaultOfAMappingAtOnce(t *testing.T) {
	expectFaults(
		t, `version: 2
nmae: shop
sources:
  legacy:
    url: oracle://me:hunter2@host/x
    max_connections: 0
    delimiter: ","
  Old One: {path: a, url: "postgres://h/"}
tenants:
  source: lagacy
  form: companies
  key: 7
  query: select 1
  where: a
shared_schema: pg_shared
tables:
  - source: legacy
    from: orders
    key: id
    shared: coppy
    mode: upset
    mode: insert
  - source: legacy
    from: lines
    via: [{columns: [a, b], table: t, references: c}]
  - from: orders
    shared: choose
    source: legacy
    document: x
    columns:
      a: {from: b, sql: c}
      b: [1]
      c: {lookup: {table: a, match: {}}}
`,
		"m.yaml:1:10: version: this program reads 1 alone",
		`m.yaml:2:1: unknown key "nmae"; did you mean name?`,
		"m.yaml:5:10: url: does not begin with postgres://, mysql:// or mongodb://",
		"m.yaml:6:22: max_connections: is less than 1",
		"m.yaml:7:16: delimiter: is for CSV files, and this source has no path",
		`m.yaml:8:3: the name "Old One" is not made of a-z, 0-9, _ and -, up to 63 of them`,
		`m.yaml:10:11: source: "lagacy" is not one of the sources; did you mean legacy?`,
		`m.yaml:11:3: unknown key "form"; did you mean from?`,
		"m.yaml:12:8: tenants.key: found a number in place of text; put it in quotes",
		"m.yaml:14:10: where: is for from; write the condition into query",
		`m.yaml:15:16: shared_schema: "pg_shared" is in use for something else; choose another name`,
		`m.yaml:20:13: shared: "coppy" is not one of copy, skip, schema; did you mean copy?`,
		`m.yaml:21:11: mode: "upset" is not one of insert, upsert, replace; did you mean upsert?`,
		`m.yaml:22:5: "mode" is here twice, first on line 21; remove one`,
		"m.yaml:25:5: via needs key, the column with the tenant's key in its last table",
		`m.yaml:26:5: "orders" has the target "orders", as the table on line 17 has; give this entry a name of its own with name`,
		`m.yaml:27:13: shared: choose copy, skip or schema for "orders"`,
		"m.yaml:29:15: document: is for documents, and this table has no to_collection",
		"m.yaml:31:7: columns.a: has more than one of from, sql, value and lookup; keep one",
		"m.yaml:32:7: columns.b: found a list in place of text or keys",
		"m.yaml:33:11: columns.c.lookup: the key take is missing",
		"m.yaml:33:30: columns.c.lookup.match: is empty",
	)
}

func TestReportsAMisspelledKeyOnceAndNotAsMissingToo(t *testing.T) {
	expectFaults(
		t, strings.ReplaceAll(goodMapping, "key: ", "kee: "),
		`m.yaml:7:3: unknown key "kee"; did you mean key?`,
		`m.yaml:11:5: unknown key "kee"; did you mean key?`,
		`m.yaml:15:5: unknown key "kee"; did you mean key?`,
	)
}

func TestRefusesAFileThatIsNoMapping(t *testing.T) {
	cases := []struct{ file, want string }{
		{"", "m.yaml:1:1: the file is empty; tenantctl import plan writes a first mapping"},
		{"# nothing\n", "m.yaml:1:1: the file is empty; tenantctl import plan writes a first mapping"},
		{"- a", "m.yaml:1:1: found a list in place of keys"},
		{"a:\n\tb: c", "m.yaml:2:2: is not YAML: found character that cannot start any token; indent with spaces instead of tabs, and put values with special characters in quotes"},
		{"a: *hunter2", "m.yaml:1:1: is not YAML: a value that begins with * must be in quotes"},
		{goodMapping + "---\na: b", "m.yaml:23:1: a second YAML document begins here; keep one"},
		{strings.Replace(goodMapping, "name: shop", "name: &n shop\nshared_schema: *n", 1), "m.yaml:3:1: an alias such as *name cannot be used here; write out the value"},
		{strings.Replace(goodMapping, "name: shop", "name: !env shop", 1), `m.yaml:2:7: the tag "!env" means nothing here; leave it out`},
		{strings.Replace(goodMapping, "name: shop", "name: shop\n? [a]\n: b", 1), "m.yaml:3:3: found a list in place of the name of a key"},
	}
	for _, c := range cases {
		t.Run(c.want, func(t *testing.T) { expectFaults(t, c.file, c.want) })
	}
}

func TestRefusesOneFaultWithItsPlaceAndWayOut(t *testing.T) {
	const head = "version: 1\nname: a\nsources: {s: {url: 'postgres://h/d'}}\ntenants: {from: c, key: id}\n"
	const files = "version: 1\nname: a\nsources: {s: {path: d}}\ntenants: {from: c, key: id}\n"
	const two = "version: 1\nname: a\nsources: {s: {url_env: A}, t: {path: d}}\ntenants: {source: s, from: c, key: id}\n"
	cases := []struct{ file, want string }{
		{head + "tables: [{from: a}]", `m.yaml:5:10: "a" needs key, the column with the tenant's key, or shared`},
		{head + "tables: [{from: a, key: b, shared: copy}]", `m.yaml:5:36: "a" has key and shared; keep key if its rows belong to tenants, shared if not`},
		{head + "tables: [{from: a, shared: choose}]", `m.yaml:5:28: shared: choose copy, skip or schema for "a"`},
		{head + "tables: [{from: a, shared: schema}]", "m.yaml:5:28: shared: schema needs shared_schema at the top of the mapping, the name of that schema"},
		{head + "tables: [{from: a, key: k, to: b, to_collection: c}]", "m.yaml:5:50: to and to_collection are both here; give the rows that go to both a table entry each"},
		{head + "tables: [{from: a, key: k, embed: {d: {from: x, match: {a: b}}}}]", "m.yaml:5:28: embed: is for documents, and this table has no to_collection"},
		{head + "tables: [{from: a, key: k, to_collection: c, document: d, columns: {a: b}}]", "m.yaml:5:59: columns and document are both here; the document is either made of columns or is one column"},
		{head + "tables: [{from: a, key: k, to_collection: c, triggers: skip}]", "m.yaml:5:56: triggers: collections have none; remove it"},
		{head + "tables: [{from: a, key: k, to_collection: system.c}]", `m.yaml:5:43: to_collection: "system.c" is no name for a collection`},
		{head + "tables: [{from: a, key: k, to_collection: c, columns: {a: b}, embed: {a: {from: x, match: {a: b}}}}]", `m.yaml:5:71: embed: "a" is one of columns already; choose another name`},
		{head + "tables: [{from: a, key: k}, {from: b, key: k, to: a}]", `m.yaml:5:51: "b" has the target "a", as the table on line 5 has; give this entry a name of its own with name`},
		{head + "tables: [{from: a, key: k, to: goose_db_version}]", `m.yaml:5:32: "goose_db_version" is where tenantctl keeps versions; choose another target`},
		{head + "tables: [{from: a, key: k, via: [{columns: [a, b], table: t, references: c}]}]", "m.yaml:5:74: via[0]: has 2 columns and 1 reference; each column refers to one"},
		{head + "tables: [{from: a, key: k, via: [{columns: a, table: t}]}]", "m.yaml:5:34: via[0]: the key references is missing"},
		{head + "tables: [{from: a, key: k, columns: {a: {}}}]", "m.yaml:5:38: columns.a: is empty"},
		{head + "tables: [{from: a, key: k, columns: {a: 1}}]", "m.yaml:5:41: columns.a: found a number in place of text or keys; put it in quotes"},
		{head + "tables: [{from: a, key: k, columns: {a: {value: 1, from: b}}}]", "m.yaml:5:38: columns.a: has more than one of from, sql, value and lookup; keep one"},
		{head + "tables: [{from: '', key: k}]", "m.yaml:5:17: from: is empty"},
		{head + "tables: []", "m.yaml:5:1: tables: is empty"},
		{head + "tables: [{from: a, key: k, to: " + strings.Repeat("n", 64) + "}]", "m.yaml:5:32: to: is longer than the 63 bytes that PostgreSQL allows"},
		{head + "shared_schema: tenantctl\ntables: [{from: a, shared: schema}]", `m.yaml:5:16: shared_schema: "tenantctl" is in use for something else; choose another name`},
		{files + "tables: [{from: a, key: k, where: b}]", "m.yaml:5:35: where: a source of files cannot do this; it is for PostgreSQL and MySQL"},
		{files + "tables: [{from: a, key: k, columns: {b: {sql: c}}}]", "m.yaml:5:47: columns.b.sql: a source of files cannot do this; it is for PostgreSQL and MySQL"},
		{files + "tables: [{from: a, key: k, columns: {b: {lookup: {table: a, match: {b: c}, take: d}}}}]", "m.yaml:5:42: columns.b.lookup: a source of files cannot do this; it is for PostgreSQL and MySQL"},
		{strings.Replace(files, "from: c", "query: c", 1) + "tables: [{from: a, key: k}]", "m.yaml:4:18: tenants.query: a source of files cannot do this; it is for PostgreSQL and MySQL"},
		{strings.Replace(head, "postgres://h/d", "mongodb://h/d", 1) + "tables: [{from: a, key: k, columns: {b: {sql: c}}}]", "m.yaml:5:47: columns.b.sql: a MongoDB source cannot do this; it is for PostgreSQL and MySQL"},
		{strings.Replace(head, "'postgres://h/d'", "'mysql://h/d', schema: x", 1) + "tables: [{from: a, key: k}]", "m.yaml:3:43: schema: PostgreSQL alone has schemas; name the database in the URL"},
		{strings.Replace(head, "url: 'postgres://h/d'", "", 1) + "tables: [{from: a, key: k}]", "m.yaml:3:11: sources.s: one of the keys url, url_env, url_file, path is missing"},
		{strings.Replace(head, "from: c, ", "", 1) + "tables: [{from: a, key: k}]", "m.yaml:4:1: tenants: one of the keys from, query is missing"},
		{strings.Replace(head, "key: id", "key: id, labels: {'a b': c}", 1) + "tables: [{from: a, key: k}]", `m.yaml:4:38: labels: "a b" is no key of a label; use up to 63 letters, digits, '.', '_', '/' and '-', beginning and ending with a letter or digit`},
		{two + "tables: [{from: a, key: k}]", "m.yaml:5:10: source is missing: there are s, t"},
		{two + "tables: [{from: a, key: k, source: z}]", `m.yaml:5:36: source: "z" is not one of the sources; there is s, t`},
	}
	for _, c := range cases {
		t.Run(c.want, func(t *testing.T) { expectFaults(t, c.file, c.want) })
	}
}

func TestTheSchemaIsTheOneThatMappingsName(t *testing.T) {
	var schema struct {
		ID         string         `json:"$id"`
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal(Schema, &schema); err != nil || schema.Properties["tables"] == nil || !strings.HasSuffix(schema.ID, "/legacy/mapping.schema.json") {
		t.Errorf("got %v, %+v", err, schema)
	}
}

func TestFindsTheURLWhereTheMappingSaysAndNeverShowsIt(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"url": " postgres://u:hunter2@h/d\n", "wrong": "oracle://u:hunter2@h/d"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("LEGACY_URL", "mysql://u:hunter2@h/d")
	t.Setenv("EMPTY_URL", " ")
	for _, c := range []struct {
		spec      SourceSpec
		url, want string
	}{
		{SourceSpec{URL: "mongodb://h/d"}, "mongodb://h/d", ""},
		{SourceSpec{URLEnv: "LEGACY_URL"}, "mysql://u:hunter2@h/d", ""},
		{SourceSpec{URLFile: "url"}, "postgres://u:hunter2@h/d", ""},
		{SourceSpec{URLFile: filepath.Join(dir, "url")}, "postgres://u:hunter2@h/d", ""},
		{SourceSpec{Path: "."}, "", ""},
		{SourceSpec{URLEnv: "EMPTY_URL"}, "", `the environment variable "EMPTY_URL" is not set`},
		{SourceSpec{URLFile: "gone"}, "", `cannot read the file "gone": no such file or directory`},
		{SourceSpec{URLFile: "wrong"}, "", `the file "wrong" holds no URL of a known kind`},
		{SourceSpec{URLFile: "postgres://u:hunter2@h/d"}, "", "cannot read the file xxxxx: no such file or directory"},
	} {
		url, err := c.spec.resolve(dir)
		if url != c.url || (err == nil) != (c.want == "") {
			t.Errorf("%+v: got %s, %v", c.spec, url, err)
		}
		if err != nil && (err.Error() != c.want || !errors.Is(err, tenant.ErrInvalid)) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func FuzzReadsAnyMappingAndPlacesItsFaultsInIt(f *testing.F) {
	for _, seed := range []string{
		goodMapping, "", "a: b: c", "tables: [{via: [1], columns: [a], id: {}}]", "- x\n---\n...", "? [a]\n: b", "a: &a [*a]", "tables:\n- null\n- {from: 1}",
		"\xff\xfea\x00", "!!map [a]", "sources: {a: null}\ntables: [{columns: {<<: {a: b}, ~: !!int x}}]", "version: .inf", "sources: {'': {null: x, path: p}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := LoadBytes("m", content)
		if err == nil {
			again, err := yaml.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := LoadBytes("again", again); err != nil {
				t.Errorf("%q is written as %s, which is refused: %v", content, again, err)
			}
			return
		}
		var faults *Faults
		if !errors.As(err, &faults) || len(faults.Faults) == 0 {
			t.Fatalf("%q: %v", content, err)
		}
		last := bytes.Count(content, []byte("\n")) + bytes.Count(content, []byte("\r")) + 2
		for _, fault := range faults.Faults {
			if fault.Line < 1 || fault.Line > last || fault.Column < 1 || fault.Problem == "" {
				t.Errorf("%q: %s", content, fault)
			}
		}
	})
}
