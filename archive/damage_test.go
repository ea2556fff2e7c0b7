package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/tenantctl/tenantctl/tenant"
)

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// twoParts is small enough for every byte of its archive to be changed once.
var twoParts = map[string][]byte{
	"postgres/data/0001-orders.sql": []byte("COPY orders FROM stdin;\n1\tbook\n\\.\n"),
	"postgres/pre-data.sql":         []byte("CREATE TABLE orders (id bigint, what text);\n"),
}

// overwrite puts other bytes in place of an archive.
func overwrite(t testing.TB, b *tenant.Backup, with []byte) {
	t.Helper()
	if err := os.WriteFile(strings.TrimPrefix(b.Location, "file://"), with, 0o600); err != nil {
		t.Fatal(err)
	}
}

func archived(t testing.TB, b *tenant.Backup) []byte {
	t.Helper()
	text, err := os.ReadFile(strings.TrimPrefix(b.Location, "file://"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// verifyBytes gives verify with any bytes in place of those of the archive.
func verifyBytes(t testing.TB, v *Vault, b *tenant.Backup) func(with []byte) error {
	t.Helper()
	m, err := v.manifest(t.Context(), b.TenantID, b.ID)
	if err != nil {
		t.Fatal(err)
	}
	var ids []age.Identity
	if b.Encrypted {
		if ids, err = v.identities(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	return func(with []byte) error {
		r := &reader{
			m: m, where: "it", raw: &source{from: bytes.NewReader(with), sum: sha256.New(), limit: m.Archive.Size},
			sink: func(tenant.Part) (io.WriteCloser, error) { return nil, nil },
		}
		return r.read(ids)
	}
}

func TestAFlippedBitAnywhereIsFound(t *testing.T) {
	mine, file := identity(t)
	for name, cfg := range map[string]Config{"plain": {}, "encrypted": {Recipients: []string{mine}, IdentityFile: file}} {
		t.Run(name, func(t *testing.T) {
			cfg.URL = t.TempDir()
			v := open(t, cfg)
			b := makeBackup(t, v, uuid.New(), twoParts)
			good, verify := archived(t, b), verifyBytes(t, v, b)
			for i := range good {
				bad := bytes.Clone(good)
				bad[i] ^= 1 << (i % 8)
				err := verify(bad)
				// A recipient's line of the header that is changed looks like one for somebody else.
				if !errors.Is(err, tenant.ErrDiffers) && (tenant.Code(err) != "wrong_key" || i > 200) {
					t.Fatalf("byte %d of %d: %v", i, len(good), err)
				}
			}
		})
	}
}

func TestAnArchiveCutAnywhereIsFoundAndThePlaceNamed(t *testing.T) {
	mine, file := identity(t)
	for name, cfg := range map[string]Config{"plain": {}, "encrypted": {Recipients: []string{mine}, IdentityFile: file}} {
		t.Run(name, func(t *testing.T) {
			cfg.URL = t.TempDir()
			v := open(t, cfg)
			b := makeBackup(t, v, uuid.New(), twoParts)
			good, verifyBytes := archived(t, b), verifyBytes(t, v, b)
			for n := range good {
				if err := verifyBytes(good[:n]); !errors.Is(err, tenant.ErrDiffers) {
					t.Fatalf("%d of %d bytes: %v", n, len(good), err)
				}
			}
			overwrite(t, b, append(bytes.Clone(good), 0))
			refused(t, verify(t.Context(), v, b), tenant.ErrDiffers)
		})
	}
	v := open(t, Config{URL: t.TempDir()})
	b := makeBackup(t, v, uuid.New(), map[string][]byte{"postgres/data/0001-orders.sql": text(3*chunkSize, 1)})
	good := archived(t, b)
	overwrite(t, b, good[:len(good)/2])
	refused(t, verify(t.Context(), v, b), tenant.ErrDiffers, "is cut", "postgres/data/0001-orders.sql, chunk 1", fmt.Sprintf("%d of %d bytes", len(good)/2, len(good)))
	bad := bytes.Clone(good)
	bad[len(bad)/2] ^= 1
	overwrite(t, b, bad)
	refused(t, verify(t.Context(), v, b), tenant.ErrDiffers, "postgres/data/0001-orders.sql", "chunk 2")
}

func TestAMissingArchiveIsDamageAndNotAMissingBackup(t *testing.T) {
	everywhere(t, func(t *testing.T, url string) {
		v := open(t, Config{URL: url})
		b := makeBackup(t, v, uuid.New(), small)
		if err := v.store.remove(t.Context(), folder(b.TenantID, b.ID)+plainFile); err != nil {
			t.Fatal(err)
		}
		refused(t, verify(t.Context(), v, b), tenant.ErrDiffers, b.Location, "missing")
	})
}

// member is one of a forged archive.
type member struct {
	tar.Header
	body []byte
}

func chunk(path string, n int, plain []byte) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf(memberName, path, n), Mode: 0o600}, packer().EncodeAll(plain, nil)}
}

// forge stores an archive of any members with a manifest of any parts. All sums are right.
func forge(t testing.TB, v *Vault, parts []tenant.Part, members ...member) *tenant.Backup {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, m := range members {
		m.Size = int64(len(m.body))
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b := newBackup(uuid.New())
	b.Parts = parts
	text, err := newManifest(b, file{plainFile, int64(archive.Len()), sum(archive.Bytes())}, encryption{Scheme: schemeNone}).encode()
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(b.TenantID, b.ID)
	if err := v.store.write(t.Context(), dir+plainFile, binaryType, archive.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := v.store.write(t.Context(), dir+manifestFile, jsonType, text); err != nil {
		t.Fatal(err)
	}
	return b
}

// declared is the part that the manifest tells of for these chunks.
func declared(path string, plain []byte, members ...member) tenant.Part {
	p := tenant.Part{Path: path, Size: int64(len(plain)), SHA256: sum(plain), Chunks: max(1, (len(plain)+chunkSize-1)/chunkSize)}
	for _, m := range members {
		p.Stored += int64(len(m.body))
	}
	return p
}

func TestForgedArchivesAreRefusedAndThePartNamed(t *testing.T) {
	v := open(t, Config{URL: t.TempDir()})
	const path = "postgres/data/0001-a.sql"
	plain := []byte("1\tbook\n")
	one := chunk(path, 1, plain)
	long := text(chunkSize+5, 1)
	first, second := chunk(path, 1, long[:chunkSize]), chunk(path, 2, long[chunkSize:])
	as := func(m member, change func(m *member)) member {
		m.body = bytes.Clone(m.body)
		change(&m)
		return m
	}
	bomb := packer().EncodeAll(make([]byte, chunkSize+1), nil)
	bombPart := tenant.Part{Path: path, Size: chunkSize, SHA256: sum(nil), Chunks: 1, Stored: int64(len(bomb))}
	huge := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe4}, 0, 0, 0, 0, 1, 0, 0, 0) // a frame that claims 4 GiB
	for name, c := range map[string]struct {
		parts   []tenant.Part
		members []member
		words   string
	}{
		"right":                         {[]tenant.Part{declared(path, plain, one)}, []member{one}, ""},
		"two chunks, right":             {[]tenant.Part{declared(path, long, first, second)}, []member{first, second}, ""},
		"no part":                       {nil, nil, ""},
		"a path out of the folder":      {[]tenant.Part{declared(path, plain, one)}, []member{one, as(one, func(m *member) { m.Name = "../../" + m.Name })}, "../../" + path},
		"an absolute path":              {[]tenant.Part{declared(path, plain, one)}, []member{as(one, func(m *member) { m.Name = "/" + m.Name })}, "/" + path},
		"a member not in the manifest":  {[]tenant.Part{declared(path, plain, one)}, []member{one, chunk("postgres/b.sql", 1, plain)}, "postgres/b.sql"},
		"a member that is no chunk":     {[]tenant.Part{declared(path, plain, one)}, []member{as(one, func(m *member) { m.Name = path })}, path},
		"a symbolic link":               {[]tenant.Part{declared(path, plain, one)}, []member{{tar.Header{Typeflag: tar.TypeSymlink, Name: one.Name, Linkname: "/etc/passwd"}, nil}}, path + ": it is stored as a link"},
		"a hard link":                   {[]tenant.Part{declared(path, plain, one)}, []member{{tar.Header{Typeflag: tar.TypeLink, Name: one.Name, Linkname: "x"}, nil}}, path + ": it is stored as a link"},
		"a device":                      {[]tenant.Part{declared(path, plain, one)}, []member{{tar.Header{Typeflag: tar.TypeChar, Name: one.Name}, nil}}, path + ": it is stored as a link or device"},
		"a folder":                      {[]tenant.Part{declared(path, plain, one)}, []member{{tar.Header{Typeflag: tar.TypeDir, Name: "postgres/"}, nil}}, "postgres/"},
		"a part that is missing":        {[]tenant.Part{declared(path, plain, one), declared("postgres/b.sql", plain, one)}, []member{one}, "postgres/b.sql has 0 of its 1 chunks"},
		"a chunk that is missing":       {[]tenant.Part{declared(path, long, first, second)}, []member{first}, path + " has 1 of its 2 chunks"},
		"chunks in another order":       {[]tenant.Part{declared(path, long, first, second)}, []member{second, first}, path + ": chunk 2 comes where chunk 1 is due"},
		"a chunk twice":                 {[]tenant.Part{declared(path, plain, one, one)}, []member{one, one}, path},
		"a part bigger than declared":   {[]tenant.Part{declared(path, plain[:3], one)}, []member{one}, path + ": chunk 1 would unpack to 7 bytes; 3 are declared"},
		"a part with other bytes":       {[]tenant.Part{declared(path, []byte("1\tbike\n"), one)}, []member{one}, path + ": its SHA-256"},
		"stored in more":                {[]tenant.Part{declared(path, plain)}, []member{one}, path + ": chunk 1 is stored in"},
		"stored in less":                {[]tenant.Part{declared(path, plain, one, one)}, []member{one}, path + ": it is stored in"},
		"a chunk that unpacks to more":  {[]tenant.Part{bombPart}, []member{as(one, func(m *member) { m.body = bomb })}, path + ": chunk 1 would unpack to 8388609 bytes"},
		"a chunk that claims gigabytes": {[]tenant.Part{bombPart}, []member{as(one, func(m *member) { m.body = huge })}, path + ": chunk 1 would unpack to 4294967296 bytes"},
		"a chunk of two frames":         {[]tenant.Part{declared(path, plain, one, one)}, []member{as(one, func(m *member) { m.body = append(m.body, one.body...) })}, path + ": chunk 1 unpacks to 14 bytes; 7 are declared"},
		"a chunk that is no frame":      {[]tenant.Part{declared(path, plain, one)}, []member{as(one, func(m *member) { m.body[0]++ })}, path + ": chunk 1 is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			b := forge(t, v, c.parts, c.members...)
			err := verify(t.Context(), v, b)
			if c.words == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, tenant.ErrDiffers, c.words)
		})
	}
}

