package legacy

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/tenantctl/tenantctl/tenant"
)

// difficult are documents that Extended JSON, or a text, does not keep.
func difficult(t *testing.T) map[string]bson.Raw {
	t.Helper()
	price, err := bson.ParseDecimal128("1.500E+3")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bson.Raw{}
	for name, doc := range map[string]bson.D{
		"looks like Extended JSON": {{Key: "in", Value: bson.D{{Key: "$date", Value: "2020-01-01T00:00:00Z"}}}, {Key: "id", Value: bson.D{{Key: "$oid", Value: "507f1f77bcf86cd799439011"}}}},
		"looks like base64":        {{Key: "$bson", Value: "aGFsbG8="}},
		"numbers":                  {{Key: "z", Value: math.Copysign(0, -1)}, {Key: "n", Value: math.NaN()}, {Key: "p", Value: price}, {Key: "i", Value: int32(1)}, {Key: "l", Value: int64(1)}, {Key: "d", Value: 1.0}},
		"types":                    {{Key: "s", Value: bson.Symbol("s")}, {Key: "c", Value: bson.CodeWithScope{Code: "f", Scope: bson.D{{Key: "a", Value: 1}}}}, {Key: "u", Value: bson.Undefined{}}, {Key: "min", Value: bson.MinKey{}}, {Key: "r", Value: bson.Regex{Pattern: "a", Options: "i"}}},
		"binary":                   {{Key: "old", Value: bson.Binary{Subtype: 2, Data: []byte("x")}}, {Key: "uuid", Value: bson.Binary{Subtype: 3, Data: make([]byte, 16)}}, {Key: "own", Value: bson.Binary{Subtype: 0x80, Data: nil}}},
		"twice":                    {{Key: "a", Value: 1}, {Key: "a", Value: 2}},
		"bytes":                    {{Key: "bad", Value: "\xff\xfe"}, {Key: "nul", Value: "a\x00b"}, {Key: "bad\xff", Value: 1}},
		"date":                     {{Key: "far", Value: bson.DateTime(math.MaxInt64)}, {Key: "ts", Value: bson.Timestamp{}}},
	} {
		raw, err := bson.Marshal(append(bson.D{{Key: "_id", Value: name}, {Key: "firm", Value: int32(1)}}, doc...))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = raw
	}
	return out
}

func TestADocumentIsTheSameBytesFromItsSourceToItsReject(t *testing.T) {
	for name, doc := range difficult(t) {
		q := &query{table: &Table{From: "c", Key: "firm", ToCollection: "c"}, document: true, raw: true}
		w, err := newMongoWriter(q, "")
		if err != nil {
			t.Fatal(err)
		}
		if w.write(doc); !bytes.Equal(w.rec.line, doc) || string(w.rec.key) != "1" {
			t.Errorf("%s: read as %s %s", name, bson.Raw(w.rec.line), w.rec.broken)
		}
		back, err := rowDocument(documentRow(doc))
		if err != nil || !bytes.Equal(back, doc) {
			t.Errorf("%s: as a reject %s, back %s %v", name, documentRow(doc), back, err)
		}
		// Fields of other names keep their bytes too.
		q = &query{table: &Table{From: "c", ToCollection: "c", Columns: Columns{{}}}, document: true, raw: true, fields: []field{{name: "_id", column: Column{From: "firm"}}, {name: "all", column: Column{From: "in"}}}}
		if w, err = newMongoWriter(q, ""); err != nil {
			t.Fatal(err)
		}
		w.write(doc)
		want := bsoncore.NewDocumentBuilder().AppendInt32("_id", 1)
		if in, err := doc.LookupErr("in"); err == nil {
			want.AppendDocument("all", in.Value)
		}
		if !bytes.Equal(w.rec.line, want.Build()) {
			t.Errorf("%s: %s", name, bson.Raw(w.rec.line))
		}
	}
}

func TestARejectThatWasEditedIsReadAsExtendedJSON(t *testing.T) {
	for row, want := range map[string]string{
		`{"_id": {"$numberInt":"1"}, "n": {"$numberLong": "5"}, "m": 7}`: `{"_id": {"$numberInt":"1"},"n": {"$numberLong":"5"},"m": {"$numberInt":"7"}}`,
		`{"$bson": "no"}`: "is no document in base64", `[1]`: "no document in Extended JSON", `{"$bson": 5}`: "is no document in base64",
	} {
		doc, err := rowDocument([]byte(row))
		if err != nil && !strings.Contains(err.Error(), want) || err == nil && doc.String() != want {
			t.Errorf("%s: %s %v", row, doc, err)
		}
	}
}

