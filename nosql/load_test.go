package nosql

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// documents is the content of a part.
func documents(t *testing.T, docs ...any) []byte {
	t.Helper()
	var all []byte
	for _, d := range docs {
		raw, err := bson.Marshal(d)
		must(t, err)
		all = append(all, raw...)
	}
	return all
}

const plainDefinition = `{"indexes":[{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"}],"collectionName":"%s","type":"collection"}`

// collection adds a collection with its rows to an archive.
func (m *memory) collection(t *testing.T, name string, docs ...any) {
	t.Helper()
	m.add(partFolder+fileStem(name)+definitionSuffix, fmt.Appendf(nil, plainDefinition, name))
	m.add(partFolder+fileStem(name)+rowsSuffix, documents(t, docs...))
}

func TestAPlaceThatIsThereIsNotLoadedInto(t *testing.T) {
	r, p := proxied(t, example)
	m := &memory{}
	m.collection(t, "x", bson.D{{Key: "_id", Value: 1}})
	for _, c := range []struct {
		name string
		make func(ten tenant.Tenant)
		kind error
	}{
		{"ours", func(ten tenant.Tenant) { must(t, r.Create(t.Context(), ten)) }, tenant.ErrExists},
		{"somebody else's", func(ten tenant.Tenant) { must(t, r.db(ten).CreateCollection(t.Context(), "theirs")) }, tenant.ErrForeign},
		{"another tenant's", func(ten tenant.Tenant) {
			ten.ID = uuid.Must(uuid.NewV7())
			must(t, r.claim(t.Context(), ten))
		}, tenant.ErrForeign},
		{"a user of somebody else", func(ten tenant.Tenant) {
			other := ten
			other.ID = uuid.Must(uuid.NewV7())
			must(t, r.createUser(t.Context(), other, bson.A{}))
		}, tenant.ErrForeign},
	} {
		ten := newTenant(t)
		c.make(ten)
		before, users := content(t, plain(t), ten.Database), p.Users()
		_, err := restore(t.Context(), r, ten, m, ownUser(ten, tenant.Dumped{}))
		t.Log(c.name)
		refuses(t, err, c.kind, ten.Database)
		if after := content(t, plain(t), ten.Database); after != before || !sameUsers(users, p.Users()) {
			t.Errorf("%s: was changed from\n%s\nto\n%s", c.name, before, after)
		}
	}
}

func TestLoadsAFolderThatMongodumpWrote(t *testing.T) {
	r := direct(t, example)
	ten := newTenant(t)
	m := &memory{}
	m.add("mongodb/prelude.json", []byte(`{"ServerVersion":"7.0.2"}`))
	m.add("mongodb/old.metadata.json", []byte(`{"options":{"autoIndexId":true,"create":"old"},"indexes":[{"v":1,"key":{"_id":1},"name":"_id_","ns":"db.old"},{"v":1,"unique":true,"key":{"x":1,"y":-1},"name":"x_1_y_-1","ns":"db.old","background":true}]}`))
	m.add("mongodb/old.bson", documents(t, bson.D{{Key: "_id", Value: 1}, {Key: "x", Value: 1}}, bson.D{{Key: "_id", Value: 2}, {Key: "x", Value: 2}}))
	m.add("mongodb/a@b%20c.metadata.json", fmt.Appendf(nil, plainDefinition, "a@b c")) // it escapes less than we do
	m.add("mongodb/a@b%20c.bson", documents(t, bson.D{{Key: "_id", Value: 1}}))
	m.collection(t, "system.js", bson.D{{Key: "_id", Value: "f"}})
	m.collection(t, lockCollection)
	m.add("mongodb/$admin.system.users.bson", documents(t, bson.D{{Key: "_id", Value: "admin.root"}}))
	m.collection(t, ownCollection, bson.D{{Key: "_id", Value: ownerID}, {Key: "tenant", Value: "another"}},
		bson.D{{Key: "_id", Value: progressID}, {Key: "revision", Value: int64(9)}, {Key: "applied", Value: bson.A{int64(1), int64(2)}}})
	m.collection(t, versionCollection, bson.D{{Key: "_id", Value: 1}, {Key: "version", Value: int64(2)}, {Key: "dirty", Value: false}, {Key: "by", Value: ourHand}})
	m.parts = slices.DeleteFunc(m.parts, func(p *memoryPart) bool { return p.Path == "mongodb/migrate_advisory_lock.bson" })
	_, err := restore(t.Context(), r, ten, m, tenant.LoadOptions{})
	must(t, err)
	st, err := r.Stat(t.Context(), ten)
	must(t, err)
	if st.Presence != tenant.Ours || st.Version != 2 || st.Objects != 2 {
		t.Errorf("stat is %+v", st)
	}
	defs, _, err := r.definitions(t.Context(), ten)
	must(t, err)
	i := slices.IndexFunc(defs, func(d definition) bool { return d.Name == "old" })
	if i < 0 || len(defs[i].Indexes) != 2 || !isTrue(defs[i].Indexes[1], "unique") || !equal(lookup(defs[i].Indexes[1], "key"), bson.D{{Key: "x", Value: int32(1)}, {Key: "y", Value: int32(-1)}}) {
		t.Errorf("definitions are %+v", defs)
	}
	for _, name := range []string{"old", "a@b c"} {
		if n, err := r.db(ten).Collection(name).CountDocuments(t.Context(), bson.D{}); err != nil || n == 0 {
			t.Errorf("%s has %d documents: %v", name, n, err)
		}
	}
}

