package tenant

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Difference is one thing that a change makes of a tenant. A side that is nil was not there, or is not any more.
type Difference struct {
	Field string  `json:"field"` // name, state, hold, domain or label
	Key   string  `json:"key,omitempty"`
	From  *string `json:"from"`
	To    *string `json:"to"`
}

// String is the difference as plans and results show it, with a sign before it.
func (d Difference) String() string {
	what := strings.TrimSpace(d.Field + " " + d.Key)
	switch {
	case d.Field == "domain" && d.From == nil:
		return "+ domain " + *d.To
	case d.Field == "domain":
		return "- domain " + *d.From
	case d.From == nil:
		return fmt.Sprintf("+ %s: %s", what, orEmpty(*d.To))
	case d.To == nil:
		return fmt.Sprintf("- %s: %s", what, orEmpty(*d.From))
	}
	return fmt.Sprintf("~ %s: %s -> %s", what, orEmpty(*d.From), orEmpty(*d.To))
}

func orEmpty(s string) string {
	if s == "" {
		return `""`
	}
	return s
}

// Differences tells what differs between a tenant before and after a change, in an order that does not vary.
func Differences(before, after Tenant) []Difference {
	var out []Difference
	one := func(field, from, to string) {
		if from != to {
			out = append(out, Difference{Field: field, From: unlessEmpty(from), To: unlessEmpty(to)})
		}
	}
	one("name", string(before.Name), string(after.Name))
	one("state", string(before.State), string(after.State))
	for _, d := range before.Domains {
		if !slices.Contains(after.Domains, d) {
			out = append(out, Difference{Field: "domain", From: &d})
		}
	}
	for _, d := range after.Domains {
		if !slices.Contains(before.Domains, d) {
			out = append(out, Difference{Field: "domain", To: &d})
		}
	}
	keys := maps.Clone(before.Labels)
	if keys == nil {
		keys = map[string]string{}
	}
	maps.Copy(keys, after.Labels)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		from, had := before.Labels[k]
		to, has := after.Labels[k]
		if had == has && from == to {
			continue
		}
		d := Difference{Field: "label", Key: k}
		if had {
			d.From = &from
		}
		if has {
			d.To = &to
		}
		out = append(out, d)
	}
	one("hold", before.Hold, after.Hold)
	return out
}

func unlessEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
