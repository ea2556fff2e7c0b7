package cmd

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/tenantctl/tenantctl/tenant"
)

// readTenants reads the tenants that a file asks for, as they are asked for. The first bad line ends it.
func readTenants(path string) (iter.Seq2[tenant.CreateRequest, error], error) {
	readers := map[string]func(io.Reader, string, func(tenant.CreateRequest, error) bool){
		".csv": readCSV, ".yaml": readYAML, ".yml": readYAML, ".ndjson": readNDJSON, ".jsonl": readNDJSON,
	}
	read, ok := readers[strings.ToLower(filepath.Ext(path))]
	if !ok {
		return nil, tenant.Invalid("name it .csv, .yaml or .ndjson after what it holds", "cannot tell the format of %s", path)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, tenant.Invalid("", "cannot read the file of tenants %s: %s", path, reason(err))
	}
	return func(yield func(tenant.CreateRequest, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(tenant.CreateRequest{}, tenant.Invalid("", "cannot read the file of tenants %s: %s", path, reason(err)))
			return
		}
		defer f.Close()
		read(skipBOM(f), path, yield)
	}, nil
}

// skipBOM leaves out the mark that spreadsheets put before UTF-8.
func skipBOM(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if head, err := b.Peek(3); err == nil && string(head) == "\ufeff" {
		// Peek has shown that they are there.
		_, _ = b.Discard(3)
	}
	return b
}

func badLine(path string, line int, format string, args ...any) error {
	return tenant.Invalid("", "%s: %s", place(path, line), fmt.Sprintf(format, args...))
}

func place(path string, line int) string { return fmt.Sprintf("%s:%d", path, line) }

// readCSV takes the columns name, domains, labels and label.KEY, in any order.
func readCSV(r io.Reader, path string, yield func(tenant.CreateRequest, error) bool) {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil {
		yield(tenant.CreateRequest{}, badLine(path, 1, "expected a header with a column name"))
		return
	}
	columns := slices.Clone(head)
	for i := range columns {
		columns[i] = strings.TrimSpace(columns[i])
		if col := columns[i]; col != "name" && col != "domains" && col != "domain" && col != "labels" && !strings.HasPrefix(col, "label.") {
			yield(tenant.CreateRequest{}, badLine(path, 1, "unknown column %q; there are name, domains, labels and label.KEY", col))
			return
		} else if slices.Contains(columns[:i], col) {
			yield(tenant.CreateRequest{}, badLine(path, 1, "column %q is there twice", col))
			return
		}
	}
	if !slices.Contains(columns, "name") {
		yield(tenant.CreateRequest{}, badLine(path, 1, "expected a column name"))
		return
	}
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			yield(tenant.CreateRequest{}, badLine(path, parse.Line, "%s", parse.Err))
			return
		}
		if err != nil {
			yield(tenant.CreateRequest{}, tenant.Invalid("", "cannot read the file of tenants: %s", err))
			return
		}
		line, _ := c.FieldPos(0)
		req := tenant.CreateRequest{Labels: map[string]string{}, From: place(path, line)}
		for i, v := range record {
			v = strings.TrimSpace(v)
			switch key, isLabel := strings.CutPrefix(columns[i], "label."); {
			case columns[i] == "name":
				req.Name = v
			case columns[i] == "domains" || columns[i] == "domain":
				req.Domains = fields(v)
			case isLabel && v != "":
				if err := tenant.CheckGivenLabel(key, v); err != nil {
					yield(req, req.Placed(err))
					return
				}
				req.Labels[key] = v
			case columns[i] == "labels":
				labels, err := tenant.ParseLabels(fields(v))
				if err != nil {
					yield(req, req.Placed(err))
					return
				}
				for k, v := range labels {
					req.Labels[k] = v
				}
			}
		}
		if !yield(req, nil) {
			return
		}
	}
}

func fields(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ';' || r == ' ' })
}

func readNDJSON(r io.Reader, path string, yield func(tenant.CreateRequest, error) bool) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	n := 0
	for lines.Scan() {
		n++
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		var req tenant.CreateRequest
		if err := d.Decode(&req); err != nil {
			yield(req, badJSON(path, n, err))
			return
		}
		if d.More() {
			yield(req, badLine(path, n, "there is more on the line than one object"))
			return
		}
		req.From = place(path, n)
		if !yield(req, nil) {
			return
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = badLine(path, n+1, "the line is longer than a megabyte")
	} else if err != nil {
		err = tenant.Invalid("", "cannot read the file of tenants: %s", err)
	}
	if err != nil {
		yield(tenant.CreateRequest{}, err)
	}
}

const fieldsHint = "a tenant has a name (text), domains (a list of texts) and labels (a text for each key)"

// badJSON says what is wrong with a line, without the words of Go.
func badJSON(path string, line int, err error) error {
	what := strings.TrimPrefix(err.Error(), "json: ")
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field == "":
		what = "a " + kind.Value + " stands where an object was expected"
	case errors.As(err, &kind):
		what = "a " + kind.Value + " does not fit field " + kind.Field
	case errors.Is(err, io.ErrUnexpectedEOF):
		what = "the line ends before its object does"
	}
	return tenant.Invalid(fieldsHint, "%s: %s", place(path, line), what)
}

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

// badYAML says what is wrong with a file, without the words of Go.
func badYAML(path string, err error) error {
	what := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(what); m != nil {
		path, what = path+":"+m[1], m[2]
	}
	var kind *yamlv3.TypeError
	if errors.As(err, &kind) {
		what = "a value is of the wrong kind"
	}
	return tenant.Invalid("write a list of tenants; "+fieldsHint, "%s: %s", path, what)
}

func readYAML(r io.Reader, path string, yield func(tenant.CreateRequest, error) bool) {
	var list []yamlv3.Node
	if err := yamlv3.NewDecoder(r).Decode(&list); err != nil && !errors.Is(err, io.EOF) {
		yield(tenant.CreateRequest{}, badYAML(path, err))
		return
	}
	for _, node := range list {
		var entry struct {
			Name    string            `yaml:"name"`
			Domains []string          `yaml:"domains"`
			Labels  map[string]string `yaml:"labels"`
		}
		if err := node.Decode(&entry); err != nil {
			yield(tenant.CreateRequest{}, badYAML(path, err))
			return
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if key := node.Content[i]; !slices.Contains([]string{"name", "domains", "labels"}, key.Value) {
				yield(tenant.CreateRequest{}, badLine(path, key.Line, "unknown field %q; there are name, domains and labels", key.Value))
				return
			}
		}
		req := tenant.CreateRequest{Name: entry.Name, Domains: entry.Domains, Labels: entry.Labels, From: place(path, node.Line)}
		for k, v := range entry.Labels {
			if err := tenant.CheckGivenLabel(k, v); err != nil {
				yield(req, req.Placed(err))
				return
			}
		}
		if !yield(req, nil) {
			return
		}
	}
}

// reason is what the system says of a file, without the name of its call and the path.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
