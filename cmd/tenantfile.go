package cmd

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
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
		return nil, tenant.Invalid("", "cannot read the file of tenants: %s", err)
	}
	return func(yield func(tenant.CreateRequest, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(tenant.CreateRequest{}, tenant.Invalid("", "cannot read the file of tenants: %s", err))
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
	return tenant.Invalid("", "%s:%d: %s", path, line, fmt.Sprintf(format, args...))
}

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
		req := tenant.CreateRequest{Labels: map[string]string{}}
		for i, v := range record {
			v = strings.TrimSpace(v)
			switch key, isLabel := strings.CutPrefix(columns[i], "label."); {
			case columns[i] == "name":
				req.Name = v
			case columns[i] == "domains" || columns[i] == "domain":
				req.Domains = fields(v)
			case isLabel && v != "":
				req.Labels[key] = v
			case columns[i] == "labels":
				labels, err := tenant.ParseLabels(fields(v))
				if err != nil {
					yield(req, badLine(path, line, "%s", err))
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
			yield(req, badLine(path, n, "%s", strings.TrimPrefix(err.Error(), "json: ")))
			return
		}
		if !yield(req, nil) {
			return
		}
	}
	if err := lines.Err(); err != nil {
		yield(tenant.CreateRequest{}, badLine(path, n+1, "%s", err))
	}
}

func readYAML(r io.Reader, path string, yield func(tenant.CreateRequest, error) bool) {
	var list []yamlv3.Node
	if err := yamlv3.NewDecoder(r).Decode(&list); err != nil && !errors.Is(err, io.EOF) {
		yield(tenant.CreateRequest{}, tenant.Invalid("it has to be a list of tenants with name, domains and labels", "%s: %s", path, strings.TrimPrefix(err.Error(), "yaml: ")))
		return
	}
	for _, node := range list {
		var entry struct {
			Name    string            `yaml:"name"`
			Domains []string          `yaml:"domains"`
			Labels  map[string]string `yaml:"labels"`
		}
		if err := node.Decode(&entry); err != nil {
			yield(tenant.CreateRequest{}, badLine(path, node.Line, "%s", strings.TrimPrefix(err.Error(), "yaml: ")))
			return
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if key := node.Content[i]; !slices.Contains([]string{"name", "domains", "labels"}, key.Value) {
				yield(tenant.CreateRequest{}, badLine(path, key.Line, "unknown field %q; there are name, domains and labels", key.Value))
				return
			}
		}
		if !yield(tenant.CreateRequest(entry), nil) {
			return
		}
	}
}
