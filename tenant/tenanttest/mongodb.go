package tenanttest

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// MongoServer is a MongoDB-protocol server of one test's own, which it may kill. It ends with the test, however that ends.
type MongoServer struct {
	t       testing.TB
	dir     string
	address *net.TCPAddr
	url     string
	stop    func()
}

// StartMongoDB starts devstack's embedded server on files of its own.
func StartMongoDB(t testing.TB) *MongoServer {
	t.Helper()
	s := &MongoServer{t: t, dir: t.TempDir(), address: freeAddress(t)}
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

// URL is the server's.
func (s *MongoServer) URL() string { return s.url }

// Restart kills the server and starts it again with its data.
func (s *MongoServer) Restart(string) {
	s.t.Helper()
	s.stop()
	s.start()
}

func (s *MongoServer) start() {
	s.t.Helper()
	devstack := os.Getenv("DEVSTACK")
	if devstack == "" {
		s.t.Fatal("DEVSTACK is not set: " + howToRun)
	}
	var log strings.Builder
	cmd := exec.Command(devstack, "mongodb", s.dir, s.address.String())
	cmd.Stderr = &log
	life, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.stop = func() {
		_ = cmd.Process.Kill()
		_ = life.Close()
		_ = cmd.Wait() // it was killed, which is no success
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.stop()
		s.t.Fatalf("start FerretDB: %v\n%s", err, log.String())
	}
	s.url = strings.TrimSpace(line)
}
