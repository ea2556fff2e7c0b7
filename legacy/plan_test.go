package legacy

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files of plan anew")

// golden compares a mapping with testdata/NAME.yaml, and reads it as a person would have it after choosing.
func golden(t *testing.T, name string, p *Planned) *Mapping {
	t.Helper()
	path := filepath.Join("testdata", name+".yaml")
	counts := fmt.Sprintf("%d keyed, %d via, %d shared, %d collections", p.Keyed, p.Via, p.Shared, p.Collections)
	got := slices.Concat(p.YAML, []byte("\n# "+counts+"\n# "+strings.Join(p.Notes, "\n# ")+"\n"))
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; go test ./legacy -update writes it anew\n%s", path, got)
	}
	return chosen(t, p.YAML, SharedCopy)
}

// chosen is the mapping after each shared: choose was answered.
func chosen(t *testing.T, content []byte, choice string) *Mapping {
	t.Helper()
	m, err := LoadBytes("m.yaml", bytes.ReplaceAll(content, []byte("shared: choose"), []byte("shared: "+choice)))
	if err != nil {
		t.Fatalf("%v\n%s", err, content)
	}
	return m
}

// plan is Plan where nothing is asked of a source.
func plan(o PlanOptions, src []*sourceTable, tgt target) *Planned {
	p, err := Plan(o, src, tgt)
	if err != nil {
		panic(err)
	}
	return p
}

func planShop(o PlanOptions) *Planned {
	o.SourceSpec = &SourceSpec{URLEnv: "OLD_URL"}
	return plan(o, shop(), shopModel())
}

func TestPlansFromTheTenantsTable(t *testing.T) {
	t.Setenv("OLD_URL", "postgres://u:hunter2@h/d")
	p := planShop(PlanOptions{Name: "shop", SourceName: "old", Key: "company_id", TenantsTable: "companies"})
	m := golden(t, "plan_shop", p)
	if p.Keyed != 2 || p.Via != 1 || p.Shared != 1 || bytes.Contains(p.YAML, []byte("hunter2")) {
		t.Errorf("got %+v", p)
	}
	// Nothing is wrong but what the notes speak of: the unit is missing, and a truth value is no number.
	faults := m.check(map[string][]*sourceTable{"old": shop()}, shopModel())
	if len(faults) != 2 || !strings.Contains(faults[1], "products.active: boolean in the source, integer in the target: these do not cast") || !strings.Contains(faults[0], `column "unit" of table order_lines must not be NULL`) {
		t.Errorf("got %q", faults)
	}
}

func TestPlansTheSameFromTheTenantsTableAlone(t *testing.T) {
	t.Setenv("OLD_URL", "postgres://h/d")
	both := planShop(PlanOptions{Key: "company_id", TenantsTable: "companies"})
	table := planShop(PlanOptions{TenantsTable: "companies"})
	// notes.company_id has no foreign key, so that the key alone finds it.
	if both.Keyed != 2 || table.Keyed != 1 || table.Shared != 2 {
		t.Errorf("got %+v and %+v", both, table)
	}
	inferred := planShop(PlanOptions{Key: "company_id"})
	if !bytes.Equal(both.YAML, inferred.YAML) {
		t.Errorf("got\n%s\nwant\n%s", inferred.YAML, both.YAML)
	}
}

func TestPlansTheDistinctKeysOfAllTablesWhereNoTableHasTheTenants(t *testing.T) {
	t.Setenv("OLD_URL", "mysql://h/d")
	src := shop()[1:]
	m := golden(t, "plan_distinct", plan(PlanOptions{Key: "company_id", SourceSpec: &SourceSpec{URLEnv: "OLD_URL"}}, src, shopModel()))
	if m.Tenants.Query == "" || m.Tenants.Key != "company_id" {
		t.Errorf("got %+v", m.Tenants)
	}
	m = chosen(t, plan(PlanOptions{Key: "company_id", SourceSpec: &SourceSpec{URLEnv: "OLD_URL"}}, src[:3], shopModel()).YAML, SharedSkip)
	if m.Tenants.From != "orders" || !m.Tenants.Distinct {
		t.Errorf("got %+v", m.Tenants)
	}
}

