package cmd

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

// confirmFlags are --yes and --dry-run.
type confirmFlags struct{ yes, dryRun bool }

func (c *confirmFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&c.yes, "yes", "y", false, "do not ask")
	addDryRun(cmd, &c.dryRun)
}

func addDryRun(cmd *cobra.Command, dryRun *bool) {
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "print what would be done, and touch nothing")
}

// confirm asks the person to type the answer; without a terminal and without --yes it refuses.
func (a *app) confirm(yes bool, what, answer string) error {
	if yes {
		return nil
	}
	if !isTerminal(a.in) {
		return tenant.Invalid("add --yes where that is meant", "%s: there is no terminal to ask at", what)
	}
	fmt.Fprintf(a.errOut, "%s\nType %s to go on: ", what, a.paint(yellow, answer))
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && line == "" {
		return tenant.Invalid("", "nothing was typed, nothing is done")
	}
	if strings.TrimSpace(line) != answer {
		return tenant.Invalid("", "that was not %q, nothing is done", answer)
	}
	return nil
}
