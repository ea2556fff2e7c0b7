package legacy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	problem "github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/tenantctl/tenantctl/tenant"
)

const schemaName = "mapping.schema.json"

// compiled gives the JSON Schema, or the part of it that a location names.
var compiled = sync.OnceValue(func() func(location string) *jsonschema.Schema {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		panic(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(schemaName, document); err != nil {
		panic(err)
	}
	return compiler.MustCompile
})

// checkSchema reports in plain words where the file is not what the JSON Schema says.
func (r *reader) checkSchema(document any) {
	var invalid *jsonschema.ValidationError
	if !errors.As(compiled()(schemaName).Validate(document), &invalid) {
		return
	}
	leaves := leavesOf(invalid)
	// What holds something comes before it, and makes its own faults needless.
	slices.SortStableFunc(leaves, func(a, b *jsonschema.ValidationError) int {
		return cmp.Or(cmp.Compare(len(a.InstanceLocation), len(b.InstanceLocation)), cmp.Compare(rank(a), rank(b)))
	})
	for _, leaf := range leaves {
		r.schemaFault(leaf)
	}
}

// rank puts unknown keys first: one that is misspelled is not missing too.
func rank(e *jsonschema.ValidationError) int {
	if _, unknown := e.ErrorKind.(*problem.AdditionalProperties); unknown {
		return 0
	}
	return 1
}

// leavesOf gives the errors that say something by themselves.
func leavesOf(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	switch one := e.ErrorKind.(type) {
	case *problem.OneOf:
		if one.Subschemas == nil {
			return leavesOfBranch(e)
		}
	case *problem.PropertyNames:
		// The library's own location is overwritten when it goes on; names of sources alone have a rule.
		e.InstanceLocation, e.Causes = []string{"sources"}, nil
	}
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var leaves []*jsonschema.ValidationError
	for _, cause := range e.Causes {
		leaves = append(leaves, leavesOf(cause)...)
	}
	return leaves
}

// leavesOfBranch chooses, where none of several forms fits, the one that was meant: that of the same type.
func leavesOfBranch(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	here := len(e.InstanceLocation)
	types, required := &problem.Type{}, &problem.Required{}
	for _, cause := range e.Causes {
		leaves := leavesOf(cause)
		wrongType := false
		for _, leaf := range leaves {
			switch k := leaf.ErrorKind.(type) {
			case *problem.Type:
				if len(leaf.InstanceLocation) == here {
					wrongType = true
					types.Got = k.Got
					types.Want = append(types.Want, k.Want...)
				}
			case *problem.Required:
				if len(leaf.InstanceLocation) == here && len(leaves) == 1 {
					required.Missing = append(required.Missing, k.Missing...)
				}
			}
		}
		if !wrongType && len(required.Missing) == 0 {
			return leaves
		}
	}
	one := *e
	one.Causes = nil
	if len(required.Missing) == len(e.Causes) {
		one.ErrorKind = &oneRequired{Required: *required}
	} else {
		one.ErrorKind = types
	}
	return []*jsonschema.ValidationError{&one}
}

// oneRequired is a missing key where any of several would do.
type oneRequired struct{ problem.Required }

func (r *reader) schemaFault(e *jsonschema.ValidationError) {
	path := e.InstanceLocation
	name := nameOf(path)
	switch k := e.ErrorKind.(type) {
	case *problem.Type:
		r.fault(path, "%sfound %s in place of %s%s", name, typeWords[k.Got], wanted(k), quoteHint(k))
	case *problem.Enum:
		var words []string
		for _, w := range k.Want {
			if w != SharedChoose {
				words = append(words, fmt.Sprint(w))
			}
		}
		got := fmt.Sprint(k.Got)
		r.fault(path, "%s%s is not one of %s%s", name, shown(got), strings.Join(words, ", "), didYouMean(got, words))
	case *problem.Const:
		r.fault(path, "%sthis program reads %v alone", name, k.Want)
	case *problem.Required:
		for _, missing := range k.Missing {
			r.fault(below(path, missing), "%sthe key %s is missing", name, missing)
		}
	case *oneRequired:
		r.fault(below(path, k.Missing[0]), "%sone of the keys %s is missing", name, strings.Join(k.Missing, ", "))
	case *problem.OneOf:
		// More than one form fits: keys that exclude each other.
		var both []string
		for _, i := range k.Subschemas {
			both = append(both, compiled()(e.SchemaURL).OneOf[i].Required...)
		}
		if len(both) > 1 {
			r.fault(below(path, both[1]), "%s%s are both here; keep one", name, strings.Join(both, " and "))
		}
	case *problem.AdditionalProperties:
		known := slices.Sorted(maps.Keys(compiled()(e.SchemaURL).Properties))
		for _, unknown := range k.Properties {
			advice := didYouMean(unknown, known)
			if advice == "" {
				advice = "; known ones are " + strings.Join(known, ", ")
			}
			r.keyFault(below(path, unknown), "unknown key %s%s", shown(unknown), advice)
			if near := nearest(unknown, known); near != "" && nodeAt(r.root, below(path, near)) == nil {
				r.meant = append(r.meant, below(path, near))
			}
		}
	case *problem.PropertyNames:
		r.keyFault(below(path, k.Property), "the name %s is not made of a-z, 0-9, _ and -, up to 63 of them", shown(k.Property))
	case *problem.Pattern:
		r.fault(path, "%s%s is not made of a-z, 0-9, _ and -, up to 63 of them", name, shown(k.Got))
	case *problem.MinProperties, *problem.MinItems, *problem.MinLength:
		r.fault(path, "%sis empty", name)
	case *problem.MaxProperties:
		r.fault(path, "%shas more than one of from, sql, value and lookup; keep one", name)
	case *problem.MaxLength:
		r.fault(path, "%sis longer than %s", name, tenant.Plural(k.Want, "character"))
	case *problem.Minimum:
		r.fault(path, "%sis less than %s", name, k.Want.RatString())
	case *problem.Maximum:
		r.fault(path, "%sis more than %s", name, k.Want.RatString())
	default:
		r.fault(path, "%sdoes not fit the mapping's schema", name)
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

func wanted(k *problem.Type) string {
	var words []string
	for _, w := range k.Want {
		if (w != "null" || len(k.Want) == 1) && !slices.Contains(words, typeWords[w]) {
			words = append(words, typeWords[w])
		}
	}
	return strings.Join(words, " or ")
}

func quoteHint(k *problem.Type) string {
	if slices.Contains(k.Want, "string") && (k.Got == "number" || k.Got == "integer" || k.Got == "boolean") {
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
