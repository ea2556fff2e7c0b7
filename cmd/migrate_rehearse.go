package cmd

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type rehearseOptions struct {
	selection  selectionFlags
	only       string
	to         int64
	outOfOrder bool
	data       bool
	parallel   int
	dryRun     bool
}

func newMigrateRehearseCmd(a *app) *cobra.Command {
	var o rehearseOptions
	c := &cobra.Command{
		Use:   "rehearse [NAME...]",
		Short: "Try a migration in copies of tenants, which are removed again",
		Long: `Copies tenants beside, migrates the copies, and removes them; the tenants themselves are only read. Tells for each file
how long it took, which locks on tables it held and what they block, which tables were rewritten on disk, and what
failed. Without names or a selection it takes up to three tenants that stand for the others: the largest, and the
largest of those whose structure or versions are rare. Only tenants that are behind are copied.

Without --data the copies have no rows: times are those of the statements alone, and no row can break a constraint. With
it they take as much room as the tenants do, and the times are real. MongoDB tells times only, as do NO TRANSACTION
files. One copy at a time unless --parallel is given, so that the times are not disturbed.

` + exitHelp,
		Example: `  tenantctl migrate rehearse
  tenantctl migrate rehearse acme --data
  tenantctl migrate rehearse --selector plan=pro --only postgres --to 7 -o json
  tenantctl migrate rehearse --dry-run`,
		ValidArgsFunction: a.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return runMigrateRehearse(cmd, a, &o, args) },
	}
	o.selection.add(c)
	addOnly(c, &o.only)
	f := c.Flags()
	f.Int64Var(&o.to, "to", 0, "go to this `version` instead of the newest (with --only)")
	f.BoolVar(&o.outOfOrder, "out-of-order", false, "also apply migrations below the newest applied one")
	f.BoolVar(&o.data, "data", false, "copy the rows and documents too")
	f.IntVar(&o.parallel, "parallel", 1, "work on `n` copies at once")
	addAllowSuperuser(c)
	addDryRun(c, &o.dryRun)
	return c
}

func runMigrateRehearse(cmd *cobra.Command, a *app, o *rehearseOptions, args []string) error {
	sel, err := o.selection.selection(args)
	if err != nil {
		return err
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	req := tenant.RehearseRequest{
		MigrateRequest: tenant.MigrateRequest{Selection: sel, Only: o.only, To: tenant.Newest, OutOfOrder: o.outOfOrder}, Data: o.data, Parallel: o.parallel,
	}
	if cmd.Flags().Changed("to") {
		req.To = o.to
	}
	if o.dryRun {
		p, err := s.PlanRehearse(cmd.Context(), req)
		if err != nil {
			return err
		}
		a.warn(p.Warnings)
		return a.printReport(p, "", func(w io.Writer) { a.rehearsalPlan(w, p) })
	}
	r, err := s.Rehearse(cmd.Context(), req)
	a.progress.end()
	if err != nil {
		return err
	}
	a.warn(r.Warnings)
	if err := a.printReport(r, "", func(w io.Writer) { a.rehearsal(w, r) }); err != nil {
		return err
	}
	return r.Err()
}

func (a *app) rehearsalPlan(w io.Writer, p *tenant.RehearsalPlan) {
	if len(p.Tenants) == 0 {
		fmt.Fprintf(w, "nothing to rehearse: every tenant is at %s\n", versions(p.Target))
		return
	}
	what := "the structure"
	if p.Data {
		what = "everything"
	}
	fmt.Fprintf(w, "would copy %s of %d of %s that are behind, and bring the copies to %s\n", what, len(p.Tenants), tenant.Plural(p.Behind, "tenant"), versions(p.Target))
	t := a.table(w)
	t.AppendHeader(header([]string{"tenant", "size", "versions", "chosen as"}))
	for _, one := range p.Tenants {
		t.AppendRow(table.Row{one.Name, bytes(one.Bytes), versions(one.Versions), one.Why})
	}
	t.Render()
}

// rehearsal prints what each file did, a row each.
func (a *app) rehearsal(w io.Writer, r *tenant.Rehearsal) {
	if len(r.Tenants) > 0 {
		t := a.table(w)
		t.AppendHeader(header([]string{"tenant", "store", "file", "took", "blocks meanwhile", "rewrites", "result"}))
		for _, one := range r.Tenants {
			for _, f := range one.Files {
				result := a.paint(green, "done")
				if f.Failed {
					result = a.paint(red, string(one.Result))
				}
				t.AppendRow(table.Row{one.Name, f.Store, f.File, millis(f.DurationMS), blocked(f), strings.Join(f.Rewritten, ", "), result})
			}
			if len(one.Files) == 0 {
				t.AppendRow(table.Row{one.Name, "", "", "", "", "", a.paint(red, string(one.Result))})
			}
		}
		t.Render()
		note := "the copies had no rows: times are those of the statements alone; --data copies rows too"
		if r.Data {
			note = "the copies had all rows; locks were held no longer than the file took, and waited for nobody"
		}
		fmt.Fprintln(w, "note:", note)
	}
	s := r.Summary
	state := a.paint(green, string(r.State))
	if r.State != tenant.RunDone {
		state = a.paint(red, string(r.State))
	}
	fmt.Fprintf(w, "%s: %s, %d rehearsed, %d current, %d failed, %d not started in %s\n", state, tenant.Plural(s.Tenants, "tenant"), s.Changed, s.Unchanged, s.Failed, s.NotStarted, millis(r.DurationMS))
	if s.Tenants > 1 { // the fault of a single one is the command's error
		a.failures(w, r.Failures)
	}
}

// blocked says what a file keeps the application from, and where.
func blocked(f tenant.RehearsedFile) string {
	switch {
	case f.Failed || f.Store != tenant.KindPostgres:
		return ""
	case f.Locks == nil:
		return "(NO TRANSACTION: not known)"
	}
	var all string
	mode := ""
	for _, l := range f.Locks { // the strongest first
		switch {
		case l.Blocks == tenant.BlocksNothing:
			continue
		case l.Mode == mode:
			all += ", " + l.Table
			continue
		case all != "":
			all += "; "
		}
		mode = l.Mode
		all += fmt.Sprintf("%s (%s): %s", l.Blocks, strings.TrimSuffix(l.Mode, "Lock"), l.Table)
	}
	return cmp.Or(all, "nothing")
}
