package schema

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// A backup is read from a store in which others may write. Its SQL is run only where it is what a dump writes: each
// statement has one of the forms of a dump, is about an object of the tenant's own schema, and reaches the server in a
// message that holds exactly one statement by the server's own reading.

// admitted are statements of a part that were found to be of a dump.
type admitted struct {
	commands  []command
	languages map[string]sqlStatement // of routines, with the first that is in it
}

// accessMethod begins the only setting of a dump that is not made for every transaction.
const accessMethod = "SET LOCAL default_table_access_method = "

// admit reads the SQL of a part as it is to be run, and refuses all of it where one statement is none of a dump's.
func admit(path string, all []sqlStatement, to sqltext.Spelling, schema string) (admitted, error) {
	out := admitted{languages: map[string]sqlStatement{}}
	for _, s := range all {
		m, why := readStatement(sqltext.FillIn(s.text, to), schema)
		if why == "" && !m.known() {
			why = "no dump writes it, or it is about something outside the tenant's schema"
		}
		if why != "" {
			return out, forged(path, s, why)
		}
		for _, l := range m.languages() {
			if _, met := out.languages[l]; !met {
				out.languages[l] = s
			}
		}
		switch {
		case !sqltext.Begins(m.tokens, "set"):
			out.commands = append(out.commands, command{sql: m.sql, count: 1, alone: true})
		case sqltext.Begins(m.tokens, "set", "default_table_access_method"):
			out.commands = append(out.commands, command{sql: accessMethod + quote(m.tokens[3].Name()), count: 1})
		}
	}
	return out, nil
}

// trusted refuses routines in languages that can do more than the tenant's role may, whoever is asked to make them.
func (a admitted) trusted(ctx context.Context, path string, conn *pgxpool.Conn) error {
	names := slices.Sorted(maps.Keys(a.languages))
	names = slices.DeleteFunc(names, func(n string) bool { return n == "sql" || n == "plpgsql" })
	if len(names) == 0 {
		return nil
	}
	trust := map[string]bool{}
	c := cmd("SELECT lanname, lanpltrusted FROM pg_catalog.pg_language")
	c.row = func(row [][]byte) { trust[string(row[0])] = is(row[1]) }
	if err := send(ctx, conn.Conn().PgConn(), []command{c}); err != nil {
		return failure("look for languages", err)
	}
	for _, name := range names {
		if trusted, there := trust[name]; there && !trusted {
			return forged(path, a.languages[name], "a restore makes no routine in the untrusted language "+name)
		}
	}
	return nil
}

// forged refuses a part of which no dump has written a statement.
func forged(path string, s sqlStatement, why string) error {
	return &tenant.Error{
		Kind: tenant.ErrDiffers, Code: "forged", Store: tenant.KindPostgres, Statement: sqltext.Show(s.text),
		Msg:  fmt.Sprintf("part %s, line %d: %s is refused: %s", path, s.tokens[0].Line, leading(s.tokens), why),
		Hint: "nothing of the part was run; it is not as tenantctl wrote it: restore another backup, and look who can write to the place of backups",
	}
}

// leading is what a statement does, by the words that it begins with.
func leading(tokens []sqltext.Token) string {
	var words []string
	for _, t := range tokens {
		if t.Kind != sqltext.Word || len(words) == 3 {
			break
		}
		words = append(words, t.Text)
	}
	if words == nil {
		return "a statement that begins with " + sqltext.Show(tokens[0].Text)
	}
	return strings.Join(words, " ")
}

// statementReader reads one statement as it is to be run.
type statementReader struct {
	sql    string
	tokens []sqltext.Token
	schema string
}

// readStatement cuts a statement into tokens. why tells of what a dump never holds and versions of PostgreSQL read in
// different ways.
func readStatement(sql, schema string) (m statementReader, why string) {
	tokens, open := sqltext.Lex(sql)
	m = statementReader{sql, tokens, schema}
	switch {
	case open.What != "":
		return m, "a " + open.What + " does not end"
	case len(tokens) == 0 || strings.ContainsRune(sql, 0):
		return m, "it holds a NUL character"
	}
	end := 0
	for i, t := range tokens {
		if strings.Trim(sql[end:t.Start], " \t\r\n\f") != "" {
			return m, "a comment stands in it"
		}
		touches := i > 0 && t.Start == end
		end = t.Start + len(t.Text)
		switch {
		case t.Kind == sqltext.Number && (!plainNumber.MatchString(t.Text) || touches && tokens[i-1].Kind == sqltext.Number):
			return m, "a number runs into what follows it"
		case i == 0:
		case t.Kind == sqltext.Literal && (touches && tokens[i-1].Kind == sqltext.Number || tokens[i-1].Kind == sqltext.Literal && tokens[i-1].Text[0] != '\''):
			return m, "a string goes on after another"
		case touches && tokens[i-1].Text == "&" && i > 1 && tokens[i-2].Is("u") && tokens[i-2].Start+2 == t.Start && (t.Kind == sqltext.Literal || t.Kind == sqltext.Quoted):
			return m, "it writes characters by their numbers"
		}
	}
	if strings.Trim(sql[end:], " \t\r\n\f") != "" {
		return m, "a comment follows it"
	}
	return m, ""
}

