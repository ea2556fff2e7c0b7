package cmd

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type applyOptions struct {
	confirmFlags
	run     runFlags
	file    string
	request tenant.ApplyRequest
}

// applyDoc is the plan, and the run that did it.
type applyDoc struct {
	*tenant.ApplyPlan
	DryRun bool              `json:"dry_run,omitempty"`
	Run    *tenant.RunResult `json:"run"` // null where nothing had to be done, or with --dry-run
}

func newApplyCmd(a *app) *cobra.Command {
	var o applyOptions
	c := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Create and change tenants until they are as a file declares",
		Long: `Compares the catalog with a file (.yaml, .json or .ndjson; - is stdin), prints the plan, and then creates, sets, suspends
and resumes tenants, each as the command for it does. An entry has name, and where they are to be managed domains, labels and
state (active or suspended): a field that is not there is left as it is, an empty one takes all away. What else
tenantctl get --all -o yaml prints may stay in the file.

Tenants that the file does not name are only listed; --prune deletes them, with the grace period and the backup of tenantctl
delete, and asks first. A file with a mistake is refused as a whole. The command may be run again at any time, also after a
kill: what is done already is not done again. --dry-run exits 6 when there is something to do.

` + exitHelp,
		Example: `  tenantctl get --all -o yaml > tenants.yaml
  tenantctl apply -f tenants.yaml --dry-run
  tenantctl apply -f tenants.yaml --parallel 8 --max-failures 5%
  tenantctl apply -f tenants.yaml --prune --yes -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runApply(cmd, a, o) },
	}
	f := c.Flags()
	f.StringVarP(&o.file, "file", "f", "", "the `file` that declares the tenants; - for stdin")
	f.BoolVar(&o.request.Prune, "prune", false, "delete the tenants that the file does not name, with a grace period")
	f.BoolVar(&o.request.NoBackup, "no-backup", false, "with --prune: make no backup first")
	f.BoolVar(&o.request.AllowEmpty, "allow-empty", false, "with --prune: go on where the file names no tenant at all")
	o.add(c)
	o.run.add(c)
	return c
}

func runApply(cmd *cobra.Command, a *app, o applyOptions) error {
	switch {
	case o.run.resume != "" && (o.file != "" || o.request.Prune || o.dryRun):
		return tenant.Invalid("the run knows its tenants", "--resume takes no file, no --prune and no --dry-run")
	case o.run.resume == "" && o.file == "":
		return tenant.Invalid("usage: tenantctl apply -f FILE", "apply takes a file of tenants")
	case (o.request.NoBackup || o.request.AllowEmpty) && !o.request.Prune:
		return tenant.Invalid("leave it out", "--no-backup and --allow-empty go with --prune")
	}
	opts, err := o.run.options(cmd, a)
	if err != nil {
		return err
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	if o.run.resume != "" {
		r, err := s.Apply(cmd.Context(), nil, opts)
		if err != nil {
			return err
		}
		return a.finishRun(cmd, s, &o.run, r)
	}
	plan, err := s.PlanApply(cmd.Context(), a.readDeclared(o.file), o.request)
	if err != nil {
		return err
	}
	a.showPlan(plan)
	if o.dryRun || len(plan.Changes) == 0 {
		return a.endPlan(plan, o.dryRun)
	}
	if err := a.confirmPrune(plan, o.yes); err != nil {
		return err
	}
	if n := len(plan.Changes); n > 1 {
		if err := a.guard(fmt.Sprintf("this would create, change or delete %d tenants", n)); err != nil {
			return err
		}
	}
	r, err := s.Apply(cmd.Context(), plan, opts)
	a.progress.end()
	if err != nil {
		return err
	}
	a.warn(r.Warnings)
	if err := a.printApplied(applyDoc{ApplyPlan: plan, Run: r}); err != nil {
		return err
	}
	a.tellActions(r)
	return a.outcome(cmd, s, &o.run, r)
}

// endPlan ends where nothing is to be done now.
func (a *app) endPlan(plan *tenant.ApplyPlan, dryRun bool) error {
	if err := a.printApplied(applyDoc{ApplyPlan: plan, DryRun: dryRun}); err != nil || len(plan.Changes) == 0 {
		return err
	}
	n := plan.Summary
	return &tenant.Error{
		Kind: tenant.ErrDiffers, Code: "to_apply", Msg: fmt.Sprintf("%s to be created, changed or deleted", are(n.Create+n.Change+n.Delete)),
		Hint: "run the same command without --dry-run",
	}
}

// are is a number of tenants with its verb.
func are(n int) string {
	if n == 1 {
		return "1 tenant is"
	}
	return tenant.Plural(n, "tenant") + " are"
}

func (a *app) printApplied(d applyDoc) error {
	switch {
	case a.format == formatName:
		for _, c := range d.Changes {
			fmt.Fprintln(a.out, c.Tenant)
		}
		return writing(a.out.failed())
	case a.format != formatTable:
		return a.print(d, "", nil)
	case d.Run != nil:
		fmt.Fprintln(a.out)
		a.summary(a.out, d.Run)
	}
	return writing(a.out.failed())
}

// confirmPrune asks before tenants are deleted.
func (a *app) confirmPrune(plan *tenant.ApplyPlan, yes bool) error {
	var gone []tenant.Name
	for _, c := range plan.Changes {
		if c.Action == tenant.ApplyDelete {
			gone = append(gone, c.Tenant)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	n := tenant.Plural(len(gone), "tenant")
	return a.confirm(yes, question{
		text:  fmt.Sprintf("This deletes %s, to be kept for %s: %s.", n, keeping(a.cfg.Delete.PurgeAfter), some(gone, len(gone))),
		short: fmt.Sprintf("this would delete %s", n), answer: fmt.Sprint(len(gone)),
	})
}

// planSigns are those of terraform.
var planSigns = map[string]struct {
	sign  string
	color color
}{tenant.ApplyCreate: {"+", green}, tenant.ApplyChange: {"~", yellow}, tenant.ApplyDelete: {"-", red}}

// showPlan prints for a person what is to be done, tenant by tenant, and the sum.
func (a *app) showPlan(plan *tenant.ApplyPlan) {
	if a.format != formatTable {
		return
	}
	w := io.Writer(a.out)
	changes := slices.Clone(plan.Changes)
	slices.SortFunc(changes, func(x, y tenant.PlannedChange) int {
		if x.Tenant < y.Tenant {
			return -1
		}
		return 1
	})
	for _, c := range changes {
		s := planSigns[c.Action]
		fmt.Fprintf(w, "%s %s\n", a.paint(s.color, s.sign), c.Tenant)
		for _, d := range c.Changes {
			fmt.Fprintf(w, "    %s\n", inOneLine(d.String()))
		}
	}
	n := plan.Summary
	if len(changes) > 0 {
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "Plan: %d to create, %d to change, %d to delete, %d unchanged.\n", n.Create, n.Change, n.Delete, n.Unchanged)
	if n.Missing > 0 {
		fmt.Fprintf(w, "Not in the file, left alone: %s.\n", some(plan.Missing, n.Missing))
	}
}
