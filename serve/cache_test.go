package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/tenantctl/tenantctl/resolver"
	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// env is a catalog with the tenants acme and globex, and a Redis that an application asks.
type env struct {
	t       *testing.T
	pool    *pgxpool.Pool
	service *tenant.Service
	server  *tenanttest.RedisServer
	redis   *redis.Client
}

func newEnv(t *testing.T) *env {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(tenanttest.Postgres(t, tenanttest.Prefix(t)))
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	catalog := tenant.NewCatalog(pool, "tester", 30*time.Second)
	if _, _, err := catalog.Init(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	e := &env{t: t, pool: pool, server: tenanttest.Redis(t)}
	e.service = tenant.NewService(catalog, nil, tenant.Options{Naming: tenant.Naming{Prefix: "t_"}})
	t.Cleanup(e.service.Close)
	for _, n := range []string{"acme", "globex"} {
		e.must(e.service.Create(t.Context(), tenant.CreateRequest{Name: n}, false))
		e.must(e.service.AddDomain(t.Context(), tenant.Name(n), "*."+n+".example", tenant.ServesAnswer))
	}
	if _, err := pool.Exec(t.Context(), `UPDATE tenantctl.domains SET verified_at = now(), verified_by = 'assumed'`); err != nil {
		t.Fatal(err)
	}
	e.redis = redis.NewClient(&redis.Options{Addr: strings.TrimPrefix(e.server.URL(), "redis://"), MaxRetries: -1})
	t.Cleanup(func() { _ = e.redis.Close() })
	return e
}

// process is what `tenantctl resolver` is made of.
type process struct {
	*env
	cache    *Cache
	resolver *resolver.Resolver
	front    *resolver.Front
}

func (e *env) start(url string, maxStale time.Duration) *process {
	e.t.Helper()
	cache, err := NewCache(url, slog.New(slog.DiscardHandler))
	if err != nil {
		e.t.Fatal(err)
	}
	r, err := resolver.New(e.t.Context(), resolver.Config{
		Pool: e.pool, Listen: e.pool.Config().ConnConfig, Poll: 50 * time.Millisecond, MaxStale: maxStale, Changed: cache.Changed,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	cache.Start(r)
	e.t.Cleanup(func() {
		ctx := context.WithoutCancel(e.t.Context())
		_ = cache.Close(ctx) // the test may have taken Redis away
		r.Stop()
	})
	return &process{e, cache, r, &resolver.Front{
		Resolver: r, Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}, Asked: cache.Asked,
	}}
}

// ask asks the resolver, as an application does that finds nothing in Redis.
func (p *process) ask(host string) (status int, took time.Duration) {
	p.t.Helper()
	w := httptest.NewRecorder()
	began := time.Now()
	p.front.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/resolve?host="+host, nil))
	took = time.Since(began)
	var a resolver.Answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		p.t.Fatalf("%s: %v", w.Body, err)
	}
	return a.Status, took
}

// entry is what Redis says of a host; its status is 0 where it says nothing.
func (e *env) entry(host string) (entry Entry, life time.Duration) {
	e.t.Helper()
	text, err := e.redis.Get(e.t.Context(), "tenantctl:route:"+host).Bytes()
	if err != nil {
		return entry, 0
	}
	if err := json.Unmarshal(text, &entry); err != nil {
		e.t.Fatalf("%s: %v", text, err)
	}
	return entry, e.redis.PTTL(e.t.Context(), "tenantctl:route:"+host).Val()
}

// eventually waits until Redis says so of a host.
func (e *env) eventually(host string, status int) (entry Entry, life time.Duration) {
	e.t.Helper()
	for until := time.Now().Add(15 * time.Second); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		if entry, life = e.entry(host); entry.Status == status {
			return entry, life
		}
	}
	e.t.Fatalf("Redis says %+v of %s, want %d", entry, host, status)
	return entry, life
}

func (e *env) must(_ any, err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

func TestRedisSaysWhatTheResolverAnswersAndNoLongerThanItMay(t *testing.T) {
	e := newEnv(t)
	p := e.start(e.server.URL(), 30*time.Second)
	p.ask("Shop.acme.example.")
	a, life := e.eventually("shop.acme.example", http.StatusNoContent)
	if a.Tenant.Name != "acme" || a.Tenant.Schema != "t_acme" || a.Version == 0 || life <= 0 || life > 28*time.Second {
		t.Errorf("got %+v for %v", a, life)
	}
	p.ask("nobody.example")
	if none, life := e.eventually("nobody.example", http.StatusNotFound); none.Tenant != nil || life > negativeTime {
		t.Errorf("got %+v for %v", none, life)
	}
	p.ask("127.0.0.1")
	p.front.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v1/resolve?host=x.globex.example&uri=/a", nil))
	p.ask("y.globex.example")
	e.eventually("y.globex.example", http.StatusNoContent)
	for _, host := range []string{"127.0.0.1", "x.globex.example"} {
		if a, _ := e.entry(host); a.Status != 0 {
			t.Errorf("of %s it says %+v", host, a)
		}
	}
}

// suspend returns only after Redis says so too, of hosts below a wildcard as well, whoever has written the entry.
func TestAfterSuspendRedisSaysNothingElseOfTheTenant(t *testing.T) {
	e := newEnv(t)
	both := []*process{e.start(e.server.URL(), 30*time.Second), e.start(e.server.URL(), 30*time.Second)}
	for round := range 5 {
		for i := range 40 {
			both[i%2].ask(fmt.Sprintf("h%d.acme.example", i))
		}
		for i := range 40 {
			e.eventually(fmt.Sprintf("h%d.acme.example", i), http.StatusNoContent)
		}
		stop := make(chan struct{})
		var asking sync.WaitGroup
		asking.Go(func() { // entries that are being written meanwhile
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					both[i%2].cache.Asked(fmt.Sprintf("h%d.acme.example", i%40))
				}
			}
		})
		e.must(e.service.SuspendFor(t.Context(), "acme", "Unpaid."))
		for i := range 40 {
			if a, _ := e.entry(fmt.Sprintf("h%d.acme.example", i)); a.Status != 0 && a.Status != http.StatusForbidden {
				t.Errorf("round %d, after suspend: %+v", round, a)
			}
		}
		close(stop)
		asking.Wait()
		e.must(e.service.Resume(t.Context(), "acme"))
	}
}

