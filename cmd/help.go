package cmd

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// plainBool is a flag without a value that is shown as one: --dry-run, not --dry-run[=true|false].
type plainBool struct{ pflag.Value }

func (plainBool) IsBoolFlag() bool { return true }

func (plainBool) Type() string { return "boolfunc" }

// plainFlags makes a command's flags ready to be shown; nothing asks for their values after that.
func plainFlags(c *cobra.Command) {
	c.InitDefaultHelpFlag()
	plain := func(f *pflag.Flag) {
		if f.Value.Type() == "bool" {
			f.Value = plainBool{f.Value}
		} else {
			f.NoOptDefVal = "" // --defer-indexes, not --defer-indexes[=auto]
		}
	}
	c.Flags().VisitAll(plain)
	c.PersistentFlags().VisitAll(plain)
}

// showPlainFlags has it so in every help text.
func showPlainFlags(root *cobra.Command) {
	help := root.HelpFunc()
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		plainFlags(c)
		c.Long = reflow(c.Long)
		help(c, args)
	})
}
