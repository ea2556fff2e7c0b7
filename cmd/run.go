package cmd

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

// runFlags are those of every command that works on many tenants at once. The first two are keys of the configuration
// too, which is where their values are read.
type runFlags struct {
	resume  string
	report  string
	rollout rolloutFlags
}

func (f *runFlags) add(cmd *cobra.Command) {
	addFanOut(cmd)
	cmd.Flags().StringVar(&f.resume, "resume", "", "go on with the tenants that are not done of the run with this `id`, or a beginning or end of it")
	cmd.Flags().StringVar(&f.report, "report", "", "write a report to this `file`: JSON, or JUnit XML where it ends in .xml")
	f.rollout.add(cmd)
}

func addFanOut(cmd *cobra.Command) {
	cmd.Flags().Int("parallel", 0, "work on `n` tenants at once (default 8)")
	cmd.Flags().String("max-failures", "", "start no new tenants after so many failures: `N|P%` (default 1)")
}

// fanOut reads the two flags through the configuration.
func (a *app) fanOut() (tenant.RunOptions, error) {
	cfg, err := a.config()
	if err != nil {
		return tenant.RunOptions{}, err
	}
	budget, err := tenant.ParseBudget("failures", cfg.Fleet.MaxFailures)
	return tenant.RunOptions{Parallel: cfg.Fleet.Parallel, MaxFailures: budget}, err
}

func (f *runFlags) options(cmd *cobra.Command, a *app) (tenant.RunOptions, error) {
	opts, err := a.fanOut()
	if err != nil {
		return opts, err
	}
	if opts.Rollout, err = f.rollout.rollout(cmd, a); err != nil {
		return opts, err
	}
	opts.Resume = f.resume
	return opts, f.check()
}

// summary prints a run for a person.
func (a *app) summary(w io.Writer, r *tenant.RunResult) {
	a.fields(w, "run", r.Run, "environment", a.cfg.Environment, "target", versions(r.Target))
	s := r.Summary
	state := a.paint(green, string(r.State))
	if r.State != tenant.RunDone {
		state = a.paint(red, string(r.State))
	}
	fmt.Fprintf(w, "%s: %s, %d changed, %d unchanged, %d failed, %d not started in %s\n", state, tenant.Plural(s.Tenants, "tenant"), s.Changed, s.Unchanged, s.Failed, s.NotStarted, millis(r.DurationMS))
	a.waves(w, r.Waves)
	if s.Tenants > 1 { // the fault of a single one is the command's error
		a.failures(w, r.Failures)
	}
	a.notAdopted(w, "refused", r.Refused)
	a.notAdopted(w, "left out", r.LeftOut)
	if r.Retry != "" {
		a.fields(w, "try them again", r.Retry)
	}
}

// waves tells how each wave ended.
func (a *app) waves(w io.Writer, waves []tenant.Wave) {
	if len(waves) == 0 {
		return
	}
	t := a.table(w)
	t.AppendHeader(header([]string{"wave", "tenants", "changed", "unchanged", "failed", "took"}))
	for _, v := range waves {
		t.AppendRow(table.Row{v.Number, v.Tenants, v.Changed, v.Unchanged, v.Failed, millis(v.DurationMS)})
	}
	t.Render()
}

func (a *app) failures(w io.Writer, groups []tenant.FailureGroup) {
	for _, g := range groups {
		fmt.Fprintf(w, "\n%s %s\n", a.paint(red, fmt.Sprintf("%s failed:", tenant.Plural(g.Count, "tenant"))), g.Message)
		t := a.table(w)
		row := func(k, v string) {
			if v != "" {
				t.AppendRow(table.Row{"  " + k + ":", v})
			}
		}
		row("store", g.Store)
		row("statement", g.Statement)
		row("tenants", some(g.Tenants, g.Count))
		row("hint", g.Hint)
		t.Render()
	}
}

// some names the first few of count tenants.
func some(names []tenant.Name, count int) string {
	const few = 5
	var s string
	for i, n := range names[:min(few, len(names))] {
		if i > 0 {
			s += ", "
		}
		s += string(n)
	}
	if count > few {
		s += fmt.Sprintf(" and %d more", count-few)
	}
	return s
}

func millis(ms int64) string {
	switch d := time.Duration(ms) * time.Millisecond; {
	case d < time.Second:
		return fmt.Sprintf("%d ms", ms)
	case d >= time.Minute:
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%.1f s", float64(ms)/1000)
}

// finishRun prints a run's result, writes its report, tells GitHub Actions, and gives its error.
func (a *app) finishRun(cmd *cobra.Command, s *tenant.Service, f *runFlags, r *tenant.RunResult) error {
	a.progress.end()
	a.warn(r.Warnings)
	if err := a.printReport(r, r.Run.String(), func(w io.Writer) { a.summary(w, r) }); err != nil {
		return err
	}
	a.tellActions(r)
	return a.outcome(cmd, s, f, r)
}

// outcome writes a run's report and gives the run's error; that of the report where the run has none.
func (a *app) outcome(cmd *cobra.Command, s *tenant.Service, f *runFlags, r *tenant.RunResult) error {
	unwritten := f.write(cmd.Context(), s, r, a.cfg.Target())
	err := r.Err()
	if err == nil {
		return unwritten
	}
	if unwritten != nil {
		a.warn([]string{unwritten.Error()})
	}
	return err
}
