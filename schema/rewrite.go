package schema

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// spelling is how SQL writes a place's names where they are to be put into it.
type spelling struct {
	ident   string // the schema, as a name
	literal string // the schema, as a string
	role    string // the tenant's role; empty where roles stay as they are
}

// variables are the names as psql's variables, so that SQL fits a place of any name.
var variables = spelling{`:"tenant_schema"`, `:'tenant_schema'`, `:"tenant_role"`}

// renaming puts other names where SQL speaks of a tenant's schema and role. What only happens to be called the same,
// such as a table, a column or a value, stays.
type renaming struct {
	schema  string
	role    string
	owners  []string        // roles that stand for whoever makes the objects
	objects map[string]bool // names of what is in the schema: they tell apart where the schema is called as one of them
	to      spelling
}

// owner stands for a role that makes the objects.
const owner = "CURRENT_USER"

// sql is one statement, or a piece of one, with the other names in it.
func (r renaming) sql(sql string) string {
	if !strings.Contains(sql, r.schema) && (r.role == "" || !strings.Contains(sql, r.role)) &&
		!slices.ContainsFunc(r.owners, func(o string) bool { return strings.Contains(sql, o) }) {
		return sql
	}
	tokens, open := lex(sql)
	if open.what != "" {
		return sql
	}
	return r.tokens(sql, tokens)
}

// tokens is sql for a statement whose tokens are known; sql is the text that they were cut from.
func (r renaming) tokens(sql string, tokens []token) string {
	if len(tokens) == 0 {
		return ""
	}
	var roles []int
	if r.to.role != "" {
		roles = rolePositions(tokens)
	}
	clash := r.clashes(tokens, roles)
	body, query := bodyOf(tokens), isQuery(tokens)
	var b strings.Builder
	end := tokens[0].start
	for i, t := range tokens {
		b.WriteString(sql[end:t.start])
		end = t.start + len(t.text)
		switch {
		case slices.Contains(roles, i):
			b.WriteString(r.roleName(t))
		case t.name() == r.schema && r.isSchema(tokens, i, clash):
			b.WriteString(r.to.ident)
		case t.kind == literal && i == body:
			b.WriteString(r.body(t.text, clash))
		case t.kind == literal && inSearchPath(tokens, i):
			b.WriteString(r.whole(t.text))
		case t.kind == literal:
			text := r.registered(tokens, i)
			if text == t.text && query {
				text = r.body(text, true) // such as the query that ts_stat is given
			}
			b.WriteString(text)
		default:
			b.WriteString(t.text)
		}
	}
	return b.String()
}

func (r renaming) roleName(t token) string {
	switch name := t.name(); {
	case name == r.role && name != "":
		return r.to.role
	case slices.Contains(r.owners, name):
		return owner
	}
	return t.text
}

// clashes tells whether something else in the statement has the schema's name, such as a table's alias.
func (r renaming) clashes(tokens []token, roles []int) bool {
	if r.objects[r.schema] {
		return true
	}
	for i, t := range tokens {
		if t.name() == r.schema && !at(tokens, i+1, ".") && !at(tokens, i-1, ".") && !slices.Contains(roles, i) && !(i > 0 && tokens[i-1].is("schema")) {
			return true
		}
	}
	return false
}

// isSchema tells whether a token with the schema's name is the schema.
func (r renaming) isSchema(tokens []token, i int, clash bool) bool {
	switch {
	case i > 0 && tokens[i-1].is("schema"):
		return true
	case at(tokens, i-1, ".") || !at(tokens, i+1, ".") || i+2 >= len(tokens):
		return false
	}
	return !clash || r.objects[tokens[i+2].name()] || i > 1 && tokens[i-2].is("operator")
}

func at(tokens []token, i int, text string) bool {
	return i >= 0 && i < len(tokens) && tokens[i].kind == symbol && tokens[i].text == text
}

// rolePositions are the tokens that name roles in a statement about rights.
func rolePositions(tokens []token) []int {
	policy := begins(tokens, "create", "policy")
	if !policy && !begins(tokens, "grant") && !begins(tokens, "revoke") && !begins(tokens, "alter", "default", "privileges") {
		return nil
	}
	var positions []int
	depth, listing := 0, false
	for i := 1; i < len(tokens); i++ {
		t := tokens[i]
		switch {
		case t.text == "(" && t.kind == symbol:
			depth++
		case t.text == ")" && t.kind == symbol:
			depth--
		case depth > 0:
		case t.is("to") || !policy && (t.is("from") || t.is("by") && tokens[i-1].is("granted") || t.is("role") && tokens[i-1].is("for")):
			listing = true
		case listing && t.name() != "" && !t.is("public"):
			positions = append(positions, i)
			listing = at(tokens, i+1, ",")
		case !at(tokens, i, ","):
			listing = false
		}
	}
	return positions
}

// bodyOf is the token that is a routine's body, -1 where there is none.
func bodyOf(tokens []token) int {
	if !makesRoutine(tokens) {
		return -1
	}
	for i := len(tokens) - 1; i > 0; i-- {
		if tokens[i].kind == literal && tokens[i-1].is("as") {
			return i
		}
	}
	return -1
}

