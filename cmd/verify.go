package cmd

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type verifyOptions struct {
	selection selectionFlags
	store     string
}

func newVerifyCmd(a *app) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify [NAME...]",
		Short: "Compare the catalog with what the stores really hold",
		Long: `Looks for what is missing or of nobody, has the wrong owner, more or fewer rights than the policy gives, reaches from one
tenant to another, runs with its owner's rights, is at another version than the catalog says, or is built unlike the
others: each structure is compared with that of most tenants at the same version. Without names or a selection it is the
whole fleet, and only then it looks for schemas, databases, roles and users of no tenant. It changes nothing; tenants that
an operation is at work on are left out and named.

Equal findings of many tenants are one group. Warnings alone do not make it fail.

` + exitHelp,
		Example: `  tenantctl verify
  tenantctl verify acme globex --store postgres
  tenantctl verify --selector plan=pro -o json`,
		ValidArgsFunction: a.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return runVerify(cmd, a, &o, args) },
	}
	o.selection.add(c)
	c.Flags().StringVar(&o.store, "store", "", "look at this store alone: `postgres|mongodb`")
	return c
}

func runVerify(cmd *cobra.Command, a *app, o *verifyOptions, args []string) error {
	sel, err := o.selection.selection(args)
	if err != nil {
		return err
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	v, err := s.Verify(cmd.Context(), tenant.VerifyRequest{Selection: sel, Only: o.store})
	if err != nil {
		return err
	}
	if err := a.print(v, "", func(w io.Writer) { a.verification(w, v) }); err != nil {
		return err
	}
	return v.Err()
}

// verification prints what was found, a group each.
func (a *app) verification(w io.Writer, v *tenant.Verification) {
	for _, g := range v.Findings {
		severity := a.paint(red, g.Severity)
		if g.Severity != "error" {
			severity = a.paint(yellow, g.Severity)
		}
		what := g.Message
		if g.Object != "" {
			what = g.Object + " " + g.Message
		}
		fmt.Fprintf(w, "%s %s (%s): %s\n", severity, g.Rule, g.Store, what)
		t := a.table(w)
		if g.Count > 0 {
			t.AppendRow(table.Row{"  " + tenant.Plural(g.Count, "tenant") + ":", some(g.Tenants, g.Count)})
		}
		t.AppendRow(table.Row{"  way out:", g.Hint})
		t.Render()
	}
	for _, s := range v.Skipped {
		fmt.Fprintf(w, "not looked at: %s (%s): %s\n", tenant.Plural(s.Count, "tenant"), s.Reason, some(s.Tenants, s.Count))
	}
	for _, s := range v.Structures {
		if s.Tenants < s.Of {
			fmt.Fprintf(w, "structures in %s at version %d are compared with that of %d of %s, such as %s\n", s.Store, s.Version, s.Tenants, tenant.Plural(s.Of, "tenant"), s.Example)
		}
	}
	state, found := a.paint(green, "clean"), ""
	if errors := v.Summary.Findings - v.Summary.Warnings; errors > 0 {
		state, found = a.paint(red, "differs"), ", "+tenant.Plural(errors, "finding")
	}
	if v.Summary.Warnings > 0 {
		found += ", " + tenant.Plural(v.Summary.Warnings, "warning")
	}
	fmt.Fprintf(w, "%s: %s%s in %s\n", state, tenant.Plural(v.Tenants, "tenant"), found, millis(v.DurationMS))
}
