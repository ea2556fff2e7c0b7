package cmd_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var answering = regexp.MustCompile(`answering for .* at (http://\S+)`)

// resolver starts one, and gives its address.
func (b *bench) resolver(t testing.TB, args ...string) (r *running, address string) {
	t.Helper()
	r = b.start(t, "", append([]string{"resolver", "--listen", "127.0.0.1:0"}, args...)...)
	r.says(&r.stderr, "answering for ")
	for r.stderr.String() == "" || answering.FindStringSubmatch(r.stderr.String()) == nil {
		time.Sleep(time.Millisecond)
	}
	return r, answering.FindStringSubmatch(r.stderr.String())[1]
}

func askFor(t testing.TB, client *http.Client, address, host string) *http.Response {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/auth", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("X-Forwarded-Host", host)
	got, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	_ = got.Body.Close() // it is not read
	return got
}

func TestAResolverAnswersUntilItIsStopped(t *testing.T) {
	b := newBench(t)
	b.extra = []string{
		"TENANTCTL_RESOLVE_BASE_DOMAIN=app.test", "TENANTCTL_RESOLVE_ASSERTION_KEY=" + strings.Repeat("k", 32),
		"TENANTCTL_RESOLVE_MAX_STALE=1s", // so long suspend waits for the one that was killed
	}
	b.must(t, "init")
	b.must(t, "create", "acme")
	socket := filepath.Join(b.dir, "s")
	killed, _ := b.resolver(t, "--socket", socket)
	killed.signal(syscall.SIGKILL)
	killed.wait()

	r, address := b.resolver(t, "--socket", socket) // in the place of what was left
	if end := b.exits(t, 2, "resolver", "--listen", "", "--socket", socket); !strings.Contains(end.stderr, "another process answers at") {
		t.Errorf("a second one: %s", end)
	}
	if end := b.exits(t, 2, "resolver", "--listen", strings.TrimPrefix(address, "http://")); !strings.Contains(end.stderr, "address already in use") {
		t.Errorf("a second one: %s", end)
	}
	got := askFor(t, http.DefaultClient, address, "acme.app.test")
	if got.StatusCode != 204 || got.Header.Get("X-Tenant-Name") != "acme" || got.Header.Get("X-Tenant-Assertion") == "" {
		t.Errorf("got %d %v", got.StatusCode, got.Header)
	}
	unix := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", socket)
	}}}
	if got := askFor(t, unix, "http://resolver", "nobody.app.test"); got.StatusCode != 404 {
		t.Errorf("by the socket: %d", got.StatusCode)
	}
	b.must(t, "suspend", "acme")
	if got := askFor(t, http.DefaultClient, address, "acme.app.test"); got.StatusCode != 403 {
		t.Errorf("after suspend: %d", got.StatusCode)
	}
	for path, status := range map[string]int{"/livez": 204, "/readyz": 204, "/metrics": 200, "/none": 404} {
		got, err := http.Get(address + path)
		if err != nil || got.StatusCode != status {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
	r.signal(syscall.SIGTERM)
	if end := r.wait(); end.code != 0 {
		t.Errorf("stopped: %s", end)
	}
	if left := b.column(t, `SELECT name FROM tenantctl.resolvers WHERE expires_at > now()`); len(left) != 0 {
		t.Errorf("registered are %q", left)
	}
}

// A proxy that asks nobody is told of a suspension before suspend returns, however its reload fails at first.
func TestASuspensionReachesTheExportedFileBeforeSuspendReturns(t *testing.T) {
	b := newBench(t)
	b.extra = []string{"TENANTCTL_RESOLVE_BASE_DOMAIN=app.test", "TENANTCTL_RESOLVE_POLL=50ms"}
	b.must(t, "init")
	b.must(t, "create", "acme")
	file, taken, fail := filepath.Join(b.dir, "hosts"), filepath.Join(b.dir, "taken"), filepath.Join(b.dir, "fail")
	r := b.start(t, "", "resolver", "export", "--format", "haproxy-map", "--file", file, "--watch", "--every", "10ms",
		"--reload", fmt.Sprintf("test ! -e %s && cp %s %[3]s.new && mv %[3]s.new %[3]s", fail, file, taken))
	r.says(&r.stderr, "wrote 1 host to "+file)
	read := func(path, want string) {
		t.Helper()
		for until := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			got, err := os.ReadFile(path)
			if err == nil && string(got) == want {
				return
			}
			if time.Now().After(until) {
				t.Fatalf("%s holds %q, %v; want %q", path, got, err, want)
			}
		}
	}
	read(taken, "acme.app.test 200 acme\n")
	b.write(t, "fail", "")
	suspend := b.start(t, "", "suspend", "acme")
	read(file, "acme.app.test 403\n")
	time.Sleep(200 * time.Millisecond)
	if got, _ := os.ReadFile(taken); string(got) != "acme.app.test 200 acme\n" {
		t.Errorf("a reload that fails has taken %q", got)
	}
	if states := b.column(t, `SELECT state FROM tenantctl.tenants`); states[0] != "active" {
		t.Errorf("suspend did not wait: the tenant is %s", states[0])
	}
	if err := os.Remove(fail); err != nil {
		t.Fatal(err)
	}
	if end := suspend.wait(); end.code != 0 {
		t.Fatalf("suspend: %s", end)
	}
	if got, _ := os.ReadFile(taken); string(got) != "acme.app.test 403\n" {
		t.Errorf("after suspend the proxy has %q", got)
	}
	r.signal(syscall.SIGTERM)
	if end := r.wait(); end.code != 0 || !strings.Contains(end.stderr, "run --reload: exit status 1") {
		t.Errorf("stopped: %s", end)
	}
}

// What a killed resolver has not read is waited for no longer than it could have answered, and said.
func TestSuspendStopsWaitingForAResolverThatIsKilledMeanwhile(t *testing.T) {
	b := newBench(t)
	b.extra = []string{"TENANTCTL_RESOLVE_BASE_DOMAIN=app.test", "TENANTCTL_RESOLVE_MAX_STALE=4s"}
	b.must(t, "init")
	b.must(t, "create", "acme")
	r, _ := b.resolver(t)
	r.signal(syscall.SIGSTOP) // it hangs, and reads nothing more
	suspend := b.start(t, "", "suspend", "acme")
	suspend.says(&suspend.stderr, "tenant acme: waiting for resolver ")
	if states := b.column(t, `SELECT state FROM tenantctl.tenants`); states[0] != "active" {
		t.Errorf("suspend did not wait: the tenant is %s", states[0])
	}
	r.signal(syscall.SIGKILL)
	r.wait()
	end := suspend.wait()
	if end.code != 0 || strings.Contains(end.stderr, "may send requests") {
		t.Errorf("suspend: %s", end)
	}
	if late := b.column(t, `SELECT name FROM tenantctl.resolvers WHERE expires_at > now()`); len(late) != 0 {
		t.Errorf("it ended while %q could have answered", late)
	}
}
