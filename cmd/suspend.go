package cmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

func newSuspendCmd(a *app) *cobra.Command {
	var reason string
	c := newLockCmd(a, &cobra.Command{
		Use:   "suspend NAME",
		Short: "Lock a tenant's users out of every store",
		Long: `Takes the right to log in from the tenant's users in every store and ends their connections. Data and passwords
stay; migrations go on. Where a store keeps no user for the tenant, nobody can be locked out of it, which is said.

Before a store is locked, every live resolver has stopped sending the tenant's requests on. --reason is shown to visitors.

` + exitHelp,
		Example: `  tenantctl suspend acme
  tenantctl suspend acme --reason "The subscription has ended."`,
	}, tenant.OpSuspend, &reason, "suspended", "lock the users of %s out of every store and end their connections", func(s *tenant.Service, ctx context.Context, name tenant.Name) (*tenant.Outcome, error) {
		return s.SuspendFor(ctx, name, reason)
	})
	c.Flags().StringVar(&reason, "reason", "", "tell visitors this `reason`")
	return c
}

func newResumeCmd(a *app) *cobra.Command {
	return newLockCmd(a, &cobra.Command{
		Use:     "resume NAME",
		Short:   "Let a suspended tenant's users back in",
		Long:    "Lets the users of a suspended tenant log in again, with the passwords they had.\n\n" + exitHelp,
		Example: "  tenantctl resume acme",
	}, tenant.OpResume, new(string), "resumed", "let the users of %s back into every store", (*tenant.Service).Resume)
}

func newLockCmd(a *app, c *cobra.Command, kind string, reason *string, done, would string, do func(*tenant.Service, context.Context, tenant.Name) (*tenant.Outcome, error)) *cobra.Command {
	var dryRun bool
	c.Args = oneName
	c.ValidArgsFunction = a.completeNames
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.service(cmd.Context())
		if err != nil {
			return err
		}
		name := tenant.Name(args[0])
		if dryRun {
			t, change, err := s.PlanLockdown(cmd.Context(), name, kind, *reason)
			if err != nil {
				return err
			}
			if !change {
				return a.printOutcome(&tenant.Outcome{Tenant: t}, done)
			}
			return a.printPlan(t, would, t.Name)
		}
		out, err := do(s, cmd.Context(), name)
		if err != nil {
			return err
		}
		return a.printOutcome(out, done)
	}
	addDryRun(c, &dryRun)
	return c
}
