package cmd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/tenantctl/tenantctl/tenant"
)

// declaredKeys are the fields of a declared tenant; those of the second list are what get prints beside them.
var (
	declaredKeys = []string{"name", "state", "domains", "labels"}
	printedKeys  = []string{"schema", "database", "role", "id", "versions", "created_at", "updated_at", "purge_after", "hold", "adopted", "suspended_for", "environment"}
)

const declaredHint = "a tenant has name, state (active or suspended), domains (a list) and labels (a text for each key)"

// readDeclared reads the tenants that a file declares: a list in YAML or JSON, or a document on each line of .ndjson; "-" is stdin.
func (a *app) readDeclared(path string) iter.Seq2[tenant.Declared, error] {
	return func(yield func(tenant.Declared, error) bool) {
		in, name := a.in, "stdin"
		if path != "-" {
			f, err := os.Open(path)
			if err != nil {
				yield(tenant.Declared{}, tenant.Invalid("", "cannot read the file of tenants %s: %s", path, reason(err)))
				return
			}
			defer f.Close()
			in, name = f, path
		}
		switch ext := strings.ToLower(filepath.Ext(path)); {
		case ext == ".ndjson" || ext == ".jsonl":
			declaredLines(skipBOM(in), name, yield)
		case path == "-" || slices.Contains([]string{".yaml", ".yml", ".json"}, ext):
			declaredList(skipBOM(in), name, yield)
		default:
			yield(tenant.Declared{}, tenant.Invalid("name it .yaml, .json or .ndjson after what it holds", "cannot tell the format of %s", path))
		}
	}
}

func declaredList(in io.Reader, path string, yield func(tenant.Declared, error) bool) {
	documents := yamlv3.NewDecoder(in)
	var list []yamlv3.Node
	err := documents.Decode(&list)
	if errors.Is(err, io.EOF) {
		return
	}
	if err == nil {
		var more yamlv3.Node
		if next := documents.Decode(&more); next == nil {
			err = badLine(path, more.Line, "there is a second document; write one list")
		} else if !errors.Is(next, io.EOF) {
			err = badYAML(path, next)
		}
	} else {
		err = badYAML(path, err)
	}
	if err != nil {
		yield(tenant.Declared{}, err)
		return
	}
	for i := range list {
		d, err := declared(&list[i], path, list[i].Line)
		list[i] = yamlv3.Node{} // what was read is not kept twice
		if !yield(d, err) || err != nil {
			return
		}
	}
}

func declaredLines(in io.Reader, path string, yield func(tenant.Declared, error) bool) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	n := 0
	for lines.Scan() {
		n++
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		var doc yamlv3.Node
		if err := yamlv3.Unmarshal(lines.Bytes(), &doc); err != nil {
			yield(tenant.Declared{}, badLine(path, n, "%s", strings.TrimPrefix(err.Error(), "yaml: ")))
			return
		}
		if len(doc.Content) != 1 {
			continue // a comment
		}
		d, err := declared(doc.Content[0], path, n)
		if !yield(d, err) || err != nil {
			return
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		yield(tenant.Declared{}, badLine(path, n+1, "the line is longer than a megabyte"))
	} else if err != nil {
		yield(tenant.Declared{}, tenant.Invalid("", "cannot read the file of tenants: %s", err))
	}
}

// declared reads one entry. A field that is not there is nil: it leaves the tenant as it is.
func declared(n *yamlv3.Node, path string, line int) (d tenant.Declared, err error) {
	d.From = place(path, line)
	if n.Kind == yamlv3.AliasNode {
		n = n.Alias
	}
	if n.Kind != yamlv3.MappingNode {
		return d, tenant.Invalid(declaredHint, "%s: a tenant is expected, with its fields", d.From)
	}
	given := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i].Value, n.Content[i+1]
		at := max(line, n.Content[i].Line) // of NDJSON, each line is a document that begins at 1
		if given[key] {
			return d, badLine(path, at, "field %q is given twice", key)
		}
		given[key] = true
		if err := declare(&d, key, value); err != nil {
			var e *tenant.Error
			if errors.As(err, &e) {
				placed := *e
				placed.Msg = place(path, at) + ": " + e.Msg
				return d, &placed
			}
			return d, err
		}
	}
	if d.Name == "" {
		return d, tenant.Invalid(declaredHint, "%s: the tenant has no name", d.From)
	}
	return d, nil
}

func declare(d *tenant.Declared, key string, value *yamlv3.Node) error {
	if value.Kind == yamlv3.AliasNode {
		value = value.Alias
	}
	texts := map[string]func(string){
		"name": func(s string) { d.Name = tenant.Name(s) }, "state": func(s string) { d.State = tenant.State(s) },
		"schema": func(s string) { d.Schema = s }, "database": func(s string) { d.Database = s }, "role": func(s string) { d.Role = s },
	}
	switch set := texts[key]; {
	case set != nil:
		text, err := scalar(key, value)
		if err == nil {
			set(text)
		}
		return err
	case key == "domains":
		if value.Kind != yamlv3.SequenceNode {
			return tenant.Invalid("write a list; [] takes all away, and without the field they stay", "domains are no list")
		}
		d.Domains = []string{}
		for _, v := range value.Content {
			text, err := scalar("a domain", v)
			if err != nil {
				return err
			}
			d.Domains = append(d.Domains, text)
		}
	case key == "labels":
		return declareLabels(d, value)
	case !slices.Contains(printedKeys, key):
		hint := declaredHint
		for _, known := range declaredKeys {
			if levenshtein.ComputeDistance(strings.ToLower(key), known) <= 2 {
				hint = "did you mean " + known + "?"
			}
		}
		return tenant.Invalid(hint, "unknown field %q", key)
	}
	return nil
}

func declareLabels(d *tenant.Declared, value *yamlv3.Node) error {
	if value.Kind != yamlv3.MappingNode {
		return tenant.Invalid("write key: value; {} takes all away, and without the field they stay", "labels are no mapping")
	}
	d.Labels = map[string]string{}
	for i := 0; i+1 < len(value.Content); i += 2 {
		key := value.Content[i].Value
		if _, twice := d.Labels[key]; twice {
			return tenant.Invalid("give each key once", "label %q is given twice", key)
		}
		text, err := scalar("label "+key, value.Content[i+1])
		if err != nil {
			return err
		}
		d.Labels[key] = text
	}
	return nil
}

// scalar is a text as it is written: 1.10 stays that.
func scalar(what string, v *yamlv3.Node) (string, error) {
	if v.Kind == yamlv3.AliasNode {
		v = v.Alias
	}
	if v.Kind != yamlv3.ScalarNode || v.Tag == "!!null" {
		return "", tenant.Invalid(fmt.Sprintf("write a text; %s for an empty one", `""`), "%s is no text", what)
	}
	return v.Value, nil
}
