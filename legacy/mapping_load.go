package legacy

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tenantctl/tenantctl/tenant"
)

// Schema is the JSON Schema of mapping files, as editors use it.
//
//go:embed mapping.schema.json
var Schema []byte

const (
	largestMapping = 4 << 20  // bytes
	largestURL     = 64 << 10 // bytes of a file that holds a URL
)

// Load reads a mapping file and fills in its defaults. Its error is a *Faults with everything that is wrong in the file.
func Load(path string) (*Mapping, error) {
	content, err := readBounded(path, largestMapping)
	if err != nil {
		return nil, tenant.Invalid("name a mapping with -f; tenantctl import plan writes a first one", "cannot read the mapping %s: %v", path, err)
	}
	return LoadBytes(path, content)
}

// LoadBytes is Load for a file's content; name is what messages call the file, and paths in it are relative to its folder.
func LoadBytes(name string, content []byte) (*Mapping, error) {
	r := &reader{file: name}
	m := r.read(content)
	if len(r.faults) > 0 {
		return nil, &Faults{Faults: r.sorted()}
	}
	m.fillDefaults()
	return m, nil
}

// readBounded reads a file of at most limit bytes; its error leaves out the path, which may be a misplaced secret.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err == nil {
		defer func() { _ = f.Close() }()
		var content []byte
		content, err = io.ReadAll(io.LimitReader(f, limit+1))
		if err == nil && int64(len(content)) > limit {
			err = fmt.Errorf("it is larger than %d KiB", limit>>10)
		}
		if err == nil {
			return content, nil
		}
	}
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err
	}
	return nil, err
}

// reader takes a mapping file apart and collects what is wrong with it.
type reader struct {
	file   string
	root   *yaml.Node
	faults []placed
	meant  [][]string // paths of keys that are there under a wrong name
}

func (r *reader) read(content []byte) *Mapping {
	documents, err := parseYAML(content)
	switch {
	case err != nil:
		r.syntaxFault(content, err)
		return nil
	case len(documents) == 0 || len(documents[0].Content) == 0:
		r.faultAt(1, 1, "the file is empty; tenantctl import plan writes a first mapping")
		return nil
	case len(documents) > 1:
		r.faultAt(documents[1].Line, documents[1].Column, "a second YAML document begins here; keep one")
	}
	r.root = documents[0].Content[0]
	r.checkSchema(r.plain(nil, r.root))
	m := &Mapping{file: r.file, root: r.root}
	if err := r.root.Decode(m); err != nil && len(r.faults) == 0 {
		r.fault(nil, "cannot be read as a mapping")
	}
	for _, t := range m.Tables {
		if t != nil && t.Query != "" {
			t.From = queryName(t)
		}
	}
	r.rules(m)
	return m
}

func parseYAML(content []byte) ([]*yaml.Node, error) {
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

var syntaxShape = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxFault places an error of the YAML parser, whose text may show the file's in one case only.
func (r *reader) syntaxFault(content []byte, err error) {
	lines := bytes.Split(content, []byte("\n"))
	line := 1
	if found := syntaxShape.FindStringSubmatch(err.Error()); found != nil && found[1] != "" {
		line, _ = strconv.Atoi(found[1])
	}
	line = min(max(line, 1), len(lines))
	reason := syntaxShape.ReplaceAllString(err.Error(), "")
	switch {
	case strings.HasPrefix(reason, "unknown anchor"):
		reason = "a value that begins with * must be in quotes"
	case strings.Contains(reason, "cannot start any token"):
		reason += "; indent with spaces instead of tabs, and put values with special characters in quotes"
	}
	text := lines[line-1]
	r.faultAt(line, len(text)-len(bytes.TrimLeft(text, " \t"))+1, "is not YAML: %s", reason)
}

var (
	scalarTags = []string{"!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp"}
	kindTags   = map[yaml.Kind][]string{yaml.MappingNode: {"!!map"}, yaml.SequenceNode: {"!!seq"}, yaml.ScalarNode: scalarTags}
)

// plain gives a node as JSON would have it. What a mapping cannot hold (an alias, a key given twice) becomes a fault, and
// leaves the tree.
func (r *reader) plain(path []string, n *yaml.Node) any {
	if n.Kind == yaml.AliasNode {
		r.fault(path, "an alias such as *name cannot be used here; write out the value")
		*n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: n.Line, Column: n.Column}
		return nil
	}
	if tag := n.ShortTag(); !slices.Contains(kindTags[n.Kind], tag) {
		r.fault(path, "the tag %s means nothing here; leave it out", shown(tag))
		*n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: n.Line, Column: n.Column}
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return r.plainMap(path, n)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = r.plain(below(path, strconv.Itoa(i)), item)
		}
		return list
	}
	return r.plainScalar(path, n)
}

func (r *reader) plainMap(path []string, n *yaml.Node) map[string]any {
	object := make(map[string]any, len(n.Content)/2)
	first := map[string]int{}
	kept := n.Content[:0:0]
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			r.faultAt(key.Line, key.Column, "found %s in place of the name of a key", found(key.Kind))
			continue
		}
		if line, again := first[key.Value]; again {
			r.faultAt(key.Line, key.Column, "%s is here twice, first on line %d; remove one", shown(key.Value), line)
			continue
		}
		first[key.Value] = key.Line
		key.Tag = "!!str" // null and 1 are names here
		kept = append(kept, key, value)
	}
	n.Content = kept
	for i := 0; i < len(kept); i += 2 {
		object[kept[i].Value] = r.plain(below(path, kept[i].Value), kept[i+1])
	}
	return object
}

