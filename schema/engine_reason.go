package schema

import (
	"cmp"
	"regexp"
	"strings"
	"unicode"
)

// colours are what programs write for terminals.
var colours = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)

// aside matches lines that come after the reason of a failure: where in a statement or a program it was, hints, and where to
// read more.
var aside = regexp.MustCompile(`^(?:` + strings.Join([]string{
	`LINE \d+:`, `(?:DETAIL|HINT|CONTEXT|QUERY|STATEMENT|LOCATION|SCHEMA NAME|TABLE NAME|CONSTRAINT NAME):`, `(?i:position: ?\d+)`, // PostgreSQL
	`\[(?:SQL|parameters): `, `\(Background on this error`, // SQLAlchemy
	`Tasks: TOP`, `\(See full trace`, `(?:from )?\S+:\d+:in `, // Ruby
	`at \S+.*[:)]\d*\)?$`, `\.\.\. \d+ more`, `Node\.js v\d`, `npm (?:ERR!|error) (?:A complete log|/)`, // Java, JavaScript
	`File ".*", line \d+`, `goroutine \d+ \[`, `exit status \d+$`, // Python, Go
	`(?i:(?:for more|see|try|run|use) .*(?:--help|--trace|--stacktrace|-X|-v|-h)\b)`,
}, "|") + `)`)

// lastLine is the last line that gives a reason, shortened; where none does, the last that is not blank.
func lastLine(said string) string {
	const most = 200
	var reason, last string
	within := false // what SQLAlchemy shows of a statement, over several lines
	for line := range strings.Lines(colours.ReplaceAllString(said, "")) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		last = line
		within = within || strings.HasPrefix(line, "[SQL:") || strings.HasPrefix(line, "[parameters:")
		if !within && strings.ContainsFunc(line, unicode.IsLetter) && !aside.MatchString(line) {
			reason = line
		}
		within = within && !strings.HasSuffix(line, "]")
	}
	reason = cmp.Or(reason, last)
	if r := []rune(reason); len(r) > most {
		reason = string(r[:most]) + "…"
	}
	return reason
}
