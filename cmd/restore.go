package cmd

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type restoreOptions struct {
	confirmFlags
	req tenant.RestoreRequest
}

func newRestoreCmd(a *app) *cobra.Command {
	var o restoreOptions
	c := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "Put a backup back, or make a tenant of it",
		Long: `Restores a backup, named by its id (or a beginning or end of it) or as NAME@latest.

In its tenant's place: the backup is restored beside, into a new schema and database, checked, migrated to the newest
version, and then exchanged for what is there in one short step with the tenant's users locked out. What was there is
kept like a deleted tenant, named in the result, until delete.purge_after has passed. Asks first.
--as NEW makes a tenant of it instead, on any server.
--only, --table and --collection restore a part into a place of its own, which nobody logs in to and which is kept
like a deleted tenant: to look at, or to copy from. Other tables are there, without rows and foreign keys.
What is restored belongs to whom the tenant's schema belongs to. Where that is gone and its owner was not the
provisioning role, --owner has to say whose it is to be.

What other schemas have on the tenant's tables (views, foreign keys, functions, publications) would stay with the data that
is replaced. --dry-run lists it, and the restore is refused unless --repoint makes views, foreign keys and publications
again on the restored tables, in the transaction that exchanges the two, or --leave-dependents leaves all of it. With both,
what cannot be made again is left.

` + exitHelp,
		Example: `  tenantctl restore acme@latest
  tenantctl restore 3f9a1c2b4d5e --as acme-copy
  tenantctl restore acme@latest --table orders --table order_items
  tenantctl restore 3f9a1c2b4d5e --as shop --owner shop_app
  tenantctl restore acme@latest --repoint
  tenantctl restore acme@latest --dry-run`,
		Args: oneBackup,
		RunE: func(cmd *cobra.Command, args []string) error { return runRestore(cmd, a, o, args[0]) },
	}
	o.add(c)
	f := c.Flags()
	f.StringVar(&o.req.As, "as", "", "make a tenant of this `name`")
	f.StringVar(&o.req.Owner, "owner", "", "the `role` that is to own the schema and what is in it (default: who owns the tenant's schema)")
	addOnly(c, &o.req.Only)
	f.StringArrayVar(&o.req.Tables, "table", nil, "only the rows of this `table` (repeatable)")
	f.StringArrayVar(&o.req.Collections, "collection", nil, "only the documents of this `collection` (repeatable)")
	f.BoolVar(&o.req.Dependents.Repoint, "repoint", false, "make views, foreign keys and publications outside the schema again on the restored tables")
	f.BoolVar(&o.req.Dependents.Leave, "leave-dependents", false, "leave what depends on the tenant's tables with the data that is replaced")
	addIdentity(c)
	addAllowSuperuser(c)
	return c
}

func runRestore(cmd *cobra.Command, a *app, o restoreOptions, id string) error {
	o.req.Backup = id
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	p, err := s.PlanRestore(cmd.Context(), o.req)
	if err != nil {
		return err
	}
	what := restoreWords(p)
	if o.dryRun {
		return a.printPlanWith(p.Tenant, p.Dependents, p.Refusal(), "%s", what)
	}
	if err := p.Refusal(); err != nil {
		return err
	}
	if p.Way == tenant.RestoreSwitch {
		q := question{
			text:  fmt.Sprintf("This will %s.", what),
			short: fmt.Sprintf("this would replace the data of %s", p.Tenant.Name), answer: string(p.Tenant.Name),
		}
		if err := a.confirm(o.yes, q); err != nil {
			return err
		}
	}
	o.req.Backup = p.Backup.ID.String() // NAME@latest may be another by now
	out, err := s.Restore(cmd.Context(), o.req)
	a.progress.end()
	if err != nil {
		return err
	}
	verb := "restored"
	switch p.Way {
	case tenant.RestoreSide:
		verb = fmt.Sprintf("restored beside, in %s, kept until %s", places(out.Tenant, p.Stores), out.Tenant.PurgeAfter.Format(timeFormat))
	case tenant.RestoreSwitch:
		if was := replaced(out.Operation); was != "" {
			verb = fmt.Sprintf("restored, what it had is kept as %s for %s,", was, keeping(a.cfg.Delete.PurgeAfter))
		}
	}
	return a.printOutcome(out, verb)
}

// restoreWords says what a restore does.
func restoreWords(p *tenant.RestorePlan) string {
	from := fmt.Sprintf("backup %s of %s from %s (%s)", tenant.ShortID(p.Backup.ID), p.Backup.Tenant, p.Backup.CreatedAt.Format(timeFormat), versions(p.Backup.Versions))
	var migrate string
	if len(p.Migrates) > 0 {
		migrate = ", migrate it to " + versions(p.Migrates)
	}
	switch p.Way {
	case tenant.RestoreSwitch:
		return fmt.Sprintf("restore %s beside tenant %s%s, and exchange the two; what the tenant has now is kept like a deleted tenant", from, p.Tenant.Name, migrate)
	case tenant.RestoreNew:
		return fmt.Sprintf("make tenant %s of %s%s", p.Tenant.Name, from, migrate)
	}
	return fmt.Sprintf("restore a part of %s into %s, kept like a deleted tenant", from, places(p.Tenant, p.Stores))
}

// places names what a tenant has in the stores of these kinds.
func places(t tenant.Tenant, stores []string) string {
	var out []string
	if slices.Contains(stores, tenant.KindPostgres) {
		out = append(out, "schema "+t.Schema)
	}
	if slices.Contains(stores, tenant.KindMongoDB) {
		out = append(out, "database "+t.Database)
	}
	return strings.Join(out, " and ")
}

// replaced is the name under which a restore has put aside what was there.
func replaced(op *tenant.Operation) string {
	var r struct {
		Replaced string `json:"replaced"`
	}
	if op == nil || json.Unmarshal(op.Result, &r) != nil {
		return ""
	}
	return r.Replaced
}
