package tenant

import (
	"math/big"
	"strconv"
	"strings"
)

// Budget is a number of a run's tenants: how many failures it bears before no new one is started, or the size of a wave.
type Budget struct {
	Count   int     // where Percent is 0
	Percent float64 // of all tenants of the run
}

// ParseBudget reads N (at least 1) or P% (above 0, at most 100); of names in an error what is counted.
func ParseBudget(of, s string) (Budget, error) {
	const hint = "write a number from 1 on, or a percentage such as 5%"
	if p, ok := strings.CutSuffix(s, "%"); ok {
		v, err := strconv.ParseFloat(p, 64)
		if err != nil || !(v > 0 && v <= 100) {
			return Budget{}, Invalid(hint, "invalid number of %s %s", of, shorten(s))
		}
		return Budget{Percent: v}, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return Budget{}, Invalid(hint, "invalid number of %s %s", of, shorten(s))
	}
	return Budget{Count: n}, nil
}

// String is what ParseBudget reads; empty for the zero Budget.
func (b Budget) String() string {
	switch {
	case b.Percent > 0:
		return strconv.FormatFloat(b.Percent, 'f', -1, 64) + "%"
	case b.Count > 0:
		return strconv.Itoa(b.Count)
	}
	return ""
}

// share is the percentage of total, rounded up, as it is written: 7% of 100 is 7, whatever binary fractions make of it.
func (b Budget) share(total int) int {
	p, ok := new(big.Rat).SetString(strconv.FormatFloat(b.Percent, 'f', -1, 64))
	if !ok { // a finite number has digits
		return total
	}
	p.Mul(p, big.NewRat(int64(total), 100))
	whole, rest := new(big.Int).QuoRem(p.Num(), p.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	return int(whole.Int64())
}

// limit is the failure at which a run of that many tenants stops starting new ones.
func (b Budget) limit(total int) int {
	if b.Percent > 0 {
		return max(1, b.share(total))
	}
	return max(1, b.Count)
}
