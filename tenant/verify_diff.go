package tenant

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// OutlinePart is what an outline tells of one object, or one statement as a whole where Object is empty.
type OutlinePart struct {
	Object string
	Lines  []string
}

// StructureDiff is how a tenant's structures differ from the fleet's.
type StructureDiff struct {
	Name   Name        `json:"name"`
	Stores []StoreDiff `json:"stores"`
}

// StoreDiff is the part of one store. Lines begin with "+ " for what the tenant has more, with "- " for what it lacks, and
// with two spaces for the object that the next lines are about.
type StoreDiff struct {
	Store    string         `json:"store"`
	Version  int64          `json:"version"` // of the tenant
	Measured FleetStructure `json:"measured"`
	Lines    []string       `json:"lines"`
}

// Err is ErrDiffers where there is a difference.
func (d *StructureDiff) Err() error {
	for _, s := range d.Stores {
		if len(s.Lines) > 0 {
			return &Error{Kind: ErrDiffers, Tenant: d.Name, Store: s.Store, Msg: "the structure is not the fleet's newest"}
		}
	}
	return nil
}

// VerifyDiff compares a tenant's structures with the fleet's newest: that of most tenants at the newest version, of which
// up to 200 are looked at.
func (s *Service) VerifyDiff(ctx context.Context, name Name, only string) (*StructureDiff, error) {
	stores, err := s.verifiers(only)
	if err != nil {
		return nil, err
	}
	if err := s.catalog.workable(ctx, Selection{Names: []Name{name}}); err != nil {
		return nil, err
	}
	t, err := s.catalog.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	d := &StructureDiff{Name: name, Stores: []StoreDiff{}}
	for _, store := range stores {
		one, err := s.diffIn(ctx, store, t)
		if err != nil {
			return nil, WithTenant(err, name)
		}
		d.Stores = append(d.Stores, one)
	}
	return d, nil
}

func (s *Service) diffIn(ctx context.Context, store Verifier, t Tenant) (StoreDiff, error) {
	d := StoreDiff{Store: store.Kind(), Lines: []string{}}
	versions, err := store.Versions(ctx, []Tenant{t})
	if err == nil {
		err = versions[0].Err
	}
	if err != nil {
		return d, err
	}
	d.Version = versions[0].Version
	var q query
	q.and(migrating)
	q.and("t.id IN (SELECT v.tenant_id FROM tenantctl.versions v WHERE v.kind = " + q.arg(store.Kind()) +
		" ORDER BY v.version DESC, v.applied DESC, v.tenant_id <> " + q.arg(t.ID.String()) + "::uuid, v.tenant_id LIMIT " + fmt.Sprint(peers) + ")")
	var ts []Tenant
	for one, err := range s.catalog.tenants(ctx, &q) {
		if err != nil {
			return d, err
		}
		ts = append(ts, one)
	}
	all := structures{}
	if err := readStructures(ctx, store, anyVersion, ts, false, all, nil); err != nil {
		return d, err
	}
	var newest atVersion
	for at := range all {
		if at.version > newest.version || at.version == newest.version && at.applied > newest.applied {
			newest = at
		}
	}
	usual, of := all.usual(newest)
	if usual == nil {
		return d, &Error{Kind: ErrMissing, Store: store.Kind(), Msg: "no tenant could be looked at", Hint: "tenantctl verify tells why"}
	}
	d.Measured = FleetStructure{Store: store.Kind(), Version: newest.version, Tenants: usual.count, Of: of, Example: usual.newest.Name}
	if usual.newest.ID == t.ID {
		return d, nil
	}
	want, err := store.Outline(ctx, usual.newest)
	if err != nil {
		return d, err
	}
	have, err := store.Outline(ctx, t)
	if err != nil {
		return d, err
	}
	d.Lines = append(d.Lines, compareOutlines(want, have)...)
	return d, nil
}

// compareOutlines tells objects that both have line by line, and others whole.
func compareOutlines(want, have []OutlinePart) (lines []string) {
	theirs := map[string][]string{}
	for _, p := range have {
		theirs[p.Object] = append(theirs[p.Object], p.Lines...)
	}
	seen := map[string]bool{}
	compare := func(object string, want, have []string) {
		gone, added := without(want, have), without(have, want)
		if object != "" && len(gone)+len(added) > 0 {
			lines = append(lines, "  "+object)
		}
		lines = append(append(lines, signed("- ", gone)...), signed("+ ", added)...)
	}
	ours := map[string][]string{}
	for _, p := range want {
		ours[p.Object] = append(ours[p.Object], p.Lines...)
	}
	for _, p := range slices.Concat(want, have) {
		if !seen[p.Object] {
			seen[p.Object] = true
			compare(p.Object, ours[p.Object], theirs[p.Object])
		}
	}
	return lines
}

// without gives what a has and b has not, each as often as that is so.
func without(a, b []string) (out []string) {
	left := map[string]int{}
	for _, l := range b {
		left[l]++
	}
	for _, l := range a {
		if left[l]--; left[l] < 0 {
			out = append(out, l)
		}
	}
	return out
}

// signed puts a sign before each line of some texts.
func signed(sign string, texts []string) (out []string) {
	for _, t := range texts {
		for line := range strings.SplitSeq(t, "\n") {
			out = append(out, sign+line)
		}
	}
	return out
}
