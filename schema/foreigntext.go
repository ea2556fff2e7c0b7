package schema

import (
	"fmt"
	"slices"
	"strings"
)

// psqlCommand finds a command of psql among tokens, which begins with a backslash at the beginning of a line.
func psqlCommand(tokens []token) (line int, name string) {
	for i, t := range tokens {
		if t.text != `\` || i > 0 && tokens[i-1].line == t.line {
			continue
		}
		if i+1 < len(tokens) && tokens[i+1].line == t.line {
			name = tokens[i+1].text
		}
		return t.line, `\` + name
	}
	return 0, ""
}

// copiesIn tells whether a statement takes rows from its client, which in a migration has none to give.
func copiesIn(sql []token) bool {
	return begins(sql, "copy") && slices.ContainsFunc(sql, func(t token) bool { return t.is("stdin") })
}

// foreignText finds what is no SQL of a migration: commands of psql, and COPY with its rows, both as pg_dump writes them.
// There is none where the fault has no message.
func foreignText(tokens []token) (f fault) {
	for _, sql := range split(tokens) {
		if copiesIn(sql) {
			return fault{sql[0].line, ruleCopy, "COPY FROM STDIN has no input in a migration, and the rows below it, down to \\., are no SQL: " +
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
	tokens, open := lex(text)
	return strings.HasPrefix(open.what, "dollar") || slices.ContainsFunc(tokens, func(t token) bool {
		return t.kind == literal && strings.HasPrefix(t.text, "$") && t.text != "$$$$" // which ENVSUB turns into $$
	})
}
