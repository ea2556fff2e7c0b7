package cmd

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

// The ways to show progress, --progress; auto chooses one of the others.
const (
	progressAuto  = "auto"
	progressPlain = "plain" // a line per event
	progressJSON  = "json"  // the same as JSON
	progressNone  = "none"
	progressBar   = "bar" // auto's at a terminal: one line that is written again and again
)

// progressMode is how progress is shown. Where a script reads the result, it is shown if it was asked for.
func (a *app) progressMode() string {
	switch {
	case a.quiet, a.progressFlag == progressNone:
		return progressNone
	case a.progressFlag != progressAuto && a.progressFlag != "":
		return a.progressFlag
	case a.format != formatTable:
		return progressNone
	case a.errOut.isJSON():
		return progressJSON
	case isTerminal(a.errOut) && os.Getenv("TERM") != "dumb":
		return progressBar
	}
	return progressPlain
}

// checkProgress refuses flags that contradict each other.
func (a *app) checkProgress() error {
	switch a.progressFlag {
	case progressAuto, progressPlain, progressJSON, progressNone:
	default:
		return tenant.Invalid("use one of: auto, plain, json, none", "unknown --progress %q", a.progressFlag)
	}
	if a.quiet && (a.progressFlag == progressPlain || a.progressFlag == progressJSON) {
		return tenant.Invalid("leave out one of the two", "--quiet shows no progress, and --progress %s asks for it", a.progressFlag)
	}
	return nil
}

// progress tells how far a command is: what it does, how many have failed, and which tenants are in work.
type progress struct {
	a *app

	mu      sync.Mutex
	kind    string
	done    int
	total   int
	failed  int
	working []tenant.Name // in the order in which they were begun
	hidden  int           // that are in work and not among these

	since  time.Time // of the first event
	before int       // how many had ended then: by an earlier run, perhaps

	drawn time.Time // when the line was written last; zero where it is not on the screen
	later *time.Timer
}

func newProgress(a *app) *progress { return &progress{a: a} }

// progressDoc is a piece of progress for a program.
type progressDoc struct {
	Event    string        `json:"event"` // step, undo, undone, end, look or note; of an import: table
	Kind     string        `json:"kind,omitempty"`
	Run      string        `json:"run,omitempty"`
	Tenant   tenant.Name   `json:"tenant,omitempty"`
	Step     string        `json:"step,omitempty"`
	Position int           `json:"position,omitempty"`
	Of       int           `json:"of,omitempty"`
	Changed  bool          `json:"changed,omitempty"`
	Error    *errorFields  `json:"error,omitempty"`
	Done     int           `json:"done,omitempty"`
	Total    int           `json:"total,omitempty"`
	Failed   int           `json:"failed,omitempty"`
	Working  []tenant.Name `json:"in_work,omitempty"` // at most 20 of them
	Table    string        `json:"table,omitempty"`
	Rows     int64         `json:"rows,omitempty"`
	Rejected int64         `json:"rejected,omitempty"`
}

// inWork is how many tenants a line names at most, and a document.
const (
	inWorkLine = 3
	inWorkDoc  = 20
)

func (p *progress) event(e tenant.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(e)
	text, doc := p.line(e)
	switch mode := p.a.progressMode(); {
	case mode == progressNone:
	case mode == progressBar && p.drawnFor(e):
		p.draw(false)
	case text == "" || mode != progressJSON && e.End && e.Operation.Kind == "exec" && e.Err == nil: // its rows tell
	case mode == progressJSON:
		level := slog.LevelInfo
		if e.Err != nil {
			level = slog.LevelWarn
		}
		doc.Failed, doc.Working = p.failed, p.working[:min(len(p.working), inWorkDoc)]
		fmt.Fprintln(p.a.errOut, jsonLine{Time: time.Now().UTC(), Level: level.String(), Msg: text, Progress: &doc})
	default:
		p.takeOff()
		if e.End || e.Look != nil {
			text += p.others()
		}
		fmt.Fprintln(p.a.errOut, text)
	}
}

// count takes an event into account.
func (p *progress) count(e tenant.Event) {
	if e.Note != "" {
		return
	}
	if p.kind != e.Operation.Kind {
		p.kind, p.failed, p.working, p.hidden, p.since, p.before = e.Operation.Kind, 0, nil, 0, time.Now(), e.Done
	}
	if e.Begin || e.End || e.Look != nil {
		p.done, p.total = e.Done, e.Total
	}
	switch {
	case e.Look != nil:
		p.failed, p.working, p.hidden = e.Look.Failed, e.Look.Working, e.Look.Claimed-len(e.Look.Working)
	case e.Begin:
		p.working = append(p.working, e.Operation.Tenant)
	case e.End:
		p.working = slices.DeleteFunc(p.working, func(n tenant.Name) bool { return n == e.Operation.Tenant })
		if e.Err != nil {
			p.failed++
		}
	}
}

// drawnFor tells whether an event is part of the line at a terminal, unless the steps of a rehearsal or the rows of exec are
// lines there.
func (p *progress) drawnFor(e tenant.Event) bool {
	if e.Note != "" || !e.Begin && !e.End && e.Look == nil {
		return false
	}
	return e.Operation.Kind != tenant.OpRehearse && (e.Operation.Kind != "exec" || !isTerminal(p.a.out))
}

