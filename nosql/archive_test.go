package nosql

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tenantctl/tenantctl/tenant"
)

// memory is an archive in memory. Its parts are in the order that they were begun in.
type memory struct {
	mu    sync.Mutex
	parts []*memoryPart
}

type memoryPart struct {
	tenant.Part
	data  []byte
	ended bool
}

func (m *memory) Create(path, name string) (tenant.PartFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &memoryPart{Part: tenant.Part{Path: path, Name: name}}
	m.parts = append(m.parts, p)
	return p, nil
}

func (p *memoryPart) Write(b []byte) (int, error) {
	p.data = append(p.data, b...)
	return len(b), nil
}

func (p *memoryPart) End(rows int64, sum uint64) error {
	p.Size, p.Rows, p.ended = int64(len(p.data)), rows, true
	if rows > 0 {
		p.Sum = fmt.Sprintf("%016x", sum)
	}
	return nil
}

// add puts a part into the archive that no dump wrote.
func (m *memory) add(path string, data []byte) {
	m.parts = append(m.parts, &memoryPart{Part: tenant.Part{Path: path, Size: int64(len(data))}, data: data, ended: true})
}

func (m *memory) part(t *testing.T, path string) *memoryPart {
	t.Helper()
	for _, p := range m.parts {
		if p.Path == path {
			return p
		}
	}
	t.Fatalf("there is no part %s", path)
	return nil
}

// listing is what a dump holds, by path: two dumps of the same data have the same.
func (m *memory) listing() []string {
	var all []string
	for _, p := range m.parts {
		sum := p.Sum
		if strings.HasSuffix(p.Path, definitionSuffix) { // holds a uuid
			sum = fmt.Sprint("definition of ", p.Path)
		}
		all = append(all, fmt.Sprintf("%s %q %d rows, sum %s", p.Path, p.Name, p.Rows, sum))
	}
	slices.Sort(all)
	return all
}

func dump(t *testing.T, r *Resource, ten tenant.Tenant) (*memory, tenant.Dumped) {
	t.Helper()
	m := &memory{}
	d, err := r.Dump(t.Context(), ten, m, tenant.DumpOptions{Parallel: 3})
	must(t, err)
	for _, p := range m.parts {
		if !p.ended {
			t.Errorf("part %s was not ended", p.Path)
		}
	}
	return m, d
}

// restore loads an archive into the database of ten.
func restore(ctx context.Context, r *Resource, ten tenant.Tenant, m *memory, o tenant.LoadOptions) (said []string, err error) {
	o.Log = func(s string) { said = append(said, s) }
	l, err := r.Load(ctx, ten, o)
	if err != nil {
		return said, err
	}
	defer l.Stop()
	for _, p := range m.parts {
		w, err := l.Part(ctx, p.Part)
		if err != nil {
			return said, err
		}
		if w == nil {
			continue
		}
		// Pieces that end anywhere, as an archive's do.
		for data := p.data; len(data) > 0; {
			n := min(len(data), 1+len(data)/3)
			if _, err := w.Write(data[:n]); err != nil {
				return said, err
			}
			data = data[n:]
		}
		if err := w.Close(); err != nil {
			return said, err
		}
	}
	return said, l.Finish(ctx)
}

func ownUser(ten tenant.Tenant, d tenant.Dumped) tenant.LoadOptions {
	return tenant.LoadOptions{Dumped: d, Role: ten.Role, MakeRole: true, Parallel: 2}
}

// furnish gives a tenant's database what a dump has to cope with, as far as FerretDB knows it: types, many small
// documents, empty collections, odd names, indexes, a capped collection.
func furnish(t *testing.T, r *Resource, ten tenant.Tenant, many int) {
	t.Helper()
	db := plain(t).Database(ten.Database)
	oid, err := bson.ObjectIDFromHex("0123456789abcdef01234567")
	must(t, err)
	insert := func(collection string, docs ...any) {
		_, err := db.Collection(collection).InsertMany(t.Context(), docs)
		must(t, err)
	}
	insert("types", bson.D{
		{Key: "_id", Value: oid},
		{Key: "double", Value: 1.5},
		{Key: "int", Value: int32(7)},
		{Key: "long", Value: int64(1) << 60},
		{Key: "string", Value: "ünï\ncödé \"quoted\", comma"},
		{Key: "empty", Value: ""},
		{Key: "bool", Value: true},
		{Key: "null", Value: nil},
		{Key: "date", Value: bson.DateTime(-1)},
		{Key: "binary", Value: bson.Binary{Subtype: 0x80, Data: []byte{0, 255, 13, 10}}},
		{Key: "uuid", Value: bson.Binary{Subtype: 4, Data: []byte("0123456789abcdef")}},
		{Key: "regex", Value: bson.Regex{Pattern: "^a/b", Options: "i"}},
		{Key: "timestamp", Value: bson.Timestamp{T: 5, I: 6}},
		{Key: "object", Value: bson.D{{Key: "b", Value: 1}, {Key: "a", Value: bson.D{}}}},
		{Key: "array", Value: bson.A{1, "two", bson.D{{Key: "x", Value: nil}}}},
	}, bson.D{{Key: "_id", Value: "text"}}, bson.D{{Key: "_id", Value: int64(3)}, {Key: "late", Value: 1}})
	for begin := 0; begin < many; begin += 1000 {
		var docs []any
		for i := range min(1000, many-begin) {
			docs = append(docs, bson.D{{Key: "_id", Value: begin + i}, {Key: "n", Value: i % 7}, {Key: "s", Value: fmt.Sprint("row ", i)}})
		}
		insert("small", docs...)
	}
	for _, name := range oddNames {
		insert(name, bson.D{{Key: "_id", Value: name}})
	}
	must(t, db.CreateCollection(t.Context(), "void"))
	must(t, db.CreateCollection(t.Context(), "ring", options.CreateCollection().SetCapped(true).SetSizeInBytes(1<<20).SetMaxDocuments(100)))
	insert("ring", bson.D{{Key: "_id", Value: 2}}, bson.D{{Key: "_id", Value: 1}})
	must(t, r.send(t.Context(), db, bson.D{{Key: "createIndexes", Value: "small"}, {Key: "indexes", Value: bson.A{
		bson.D{{Key: "key", Value: bson.D{{Key: "n", Value: -1}, {Key: "s", Value: 1}}}, {Key: "name", Value: "by_n"}},
		bson.D{{Key: "key", Value: bson.D{{Key: "_id", Value: 1}, {Key: "s", Value: 1}}}, {Key: "name", Value: "pair"}, {Key: "unique", Value: true}},
	}}}))
}

// enlarge adds documents near the limit of 16 MiB.
func enlarge(t *testing.T, ten tenant.Tenant) {
	t.Helper()
	for i, size := range []int{15 << 20, 3 << 20} {
		_, err := plain(t).Database(ten.Database).Collection("large").InsertOne(t.Context(), bson.D{{Key: "_id", Value: i}, {Key: "data", Value: strings.Repeat("x", size)}})
		must(t, err)
	}
}

var oddNames = []string{"a.b", "with space", "percent%41", "ünïcödé", "semi;colon:~@&=+,?/\\", "UPPER", "CON", "-dash"}
