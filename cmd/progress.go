package cmd

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/tenantctl/tenantctl/tenant"
)

// progress tells a person at a terminal how far a command is; elsewhere it writes a line per tenant at most.
type progress struct {
	a   *app
	mu  sync.Mutex
	bar *progressbar.ProgressBar

	failed int
	since  time.Time // of the first that ended
	before int       // how many had ended then: by an earlier run, perhaps
}

func newProgress(a *app) *progress { return &progress{a: a} }

func (p *progress) event(e tenant.Event) {
	if p.a.format != formatTable {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case e.Note != "":
		p.takeOff()
		fmt.Fprintln(p.a.errOut, e.Note)
	case e.End && p.drawn(e.Operation.Kind):
		p.advance(e)
	case e.End && e.Err != nil:
		fmt.Fprintf(p.a.errOut, "%s: %s (%d/%d)\n", e.Operation.Tenant, e.Operation.Kind+" failed", e.Done, e.Total)
	case e.End && e.Operation.Kind != "exec":
		fmt.Fprintf(p.a.errOut, "%s: %s (%d/%d)\n", e.Operation.Tenant, past(e), e.Done, e.Total)
	case e.End, e.Operation.Run != nil:
		// Steps of one tenant among thousands are noise.
	case e.Undo && e.Step == "" && slices.Contains([]string{tenant.OpCreate, tenant.OpClone, tenant.OpTest, tenant.OpRehearse}, e.Operation.Kind):
		fmt.Fprintf(p.a.errOut, "%s: undone, nothing of it is left\n", e.Operation.Tenant)
	case e.Undo && e.Step == "":
		fmt.Fprintf(p.a.errOut, "%s: undone, it is as it was before\n", e.Operation.Tenant)
	case e.Undo:
		fmt.Fprintf(p.a.errOut, "%s: undoing %s\n", e.Operation.Tenant, e.Step)
	default:
		fmt.Fprintf(p.a.errOut, "%s: %s %d/%d %s\n", e.Operation.Tenant, e.Operation.Kind, e.Position, e.Of, e.Step)
	}
}

// drawn tells whether work of a kind has a bar: at a terminal, unless the steps of a rehearsal or the rows of exec are lines there.
func (p *progress) drawn(kind string) bool {
	return isTerminal(p.a.errOut) && kind != tenant.OpRehearse && (kind != "exec" || !isTerminal(p.a.out))
}

func past(e tenant.Event) string {
	switch {
	case !e.Changed:
		return "unchanged"
	case e.Operation.Kind == tenant.OpCreate:
		return "created"
	case e.Operation.Kind == tenant.OpApply:
		return "applied"
	case e.Operation.Kind == tenant.OpAdopt:
		return "adopted"
	case e.Operation.Kind == tenant.OpAdoptRole:
		return "has a role now"
	case e.Operation.Kind == tenant.OpMigrate:
		return "migrated"
	case e.Operation.Kind == tenant.OpRehearse:
		return "rehearsed"
	case e.Operation.Kind == tenant.OpBaseline:
		return "marked"
	case e.Operation.Kind == tenant.OpVerifyFix:
		return "repaired"
	}
	return e.Operation.Kind + " done"
}

func (p *progress) advance(e tenant.Event) {
	if p.bar == nil {
		p.bar = progressbar.NewOptions(e.Total,
			progressbar.OptionSetWriter(p.a.errOut.to), progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(), progressbar.OptionEnableColorCodes(os.Getenv("NO_COLOR") == ""),
			progressbar.OptionFullWidth(), progressbar.OptionSetPredictTime(false))
		p.since, p.before = time.Now(), e.Done
	}
	if e.Err != nil { // what failed is told once, grouped, when the run is over
		p.failed++
	}
	about := e.Operation.Kind
	if p.failed > 0 {
		about += fmt.Sprintf(", %d failed", p.failed)
	}
	if at := pace(int64(e.Done-p.before), int64(e.Total-e.Done), time.Since(p.since)); at != "" {
		about += ", " + at
	}
	p.bar.Describe(about)
	// A terminal that does not take the bar must not end the run.
	_ = p.bar.Set(e.Done)
}

// end takes an unfinished bar off the screen, before something else is printed.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeOff()
}

func (p *progress) takeOff() {
	if p.bar != nil {
		_ = p.bar.Finish() // as above
		p.bar = nil
	}
}
