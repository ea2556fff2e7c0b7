package cmd

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/tenantctl/tenantctl/tenant"
)

// formatNDJSON is a JSON document a line: each row, and each tenant's end.
const formatNDJSON format = "ndjson"

// execSink prints rows as they come, whatever their number: in tables by the page, in documents one by one.
type execSink struct {
	a       *app
	tenant  tenant.Name
	columns []string
	rows    []table.Row // of the table's page
	head    []string    // columns of the table
	headed  bool        // the table has its header
	count   int         // rows of this tenant
	tenants int
	well    int   // tenants that ended well
	total   int64 // their rows
	csv     *csv.Writer
}

func (x *execSink) Tenant(name tenant.Name) error {
	x.tenant, x.columns, x.count = name, nil, 0
	x.tenants++
	x.headed = false
	if x.a.format != formatJSON && x.a.format != formatYAML {
		return nil
	}
	// One document of JSON, which is YAML too: every tenant is an entry with its rows.
	open := ",\n  "
	if x.tenants == 1 {
		open = "[\n  "
	}
	return x.write(open, `{"tenant": `, name, `, "rows": [`)
}

// write writes text as it is and everything else as JSON.
func (x *execSink) write(parts ...any) error {
	var out strings.Builder
	for _, p := range parts {
		if text, ok := p.(string); ok {
			out.WriteString(text)
			continue
		}
		b, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		out.Write(b)
	}
	_, err := io.WriteString(x.a.out, out.String())
	return writing(err)
}

func (x *execSink) Columns(names []string) error {
	x.columns = names
	switch {
	case x.a.format == formatCSV && x.csv == nil:
		x.head, x.csv = names, csv.NewWriter(x.a.out)
		return writing(x.csv.Write(append([]string{"tenant"}, names...)))
	case x.a.format == formatCSV && !slices.Equal(names, x.head):
		return tenant.Invalid("-o ndjson takes both", "it has other columns than the tenants before it: %s", strings.Join(names, ", "))
	}
	return nil
}

func (x *execSink) Row(values []any) error {
	x.count++
	switch x.a.format {
	case formatName:
		return nil
	case formatCSV:
		record := []string{string(x.tenant)}
		for _, v := range values {
			record = append(record, plainCell(v))
		}
		return writing(x.csv.Write(record))
	case formatTable:
		cells := table.Row{x.tenant}
		for _, v := range values {
			cells = append(cells, cell(v))
		}
		if x.rows = append(x.rows, cells); len(x.rows) == pageRows {
			x.flush()
		}
		return nil
	}
	row := make(map[string]any, len(values))
	for i, v := range values {
		row[x.columns[i]] = v
	}
	if x.a.format == formatNDJSON {
		return x.write(`{"tenant": `, x.tenant, `, "row": `, row, "}\n")
	}
	sep := ","
	if x.count == 1 {
		sep = ""
	}
	return x.write(sep, "\n    ", row)
}

// flush prints a page of a tenant's table, the first one with its header.
func (x *execSink) flush() {
	if x.headed && len(x.rows) == 0 {
		return
	}
	t := x.a.table(x.a.out)
	if !x.headed {
		if x.tenants > 1 {
			fmt.Fprintln(x.a.out)
		}
		t.AppendHeader(header(append([]string{"tenant"}, x.columns...)))
		x.headed = true
	}
	t.AppendRows(x.rows)
	t.Render()
	x.rows = x.rows[:0]
}

func (x *execSink) End(rows int64, err error) error {
	if err == nil {
		x.well++
		x.total += rows
	}
	switch {
	case x.a.format == formatName && err == nil:
		return x.write(string(x.tenant), "\n")
	case x.a.format == formatTable:
		if len(x.columns) > 0 {
			x.flush()
		}
		if err != nil {
			return nil // it is told at the end, with all that failed alike
		}
		return x.write(string(x.tenant), ": ", tenant.Plural(int(rows), "row"), "\n")
	case x.a.format == formatName, x.a.format == formatCSV:
		return nil
	}
	open, end := `], "rows_affected": `, "}"
	if x.a.format == formatNDJSON {
		open, end = `{"tenant": "`+string(x.tenant)+`", "rows_affected": `, "}\n"
	}
	if err != nil {
		return x.write(open, rows, `, "error": `, tenant.NewFailure(err), end)
	}
	return x.write(open, rows, end)
}

func (x *execSink) end() error {
	switch {
	case x.a.format == formatTable && x.tenants > 1:
		return x.write("\ntotal: ", tenant.Plural(int(x.total), "row"), " in ", tenant.Plural(x.well, "tenant"), "\n")
	case x.a.format == formatCSV && x.csv != nil:
		x.csv.Flush()
		return writing(x.csv.Error())
	case x.a.format == formatJSON || x.a.format == formatYAML:
		end := "\n]\n"
		if x.tenants == 0 {
			end = "[]\n"
		}
		if err := x.write(end); err != nil || x.a.format == formatYAML {
			return err
		}
		return x.a.endDocument()
	}
	return nil
}

// cell is a value in a table, in one line.
func cell(v any) string {
	if text, ok := v.(string); ok {
		return inOneLine(text)
	}
	return plainCell(v)
}

// plainCell is a value as text, as it is.
func plainCell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case json.RawMessage:
		return string(v)
	}
	return fmt.Sprint(v)
}
