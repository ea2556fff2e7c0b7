package cmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/archive"
	"github.com/tenantctl/tenantctl/tenant"
)

type pruneOptions struct {
	confirmFlags
	policy archive.Policy
}

func newBackupPruneCmd(a *app) *cobra.Command {
	var o pruneOptions
	c := &cobra.Command{
		Use:   "prune [NAME...]",
		Short: "Remove backups that no rule keeps",
		Long: `Keeps, for each tenant, the backups that any of the rules keeps, and removes the others; whole backups are judged among
themselves, and those of one store among those of that store. The rules mean what they mean
to restic: --keep-daily 7 keeps the last backup of each of the last seven days that have one. Without a rule it
refuses. It asks before it removes any, and ends with what became of each tenant's. Backups of a tenant on hold (tenantctl set NAME --hold REASON) are kept, and so are those in another place than
backup.url names. Without names, also archives that a killed backup left more than a day ago are removed.

` + exitHelp,
		Example: `  tenantctl backup prune --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run
  tenantctl backup prune acme --keep-last 3
  tenantctl backup prune --keep-within 1y5m7d2h --yes`,
		ValidArgsFunction: a.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return runBackupPrune(cmd, a, o, args) },
	}
	f := c.Flags()
	f.IntVar(&o.policy.Last, "keep-last", 0, "keep the last `n`")
	f.IntVar(&o.policy.Daily, "keep-daily", 0, "keep the last one of each of the last `n` days that have one")
	f.IntVar(&o.policy.Weekly, "keep-weekly", 0, "the same for `n` weeks")
	f.IntVar(&o.policy.Monthly, "keep-monthly", 0, "the same for `n` months")
	f.Var(&o.policy.Within, "keep-within", "keep all that were made within this `period` before the newest, such as 1y5m7d2h")
	o.add(c)
	return c
}

// prunedDoc is a backup and what became of it.
type prunedDoc struct {
	backupDoc
	Kept    bool     `json:"kept"`
	Reasons []string `json:"reasons"`
	DryRun  bool     `json:"dry_run,omitempty"`
}

func runBackupPrune(cmd *cobra.Command, a *app, o pruneOptions, args []string) error {
	if err := o.policy.Check(); err != nil {
		return err
	}
	s, err := a.lookup(cmd.Context())
	if err != nil {
		return err
	}
	const short = "this would remove the backups that no rule keeps"
	if !o.dryRun && (o.yes || !isTerminal(a.in)) { // asked later, where somebody can be: when it is known what it is about
		if err := a.confirm(o.yes, question{short: short}); err != nil {
			return err
		}
	}
	p := &pruned{a: a, dryRun: o.dryRun, list: a.newList("id", "tenant", "created", "verdict", "reasons")}
	req := tenant.PruneRequest{Names: names(args), Keep: o.policy.Keep, DryRun: o.dryRun}
	if !o.yes {
		req.Confirm = func(plan tenant.PrunePlan) error { return a.confirm(false, pruneQuestion(plan, short)) }
	}
	scan, err := s.Prune(cmd.Context(), req, p.verdict)
	if scan != nil {
		a.scanned(scan)
	}
	if err != nil && p.kept+p.removed == 0 {
		return err
	}
	return p.end(err)
}

// pruneQuestion asks about all that would be removed.
func pruneQuestion(plan tenant.PrunePlan, short string) question {
	var what []string
	if plan.Backups > 0 {
		what = append(what, fmt.Sprintf("%s of %s, %s", tenant.Plural(plan.Backups, "backup"), some(plan.Tenants, len(plan.Tenants)), bytes(plan.Size)))
	}
	if plan.Partial > 0 {
		what = append(what, tenant.Plural(plan.Partial, "archive")+" that killed backups have left")
	}
	return question{text: "This removes for good: " + strings.Join(what, "; and ") + ".", short: short, answer: fmt.Sprint(plan.Backups + plan.Partial)}
}

// pruned is the result of a prune: each backup, then each tenant that lost one.
type pruned struct {
	a             *app
	dryRun        bool
	list          *list
	kept, removed int
	tenants       []*prunedTenant
	err           error // of writing
}

type prunedTenant struct {
	name          tenant.Name
	kept, removed int
	size          int64
}

func (p *pruned) verdict(k tenant.Kept) {
	n := len(p.tenants)
	if n == 0 || p.tenants[n-1].name != k.Backup.Tenant {
		p.tenants = append(p.tenants, &prunedTenant{name: k.Backup.Tenant})
		n++
	}
	t, verdict, reasons := p.tenants[n-1], "keep", k.Reasons
	switch {
	case len(k.Reasons) > 0:
		p.kept++
		t.kept++
	default:
		verdict = p.a.paint(yellow, p.word())
		p.removed++
		t.removed++
		t.size += k.Backup.Size
		reasons = []string{}
	}
	if p.err == nil {
		p.err = p.list.add(prunedDoc{docOfBackup(k.Backup), len(k.Reasons) > 0, reasons, p.dryRun}, k.Backup.ID.String(),
			tenant.ShortID(k.Backup.ID), string(k.Backup.Tenant)+alone(k.Backup.Only), k.Backup.CreatedAt.Format(time.RFC3339), verdict, strings.Join(reasons, ", "))
	}
}

func (p *pruned) word() string {
	if p.dryRun {
		return "would be removed"
	}
	return "removed"
}

// end prints the summary; err is why the prune did not come to its end.
func (p *pruned) end(err error) error {
	if end := p.list.end("there are no backups"); p.err == nil {
		p.err = end
	}
	if p.removed > 0 && p.a.format == formatTable && p.err == nil {
		fmt.Fprintln(p.a.out)
		t := p.a.table(p.a.out)
		t.AppendHeader(header([]string{"tenant", "kept", p.word(), "size"}))
		for _, x := range p.tenants {
			if x.removed > 0 {
				t.AppendRow(table.Row{x.name, x.kept, x.removed, bytes(x.size)})
			}
		}
		t.Render()
	}
	if p.kept+p.removed > 0 {
		p.a.say("%d kept, %d %s", p.kept, p.removed, p.word())
	}
	if err != nil {
		return err
	}
	return p.err
}
