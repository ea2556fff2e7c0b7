package cmd

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/tenantctl/tenantctl/tenant"
)

// listOptions are the flags of every list.
type listOptions struct {
	columns   []string
	sortBy    string
	noHeaders bool
	limit     int
	wide      bool // -o wide, or csv: every column
}

// addListFlags makes a command a list, with the formats and flags that lists have.
func (a *app) addListFlags(cmd *cobra.Command) {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[outputFormats] = listFormats
	f := cmd.Flags()
	f.StringSliceVar(&a.lists.columns, "columns", nil, "show these `columns`, in this order; -o wide shows all that there are")
	f.StringVar(&a.lists.sortBy, "sort-by", "", "order the rows by this `column`; -COLUMN for the largest first")
	f.BoolVar(&a.lists.noHeaders, "no-headers", false, "leave out the line with the columns' names")
	if f.Lookup("limit") == nil {
		f.IntVar(&a.lists.limit, "limit", 0, "at most `n` rows; 0 for all")
	}
}

// check refuses flags that would do nothing.
func (o *listOptions) check(f format) error {
	switch {
	case o.limit < 0:
		return tenant.Invalid("give 0 for all", "--limit %d is below 0", o.limit)
	case f == formatTable || f == formatCSV:
		return nil
	case len(o.columns) > 0:
		return tenant.Invalid("-o json takes --jq to choose fields", "--columns goes with the formats table, wide and csv")
	case o.noHeaders:
		return tenant.Invalid("leave it out", "--no-headers goes with the formats table, wide and csv")
	}
	return nil
}

// list prints many results as they come, in bounded memory: tables by the page. With --sort-by it keeps them to the end.
type list struct {
	a       *app
	columns []string
	hidden  int      // so many of the last columns are shown by -o wide or --columns alone
	cut     []string // columns that may be shortened
	text    bool     // the last column that is not hidden is text
	shown   []int    // columns in the table, in order; nil until the first page
	widths  map[int]int
	dropped []string

	kept    []row // to be sorted
	rows    []table.Row
	csv     *csv.Writer
	total   int // that were added
	count   int // that were printed
	flushed bool
	err     error // wrong flags
}

// row is one result in every form.
type row struct {
	doc   any
	name  string
	cells []any
}

// pageRows is how many rows of a table are laid out together.
const pageRows = 500

func (a *app) newList(columns ...string) *list { return &list{a: a, columns: columns} }

// wrapped says that the last column is text, which is wrapped at the terminal's width.
func (l *list) wrapped() *list {
	l.text = true
	return l
}

// wide adds columns that are shown where every one is asked for.
func (l *list) wide(columns ...string) *list {
	l.columns = append(slices.Clone(l.columns), columns...)
	l.hidden += len(columns)
	return l
}

// shortens says which columns may be cut at a narrow terminal.
func (l *list) shortens(columns ...string) *list {
	l.cut = columns
	return l
}

// add prints a result, or keeps it to be sorted.
func (l *list) add(doc any, name string, cells ...any) error {
	if l.total++; l.total == 1 {
		l.err = l.choose()
	}
	o := l.a.lists
	switch {
	case l.err != nil:
		return l.err
	case o.sortBy == "" && o.limit > 0 && l.count == o.limit:
		return nil
	case o.sortBy == "":
		return l.put(row{doc, name, cells})
	}
	l.kept = append(l.kept, row{doc, name, cells})
	if o.limit > 0 && len(l.kept) >= 2*o.limit+pageRows {
		l.sort()
	}
	return nil
}

// choose finds the columns that are asked for.
func (l *list) choose() error {
	o := l.a.lists
	if _, err := l.find("--sort-by", strings.TrimPrefix(o.sortBy, "-")); o.sortBy != "" && err != nil {
		return err
	}
	for _, c := range o.columns {
		i, err := l.find("--columns", c)
		if err != nil {
			return err
		}
		l.shown = append(l.shown, i)
	}
	if l.shown != nil {
		return nil
	}
	n := len(l.columns)
	if !o.wide {
		n -= l.hidden
	}
	for i := range n {
		l.shown = append(l.shown, i)
	}
	return nil
}

func (l *list) find(flag, name string) (int, error) {
	i := slices.IndexFunc(l.columns, func(c string) bool { return columnName(c) == columnName(name) })
	if i < 0 {
		all := make([]string, len(l.columns))
		for i, c := range l.columns {
			all[i] = columnName(c)
		}
		return 0, tenant.Invalid("the columns are "+strings.Join(all, ", "), "unknown column %q for %s", name, flag)
	}
	return i, nil
}

// columnName is a column as flags and CSV have it.
func columnName(c string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(c)), " ", "_")
}

// sort orders what is kept, and forgets what the limit leaves out.
func (l *list) sort() {
	o := l.a.lists
	name, down := strings.CutPrefix(o.sortBy, "-")
	by, _ := l.find("", name) // choose has found it
	slices.SortStableFunc(l.kept, func(x, y row) int {
		if down {
			return compareCells(y.cells[by], x.cells[by])
		}
		return compareCells(x.cells[by], y.cells[by])
	})
	if o.limit > 0 && len(l.kept) > o.limit {
		clear(l.kept[o.limit:])
		l.kept = l.kept[:o.limit]
	}
}