// known tells whether a dump writes such a statement.
func (m statementReader) known() bool {
	first := m.tokens[0]
	return first.Kind == sqltext.Word && slices.ContainsFunc(forms[strings.ToLower(first.Text)], func(form []string) bool { return m.matches(form, 0) })
}

func (m statementReader) when(so bool, end int) int {
	if so {
		return end
	}
	return -1
}

// isWord tells whether a token is one of these key words.
func (m statementReader) isWord(i int, words ...string) bool {
	return i < len(m.tokens) && slices.ContainsFunc(words, m.tokens[i].Is)
}

func (m statementReader) isName(i int) bool { return i < len(m.tokens) && m.tokens[i].Name() != "" }

// isText tells whether a token is a string that is what it says.
func (m statementReader) isText(i int) bool {
	return i < len(m.tokens) && m.tokens[i].Kind == sqltext.Literal
}

func (m statementReader) isSchema(i int) bool {
	return i < len(m.tokens) && m.tokens[i].Text == quote(m.schema)
}

// after is the token after this one, or after the group in parentheses or brackets that it begins.
func (m statementReader) after(i int) int {
	depth := 0
	for ; i < len(m.tokens); i++ {
		switch t := m.tokens[i]; {
		case t.Kind == sqltext.Symbol && (t.Text == "(" || t.Text == "["):
			depth++
		case t.Kind == sqltext.Symbol && (t.Text == ")" || t.Text == "]"):
			depth--
		}
		if depth <= 0 {
			return i + 1
		}
	}
	return i
}

// group is a pair of parentheses with what is in it.
func (m statementReader) group(i int) int {
	if !sqltext.IsAt(m.tokens, i, "(") {
		return -1
	}
	end := m.after(i)
	return m.when(sqltext.IsAt(m.tokens, end-1, ")"), end)
}

// object is the qualified name of something in the schema.
func (m statementReader) object(i int) int {
	return m.when(m.isSchema(i) && sqltext.IsAt(m.tokens, i+1, ".") && m.isName(i+2) && !sqltext.IsAt(m.tokens, i+3, "."), i+3)
}

// column is one of a relation or type in the schema.
func (m statementReader) column(i int) int {
	return m.when(m.isSchema(i) && sqltext.IsAt(m.tokens, i+1, ".") && m.isName(i+2) && sqltext.IsAt(m.tokens, i+3, ".") && m.isName(i+4) && !sqltext.IsAt(m.tokens, i+5, "."), i+5)
}

// operator is the qualified name of an operator in the schema.
func (m statementReader) operator(i int) int {
	if !m.isSchema(i) || !sqltext.IsAt(m.tokens, i+1, ".") {
		return -1
	}
	end := i + 2
	for end < len(m.tokens) && m.tokens[end].Kind == sqltext.Symbol && strings.Contains("+-*/<>=~!@#%^&|`?", m.tokens[end].Text) {
		end++
	}
	return m.when(end > i+2, end)
}

func (m statementReader) number(i int) int {
	if sqltext.IsAt(m.tokens, i, "-") {
		i++
	}
	return m.when(i < len(m.tokens) && m.tokens[i].Kind == sqltext.Number, i+1)
}

// one is a single change: a comma outside parentheses would begin another.
func (m statementReader) one(i int) int {
	for ; i < len(m.tokens); i = m.after(i) {
		if sqltext.IsAt(m.tokens, i, ",") {
			return -1
		}
	}
	return i
}

// tableOptions follow a table's columns; AS would fill it by a query.
func (m statementReader) tableOptions(i int) int {
	for ; i < len(m.tokens); i = m.after(i) {
		if m.isWord(i, "as", "execute", "tablespace") && !sqltext.IsAt(m.tokens, i-1, ".") {
			return -1
		}
	}
	return i
}

// typeDefinition is the rest of CREATE TYPE; a range's multirange type is in the schema too.
func (m statementReader) typeDefinition(i int) int {
	return m.ownNames(i, func(j int) int {
		if m.isWord(j, "multirange_type_name") && sqltext.IsAt(m.tokens, j+1, "=") {
			return j + 2
		}
		return -1
	})
}

