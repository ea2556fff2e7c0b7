package tenant

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// Surveyor is a Resource that tells the shapes of many tenants' places at once, cheaply.
type Surveyor interface {
	Resource
	// Survey looks at the places of tenants, in the order given. One that is missing is the zero Shape.
	Survey(ctx context.Context, ts []Tenant) ([]Shape, error)
}

// Shape is what tells a tenant's place from others.
type Shape struct {
	Bytes     int64  // of its tables, without indexes
	Structure string // the same where the tables and their columns look alike; no fingerprint
}

// sampled is a tenant that is chosen, and why.
type sampled struct {
	Tenant
	why string
}

// sample gives up to n of the tenants that q selects, those that stand out: the largest; then in turn the largest of the
// rarest kind that has none yet, and the next largest. Tenants are of one kind where their versions and structures are
// the same. Without fill, no second one of a kind is given.
func (s *Service) sample(ctx context.Context, q *query, n int, fill bool) ([]sampled, error) {
	ts, shapes, err := s.survey(ctx, q)
	if err != nil {
		return nil, err
	}
	return outstanding(ts, shapes, n, fill), nil
}

// survey gives the tenants that q selects, and the shape of each over all stores.
func (s *Service) survey(ctx context.Context, q *query) (ts []Tenant, shapes []Shape, err error) {
	for t, err := range s.catalog.tenants(ctx, q) {
		if err != nil {
			return nil, nil, err
		}
		ts = append(ts, t)
	}
	shapes = make([]Shape, len(ts))
	structures := map[string]string{} // each is kept once, whatever the number of tenants
	for i := 0; i < len(ts); i += page {
		some := ts[i:min(i+page, len(ts))]
		for j, t := range some {
			shapes[i+j].Structure = jsonText(t.Versions)
		}
		for _, sv := range each[Surveyor](s) {
			found, err := sv.Survey(ctx, some)
			if err != nil {
				return nil, nil, err
			}
			for j, sh := range found {
				at := &shapes[i+j]
				at.Bytes += sh.Bytes
				at.Structure += " " + sv.Kind() + " " + sh.Structure
			}
		}
		for j := range some {
			at := &shapes[i+j]
			if known, ok := structures[at.Structure]; ok {
				at.Structure = known
			}
			structures[at.Structure] = at.Structure
		}
	}
	return ts, shapes, nil
}

// outstanding chooses among tenants by their shapes; see sample.
func outstanding(ts []Tenant, shapes []Shape, n int, fill bool) []sampled {
	alike := map[string]int{}
	for _, v := range shapes {
		alike[v.Structure]++
	}
	order := make([]int, len(ts))
	for i := range order {
		order[i] = i
	}
	size := func(a, b int) int {
		return cmp.Or(cmp.Compare(shapes[b].Bytes, shapes[a].Bytes), strings.Compare(string(ts[a].Name), string(ts[b].Name)))
	}
	bySize := slices.SortedFunc(slices.Values(order), size)
	byRarity := slices.SortedFunc(slices.Values(order), func(a, b int) int {
		return cmp.Or(cmp.Compare(alike[shapes[a].Structure], alike[shapes[b].Structure]), strings.Compare(shapes[a].Structure, shapes[b].Structure), size(a, b))
	})
	var out []sampled
	chosen, seen := map[int]bool{}, map[string]bool{}
	take := func(i int, why string) {
		chosen[i], seen[shapes[i].Structure] = true, true
		out = append(out, sampled{ts[i], why})
	}
	for odd := false; len(out) < min(n, len(ts)); odd = !odd {
		rare := slices.IndexFunc(byRarity, func(i int) bool { return !seen[shapes[i].Structure] })
		switch {
		case len(out) == 0:
			take(bySize[0], "the largest")
		case rare >= 0 && (odd || !fill):
			i := byRarity[rare]
			why := "the only one of its kind"
			if count := alike[shapes[i].Structure]; count > 1 {
				why = fmt.Sprintf("the largest of %d alike", count)
			}
			take(i, why)
		case !fill:
			return out
		default:
			take(bySize[slices.IndexFunc(bySize, func(i int) bool { return !chosen[i] })], "one of the largest")
		}
	}
	return out
}