func TestPlansCollectionsFromMongoDB(t *testing.T) {
	t.Setenv("OLD_URL", "mongodb://h/d")
	p := plan(PlanOptions{Key: "company", SourceSpec: &SourceSpec{URLEnv: "OLD_URL"}}, []*sourceTable{
		{name: "carts", columns: []sourceColumn{textColumn("_id", 0), textColumn("company", 0)}},
		{name: "notes", columns: []sourceColumn{textColumn("_id", 0), textColumn("company", 0), textColumn("body", 0)}},
		{name: "settings", columns: []sourceColumn{textColumn("_id", 0)}},
	}, shopModel())
	m := golden(t, "plan_mongodb", p)
	if p.Collections != 2 || m.Tables[0].Name() != "mongodb/carts" || m.Tables[1].Name() != "notes" {
		t.Errorf("got %+v, %s", p, p.YAML)
	}
}

func TestNamesEveryWayWhereThereAreSeveral(t *testing.T) {
	key := func(table string, columns ...string) foreignKey {
		return foreignKey{table, columns, table, []string{"id"}}
	}
	src := []*sourceTable{
		{name: "firms", primaryKey: []string{"id"}, columns: []sourceColumn{textColumn("id", 0)}},
		{name: "a", primaryKey: []string{"id"}, columns: []sourceColumn{intColumn("id"), textColumn("firm", 0), textColumn("payer", 0)}, foreignKeys: []foreignKey{key("firms", "firm"), key("firms", "payer")}},
		{name: "b", primaryKey: []string{"id"}, columns: []sourceColumn{intColumn("id"), intColumn("a"), intColumn("c")}, foreignKeys: []foreignKey{key("c", "c"), key("a", "a")}},
		{name: "c", primaryKey: []string{"id"}, columns: []sourceColumn{intColumn("id"), intColumn("b"), intColumn("c")}, foreignKeys: []foreignKey{key("b", "b"), key("c", "c")}},
		{name: "d", primaryKey: []string{"id"}, columns: []sourceColumn{intColumn("id"), textColumn("Weird Name", 0), intColumn("c")}, foreignKeys: []foreignKey{key("c", "c"), key("a", "Weird Name"), key("b", "id")}},
		{name: "lonely", columns: []sourceColumn{intColumn("id")}},
		{name: "view", view: true, columns: []sourceColumn{intColumn("firm")}},
	}
	tgt := target{}
	for _, n := range []string{"a", "b", "c"} {
		tgt[n] = &targetTable{name: n, columns: []targetColumn{{name: "id", typ: "integer", kind: kindInt}}, foreignKeys: tableNamed(src, n).foreignKeys}
	}
	p := plan(PlanOptions{TenantsTable: "firms", SourceSpec: &SourceSpec{URL: "postgres://h/d"}}, src, tgt)
	m := golden(t, "plan_ways", p)
	var d *Table
	for _, table := range m.Tables {
		if table.From == "d" {
			d = table
		}
	}
	if d == nil || len(d.Via) != 1 || d.Via[0].Table != "a" || d.Via[0].Columns[0] != "Weird Name" || d.Key != "firm" {
		t.Errorf("got %+v", d)
	}
}

