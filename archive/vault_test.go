package archive

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestABackupIsReadAsItWasWritten(t *testing.T) {
	everywhere(t, func(t *testing.T, url string) {
		recipient, file := identity(t)
		for name, cfg := range map[string]Config{
			"plain":          {URL: url},
			"encrypted":      {URL: url, Recipients: []string{recipient}, IdentityFile: file},
			"key per tenant": {URL: url, Recipients: []string{recipient}, IdentityFile: file, KeyPerTenant: true},
		} {
			t.Run(name, func(t *testing.T) {
				v, want := open(t, cfg), content()
				b := makeBackup(t, v, uuid.New(), want)
				again, err := v.Open(t.Context(), b.TenantID, b.ID)
				if err != nil {
					t.Fatal(err)
				}
				if again.Encrypted != (name != "plain") || again.Size != b.Size || again.Tenant != "acme" || again.Labels["tier"] != "gold" ||
					again.Versions["postgres"] != 7 || again.SkewMS != 17 || !again.Quiesced || again.Tool != "v1.2.3" || again.Location != b.Location ||
					!again.CreatedAt.Equal(b.CreatedAt) || again.FinishedAt.Before(b.CreatedAt) || len(again.Domains) != 1 {
					t.Errorf("the manifest is %+v", again)
				}
				for _, p := range again.Parts {
					size := int64(len(want[p.Path]))
					if p.Size != size || p.Rows != size || p.Name != "n:"+p.Path || p.Chunks != max(1, int(size+chunkSize-1)/chunkSize) {
						t.Errorf("part %+v, want %d bytes", p, size)
					}
				}
				got, err := readAll(t.Context(), v, again)
				if err != nil {
					t.Fatal(err)
				}
				same(t, got, want)
				if err := verify(t.Context(), v, again); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

func TestPartsThatAreNotWantedAreLeftOut(t *testing.T) {
	v, want := open(t, Config{URL: t.TempDir()}), content()
	b := makeBackup(t, v, uuid.New(), want)
	var only sink
	err := v.Read(t.Context(), b, func(p tenant.Part) (io.WriteCloser, error) {
		if p.Path == "postgres/data/0006-several.sql" {
			return &only, nil
		}
		return nil, nil
	})
	if err != nil || !only.closed || only.String() != string(want["postgres/data/0006-several.sql"]) {
		t.Errorf("%v, %d bytes", err, only.Len())
	}
}

func TestASinkThatFailsEndsTheReading(t *testing.T) {
	v := open(t, Config{URL: t.TempDir()})
	b := makeBackup(t, v, uuid.New(), content())
	mine := errors.New("mine")
	if err := v.Read(t.Context(), b, func(tenant.Part) (io.WriteCloser, error) { return nil, mine }); !errors.Is(err, mine) {
		t.Errorf("the error is %v", err)
	}
}

func TestBackupsAreListedByTenantAndRemoved(t *testing.T) {
	everywhere(t, func(t *testing.T, url string) {
		v := open(t, Config{URL: url})
		small := map[string][]byte{"postgres/pre-data.sql": []byte("x")}
		acme, other := uuid.New(), uuid.New()
		a1, a2, o := makeBackup(t, v, acme, small), makeBackup(t, v, acme, small), makeBackup(t, v, other, small)
		ids := func(tenantID uuid.UUID) []string {
			var out []string
			for _, s := range list(t, v, tenantID) {
				if !s.Whole {
					t.Errorf("%s is not whole", s.ID)
				}
				out = append(out, s.ID.String())
			}
			slices.Sort(out)
			return out
		}
		sorted := func(ids ...uuid.UUID) []string {
			var out []string
			for _, id := range ids {
				out = append(out, id.String())
			}
			slices.Sort(out)
			return out
		}
		if got := ids(uuid.Nil); !slices.Equal(got, sorted(a1.ID, a2.ID, o.ID)) {
			t.Errorf("all are %q", got)
		}
		if got := ids(acme); !slices.Equal(got, sorted(a1.ID, a2.ID)) {
			t.Errorf("acme's are %q", got)
		}
		if got := ids(uuid.New()); got != nil {
			t.Errorf("nobody's are %q", got)
		}
		for range 2 { // absent is success
			if err := v.Remove(t.Context(), acme, a1.ID); err != nil {
				t.Fatal(err)
			}
		}
		if got := ids(acme); !slices.Equal(got, sorted(a2.ID)) {
			t.Errorf("after a removal acme's are %q", got)
		}
		if err := verify(t.Context(), v, o); err != nil {
			t.Error(err)
		}
		_, err := v.Open(t.Context(), acme, a1.ID)
		if !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("a removed backup gives %v", err)
		}
	})
}

func TestARemovedBackupLeavesNoFolder(t *testing.T) {
	dir := t.TempDir()
	v := open(t, Config{URL: dir})
	b := makeBackup(t, v, uuid.New(), content())
	if err := v.Remove(t.Context(), b.TenantID, b.ID); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != identityFile {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestFilesOfOthersAreNeitherListedNorRemoved(t *testing.T) {
	dir := t.TempDir()
	v := open(t, Config{URL: dir})
	b := makeBackup(t, v, uuid.New(), map[string][]byte{"postgres/pre-data.sql": []byte("x")})
	own := filepath.Join(dir, filepath.FromSlash(folder(b.TenantID, b.ID)), "notes.txt")
	for _, name := range []string{own, filepath.Join(dir, "README"), filepath.Join(dir, b.TenantID.String(), "manifest.json")} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, strings.ToUpper(uuid.NewString()), b.ID.String()), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := list(t, v, uuid.Nil); len(got) != 1 {
		t.Errorf("listed are %v", got)
	}
	if err := v.Remove(t.Context(), b.TenantID, b.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(own); err != nil {
		t.Error(err)
	}
}

func TestFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	recipient, _ := identity(t)
	v := open(t, Config{URL: dir, Recipients: []string{recipient}, KeyPerTenant: true})
	makeBackup(t, v, uuid.New(), map[string][]byte{"postgres/pre-data.sql": []byte("x")})
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if n++; info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return nil
	})
	if err != nil || n != 8 {
		t.Errorf("%d files and folders, %v", n, err)
	}
}

func TestAnArchiveThatIsNotCommittedLeavesNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, url string) {
		v := open(t, Config{URL: url})
		for name, end := range map[string]func(t *testing.T, w tenant.Archive, cancel func()){
			"abandoned": func(t *testing.T, w tenant.Archive, _ func()) {
				w.Abandon()
				w.Abandon()
			},
			"cancelled": func(t *testing.T, w tenant.Archive, cancel func()) {
				cancel()
				err := put(w, "postgres/data/0002-b.sql", text(12<<20, 2))
				if !errors.Is(err, context.Canceled) {
					t.Errorf("a write after the cancellation gives %v", err)
				}
				if err := w.Commit(context.Background(), newBackup(uuid.New())); !errors.Is(err, context.Canceled) {
					t.Errorf("a commit after the cancellation gives %v", err)
				}
			},
			"with a part that is not ended": func(t *testing.T, w tenant.Archive, _ func()) {
				if _, err := w.Create("postgres/data/0002-b.sql", "b"); err != nil {
					t.Fatal(err)
				}
				err := w.Commit(t.Context(), newBackup(uuid.New()))
				if err == nil || !strings.Contains(err.Error(), "postgres/data/0002-b.sql is not ended") {
					t.Errorf("the commit gives %v", err)
				}
			},
		} {
			t.Run(name, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w, err := v.Create(ctx, newBackup(uuid.New()), 0)
				if err != nil {
					t.Fatal(err)
				}
				if err := put(w, "postgres/data/0001-a.sql", text(20<<20, 1)); err != nil {
					t.Fatal(err)
				}
				end(t, w, cancel)
				if left := list(t, v, uuid.Nil); len(left) != 0 {
					t.Errorf("%v is left", left)
				}
				for o, err := range v.store.objects(t.Context(), "") {
					if err != nil || o.key != identityFile {
						t.Errorf("%v is left, %v", o, err)
					}
				}
			})
		}
	})
}

