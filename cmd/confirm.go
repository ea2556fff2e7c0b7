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
	cmd.Flags().BoolVarP(&c.yes, "yes", "y", false, "do not ask; a protected environment wants --confirm too")
	addDryRun(cmd, &c.dryRun)
}

func addDryRun(cmd *cobra.Command, dryRun *bool) {
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "print what would be done, and touch nothing")
}

// question is what a person is asked before something that cannot be taken back.
type question struct {
	text   string // sentences, with everything that would be lost
	short  string // the same in one clause, for the refusal where nobody can be asked
	answer string // what has to be typed
}

// judge is nil where the answer was typed.
func (q question) judge(typed string) error {
	switch typed {
	case q.answer:
		return nil
	case "":
		return tenant.Invalid("", "nothing was typed, nothing is done")
	}
	return tenant.Invalid("", "that was not %q, nothing is done", q.answer)
}

// confirm asks the person to type the answer, and in a protected environment its name; without a terminal and without
// --yes (and --confirm there) it refuses.
func (a *app) confirm(yes bool, q question) error {
	switch {
	case yes:
	case !isTerminal(a.in):
		hint := "add --yes where that is meant"
		if a.cfg.Protected && a.confirmed == "" {
			hint = "add --yes --confirm " + a.cfg.Environment + " where that is meant"
		}
		return tenant.Invalid(hint, "%s, and there is no terminal to ask at", q.short)
	default:
		typed, err := a.typed(q, "to go on")
		if err == nil {
			err = q.judge(typed)
		}
		if err != nil {
			return err
		}
	}
	return a.guard(q.short)
}

// ask is confirm for one of several things, which may be left out: anything but the answer does that.
func (a *app) ask(q question) (bool, error) {
	typed, err := a.typed(q, "to run it, anything else to leave it")
	return typed == q.answer, err
}

// typed reads what the person answers.
func (a *app) typed(q question, what string) (string, error) {
	where := ""
	if short := a.cfg.Target().Short(); short != "" {
		where = " [" + short + "]"
	}
	a.prompt(fmt.Sprintf("%s\nType %s %s%s: ", q.text, a.paint(yellow, q.answer), what, where))
	typed := make(chan string, 1)
	go func() {
		// A line that cannot be read is empty, which is no answer.
		line, _ := bufio.NewReader(a.in).ReadString('\n')
		typed <- strings.TrimSpace(line)
	}()
	select {
	case <-a.cmd.Context().Done():
		return "", &tenant.Error{Kind: tenant.ErrInterrupted, Msg: "interrupted, nothing is done"}
	case line := <-typed:
		return line, nil
	}
}
