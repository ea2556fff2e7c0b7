package stack_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const acme, globex = "acme.localhost", "globex.localhost"

func TestTheStackKeepsTenantsApart(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	for _, promise := range []struct {
		name string
		test func(*testing.T, *stack)
	}{
		{"each tenant sees its own rows, documents and keys alone", ownData},
		{"a form needs its token", forms},
		{"a host that is nobody's is not found", unknownHosts},
		{"headers that a visitor makes up change nothing", spoofedThroughNginx},
		{"an application believes the assertion for its host alone", spoofedToGunicorn},
		{"a suspended tenant is refused with the reason, and nobody else", suspension},
		{"a tenant that is being restored is back in a moment", restore},
		{"requests go on without one of the applications", withoutOneApplication},
	} {
		t.Run(promise.name, func(t *testing.T) {
			s.t = t
			promise.test(t, s)
		})
	}
	s.t = t
	s.endsWith(syscall.SIGTERM, "devstack", "postgres", "redis-server", "resolver", "gunicorn", "nginx")
}

// fakeNginx stands on PATH before the real one.
func fakeNginx(t *testing.T, script string) (path string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "nginx"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir + string(os.PathListSeparator) + os.Getenv("PATH")
}

func TestAStackThatCannotStartLeavesNothing(t *testing.T) {
	t.Parallel()
	s := launch(t, fakeNginx(t, "echo of no use >&2; exit 1"))
	seen := map[string]string{}
	for running := true; running; {
		maps.Copy(seen, s.started())
		select {
		case <-s.ended:
			running = false
		case <-time.After(100 * time.Millisecond):
		}
	}
	s.leftNothing(1, seen, "devstack", "postgres", "redis-server", "resolver", "gunicorn")
	if said := s.output(); !strings.Contains(said, "nginx does not answer") || !strings.Contains(said, "of no use") {
		t.Errorf("it does not tell why: %s", said)
	}
}

func TestAPortThatIsInUseIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s := launch(t, os.Getenv("PATH"), "--port", port)
	<-s.ended
	if said := s.output(); s.c.ProcessState.ExitCode() != 2 || !strings.Contains(said, "port "+port+" is in use") {
		t.Errorf("it exits with %d: %s", s.c.ProcessState.ExitCode(), said)
	}
}

func TestCtrlCWhileTheStackStartsLeavesNothing(t *testing.T) {
	t.Parallel()
	begun := filepath.Join(t.TempDir(), "begun")
	s := launch(t, fakeNginx(t, "touch "+begun+"; exec sleep 600"))
	s.waitFor(begun)
	s.endsWith(syscall.SIGINT, "devstack", "postgres", "redis-server", "resolver", "gunicorn", "sleep")
}

func ownData(t *testing.T, s *stack) {
	for _, host := range []string{acme, globex} {
		name, _, _ := strings.Cut(host, ".")
		s.visit(201, host, "/orders/", `{"customer": "of `+name+`", "item": "x", "amount_cents": 1}`)
		s.visit(201, host, "/notes/", `{"text": "of `+name+`"}`)
	}
	for range 3 {
		s.visit(200, acme, "/", "")
	}
	for host, other := range map[string]string{acme: "globex", globex: "acme"} {
		name, _, _ := strings.Cut(host, ".")
		for _, path := range []string{"/orders/", "/notes/"} {
			got := s.visit(200, host, path, "")
			if !strings.Contains(got.body, "of "+name) || strings.Contains(got.body, "of "+other) {
				t.Errorf("%s%s shows %s", host, path, got.body)
			}
		}
		id := s.tenantctl("get", name, "--jq", ".id")
		who := s.visit(200, host, "/whoami", "")
		for field, want := range map[string]string{
			"tenant": name, "schema": "tenant_" + name, "role": "tenant_" + name, "database": "tenant_" + name,
			"marker": id, "mongo_marker": id, "redis_marker": id,
			"visits": map[string]string{"acme": "3", "globex": "0"}[name],
		} {
			if got := who.of(field); got != want {
				t.Errorf("%s: %s is %s, want %s", host, field, got, want)
			}
		}
		if got := who.header.Get("X-App-Tenant"); got != name {
			t.Errorf("%s: X-App-Tenant is %q", host, got)
		}
	}
}

func forms(t *testing.T, s *stack) {
	page := s.visit(200, acme, "/orders/", "", "Accept", "text/html")
	token := regexp.MustCompile(`name="csrfmiddlewaretoken" value="(\w+)"`).FindStringSubmatch(page.body)
	if token == nil {
		t.Fatalf("the form has no token: %s", page.body)
	}
	cookie, _, _ := strings.Cut(page.header.Get("Set-Cookie"), ";")
	form := "customer=by+a+form&item=y&amount_cents=2"
	people := []string{"Accept", "text/html", "Content-Type", "application/x-www-form-urlencoded"}
	s.visit(403, acme, "/orders/", form, people...)
	s.visit(302, acme, "/orders/", form+"&csrfmiddlewaretoken="+token[1], append(people, "Cookie", cookie)...)
	if got := s.visit(200, acme, "/orders/", ""); strings.Count(got.body, "by a form") != 1 {
		t.Errorf("the orders are %s", got.body)
	}
	s.visit(400, acme, "/orders/", `{"customer": "", "item": "x", "amount_cents": -1}`)
}

