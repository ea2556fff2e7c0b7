package tenant

import (
	"context"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/jackc/pgx/v5"
)

// near is the tenant that a name which is none was likely meant to be; empty where that is not clear.
func (c *Catalog) near(ctx context.Context, name Name) string {
	rows, err := c.pool.Query(ctx, `SELECT t.name FROM tenantctl.tenants t WHERE t.state <> 'deleted' ORDER BY t.name`)
	if err != nil {
		return "" // one hint less
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return ""
	}
	return nearest(string(name), known)
}

// nearest is the name with the fewest letters to change, at most a third of them, or else the only one that begins alike.
func nearest(name string, known []string) string {
	const leastBeginning = 3
	best, fewest := "", max(1, len(name)/3)+1
	var alike []string
	for _, k := range known {
		if changes := levenshtein.ComputeDistance(name, k); changes < fewest {
			best, fewest = k, changes
		}
		if len(name) >= leastBeginning && strings.HasPrefix(k, name) {
			alike = append(alike, k)
		}
	}
	if best == "" && len(alike) == 1 {
		return alike[0]
	}
	return best
}
