package resolver

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// front is a resolver that knows every source, with tenants in each state.
func front(w *world) *Front {
	w.t.Helper()
	ctx := w.t.Context()
	w.create("acme", "globex", "initech", "umbrella", "old", "hooli")
	w.must(w.service.SuspendFor(ctx, "globex", "Unpaid <since> May."))
	w.must(w.service.Rename(ctx, "old", "newer"))
	w.exec(`UPDATE tenantctl.domains SET verified_at = NULL WHERE domain = 'initech.example.com'`)
	w.exec(`INSERT INTO tenantctl.domains (domain, tenant_id, position, verified_at, serves)
		SELECT d, id, p, now(), s FROM tenantctl.tenants t JOIN (VALUES ('acme', '*.acme.example', 1, 'answer'),
			('acme', 'shop.acme.example', 2, 'canonical'), ('acme', 'acme.test', 3, 'redirect')) v (n, d, p, s) ON n = t.name`)
	w.exec(`INSERT INTO tenantctl.operations (id, tenant_id, tenant_name, kind, state, actor, gate, gate_reason, fence, owner, lease_until)
		SELECT gen_random_uuid(), id, name, 'restore', 'running', 'tester', 'moving', 'Restored from a backup.', 1, 'a|b|c|d|999', now() + interval '1 hour'
		FROM tenantctl.tenants WHERE name = 'umbrella'`)
	key, err := ParseVerifyKey(secret)
	if err != nil {
		w.t.Fatal(err)
	}
	keys, err := NewKeys(secret)
	if err != nil {
		w.t.Fatal(err)
	}
	r := w.start(Config{
		Sources: Sources{BaseDomain: "app.test", Header: "X-Tenant", PathPrefix: "/t/", Claim: "tenant", Key: key},
		Poll:    time.Hour, MaxStale: 4 * time.Hour,
	})
	return &Front{Resolver: r, Proxies: loopback, Keys: keys}
}

