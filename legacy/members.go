package legacy

import (
	"fmt"
	"slices"
	"strings"
)

// A way may lead downwards: from a table such as users to the rows of memberships that refer to it. Then a row goes to each
// tenant that one of those leads to.

// toMany tells whether a row of the table may go to several tenants.
func (t *Table) toMany() bool {
	return t.Shared != "" || slices.ContainsFunc(t.Via, func(h Hop) bool { return h.Many })
}

// downwards is the SQL that joins, behind the row called last, each tenant's key once: by the hops from the first that has
// many rows. The key's text is called tenantctl_key, the column that is NULL where there is none tenantctl_1.
func downwards(hops []Hop, last, alias string, quote, from func(string) string, key string) string {
	var links, on, inner []string
	for n, h := range hops {
		this := fmt.Sprintf("down%d", n+1)
		if n == 0 {
			inner = append(inner, from(h.Table)+" AS "+this)
			for j := range h.Columns {
				links = append(links, fmt.Sprintf("%s.%s AS tenantctl_%d", this, quote(h.References[j]), j+1))
				on = append(on, fmt.Sprintf("%s.tenantctl_%d = %s.%s", alias, j+1, last, quote(h.Columns[j])))
			}
			continue
		}
		var conds []string
		for j := range h.Columns {
			conds = append(conds, fmt.Sprintf("%s.%s = down%d.%s", this, quote(h.References[j]), n, quote(h.Columns[j])))
		}
		inner = append(inner, from(h.Table)+" AS "+this+" ON "+strings.Join(conds, " AND "))
	}
	return fmt.Sprintf(" LEFT JOIN (SELECT DISTINCT %s, %s AS tenantctl_key FROM %s WHERE %s IS NOT NULL) AS %s ON %s",
		strings.Join(links, ", "), key, strings.Join(inner, " JOIN "), key, alias, strings.Join(on, " AND "))
}

// missing says why a row that stops at a hop is no tenant's.
func (h *Hop) missing() string {
	if h.Many {
		return "no row of " + h.Table + " leads from it to a tenant"
	}
	return "the row of " + h.Table + " that it refers to is missing, or its own reference is NULL"
}
