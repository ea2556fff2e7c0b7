package cmd

import (
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

func newRenameCmd(a *app) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "rename OLD NEW",
		Short: "Rename a tenant",
		Long: `Changes a tenant's name in the catalog. Its schema, database, role and credentials stay what they are, so
nothing that is connected notices.

` + exitHelp,
		Example:           "  tenantctl rename acme acme-corp",
		Args:              twoNames,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.lookup(cmd.Context())
			if err != nil {
				return err
			}
			old, to := tenant.Name(args[0]), args[1]
			if dryRun {
				t, err := s.PlanSet(cmd.Context(), old, tenant.Change{Name: to})
				if err != nil {
					return err
				}
				return a.printPlan(t, "rename %s to %s; schema %s, database %s and role %s stay", old, t.Name, t.Schema, t.Database, orNone(t.Role))
			}
			out, err := s.Rename(cmd.Context(), old, to)
			if err != nil {
				return err
			}
			return a.printOutcome(out, "renamed from "+args[0])
		},
	}
	addDryRun(c, &dryRun)
	return c
}