// identity is the rest of ADD GENERATED; the sequence is in the schema too.
func (m statementReader) identity(i int) int {
	if !m.isWord(i, "always", "by") {
		return -1
	}
	if end := m.one(i); end < 0 {
		return -1
	}
	return m.ownNames(i, func(j int) int {
		if m.isWord(j, "sequence") && m.isWord(j+1, "name") {
			return j + 2
		}
		return -1
	})
}

// ownNames is the rest of a statement in which each name that a place gives is of the schema.
func (m statementReader) ownNames(i int, place func(int) int) int {
	for ; i < len(m.tokens); i++ {
		if named := place(i); named >= 0 && m.object(named) < 0 {
			return -1
		}
	}
	return i
}

// routine is what follows a routine's arguments: its language is named as a word or as a plain string, and before the
// body. The server takes no second one after it, whatever stands in the body.
func (m statementReader) routine(i int) int {
	named := false
	for ; i < len(m.tokens) && !(named && m.beginsBody(i)); i = m.after(i) {
		if m.namesLanguage(i) {
			if named = true; m.language(i+1) == "" {
				return -1
			}
		}
	}
	return m.when(named, len(m.tokens))
}

// beginsBody tells whether the body in SQL begins, in which any word may stand.
func (m statementReader) beginsBody(i int) bool {
	return m.isWord(i, "return") || m.isWord(i, "begin") && m.isWord(i+1, "atomic")
}

func (m statementReader) namesLanguage(i int) bool {
	return m.isWord(i, "language") && !sqltext.IsAt(m.tokens, i-1, ".")
}

func (m statementReader) language(i int) string {
	if m.isText(i) {
		if name, ok := sqltext.Unquote(m.tokens[i].Text); ok {
			return strings.ToLower(name)
		}
		return ""
	}
	if m.isName(i) {
		return strings.ToLower(m.tokens[i].Name())
	}
	return ""
}

// languages are those that the statement makes a routine in.
func (m statementReader) languages() (all []string) {
	if !sqltext.MakesRoutine(m.tokens) {
		return nil
	}
	for i := 0; i < len(m.tokens) && (all == nil || !m.beginsBody(i)); i = m.after(i) {
		if m.namesLanguage(i) {
			all = append(all, m.language(i+1))
		}
	}
	return all
}

// sequenceValue is ('"schema"."name"', number, true) for setval: the name may come as several strings.
func (m statementReader) sequenceValue(i int) int {
	var name strings.Builder
	if !sqltext.IsAt(m.tokens, i, "(") {
		return -1
	}
	for i++; m.isText(i); i++ {
		content, ok := sqltext.Unquote(m.tokens[i].Text)
		if !ok {
			return -1
		}
		name.WriteString(content)
	}
	inner, open := sqltext.Lex(name.String())
	own := statementReader{name.String(), inner, m.schema}
	if open.What != "" || len(inner) != 3 || own.object(0) != 3 || own.sql != inner[0].Text+"."+inner[2].Text || !sqltext.IsAt(m.tokens, i, ",") {
		return -1
	}
	if i = m.number(i + 1); i < 0 || !sqltext.IsAt(m.tokens, i, ",") || !m.isWord(i+1, "true", "false") {
		return -1
	}
	return m.when(sqltext.IsAt(m.tokens, i+2, ")"), i+3)
}

// privileges are the words of rights on objects.
var privileges = []string{
	"all", "privileges", "select", "insert", "update", "delete", "truncate", "references", "trigger", "maintain", "usage", "create", "execute",
}

// rights are a list of rights, some of them on columns.
func (m statementReader) rights(i int) int {
	from := i
	for i < len(m.tokens) {
		switch {
		case m.isWord(i, privileges...) || sqltext.IsAt(m.tokens, i, ","):
			i++
		case sqltext.IsAt(m.tokens, i, "("):
			i = m.after(i)
		default:
			return m.when(i > from, i)
		}
	}
	return -1
}

// granted is an object of the schema, or the schema, that rights are given on.
func (m statementReader) granted(i int) int {
	switch {
	case m.isWord(i, "schema"):
		return m.when(m.isSchema(i+1) && !sqltext.IsAt(m.tokens, i+2, "."), i+2)
	case m.isWord(i, "table", "sequence", "type", "domain"):
		return m.object(i + 1)
	case m.isWord(i, "function", "procedure", "routine"):
		if end := m.object(i + 1); end >= 0 {
			return m.group(end)
		}
	}
	return -1
}

// isRole tells whether a token is a role by its name, everybody, or whoever makes the objects.
func (m statementReader) isRole(i int) bool {
	return m.isName(i) && !m.isWord(i, "session_user", "current_role", "group", "role")
}

func (m statementReader) roles(i int) int {
	for m.isRole(i) {
		if i++; !sqltext.IsAt(m.tokens, i, ",") {
			return i
		}
		i++
	}
	return -1
}
