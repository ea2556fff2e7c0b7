package cmd

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/tenantctl/tenantctl/tenant"
)

// shownStatements is how many statements of a group a person is shown.
const shownStatements = 20

// migratePlan prints what a migrate run would do, group by group.
func (a *app) migratePlan(w io.Writer, p *tenant.MigratePlan) {
	fmt.Fprintf(w, "would bring %d of %s to %s\n", len(p.Behind), tenant.Plural(p.Tenants, "tenant"), versions(p.Target))
	for _, g := range p.Groups {
		fmt.Fprintf(w, "\n%s: %s\n", at(g), some(g.Names, g.Tenants))
		if g.Refused != "" {
			fmt.Fprintf(w, "%s %s\n", a.paint(red, "refused:"), g.Refused)
		}
		a.plannedStatements(w, g)
		if len(g.Files) > 0 {
			fmt.Fprintln(w, estimate(g))
		}
	}
}

// at is a group's head: how many tenants, and where they are.
func at(g *tenant.MigrateGroup) string {
	where := versions(g.Versions)
	if where == "" {
		where = "no version"
	}
	return fmt.Sprintf("%s at %s", tenant.Plural(g.Tenants, "tenant"), where)
}

// plannedStatements is a table of what runs, each with what it does to tables in use below it.
func (a *app) plannedStatements(w io.Writer, g *tenant.MigrateGroup) {
	t := a.wrapped(w)
	t.AppendHeader(header([]string{"file", "statement"}))
	n := 0
	for _, f := range g.Files {
		for _, s := range f.Statements {
			if n++; n <= shownStatements {
				t.AppendRow(table.Row{fmt.Sprintf("%s:%d", filepath.Base(f.Path), s.Line), oneLine(s.Statement) + does(s)})
			}
		}
	}
	if n == 0 {
		return
	}
	t.Render()
	if n > shownStatements {
		fmt.Fprintf(w, "and %d more; -o json lists all\n", n-shownStatements)
	}
}

// longestStatement is how many characters of a statement a plan shows.
const longestStatement = 200

func oneLine(statement string) string {
	text := strings.Join(strings.Fields(statement), " ")
	if r := []rune(text); len(r) > longestStatement {
		text = string(r[:longestStatement]) + "…"
	}
	return text
}

// does tells what a statement does, in a line of its own; nothing where it does no more than read and write rows.
func does(s tenant.PlannedStatement) string {
	var parts []string
	if len(s.Rewrites) > 0 {
		parts = append(parts, "rewrites "+strings.Join(s.Rewrites, ", "))
	}
	scans := slices.DeleteFunc(slices.Clone(s.Scans), func(t string) bool { return slices.Contains(s.Rewrites, t) })
	if len(scans) > 0 {
		parts = append(parts, "reads all of "+strings.Join(scans, ", "))
	}
	var modes []string
	for _, l := range s.Locks {
		modes = append(modes, l.Table+" "+l.Mode)
	}
	if len(modes) > 0 {
		parts = append(parts, "locks "+strings.Join(modes, ", "))
	}
	if s.Unknown {
		parts = append(parts, "may do more, which cannot be read here")
	}
	if len(parts) == 0 {
		return ""
	}
	return "\n  " + strings.Join(parts, "; ")
}

// estimate is a group's last line.
func estimate(g *tenant.MigrateGroup) string {
	e := g.Estimate
	line := "less than a second"
	if e.DurationMS >= 1000 {
		line = "about " + (time.Duration(e.DurationMS) * time.Millisecond).Round(time.Second).String()
	}
	if e.Parallel > 1 {
		line += fmt.Sprintf(", %d at once", e.Parallel)
	}
	if e.ReadBytes > 0 {
		line += ", reads " + bytes(e.ReadBytes)
	}
	if e.RewrittenBytes > 0 {
		line += ", rewrites " + bytes(e.RewrittenBytes)
	}
	if l := g.Largest; l != nil {
		line += fmt.Sprintf("; the largest is %s of %s: %s", l.Table, l.Tenant, bytes(l.Bytes))
		if l.Rows > 0 {
			line += ", about " + tenant.Plural(int(l.Rows), "row")
		}
	}
	return line
}
