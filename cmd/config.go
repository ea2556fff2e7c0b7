package cmd

import (
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
)

func newConfigCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "config",
		Short:   "See the configuration, write a first one, and choose a context of it",
		Long:    "Flags win over environment variables, which win over the configuration file.",
		Example: "  tenantctl config view\n  tenantctl config init\n  tenantctl config use-context staging",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:     "view",
		Short:   "Show each setting and where it came from, secrets masked",
		Long:    "Shows the configuration in force. Each key has an environment variable: postgres.url is TENANTCTL_POSTGRES_URL.",
		Example: "  tenantctl config view\n  tenantctl config view -o json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			settings := cfg.Settings()
			return a.print(settings, "", func(w io.Writer) {
				t := a.wrapped(w)
				t.AppendHeader(header([]string{"key", "from", "value"}))
				for _, s := range settings {
					t.AppendRow(table.Row{s.Key, s.Source, s.Value})
				}
				t.Render()
			})
		},
	})
	c.AddCommand(newConfigInitCmd(a), newGetContextsCmd(a), newCurrentContextCmd(a), newUseContextCmd(a))
	return c
}
