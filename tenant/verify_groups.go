package tenant

import (
	"cmp"
	"slices"
)

// Severities of a fault, as a migration's findings have them.
const (
	severityError   = "error"
	severityWarning = "warning"
)

// faultGroups gathers equal faults, so that 400 tenants with one fault are one row.
type faultGroups struct {
	byKey map[faultKey]*FaultGroup
}

type faultKey struct{ store, rule, object, message string }

func (g *faultGroups) add(store string, name Name, f Fault) {
	key := faultKey{store, f.Rule, f.Object, f.Message}
	if g.byKey == nil {
		g.byKey = map[faultKey]*FaultGroup{}
	}
	group := g.byKey[key]
	if group == nil && len(g.byKey) >= maxFaultGroups {
		key = faultKey{store: store, rule: f.Rule, message: "further findings of this rule, which are too many to tell apart"}
		group = g.byKey[key]
		f.Object, f.Message, f.Fix = "", key.message, ""
	}
	if group == nil {
		group = &FaultGroup{Store: store, Rule: f.Rule, Severity: severityError, Object: f.Object, Message: f.Message, Hint: f.Hint, Fixable: f.Fix != "", Fix: f.Fix, Tenants: []Name{}}
		if f.Warning {
			group.Severity = severityWarning
		}
		g.byKey[key] = group
	}
	if name == "" {
		return
	}
	group.Count++
	if len(group.Tenants) < groupNames {
		group.Tenants = append(group.Tenants, name)
	}
}

// maxFaultGroups bounds memory: what comes after is counted by its rule.
const maxFaultGroups = 2000

// list gives errors before warnings, store by store and rule by rule, the most frequent first.
func (g *faultGroups) list() []FaultGroup {
	out := make([]FaultGroup, 0, len(g.byKey))
	for _, group := range g.byKey {
		out = append(out, *group)
	}
	slices.SortFunc(out, func(a, b FaultGroup) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(b.Store, a.Store), cmp.Compare(a.Rule, b.Rule), cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Object, b.Object), cmp.Compare(a.Message, b.Message))
	})
	return out
}