// What lies behind an _id is what sorts behind it, whatever its type.
func TestAnIDOfEachTypeIsAPosition(t *testing.T) {
	for _, c := range []struct {
		id    any
		first string // condition
		types int    // that come as a whole
	}{
		{bson.MinKey{}, "", 16},
		{math.NaN(), `"$ne"`, 13},
		{1.5, `"$gt"`, 13},
		{"x", `"$gt"`, 11},
		{bson.Null{}, "", 14},
		{bson.D{{Key: "a", Value: 1}}, `"$gt"`, 10},
		{bson.Timestamp{T: 1}, `"$gt"`, 5},
		{bson.JavaScript("f"), `"$gt"`, 2},
		{bson.CodeWithScope{Code: "f", Scope: bson.D{}}, `"$gt"`, 1},
		{bson.MaxKey{}, `"$in"`, 0},
	} {
		typ, data, err := bson.MarshalValue(c.id)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := bson.Marshal(bson.D{{Key: "_id", Value: bson.RawValue{Type: typ, Value: data}}})
		if err != nil {
			t.Fatal(err)
		}
		place, err := mongoPlace(doc)
		if err != nil {
			t.Fatal(err)
		}
		id, err := mongoID(string(place))
		if err != nil || id.Type != typ || !bytes.Equal(id.Value, data) {
			t.Errorf("%v comes back as %v: %v", c.id, id, err)
		}
		filter, err := bson.MarshalExtJSON(behindID(id), false, false)
		if err != nil {
			t.Fatal(err)
		}
		whole := strings.Count(string(filter), `{"_id":{"$type":"`) - strings.Count(string(filter), `"$ne"`)
		if whole != c.types || !strings.Contains(string(filter), c.first) {
			t.Errorf("%v: %d types, want %d: %s", c.id, whole, c.types, filter)
		}
	}
}

// typeNames are the names that $type has for the types of an _id, and the bracket within which $gt compares.
var typeNames = map[bson.Type]string{
	bson.TypeMinKey: "minKey", bson.TypeNull: "null", bson.TypeInt32: "number", bson.TypeInt64: "number", bson.TypeDouble: "number", bson.TypeDecimal128: "number",
	bson.TypeString: "string", bson.TypeSymbol: "symbol", bson.TypeEmbeddedDocument: "object", bson.TypeBinary: "binData", bson.TypeObjectID: "objectId",
	bson.TypeBoolean: "bool", bson.TypeDateTime: "date", bson.TypeTimestamp: "timestamp", bson.TypeDBPointer: "dbPointer", bson.TypeJavaScript: "javascript",
	bson.TypeCodeWithScope: "javascriptWithScope", bson.TypeMaxKey: "maxKey",
}

// matches tells whether a filter on _id matches one of ids, which are in MongoDB's order.
func matches(t *testing.T, filter bson.Raw, ids []bson.RawValue, at int) bool {
	t.Helper()
	bracket := func(v bson.RawValue) string { return strings.Replace(typeNames[v.Type], "symbol", "string", 1) }
	elements, err := filter.Elements()
	if err != nil || len(elements) != 1 {
		t.Fatalf("%s: %v", filter, err)
	}
	if elements[0].Key() == "$or" {
		either, _ := elements[0].Value().Array().Values()
		return slices.ContainsFunc(either, func(f bson.RawValue) bool { return matches(t, f.Document(), ids, at) })
	}
	conds, _ := elements[0].Value().Document().Elements()
	for _, c := range conds {
		v := c.Value()
		place := slices.IndexFunc(ids, func(id bson.RawValue) bool { return id.Equal(v) })
		switch c.Key() {
		case "$type":
			if typeNames[ids[at].Type] != v.StringValue() {
				return false
			}
		case "$gt": // NaN is not below another number
			if bracket(ids[at]) != bracket(v) || isNaN(v) || at <= place {
				return false
			}
		case "$ne":
			if at == place {
				return false
			}
		case "$in":
			return false // it is empty
		default:
			t.Fatalf("unknown %s", filter)
		}
	}
	return true
}

