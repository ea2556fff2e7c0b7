//go:build unix

package main

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestCtrlCLeavesTheServersToTheCommandUntilItEnds(t *testing.T) {
	r := startShell(t, openTempDir(t), "trap 'echo interrupted; cat >/dev/null; exit 3' INT; echo TRAPPED; while :; do sleep 0.1; done")
	r.expectLine("TRAPPED")
	r.pressCtrlC()
	r.expectLine("interrupted")
	queryText(t, r.env["TENANTCTL_POSTGRES_URL"], "SELECT 'alive'")
	if !answers(r.mongodbAddress()) {
		t.Error("the MongoDB server ended before the command")
	}
	r.end(3)
	r.expectNothingLeft()
}

func TestCtrlCThatEndsTheCommandEndsTheStack(t *testing.T) {
	r := startShell(t, openTempDir(t), "exec cat >/dev/null")
	r.pressCtrlC()
	r.expectExit(128 + int(syscall.SIGINT))
	r.expectNothingLeft()
}

func TestSIGTERMIsForwardedToTheCommand(t *testing.T) {
	r := startShell(t, openTempDir(t), "trap 'exit 4' TERM; echo TRAPPED; while :; do sleep 0.1; done")
	r.expectLine("TRAPPED")
	r.signal(syscall.SIGTERM)
	r.expectExit(4)
	r.expectNothingLeft()
}

func TestASignalDuringTheStartLeavesNothing(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		// The moments at which the signal comes: each file appears at another step of the start.
		for _, appears := range []string{"*.lock", "*/postgres/data/base", "*/postgres/log", "*/mongodb"} {
			t.Run(sig.String()+" at "+appears, func(t *testing.T) {
				r := start(t, openTempDir(t), "run", "--", "cat")
				eventually(t, appears, func() bool {
					found, err := filepath.Glob(filepath.Join(r.tmp, appears))
					return err == nil && len(found) > 0
				})
				if err := syscall.Kill(-r.cmd.Process.Pid, sig); err != nil {
					t.Fatal(err)
				}
				// Had the command begun already, it would be the command that the signal ended, with the same exit code.
				r.expectExit(128 + int(sig))
				r.expectNothingLeft()
			})
		}
	}
}

func TestABackgroundJobOfAScriptEndsOnSIGINT(t *testing.T) {
	signal.Ignore(syscall.SIGINT)
	r := start(t, openTempDir(t), "up")
	signal.Reset(syscall.SIGINT)
	// The first line comes once both servers answer.
	r.readLine()
	r.signal(syscall.SIGINT)
	r.expectExit(0)
	r.expectNothingLeft()
}

func TestNohupKeepsAStackUpOnSIGHUP(t *testing.T) {
	signal.Ignore(syscall.SIGHUP)
	r := start(t, openTempDir(t), "run", "--", "cat")
	signal.Reset(syscall.SIGHUP)
	eventually(t, "the start", func() bool {
		found, err := filepath.Glob(filepath.Join(r.tmp, "*.lock"))
		return err == nil && len(found) > 0
	})
	r.signal(syscall.SIGHUP)
	r.signal(syscall.SIGTERM)
	// The first signal that counts decides.
	r.expectExit(128 + int(syscall.SIGTERM))
	r.expectNothingLeft()
}

func TestUpPrintsExportsAndEndsOnSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			envFile := filepath.Join(openTempDir(t), "stack.env")
			r := start(t, openTempDir(t), "up", "--env-file", envFile, "--mongodb-url", "mongodb://it's/")
			eventually(t, "the env file", func() bool { _, err := os.Stat(envFile); return err == nil })

			info, err := os.Stat(envFile)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode of the env file: %v (%v), want 0600", info.Mode().Perm(), err)
			}
			script, err := os.ReadFile(envFile)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(script)) {
				r.expectLine(strings.TrimSuffix(line, "\n"))
			}
			out, err := exec.Command("sh", "-c", `. "$0" && printf '%s %s' "$TENANTCTL_POSTGRES_URL" "$TENANTCTL_NOSQL_URL"`, envFile).Output()
			if err != nil {
				t.Fatal(err)
			}
			postgresURL, nosqlURL, _ := strings.Cut(string(out), " ")
			queryText(t, postgresURL, "SELECT 'alive'")
			if nosqlURL != "mongodb://it's/" {
				t.Errorf("a shell reads TENANTCTL_NOSQL_URL as %q", nosqlURL)
			}

			r.env["TENANTCTL_POSTGRES_URL"] = postgresURL
			r.signal(sig)
			r.expectExit(0)
			r.expectNothingLeft()
			if _, err := os.Stat(envFile); !os.IsNotExist(err) {
				t.Errorf("the env file is still there: %v", err)
			}
		})
	}
}

func TestUpEndsWhenPostgreSQLDoes(t *testing.T) {
	r := start(t, openTempDir(t), "up")
	r.readLine()
	r.killPostgres()
	r.expectExit(exitFailed)
	if got := r.said(); !strings.Contains(got, "PostgreSQL ended by itself") {
		t.Errorf("stderr is %q", got)
	}
	r.expectNothingLeft()
}

func TestRunSaysThatPostgreSQLEndedAndWaitsForTheCommand(t *testing.T) {
	r := startShell(t, openTempDir(t), "cat >/dev/null; exit 5")
	r.killPostgres()
	eventually(t, "word of the end of PostgreSQL", func() bool { return strings.Contains(r.said(), "PostgreSQL ended by itself") })
	r.end(5)
	r.expectNothingLeft()
}

func TestAKilledDevstackIsCleanedUpAfter(t *testing.T) {
	tmp := openTempDir(t)
	killed := startShell(t, tmp, "exec cat >/dev/null")
	killed.signal(syscall.SIGKILL)
	if runtime.GOOS != "linux" {
		// On Linux the command dies with devstack.
		_ = killed.stdin.Close()
	}
	killed.expectExit(-1)
	if runtime.GOOS == "linux" {
		// Elsewhere PostgreSQL ends only after its folder is gone.
		eventually(t, "the end of PostgreSQL", func() bool { return !answers(killed.postgresAddress()) })
	}
	leftovers, err := filepath.Glob(filepath.Join(tmp, workdirPrefix+"*"))
	if err != nil || len(leftovers) != 2 {
		t.Fatalf("a killed devstack leaves its folder and lock, not %v (%v)", leftovers, err)
	}

	next := startShell(t, tmp, "cat >/dev/null")
	for _, leftover := range leftovers {
		if _, err := os.Stat(leftover); !os.IsNotExist(err) {
			t.Errorf("the next start leaves %s: %v", filepath.Base(leftover), err)
		}
	}
	next.end(0)
	next.expectNothingLeft()
}

func (r *running) expectLine(want string) {
	r.t.Helper()
	if got := r.readLine(); got != want {
		r.t.Fatalf("devstack prints %q, want %q", got, want)
	}
}

// killPostgres ends the server behind devstack's back.
func (r *running) killPostgres() {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.tmp, workdirPrefix+"*", "postgres", "data", "postmaster.pid"))
	if err != nil || len(files) != 1 {
		r.t.Fatalf("found %v (%v), want one postmaster.pid", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		r.t.Fatal(err)
	}
	pid, _, _ := strings.Cut(string(content), "\n")
	if out, err := exec.Command("kill", "-KILL", pid).CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
}