func TestAnEntryIsNotReplacedByAnEarlierOneOrALateOne(t *testing.T) {
	e := newEnv(t)
	ctx, key := t.Context(), []string{KeyPrefix + "a.example"}
	soon := time.Now().Add(lateTime).UnixMilli()
	for _, c := range []struct {
		version int64
		catalog string
		until   int64
		want    int
	}{
		{10, "one", soon, 1},
		{9, "one", soon, 0},
		{10, "one", soon, 1},
		{20, "one", soon - 60_000, -1},
		{11, "one", soon, 1},
		{5, "two", soon, 1}, // the catalog was put back
	} {
		before, _ := e.redis.Get(ctx, key[0]).Result()
		text := fmt.Sprintf(`{"v":%d,"catalog":%q}`, c.version, c.catalog)
		n, err := put.Run(ctx, e.redis, key, c.version, c.catalog, 60_000, c.until, text).Int()
		after, _ := e.redis.Get(ctx, key[0]).Result()
		if want := map[bool]string{true: text, false: before}[c.want == 1]; err != nil || n != c.want || after != want {
			t.Errorf("%+v: %d, %v; Redis says %s", c, n, err, after)
		}
	}
	e.must(e.redis.Set(ctx, key[0], "nonsense", 0).Result())
	if n, err := put.Run(ctx, e.redis, key, 1, "two", 60_000, soon, "{}").Int(); n != 1 || err != nil {
		t.Errorf("over nonsense: %d, %v", n, err)
	}
}

func TestARedisThatIsEmptiedOrStartedAnewIsFilledAgain(t *testing.T) {
	e := newEnv(t)
	p := e.start(e.server.URL(), 30*time.Second)
	p.ask("shop.acme.example")
	e.eventually("shop.acme.example", http.StatusNoContent)
	e.must(e.redis.FlushAll(t.Context()).Result())
	p.ask("shop.acme.example")
	e.eventually("shop.acme.example", http.StatusNoContent)
	e.server.Stop()
	p.ask("shop.acme.example")
	e.server.Start()
	for until := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		p.ask("shop.acme.example")
		if a, _ := e.entry("shop.acme.example"); a.Status != 0 {
			break
		}
		if time.Now().After(until) {
			t.Fatal("a Redis that was started anew stays empty")
		}
	}
}

// A Redis that is away or silent delays no answer; suspend waits until its entries have ended.
func TestARedisThatIsAwayOrSilentDelaysNoAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	e := newEnv(t)
	e.server.Stop()
	for name, url := range map[string]string{"away": e.server.URL(), "silent": "redis://" + silent.Addr().String()} {
		p := e.start(url, 4*time.Second)
		for i := range 3 * waiting {
			if status, took := p.ask(fmt.Sprintf("h%d.acme.example", i)); status != http.StatusNoContent || took > 200*time.Millisecond {
				t.Fatalf("%s: %d after %v", name, status, took)
			}
		}
		e.service.ResolverWait = time.Minute
		began := time.Now()
		e.must(e.service.Suspend(t.Context(), "acme"))
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("%s: suspend took %v", name, took)
		}
		if status, _ := p.ask("h0.acme.example"); status != http.StatusForbidden {
			t.Errorf("%s: after suspend: %d", name, status)
		}
		if !p.resolver.Fresh() {
			t.Errorf("%s: it answers no more", name)
		}
		e.must(e.service.Resume(t.Context(), "acme"))
	}
}

// While Redis is away its entries may still be there: suspend does not return before they have ended.
func TestSuspendOutlivesTheEntriesThatCannotBeChanged(t *testing.T) {
	e := newEnv(t)
	p := e.start(e.server.URL(), 5*time.Second)
	p.ask("shop.acme.example")
	_, life := e.eventually("shop.acme.example", http.StatusNoContent)
	ends := time.Now().Add(life)
	e.must(e.redis.Do(t.Context(), "CLIENT", "PAUSE", "20000", "WRITE").Result()) // reads are answered, writes wait
	e.service.ResolverWait = time.Minute
	e.must(e.service.Suspend(t.Context(), "acme"))
	if early := time.Until(ends); early > 0 {
		t.Errorf("suspend returned %v before the entry ended", early)
	}
	if a, _ := e.entry("shop.acme.example"); a.Status == http.StatusNoContent {
		t.Errorf("after suspend: %+v", a)
	}
}

func TestAResolverThatEndsTakesItsEntriesBack(t *testing.T) {
	e := newEnv(t)
	p := e.start(e.server.URL(), 30*time.Second)
	p.ask("shop.acme.example")
	e.eventually("shop.acme.example", http.StatusNoContent)
	if err := p.cache.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, _ := e.entry("shop.acme.example"); a.Status != 0 {
		t.Errorf("it has left %+v", a)
	}
}

func TestABadURLIsRefusedWithoutItsPassword(t *testing.T) {
	for _, url := range []string{"http://u:hunter2@h", "redis://u:hunter2@h:x/0", "hunter2", "redis://u:hunter2@h/a"} {
		if _, err := NewCache(url, slog.Default()); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}
