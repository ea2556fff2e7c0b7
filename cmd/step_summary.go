package cmd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/tenantctl/tenantctl/config"
	"github.com/tenantctl/tenantctl/tenant"
)

// tellActions shows a run on the page of the workflow: a summary of the step, and a remark for each kind of failure.
// What the run came to does not depend on it: a summary that cannot be written is a warning.
func (a *app) tellActions(r *tenant.RunResult) {
	if !onActions() {
		return
	}
	if a.format == formatTable && !a.errOut.isJSON() { // elsewhere stderr is read by programs
		for _, g := range r.Failures {
			annotate(a.errOut, a.failureAnnotation(g))
		}
	}
	if path := os.Getenv("GITHUB_STEP_SUMMARY"); path != "" {
		if err := appendTo(path, stepSummary(r, a.cfg.Target())); err != nil {
			a.warn([]string{"the step's summary could not be written: " + err.Error()})
		}
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// blamed is how the message of a failure begins that a line of a migration is to blame for.
var blamed = regexp.MustCompile(`^([^\s:/]+\.(?:sql|json)):(\d+): `)

func (a *app) failureAnnotation(g tenant.FailureGroup) annotation {
	n := annotation{level: "error", title: tenant.Plural(g.Count, "tenant") + " failed", message: g.Message}
	if m := blamed.FindStringSubmatch(g.Message); m != nil {
		n.file = filepath.ToSlash(filepath.Join(a.migrations(g.Store), m[1]))
		n.line, _ = strconv.Atoi(m[2]) // of digits alone; one that is too large is no line, and the whole file is meant
	}
	n.message += "\ntenants: " + some(g.Tenants, g.Count)
	if g.Hint != "" {
		n.message += "\nhint: " + g.Hint
	}
	return n
}

// migrations is the folder of a store's migration files.
func (a *app) migrations(kind string) string {
	if kind == tenant.KindMongoDB {
		return a.cfg.Migrations.MongoDB
	}
	return a.cfg.Migrations.Postgres
}

// stepSummary is a run in GitHub's Markdown.
func stepSummary(r *tenant.RunResult, t config.Target) string {
	var b strings.Builder
	s := r.Summary
	fmt.Fprintf(&b, "### tenantctl: %s\n\n", r.State)
	fmt.Fprintf(&b, "%s\n\n", markdown(strings.TrimPrefix(t.Name()+", "+t.Stores(), ", ")))
	if r.Stopped != "" {
		fmt.Fprintf(&b, "%s\n\n", markdown(r.Stopped))
	}
	b.WriteString("| run | target | tenants | changed | unchanged | failed | not started | took |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	fmt.Fprintf(&b, "| `%s` | %s | %d | %d | %d | %d | %d | %s |\n", r.Run, markdown(versions(r.Target)), s.Tenants, s.Changed, s.Unchanged, s.Failed, s.NotStarted, millis(r.DurationMS))
	if len(r.Failures) > 0 {
		b.WriteString("\n| failed | tenants | why | statement | hint |\n| --- | --- | --- | --- | --- |\n")
	}
	for _, g := range r.Failures {
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s |\n", g.Count, markdown(some(g.Tenants, g.Count)), markdown(g.Message), markdown(g.Statement), markdown(g.Hint))
	}
	if r.Retry != "" {
		fmt.Fprintf(&b, "\nTry them again:\n\n```\n%s\n```\n", r.Retry)
	}
	b.WriteString("\n")
	return b.String()
}

var (
	markdownSpecial = regexp.MustCompile("[\\\\`*_{}\\[\\]()#+!|~-]")
	markdownEntity  = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "&#64;")
)

// markdown is text that a cell of a table shows as it is, on one line.
func markdown(text string) string {
	return markdownEntity.Replace(markdownSpecial.ReplaceAllString(strings.Join(strings.Fields(text), " "), `\$0`))
}
