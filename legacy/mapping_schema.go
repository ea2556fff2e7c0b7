package legacy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

// checkSchema reports in plain words where the file is not what the JSON Schema says.
func (r *reader) checkSchema(document any) {
	found := mappingShape().violations(nil, document)
	// What holds something comes before it, and makes its own faults needless.
	slices.SortStableFunc(found, func(a, b violation) int {
		return cmp.Or(cmp.Compare(len(a.path), len(b.path)), cmp.Compare(rank(a), rank(b)))
	})
	for _, m := range found {
		r.schemaFault(m)
	}
}

// rank puts unknown keys first: one that is misspelled is not missing too.
func rank(m violation) int {
	if m.keyword == "additionalProperties" {
		return 0
	}
	return 1
}

func (r *reader) schemaFault(m violation) {
	path, name := m.path, nameOf(m.path)
	switch m.keyword {
	case "type":
		r.fault(path, "%sfound %s in place of %s%s", name, typeWords[typeOf(m.got)], wanted(m), quoteHint(m))
	case "enum":
		words := slices.DeleteFunc(slices.Clone(m.shape.Enum), func(w string) bool { return w == SharedChoose })
		got := fmt.Sprint(m.got)
		r.fault(path, "%s%s is not one of %s%s", name, shown(got), strings.Join(words, ", "), didYouMean(got, words))
	case "const":
		r.fault(path, "%sthis program reads %v alone", name, *m.shape.Const)
	case "required":
		for _, missing := range m.names {
			r.fault(below(path, missing), "%sthe key %s is missing", name, missing)
		}
	case requireOne:
		r.fault(below(path, m.names[0]), "%sone of the keys %s is missing", name, strings.Join(m.names, ", "))
	case "oneOf": // keys that exclude each other
		r.fault(below(path, m.names[1]), "%s%s are both here; keep one", name, strings.Join(m.names, " and "))
	case "additionalProperties":
		r.unknownKeys(m)
	case "propertyNames":
		r.keyFault(below(path, m.names[0]), "the name %s is not made of a-z, 0-9, _ and -, up to 63 of them", shown(m.names[0]))
	case "pattern":
		r.fault(path, "%s%s is not made of a-z, 0-9, _ and -, up to 63 of them", name, shown(m.got.(string)))
	case "minProperties", "minItems", "minLength":
		r.fault(path, "%sis empty", name)
	case "maxProperties":
		r.fault(path, "%shas more than one of from, sql, value and lookup; keep one", name)
	case "maxLength":
		r.fault(path, "%sis longer than %s", name, tenant.Plural(*m.shape.MaxLength, "character"))
	case "minimum":
		r.fault(path, "%sis less than %.0f", name, *m.shape.Minimum)
	case "maximum":
		r.fault(path, "%sis more than %.0f", name, *m.shape.Maximum)
	default:
		r.fault(path, "%sdoes not fit the mapping's schema", name)
	}
}

func (r *reader) unknownKeys(m violation) {
	known := slices.Sorted(maps.Keys(m.shape.Properties))
	for _, unknown := range m.names {
		advice := didYouMean(unknown, known)
		if advice == "" {
			advice = "; known ones are " + strings.Join(known, ", ")
		}
		r.keyFault(below(m.path, unknown), "unknown key %s%s", shown(unknown), advice)
		if near := nearest(unknown, known); near != "" && nodeAt(r.root, below(m.path, near)) == nil {
			r.meant = append(r.meant, below(m.path, near))
		}
	}
}

// keyFault is fault at the key itself, not at its value.
func (r *reader) keyFault(path []string, format string, args ...any) {
	before := len(r.faults)
	r.fault(path, format, args...)
	holder := nodeAt(r.root, path[:len(path)-1])
	if len(r.faults) == before || holder == nil {
		return
	}
	for i := 0; i+1 < len(holder.Content); i += 2 {
		if holder.Content[i].Value == path[len(path)-1] {
			r.faults[before].Line, r.faults[before].Column = holder.Content[i].Line, holder.Content[i].Column
		}
	}
}

var typeWords = map[string]string{
	"object": "keys", "array": "a list", "string": "text", "number": "a number", "integer": "a whole number",
	"boolean": "true or false", "null": "nothing",
}

func wanted(m violation) string {
	var words []string
	for _, w := range m.names {
		if (w != "null" || len(m.names) == 1) && !slices.Contains(words, typeWords[w]) {
			words = append(words, typeWords[w])
		}
	}
	return strings.Join(words, " or ")
}

func quoteHint(m violation) string {
	if got := typeOf(m.got); slices.Contains(m.names, "string") && (got == "number" || got == "integer" || got == "boolean") {
		return "; put it in quotes"
	}
	return ""
}

// nameOf is how a message calls the value at a path: "via[0].columns: " for tables, 3, via, 0, columns.
func nameOf(path []string) string {
	if len(path) > 2 && (path[0] == "tables" || path[0] == "sources") {
		path = path[2:]
	}
	var name strings.Builder
	for i, step := range path {
		switch {
		case step != "" && strings.Trim(step, "0123456789") == "":
			name.WriteString("[" + step + "]")
			continue
		case i > 0:
			name.WriteByte('.')
		}
		name.WriteString(bare(step))
	}
	if name.Len() == 0 {
		return ""
	}
	return name.String() + ": "
}
