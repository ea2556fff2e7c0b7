package tenant

import "testing"

func TestPercentagesAreExact(t *testing.T) {
	for _, c := range []struct {
		budget      string
		total, want int
	}{
		{"7%", 100, 7}, {"14%", 50, 7}, {"28%", 25, 7}, {"0.7%", 1000, 7}, {"29%", 100, 29}, {"57%", 100, 57}, {"5%", 90, 5}, {"5%", 1, 1}, {"0.1%", 10, 1}, {"100%", 10000, 10000}, {"3", 10, 3},
	} {
		b, err := ParseBudget("failures", c.budget)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.limit(c.total); got != c.want {
			t.Errorf("%s of %d are %d, want %d", c.budget, c.total, got, c.want)
		}
	}
}
