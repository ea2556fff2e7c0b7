package cmd

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

type initOptions struct{ dryRun bool }

type initResult struct {
	From   int64 `json:"from"` // 0: there was no catalog
	To     int64 `json:"to"`
	DryRun bool  `json:"dry_run,omitempty"`
}

func newInitCmd(a *app) *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:   "init",
		Short: "Create or upgrade the catalog",
		Long: `Creates the catalog in the schema "tenantctl" of postgres.url, or brings it to this program's version.
It can be repeated safely. A catalog that is newer than this program is refused, and so is an upgrade while operations of
an older program are in work: they are named. From then on older programs begin nothing, also those that are running.`,
		Example: "  tenantctl init\n  tenantctl init --dry-run",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runInit(cmd, a, o) },
	}
	addDryRun(c, &o.dryRun)
	return c
}

func runInit(cmd *cobra.Command, a *app, o initOptions) error {
	c, _, err := a.catalog(cmd.Context())
	if err != nil {
		return err
	}
	from, to, err := c.Init(cmd.Context(), o.dryRun)
	if err != nil {
		return err
	}
	return a.print(initResult{from, to, o.dryRun}, fmt.Sprint(to), func(w io.Writer) {
		did, would := "created", "would create"
		switch {
		case from == to:
			fmt.Fprintf(w, "the catalog is at version %d already\n", to)
			return
		case from > 0:
			did, would = "upgraded", "would upgrade"
		}
		if o.dryRun {
			did = would
		}
		fmt.Fprintf(w, "%s the catalog: version %d\n", did, to)
	})
}
