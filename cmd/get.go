package cmd

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

func newGetCmd(a *app) *cobra.Command {
	var o selectionFlags
	c := &cobra.Command{
		Use:   "get NAME",
		Short: "Show what the catalog says of a tenant",
		Long: `Shows the catalog's record of one tenant. No store is asked; describe does that. With --all, --selector or --state it
shows each of them, without deleted tenants; -o yaml is what tenantctl apply -f reads.

` + exitHelp,
		Example:           "  tenantctl get acme\n  tenantctl get acme -o json\n  tenantctl get --all -o yaml > tenants.yaml",
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			sel, err := o.selection(args)
			if err != nil {
				return err
			}
			if len(args) == 0 && !sel.Empty() {
				return runList(cmd, a, o, false, false)
			}
			if err := oneName(cmd, args); err != nil {
				return err
			}
			s, err := a.lookup(cmd.Context())
			if err != nil {
				return err
			}
			t, err := s.Get(cmd.Context(), tenant.Name(args[0]))
			if err != nil {
				return err
			}
			return a.print(t, string(t.Name), func(w io.Writer) { a.record(w, t) })
		},
	}
	c.Flags().BoolVar(&o.all, "all", false, "every tenant that is not deleted")
	o.addFilter(c)
	return c
}

// record prints a tenant's own fields.
func (a *app) record(w io.Writer, t tenant.Tenant) {
	purge := ""
	if t.PurgeAfter != nil {
		purge = t.PurgeAfter.Format(timeFormat)
	}
	a.fields(w,
		"Name", t.Name, "State", a.state(t.State), "Id", t.ID, "Schema", t.Schema, "Role", t.Role, "Database", t.Database,
		"Domains", strings.Join(t.Domains, ", "), "Labels", pairs(t.Labels), "Versions", versions(t.Versions),
		"Created", t.CreatedAt.Format(timeFormat), "Updated", t.UpdatedAt.Format(timeFormat), "Purge after", purge, "Hold", t.Hold, "Suspended for", t.SuspendedFor)
}

const timeFormat = "2006-01-02 15:04:05 MST"
