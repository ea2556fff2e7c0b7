package cmd

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

func newListCmd(a *app) *cobra.Command {
	var o selectionFlags
	var deleted bool
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List tenants",
		Long: `Lists the tenants in the catalog, by name. No store is asked; describe does that for one tenant. Deleted tenants are
listed with --deleted or --state; -o json and yaml, whose entries carry the state, have them always. At a terminal the table is
cut to its width; -o wide shows everything.`,
		Example: `  tenantctl list
  tenantctl list --selector plan=pro --state active
  tenantctl list -o wide --sort-by -age --limit 20
  tenantctl list -o csv --columns name,schema,domains
  tenantctl list --jq '.[] | select(.versions.postgres < 7) | .name'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runList(cmd, a, o, deleted, true) },
	}
	o.addFilter(c)
	c.Flags().StringVar(&o.shard, "shard", "", "part `I/N` of the tenants")
	c.Flags().BoolVar(&deleted, "deleted", false, "deleted tenants too")
	a.addListFlags(c)
	return c
}

// runList lists tenants. The documents of -o json and yaml have deleted ones where withDeleted says so, asked for or not.
func runList(cmd *cobra.Command, a *app, o selectionFlags, deleted, withDeleted bool) error {
	sel, err := o.selection(nil)
	if err != nil {
		return err
	}
	s, err := a.lookup(cmd.Context())
	if err != nil {
		return err
	}
	l := a.newList("name", "state", "versions", "domains", "labels", "age").shortens("domains", "labels").
		wide("id", "schema", "database", "role", "created", "updated", "purge after", "hold")
	left := 0
	for t, err := range s.List(cmd.Context(), sel) {
		if err != nil {
			return err
		}
		if t.State == tenant.Deleted && !deleted && len(sel.States) == 0 && (!withDeleted || a.format != formatJSON && a.format != formatYAML) {
			left++
			continue
		}
		purge := ""
		if t.PurgeAfter != nil {
			purge = t.PurgeAfter.Format(time.RFC3339)
		}
		if err := l.add(t, string(t.Name), t.Name, a.state(t.State), versions(t.Versions), strings.Join(t.Domains, ","), pairs(t.Labels), ageOf(t.CreatedAt),
			t.ID, t.Schema, t.Database, t.Role, t.CreatedAt.Format(time.RFC3339), t.UpdatedAt.Format(time.RFC3339), purge, t.Hold); err != nil {
			return err
		}
	}
	if left > 0 {
		return l.end(fmt.Sprintf("no tenants but %d deleted: see --deleted", left))
	}
	return l.end("no tenants")
}
