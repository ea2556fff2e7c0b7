package tenanttest

import (
	"bytes"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// envS3 names another place for the S3 server's program.
const envS3 = "TENANTCTL_TEST_VERSITYGW"

// S3Server is an S3 server of one test's own.
type S3Server struct {
	Address string   // host and port
	Dir     string   // with a folder for each bucket
	Env     []string // variables that let a client in
}

// S3 starts an S3 server with the empty bucket "backups". It is gone at the end, and also where the test is killed.
func S3(t testing.TB) S3Server {
	t.Helper()
	program := s3Program(t)
	root := t.TempDir()
	s := S3Server{
		Dir: filepath.Join(root, "data"),
		Env: []string{
			"AWS_ACCESS_KEY_ID=tenantctl", "AWS_SECRET_ACCESS_KEY=s3-secret-of-tests", "AWS_REGION=us-east-1",
			"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		},
	}
	for _, dir := range []string{filepath.Join(s.Dir, "backups"), filepath.Join(root, "meta"), filepath.Join(root, "versions")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var log string
	for range 3 {
		s.Address = freeAddress(t).String()
		// Not every file system takes what it keeps of a file as attributes of that file: hence the sidecar.
		args := []string{"--quiet", "--keep-alive", "--port", s.Address, "posix", "--sidecar", filepath.Join(root, "meta"), "--versioning-dir", filepath.Join(root, "versions"), s.Dir}
		env := []string{"ROOT_ACCESS_KEY=tenantctl", "ROOT_SECRET_KEY=s3-secret-of-tests"}
		if log = startS3(t, s.Address, env, program, args); log == "" {
			return s
		}
	}
	t.Fatalf("start the S3 server: it does not answer\n%s", log)
	return S3Server{}
}

// URL is a bucket's URL, with a folder in it or none.
func (s S3Server) URL(bucketAndFolder string) string {
	q := url.Values{"endpoint": {"http://" + s.Address}, "use_path_style": {"true"}, "region": {"us-east-1"}}
	return "s3://" + bucketAndFolder + "?" + q.Encode()
}

// LetIn sets the variables for this process, whose tests then cannot run in parallel.
func (s S3Server) LetIn(t testing.TB) {
	t.Helper()
	for _, e := range s.Env {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
}

// s3Program finds what make bin/tools builds, from whatever folder the test runs in.
func s3Program(t testing.TB) string {
	t.Helper()
	if p := os.Getenv(envS3); p != "" {
		return p
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if p, err := exec.LookPath(filepath.Join(dir, "bin", "tools", "versitygw")); err == nil {
			return p
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("bin/tools/versitygw, the S3 server of the tests, is missing; build it: make bin/tools")
		}
	}
}

// startS3 starts the server and waits until it answers; where it does not, its log comes back.
func startS3(t testing.TB, address string, env []string, program string, args []string) string {
	t.Helper()
	// The server ends with the shell's input, which is this process's: however the test ends, nothing is left.
	cmd := exec.Command("sh", append([]string{"-c", `"$@" & cat >/dev/null; kill -9 $!; wait $!`, "sh", program}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	life, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() {
		_ = life.Close()
		_ = cmd.Wait() // the server was killed, which is no success
		if t.Failed() && log.Len() > 0 {
			t.Logf("the S3 server says:\n%s", log.String())
		}
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
			t.Cleanup(stop)
			return ""
		}
	}
	stop()
	return strings.TrimSpace(log.String()) + "\n"
}
