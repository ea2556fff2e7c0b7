package legacy

import (
	"strings"
	"testing"
)

// What an export has is in the document as it is, or the record is refused.
func TestADocumentOfAnExportIsExactOrRefused(t *testing.T) {
	q := &query{table: &Table{From: "c", ToCollection: "c"}, document: true}
	for text, want := range map[string]string{
		`{"_id":1,"a":1,"a":2}`:                   `{"_id": {"$numberInt":"1"},"a": {"$numberInt":"1"},"a": {"$numberInt":"2"}}`,
		`{"_id":1,"a":"x\u0000y"}`:                `{"_id": {"$numberInt":"1"},"a": "x\u0000y"}`,
		`{"_id":1,"a":"\ud83d\ude00\\u"}`:         `{"_id": {"$numberInt":"1"},"a": "😀\\u"}`,
		`{"_id":1,"a":"12345678901234567890123"}`: `{"_id": {"$numberInt":"1"},"a": "12345678901234567890123"}`,
		`{"_id":1,"a\u0000b":1}`:                  "null bytes",
		`{"_id":1,"a":"\ud800"}`:                  "half of a surrogate pair",
		`{"_id":1,"a":"\udc00\ud800"}`:            "half of a surrogate pair",
		`{"_id":1,"\ud800":"x"}`:                  "half of a surrogate pair",
		`{"_id":1,"n":[9223372036854775808]}`:     "more than 64 bits",
		`{"_id":1,"n":1e400}`:                     "out of range",
		`{"_id":1,"at":{"$date":"foo"}}`:          "invalid $date",
	} {
		doc, _, err := parseDocument(nil, endLine(appendField(nil, text)), q)
		if err == nil && doc.String() != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s %v", text, doc, err)
		}
	}
}

func TestAMemberThatIsThereTwiceIsRefusedWhereOneIsAskedFor(t *testing.T) {
	s := filesWith(t, SourceSpec{}, map[string]string{"a.ndjson": `{"id":1,"id":2,"in":{"x":1}}
{"id":3,"in":{"x":1,"x":2}}
{"id":4,"other":1,"other":2,"in":{"x":5}}
`})
	got, _ := readAll(t, s, &query{table: &Table{From: "a.ndjson"}, fields: fieldsOf("id", "in.x")})
	sameTexts(t, got, []string{"broken: its member id is there twice", "broken: its member x is there twice", "NULL|4|5"})
}
