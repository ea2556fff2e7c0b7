package resolver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// world is a catalog in a database of the test's own, without stores.
type world struct {
	t       *testing.T
	pool    *pgxpool.Pool
	service *tenant.Service
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(tenanttest.Postgres(t, tenanttest.Prefix(t)))
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.MaxConns = 12
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	catalog := tenant.NewCatalog(pool, "tester", 30*time.Second)
	if _, _, err := catalog.Init(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, pool: pool, service: tenant.NewService(catalog, nil, tenant.Options{Naming: tenant.Naming{Prefix: "t_"}})}
	t.Cleanup(w.service.Close)
	return w
}

// create makes tenants with a verified domain NAME.example.com each.
func (w *world) create(names ...string) {
	w.t.Helper()
	for _, n := range names {
		if _, err := w.service.Create(w.t.Context(), tenant.CreateRequest{Name: n, Domains: []string{n + ".example.com"}}, false); err != nil {
			w.t.Fatal(err)
		}
	}
	w.exec(`UPDATE tenantctl.domains SET verified_at = now(), verified_by = 'assumed'`)
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) must(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// start starts a resolver that listens for changes, unless c says otherwise.
func (w *world) start(c Config) *Resolver {
	w.t.Helper()
	c.Pool = w.pool
	r, err := New(w.t.Context(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := r.Close(context.WithoutCancel(w.t.Context())); err != nil {
			w.t.Error(err)
		}
	})
	return r
}

// listening is a configuration by which changes are seen at once, and by no poll.
func (w *world) listening() Config {
	return Config{Listen: w.pool.Config().ConnConfig, Poll: time.Hour, MaxStale: 10 * time.Hour}
}

// eventually waits until a host is answered so.
func (w *world) eventually(r *Resolver, host string, status int) {
	w.t.Helper()
	for until := time.Now().Add(20 * time.Second); r.Resolve(Request{Host: host}).Status != status; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			w.t.Fatalf("%s is answered %+v, want %d", host, r.Resolve(Request{Host: host}), status)
		}
	}
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// ask sends a request from an address to a handler. Headers come in pairs; a name may come twice.
func ask(h http.Handler, from, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.RemoteAddr = from + ":1234"
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		} else {
			r.Header.Add(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
