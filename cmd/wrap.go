package cmd

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// wrappedTable is a table whose last column is text: at a terminal, it is wrapped at the terminal's width.
type wrappedTable struct {
	table.Writer
	width  int   // of the terminal; 0 where there is none
	widths []int // of the columns so far
}

func (a *app) wrapped(w io.Writer) table.Writer {
	return &wrappedTable{Writer: a.table(w), width: terminalWidth(w)}
}

// terminalWidth is 0 where w is no terminal.
func terminalWidth(w io.Writer) int {
	f, ok := beneath(w).(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

func (t *wrappedTable) AppendHeader(row table.Row, config ...table.RowConfig) {
	t.measure(row)
	t.Writer.AppendHeader(row, config...)
}

func (t *wrappedTable) AppendRow(row table.Row, config ...table.RowConfig) {
	t.measure(row)
	t.Writer.AppendRow(row, config...)
}

func (t *wrappedTable) AppendRows(rows []table.Row, config ...table.RowConfig) {
	for _, row := range rows {
		t.AppendRow(row, config...)
	}
}

func (t *wrappedTable) measure(row table.Row) {
	for i, cell := range row {
		if i == len(t.widths) {
			t.widths = append(t.widths, 0)
		}
		t.widths[i] = max(t.widths[i], text.LongestLineLen(fmt.Sprint(cell)))
	}
}

// wrapLines wraps each line for itself: between words, and within one that is longer than a line.
func wrapLines(s string, width int) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = text.WrapSoft(line, width)
	}
	return strings.Join(lines, "\n")
}

// narrowest is the width below which text is better left to the terminal.
const narrowest = 15

// Render leaves the last column what the others leave of the terminal.
func (t *wrappedTable) Render() string {
	if last := len(t.widths); last > 0 {
		room := t.width
		for _, w := range t.widths[:last-1] {
			room -= w + 2
		}
		if room >= narrowest {
			t.SetColumnConfigs([]table.ColumnConfig{{Number: last, WidthMax: room, WidthMaxEnforcer: wrapLines}})
		}
	}
	return t.Writer.Render()
}
