package migrationfile

import (
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/schema/lint"
	"github.com/tenantctl/tenantctl/tenant"
)

// Severities of a finding.
const (
	Severe  = "error"
	Warning = "warning"
)

// Rules that code refers to.
const (
	ruleBroken        = "broken"
	ruleGoCode        = "go-code"
	ruleSyntax        = "syntax"
	ruleUnknownIgnore = "unknown-ignore"
	ruleUnusedIgnore  = "unused-ignore"
	ruleCopy          = "copy-stdin"
	rulePsql          = "psql"
	RuleEmpty         = "empty"
)

const reasonLeaves = "it leaves the tenant's schema, which alone is in force"

// fileRules are about files and what may stand in them; lint has those about tables in use. A file with a severe one
// is not run, but for a syntax that this program's parser may be too old for.
var fileRules = []tenant.Rule{
	{ID: ruleBroken, Severity: Severe, Reason: "goose cannot read the file", Alternative: "the message has the place and what is wrong there"},
	{ID: ruleCopy, Severity: Severe, Reason: "COPY FROM STDIN has no input in a migration", Alternative: "INSERT; pg_dump writes it with --inserts"},
	{ID: "duplicate", Severity: Severe, Reason: "two files have one version", Alternative: "give one of them another number"},
	{ID: RuleEmpty, Severity: Severe, Reason: "the file does nothing; one that tenants have applied stays as it is", Alternative: "the statements that it is for, or no file"},
	{ID: "extension", Severity: Warning, Reason: "the extension lands in the first tenant's schema and serves all others: dropping that schema would drop what is theirs", Alternative: "install it once, in a schema of its own (postgres.extensions_schema), outside of the tenants' files"},
	{ID: "gap", Severity: Warning, Reason: "a file that is added in the gap later runs out of order", Alternative: "numbers without gaps, or times"},
	{ID: ruleGoCode, Severity: Severe, Reason: "migrations coded in Go are out of scope", Alternative: "SQL"},
	{ID: "name", Severity: Warning, Reason: "goose ignores a file whose name has no number", Alternative: "NUMBER_name.sql"},
	{ID: "no-down", Severity: Warning, Reason: "without a Down it cannot be undone", Alternative: "the statements that undo it, below '-- +goose Down'"},
	{ID: "no-transaction", Severity: Severe, Reason: "PostgreSQL refuses the statement in a transaction", Alternative: "mark the file '-- +goose NO TRANSACTION'"},
	{ID: "not-atomic", Severity: Warning, Reason: "a failure between statements without a transaction leaves a part", Alternative: "a file for each"},
	{ID: rulePsql, Severity: Severe, Reason: "a line that begins with a backslash is a command of psql, not SQL", Alternative: "take the line out"},
	{ID: "role-change", Severity: Warning, Reason: "what follows has other rights, and makes what another role owns", Alternative: "end it with RESET ROLE in the same file, or leave it out"},
	{ID: "schema", Severity: Warning, Reason: reasonLeaves, Alternative: "tables in the tenant's own schema"},
	{ID: "schema-name", Severity: Warning, Reason: reasonLeaves, Alternative: "the table's name alone; name only the schemas that hold extensions, and ignore this rule there"},
	{ID: "search-path", Severity: Warning, Reason: reasonLeaves, Alternative: "leave it out"},
	{ID: ruleSyntax, Severity: Severe, Reason: "PostgreSQL's own parser, of version 17, cannot read the statement", Alternative: "put it right; if the server is newer and knows it, ignore this rule there"},
	{ID: "transaction-control", Severity: Severe, Reason: "it would end the transaction that the file runs in", Alternative: "leave it out, or mark the file '-- +goose NO TRANSACTION'"},
	{ID: "transaction-defaults", Severity: Severe, Reason: "goose would run the later files of the same run at another level; here each has its own", Alternative: "SET TRANSACTION, first in each file that needs it"},
	{ID: "unfinished", Severity: Severe, Reason: "goose cuts statements at semicolons at the end of a line", Alternative: "put it between StatementBegin and StatementEnd"},
	{ID: ruleUnknownIgnore, Severity: Severe, Reason: "an ignore names no rule that can be ignored", Alternative: "the rule's id, as tenantctl migrate check --rules has it"},
	{ID: ruleUnusedIgnore, Severity: Warning, Reason: "an ignore without anything to ignore would hide what comes later", Alternative: "take it out"},
	{ID: "whole-server", Severity: Severe, Reason: "it is of the whole server, and the file runs once for each tenant", Alternative: "do it once, by hand or in the deployment"},
}

// rules are all of them by their ids.
var rules = func() map[string]tenant.Rule {
	out := map[string]tenant.Rule{}
	for _, r := range fileRules {
		r.Store = tenant.KindPostgres
		out[r.ID] = r
	}
	for _, r := range lint.Rules {
		out[r.ID] = tenant.Rule{ID: r.ID, Store: tenant.KindPostgres, Severity: Warning, Reason: r.Reason, Alternative: r.Alternative, Live: true}
	}
	return out
}()

// Rules are all that checkFolder looks for, by their ids.
func Rules() []tenant.Rule {
	var out []tenant.Rule
	for _, rule := range rules {
		out = append(out, rule)
	}
	slices.SortFunc(out, func(a, b tenant.Rule) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// finding is one that breaks a rule.
func finding(path string, line int, rule, message string) tenant.Finding {
	f := tenant.Finding{Store: tenant.KindPostgres, File: path, Line: line, Rule: rule, Severity: rules[rule].Severity, Message: message, Live: rules[rule].Live}
	if f.Live { // the others say it in their message
		f.Alternative = rules[rule].Alternative
	}
	return f
}

// canIgnore tells whether a comment can silence a rule: what keeps a file from being run cannot be.
func canIgnore(rule string) bool {
	r, ok := rules[rule]
	return ok && (r.Severity == Warning && rule != ruleUnusedIgnore || rule == ruleSyntax)
}
