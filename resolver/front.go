package resolver

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Front answers HTTP requests by a Resolver: those of proxies that ask whose a request is, and those of visitors
// where it stands before an application.
type Front struct {
	Resolver *Resolver
	// Proxies are the addresses whose X-Forwarded headers, and whose header with a tenant's name, count. Who
	// connects by a unix socket is a proxy.
	Proxies []netip.Prefix
	// Keys sign what proxies are told; nil: nothing is signed.
	Keys *Keys
	// Asked is told of each host that /v1/resolve was asked about by itself. It must not block. May be nil.
	Asked func(host string)
}

// The headers by which a proxy tells the application whose a request is, in the order of Tenant's fields.
var tenantHeaders = [...]string{
	"X-Tenant-Id",
	"X-Tenant-Name",
	"X-Tenant-State",
	"X-Tenant-Schema",
	"X-Tenant-Role",
	"X-Tenant-Database",
	"X-Tenant-Revision",
}

// AssertionHeader holds what Keys sign.
const AssertionHeader = "X-Tenant-Assertion"

// ServeHTTP answers proxies:
//
//	/auth                 whose the request is that X-Forwarded-Host, -Proto and -Uri tell of: 204 with X-Tenant
//	                      headers, or what its visitor gets. With ?refuse=403 each refusal is 403, for nginx.
//	/refused              what the visitor gets, after a refusal
//	/ext_authz/...        the same for Envoy, which puts the request's path behind the prefix and leaves its Host: 200
//	/ask?domain=HOST      200 if a certificate may be had for the host, for Caddy
//	/v1/resolve?host=HOST what a request for the host gets, as JSON; uri, scheme, header and token as well
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !f.trusts(r) {
		refuse(w, r, refused(http.StatusForbidden, "only proxies that are trusted may ask"))
		return
	}
	path := r.URL.Path
	switch {
	case path == "/auth":
		f.auth(w, r)
	case path == "/refused":
		f.refusal(w, r)
	case path == "/ask":
		a := f.Resolver.Certifiable(r.URL.Query().Get("domain"))
		f.Resolver.count(a.Status)
		plain(w, a.Status, a.Reason)
	case path == "/v1/resolve":
		f.resolve(w, r)
	case path == "/ext_authz" || strings.HasPrefix(path, "/ext_authz/"):
		f.extAuthz(w, r)
	default:
		plain(
			w,
			http.StatusNotFound,
			"there is no such address: /auth, /refused, /ext_authz, /ask and /v1/resolve are",
		)
	}
}

// Middleware finds the tenant of each request, and puts it into the request's context. Others are refused.
func (f *Front) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, bad := f.request(r, f.trusts(r))
		a := f.answer(q, bad)
		if a.Status != http.StatusNoContent {
			refuse(w, r, a)
			return
		}
		next.ServeHTTP(w, r.WithContext(WithTenant(r.Context(), a.Tenant)))
	})
}

// Asserted takes the tenant of each request from the assertion that a proxy has got from /auth, and puts it into the
// request's context. An assertion is for one host, so the proxy has to leave the Host header as it is.
func Asserted(keys *Keys, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		values := r.Header[AssertionHeader]
		if len(values) != 1 {
			refuse(w, r, refused(http.StatusForbidden, "the request has no assertion of its tenant, or several"))
			return
		}
		t, host, err := keys.Verify(values[0], time.Now())
		if err != nil {
			refuse(w, r, refused(http.StatusForbidden, err.Error()))
			return
		}
		if own, _, err := ParseHost(r.Host); err != nil || own != host {
			refuse(w, r, refused(http.StatusMisdirectedRequest, "the assertion is for another host"))
			return
		}
		next.ServeHTTP(w, r.WithContext(WithTenant(r.Context(), t)))
	})
}

func (f *Front) answer(q Request, bad *Answer) Answer {
	var a Answer
	if bad != nil {
		a = *bad
	} else {
		a = f.Resolver.Resolve(q)
	}
	f.Resolver.count(a.Status)
	return a
}

func (f *Front) auth(w http.ResponseWriter, r *http.Request) {
	q, bad := f.asked(r)
	if bad == nil && len(r.Header["X-Forwarded-Host"]) == 0 {
		bad = &Answer{Status: http.StatusBadRequest, Reason: "the proxy has sent no X-Forwarded-Host"}
	}
	a := f.answer(q, bad)
	if a.Status != http.StatusNoContent {
		if r.URL.RawQuery == "refuse=403" {
			w.Header()["X-Tenant-Reason"] = []string{printable(a.Reason)}
			w.WriteHeader(http.StatusForbidden)
			return
		}
		refuse(w, r, a)
		return
	}
	f.admit(w, a, http.StatusNoContent)
}