func TestEachRequestIsAnsweredByWhatItsSourcesSay(t *testing.T) {
	f := front(newWorld(t))
	tenantOf := func(name string) string {
		return "Bearer " + token(t, map[string]any{"alg": "HS256"}, map[string]any{"tenant": name, "exp": time.Now().Unix() + 60}, secret)
	}
	const uri, proto = "X-Forwarded-Uri", "X-Forwarded-Proto"
	for _, c := range []struct {
		host   string
		with   []string
		status int
		want   string // the tenant, or a part of the reason; for 307 and 308 the address
	}{
		{"acme.example.com", nil, 204, "acme"},
		{"ACME.example.com.:443", nil, 204, "acme"},
		{"shop.acme.example", nil, 204, "acme"},
		{"any.acme.example", nil, 204, "acme"},
		{"a.any.acme.example", nil, 404, "no tenant has this host"},
		{"acme.example", nil, 404, "no tenant has this host"},
		{"acme.test", []string{uri, "/a?b=c", proto, "https"}, 308, "https://shop.acme.example/a?b=c"},
		{"acme.test:8443", []string{uri, "/"}, 308, "https://shop.acme.example:8443/"},
		{"acme.test", []string{uri, "//evil.example/", proto, "http"}, 308, "http://shop.acme.example//evil.example/"},
		{"acme.test", []string{uri, "https://evil.example/", proto, "https"}, 308, "https://shop.acme.example/"},
		{"acme.test", []string{uri, "/a\r\nX: y", proto, "https"}, 308, "https://shop.acme.example/"},
		{"acme.test", []string{proto, "javascript", uri, "/"}, 308, "https://shop.acme.example/"},
		{"globex.example.com", nil, 403, "Unpaid"},
		{"umbrella.example.com", nil, 503, "Restored from a backup."},
		{"initech.example.com", nil, 404, "is not verified"},
		{"nobody.example.com", nil, 404, "no tenant has this host"},
		{"acme.app.test", nil, 204, "acme"},
		{"globex.app.test", nil, 403, "Unpaid"},
		{"a.acme.app.test", nil, 404, "no tenant has this host"},
		{"app.test", nil, 404, "no tenant has this host"},
		{"old.app.test", []string{uri, "/x", proto, "http"}, 307, "http://newer.app.test/x"},
		{"newer.app.test", nil, 204, "newer"},
		{"x.test", []string{"X-Tenant", "acme"}, 204, "acme"},
		{"x.test", []string{"X-Tenant", "old"}, 404, "was renamed to newer"},
		{"x.test", []string{"X-Tenant", "nobody"}, 404, "the header names no tenant"},
		{"acme.example.com", []string{"X-Tenant", "acme"}, 204, "acme"},
		{"acme.example.com", []string{"X-Tenant", "hooli"}, 421, "leads to tenant acme and the header to tenant hooli"},
		{"acme.example.com", []string{"X-Tenant", "acme", "X-Tenant", "hooli"}, 400, "X-Tenant is there more than once"},
		{"acme.example.com", []string{"X-Tenant", "acme,hooli"}, 404, "the header names no tenant"},
		{"x.test", []string{uri, "/t/acme/orders"}, 204, "acme"},
		{"x.test", []string{uri, "/t/old/orders?x=/t/", proto, "https"}, 307, "https://x.test/t/newer/orders?x=/t/"},
		{"x.test", []string{uri, "/t/acme/../hooli/"}, 400, "a segment . or .."},
		{"x.test", []string{uri, "/t/acme/%2e%2E/hooli/"}, 400, "a segment . or .."},
		{"x.test", []string{uri, "/t/acme%2Fhooli"}, 400, "names no tenant"},
		{"x.test", []string{uri, "/t/acme/..%2fhooli"}, 400, "escaped slash"},
		{"x.test", []string{uri, "/t/"}, 400, "names no tenant"},
		{"acme.app.test", []string{uri, "/t/hooli/"}, 421, "leads to tenant acme and the path to tenant hooli"},
		{"x.test", []string{"Authorization", tenantOf("acme")}, 204, "acme"},
		{"hooli.example.com", []string{"Authorization", tenantOf("acme")}, 421, "leads to tenant hooli and the claim to tenant acme"},
		{"hooli.example.com", []string{"Authorization", tenantOf("acme") + "x"}, 401, "the token's signature is wrong"},
		{"hooli.example.com", []string{"Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJ0ZW5hbnQiOiJhY21lIn0."}, 401, "algorithm is not HS256"},
		{"hooli.example.com", []string{"Authorization", "Basic YTpi"}, 204, "hooli"},
		{"hooli.example.com", []string{"Authorization", "Basic YTpi", "Authorization", tenantOf("hooli")}, 400, "Authorization is there more than once"},
		{"127.0.0.1", nil, 400, "it is an address"},
		{"[::1]:80", nil, 400, "it is an address"},
		{"münchen.example", nil, 400, "a character that no host name has"},
		{strings.Repeat("a", 300), nil, 400, "characters"},
		{"acme.example.com, hooli.example.com", nil, 400, "X-Forwarded-Host is there more than once"},
		{"acme.example.com", []string{"X-Forwarded-Host", "hooli.example.com"}, 400, "X-Forwarded-Host is there more than once"},
		{"acme.example.com", []string{proto, "https", proto, "http"}, 400, "X-Forwarded-Proto is there more than once"},
	} {
		got := ask(f, "127.0.0.1", "/auth", append([]string{"X-Forwarded-Host", c.host}, c.with...)...)
		h := got.Header()
		told := h.Get("X-Tenant-Name")
		if c.status == 307 || c.status == 308 {
			told = h.Get("Location")
		}
		if got.Code != c.status || c.status < 400 && told != c.want || c.status >= 400 && !strings.Contains(h.Get("X-Tenant-Reason"), c.want) {
			t.Errorf("%s %q: got %d %v, want %d %q", c.host, c.with, got.Code, h, c.status, c.want)
		}
		if (h.Get("X-Tenant-Id") != "") != (c.status == 204) || (h.Get(AssertionHeader) != "") != (c.status == 204) {
			t.Errorf("%s %q: %d tells of a tenant: %v", c.host, c.with, got.Code, h)
		}
		if (h.Get("Retry-After") != "") != (c.status == 503) {
			t.Errorf("%s: %d with Retry-After %q", c.host, got.Code, h.Get("Retry-After"))
		}
		if denied := ask(f, "127.0.0.1", "/auth?refuse=403", append([]string{"X-Forwarded-Host", c.host}, c.with...)...); c.status != 204 && denied.Code != 403 {
			t.Errorf("%s: nginx is told %d", c.host, denied.Code)
		}
	}
}

func TestOnlyTrustedProxiesAreAnswered(t *testing.T) {
	f := front(newWorld(t))
	for from, status := range map[string]int{"127.0.0.1": 204, "127.9.9.9": 204, "10.0.0.1": 403, "[::ffff:127.0.0.1]": 204, "[::1]": 403} {
		if got := ask(f, from, "/auth", "X-Forwarded-Host", "acme.example.com"); got.Code != status || (got.Header().Get(AssertionHeader) != "") != (status == 204) {
			t.Errorf("from %s: got %d %v", from, got.Code, got.Header())
		}
		for _, target := range []string{"/ask?domain=acme.example.com", "/v1/resolve?host=acme.example.com", "/ext_authz/", "/refused"} {
			if got := ask(f, from, target); status == 403 && got.Code != 403 {
				t.Errorf("%s from %s: got %d", target, from, got.Code)
			}
		}
	}
	if got := ask(f, "127.0.0.1", "/auth", "Host", "acme.example.com"); got.Code != 400 {
		t.Errorf("without X-Forwarded-Host, by the host of the resolver itself: got %d", got.Code)
	}
}

