package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/resolver"
)

// newJudge is a load against servers of the test's own.
func newJudge(t *testing.T) *load {
	t.Helper()
	l := &load{base: "localhost", random: rand.New(rand.NewPCG(1, 1))}
	for key, c := range map[**resolver.Keys]string{&l.keys: "k", &l.forger: "f"} {
		var err error
		if *key, err = resolver.NewKeys(bytes.Repeat([]byte(c), 32)); err != nil {
			t.Fatal(err)
		}
	}
	l.add("acme", "1")
	l.add("globex", "2")
	return l
}

// whoIs answers as the application does, for the tenant that choose gives.
func whoIs(t *testing.T, choose func(*http.Request) (name string), redisOf func(id string) string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		name := choose(q)
		id, known := map[string]string{"acme": "1", "globex": "2"}[name]
		if !known {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		w.Header().Set("X-App-Tenant", name)
		_ = json.NewEncoder(w).Encode(map[string]string{ // the client is the test
			"tenant": name, "marker": id, "mongo_marker": id, "redis_marker": redisOf(id),
		})
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func own(id string) string { return id }

func byHost(q *http.Request) string { return strings.TrimSuffix(q.Host, ".localhost") }

func nobody(*http.Request) string { return "" }

func TestEachWrongAnswerIsCounted(t *testing.T) {
	header := func(name string) func(*http.Request) string {
		return func(q *http.Request) string {
			if sent := q.Header.Get(name); sent != "" {
				return strings.TrimSuffix(sent, ".localhost")
			}
			return byHost(q)
		}
	}
	named := whoIs(t, func(q *http.Request) string { return q.Header.Get("X-Tenant-Name") }, own)
	forwarded := whoIs(t, header("X-Forwarded-Host"), own)
	well, none := whoIs(t, byHost, own), whoIs(t, nobody, own)
	for name, c := range map[string]struct {
		nginx, app                      string
		gate                            gate
		wrong, late, honoured, failures bool
	}{
		"all is well": {nginx: well, app: none},
		"all are one tenant": {
			nginx: whoIs(t, func(*http.Request) string { return "acme" }, own), app: none,
			wrong: true, honoured: true,
		},
		"Redis alone is another's": {
			nginx: whoIs(t, byHost, func(string) string { return "3" }), app: none,
			wrong: true, honoured: true,
		},
		"nobody is served":                       {nginx: none, app: none, failures: true},
		"the suspended are served":               {nginx: well, app: none, gate: shut, late: true},
		"the suspended are refused":              {nginx: none, app: none, gate: shut},
		"X-Forwarded-Host counts":                {nginx: forwarded, app: none, honoured: true},
		"X-Tenant-Name counts":                   {nginx: whoIs(t, header("X-Tenant-Name"), own), app: none, honoured: true},
		"the application believes X-Tenant-Name": {nginx: well, app: named, honoured: true},
		"the application believes any assertion": {nginx: well, app: whoIs(t, func(q *http.Request) string {
			if q.Header.Get("X-Tenant-Assertion") == "" {
				return ""
			}
			return byHost(q)
		}, own), honoured: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newJudge(t)
			for _, one := range l.tenants {
				one.set(c.gate)
			}
			for range 40 {
				l.plain(t.Context(), &l.django, c.nginx, false)
				l.spoof(t.Context(), &l.django, c.nginx, []string{c.app})
			}
			got := &l.django
			if (got.wrong.Load() > 0) != c.wrong || (got.late.Load() > 0) != c.late ||
				(got.honoured.Load() > 0) != c.honoured || (got.failed.Load() > 0) != c.failures {
				t.Errorf("of %d answers %d are wrong, %d late, %d spoofed ones honoured, %d errors",
					got.answers.Load(), got.wrong.Load(), got.late.Load(), got.honoured.Load(), got.failed.Load())
			}
			if kept := l.table(); kept != !(c.wrong || c.late || c.honoured) {
				t.Errorf("the promises were kept: %v", kept)
			}
		})
	}
}
