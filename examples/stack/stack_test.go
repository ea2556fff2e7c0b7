// Package stack_test runs the stack as it is: what a visitor may see and do, and that nothing of it is left.
package stack_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 3 * time.Minute // for a start, on a machine where others work too

// programs is a folder with devstack and tenantctl.
var programs string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tenantctl-stack-programs-")
	if err == nil {
		err = build("go", "-C", "../../devstack", "build", "-o", filepath.Join(dir, "devstack"), ".")
	}
	if err == nil {
		err = build("go", "build", "-o", filepath.Join(dir, "tenantctl"), "../../cmd/tenantctl")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programs = dir
	code := m.Run()
	_ = os.RemoveAll(dir) // the system clears what is left of temporary folders
	os.Exit(code)
}

func build(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// stack is run.sh, with what it says of itself.
type stack struct {
	t     *testing.T
	c     *exec.Cmd
	vars  map[string]string
	file  string // of its variables
	said  string // file with its output
	ended chan struct{}
}

// launch starts run.sh in a process group of its own, as a shell does at a terminal.
func launch(t *testing.T, path string, args ...string) *stack {
	t.Helper()
	dir := t.TempDir()
	s := &stack{t: t, file: filepath.Join(dir, "vars"), said: filepath.Join(dir, "said"), ended: make(chan struct{})}
	out, err := os.Create(s.said)
	if err != nil {
		t.Fatal(err)
	}
	s.c = exec.Command("./run.sh", append([]string{"--env-file", s.file}, args...)...)
	s.c.Env = append(os.Environ(), "STACK_BIN="+programs, "TMPDIR="+dir, "PATH="+path)
	s.c.Stdout, s.c.Stderr = out, out
	s.c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.c.Wait() // the exit code is asked for where it counts
		_ = out.Close()
		close(s.ended)
	}()
	t.Cleanup(func() {
		_ = s.c.Process.Signal(syscall.SIGTERM) // it may have ended
		<-s.ended
		if t.Failed() {
			t.Logf("run.sh said:\n%s", s.output())
		}
	})
	return s
}

func (s *stack) output() string {
	text, err := os.ReadFile(s.said)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// waitFor waits until a file is there.
func (s *stack) waitFor(file string) {
	s.t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			return
		}
		select {
		case <-s.ended:
			s.t.Fatal("it ended before it was ready")
		default:
		}
		if time.Now().After(until) {
			s.t.Fatal("it is not ready")
		}
	}
}

func newStack(t *testing.T) *stack {
	t.Helper()
	s := launch(t, os.Getenv("PATH"))
	s.waitFor(s.file)
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	s.vars = map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		s.vars[name] = strings.Trim(value, "'")
	}
	return s
}

// started lists what run.sh has started, and what that has started: pid, time of start and command.
func (s *stack) started() map[string]string {
	s.t.Helper()
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,stat=,lstart=,args=").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	type process struct{ parent, id, command string }
	all := map[string]process{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) > 8 && !strings.HasPrefix(f[2], "Z") {
			all[f[0]] = process{f[1], strings.Join(append(f[:1:1], f[3:8]...), " "), strings.Join(f[8:], " ")}
		}
	}
	found := map[string]string{}
	for pid := range all {
		for at := pid; at != "" && at != "0" && at != "1"; at = all[at].parent {
			if at == fmt.Sprint(s.c.Process.Pid) {
				found[all[pid].id] = all[pid].command
			}
		}
	}
	return found
}

// alive tells which of some processes there still are.
func (s *stack) alive(before map[string]string) []string {
	s.t.Helper()
	out, err := exec.Command("ps", "-A", "-o", "pid=,stat=,lstart=").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	var left []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		command, ours := before[strings.Join(append(f[:1:1], f[2:]...), " ")]
		if ours && !strings.HasPrefix(f[1], "Z") {
			left = append(left, command)
		}
	}
	return left
}

// endsWith ends run.sh by a signal.
func (s *stack) endsWith(signal syscall.Signal, commands ...string) {
	s.t.Helper()
	before := s.started()
	whom := s.c.Process.Pid
	if signal == syscall.SIGINT {
		whom = -whom // Ctrl-C is for all of the terminal's foreground
	}
	if err := syscall.Kill(whom, signal); err != nil {
		s.t.Error(err)
	}
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("it does not end; there is %q", s.started())
	}
	s.leftNothing(128+int(signal), before, commands...)
}

// leftNothing looks at how run.sh has ended: nothing of what it had started lives, all of these commands among it.
func (s *stack) leftNothing(code int, before map[string]string, commands ...string) {
	s.t.Helper()
	all := fmt.Sprint(before)
	for _, command := range commands {
		if !strings.Contains(all, command) {
			s.t.Errorf("%s is not among what was started: %s", command, all)
		}
	}
	if got := s.c.ProcessState.ExitCode(); got != code {
		s.t.Errorf("it exits with %d, want %d", got, code)
	}
	if left := s.alive(before); len(left) > 0 {
		s.t.Errorf("%d of %d processes are left: %q", len(left), len(before), left)
	}
	files, err := os.ReadDir(filepath.Dir(s.file))
	if err != nil || len(files) != 1 { // its output
		s.t.Errorf("files are left: %v, %v", files, err)
	}
}

// answer is what a visitor gets.
type answer struct {
	status int
	header http.Header
	body   string
}

// of is a field of a JSON answer.
func (a answer) of(field string) string {
	var fields map[string]any
	if json.Unmarshal([]byte(a.body), &fields) != nil {
		return ""
	}
	return fmt.Sprint(fields[field])
}

var visitor = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       time.Minute,
}

// ask sends a request to one of the stack's servers; a body makes it a POST. Headers are given by name and value.
func ask(to, host, path, body string, headers ...string) (answer, error) {
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(context.Background(), method, to+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Host = host
	r.Header.Set("Accept", "application/json")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if name := headers[i]; name == "Accept" || name == "Content-Type" {
			r.Header.Del(name)
		}
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1]) // as it is written
	}
	got, err := visitor.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	return answer{got.StatusCode, got.Header, string(text)}, err
}

// visit asks nginx, and wants a status.
func (s *stack) visit(status int, host, path, body string, headers ...string) answer {
	s.t.Helper()
	got, err := ask(s.vars["STACK_URL"], host, path, body, headers...)
	if err != nil || got.status != status {
		s.t.Errorf("%s%s %q: got %+v, %v, want %d", host, path, headers, got, err, status)
	}
	return got
}

func (s *stack) tenantctl(args ...string) string {
	s.t.Helper()
	c := exec.CommandContext(s.t.Context(), filepath.Join(programs, "tenantctl"), args...)
	c.Env = append(os.Environ(), "TENANTCTL_CONFIG="+s.vars["STACK_CONFIG"], "TENANTCTL_POSTGRES_LOCK_TIMEOUT=1m",
		"TENANTCTL_POSTGRES_URL="+s.vars["TENANTCTL_POSTGRES_URL"], "TENANTCTL_NOSQL_URL="+s.vars["TENANTCTL_NOSQL_URL"])
	out, err := c.Output()
	if err != nil {
		s.t.Errorf("tenantctl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.Trim(strings.TrimSpace(string(out)), `"`)
}

// rawly sends bytes, and tells the status of the answer.
func rawly(t *testing.T, to, request string) int {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0 // it was hung up
	}
	return got.StatusCode
}
