package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type setOptions struct {
	labels, domains, removeDomains []string
	hold                           string
	noHold                         bool
	dryRun                         bool
}

func newSetCmd(a *app) *cobra.Command {
	var o setOptions
	c := &cobra.Command{
		Use:   "set NAME",
		Short: "Change a tenant's labels and domains, or put it on hold",
		Long: `Changes what the catalog says of a tenant; the stores are left alone. A label is given as key=value, or as
key- to take it away. A tenant on hold is never purged, and its backups are never pruned, until the hold is lifted.

` + exitHelp,
		Example: `  tenantctl set acme --label plan=enterprise --label trial-
  tenantctl set acme --domain www.acme.example --remove-domain old.acme.example
  tenantctl set acme --hold "case 4711"`,
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return runSet(cmd, a, o, args[0]) },
	}
	f := c.Flags()
	f.StringArrayVar(&o.labels, "label", nil, "a label to set, as `key=value`, or to take away, as key- (repeatable)")
	f.StringArrayVar(&o.domains, "domain", nil, "a `domain` to add (repeatable)")
	f.StringArrayVar(&o.removeDomains, "remove-domain", nil, "a `domain` to take away (repeatable)")
	f.StringVar(&o.hold, "hold", "", "never purge it, nor prune its backups, for this `reason`")
	f.BoolVar(&o.noHold, "no-hold", false, "lift the hold")
	addDryRun(c, &o.dryRun)
	return c
}

func runSet(cmd *cobra.Command, a *app, o setOptions, name string) error {
	var set, remove []string
	for _, l := range o.labels {
		if key, ok := strings.CutSuffix(l, "-"); ok && !strings.Contains(l, "=") {
			remove = append(remove, key)
		} else {
			set = append(set, l)
		}
	}
	labels, err := tenant.ParseLabels(set)
	if err != nil {
		return err
	}
	ch := tenant.Change{Labels: labels, RemoveLabels: remove, AddDomains: o.domains, RemoveDomains: o.removeDomains}
	held := cmd.Flags().Changed("hold")
	switch {
	case held && o.noHold:
		return tenant.Invalid("give one of the two", "--hold and --no-hold exclude each other")
	case held && strings.TrimSpace(o.hold) == "":
		return tenant.Invalid("such as --hold 'case 4711'", "a hold needs its reason")
	case held, o.noHold:
		ch.Hold = &o.hold
	case len(o.labels)+len(o.domains)+len(o.removeDomains) == 0:
		return tenant.Invalid("usage: tenantctl set NAME --label k=v --domain D --remove-domain D --hold REASON", "nothing to set")
	}
	s, err := a.lookup(cmd.Context())
	if err != nil {
		return err
	}
	if o.dryRun {
		t, err := s.PlanSet(cmd.Context(), tenant.Name(name), ch)
		if err != nil {
			return err
		}
		return a.printPlan(t, "leave %s with domains %s, labels %s, hold %s", t.Name, orNone(strings.Join(t.Domains, ", ")), orNone(pairs(t.Labels)), orNone(t.Hold))
	}
	out, err := s.Set(cmd.Context(), tenant.Name(name), ch)
	if err != nil {
		return err
	}
	return a.printSet(out)
}

// printSet is printOutcome with a line for each thing that was changed.
func (a *app) printSet(out *tenant.Outcome) error {
	verb := "set"
	if len(out.Changes) == 0 {
		verb = "set, it was so already,"
	}
	if err := a.printOutcome(out, verb); err != nil || a.format != formatTable {
		return err
	}
	for _, d := range out.Changes {
		fmt.Fprintf(a.out, "  %s\n", inOneLine(d.String()))
	}
	return writing(a.out.failed())
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}
