package cmd

import (
	"fmt"
	"sync"
	"time"

	pretty "github.com/jedib0t/go-pretty/v6/progress"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/tenantctl/tenantctl/legacy"
	"github.com/tenantctl/tenantctl/tenant"
)

// importProgress shows each table with its rows, rate and remaining time at a terminal; elsewhere a line per table.
func (a *app) importProgress() func(legacy.Event) {
	switch {
	case a.format != formatTable:
		return func(legacy.Event) {}
	case !isTerminal(a.errOut):
		return a.importLine
	}
	w := pretty.NewWriter()
	w.SetOutputWriter(a.errOut)
	w.SetAutoStop(false)
	w.SetUpdateFrequency(200 * time.Millisecond)
	w.SetTrackerPosition(pretty.PositionRight)
	w.SetTrackerLength(16)
	w.SetMessageLength(24)
	w.SetStyle(pretty.StyleDefault)
	w.Style().Visibility.ETA, w.Style().Visibility.Speed, w.Style().Visibility.Time = true, true, false
	w.Style().Options.PercentFormat = "%3.0f%%"
	w.Style().Options.Separator, w.Style().Options.DoneString = " ", "done"
	w.Style().Options.ETAPrecision = time.Second
	if a.colored() {
		w.Style().Colors.Percent, w.Style().Colors.Tracker = text.Colors{text.FgGreen}, text.Colors{text.FgGreen}
	}
	var mu sync.Mutex
	trackers := map[string]*pretty.Tracker{}
	ended, rendered := false, make(chan struct{})
	a.endImport = func() {
		mu.Lock()
		begun := len(trackers) > 0 && !ended
		ended = true
		mu.Unlock()
		if begun {
			w.Stop()
			<-rendered
		}
	}
	a.closers = append(a.closers, a.endImport)
	return func(e legacy.Event) {
		mu.Lock()
		defer mu.Unlock()
		t := trackers[e.Table]
		if t == nil && !ended {
			t = &pretty.Tracker{Message: e.Table, Total: max(e.Of, e.Rows), Units: pretty.UnitsDefault}
			trackers[e.Table] = t
			w.AppendTracker(t)
			if len(trackers) == 1 {
				go func() { w.Render(); close(rendered) }()
			}
		}
		if t == nil {
			return
		}
		if e.Rows > t.Total {
			t.UpdateTotal(e.Rows)
		}
		t.SetValue(e.Rows)
		if e.End {
			t.UpdateTotal(e.Rows)
			t.MarkAsDone()
		}
	}
}

func (a *app) importLine(e legacy.Event) {
	if !e.End {
		return
	}
	rejected := ""
	if e.Reject > 0 {
		rejected = fmt.Sprintf(", %d rejected", e.Reject)
	}
	fmt.Fprintf(a.errOut, "%s: %s read%s\n", e.Table, tenant.Plural(int(e.Rows), "row"), rejected)
}