// From each _id on, all of those behind it are read, and none twice, whatever the types of both.
func TestReadingGoesOnBehindEachIDOfEachType(t *testing.T) {
	price, err := bson.ParseDecimal128("1.25")
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]bson.RawValue, 0, 40)
	for _, id := range []any{
		bson.MinKey{},
		bson.Null{},
		math.NaN(), math.Inf(-1), int64(math.MinInt64), int32(-1), math.Copysign(0, -1), 5e-324, price, 1.5, int64(9007199254740993), math.Inf(1),
		"", "A", bson.Symbol("a"), "é",
		bson.D{},
		bson.D{{Key: "$gt", Value: 1}},
		bson.D{{Key: "a", Value: math.NaN()}},
		bson.D{{Key: "a", Value: bson.A{1}}},
		bson.Binary{},
		bson.Binary{Subtype: 3, Data: make([]byte, 16)},
		bson.Binary{Subtype: 4, Data: make([]byte, 16)},
		bson.ObjectID{},
		bson.ObjectID{1},
		false, true, bson.DateTime(math.MinInt64), bson.DateTime(0),
		bson.Timestamp{},
		bson.Timestamp{T: 1, I: 2},
		bson.DBPointer{DB: "d"},
		bson.JavaScript(""), bson.JavaScript("f"),
		bson.CodeWithScope{Code: "f", Scope: bson.D{}},
		bson.CodeWithScope{Code: "g", Scope: bson.D{{Key: "a", Value: 1}}},
		bson.MaxKey{},
	} {
		typ, data, err := bson.MarshalValue(id)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, bson.RawValue{Type: typ, Value: data})
	}
	for from := range ids {
		doc, err := bson.Marshal(bson.D{{Key: "_id", Value: ids[from]}})
		if err != nil {
			t.Fatal(err)
		}
		place, err := mongoPlace(doc)
		if err != nil {
			t.Fatal(err)
		}
		filter, err := (&mongoSource{}).filter(&query{table: &Table{From: "c"}}, string(place), nil)
		if err != nil {
			t.Fatal(err)
		}
		behind, err := bson.Marshal(filter[0].Value.(bson.A)[0])
		if err != nil {
			t.Fatal(err)
		}
		for at := range ids {
			if got := matches(t, behind, ids, at); got != (at > from) {
				t.Errorf("behind %v: %v is read: %t", ids[from], ids[at], got)
			}
		}
	}
}

func TestLegacyUUIDsHaveTheOrderThatTheMappingNames(t *testing.T) {
	data := []byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	v := bson.RawValue{Type: bson.TypeBinary, Value: bsoncore.AppendBinary(nil, 3, data)}
	for order, want := range map[string]string{
		uuidJava: "77665544-3322-1100-ffee-ddccbbaa9988", uuidCSharp: "33221100-5544-7766-8899-aabbccddeeff",
		uuidPython: "00112233-4455-6677-8899-aabbccddeeff", uuidStandard: "00112233-4455-6677-8899-aabbccddeeff",
	} {
		for _, k := range []kind{kindUUID, kindText} {
			if line, err := appendBSON(nil, v, k, order); err != nil || string(line) != want+"\t" {
				t.Errorf("%s: %q %v", order, line, err)
			}
		}
	}
	if _, err := appendBSON(nil, v, kindUUID, ""); err == nil || !strings.Contains(err.Error(), "uuid: java, csharp") {
		t.Errorf("an order was guessed: %v", err)
	}
}

func TestAServerWithoutTheMeansToKeepAnEmptyTimestampIsToldByItsError(t *testing.T) {
	for code, want := range map[int32]bool{40415: true, 9: true, 238: true, 11000: false} {
		if got := unknownField(mongo.CommandError{Code: code}); got != want {
			t.Errorf("%d: %t", code, got)
		}
	}
	doc, err := bson.Marshal(bson.D{{Key: "_id", Value: bson.Timestamp{}}, {Key: "at", Value: bson.Timestamp{T: 1}}})
	if err != nil || hasEmptyTimestamp(bson.Raw(doc)) {
		t.Error("an _id is left as it is by every server")
	}
	if !hasEmptyTimestamp(difficult(t)["date"]) {
		t.Error("it is not seen")
	}
}

func TestDocumentsAreLoadedAndVerifiedByteByByte(t *testing.T) {
	s := newStand(t, "CREATE TABLE nothing (id int)", "CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2)")
	collection := s.mongo()
	docs := []any{
		bson.D{{Key: "_id", Value: "a"}, {Key: "firm", Value: int32(1)}, {Key: "in", Value: bson.D{{Key: "date", Value: "2020-01-01"}}}, {Key: "n", Value: 1.0}},
		bson.D{{Key: "_id", Value: int64(5)}, {Key: "firm", Value: int32(2)}, {Key: "n", Value: int32(1)}},
		bson.D{{Key: "_id", Value: int32(9)}, {Key: "firm", Value: int32(3)}, {Key: "n", Value: int64(1)}},
	}
	mongoWith(t, map[string][]any{"docs": docs})
	m := s.twoSources("  - {source: docs, from: docs, key: firm, to_collection: docs}\n")
	s.load(m, RunRequest{}, 1)
	s.clean(m)
	if got := documents(t, collection(1, "docs")); len(got) != 1 || !strings.Contains(got[0], `{"$numberDouble":"1.0"}`) {
		t.Errorf("%q", got)
	}
	if _, err := collection(2, "docs").UpdateOne(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: int64(1)}}}}); err != nil {
		t.Fatal(err)
	}
	r, err := s.verify(m)
	if !errors.Is(err, tenant.ErrDiffers) || len(r.Tables[0].Differences) != 1 || !strings.Contains(r.Tables[0].Differences[0].String(), `"5"`) {
		t.Errorf("another type of the same number: %v %s", err, shownAs(r))
	}
}