func TestLoadsTheRowsOfNamedCollectionsAlone(t *testing.T) {
	r := direct(t, example)
	from := newTenant(t)
	must(t, r.Create(t.Context(), from))
	furnish(t, r, from, 20)
	m, d := dump(t, r, from)
	to := newTenant(t)
	_, err := restore(t.Context(), r, to, m, tenant.LoadOptions{Dumped: d, Names: []string{"small", "a.b"}})
	must(t, err)
	again, after := dump(t, r, to)
	for _, p := range again.parts {
		want := int64(0)
		if slices.Contains([]string{"small", "a.b", ownCollection, versionCollection}, p.Name) {
			want = m.part(t, p.Path).Rows
		}
		if p.Rows != want {
			t.Errorf("%s has %d rows, want %d", p.Name, p.Rows, want)
		}
	}
	if after.Fingerprint != d.Fingerprint || after.Version != d.Version {
		t.Errorf("loaded is %+v", after)
	}
	to = newTenant(t)
	_, err = restore(t.Context(), r, to, m, tenant.LoadOptions{Dumped: d, Names: []string{"small", "nosuch"}})
	refuses(t, err, tenant.ErrInvalid, `"nosuch"`)
}

func TestPartsThatCannotBeRightAreRefused(t *testing.T) {
	r := direct(t, example)
	for _, c := range []struct {
		name string
		fill func(m *memory)
		kind error
		says string
	}{
		{"another store's", func(m *memory) { m.add("postgres/data/x.sql", nil) }, tenant.ErrInvalid, "none of MongoDB's"},
		{"a folder in the folder", func(m *memory) { m.add("mongodb/x/../../y.bson", nil) }, tenant.ErrInvalid, "none of MongoDB's"},
		{"an unknown ending", func(m *memory) { m.add("mongodb/x.bson.gz", nil) }, tenant.ErrInvalid, "mongodb/x.bson.gz"},
		{"rows without a definition", func(m *memory) { m.add("mongodb/x.bson", documents(t, bson.D{})) }, tenant.ErrInvalid, "mongodb/x.bson: comes without its definition"},
		{"rows twice", func(m *memory) {
			m.collection(t, "x")
			m.add("mongodb/x.bson", nil)
		}, tenant.ErrInvalid, "comes twice"},
		{"a definition twice", func(m *memory) {
			m.collection(t, "x")
			m.add("mongodb/y.metadata.json", fmt.Appendf(nil, plainDefinition, "x"))
		}, tenant.ErrInvalid, "a second time"},
		{"a broken definition", func(m *memory) { m.add("mongodb/x.metadata.json", []byte(`{"indexes"`)) }, tenant.ErrInvalid, "mongodb/x.metadata.json: is no definition"},
		{"a definition that never ends", func(m *memory) { m.add("mongodb/x.metadata.json", make([]byte, 17<<20)) }, tenant.ErrInvalid, "larger than 16 MiB"},
		{"broken rows", func(m *memory) {
			m.collection(t, "x", bson.D{{Key: "_id", Value: 1}})
			m.parts[1].data = append(m.parts[1].data, 1, 0, 0, 0)
		}, tenant.ErrInvalid, "mongodb/x.bson: the document at byte 14"},
		{"another sum", func(m *memory) {
			m.collection(t, "x", bson.D{{Key: "_id", Value: 1}})
			m.parts[1].Rows, m.parts[1].Sum = 1, "00000000000000ff"
		}, tenant.ErrDiffers, "mongodb/x.bson"},
		{"another number of rows", func(m *memory) {
			m.collection(t, "x", bson.D{{Key: "_id", Value: 1}})
			m.parts[1].Rows, m.parts[1].Sum = 2, fmt.Sprintf("%016x", sumOf(m.parts[1].data))
		}, tenant.ErrDiffers, "1 rows"},
		{"one _id twice", func(m *memory) { m.collection(t, "x", bson.D{{Key: "_id", Value: 1}}, bson.D{{Key: "_id", Value: 1}}) }, tenant.ErrDiffers, "collection x"},
		{"an unknown document of ours", func(m *memory) { m.collection(t, ownCollection, bson.D{{Key: "_id", Value: "else"}}) }, tenant.ErrInvalid, `"else"`},
		{"a name that the server refuses", func(m *memory) { m.collection(t, "a$b") }, tenant.ErrDiffers, `"a$b"`},
		{"a view of another database", func(m *memory) {
			m.add("mongodb/v.metadata.json", []byte(`{"indexes":[],"options":{"viewOn":"x","pipeline":[{"$lookup":{"from":{"db":"other","coll":"y"},"as":"z"}}]}}`))
		}, tenant.ErrInvalid, "names a database"},
		{"another structure", func(m *memory) { m.collection(t, "x") }, tenant.ErrDiffers, "not those that were dumped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &memory{}
			c.fill(m)
			ten := newTenant(t)
			here, err := r.serverName(t.Context())
			must(t, err)
			d := tenant.Dumped{Server: here}
			if c.name == "another structure" {
				d.Fingerprint = "x"
			}
			_, err = restore(t.Context(), r, ten, m, tenant.LoadOptions{Dumped: d})
			refuses(t, err, c.kind, c.says)
			must(t, r.Drop(t.Context(), ten))
			if hasDatabase(t, plain(t), ten.Database) {
				t.Error("what a failed load left cannot be dropped")
			}
		})
	}
}

