package legacy

import (
	"context"
	"encoding/json"
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

// mongoWith is a source of a database of this test's own with these collections.
func mongoWith(t *testing.T, collections map[string][]any) *mongoSource {
	t.Helper()
	ctx := context.Background()
	u, err := url.Parse(tenanttest.MongoURL(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + tenanttest.Prefix(t) + "old"
	client, err := mongo.Connect(options.Client().ApplyURI(u.String()))
	if err != nil {
		t.Fatal(err)
	}
	db := client.Database(u.Path[1:])
	t.Cleanup(func() {
		if err := db.Drop(ctx); err != nil {
			t.Error(err)
		}
		_ = client.Disconnect(ctx)
	})
	for name, docs := range collections {
		if _, err := db.Collection(name).InsertMany(ctx, docs); err != nil {
			t.Fatal(err)
		}
	}
	s, err := openMongoDB(ctx, &SourceSpec{}, u.String(), "old")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	t.Setenv("LEGACY_MONGO", u.String())
	return s.(*mongoSource)
}

func objectID(t *testing.T, hex string) bson.ObjectID {
	t.Helper()
	id, err := bson.ObjectIDFromHex(hex)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestDocumentsBecomeRows(t *testing.T) {
	at := time.Date(2024, 2, 29, 12, 0, 0, 5e8, time.UTC)
	s := mongoWith(t, map[string][]any{"orders": {
		bson.D{{Key: "_id", Value: int32(1)}, {Key: "who", Value: bson.D{{Key: "tenant", Value: "acme"}}}, {Key: "at", Value: at}, {Key: "price", Value: 1.5}, {Key: "n", Value: int64(1) << 53}, {Key: "tags", Value: bson.A{"a", 1.5}}},
		bson.D{{Key: "_id", Value: "x"}, {Key: "who", Value: bson.D{{Key: "tenant", Value: 7.0}}}, {Key: "price", Value: 1e6}, {Key: "n", Value: nil}, {Key: "tags", Value: "tab\t"}},
		bson.D{{Key: "_id", Value: objectID(t, "507f1f77bcf86cd799439011")}, {Key: "who", Value: "nobody"}, {Key: "n", Value: true}, {Key: "tags", Value: strings.Repeat("x", 2000)}},
		bson.D{{Key: "_id", Value: at}, {Key: "who", Value: bson.D{{Key: "tenant", Value: ""}}}, {Key: "n", Value: bson.Binary{Data: []byte{0, 255}}}},
	}})
	q := &query{table: &Table{From: "orders", Key: "who.tenant"}, maxRow: 1000, fields: []field{
		{name: "id", column: Column{From: "_id"}, kind: kindText, key: true},
		{name: "at", column: Column{From: "at"}, kind: kindInstant},
		{name: "price", column: Column{From: "price"}, kind: kindDecimal},
		{name: "n", column: Column{From: "n"}, kind: kindBytes},
		{name: "tags", column: Column{From: "tags"}, kind: kindJSON},
		{name: "v", column: Column{Value: new("\\")}, kind: kindText},
	}}
	got, refs := readAll(t, s, q)
	want := []string{
		`acme|1|2024-02-29 12:00:00.5+00|1.5|9007199254740992|["a",1.5]|\\`,
		`7|x|\N|1000000|\N|"tab\\t"|\\`,
		"too long: 2053",
		`|2024-02-29T12:00:00.5Z|\N|\N|\\x00ff|\N|\\`,
	}
	sameTexts(t, got, want)
	originals, err := s.originals(context.Background(), q, refs)
	if err != nil {
		t.Fatal(err)
	}
	if o := originals[0]; o.key != `["1"]` || !strings.Contains(string(o.row), `"at":{"$date":`) || !json.Valid(o.row) {
		t.Errorf("got %s %s", o.key, o.row)
	}
	if string(originals[2].row) != "null" || originals[2].key == "" {
		t.Errorf("got %s %s", originals[2].key, originals[2].row)
	}
	var again []string
	rows := []json.RawMessage{originals[0].row, originals[1].row, originals[3].row, json.RawMessage(`[1]`)}
	if err := s.reread(context.Background(), q, rows, func(r *record) error { again = append(again, taken(r)); return nil }); err != nil {
		t.Fatal(err)
	}
	sameTexts(t, again, []string{want[0], want[1], want[3], "broken: it is no document in Extended JSON"})
	if _, err := s.originals(context.Background(), q, [][]byte{[]byte(`{"_id":{"$numberInt":"99"}}`)}); err == nil {
		t.Error("a document that is gone was found")
	}
}

func TestEveryTypeOfMongoDBHasAText(t *testing.T) {
	price, err := bson.ParseDecimal128("1.50")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2024, 2, 29, 12, 0, 0, 5e8, time.UTC)
	for _, c := range []struct {
		value any
		kind  kind
		want  string
	}{
		{price, kindDecimal, "1.50"},
		{1e20, kindFloat, "1e+20"},
		{-0.25, kindText, "-0.25"},
		{bson.Null{}, kindInt, `\N`},
		{true, kindBool, "true"},
		{at, kindDate, "2024-02-29"},
		{at, kindTimestamp, "2024-02-29 12:00:00.5"},
		{at, kindTime, "12:00:00.5"},
		{bson.Binary{Subtype: bson.TypeBinaryUUID, Data: make([]byte, 16)}, kindUUID, "00000000-0000-0000-0000-000000000000"},
		{bson.Binary{Data: []byte("a\n")}, kindText, `a\n`},
		{bson.D{{Key: "a", Value: bson.D{{Key: "$x", Value: int32(1)}}}}, kindText, `{"a":{"$x":1}}`},
		{bson.A{at}, kindJSON, `[{"$date":"2024-02-29T12:00:00.5Z"}]`},
		{bson.Regex{Pattern: "a"}, kindText, `{"$regularExpression":{"pattern":"a","options":""}}`},
	} {
		typ, data, err := bson.MarshalValue(c.value)
		if err != nil {
			t.Fatal(err)
		}
		line, err := appendBSON(nil, bson.RawValue{Type: typ, Value: data}, c.kind, uuidStandard)
		if err != nil || string(line) != c.want+"\t" {
			t.Errorf("%v as %s: %q, %v; want %s", c.value, c.kind, line, err, c.want)
		}
	}
}

func TestDocumentsArePassedOnWholeOrInPart(t *testing.T) {
	s := mongoWith(t, map[string][]any{"c": {bson.D{{Key: "_id", Value: int32(1)}, {Key: "tenant", Value: "a"}, {Key: "n", Value: int64(5)}, {Key: "in", Value: bson.D{{Key: "x", Value: int32(2)}}}}}})
	id := field{name: "_id", column: Column{From: "n"}}
	for want, q := range map[string]*query{
		`{"_id":{"$numberInt":"1"},"tenant":"a","n":{"$numberLong":"5"},"in":{"x":{"$numberInt":"2"}}}`: {table: &Table{From: "c", Key: "tenant"}},
		`{"_id":{"$numberLong":"5"},"tenant":"a","in":{"x":{"$numberInt":"2"}}}`:                        {table: &Table{From: "c", Key: "tenant"}, fields: []field{id}},
		`{"_id":{"$numberLong":"5"},"x":{"$numberInt":"2"}}`:                                            {table: &Table{From: "c", Key: "tenant", Document: "in"}, fields: []field{id}},
		`{"deep":{"$numberInt":"2"},"v":"1"}`: {
			table:  &Table{From: "c", Key: "tenant", Columns: Columns{{}}},
			fields: []field{{name: "deep", column: Column{From: "in.x"}}, {name: "v", column: Column{Value: new("1")}}, {name: "gone", column: Column{From: "gone"}}},
		},
	} {
		q.document, q.raw = true, true
		err := s.read(t.Context(), q, part{}, "", func(r *record) error {
			got, err := bson.MarshalExtJSON(bson.Raw(r.line), true, false)
			if string(got) != want || string(r.key) != "a" {
				t.Errorf("got %s, want %s", got, want)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestReadingGoesOnBehindAnyID(t *testing.T) {
	docs := []any{}
	for i := range 50 {
		docs = append(docs, bson.D{{Key: "_id", Value: int32(i)}}, bson.D{{Key: "_id", Value: fmt.Sprintf("s%02d", i)}}, bson.D{{Key: "_id", Value: bson.NewObjectID()}}, bson.D{{Key: "_id", Value: float64(i) + 0.5}})
	}
	s := mongoWith(t, map[string][]any{"c": docs})
	got, _ := readAll(t, s, &query{table: &Table{From: "c"}, fields: []field{{name: "id", column: Column{From: "_id"}, kind: kindText}}})
	if slices.Sort(got); len(slices.Compact(got)) != len(docs) {
		t.Errorf("%d documents, want %d", len(got), len(docs))
	}
}

func TestCollectionsAreDescribedByASample(t *testing.T) {
	s := mongoWith(t, map[string][]any{"c": {
		bson.D{{Key: "_id", Value: int32(1)}, {Key: "a", Value: int32(1)}, {Key: "b", Value: "x"}, {Key: "c", Value: nil}},
		bson.D{{Key: "_id", Value: int32(2)}, {Key: "a", Value: 1.5}, {Key: "b", Value: int32(1)}, {Key: "d", Value: bson.A{}}},
	}, "other": {bson.D{{Key: "k", Value: "t1"}}, bson.D{{Key: "k", Value: "t1"}}, bson.D{{Key: "k", Value: nil}}}})
	tables, err := s.describe(context.Background(), []string{"c", "gone"})
	if err != nil || len(tables) != 1 || tables[0].rows != 2 {
		t.Fatalf("%+v, %v", tables, err)
	}
	var got []string
	for _, c := range tables[0].columns {
		got = append(got, c.name+" "+string(c.kind)+" "+c.typ)
	}
	sameTexts(t, got, []string{"_id int int", "a float double", "b text mixed", "c text null", "d json array"})
	if all, err := s.describe(context.Background(), nil); err != nil || len(all) != 2 {
		t.Errorf("%d collections, %v", len(all), err)
	}
	names := ""
	err = s.tenants(context.Background(), &TenantList{From: "other", Key: "k", Distinct: true}, func(r tenantRow) error { names += *r.key + *r.name; return nil })
	if err != nil || names != "t1t1" {
		t.Errorf("tenants %q, %v", names, err)
	}
	q := &query{table: &Table{From: "c", Since: "a"}, since: "1.2", fields: fieldsOf("a")}
	if got, _ := readAll(t, s, q); len(got) != 1 || got[0] != "NULL|1.5" {
		t.Errorf("since 1.2: %q", got)
	}
}

func TestAMongoDBWithoutSnapshotsSaysSo(t *testing.T) {
	s := mongoWith(t, map[string][]any{"c": {bson.D{{Key: "_id", Value: int32(1)}}}})
	limits, err := s.begin(context.Background())
	if err != nil || limits == "" {
		t.Errorf("limits %q, %v", limits, err)
	}
	if got, _ := readAll(t, s, &query{table: &Table{From: "c"}, fields: fieldsOf("_id")}); len(got) != 1 {
		t.Errorf("got %q", got)
	}
	s.end()
}

func TestErrorsOfMongoDBKeepThePassword(t *testing.T) {
	ctx := context.Background()
	for u, kind := range map[string]error{
		"mongodb://u:very-secret@127.0.0.1:27017/":                                 tenant.ErrInvalid,
		"mongodb://u:very-se%cret@127.0.0.1/db":                                    tenant.ErrInvalid,
		"mongodb://u:very-secret@127.0.0.1:x/db":                                   tenant.ErrInvalid,
		"mongodb://u:very-secret@127.0.0.1:1/db?serverSelectionTimeoutMS=very-sec": tenant.ErrInvalid,
	} {
		if _, err := openMongoDB(ctx, &SourceSpec{}, u, "old"); !errors.Is(err, kind) || strings.Contains(err.Error(), "very") {
			t.Errorf("%v", err)
		}
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := openMongoDB(short, &SourceSpec{}, "mongodb://u:very-secret@127.0.0.1:1/db", "old"); !errors.Is(err, tenant.ErrUnreachable) || strings.Contains(err.Error(), "very") {
		t.Errorf("%v", err)
	}
	s := mongoWith(t, nil)
	for _, q := range []*query{
		{table: &Table{From: "c", Where: "x"}},
		{table: &Table{From: "c", Via: []Hop{{}}}},
		{table: &Table{From: "c"}, fields: []field{{name: "n", column: Column{SQL: "1"}}}},
	} {
		if err := s.read(ctx, q, part{}, "", nil); !errors.Is(err, tenant.ErrInvalid) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// A document that was mended is not what the source has; one that the source does not have is named.
func TestVerifyKnowsMendedDocumentsAndNamesThoseThatAreOnlyHere(t *testing.T) {
	s := newStand(t, "CREATE TABLE nothing (id int)", "CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1)")
	collection := s.mongo()
	mongoWith(t, map[string][]any{"notes": {
		bson.D{{Key: "_id", Value: int32(1)}, {Key: "firm", Value: int32(1)}},
		bson.D{{Key: "_id", Value: "a"}, {Key: "firm", Value: int32(9)}},
		bson.D{{Key: "_id", Value: "b"}, {Key: "firm", Value: nil}},
	}})
	m := s.twoSources("  - {source: docs, from: notes, key: firm, to_collection: notes}\n")
	s.load(m, RunRequest{}, 2)
	s.load(m, RunRequest{Rejects: mended(s.rejectsFile(), `"firm":null`, `"firm":{"$numberInt":"1"}`)}, 1)
	s.clean(m)
	c := collection(1, "notes")
	if _, err := c.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "extra"}}); err != nil {
		t.Fatal(err)
	}
	s.differs(m, "mongodb/notes", `"extra"`)
	if _, err := c.DeleteMany(t.Context(), bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: bson.A{"extra", int32(1)}}}}}); err != nil {
		t.Fatal(err)
	}
	s.differs(m, "mongodb/notes", `{"$numberInt":"1"}`)
}
