//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// patience is how long a test waits for what must come; nothing is asserted about how fast it comes.
const patience = 2 * time.Minute

// binary is the built program.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		// A real server named by the surroundings is for other tests.
		if err := os.Unsetenv(envRealMongoDB); err != nil {
			panic(err)
		}
		dir, err := os.MkdirTemp("", "devstack-test-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "devstack")
		build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			panic(err)
		}
		return m.Run()
	}())
}

// openTempDir makes a temporary folder that the user of PostgreSQL can enter too; a test's own is closed to others.
func openTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "devstack-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// running is a devstack at work, leader of a process group as in a terminal.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	tmp    string // its temporary folder
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr *os.File
	env    map[string]string // what its command saw
}

// start runs devstack with its own temporary folder, or in the given one.
func start(t *testing.T, tmp string, args ...string) *running {
	t.Helper()
	r := &running{t: t, tmp: tmp, cmd: exec.Command(binary, args...), env: map[string]string{}}
	r.cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if r.stderr, err = os.Create(filepath.Join(t.TempDir(), "stderr")); err != nil {
		t.Fatal(err)
	}
	r.cmd.Stderr = r.stderr
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.stdout = bufio.NewReader(stdout)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			_ = r.cmd.Process.Signal(syscall.SIGTERM)
			_ = r.stdin.Close()
			_ = r.cmd.Wait()
		}
		_ = r.stderr.Close()
	})
	return r
}

// startShell runs a shell script inside a stack and returns once the script has begun. The script ends with "rest".
func startShell(t *testing.T, tmp, rest string, flags ...string) *running {
	t.Helper()
	args := append(append([]string{"run"}, flags...), "--", "sh", "-c", "env; echo READY; "+rest)
	r := start(t, tmp, args...)
	for {
		line := r.readLine()
		if line == "READY" {
			return r
		}
		if name, value, ok := strings.Cut(line, "="); ok {
			r.env[name] = value
		}
	}
}

func (r *running) readLine() string {
	r.t.Helper()
	line, err := r.stdout.ReadString('\n')
	if err != nil {
		r.t.Fatalf("read the output of devstack: %v; stderr: %s", err, r.said())
	}
	return strings.TrimSuffix(line, "\n")
}

// said returns what stderr has got so far.
func (r *running) said() string {
	r.t.Helper()
	text, err := os.ReadFile(r.stderr.Name())
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

func (r *running) signal(sig syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// pressCtrlC signals the whole process group, as a terminal does.
func (r *running) pressCtrlC() {
	r.t.Helper()
	if err := syscall.Kill(-r.cmd.Process.Pid, syscall.SIGINT); err != nil {
		r.t.Fatal(err)
	}
}

// end closes stdin, waits for devstack and checks its exit code.
func (r *running) end(wantCode int) {
	r.t.Helper()
	_ = r.stdin.Close()
	r.expectExit(wantCode)
}

func (r *running) expectExit(wantCode int) {
	r.t.Helper()
	_, _ = io.Copy(io.Discard, r.stdout)
	err := r.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	if code := r.cmd.ProcessState.ExitCode(); code != wantCode {
		r.t.Fatalf("exit code %d, want %d; stderr: %s", code, wantCode, r.said())
	}
}

// expectNothingLeft checks that no file and no server of r's is left.
func (r *running) expectNothingLeft() {
	r.t.Helper()
	entries, err := os.ReadDir(r.tmp)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, entry := range entries {
		r.t.Errorf("left behind: %s", entry.Name())
	}
	for _, address := range []string{r.postgresAddress(), r.mongodbAddress()} {
		if address != "" && answers(address) {
			r.t.Errorf("a server still listens on %s", address)
		}
	}
}

func (r *running) postgresAddress() string {
	url := r.env["TENANTCTL_POSTGRES_URL"]
	if url == "" {
		return ""
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		r.t.Fatal(err)
	}
	return fmt.Sprintf("%s:%d", config.Host, config.Port)
}

func (r *running) mongodbAddress() string {
	return strings.TrimSuffix(strings.TrimPrefix(r.env["TENANTCTL_NOSQL_URL"], "mongodb://"), "/")
}

func answers(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// eventually polls until done, which must come.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("waited in vain: %s", what)
}

// queryText runs one query that returns one text.
func queryText(t *testing.T, url, sql string) string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var text string
	if err := conn.QueryRow(ctx, sql).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// expectRefused checks that PostgreSQL refuses a password.
func expectRefused(t *testing.T, config *pgx.ConnConfig) {
	t.Helper()
	conn, err := pgx.ConnectConfig(context.Background(), config)
	if err == nil {
		_ = conn.Close(context.Background())
		t.Fatalf("user %s got in with a wrong password", config.User)
	}
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) || refusal.Code != "28P01" {
		t.Fatalf("user %s with a wrong password: %v, want SQLSTATE 28P01", config.User, err)
	}
}
