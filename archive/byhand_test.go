package archive

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// blocks gives the commands of docs/restore-by-hand.md by the name after "sh" on the line that opens them.
func blocks(t testing.TB) map[string]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "docs", "restore-by-hand.md"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, piece := range strings.Split(string(page), "\n```sh ")[1:] {
		name, rest, _ := strings.Cut(piece, "\n")
		out[name], _, _ = strings.Cut(rest, "\n```")
	}
	return out
}

// byHand runs the page's commands in the folder of a backup.
func byHand(t testing.TB, dir string, env []string, names ...string) {
	t.Helper()
	all := blocks(t)
	var script strings.Builder
	for _, name := range names {
		if all[name] == "" {
			t.Fatalf("docs/restore-by-hand.md has no commands %q", name)
		}
		script.WriteString(all[name] + "\n")
	}
	cmd := exec.Command("bash", "-eu", "-o", "pipefail", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, script.String(), out)
	}
}

func TestABackupIsUnpackedByHandAsThePageTells(t *testing.T) {
	for _, tool := range []string{"tar", "zstd", "age", "sha256sum", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing; tools/setup.sh installs it, make bin/tools builds age: put bin/tools on PATH", tool)
		}
	}
	mine, file := identity(t)
	want := content()
	for name, c := range map[string]struct {
		cfg   Config
		steps []string
	}{
		"plain":          {Config{}, []string{"check", "unpack", "join"}},
		"encrypted":      {Config{Recipients: []string{mine}}, []string{"check", "decrypt", "unpack", "join"}},
		"key per tenant": {Config{Recipients: []string{mine}, KeyPerTenant: true}, []string{"check", "tenant-key", "decrypt", "unpack", "join"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.URL = t.TempDir()
			v := open(t, c.cfg)
			b := makeBackup(t, v, uuid.New(), want)
			dir := v.store.path(folder(b.TenantID, b.ID))
			env := []string{"IDENTITY=" + file, "TENANT_KEY=" + v.keys.path(keyObject(b.TenantID))}
			byHand(t, dir, env, c.steps...)
			got := map[string][]byte{}
			for path := range want {
				text, err := os.ReadFile(filepath.Join(dir, "parts", filepath.FromSlash(path)))
				if err != nil {
					t.Fatal(err)
				}
				got[path] = text
			}
			same(t, got, want)
		})
	}
}

func TestByHandACheckFindsDamage(t *testing.T) {
	v := open(t, Config{URL: t.TempDir()})
	b := makeBackup(t, v, uuid.New(), small)
	dir := v.store.path(folder(b.TenantID, b.ID))
	bad := archived(t, b)
	bad[len(bad)/2] ^= 1
	overwrite(t, b, bad)
	cmd := exec.Command("bash", "-eu", "-o", "pipefail", "-c", blocks(t)["check"])
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("the page's check takes a damaged archive\n%s", out)
	}
}
