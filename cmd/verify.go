package cmd

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type verifyOptions struct {
	confirmFlags
	selection selectionFlags
	store     string
	fix, diff bool
	drift     bool
	probe     bool
	sample    int
}

func newVerifyCmd(a *app) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify [NAME...]",
		Short: "Compare the catalog with what the stores really hold",
		Long: `Looks for what is missing or of nobody, has the wrong owner, more or fewer rights than the policy gives, reaches from one
tenant to another, runs with its owner's rights, is at another version than the catalog says, or is built unlike the
others: each structure is compared with that of most tenants at the same version. Without names or a selection it is the
whole fleet, and only then it looks for schemas, databases, roles and users of no tenant. Tenants that an operation is at
work on are left out and named. Equal findings of many tenants are one group. Warnings alone do not make it fail.

It changes nothing, unless --fix is given: that puts right rights, owners, roles, search_path and versions, makes missing
roles, users and empty databases, each tenant in an operation of its own, and verifies again. It gives a lost ownership tag
back where nothing says that what bears none is another's. It takes no data away. Asks first. For structures it prints what differs and the statements that would end it, and asks for each structure: they run in
one transaction in PostgreSQL, which is kept only where it ends in the fleet's structure. No statement drops a table, a column
or a collection, or changes a type: where it would take that, the reason is printed. --yes leaves structures alone, unless
--drift says that they are meant too.

--diff prints how the structures of one tenant differ from the fleet's newest: + is what it has more, - what it lacks.

` + probeHelp + `

` + exitHelp,
		Example: `  tenantctl verify
  tenantctl verify acme globex --store postgres
  tenantctl verify --selector plan=pro -o json
  tenantctl verify --fix --dry-run
  tenantctl verify --fix --yes
  tenantctl verify --fix --yes --drift
  tenantctl verify --diff acme
` + probeExample,
		ValidArgsFunction: a.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return runVerify(cmd, a, &o, args) },
	}
	o.selection.add(c)
	c.Flags().StringVar(&o.store, "store", "", "look at this store alone: `postgres|mongodb`")
	c.Flags().BoolVar(&o.fix, "fix", false, "repair what can be repaired safely")
	c.Flags().BoolVar(&o.drift, "drift", false, "with --fix --yes: run the statements that end differences of structure, too")
	c.Flags().BoolVar(&o.diff, "diff", false, "print how the structures of the one tenant that is named differ from the fleet's newest")
	addProbe(c, &o.probe, &o.sample)
	addFanOut(c)
	o.confirmFlags.add(c)
	return c
}

// check refuses flags that would do nothing.
func (o *verifyOptions) check(cmd *cobra.Command, args []string) error {
	if !o.fix {
		for _, name := range []string{"yes", "dry-run", "parallel", "max-failures"} {
			if cmd.Flags().Changed(name) {
				return tenant.Invalid("add --fix, or leave it out: without --fix nothing is changed", "--%s goes with --fix", name)
			}
		}
	}
	switch {
	case o.drift && !(o.fix && o.yes):
		return tenant.Invalid("at a terminal --fix shows the statements and asks", "--drift goes with --fix --yes")
	case o.probe && (o.fix || o.diff || o.store != ""):
		return tenant.Invalid("verify first, then probe", "--probe goes with a selection and --sample alone")
	case !o.probe && cmd.Flags().Changed("sample"):
		return tenant.Invalid("add --probe", "--sample goes with --probe")
	case o.diff && o.fix:
		return tenant.Invalid("--fix prints what differs by itself", "--diff and --fix exclude each other")
	case o.diff && len(args) != 1:
		return tenant.Invalid("tenantctl verify --diff NAME", "--diff takes the name of one tenant, %d given", len(args))
	}
	return nil
}

func runVerify(cmd *cobra.Command, a *app, o *verifyOptions, args []string) error {
	sel, err := o.selection.selection(args)
	if err != nil {
		return err
	}
	if err := o.check(cmd, args); err != nil {
		return err
	}
	if o.probe {
		return a.runProbe(cmd, sel, o.sample)
	}
	opts, err := a.fanOut()
	if err != nil {
		return err
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	req := tenant.VerifyRequest{Selection: sel, Only: o.store}
	if o.diff {
		return a.diff(cmd, s, req)
	}
	if o.fix {
		return a.fix(cmd, s, req, opts, o)
	}
	v, err := s.Verify(cmd.Context(), req)
	if err != nil {
		return err
	}
	if err := a.printReport(v, "", func(w io.Writer) { a.verification(w, v, false) }); err != nil {
		return err
	}
	return v.Err()
}

// verification prints what was found, a group each; with fixes, what would be done about it in the first tenant.
func (a *app) verification(w io.Writer, v *tenant.Verification, fixes bool) {
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
		if fixes && g.Fixable {
			t.AppendRow(table.Row{"  would do:", g.Fix})
		} else {
			t.AppendRow(table.Row{"  fix:", g.Hint})
		}
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