// isQuery tells whether a statement is a view's, or a view's query alone. A text in it that names an object of the schema with
// the schema's name in front means that object.
func isQuery(tokens []token) bool {
	if begins(tokens, "select") || begins(tokens, "with") {
		return true
	}
	for i := 1; i < min(len(tokens), 6) && begins(tokens, "create"); i++ {
		if tokens[i].is("view") {
			return true
		}
	}
	return false
}

// inSearchPath tells whether a token stands in SET search_path TO 'one', 'other'.
func inSearchPath(tokens []token, i int) bool {
	for i--; i > 1; i-- {
		switch {
		case tokens[i].kind == literal || at(tokens, i, ","):
		case tokens[i].is("to") || at(tokens, i, "="):
			return tokens[i-1].name() == "search_path"
		default:
			return false
		}
	}
	return false
}

// whole is a literal, or the schema where it is all that the literal says.
func (r renaming) whole(text string) string {
	if content, ok := unquote(text); ok && content == r.schema {
		return r.to.literal
	}
	return text
}

// registered is a literal, with the other name where it is of a type that stands for an object, such as
// 'schema.orders_id_seq'::regclass. The name is quoted in it, so that any other fits there too.
func (r renaming) registered(tokens []token, i int) string {
	text := tokens[i].text
	if !at(tokens, i+1, ":") || !at(tokens, i+2, ":") || i+3 >= len(tokens) || !strings.HasPrefix(tokens[i+3].name(), "reg") {
		return text
	}
	content, ok := unquote(text)
	if !ok {
		return text
	}
	within, _ := lex(content)
	var cuts []cut
	for j, t := range within {
		if t.name() == r.schema && (at(within, j+1, ".") && !at(within, j-1, ".") || tokens[i+3].is("regnamespace")) {
			cuts = append(cuts, cut{t.start, t.start + len(t.text)})
		}
	}
	quotes := `"`
	if strings.HasPrefix(content, "{") {
		quotes = "" // in an array, quotes would need an escape
	}
	return r.splice(text, content, cuts, quotes)
}

// body is a routine's body, with the other name wherever the schema's stands in it as a word of its own.
func (r renaming) body(text string, clash bool) string {
	content, ok := unquote(text)
	if !ok {
		return text
	}
	var cuts []cut
	for from := 0; ; {
		i := strings.Index(content[from:], r.schema)
		if i < 0 {
			break
		}
		start, end := from+i, from+i+len(r.schema)
		from = end
		if before, _ := utf8.DecodeLastRuneInString(content[:start]); start > 0 && inName(before) {
			continue
		}
		if after, _ := utf8.DecodeRuneInString(content[end:]); end < len(content) && inName(after) {
			continue
		}
		if clash && !r.qualifies(content[end:]) {
			continue
		}
		cuts = append(cuts, cut{start, end})
	}
	return r.splice(text, content, cuts, "")
}

func inName(c rune) bool { return isNameStart(c) || isDigit(c) || c == '$' }

// qualifies tells whether what follows the schema's name in a body is an object of the schema.
func (r renaming) qualifies(rest string) bool {
	rest, found := strings.CutPrefix(strings.TrimPrefix(rest, `"`), ".")
	tokens, _ := lex(rest)
	return found && len(tokens) > 0 && r.objects[tokens[0].name()]
}

// cut is a piece of a text, from a byte to before another.
type cut struct{ from, to int }

// splice is the literal text with the other name in place of pieces of its content: several literals, each on a line
// of its own, which SQL takes for one.
func (r renaming) splice(text, content string, cuts []cut, quotes string) string {
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
		parts = append(parts, r.to.literal)
		end, piece = c.to, quotes
	}
	piece += content[end:]
	flush()
	return strings.Join(parts, "\n")
}

// unquote is what a literal says; false where it says it by escapes that are not read here.
func unquote(text string) (string, bool) {
	if tag := ""; strings.HasPrefix(text, "$") {
		tag = dollarTag(text)
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

// fill puts names in the place of the variables.
func fill(sql string, to spelling) string {
	if !strings.Contains(sql, "tenant_") {
		return sql
	}
	tokens, _ := lex(sql)
	var b strings.Builder
	end := 0
	for i, t := range tokens {
		if t.kind != quoted && t.kind != literal || !variableAfter(sql[:t.start]) {
			continue
		}
		value := ""
		switch t.text {
		case `"tenant_schema"`:
			value = to.ident
		case `'tenant_schema'`:
			value = to.literal
		case `"tenant_role"`:
			value = to.role
		default:
			continue
		}
		b.WriteString(sql[end:tokens[i-1].start])
		b.WriteString(value)
		end = t.start + len(t.text)
	}
	return b.String() + sql[end:]
}

// variableAfter tells whether a variable can follow: two colons are a cast.
func variableAfter(before string) bool {
	return (len(before)-len(strings.TrimRight(before, ":")))%2 == 1
}

// speaksOfRole tells whether a statement with variables in it names the tenant's role.
func speaksOfRole(sql string) bool { return fill(sql, spelling{role: "\x00"}) != fill(sql, spelling{}) }
