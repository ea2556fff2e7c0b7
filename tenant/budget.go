package tenant

import (
	"math"
	"strconv"
	"strings"
)

// Budget is how many failures a fleet run bears: no new tenant is started once it is used up.
type Budget struct {
	Count   int     // failures, where Percent is 0
	Percent float64 // of all tenants of the run
}

// ParseBudget reads N (at least 1) or P% (above 0, at most 100).
func ParseBudget(s string) (Budget, error) {
	const hint = "write a number from 1 on, or a percentage such as 5%"
	if p, ok := strings.CutSuffix(s, "%"); ok {
		v, err := strconv.ParseFloat(p, 64)
		if err != nil || !(v > 0 && v <= 100) {
			return Budget{}, Invalid(hint, "invalid number of failures %s", shorten(s))
		}
		return Budget{Percent: v}, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return Budget{}, Invalid(hint, "invalid number of failures %s", shorten(s))
	}
	return Budget{Count: n}, nil
}

// limit is the failure at which a run of that many tenants stops starting new ones.
func (b Budget) limit(total int) int {
	if b.Percent > 0 {
		return max(1, int(math.Ceil(b.Percent/100*float64(total))))
	}
	return max(1, b.Count)
}