func TestAZipBombTakesNoMemory(t *testing.T) {
	v := open(t, Config{URL: t.TempDir()})
	const path = "postgres/data/0001-a.sql"
	// Blocks of one byte repeated 128 KiB times: 8 GiB in 256 KiB, in a frame that tells no size or a small one.
	e, err := zstd.NewWriter(nil, zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for name, header := range map[string][]byte{
		"size not told": {0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x50},
		"size a lie":    {0x28, 0xb5, 0x2f, 0xfd, 0xa4, 0x00, 0x00, 0x80, 0x00},
	} {
		t.Run(name, func(t *testing.T) {
			body := bytes.Clone(header)
			const size = 128 << 10
			for range 64 << 10 {
				block := size<<3 | 1<<1
				body = append(body, byte(block), byte(block>>8), byte(block>>16), 0)
			}
			b := forge(t, v, []tenant.Part{{Path: path, Size: chunkSize, SHA256: sum(nil), Chunks: 1, Stored: int64(len(body))}},
				member{tar.Header{Typeflag: tar.TypeReg, Name: path + ".zst.000001", Mode: 0o600}, body})
			peak := peakMemory(t, func() {
				refused(t, verify(t.Context(), v, b), tenant.ErrDiffers, path+": chunk 1")
			})
			if peak > 64<<20 {
				t.Errorf("it took %d MiB", peak>>20)
			}
		})
	}
}

func TestDamageIsFoundBeforeASinkIsClosed(t *testing.T) {
	v := open(t, Config{URL: t.TempDir()})
	const path = "postgres/data/0001-a.sql"
	one := chunk(path, 1, []byte("1\tbook\n"))
	b := forge(t, v, []tenant.Part{declared(path, []byte("1\tbike\n"), one)}, one)
	got, err := readAll(t.Context(), v, b)
	if err == nil || len(got) != 0 {
		t.Errorf("%v, and %q was closed", err, got)
	}
}

func FuzzReaderNeverPanicsAndNeverTakesWhatDiffers(f *testing.F) {
	v, err := OpenVault(f.Context(), Config{URL: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	b := newBackup(uuid.New())
	w, err := v.Create(f.Context(), b, 0)
	if err != nil {
		f.Fatal(err)
	}
	fill(f, w, twoParts)
	if err := w.Commit(f.Context(), b); err != nil {
		f.Fatal(err)
	}
	m, err := v.manifest(f.Context(), b.TenantID, b.ID)
	if err != nil {
		f.Fatal(err)
	}
	good := archived(f, b)
	f.Add(good)
	f.Add(good[:700])
	f.Fuzz(func(t *testing.T, text []byte) {
		// Sums of the whole are made right, so that those of the parts are put to the test.
		forged := *m
		forged.Archive.Size, forged.Archive.SHA256 = int64(len(text)), sum(text)
		got := map[string]*sink{}
		r := &reader{m: &forged, where: "it", raw: &source{from: bytes.NewReader(text), sum: sha256.New(), limit: int64(len(text))}, sink: func(p tenant.Part) (io.WriteCloser, error) {
			got[p.Path] = new(sink)
			return got[p.Path], nil
		}}
		err := r.read(nil)
		if err != nil && !errors.Is(err, tenant.ErrDiffers) {
			t.Errorf("an error of another kind: %v", err)
		}
		for path, s := range got {
			if (err == nil || s.closed) && !bytes.Equal(s.Bytes(), twoParts[path]) {
				t.Errorf("%s was taken with other bytes", path)
			}
		}
		if err == nil && len(got) != len(twoParts) {
			t.Errorf("parts are missing: %d", len(got))
		}
	})
}

func TestTimesInTheArchiveAreThoseOfTheBackup(t *testing.T) {
	v := open(t, Config{URL: t.TempDir()})
	b := makeBackup(t, v, uuid.New(), small)
	h, err := tar.NewReader(bytes.NewReader(archived(t, b))).Next()
	if err != nil || !h.ModTime.Equal(b.CreatedAt.Truncate(time.Second)) || h.Mode != 0o600 {
		t.Errorf("%+v, %v", h, err)
	}
}
