package tenant

import (
	"cmp"
	"hash/maphash"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Severities of a fault, as a migration's findings have them.
const (
	severityError   = "error"
	severityWarning = "warning"
)

// faultGroups gathers equal faults, so that 400 tenants with one fault are one row, whatever names are in its text.
type faultGroups struct {
	byKey  map[faultKey]*FaultGroup // by texts without names
	byText map[faultKey]*FaultGroup // by texts as they are, which may have a word that is some tenant's name
	places map[string]bool          // names of known tenants' schemas, databases and roles
}

type faultKey struct{ store, rule, object, message string }

// know takes the names of a tenant that texts may have.
func (g *faultGroups) know(t Tenant) {
	if g.places == nil {
		g.places = map[string]bool{}
	}
	for _, name := range []string{t.Schema, t.Database, t.Role} {
		g.places[name] = true
	}
}

func (g *faultGroups) add(store string, t Tenant, f Fault) {
	if g.byKey == nil {
		g.byKey, g.byText = map[faultKey]*FaultGroup{}, map[faultKey]*FaultGroup{}
	}
	what := found{identity(store, f.Rule, f.Object, t.ID), t.Name}
	text := faultKey{store, f.Rule, f.Object, f.Message}
	key, group := text, g.byText[text]
	if group == nil && t.Name != "" { // what is of nobody is told by its name
		key.object, key.message = g.nameless(t, f.Object), g.nameless(t, f.Message)
		group = g.byKey[key]
	}
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
	if len(g.byText) < 10*maxFaultGroups {
		g.byText[text] = group
	}
	if group.Object != f.Object || group.Message != f.Message { // told without the names in which they differ
		group.Object, group.Message = g.nameless(t, f.Object), g.nameless(t, f.Message)
	}
	group.of = append(group.of, what)
	if t.Name == "" {
		return
	}
	group.Count++
	if len(group.Tenants) < groupNames {
		group.Tenants = append(group.Tenants, t.Name)
	}
}

var identitySeed = maphash.MakeSeed()

// identity tells findings apart by what they are about: texts change with the tenants that they are told of.
func identity(store, rule, object string, tenant uuid.UUID) uint64 {
	return maphash.Comparable(identitySeed, [4]string{store, rule, object, tenant.String()})
}

// mended are the findings of before that are not found any more, each with the tenants that have it no longer.
func mended(before, left []FaultGroup) []FaultGroup {
	still := map[uint64]bool{}
	for _, g := range left {
		for _, f := range g.of {
			still[f.what] = true
		}
	}
	out := []FaultGroup{}
	for _, g := range before {
		gone := g
		gone.Count, gone.Tenants, gone.of = 0, []Name{}, nil
		for _, f := range g.of {
			if still[f.what] {
				continue
			}
			gone.of = append(gone.of, f)
			if f.name == "" {
				continue
			}
			gone.Count++
			if len(gone.Tenants) < groupNames {
				gone.Tenants = append(gone.Tenants, f.name)
			}
		}
		if len(gone.of) > 0 {
			out = append(out, gone)
		}
	}
	return out
}

// nameless is a text with NAME in place of the tenant's own names, and OTHER in place of other tenants'.
func (g *faultGroups) nameless(t Tenant, text string) string {
	own := map[string]bool{t.Schema: true, t.Database: true, t.Role: true, t.ID.String(): true}
	return words.ReplaceAllStringFunc(text, func(found string) string {
		word, of := strings.CutPrefix(found, ofTenant) // a tenant's name may be any word, such as table
		switch {
		case own[word], of && word == string(t.Name):
			word = "NAME"
		case g.places[word]:
			word = "OTHER"
		}
		if of {
			return ofTenant + word
		}
		return word
	})
}

const ofTenant = "tenant "

// words are what a name may be.
var words = regexp.MustCompile(`(?:` + ofTenant + `)?[\p{L}\p{N}_$-]+`)

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
