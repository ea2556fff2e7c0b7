package legacy

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// GridFS keeps a file's chunks apart from the file, which alone knows whose it is.
func TestDocumentsReachTheirTenantThroughOthersAndTakeTheirChildrenAlong(t *testing.T) {
	s := newStand(t, "CREATE TABLE chunks (id text PRIMARY KEY, n int, name text)", "CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2)")
	collection := s.mongo()
	var files, chunks []any
	for i := range 1200 {
		id := bson.NewObjectID()
		files = append(files, bson.D{{Key: "_id", Value: id}, {Key: "meta", Value: bson.D{{Key: "firm", Value: float64(1 + i%2)}}}, {Key: "name", Value: fmt.Sprint("file", i)}})
		for n := range 2 {
			chunks = append(chunks, bson.D{{Key: "_id", Value: fmt.Sprintf("c%04d-%d", i, n)}, {Key: "files_id", Value: id}, {Key: "n", Value: int32(1 - n)}, {Key: "data", Value: bson.Binary{Data: []byte{byte(n)}}}})
		}
	}
	chunks = append(chunks, bson.D{{Key: "_id", Value: "orphan"}, {Key: "files_id", Value: bson.NewObjectID()}, {Key: "n", Value: int32(0)}}, bson.D{{Key: "_id", Value: "hidden"}, {Key: "files_id", Value: nil}, {Key: "n", Value: int32(99)}})
	mongoWith(t, map[string][]any{"fs.files": files, "fs.chunks": chunks})
	const via = `via: [{columns: files_id, table: fs.files, references: _id}], key: meta.firm, where: '{"n": {"$lt": 50}}'`
	m := s.twoSources("  - {source: docs, from: fs.chunks, " + via + ", to_collection: fs.chunks}\n" +
		"  - {source: docs, from: fs.chunks, " + via + ", to: chunks, columns: {id: _id, n: n}}\n" +
		"  - {source: docs, from: fs.files, key: meta.firm, where: '{\"name\": {\"$ne\": \"file3\"}}', to_collection: files, embed: {chunks: {from: fs.chunks, match: {files_id: _id}, order_by: n}}}\n")
	r := s.load(m, RunRequest{}, 2)
	s.clean(m)
	s.want("SELECT (SELECT count(*) FROM "+r.schema(s, 1)+".chunks), (SELECT count(*) FROM "+r.schema(s, 2)+".chunks)", "1200|1200")
	s.want(`SELECT code, row_key FROM tenantctl.import_rejects ORDER BY target`, `orphan|["orphan"]`, `orphan|["orphan"]`)
	if got := documents(t, collection(2, "fs.chunks")); len(got) != 1200 || !strings.Contains(got[0], "c0001-0") {
		t.Errorf("%d %s", len(got), got[0])
	}
	got := documents(t, collection(1, "files"))
	if want := `"chunks": [{"_id": "c0000-1","n": {"$numberInt":"0"},"data": {"$binary":{"base64":"AQ==","subType":"00"}}},{"_id": "c0000-0","n": {"$numberInt":"1"}`; len(got) != 600 || !strings.Contains(got[0], want) {
		t.Errorf("%d %s", len(got), got[0])
	}
	if got := documents(t, collection(2, "files")); len(got) != 599 {
		t.Errorf("%d files, want 599", len(got))
	}
	if _, err := collection(1, "files").UpdateOne(t.Context(), bson.D{{Key: "name", Value: "file0"}}, bson.D{{Key: "$set", Value: bson.D{{Key: "chunks", Value: bson.A{}}}}}); err != nil {
		t.Fatal(err)
	}
	report, err := s.verify(m)
	if !errors.Is(err, tenant.ErrDiffers) || *report.Tables[0].Match != true || *report.Tables[2].Match != false {
		t.Errorf("%v %s", err, shownAs(report.Tables[2].Differences))
	}
}

// schema is that of a firm's tenant, in SQL.
func (r *Report) schema(s *stand, firm int) string {
	return s.rows(fmt.Sprintf("SELECT schema_name FROM tenantctl.tenants WHERE name = 'f%d'", firm))[0]
}

