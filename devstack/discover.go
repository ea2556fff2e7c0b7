package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const oldestPostgres = 13

// installedPostgres lists the folders that may hold PostgreSQL's programs, the preferred one first: those on the given
// PATH, the one that pg_config names, and the usual places under root ("/" outside the tests), newest version first.
func installedPostgres(ctx context.Context, searchPath, root string) []string {
	var dirs []string
	for _, dir := range filepath.SplitList(searchPath) {
		// A link on PATH leads to the folder where its siblings are.
		if program, err := filepath.EvalSymlinks(filepath.Join(dir, executable("initdb"))); err == nil {
			dirs = append(dirs, filepath.Dir(program))
		}
	}
	for _, dir := range filepath.SplitList(searchPath) {
		if out, err := exec.CommandContext(ctx, filepath.Join(dir, "pg_config"), "--bindir").Output(); err == nil {
			dirs = append(dirs, strings.TrimSpace(string(out)))
			break
		}
	}
	for _, pattern := range []string{
		"usr/lib/postgresql/*/bin",
		"usr/pgsql-*/bin",
		"opt/homebrew/opt/postgresql*/bin",
		"usr/local/opt/postgresql*/bin",
		"Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		// The patterns are constants, so that Glob has no error to report.
		found, _ := filepath.Glob(filepath.Join(root, pattern))
		slices.SortStableFunc(found, func(a, b string) int { return versionInPath(b) - versionInPath(a) })
		dirs = append(dirs, found...)
	}

	var distinct []string
	seen := map[string]bool{}
	for _, dir := range dirs {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil || seen[real] {
			continue
		}
		if _, err := os.Stat(filepath.Join(real, executable("initdb"))); err != nil {
			continue
		}
		seen[real] = true
		distinct = append(distinct, dir)
	}
	return distinct
}

var firstNumber = regexp.MustCompile(`\d+`)

// versionInPath returns the major version in the name of the folder above bindir, 0 where it has none.
func versionInPath(bindir string) int {
	version, err := strconv.Atoi(firstNumber.FindString(filepath.Base(filepath.Dir(bindir))))
	if err != nil {
		return 0
	}
	return version
}

var versionOutput = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// checkVersion refuses a folder whose programs do not run, are too old, or not of the major version that is wanted, if any.
func checkVersion(ctx context.Context, bindir string, major int) error {
	for _, program := range []string{"initdb", "postgres"} {
		out, err := exec.CommandContext(ctx, filepath.Join(bindir, executable(program)), "--version").Output()
		if err != nil {
			return err
		}
		match := versionOutput.FindSubmatch(out)
		if match == nil {
			return fmt.Errorf("%s --version answers %q", program, firstLine(string(out)))
		}
		switch is, err := strconv.Atoi(string(match[1])); {
		case err != nil || is < oldestPostgres:
			return fmt.Errorf("version %s is too old", match[1])
		case major != 0 && is != major:
			return fmt.Errorf("version %d is not %d", is, major)
		}
	}
	return nil
}

// downloadPostgres fetches PostgreSQL from repository, a Maven repository, unpacks it under dir and returns the folder
// of its programs. The archive is kept in the user's home for the next time.
func downloadPostgres(ctx context.Context, dir, repository string) (string, error) {
	target := filepath.Join(dir, "postgres-download")
	blocker := filepath.Join(dir, "postgres-download-only")
	if err := os.WriteFile(blocker, nil, 0o600); err != nil {
		return "", err
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		BinaryRepositoryURL(repository).
		Port(uint32(port)).
		RuntimePath(target).
		BinariesPath(target).
		// The library has no way to download alone. With a data folder below a file its Start fails right after that.
		DataPath(filepath.Join(blocker, "data")).
		Logger(io.Discard))
	// The library leaves its log in the system's temporary folder; in this one it goes with everything else.
	tmp, tmpSet := os.LookupEnv("TMPDIR")
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return "", err
	}
	started := make(chan error, 1)
	go func() { started <- server.Start() }()
	select {
	case <-ctx.Done():
		// TMPDIR stays: the library still runs, and may not have made its log yet.
		return "", ctx.Err()
	case err = <-started:
	}
	if tmpSet {
		err = errors.Join(err, os.Setenv("TMPDIR", tmp))
	} else {
		err = errors.Join(err, os.Unsetenv("TMPDIR"))
	}
	bindir := filepath.Join(target, "bin")
	if _, statErr := os.Stat(filepath.Join(bindir, executable("initdb"))); statErr != nil {
		return "", err
	}
	return bindir, nil
}

// wanted names the PostgreSQL that is looked for: of a major version, or 0 for any.
func wanted(major int) string {
	if major == 0 {
		return fmt.Sprintf("PostgreSQL %d or newer", oldestPostgres)
	}
	return fmt.Sprintf("PostgreSQL %d", major)
}

// noPostgresError says in one message why every place was refused and how to install PostgreSQL here.
func noPostgresError(major int, reasons []error) error {
	var b strings.Builder
	fmt.Fprintf(&b, "no usable %s; install it with: %s", wanted(major), installCommand(runtime.GOOS, onPath))
	for _, reason := range reasons {
		fmt.Fprintf(&b, "\n  tried %v", reason)
	}
	return errors.New(b.String())
}

// installCommand returns the command that installs PostgreSQL on this kind of system.
func installCommand(goos string, available func(program string) bool) string {
	switch goos {
	case "darwin":
		return "brew install postgresql@17"
	case "windows":
		return "winget install PostgreSQL.PostgreSQL.17"
	}
	for _, manager := range []struct{ program, command string }{
		{"apt-get", "sudo apt-get install postgresql"},
		{"dnf", "sudo dnf install postgresql-server"},
		{"yum", "sudo yum install postgresql-server"},
		{"zypper", "sudo zypper install postgresql-server"},
		{"apk", "sudo apk add postgresql"},
		{"pacman", "sudo pacman -S postgresql"},
		{"pkg", "sudo pkg install postgresql17-server"},
	} {
		if available(manager.program) {
			return manager.command
		}
	}
	return "the packages from https://www.postgresql.org/download/"
}

func onPath(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// executable gives a program the name of its file.
func executable(program string) string {
	if runtime.GOOS == "windows" {
		return program + ".exe"
	}
	return program
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