func TestRowsThatAUniqueIndexForbidsAreRefusedWithoutTheirValues(t *testing.T) {
	r, p := proxied(t, example)
	m := &memory{}
	m.add("mongodb/x.metadata.json", []byte(`{"indexes":[{"key":{"n":1},"name":"n","unique":true}]}`))
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if c.Name == "createIndexes" {
			return mongoproxy.Action{Reply: mongoproxy.Refusal(11000, "DuplicateKey", `E11000 duplicate key error collection: d.x index: n dup key: { n: "secret" }`)}
		}
		return mongoproxy.Action{}
	})
	_, err := restore(t.Context(), r, newTenant(t), m, tenant.LoadOptions{})
	if e := refuses(t, err, tenant.ErrDiffers, "collection x"); strings.Contains(e.Error(), "secret") {
		t.Errorf("shows a value: %v", e)
	}
}

func sumOf(doc []byte) uint64 {
	var n tally
	n.add(doc)
	return n.sum
}

func TestAnotherKindOfServerIsToldAndNoError(t *testing.T) {
	r := direct(t, example)
	m := &memory{}
	m.collection(t, "x")
	said, err := restore(t.Context(), r, newTenant(t), m, tenant.LoadOptions{Dumped: tenant.Dumped{Server: "MongoDB 3.2", Fingerprint: "x"}})
	must(t, err)
	if len(said) != 1 || !strings.Contains(said[0], "than MongoDB 3.2 did") {
		t.Errorf("said %q", said)
	}
}

