//go:build unix

package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// fakePostgres writes programs that tell a version; initdb runs the given script otherwise.
func fakePostgres(t *testing.T, dir, version, initdb string) string {
	t.Helper()
	writeProgram(t, dir, "postgres", `echo "postgres (PostgreSQL) `+version+`"`)
	writeProgram(t, dir, "initdb", `if [ "$1" = --version ]; then echo "initdb (PostgreSQL) `+version+`"; exit; fi; `+initdb)
	return dir
}

func writeProgram(t *testing.T, dir, name, script string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestInstalledPostgresIsFoundWhereItMayBe(t *testing.T) {
	for name, test := range map[string]struct {
		programs []string          // folders with PostgreSQL
		links    map[string]string // link to target
		pgConfig string            // what pg_config on PATH names
		path     []string
		want     []string
	}{
		"nowhere": {path: []string{"bin"}},
		"on PATH": {programs: []string{"pg/bin"}, path: []string{"empty", "pg/bin"}, want: []string{"pg/bin"}},
		"by links on PATH": {
			programs: []string{"far/lib/bin"},
			links:    map[string]string{"bin/initdb": "far/lib/bin/initdb", "bin/postgres": "far/lib/bin/postgres"},
			path:     []string{"bin"}, want: []string{"far/lib/bin"},
		},
		"by a broken link on PATH": {links: map[string]string{"bin/initdb": "gone/initdb"}, path: []string{"bin"}},
		"by pg_config":             {programs: []string{"odd/bin"}, pgConfig: "odd/bin", path: []string{"bin"}, want: []string{"odd/bin"}},
		"pg_config of clients only": {
			programs: []string{"usr/lib/postgresql/16/bin"}, pgConfig: "usr/bin", path: []string{"bin"},
			want: []string{"usr/lib/postgresql/16/bin"},
		},
		"Debian, newest first": {
			programs: []string{"usr/lib/postgresql/9.6/bin", "usr/lib/postgresql/13/bin", "usr/lib/postgresql/17/bin"},
			want:     []string{"usr/lib/postgresql/17/bin", "usr/lib/postgresql/13/bin", "usr/lib/postgresql/9.6/bin"},
		},
		"Red Hat": {programs: []string{"usr/pgsql-16/bin"}, want: []string{"usr/pgsql-16/bin"}},
		"Homebrew": {
			programs: []string{"opt/homebrew/opt/postgresql@14/bin", "opt/homebrew/opt/postgresql@17/bin", "usr/local/opt/postgresql@18/bin"},
			want:     []string{"opt/homebrew/opt/postgresql@17/bin", "opt/homebrew/opt/postgresql@14/bin", "usr/local/opt/postgresql@18/bin"},
		},
		"Postgres.app, latest once": {
			programs: []string{"Applications/Postgres.app/Contents/Versions/16/bin", "Applications/Postgres.app/Contents/Versions/17/bin"},
			links:    map[string]string{"Applications/Postgres.app/Contents/Versions/latest": "Applications/Postgres.app/Contents/Versions/17"},
			want:     []string{"Applications/Postgres.app/Contents/Versions/17/bin", "Applications/Postgres.app/Contents/Versions/16/bin"},
		},
		"PATH, then pg_config, then the usual places, each once": {
			programs: []string{"pg/bin", "odd/bin", "usr/lib/postgresql/15/bin", "usr/lib/postgresql/17/bin"},
			links:    map[string]string{"bin/initdb": "usr/lib/postgresql/15/bin/initdb"},
			pgConfig: "odd/bin",
			path:     []string{"bin", "pg/bin"},
			want:     []string{"usr/lib/postgresql/15/bin", "pg/bin", "odd/bin", "usr/lib/postgresql/17/bin"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			root, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for _, dir := range test.programs {
				fakePostgres(t, filepath.Join(root, dir), "17.0", "")
			}
			for link, target := range test.links {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(root, link)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(filepath.Join(root, target), filepath.Join(root, link)); err != nil {
					t.Fatal(err)
				}
			}
			if test.pgConfig != "" {
				writeProgram(t, filepath.Join(root, "bin"), "pg_config", "echo "+filepath.Join(root, test.pgConfig))
			}
			var path, want []string
			for _, dir := range test.path {
				path = append(path, filepath.Join(root, dir))
			}
			for _, dir := range test.want {
				want = append(want, filepath.Join(root, dir))
			}
			got := installedPostgres(context.Background(), strings.Join(path, string(os.PathListSeparator)), root)
			if !slices.Equal(got, want) {
				t.Errorf("found %v, want %v", got, want)
			}
		})
	}
}

func TestVersionsBefore13AreRefused(t *testing.T) {
	for version, usable := range map[string]bool{
		"9.6.24": false, "12.22": false, "13.0": true, "15.18 (Debian 15.18-0+deb12u1)": true, "18beta1": true, "19devel": true,
	} {
		err := checkVersion(context.Background(), fakePostgres(t, t.TempDir(), version, ""), 0)
		if (err == nil) != usable {
			t.Errorf("version %s: %v", version, err)
		}
	}
}

func TestUnusableFoldersAreSkippedWithTheirReasons(t *testing.T) {
	tmp := openTempDir(t)
	dirs := []string{
		fakePostgres(t, filepath.Join(tmp, "old"), "12.22", "exit 0"),
		fakePostgres(t, filepath.Join(tmp, "copy"), "16.1", "echo 'initdb: error: file postgres.bki does not exist'; exit 1"),
	}
	writeProgram(t, filepath.Join(tmp, "half"), "initdb", `echo "initdb (PostgreSQL) 16.1"`)
	dirs = append(dirs, filepath.Join(tmp, "half"))
	sources := []source{
		{"npm", func(context.Context) (string, error) { return "", errors.New("npm is not installed") }},
		{"download", func(context.Context) (string, error) { return "", errors.New("unable to connect") }},
	}

	p := &postgres{dir: openTempDir(t)}
	err := p.setUp(context.Background(), dirs, sources)
	if err == nil {
		t.Fatal("unusable programs have made a cluster")
	}
	for _, part := range []string{
		"no usable PostgreSQL 13 or newer", "install it with: " + installCommand(runtime.GOOS, onPath),
		"old: version 12 is too old", "copy: initdb: exit status 1: initdb: error: file postgres.bki does not exist",
		"half: ", "npm: npm is not installed", "download: unable to connect",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the message does not contain %q:\n%v", part, err)
		}
	}
}

