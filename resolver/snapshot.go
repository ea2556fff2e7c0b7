package resolver

import (
	"hash/maphash"
	"maps"
	"strings"
	"sync/atomic"
)

// route is a tenant with all that leads to it.
type route struct {
	Tenant
	domains     []domain
	formerNames []string
	canonical   string // the verified domain that others redirect to; empty where there is none
	signed      atomic.Pointer[signed]
}

// domain is a host name, or "*." and the name below which one label is the tenant's.
type domain struct {
	name     string
	serves   string // answer, canonical or redirect
	verified bool
}

// located is a domain with its route.
type located struct {
	*route
	domain
}

// shards is into how many maps a table is split: a change copies only those that it touches.
const shards = 512

var seed = maphash.MakeSeed()

func shardOf(key string) uint64 { return maphash.String(seed, key) % shards }

// table is a map that is never changed once others can see it.
type table[V any] [shards]map[string]V

func (t *table[V]) get(key string) (V, bool) {
	v, ok := t[shardOf(key)][key]
	return v, ok
}

// snapshot is all routes at one moment.
type snapshot struct {
	at                         position // of the catalog that it was read from; nothing has changed since
	byID, byName, byFormerName table[*route]
	byHost                     table[located]
	tenants                    int
}

// edit is a copy of a snapshot that is not yet seen by others.
type edit struct {
	*snapshot
	copied [4][shards]bool
}

func (s *snapshot) edit() *edit {
	next := *s
	return &edit{snapshot: &next}
}

const (
	tableID = iota
	tableName
	tableFormerName
	tableHost
)

// writable is the map of a key, which this edit may change.
func writable[V any](e *edit, which int, t *table[V], key string) map[string]V {
	i := shardOf(key)
	switch {
	case t[i] == nil:
		t[i] = map[string]V{}
	case !e.copied[which][i]:
		t[i] = maps.Clone(t[i])
	}
	e.copied[which][i] = true
	return t[i]
}

// remove takes a tenant and all that leads to it away.
func (e *edit) remove(id string) {
	old, ok := e.byID.get(id)
	if !ok {
		return
	}
	delete(writable(e, tableID, &e.byID, id), id)
	e.tenants--
	if now, ok := e.byName.get(old.Name); ok && now.ID == id {
		delete(writable(e, tableName, &e.byName, old.Name), old.Name)
	}
	for _, n := range old.formerNames {
		if now, ok := e.byFormerName.get(n); ok && now.ID == id {
			delete(writable(e, tableFormerName, &e.byFormerName, n), n)
		}
	}
	for _, d := range old.domains {
		if now, ok := e.byHost.get(d.name); ok && now.ID == id {
			delete(writable(e, tableHost, &e.byHost, d.name), d.name)
		}
	}
}

// add enters a tenant that is not there.
func (e *edit) add(r *route) {
	writable(e, tableID, &e.byID, r.ID)[r.ID] = r
	writable(e, tableName, &e.byName, r.Name)[r.Name] = r
	for _, n := range r.formerNames {
		writable(e, tableFormerName, &e.byFormerName, n)[n] = r
	}
	for _, d := range r.domains {
		writable(e, tableHost, &e.byHost, d.name)[d.name] = located{r, d}
		if d.serves == "canonical" && d.verified {
			r.canonical = d.name
		}
	}
	e.tenants++
}

// domainOf is the domain that a host is, or the wildcard that it is below. Of both, the exact one counts; one that
// is not verified counts only to say so.
func (s *snapshot) domainOf(host string) (located, bool) {
	exact, found := s.byHost.get(host)
	if found && exact.verified {
		return exact, true
	}
	if i := strings.IndexByte(host, '.'); i > 0 {
		if wild, ok := s.byHost.get("*" + host[i:]); ok && (wild.verified || !found) {
			return wild, true
		}
	}
	return exact, found
}

// named is the tenant that has a name now, or has had it.
func (s *snapshot) named(name string) (r *route, former, ok bool) {
	if r, ok := s.byName.get(name); ok {
		return r, false, true
	}
	r, ok = s.byFormerName.get(name)
	return r, ok, ok
}
