package migrationfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/schema/sqltext"
)

// psqlCommand finds a command of psql among tokens, which begins with a backslash at the beginning of a line.
func psqlCommand(tokens []sqltext.Token) (line int, name string) {
	for i, t := range tokens {
		if t.Text != `\` || i > 0 && tokens[i-1].Line == t.Line {
			continue
		}
		if i+1 < len(tokens) && tokens[i+1].Line == t.Line {
			name = tokens[i+1].Text
		}
		return t.Line, `\` + name
	}
	return 0, ""
}

// copiesIn tells whether a statement takes rows from its client, which in a migration has none to give.
func copiesIn(sql []sqltext.Token) bool {
	return sqltext.Begins(sql, "copy") && slices.ContainsFunc(sql, func(t sqltext.Token) bool { return t.Is("stdin") })
}

// foreignText finds what is no SQL of a migration: commands of psql, and COPY with its rows, both as pg_dump writes them.
// There is none where the fault has no message.
func foreignText(tokens []sqltext.Token) (f fault) {
	for _, sql := range sqltext.Split(tokens) {
		if copiesIn(sql) {
			return fault{sql[0].Line, ruleCopy, "COPY FROM STDIN has no input in a migration, and the rows below it, down to \\., are no SQL: " +
				"use INSERT, as pg_dump --inserts writes"}
		}
		if line, name := psqlCommand(sql); name != "" {
			return fault{line, rulePsql, psqlAdvice(name)}
		}
	}
	return f
}

// psqlAdvice says what a command of psql is and what to do about it.
func psqlAdvice(name string) string {
	switch name {
	case `\restrict`, `\unrestrict`:
		return fmt.Sprintf(`%s is a command of psql that pg_dump writes around its output, and not SQL: take out the lines of \restrict and \unrestrict`, name)
	case `\.`:
		return `\. ends the rows of a COPY for psql, and is not SQL: write INSERT in place of COPY and its rows, as pg_dump --inserts does`
	}
	return fmt.Sprintf("%s is a command of psql, and not SQL: take the line out", name)
}

// dollarQuoted tells whether a statement has text between dollar signs, as the file has it.
func dollarQuoted(text string) bool {
	tokens, open := sqltext.Lex(text)
	return strings.HasPrefix(open.What, "dollar") || slices.ContainsFunc(tokens, func(t sqltext.Token) bool {
		return t.Kind == sqltext.Literal && strings.HasPrefix(t.Text, "$") && t.Text != "$$$$" // which ENVSUB turns into $$
	})
}
