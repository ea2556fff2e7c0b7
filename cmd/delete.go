package cmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type deleteOptions struct {
	confirmFlags
	now, noBackup bool
}

func newDeleteCmd(a *app) *cobra.Command {
	var o deleteOptions
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a tenant with a grace period, or permanently",
		Long: `Locks the tenant's users out, backs the tenant up (unless --no-backup is given), and keeps everything in place for
delete.purge_after: until then, tenantctl undelete puts all back as it was. After it, tenantctl purge --due takes the
tenant away for good. Its name and domains are free then, not before. --now does all of it at once.
Asks for the tenant's name, unless --yes is given. After a crash the same command goes on.

` + exitHelp,
		Example:           "  tenantctl delete acme\n  tenantctl delete acme --now --yes\n  tenantctl delete acme --no-backup --dry-run",
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return runDelete(cmd, a, o, args[0]) },
	}
	o.add(c)
	c.Flags().BoolVar(&o.now, "now", false, "purge it at once: there is no undelete then")
	c.Flags().BoolVar(&o.noBackup, "no-backup", false, "make no backup first")
	return c
}

func runDelete(cmd *cobra.Command, a *app, o deleteOptions, arg string) error {
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	name := tenant.Name(arg)
	req := tenant.DeleteRequest{NoBackup: o.noBackup, Now: o.now}
	t, err := s.PlanDeletion(cmd.Context(), name, req)
	if err != nil {
		return err
	}
	d, err := s.Inventory(cmd.Context(), name)
	if err != nil {
		return err
	}
	how := a.deletionWords(t, req)
	if o.dryRun {
		return a.printPlan(d.Tenant, "delete %s %s: %s", name, how, holdings(d))
	}
	if t.State == tenant.Deleted && !o.now {
		return a.printOutcome(&tenant.Outcome{Tenant: t}, "")
	}
	q := question{
		text:  fmt.Sprintf("This deletes tenant %s %s: %s.", name, how, holdings(d)),
		short: fmt.Sprintf("this would delete tenant %s and its %s %s", name, loss(d), how), answer: arg,
	}
	if err := a.confirm(o.yes, q); err != nil {
		return err
	}
	req.ID = d.Tenant.ID // whose holdings were shown
	out, err := s.Delete(cmd.Context(), name, req)
	a.progress.end()
	if err != nil {
		return err
	}
	verb := "deleted for good"
	if out.Tenant.PurgeAfter != nil && out.Tenant.State == tenant.Deleted && !o.now {
		verb = fmt.Sprintf("deleted, kept until %s (tenantctl undelete %s)", out.Tenant.PurgeAfter.Format(timeFormat), name)
	}
	return a.printOutcome(out, verb)
}

// deletionWords says how a tenant is deleted.
func (a *app) deletionWords(t tenant.Tenant, req tenant.DeleteRequest) string {
	if req.Now || !t.State.Migrates() {
		return "for good"
	}
	after := "after a backup"
	if req.NoBackup {
		after = "without a backup"
	}
	return fmt.Sprintf("%s, to be kept for %s", after, keeping(a.cfg.Delete.PurgeAfter))
}

// keeping is a duration in words: in days where it is some.
func keeping(d time.Duration) string {
	if days := int(d / (24 * time.Hour)); days > 0 && d%(24*time.Hour) == 0 {
		return tenant.Plural(days, "day")
	}
	return flagText(d)
}

// flagText is a duration as a flag takes it: 26h, and not 26h0m0s.
func flagText(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

func newUndeleteCmd(a *app) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "undelete NAME",
		Short: "Put a deleted tenant back as it was",
		Long: `Lets the users of a deleted tenant in again, with their old passwords, until purge has taken the tenant: nothing of it
was moved. A tenant that was suspended before is suspended again. What a restore has replaced or left beside (named
in its result) becomes a tenant of its own. Not deleted at all is success.

` + exitHelp,
		Example:           "  tenantctl undelete acme",
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.service(cmd.Context())
			if err != nil {
				return err
			}
			name := tenant.Name(args[0])
			if dryRun {
				t, change, err := s.PlanUndelete(cmd.Context(), name)
				if err != nil {
					return err
				}
				if !change {
					return a.printPlan(t, "leave %s as it is: %s", name, t.State)
				}
				return a.printPlan(t, "undelete %s", name)
			}
			out, err := s.Undelete(cmd.Context(), name)
			if err != nil {
				return err
			}
			return a.printOutcome(out, "undeleted, "+string(out.Tenant.State))
		},
	}
	addDryRun(c, &dryRun)
	return c
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
