package tenant

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
)

func TestEqualFindingsAreOneRowWhateverNameIsInTheirText(t *testing.T) {
	t.Parallel()
	var g faultGroups
	var ts []Tenant
	for _, name := range []string{"table", "acme", "globex"} {
		tn := Tenant{ID: uuid.Must(uuid.NewV7()), Name: Name(name), Schema: "t_" + name, Database: "T-" + name, Role: "t_" + name + "_r"}
		ts = append(ts, tn)
		g.know(tn)
	}
	for i, tn := range ts {
		other := ts[(i+1)%len(ts)]
		for _, message := range []string{
			"is a fault", "schema " + tn.Schema + " has two histories", "database \"" + tn.Database + "\" of tenant " + string(tn.Name) + ", " + tn.ID.String(),
			"is granted to another tenant's role: " + other.Role,
		} {
			g.add("postgres", tn, Fault{Rule: "r", Object: "table orders", Message: message})
		}
		g.add("postgres", tn, Fault{Rule: "r", Object: "table orders_" + tn.Schema, Message: "is a fault"})
	}
	g.add("postgres", Tenant{}, Fault{Rule: "o", Object: "schema t_acme", Message: "is of nobody"})
	g.add("postgres", Tenant{}, Fault{Rule: "o", Object: "schema t_globex", Message: "is of nobody"})
	g.add("postgres", ts[1], Fault{Rule: "one", Message: "schema t_acme is alone"})
	var got []string
	for _, group := range g.list() {
		got = append(got, fmt.Sprintf("%s %d %s: %s", group.Rule, group.Count, group.Object, group.Message))
	}
	want := []string{
		"o 0 schema t_acme: is of nobody", "o 0 schema t_globex: is of nobody", "one 1 : schema t_acme is alone",
		`r 3 table orders: database "NAME" of tenant NAME, NAME`, "r 3 table orders: is a fault", "r 3 table orders: is granted to another tenant's role: OTHER", "r 3 table orders: schema NAME has two histories",
		"r 1 table orders_t_acme: is a fault", "r 1 table orders_t_globex: is a fault", "r 1 table orders_t_table: is a fault",
	}
	if !slices.Equal(got, want) {
		t.Errorf("groups are\n%q, not\n%q", got, want)
	}
}

func TestMendedIsWhatATenantNoLongerHasWhateverTheTextsSay(t *testing.T) {
	a, b := Tenant{ID: newID(), Name: "a", Schema: "t_a"}, Tenant{ID: newID(), Name: "b", Schema: "t_b"}
	groups := func(faults map[Name]Fault) []FaultGroup {
		var g faultGroups
		for _, x := range []Tenant{a, b} {
			g.know(x)
			if f, ok := faults[x.Name]; ok {
				g.add(KindPostgres, x, f)
			}
		}
		return g.list()
	}
	before := groups(map[Name]Fault{"a": {Rule: "grants", Object: "orders", Message: "schema t_a lacks INSERT"}, "b": {Rule: "grants", Object: "orders", Message: "schema t_b lacks INSERT"}})
	if len(before) != 1 {
		t.Fatalf("%+v", before)
	}
	if got := mended(before, before); len(got) != 0 {
		t.Errorf("nothing was mended, and it says %+v", got)
	}
	// One of the two is left, told with its name now, and lacks something else.
	got := mended(before, groups(map[Name]Fault{"b": {Rule: "grants", Object: "orders", Message: "schema t_b lacks INSERT and UPDATE"}}))
	if len(got) != 1 || got[0].Count != 1 || len(got[0].Tenants) != 1 || got[0].Tenants[0] != "a" {
		t.Errorf("a alone was mended, and it says %+v", got)
	}
	if got := mended(before, nil); len(got) != 1 || got[0].Count != 2 {
		t.Errorf("both were mended, and it says %+v", got)
	}
}
