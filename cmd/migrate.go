package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type migrateOptions struct {
	selection  selectionFlags
	run        runFlags
	only       string
	to         int64
	outOfOrder bool
	retry      string
	dryRun     bool
}

func (o *migrateOptions) add(c *cobra.Command) {
	o.selection.add(c)
	o.run.add(c)
	o.run.rollout.addSelector(c)
	addOnly(c, &o.only)
	c.Flags().Int64Var(&o.to, "to", 0, "go to this `version` instead of the newest (with --only)")
	c.Flags().BoolVar(&o.outOfOrder, "out-of-order", false, "also apply migrations below the newest applied one")
	c.Flags().StringVar(&o.retry, "retry-failed", "", "only the tenants that failed in the run with this `id`, with the --to and --only of then")
	addDryRun(c, &o.dryRun)
}

// request reads what is asked for. A run that is gone on with or tried again knows its tenants and its versions.
func (o *migrateOptions) request(cmd *cobra.Command, sel tenant.Selection) (tenant.MigrateRequest, error) {
	req := tenant.MigrateRequest{Selection: sel, Only: o.only, To: tenant.Newest, OutOfOrder: o.outOfOrder, RetryFailed: o.retry}
	if cmd.Flags().Changed("to") {
		req.To = o.to
	}
	told := !sel.Empty() || o.only != "" || req.To != tenant.Newest || o.outOfOrder
	switch {
	case o.run.resume != "" && o.retry != "":
		return req, tenant.Invalid("--resume goes on with all that are not done, --retry-failed begins a new run for those that failed", "--resume and --retry-failed exclude each other")
	case o.run.resume != "" && told:
		return req, tenant.Invalid("the run knows them", "--resume takes no names, no selection, and no --only, --to or --out-of-order")
	case o.retry != "" && told:
		return req, tenant.Invalid("the run knows them", "--retry-failed takes no names, no selection, and no --only, --to or --out-of-order")
	}
	return req, nil
}

func addOnly(c *cobra.Command, only *string) {
	c.Flags().StringVar(only, "only", "", "only this `store`: postgres or mongodb")
}

const migrateLong = `Brings both stores of every tenant to the newest version. Without names or a selection that is the whole fleet,
suspended tenants included. Tenants that are current already cost nothing. Each tenant is migrated under a lock of
its own; a table that the application holds for longer than lock_timeout is tried again. After --max-failures no new
tenant is started; failures are grouped by code and statement.

--canary begins with a few: in turn the largest tenant, and the largest of the rarest structure. --wave goes on in parts,
with --pause and --check in between; the check is a shell command, finds TENANTCTL_WAVE, TENANTCTL_WAVES,
TENANTCTL_CHANGED and TENANTCTL_FAILED in its environment, and stops the run by any exit code but 0.

`

func newMigrateCmd(a *app) *cobra.Command {
	var o migrateOptions
	c := &cobra.Command{
		Use:   "migrate [NAME...]",
		Short: "Bring tenants to the newest version",
		Long:  migrateLong + exitHelp,
		Example: `  tenantctl migrate
  tenantctl migrate acme globex
  tenantctl migrate --selector plan=pro --parallel 16 --max-failures 5%
  tenantctl migrate --canary 3 --wave 10% --pause 1m --check './healthy.sh'
  tenantctl migrate --retry-failed 1f3a
  tenantctl migrate --report report.xml`,
		ValidArgsFunction: a.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return runMigrate(cmd, a, &o, args) },
	}
	o.add(c)
	c.AddCommand(newMigrateUpCmd(a), newMigrateStatusCmd(a), newMigrateDownCmd(a), newMigrateRedoCmd(a), newMigrateNewCmd(a), newMigrateCheckCmd(a), newMigrateBaselineCmd(a), newMigrateRehearseCmd(a))
	return c
}

// newMigrateUpCmd is migrate by its full name, for a tenant that is called like a subcommand.
func newMigrateUpCmd(a *app) *cobra.Command {
	var o migrateOptions
	c := &cobra.Command{
		Use:               "up [NAME...]",
		Short:             "The same as migrate",
		Long:              migrateLong + exitHelp,
		Example:           "  tenantctl migrate up\n  tenantctl migrate up status   # a tenant of that name",
		ValidArgsFunction: a.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return runMigrate(cmd, a, &o, args) },
	}
	o.add(c)
	return c
}

