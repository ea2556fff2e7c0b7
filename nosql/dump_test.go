package nosql

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

func TestWhatIsDumpedAndLoadedIsTheSame(t *testing.T) {
	r, p := proxied(t, example)
	from, to := newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), from))
	furnish(t, r, from, 20_000)
	enlarge(t, from)
	m, d := dump(t, r, from)
	if d.Version != 3 || d.Applied != 3 || d.Server == "" || d.Fingerprint == "" || d.From.IsZero() || d.Until.Before(d.From) {
		t.Errorf("dumped is %+v", d)
	}
	if rows := m.part(t, "mongodb/small.bson"); rows.Rows != 20_000 || rows.Name != "small" {
		t.Errorf("small is %+v", rows.Part)
	}
	if own := m.part(t, "mongodb/tenantctl.bson"); own.Rows != 1 || strings.Contains(string(own.data), from.ID.String()) {
		t.Errorf("our own collection holds %d documents, or whose the database is", own.Rows)
	}
	for _, part := range m.parts {
		if strings.Contains(string(part.data), from.Database) {
			t.Errorf("part %s is bound to the old name", part.Path)
		}
	}

	said, err := restore(t.Context(), r, to, m, ownUser(to, d))
	must(t, err)
	if len(said) != 1 || !strings.Contains(said[0], "tenantctl credentials acme --rotate") {
		t.Errorf("said %q", said)
	}
	again, after := dump(t, r, to)
	if got, want := again.listing(), m.listing(); !slices.Equal(got, want) {
		t.Errorf("a dump of what was loaded holds\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if after.Fingerprint != d.Fingerprint || after.Version != 3 {
		t.Errorf("loaded is %+v, dumped %+v", after, d)
	}
	st, err := r.Stat(t.Context(), to)
	must(t, err)
	if st.Presence != tenant.Ours || st.Version != 3 || !slices.Equal(st.Users, []string{to.Role}) {
		t.Errorf("stat is %+v", st)
	}
	if got := string(again.part(t, "mongodb/ring.metadata.json").data); !strings.Contains(got, `"capped":true`) {
		t.Errorf("the capped collection became %s", got)
	}
	// It is a tenant like any other.
	moved, err := r.Up(t.Context(), to, tenant.Newest, false)
	must(t, err)
	if len(moved.Ran) != 0 {
		t.Errorf("migrations %v ran again", moved.Ran)
	}
	must(t, r.Drop(t.Context(), to))
	if hasDatabase(t, plain(t), to.Database) || len(p.Users()) != 1 {
		t.Error("the loaded tenant cannot be dropped")
	}
}

func TestTheFingerprintIsOfTheStructureAlone(t *testing.T) {
	r := direct(t, example)
	a, b := newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), a))
	must(t, r.Create(t.Context(), b))
	_, err := r.db(b).Collection("documents").InsertOne(t.Context(), bson.D{{Key: "slug", Value: "x"}})
	must(t, err)
	_, da := dump(t, r, a)
	_, db := dump(t, r, b)
	if da.Fingerprint != db.Fingerprint {
		t.Error("two tenants of one structure differ")
	}
	must(t, r.db(b).CreateCollection(t.Context(), "more"))
	_, more := dump(t, r, b)
	must(t, r.send(t.Context(), r.db(b), bson.D{{Key: "createIndexes", Value: "more"}, {Key: "indexes", Value: bson.A{bson.D{{Key: "key", Value: bson.D{{Key: "x", Value: 1}}}, {Key: "name", Value: "x"}}}}}))
	_, indexed := dump(t, r, b)
	if more.Fingerprint == db.Fingerprint || indexed.Fingerprint == more.Fingerprint {
		t.Error("a collection or an index more is not seen")
	}
}

func TestDumpsOnlyWhatIsOurs(t *testing.T) {
	r := direct(t, example)
	ten := newTenant(t)
	_, err := r.Dump(t.Context(), ten, &memory{}, tenant.DumpOptions{})
	refuses(t, err, tenant.ErrMissing, ten.Database)
	_, err = r.db(ten).Collection("theirs").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	must(t, err)
	_, err = r.Dump(t.Context(), ten, &memory{}, tenant.DumpOptions{})
	refuses(t, err, tenant.ErrForeign, ten.Database)
}

// replica makes a proxied server look like a replica set that reads at a moment.
func replica(p *mongoproxy.Proxy, wire int32) (moment bson.Timestamp, reply func(c mongoproxy.Command) mongoproxy.Action) {
	p.Hello(func(d bson.D) bson.D {
		return mongoproxy.Set(mongoproxy.Set(d, "setName", "rs"), "maxWireVersion", wire)
	})
	moment = bson.Timestamp{T: 1700000000, I: 3}
	return moment, func(c mongoproxy.Command) mongoproxy.Action {
		if beginsSnapshot(c) {
			return mongoproxy.Action{Reply: bson.D{
				{Key: "cursor", Value: bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: c.DB + "." + ownCollection}, {Key: "firstBatch", Value: bson.A{}}, {Key: "atClusterTime", Value: moment}}},
				{Key: "ok", Value: 1.0},
			}}
		}
		return mongoproxy.Action{}
	}
}

