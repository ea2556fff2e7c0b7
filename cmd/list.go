package cmd

import (
	"strings"

	"github.com/spf13/cobra"
)

func newListCmd(a *app) *cobra.Command {
	var o selectionFlags
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List tenants",
		Long:    "Lists the tenants in the catalog, by name. No store is asked; describe does that for one tenant.",
		Example: `  tenantctl list
  tenantctl list --selector plan=pro --state active
  tenantctl list -o name`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runList(cmd, a, o) },
	}
	o.addFilter(c)
	c.Flags().StringVar(&o.shard, "shard", "", "part `I/N` of the tenants")
	return c
}

func runList(cmd *cobra.Command, a *app, o selectionFlags) error {
	sel, err := o.selection(nil)
	if err != nil {
		return err
	}
	s, err := a.lookup(cmd.Context())
	if err != nil {
		return err
	}
	l := a.newList("name", "state", "versions", "domains", "labels", "age")
	for t, err := range s.List(cmd.Context(), sel) {
		if err != nil {
			return err
		}
		if err := l.add(t, string(t.Name), t.Name, a.state(t.State), versions(t.Versions), strings.Join(t.Domains, ","), pairs(t.Labels), age(t.CreatedAt)); err != nil {
			return err
		}
	}
	return l.end("no tenants")
}
