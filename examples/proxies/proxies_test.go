// Package proxies_test runs the examples as they are, but for their addresses: real proxies in front of an application that
// tells what it was told.
package proxies_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/resolver"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// proxy is how an example is started.
type proxy struct {
	name    string
	files   []string
	command []string
	export  string // the format of the file with all hosts; empty: it asks the resolver
	reload  string
}

var proxies = []proxy{
	{
		name: "nginx that asks", files: []string{"nginx/auth_request.conf"},
		command: []string{"nginx", "-p", ".", "-c", "auth_request.conf"},
	},
	{
		name: "Caddy that asks", files: []string{"caddy/Caddyfile"},
		command: []string{"caddy", "run", "--config", "Caddyfile"},
	},
	{
		name: "nginx with a map", files: []string{"nginx/map.conf", "reload.sh"},
		command: []string{"nginx", "-p", ".", "-c", "map.conf"},
		export:  "nginx-map", reload: "./reload.sh nginx.pid HUP",
	},
	{
		name: "HAProxy with a map", files: []string{"haproxy/haproxy.cfg", "reload.sh"},
		command: []string{"haproxy", "-W", "-f", "haproxy.cfg", "-p", "haproxy.pid"},
		export:  "haproxy-map", reload: "./reload.sh haproxy.pid USR2",
	},
}

var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tenantctl-proxies-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tenantctl")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/tenantctl").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // the system clears what is left of temporary folders
	}
	os.Exit(code)
}

var secret = strings.Repeat("k", 32)

// stand is a catalog, a resolver, an application and a proxy between it and visitors.
type stand struct {
	t        *testing.T // the test that is running
	whole    *testing.T // that of all promises: processes end with it
	dir      string
	program  string
	env      []string
	address  string // of the proxy
	resolver string // address
	asks     *exec.Cmd
	app      *httptest.Server
	keys     *resolver.Keys
	wrong    atomic.Int64 // assertions that were not those of the request
}

