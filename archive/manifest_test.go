package archive

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

var badPaths = []string{
	"", "/", "postgres", "postgres/", "postgres//x", "/postgres/x", "postgres/../x", "postgres/..", "postgres/./x", "postgres/.x", "../postgres/x",
	"other/x", "Postgres/x", `postgres\x`, "postgres/a\\b", "postgres/a b", "postgres/a\nb", "postgres/a\x00", "postgres/ä", "postgres/-rf", "postgres/~x",
	"postgres/a;b", "postgres/a'b", "postgres/" + strings.Repeat("x", 256), "postgres" + strings.Repeat("/x", 600), "manifest.json",
}

func TestOnlyPathsBelowTheStoresAreTaken(t *testing.T) {
	for _, path := range badPaths {
		if checkPath(path) == nil {
			t.Errorf("%q is taken", path)
		}
	}
	for _, path := range []string{"postgres/pre-data.sql", "postgres/data/0001-a_B.9%20-.sql", "mongodb/a..b.bson", "mongodb/a%2Fb.metadata.json", "mongodb/x$y+z=@~.bson"} {
		if err := checkPath(path); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// edited gives a manifest of one part after a change of its JSON.
func edited(t testing.TB, edit func(m map[string]any)) []byte {
	t.Helper()
	b := newBackup(uuid.New())
	b.Parts = []tenant.Part{{Path: "postgres/pre-data.sql", Size: 5, Stored: 18, Chunks: 1, SHA256: strings.Repeat("0a", 32)}}
	text, err := newManifest(b, file{plainFile, 100, strings.Repeat("0b", 32)}, encryption{Scheme: schemeNone, Recipients: []string{}}).encode()
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	edit(m)
	if text, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAManifestIsTakenOnlyWhereAllOfItFits(t *testing.T) {
	if _, err := readManifest(edited(t, func(map[string]any) {})); err != nil {
		t.Fatal(err)
	}
	part := func(m map[string]any) map[string]any { return m["parts"].([]any)[0].(map[string]any) }
	for want, edit := range map[string]func(m map[string]any){
		"format version 2":      func(m map[string]any) { m["format"] = 2; m["later"] = "unknown" },
		"no format version":     func(m map[string]any) { delete(m, "format") },
		"holds \"redis\" alone": func(m map[string]any) { m["only"] = "redis" },
		"unknown field":         func(m map[string]any) { m["surplus"] = 1 },
		"no backup":             func(m map[string]any) { m["id"] = uuid.Nil },
		"negative":              func(m map[string]any) { part(m)["size"] = -1 },
		"number of rows":        func(m map[string]any) { part(m)["rows"] = -1 },
		"2 chunks do not fit":   func(m map[string]any) { part(m)["chunks"] = 2 },
		"0 chunks do not fit":   func(m map[string]any) { part(m)["chunks"], part(m)["size"] = 0, 0 },
		"too big":               func(m map[string]any) { part(m)["size"] = int64(1) << 60 },
		"stored in 1 chunks":    func(m map[string]any) { part(m)["stored"] = 100 << 20 },
		"SHA-256":               func(m map[string]any) { part(m)["sha256"] = "abc" },
		"listed twice":          func(m map[string]any) { m["parts"] = append(m["parts"].([]any), part(m)) },
		"not below postgres/":   func(m map[string]any) { part(m)["path"] = "../../etc/passwd" },
		"the archive is called": func(m map[string]any) { m["archive"].(map[string]any)["file"] = "../backup.tar" },
		"of the archive":        func(m map[string]any) { m["archive"].(map[string]any)["size"] = -5 },
		"encryption":            func(m map[string]any) { m["encryption"].(map[string]any)["scheme"] = "rot13" },
		"the tenant's key":      func(m map[string]any) { m["encryption"].(map[string]any)["key"] = "keys/../x" },
	} {
		if _, err := readManifest(edited(t, edit)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v", want, err)
		}
	}
	for _, text := range []string{"", "null", "[]", "{", "{}{}", `{"format":1}x`} {
		if _, err := readManifest([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	many := edited(t, func(m map[string]any) {
		all := make([]any, maxParts+1)
		for i := range all {
			all[i] = map[string]any{}
		}
		m["parts"] = all
	})
	if _, err := readManifest(many); err == nil || !strings.Contains(err.Error(), "never written") {
		t.Errorf("too many parts: %v", err)
	}
}

func TestANewerFormatIsRefusedWithBothVersions(t *testing.T) {
	v := open(t, Config{URL: t.TempDir()})
	b := makeBackup(t, v, uuid.New(), small)
	name := v.store.path(folder(b.TenantID, b.ID) + manifestFile)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(text), `"format": 1`, `"format": 9`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = v.Open(t.Context(), b.TenantID, b.ID)
	refused(t, err, tenant.ErrInvalid, "version 9", "version 1", name)
}

func TestAManifestOfAnotherBackupIsRefused(t *testing.T) {
	v := open(t, Config{URL: t.TempDir()})
	a, b := makeBackup(t, v, uuid.New(), small), makeBackup(t, v, uuid.New(), small)
	text, err := os.ReadFile(v.store.path(folder(a.TenantID, a.ID) + manifestFile))
	if err != nil {
		t.Fatal(err)
	}
	name := v.store.path(folder(b.TenantID, b.ID) + manifestFile)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = v.Open(t.Context(), b.TenantID, b.ID)
	refused(t, err, tenant.ErrDiffers, a.ID.String())
	// One that is too big is not read into memory.
	if err := os.Truncate(name, maxManifest+1); err != nil {
		t.Fatal(err)
	}
	_, err = v.Open(t.Context(), b.TenantID, b.ID)
	refused(t, err, tenant.ErrDiffers, "has more than")
}

func FuzzManifestIsSafeToGoByOrRefused(f *testing.F) {
	f.Add(edited(f, func(map[string]any) {}))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := readManifest(text)
		if err != nil {
			return
		}
		for _, p := range m.Parts {
			if checkPath(p.Path) != nil || p.Size < 0 || p.Chunks < 1 {
				t.Errorf("%+v was taken", p)
			}
		}
		again, err := m.encode()
		if err != nil {
			t.Skip() // years beyond 9999 and the like
		}
		if _, err := readManifest(again); err != nil && !errors.Is(err, errFormat(0)) {
			t.Errorf("what was read is not read again: %v", err)
		}
	})
}