// beginsSnapshot tells the read that asks for a moment.
func beginsSnapshot(c mongoproxy.Command) bool {
	level, _ := c.Body.Lookup("readConcern", "level").StringValueOK()
	return c.Name == "find" && level == "snapshot" && c.Body.Lookup("readConcern", "atClusterTime").IsZero()
}

func TestReadsEveryCollectionAtOneMomentWhereTheServerCan(t *testing.T) {
	for _, c := range []struct {
		wire  int32
		apart []string // read outside the snapshot
	}{{21, []string{"ring"}}, {25, nil}} {
		r, p := proxied(t, example)
		ten := newTenant(t)
		must(t, r.Create(t.Context(), ten))
		furnish(t, r, ten, 10)
		moment, reply := replica(p, c.wire)
		r = connect(t, Config{URL: p.URL(), Dir: example, Timeout: 5 * time.Second})
		p.Intercept(reply)
		_, d := dump(t, r, ten)
		if d.Snapshot != (c.apart == nil) || d.Snapshot && !d.Until.Equal(d.From) {
			t.Errorf("wire version %d: %+v", c.wire, d)
		}
		if noted := strings.Contains(strings.Join(d.Notes, " "), "capped collections: ring"); noted != (c.apart != nil) {
			t.Errorf("wire version %d: notes are %q", c.wire, d.Notes)
		}
		read := 0
		for _, cmd := range p.Commands() {
			name, _ := cmd.Body.Lookup("find").StringValueOK()
			if cmd.Name != "find" || cmd.Body.Lookup("limit").IsNumber() || name == versionCollection || name == ownCollection {
				continue
			}
			at, i, ok := cmd.Body.Lookup("readConcern", "atClusterTime").TimestampOK()
			if inside := ok && at == moment.T && i == moment.I; inside == slices.Contains(c.apart, name) {
				t.Errorf("wire version %d: %s was read with %s", c.wire, name, cmd.Body.Lookup("readConcern"))
			}
			read++
		}
		if read < 10 {
			t.Errorf("only %d reads were seen", read)
		}
	}
}

func TestSaysThatThereIsNoSnapshot(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	if _, d := dump(t, r, ten); d.Snapshot || !strings.Contains(strings.Join(d.Notes, " "), "no snapshot") {
		t.Errorf("dumped is %+v", d)
	}
	// A collection that appears while the others are read is named.
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if name, _ := c.Body.Lookup("find").StringValueOK(); name == "documents" {
			must(t, plain(t).Database(ten.Database).CreateCollection(t.Context(), "sudden"))
		}
		return mongoproxy.Action{}
	})
	if _, d := dump(t, r, ten); !strings.Contains(strings.Join(d.Notes, " "), "collection sudden was made meanwhile") {
		t.Errorf("dumped is %+v", d)
	}
	// A server that calls itself a replica set and gives no moment all the same.
	_, _ = replica(p, 21)
	for _, answer := range []bson.D{
		mongoproxy.Refusal(72, "InvalidOptions", "no"),
		{{Key: "cursor", Value: bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: "x.y"}, {Key: "firstBatch", Value: bson.A{}}}}, {Key: "ok", Value: 1.0}},
	} {
		p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
			if beginsSnapshot(c) {
				return mongoproxy.Action{Reply: answer}
			}
			return mongoproxy.Action{}
		})
		if _, d := dump(t, connect(t, r.cfg), ten); d.Snapshot {
			t.Errorf("dumped is %+v", d)
		}
	}
}

func TestASnapshotThatCannotBeHeldIsRefused(t *testing.T) {
	for _, c := range []struct {
		code int32
		kind error
		says string
	}{{239, tenant.ErrUnsupported, "minSnapshotHistoryWindowInSeconds"}, {246, tenant.ErrBusy, "run the same command again"}} {
		r, p := proxied(t, example)
		ten := newTenant(t)
		must(t, r.Create(t.Context(), ten))
		_, reply := replica(p, 21)
		p.Intercept(func(cmd mongoproxy.Command) mongoproxy.Action {
			if name, _ := cmd.Body.Lookup("find").StringValueOK(); name == "documents" {
				return mongoproxy.Action{Reply: mongoproxy.Refusal(c.code, "Snapshot", "no")}
			}
			return reply(cmd)
		})
		_, err := connect(t, r.cfg).Dump(t.Context(), ten, &memory{}, tenant.DumpOptions{})
		refuses(t, err, c.kind, "documents", c.says)
	}
}

func TestCollectionsThatKeepChangingAreRefused(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	_, reply := replica(p, 21)
	var n atomic.Int64
	p.Intercept(func(cmd mongoproxy.Command) mongoproxy.Action {
		a := reply(cmd)
		if a.Reply != nil {
			must(t, plain(t).Database(ten.Database).CreateCollection(t.Context(), fmt.Sprint("new", n.Add(1))))
		}
		return a
	})
	_, err := connect(t, r.cfg).Dump(t.Context(), ten, &memory{}, tenant.DumpOptions{})
	refuses(t, err, tenant.ErrBusy, "changed while a snapshot was begun")
}

type fullDisk struct{}

var errFull = errors.New("no space left")

func (*fullDisk) Create(string, string) (tenant.PartFile, error) { return nil, errFull }

func TestAnArchiveThatFailsEndsTheDump(t *testing.T) {
	r := direct(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	if _, err := r.Dump(t.Context(), ten, &fullDisk{}, tenant.DumpOptions{}); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}