func newStand(t *testing.T, p proxy) *stand {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := resolver.NewKeys([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	prefix := tenanttest.Prefix(t)
	s := &stand{t: t, whole: t, dir: t.TempDir(), program: path, keys: keys, address: free(t), resolver: free(t)}
	s.env = append(os.Environ(), "TENANTCTL_POSTGRES_URL="+tenanttest.Postgres(t, prefix), "TENANTCTL_NAMING_PREFIX="+prefix,
		"TENANTCTL_NOSQL_ENABLED=false", "TENANTCTL_NOSQL_URL=", "TENANTCTL_BACKUP_URL="+filepath.Join(s.dir, "backups"),
		"TENANTCTL_MIGRATIONS_POSTGRES="+s.migrations(), "TENANTCTL_RESOLVE_BASE_DOMAIN=app.test", "TENANTCTL_CONFIG=",
		"TENANTCTL_RESOLVE_ASSERTION_KEY="+secret, "TENANTCTL_RESOLVE_LISTEN="+s.resolver)
	t.Cleanup(s.clear)
	s.run("init")
	s.run("create", "acme", "globex", "old")
	s.run("domain", "add", "acme", "www.acme.test", "--canonical")
	s.run("domain", "add", "acme", "acme.test", "--redirect")
	s.run("domain", "add", "acme", "*.shops.test")
	s.run("domain", "verify", "--assume-verified", "www.acme.test", "acme.test", "*.shops.test")
	s.run("rename", "old", "newer")
	s.app = httptest.NewServer(http.HandlerFunc(s.application))
	t.Cleanup(s.app.Close)
	s.putFiles(p)
	s.startResolver(p)
	s.start(p.command[0], p.command[1:]...)
	s.answers(s.address)
	return s
}

func (s *stand) migrations() string {
	dir := filepath.Join(s.dir, "migrations")
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "00001_a.sql"), []byte("-- +goose Up\nCREATE TABLE a (id int);\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

// clear removes the tenants, whose roles are the server's.
func (s *stand) clear() {
	for _, name := range []string{"acme", "globex", "newer"} {
		c := exec.Command(s.program, "delete", name, "--now", "--no-backup", "--yes")
		c.Env = append(s.env, "TENANTCTL_RESOLVE_WAIT=1ms")
		if out, err := c.CombinedOutput(); err != nil {
			s.whole.Errorf("%v: %s", err, out)
		}
	}
}

func (s *stand) run(args ...string) string {
	s.t.Helper()
	c := exec.CommandContext(s.t.Context(), s.program, args...)
	c.Env, c.Dir = s.env, s.dir
	out, err := c.CombinedOutput()
	if err != nil {
		s.t.Fatalf("tenantctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// application tells what it was told. An assertion has to be for the request's host.
func (s *stand) application(w http.ResponseWriter, r *http.Request) {
	if asserted := r.Header.Get(resolver.AssertionHeader); asserted != "" {
		t, host, err := s.keys.Verify(asserted, time.Now())
		own, _, bad := resolver.ParseHost(r.Host)
		if err != nil || bad != nil || host != own || t.Name != r.Header.Get("X-Tenant-Name") {
			s.wrong.Add(1)
		}
	}
	told := map[string][]string{"uri": {r.RequestURI}, "host": {r.Host}}
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X-Tenant") || strings.HasPrefix(name, "X-Forwarded") {
			told[name] = values
		}
	}
	_ = json.NewEncoder(w).Encode(told) // whoever hangs up has no use for it
}

// start runs a process that ends with the test.
func (s *stand) start(name string, args ...string) *exec.Cmd {
	s.t.Helper()
	c := exec.Command(name, args...)
	var said bytes.Buffer
	c.Dir, c.Env, c.Stdout, c.Stderr = s.dir, s.env, &said, &said
	c.Env = append(c.Env, "HOME="+s.dir, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir)
	if err := c.Start(); err != nil {
		s.t.Fatalf("%v: make test installs it", err)
	}
	s.whole.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM) // it may have been ended already
		_ = c.Wait()
		if s.whole.Failed() {
			s.whole.Logf("%s said:\n%s", name, said.String())
		}
	})
	return c
}

func (s *stand) startResolver(p proxy) {
	s.t.Helper()
	if p.export == "" {
		s.asks = s.start(s.program, "resolver")
		s.answers(s.resolver)
		return
	}
	s.start(s.program, "resolver", "export", "--format", p.export, "--file", "tenants.map", "--watch", "--every", "10ms", "--reload", p.reload)
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(s.dir, "tenants.map")); err == nil {
			return
		}
		if time.Now().After(until) {
			s.t.Fatal("no file was written")
		}
	}
}

var addresses = regexp.MustCompile(`127\.0\.0\.1:(8080|8470|8000)`)

func (s *stand) putFiles(p proxy) {
	s.t.Helper()
	if err := os.Mkdir(filepath.Join(s.dir, "tmp"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, file := range p.files {
		text, err := os.ReadFile(file)
		if err != nil {
			s.t.Fatal(err)
		}
		replaced := addresses.ReplaceAllStringFunc(string(text), func(a string) string {
			return map[string]string{
				"127.0.0.1:8080": s.address, "127.0.0.1:8470": s.resolver, "127.0.0.1:8000": s.app.Listener.Addr().String(),
			}[a]
		})
		replaced = strings.Replace(replaced, "http://:8080", "http://:"+port, 1)
		if err := os.WriteFile(filepath.Join(s.dir, filepath.Base(file)), []byte(replaced), 0o700); err != nil {
			s.t.Fatal(err)
		}
	}
}

// answers waits until somebody listens.
func (s *stand) answers(address string) {
	s.t.Helper()
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(until) {
			s.t.Fatalf("nobody answers at %s", address)
		}
	}
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// answer is what a visitor gets.
type answer struct {
	status   int
	location string
	body     string
	told     map[string][]string // the application, where it was asked
}

func (a answer) tenant() string { return strings.Join(a.told["X-Tenant-Name"], ",") }

var visitor = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       20 * time.Second,
}

func (s *stand) get(host, uri string, headers ...string) (answer, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+s.address+uri, nil)
	if err != nil {
		return answer{}, err
	}
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	got, err := visitor.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = got.Body.Close() }()
	body, err := io.ReadAll(got.Body)
	a := answer{status: got.StatusCode, location: got.Header.Get("Location"), body: string(body)}
	if err == nil && a.status == http.StatusOK {
		err = json.Unmarshal(body, &a.told)
	}
	return a, err
}

