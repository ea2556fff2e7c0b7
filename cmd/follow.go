package cmd

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tenantctl/tenantctl/tenant"
)

// lookEvery is the time between two looks at what others are at work on.
const lookEvery = time.Second

// runFollow shows an operation when it has ended.
func runFollow(cmd *cobra.Command, a *app, s *tenant.Service, id string) error {
	a.watches.Store(true)
	d, err := s.Follow(cmd.Context(), id, lookEvery)
	a.progress.end()
	if err != nil {
		return err
	}
	if err := a.print(d, d.ID.String(), func(w io.Writer) { a.operation(w, d) }); err != nil {
		return err
	}
	return d.Err()
}

// watchStatus shows the fleet's status whenever it has changed, until no tenant is behind any more.
func watchStatus(cmd *cobra.Command, a *app, look func() (*tenant.MigrationStatus, error)) error {
	a.watches.Store(true)
	screen := &screen{a: a}
	shown := ""
	for {
		st, err := look()
		if err != nil {
			return err
		}
		doc, err := marshal(st)
		if err != nil {
			return writing(err)
		}
		if now := string(doc); now != shown {
			shown = now
			if err := screen.show(st); err != nil {
				return err
			}
		}
		if len(st.Behind) == 0 {
			return st.Err()
		}
		select {
		case <-cmd.Context().Done():
			return &tenant.Error{Kind: tenant.ErrInterrupted, Msg: fmt.Sprintf("interrupted: %s behind", are(len(st.Behind)))}
		case <-time.After(lookEvery):
		}
	}
}

// screen is where the same thing is shown again and again: at a terminal in the same place, elsewhere one after the other.
type screen struct {
	a     *app
	lines int // that are on the terminal
	shown int
}

func (s *screen) show(st *tenant.MigrationStatus) error {
	if s.shown++; s.shown > 1 && s.a.format == formatYAML {
		fmt.Fprintln(s.a.out, "---")
	}
	f, isFile := beneath(s.a.out).(*os.File)
	if s.a.format != formatTable || !isFile || !term.IsTerminal(int(f.Fd())) {
		return s.a.printReport(st, "", func(w io.Writer) {
			fmt.Fprintln(w, time.Now().UTC().Format(timeFormat))
			s.a.status(w, st)
			fmt.Fprintln(w)
		})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, until no tenant is behind; Ctrl-C ends it\n\n", time.Now().UTC().Format(timeFormat))
	s.a.status(&b, st)
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width, height = 80, 24
	}
	lines := strings.Split(strings.TrimSuffix(visible(b.String()), "\n"), "\n")
	if most := height - 1; len(lines) > most {
		lines = append(lines[:max(0, most-1)], "...")
	}
	var out strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", s.lines)
	}
	out.WriteString("\r\x1b[J")
	for _, line := range lines {
		out.WriteString(text.Snip(line, width, "…") + "\n")
	}
	s.lines = len(lines)
	_, err = io.WriteString(f, out.String())
	return writing(err)
}
