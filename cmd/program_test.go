package cmd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The program as it ships, but for its checkpoints: built once, and removed when the tests are over.
var built struct {
	sync.Once
	dir, program string
	err          error
}

// faulty is the path of a program that can be killed, failed, interrupted and stopped at its checkpoints.
func faulty(t testing.TB) string {
	t.Helper()
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "tenantctl-test-"); built.err != nil {
			return
		}
		built.program = filepath.Join(built.dir, "tenantctl")
		out, err := exec.Command("go", "build", "-tags", "tenantctl_faults", "-o", built.program, "./tenantctl").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatalf("build the program: %v", built.err)
	}
	return built.program
}

// bench is a world with a folder to run the program in.
type bench struct {
	*world
	dir     string
	program string
	extra   []string // environment
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{world: newWorld(t), dir: t.TempDir(), program: faulty(t)}
	copyMigrations(t, b.dir)
	return b
}

// ended is how a run of the program came out.
type ended struct {
	code           int // -1 where a signal ended it
	killed         bool
	stdout, stderr string
}

func (e ended) String() string {
	return fmt.Sprintf("exit %d\nstdout:\n%s\nstderr:\n%s", e.code, e.stdout, e.stderr)
}

// running is the program at work.
type running struct {
	*exec.Cmd
	t              testing.TB
	stdout, stderr heard
	over           bool
}

// patience is how long any run of the program may take before the test is given up.
const patience = time.Minute

// prepared is the program with a fault, or none, before it starts.
func (b *bench) prepared(t testing.TB, fault string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r := &running{Cmd: exec.CommandContext(ctx, b.program, args...), t: t}
	r.Dir = b.dir
	r.Env = append(os.Environ(), b.env()...)
	r.Env = append(r.Env, "HOME="+b.dir, "XDG_CONFIG_HOME="+b.dir, "TENANTCTL_CONFIG=", "TENANTCTL_TEST_FAULT="+fault)
	r.Env = append(append(r.Env, "TENANTCTL_BACKUP_URL="+filepath.Join(b.dir, "backups")), b.extra...)
	r.Stdout, r.Stderr = &r.stdout, &r.stderr
	r.WaitDelay = time.Second
	t.Cleanup(func() {
		cancel()
		if r.Process != nil && !r.over {
			_ = r.Wait()
		}
	})
	return r
}

// start starts the program with a fault, or none.
func (b *bench) start(t testing.TB, fault string, args ...string) *running {
	t.Helper()
	r := b.prepared(t, fault, args...)
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// heard is what the program said so far.
type heard struct {
	mu      sync.Mutex
	text    strings.Builder
	waiting map[string]chan struct{}
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.Write(p)
	h.tell()
	return len(p), nil
}

func (h *heard) tell() {
	for text, c := range h.waiting {
		if strings.Contains(h.text.String(), text) {
			close(c)
			delete(h.waiting, text)
		}
	}
}

// follow gives a channel that is closed when the program has said a text.
func (h *heard) follow(text string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting == nil {
		h.waiting = map[string]chan struct{}{}
	}
	c := make(chan struct{})
	h.waiting[text] = c
	h.tell()
	return c
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// wait waits for the end.
func (r *running) wait() ended {
	r.t.Helper()
	err := r.Wait()
	r.over = true
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	end := ended{code: r.ProcessState.ExitCode(), stdout: r.stdout.String(), stderr: r.stderr.String()}
	if status, ok := r.ProcessState.Sys().(syscall.WaitStatus); ok {
		end.killed = status.Signaled() && status.Signal() == syscall.SIGKILL
	}
	return end
}

// says waits until the program has said a text.
func (r *running) says(h *heard, text string) {
	r.t.Helper()
	select {
	case <-h.follow(text):
	case <-time.After(patience):
		r.t.Fatalf("it never said %q:\n%s\n%s", text, r.stdout.String(), r.stderr.String())
	}
}

// stopped waits until the program has stopped itself.
func (r *running) stopped() {
	r.t.Helper()
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(r.Process.Pid, &status, syscall.WUNTRACED, nil)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if !status.Stopped() {
		r.t.Fatalf("the program ended before it stopped:\n%s\n%s", r.stdout.String(), r.stderr.String())
	}
}

// goOn lets a stopped program continue.
func (r *running) goOn() {
	r.t.Helper()
	r.signal(syscall.SIGCONT)
}

func (r *running) signal(s syscall.Signal) {
	r.t.Helper()
	if err := r.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// run runs the program without a fault.
func (b *bench) run(t testing.TB, args ...string) ended {
	t.Helper()
	return b.start(t, "", args...).wait()
}

// must runs the program, which has to end well.
func (b *bench) must(t testing.TB, args ...string) ended {
	t.Helper()
	end := b.run(t, args...)
	if end.code != 0 {
		t.Fatalf("tenantctl %s: %s", strings.Join(args, " "), end)
	}
	return end
}

// exits runs the program, which has to end with that code.
func (b *bench) exits(t testing.TB, code int, args ...string) ended {
	t.Helper()
	end := b.run(t, args...)
	if end.code != code {
		t.Fatalf("tenantctl %s: want exit %d: %s", strings.Join(args, " "), code, end)
	}
	return end
}

// write puts a file into the bench's folder.
func (b *bench) write(t testing.TB, name, content string) {
	t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// unfinished are the operations that hold a tenant.
func (b *bench) unfinished(t testing.TB, name string) []string {
	t.Helper()
	return b.column(t, `SELECT kind || ' ' || state FROM tenantctl.operations WHERE tenant_name = $1 AND state IN ('running', 'undoing', 'stuck')`, name)
}

// record is what the catalog says of a tenant, without what differs between equal tenants.
func (b *bench) record(t testing.TB, name string) []string {
	t.Helper()
	return b.column(t, `SELECT concat_ws(' ', 'tenant', state, labels::text, (SELECT string_agg(replace(domain, $1, 'NAME'), ',' ORDER BY position) FROM tenantctl.domains d WHERE d.tenant_id = t.id),
		(SELECT string_agg(concat_ws(' ', kind, version, applied), ',' ORDER BY kind) FROM tenantctl.versions v WHERE v.tenant_id = t.id)) FROM tenantctl.tenants t WHERE name = $1`, name)
}
