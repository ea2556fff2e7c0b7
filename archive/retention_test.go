package archive

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

func at(t testing.TB, texts ...string) []time.Time {
	t.Helper()
	var out []time.Time
	for _, text := range texts {
		v, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// days gives a backup at noon of each of n days up to the last, newest first.
func days(t testing.TB, last string, n int) []time.Time {
	t.Helper()
	newest := at(t, last+" 12:00")[0]
	out := make([]time.Time, n)
	for i := range out {
		out[i] = newest.AddDate(0, 0, -i)
	}
	return out
}

// The cases follow restic's documentation of forget ("Removing backup snapshots").
func TestPoliciesKeepWhatResticWouldKeep(t *testing.T) {
	sundays := []string{"2014-11-02 12:00", "2014-10-26 12:00", "2014-10-19 12:00", "2014-10-12 12:00", "2014-10-05 12:00", "2014-09-28 12:00", "2014-09-21 12:00", "2014-09-14 12:00", "2014-09-07 12:00"}
	for _, c := range []struct {
		name   string
		policy Policy
		times  []time.Time
		want   []string // "date hour: reasons" of those kept
	}{
		{"last counts backups", Policy{Last: 2}, at(t, "2026-03-03 10:00", "2026-03-03 09:00", "2026-03-03 08:00"), []string{
			"2026-03-03 10: last", "2026-03-03 09: last",
		}},
		{"daily keeps the newest of each day", Policy{Daily: 2}, at(t, "2026-03-03 10:00", "2026-03-03 09:00", "2026-03-02 23:00", "2026-03-02 01:00", "2026-03-01 12:00"), []string{
			"2026-03-03 10: daily", "2026-03-02 23: daily",
		}},
		{"days without a backup do not count", Policy{Daily: 3}, at(t, "2026-03-30 10:00", "2026-03-10 09:00", "2026-02-01 23:00", "2026-01-01 01:00"), []string{
			"2026-03-30 10: daily", "2026-03-10 09: daily", "2026-02-01 23: daily",
		}},
		{"four of each Sunday: the documentation's example", Policy{Daily: 4}, at(t, sundays...), []string{
			"2014-11-02 12: daily", "2014-10-26 12: daily", "2014-10-19 12: daily", "2014-10-12 12: daily",
		}},
		{"weekly, the documentation's other example", Policy{Weekly: 4}, days(t, "2014-11-02", 60), []string{
			"2014-11-02 12: weekly", "2014-10-26 12: weekly", "2014-10-19 12: weekly", "2014-10-12 12: weekly",
		}},
		{"rules add up, and one backup may serve several", Policy{Daily: 2, Weekly: 2, Monthly: 2}, days(t, "2026-03-03", 40), []string{
			"2026-03-03 12: daily, weekly, monthly", "2026-03-02 12: daily", "2026-03-01 12: weekly", "2026-02-28 12: monthly",
		}},
		{"weeks are ISO weeks, across the year's end", Policy{Weekly: 3}, at(t, "2027-01-04 12:00", "2027-01-03 12:00", "2027-01-01 12:00", "2026-12-28 12:00", "2026-12-27 12:00"), []string{
			"2027-01-04 12: weekly", "2027-01-03 12: weekly", "2026-12-27 12: weekly",
		}},
		{"the oldest stays while a rule has some left", Policy{Monthly: 5}, days(t, "2026-03-10", 20), []string{
			"2026-03-10 12: monthly", "2026-02-28 12: monthly", "2026-02-19 12: oldest monthly",
		}},
		{"the oldest goes where none is left", Policy{Monthly: 2}, days(t, "2026-03-10", 20), []string{
			"2026-03-10 12: monthly", "2026-02-28 12: monthly",
		}},
		{"-1 keeps all of the kind", Policy{Monthly: -1}, days(t, "2026-03-10", 75), []string{
			"2026-03-10 12: monthly", "2026-02-28 12: monthly", "2026-01-31 12: monthly", "2025-12-31 12: monthly", "2025-12-26 12: oldest monthly",
		}},
		{"within counts from the newest backup, not from now", Policy{Within: Period{Days: 2}}, at(t, "2020-05-10 12:00", "2020-05-09 12:00", "2020-05-08 13:00", "2020-05-08 12:00"), []string{
			"2020-05-10 12: within 2d", "2020-05-09 12: within 2d", "2020-05-08 13: within 2d",
		}},
		{"within takes calendar months", Policy{Within: Period{Months: 1, Hours: 1}}, at(t, "2026-03-31 12:00", "2026-03-03 12:00", "2026-03-03 11:00"), []string{
			"2026-03-31 12: within 1m1h", "2026-03-03 12: within 1m1h",
		}},
		{"a backup of the future does not shift within", Policy{Within: Period{Days: 1}}, at(t, "2099-01-01 00:00", "2026-03-31 12:00", "2026-03-31 11:00", "2026-03-30 11:00"), []string{
			"2099-01-01 00: within 1d", "2026-03-31 12: within 1d", "2026-03-31 11: within 1d",
		}},
		{"nothing there", Policy{Last: 1}, nil, nil},
	} {
		now := at(t, "2027-06-01 00:00")[0]
		shuffled := slices.Clone(c.times)
		slices.Reverse(shuffled) // the order given is of no account
		for _, times := range [][]time.Time{c.times, shuffled} {
			var got []string
			for i, reasons := range c.policy.keep(times, now) {
				if len(reasons) > 0 {
					got = append(got, times[i].Format("2006-01-02 15")+": "+strings.Join(reasons, ", "))
				}
			}
			slices.SortFunc(got, func(a, b string) int { return strings.Compare(b, a) })
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: kept\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		}
	}
}

func TestAnEmptyPolicyIsRefusedAndKeepsAll(t *testing.T) {
	refused(t, Policy{}.Check(), tenant.ErrInvalid, "every backup")
	refused(t, Policy{Last: -2}.Check(), tenant.ErrInvalid, "-2")
	if err := (Policy{Last: -1, Within: Period{Hours: 1}}).Check(); err != nil {
		t.Error(err)
	}
	for _, reasons := range (Policy{}).Keep(days(t, "2026-03-03", 3)) {
		if len(reasons) == 0 {
			t.Error("an empty policy lets a backup go")
		}
	}
}

func TestPeriodsAreWrittenAsResticHasThem(t *testing.T) {
	for text, want := range map[string]Period{
		"": {}, "1y5m7d2h": {1, 5, 7, 2}, "7d": {Days: 7}, "2h1y": {Years: 1, Hours: 2}, " 30d ": {Days: 30}, "0d": {},
	} {
		if got, err := ParsePeriod(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"7", "d", "7w", "-7d", "7 d", "1.5d", "99999999999999999999d", "7dd", "٧d"} {
		if got, err := ParsePeriod(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
	p := Period{1, 5, 7, 2}
	if p.String() != "1y5m7d2h" {
		t.Error(p)
	}
}
