package cmd

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

// fixDoc is what a fix did, and where structures still drift what would end that.
type fixDoc struct {
	*tenant.FixResult
	Drift []*tenant.Drift `json:"drift,omitempty"`
}

// fixPlan is what a fix would do.
type fixPlan struct {
	*tenant.Verification
	DryRun bool            `json:"dry_run,omitempty"`
	Drift  []*tenant.Drift `json:"drift,omitempty"`
}

// fix looks, asks, puts right what was found, and prints what is left.
func (a *app) fix(cmd *cobra.Command, s *tenant.Service, req tenant.VerifyRequest, opts tenant.RunOptions, o *verifyOptions) error {
	ctx := cmd.Context()
	v, err := s.Verify(ctx, req)
	if err != nil {
		return err
	}
	drifts, more, err := s.Drifts(ctx, v)
	if err != nil {
		return err
	}
	if o.dryRun {
		return a.printReport(fixPlan{v, true, drifts}, "", func(w io.Writer) { a.verification(w, v, true); a.drifts(w, drifts, more) })
	}
	if v.Mendable() > 0 {
		what := fmt.Sprintf("repair what is wrong in %s: %s", tenant.Plural(v.Mendable(), "tenant"), rules(v))
		if n := v.Retagged(); n > 0 {
			what += fmt.Sprintf("; it gives the lost ownership tag back to %s", tenant.Plural(n, "tenant"))
		}
		if err := a.confirm(o.yes, question{text: "This will " + what + ".", short: "this would " + what, answer: fmt.Sprint(v.Mendable())}); err != nil {
			return err
		}
	}
	meant, err := a.meant(drifts, o)
	if err != nil {
		return err
	}
	if v.Mendable()+len(meant) == 0 {
		if err := s.EndFixes(ctx, req.Selection); err != nil {
			return err
		}
		if err := a.printReport(fixPlan{v, false, drifts}, "", func(w io.Writer) { a.verification(w, v, true); a.drifts(w, drifts, more) }); err != nil {
			return err
		}
		return v.Err()
	}
	if err := a.guard("this would change the structure of tenants"); err != nil {
		return err
	}
	r, err := s.Fix(ctx, req, v, meant, opts)
	a.progress.end()
	if err != nil {
		return err
	}
	drifts, more, unread := s.Drifts(ctx, r.Left) // what was done is told in any case
	err = a.printReport(fixDoc{r, drifts}, "", func(w io.Writer) {
		for _, g := range r.Mended {
			fmt.Fprintf(w, "%s %s (%s): %s in %s\n", a.paint(green, "repaired"), g.Rule, g.Store, strings.TrimSpace(g.Object+" "+g.Message), tenant.Plural(g.Count, "tenant"))
		}
		a.verification(w, r.Left, false)
		a.drifts(w, drifts, more)
		a.failures(w, r.Failures)
	})
	if err == nil {
		err = r.Err()
	}
	if unread != nil && !errors.Is(err, tenant.ErrPartial) {
		return unread
	}
	return err
}

// meant asks which structures are to be changed. --drift means all that can be.
func (a *app) meant(drifts []*tenant.Drift, o *verifyOptions) (meant []*tenant.Drift, err error) {
	for _, d := range drifts {
		if len(d.Statements) == 0 || o.yes && !o.drift || !o.yes && !isTerminal(a.in) {
			continue
		}
		if !o.yes {
			a.drifts(a.errOut, []*tenant.Drift{d}, 0)
			q := question{text: fmt.Sprintf("This would run in %s.", tenant.Plural(d.Count, "tenant")), answer: fmt.Sprint(d.Count)}
			if yes, err := a.ask(q); err != nil {
				return nil, err
			} else if !yes {
				continue
			}
		}
		meant = append(meant, d)
	}
	return meant, nil
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

// drifts prints how structures differ, and what would end it.
func (a *app) drifts(w io.Writer, all []*tenant.Drift, more int) {
	for _, d := range all {
		fmt.Fprintf(w, "--- %s at version %d: the structure of %d of %s, such as %s\n", d.Store, d.Version, d.Usual, tenant.Plural(d.Of, "tenant"), d.Like)
		fmt.Fprintf(w, "+++ structure %s: %s: %s\n", d.Structure, tenant.Plural(d.Count, "tenant"), some(d.Tenants, d.Count))
		a.differences(w, d.Lines)
		if d.Reason != "" {
			fmt.Fprintf(w, "no statement would end this: %s\n", d.Reason)
			continue
		}
		fmt.Fprintln(w, "what would end this:")
		for _, s := range d.Statements {
			fmt.Fprintf(w, "%s;\n", s)
		}
	}
	if more > 0 {
		fmt.Fprintf(w, "%s more: run the same command again when these are repaired\n", tenant.Plural(more, "structure"))
	}
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
		a.diffs(w, d)
	})
	if err != nil {
		return err
	}
	return d.Err()
}

func (a *app) diffs(w io.Writer, d *tenant.StructureDiff) {
	for _, one := range d.Stores {
		m := one.Measured
		if len(one.Lines) == 0 {
			continue
		}
		fmt.Fprintf(w, "--- %s at version %d: the structure of %d of %s, such as %s\n", one.Store, m.Version, m.Tenants, tenant.Plural(m.Of, "tenant"), m.Example)
		fmt.Fprintf(w, "+++ %s at version %d\n", d.Name, one.Version)
		a.differences(w, one.Lines)
	}
}

func (a *app) differences(w io.Writer, lines []string) {
	for _, line := range lines {
		switch line[0] {
		case '+':
			line = a.paint(green, line)
		case '-':
			line = a.paint(red, line)
		}
		fmt.Fprintln(w, line)
	}
}