func unknownHosts(t *testing.T, s *stack) {
	for host, status := range map[string]int{
		"nobody.localhost": 404, "localhost": 404, "a.acme.localhost": 404, "127.0.0.1": 400,
	} {
		got := s.visit(status, host, "/whoami", "", "X-Tenant-Name", "acme", "X-Forwarded-Host", acme)
		if got.header.Get("X-App-Tenant") != "" {
			t.Errorf("%s reached %+v", host, got)
		}
	}
	if got := s.visit(404, "nobody.localhost", "/", "", "Accept", "text/html"); !strings.Contains(got.body, "<h1>") {
		t.Errorf("people see %s", got.body)
	}
}

// assertion is what a resolver signs for a host, which a visitor may have got hold of.
func (s *stack) assertion(host string) string {
	s.t.Helper()
	got, err := ask(s.vars["STACK_RESOLVERS"], "resolver", "/auth", "", "X-Forwarded-Host", host)
	if err != nil || got.status != 204 {
		s.t.Fatalf("the resolver answers %+v, %v", got, err)
	}
	return got.header.Get("X-Tenant-Assertion")
}

func spoofedThroughNginx(t *testing.T, s *stack) {
	others := s.assertion(globex)
	for _, headers := range [][]string{
		{"X-Forwarded-Host", globex},
		{"X-Forwarded-Host", globex, "X-Forwarded-Host", "a.localhost"},
		{"X-Tenant-Assertion", others},
		{"X-Tenant-Assertion", others, "X-Tenant-Assertion", others},
		{"X_Tenant_Assertion", others},
		{"x-tenant-assertion", others},
		{"X-Tenant-Id", "1", "X-Tenant-Name", "globex", "X-Tenant-Schema", "tenant_globex", "X-Tenant-Role", "tenant_globex"},
		{"X-Tenant-Database", "tenant_globex", "X-Tenant-State", "active", "X-Tenant-Revision", "9", "X-Tenant", "globex"},
		{"X-Original-Url", "http://" + globex + "/", "X-Forwarded-Uri", "/t/globex/", "Forwarded", "host=" + globex},
	} {
		if got := s.visit(200, acme, "/whoami", "", headers...); got.of("tenant")+got.of("schema") != "acmetenant_acme" {
			t.Errorf("with %q it is %s", headers, got.body)
		}
	}
	for _, hosts := range []string{acme + "\r\nHost: " + globex, globex + ", " + acme, acme + "\r\n Host: " + globex} {
		if got := rawly(t, s.vars["STACK_URL"], "GET /whoami HTTP/1.1\r\nHost: "+hosts+"\r\n\r\n"); got/100 == 2 {
			t.Errorf("%q: got %d", hosts, got)
		}
	}
}

func spoofedToGunicorn(t *testing.T, s *stack) {
	own, others := s.assertion(acme), s.assertion(globex)
	for app := range strings.FieldsSeq(s.vars["STACK_APPS"]) {
		for _, c := range []struct {
			status  int
			host    string
			headers []string
		}{
			{200, acme, []string{"X-Tenant-Assertion", own}}, // it is what nginx sends
			{403, acme, nil},
			{403, acme, []string{"X-Tenant-Name", "acme", "X-Tenant-Schema", "tenant_acme", "X-Tenant-Role", "tenant_acme"}},
			{403, acme, []string{"X-Tenant-Assertion", own[:len(own)-4] + "AAAA"}},
			{403, acme, []string{"X-Tenant-Assertion", "eyJhbGciOiJub25lIn0." + strings.Split(own, ".")[1] + "."}},
			{403, acme, []string{"X-Tenant-Assertion", own, "X-Tenant-Assertion", others}},
			{403, acme, []string{"X-Tenant-Assertion", others, "X_Tenant_Assertion", own}},
			{421, acme, []string{"X-Tenant-Assertion", others}},
			{421, acme, []string{"X-Tenant-Assertion", others, "X-Forwarded-Host", globex}},
			{421, "nobody.localhost", []string{"X-Tenant-Assertion", own}},
			{421, "127.0.0.1", []string{"X-Tenant-Assertion", own}},
		} {
			got, err := ask(app, c.host, "/whoami", "", c.headers...)
			if err != nil || got.status != c.status || (c.status != 200 && got.header.Get("X-App-Tenant") != "") {
				t.Errorf("%s %q: got %+v, %v, want %d", c.host, c.headers, got, err, c.status)
			}
		}
	}
}