// What FerretDB does not know is sent as MongoDB documents it.
func TestDefinitionsAreMadeAsMongoDBDocumentsIt(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	m := &memory{}
	add := func(name, definition string) { m.add("mongodb/"+name+definitionSuffix, []byte(definition)) }
	add("strict", `{"options":{"validator":{"$jsonSchema":{"required":["a"]}},"validationLevel":"moderate"},"indexes":[{"v":2,"key":{"_id":1},"name":"_id_"},`+
		`{"v":2,"key":{"at":1},"name":"ttl","expireAfterSeconds":60},{"v":2,"key":{"a":1},"name":"part","unique":true,"partialFilterExpression":{"a":{"$gt":1}}},`+
		`{"v":2,"key":{"_fts":"text","_ftsx":1},"name":"words","weights":{"w":1},"default_language":"english","language_override":"language","textIndexVersion":3}],"collectionName":"strict","type":"collection"}`)
	add("seen", `{"options":{"viewOn":"strict","pipeline":[{"$match":{"a":1}}]},"indexes":[],"collectionName":"seen","type":"view"}`)
	add("times", `{"options":{"timeseries":{"timeField":"t","metaField":"m","granularity":"seconds","bucketMaxSpanSeconds":3600},"expireAfterSeconds":{"$numberLong":"9"}},"indexes":[],"collectionName":"times","type":"timeseries"}`)
	add("heap", `{"options":{"clusteredIndex":{"v":2,"key":{"_id":1},"name":"main","unique":true}},"indexes":[{"v":2,"key":{"_id":1},"name":"main","unique":true,"clustered":true}],"collectionName":"heap","type":"collection"}`)
	m.add("mongodb/strict.bson", documents(t, bson.D{{Key: "_id", Value: 1}}))
	m.add("mongodb/system.buckets.times.bson", documents(t, bson.D{{Key: "_id", Value: 1}, {Key: "control", Value: bson.D{}}}))
	ok := mongoproxy.Action{Reply: bson.D{{Key: "n", Value: int32(1)}, {Key: "ok", Value: 1.0}}}
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		into, _ := c.Body.Lookup("insert").StringValueOK()
		if c.Name == "create" || c.Name == "createIndexes" || strings.HasPrefix(into, bucketPrefix) {
			return ok
		}
		if name, _ := c.Body.Lookup("filter", "name").StringValueOK(); c.Name == "listCollections" && name == bucketPrefix+"times" {
			return listed(c.DB, bson.D{{Key: "name", Value: name}, {Key: "type", Value: "collection"}})
		}
		return mongoproxy.Action{}
	})
	_, err := restore(t.Context(), r, ten, m, tenant.LoadOptions{})
	must(t, err)
	for name, want := range map[string][]string{
		"create": {
			`{"create":"strict","validator":{"$jsonSchema":{"required":["a"]}},"validationLevel":"moderate"}`,
			`{"create":"seen","viewOn":"strict","pipeline":[{"$match":{"a":1}}]}`,
			`{"create":"times","timeseries":{"timeField":"t","metaField":"m","granularity":"seconds","bucketMaxSpanSeconds":3600},"expireAfterSeconds":9}`,
			`{"create":"heap","clusteredIndex":{"v":2,"key":{"_id":1},"name":"main","unique":true}}`,
		},
		"createIndexes": {
			`{"createIndexes":"strict","indexes":[{"key":{"at":1},"name":"ttl","expireAfterSeconds":60},{"key":{"a":1},"name":"part","unique":true,"partialFilterExpression":{"a":{"$gt":1}}},` +
				`{"key":{"_fts":"text","_ftsx":1},"name":"words","weights":{"w":1},"default_language":"english","language_override":"language","textIndexVersion":3}]}`,
		},
	} {
		got := sent(t, p, name)
		for i := range want {
			want[i] = ten.Database + " " + strings.TrimSuffix(want[i], "}") + `,"writeConcern":{"w":"majority"}}`
		}
		if !slices.Equal(got, want) {
			t.Errorf("sent\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	inserts := strings.Join(sent(t, p, "insert"), "\n")
	for _, want := range []string{`"insert":"strict"`, `"bypassDocumentValidation":true`, `"insert":"system.buckets.times"`} {
		if !strings.Contains(inserts, want) {
			t.Errorf("sent\n%s\nwithout %s", inserts, want)
		}
	}
	// Here the server as it is says no, and the collection is named.
	p.Intercept(nil)
	_, err = restore(t.Context(), r, newTenant(t), m, tenant.LoadOptions{})
	if hello, herr := r.serverName(t.Context()); herr != nil || strings.HasPrefix(hello, "FerretDB 1") {
		must(t, herr)
		refuses(t, err, tenant.ErrUnsupported, "create collection strict")
	}
}

// Time series are dumped by their buckets, and one whose buckets the server hides is refused.
func TestTimeSeriesAreDumpedByTheirBuckets(t *testing.T) {
	cursor := func(ns string, docs ...any) mongoproxy.Action {
		batch := bson.A{}
		batch = append(batch, docs...)
		return mongoproxy.Action{Reply: bson.D{{Key: "cursor", Value: bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: ns}, {Key: "firstBatch", Value: batch}}}, {Key: "ok", Value: 1.0}}}
	}
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	var hidden atomic.Bool
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		name, _ := c.Body.Lookup("find").StringValueOK()
		switch {
		case c.Name == "listCollections":
			options := bson.D{{Key: "timeseries", Value: bson.D{{Key: "timeField", Value: "t"}}}}
			return cursor(c.DB+".$cmd.listCollections",
				bson.D{{Key: "name", Value: "times"}, {Key: "type", Value: "timeseries"}, {Key: "options", Value: options}, {Key: "info", Value: bson.D{{Key: "readOnly", Value: false}}}},
				bson.D{{Key: "name", Value: "system.buckets.times"}, {Key: "type", Value: "collection"}, {Key: "options", Value: bson.D{}}, {Key: "info", Value: bson.D{}}},
				bson.D{{Key: "name", Value: "system.views"}, {Key: "type", Value: "collection"}, {Key: "options", Value: bson.D{}}, {Key: "info", Value: bson.D{}}},
				bson.D{{Key: "name", Value: "system.js"}, {Key: "type", Value: "collection"}, {Key: "options", Value: bson.D{}}, {Key: "info", Value: bson.D{}}})
		case c.Name == "listIndexes":
			return cursor(c.DB + ".times")
		case name == "system.buckets.times" && !hidden.Load():
			return cursor(c.DB+"."+name, bson.D{{Key: "_id", Value: 1}, {Key: "control", Value: 2}})
		case name == "system.buckets.times":
			return cursor(c.DB + "." + name)
		case name == "times":
			return cursor(c.DB+"."+name, bson.D{{Key: "t", Value: 1}})
		}
		return mongoproxy.Action{}
	})
	m, d := dump(t, r, ten)
	if rows := m.part(t, "mongodb/system.buckets.times.bson"); rows.Rows != 1 || rows.Name != "times" || len(m.parts) != 2 {
		t.Errorf("parts are %v", m.listing())
	}
	if !strings.Contains(strings.Join(d.Notes, " "), "system.js") {
		t.Errorf("notes are %q", d.Notes)
	}
	hidden.Store(true)
	_, err := r.Dump(t.Context(), ten, &memory{}, tenant.DumpOptions{})
	refuses(t, err, tenant.ErrUnsupported, "times")
}

