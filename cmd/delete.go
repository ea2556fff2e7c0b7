package cmd

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type deleteOptions struct {
	confirmFlags
	now bool
	due bool
}

func newDeleteCmd(a *app) *cobra.Command {
	var o deleteOptions
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a tenant from every store, for good",
		Long: `Locks the tenant's users out, drops its database and its schema with all data, proves that nothing is left, and
keeps a record of what was there. There is no way back: take a backup first where the data may be wanted.
Asks for the tenant's name, unless --yes is given. After a crash the same command goes on.

` + exitHelp,
		Example:           "  tenantctl delete acme\n  tenantctl delete acme --yes\n  tenantctl delete acme --dry-run",
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDelete(cmd, a, o.confirmFlags, args[0], (*tenant.Service).PlanDelete, (*tenant.Service).Delete)
		},
	}
	o.add(c)
	c.Flags().BoolVar(&o.now, "now", false, "at once; the same as without, since deleted tenants are not kept")
	return c
}

func newPurgeCmd(a *app) *cobra.Command {
	var o deleteOptions
	c := &cobra.Command{
		Use:   "purge [NAME]",
		Short: "Drop what is left of deleted tenants",
		Long: `Drops in every store what is left of a tenant that is deleted, being deleted, or was left by a create that failed,
and proves that nothing is left. --due purges every deleted tenant whose purge_after has passed: for cron.
An active or suspended tenant is refused.

` + exitHelp,
		Example:           "  tenantctl purge acme\n  tenantctl purge --due --yes",
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.due {
				return runPurgeDue(cmd, a, o, args)
			}
			if err := oneName(cmd, args); err != nil {
				return err
			}
			return runDelete(cmd, a, o.confirmFlags, args[0], (*tenant.Service).PlanPurge, (*tenant.Service).Purge)
		},
	}
	o.add(c)
	c.Flags().BoolVar(&o.due, "due", false, "every deleted tenant whose time has come")
	return c
}

type (
	planDeletion func(*tenant.Service, context.Context, tenant.Name) (*tenant.Deletion, error)
	doDeletion   func(*tenant.Service, context.Context, tenant.Name) (*tenant.Outcome, error)
)

func runDelete(cmd *cobra.Command, a *app, o confirmFlags, arg string, plan planDeletion, do doDeletion) error {
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	name := tenant.Name(arg)
	d, err := plan(s, cmd.Context(), name)
	if err != nil {
		return err
	}
	if o.dryRun {
		return a.printPlan(d.Tenant, "delete %s: %s", name, holdings(d))
	}
	q := question{
		text:  fmt.Sprintf("This deletes tenant %s for good: %s.", name, holdings(d)),
		short: fmt.Sprintf("this would delete tenant %s and its %s for good", name, loss(d)), answer: arg,
	}
	if err := a.confirm(o.yes, q); err != nil {
		return err
	}
	out, err := do(s, cmd.Context(), name)
	if err != nil {
		return err
	}
	return a.printOutcome(out, "deleted")
}

// loss is how much a deletion takes away.
func loss(d *tenant.Deletion) string {
	var size int64
	for _, st := range d.Stores {
		size += st.Bytes
	}
	return bytes(size) + " of data"
}

// holdings is what a deletion takes away, in words.
func holdings(d *tenant.Deletion) string {
	var parts []string
	for _, kind := range []string{tenant.KindPostgres, tenant.KindMongoDB} {
		st, ok := d.Stores[kind]
		if !ok {
			continue
		}
		if st.Presence != tenant.Ours {
			parts = append(parts, kind+" has nothing of it")
			continue
		}
		thing := map[string]string{tenant.KindPostgres: "table", tenant.KindMongoDB: "collection"}[kind]
		parts = append(parts, fmt.Sprintf("%s with %s, %s", strings.Join(st.Remains, " and "), tenant.Plural(int(st.Objects), thing), bytes(st.Bytes)))
	}
	return strings.Join(parts, "; ")
}

func runPurgeDue(cmd *cobra.Command, a *app, o deleteOptions, args []string) error {
	if err := noArgs(cmd, args); err != nil {
		return err
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	due, err := s.Due(cmd.Context())
	if err != nil {
		return err
	}
	if !o.dryRun && len(due) > 0 {
		q := question{
			text:  fmt.Sprintf("This purges %s for good: %s.", tenant.Plural(len(due), "tenant"), some(due, len(due))),
			short: fmt.Sprintf("this would purge %s for good", tenant.Plural(len(due), "tenant")), answer: fmt.Sprint(len(due)),
		}
		if err := a.confirm(o.yes, q); err != nil {
			return err
		}
	}
	l := a.newList("tenant", "state").wrapped()
	failed := 0
	for _, name := range due {
		if cmd.Context().Err() != nil {
			break
		}
		doc, state := outcomeDoc{Tenant: tenant.Tenant{Name: name}, DryRun: o.dryRun}, "would be purged"
		if !o.dryRun {
			out, err := s.Purge(cmd.Context(), name)
			state = "purged"
			if err != nil {
				failed++
				state = err.Error()
				out = &tenant.Outcome{Tenant: tenant.Tenant{Name: name}, Err: err}
			}
			doc = docOf(*out)
		}
		if err := l.add(doc, string(name), name, state); err != nil {
			return err
		}
	}
	if err := l.end("nothing is due"); err != nil {
		return err
	}
	if failed > 0 {
		return &tenant.Error{Kind: tenant.ErrPartial, Msg: fmt.Sprintf("%d of %d tenants could not be purged", failed, len(due)), Hint: "run the same command again"}
	}
	return nil
}
