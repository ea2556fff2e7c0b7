package legacy

import (
	"fmt"
	"strings"
	"testing"
)

func TestJSONOfAColumnStaysWhatItIsInADocument(t *testing.T) {
	columns := &literalJSON{fields: []literalField{{name: "_id"}, {name: "at"}, {name: "j", json: true}, {name: "l\"s", children: map[string]bool{"no": false, "j": true}}}}
	document := &literalJSON{fields: []literalField{{name: "_id"}, {name: "at"}}, document: true}
	const id, at = `"_id":{"$numberLong":"5"}`, `"at":{"$date":{"$numberLong":"0"}}`
	const idIs, atIs = `"_id": {"$numberLong":"5"}`, `"at": {"$date":{"$numberLong":"0"}}`
	for _, c := range []struct {
		how        *literalJSON
		text, want string
	}{
		{nil, `{` + id + `,"j":{"$date":"1970-01-01T00:00:00Z"}}`, `{` + idIs + `,"j": {"$date":{"$numberLong":"0"}}}`},
		{
			columns, `{` + id + `,` + at + `,"j":{"$date":"x","a":[{"$oid":1},2.5,"$x"],"e":{}},"l\"s":[{"no":{"$numberLong":"1"},"j":{"$numberLong":"1"}},{"no":null,"j":[ ]}]}`,
			`{` + idIs + `,` + atIs + `,"j": {"$date": "x","a": [{"$oid": {"$numberInt":"1"}},{"$numberDouble":"2.5"},"$x"],"e": {}},"l"s": [{"no": {"$numberLong":"1"},"j": {"$numberLong": "1"}},{"no": null,"j": []}]}`,
		},
		{columns, `{` + id + `,` + at + `,"j":{"\u0024date":"1970-01-01T00:00:00Z"},"l\"s":[]}`, `{` + idIs + `,` + atIs + `,"j": {"$date": "1970-01-01T00:00:00Z"},"l"s": []}`},
		// The document's own members, one of them under the name of a field.
		{document, `{` + id + `,` + at + `,"a":{"$date":"x"},` + at + `}`, `{` + idIs + `,` + atIs + `,"a": {"$date": "x"},"at": {"$date": {"$numberLong": "0"}}}`},
		{document, `{` + at + `,"a":{"$date":"x"},"_id":{"$oid":"507f1f77bcf86cd799439011"}}`, `{` + atIs + `,"a": {"$date": "x"},"_id": {"$oid":"507f1f77bcf86cd799439011"}}`},
		{document, `["$"]`, "no JSON object"},
		{columns, `{` + id + `,` + at + `,"j":{"a\u0000$":1,"$b":2}}`, "null bytes"},
	} {
		q := &query{table: &Table{From: "c", ToCollection: "c"}, document: true, literal: c.how}
		doc, _, err := parseDocument(nil, endLine(appendField(nil, c.text)), q)
		if err == nil && doc.String() != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n%s %v, want\n%s", c.text, doc, err, c.want)
		}
	}
}

func TestAQueryKnowsWhichOfADocumentsValuesAreJSON(t *testing.T) {
	rows := &sourceTable{name: "rows", primaryKey: []string{"id"}, columns: []sourceColumn{{name: "id", kind: kindInt}, {name: "j", kind: kindJSON}, {name: "at", kind: kindInstant}}}
	lines := &sourceTable{name: "lines", columns: []sourceColumn{{name: "row", kind: kindInt}, {name: "j", kind: kindJSON}}}
	plain := &sourceTable{name: "plain", columns: []sourceColumn{{name: "id", kind: kindInt}}}
	i := &Importer{
		m:      &Mapping{Sources: map[string]*SourceSpec{"sql": {URL: "postgres://x"}, "mongo": {URL: "mongodb://x"}}},
		tables: map[string][]*sourceTable{"sql": {rows, lines, plain}, "mongo": {rows}},
	}
	embed := map[string]*Embed{"lines": {From: "lines", Match: map[string]string{"row": "id"}}}
	for _, c := range []struct {
		table Table
		want  string
	}{
		{Table{Source: "sql", From: "rows"}, "&{[{_id false map[]} {j true map[]} {at false map[]}] false}"},
		{Table{Source: "sql", From: "rows", Columns: Columns{{"s", Column{SQL: "f()"}}, {"v", Column{From: "at"}}}}, "&{[{_id false map[]} {s true map[]} {v false map[]}] false}"},
		{Table{Source: "sql", From: "plain", Embed: embed}, "&{[{id false map[]} {lines false map[j:true row:false]}] false}"},
		{Table{Source: "sql", From: "rows", Document: "j"}, "&{[{_id false map[]}] true}"},
		{Table{Source: "sql", From: "plain"}, "<nil>"},
		{Table{Source: "sql", From: "rows", ExtendedJSON: true}, "<nil>"},
		{Table{Source: "mongo", From: "rows"}, "<nil>"},
	} {
		c.table.ToCollection = "c"
		if got := fmt.Sprint(i.query(&c.table, "", nil).literal); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.table, got, c.want)
		}
	}
}