// refusal tells the visitor why. A tenant that has been opened since the refusal is asked for again.
func (f *Front) refusal(w http.ResponseWriter, r *http.Request) {
	q, bad := f.asked(r)
	a := f.answer(q, bad)
	if a.Status == http.StatusNoContent {
		a = Answer{Status: http.StatusServiceUnavailable, RetryAfter: time.Second, Reason: "the tenant is open again"}
	}
	refuse(w, r, a)
}

func (f *Front) extAuthz(w http.ResponseWriter, r *http.Request) {
	q, bad := f.asked(r)
	if bad == nil {
		q.URI = strings.TrimPrefix(r.URL.RequestURI(), "/ext_authz")
	}
	a := f.answer(q, bad)
	if a.Status != http.StatusNoContent {
		refuse(w, r, a)
		return
	}
	f.admit(w, a, http.StatusOK)
}

// admit tells the proxy whose the request is.
func (f *Front) admit(w http.ResponseWriter, a Answer, status int) {
	t, h := a.Tenant, w.Header()
	// Each header is there, if only empty: proxies may leave a visitor's own in place of one that is missing.
	values := [...]string{t.ID, t.Name, t.State, t.Schema, t.Role, t.Database, strconv.FormatInt(t.Revision, 10)}
	for i, name := range tenantHeaders {
		h[name] = values[i : i+1 : i+1]
	}
	if f.Keys != nil {
		h[AssertionHeader] = []string{a.route.assertion(f.Keys, a.Host, time.Now())}
	}
	w.WriteHeader(status)
}

func (f *Front) resolve(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	q := Request{
		Host:   v.Get("host"),
		Scheme: v.Get("scheme"),
		URI:    v.Get("uri"),
		Header: v.Get("header"),
		Token:  v.Get("token"),
	}
	for name, values := range v {
		if len(values) > 1 {
			plain(w, http.StatusBadRequest, name+" is there twice")
			return
		}
	}
	a := f.answer(q, nil)
	if f.Asked != nil && a.Host != "" && q.URI == "" && q.Header == "" && q.Token == "" {
		f.Asked(a.Host)
	}
	text, err := json.Marshal(a)
	if err != nil {
		plain(w, http.StatusInternalServerError, err.Error())
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if !f.Resolver.Fresh() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(text, '\n')) // nobody is left to be told
}

// trusts tells whether a proxy has sent the request.
func (f *Front) trusts(r *http.Request) bool {
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && local.Network() == "unix" {
		return true
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	from := peer.Addr().Unmap()
	for _, p := range f.Proxies {
		if p.Contains(from) {
			return true
		}
	}
	return false
}

// asked reads what a proxy asks about: how the visitor came is what it says, and not how it has come itself.
func (f *Front) asked(r *http.Request) (Request, *Answer) {
	q, bad := f.request(r, true)
	if len(r.Header["X-Forwarded-Proto"]) == 0 {
		q.Scheme = ""
	}
	return q, bad
}

// request reads what a tenant is found by. Headers count only of proxies that are trusted, and never the first of
// several.
func (f *Front) request(r *http.Request, trusted bool) (Request, *Answer) {
	q := Request{Host: r.Host, URI: r.URL.RequestURI(), Scheme: "http"}
	if r.TLS != nil {
		q.Scheme = "https"
	}
	from, twice := f.Resolver.sources, ""
	take := func(name string, to *string) {
		switch values := r.Header[name]; {
		case len(values) > 1 || len(values) == 1 && name != from.Header && strings.Contains(values[0], ","):
			twice = name
		case len(values) == 1:
			*to = values[0]
		}
	}
	if trusted {
		take("X-Forwarded-Host", &q.Host)
		take("X-Forwarded-Proto", &q.Scheme)
		take("X-Forwarded-Uri", &q.URI)
		if from.Header != "" {
			take(from.Header, &q.Header)
		}
	}
	if from.Claim != "" {
		if values := r.Header["Authorization"]; len(values) > 1 {
			twice = "Authorization"
		} else if len(values) == 1 {
			if scheme, token, ok := strings.Cut(values[0], " "); ok && strings.EqualFold(scheme, "Bearer") {
				q.Token = strings.TrimSpace(token)
			}
		}
	}
	if twice != "" {
		return q, &Answer{Status: http.StatusBadRequest, Reason: "the header " + twice + " is there more than once"}
	}
	return q, nil
}
