package tenant

import (
	"cmp"
	"context"
	"fmt"
	"slices"
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

// sampleSize is how many tenants stand for the others.
const sampleSize = 3

// sampled is a tenant that is chosen, and why.
type sampled struct {
	Tenant
	why string
}

// sample gives all tenants that q selects, or with few only those that stand for the others: the largest, and the largest
// of each kind that is rare. Tenants are of one kind where their versions and structures are the same.
func (s *Service) sample(ctx context.Context, q *query, few bool) ([]sampled, error) {
	var chosen []sampled
	if !few {
		for t, err := range s.catalog.tenants(ctx, q) {
			if err != nil {
				return nil, err
			}
			chosen = append(chosen, sampled{Tenant: t})
		}
		return chosen, nil
	}
	kinds, err := s.kinds(ctx, q)
	if err != nil || len(kinds) == 0 {
		return nil, err
	}
	largest := slices.MaxFunc(kinds, func(a, b *kindOf) int { return cmp.Compare(a.bytes, b.bytes) })
	chosen = append(chosen, sampled{largest.largest, "the largest"})
	slices.SortStableFunc(kinds, func(a, b *kindOf) int { return cmp.Compare(a.count, b.count) })
	for _, k := range kinds {
		if k != largest && len(chosen) < sampleSize {
			why := fmt.Sprintf("the largest of %d alike", k.count)
			if k.count == 1 {
				why = "the only one of its kind"
			}
			chosen = append(chosen, sampled{k.largest, why})
		}
	}
	return chosen, nil
}

// kindOf are tenants that are alike.
type kindOf struct {
	count   int
	largest Tenant
	bytes   int64
}

// kinds sorts the tenants that q selects by their versions and structures, the first met first.
func (s *Service) kinds(ctx context.Context, q *query) ([]*kindOf, error) {
	var all []*kindOf
	byKey := map[string]*kindOf{}
	survey := func(some []Tenant) error {
		shapes := make([]Shape, len(some))
		for _, sv := range each[Surveyor](s) {
			found, err := sv.Survey(ctx, some)
			if err != nil {
				return err
			}
			for i, sh := range found {
				shapes[i].Bytes += sh.Bytes
				shapes[i].Structure += sv.Kind() + " " + sh.Structure + " "
			}
		}
		for i, t := range some {
			key := jsonText(t.Versions) + shapes[i].Structure
			k, known := byKey[key]
			if !known {
				k = &kindOf{bytes: -1}
				byKey[key] = k
				all = append(all, k)
			}
			k.count++
			if shapes[i].Bytes > k.bytes {
				k.largest, k.bytes = t, shapes[i].Bytes
			}
		}
		return nil
	}
	var batch []Tenant
	for t, err := range s.catalog.tenants(ctx, q) {
		if err != nil {
			return nil, err
		}
		if batch = append(batch, t); len(batch) == page {
			if err := survey(batch); err != nil {
				return nil, err
			}
			batch = batch[:0]
		}
	}
	if len(batch) == 0 {
		return all, nil
	}
	return all, survey(batch)
}