func TestAVisitorCannotForwardHeadersPastTheMiddleware(t *testing.T) {
	f := front(newWorld(t))
	app := f.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tenant, err := FromContext(r.Context())
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(tenant.Name))
	}))
	for _, c := range []struct {
		from string
		with []string
		want string
	}{
		{"10.0.0.1", nil, "200 acme"},
		{"10.0.0.1", []string{"X-Forwarded-Host", "hooli.example.com"}, "200 acme"},
		{"10.0.0.1", []string{"X-Tenant", "hooli"}, "200 acme"},
		{"10.0.0.1", []string{"X-Tenant-Id", "1", "X-Tenant-Name", "hooli"}, "200 acme"},
		{"127.0.0.1", []string{"X-Forwarded-Host", "hooli.example.com"}, "200 hooli"},
		{"10.0.0.1", []string{"Host", "globex.example.com"}, "403 This service is suspended. Unpaid <since> May.\n"},
		{"10.0.0.1", []string{"Host", "nobody.example.com"}, "404 There is no service at this address.\n"},
	} {
		got := ask(app, c.from, "http://acme.example.com/x", c.with...)
		if text := http.StatusText(got.Code); text == "" || got.Result().Status[:3]+" "+got.Body.String() != c.want {
			t.Errorf("%s %q: got %d %q, want %q", c.from, c.with, got.Code, got.Body, c.want)
		}
	}
	html := ask(app, "10.0.0.1", "http://globex.example.com/", "Accept", "text/html,*/*")
	if html.Code != 403 || !strings.Contains(html.Body.String(), "Unpaid &lt;since&gt; May.") || strings.Contains(html.Body.String(), "globex") {
		t.Errorf("the page is %d %s", html.Code, html.Body)
	}
}

func TestTwoHostsAndAbsoluteAddressesAreOneHostOrRefused(t *testing.T) {
	f := front(newWorld(t))
	server := httptest.NewServer(f.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tenant, _ := FromContext(r.Context())
		w.Header().Set("X-Got", tenant.Name)
	})))
	defer server.Close()
	for request, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: acme.example.com\r\n\r\n":                                               "HTTP/1.1 200 OK acme",
		"GET / HTTP/1.1\r\nHost: acme.example.com\r\nHost: hooli.example.com\r\n\r\n":                    "HTTP/1.1 400 Bad Request ",
		"GET http://hooli.example.com/ HTTP/1.1\r\nHost: acme.example.com\r\n\r\n":                       "HTTP/1.1 200 OK hooli", // RFC 9112, 3.2.2
		"GET / HTTP/1.1\r\nHost: acme.example.com hooli.example.com\r\n\r\n":                             "HTTP/1.1 400 Bad Request ",
		"GET / HTTP/1.1\r\nHost: \r\n\r\n":                                                               "HTTP/1.1 400 Bad Request ",
		"GET / HTTP/1.1\r\n\r\n":                                                                         "HTTP/1.1 400 Bad Request ",
		"GET / HTTP/1.0\r\n\r\n":                                                                         "HTTP/1.0 400 Bad Request ",
		"GET / HTTP/1.1\r\nHost: acme.example.com\r\nX-Forwarded-Host: hooli.example.com\r\n\r\n":        "HTTP/1.1 200 OK hooli", // of a proxy
		"GET / HTTP/1.1\r\nHost: acme.example.com\r\nx-forwarded-host: a\r\nX-FORWARDED-HOST: b\r\n\r\n": "HTTP/1.1 400 Bad Request ",
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		got, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if text := got.Proto + " " + got.Status + " " + got.Header.Get("X-Got"); !strings.HasPrefix(text, strings.TrimSpace(want)) {
			t.Errorf("%q: got %q, want %q", request, text, want)
		}
		_ = conn.Close()
	}
}

