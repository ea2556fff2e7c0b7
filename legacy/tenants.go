package legacy

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// oneKeyEach names keys of the list that mean the same tenant: a renamed tenant's old name, or names that differ in case.
// known are the keys that earlier runs loaded.
func (i *Importer) oneKeyEach(known map[string]uuid.UUID) []string {
	var faults []string
	first := map[uuid.UUID]string{}
	for _, key := range slices.Sorted(maps.Keys(known)) {
		if _, listed := i.byKey[key]; !listed {
			first[known[key]] = key
		}
	}
	for at := range i.list {
		e := &i.list[at]
		if !e.there {
			continue
		}
		other, twice := first[e.tenant.ID]
		if id, ours := known[e.key]; twice && ours && id == e.tenant.ID {
			if _, listed := i.byKey[other]; !listed {
				continue // it was loaded under both
			}
		}
		if twice {
			faults = append(faults, fmt.Sprintf("keys %s and %s mean one tenant, %s", other, e.key, e.tenant.Name))
			continue
		}
		first[e.tenant.ID] = e.key
	}
	return faults
}

// rereadTenants reads the tenants of the run again, now that the import holds them: what was read before may have been
// renamed, suspended, deleted, or restored into another schema and database since.
func (r *run) rereadTenants(ctx context.Context) error {
	now := map[uuid.UUID]tenant.Tenant{}
	for t, err := range r.Service.List(ctx, tenant.Selection{}) {
		if err != nil {
			return err
		}
		now[t.ID] = t
	}
	tenants := make([]tenant.Tenant, 0, len(r.scope))
	for _, at := range r.scope {
		e := &r.list[at]
		t, there := now[e.tenant.ID]
		switch {
		case !there:
			return &tenant.Error{Kind: tenant.ErrNotFound, Tenant: e.tenant.Name, Msg: "was purged while the import began", Hint: "run the import again"}
		case !t.State.Migrates() || t.State == tenant.Provisioning:
			return &tenant.Error{Kind: tenant.ErrBusy, Tenant: t.Name, Msg: "is " + string(t.State), Hint: "an import goes into active and suspended tenants"}
		}
		e.tenant = t
		tenants = append(tenants, t)
	}
	if err := r.sameVersion(r.scope); err != nil {
		return err
	}
	kinds := []string{tenant.KindPostgres}
	for _, t := range r.wanted() {
		if t.ToCollection != "" {
			kinds = append(kinds, tenant.KindMongoDB)
			break
		}
	}
	return r.Service.CheckOwners(ctx, tenants, r.Parallel, kinds...)
}
