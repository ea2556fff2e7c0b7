package migrationfile

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/schema/lint"
	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// Check finds what is wrong or risky in the migrations' folder and in each file, by file and line. What a comment in
// the file ignores is marked so.
func Check(dir string) ([]tenant.Finding, error) {
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
		found := missing[s.Version]
		m, err := s.read()
		var f faulty
		switch {
		case err == nil && m.Empty:
			found = append(found, finding(m.Path, 0, RuleEmpty, "does nothing: it holds no statement below '-- +goose Up'"))
		case err == nil:
			found = m.check(found, history)
		case errors.As(err, &f):
			found = append(found, f.Finding)
		default:
			return nil, err
		}
		for i := range found {
			found[i].Version = s.Version
		}
		findings = append(findings, found...)
	}
	slices.SortStableFunc(findings, func(a, b tenant.Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return findings, nil
}

// check finds what is wrong or risky in a file, beside what was found before, and marks what it ignores.
func (m *File) check(found []tenant.Finding, history *lint.History) []tenant.Finding {
	found = append(found, m.Lint()...)
	if firstSevere(found) == nil {
		found = append(found, m.unsafe(history)...)
	}
	var statements []span
	for _, p := range []Program{m.Up, m.Down} {
		for _, s := range p.Statements {
			for _, part := range s.parts() {
				statements = append(statements, span{part.line, part.line + strings.Count(part.sql, "\n")})
			}
		}
	}
	ignores, faults := ignoresIn(m.Path, m.Content, statements)
	return append(silence(m.Path, ignores, found), faults...)
}

// timestamps begin here: versions that are times have gaps.
const timestamps = 1_0000_0000_0000

// gaps finds numbers that were left out, by the version that follows.
func gaps(sources []Source) map[int64][]tenant.Finding {
	findings := map[int64][]tenant.Finding{}
	last := int64(0)
	for _, s := range sources {
		if s.Version >= timestamps {
			break
		}
		if s.Version > last+1 {
			missing := fmt.Sprintf("version %d is", last+1)
			if s.Version > last+2 {
				missing = fmt.Sprintf("versions %d to %d are", last+1, s.Version-1)
			}
			findings[s.Version] = []tenant.Finding{finding(s.path, 0, "gap", missing+" missing before it: a file that is added there later runs out of order")}
		}
		last = s.Version
	}
	return findings
}

// Lint finds what is risky in a file that goose can read.
func (m *File) Lint() []tenant.Finding {
	c := linter{m: m}
	if len(m.Down.Statements) == 0 {
		c.found(0, "no-down", "no Down: it cannot be undone")
	}
	for _, p := range []Program{m.Up, m.Down} {
		if m.NoTransaction && len(p.Statements) > 1 {
			c.found(p.Statements[1].Line, "not-atomic", "NO TRANSACTION with %d statements: a failure between them leaves a part; give each a file of its own", len(p.Statements))
		}
		for _, s := range p.Statements {
			if !c.statement(s) {
				return c.findings
			}
		}
	}
	return c.findings
}

type linter struct {
	m        *File
	findings []tenant.Finding
}

func (c *linter) found(line int, rule, format string, args ...any) {
	c.findings = append(c.findings, finding(c.m.Path, line, rule, fmt.Sprintf(format, args...)))
}

// statement looks at what goose takes for one statement. It is false where what follows would be misread.
func (c *linter) statement(s Statement) bool {
	tokens, open := sqltext.Lex(s.SQL)
	if f := foreignText(tokens); f.msg != "" {
		c.found(s.Line+f.line-1, f.rule, "%s", f.msg)
		return false
	}
	if open.What != "" {
		c.found(s.Line+open.Line-1, "unfinished", "a %s begins here and does not end before the statement does: put the statement between StatementBegin and StatementEnd", open.What)
		return false
	}
	all := sqltext.Split(tokens)
	for _, sql := range all {
		line := s.Line + sql[0].Line - 1
		c.command(line, sql)
		if what := needsNoTransaction(sql); c.m.NoTransaction && len(all) > 1 && what != "" {
			c.found(line, "no-transaction", "%s cannot run together with others: the server takes a block of several statements for a transaction; give it one of its own", what)
		}
		c.names(s.Line-1, sql)
	}
	return true
}

// setsDefaults tells whether a statement changes how later transactions of the session begin.
func setsDefaults(sql []sqltext.Token) bool {
	if sqltext.Begins(sql, "set", "session", "characteristics") {
		return true
	}
	at := 1
	if sqltext.Begins(sql, "set", "session") {
		at = 2
	}
	return sqltext.Begins(sql, "set") && len(sql) > at && strings.HasPrefix(sql[at].Name(), "default_transaction_")
}

// command looks at what one SQL statement does.
func (c *linter) command(line int, sql []sqltext.Token) {
	if !c.m.NoTransaction {
		if EndsTransaction(sql) {
			c.found(line, "transaction-control", "%s would end the transaction that the file runs in: take it out, or mark the file '-- +goose NO TRANSACTION'", strings.ToUpper(sql[0].Text))
		}
		if what := needsNoTransaction(sql); what != "" {
			c.found(line, "no-transaction", "%s cannot run in a transaction: mark the file '-- +goose NO TRANSACTION'", what)
		}
	}
	if setsDefaults(sql) {
		c.found(line, "transaction-defaults", "the isolation and access mode of later transactions cannot be changed by a file: begin each file that needs another one with SET TRANSACTION")
	}
	if sqltext.Begins(sql, "create", "extension") && !slices.ContainsFunc(sql, func(t sqltext.Token) bool { return t.Is("schema") }) {
		c.found(line, "extension", "CREATE EXTENSION without SCHEMA lands in the first tenant's schema and serves all others: install it once, in the schema that postgres.extensions_schema names")
	}
	for _, what := range [][]string{{"create", "role"}, {"create", "user"}, {"create", "group"}, {"drop", "role"}, {"drop", "user"}, {"create", "database"}, {"drop", "database"}, {"alter", "system"}, {"create", "tablespace"}, {"drop", "tablespace"}} {
		if sqltext.Begins(sql, what...) && !sqltext.Begins(sql, "create", "user", "mapping") {
			c.found(line, "whole-server", "%s is of the whole server, and the file runs once for each tenant", strings.ToUpper(strings.Join(what, " ")))
		}
	}
}

// EndsTransaction tells whether a statement begins or ends a transaction. Savepoints are none.
func EndsTransaction(sql []sqltext.Token) bool {
	if sqltext.Begins(sql, "rollback", "to") || sqltext.Begins(sql, "rollback", "work", "to") || sqltext.Begins(sql, "rollback", "transaction", "to") {
		return false
	}
	for _, what := range [][]string{{"begin"}, {"start", "transaction"}, {"commit"}, {"end"}, {"rollback"}, {"abort"}, {"prepare", "transaction"}} {
		if sqltext.Begins(sql, what...) {
			return true
		}
	}
	return false
}

// needsNoTransaction names what a statement does that PostgreSQL refuses within a transaction.
func needsNoTransaction(sql []sqltext.Token) string {
	switch {
	case sqltext.Begins(sql, "vacuum"):
		return "VACUUM"
	case sqltext.Begins(sql, "alter", "table") && detachesConcurrently(sql):
		return "DETACH PARTITION CONCURRENTLY"
	case (sqltext.Begins(sql, "create") || sqltext.Begins(sql, "drop")) && IndexConcurrently(sql):
		return strings.ToUpper(sql[0].Text) + " INDEX CONCURRENTLY"
	case sqltext.Begins(sql, "reindex"):
		return reindexAlone(sql[1:])
	case sqltext.Begins(sql, "cluster") && len(sql) == 1:
		return "CLUSTER of all tables"
	}
	return ""
}

// IndexConcurrently finds the key word where such a statement has it: before any name.
func IndexConcurrently(sql []sqltext.Token) bool {
	for _, t := range sql[1:min(len(sql), 4)] {
		if t.Is("concurrently") {
			return true
		}
	}
	return false
}

// reindexAlone names a REINDEX that PostgreSQL refuses within a transaction: REINDEX [(options)] what [CONCURRENTLY] name.
func reindexAlone(rest []sqltext.Token) string {
	concurrently := false
	if len(rest) > 0 && rest[0].Text == "(" {
		i := 1
		for ; i < len(rest) && rest[i].Text != ")"; i++ {
			off := i+1 < len(rest) && (rest[i+1].Is("false") || rest[i+1].Is("off") || rest[i+1].Text == "0")
			concurrently = concurrently || rest[i].Is("concurrently") && !off
		}
		rest = rest[min(i+1, len(rest)):]
	}
	switch {
	case concurrently || len(rest) > 1 && rest[1].Is("concurrently"):
		return "REINDEX CONCURRENTLY"
	case sqltext.Begins(rest, "schema"), sqltext.Begins(rest, "database"), sqltext.Begins(rest, "system"):
		return "REINDEX " + strings.ToUpper(rest[0].Text)
	}
	return ""
}

// detachesConcurrently finds the key word at the end of such a statement.
func detachesConcurrently(sql []sqltext.Token) bool {
	return sql[len(sql)-1].Is("concurrently") && slices.ContainsFunc(sql, func(t sqltext.Token) bool { return t.Is("detach") })
}

// names looks for names of schemas, which take a statement out of the tenant's own. line is that of the text before.
func (c *linter) names(line int, sql []sqltext.Token) {
	const advice = "the tenant's own is in force; name only those that hold extensions"
	switch {
	case sqltext.Begins(sql, "create", "schema"), sqltext.Begins(sql, "drop", "schema"), sqltext.Begins(sql, "alter", "schema"):
		c.found(line+sql[0].Line, "schema", "%s SCHEMA: a tenant's migrations belong in its own schema", strings.ToUpper(sql[0].Text))
	}
	c.session(line, sql)
	for i, t := range sql {
		if t.Kind == sqltext.Literal && strings.HasPrefix(t.Text, "$") {
			c.body(line+t.Line-1, t.Text)
		}
		if i+2 >= len(sql) || sql[i+1].Text != "." || sql[i+2].Name() == "" {
			continue
		}
		switch name := t.Name(); {
		case name == "" || name == "pg_catalog" || name == "information_schema" || i > 0 && sql[i-1].Text == ".":
		case name == "public":
			c.found(line+t.Line, "schema-name", "names the schema public: %s", advice)
		case i > 0 && namesRelation(sql, i-1):
			c.found(line+t.Line, "schema-name", "names the schema %s: %s", name, advice)
		}
	}
}

// body looks into a dollar-quoted text, which may be a function's.
func (c *linter) body(line int, text string) {
	tag := sqltext.DollarTag(text)
	tokens, open := sqltext.Lex(strings.TrimSuffix(strings.TrimPrefix(text, tag), tag))
	if open.What != "" {
		return
	}
	for _, sql := range sqltext.Split(tokens) {
		c.names(line, sql)
	}
}

// relationWords are followed by the name of a table, function or the like.
var relationWords = []string{"table", "view", "sequence", "function", "procedure", "type", "domain", "index", "references", "join", "update", "exists", "only", "concurrently"}

// namesRelation tells whether what follows sql[i] is the name of a relation, which may have a schema before it.
func namesRelation(sql []sqltext.Token, i int) bool {
	t := sql[i]
	switch {
	case t.Is("into"):
		return i > 0 && (sql[i-1].Is("insert") || sql[i-1].Is("merge"))
	case t.Is("from"):
		return !(i > 0 && sql[i-1].Is("distinct")) && !withinCall(sql[:i])
	case t.Is("on"):
		return sqltext.Begins(sql, "create") && slices.ContainsFunc(sql[:i], func(t sqltext.Token) bool {
			return t.Is("index") || t.Is("trigger") || t.Is("policy") || t.Is("rule")
		})
	}
	return slices.ContainsFunc(relationWords, t.Is)
}

// withinCall tells whether tokens end within a call such as extract(... FROM ...), whose FROM is no clause.
func withinCall(tokens []sqltext.Token) bool {
	depth := 0
	for i := len(tokens) - 1; i >= 0; i-- {
		switch {
		case tokens[i].Text == ")":
			depth++
		case tokens[i].Text == "(" && depth > 0:
			depth--
		case tokens[i].Text == "(":
			return i > 0 && slices.ContainsFunc([]string{"extract", "substring", "trim", "overlay", "position"}, tokens[i-1].Is)
		}
	}
	return false
}

// firstSevere is the error for the first finding that keeps a file from being run.
func firstSevere(findings []tenant.Finding) error {
	for _, f := range findings {
		if f.Severity == Severe {
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
		Kind: kind, Code: f.Rule, Store: tenant.KindPostgres, Msg: InFile(f.File, f.Line) + f.Message,
		Hint: "see all that is wrong with: tenantctl migrate check", Err: faulty{f},
	}
}

// InFile is a place in a file, as editors know it.
func InFile(path string, line int) string {
	if line == 0 {
		return filepath.Base(path) + ": "
	}
	return fmt.Sprintf("%s:%d: ", filepath.Base(path), line)
}