func runMigrate(cmd *cobra.Command, a *app, o *migrateOptions, args []string) error {
	sel, err := o.selection.selection(args)
	if err != nil {
		return err
	}
	opts, err := o.run.options(cmd, a)
	if err != nil {
		return err
	}
	req, err := o.request(cmd, sel)
	if err != nil {
		return err
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	if o.dryRun {
		p, err := s.PlanMigrate(cmd.Context(), req, opts.Parallel)
		if err != nil {
			return orSubcommand(cmd, args, err)
		}
		a.warn(p.Warnings)
		return a.printReport(p, "", func(w io.Writer) { a.migratePlan(w, p) })
	}
	if err := a.guardMany(args, "migrate"); err != nil {
		return err
	}
	r, err := s.Migrate(cmd.Context(), req, opts)
	if err != nil {
		return orSubcommand(cmd, args, err)
	}
	return a.finishRun(cmd, s, &o.run, r)
}

// orSubcommand adds to the error of a tenant that is not there which subcommand may have been meant: migrate statsu.
func orSubcommand(cmd *cobra.Command, args []string, err error) error {
	var e *tenant.Error
	if len(args) != 1 || !errors.Is(err, tenant.ErrNotFound) || !errors.As(err, &e) {
		return err
	}
	cmd.SuggestionsMinimumDistance = 2 // as cobra has it for the root alone
	near := cmd.SuggestionsFor(args[0])
	if len(near) == 0 {
		return err
	}
	meant := *e
	meant.Hint = "did you mean: " + cmd.CommandPath() + " " + near[0]
	return &meant
}

func (a *app) behind(w io.Writer, tenants []tenant.Behind) {
	if len(tenants) == 0 {
		return
	}
	const most = 20
	t := a.table(w)
	t.AppendHeader(header([]string{"behind", "versions"}))
	for _, b := range tenants[:min(most, len(tenants))] {
		t.AppendRow(table.Row{b.Name, versions(b.Versions)})
	}
	t.Render()
	if len(tenants) > most {
		fmt.Fprintf(w, "and %d more; -o json lists all\n", len(tenants)-most)
	}
}

func newMigrateStatusCmd(a *app) *cobra.Command {
	var sel selectionFlags
	var verify, watch bool
	c := &cobra.Command{
		Use:   "status [NAME...]",
		Short: "Show how far the fleet is, version by version",
		Long: `Shows how many tenants are at each version, which are behind, and which are at a version that the files do not know.
The catalog's record is read; --verify reads the real version books in every store, puts the record right where it
differs, and exits 6 if it did. --watch shows it again whenever it has changed, until no tenant is behind: in place at a
terminal, one after the other elsewhere, and one document after the other with -o json.

` + exitHelp,
		Example:           "  tenantctl migrate status\n  tenantctl migrate status --verify\n  tenantctl migrate status --watch\n  tenantctl migrate status -o json",
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			selection, err := sel.selection(args)
			if err != nil {
				return err
			}
			if watch && verify {
				return tenant.Invalid("leave out one of the two", "--watch reads the catalog's record alone, --verify every store")
			}
			s, err := a.service(cmd.Context())
			if err != nil {
				return err
			}
			if watch {
				return watchStatus(cmd, a, func() (*tenant.MigrationStatus, error) { return s.Status(cmd.Context(), selection, false) })
			}
			st, err := s.Status(cmd.Context(), selection, verify)
			if err != nil {
				return err
			}
			if err := a.printReport(st, "", func(w io.Writer) { a.status(w, st) }); err != nil {
				return err
			}
			return st.Err()
		},
	}
	sel.add(c)
	c.Flags().BoolVar(&verify, "verify", false, "read the real versions in every store")
	c.Flags().BoolVar(&watch, "watch", false, "show it again whenever it has changed, until no tenant is behind")
	return c
}

