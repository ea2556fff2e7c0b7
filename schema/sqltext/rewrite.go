package sqltext

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Spelling is how SQL writes a place's names where they are to be put into it.
type Spelling struct {
	Ident   string // the schema, as a name
	Literal string // the schema, as a string
	Role    string // the tenant's role; empty where roles stay as they are
}

// Variables are the names as psql's variables, so that SQL fits a place of any name.
var Variables = Spelling{`:"tenant_schema"`, `:'tenant_schema'`, `:"tenant_role"`}

// Renaming puts other names where SQL speaks of a tenant's schema and role. What only happens to be called the same,
// such as a table, a column or a value, stays.
type Renaming struct {
	Schema  string
	Role    string
	Owners  []string        // roles that stand for whoever makes the objects
	Objects map[string]bool // names of what is in the schema: they tell apart where the schema is called as one of them
	To      Spelling
}

// CurrentUser stands for a role that makes the objects.
const CurrentUser = "CURRENT_USER"

// SQL is one statement, or a piece of one, with the other names in it.
func (r Renaming) SQL(sql string) string {
	if !strings.Contains(sql, r.Schema) && (r.Role == "" || !strings.Contains(sql, r.Role)) &&
		!slices.ContainsFunc(r.Owners, func(o string) bool { return strings.Contains(sql, o) }) {
		return sql
	}
	tokens, open := Lex(sql)
	if open.What != "" {
		return sql
	}
	return r.Tokens(sql, tokens)
}

// Tokens is sql for a statement whose tokens are known; sql is the text that they were cut from.
func (r Renaming) Tokens(sql string, tokens []Token) string {
	if len(tokens) == 0 {
		return ""
	}
	var roles []int
	if r.To.Role != "" {
		roles = RolePositions(tokens)
	}
	clash := r.clashes(tokens, roles)
	body, query := bodyOf(tokens), isQuery(tokens)
	var b strings.Builder
	end := tokens[0].Start
	for i, t := range tokens {
		b.WriteString(sql[end:t.Start])
		end = t.Start + len(t.Text)
		switch {
		case slices.Contains(roles, i):
			b.WriteString(r.RoleName(t))
		case t.Name() == r.Schema && r.isSchema(tokens, i, clash):
			b.WriteString(r.To.Ident)
		case t.Kind == Literal && i == body:
			b.WriteString(r.body(t.Text, clash))
		case t.Kind == Literal && inSearchPath(tokens, i):
			b.WriteString(r.whole(t.Text))
		case t.Kind == Literal:
			text := r.registered(tokens, i)
			if text == t.Text && query {
				text = r.body(text, true) // such as the query that ts_stat is given
			}
			b.WriteString(text)
		default:
			b.WriteString(t.Text)
		}
	}
	return b.String()
}

func (r Renaming) RoleName(t Token) string {
	switch name := t.Name(); {
	case name == r.Role && name != "":
		return r.To.Role
	case slices.Contains(r.Owners, name):
		return CurrentUser
	}
	return t.Text
}

// clashes tells whether something else in the statement has the schema's name, such as a table's alias.
func (r Renaming) clashes(tokens []Token, roles []int) bool {
	if r.Objects[r.Schema] {
		return true
	}
	for i, t := range tokens {
		if t.Name() == r.Schema && !IsAt(tokens, i+1, ".") && !IsAt(tokens, i-1, ".") && !slices.Contains(roles, i) && !(i > 0 && tokens[i-1].Is("schema")) {
			return true
		}
	}
	return false
}

// isSchema tells whether a token with the schema's name is the schema.
func (r Renaming) isSchema(tokens []Token, i int, clash bool) bool {
	switch {
	case i > 0 && tokens[i-1].Is("schema"):
		return true
	case IsAt(tokens, i-1, ".") || !IsAt(tokens, i+1, ".") || i+2 >= len(tokens):
		return false
	}
	return !clash || r.Objects[tokens[i+2].Name()] || i > 1 && tokens[i-2].Is("operator")
}

