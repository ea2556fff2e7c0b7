package tenant

import (
	"fmt"
	"slices"
)

// LostTag is the warning of a command that goes on although the ownership tag of a tenant's own is lost.
func LostTag(t Tenant, store, what string) string {
	return fmt.Sprintf("tenant %s: %s: %s has lost its ownership tag; tenantctl verify --fix %s gives it back",
		t.Name, store, what, t.Name)
}

// AtVersion gives up to n of the tenants that are at the same version of a store as t.
func AtVersion(ts []Tenant, t Tenant, store string, n int) (like []Tenant) {
	for _, o := range ts {
		same := o.ID != t.ID && o.State.Migrates() && o.Versions[store] == t.Versions[store]
		if same && !slices.ContainsFunc(like, func(l Tenant) bool { return l.ID == o.ID }) && len(like) < n {
			like = append(like, o)
		}
	}
	return like
}

// DoubtStructure is why a structure, the first of all, may not be that of a tenant: it is none of the others'. "" where
// it is.
func DoubtStructure(all []string) string {
	if len(all) < 2 || slices.Contains(all[1:], all[0]) {
		return ""
	}
	return fmt.Sprintf("its structure is that of none of %s at its version", Plural(len(all)-1, "other tenant"))
}
