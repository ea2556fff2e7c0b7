package migrationfile

import (
	"errors"
	"strings"

	"github.com/tenantctl/tenantctl/schema/lint"
	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// part is one SQL statement of what goose sends as one.
type part struct {
	sql  string
	line int // in the file
}

// parts cuts a statement as the server does.
func (s Statement) parts() []part {
	tokens, _ := sqltext.Lex(s.SQL)
	var out []part
	for _, sql := range sqltext.Split(tokens) {
		first, last := sql[0], sql[len(sql)-1]
		out = append(out, part{s.SQL[first.Start : last.Start+len(last.Text)], s.Line + first.Line - 1})
	}
	return out
}

// Explain tells of every file, in order of version, what its Up would do to the tables of a tenant.
func (f *Set) Explain() []tenant.PlannedFile {
	history := lint.New()
	var out []tenant.PlannedFile
	for _, m := range f.List {
		file := history.File(!m.NoTransaction)
		p := tenant.PlannedFile{Store: tenant.KindPostgres, Version: m.Version, Name: m.Name, Path: m.Path, Statements: []tenant.PlannedStatement{}}
		for _, s := range m.Up.Statements {
			parts := s.parts()
			for _, part := range parts {
				statement := planned(file, part.sql)
				statement.Line, statement.Statement = part.line, part.sql
				if m.UsesEnv && len(parts) == 1 { // without the values of the environment
					statement.Statement = strings.TrimSuffix(s.Text, ";")
				} else if m.UsesEnv {
					statement.Statement = sqltext.Show(part.sql)
				}
				p.Statements = append(p.Statements, statement)
			}
		}
		out = append(out, p)
	}
	return out
}

// planned is what one statement would do. One that the parser cannot read may do anything.
func planned(file *lint.File, sql string) tenant.PlannedStatement {
	p := tenant.PlannedStatement{Locks: []tenant.PlannedLock{}, Rewrites: []string{}, Scans: []string{}}
	does, err := file.Read(sql)
	if err != nil {
		p.Unknown = true
		return p
	}
	p.Unknown = does.Opaque
	for _, l := range does.Locks {
		p.Locks = append(p.Locks, tenant.PlannedLock{Table: l.Table, Mode: l.Mode.String()})
	}
	p.Rewrites = append(p.Rewrites, does.Rewrites...)
	p.Scans = append(p.Scans, does.Scans...)
	return p
}

// unsafe finds what a file's Up would do to tables in use, and what the parser cannot read in both directions.
func (m *File) unsafe(history *lint.History) []tenant.Finding {
	var findings []tenant.Finding
	file := history.File(!m.NoTransaction)
	for _, s := range m.Up.Statements {
		for _, part := range s.parts() {
			does, err := file.Read(part.sql)
			findings = append(findings, m.unread(part, err)...)
			for _, f := range does.Findings {
				findings = append(findings, finding(m.Path, part.line+f.Line-1, f.Rule, f.Message))
			}
		}
	}
	for _, s := range m.Down.Statements {
		for _, part := range s.parts() {
			findings = append(findings, m.unread(part, lint.Syntax(part.sql))...)
		}
	}
	return findings
}

// unread is a statement that the parser cannot read.
func (m *File) unread(p part, err error) []tenant.Finding {
	var syntax *lint.SyntaxError
	if !errors.As(err, &syntax) {
		return nil
	}
	f := finding(m.Path, p.line+syntax.Line-1, ruleSyntax, syntax.Msg)
	if m.UsesEnv { // the parser's words may quote a value
		f.Severity = Warning
		f.Message = "cannot be read with the values that the environment has here"
	}
	return []tenant.Finding{f}
}
