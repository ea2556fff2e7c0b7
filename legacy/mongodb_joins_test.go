package legacy

import (
	"errors"
	"fmt"
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
