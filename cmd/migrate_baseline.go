package cmd

import (
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type baselineOptions struct {
	confirmFlags
	selection selectionFlags
	run       runFlags
	only      string
	version   int64
}

func newMigrateBaselineCmd(a *app) *cobra.Command {
	var o baselineOptions
	c := &cobra.Command{
		Use:   "baseline NAME...|--all --only STORE --version V",
		Short: "Mark migrations as applied without running them",
		Long: `Writes into the version books of tenants that the migrations up to version V are applied, and runs none of them: for
schemas and databases that another tool has made. goose's version table is made where it is missing, and filled as
goose itself would; what is marked already stays. A tenant that is beyond V is refused. Nobody checks that the tables
are what the files would have made. Asks first.

` + exitHelp,
		Example: `  tenantctl migrate baseline acme --only postgres --version 12 --dry-run
  tenantctl migrate baseline acme --only postgres --version 12
  tenantctl migrate baseline --all --only mongodb --version 3 --yes --max-failures 100%`,
		ValidArgsFunction: a.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return runMigrateBaseline(cmd, a, &o, args) },
	}
	o.selection.add(c)
	o.run.add(c)
	addOnly(c, &o.only)
	c.Flags().Int64Var(&o.version, "version", 0, "mark everything up to this `version`; 0 makes an empty version book (with --only)")
	o.confirmFlags.add(c)
	return c
}

func runMigrateBaseline(cmd *cobra.Command, a *app, o *baselineOptions, args []string) error {
	sel, err := o.selection.selection(args)
	if err != nil {
		return err
	}
	opts, err := o.run.options(cmd, a)
	if err != nil {
		return err
	}
	switch {
	case !cmd.Flags().Changed("version"):
		return tenant.Invalid("--version V is the newest one that the tables have already", "baseline needs the version to mark: --version V")
	case opts.Resume != "" && !sel.Empty():
		return tenant.Invalid("the run knows its tenants", "--resume takes no names and no selection")
	case opts.Resume != "" && o.dryRun:
		return tenant.Invalid("tenantctl ops show "+opts.Resume+" tells how it stands", "--resume and --dry-run exclude each other")
	case opts.Resume == "" && sel.Empty():
		return tenant.Invalid("give names, or choose by --all, --selector, --state or --shard", "no tenant is chosen")
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	req := tenant.BaselineRequest{Selection: sel, Only: o.only, Version: o.version}
	if o.dryRun || opts.Resume == "" && !o.yes { // a run that is gone on with was asked about when it began
		p, err := s.PlanBaseline(cmd.Context(), req)
		if err != nil {
			return err
		}
		if o.dryRun {
			return a.printReport(p, "", func(w io.Writer) { a.baselinePlan(w, p) })
		}
		if err := a.confirm(o.yes, baselineQuestion(p)); err != nil {
			return err
		}
		req.Confirmed = []uuid.UUID{}
		for _, m := range p.Tenants {
			req.Confirmed = append(req.Confirmed, m.ID)
		}
	}
	if err := a.guardMany(args, "mark the version of"); err != nil {
		return err
	}
	r, err := s.Baseline(cmd.Context(), req, opts)
	if err != nil {
		return err
	}
	return a.finishRun(cmd, s, &o.run, r)
}

// baselineQuestion is answered with the one tenant's name, or with how many they are.
func baselineQuestion(p *tenant.BaselinePlan) question {
	whom, answer := tenant.Plural(len(p.Tenants), "tenant"), fmt.Sprint(len(p.Tenants))
	if len(p.Tenants) == 1 {
		whom, answer = "tenant "+string(p.Tenants[0].Name), string(p.Tenants[0].Name)
	}
	what := fmt.Sprintf("mark the %s migrations up to version %d as applied in %s, and run none of them", p.Store, p.Version, whom)
	return question{text: "This will " + what + ".", short: "this would " + what, answer: answer}
}

func (a *app) baselinePlan(w io.Writer, p *tenant.BaselinePlan) {
	t := a.wrapped(w)
	t.AppendHeader(header([]string{"tenant", p.Store, "would be marked"}))
	for _, m := range p.Tenants {
		marks := "(nothing)"
		switch {
		case m.Error != nil:
			marks = a.paint(red, "refused: ") + m.Error.Message
		case len(m.Marks) > 0:
			marks = ""
			for i, v := range m.Marks {
				if i > 0 {
					marks += ", "
				}
				marks += fmt.Sprint(v)
			}
		}
		t.AppendRow(table.Row{m.Name, m.From, marks})
	}
	t.Render()
}