func IsAt(tokens []Token, i int, text string) bool {
	return i >= 0 && i < len(tokens) && tokens[i].Kind == Symbol && tokens[i].Text == text
}

// RolePositions are the tokens that name roles in a statement about rights.
func RolePositions(tokens []Token) []int {
	policy := Begins(tokens, "create", "policy")
	if !policy && !Begins(tokens, "grant") && !Begins(tokens, "revoke") && !Begins(tokens, "alter", "default", "privileges") {
		return nil
	}
	var positions []int
	depth, listing := 0, false
	for i := 1; i < len(tokens); i++ {
		t := tokens[i]
		switch {
		case t.Text == "(" && t.Kind == Symbol:
			depth++
		case t.Text == ")" && t.Kind == Symbol:
			depth--
		case depth > 0:
		case t.Is("to") || !policy && (t.Is("from") || t.Is("by") && tokens[i-1].Is("granted") || t.Is("role") && tokens[i-1].Is("for")):
			listing = true
		case listing && t.Name() != "" && !t.Is("public"):
			positions = append(positions, i)
			listing = IsAt(tokens, i+1, ",")
		case !IsAt(tokens, i, ","):
			listing = false
		}
	}
	return positions
}

// bodyOf is the token that is a routine's body, -1 where there is none.
func bodyOf(tokens []Token) int {
	if !MakesRoutine(tokens) {
		return -1
	}
	for i := len(tokens) - 1; i > 0; i-- {
		if tokens[i].Kind == Literal && tokens[i-1].Is("as") {
			return i
		}
	}
	return -1
}

// isQuery tells whether a statement is a view's, or a view's query alone. A text in it that names an object of the schema with
// the schema's name in front means that object.
func isQuery(tokens []Token) bool {
	if Begins(tokens, "select") || Begins(tokens, "with") {
		return true
	}
	for i := 1; i < min(len(tokens), 6) && Begins(tokens, "create"); i++ {
		if tokens[i].Is("view") {
			return true
		}
	}
	return false
}

// inSearchPath tells whether a token stands in SET search_path TO 'one', 'other'.
func inSearchPath(tokens []Token, i int) bool {
	for i--; i > 1; i-- {
		switch {
		case tokens[i].Kind == Literal || IsAt(tokens, i, ","):
		case tokens[i].Is("to") || IsAt(tokens, i, "="):
			return tokens[i-1].Name() == "search_path"
		default:
			return false
		}
	}
	return false
}

// whole is a literal, or the schema where it is all that the literal says.
func (r Renaming) whole(text string) string {
	if content, ok := Unquote(text); ok && content == r.Schema {
		return r.To.Literal
	}
	return text
}

// registered is a literal, with the other name where it is of a type that stands for an object, such as
// 'schema.orders_id_seq'::regclass. The name is quoted in it, so that any other fits there too.
func (r Renaming) registered(tokens []Token, i int) string {
	text := tokens[i].Text
	if !IsAt(tokens, i+1, ":") || !IsAt(tokens, i+2, ":") || i+3 >= len(tokens) || !strings.HasPrefix(tokens[i+3].Name(), "reg") {
		return text
	}
	content, ok := Unquote(text)
	if !ok {
		return text
	}
	within, _ := Lex(content)
	var cuts []cut
	for j, t := range within {
		if t.Name() == r.Schema && (IsAt(within, j+1, ".") && !IsAt(within, j-1, ".") || tokens[i+3].Is("regnamespace")) {
			cuts = append(cuts, cut{t.Start, t.Start + len(t.Text)})
		}
	}
	quotes := `"`
	if strings.HasPrefix(content, "{") {
		quotes = "" // in an array, quotes would need an escape
	}
	return r.splice(text, content, cuts, quotes)
}

