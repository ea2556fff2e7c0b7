package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	fileName    = "tenantctl.yaml"
	fileEnv     = "TENANTCTL_CONFIG"
	largestFile = 64 << 10 // bytes; the file of a secret has the same limit
)

var (
	errEmpty    = errors.New("it is empty")
	errTooLarge = errors.New("it is larger than 64 KiB")
)

// file is a configuration file taken apart: the text and the line of each key that it sets.
type file struct {
	path string
	*layer
	faults []Fault

	contexts    map[string]*layer
	current     string // the context in force where nothing else chooses one
	currentLine int
	selection   selection
	overlaid    map[string]any // what the selected context sets

	into   *layer // that is being read
	inside string // "contexts.NAME." while into is that of a context
}

// readFile finds and reads the configuration file; without one it gives an empty file.
func readFile(asked string) (file, []Fault) {
	f := newFile()
	content, fault := f.find(asked)
	if fault != nil {
		return f, []Fault{*fault}
	}
	f.parse(content)
	return f, f.faults
}

func newFile() file {
	common := newLayer(0)
	return file{layer: common, into: common, contexts: map[string]*layer{}}
}

// find sets the path and gives the content of the first file there is. One that was asked for must be there.
func (f *file) find(asked string) ([]byte, *Fault) {
	unreadable := func(source, path string, err error) *Fault {
		return &Fault{Source: source, Problem: fmt.Sprintf("cannot read %s: %v; correct the path or leave it out", quote(path), err)}
	}
	source := "--config"
	if asked == "" {
		asked, source = os.Getenv(fileEnv), fileEnv
	}
	if asked != "" {
		f.path = asked
		content, err := readBounded(asked)
		if err != nil {
			return nil, unreadable(source, asked, err)
		}
		return content, nil
	}
	for _, path := range searched() {
		if _, err := os.Lstat(path); err != nil { // not there, or in a folder that this user may not look into
			continue
		}
		content, err := readBounded(path)
		switch {
		case strings.HasPrefix(path, "..") && belongsToAnother(path):
			return nil, &Fault{Source: path, Problem: "belongs to another user, and is in none of your folders; name it with --config where it is meant"}
		case err != nil:
			return nil, &Fault{Source: path, Problem: fmt.Sprintf("cannot be read: %v", err)}
		}
		f.path = path
		return content, nil
	}
	return nil, nil
}

// userFile is $XDG_CONFIG_HOME/tenantctl/config.yaml; empty where no home is known.
func userFile() string {
	home := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(home) {
		user, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		home = filepath.Join(user, ".config")
	}
	return filepath.Join(home, "tenantctl", "config.yaml")
}

// readBounded reads a small file; its error leaves out the path, which may be a misplaced secret.
func readBounded(path string) ([]byte, error) {
	content, err := func() ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		return io.ReadAll(io.LimitReader(f, largestFile+1))
	}()
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err
	}
	if len(content) > largestFile {
		return nil, errTooLarge
	}
	return content, err
}

// parse takes the content apart and collects what is wrong with its form.
func (f *file) parse(content []byte) {
	documents, err := decode(content)
	switch {
	case err != nil:
		f.syntaxFault(content, err)
	case len(documents) > 1:
		f.fault("", documents[1].Line, "a second YAML document begins here; keep one")
	case len(documents) == 1:
		f.section("", documents[0].Content[0])
	}
}

func decode(content []byte) ([]*yaml.Node, error) {
	var documents []*yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(content)); ; {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, err
		}
		documents = append(documents, &document)
	}
}

var syntaxShape = regexp.MustCompile(`^yaml: (?:line \d+: )?`)

// syntaxFault finds the line after which the file stops being YAML, since those of the parser are often one off or missing.
func (f *file) syntaxFault(content []byte, err error) {
	lines := bytes.SplitAfter(content, []byte("\n"))
	good := len(lines)
	for err := err; err != nil; _, err = decode(bytes.Join(lines[:good], nil)) {
		good--
	}
	reason := syntaxShape.ReplaceAllString(err.Error(), "")
	switch {
	case strings.HasPrefix(reason, "unknown anchor"): // the one reason that shows text of the file
		reason = "a value that begins with * must be in quotes"
	case strings.Contains(reason, "cannot start any token"):
		reason += "; indent with spaces instead of tabs, and put values with special characters in quotes"
	}
	f.fault("", good+1, "is not YAML: %s", reason)
}

func (f *file) fault(name string, line int, format string, args ...any) {
	if name != "" || f.inside != "" {
		name = strings.TrimSuffix(f.inside+name, ".")
	}
	f.faults = append(f.faults, Fault{Key: name, Source: f.at(line), Problem: fmt.Sprintf(format, args...)})
}

// section walks a mapping; an empty one sets nothing.
func (f *file) section(section string, node *yaml.Node) {
	node = resolved(node)
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		f.fault(section, node.Line, "found %s where keys were expected, such as %q", form(node), keysOf(section)[0]+": ...")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := resolved(node.Content[i]), resolved(node.Content[i+1])
		if key.Kind != yaml.ScalarNode {
			f.fault(section, key.Line, "found %s where the name of a key was expected", form(key))
			continue
		}
		name := joined(section, key.Value)
		if first, again := seen[name]; again {
			f.fault(quoteKey(name), node.Content[i].Line, "is here twice, first on line %d; remove one", first)
			continue
		}
		seen[name] = node.Content[i].Line
		f.setting(name, section, node.Content[i].Line, value)
	}
}

// setting takes one key and its value.
func (f *file) setting(name, section string, line int, value *yaml.Node) {
	switch {
	case name == contexts && f.inside == "":
		f.contextSection(line, value)
	case name == current && f.inside == "":
		f.currentContext(line, value)
	case section == "" && isKey(name) && strings.Contains(name, "."):
		above, last, _ := strings.Cut(name, ".")
		f.fault(name, line, "keys are nested; write %s: below %s:", last, above)
	case isSection(name):
		f.section(name, value)
	case !isKey(name):
		f.fault(quoteKey(name), line, "unknown key; %s", advice(name, section))
	case isNull(value):
	case value.Kind != yaml.ScalarNode:
		f.fault(name, line, "found %s where a single value was expected", form(value))
	default:
		f.into.values[name], f.into.lines[name] = value.Value, line
	}
}

func (f *file) currentContext(line int, value *yaml.Node) {
	switch {
	case isNull(value):
	case value.Kind != yaml.ScalarNode:
		f.fault(current, line, "found %s where the name of a context was expected", form(value))
	default:
		f.current, f.currentLine = value.Value, line
	}
}

func resolved(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

func form(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}
