package main

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/tenantctl/tenantctl/resolver"
)

// spoof sends one request that claims to be of another tenant than its host's, to nginx at url or past it to an
// application itself.
func (l *load) spoof(ctx context.Context, c *counts, url string, apps []string) {
	t, other := l.any()
	host, theirs := l.host(t), l.host(other)
	assertion := l.keys.Sign(&resolver.Tenant{
		ID: other.id, Name: other.name, State: "active", Schema: "tenant_" + other.name, Role: "tenant_" + other.name,
		Database: "tenant_" + other.name, Generation: "made-up",
	}, theirs, time.Now()) // as the resolver makes it for the other host
	app := apps[l.roll(len(apps))]
	var got answer
	var err error
	past := false // what reaches the application without nginx is never served
	switch n := l.roll(9); n {
	case 0:
		got, err = ask(ctx, http.MethodGet, url+"/whoami", host, "", "X-Forwarded-Host", theirs, "Forwarded", "host="+theirs)
	case 1:
		got, err = ask(ctx, http.MethodGet, url+"/whoami", host, "", named(other)...)
	case 2: // an assertion that is good, for another host
		got, err = ask(ctx, http.MethodGet, url+"/whoami", host, "",
			"X-Tenant-Assertion", assertion, "X_Tenant_Assertion", assertion)
	case 3:
		got, err = raw(url, "GET /whoami HTTP/1.1\nHost: "+host+"\nHost: "+theirs+"\nConnection: close\n\n")
	case 4:
		got, err = raw(url, "GET /whoami HTTP/1.1\nHost: "+host+"\nX-Forwarded-Host: "+host+"\nX-Forwarded-Host: "+theirs+
			"\nX-Tenant-Assertion: "+assertion+"\nX-Tenant-Assertion: "+assertion+"\nConnection: close\n\n")
	case 5: // whose of the two it is, is the proxy's choice; it is one of them wholly
		got, err = raw(url, "GET http://"+theirs+"/whoami HTTP/1.1\nHost: "+host+"\nConnection: close\n\n")
		if err == nil && got.served() && got.of(other) {
			t = other
		}
	case 6:
		past = true
		got, err = ask(ctx, http.MethodGet, app+"/whoami", host, "", named(t)...)
	case 7:
		past = true
		got, err = ask(ctx, http.MethodGet, app+"/whoami", host, "",
			"X-Tenant-Assertion", assertion, "X-Forwarded-Host", theirs)
	case 8:
		past = true
		got, err = ask(ctx, http.MethodGet, app+"/whoami", host, "", "X-Tenant-Assertion", l.forged(t, l.roll(2) == 0))
	}
	if ctx.Err() != nil {
		return
	}
	c.answers.Add(1)
	c.spoofed.Add(1)
	if err == nil && got.served() && (past || !got.of(t)) {
		c.honoured.Add(1)
		shout("SPOOF HONOURED: %s as %s, past nginx %v: %+v", host, theirs, past, got)
	}
}

func named(t *tenant) []string {
	place := "tenant_" + t.name
	return []string{
		"X-Tenant-Name", t.name, "X-Tenant-Id", t.id, "X-Tenant-Schema", place, "X-Tenant-Role", place,
		"X-Tenant-Database", place, "X-Tenant-State", "active", "X-Tenant", t.name,
	}
}

// forged is an assertion by a key that nobody knows, or without a signature.
func (l *load) forged(t *tenant, signed bool) string {
	text := l.forger.Sign(&resolver.Tenant{
		ID: t.id, Name: t.name, State: "active", Schema: "tenant_" + t.name, Generation: "made-up",
	}, l.host(t), time.Now())
	if signed {
		return text
	}
	head, rest := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)), text
	for i, c := range text {
		if c == '.' {
			rest = text[i+1:]
			break
		}
	}
	for i, c := range rest {
		if c == '.' {
			return head + "." + rest[:i+1]
		}
	}
	return head + "." + rest
}
