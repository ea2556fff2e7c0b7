package cmd

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

func newDescribeCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME",
		Short: "Show everything about a tenant, as the stores have it",
		Long: `Shows the catalog's record of one tenant, what is really there in every store (version, size, tables or
collections, users, locks), its last backup, and its last operations.

` + exitHelp,
		Example:           "  tenantctl describe acme\n  tenantctl describe acme -o yaml",
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.service(cmd.Context())
			if err != nil {
				return err
			}
			d, err := s.Describe(cmd.Context(), tenant.Name(args[0]))
			if err != nil {
				return err
			}
			return a.print(d, string(d.Name), func(w io.Writer) { a.describe(w, d) })
		},
	}
}

func (a *app) describe(w io.Writer, d *tenant.Description) {
	a.record(w, d.Tenant)
	fmt.Fprintln(w)
	t := a.table(w)
	t.AppendHeader(header([]string{"store", "presence", "version", "size", "objects", "users", "locked"}))
	var notes []string
	for _, kind := range slices.Backward(slices.Sorted(maps.Keys(d.Stores))) {
		st := d.Stores[kind]
		locked := "no"
		if st.Locked {
			locked = a.paint(yellow, "yes")
		}
		t.AppendRow(table.Row{kind, a.presence(st.Presence), st.Version, bytes(st.Bytes), st.Objects, strings.Join(st.Users, ", "), locked})
		for _, n := range st.Notes {
			notes = append(notes, kind+": "+n)
		}
	}
	t.Render()
	for _, l := range d.Behind {
		a.lag(w, d, l)
	}
	for _, n := range notes {
		fmt.Fprintln(w, "note:", n)
	}
	fmt.Fprintln(w)
	if b := d.LastBackup; b != nil {
		fmt.Fprintf(w, "last backup: %s, %s ago, %s\n", tenant.ShortID(b.ID), age(b.CreatedAt), bytes(b.Size))
	} else {
		fmt.Fprintln(w, "last backup: (none)")
	}
	if len(d.Operations) == 0 {
		return
	}
	fmt.Fprintln(w)
	t = a.table(w)
	t.AppendHeader(header([]string{"last operations", "id", "state", "by", "took", "age"}))
	for _, op := range d.Operations {
		t.AppendRow(table.Row{op.Kind, tenant.ShortID(op.ID), a.progressOf(op), op.Actor, millis(op.Duration().Milliseconds()), age(op.CreatedAt)})
	}
	t.Render()
}

// lag says in a line or two how far a store is behind the migration files, why, and the way on.
func (a *app) lag(w io.Writer, d *tenant.Description, l tenant.Lag) {
	on := "tenantctl migrate " + string(d.Name)
	var text string
	switch stopped := d.Stores[l.Store].Stopped; {
	case stopped != nil:
		text = stopped.String()
		if stopped.Direction == "down" {
			on = fmt.Sprintf("tenantctl migrate down %s --only %s", d.Name, l.Store)
		}
	case l.Version > l.Target:
		text, on = fmt.Sprintf("version %d, which is ahead of the newest file here, %d", l.Version, l.Target), "use the newest checkout"
	case l.Version == l.Target:
		text = fmt.Sprintf("version %d, with %d of %s applied", l.Version, l.Applied, tenant.Plural(l.Files, "migration"))
		on += " --out-of-order"
	default:
		text = fmt.Sprintf("version %d of %d", l.Version, l.Target)
	}
	fmt.Fprintf(w, "%s %s: %s\n", a.paint(yellow, "behind:"), l.Store, text)
	if f := l.Failure; f != nil {
		fmt.Fprintf(w, "  last run failed: %s\n", f.Message)
	}
	fmt.Fprintf(w, "  go on with: %s\n", on)
}

func (a *app) presence(p tenant.Presence) string {
	if p == tenant.Ours {
		return string(p)
	}
	return a.paint(red, string(p))
}
