package migrationfile

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

// ignore is a comment that silences rules: -- tenantctl:ignore RULE[,RULE] reason, for the statement that it stands
// in or before, or -- tenantctl:ignore-file RULE[,RULE] reason.
type ignore struct {
	line     int
	rules    []string
	file     bool
	from, to int // the lines it is for
}

var ignoreComment = regexp.MustCompile(`--\s*tenantctl:(ignore-file|ignore)\b[ \t]*(.*)`)

// span is where a statement stands in its file.
type span struct{ from, to int }

// ignoresIn finds the comments of a file, and what is wrong with them. statements are where its statements stand.
func ignoresIn(path string, content []byte, statements []span) ([]*ignore, []tenant.Finding) {
	var all []*ignore
	var findings []tenant.Finding
	for i, text := range strings.Split(string(content), "\n") {
		found := ignoreComment.FindStringSubmatch(text)
		if found == nil {
			continue
		}
		line := i + 1
		c := &ignore{line: line, file: found[1] == "ignore-file", from: line, to: line}
		names, _, _ := strings.Cut(strings.TrimSpace(found[2]), " ")
		for _, id := range strings.Split(names, ",") {
			if !canIgnore(id) {
				findings = append(findings, finding(path, line, ruleUnknownIgnore, notIgnorable(id)))
				continue
			}
			c.rules = append(c.rules, id)
		}
		if j := slices.IndexFunc(statements, func(s span) bool { return s.to >= line }); j >= 0 {
			c.from, c.to = min(line, statements[j].from), statements[j].to
		}
		all = append(all, c)
	}
	return all, findings
}

func notIgnorable(id string) string {
	switch _, known := rules[id]; {
	case id == "":
		return "names no rule: -- tenantctl:ignore RULE why"
	case known:
		return fmt.Sprintf("%s cannot be ignored", id)
	}
	return fmt.Sprintf("there is no rule %q: tenantctl migrate check --rules lists them", id)
}

// silence marks what the comments of a file ignore, and finds comments that ignore nothing.
func silence(path string, ignores []*ignore, findings []tenant.Finding) []tenant.Finding {
	for _, c := range ignores {
		for _, id := range c.rules {
			used := false
			for i := range findings {
				f := &findings[i]
				if f.Rule == id && (c.file || f.Line >= c.from && f.Line <= c.to) {
					f.Ignored, used = true, true
				}
			}
			if !used {
				findings = append(findings, finding(path, c.line, ruleUnusedIgnore, fmt.Sprintf("%s is not broken here: take the ignore out", id)))
			}
		}
	}
	return findings
}
