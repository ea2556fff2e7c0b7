package nosql

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// everyType is a document with every type of BSON, the outdated ones too.
func everyType(t *testing.T) bson.Raw {
	t.Helper()
	decimal, err := bson.ParseDecimal128("-1.50E+3")
	must(t, err)
	raw, err := bson.Marshal(bson.D{
		{Key: "_id", Value: bson.NewObjectID()},
		{Key: "double", Value: 1.5},
		{Key: "string", Value: "a\x00b"},
		{Key: "object", Value: bson.D{{Key: "", Value: bson.D{}}}},
		{Key: "array", Value: bson.A{bson.A{}, nil}},
		{Key: "binary", Value: bson.Binary{Subtype: 2, Data: []byte{1, 2}}},
		{Key: "undefined", Value: bson.Undefined{}},
		{Key: "bool", Value: false},
		{Key: "date", Value: bson.DateTime(-1 << 62)},
		{Key: "null", Value: nil},
		{Key: "regex", Value: bson.Regex{Pattern: "a", Options: "im"}},
		{Key: "dbpointer", Value: bson.DBPointer{DB: "a.b", Pointer: bson.NewObjectID()}},
		{Key: "code", Value: bson.JavaScript("f()")},
		{Key: "symbol", Value: bson.Symbol("s")},
		{Key: "scope", Value: bson.CodeWithScope{Code: "f()", Scope: bson.D{{Key: "x", Value: 1}}}},
		{Key: "int", Value: int32(-1)},
		{Key: "timestamp", Value: bson.Timestamp{T: 1, I: 2}},
		{Key: "long", Value: int64(-1)},
		{Key: "decimal", Value: decimal},
		{Key: "min", Value: bson.MinKey{}},
		{Key: "max", Value: bson.MaxKey{}},
	})
	must(t, err)
	return raw
}

func TestEveryTypeIsCutOutOfAStreamUnchanged(t *testing.T) {
	small, err := bson.Marshal(bson.D{})
	must(t, err)
	large, err := bson.Marshal(bson.D{{Key: "x", Value: make([]byte, 1<<20)}})
	must(t, err)
	docs := [][]byte{everyType(t), small, large, everyType(t), small}
	stream := bytes.Join(docs, nil)
	for _, piece := range []int{1, 3, 7, 4096, len(docs[0]), len(docs[0]) + 2, len(stream)} {
		var got [][]byte
		var n tally
		f := framer{part: "p", take: func(d bson.Raw) error {
			got = append(got, bytes.Clone(d))
			n.add(d)
			return nil
		}}
		for rest := stream; len(rest) > 0; {
			k, err := f.Write(rest[:min(piece, len(rest))])
			must(t, err)
			rest = rest[k:]
		}
		must(t, f.end())
		if !slices.EqualFunc(got, docs, bytes.Equal) {
			t.Errorf("in pieces of %d bytes the documents are not the same", piece)
		}
		var want uint64
		for _, d := range docs {
			want += xxhash.Sum64(d)
		}
		if n.rows != 5 || n.sum != want {
			t.Errorf("in pieces of %d bytes there are %d rows with the sum %x", piece, n.rows, n.sum)
		}
	}
}

func TestBrokenDocumentsAreRefusedWithPartAndPosition(t *testing.T) {
	good := everyType(t)
	length := func(n int32) []byte {
		return append(binary.LittleEndian.AppendUint32(nil, uint32(n)), bytes.Repeat([]byte{0}, 64)...)
	}
	inner := bytes.Clone(good)
	binary.LittleEndian.PutUint32(inner[bytes.Index(inner, []byte("\x02string\x00"))+8:], 1<<30)
	open := bytes.Clone(good)
	open[len(open)-1] = 1
	for _, c := range []struct {
		name, says string
		doc        []byte
	}{
		{"an empty length", "0 bytes long", length(0)},
		{"a length below its own", "4 bytes long", length(4)},
		{"a negative length", "-1 bytes long", length(-1)},
		{"a length above 16 MiB", "MongoDB takes 16 MiB", length(16<<20 + 1)},
		{"a cut document", "is cut after", good[:len(good)-1]},
		{"a cut length", "is cut after 3 bytes", good[:3]},
		{"a wrong length inside", "is no BSON", inner},
		{"no end", "is no BSON", open},
	} {
		for _, piece := range []int{1, 1 << 20} {
			f := framer{part: "mongodb/x.bson", take: func(bson.Raw) error { return nil }}
			stream := slices.Concat(good, good, c.doc)
			var err error
			for len(stream) > 0 && err == nil {
				n := min(piece, len(stream))
				_, err = f.Write(stream[:n])
				stream = stream[n:]
			}
			if err == nil {
				err = f.end()
			}
			t.Log(c.name)
			refuses(t, err, tenant.ErrInvalid, "mongodb/x.bson", fmt.Sprint("at byte ", 2*len(good)), c.says)
			if len(f.held) > 16<<20 {
				t.Errorf("%s: %d bytes are held", c.name, len(f.held))
			}
		}
	}
}

