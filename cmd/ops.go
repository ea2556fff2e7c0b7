package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

func newOpsCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "ops",
		Short:   "Inspect, resume and abort operations",
		Long:    "Every change is an operation: its intent is written before its effect, so that it can be continued, or undone, after a crash.",
		Example: "  tenantctl ops list --unfinished\n  tenantctl ops resume 543067d63f6a",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(newOpsListCmd(a), newOpsShowCmd(a), newOpsEndCmd(a, "resume"), newOpsEndCmd(a, "abort"), newOpsResolveCmd(a))
	return c
}

func newOpsListCmd(a *app) *cobra.Command {
	var f tenant.OperationFilter
	var name string
	c := &cobra.Command{
		Use:   "list",
		Short: "List operations, newest first",
		Long:  "Lists operations, newest first. The parts of a fleet run are left out, unless --tenant or --unfinished is given.\nThe table shows the end of each id, which every command takes; -o name gives ids whole.",
		Example: `  tenantctl ops list
  tenantctl ops list --unfinished
  tenantctl ops list --tenant acme`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.Limit < 0 {
				return tenant.Invalid("give 0 for all", "--limit %d is below 0", f.Limit)
			}
			if a.lists.sortBy != "" { // which are the first is known when all are sorted
				a.lists.limit, f.Limit = f.Limit, 0
			}
			f.Tenant = tenant.Name(name)
			s, err := a.lookup(cmd.Context())
			if err != nil {
				return err
			}
			var ways []string
			l := a.newList("id", "kind", "tenant", "state", "by", "took", "age", "error").wrapped().wide("created", "from", "whole id")
			for op, err := range s.Operations(cmd.Context(), f) {
				if err != nil {
					return err
				}
				if ends := op.WaysOut(); len(ends) > 0 {
					ways = append(ways, fmt.Sprintf("%s of %s is ended by: %s", op.Kind, tenant.ShortID(op.ID), strings.Join(ends, ", or ")))
				}
				fault, of := "", string(op.Tenant)
				if op.Error != nil {
					fault = op.Error.Message
				}
				if op.TenantID == nil && op.Run == nil && op.Tenant == "" {
					of = "(fleet)"
				}
				if err := l.add(op, op.ID.String(), tenant.ShortID(op.ID), op.Kind, of, a.progressOf(op), op.Actor, tookOf(op.Duration().Milliseconds()), ageOf(op.CreatedAt), fault,
					op.CreatedAt.UTC().Format(time.RFC3339), op.Owner.Label(), op.ID); err != nil {
					return err
				}
			}
			if f.Unfinished {
				for _, way := range ways {
					a.say("%s", way)
				}
				n, imports, err := s.LeftAway(cmd.Context())
				if err != nil {
					return err
				}
				if n > 0 {
					fmt.Fprintf(a.errOut, "%s indexes, foreign keys and triggers that imports took away are still to be put back (%d): %s\n", a.paint(yellow, "note:"), n, tenant.LeftAwayHint(imports))
				}
			}
			return l.end("no operations")
		},
	}
	c.Flags().BoolVar(&f.Unfinished, "unfinished", false, "only those that are in work or interrupted")
	c.Flags().StringVar(&name, "tenant", "", "only those of the tenant with this `name`")
	c.Flags().IntVar(&f.Limit, "limit", 50, "at most `n`; 0 for all")
	a.addListFlags(c)
	return c
}

func newOpsShowCmd(a *app) *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show an operation with its steps and audit entries",
		Long: `Shows one operation whole. A unique beginning or end of the id, of four characters or more, is enough. --follow first tells
on stderr what becomes of it, as the command that runs it does, until it has ended or nobody works on it any more; the exit
code is then that of the operation: 0 done, 3 a run that is partly done, 1 anything else.

` + exitHelp,
		Example: "  tenantctl ops show 543067d63f6a\n  tenantctl ops show 543067d63f6a --follow",
		Args:    oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.lookup(cmd.Context())
			if err != nil {
				return err
			}
			if follow {
				return runFollow(cmd, a, s, args[0])
			}
			d, err := s.Operation(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(d, d.ID.String(), func(w io.Writer) { a.operation(w, d) })
		},
	}
	c.Flags().BoolVar(&follow, "follow", false, "tell how it goes on until it has ended")
	return c
}

