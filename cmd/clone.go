package cmd

import (
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type cloneOptions struct {
	domains, labels []string
	noData          bool
	dryRun          bool
}

func newCloneCmd(a *app) *cobra.Command {
	var o cloneOptions
	c := &cobra.Command{
		Use:   "clone SRC DST",
		Short: "Make a tenant from a tenant",
		Long: `Makes a tenant as a copy of another at the same versions: structure, rows and documents, copied inside the servers where
they can. Its role and user are its own; domains are not copied, labels are, unless --label gives others.
--no-data copies the structure alone. PostgreSQL's copy is of one moment, MongoDB's where the server can.

` + exitHelp,
		Example:           "  tenantctl clone acme acme-staging --label env=staging\n  tenantctl clone template newcustomer --no-data --domain new.example.com",
		Args:              twoNames,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runClone(cmd, a, o, args[0], args[1])
		},
	}
	f := c.Flags()
	f.BoolVar(&o.noData, "no-data", false, "the structure alone")
	f.StringArrayVar(&o.domains, "domain", nil, "a `domain` of the new tenant (repeatable)")
	f.StringArrayVar(&o.labels, "label", nil, "a label of the new tenant instead of those of SRC, as `key=value` (repeatable)")
	addAllowSuperuser(c)
	addDryRun(c, &o.dryRun)
	return c
}

func runClone(cmd *cobra.Command, a *app, o cloneOptions, from, to string) error {
	req := tenant.CloneRequest{From: tenant.Name(from), To: tenant.CreateRequest{Name: to, Domains: o.domains}, Data: !o.noData}
	if len(o.labels) > 0 {
		labels, err := tenant.ParseLabels(o.labels)
		if err != nil {
			return err
		}
		req.To.Labels = labels
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	if o.dryRun {
		src, t, err := s.PlanClone(cmd.Context(), req)
		if err != nil {
			return err
		}
		what := "everything"
		if o.noData {
			what = "the structure"
		}
		return a.printPlan(t, "copy %s of %s (%s) to %s: schema %s, role %s, database %s%s", what, src.Name, versions(src.Versions), t.Name, t.Schema, t.Role, t.Database, withDomains(t.Domains))
	}
	out, err := s.Clone(cmd.Context(), req)
	a.progress.end()
	if err != nil {
		return err
	}
	if err := a.printOutcome(out, "cloned from "+from); err != nil {
		return err
	}
	a.say("  credentials: tenantctl credentials %s --rotate", out.Tenant.Name)
	return nil
}