func TestRequestsReachTheirTenantAloneThrough(t *testing.T) {
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := newStand(t, p)
			for _, promise := range []struct {
				name string
				test func(*testing.T, proxy, *stand)
			}{
				{"each visitor reaches the tenant of the host", eachVisitor},
				{"two Host headers reach nobody", twoHosts},
				{"a suspension stops the tenant's traffic and nobody else's", suspension},
				{"without the resolver nobody is let in", withoutResolver},
			} {
				t.Run(promise.name, func(t *testing.T) {
					s.t = t
					promise.test(t, p, s)
				})
			}
			s.t = t
		})
	}
}

func eachVisitor(t *testing.T, p proxy, s *stand) {
	s.run("suspend", "globex", "--reason", "Unpaid.")
	defer s.run("resume", "globex")
	for _, c := range []struct {
		host, uri string
		headers   []string
		status    int
		want      string // the tenant, or where to
	}{
		{"www.acme.test", "/a?b=c", nil, 200, "acme"},
		{"WWW.Acme.TEST:8080", "/", nil, 200, "acme"},
		{"www.acme.test.", "/", nil, 200, "acme"},
		{"newer.app.test", "/", nil, 200, "newer"},
		{"any.shops.test", "/", nil, 200, "acme"},
		{"a.any.shops.test", "/", nil, 404, ""},
		{"shops.test", "/", nil, 404, ""},
		{"nobody.test", "/", nil, 404, ""},
		{"acme.test", "/a?b=c", nil, 308, "http://www.acme.test/a?b=c"},
		{"old.app.test", "/a", nil, 307, "http://newer.app.test/a"},
		{"globex.app.test", "/", nil, 403, ""},
		{"127.0.0.1", "/", nil, 404, ""}, // 400 where the resolver says it
		{"nobody.test", "/", []string{"X-Tenant-Name", "acme", "X-Tenant-Id", "1"}, 404, ""},
		{"nobody.test", "/", []string{"X-Forwarded-Host", "www.acme.test"}, 404, ""},
		{"newer.app.test", "/", []string{"X-Forwarded-Host", "www.acme.test"}, 200, "newer"},
		{"newer.app.test", "/", []string{"X-Forwarded-Host", "www.acme.test", "X-Forwarded-Host", "a.test"}, 200, "newer"},
		{"newer.app.test", "/", []string{"x-tenant-name", "acme", "X-Tenant-Schema", "x", "X-Tenant-Assertion", "y"}, 200, "newer"},
		{"newer.app.test", "/", []string{"X-Forwarded-Uri", "/t/acme/", "X-Forwarded-Proto", "https"}, 200, "newer"},
	} {
		got, err := s.get(c.host, c.uri, c.headers...)
		if err != nil {
			t.Fatal(err)
		}
		status := got.status
		if status == 400 && c.host == "127.0.0.1" {
			status = 404
		}
		if status != c.status || got.tenant()+got.location != c.want {
			t.Errorf("%s %q: got %+v, want %d %q", c.host, c.headers, got, c.status, c.want)
		}
		asserted := strings.Join(got.told["X-Tenant-Assertion"], ",")
		if got.status == 200 && (got.told["uri"][0] != c.uri || asserted == "y" || (asserted != "") != (p.export == "")) {
			t.Errorf("%s %q: the application was told %v", c.host, c.headers, got.told)
		}
		for name, values := range got.told {
			if len(values) > 1 || strings.HasPrefix(name, "X-Tenant-S") && values[0] != "" {
				t.Errorf("%s %q: the application was told %s %q", c.host, c.headers, name, values)
			}
		}
	}
	got, err := s.get("globex.app.test", "/", "Accept", "text/html")
	if p.export == "" && (err != nil || !strings.Contains(got.body, "Unpaid.") || !strings.Contains(got.body, "<h1>")) {
		t.Errorf("a suspended tenant's visitor reads %+v, %v", got, err)
	}
	if n := s.wrong.Load(); n > 0 {
		t.Errorf("%d assertions were not for the request", n)
	}
}

