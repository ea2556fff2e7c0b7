package legacy

import (
	"github.com/tenantctl/tenantctl/tenant"
)

// Whether the secondary indexes of tables that start empty are dropped, and rebuilt after the load.
const (
	DeferNever  = "never"
	DeferAuto   = "auto" // where a tenant's table gets rows enough
	DeferAlways = "always"
)

// rowsToDefer is how many rows a tenant's table gets, on average, from which on rebuilding its indexes is the faster way. With
// three indexes and 20 tenants: 2,000 rows 1.0 s as they are and 1.2 s rebuilt, 5,000 rows 2.1 s and 1.2 s, 50,000 rows 20.5 s and 8.8 s.
const rowsToDefer = 5_000

// CheckDeferral refuses what is none of them.
func CheckDeferral(s string) error {
	switch s {
	case "", DeferNever, DeferAuto, DeferAlways:
		return nil
	}
	return tenant.Invalid("write never, auto or always", "--defer-indexes %q is unknown", s)
}

// defers tells whether the indexes of a pass are dropped for its load.
func (r *run) defers(p *pass) bool {
	switch r.DeferIndexes {
	case DeferAlways:
		return true
	case DeferAuto:
		each := p.of
		if !p.copied {
			each /= int64(max(1, len(p.tenants)))
		}
		return each >= rowsToDefer
	}
	return false
}
