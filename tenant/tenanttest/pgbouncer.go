package tenanttest

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const installPgBouncer = "install it: apt-get install -y --no-install-recommends pgbouncer"

// PgBouncer starts a PgBouncer in front of the server at a URL, and returns the URL by way of it. The pool is in
// transaction mode, and has so many connections to the server for all users together. Users are looked up in the server, as
// one that comes and goes with its tenant has to be. It is gone at the end, and also where the test is killed.
func PgBouncer(t testing.TB, to string, connections int) string {
	t.Helper()
	program := ""
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if p, err := exec.LookPath(name); err == nil && program == "" {
			program = p
		}
	}
	if program == "" {
		t.Fatalf("pgbouncer is missing; %s", installPgBouncer)
	}
	server, err := url.Parse(to)
	if err != nil {
		t.Fatal("the server's URL cannot be read")
	}
	super, err := url.Parse(SuperuserURL(t))
	if err != nil {
		t.Fatal("the server's URL cannot be read")
	}
	password, _ := super.User.Password()
	// Not t.TempDir: another user could not look into it.
	dir, err := os.MkdirTemp("", "pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	var owner *syscall.Credential
	if os.Geteuid() == 0 {
		owner = giveToPostgres(t, dir)
	}
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if owner != nil {
			if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("users.txt", fmt.Sprintf("%q %q\n", super.User.Username(), password))
	var log string
	for range 3 {
		address := freeAddress(t)
		write("pgbouncer.ini", strings.Join([]string{
			"[databases]",
			fmt.Sprintf("* = host=%s port=%s", server.Hostname(), server.Port()),
			"[pgbouncer]",
			"listen_addr = 127.0.0.1",
			fmt.Sprintf("listen_port = %d", address.Port),
			"unix_socket_dir =",
			"pool_mode = transaction",
			fmt.Sprintf("default_pool_size = %d", connections),
			fmt.Sprintf("max_db_connections = %d", connections),
			"auth_type = scram-sha-256",
			"auth_file = " + filepath.Join(dir, "users.txt"),
			"auth_user = " + super.User.Username(),
			"query_wait_timeout = 20",
			"",
		}, "\n"))
		u := *server
		u.Host = address.String()
		if log = startPgBouncer(t, program, dir, owner, u.String()); log == "" {
			return u.String()
		}
	}
	t.Fatalf("start PgBouncer: it does not answer\n%s", log)
	return ""
}

// startPgBouncer starts it and waits until it lets somebody in; where it does not, its log comes back.
func startPgBouncer(t testing.TB, program, dir string, owner *syscall.Credential, as string) string {
	t.Helper()
	// It ends with the shell's input, which is this process's: however the test ends, nothing is left.
	cmd := exec.Command("sh", "-c", `"$@" & cat >/dev/null; kill -9 $!; wait $!`, "sh", program, filepath.Join(dir, "pgbouncer.ini"))
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	life, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	var refused error
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(ctx, as)
		if err == nil {
			_ = conn.Close(ctx) // it answers, which is what was asked
			t.Cleanup(func() { end(cmd, life) })
			return ""
		}
		refused = err
	}
	end(cmd, life)
	return fmt.Sprintf("%s\n%v\n", strings.TrimSpace(log.String()), refused)
}