func TestWhatMongoDBCannotLookUpIsRefused(t *testing.T) {
	for want, table := range map[string]*Table{
		"no filter of MongoDB":        {From: "c", Where: "n < 5"},
		"from one field to one field": {From: "c", Via: []Hop{{Columns: Names{"a", "b"}, Table: "d", References: Names{"a", "b"}}}},
		"and not to many":             {From: "c", Via: []Hop{{Columns: Names{"a"}, Table: "d", References: Names{"a"}, Many: true}}},
		"is for collections":          {From: "c", Embed: map[string]*Embed{"x": {From: "d"}}},
	} {
		if _, err := newMongoWriter(&query{table: table}, ""); !errors.Is(err, tenant.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A parent has each child whose field has a value that its own has: of another type, in an array, or in documents of one.
func TestChildrenAreFoundByEqualValues(t *testing.T) {
	s := newStand(t, "CREATE TABLE nothing (id int)", "CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1)")
	collection := s.mongo()
	parent := func(id string, of any) bson.D {
		return bson.D{{Key: "_id", Value: id}, {Key: "firm", Value: int32(1)}, {Key: "of", Value: of}}
	}
	child := func(id int32, field string, of any) bson.D {
		return bson.D{{Key: "_id", Value: id}, {Key: "n", Value: -id}, {Key: field, Value: of}}
	}
	mongoWith(t, map[string][]any{
		"parents": {
			parent("double", 7.0), parent("half", 0.5), parent("list", bson.A{int64(8), "x", nil, int32(8)}), parent("document", bson.D{{Key: "a", Value: int32(1)}}),
			parent("null", nil),
			bson.D{{Key: "_id", Value: "without"}, {Key: "firm", Value: int32(1)}},
		},
		"children": {
			child(1, "p", int32(7)), child(2, "p", int64(7)), child(3, "p", 0.5), child(4, "p", bson.A{int32(7), int32(8)}), child(5, "p", "x"),
			child(6, "p", bson.D{{Key: "a", Value: 1.0}}), child(7, "p", nil), child(8, "q", int32(1)),
		},
		"lines": {
			bson.D{{Key: "_id", Value: int32(1)}, {Key: "l", Value: bson.A{bson.D{{Key: "p", Value: "x"}}, bson.D{{Key: "p", Value: 7.0}}}}},
		},
	})
	m := s.twoSources("  - {source: docs, from: parents, key: firm, to_collection: parents, embed: {c: {from: children, match: {p: of}, order_by: n}, l: {from: lines, match: {l.p: of}, columns: {id: _id}}}}\n")
	s.load(m, RunRequest{}, 0)
	s.clean(m)
	got := documents(t, collection(1, "parents"))
	for id, want := range map[string][]int{"document": {6}, "double": {4, 2, 1}, "half": {3}, "list": {5, 4}, "null": nil, "without": nil} {
		ids := make([]string, len(want))
		for n, c := range want {
			ids[n] = fmt.Sprintf(`{"_id": {"$numberInt":"%d"},"n": {"$numberInt":"-%[1]d"}`, c)
			if c == 4 {
				ids[n] += `,"p": [{"$numberInt":"7"},{"$numberInt":"8"}]`
			}
		}
		lines := "[]"
		if id == "double" || id == "list" {
			lines = `[{"id": {"$numberInt":"1"}}]`
		}
		at := slices.IndexFunc(got, func(d string) bool { return strings.HasPrefix(d, `{"_id": "`+id+`"`) })
		end := `"c": [` + strings.Join(append(ids, ""), "},")
		if end = strings.TrimSuffix(end, ",") + `],"l": ` + lines + "}"; !strings.HasSuffix(got[at], end) {
			t.Errorf("%s: %s\nwant %s", id, got[at], end)
		}
	}
}

// Behind an array on a column's path there may be several values.
func TestAPathThroughAnArrayIsNoColumn(t *testing.T) {
	s := newStand(t, "CREATE TABLE docs (id int PRIMARY KEY, v text)", "CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1)")
	var docs []any
	for id, in := range []any{bson.D{{Key: "v", Value: "x"}}, bson.A{bson.D{{Key: "v", Value: "x"}}}, bson.A{}, nil} {
		docs = append(docs, bson.D{{Key: "_id", Value: int32(id)}, {Key: "firm", Value: int32(1)}, {Key: "in", Value: in}})
	}
	mongoWith(t, map[string][]any{"docs": docs})
	m := s.twoSources("  - {source: docs, from: docs, key: firm, to: docs, columns: {id: _id, v: in.v}}\n")
	s.load(m, RunRequest{}, 1)
	s.clean(m)
	s.want("SELECT id, v FROM t_f1.docs ORDER BY id", "0|x", "2|NULL", "3|NULL")
	s.want("SELECT row_key, reason FROM tenantctl.import_rejects", `["1"]|its field in.v is in an array`)
}

func TestValuesAreKeysByWhatTheyAre(t *testing.T) {
	decimal := func(text string) bson.RawValue {
		d, err := bson.ParseDecimal128(text)
		if err != nil {
			t.Fatal(err)
		}
		typ, v, err := bson.MarshalValue(d)
		if err != nil {
			t.Fatal(err)
		}
		return bson.RawValue{Type: typ, Value: v}
	}
	for _, c := range []struct {
		a     string
		b     any
		equal bool
	}{
		{"7", int32(7), true},
		{"7.00", 7.0, true},
		{"0.5", 0.5, true},
		{"0.1", 0.1, false},
		{"-0", math.Copysign(0, -1), true},
		{"NaN", math.NaN(), true},
		{"-Infinity", math.Inf(-1), true},
		{"9.007199254740993E15", int64(9007199254740993), true},
		{"9.007199254740992E15", float64(9007199254740992), true},
		{"7", "7", false},
	} {
		typ, v, err := bson.MarshalValue(c.b)
		if err != nil {
			t.Fatal(err)
		}
		if got := joinKey(decimal(c.a)) == joinKey(bson.RawValue{Type: typ, Value: v}); got != c.equal {
			t.Errorf("%s and %v: %t", c.a, c.b, got)
		}
	}
}