var safeName = regexp.MustCompile(`^[A-Za-z0-9_%][A-Za-z0-9_.%-]*$`)

func TestFilesAreNamedAsMongodumpDoes(t *testing.T) {
	for name, want := range map[string]string{
		"orders": "orders", "a.b": "a.b", "with space": "with%20space", "100%": "100%25", "ü": "%C3%BC", "a/b\\c": "a%2Fb%5Cc",
		".hidden": "%2Ehidden", "-dash": "%2Ddash", "a-b": "a-b", "a$b": "a%24b", "~": "%7E", "..": "%2E.",
	} {
		if got := fileStem(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	long := strings.Repeat("ü", 100)
	sum := sha1.Sum([]byte(long))
	want := strings.Repeat("%C3%BC", 34) + "%C3%" + "%24" + base64.RawURLEncoding.EncodeToString(sum[:])
	if got := fileStem(long); got != want || len(got) != 238 {
		t.Errorf("a long name is %q (%d bytes), want %q", got, len(got), want)
	}
	for _, name := range append(oddNames, long, "..", "a\nb", strings.Repeat("x", 238)) {
		stem := fileStem(name)
		if !safeName.MatchString(stem) {
			t.Errorf("%q is %q", name, stem)
		}
		if back, err := url.PathUnescape(stem); len(stem) < 238 && (err != nil || back != name) {
			t.Errorf("%q comes back as %q: %v", name, back, err)
		}
	}
}

func TestDefinitionsAreWrittenAsMongodumpDoes(t *testing.T) {
	d := definition{
		Name: "orders", Type: typeCollection, UUID: "5c1d", Options: bson.D{{Key: "capped", Value: true}, {Key: "size", Value: int32(4096)}},
		Indexes: []bson.D{
			{{Key: "v", Value: int32(2)}, {Key: "key", Value: bson.D{{Key: "_id", Value: int32(1)}}}, {Key: "name", Value: "_id_"}},
			{{Key: "v", Value: int32(2)}, {Key: "key", Value: bson.D{{Key: "b", Value: 1.0}, {Key: "a", Value: int32(-1)}}}, {Key: "name", Value: "b<a"}, {Key: "expireAfterSeconds", Value: int64(60)}},
		},
	}
	text, err := d.encode()
	must(t, err)
	want := `{"options":{"capped":true,"size":{"$numberInt":"4096"}},"indexes":[{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"},` +
		`{"v":{"$numberInt":"2"},"key":{"b":{"$numberDouble":"1.0"},"a":{"$numberInt":"-1"}},"name":"b<a","expireAfterSeconds":{"$numberLong":"60"}}],` +
		`"uuid":"5c1d","collectionName":"orders","type":"collection"}`
	if string(text) != want {
		t.Errorf("is\n%s\nnot\n%s", text, want)
	}
	back, err := decodeDefinition(text, "anything")
	must(t, err)
	if !sameDefinitions([]definition{d}, []definition{back}) {
		t.Errorf("comes back as %+v", back)
	}
	bare, err := definition{Name: "v", Type: typeView}.encode()
	must(t, err)
	if want := `{"indexes":[],"collectionName":"v","type":"view"}`; string(bare) != want {
		t.Errorf("is %s, not %s", bare, want)
	}
}

func TestReadsDefinitionsOfOlderMongodumps(t *testing.T) {
	for text, want := range map[string]definition{
		`{"options":{},"indexes":[{"v":1,"key":{"_id":1},"name":"_id_","ns":"old.a b"}]}`:            {Name: "a b", Type: typeCollection},
		`{"indexes":[],"options":{"viewOn":"x","pipeline":[]}}`:                                      {Name: "a b", Type: typeView},
		`{"options":{"timeseries":{"timeField":"t"}},"indexes":[],"uuid":"ab","collectionName":"s"}`: {Name: "s", Type: typeTimeseries},
		`{"indexes":[{"key":{"x":{"$numberLong":"1"}},"name":"x","unique":true}]}`:                   {Name: "a b", Type: typeCollection},
	} {
		d, err := decodeDefinition([]byte(text), "a%20b")
		must(t, err)
		if d.Name != want.Name || d.Type != want.Type {
			t.Errorf("%s is %+v", text, d)
		}
	}
	for _, text := range []string{``, `[]`, `{`, `{"indexes":[{"name":"x"}]}`, `{"indexes":5}`, `{"indexes":[],"type":"table"}`, `{"indexes":[],"collectionName":7}`} {
		if d, err := decodeDefinition([]byte(text), "x"); err == nil {
			t.Errorf("%s is taken for %+v", text, d)
		}
	}
}

// The folder is read here by the format's documentation alone, and by mongorestore itself where
// TENANTCTL_TEST_MONGORESTORE names it.
func TestMongorestoreReadsWhatWasDumped(t *testing.T) {
	r := direct(t, example)
	from, to := newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), from))
	furnish(t, r, from, 50)
	m, _ := dump(t, r, from)
	dir := filepath.Join(t.TempDir(), "dump")
	must(t, os.MkdirAll(dir, 0o700))
	for _, p := range m.parts {
		must(t, os.WriteFile(filepath.Join(dir, strings.TrimPrefix(p.Path, "mongodb/")), p.data, 0o600))
	}

	files, err := os.ReadDir(dir)
	must(t, err)
	found := 0
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		must(t, err)
		stem, isDefinition := strings.CutSuffix(f.Name(), ".metadata.json")
		if !isDefinition {
			for len(data) > 0 {
				raw, err := bson.ReadDocument(bytes.NewReader(data))
				must(t, err)
				must(t, raw.Validate())
				data = data[len(raw):]
				found++
			}
			continue
		}
		var d struct {
			Options        bson.Raw   `bson:"options"`
			Indexes        []bson.Raw `bson:"indexes"`
			UUID           string     `bson:"uuid"`
			CollectionName string     `bson:"collectionName"`
			Type           string     `bson:"type"`
		}
		must(t, bson.UnmarshalExtJSON(data, true, &d))
		name, err := url.PathUnescape(stem)
		must(t, err)
		if d.CollectionName != name || d.Type != "collection" || len(d.UUID) != 32 || len(d.Indexes) == 0 {
			t.Errorf("%s holds %s", f.Name(), data)
		}
		for _, x := range d.Indexes {
			if x.Lookup("name").Type != bson.TypeString || x.Lookup("key").Type != bson.TypeEmbeddedDocument || x.Lookup("v").Type != bson.TypeInt32 {
				t.Errorf("%s has the index %s", f.Name(), x)
			}
		}
	}
	if found < 60 {
		t.Errorf("only %d documents were found", found)
	}

	program := os.Getenv("TENANTCTL_TEST_MONGORESTORE")
	if program == "" {
		return
	}
	out, err := exec.CommandContext(t.Context(), program, "--uri", r.cfg.URL, "--db", to.Database, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("mongorestore: %v\n%s", err, out)
	}
	_, err = r.own(to).InsertOne(t.Context(), bson.D{{Key: "_id", Value: ownerID}, {Key: "tenant", Value: to.ID.String()}})
	must(t, err)
	again, _ := dump(t, r, to)
	if got, want := again.listing(), m.listing(); !slices.Equal(got, want) {
		t.Errorf("mongorestore made\n%s\nof\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
