package cmd

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
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
	formatCSV   format = "csv"
	formatWide  format = "wide"
)

// listFormats are those of lists and of tables of rows: all that there are.
const listFormats = "table,wide,csv,json,yaml,name"

// outputFormats is the annotation of commands whose -o takes other formats than usual, comma-separated.
const outputFormats = "output-formats"

// formatsOf are the formats that a command prints.
func formatsOf(cmd *cobra.Command) []string {
	return strings.Split(cmp.Or(cmd.Annotations[outputFormats], "table,json,yaml,name"), ",")
}

// outputs reads the flags that say how results are printed. A wide table is a table.
func (a *app) outputs(cmd *cobra.Command) error {
	text, err := cmd.Flags().GetString("output")
	if err != nil {
		return err
	}
	known := formatsOf(cmd)
	expr, isPath := strings.CutPrefix(text, "jsonpath=")
	jq := cmd.Flags().Changed("jq")
	switch {
	case (isPath || jq) && !slices.Contains(known, string(formatJSON)):
		return tenant.Invalid("use one of: "+strings.Join(known, ", "), "%s prints no JSON", cmd.CommandPath())
	case jq && text != "" && text != string(formatJSON):
		return tenant.Invalid("leave out one of the two", "--jq goes with -o json, not with -o %s", text)
	case isPath:
		a.filter, err = jsonPath(expr)
	case jq:
		a.filter, err = jqFilter(cmd.Flags().Lookup("jq").Value.String())
	}
	if isPath || jq {
		a.format = formatJSON
		a.out.holds(err == nil)
		return err
	}
	a.format = format(cmp.Or(text, known[0]))
	if !slices.Contains(known, string(a.format)) {
		if slices.Contains(known, string(formatJSON)) {
			known = append(known, "jsonpath=EXPR")
		}
		a.format = formatTable
		return tenant.Invalid("use one of: "+strings.Join(known, ", "), "unknown output format %q", text)
	}
	a.lists.wide = a.format == formatWide || a.format == formatCSV
	if a.format == formatWide {
		a.format = formatTable
	}
	a.out.forPeople(a.format == formatTable || a.format == formatCSV && isTerminal(a.out))
	return a.lists.check(a.format)
}

// wantedFormat finds in a command line that may be too wrong to be parsed that JSON is asked for, so that its error is JSON too.
func wantedFormat(args []string) format {
	for i, arg := range args {
		next := ""
		if i+1 < len(args) {
			next = args[i+1]
		}
		switch value, inOne := strings.CutPrefix(arg, "--output="); {
		case arg == "--":
			return formatTable
		case arg == "--jq", strings.HasPrefix(arg, "--jq="):
			return formatJSON
		case (arg == "-o" || arg == "--output") && asksForJSON(next),
			inOne && asksForJSON(value),
			!strings.HasPrefix(arg, "--") && strings.HasPrefix(arg, "-o") && asksForJSON(strings.TrimPrefix(arg[2:], "=")):
			return formatJSON
		}
	}
	return formatTable
}

func asksForJSON(value string) bool {
	return value == string(formatJSON) || strings.HasPrefix(value, "jsonpath=")
}

// print writes one result: as a document, as its name, or by the table given.
func (a *app) print(doc any, name string, show func(w io.Writer)) error {
	switch a.format {
	case formatJSON:
		return a.printJSON(a.named(doc))
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
	if err := e.Encode(doc); err != nil {
		return writing(err)
	}
	return a.endDocument()
}

func writing(err error) error {
	if err != nil {
		return &tenant.Error{Msg: "write the result: " + err.Error(), Err: err}
	}
	return nil
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
	return a.format != formatCSV && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(a.out) && isTerminal(a.errOut)
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