func TestSaysWhatMayNotFitTheTarget(t *testing.T) {
	cases := []struct {
		store string
		src   sourceColumn
		tgt   targetColumn
		want  string
	}{
		{"", intColumn("a"), targetColumn{typ: "bigint", kind: kindInt}, ""},
		{"", sourceColumn{typ: "bigint", kind: kindInt}, targetColumn{typ: "integer", kind: kindInt}, "larger numbers"},
		{"", sourceColumn{typ: "int unsigned", kind: kindInt}, targetColumn{typ: "integer", kind: kindInt}, "larger numbers"},
		{"", sourceColumn{typ: "int(10) unsigned", kind: kindInt}, targetColumn{typ: "bigint", kind: kindInt}, ""},
		{storeMySQL, sourceColumn{typ: "tinyint(1)", kind: kindBool}, targetColumn{typ: "boolean", kind: kindBool}, ""},
		{storeMySQL, sourceColumn{typ: "tinyint(1)", kind: kindBool}, targetColumn{typ: "smallint", kind: kindInt}, ""},
		{storeMySQL, sourceColumn{typ: "binary(16)", kind: kindBytes}, targetColumn{typ: "uuid", kind: kindUUID}, "its 16 bytes in their order"},
		{storeMySQL, sourceColumn{typ: "varbinary(9)", kind: kindBytes}, targetColumn{typ: "text", kind: kindText}, "taken as UTF-8"},
		{storeMySQL, sourceColumn{typ: "point", kind: kindOther}, targetColumn{typ: "text", kind: kindText}, "written as WKT"},
		{storeMySQL, sourceColumn{typ: "time", kind: kindTime}, targetColumn{typ: "time without time zone", kind: kindTime}, "above 24 hours"},
		{storeMySQL, sourceColumn{typ: "time", kind: kindTime}, targetColumn{typ: "interval", kind: kindInterval}, ""},
		{storeMySQL, sourceColumn{typ: "int(5) unsigned zerofill", kind: kindInt}, targetColumn{typ: "bigint", kind: kindInt}, "leading zeros"},
		{storeMySQL, sourceColumn{typ: "int(5) unsigned zerofill", kind: kindInt}, targetColumn{typ: "text", kind: kindText}, ""},
		{storeMySQL, sourceColumn{typ: "enum('a','b')", kind: kindText, labels: []string{"a", "b"}}, targetColumn{typ: "state", kind: kindOther, labels: []string{"b", "a", "c"}}, ""},
		{storeMySQL, sourceColumn{typ: "enum('a','b')", kind: kindText, labels: []string{"a", "b"}}, targetColumn{typ: "state", kind: kindOther, labels: []string{"a"}}, "do not parse"},
		{"", sourceColumn{typ: "state", kind: kindOther, labels: []string{"a"}}, targetColumn{typ: "t1.state", kind: kindOther, labels: []string{"a"}}, ""},
		{"", sourceColumn{typ: "bigint", kind: kindInt}, targetColumn{typ: "double precision", kind: kindFloat}, "rounded"},
		{"", sourceColumn{typ: "integer", kind: kindInt}, targetColumn{typ: "double precision", kind: kindFloat}, ""},
		{"", sourceColumn{typ: "integer", kind: kindInt}, targetColumn{typ: "real", kind: kindFloat}, "rounded"},
		{"", sourceColumn{typ: "numeric", kind: kindDecimal}, targetColumn{typ: "character(5)", kind: kindText, length: 5}, "padded with spaces; rows with longer"},
		{"", intColumn("a"), targetColumn{typ: "boolean", kind: kindBool}, "other values than 0 and 1"},
		{"", sourceColumn{typ: "boolean", kind: kindBool}, targetColumn{typ: "integer", kind: kindInt}, "write {sql: ...}"},
		{"", textColumn("a", 40), targetColumn{typ: "character varying(40)", kind: kindText, length: 40}, ""},
		{"", textColumn("a", 41), targetColumn{typ: "character varying(40)", kind: kindText, length: 40}, "up to 41 characters in the source, 40 in the target"},
		{"", textColumn("a", 0), targetColumn{typ: "character varying(40)", kind: kindText, length: 40}, "text in the source, character varying(40) in the target: rows with longer"},
		{"", textColumn("a", 0), targetColumn{typ: "integer", kind: kindInt}, "rows that do not parse are rejected"},
		{"", textColumn("a", 0), targetColumn{typ: "text", kind: kindText, notNull: true}, "may be NULL in the source"},
		{"", sourceColumn{typ: "numeric(10,2)", kind: kindDecimal}, targetColumn{typ: "numeric(12,2)", kind: kindDecimal}, ""},
		{"", sourceColumn{typ: "numeric(10,2)", kind: kindDecimal}, targetColumn{typ: "numeric(10,4)", kind: kindDecimal}, "more digits"},
		{"", sourceColumn{typ: "numeric", kind: kindDecimal}, targetColumn{typ: "numeric(10,4)", kind: kindDecimal}, "more digits"},
		{"", sourceColumn{typ: "numeric", kind: kindDecimal}, targetColumn{typ: "integer", kind: kindInt}, "fractions"},
		{"", sourceColumn{typ: "timestamp", kind: kindTimestamp}, targetColumn{typ: "date", kind: kindDate}, "time of day is lost"},
		{"", sourceColumn{typ: "datetime", kind: kindTimestamp}, targetColumn{typ: "timestamp with time zone", kind: kindInstant}, "taken as UTC"},
		{"", sourceColumn{typ: "bytea", kind: kindBytes}, targetColumn{typ: "text", kind: kindText}, "do not cast"},
		{"", sourceColumn{typ: "uuid", kind: kindUUID}, targetColumn{typ: "text", kind: kindText}, ""},
		{"", sourceColumn{typ: "point", kind: kindOther}, targetColumn{typ: "point", kind: kindOther}, ""},
		{"", sourceColumn{typ: "point", kind: kindOther}, targetColumn{typ: "box", kind: kindOther}, "do not parse"},
	}
	for _, c := range cases {
		got := misfit(cmp.Or(c.store, storePostgres), &c.src, &c.tgt)
		if !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s to %s: got %q, want %q", c.src.typ, c.tgt.typ, got, c.want)
		}
	}
}

