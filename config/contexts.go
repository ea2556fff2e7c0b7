package config

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"
)

const (
	contextEnv = "TENANTCTL_CONTEXT"
	contexts   = "contexts"
	current    = "current-context"
)

// layer is the text and the line of each key that one part of the file sets.
type layer struct {
	line   int // of the context's name; 0 in the common part
	values map[string]any
	lines  map[string]int
}

func newLayer(line int) *layer {
	return &layer{line: line, values: map[string]any{}, lines: map[string]int{}}
}

// contextSection reads the contexts: a name each, and below it the same keys as in the file.
func (f *file) contextSection(line int, node *yaml.Node) {
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		f.fault(contexts, line, "found %s where names of contexts were expected, such as %q", form(node), "staging: ...")
		return
	}
	common := f.into
	defer func() { f.into, f.inside = common, "" }()
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := resolved(node.Content[i]), resolved(node.Content[i+1])
		at := node.Content[i].Line
		f.inside = ""
		switch {
		case key.Kind != yaml.ScalarNode || !environmentName.MatchString(key.Value):
			f.fault(contexts, at, "found %s, which is not the name of a context: %s", quoteKey(key.Value), environmentShape)
			continue
		case f.contexts[key.Value] != nil:
			f.fault(contexts+"."+key.Value, at, "is here twice, first on line %d; remove one", f.contexts[key.Value].line)
			continue
		}
		f.into, f.inside = newLayer(at), contexts+"."+key.Value+"."
		f.contexts[key.Value] = f.into
		f.section("", value)
	}
}

// names gives the contexts of the file in order.
func (f *file) names() []string { return slices.Sorted(maps.Keys(f.contexts)) }

// selection is the context in force, and what said so; empty where there is none.
type selection struct {
	name, source string
	over         string // what a variable stands in place of
}

// selected finds the context: --context, $TENANTCTL_CONTEXT, the choice of use-context, the file's current-context.
func (f *file) selected(asked string) (selection, *Fault) {
	var kept selection
	chosen, fault := chosenContext(f.path)
	switch {
	case fault != nil && asked == "" && os.Getenv(contextEnv) == "":
		return kept, fault
	case chosen != "":
		kept = selection{name: chosen, source: "config use-context"}
	case f.current != "":
		kept = selection{name: f.current, source: f.at(f.currentLine)}
	}
	switch env := os.Getenv(contextEnv); {
	case asked != "":
		return selection{name: asked, source: "--context"}, nil
	case env != "":
		s := selection{name: env, source: contextEnv}
		if kept.name != "" && kept.name != env {
			s.over = kept.name + " (" + kept.source + ")"
		}
		return s, nil
	}
	return kept, nil
}

// use lays the selected context over the common part of the file.
func (f *file) use(asked string) []Fault {
	s, fault := f.selected(asked)
	switch {
	case fault != nil:
		return []Fault{*fault}
	case s.name == "":
		return nil
	case f.contexts[s.name] == nil:
		return []Fault{{Key: "", Source: s.source, Problem: f.unknownContext(s.name)}}
	}
	f.selection = s
	overlay := f.contexts[s.name]
	maps.Copy(f.values, overlay.values)
	maps.Copy(f.lines, overlay.lines)
	if _, named := overlay.values["environment"]; !named { // the common part's name is not this environment's
		overlay.values["environment"], overlay.lines["environment"] = s.name, overlay.line
		f.values["environment"], f.lines["environment"] = s.name, overlay.line
	}
	f.overlaid = overlay.values
	return nil
}

// unknownContext says that a context does not exist, and which do.
func (f *file) unknownContext(name string) string {
	problem := "there is no context " + quote(name)
	switch {
	case f.path == "":
		return problem + ": no configuration file was found; tenantctl config init writes one"
	case len(f.contexts) == 0:
		return problem + ": " + f.path + " has no contexts"
	}
	known := f.names()
	if near := nearestOf(name, known); near != "" {
		problem += "; did you mean " + near + "?"
	}
	return problem + "; " + f.path + " has " + strings.Join(known, ", ")
}

// nearestOf is the name with the fewest letters to change, at most half of it.
func nearestOf(unknown string, names []string) string {
	best, fewest := "", (len(unknown)+1)/2+1
	for _, name := range names {
		if n := levenshtein.ComputeDistance(strings.ToLower(unknown), strings.ToLower(name)); n < fewest {
			best, fewest = name, n
		}
	}
	return best
}

// Context is one of the file's contexts, as config get-contexts shows it.
type Context struct {
	Name        string `json:"name" yaml:"name"`
	Current     bool   `json:"current" yaml:"current"`
	Environment string `json:"environment" yaml:"environment"`
	Protected   bool   `json:"protected" yaml:"protected"`
	Postgres    string `json:"postgres" yaml:"postgres"` // host and database
	MongoDB     string `json:"mongodb" yaml:"mongodb"`   // hosts
	Problem     string `json:"problem,omitempty" yaml:"problem,omitempty"`
}

// Contexts gives the contexts of the file in order, and where it is. A context that cannot be used says why.
func Contexts(options Options) (list []Context, path string, err error) {
	f, faults := readFile(options.File)
	if err := faultsError(faults); err != nil {
		return nil, f.path, err
	}
	in, fault := f.selected(options.Context)
	if fault != nil {
		return nil, f.path, faultsError([]Fault{*fault})
	}
	for _, name := range f.names() {
		c := Context{Name: name, Current: name == in.name}
		c.Environment, c.Protected = f.named(name)
		of := options
		of.Context = name
		if cfg, err := Load(of); err != nil {
			c.Problem = strings.Join(strings.Fields(err.Error()), " ")
		} else {
			t := cfg.Target()
			c.Environment, c.Protected, c.Postgres, c.MongoDB = t.Environment, t.Protected, t.Postgres, t.MongoDB
		}
		list = append(list, c)
	}
	return list, f.path, nil
}

// named gives the environment's name and protection of a context, as the file has them.
func (f *file) named(context string) (environment string, isProtected bool) {
	environment = context
	if name, set := f.contexts[context].values["environment"].(string); set {
		environment = name
	}
	text, set := f.contexts[context].values["protected"].(string)
	if !set {
		text, _ = f.values["protected"].(string)
	}
	return environment, strings.EqualFold(text, "true")
}

// ContextNames gives the names of the file's contexts alone, whatever else is wrong with it.
func ContextNames(options Options) []string {
	f, _ := readFile(options.File)
	return f.names()
}

// CurrentContext is the context in force and what chose it; empty where there is none.
func CurrentContext(options Options) (name, source string, err error) {
	f, faults := readFile(options.File)
	faults = append(faults, f.use(options.Context)...)
	return f.selection.name, f.selection.source, faultsError(faults)
}

// UseContext keeps the choice of a context for a person, beside the file rather than in it. An empty name ends it.
func UseContext(options Options, name string) (path string, err error) {
	f, faults := readFile(options.File)
	switch {
	case len(faults) > 0:
		return f.path, faultsError(faults)
	case f.path == "":
		return "", faultsError([]Fault{{Problem: f.unknownContext(name)}})
	case name != "" && f.contexts[name] == nil:
		return f.path, faultsError([]Fault{{Problem: f.unknownContext(name)}})
	}
	if err := chooseContext(f.path, name); err != nil {
		return f.path, fmt.Errorf("keep the choice of a context: %w", err)
	}
	return f.path, nil
}
