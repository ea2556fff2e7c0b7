package resolver

import (
	"net/http"
	"strings"
	"testing"
)

// What proxies are given as a list is what they are told when they ask.
func TestTheListOfHostsAnswersAsTheResolverDoes(t *testing.T) {
	w := newWorld(t)
	f := front(w)
	f.Resolver.sources = Sources{BaseDomain: "app.test"}
	w.exec(`INSERT INTO tenantctl.domains (domain, tenant_id, position, verified_at)
		SELECT 'hooli.app.test', id, 9, now() FROM tenantctl.tenants WHERE name = 'acme'`)
	if err := f.Resolver.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	last := ""
	for h := range f.Resolver.Hosts() {
		if h.Host <= last {
			t.Errorf("%s comes behind %s", h.Host, last)
		}
		last = h.Host
		got = append(got, h.Host+" "+h.Value())
		host := strings.Replace(h.Host, "*", "any", 1)
		a := f.Resolver.Resolve(Request{Host: host, URI: "/"})
		if a.Status == http.StatusNoContent {
			a.Status = http.StatusOK
		}
		target := strings.TrimSuffix(strings.TrimPrefix(a.Location, "https://"), "/")
		if a.Status != h.Status || target != h.Target || a.Tenant != nil && *a.Tenant != *h.Tenant {
			t.Errorf("%+v: the resolver says %+v", h, a)
		}
	}
	want := `*.acme.example 200 acme
acme.app.test 200 acme
acme.example.com 200 acme
acme.test 308 shop.acme.example
globex.app.test 403
globex.example.com 403
hooli.app.test 421
hooli.example.com 200 hooli
initech.app.test 200 initech
newer.app.test 200 newer
old.app.test 307 newer.app.test
old.example.com 200 newer
shop.acme.example 200 acme
umbrella.app.test 503
umbrella.example.com 503`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}