func (a *app) status(w io.Writer, st *tenant.MigrationStatus) {
	for _, kind := range []string{tenant.KindPostgres, tenant.KindMongoDB} {
		counts, ok := st.Versions[kind]
		if !ok {
			continue
		}
		t := a.table(w)
		t.AppendHeader(header([]string{kind, "migration", "tenants"}))
		for _, v := range counts {
			if v.Version > 0 || v.Tenants > 0 {
				t.AppendRow(table.Row{v.Version, v.Name, v.Tenants})
			}
		}
		t.Render()
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%s: %d current, %d behind, %d unknown\n", tenant.Plural(st.Tenants, "tenant"), st.Current, len(st.Behind), len(st.Unknown))
	a.behind(w, st.Behind)
	for _, u := range st.Unknown {
		fmt.Fprintf(w, "%s %s: %s\n", a.paint(red, "unknown:"), u.Name, u.Reason)
	}
	for _, d := range st.Differ {
		fmt.Fprintf(w, "%s %s: %s was recorded at %d and is at %d\n", a.paint(red, "differed:"), d.Name, d.Store, d.Recorded, d.Real)
	}
}

type backOptions struct {
	confirmFlags
	only string
	to   int64
}

func newMigrateDownCmd(a *app) *cobra.Command {
	var o backOptions
	c := &cobra.Command{
		Use:   "down NAME --only STORE --to V",
		Short: "Take a tenant back to an older version",
		Long: `Runs the Down side of a tenant's migrations above version V in one store, newest first. A migration without a Down
is refused before anything is run. Asks first: going back may lose data.

` + exitHelp,
		Example:           "  tenantctl migrate down acme --only postgres --to 3",
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("to") {
				return tenant.Invalid("--to 0 takes everything back", "down needs the version to go back to: --to V")
			}
			what := fmt.Sprintf("take %s of %s back to version %d; data may be lost", o.only, args[0], o.to)
			return runMigrateBack(cmd, a, o, args[0], what, "taken back", (*tenant.Service).MigrateDown)
		},
	}
	addOnly(c, &o.only)
	c.Flags().Int64Var(&o.to, "to", 0, "the `version` to go back to")
	o.add(c)
	return c
}

func newMigrateRedoCmd(a *app) *cobra.Command {
	var o backOptions
	c := &cobra.Command{
		Use:   "redo NAME --only STORE",
		Short: "Take a tenant's newest migration back and apply it again",
		Long: `Runs Down and then Up of the newest applied migration of one tenant in one store: for writing migrations.
Asks first: the Down may lose data.

` + exitHelp,
		Example:           "  tenantctl migrate redo acme --only postgres --yes",
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			what := fmt.Sprintf("take the newest migration of %s in %s back and apply it again; data may be lost", args[0], o.only)
			return runMigrateBack(cmd, a, o, args[0], what, "redone", (*tenant.Service).MigrateRedo)
		},
	}
	addOnly(c, &o.only)
	o.add(c)
	return c
}

func runMigrateBack(cmd *cobra.Command, a *app, o backOptions, name, what, done string, do func(*tenant.Service, context.Context, tenant.BackRequest) (*tenant.Outcome, error)) error {
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	req := tenant.BackRequest{Name: tenant.Name(name), Only: o.only, To: o.to}
	t, err := s.PlanBack(cmd.Context(), req)
	if err != nil {
		return err
	}
	if o.dryRun {
		return a.printPlan(t, "%s", what)
	}
	if err := a.confirm(o.yes, question{text: "This will " + what + ".", short: "this would " + what, answer: name}); err != nil {
		return err
	}
	req.ID = t.ID
	out, err := do(s, cmd.Context(), req)
	if err != nil {
		return err
	}
	return a.printOutcome(out, done)
}

func newMigrateNewCmd(a *app) *cobra.Command {
	var mongodb, dryRun bool
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Write an empty migration file after the newest one",
		Long:  "Writes a migration file with the next number: SQL in goose's form, or with --mongodb a pair of command files.",
		Example: `  tenantctl migrate new add_invoices
  tenantctl migrate new index_documents --mongodb`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return tenant.Invalid("usage: tenantctl migrate new NAME", "new takes one name for the file, %d given", len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := a.offline()
			if err != nil {
				return err
			}
			kind := tenant.KindPostgres
			if mongodb {
				kind = tenant.KindMongoDB
			}
			paths, err := s.NewMigration(kind, args[0], dryRun)
			if err != nil {
				return err
			}
			return a.print(map[string]any{"files": paths}, strings.Join(paths, "\n"), func(w io.Writer) { fmt.Fprintln(w, strings.Join(paths, "\n")) })
		},
	}
	c.Flags().BoolVar(&mongodb, "mongodb", false, "for MongoDB")
	addDryRun(c, &dryRun)
	return c
}
