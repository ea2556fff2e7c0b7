package cmd

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

func newGetCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "get NAME",
		Short:             "Show what the catalog says of a tenant",
		Long:              "Shows the catalog's record of one tenant. No store is asked; describe does that.\n\n" + exitHelp,
		Example:           "  tenantctl get acme\n  tenantctl get acme -o json",
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
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