func TestAnApplicationBelievesAssertionsAlone(t *testing.T) {
	f := front(newWorld(t))
	signed := ask(f, "127.0.0.1", "/auth", "X-Forwarded-Host", "acme.example.com").Header().Get(AssertionHeader)
	app := Asserted(f.Keys, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tenant, _ := FromContext(r.Context())
		_, _ = w.Write([]byte(tenant.Name + " " + tenant.Schema + " " + tenant.RedisPrefix()))
	}))
	known, _, err := f.Keys.Verify(signed, time.Now())
	if err != nil || known.Generation == "" {
		t.Fatalf("%+v, %v", known, err)
	}
	generation := known.Generation
	for _, c := range []struct {
		host   string
		with   []string
		status int
	}{
		{"acme.example.com", []string{AssertionHeader, signed}, 200},
		{"ACME.example.com:8080", []string{AssertionHeader, signed}, 200},
		{"hooli.example.com", []string{AssertionHeader, signed}, 421},
		{"acme.example.com", nil, 403},
		{"acme.example.com", []string{"X-Tenant-Name", "acme", "X-Tenant-Id", "1"}, 403},
		{"acme.example.com", []string{AssertionHeader, signed + "x"}, 403},
		{"acme.example.com", []string{AssertionHeader, signed, AssertionHeader, signed}, 403},
	} {
		got := ask(app, "10.0.0.1", "http://"+c.host+"/", c.with...)
		if got.Code != c.status || c.status == 200 && got.Body.String() != "acme t_acme {t_acme}:"+generation+":" {
			t.Errorf("%s %q: got %d %s", c.host, c.with, got.Code, got.Body)
		}
	}
}

func TestEnvoyIsToldByTheRequestItself(t *testing.T) {
	f := front(newWorld(t))
	for _, c := range []struct {
		host, target string
		status       int
		want         string
	}{
		{"acme.example.com", "/ext_authz/a//b/../c?d", 200, "acme"},
		{"acme.example.com", "/ext_authz", 200, "acme"},
		{"acme.test", "/ext_authz/a?b", 308, "https://shop.acme.example/a?b"},
		{"x.test", "/ext_authz/t/hooli/a", 200, "hooli"},
		{"globex.example.com", "/ext_authz/", 403, ""},
		{"nobody.example.com", "/ext_authz/", 404, ""},
	} {
		got := ask(f, "127.0.0.1", "http://"+c.host+c.target)
		if told := got.Header().Get("X-Tenant-Name") + got.Header().Get("Location"); got.Code != c.status || told != c.want {
			t.Errorf("%s%s: got %d %q", c.host, c.target, got.Code, told)
		}
	}
}

func TestCertificatesAreHadForVerifiedHostsAlone(t *testing.T) {
	f := front(newWorld(t))
	for domain, status := range map[string]int{
		"acme.example.com": 200, "shop.acme.example": 200, "acme.test": 200, "acme.app.test": 200, "globex.example.com": 200, "old.app.test": 200,
		"any.acme.example": 404, "initech.example.com": 404, "nobody.example.com": 404, "nobody.app.test": 404, "a.acme.app.test": 404, "app.test": 404,
		"": 400, "127.0.0.1": 400, "acme.example.com:443": 400, "*.acme.example": 400,
	} {
		if got := ask(f, "127.0.0.1", "/ask?domain="+domain); got.Code != status {
			t.Errorf("%s: got %d, want %d", domain, got.Code, status)
		}
	}
}

func TestResolveTellsWhatARequestWouldGet(t *testing.T) {
	f := front(newWorld(t))
	got := ask(f, "127.0.0.1", "/v1/resolve?host=globex.app.test")
	var a Answer
	if err := json.Unmarshal(got.Body.Bytes(), &a); err != nil || got.Code != 200 {
		t.Fatalf("%d %s: %v", got.Code, got.Body, err)
	}
	if a.Status != 403 || a.Tenant.Name != "globex" || a.Source != "base domain" || a.Message != "Unpaid <since> May." {
		t.Errorf("got %+v", a)
	}
	if got := ask(f, "127.0.0.1", "/v1/resolve?host=a.test&host=b.test"); got.Code != 400 {
		t.Errorf("two hosts: %d", got.Code)
	}
}

func TestWhoConnectsByAUnixSocketIsAProxy(t *testing.T) {
	f := front(newWorld(t))
	f.Proxies = nil
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	request, _ := http.NewRequest(http.MethodGet, "http://resolver/auth", nil)
	request.Header.Set("X-Forwarded-Host", "acme.example.com")
	got, err := client.Do(request)
	if err != nil || got.StatusCode != 204 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// Two resolvers whose clocks are apart by less than the leeway believe each other's assertions.
func TestClocksMayBeApart(t *testing.T) {
	keys, err := NewKeys(secret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signed := keys.Sign(&Tenant{ID: "1", Schema: "t", Generation: "5e"}, "h", now)
	for apart, ok := range map[time.Duration]bool{-29 * time.Second: true, 29 * time.Second: true, 80 * time.Second: true, 100 * time.Second: false} {
		if _, _, err := keys.Verify(signed, now.Add(apart)); (err == nil) != ok {
			t.Errorf("%v apart: %v", apart, err)
		}
	}
}
