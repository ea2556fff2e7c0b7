package cmd

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

// fixDoc is what a fix did, and how the structures differ that it leaves.
type fixDoc struct {
	*tenant.FixResult
	Drift []*tenant.StructureDiff `json:"drift,omitempty"`
}

// fix asks, puts right what was found, and prints what is left.
func (a *app) fix(cmd *cobra.Command, s *tenant.Service, req tenant.VerifyRequest, v *tenant.Verification, opts tenant.RunOptions, yes bool) error {
	what := fmt.Sprintf("put right what is wrong in %s: %s", tenant.Plural(v.Mendable(), "tenant"), rules(v))
	if err := a.confirm(yes, question{text: "This will " + what + ".", short: "this would " + what, answer: fmt.Sprint(v.Mendable())}); err != nil {
		return err
	}
	r, err := s.Fix(cmd.Context(), req, v, opts)
	a.progress.end()
	if err != nil {
		return err
	}
	drift, err := drifting(cmd, s, req, r.Left)
	if err != nil {
		return err
	}
	err = a.print(fixDoc{r, drift}, "", func(w io.Writer) {
		for _, g := range r.Mended {
			fmt.Fprintf(w, "%s %s (%s): %s in %s\n", a.paint(green, "mended"), g.Rule, g.Store, strings.TrimSpace(g.Object+" "+g.Message), tenant.Plural(g.Count, "tenant"))
		}
		a.verification(w, r.Left, false)
		a.diffs(w, drift)
		a.failures(w, r.Failures)
	})
	if err != nil {
		return err
	}
	return r.Err()
}

// rules names what can be put right.
func rules(v *tenant.Verification) string {
	var all []string
	for _, g := range v.Findings {
		if g.Fixable && !slices.Contains(all, g.Rule) {
			all = append(all, g.Rule)
		}
	}
	return strings.Join(all, ", ")
}

// drifting compares one tenant of each structure that is unlike the others'.
func drifting(cmd *cobra.Command, s *tenant.Service, req tenant.VerifyRequest, v *tenant.Verification) (all []*tenant.StructureDiff, err error) {
	for _, name := range v.Drifting() {
		d, err := s.VerifyDiff(cmd.Context(), name, req.Only)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// diff prints how one tenant's structures differ.
func (a *app) diff(cmd *cobra.Command, s *tenant.Service, req tenant.VerifyRequest) error {
	d, err := s.VerifyDiff(cmd.Context(), req.Selection.Names[0], req.Only)
	if err != nil {
		return err
	}
	err = a.print(d, "", func(w io.Writer) {
		for _, one := range d.Stores {
			if m := one.Measured; len(one.Lines) == 0 {
				fmt.Fprintf(w, "%s: no difference from the structure that %d of %s have at version %d\n", one.Store, m.Tenants, tenant.Plural(m.Of, "tenant"), m.Version)
			}
		}
		a.diffs(w, []*tenant.StructureDiff{d})
	})
	if err != nil {
		return err
	}
	return d.Err()
}

func (a *app) diffs(w io.Writer, all []*tenant.StructureDiff) {
	for _, d := range all {
		for _, one := range d.Stores {
			m := one.Measured
			if len(one.Lines) == 0 {
				continue
			}
			fmt.Fprintf(w, "--- %s at version %d: the structure of %d of %s, such as %s\n", one.Store, m.Version, m.Tenants, tenant.Plural(m.Of, "tenant"), m.Example)
			fmt.Fprintf(w, "+++ %s at version %d\n", d.Name, one.Version)
			for _, line := range one.Lines {
				switch line[0] {
				case '+':
					line = a.paint(green, line)
				case '-':
					line = a.paint(red, line)
				}
				fmt.Fprintln(w, line)
			}
		}
	}
}