func TestAUsablePostgreSQLIsFoundBehindUnusableOnes(t *testing.T) {
	tmp := openTempDir(t)
	old := fakePostgres(t, filepath.Join(tmp, "old"), "12.22", "exit 0")
	broken := fakePostgres(t, filepath.Join(tmp, "copy"), "99.0", "exit 1")
	t.Setenv("PATH", strings.Join([]string{old, broken, os.Getenv("PATH")}, string(os.PathListSeparator)))
	r := startShell(t, openTempDir(t), "cat >/dev/null")
	queryText(t, r.env["TENANTCTL_POSTGRES_URL"], "SELECT 'alive'")
	r.end(0)
	r.expectNothingLeft()
}

func TestTheInstallCommandFitsTheSystem(t *testing.T) {
	for _, test := range []struct{ goos, manager, want string }{
		{"linux", "apt-get", "sudo apt-get install postgresql"},
		{"linux", "dnf", "sudo dnf install postgresql-server"},
		{"linux", "zypper", "sudo zypper install postgresql-server"},
		{"linux", "apk", "sudo apk add postgresql"},
		{"linux", "pacman", "sudo pacman -S postgresql"},
		{"linux", "", "the packages from https://www.postgresql.org/download/"},
		{"freebsd", "pkg", "sudo pkg install postgresql17-server"},
		{"darwin", "", "brew install postgresql@17"},
		{"windows", "", "winget install PostgreSQL.PostgreSQL.17"},
	} {
		got := installCommand(test.goos, func(program string) bool { return program == test.manager })
		if got != test.want {
			t.Errorf("%s with %q: %q, want %q", test.goos, test.manager, got, test.want)
		}
	}
}

// stubArchive is a .txz archive with one program, bin/initdb.
const stubArchive = `/Td6WFoAAAFpIt42AgAhARwAAAAQz1jM4Cf/AJNdADEaShsFkZA3OlG9V3Gz1uQT2IkQonAbexNN15tic70r6rNJbkVqC6RLQH2665UL531xp7xGLwZ7YE9f
5KYslwH/hr5kaG8dqED8O2PbCvtlDAomtd8RCKgeTy1FAI2bzHTm56F//VEewWhDbNsTSmZSiUZ0YIR0YmqxhVuHH3AZzXC8Mof2Mk8o1rCqJYvpxnPWQAAA
9+T++AABqwGAUAAAy4QLDD4wDYsCAAAAAAFZWg==`

func TestDownloadUnpacksThePrograms(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	content, err := base64.StdEncoding.DecodeString(stubArchive)
	if err != nil {
		t.Fatal(err)
	}
	var jar bytes.Buffer
	archive := zip.NewWriter(&jar)
	entry, err := archive.Create("postgres.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := entry.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	repository := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(jar.Bytes())
	}))
	defer repository.Close()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)

	bindir, err := downloadPostgres(context.Background(), t.TempDir(), repository.URL)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(bindir, "initdb")); err != nil || info.Mode().Perm()&0o100 == 0 {
		t.Errorf("initdb is not there to be run: %v", err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 || os.Getenv("TMPDIR") != tmp {
		t.Errorf("in the temporary folder is left: %v (%v)", left, err)
	}
}

func TestAnInterruptedSearchDownloadsNothing(t *testing.T) {
	ctx, interrupt := context.WithCancel(context.Background())
	interrupt()
	p := &postgres{dir: openTempDir(t)}
	err := p.setUp(ctx, nil, []source{{"download", func(context.Context) (string, error) {
		t.Error("a download begins")
		return "", nil
	}}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDownloadWithoutNetworkSaysSo(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	repository := httptest.NewServer(http.NotFoundHandler())
	repository.Close()
	if bindir, err := downloadPostgres(context.Background(), t.TempDir(), repository.URL); err == nil ||
		!strings.Contains(err.Error(), "unable to connect to "+repository.URL) {
		t.Errorf("got %q, %v", bindir, err)
	}
}

func TestATakenPortIsReplacedByAnother(t *testing.T) {
	ctx := context.Background()
	owner, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	p, err := startPostgres(ctx, openTempDir(t), owner, config{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	taken := p.port

	rival := &postgres{owner: owner, dir: filepath.Join(openTempDir(t), "postgres"), password: "other"}
	if err := rival.prepareFolder(); err != nil {
		t.Fatal(err)
	}
	if err := rival.initialise(ctx, p.bindir); err != nil {
		t.Fatal(err)
	}
	ports := []int{taken, taken}
	err = rival.serve(ctx, config{}, func() (int, error) {
		if len(ports) == 0 {
			return freePort()
		}
		port := ports[0]
		ports = ports[1:]
		return port, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer rival.stop()
	if rival.port == taken || len(ports) != 0 {
		t.Errorf("serves on port %d with %d taken ports untried", rival.port, len(ports))
	}
	queryText(t, rival.url("tenantctl"), "SELECT 'alive'")
}
