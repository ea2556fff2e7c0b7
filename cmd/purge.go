package cmd

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type purgeOptions struct {
	confirmFlags
	due, andBackups, leave bool
}

func newPurgeCmd(a *app) *cobra.Command {
	var o purgeOptions
	c := &cobra.Command{
		Use:   "purge [NAME]",
		Short: "Permanently delete tenants, with a deletion record",
		Long: `Drops in every store what is left of a tenant that is deleted, being deleted, or was left by a create that failed;
looks into each store for remains; and writes a deletion record: what was there, counted, when, by whom, and which
backups still exist. --and-backups removes those too, and destroys the tenant's own key where it has one. --due purges
every deleted tenant whose purge_after has passed: for cron. A tenant that is active, suspended or on hold is refused.
So is one whose tables something outside its schema depends on: a view, a foreign key, a function, another tenant's column.
It is not the tenant's to drop; --dry-run lists it with the SQL that frees it. Publications and subscriptions would only
lose the tenant's tables: --leave-dependents lets them.

` + exitHelp,
		Example:           "  tenantctl purge acme\n  tenantctl purge acme --and-backups --yes\n  tenantctl purge acme --leave-dependents\n  tenantctl purge --due --yes\n  tenantctl purge record acme",
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.due {
				return runPurgeDue(cmd, a, o, args)
			}
			if err := oneName(cmd, args); err != nil {
				return err
			}
			return runPurge(cmd, a, o, args[0])
		},
	}
	o.add(c)
	c.Flags().BoolVar(&o.due, "due", false, "every deleted tenant whose time has come")
	c.Flags().BoolVar(&o.andBackups, "and-backups", false, "remove its backups too, and destroy its own key")
	c.Flags().BoolVar(&o.leave, "leave-dependents", false, "let publications and subscriptions lose the tenant's tables")
	c.AddCommand(newPurgeRecordCmd(a))
	return c
}

func runPurge(cmd *cobra.Command, a *app, o purgeOptions, arg string) error {
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	name := tenant.Name(arg)
	d, err := s.PlanPurge(cmd.Context(), name)
	if err != nil {
		return err
	}
	what := holdings(d)
	if o.andBackups {
		what += "; and all its backups"
	}
	if o.dryRun {
		return a.printPlanWith(d.Tenant, d.Dependents, d.Refusal(o.leave), "purge %s for good: %s", name, what)
	}
	if err := d.Refusal(o.leave); err != nil {
		return err
	}
	q := question{
		text:  fmt.Sprintf("This purges tenant %s for good: %s.", name, what),
		short: fmt.Sprintf("this would purge tenant %s and its %s for good", name, loss(d)), answer: arg,
	}
	if err := a.confirm(o.yes, q); err != nil {
		return err
	}
	out, err := s.Purge(cmd.Context(), name, tenant.PurgeRequest{AndBackups: o.andBackups, Leave: o.leave, ID: d.Tenant.ID})
	a.progress.end()
	if err != nil {
		return err
	}
	return a.printOutcome(out, "purged")
}

func newPurgeRecordCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "record [NAME]",
		Short: "Show the records of what was purged",
		Long: `Shows the deletion records, newest first, of all tenants or of one by its name or id: what was there, counted, when it was
taken away, by whom, and which backups still existed. They are kept in the catalog without end.

` + exitHelp,
		Example: "  tenantctl purge record\n  tenantctl purge record acme -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.lookup(cmd.Context())
			if err != nil {
				return err
			}
			var name tenant.Name
			if len(args) == 1 {
				name = tenant.Name(args[0])
			}
			all, err := s.Deletions(cmd.Context(), name)
			if err != nil {
				return err
			}
			l := a.newList("tenant", "purged", "by", "rows", "backups left", "operation")
			for _, text := range all {
				var r tenant.DeletionRecord
				if err := json.Unmarshal(text, &r); err != nil {
					return fmt.Errorf("read a deletion record: %w", err)
				}
				rows, left := counts(r)
				if err := l.add(r, string(r.Tenant.Name), r.Tenant.Name, r.DeletedAt.Format(time.RFC3339), r.By, rows, left, tenant.ShortID(r.Operation)); err != nil {
					return err
				}
			}
			return l.end("nothing was purged")
		},
	}
	a.addListFlags(c)
	return c
}

func runPurgeDue(cmd *cobra.Command, a *app, o purgeOptions, args []string) error {
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
			text:  fmt.Sprintf("This purges %s for good: %s.", tenant.Plural(len(due), "tenant"), some(namesOf(due), len(due))),
			short: fmt.Sprintf("this would purge %s for good", tenant.Plural(len(due), "tenant")), answer: fmt.Sprint(len(due)),
		}
		if err := a.confirm(o.yes, q); err != nil {
			return err
		}
	}
	l := a.newList("tenant", "rows", "backups left", "state").wrapped()
	failed, done := 0, 0
	for _, t := range due {
		name := t.Name
		if cmd.Context().Err() != nil {
			break
		}
		doc, state := outcomeDoc{Tenant: tenant.Tenant{Name: name}, DryRun: o.dryRun}, "would be purged"
		if o.dryRun {
			d, err := s.PlanPurge(cmd.Context(), name)
			if err == nil {
				doc.Dependents, err = d.Dependents, d.Refusal(o.leave)
			}
			if err != nil {
				failed++
				state, doc.Error = "would be refused: "+err.Error(), tenant.NewFailure(err)
			}
		} else {
			out, err := s.Purge(cmd.Context(), name, tenant.PurgeRequest{AndBackups: o.andBackups, Leave: o.leave, Due: true, ID: t.ID})
			state = "purged"
			if err == nil {
				done++
			} else {
				failed++
				state = err.Error()
				out = &tenant.Outcome{Tenant: tenant.Tenant{Name: name}, Err: err}
			}
			doc = docOf(*out)
		}
		rows, left := purgedOf(doc)
		if err := l.add(doc, string(name), name, rows, left, state); err != nil {
			return err
		}
	}
	if err := l.end("nothing is due"); err != nil {
		return err
	}
	if done+failed > 0 && !o.dryRun {
		a.say("%d purged, %d failed, %d not started", done, failed, len(due)-done-failed)
	}
	if cmd.Context().Err() != nil {
		return &tenant.Error{Kind: tenant.ErrInterrupted, Msg: fmt.Sprintf("interrupted: %d of %d tenants are purged", done, len(due)), Hint: "run the same command again"}
	}
	if failed > 0 {
		return &tenant.Error{Kind: tenant.ErrPartial, Msg: fmt.Sprintf("%d of %d tenants could not be purged", failed, len(due)), Hint: "run the same command again"}
	}
	return nil
}

// purgedOf is what a purge took away and what it left, by its deletion record.
func purgedOf(doc outcomeDoc) (rows any, left string) {
	var r tenant.DeletionRecord
	if doc.Operation == nil || json.Unmarshal(doc.Operation.Result, &r) != nil || r.Operation == uuid.Nil {
		return "-", "-"
	}
	return counts(r)
}

// counts is how many rows there were, and how many backups are left.
func counts(r tenant.DeletionRecord) (rows int64, left string) {
	for _, in := range r.Rows {
		rows += in
	}
	left = fmt.Sprint(len(r.Backups))
	if r.KeyGone && len(r.Backups) > 0 {
		left += " (key destroyed)"
	}
	return rows, left
}

func namesOf(ts []tenant.Tenant) []tenant.Name {
	names := make([]tenant.Name, len(ts))
	for i, t := range ts {
		names[i] = t.Name
	}
	return names
}
