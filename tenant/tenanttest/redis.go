package tenanttest

import (
	"bytes"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// RedisServer is a Redis of one test's own, which it may stop. It is gone at the end, also where the test is killed.
type RedisServer struct {
	t       testing.TB
	address *net.TCPAddr
	stop    func()
}

// Redis starts an empty Redis.
func Redis(t testing.TB) *RedisServer {
	t.Helper()
	s := &RedisServer{t: t, address: freeAddress(t)}
	t.Cleanup(s.Stop)
	s.Start()
	return s
}

// URL is where it answers.
func (s *RedisServer) URL() string { return "redis://" + s.address.String() }

// Stop kills it; it forgets everything.
func (s *RedisServer) Stop() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// Start starts it at the address that it had, empty.
func (s *RedisServer) Start() {
	s.t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		s.t.Fatal("redis-server is missing; install it: apt-get install -y --no-install-recommends redis-server")
	}
	// The server ends with the shell's input, which is this process's: however the test ends, nothing is left.
	cmd := exec.Command("sh", "-c", `"$@" & cat >/dev/null; kill -9 $!; wait $!`, "sh",
		program, "--bind", s.address.IP.String(), "--port", strconv.Itoa(s.address.Port),
		"--save", "", "--appendonly", "no", "--dir", s.t.TempDir())
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
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.DialTimeout("tcp", s.address.String(), time.Second); err == nil {
			_ = conn.Close() // it answers, which is what was asked
			return
		}
	}
	s.Stop()
	s.t.Fatalf("start Redis: it does not answer\n%s", log.String())
}
