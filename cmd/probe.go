package cmd

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

// defaultSample is how many tenants are probed where nobody says how many.
const defaultSample = 20

// runProbe tries, with the rights of tenants, what must not get through, and prints what came of it.
func (a *app) runProbe(cmd *cobra.Command, sel tenant.Selection, sample int) error {
	if sample < 0 {
		return tenant.Invalid("give a number of tenants, or 0 for all", "invalid --sample %d", sample)
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	r, err := s.Probe(cmd.Context(), tenant.ProbeRequest{Selection: sel, Sample: sample, Parallel: a.cfg.Fleet.Parallel})
	if err != nil {
		return err
	}
	for _, w := range r.Warnings() {
		a.tell(slog.LevelWarn, a.paint(red, "warning:")+" "+a.paint(red, w), w)
	}
	if err := a.printReport(r, "", func(w io.Writer) { a.probed(w, r) }); err != nil {
		return err
	}
	return r.Err()
}

func (a *app) probed(w io.Writer, r *tenant.ProbeReport) {
	if len(r.Tried) > 0 {
		t := a.wrapped(w)
		t.AppendHeader(header([]string{"store", "attempt", "outcome", "code", "times", "where"}))
		for _, g := range r.Tried {
			outcome, where := a.paint(green, string(g.Outcome)), ""
			if g.Outcome != tenant.AttemptRefused {
				outcome, where = a.paint(red, string(g.Outcome)), "as "+some(g.Tenants, len(g.Tenants))
				if g.Object != "" {
					where += " on " + g.Object
				}
				if g.Message != "" {
					where += ": " + g.Message
				}
			}
			t.AppendRow(table.Row{g.Store, g.What, outcome, g.Code, g.Count, where})
		}
		t.Render()
	}
	if len(r.Skipped) > 0 {
		a.failures(w, r.Skipped)
	}
	state := a.paint(green, "refused")
	if r.Refused < r.Attempts {
		state = fmt.Sprintf("refused, %s, %d unclear", a.paint(red, fmt.Sprintf("%d got through", r.Through)), r.Unclear)
	}
	fmt.Fprintf(w, "probed %d of %s: %d of %s %s in %s\n", r.Tenants, tenant.Plural(r.Selected, "tenant"), r.Refused, tenant.Plural(r.Attempts, "attempt"), state, millis(r.DurationMS))
}

const (
	probeHelp = `--probe proves by trying: it logs in with exactly the rights of tenants and goes for what is not theirs. In PostgreSQL
the rows of other tenants, their roles and schemas, the catalog, files and programs of the server, passwords, the schema
public; in MongoDB other databases, their users, and the server's own. Each tenant tries three others, and asks the
server which of all tenants' schemas it may use. Nothing is changed where an attempt gets through.

No tenant's password is touched: a login is made beside the tenant's own with the same rights, and removed at once. What
a killed probe leaves lets nobody in after 15 minutes, and the next one removes it. Only active tenants are probed, 20 at
random unless names are given or --sample says otherwise. Where a store keeps no users nothing keeps tenants apart in it,
which is told.`

	probeExample = `  tenantctl verify --probe
  tenantctl verify --probe --sample 0 -o json
  tenantctl verify acme globex --probe`
)

func addProbe(c *cobra.Command, probe *bool, sample *int) {
	c.Flags().BoolVar(probe, "probe", false, "try with the tenants' rights what must be refused")
	c.Flags().IntVar(sample, "sample", defaultSample, "probe `n` tenants at random, 0 for all (with --probe)")
}
