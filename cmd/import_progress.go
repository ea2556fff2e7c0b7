package cmd

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	pretty "github.com/jedib0t/go-pretty/v6/progress"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/tenantctl/tenantctl/legacy"
	"github.com/tenantctl/tenantctl/tenant"
)

// importProgress shows each table with its rows, rate and remaining time at a terminal; elsewhere a line per table.
func (a *app) importProgress() func(legacy.Event) {
	switch a.progressMode() {
	case progressNone:
		return func(legacy.Event) {}
	case progressPlain, progressJSON:
		return a.importLine
	}
	b := &importBar{out: a.errOut, writer: pretty.NewWriter(), tables: map[string]*importBarTable{}, rendered: make(chan struct{})}
	w := b.writer
	w.SetOutputWriter(a.errOut)
	w.SetAutoStop(false)
	w.SetUpdateFrequency(200 * time.Millisecond)
	w.SetTrackerPosition(pretty.PositionRight)
	w.SetTrackerLength(16)
	w.SetMessageLength(46)
	w.SetStyle(pretty.StyleDefault)
	w.Style().Visibility.ETA, w.Style().Visibility.Speed, w.Style().Visibility.Time = false, false, false
	w.Style().Options.PercentFormat = "%3.0f%%"
	w.Style().Options.Separator, w.Style().Options.DoneString = " ", "done"
	if a.colored() {
		w.Style().Colors.Percent, w.Style().Colors.Tracker = text.Colors{text.FgGreen}, text.Colors{text.FgGreen}
	}
	clear := func() { b.end(true) }
	a.clearing.Store(&clear)
	a.endImport = func() { b.end(false) }
	a.closers = append(a.closers, a.endImport)
	return b.see
}

// importBar is the progress of an import at a terminal.
type importBar struct {
	out      io.Writer
	writer   pretty.Writer
	rendered chan struct{}

	mu     sync.Mutex
	tables map[string]*importBarTable
	ended  bool
}

type importBarTable struct {
	tracker *pretty.Tracker
	since   time.Time
	before  int64 // rows that were read when it was first seen: by an earlier run, perhaps
}

// end stops what moves, and takes it off the screen where it is in the way.
func (b *importBar) end(clear bool) {
	b.mu.Lock()
	begun := len(b.tables) > 0 && !b.ended
	b.ended = true
	b.mu.Unlock()
	if !begun {
		return
	}
	for !b.writer.IsRenderInProgress() { // what has not begun cannot be stopped
		time.Sleep(time.Millisecond)
	}
	b.writer.Stop()
	<-b.rendered
	if clear {
		fmt.Fprint(b.out, strings.Repeat(text.CursorUp.Sprint()+text.EraseLine.Sprint(), len(b.tables)))
	}
}

func (b *importBar) see(e legacy.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tables[e.Table]
	if b.ended {
		return
	}
	if t == nil {
		t = &importBarTable{&pretty.Tracker{Message: e.Table, Total: max(e.Of, e.Rows), Units: pretty.UnitsDefault}, time.Now(), e.Rows}
		b.tables[e.Table] = t
		b.writer.AppendTracker(t.tracker)
		if len(b.tables) == 1 {
			go func() { b.writer.Render(); close(b.rendered) }()
		}
	}
	if e.Rows > t.tracker.Total {
		t.tracker.UpdateTotal(e.Rows)
	}
	t.tracker.SetValue(e.Rows)
	t.tracker.UpdateMessage(strings.TrimSpace(e.Table + " " + pace(e.Rows-t.before, e.Of-e.Rows, time.Since(t.since))))
	if e.End {
		t.tracker.UpdateMessage(e.Table)
		t.tracker.UpdateTotal(e.Rows)
		t.tracker.MarkAsDone()
	}
}

// pace is a rate and the time that is left; empty before there is one: a second of measuring is the least.
func pace(rows, left int64, in time.Duration) string {
	if rows <= 0 || in < time.Second {
		return ""
	}
	rate := float64(rows) / in.Seconds()
	out := pretty.FormatNumber(int64(rate)) + "/s"
	if rate < 1 {
		out = pretty.FormatNumber(int64(rate*60)) + "/min"
	}
	if left > 0 {
		out += ", " + time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second).String() + " left"
	}
	return out
}

func (a *app) importLine(e legacy.Event) {
	if !e.End {
		return
	}
	rejected := ""
	if e.Reject > 0 {
		rejected = fmt.Sprintf(", %d rejected", e.Reject)
	}
	text := fmt.Sprintf("%s: %s read%s", e.Table, tenant.Plural(int(e.Rows), "row"), rejected)
	if a.progressMode() == progressJSON {
		doc := progressDoc{Event: "table", Kind: tenant.OpImport, Table: e.Table, Rows: e.Rows, Rejected: e.Reject}
		text = jsonLine{Time: time.Now().UTC(), Level: slog.LevelInfo.String(), Msg: text, Progress: &doc}.String()
	}
	fmt.Fprintln(a.errOut, text)
}
