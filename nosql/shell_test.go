package nosql

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// fakeShell is a mongosh that shows what it was given.
func fakeShell(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "mongosh"), []byte("#!/bin/sh\necho \"$@\"\ncat \"$4\"\necho \"$TENANTCTL_SHELL_URL\"\n"), 0o700)) //nolint:gosec // a program
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestShellKeepsTheURLOutOfTheArguments(t *testing.T) {
	fakeShell(t)
	r := direct(t, example)
	ten := migrated(t, r)
	r.cfg.URL = "mongodb://root:s3cret@host:1,other:2/?replicaSet=rs"
	program, args, env, cleanup, err := r.Command(t.Context(), ten, tenant.ShellOptions{Prompt: "staging/acme"})
	must(t, err)
	defer cleanup()
	script := args[len(args)-1]
	info, err := os.Stat(script)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the script has the mode %o", info.Mode().Perm())
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	must(t, err)
	shown, rest, _ := strings.Cut(string(out), "\n")
	if shown != "--nodb --quiet --shell "+script {
		t.Errorf("arguments are %s", shown)
	}
	if want := connectScript + "prompt = \"staging/acme> \";\nmongodb://root:s3cret@host:1,other:2/" + ten.Database + "?replicaSet=rs&authSource=admin\n"; rest != want {
		t.Errorf("got %q, want %q", rest, want)
	}
	cleanup()
	if _, err := os.Stat(script); !os.IsNotExist(err) {
		t.Error("the script is still there")
	}
}

func TestShellIsRefusedWhereItLeadsNowhere(t *testing.T) {
	r := direct(t, example)
	ten := newTenant(t)
	t.Run("without mongosh", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, _, _, cleanup, err := r.Command(t.Context(), ten, tenant.ShellOptions{})
		cleanup()
		refuses(t, err, tenant.ErrInvalid, "mongosh is not on PATH", "install it")
	})
	t.Run("without a database", func(t *testing.T) {
		fakeShell(t)
		_, _, _, cleanup, err := r.Command(t.Context(), ten, tenant.ShellOptions{})
		cleanup()
		refuses(t, err, tenant.ErrMissing, ten.Database)
	})
}

func TestTheShellsURLKeepsItsUsersSource(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"mongodb://h:1/", "mongodb://h:1/db"},
		{"mongodb://h:1", "mongodb://h:1/db"},
		{"mongodb://h:1/?tls=true", "mongodb://h:1/db?tls=true"},
		{"mongodb://u:p@h:1/users", "mongodb://u:p@h:1/db?authSource=users"},
		{"mongodb://u:p@h:1/users?authSource=other", "mongodb://u:p@h:1/db?authSource=other"},
		{"mongodb://u:p@h:1/?tls=true", "mongodb://u:p@h:1/db?tls=true&authSource=admin"},
	} {
		if got := withDatabase(c.url, "db"); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.url, got, c.want)
		}
	}
}
