package tenanttest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a PostgreSQL server of one test's own, which it may stop. It is gone at the end, and also where the test is
// killed.
type Server struct {
	t       testing.TB
	bin     string // folder of the server's programs
	dir     string
	address *net.TCPAddr
	owner   *syscall.Credential // nil where the test's own user will do
	stop    func()
}

// PostgresServer starts a server with the programs of the shared one.
func PostgresServer(t testing.TB) *Server {
	t.Helper()
	return launch(t, serverPrograms(t), func(s *Server) {
		s.program("initdb", "--pgdata="+s.data(), "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
	})
}

// Standby starts a replica of the server, which the server knows by that name.
func (s *Server) Standby(name string) *Server {
	s.t.Helper()
	return launch(s.t, s.bin, func(r *Server) {
		r.program("pg_basebackup", "--pgdata="+r.data(), "--dbname="+s.URL()+"&application_name="+name, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
	})
}

// launch starts a server on the data that fill makes.
func launch(t testing.TB, bin string, fill func(*Server)) *Server {
	t.Helper()
	s := &Server{t: t, bin: bin}
	// Not t.TempDir: another user could not look into it.
	var err error
	if s.dir, err = os.MkdirTemp("", "postgres-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.stop != nil {
			s.stop()
		}
		if err := os.RemoveAll(s.dir); err != nil {
			t.Error(err)
		}
	})
	if os.Geteuid() == 0 {
		s.owner = giveToPostgres(t, s.dir)
	}
	fill(s)
	var log string
	for range 3 {
		s.address = freeAddress(t)
		if log = s.start(); log == "" {
			return s
		}
	}
	t.Fatalf("start PostgreSQL: it does not answer\n%s", log)
	return nil
}

// serverPrograms asks the shared server where its programs lie.
func serverPrograms(t testing.TB) (dir string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, SuperuserURL(t))
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, `SELECT setting FROM pg_config WHERE name = 'BINDIR'`).Scan(&dir); err != nil {
		t.Fatalf("ask PostgreSQL for its programs: %v", err)
	}
	return dir
}

// giveToPostgres hands a folder to a user that the server can run as, which refuses to be root.
func giveToPostgres(t testing.TB, dir string) *syscall.Credential {
	t.Helper()
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr != nil || gidErr != nil {
			continue
		}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			t.Fatal(err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatal("there is no user postgres or nobody to run PostgreSQL as")
	return nil
}

// URL is the server's with every right.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", s.address)
}

// Restart stops the server in one of pg_ctl's ways, smart, fast or immediate, and starts it again.
func (s *Server) Restart(mode string) {
	s.t.Helper()
	s.program("pg_ctl", "stop", "-D", s.data(), "-m", mode, "-w")
	s.stop()
	if log := s.start(); log != "" {
		s.t.Fatalf("start PostgreSQL again: it does not answer\n%s", log)
	}
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) program(name string, args ...string) {
	s.t.Helper()
	if out, err := s.command(filepath.Join(s.bin, name), args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func (s *Server) command(path string, args ...string) *exec.Cmd {
	c := exec.Command(path, args...)
	c.Dir, c.Env = s.dir, append(os.Environ(), "LC_ALL=C")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	return c
}

// start starts the server and waits until it lets somebody in; where it does not, its log comes back.
func (s *Server) start() string {
	s.t.Helper()
	// The server ends with the shell's input, which is this process's: however the test ends, nothing is left.
	cmd := s.command("sh", "-c", `"$@" & cat >/dev/null; kill -9 $!; wait $!`, "sh", filepath.Join(s.bin, "postgres"), "-D", s.data(), "-p", strconv.Itoa(s.address.Port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=100", "-c", "fsync=off", "-c", "full_page_writes=off")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	life, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.stop = func() { end(cmd, life) }
	ctx := context.Background()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if conn, err := pgx.Connect(ctx, s.URL()); err == nil {
			_ = conn.Close(ctx) // it answers, which is what was asked
			return ""
		}
	}
	s.stop()
	return strings.TrimSpace(log.String()) + "\n"
}

// end ends what a shell runs for as long as its input is open.
func end(shell *exec.Cmd, life io.Closer) {
	_ = life.Close()
	_ = shell.Wait() // the server was killed, which is no success
}
