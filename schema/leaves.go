package schema

import (
	"regexp"
	"slices"
	"strings"
)

// remains is what work for a tenant may have left in the session: settings, a role, temporary and prepared objects,
// locks, cursors, channels listened to.
type remains int

const (
	nothing   remains = iota // it is certain that there is nothing
	something                // DISCARD ALL takes it away
	lasting                  // what lasts as long as the session, such as settings that only a file knows of
)

// ownOperators are those by which a plain statement would run code of the files'.
var ownOperators = regexp.MustCompile(`(?i)operator|event\s+trigger`)

// left is what a statement visibly leaves in its session after its transaction.
type left struct {
	what    string // as a person knows it, such as "SET timezone"; empty where nothing is seen
	setting bool   // it is a setting, which the same statement makes again in another session
}

// leftBy looks at one SQL statement. What the functions do that it calls is not seen.
func leftBy(sql []token) left {
	switch {
	case begins(sql, "set", "local"), begins(sql, "set", "transaction"), begins(sql, "set", "constraints"):
		return left{}
	case begins(sql, "set"), begins(sql, "reset"):
		return left{strings.ToUpper(sql[0].text) + " " + settingOf(sql), true}
	case begins(sql, "prepare") && !begins(sql, "prepare", "transaction"), begins(sql, "listen"), begins(sql, "load"):
		return left{what: strings.ToUpper(sql[0].text)}
	case begins(sql, "declare") && follows(sql, "with", "hold"):
		return left{what: "a cursor WITH HOLD"}
	case begins(sql, "do"):
		return left{what: leftByBlock(sql)}
	case makesRoutine(sql) && !follows(sql, "function", "pg_temp"):
		return left{} // what is in its body runs later
	case begins(sql, "select", "set_config"), begins(sql, "select", "pg_catalog", ".", "set_config"):
		if what := leftByCalls(sql); what != "" {
			return left{what, true}
		}
	}
	return left{what: leftByCalls(sql)}
}

// settingOf is the name that SET or RESET is about.
func settingOf(sql []token) string {
	rest := sql[1:]
	if begins(rest, "local") || begins(rest, "session") && !begins(rest, "session", "authorization") {
		rest = rest[1:]
	}
	if begins(rest, "session", "authorization") {
		return "SESSION AUTHORIZATION"
	}
	var name strings.Builder
	for i, t := range rest {
		if t.text == "=" || t.is("to") || i > 0 && t.text != "." && rest[i-1].text != "." {
			break
		}
		name.WriteString(t.text)
	}
	return name.String()
}

// follows tells whether key words stand beside each other anywhere in a statement.
func follows(sql []token, keys ...string) bool {
	return slices.ContainsFunc(positions(sql), func(i int) bool { return begins(sql[i:], keys...) })
}

func positions(sql []token) []int {
	all := make([]int, len(sql))
	for i := range all {
		all[i] = i
	}
	return all
}

// leftByBlock looks at the code of a DO, which runs at once.
func leftByBlock(sql []token) string {
	for _, t := range sql {
		if t.kind != literal {
			continue
		}
		body := strings.Trim(t.text, "'")
		if tag := dollarTag(t.text); tag != "" {
			body = strings.TrimSuffix(strings.TrimPrefix(t.text, tag), tag)
		}
		tokens, _ := lex(body)
		if what := leftByCalls(tokens); what != "" {
			return what
		}
	}
	return ""
}

// sessionLocks are functions whose locks last as long as the session.
var sessionLocks = []string{"pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared"}

// leftByCalls looks for what is made for a session, wherever it stands.
func leftByCalls(sql []token) string {
	for i, t := range sql {
		called := i+1 < len(sql) && sql[i+1].text == "("
		switch {
		case t.is("pg_temp"):
			return "an object in pg_temp"
		case (t.is("temp") || t.is("temporary")) && i > 0 && slices.ContainsFunc([]string{"create", "replace", "local", "global", "into"}, sql[i-1].is) &&
			!follows(sql[i:], "on", "commit", "drop"):
			return "a temporary object"
		case called && slices.ContainsFunc(sessionLocks, t.is):
			return strings.ToLower(t.text) + "()"
		case called && t.is("set_config") && !localConfig(sql[i+2:]):
			return "set_config(.., false)"
		}
	}
	return ""
}

// localConfig tells whether the arguments of set_config end with true.
func localConfig(args []token) bool {
	depth := 0
	for i, t := range args {
		switch {
		case t.text == "(":
			depth++
		case t.text == ")" && depth == 0:
			return i > 1 && args[i-1].is("true") && args[i-2].text == ","
		case t.text == ")":
			depth--
		}
	}
	return false
}

// leftBy is what a stage's statements leave, the first of them that leaves anything, by its number from 0.
func (p program) leftBy(matters func(left) bool) (at int, what string) {
	for i, s := range p.statements {
		tokens, _ := lex(s.sql)
		for _, sql := range split(tokens) {
			if l := leftBy(sql); l.what != "" && matters(l) {
				return i, l.what
			}
		}
	}
	return 0, ""
}

// lastingText is text that may do to a session what DISCARD ALL does not undo: a setting of one's own is ” afterwards
// and not NULL; code of other languages keeps values; named connections stay; and functions of other schemas may do
// any of it.
var (
	lastingText = regexp.MustCompile(`(?i)set_config|\bset\s+(local\s+|session\s+)?"?[a-z_]\w*"?\s*\.|\bdblink|\bload\b|\bsetseed\b|\bpl(perl|python|tcl|v8)`)
	calledIn    = regexp.MustCompile(`(?i)\b([a-z_]\w*)"?\s*\.\s*"?[a-z_]\w*"?\s*\(`)
)

// leavesIn is what code leaves in a session at most.
func leavesIn(code string) remains {
	if lastingText.MatchString(code) {
		return lasting
	}
	for _, m := range calledIn.FindAllStringSubmatch(code, -1) {
		if !strings.EqualFold(m[1], "pg_catalog") && !strings.EqualFold(m[1], "pg_temp") {
			return lasting
		}
	}
	return something
}

// look looks once at what the files may do, since a run asks for it for each tenant.
func (f *files) look() {
	f.looking.Do(func() {
		f.left = something
		for _, m := range f.list {
			f.apart = f.apart || m.outside || !m.up.plain || !m.down.plain
			f.operators = f.operators || ownOperators.Match(m.content)
			if leavesIn(string(m.content)) == lasting {
				f.left = lasting
			}
		}
	})
}

// leaves is what the files leave in a session at most: one may call what another has made.
func (f *files) leaves() remains {
	f.look()
	return f.left
}