// visitors ask for pages of a host without a pause.
type visitors struct {
	done     chan struct{}
	all      sync.WaitGroup
	mu       sync.Mutex
	statuses map[int]int
	late     int // answers 200 to requests that began after closed was set
	closed   time.Time
	said     string // the last answer that was not 200
}

func (s *stack) visitors(host string) *visitors {
	v := &visitors{done: make(chan struct{}), statuses: map[int]int{}}
	for range 3 {
		v.all.Go(func() {
			for {
				select {
				case <-v.done:
					return
				default:
				}
				begun := time.Now()
				got, err := ask(s.vars["STACK_URL"], host, "/whoami", "")
				v.mu.Lock()
				v.statuses[got.status]++
				if got.status != http.StatusOK {
					v.said = fmt.Sprintf("%d %s %v", got.status, got.body, err)
				} else if !v.closed.IsZero() && begun.After(v.closed) {
					v.late++
				}
				v.mu.Unlock()
			}
		})
	}
	return v
}

// close notes that from now on nobody may be let in, or that everybody may.
func (v *visitors) close(at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = at
}

// more waits until so many further answers have come.
func (v *visitors) more(n int) {
	count := func() (sum int) {
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, got := range v.statuses {
			sum += got
		}
		return sum
	}
	for until := count() + n; count() < until; {
		time.Sleep(5 * time.Millisecond)
	}
}

func (v *visitors) end() {
	close(v.done)
	v.all.Wait()
}

func suspension(t *testing.T, s *stack) {
	suspended, other := s.visitors(globex), s.visitors(acme)
	for range 3 {
		suspended.more(20)
		s.tenantctl("suspend", "globex", "--reason", "Unpaid since May.")
		suspended.close(time.Now())
		suspended.more(20)
		got := s.visit(403, globex, "/", "", "Accept", "text/html,*/*")
		if !strings.Contains(got.body, "Unpaid since May.") || !strings.Contains(got.body, "<h1>Suspended</h1>") {
			t.Errorf("people see %s", got.body)
		}
		suspended.close(time.Time{})
		s.tenantctl("resume", "globex")
		for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
			if got, err := ask(s.vars["STACK_URL"], globex, "/whoami", ""); err == nil && got.status == 200 {
				break
			}
		}
		s.visit(200, globex, "/whoami", "")
	}
	suspended.end()
	other.end()
	if suspended.late > 0 || suspended.statuses[200] == 0 || suspended.statuses[403] == 0 {
		t.Errorf("%d answers were 200 after suspend had returned, of %v", suspended.late, suspended.statuses)
	}
	if len(other.statuses) > 1 || other.statuses[200] == 0 {
		t.Errorf("the other tenant's visitors got %v, such as %s", other.statuses, other.said)
	}
}

func restore(t *testing.T, s *stack) {
	s.tenantctl("backup", "globex")
	s.visit(201, globex, "/orders/", `{"customer": "too late", "item": "x", "amount_cents": 1}`)
	s.visit(201, globex, "/notes/", `{"text": "too late"}`)

	// A transaction that restore waits for holds the moment.
	conn, err := pgx.Connect(t.Context(), s.vars["TENANTCTL_POSTGRES_URL"])
	if err != nil {
		t.Fatal("PostgreSQL does not answer")
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), "BEGIN; UPDATE tenant_globex.orders SET item = item"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() { s.tenantctl("restore", "globex@latest", "--yes") })
	var got answer
	for until := time.Now().Add(50 * time.Second); got.status != 503 && time.Now().Before(until); {
		if got, err = ask(s.vars["STACK_URL"], globex, "/", ""); err != nil {
			t.Error(err)
		}
	}
	if err != nil || got.status != 503 || got.header.Get("Retry-After") != "5" {
		t.Errorf("while it is being restored the answer is %+v", got)
	}
	s.visit(200, acme, "/", "")
	if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Error(err)
	}
	all.Wait()
	for until := time.Now().Add(20 * time.Second); got.status != 200 && time.Now().Before(until); {
		if got, err = ask(s.vars["STACK_URL"], globex, "/orders/", ""); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{"/orders/", "/notes/"} {
		body := s.visit(200, globex, path, "").body
		if strings.Contains(body, "too late") || !strings.Contains(body, "of globex") {
			t.Errorf("after the restore %s shows %s", path, body)
		}
	}
	if who := s.visit(200, globex, "/whoami", ""); who.of("visits") != "0" || who.of("marker") != who.of("redis_marker") {
		t.Errorf("what was in Redis before the restore is still there: %s", who.body)
	}
}

func withoutOneApplication(t *testing.T, s *stack) {
	pid, err := strconv.Atoi(strings.Fields(s.vars["STACK_APP_PIDS"])[0])
	if err != nil {
		t.Fatal(err)
	}
	v := s.visitors(acme)
	v.more(20)
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil { // with its workers
		t.Fatal(err)
	}
	v.more(60)
	v.end()
	if len(v.statuses) > 1 || v.statuses[200] == 0 {
		t.Errorf("visitors got %v, such as %s", v.statuses, v.said)
	}
}