func (l *list) put(r row) error {
	l.count++
	switch l.a.format {
	case formatJSON:
		b, err := json.MarshalIndent(l.a.named(r.doc), "  ", "  ")
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
		b, err := yaml.Marshal([]any{r.doc})
		if err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		_, err = l.a.out.Write(b)
		return writing(err)
	case formatName:
		_, err := fmt.Fprintln(l.a.out, r.name)
		return writing(err)
	case formatCSV:
		return l.putCSV(r)
	}
	l.rows = append(l.rows, table.Row(r.cells))
	if len(l.rows) == pageRows {
		l.flush()
	}
	return nil
}

func (l *list) putCSV(r row) error {
	l.headCSV()
	record := make([]string, len(l.shown))
	for i, c := range l.shown {
		record[i] = fmt.Sprint(r.cells[c])
	}
	return writing(l.csv.Write(record))
}

// headCSV begins the file: its first line is there without any row, too.
func (l *list) headCSV() {
	if l.csv != nil {
		return
	}
	l.csv = csv.NewWriter(l.a.out)
	if l.a.lists.noHeaders {
		return
	}
	record := make([]string, len(l.shown))
	for i, c := range l.shown {
		record[i] = columnName(l.columns[c])
	}
	_ = l.csv.Write(record) // the writer keeps its error
}

// flush lays a page out. Which columns there are is decided by the first one.
func (l *list) flush() {
	l.fit()
	t := l.a.table(l.a.out)
	if l.text && len(l.shown) > 0 && l.shown[len(l.shown)-1] == len(l.columns)-l.hidden-1 {
		t = l.a.wrapped(l.a.out)
	}
	if !l.flushed && !l.a.lists.noHeaders {
		head := make([]string, len(l.shown))
		for i, c := range l.shown {
			head[i] = l.columns[c]
		}
		t.AppendHeader(header(head))
	}
	l.flushed = true
	for _, r := range l.rows {
		cells := make(table.Row, len(l.shown))
		for i, c := range l.shown {
			cells[i] = r[c]
			if w := l.widths[c]; w > 0 {
				cells[i] = text.Snip(fmt.Sprint(r[c]), w, "…")
			}
		}
		t.AppendRow(cells)
	}
	t.Render()
	l.rows = l.rows[:0]
}

// end closes the list; empty says what a person reads where there is nothing.
func (l *list) end(empty string) error {
	if l.total == 0 {
		l.err = l.choose()
	}
	if l.err != nil {
		return l.err
	}
	if l.a.lists.sortBy != "" {
		l.sort()
		for _, r := range l.kept {
			if err := l.put(r); err != nil {
				return err
			}
		}
	}
	switch {
	case l.a.format == formatJSON && l.count == 0:
		fmt.Fprintln(l.a.out, "[]")
	case l.a.format == formatJSON:
		fmt.Fprintln(l.a.out, "\n]")
	case l.a.format == formatYAML && l.count == 0:
		fmt.Fprintln(l.a.out, "[]")
	case l.a.format == formatCSV:
		l.headCSV()
		l.csv.Flush()
	case l.a.format == formatTable && l.count == 0:
		l.a.say("%s", empty)
	case len(l.rows) > 0:
		l.flush()
	}
	l.told()
	if err := writing(l.a.out.failed()); err != nil || l.a.format != formatJSON {
		return err
	}
	return l.a.endDocument()
}

// told says what of the list is not shown.
func (l *list) told() {
	if len(l.dropped) > 0 {
		l.a.say("%s", l.a.paint(yellow, "not shown: "+strings.Join(l.dropped, ", ")+"; see -o wide"))
	}
	if l.a.lists.limit > 0 && l.total > l.count {
		l.a.say("%d of %d are shown", l.count, l.total)
	}
}

// ranked is a cell that is not ordered by its text.
type ranked struct {
	text string
	by   int64
}

func (r ranked) String() string { return r.text }

// ageOf is how long ago something was; the youngest first.
func ageOf(t time.Time) ranked { return ranked{age(t), -t.UnixMicro()} }

// sizeOf is a number of bytes for people.
func sizeOf(n int64) ranked { return ranked{bytes(n), n} }

// tookOf is a duration in milliseconds for people.
func tookOf(ms int64) ranked { return ranked{millis(ms), ms} }

// compareCells orders cells by what they stand for; numbers within text count as numbers.
func compareCells(x, y any) int {
	a, ok1 := x.(ranked)
	b, ok2 := y.(ranked)
	if ok1 && ok2 {
		return cmp.Compare(a.by, b.by)
	}
	return compareText(text.StripEscape(fmt.Sprint(x)), text.StripEscape(fmt.Sprint(y)))
}

func compareText(x, y string) int {
	for x != "" && y != "" {
		a, b := leading(x), leading(y)
		n, err1 := strconv.ParseUint(a, 10, 64)
		m, err2 := strconv.ParseUint(b, 10, 64)
		order := strings.Compare(a, b)
		if err1 == nil && err2 == nil && n != m {
			order = cmp.Compare(n, m)
		}
		if order != 0 {
			return order
		}
		x, y = x[len(a):], y[len(b):]
	}
	return cmp.Compare(len(x), len(y))
}

// leading is the number that s begins with, or else its first byte.
func leading(s string) string {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[:max(1, n)]
}