func twoHosts(t *testing.T, _ proxy, s *stand) {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: www.acme.test\r\nHost: newer.app.test\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil && got.StatusCode < 400 {
		t.Errorf("got %d", got.StatusCode)
	}
}

// traffic is visitors of a host, one after another, until it is ended.
type traffic struct {
	done            chan struct{}
	all             sync.WaitGroup
	answers, others atomic.Int64
	last            atomic.Value // what was wrong
}

func (s *stand) visit(host string, right func(answer, error) bool) *traffic {
	tr := &traffic{done: make(chan struct{})}
	for range 2 {
		tr.all.Go(func() {
			for {
				select {
				case <-tr.done:
					return
				default:
				}
				got, err := s.get(host, "/")
				tr.answers.Add(1)
				if !right(got, err) {
					tr.others.Add(1)
					tr.last.Store(fmt.Sprintf("%+v, %v", got, err))
				}
			}
		})
	}
	return tr
}

func (tr *traffic) end(t *testing.T, whose string) {
	t.Helper()
	close(tr.done)
	tr.all.Wait()
	if tr.others.Load() > 0 || tr.answers.Load() == 0 {
		t.Errorf("%s: %d of %d answers were wrong: %v", whose, tr.others.Load(), tr.answers.Load(), tr.last.Load())
	}
}

func suspension(t *testing.T, _ proxy, s *stand) {
	acme := s.visit("www.acme.test", func(a answer, err error) bool { return err == nil && a.tenant() == "acme" })
	// 503 is for whoever was refused just before it was opened again.
	globex := s.visit("globex.app.test", func(a answer, err error) bool {
		return err == nil && (a.tenant() == "globex" || a.status == 403 || a.status == 503)
	})
	for range 3 {
		s.run("suspend", "globex")
		for range 20 {
			if got, err := s.get("globex.app.test", "/"); err != nil || got.status != 403 {
				t.Fatalf("after suspend: %+v, %v", got, err)
			}
		}
		s.run("resume", "globex")
		for until := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			if got, err := s.get("globex.app.test", "/"); err == nil && got.tenant() == "globex" {
				break
			}
			if time.Now().After(until) {
				t.Fatal("it was not opened again")
			}
		}
	}
	globex.end(t, "globex")
	acme.end(t, "acme")
}

func withoutResolver(t *testing.T, p proxy, s *stand) {
	if p.export != "" {
		return // it asks nobody: nothing of a resolver's can be missing
	}
	if err := s.asks.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.asks.Wait() // it was killed
	for _, host := range []string{"www.acme.test", "nobody.test"} {
		if got, err := s.get(host, "/"); err != nil || got.status != 503 {
			t.Errorf("%s: got %+v, %v", host, got, err)
		}
	}
	s.startResolver(p)
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if got, err := s.get("www.acme.test", "/"); err == nil && got.tenant() == "acme" {
			break
		}
		if time.Now().After(until) {
			t.Fatal("it was never let in again")
		}
	}
}