// Servers put their clock into an empty timestamp unless they know how not to.
func TestEmptyTimestampsStayEmpty(t *testing.T) {
	r, p := proxied(t, example)
	m := &memory{}
	m.collection(t, "x", bson.D{{Key: "_id", Value: 1}, {Key: "at", Value: bson.Timestamp{}}}, bson.D{{Key: "_id", Value: 2}, {Key: "at", Value: bson.Timestamp{T: 1}}, {Key: "data", Value: make([]byte, 20)}})
	ten := newTenant(t)
	_, err := restore(t.Context(), r, ten, m, tenant.LoadOptions{})
	must(t, err)
	var doc bson.D
	must(t, r.db(ten).Collection("x").FindOne(t.Context(), bson.D{{Key: "_id", Value: 1}}).Decode(&doc))
	if lookup(doc, "at") != (bson.Timestamp{}) {
		t.Errorf("became %v", doc)
	}

	var inserts atomic.Int64
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if into, _ := c.Body.Lookup("insert").StringValueOK(); into == "x" {
			if inserts.Add(1) == 1 {
				if asked, _ := c.Body.Lookup("bypassEmptyTsReplacement").BooleanOK(); !asked {
					t.Error("did not ask for empty timestamps to be left alone")
				}
				return mongoproxy.Action{Reply: mongoproxy.Refusal(40415, "Location40415", "unknown field")}
			}
		}
		if from, _ := c.Body.Lookup("find").StringValueOK(); from == "x" {
			changed := bson.D{{Key: "_id", Value: int32(1)}, {Key: "at", Value: bson.Timestamp{T: 99}}}
			return mongoproxy.Action{Reply: bson.D{{Key: "cursor", Value: bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: "d.x"}, {Key: "firstBatch", Value: bson.A{changed}}}}, {Key: "ok", Value: 1.0}}}
		}
		return mongoproxy.Action{}
	})
	_, err = restore(t.Context(), r, newTenant(t), m, tenant.LoadOptions{})
	refuses(t, err, tenant.ErrUnsupported, "collection x", "MongoDB 4.2")
}

func TestALoadThatIsInterruptedStopsAndCanBeDropped(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	m := &memory{}
	var docs []any
	for i := range 5000 {
		docs = append(docs, bson.D{{Key: "_id", Value: i}})
	}
	m.collection(t, "x", docs...)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var batches atomic.Int64
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if into, _ := c.Body.Lookup("insert").StringValueOK(); into == "x" {
			if batches.Add(1) == 2 {
				interrupt()
			}
		}
		return mongoproxy.Action{}
	})
	_, err := restore(ctx, r, ten, m, ownUser(ten, tenant.Dumped{}))
	refuses(t, err, tenant.ErrInterrupted)
	if n := batches.Load(); n != 2 {
		t.Errorf("%d batches were sent", n)
	}
	st, err := r.Stat(t.Context(), ten)
	must(t, err)
	if st.Presence != tenant.Ours || st.Version != 0 {
		t.Errorf("stat is %+v", st)
	}
	must(t, r.Drop(t.Context(), ten))
	if hasDatabase(t, plain(t), ten.Database) || len(p.Users()) != 0 {
		t.Error("something is left")
	}
}
