package legacy

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/tenantctl/tenantctl/tenant"
)

// filesWith is a source with these files.
func filesWith(t testing.TB, spec SourceSpec, files map[string]string) *fileSource {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		writeFile(t, filepath.Join(dir, "in", name), content)
	}
	spec.Path = "in"
	s, err := openFiles(&spec, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s.(*fileSource)
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func gzipped(t testing.TB, content string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zstandard(t testing.TB, content string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(w.EncodeAll([]byte(content), nil))
}

// from makes fields of these names, each from the source column of the same name; the first is the primary key.
func fieldsOf(names ...string) []field {
	fields := make([]field, len(names))
	for i, n := range names {
		fields[i] = field{name: n, column: Column{From: n}, kind: kindText, key: i == 0}
	}
	return fields
}

// taken is a record as tests compare it: "key|line", or why there is no line.
func taken(r *record) string {
	key := "NULL"
	if r.key != nil {
		key = string(r.key)
	}
	switch {
	case r.orphan != "":
		return "orphan of " + r.orphan
	case r.broken != "":
		return "broken: " + r.broken
	case r.tooLong > 0:
		return fmt.Sprintf("too long: %d", r.tooLong)
	}
	return key + "|" + strings.TrimSuffix(strings.ReplaceAll(string(r.line), "\t", "|"), "\n")
}

// readAll gives the records of all parts, with a position behind each.
func readAll(t testing.TB, s source, q *query) (records []string, refs [][]byte) {
	t.Helper()
	parts, err := s.parts(context.Background(), q, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		var part, positions []string
		err := s.read(context.Background(), q, p, "", func(r *record) error {
			part, positions = append(part, taken(r)), append(positions, r.after)
			refs = append(refs, bytes.Clone(r.ref))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		// From behind each position come the others.
		for i, after := range positions {
			if after == "" || i%(1+len(positions)/10) != 0 {
				continue
			}
			var rest []string
			if err := s.read(context.Background(), q, p, after, func(r *record) error { rest = append(rest, taken(r)); return nil }); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(rest, part[i+1:]) {
				t.Fatalf("behind %s of %s came %q, want %q", after, p.id, rest, part[i+1:])
			}
		}
		records = append(records, part...)
	}
	return records, refs
}

func sameTexts(t testing.TB, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestCSVIsReadWithWhatIsDifficultInIt(t *testing.T) {
	const big = 5000
	s := filesWith(t, SourceSpec{}, map[string]string{"a.csv": "\uFEFFid,\"Weird Name\",select,tenant\r\n" +
		"1,plain,,acme\r\n" +
		"2,\"two\r\nlines, and a \"\"quote\"\"\",\"\",acme\r\n" +
		"\r\n" +
		"3,tab\tand\\slash,x,\n" +
		"4,5\" pipe,x,acme\n" +
		"5,\"closed\"x,x,acme\n" +
		"6,too,few\n" +
		"7,too,many,acme,really\n" +
		"8,broken \xff\xfe,x,acme\n" +
		"9," + strings.Repeat("y", big) + ",x,acme\n" +
		"10,\"" + strings.Repeat("z\n", big) + "\",x,acme\n" +
		"11,\"never closed,x,acme\n" +
		"12,ok,x,acme\n" +
		"13,last,x,acme"})
	q := &query{table: &Table{From: "a.csv", Key: "tenant"}, fields: fieldsOf("id", "Weird Name", "select"), maxRow: 1000}
	q.fields = append(q.fields, field{name: "source", column: Column{Value: new("a\tb")}, kind: kindText}, field{name: "left out", column: Column{Default: true}})
	got, refs := readAll(t, s, q)
	sameTexts(t, got, []string{
		`acme|1|plain|\N|a\tb`,
		`acme|2|two\r\nlines, and a "quote"||a\tb`,
		`NULL|3|tab\tand\\slash|x|a\tb`,
		"broken: a quote in a field that does not begin with one",
		"broken: text behind a closing quote",
		"broken: it has 3 fields, the header has 4",
		"broken: it has 5 fields, the header has 4",
		"acme|8|broken \xff\xfe|x|a\\tb",
		fmt.Sprintf("too long: %d", len("9,,x,acme")+big),
		fmt.Sprintf("too long: %d", len(`10,"",x,acme`)+2*big),
		"broken: a quote is never closed",
		`acme|12|ok|x|a\tb`,
		`acme|13|last|x|a\tb`,
	})

	originals, err := s.originals(context.Background(), q, refs)
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	var rows []json.RawMessage
	for _, o := range originals {
		if !json.Valid(o.row) {
			t.Errorf("%s is no JSON", o.row)
		}
		shown = append(shown, o.key+" "+string(o.row))
		rows = append(rows, o.row)
	}
	sameTexts(t, shown, []string{
		`["1"] {"id":"1","Weird Name":"plain","select":null,"tenant":"acme"}`,
		`["2"] {"id":"2","Weird Name":"two\r\nlines, and a \"quote\"","select":"","tenant":"acme"}`,
		`["3"] {"id":"3","Weird Name":"tab\tand\\slash","select":"x","tenant":null}`,
		`"a.csv:4" {"_file":"a.csv","_line":"4,5\" pipe,x,acme"}`,
		`"a.csv:5" {"_file":"a.csv","_line":"5,\"closed\"x,x,acme"}`,
		`"a.csv:6" {"_file":"a.csv","_line":"6,too,few"}`,
		`"a.csv:7" {"_file":"a.csv","_line":"7,too,many,acme,really"}`,
		`["8"] {"id":"8","Weird Name":{"$binary":{"base64":"YnJva2VuIP/+","subType":"00"}},"select":"x","tenant":"acme"}`,
		`"a.csv:9" null`,
		`"a.csv:10" null`,
		`"a.csv:11" {"_file":"a.csv","_line":"11,\"never closed,x,acme"}`,
		`["12"] {"id":"12","Weird Name":"ok","select":"x","tenant":"acme"}`,
		`["13"] {"id":"13","Weird Name":"last","select":"x","tenant":"acme"}`,
	})

	// What is not malformed comes back as it was; a corrected line becomes a row.
	rows = slices.DeleteFunc(rows, func(r json.RawMessage) bool { return string(r) == "null" })
	rows[3] = json.RawMessage(`{"_file":"a.csv","_line":"4,\"5\"\" pipe\",x,acme"}`)
	var again []string
	if err := s.reread(context.Background(), q, rows, func(r *record) error { again = append(again, taken(r)); return nil }); err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(got, func(g string) bool { return strings.HasPrefix(g, "too long") })
	want[3] = `acme|4|5" pipe|x|a\tb`
	sameTexts(t, again, want)
}

func TestCSVWithItsOwnDelimiterAndNull(t *testing.T) {
	s := filesWith(t, SourceSpec{Delimiter: ";", Null: new(`\N`)}, map[string]string{"a.csv": "id;v\n1;\\N\n2;\n3;\"\\N\"\n4;a,b\n"})
	got, _ := readAll(t, s, &query{table: &Table{From: "a.csv", Key: "id"}, fields: fieldsOf("id", "v")})
	sameTexts(t, got, []string{`1|1|\N`, `2|2|`, `3|3|\\N`, `4|4|a,b`})
	for _, bad := range []string{`"`, "\n", "€"} {
		if _, err := openFiles(&SourceSpec{Path: ".", Delimiter: bad}, t.TempDir()); !errors.Is(err, tenant.ErrInvalid) {
			t.Errorf("delimiter %q: %v", bad, err)
		}
	}
}

func TestAnEmptyLineIsARowWhereThereIsOneColumnOnly(t *testing.T) {
	s := filesWith(t, SourceSpec{}, map[string]string{"a.csv": "v\n1\n\n\"\"\n"})
	got, _ := readAll(t, s, &query{table: &Table{From: "a.csv"}, fields: fieldsOf("v")})
	sameTexts(t, got, []string{"NULL|1", `NULL|\N`, "NULL|"})
}

func TestNDJSONIsReadWithWhatIsDifficultInIt(t *testing.T) {
	s := filesWith(t, SourceSpec{}, map[string]string{"a.ndjson": "\uFEFF" +
		`{"id":1,"tenant":"acme","v":"plain","extra":[1,2]}` + "\r\n" +
		`{"id":2,"tenant":7,"v":"a\tb\u00e9\ud83d\ude00\n\\"}` + "\n\n  \n" +
		`{"id":3,"tenant":null,"v":null}` + "\n" +
		`{"id":4}` + "\n" +
		`{"id":5,"tenant":"acme","v":{"a": [1, "}"]}}` + "\n" +
		`{"id":6,"tenant":"acme","v":true}` + "\n" +
		`{"id":7,"tenant":"acme","v":"half \ud800"}` + "\n" +
		`{"id":8,"tenant":"acme","v":"open` + "\n" +
		`[1]` + "\n" +
		`{"id":9,"v":1}{"id":10}` + "\n" +
		`{"id":{"$numberLong":"11"},"tenant":{"$oid":"507f1f77bcf86cd799439011"},"v":{"$date":"2024-02-29T12:00:00.5Z"}}` + "\n" +
		`{"id":12,"tenant":"acme","v":"` + strings.Repeat("x", 2000) + `"}` + "\n" +
		`{"\u0069d":13,"tenant":"acme","v":01}` + "\n" +
		`{"id":14,"tenant":"acme","v":-0.5e+3}`})
	q := &query{table: &Table{From: "a.ndjson", Key: "tenant"}, fields: fieldsOf("id", "v"), maxRow: 1000}
	got, refs := readAll(t, s, q)
	sameTexts(t, got, []string{
		"acme|1|plain",
		`7|2|a\tbé😀\n\\`,
		`NULL|3|\N`,
		`NULL|4|\N`,
		`acme|5|{"a": [1, "}"]}`,
		"acme|6|true",
		"broken: half of a surrogate pair",
		"broken: no valid JSON",
		"broken: no JSON object",
		"broken: text behind the JSON object",
		"507f1f77bcf86cd799439011|11|2024-02-29T12:00:00.5Z",
		"too long: 2032",
		"broken: no valid JSON",
		"acme|14|-0.5e+3",
	})
	originals, err := s.originals(context.Background(), q, refs)
	if err != nil {
		t.Fatal(err)
	}
	if o := originals[1]; o.key != `["2"]` || !json.Valid(o.row) {
		t.Errorf("got %s %s", o.key, o.row)
	}
	if o := originals[7]; o.key != `"a.ndjson:8"` || !strings.Contains(string(o.row), "_line") {
		t.Errorf("got %s %s", o.key, o.row)
	}
	q.fields[1].kind, q.fields[1].column.From = kindJSON, "v.a"
	got, _ = readAll(t, s, q)
	if got[4] != `acme|5|[1, "}"]` {
		t.Errorf("the value inside a value is %s", got[4])
	}
}

func TestAnNDJSONLineIsPassedOnAsTheDocument(t *testing.T) {
	const line = `{"_id": {"$oid":"507f1f77bcf86cd799439011"}, "n":{"$numberLong":"5"} , "text":"a\\b\n"}`
	s := filesWith(t, SourceSpec{}, map[string]string{"a.jsonl": line + "\n" + "{\"t\":\"\xff\"}\n{\"x\":}\n"})
	document := func(r *record) string {
		if r.broken != "" {
			return "broken: " + r.broken
		}
		fields, _ := splitLine(r.line, nil, nil)
		return string(fields[0])
	}
	read := func(q *query) (got []string) {
		t.Helper()
		q.document = true
		if err := s.read(context.Background(), q, part{low: "a.jsonl"}, "", func(r *record) error { got = append(got, document(r)); return nil }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	table := &Table{From: "a.jsonl", ToCollection: "c"}
	sameTexts(t, read(&query{table: table, fields: fieldsOf("_id", "n")}), []string{line, "broken: it is not UTF-8", "broken: no valid JSON"})
	id := []field{{name: "_id", column: Column{From: "n"}}}
	if got := read(&query{table: table, fields: id})[0]; got != `{"_id":{"$numberLong":"5"},"text":"a\\b\n"}` {
		t.Errorf("with its _id: %s", got)
	}
	chosen := &Table{From: "a.jsonl", ToCollection: "c", Columns: Columns{{"t", Column{From: "text"}}}}
	if got := read(&query{table: chosen, fields: []field{{name: "t", column: Column{From: "text"}}}})[0]; got != `{"t":"a\\b\n"}` {
		t.Errorf("with its columns: %s", got)
	}
}

func TestCSVBecomesDocumentsWithGuessedTypes(t *testing.T) {
	s := filesWith(t, SourceSpec{}, map[string]string{"a.csv": "id,at,price,zip,note,doc\n1,2024-02-29,1.50,01234,\"say \"\"hi\"\"\",\"{\"\"a\"\":1}\"\n2,x,,1,,[]\n"})
	tables, err := s.describe(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	q := &query{table: &Table{From: "a.csv", ToCollection: "c"}, document: true}
	for _, c := range tables[0].columns {
		kinds = append(kinds, c.name+" "+string(c.kind))
		q.fields = append(q.fields, field{name: c.name, column: Column{From: c.name}, kind: c.kind})
	}
	sameTexts(t, kinds, []string{"id int", "at text", "price decimal", "zip text", "note text", "doc json"})
	q.fields[1].kind = kindDate
	got, refs := readAll(t, s, q)
	want := []string{
		`NULL|{"id":1,"at":{"$date":{"$numberLong":"1709164800000"}},"price":{"$numberDecimal":"1.50"},"zip":"01234","note":"say \\"hi\\"","doc":{"a":1}}`,
		`NULL|{"id":2,"at":"x","price":null,"zip":"1","note":null,"doc":[]}`,
	}
	sameTexts(t, got, want)
	originals, err := s.originals(context.Background(), q, refs)
	if err != nil {
		t.Fatal(err)
	}
	var again []string
	err = s.reread(context.Background(), q, []json.RawMessage{originals[0].row, originals[1].row}, func(r *record) error { again = append(again, taken(r)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	sameTexts(t, again, want)
	q.table.Document = "doc"
	q.fields = []field{{name: "_id", column: Column{From: "id"}, kind: kindInt}}
	got, _ = readAll(t, s, q)
	sameTexts(t, got, []string{`NULL|{"_id":1,"a":1}`, "broken: no JSON object"})
}

func TestFilesAreFoundByNameGlobAndFolder(t *testing.T) {
	s := filesWith(t, SourceSpec{}, map[string]string{
		"o/1.csv": "id\n1\n", "o/2.csv.gz": gzipped(t, "id\n2\n"), "o/deep/3.csv.zst": zstandard(t, "id\n3\n"), "o/readme.txt": "no", "x.csv": "id\n9\n",
	})
	for from, want := range map[string][]string{
		"o/1.csv": {"NULL|1"}, "o/*.csv*": {"NULL|1", "NULL|2"}, "o": {"NULL|1", "NULL|2", "NULL|3"}, "./o/deep/": {"NULL|3"},
	} {
		got, _ := readAll(t, s, &query{table: &Table{From: from}, fields: fieldsOf("id")})
		sameTexts(t, got, want)
	}
	for from, kind := range map[string]error{"../x.csv": tenant.ErrInvalid, "/etc/passwd": tenant.ErrInvalid, "o/readme.txt": tenant.ErrInvalid, "gone.csv": tenant.ErrNotFound, "[": tenant.ErrInvalid} {
		if _, err := s.parts(context.Background(), &query{table: &Table{From: from}}, 1); !errors.Is(err, kind) {
			t.Errorf("%s: %v", from, err)
		}
	}
	tables, err := s.describe(context.Background(), []string{"o", "gone.csv"})
	if err != nil || len(tables) != 1 || tables[0].rows != 3 || tables[0].columns[0].kind != kindInt {
		t.Errorf("described as %+v, %v", tables, err)
	}
}

func TestAFileThatChangesEndsTheImport(t *testing.T) {
	s := filesWith(t, SourceSpec{}, map[string]string{"a.csv": "id\n1\n"})
	ctx := context.Background()
	if limits, err := s.begin(ctx); err != nil || !strings.Contains(limits, "no snapshot") {
		t.Fatalf("%q, %v", limits, err)
	}
	writeFile(t, filepath.Join(s.root, "a.csv"), "id\n1\n2\n")
	q := &query{table: &Table{From: "a.csv"}, fields: fieldsOf("id")}
	parts, err := s.parts(ctx, q, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.read(ctx, q, parts[0], "", func(*record) error { return nil }); !errors.Is(err, tenant.ErrInvalid) || !strings.Contains(err.Error(), "changed") {
		t.Errorf("got %v", err)
	}
}

func TestABrokenFileEndsItsReadingWithAnError(t *testing.T) {
	whole := gzipped(t, "id\n"+strings.Repeat("1234567\n", 100_000))
	s := filesWith(t, SourceSpec{}, map[string]string{"cut.csv.gz": whole[:len(whole)-20], "empty.csv": "", "twice.csv": "a,a\n1,2\n", "utf16.csv": "\xff\xfei\x00d\x00"})
	for file, want := range map[string]string{"cut.csv.gz": "unexpected EOF", "empty.csv": "no header", "twice.csv": "two columns", "utf16.csv": "UTF-16"} {
		q := &query{table: &Table{From: file}, fields: []field{{name: "n", column: Column{Value: new("1")}}}}
		err := s.read(context.Background(), q, part{low: file}, "", func(*record) error { return nil })
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestWhatFilesCannotDoIsRefused(t *testing.T) {
	s := filesWith(t, SourceSpec{}, map[string]string{"a.csv": "id\n1\n"})
	for _, q := range []*query{
		{table: &Table{From: "a.csv", Where: "x"}},
		{table: &Table{From: "a.csv", Via: []Hop{{}}}},
		{table: &Table{From: "a.csv", Key: "gone"}},
		{table: &Table{From: "a.csv"}, fields: []field{{name: "n", column: Column{SQL: "1"}}}},
		{table: &Table{From: "a.csv"}, fields: []field{{name: "n", column: Column{Lookup: &Lookup{}}}}},
	} {
		if err := s.read(context.Background(), q, part{low: "a.csv"}, "", nil); !errors.Is(err, tenant.ErrInvalid) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestATenantListInFiles(t *testing.T) {
	s := filesWith(t, SourceSpec{}, map[string]string{"t.csv": "id,n,d,l\n1,acme,a.example,gold\n2,beta,,\n1,acme,,\n"})
	for distinct, want := range map[bool]string{
		false: `1 acme [a.example] map[tier:gold],2 beta [] map[],1 acme [] map[],`,
		true:  `1 acme [a.example] map[tier:gold],2 beta [] map[],`,
	} {
		got := ""
		err := s.tenants(context.Background(), &TenantList{From: "t.csv", Key: "id", Name: "n", Domains: []string{"d"}, Labels: map[string]string{"tier": "l"}, Distinct: distinct},
			func(r tenantRow) error {
				got += fmt.Sprintln(*r.key, *r.name, r.domains, r.labels)
				return nil
			})
		if got = strings.ReplaceAll(got, "\n", ","); err != nil || got != want {
			t.Errorf("got %s, %v", got, err)
		}
	}
}

func TestSinceLeavesOlderRecordsOut(t *testing.T) {
	s := filesWith(t, SourceSpec{}, map[string]string{"a.csv": "id,at\n1,2024-01-01\n2,2024-03-01\n3,\n"})
	got, _ := readAll(t, s, &query{table: &Table{From: "a.csv", Since: "at"}, since: "2024-02-01", fields: fieldsOf("id")})
	sameTexts(t, got, []string{"NULL|2"})
}