func TestPartsWithBadNamesAreRefusedBeforeTheyAreWritten(t *testing.T) {
	v := open(t, Config{URL: t.TempDir()})
	w, err := v.Create(t.Context(), newBackup(uuid.New()), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abandon()
	for _, path := range badPaths {
		if _, err := w.Create(path, ""); err == nil {
			t.Errorf("%q was taken", path)
		}
	}
	if err := put(w, "postgres/pre-data.sql", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Create("postgres/pre-data.sql", ""); err == nil {
		t.Error("a second part of one name was taken")
	}
}

func TestTwoBackupsAtOnceDoNotDisturbEachOther(t *testing.T) {
	everywhere(t, func(t *testing.T, url string) {
		v, acme := open(t, Config{URL: url}), uuid.New()
		var wg sync.WaitGroup
		made := make([]*tenant.Backup, 3)
		for i := range made {
			wg.Add(1)
			go func() {
				defer wg.Done()
				made[i] = makeBackup(t, v, acme, map[string][]byte{"postgres/data/0001-a.sql": text(10<<20, uint64(i))})
			}()
		}
		wg.Wait()
		for i, b := range made {
			got, err := readAll(t.Context(), v, b)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, map[string][]byte{"postgres/data/0001-a.sql": text(10<<20, uint64(i))})
		}
	})
}

func TestABackupIsNeverOverwritten(t *testing.T) {
	everywhere(t, func(t *testing.T, url string) {
		v := open(t, Config{URL: url})
		b := makeBackup(t, v, uuid.New(), content())
		if _, err := v.Create(t.Context(), b, 0); !errors.Is(err, tenant.ErrExists) {
			t.Errorf("a second archive of the same id gives %v", err)
		}
		if err := verify(t.Context(), v, b); err != nil {
			t.Error(err)
		}
	})
}