// line is an event in words, and for a program. Empty: it is not worth a line.
func (p *progress) line(e tenant.Event) (string, progressDoc) {
	if e.Note != "" {
		return e.Note, progressDoc{Event: "note"}
	}
	op := e.Operation
	d := progressDoc{Kind: op.Kind, Tenant: op.Tenant, Step: e.Step, Position: e.Position, Of: e.Of, Changed: e.Changed, Done: e.Done, Total: e.Total}
	if op.Run != nil {
		d.Run = op.Run.String()
	}
	switch {
	case e.Begin:
		return "", d
	case e.Look != nil:
		d.Event, d.Run = "look", op.ID.String()
		return fmt.Sprintf("%s: %d/%d", op.Kind, e.Done, e.Total), d
	case e.End && e.Err != nil:
		d.Event, d.Error = "end", fieldsOf(e.Err)
		return fmt.Sprintf("%s: %s failed (%d/%d)", op.Tenant, op.Kind, e.Done, e.Total), d
	case e.End:
		d.Event = "end"
		return fmt.Sprintf("%s: %s (%d/%d)", op.Tenant, past(e), e.Done, e.Total), d
	case op.Run != nil:
		return "", d // steps of one tenant among thousands are noise
	case e.Undo && e.Step == "":
		d.Event = "undone"
		if slices.Contains([]string{tenant.OpCreate, tenant.OpClone, tenant.OpTest, tenant.OpRehearse}, op.Kind) {
			return fmt.Sprintf("%s: undone, nothing of it is left", op.Tenant), d
		}
		return fmt.Sprintf("%s: undone, it is as it was before", op.Tenant), d
	case e.Undo:
		d.Event = "undo"
		return fmt.Sprintf("%s: undoing %s", op.Tenant, e.Step), d
	}
	d.Event = "step"
	of := ""
	if e.Of > 0 {
		of = fmt.Sprintf(" %d/%d", e.Position, e.Of)
	}
	return strings.TrimPrefix(fmt.Sprintf("%s: %s%s %s", op.Tenant, op.Kind, of, e.Step), ": "), d
}

// others tells of the failures so far, and of the tenants in work.
func (p *progress) others() string {
	var s string
	if p.failed > 0 {
		s += fmt.Sprintf(", %d failed", p.failed)
	}
	if n := len(p.working); n > 0 {
		s += ", in work: " + p.names(min(n, inWorkLine))
	}
	return s
}

// names are the first few of the tenants in work, and how many there are beside.
func (p *progress) names(few int) string {
	parts := make([]string, few)
	for i, n := range p.working[:few] {
		parts[i] = string(n)
	}
	s := strings.Join(parts, ", ")
	if more := len(p.working) - few + p.hidden; more > 0 {
		s += fmt.Sprintf(" +%d", more)
	}
	return s
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

// drawEvery is the least time between two writings of the line.
const drawEvery = 100 * time.Millisecond

// eraseLine goes to the beginning of the terminal's line and empties it.
const eraseLine = "\r\x1b[K"

// draw writes the line again: at once, or as soon as the last writing is long enough ago.
func (p *progress) draw(late bool) {
	if late {
		p.later = nil
	}
	if p.later != nil {
		return
	}
	if wait := drawEvery - time.Since(p.drawn); wait > 0 {
		p.later = time.AfterFunc(wait, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.later != nil { // it was not taken off the screen since
				p.draw(true)
			}
		})
		return
	}
	p.drawn = time.Now()
	// A terminal that does not take the line must not end the run.
	_, _ = io.WriteString(p.a.errOut.to, eraseLine+p.status(terminalWidth(p.a.errOut)))
}

// status is the line: as many tenants in work are named as fit into the width.
func (p *progress) status(width int) string {
	s := fmt.Sprintf("%s %d/%d", p.kind, p.done, p.total)
	if p.total > 0 {
		s += fmt.Sprintf(" %d%%", 100*p.done/p.total)
	}
	if p.failed > 0 {
		s += fmt.Sprintf(", %d failed", p.failed)
	}
	if at := pace(int64(p.done-p.before), int64(p.total-p.done), time.Since(p.since)); at != "" {
		s += ", " + at
	}
	for few := len(p.working); few > 0; few-- {
		if with := s + ", in work: " + p.names(few); len(with) < width {
			return with
		}
	}
	if n := len(p.working) + p.hidden; n > 0 {
		s += fmt.Sprintf(", %d in work", n)
	}
	return s[:max(0, min(len(s), width-1))]
}

// end takes the line off the screen, before something else is printed.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeOff()
}

func (p *progress) takeOff() {
	if p.later != nil {
		p.later.Stop()
		p.later = nil
	}
	if !p.drawn.IsZero() {
		_, _ = io.WriteString(p.a.errOut.to, eraseLine) // as above
		p.drawn = time.Time{}
	}
}

// fieldsOf is an error for a program; nil for none.
func fieldsOf(err error) *errorFields {
	if err == nil {
		return nil
	}
	f := &errorFields{Code: codeOf(err), Message: err.Error()}
	var e *tenant.Error
	if errors.As(err, &e) {
		f.Tenant, f.Hint = e.Tenant, e.Hint
	}
	return f
}
