package legacy

import (
	"math"
	"strconv"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

// Limit is how many rejects an import bears; the zero Limit bears any number.
type Limit struct {
	set     bool
	count   int64
	percent float64 // of the rows read so far, where it is not 0
}

// ParseLimit reads N (0 or more) or P% (up to 100).
func ParseLimit(s string) (Limit, error) {
	const hint = "write a number such as 0 or 100, or a percentage such as 0.5%"
	if p, ok := strings.CutSuffix(s, "%"); ok {
		v, err := strconv.ParseFloat(p, 64)
		if err != nil || !(v > 0 && v <= 100) {
			return Limit{}, tenant.Invalid(hint, "invalid number of errors %q", s)
		}
		return Limit{set: true, percent: v}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return Limit{}, tenant.Invalid(hint, "invalid number of errors %q", s)
	}
	return Limit{set: true, count: n}, nil
}

// fewRows is how many rows a percentage is of at least: the first bad row of an import is not 100% of it.
const fewRows = 1000

func (l Limit) exceeded(rejected, read int64) bool {
	switch {
	case !l.set:
		return false
	case l.percent > 0:
		return float64(rejected) > math.Ceil(l.percent/100*float64(max(read, fewRows)))
	}
	return rejected > l.count
}
