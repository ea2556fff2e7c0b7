package nosql

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// Each command is a round trip, and each listing of the databases takes the server the longer the more there are.
func TestATenantTakesFewCommands(t *testing.T) {
	files := map[string]string{"00001_a.up.json": `[{"create": "a"}, {"createIndexes": "a", "indexes": [{"key": {"x": 1}, "name": "x"}]}]`}
	first := folder(t, files)
	files["00002_b.up.json"] = `[{"createIndexes": "a", "indexes": [{"key": {"y": 1}, "name": "y"}]}]`
	both := folder(t, files)
	r, p := proxied(t, first)
	takes := func(what string, most int, do func()) []mongoproxy.Command {
		t.Helper()
		p.Intercept(nil)
		do()
		var names []string
		var all []mongoproxy.Command
		for _, c := range p.Commands() {
			if c.N > 0 {
				names, all = append(names, c.Name), append(all, c)
			}
		}
		if len(all) > most {
			t.Errorf("%s takes %d commands, not %d at most: %s", what, len(all), most, strings.Join(names, ", "))
		}
		return all
	}
	var tenants []tenant.Tenant
	for i := range 3 {
		ten := newTenant(t)
		tenants = append(tenants, ten)
		listings, most := 0, 10
		if i == 0 {
			most++ // the listing of all databases
		}
		for _, c := range takes(fmt.Sprintf("tenant %d's creation", i+1), most, func() { must(t, r.Create(t.Context(), ten)) }) {
			if c.Name == "listDatabases" {
				listings++
			}
		}
		if listings > 0 && i > 0 {
			t.Errorf("tenant %d's creation lists the databases again", i+1)
		}
	}
	r.cfg.Dir, r.parsed = both, sides{}
	for i := range tenants {
		tenants[i].State = tenant.Active
	}
	for _, ten := range tenants {
		takes("one migration", 6, func() {
			moved, err := r.Up(t.Context(), ten, tenant.Newest, false)
			must(t, err)
			if len(moved.Ran) != 1 || moved.To != 2 {
				t.Errorf("moved %+v", moved)
			}
		})
	} // What verify asks of each, besides the users of all.
	takes("the verification of three tenants", 3*6+1, func() {
		must(t, r.Verify(t.Context(), tenants, nil, func(f tenant.Fault) { t.Errorf("%+v", f) }))
		_, err := r.Versions(t.Context(), tenants)
		must(t, err)
		_, err = r.Structures(t.Context(), tenants)
		must(t, err)
	})
	listed := 0
	for _, c := range takes("a backup", 20, func() { dump(t, r, tenants[0]) }) {
		if c.Name == "listIndexes" {
			listed++
		}
	}
	if listed != 3 { // of the collection and of the two books
		t.Errorf("a backup lists the indexes of %d collections", listed)
	}
}
