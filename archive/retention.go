package archive

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

// Policy says which backups of a tenant are kept, in restic's meaning: of each day, ISO week and month the newest backup
// counts, only days (weeks, months) with a backup count, and while a rule has some left it keeps the oldest backup too.
type Policy struct {
	Last, Daily, Weekly, Monthly int // how many; -1 for all, 0 for no such rule
	Within                       Period
}

// Period is a stretch of the calendar before the newest backup.
type Period struct{ Years, Months, Days, Hours int }

// ParsePeriod reads restic's form: 1y5m7d2h, any of them, a number each.
func ParsePeriod(text string) (Period, error) {
	var p Period
	wrong := tenant.Invalid("write years, months, days and hours as in 1y5m7d2h", "%.40q is no period", text)
	for rest := strings.TrimSpace(text); rest != ""; {
		i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if i < 1 {
			return Period{}, wrong
		}
		n, err := strconv.Atoi(rest[:i])
		if err != nil || n > 10_000_000 {
			return Period{}, wrong
		}
		switch rest[i] {
		case 'y':
			p.Years = n
		case 'm':
			p.Months = n
		case 'd':
			p.Days = n
		case 'h':
			p.Hours = n
		default:
			return Period{}, wrong
		}
		rest = rest[i+1:]
	}
	return p, nil
}

// String gives the period as ParsePeriod reads it; the empty one is "".
func (p Period) String() string {
	var b strings.Builder
	for _, u := range []struct {
		n    int
		unit string
	}{{p.Years, "y"}, {p.Months, "m"}, {p.Days, "d"}, {p.Hours, "h"}} {
		if u.n != 0 {
			fmt.Fprintf(&b, "%d%s", u.n, u.unit)
		}
	}
	return b.String()
}

// Set makes a Period a flag's value.
func (p *Period) Set(text string) (err error) {
	*p, err = ParsePeriod(text)
	return err
}

// Type is the word for it in a flag's help.
func (p *Period) Type() string { return "period" }

// Check refuses a policy that would keep nothing, and counts that mean nothing.
func (p Policy) Check() error {
	if p == (Policy{}) {
		return tenant.Invalid("give at least one rule, such as --keep-daily 7", "an empty policy would remove every backup")
	}
	for _, n := range []int{p.Last, p.Daily, p.Weekly, p.Monthly} {
		if n < -1 {
			return tenant.Invalid("-1 keeps all", "%d is no number of backups to keep", n)
		}
	}
	return nil
}

// Keep judges backups of one tenant by their times: for each, the rules that keep it; none: it goes. Days, weeks and
// months are those of each time's own zone. An empty policy keeps all.
func (p Policy) Keep(times []time.Time) [][]string { return p.keep(times, time.Now()) }

func (p Policy) keep(times []time.Time, now time.Time) [][]string {
	reasons := make([][]string, len(times))
	order := make([]int, len(times)) // newest first
	var newest time.Time             // but none of the future
	for i, t := range times {
		order[i] = i
		if t.After(newest) && !t.After(now) {
			newest = t
		}
		if p == (Policy{}) {
			reasons[i] = []string{"no policy"}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return times[b].Compare(times[a]) })
	since := newest.AddDate(-p.Within.Years, -p.Within.Months, -p.Within.Days).Add(-time.Duration(p.Within.Hours) * time.Hour)
	rules := []struct {
		left   int
		reason string
		bucket func(t time.Time, n int) int
		seen   int
	}{
		{p.Last, "last", func(_ time.Time, n int) int { return n }, -1},
		{p.Daily, "daily", func(t time.Time, _ int) int { return t.Year()*1000 + t.YearDay() }, -1},
		{p.Weekly, "weekly", func(t time.Time, _ int) int { year, week := t.ISOWeek(); return year*100 + week }, -1},
		{p.Monthly, "monthly", func(t time.Time, _ int) int { return t.Year()*100 + int(t.Month()) }, -1},
	}
	for n, i := range order {
		t := times[i]
		if p.Within != (Period{}) && t.After(since) {
			reasons[i] = append(reasons[i], "within "+p.Within.String())
		}
		for k := range rules {
			r := &rules[k]
			if r.left == 0 {
				continue
			}
			reason := r.reason
			if b := r.bucket(t, n); b == r.seen {
				if n != len(order)-1 {
					continue
				}
				reason = "oldest " + reason
			} else {
				r.seen = b
			}
			if r.left > 0 {
				r.left--
			}
			reasons[i] = append(reasons[i], reason)
		}
	}
	return reasons
}
