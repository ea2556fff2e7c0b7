package cmd

import (
	"fmt"
	"slices"

	"github.com/jedib0t/go-pretty/v6/text"
)

// The least that is left of a column that is shortened, and so many columns stay, however narrow the terminal.
const (
	leastCut  = 20
	leastKept = 2
)

// fit makes the table as wide as the terminal at most: first by shortening what may be, then by leaving out columns from
// the right. Elsewhere than at a terminal, and where somebody chose the columns, nothing is cut.
func (l *list) fit() {
	width := terminalWidth(l.a.out)
	if l.widths != nil || width == 0 || l.a.lists.wide || len(l.a.lists.columns) > 0 {
		return
	}
	l.widths = map[int]int{}
	widths := make([]int, len(l.columns))
	for _, c := range l.shown {
		widths[c] = text.LongestLineLen(l.columns[c])
		for _, r := range l.rows {
			widths[c] = max(widths[c], text.LongestLineLen(fmt.Sprint(r[c])))
		}
	}
	last := -1 // the text, which is wrapped into what is left
	if l.text {
		last = len(l.columns) - l.hidden - 1
		widths[last] = min(widths[last], narrowest)
	}
	full := slices.Clone(widths)
	tooWide := func() int {
		sum := -2
		for _, c := range l.shown {
			sum += widths[c] + 2
		}
		return sum - width
	}
	for _, c := range l.shown {
		if slices.Contains(l.cut, l.columns[c]) && tooWide() > 0 {
			widths[c] -= min(tooWide(), max(0, widths[c]-leastCut))
		}
	}
	for i := len(l.shown) - 1; i >= leastKept && tooWide() > 0; i-- {
		if c := l.shown[i]; c != last {
			l.dropped = append([]string{l.columns[c]}, l.dropped...)
			l.shown = slices.Delete(l.shown, i, i+1)
		}
	}
	for _, c := range l.shown {
		if c == last {
			continue
		}
		if widths[c] < full[c] { // what dropping has made room for
			widths[c] = min(full[c], widths[c]+max(0, -tooWide()))
		}
		if widths[c] < full[c] {
			l.widths[c] = widths[c]
		}
	}
}