// body is a routine's body, with the other name wherever the schema's stands in it as a word of its own.
func (r Renaming) body(text string, clash bool) string {
	content, ok := Unquote(text)
	if !ok {
		return text
	}
	var cuts []cut
	for from := 0; ; {
		i := strings.Index(content[from:], r.Schema)
		if i < 0 {
			break
		}
		start, end := from+i, from+i+len(r.Schema)
		from = end
		if before, _ := utf8.DecodeLastRuneInString(content[:start]); start > 0 && InName(before) {
			continue
		}
		if after, _ := utf8.DecodeRuneInString(content[end:]); end < len(content) && InName(after) {
			continue
		}
		if clash && !r.qualifies(content[end:]) {
			continue
		}
		cuts = append(cuts, cut{start, end})
	}
	return r.splice(text, content, cuts, "")
}

func InName(c rune) bool { return isNameStart(c) || IsDigit(c) || c == '$' }

// qualifies tells whether what follows the schema's name in a body is an object of the schema.
func (r Renaming) qualifies(rest string) bool {
	rest, found := strings.CutPrefix(strings.TrimPrefix(rest, `"`), ".")
	tokens, _ := Lex(rest)
	return found && len(tokens) > 0 && r.Objects[tokens[0].Name()]
}

// cut is a piece of a text, from a byte to before another.
type cut struct{ from, to int }

// splice is the literal text with the other name in place of pieces of its content: several literals, each on a line
// of its own, which SQL takes for one.
func (r Renaming) splice(text, content string, cuts []cut, quotes string) string {
	if len(cuts) == 0 {
		return text
	}
	var parts []string
	end, piece := 0, ""
	flush := func() {
		if piece != "" {
			parts = append(parts, "'"+strings.ReplaceAll(piece, "'", "''")+"'")
		}
	}
	for _, c := range cuts {
		piece += content[end:c.from] + quotes
		flush()
		parts = append(parts, r.To.Literal)
		end, piece = c.to, quotes
	}
	piece += content[end:]
	flush()
	return strings.Join(parts, "\n")
}

// Unquote is what a literal says; false where it says it by escapes that are not read here.
func Unquote(text string) (string, bool) {
	if tag := ""; strings.HasPrefix(text, "$") {
		tag = DollarTag(text)
		return text[len(tag) : len(text)-len(tag)], tag != ""
	}
	escapes := !strings.HasPrefix(text, "'")
	if escapes {
		text = text[1:]
	}
	content := strings.ReplaceAll(text[1:len(text)-1], "''", "'")
	if !escapes || !strings.Contains(content, `\`) {
		return content, true
	}
	var b strings.Builder
	for i := 0; i < len(content); i++ {
		if content[i] == '\\' {
			if i++; i == len(content) || content[i] != '\\' && content[i] != '\'' {
				return "", false
			}
		}
		b.WriteByte(content[i])
	}
	return b.String(), true
}

// FillIn puts names in the place of the variables.
func FillIn(sql string, to Spelling) string {
	if !strings.Contains(sql, "tenant_") {
		return sql
	}
	tokens, _ := Lex(sql)
	var b strings.Builder
	end := 0
	for i, t := range tokens {
		if t.Kind != Quoted && t.Kind != Literal || !variableAfter(sql[:t.Start]) {
			continue
		}
		value := ""
		switch t.Text {
		case `"tenant_schema"`:
			value = to.Ident
		case `'tenant_schema'`:
			value = to.Literal
		case `"tenant_role"`:
			value = to.Role
		default:
			continue
		}
		b.WriteString(sql[end:tokens[i-1].Start])
		b.WriteString(value)
		end = t.Start + len(t.Text)
	}
	return b.String() + sql[end:]
}

// variableAfter tells whether a variable can follow: two colons are a cast.
func variableAfter(before string) bool {
	return (len(before)-len(strings.TrimRight(before, ":")))%2 == 1
}

// SpeaksOfRole tells whether a statement with variables in it names the tenant's role.
func SpeaksOfRole(sql string) bool {
	return FillIn(sql, Spelling{Role: "\x00"}) != FillIn(sql, Spelling{})
}
