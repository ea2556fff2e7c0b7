package cmd_test

import (
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
