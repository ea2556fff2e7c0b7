package tenant_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

func (w *world) plan(req tenant.MigrateRequest, parallel int) *tenant.MigratePlan {
	w.t.Helper()
	if req.To == 0 {
		req.To = tenant.Newest
	}
	p, err := w.service.PlanMigrate(w.t.Context(), req, parallel)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// told is a plan's groups as text, a line each.
func told(p *tenant.MigratePlan) string {
	var b strings.Builder
	for _, g := range p.Groups {
		fmt.Fprintf(&b, "%d at %d/%d %v late %d:", g.Tenants, g.Versions["postgres"], g.Versions["mongodb"], g.Names, g.Late)
		for _, f := range g.Files {
			fmt.Fprintf(&b, " %s%d", f.Store[:2], f.Version)
		}
		if g.Refused != "" {
			b.WriteString(" refused")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestAPlanGroupsTenantsByVersionWithWhatEachGroupLacks(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "beta")
	if p := w.plan(tenant.MigrateRequest{}, 1); len(p.Groups) != 0 || len(p.Behind) != 0 {
		t.Errorf("where all are current: %+v", p)
	}
	w.pg.addFile(3)
	w.create("gamma")
	w.pg.addFile(4)
	w.docs.addFile(2)
	p := w.plan(tenant.MigrateRequest{}, 1)
	if got, want := told(p), "2 at 2/1 [acme beta] late 0: po3 po4 mo2\n1 at 3/1 [gamma] late 0: po4 mo2\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	p = w.plan(tenant.MigrateRequest{Only: "postgres", To: 3}, 1)
	if got, want := told(p), "2 at 2/1 [acme beta] late 0: po3\n"; got != want {
		t.Errorf("to a version of one store: got\n%swant\n%s", got, want)
	}
	if _, err := w.pool.Exec(t.Context(), `UPDATE tenantctl.versions SET applied = 1 WHERE kind = 'postgres' AND tenant_id = (SELECT id FROM tenantctl.tenants WHERE name = 'beta')`); err != nil {
		t.Fatal(err)
	}
	if got, want := told(w.plan(tenant.MigrateRequest{}, 1)), "2 at 2/1 [acme beta] late 1: po3 po4 mo2 refused\n1 at 3/1 [gamma] late 0: po4 mo2\n"; got != want {
		t.Errorf("where one lacks an older file: got\n%swant\n%s", got, want)
	}
	if got, want := told(w.plan(tenant.MigrateRequest{OutOfOrder: true}, 1)), "2 at 2/1 [acme beta] late 1: po3 po4 mo2\n1 at 3/1 [gamma] late 0: po4 mo2\n"; got != want {
		t.Errorf("with --out-of-order: got\n%swant\n%s", got, want)
	}
	if _, err := w.pool.Exec(t.Context(), `UPDATE tenantctl.versions SET version = 9 WHERE kind = 'postgres' AND tenant_id = (SELECT id FROM tenantctl.tenants WHERE name = 'gamma')`); err != nil {
		t.Fatal(err)
	}
	p = w.plan(tenant.MigrateRequest{Selection: tenant.Selection{Names: []tenant.Name{"gamma"}}}, 1)
	if got, want := told(p), "1 at 9/1 [gamma] late 0: mo2 refused\n"; got != want {
		t.Errorf("of a newer checkout: got\n%swant\n%s", got, want)
	}
}

func TestAPlanEstimatesByTheSizesOfTables(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "beta", "gamma")
	w.pg.addFile(3)
	g := w.plan(tenant.MigrateRequest{}, 1).Groups[0]
	// Each reads small, 1.25 MiB, twice: 25 ms. acme and gamma write 2.5 MiB anew: 100 ms; beta 25 MiB: a second.
	if e := g.Estimate; e.ReadBytes != 3*2*5<<18 || e.RewrittenBytes != 30<<20 || e.DurationMS != 1290 || e.Parallel != 1 || e.TenantMS != 5 {
		t.Errorf("one at a time: %+v", e)
	}
	if l := g.Largest; l == nil || *l != (tenant.LargestTable{Tenant: "beta", Table: "big", Bytes: 25 << 20, Rows: 1000}) {
		t.Errorf("the largest is %+v", l)
	}
	if e := w.plan(tenant.MigrateRequest{}, 8).Groups[0].Estimate; e.DurationMS != 1030 || e.Parallel != 3 {
		t.Errorf("all at once, which is no less than beta takes: %+v", e)
	}
}

func TestWhatEveryTenantHasIsPastForTheCheck(t *testing.T) {
	w := newWorld(t)
	w.pg.findings = []tenant.Finding{
		{Rule: "old", Severity: "warning", Live: true, Version: 2},
		{Rule: "new", Severity: "warning", Live: true, Version: 3},
		{Rule: "shape", Severity: "warning", Version: 1},
		{Rule: "told", Severity: "error", Version: 1, Ignored: true},
	}
	check := func(catalog bool, after int64) string {
		t.Helper()
		c, err := w.service.CheckMigrations(t.Context(), catalog, after)
		if err != nil {
			t.Fatal(err)
		}
		rules := fmt.Sprintf("%d ignored", c.Ignored)
		for _, f := range c.Findings {
			rules += " " + f.Rule
		}
		return rules
	}
	if got := check(true, 0); got != "1 ignored old new shape" {
		t.Errorf("without tenants: %s", got)
	}
	w.create("acme")
	if got := check(true, 0); got != "1 ignored new shape" {
		t.Errorf("with a tenant at version 2: %s", got)
	}
	if got := check(false, 0); got != "1 ignored old new shape" {
		t.Errorf("offline: %s", got)
	}
	if got := check(false, 3); got != "1 ignored shape" {
		t.Errorf("offline, after version 3: %s", got)
	}
}
