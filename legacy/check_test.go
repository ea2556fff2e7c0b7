package legacy

import (
	"strings"
	"testing"
)

// shop is a small shared-table database: companies have orders, orders have lines.
func shop() []*sourceTable {
	return []*sourceTable{
		{
			name: "companies", primaryKey: []string{"id"}, unique: [][]string{{"name"}},
			columns: []sourceColumn{intColumn("id"), textColumn("name", 40), textColumn("country", 2)},
		},
		{
			name: "orders", primaryKey: []string{"id"},
			columns:     []sourceColumn{intColumn("id"), intColumn("company_id"), textColumn("note", 0), {name: "doc", typ: "jsonb", kind: kindJSON}},
			foreignKeys: []foreignKey{{"orders_company", []string{"company_id"}, "companies", []string{"id"}}},
		},
		{
			name: "order_lines", primaryKey: []string{"order_id", "line"},
			columns: []sourceColumn{intColumn("order_id"), intColumn("line"), textColumn("select", 10), textColumn("Weird Name", 10), intColumn("product_id")},
			foreignKeys: []foreignKey{
				{"lines_order", []string{"order_id"}, "orders", []string{"id"}},
				{"lines_product", []string{"product_id"}, "products", []string{"id"}},
			},
		},
		{name: "products", primaryKey: []string{"id"}, columns: []sourceColumn{intColumn("id"), textColumn("title", 100), {name: "active", typ: "boolean", kind: kindBool}}},
		{name: "notes", columns: []sourceColumn{intColumn("company_id"), textColumn("body", 0)}},
	}
}

func intColumn(name string) sourceColumn {
	return sourceColumn{name: name, typ: "integer", kind: kindInt, notNull: true}
}

func textColumn(name string, length int) sourceColumn {
	c := sourceColumn{name: name, typ: "text", kind: kindText, length: length}
	if length > 0 {
		c.typ = "character varying"
	}
	return c
}

// shopModel is what the tenants' migrations make for it.
func shopModel() target {
	return target{
		"orders": {
			name: "orders", primaryKey: []string{"id"},
			columns: []targetColumn{
				{name: "id", typ: "bigint", kind: kindInt, notNull: true},
				{name: "note", typ: "character varying(20)", kind: kindText, length: 20},
				{name: "created", typ: "timestamp with time zone", kind: kindInstant, notNull: true, hasDefault: true},
				{name: "words", typ: "tsvector", kind: kindOther, generated: true},
			},
		},
		"order_lines": {
			name: "order_lines", primaryKey: []string{"order_id", "line"},
			columns: []targetColumn{
				{name: "order_id", typ: "bigint", kind: kindInt, notNull: true},
				{name: "line", typ: "integer", kind: kindInt, notNull: true},
				{name: "select", typ: "text", kind: kindText},
				{name: "Weird Name", typ: "text", kind: kindText},
				{name: "unit", typ: "text", kind: kindText, notNull: true},
				{name: "product_id", typ: "integer", kind: kindInt},
			},
			foreignKeys: []foreignKey{
				{"l_o", []string{"order_id"}, "orders", []string{"id"}},
				{"l_p", []string{"product_id"}, "products", []string{"id"}},
			},
		},
		"products": {
			name: "products", primaryKey: []string{"id"},
			columns: []targetColumn{
				{name: "id", typ: "integer", kind: kindInt, notNull: true},
				{name: "title", typ: "text", kind: kindText, notNull: true},
				{name: "active", typ: "integer", kind: kindInt},
			},
		},
		"notes": {name: "notes", columns: []targetColumn{{name: "body", typ: "text", kind: kindText}, {name: "id", typ: "bigint", kind: kindInt, notNull: true, hasDefault: true}}},
	}
}

const shopHead = "version: 1\nname: shop\nsources: {old: {url: 'postgres://h/d'}}\ntenants: {from: companies, key: id}\n"

