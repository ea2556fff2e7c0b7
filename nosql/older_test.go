package nosql

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// listed is a cursor that holds these documents.
func listed(db string, docs ...any) mongoproxy.Action {
	cursor := bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: db + ".$cmd.listCollections"}, {Key: "firstBatch", Value: append(bson.A{}, docs...)}}
	return mongoproxy.Action{Reply: bson.D{{Key: "cursor", Value: cursor}, {Key: "ok", Value: 1.0}}}
}

// No server since MongoDB 3.4 takes them as they are.
func TestIndexesOfMongoDB2AreMadeAsMongorestoreMakesThem(t *testing.T) {
	r, _ := proxied(t, example)
	m := &memory{}
	m.add("mongodb/old"+definitionSuffix, []byte(`{"options":{},"indexes":[{"v":1,"key":{"_id":1},"name":"_id_"},
		{"v":1,"key":{"a":true,"b":"","c":-1},"name":"kept","dropDups":true},
		{"v":1,"key":{"d":{"$numberDouble":"0.0"}},"name":"twice"}, {"v":1,"key":{"d":1},"name":"once"}],"collectionName":"old"}`))
	m.add("mongodb/old.bson", documents(t, bson.D{{Key: "_id", Value: 1}}))
	ten := newTenant(t)
	said, err := restore(t.Context(), r, ten, m, tenant.LoadOptions{})
	must(t, err)
	indexes, err := r.listIndexes(t.Context(), ten, "old")
	must(t, err)
	var got []string
	for _, x := range indexes {
		got = append(got, canonical(wanted(x)))
	}
	slices.Sort(got)
	want := []string{
		`{"key":{"_id":{"$numberLong":"1"}},"name":"_id_"}`,
		`{"key":{"a":{"$numberLong":"1"},"b":{"$numberLong":"1"},"c":{"$numberLong":"-1"}},"name":"kept"}`,
		`{"key":{"d":{"$numberLong":"1"}},"name":"once"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("indexes are\n%s", strings.Join(got, "\n"))
	}
	told := strings.Join(said, "\n")
	for _, want := range []string{"index kept of old is of MongoDB 2", "index twice of old is left out"} {
		if !strings.Contains(told, want) {
			t.Errorf("it does not say %q but\n%s", want, told)
		}
	}
}

// MongoDB 8.3 keeps no collection system.buckets beside a time series.
func TestTimeSeriesWithoutACollectionOfBucketsAreDumpedAndRestored(t *testing.T) {
	r, p := proxied(t, example)
	ten, other := newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), ten))
	options := bson.D{{Key: "timeseries", Value: bson.D{{Key: "timeField", Value: "t"}}}}
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		name, _ := c.Body.Lookup("find").StringValueOK()
		into, _ := c.Body.Lookup("insert").StringValueOK()
		raw, _ := c.Body.Lookup("rawData").BooleanOK()
		switch {
		case c.Name == "listCollections" && c.Body.Lookup("filter", "name").IsZero() && c.DB == ten.Database:
			return listed(c.DB, bson.D{{Key: "name", Value: "times"}, {Key: "type", Value: "timeseries"}, {Key: "options", Value: options}})
		case c.Name == "listIndexes":
			return listed(c.DB)
		case name == "times" && raw:
			return listed(c.DB, bson.D{{Key: "_id", Value: 1}, {Key: "control", Value: 2}})
		case strings.HasPrefix(name, bucketPrefix):
			return listed(c.DB)
		case c.Name == "create", into == "times" && raw:
			return mongoproxy.Action{Reply: bson.D{{Key: "n", Value: int32(1)}, {Key: "ok", Value: 1.0}}}
		}
		return mongoproxy.Action{}
	})
	m, _ := dump(t, r, ten)
	if rows := m.part(t, "mongodb/times.bson"); rows.Rows != 1 {
		t.Fatalf("parts are %v", m.listing())
	}
	for stem, folder := range map[string]*memory{"times": m, "system.buckets.times": {}} {
		if len(folder.parts) == 0 { // as an older server's mongodump names it
			folder.add("mongodb/times"+definitionSuffix, []byte(`{"options":{"timeseries":{"timeField":"t"}},"indexes":[],"collectionName":"times","type":"timeseries"}`))
			folder.add("mongodb/system.buckets.times.bson", documents(t, bson.D{{Key: "_id", Value: 1}, {Key: "control", Value: 2}}))
		}
		into := other
		if stem != "times" {
			into = newTenant(t)
		}
		_, err := restore(t.Context(), r, into, folder, tenant.LoadOptions{})
		must(t, err)
		if inserts := strings.Join(sent(t, p, "insert"), "\n"); !strings.Contains(inserts, into.Database+` {"insert":"times"`) || !strings.Contains(inserts, `"rawData":true`) {
			t.Errorf("%s: sent\n%s", stem, inserts)
		}
	}
}

// Servers before bypassEmptyTsReplacement put their clock into a document that is inserted.
func TestEmptyTimestampsAreRestoredByAPipelineWhereInsertsChangeThem(t *testing.T) {
	r, p := proxied(t, example)
	doc := bson.D{{Key: "_id", Value: int32(1)}, {Key: "at", Value: bson.Timestamp{}}}
	m := &memory{}
	m.add("mongodb/docs"+definitionSuffix, []byte(`{"options":{},"indexes":[],"collectionName":"docs"}`))
	m.add("mongodb/docs.bson", documents(t, doc))
	mended := false
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		into, _ := c.Body.Lookup("update").StringValueOK()
		from, _ := c.Body.Lookup("find").StringValueOK()
		switch {
		case !c.Body.Lookup("bypassEmptyTsReplacement").IsZero():
			return mongoproxy.Action{Reply: mongoproxy.Refusal(40415, "Location40415", "BSON field 'insert.bypassEmptyTsReplacement' is an unknown field.")}
		case into == "docs":
			if got := c.Body.Lookup("updates", "0", "u", "0", "$replaceRoot", "newRoot", "$literal").String(); !strings.Contains(got, `"t":0`) {
				t.Errorf("it is replaced by %s", got)
			}
			mended = true
			return mongoproxy.Action{Reply: bson.D{{Key: "n", Value: int32(1)}, {Key: "nModified", Value: int32(1)}, {Key: "ok", Value: 1.0}}}
		case from == "docs" && mended:
			return listed(c.DB, doc)
		case from == "docs":
			return listed(c.DB, bson.D{{Key: "_id", Value: int32(1)}, {Key: "at", Value: bson.Timestamp{T: 7}}})
		}
		return mongoproxy.Action{}
	})
	_, err := restore(t.Context(), r, newTenant(t), m, tenant.LoadOptions{})
	must(t, err)
	if !mended {
		t.Error("the document was left as the server changed it")
	}
}

// A router before 5.0 has to be told twice, and keeps what it knows of a database that is gone.
func TestADatabaseOfAnOldShardedClusterIsDroppedTwiceAndItsShardKeysAreTold(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	p.Hello(func(d bson.D) bson.D {
		return mongoproxy.Set(mongoproxy.Set(d, "msg", routerName), "maxWireVersion", int32(9))
	})
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		switch {
		case c.Name == "flushRouterConfig":
			return mongoproxy.Action{Reply: mongoproxy.Refusal(13, "Unauthorized", "not authorized on admin")}
		case c.Name == "find" && c.DB == "config":
			return listed(c.DB, bson.D{{Key: "_id", Value: ten.Database + ".documents"}, {Key: "key", Value: bson.D{{Key: "slug", Value: "hashed"}}}})
		}
		return mongoproxy.Action{}
	})
	_, d := dump(t, r, ten)
	if notes := strings.Join(d.Notes, "\n"); !strings.Contains(notes, `sh.shardCollection("DATABASE.documents", {"slug":"hashed"})`) {
		t.Errorf("notes are\n%s", notes)
	}
	var warned []string
	r.cfg.Warn = func(s string) { warned = append(warned, s) }
	must(t, r.Drop(t.Context(), ten))
	if drops := sent(t, p, "dropDatabase"); len(drops) != 2 {
		t.Errorf("sent %v", drops)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "flushRouterConfig") {
		t.Errorf("warned %q", warned)
	}
}

// A clone reads and writes the buckets of a time series as a dump does.
func TestTimeSeriesWithoutACollectionOfBucketsAreCloned(t *testing.T) {
	r, p := proxied(t, example)
	from, to := newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), from))
	series := bson.D{
		{Key: "name", Value: "times"},
		{Key: "type", Value: "timeseries"},
		{Key: "options", Value: bson.D{{Key: "timeseries", Value: bson.D{{Key: "timeField", Value: "t"}}}}},
	}
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		times := slices.ContainsFunc([]string{"find", "insert", "create", "listIndexes"}, func(name string) bool {
			on, _ := c.Body.Lookup(name).StringValueOK()
			return on == "times"
		})
		raw, _ := c.Body.Lookup("rawData").BooleanOK()
		switch {
		case c.Name == "listCollections" && c.Body.Lookup("filter", "name").IsZero():
			return mongoproxy.Action{Edit: func(reply bson.D) bson.D {
				cursor, _ := lookup(reply, "cursor").(bson.D)
				batch, _ := lookup(cursor, "firstBatch").(bson.A)
				if c.DB == from.Database || len(batch) > 1 { // of the copy, once it is made
					mongoproxy.Set(cursor, "firstBatch", append(batch, series))
				}
				return reply
			}}
		case c.Name == "listIndexes" && times:
			return listed(c.DB)
		case c.Name == "find" && times && raw:
			return listed(c.DB, bson.D{{Key: "_id", Value: 1}, {Key: "control", Value: 2}})
		case c.Name == "create" && times, c.Name == "insert" && times && raw:
			return mongoproxy.Action{Reply: bson.D{{Key: "n", Value: int32(1)}, {Key: "ok", Value: 1.0}}}
		}
		return mongoproxy.Action{}
	})
	must(t, r.Clone(t.Context(), from, to, true))
	inserts := strings.Join(sent(t, p, "insert"), "\n")
	if !strings.Contains(inserts, to.Database+` {"insert":"times"`) || !strings.Contains(inserts, `"rawData":true`) || !strings.Contains(inserts, `"control":2`) {
		t.Errorf("sent\n%s", inserts)
	}
}

// Neither a clone nor a restore shards again: both say by which command a person does.
func TestACloneAndARestoreOfShardedCollectionsSayHowToShardThem(t *testing.T) {
	r, p := proxied(t, example)
	from, cloned, restored := newTenant(t), newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), from))
	p.Router(21)
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if c.Name == "find" && c.DB == "config" {
			key := bson.D{{Key: "slug", Value: 1}}
			return listed(c.DB, bson.D{{Key: "_id", Value: from.Database + ".documents"}, {Key: "key", Value: key}, {Key: "unique", Value: true}})
		}
		return mongoproxy.Action{}
	})
	says := func(what string, said []string, to tenant.Tenant) {
		t.Helper()
		want := `sh.shardCollection("` + to.Database + `.documents", {"slug":{"$numberLong":"1"}}, true)`
		if !strings.Contains(strings.Join(said, "\n"), want) {
			t.Errorf("%s says %q, without %s", what, said, want)
		}
	}
	var warned []string
	r.cfg.Warn = func(s string) { warned = append(warned, s) }
	must(t, r.Clone(t.Context(), from, cloned, true))
	says("the clone", warned, cloned)
	m, d := dump(t, r, from)
	said, err := restore(t.Context(), r, restored, m, ownUser(restored, d))
	must(t, err)
	says("the restore", said, restored)
}

// A drop that takes longer than the lease would be another process's tenant that is dropped.
func TestADropIsGivenUpWithTheLease(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	p.Intercept(nil)
	refuses(t, r.dropWithin(t.Context(), ten, tenant.Ours, -1), tenant.ErrBusy, "the lease of the operation ran out")
	if n := p.Counts()["dropDatabase"]; n != 0 {
		t.Errorf("the database was dropped %d times", n)
	}
	over := make(chan struct{})
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if c.Name == "dropDatabase" {
			<-over // the server takes its time
		}
		return mongoproxy.Action{}
	})
	refuses(t, r.dropWithin(t.Context(), ten, tenant.Ours, 100*time.Millisecond), tenant.ErrUnreachable, "took too long")
	close(over)
	must(t, r.Drop(t.Context(), ten))
}
