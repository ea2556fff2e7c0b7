package cmd

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type checkOptions struct {
	offline bool
	strict  bool
	rules   bool
	after   int64
}

func newMigrateCheckCmd(a *app) *cobra.Command {
	var o checkOptions
	c := &cobra.Command{
		Use:   "check",
		Short: "Check the migration files",
		Long: `Reads every migration file and reports what is broken or risky: order and gaps, changed after applied, missing Down,
statements that name a schema or another database, steps that cannot be repeated, and what would hold up or break an
application that uses the tables meanwhile. SQL is read by PostgreSQL's own parser. Exits 6 if there is an error;
warnings alone are a success unless --strict is given. --offline leaves out what needs the catalog.

What is unsafe on tables in use is not told of files that every tenant has, which only the catalog knows; offline,
--after says which they are. A comment silences a rule for the statement that follows, or for the file:

  -- tenantctl:ignore drop-column no code uses it since release 12
  -- tenantctl:ignore-file several-locks,create-trigger

In GitHub Actions, findings are also written as annotations.

` + exitHelp,
		Example: `  tenantctl migrate check
  tenantctl migrate check --offline --strict --after 41
  tenantctl migrate check --rules`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s *tenant.Service
			var err error
			if o.offline || o.rules {
				s, err = a.offline()
			} else {
				s, err = a.service(cmd.Context())
			}
			if err != nil {
				return err
			}
			if o.rules {
				return a.checkRules(s.Rules())
			}
			return runMigrateCheck(cmd, a, s, o)
		},
	}
	c.Flags().BoolVar(&o.offline, "offline", false, "look at the files alone, without the servers")
	c.Flags().BoolVar(&o.strict, "strict", false, "take warnings for errors")
	c.Flags().BoolVar(&o.rules, "rules", false, "list the rules, with the reason and the safe way of each")
	c.Flags().Int64Var(&o.after, "after", 0, "look only above this `version` for what is unsafe on tables in use")
	return c
}

func runMigrateCheck(cmd *cobra.Command, a *app, s *tenant.Service, o checkOptions) error {
	found, err := s.CheckMigrations(cmd.Context(), !o.offline, o.after)
	if err != nil {
		return err
	}
	if a.format == formatTable && onActions() && !a.errOut.isJSON() {
		for _, f := range found.Findings {
			annotate(a.errOut, annotation{level: f.Severity, file: f.File, line: f.Line, title: f.Rule, message: instead(f)})
		}
	}
	if err := a.findings(found); err != nil {
		return err
	}
	faults := len(found.Findings)
	what := "finding"
	if !o.strict {
		faults, what = errorsIn(found.Findings), "error"
	}
	if faults > 0 {
		return &tenant.Error{Kind: tenant.ErrDiffers, Code: "migration_files", Msg: tenant.Plural(faults, what) + " in the migration files"}
	}
	return nil
}

func errorsIn(findings []tenant.Finding) (n int) {
	for _, f := range findings {
		if f.Severity == "error" {
			n++
		}
	}
	return n
}

// instead is a finding's message with the way out.
func instead(f tenant.Finding) string {
	if f.Alternative == "" {
		return f.Message
	}
	return f.Message + "\ninstead: " + f.Alternative
}

// findings prints them: for a person, each with its text below it, and how many there are.
func (a *app) findings(found *tenant.Checked) error {
	if a.format != formatTable {
		l := a.newList()
		for _, f := range found.Findings {
			if err := l.add(f, f.File); err != nil {
				return err
			}
		}
		return l.end("")
	}
	var ignored string
	if found.Ignored > 0 {
		ignored = fmt.Sprintf(", %d ignored", found.Ignored)
	}
	if len(found.Findings) == 0 {
		a.say("the migration files are fine%s", ignored)
		return nil
	}
	width := terminalWidth(a.out)
	for _, f := range found.Findings {
		severity := a.paint(yellow, f.Severity)
		if f.Severity == "error" {
			severity = a.paint(red, f.Severity)
		}
		place := f.File
		if f.Line > 0 {
			place = fmt.Sprintf("%s:%d", place, f.Line)
		}
		if _, err := fmt.Fprintf(a.out, "%s  %s  %s\n%s\n", severity, place, f.Rule, below(instead(f), width)); err != nil {
			return writing(err)
		}
	}
	faults := errorsIn(found.Findings)
	_, err := fmt.Fprintf(a.out, "\n%s, %s%s\n", tenant.Plural(faults, "error"), tenant.Plural(len(found.Findings)-faults, "warning"), ignored)
	return writing(err)
}

// below is text under a line that it belongs to: indented, and at a terminal wrapped at its width.
func below(s string, width int) string {
	const indent = "  "
	if width > narrowest {
		s = wrapLines(s, width-len(indent))
	}
	return indent + strings.ReplaceAll(s, "\n", "\n"+indent)
}

// checkRules lists what is looked for.
func (a *app) checkRules(rules []tenant.Rule) error {
	slices.SortStableFunc(rules, func(x, y tenant.Rule) int { return strings.Compare(y.Store, x.Store) })
	return a.print(rules, "", func(w io.Writer) {
		for _, kind := range []string{tenant.KindPostgres, tenant.KindMongoDB} {
			t := a.wrapped(w)
			t.AppendHeader(header([]string{kind, "severity", "reason, and the safe way"}))
			for _, r := range rules {
				if r.Store == kind {
					t.AppendRow(table.Row{r.ID, r.Severity, r.Reason + "\ninstead: " + r.Alternative})
				}
			}
			t.Render()
			fmt.Fprintln(w)
		}
	})
}
