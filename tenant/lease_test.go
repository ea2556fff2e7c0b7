package tenant_test

import (
	"context"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// Nobody takes over an operation whose lease runs, so one answer of the catalog serves several effects; where the lease has
// run out, each effect asks.
func TestALeaseIsAskedForOnceWhileItRunsAndEachTimeWhenItHasRunOut(t *testing.T) {
	for name, test := range map[string]struct {
		until string
		asks  bool
	}{
		"it runs":      {until: "now() + interval '1 hour'"},
		"it has ended": {until: "now() - interval '1 second'", asks: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			sql := func(text string) {
				if _, err := w.pool.Exec(t.Context(), text); err != nil {
					t.Error(err)
				}
			}
			w.pg.before = func(ctx context.Context, call string, _ tenant.Tenant) error {
				if call != "Create" {
					return nil
				}
				sql(`UPDATE tenantctl.operations SET lease_until = ` + test.until)
				l := tenant.LeaseFrom(ctx)
				if err := l.Current(ctx); err != nil {
					t.Error(err)
				}
				sql(`UPDATE tenantctl.operations SET fence = fence + 1`)
				if err := l.Current(ctx); (err != nil) != test.asks {
					t.Errorf("after a take-over it says %v", err)
				}
				_, err := l.Remaining(ctx)
				wantKind(t, err, tenant.ErrFenced)
				sql(`UPDATE tenantctl.operations SET fence = fence - 1`)
				return nil
			}
			w.create("acme")
		})
	}
}
