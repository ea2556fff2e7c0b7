package cmd

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/config"
)

// helpWidth is how wide help is: that of the narrowest usual terminal.
const helpWidth = 80

const selectorTopic = `Names as arguments choose tenants, or these flags, which are joined by "and":

  --all                      every tenant
  --selector plan=pro        tenants with this label; -l for short
  --selector 'plan!=free'    tenants without it
  --selector 'plan in (a,b)' one of several values; terms are joined by commas
  --state active,suspended   tenants in these states
  --shard 2/4                the second of four parts, the same on every run

A selection that matches no tenant exits 2, unless --allow-empty is given.`

// addTopics adds help that belongs to no command: tenantctl help exit-codes.
func addTopics(root *cobra.Command) {
	codes := "Scripts may rely on these:\n\n" +
		"    0  all done\n    1  failed\n    2  wrong usage or configuration, or refused by a guard\n    3  partly done: some tenants failed or were not started\n" +
		"    4  no such tenant, backup, run or operation\n    5  busy, or it exists already\n    6  a check found differences\n  130  interrupted"
	root.AddCommand(
		&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: codes},
		&cobra.Command{Use: "selectors", Short: "How tenants are chosen", Long: selectorTopic},
		&cobra.Command{Use: "environment", Short: "The environment variables", Long: environmentTopic()},
	)
}

// environmentTopic is every variable that is read.
func environmentTopic() string {
	var b strings.Builder
	b.WriteString("Variables win over the configuration file, and flags over variables. One that is set to nothing counts as not set, " +
		"and one that begins with TENANTCTL_ and is unknown is refused.\n\n")
	for _, v := range config.Variables() {
		b.WriteString("  " + v[0] + "  " + v[1] + "\n")
	}
	b.WriteString("  NO_COLOR  no colours\n\nOne for each key of the configuration:\n\n")
	for _, k := range config.Keys() {
		b.WriteString("  " + k.Env() + "\n")
	}
	return strings.TrimSpace(b.String())
}

// reflow wraps paragraphs at the width of help; indented lines stay as they are.
func reflow(text string) string {
	var out []string
	line := ""
	flush := func() {
		if line != "" {
			out = append(out, line)
		}
		line = ""
	}
	for _, given := range strings.Split(text, "\n") {
		if given == "" || strings.HasPrefix(given, " ") {
			flush()
			out = append(out, given)
			continue
		}
		for _, word := range strings.Fields(given) {
			if line != "" && len(line)+1+len(word) > helpWidth {
				flush()
			}
			line = strings.TrimPrefix(line+" "+word, " ")
		}
	}
	flush()
	return strings.Join(out, "\n")
}