func (r *reader) plainScalar(path []string, n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!str", "!!timestamp":
		return n.Value
	}
	var value any
	if err := n.Decode(&value); err != nil {
		r.fault(path, "is not what its tag says")
		return nil
	}
	if f, ok := value.(float64); ok && (math.IsInf(f, 0) || math.IsNaN(f)) {
		return n.Value
	}
	return value
}

func below(path []string, key string) []string { return append(slices.Clip(path), key) }

// nodeAt gives the node that a path leads to, or nil.
func nodeAt(root *yaml.Node, path []string) *yaml.Node {
	n, _ := walkNodes(root, path)
	return n
}

// walkNodes goes down a path as far as it leads. n is nil where it ends early; nearest is what a person is shown: a value, the
// key of a list or a mapping, or what is above one that is missing.
func walkNodes(root *yaml.Node, path []string) (n, nearest *yaml.Node) {
	n, nearest = root, root
	for _, step := range path {
		var next, key *yaml.Node
		switch {
		case n == nil:
		case n.Kind == yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == step {
					key, next = n.Content[i], n.Content[i+1]
				}
			}
		case n.Kind == yaml.SequenceNode:
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.Content) {
				next = n.Content[i]
				key = next
			}
		}
		if next == nil {
			return nil, nearest
		}
		n, nearest = next, key
		if next.Kind == yaml.ScalarNode && next.ShortTag() != "!!null" {
			nearest = next
		}
	}
	return n, nearest
}

// fillDefaults writes out what the file left to its defaults.
func (m *Mapping) fillDefaults() {
	only := ""
	if len(m.Sources) == 1 {
		for name := range m.Sources {
			only = name
		}
	}
	orElse := func(value *string, other string) {
		if *value == "" {
			*value = other
		}
	}
	orElse(&m.Tenants.Source, only)
	for _, t := range m.Tables {
		orElse(&t.Source, only)
		orElse(&t.Mode, ModeInsert)
		orElse(&t.OnError, OnErrorReject)
		if t.ToCollection == "" {
			orElse(&t.To, m.baseName(t))
			orElse(&t.Triggers, TriggersFire)
		}
	}
}

// baseName is the target of a table that names none: the source's name, for files without folder and endings.
func (m *Mapping) baseName(t *Table) string {
	spec := m.Sources[t.Source]
	if spec == nil || spec.Path == "" {
		return t.From
	}
	name := path.Base(filepath.ToSlash(t.From))
	for _, ending := range []string{".gz", ".zst", ".csv", ".tsv", ".ndjson", ".jsonl"} {
		name = strings.TrimSuffix(name, ending)
	}
	return name
}

// The kinds of places that rows come from.
const (
	storePostgres = "postgres"
	storeMySQL    = "mysql"
	storeMongoDB  = "mongodb"
	storeFiles    = "files"
)

// storeOfURL tells by its scheme what a URL leads to; "" for an unknown one.
func storeOfURL(url string) string {
	scheme, _, found := strings.Cut(url, "://")
	if !found {
		return ""
	}
	switch strings.ToLower(scheme) {
	case "postgres", "postgresql":
		return storePostgres
	case "mysql", "mariadb":
		return storeMySQL
	case "mongodb", "mongodb+srv":
		return storeMongoDB
	}
	return ""
}

// knownStore is the kind of place a source is, as far as the mapping alone tells; "" where its URL is kept elsewhere.
func (m *Mapping) knownStore(source string) string {
	switch spec := m.Sources[source]; {
	case spec == nil:
		return ""
	case spec.Path != "":
		return storeFiles
	default:
		return storeOfURL(spec.URL)
	}
}

// realStore is knownStore with the URL looked up.
func (m *Mapping) realStore(source string) string {
	spec := m.Sources[source]
	if spec == nil || spec.Path != "" {
		return m.knownStore(source)
	}
	url, err := spec.resolve(filepath.Dir(m.file))
	if err != nil {
		return ""
	}
	return storeOfURL(url)
}

// resolve gives the source's URL from where the mapping says that it is; "" for files. dir is the mapping's folder. Its
// error never shows the URL.
func (s *SourceSpec) resolve(dir string) (string, error) {
	url, where := s.URL, "url"
	switch {
	case s.Path != "":
		return "", nil
	case s.URLEnv != "":
		where = "the environment variable " + shown(s.URLEnv)
		url = strings.TrimSpace(os.Getenv(s.URLEnv))
		if url == "" {
			return "", tenant.Invalid("set it to the URL of the legacy database", "%s is not set", where)
		}
	case s.URLFile != "":
		where = "the file " + shown(s.URLFile)
		file := s.URLFile
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		content, err := readBounded(file, largestURL)
		if err != nil {
			return "", tenant.Invalid("url_file is a file that holds the URL alone", "cannot read %s: %v", where, err)
		}
		url = strings.TrimSpace(string(content))
	}
	if storeOfURL(url) == "" {
		return "", tenant.Invalid("begin it with postgres://, mysql:// or mongodb://", "%s holds no URL of a known kind", where)
	}
	return url, nil
}
