package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// everywhere runs a test on a folder and on a real S3 server.
func everywhere(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("file", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "backups")) })
	t.Run("s3", func(t *testing.T) {
		s := tenanttest.S3(t)
		s.LetIn(t)
		test(t, s.URL("backups/some/folder"))
	})
}

func open(t testing.TB, cfg Config) *Vault {
	t.Helper()
	v, err := OpenVault(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// newBackup makes up a backup of a tenant.
func newBackup(tenantID uuid.UUID) *tenant.Backup {
	at := time.Date(2026, 3, 1, 2, 3, 4, 5000, time.UTC)
	return &tenant.Backup{
		ID: uuid.New(), TenantID: tenantID, Tenant: "acme", CreatedAt: at, Tool: "v1.2.3", SkewMS: 17, Quiesced: true,
		Labels: map[string]string{"tier": "gold"}, Domains: []string{"acme.example.com"},
		Stores: map[string]tenant.Dumped{"postgres": {Server: "PostgreSQL 15.4", Version: 7, Applied: 7, Fingerprint: "f", Snapshot: true, From: at, Until: at}},
	}
}

// text is n bytes that compress by about half, the same for the same seed.
func text(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, n+16)
	for len(b) < n {
		for bits, i := r.Uint64(), 0; i < 16; i++ {
			b = append(b, 'a'+byte(bits>>(4*i)&15))
		}
	}
	return b[:n]
}

// content is what a test puts into a backup: parts of every size that matters. It must not be changed.
var content = sync.OnceValue(func() map[string][]byte {
	return map[string][]byte{
		"postgres/pre-data.sql":           []byte("CREATE TABLE :\"tenant_schema\".orders (id bigint);\n"),
		"postgres/data/0001-empty.sql":    {},
		"postgres/data/0002-one.sql":      {0},
		"postgres/data/0003-below.sql":    text(chunkSize-1, 3),
		"postgres/data/0004-exact.sql":    text(chunkSize, 4),
		"postgres/data/0005-above.sql":    text(chunkSize+1, 5),
		"postgres/data/0006-several.sql":  text(2*chunkSize+12345, 6),
		"mongodb/notes%20x.bson":          text(1000, 7),
		"mongodb/notes%20x.metadata.json": []byte(`{"indexes":[]}`),
	}
})

// fill writes parts in the order of their names, a few at a time.
func fill(t testing.TB, w tenant.PartWriter, parts map[string][]byte) {
	t.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 3)
	for _, path := range names(parts) {
		slots <- struct{}{}
		wg.Add(1)
		go func() {
			defer func() { <-slots; wg.Done() }()
			if err := put(w, path, parts[path]); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
}

func put(w tenant.PartWriter, path string, b []byte) error {
	f, err := w.Create(path, "n:"+path)
	if err != nil {
		return err
	}
	for piece := range slices.Chunk(b, 100_001) {
		if _, err := f.Write(piece); err != nil {
			return err
		}
	}
	return f.End(int64(len(b)), uint64(len(b)))
}

func names(parts map[string][]byte) []string {
	var out []string
	for p := range parts {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// makeBackup makes a backup of these parts.
func makeBackup(t testing.TB, v *Vault, tenantID uuid.UUID, parts map[string][]byte) *tenant.Backup {
	t.Helper()
	b := newBackup(tenantID)
	w, err := v.Create(t.Context(), b, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abandon()
	fill(t, w, parts)
	if err := w.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return b
}

// sink keeps a part's bytes.
type sink struct {
	bytes.Buffer
	closed bool
}

func (s *sink) Close() error {
	s.closed = true
	return nil
}

// readAll gives the parts whose sinks were closed.
func readAll(ctx context.Context, v *Vault, b *tenant.Backup) (map[string][]byte, error) {
	sinks := map[string]*sink{}
	err := v.Read(ctx, b, func(p tenant.Part) (io.WriteCloser, error) {
		if sinks[p.Path] != nil {
			return nil, fmt.Errorf("%s is asked for twice", p.Path)
		}
		sinks[p.Path] = new(sink)
		return sinks[p.Path], nil
	})
	out := map[string][]byte{}
	for path, s := range sinks {
		if s.closed {
			out[path] = s.Bytes()
		}
	}
	return out, err
}

func verify(ctx context.Context, v *Vault, b *tenant.Backup) error {
	return v.Read(ctx, b, func(tenant.Part) (io.WriteCloser, error) { return nil, nil })
}

func same(t testing.TB, got, want map[string][]byte) {
	t.Helper()
	if !slices.Equal(names(got), names(want)) {
		t.Fatalf("the parts are %q, want %q", names(got), names(want))
	}
	for path := range want {
		if !bytes.Equal(got[path], want[path]) {
			t.Errorf("%s has other bytes: %d of them, want %d", path, len(got[path]), len(want[path]))
		}
	}
}

func list(t testing.TB, v *Vault, tenantID uuid.UUID) []tenant.Stored {
	t.Helper()
	var out []tenant.Stored
	for s, err := range v.List(t.Context(), tenantID) {
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(s.At) > time.Hour || time.Since(s.At) < -time.Minute {
			t.Errorf("%s was written at %s", s.ID, s.At)
		}
		out = append(out, s)
	}
	return out
}

// refused fails where err is not of that kind or does not say all of the words.
func refused(t testing.TB, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("the error is %v, want one of kind %q", err, kind)
	}
	var e *tenant.Error
	if !errors.As(err, &e) || e.Hint == "" {
		t.Errorf("%v tells no way out", err)
	}
	for _, w := range words {
		if !bytes.Contains([]byte(err.Error()), []byte(w)) {
			t.Errorf("the error is %q, want it to name %q", err, w)
		}
	}
}

// identity makes a pair: the recipient, and the file with the secret half.
func identity(t testing.TB) (recipient, path string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "identity.txt")
	if err := os.WriteFile(path, []byte("# a comment\n"+id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return id.Recipient().String(), path
}