func checkShop(t *testing.T, content string) []string {
	t.Helper()
	m, err := LoadBytes("m.yaml", []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return m.check(map[string][]*sourceTable{"old": shop()}, shopModel())
}

func TestFindsNoFaultInAMappingThatFits(t *testing.T) {
	lines := checkShop(t, shopHead+`shared_schema: common
tables:
  - {from: orders, key: company_id, mode: upsert, since: id}
  - from: order_lines
    via: [{columns: order_id, table: orders, references: id}]
    key: company_id
    columns:
      order_id: order_id
      line: line
      select: Weird Name
      unit: {value: piece}
      product_id: null
      Weird Name: {lookup: {table: products, match: {id: product_id}, take: title}}
  - {from: products, shared: copy, columns: {id: id, title: title, active: {sql: "x.active::int"}}}
  - {from: companies, shared: skip, to: anything}
  - from: orders
    key: company_id
    to_collection: orders
    mode: upsert
    columns: {note: note}
    embed: {lines: {from: order_lines, match: {order_id: id}, order_by: [line], columns: {n: line}}}
  - {from: orders, key: company_id, to_collection: docs, document: doc}
`)
	if len(lines) > 0 {
		t.Errorf("got %s", strings.Join(lines, "\n"))
	}
}

func TestComparesTheMappingWithTheRealTables(t *testing.T) {
	const lines = "{from: order_lines, key: company_id, via: [{columns: order_id, table: orders, references: id}], columns: {order_id: order_id, line: line, unit: {value: piece}"
	cases := []struct{ table, want string }{
		{"{from: ordres, key: company_id, to: orders}", `m.yaml:6:10: source old has no "ordres"; did you mean orders?`},
		{"{from: orders, key: companyid}", `m.yaml:6:23: orders of the source has no column "companyid"; did you mean company_id?`},
		{"{from: orders, key: company_id, to: ordrs}", `m.yaml:6:39: the tenants have no table "ordrs"; did you mean orders?`},
		{"{from: orders, key: company_id, since: changed}", `m.yaml:6:42: orders of the source has no column "changed"`},
		{"{from: orders, key: company_id, columns: {id: id, note: nota, notte: note}}", `m.yaml:6:59: orders of the source has no column "nota"; did you mean note?
m.yaml:6:72: table orders of the tenants has no column "notte"; did you mean note?`},
		{"{from: orders, key: company_id, columns: {id: id, words: note}}", `m.yaml:6:60: column "words" of table orders is generated from others; remove it`},
		{"{from: orders, key: company_id, columns: {note: note}}", `m.yaml:6:35: column "id" of table orders must not be NULL, and nothing is loaded into it; give it a source column, sql, value or lookup`},
		{"{from: orders, key: company_id, columns: {note: note, id: null}}", `m.yaml:6:35: column "id" of table orders must not be NULL, and nothing is loaded into it; give it a source column, sql, value or lookup`},
		{"{from: order_lines, key: company_id, via: [{columns: order_id, table: orders, references: id}]}", `m.yaml:6:3: column "unit" of table order_lines must not be NULL, and nothing is loaded into it; give it a source column, sql, value or lookup`},
		{"{from: notes, key: company_id, mode: upsert, columns: {body: body}}", "m.yaml:6:40: mode: upsert needs a primary key, and table notes has none; use insert or replace"},
		{"{from: notes, key: company_id, to: notes, mode: upsert}", "m.yaml:6:51: mode: upsert needs a primary key, and table notes has none; use insert or replace"},
		{"{from: companies, key: id, to: notes, columns: {body: {sql: x.name}}, where: 'true'}", ""},
		{"{from: order_lines, key: line, to: notes}", "m.yaml:6:3: table notes of the tenants and order_lines of the source have no column in common; write columns"},
		{"{from: orders, key: company_id, to: invoices}", `m.yaml:6:39: the tenants have no table "invoices"; add it to the migrations first, or name another with to`},
		{lines + "}}", ""},
		{strings.Replace(lines, "order_id, table", "ordr_id, table", 1) + "}}", `m.yaml:6:56: order_lines of the source has no column "ordr_id"; did you mean order_id?`},
		{strings.Replace(lines, "table: orders", "table: order", 1) + "}}", `m.yaml:6:73: source old has no "order"; did you mean orders?`},
		{strings.Replace(lines, "references: id", "references: ide", 1) + "}}", `m.yaml:6:93: orders of the source has no column "ide"; did you mean id?`},
		{strings.Replace(lines, "references: id", "references: company_id", 1) + "}}", "m.yaml:6:93: company_id of orders is no unique key, so that a row of order_lines could become two; name the columns of a primary or unique key, or write many: true for a row that goes to several tenants"},
		{strings.Replace(lines, "key: company_id", "key: order_id", 1) + "}}", `m.yaml:6:28: orders of the source has no column "order_id"`},
		{lines + ", select: {lookup: {table: products, match: {title: product_id}, take: titel}}}}", `m.yaml:6:198: title of products is no unique key, so that there could be several values to take; match the columns of a primary or unique key
m.yaml:6:232: products of the source has no column "titel"; did you mean title?`},
		{lines + ", select: {lookup: {table: product, match: {id: product_id}, take: title}}}}", `m.yaml:6:188: source old has no "product"; did you mean products?`},
		{"{from: orders, key: company_id, to_collection: o, document: dok, id: ide}", `m.yaml:6:63: orders of the source has no column "dok"; did you mean doc?
m.yaml:6:72: orders of the source has no column "ide"; did you mean id?`},
		{"{from: order_lines, key: line, to_collection: o, mode: upsert}", "m.yaml:6:58: mode: upsert needs id, since order_lines has no primary key of one column"},
		{"{from: orders, key: company_id, to_collection: o, embed: {l: {from: order_lines, match: {ordr: ident}, order_by: lin, columns: {a: pid}}}}", `m.yaml:6:98: order_lines of the source has no column "ordr"
m.yaml:6:98: orders of the source has no column "ident"
m.yaml:6:116: order_lines of the source has no column "lin"; did you mean line?
m.yaml:6:134: order_lines of the source has no column "pid"`},
	}
	for _, c := range cases {
		t.Run(c.want, func(t *testing.T) {
			if got := strings.Join(checkShop(t, shopHead+"tables:\n- "+c.table), "\n"); got != c.want {
				t.Errorf("%s\ngot\n%s\nwant\n%s", c.table, got, c.want)
			}
		})
	}
}

func TestRefusesSQLOnceItIsKnownThatTheSourceHasNone(t *testing.T) {
	t.Setenv("OLD_URL", "mongodb://u:hunter2@h/d")
	m, err := LoadBytes("m.yaml", []byte(strings.Replace(shopHead, "url: 'postgres://h/d'", "url_env: OLD_URL", 1)+"tables: [{from: orders, key: company.id, columns: {id: {sql: rare}}}]"))
	if err != nil {
		t.Fatal(err)
	}
	srcs := map[string][]*sourceTable{"old": {{name: "orders", columns: []sourceColumn{textColumn("company", 0)}}, {name: "companies", columns: []sourceColumn{textColumn("id", 0)}}}}
	got := strings.Join(m.check(srcs, shopModel()), "\n")
	if want := "m.yaml:5:62: columns.id.sql: a MongoDB source (old) cannot do this; it is for PostgreSQL and MySQL"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	m.Tables[0].Key, m.Tables[0].Columns = "compani.id", Columns{{"id", Column{From: "company"}}}
	got = strings.Join(m.check(srcs, shopModel()), "\n")
	if want := `m.yaml:5:30: orders of the source has no column "compani.id"; did you mean company?`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestChecksAMappingMadeByHandWithoutPlaces(t *testing.T) {
	m := &Mapping{
		Sources: map[string]*SourceSpec{"old": {URL: "postgres://h/d"}}, Tenants: TenantList{From: "companies", Key: "id"},
		Tables: []*Table{{From: "orders", Key: "company_id", Columns: Columns{{"id", Column{From: "id"}}, {"note", Column{}}}}},
	}
	m.fillDefaults()
	got := strings.Join(m.check(map[string][]*sourceTable{"old": shop()}, shopModel()), "\n")
	if want := "has none of from, sql, value and lookup; null stands for the target's default"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
