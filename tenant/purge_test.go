package tenant_test

import (
	"context"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

// away is a store that does not tell what it has.
type away struct{ *memory }

func (away) Stat(context.Context, tenant.Tenant) (tenant.Stat, error) {
	return tenant.Stat{}, &tenant.Error{Kind: tenant.ErrUnreachable, Store: tenant.KindMongoDB, Msg: "the connection broke"}
}

// A purge that a store does not answer takes nothing away, and takes no way back either: the tenant is deleted as before, and
// can be undeleted.
func TestAPurgeThatCouldNotLookLeavesTheTenantAsItWas(t *testing.T) {
	w := newWorld(t)
	name := w.fresh(tenant.Deleted)
	s := tenant.NewService(tenant.NewCatalog(w.pool, "tester", time.Minute), []tenant.Resource{w.pg, away{w.docs}}, tenant.Options{})
	defer s.Close()
	_, err := s.Purge(t.Context(), tenant.Name(name), tenant.PurgeRequest{})
	wantKind(t, err, tenant.ErrUnreachable)
	if state := w.state(name); state != tenant.Deleted || len(w.unfinished()) != 0 {
		t.Fatalf("it is %s, and unfinished is %v", state, w.unfinished())
	}
	if _, err := w.service.Undelete(t.Context(), tenant.Name(name)); err != nil || w.state(name) != tenant.Active {
		t.Errorf("undeleted: %v, %s", err, w.state(name))
	}
}