// output is what another program said that did the operation's work.
func output(op *tenant.Operation) string {
	if op.Error != nil {
		return op.Error.Output
	}
	var result struct{ Output string }
	if json.Unmarshal(op.Result, &result) != nil {
		return "" // another kind of result
	}
	return result.Output
}

func (a *app) operation(w io.Writer, d *tenant.OperationDetail) {
	fault, hint, finished := "", "", ""
	if d.Error != nil {
		fault, hint = d.Error.Message, d.Error.Hint
	}
	if d.FinishedAt != nil {
		finished = d.FinishedAt.UTC().Format(timeFormat)
	}
	a.fields(w, "Id", d.ID, "Kind", d.Kind, "Tenant", string(d.Tenant), "State", a.progressOf(d.Operation), "By", d.Actor, "From", d.Owner.Label(),
		"Started", d.CreatedAt.UTC().Format(timeFormat), "Finished", finished, "Took", millis(d.Duration().Milliseconds()),
		"Tenants", pairs(stringKeys(d.Tenants)), "Error", fault, "Hint", hint, "To end it", strings.Join(d.WaysOut(), ", or "))
	if said := output(d.Operation); said != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimRight(said, "\n"))
	}
	if len(d.Steps) > 0 {
		fmt.Fprintln(w)
		t := a.wrapped(w)
		t.AppendHeader(header([]string{"step", "state", "error"}))
		for _, s := range d.Steps {
			t.AppendRow(table.Row{s.Name, s.State, s.Error})
		}
		t.Render()
	}
	if len(d.Audit) > 0 {
		fmt.Fprintln(w)
		t := a.wrapped(w)
		t.AppendHeader(header([]string{"audit", "by", "from", "action", "detail"}))
		for _, e := range d.Audit {
			t.AppendRow(table.Row{e.At.UTC().Format(timeFormat), e.Actor, e.Origin, e.Action, string(e.Detail)})
		}
		t.Render()
	}
}

// progressOf is an operation's state, and whether it waits for somebody to end it.
func (a *app) progressOf(op *tenant.Operation) string {
	if op.Interrupted && op.State != tenant.OpStuck {
		return a.paint(red, "interrupted") + " (" + string(op.State) + ")"
	}
	if op.Slow {
		return a.opState(op.State) + " " + a.paint(yellow, "(slow)")
	}
	return a.opState(op.State)
}

// newOpsEndCmd makes resume and abort, which differ in direction alone.
func newOpsEndCmd(a *app, verb string) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:     verb + " ID",
		Example: "  tenantctl ops " + verb + " 543067d63f6a",
		Args:    oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.service(cmd.Context())
			if err != nil {
				return err
			}
			if dryRun {
				d, err := s.Operation(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.print(d, d.ID.String(), func(w io.Writer) {
					fmt.Fprintf(w, "would %s %s of %s (%s)\n", verb, d.Kind, orNone(string(d.Tenant)), d.State)
				})
			}
			end := s.ResumeOperation
			if verb == "abort" {
				end = s.Abort
			}
			op, err := end(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(op, op.ID.String(), func(w io.Writer) {
				fmt.Fprintf(w, "%s of %s: %s\n", op.Kind, orNone(string(op.Tenant)), a.opState(op.State))
			})
		},
	}
	c.Short = "Go on with an interrupted operation"
	c.Long = "Takes over an operation whose process died or that could not be finished, and brings it to its end.\nContinue a fleet run with its own command: tenantctl migrate --resume ID\n\n" + exitHelp
	if verb == "abort" {
		c.Short = "Take an interrupted operation back"
		c.Long = "Takes over an operation whose process died or that could not be finished, and undoes what it made. What is past\nthe point of no return is refused. A fleet run, even a living one, starts no new tenants from then on.\n\n" + exitHelp
	}
	addDryRun(c, &dryRun)
	return c
}
