package schema

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/schema/lint"
	"github.com/tenantctl/tenantctl/tenant"
)

// checkFolder finds what is wrong or risky in the migrations' folder and in each file, by file and line. What a comment in
// the file ignores is marked so.
func checkFolder(dir string) ([]tenant.Finding, error) {
	l, err := list(dir)
	if err != nil {
		return nil, err
	}
	if len(l.sources) == 0 && len(l.findings) == 0 {
		return nil, noMigrations(holdsNone, dir)
	}
	missing := gaps(l.sources)
	findings := l.findings
	history := lint.New()
	for _, s := range l.sources {
		found := missing[s.version]
		m, err := s.read()
		var f faulty
		switch {
		case err == nil && m.Empty:
			found = append(found, finding(m.Path, 0, ruleEmpty, "does nothing: it holds no statement below '-- +goose Up'"))
		case err == nil:
			found = m.check(found, history)
		case errors.As(err, &f):
			found = append(found, f.Finding)
		default:
			return nil, err
		}
		for i := range found {
			found[i].Version = s.version
		}
		findings = append(findings, found...)
	}
	slices.SortStableFunc(findings, func(a, b tenant.Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return findings, nil
}

// check finds what is wrong or risky in a file, beside what was found before, and marks what it ignores.
func (m *migration) check(found []tenant.Finding, history *lint.History) []tenant.Finding {
	found = append(found, m.lint()...)
	if firstSevere(found) == nil {
		found = append(found, m.unsafe(history)...)
	}
	var statements []span
	for _, p := range []program{m.up, m.down} {
		for _, s := range p.statements {
			for _, part := range s.parts() {
				statements = append(statements, span{part.line, part.line + strings.Count(part.sql, "\n")})
			}
		}
	}
	ignores, faults := ignoresIn(m.Path, m.content, statements)
	return append(silence(m.Path, ignores, found), faults...)
}

// timestamps begin here: versions that are times have gaps.
const timestamps = 1_0000_0000_0000

// gaps finds numbers that were left out, by the version that follows.
func gaps(sources []source) map[int64][]tenant.Finding {
	findings := map[int64][]tenant.Finding{}
	last := int64(0)
	for _, s := range sources {
		if s.version >= timestamps {
			break
		}
		if s.version > last+1 {
			missing := fmt.Sprintf("version %d is", last+1)
			if s.version > last+2 {
				missing = fmt.Sprintf("versions %d to %d are", last+1, s.version-1)
			}
			findings[s.version] = []tenant.Finding{finding(s.path, 0, "gap", missing+" missing before it: a file that is added there later runs out of order")}
		}
		last = s.version
	}
	return findings
}

// lint finds what is risky in a file that goose can read.
func (m *migration) lint() []tenant.Finding {
	c := linter{m: m}
	if len(m.down.statements) == 0 {
		c.found(0, "no-down", "no Down: it cannot be undone")
	}
	for _, p := range []program{m.up, m.down} {
		if m.outside && len(p.statements) > 1 {
			c.found(p.statements[1].line, "not-atomic", "NO TRANSACTION with %d statements: a failure between them leaves a part; give each a file of its own", len(p.statements))
		}
		for _, s := range p.statements {
			if !c.statement(s) {
				return c.findings
			}
		}
	}
	return c.findings
}

type linter struct {
	m        *migration
	findings []tenant.Finding
}

func (c *linter) found(line int, rule, format string, args ...any) {
	c.findings = append(c.findings, finding(c.m.Path, line, rule, fmt.Sprintf(format, args...)))
}

// statement looks at what goose takes for one statement. It is false where what follows would be misread.
func (c *linter) statement(s statement) bool {
	tokens, open := lex(s.sql)
	if f := foreignText(tokens); f.msg != "" {
		c.found(s.line+f.line-1, f.rule, "%s", f.msg)
		return false
	}
	if open.what != "" {
		c.found(s.line+open.line-1, "unfinished", "a %s begins here and does not end before the statement does: put the statement between StatementBegin and StatementEnd", open.what)
		return false
	}
	all := split(tokens)
	for _, sql := range all {
		line := s.line + sql[0].line - 1
		c.command(line, sql)
		if what := needsNoTransaction(sql); c.m.outside && len(all) > 1 && what != "" {
			c.found(line, "no-transaction", "%s cannot run together with others: the server takes a block of several statements for a transaction; give it one of its own", what)
		}
		c.names(s.line-1, sql)
	}
	return true
}

// setsDefaults tells whether a statement changes how later transactions of the session begin.
func setsDefaults(sql []token) bool {
	if begins(sql, "set", "session", "characteristics") {
		return true
	}
	at := 1
	if begins(sql, "set", "session") {
		at = 2
	}
	return begins(sql, "set") && len(sql) > at && strings.HasPrefix(sql[at].name(), "default_transaction_")
}

// command looks at what one SQL statement does.
func (c *linter) command(line int, sql []token) {
	if !c.m.outside {
		if endsTransaction(sql) {
			c.found(line, "transaction-control", "%s would end the transaction that the file runs in: take it out, or mark the file '-- +goose NO TRANSACTION'", strings.ToUpper(sql[0].text))
		}
		if what := needsNoTransaction(sql); what != "" {
			c.found(line, "no-transaction", "%s cannot run in a transaction: mark the file '-- +goose NO TRANSACTION'", what)
		}
	}
	if setsDefaults(sql) {
		c.found(line, "transaction-defaults", "the isolation and access mode of later transactions cannot be changed by a file: begin each file that needs another one with SET TRANSACTION")
	}
	if begins(sql, "create", "extension") && !slices.ContainsFunc(sql, func(t token) bool { return t.is("schema") }) {
		c.found(line, "extension", "CREATE EXTENSION without SCHEMA lands in the first tenant's schema and serves all others: install it once, in the schema that postgres.extensions_schema names")
	}
	for _, what := range [][]string{{"create", "role"}, {"create", "user"}, {"create", "group"}, {"drop", "role"}, {"drop", "user"}, {"create", "database"}, {"drop", "database"}, {"alter", "system"}, {"create", "tablespace"}, {"drop", "tablespace"}} {
		if begins(sql, what...) && !begins(sql, "create", "user", "mapping") {
			c.found(line, "whole-server", "%s is of the whole server, and the file runs once for each tenant", strings.ToUpper(strings.Join(what, " ")))
		}
	}
}

// endsTransaction tells whether a statement begins or ends a transaction. Savepoints are none.
func endsTransaction(sql []token) bool {
	if begins(sql, "rollback", "to") || begins(sql, "rollback", "work", "to") || begins(sql, "rollback", "transaction", "to") {
		return false
	}
	for _, what := range [][]string{{"begin"}, {"start", "transaction"}, {"commit"}, {"end"}, {"rollback"}, {"abort"}, {"prepare", "transaction"}} {
		if begins(sql, what...) {
			return true
		}
	}
	return false
}

// needsNoTransaction names what a statement does that PostgreSQL refuses within a transaction.
func needsNoTransaction(sql []token) string {
	switch {
	case begins(sql, "vacuum"):
		return "VACUUM"
	case begins(sql, "alter", "table") && detachesConcurrently(sql):
		return "DETACH PARTITION CONCURRENTLY"
	case (begins(sql, "create") || begins(sql, "drop")) && indexConcurrently(sql):
		return strings.ToUpper(sql[0].text) + " INDEX CONCURRENTLY"
	case begins(sql, "reindex"):
		return reindexAlone(sql[1:])
	case begins(sql, "cluster") && len(sql) == 1:
		return "CLUSTER of all tables"
	}
	return ""
}

// indexConcurrently finds the key word where such a statement has it: before any name.
func indexConcurrently(sql []token) bool {
	for _, t := range sql[1:min(len(sql), 4)] {
		if t.is("concurrently") {
			return true
		}
	}
	return false
}

// reindexAlone names a REINDEX that PostgreSQL refuses within a transaction: REINDEX [(options)] what [CONCURRENTLY] name.
func reindexAlone(rest []token) string {
	concurrently := false
	if len(rest) > 0 && rest[0].text == "(" {
		i := 1
		for ; i < len(rest) && rest[i].text != ")"; i++ {
			off := i+1 < len(rest) && (rest[i+1].is("false") || rest[i+1].is("off") || rest[i+1].text == "0")
			concurrently = concurrently || rest[i].is("concurrently") && !off
		}
		rest = rest[min(i+1, len(rest)):]
	}
	switch {
	case concurrently || len(rest) > 1 && rest[1].is("concurrently"):
		return "REINDEX CONCURRENTLY"
	case begins(rest, "schema"), begins(rest, "database"), begins(rest, "system"):
		return "REINDEX " + strings.ToUpper(rest[0].text)
	}
	return ""
}

// detachesConcurrently finds the key word at the end of such a statement.
func detachesConcurrently(sql []token) bool {
	return sql[len(sql)-1].is("concurrently") && slices.ContainsFunc(sql, func(t token) bool { return t.is("detach") })
}

// names looks for names of schemas, which take a statement out of the tenant's own. line is that of the text before.
func (c *linter) names(line int, sql []token) {
	const advice = "the tenant's own is in force; name only those that hold extensions"
	switch {
	case begins(sql, "create", "schema"), begins(sql, "drop", "schema"), begins(sql, "alter", "schema"):
		c.found(line+sql[0].line, "schema", "%s SCHEMA: a tenant's migrations belong in its own schema", strings.ToUpper(sql[0].text))
	}
	c.session(line, sql)
	for i, t := range sql {
		if t.kind == literal && strings.HasPrefix(t.text, "$") {
			c.body(line+t.line-1, t.text)
		}
		if i+2 >= len(sql) || sql[i+1].text != "." || sql[i+2].name() == "" {
			continue
		}
		switch name := t.name(); {
		case name == "" || name == "pg_catalog" || name == "information_schema" || i > 0 && sql[i-1].text == ".":
		case name == "public":
			c.found(line+t.line, "schema-name", "names the schema public: %s", advice)
		case i > 0 && namesRelation(sql, i-1):
			c.found(line+t.line, "schema-name", "names the schema %s: %s", name, advice)
		}
	}
}

// body looks into a dollar-quoted text, which may be a function's.
func (c *linter) body(line int, text string) {
	tag := dollarTag(text)
	tokens, open := lex(strings.TrimSuffix(strings.TrimPrefix(text, tag), tag))
	if open.what != "" {
		return
	}
	for _, sql := range split(tokens) {
		c.names(line, sql)
	}
}

// relationWords are followed by the name of a table, function or the like.
var relationWords = []string{"table", "view", "sequence", "function", "procedure", "type", "domain", "index", "references", "join", "update", "exists", "only", "concurrently"}

// namesRelation tells whether what follows sql[i] is the name of a relation, which may have a schema before it.
func namesRelation(sql []token, i int) bool {
	t := sql[i]
	switch {
	case t.is("into"):
		return i > 0 && (sql[i-1].is("insert") || sql[i-1].is("merge"))
	case t.is("from"):
		return !(i > 0 && sql[i-1].is("distinct")) && !withinCall(sql[:i])
	case t.is("on"):
		return begins(sql, "create") && slices.ContainsFunc(sql[:i], func(t token) bool {
			return t.is("index") || t.is("trigger") || t.is("policy") || t.is("rule")
		})
	}
	return slices.ContainsFunc(relationWords, t.is)
}

// withinCall tells whether tokens end within a call such as extract(... FROM ...), whose FROM is no clause.
func withinCall(tokens []token) bool {
	depth := 0
	for i := len(tokens) - 1; i >= 0; i-- {
		switch {
		case tokens[i].text == ")":
			depth++
		case tokens[i].text == "(" && depth > 0:
			depth--
		case tokens[i].text == "(":
			return i > 0 && slices.ContainsFunc([]string{"extract", "substring", "trim", "overlay", "position"}, tokens[i-1].is)
		}
	}
	return false
}

// firstSevere is the error for the first finding that keeps a file from being run.
func firstSevere(findings []tenant.Finding) error {
	for _, f := range findings {
		if f.Severity == severe {
			return fileError(f)
		}
	}
	return nil
}

// faulty is a finding as the cause of an error.
type faulty struct{ tenant.Finding }

func (f faulty) Error() string { return f.Message }

// fileError is a finding that keeps a file from being run, as an error.
func fileError(f tenant.Finding) error {
	kind := tenant.ErrMigration
	if f.Rule == ruleGoCode {
		kind = tenant.ErrInvalid
	}
	return &tenant.Error{
		Kind: kind, Code: f.Rule, Store: tenant.KindPostgres, Msg: inFile(f.File, f.Line) + f.Message,
		Hint: "see all that is wrong with: tenantctl migrate check", Err: faulty{f},
	}
}

// inFile is a place in a file, as editors know it.
func inFile(path string, line int) string {
	if line == 0 {
		return filepath.Base(path) + ": "
	}
	return fmt.Sprintf("%s:%d: ", filepath.Base(path), line)
}
