package cmd_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// An application that looks into Redis first sees no open tenant after suspend, nor anything of a resolver that ended.
func TestASuspensionReachesRedisBeforeSuspendReturns(t *testing.T) {
	b := newBench(t)
	server := tenanttest.Redis(t)
	b.extra = []string{"TENANTCTL_RESOLVE_BASE_DOMAIN=app.test", "TENANTCTL_RESOLVE_REDIS_URL=" + server.URL()}
	b.must(t, "init")
	b.must(t, "create", "acme")
	r, address := b.resolver(t)
	client := redis.NewClient(&redis.Options{Addr: strings.TrimPrefix(server.URL(), "redis://")})
	defer client.Close()
	says := func() string { return client.Get(t.Context(), "tenantctl:route:acme.app.test").Val() }

	got, err := http.Get(address + "/v1/resolve?host=ACME.app.test:443")
	if err != nil || got.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", got, err)
	}
	for until := time.Now().Add(patience); !strings.Contains(says(), `"status":204`); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("Redis says %s", says())
		}
	}
	b.must(t, "suspend", "acme", "--reason", "Unpaid.")
	if text := says(); !strings.Contains(text, `"status":403`) || !strings.Contains(text, "Unpaid.") {
		t.Errorf("after suspend Redis says %s", text)
	}
	r.signal(syscall.SIGTERM)
	if end := r.wait(); end.code != 0 {
		t.Errorf("stopped: %s", end)
	}
	if text := says(); text != "" {
		t.Errorf("it has left %s", text)
	}
}

// What applications keep of a tenant in Redis is of one generation of its data, which ends with a restore.
func TestNoApplicationReadsACacheOfDataThatWasReplaced(t *testing.T) {
	b := newBench(t)
	server := tenanttest.Redis(t)
	b.extra = []string{"TENANTCTL_RESOLVE_BASE_DOMAIN=app.test", "TENANTCTL_RESOLVE_REDIS_URL=" + server.URL()}
	b.must(t, "init")
	b.must(t, "create", "acme")
	r, address := b.resolver(t)
	client := redis.NewClient(&redis.Options{Addr: strings.TrimPrefix(server.URL(), "redis://")})
	defer client.Close()

	seen := map[string]string{} // prefixes, with what came before
	var entry string
	next := func(what, name string) {
		t.Helper()
		prefix := b.redisPrefix(t, client, address, name)
		if before, twice := seen[prefix]; twice {
			t.Errorf("%s and %s: the keys of both begin with %s", what, before, prefix)
		}
		if got := client.Get(t.Context(), prefix+"k").Val(); got != "" {
			t.Errorf("%s: the application reads what it kept of %s", what, got)
		}
		seen[prefix] = what
		client.Set(t.Context(), prefix+"k", what, time.Hour)
		entry = client.Get(t.Context(), "tenantctl:route:"+name+".app.test").Val()
	}
	next("create", "acme")
	created := entry
	b.must(t, "set", "acme", "--label", "a=b")
	b.must(t, "suspend", "acme")
	b.must(t, "resume", "acme")
	if prefix := b.redisPrefix(t, client, address, "acme"); client.Get(t.Context(), prefix+"k").Val() != "create" {
		t.Errorf("the cache of data that nobody replaced is lost: %s", prefix)
	}
	b.must(t, "backup", "acme")
	b.must(t, "clone", "acme", "copy")
	next("clone", "copy")
	b.must(t, "restore", "acme@latest", "--yes")
	if now := client.Get(t.Context(), "tenantctl:route:acme.app.test").Val(); now == created {
		t.Errorf("after restore Redis says %s", now)
	}
	next("restore", "acme")
	b.must(t, "delete", "copy", "--yes")
	if now := client.Get(t.Context(), "tenantctl:route:copy.app.test").Val(); strings.Contains(now, `"status":204`) {
		t.Errorf("after delete Redis says %s", now)
	}
	b.must(t, "purge", "copy", "--yes")
	b.must(t, "create", "copy")
	next("create once more", "copy")
	r.signal(syscall.SIGTERM)
	if end := r.wait(); end.code != 0 {
		t.Errorf("stopped: %s", end)
	}
}

// redisPrefix is how an application finds its keys: by the entry in Redis, or what the resolver answers.
func (b *bench) redisPrefix(t *testing.T, client *redis.Client, address, name string) string {
	t.Helper()
	var e struct {
		Status int
		Tenant struct{ Schema, Generation string }
	}
	for until := time.Now().Add(patience); e.Status != http.StatusNoContent; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%s is answered %+v", name, e)
		}
		text := client.Get(t.Context(), "tenantctl:route:"+name+".app.test").Val()
		if text == "" {
			got, err := http.Get(address + "/v1/resolve?host=" + name + ".app.test")
			if err != nil {
				t.Fatal(err)
			}
			_ = got.Body.Close() // it is in Redis in a moment
			continue
		}
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
	}
	if e.Tenant.Generation == "" {
		t.Fatalf("%s has no generation", name)
	}
	return "{" + e.Tenant.Schema + "}:" + e.Tenant.Generation + ":"
}
