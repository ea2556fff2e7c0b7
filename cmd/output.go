package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"sigs.k8s.io/yaml"

	"github.com/tenantctl/tenantctl/tenant"
)

// format is how a result is printed.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
	formatName  format = "name"
)

// outputFormats is the annotation of commands whose -o takes other formats than usual, comma-separated.
const outputFormats = "output-formats"

func parseFormat(s, allowed string) (format, error) {
	known := []string{"table", "json", "yaml", "name"}
	if allowed != "" {
		known = strings.Split(allowed, ",")
	}
	if s == "" {
		return format(known[0]), nil
	}
	if !slices.Contains(known, s) {
		return formatTable, tenant.Invalid("use one of: "+strings.Join(known, ", "), "unknown output format %q", s)
	}
	return format(s), nil
}

// wantedFormat finds -o json in a command line that may be too wrong to be parsed, so that its error is JSON too.
func wantedFormat(args []string) format {
	for i, arg := range args {
		switch {
		case arg == "--":
			return formatTable
		case arg == "-ojson" || arg == "-o=json" || arg == "--output=json",
			(arg == "-o" || arg == "--output") && i+1 < len(args) && args[i+1] == "json":
			return formatJSON
		}
	}
	return formatTable
}

// print writes one result: as a document, as its name, or by the table given.
func (a *app) print(doc any, name string, show func(w io.Writer)) error {
	switch a.format {
	case formatJSON:
		return a.printJSON(doc)
	case formatYAML:
		b, err := yaml.Marshal(doc)
		if err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		_, err = a.out.Write(b)
		return writing(err)
	case formatName:
		if name == "" {
			return nil
		}
		_, err := fmt.Fprintln(a.out, name)
		return writing(err)
	}
	show(a.out)
	return writing(a.out.failed())
}

func (a *app) printJSON(doc any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return writing(e.Encode(doc))
}

func writing(err error) error {
	if err != nil {
		return &tenant.Error{Msg: "write the result: " + err.Error(), Err: err}
	}
	return nil
}

// list prints many results as they come, in bounded memory: tables by the page.
type list struct {
	a       *app
	columns []string
	rows    []table.Row
	count   int
	text    bool // the last column is text
}

// pageRows is how many rows of a table are laid out together.
const pageRows = 500

func (a *app) newList(columns ...string) *list { return &list{a: a, columns: columns} }

// wrapped says that the last column is text, which is wrapped at the terminal's width.
func (l *list) wrapped() *list {
	l.text = true
	return l
}

func (l *list) add(doc any, name string, cells ...any) error {
	l.count++
	switch l.a.format {
	case formatJSON:
		b, err := json.MarshalIndent(doc, "  ", "  ")
		if err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		open := ",\n  "
		if l.count == 1 {
			open = "[\n  "
		}
		_, err = fmt.Fprintf(l.a.out, "%s%s", open, b)
		return writing(err)
	case formatYAML:
		b, err := yaml.Marshal([]any{doc})
		if err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		_, err = l.a.out.Write(b)
		return writing(err)
	case formatName:
		_, err := fmt.Fprintln(l.a.out, name)
		return writing(err)
	}
	l.rows = append(l.rows, table.Row(cells))
	if len(l.rows) == pageRows {
		l.flush()
	}
	return nil
}

func (l *list) flush() {
	t := l.a.table(l.a.out)
	if l.text {
		t = l.a.wrapped(l.a.out)
	}
	if l.count <= pageRows {
		t.AppendHeader(header(l.columns))
	}
	t.AppendRows(l.rows)
	t.Render()
	l.rows = l.rows[:0]
}

// end closes the list; empty says what a person reads where there is nothing.
func (l *list) end(empty string) error {
	switch {
	case l.a.format == formatJSON && l.count == 0:
		_, err := fmt.Fprintln(l.a.out, "[]")
		return writing(err)
	case l.a.format == formatJSON:
		_, err := fmt.Fprintln(l.a.out, "\n]")
		return writing(err)
	case l.a.format == formatYAML && l.count == 0:
		_, err := fmt.Fprintln(l.a.out, "[]")
		return writing(err)
	case l.a.format == formatTable && l.count == 0:
		l.a.say("%s", empty)
	case len(l.rows) > 0:
		l.flush()
	}
	return writing(l.a.out.failed())
}

func header(columns []string) table.Row {
	row := make(table.Row, len(columns))
	for i, c := range columns {
		row[i] = c
	}
	return row
}

// table lays out columns as kubectl does: no lines, two spaces between, and nothing cut off: a password or a hint is
// shown whole, however narrow the terminal.
func (a *app) table(w io.Writer) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatUpper
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	return t
}

// fields prints a thing as names and values, one to a line.
func (a *app) fields(w io.Writer, pairs ...any) {
	t := a.wrapped(w)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		t.AppendRow(table.Row{fmt.Sprintf("%s:", pairs[i]), pairs[i+1]})
	}
	t.Render()
}

type color = text.Color

const (
	red    = text.FgRed
	green  = text.FgGreen
	yellow = text.FgYellow
)

// paint colours s for a person at a terminal who has not set NO_COLOR.
func (a *app) paint(c color, s string) string {
	if !a.colored() {
		return s
	}
	return c.EscapeSeq() + s + text.Reset.EscapeSeq()
}

func (a *app) colored() bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(a.out) && isTerminal(a.errOut)
}

func (a *app) state(s tenant.State) string {
	switch s {
	case tenant.Active:
		return a.paint(green, string(s))
	case tenant.Failed, tenant.Deleting:
		return a.paint(red, string(s))
	}
	return a.paint(yellow, string(s))
}

func (a *app) opState(s tenant.OpState) string {
	switch s {
	case tenant.OpDone:
		return a.paint(green, string(s))
	case tenant.OpFailed, tenant.OpStuck:
		return a.paint(red, string(s))
	}
	return a.paint(yellow, string(s))
}

// age is a time as kubectl tells it: how long ago, in its largest unit.
func age(t time.Time) string {
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// bytes is a size for people.
func bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	div, exp := int64(unit), 0
	for m := n / unit; m >= unit; m /= unit {
		div *= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/float64(div), "KMGTPE"[exp])
}

// pairs is a map as k=v, sorted.
func pairs[V any](m map[string]V) string {
	out := make([]string, 0, len(m))
	for k, v := range m {
		out = append(out, fmt.Sprintf("%s=%v", k, v))
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

// versions is a tenant's versions as the tables show them.
func versions(m map[string]int64) string {
	out := make([]string, 0, len(m))
	for k, v := range m {
		out = append(out, fmt.Sprintf("%s %d", k, v))
	}
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(b, a) })
	return strings.Join(out, ", ")
}