func TestRefusesToPlanWhereNothingNamesTheTenants(t *testing.T) {
	for want, o := range map[string]PlanOptions{
		"nothing says which rows belong to which tenant":                            {},
		`the source has no table "company"; did you mean companies?`:                {TenantsTable: "company"},
		"table order_lines has no primary key of one column":                        {TenantsTable: "order_lines"},
		`no table of the source has a column "companyid"; did you mean company_id?`: {Key: "companyid"},
	} {
		if err := o.check(shop()); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := (&PlanOptions{Key: "company_id", TenantsTable: "companies"}).check(shop()); err != nil {
		t.Error(err)
	}
}

func FuzzPlansWhatLoads(f *testing.F) {
	f.Add("a,b\x00select\x00Weird Name\x00null\x001\x00<<\x00yes", uint64(0x123456789))
	f.Add("# x\x00a: b\x00\"q\"\x00{}\x00\n\x00\u2028\x00- ", uint64(77))
	f.Fuzz(func(t *testing.T, words string, seed uint64) {
		names := strings.Split(words, "\x00")
		names = names[:min(len(names), 12)]
		for i := range names {
			names[i] = cmp.Or(strings.ToValidUTF8(names[i][:min(len(names[i]), 20)], "?"), "x")
		}
		pick := func() string {
			seed = seed*6364136223846793005 + 1442695040888963407
			return names[(seed>>33)%uint64(len(names))]
		}
		kinds := []kind{kindInt, kindText, kindBool, kindOther}
		var src []*sourceTable
		tgt := target{}
		for range 5 {
			s := &sourceTable{name: pick()}
			m := &targetTable{name: pick()}
			for range 4 {
				s.columns = append(s.columns, sourceColumn{name: pick(), kind: kinds[seed>>40%4], typ: pick()})
				m.columns = append(m.columns, targetColumn{name: pick(), kind: kinds[seed>>40%4], typ: pick(), notNull: seed>>50%2 == 0})
			}
			s.primaryKey = []string{s.columns[0].name}
			s.foreignKeys = []foreignKey{{pick(), []string{s.columns[1].name}, pick(), []string{pick()}}, {pick(), []string{s.columns[2].name, "x"}, pick(), []string{pick(), pick()}}}
			src = append(src, s)
			tgt[m.name] = m
		}
		specs := []*SourceSpec{{URL: "postgres://h/d"}, {URL: "mysql://h/d"}, {URL: "mongodb://h/d"}, {Path: "d"}}
		spec := specs[seed>>45%4]
		if spec.Path != "" || strings.HasPrefix(spec.URL, "mongodb") {
			for _, s := range src {
				s.foreignKeys = nil
				if strings.Contains(s.name, "$") || strings.HasPrefix(s.name, "system.") {
					return // no collection is called so
				}
			}
		}
		p := plan(PlanOptions{Key: pick(), TenantsTable: pick(), SourceSpec: spec}, src, tgt)
		if p.Keyed+p.Via+p.Shared == 0 {
			return
		}
		chosen(t, p.YAML, SharedCopy)
	})
}

func TestAFileIsNamedWithoutItsFolderAndEndings(t *testing.T) {
	files := []*sourceTable{{name: "firms.csv.gz"}, {name: "in/orders.csv"}, {name: "orders.csv"}, {name: "notes.ndjson"}}
	for name, want := range map[string]string{"firms": "firms.csv.gz", "notes": "notes.ndjson", "notes.ndjson": "notes.ndjson", "orders": "orders.csv", "gone": "gone", "": ""} {
		if got := fileNamed(files[:4:4], name); name != "orders" && got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if got := fileNamed(files, "orders"); got != "orders" {
		t.Errorf("of two files %s was taken", got)
	}
}
