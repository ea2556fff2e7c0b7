package resolver

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// HostRoute is a host with what its requests get, for proxies that know all hosts.
type HostRoute struct {
	Host   string  `json:"host"`   // a name, or *. and a name for one label below it
	Status int     `json:"status"` // 200 where the tenant serves it; else what a visitor gets
	Target string  `json:"target,omitempty"`
	Tenant *Tenant `json:"tenant"`
}

// Value is the route in one text: 200 NAME, 307 HOST or 308 HOST, or the status alone.
func (h HostRoute) Value() string {
	code := [3]byte{byte('0' + h.Status/100), byte('0' + h.Status/10%10), byte('0' + h.Status%10)}
	switch {
	case h.Status == http.StatusOK:
		return string(code[:]) + " " + h.Tenant.Name
	case h.Target != "":
		return string(code[:]) + " " + h.Target
	}
	return string(code[:])
}

// Hosts gives every host that leads to a tenant, in the order of their names: verified domains, and names below the
// base domain. Hosts of which a visitor would be told that there is nothing are left out. So is all that headers,
// paths and tokens lead to.
func (r *Resolver) Hosts() iter.Seq[HostRoute] {
	return r.routes.Load().hosts(r.sources.BaseDomain)
}

// ReadHosts is Hosts by the catalog as it is now, without a resolver that follows it.
func ReadHosts(ctx context.Context, pool *pgxpool.Pool, from Sources) (iter.Seq[HostRoute], error) {
	s, _, err := (&Resolver{pool: pool}).load(ctx)
	if err != nil {
		return nil, err
	}
	return s.hosts(from.BaseDomain), nil
}

func (s *snapshot) hosts(base string) iter.Seq[HostRoute] {
	all := map[string]HostRoute{}
	add := func(h HostRoute) {
		if other, twice := all[h.Host]; twice && other.Tenant.ID != h.Tenant.ID {
			h.Status, h.Target = http.StatusMisdirectedRequest, ""
		}
		all[h.Host] = h
	}
	for i := range shards {
		for name, r := range s.byFormerName[i] {
			if _, taken := s.byName.get(name); base != "" && !taken {
				add(r.host(name+"."+base, http.StatusTemporaryRedirect, r.Name+"."+base))
			}
		}
		for name, r := range s.byName[i] {
			if base != "" {
				add(r.host(name+"."+base, 0, ""))
			}
		}
	}
	for i := range shards {
		for name, d := range s.byHost[i] {
			switch {
			case !d.verified:
			case d.serves == "redirect" && d.canonical != "":
				add(d.host(name, http.StatusPermanentRedirect, d.canonical))
			default:
				add(d.host(name, 0, ""))
			}
		}
	}
	names := make([]string, 0, len(all))
	for name, h := range all {
		if h.Status != http.StatusNotFound {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return func(yield func(HostRoute) bool) {
		for _, name := range names {
			if !yield(all[name]) {
				return
			}
		}
	}
}

// host is the route's answer for a host that redirects to another, or does not (0).
func (r *route) host(name string, redirect int, target string) HostRoute {
	status := r.answer().Status
	if status == http.StatusNoContent {
		status = http.StatusOK
		if redirect != 0 {
			return HostRoute{name, redirect, target, &r.Tenant}
		}
	}
	return HostRoute{name, status, "", &r.Tenant}
}
