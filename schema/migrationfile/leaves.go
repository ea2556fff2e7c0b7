package migrationfile

import (
	"regexp"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/schema/sqltext"
)

// Residue is what work for a tenant may have left in the session: settings, a role, temporary and prepared objects,
// locks, cursors, channels listened to.
type Residue int

const (
	Nothing     Residue = iota // it is certain that there is nothing
	Discardable                // DISCARD ALL takes it away
	Lasting                    // what lasts as long as the session, such as settings that only a file knows of
)

// ownOperators are those by which a plain statement would run code of the files'.
var ownOperators = regexp.MustCompile(`(?i)operator|event\s+trigger`)

// Left is what a statement visibly leaves in its session after its transaction.
type Left struct {
	What    string // as a person knows it, such as "SET timezone"; empty where nothing is seen
	Setting bool   // it is a setting, which the same statement makes again in another session
}

// LeftBy looks at one SQL statement. What the functions do that it calls is not seen.
func LeftBy(sql []sqltext.Token) Left {
	switch {
	case sqltext.Begins(sql, "set", "local"), sqltext.Begins(sql, "set", "transaction"), sqltext.Begins(sql, "set", "constraints"):
		return Left{}
	case sqltext.Begins(sql, "set"), sqltext.Begins(sql, "reset"):
		return Left{strings.ToUpper(sql[0].Text) + " " + settingOf(sql), true}
	case sqltext.Begins(sql, "prepare") && !sqltext.Begins(sql, "prepare", "transaction"), sqltext.Begins(sql, "listen"), sqltext.Begins(sql, "load"):
		return Left{What: strings.ToUpper(sql[0].Text)}
	case sqltext.Begins(sql, "declare") && follows(sql, "with", "hold"):
		return Left{What: "a cursor WITH HOLD"}
	case sqltext.Begins(sql, "do"):
		return Left{What: leftByBlock(sql)}
	case sqltext.MakesRoutine(sql) && !follows(sql, "function", "pg_temp"):
		return Left{} // what is in its body runs later
	case sqltext.Begins(sql, "select", "set_config"), sqltext.Begins(sql, "select", "pg_catalog", ".", "set_config"):
		if what := leftByCalls(sql); what != "" {
			return Left{what, true}
		}
	}
	return Left{What: leftByCalls(sql)}
}

// settingOf is the name that SET or RESET is about.
func settingOf(sql []sqltext.Token) string {
	rest := sql[1:]
	if sqltext.Begins(rest, "local") || sqltext.Begins(rest, "session") && !sqltext.Begins(rest, "session", "authorization") {
		rest = rest[1:]
	}
	if sqltext.Begins(rest, "session", "authorization") {
		return "SESSION AUTHORIZATION"
	}
	var name strings.Builder
	for i, t := range rest {
		if t.Text == "=" || t.Is("to") || i > 0 && t.Text != "." && rest[i-1].Text != "." {
			break
		}
		name.WriteString(t.Text)
	}
	return name.String()
}

// follows tells whether key words stand beside each other anywhere in a statement.
func follows(sql []sqltext.Token, keys ...string) bool {
	return slices.ContainsFunc(positions(sql), func(i int) bool { return sqltext.Begins(sql[i:], keys...) })
}

func positions(sql []sqltext.Token) []int {
	all := make([]int, len(sql))
	for i := range all {
		all[i] = i
	}
	return all
}

// leftByBlock looks at the code of a DO, which runs at once.
func leftByBlock(sql []sqltext.Token) string {
	for _, t := range sql {
		if t.Kind != sqltext.Literal {
			continue
		}
		body := strings.Trim(t.Text, "'")
		if tag := sqltext.DollarTag(t.Text); tag != "" {
			body = strings.TrimSuffix(strings.TrimPrefix(t.Text, tag), tag)
		}
		tokens, _ := sqltext.Lex(body)
		if what := leftByCalls(tokens); what != "" {
			return what
		}
	}
	return ""
}

// sessionLocks are functions whose locks last as long as the session.
var sessionLocks = []string{"pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared"}

// leftByCalls looks for what is made for a session, wherever it stands.
func leftByCalls(sql []sqltext.Token) string {
	for i, t := range sql {
		called := i+1 < len(sql) && sql[i+1].Text == "("
		switch {
		case t.Is("pg_temp"):
			return "an object in pg_temp"
		case (t.Is("temp") || t.Is("temporary")) && i > 0 && slices.ContainsFunc([]string{"create", "replace", "local", "global", "into"}, sql[i-1].Is) &&
			!follows(sql[i:], "on", "commit", "drop"):
			return "a temporary object"
		case called && slices.ContainsFunc(sessionLocks, t.Is):
			return strings.ToLower(t.Text) + "()"
		case called && t.Is("set_config") && !localConfig(sql[i+2:]):
			return "set_config(.., false)"
		}
	}
	return ""
}

// localConfig tells whether the arguments of set_config end with true.
func localConfig(args []sqltext.Token) bool {
	depth := 0
	for i, t := range args {
		switch {
		case t.Text == "(":
			depth++
		case t.Text == ")" && depth == 0:
			return i > 1 && args[i-1].Is("true") && args[i-2].Text == ","
		case t.Text == ")":
			depth--
		}
	}
	return false
}

// LeftBy is what a stage's statements leave, the first of them that leaves anything, by its number from 0.
func (p Program) LeftBy(matters func(Left) bool) (at int, what string) {
	for i, s := range p.Statements {
		tokens, _ := sqltext.Lex(s.SQL)
		for _, sql := range sqltext.Split(tokens) {
			if l := LeftBy(sql); l.What != "" && matters(l) {
				return i, l.What
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

// LeavesIn is what code leaves in a session at most.
func LeavesIn(code string) Residue {
	if lastingText.MatchString(code) {
		return Lasting
	}
	for _, m := range calledIn.FindAllStringSubmatch(code, -1) {
		if !strings.EqualFold(m[1], "pg_catalog") && !strings.EqualFold(m[1], "pg_temp") {
			return Lasting
		}
	}
	return Discardable
}

// Look looks once at what the files may do, since a run asks for it for each tenant.
func (f *Set) Look() {
	f.looking.Do(func() {
		f.left = Discardable
		for _, m := range f.List {
			f.NeedsSession = f.NeedsSession || m.NoTransaction || !m.Up.Plain || !m.Down.Plain
			f.Operators = f.Operators || ownOperators.Match(m.Content)
			if LeavesIn(string(m.Content)) == Lasting {
				f.left = Lasting
			}
		}
	})
}

// Leaves is what the files leave in a session at most: one may call what another has made.
func (f *Set) Leaves() Residue {
	f.Look()
	return f.left
}
