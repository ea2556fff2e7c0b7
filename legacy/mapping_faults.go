package legacy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"

	"github.com/tenantctl/tenantctl/tenant"
)

// Fault is one thing wrong with a mapping and how to put it right.
type Fault struct {
	File    string `json:"file" yaml:"file"`
	Line    int    `json:"line" yaml:"line"`
	Column  int    `json:"column" yaml:"column"`
	Problem string `json:"problem" yaml:"problem"` // never holds a secret
}

// String gives the fault as one line: file:line:column: problem.
func (f Fault) String() string {
	if f.Line == 0 {
		return f.Problem
	}
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Problem)
}

// Faults is the error of a mapping that cannot be used: every fault found, in the file's order.
type Faults struct {
	Faults []Fault `json:"faults" yaml:"faults"`
}

// Error is one line for a single fault, else a heading and a line per fault.
func (f *Faults) Error() string {
	if len(f.Faults) == 1 {
		return f.Faults[0].String()
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d faults in the mapping:", len(f.Faults))
	for _, fault := range f.Faults {
		text.WriteString("\n  - " + fault.String())
	}
	return text.String()
}

// Unwrap makes it wrong usage.
func (f *Faults) Unwrap() error { return tenant.ErrInvalid }

// placed is a fault and the path of what it is about; nil where it is about a place in the text alone.
type placed struct {
	Fault
	path []string
}

func (r *reader) faultAt(line, column int, format string, args ...any) {
	r.faults = append(r.faults, placed{Fault: Fault{File: r.file, Line: line, Column: column, Problem: fmt.Sprintf(format, args...)}})
}

// fault reports what is wrong with the value at a path, unless something is known to be wrong with it or with what holds it.
func (r *reader) fault(path []string, format string, args ...any) {
	if path == nil {
		path = []string{}
	}
	for _, f := range r.faults {
		if f.path != nil && len(f.path) <= len(path) && slices.Equal(f.path, path[:len(f.path)]) {
			return
		}
	}
	if slices.ContainsFunc(r.meant, func(m []string) bool { return slices.Equal(m, path) }) {
		return
	}
	r.faults = append(r.faults, placed{place(r.file, r.root, path, fmt.Sprintf(format, args...)), path})
}

// place gives a fault the position of the value at a path, or of what should hold it.
func place(file string, root *yaml.Node, path []string, problem string) Fault {
	f := Fault{File: file, Problem: problem}
	if root != nil {
		_, nearest := walkNodes(root, path)
		f.Line, f.Column = nearest.Line, nearest.Column
	}
	return f
}

// sorted gives the faults in the file's order.
func (r *reader) sorted() []Fault {
	faults := make([]Fault, len(r.faults))
	for i, f := range r.faults {
		faults[i] = f.Fault
	}
	sortFaults(faults)
	return faults
}

func sortFaults(faults []Fault) {
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Problem, b.Problem))
	})
}

// bare is a text of the file that can be shown; one with the looks of a URL, perhaps with its password, is hidden.
func bare(text string) string {
	const longest = 100
	if strings.Contains(text, "://") || strings.ContainsAny(text, "@=") {
		return "xxxxx"
	}
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return text
}

// shown is bare in quotes.
func shown(text string) string {
	if text = bare(text); text == "xxxxx" {
		return text
	}
	return strconv.Quote(text)
}

// didYouMean is "; did you mean X?" for the nearest of the names, or "" where none is near.
func didYouMean(word string, names []string) string {
	if best := nearest(word, names); best != "" {
		return "; did you mean " + bare(best) + "?"
	}
	return ""
}

// nearest is the name with the fewest letters to change, at most a third of the word's; "" where none is near.
func nearest(word string, names []string) string {
	best, fewest := "", min((len(word)+2)/3+1, len(word))
	for _, name := range slices.Sorted(slices.Values(names)) {
		changes := levenshtein.ComputeDistance(loose(word), loose(name))
		if changes < fewest {
			best, fewest = name, changes
		}
	}
	if best == word {
		return ""
	}
	return best
}

// loose is a name without what people spell in different ways.
func loose(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "") }

func found(kind yaml.Kind) string {
	switch kind {
	case yaml.MappingNode:
		return "keys"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}
