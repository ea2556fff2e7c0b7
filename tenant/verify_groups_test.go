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
