package schema

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// Align compares the definitions as pg_dump writes them, statement by statement, and of tables column by column. The
// statements do not name the schema; psql's variable stands for the tenant's role.
func (r *Resource) Align(ctx context.Context, t, like tenant.Tenant) ([]string, string, error) {
	have, err := r.defined(ctx, t)
	if err != nil {
		return nil, "", err
	}
	want, err := r.defined(ctx, like)
	if err != nil {
		return nil, "", err
	}
	statements, reason := align(piecesOf(have), piecesOf(want))
	return statements, reason, nil
}

// Realign looks at the structure before and after, in one transaction with the statements.
func (r *Resource) Realign(ctx context.Context, t tenant.Tenant, statements []string, have, want string) error {
	return r.asOwner(ctx, t, func(r *Resource) error { return r.realign(ctx, t, statements, have, want) })
}

func (r *Resource) realign(ctx context.Context, t tenant.Tenant, statements []string, have, want string) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	pg := conn.Conn().PgConn()
	err = r.transact(ctx, conn, t, nil, func(p *place) ([]command, error) {
		if err := p.ours(t); err != nil {
			return nil, err
		}
		before, _, err := structureOf(ctx, pg, t)
		switch {
		case err != nil:
			return nil, err
		case before.fingerprint == want:
			return nil, nil // a process that died has done it
		case before.fingerprint != have:
			return nil, unlikeBefore()
		}
		names := sqltext.Spelling{Ident: quote(t.Schema), Literal: text(t.Schema), Role: quote(t.Role)}
		commands := []command{cmd("SET LOCAL check_function_bodies = off")}
		for _, s := range statements {
			commands = append(commands, command{sql: sqltext.FillIn(s, names), count: 1})
		}
		if err := send(ctx, pg, commands); err != nil {
			return nil, err
		}
		after, _, err := structureOf(ctx, pg, t)
		if err == nil && after.fingerprint != want {
			err = &tenant.Error{
				Kind: tenant.ErrDiffers, Store: tenant.KindPostgres, Msg: "the statements do not end the difference, and none of them was kept",
				Hint: "tenantctl verify --diff " + string(t.Name) + " shows it; it takes a migration of its own",
			}
		}
		return nil, err
	})
	if err != nil {
		var at *refusedCommand
		var e *tenant.Error
		if err = refusal("change the structure of schema "+t.Schema, conn, t, err); errors.As(err, &at) && errors.As(err, &e) {
			e.Statement = sqltext.Show(at.sql)
		}
		return err
	}
	return tenant.Checkpoint(ctx, "postgres/realigned")
}

func unlikeBefore() error {
	return &tenant.Error{Kind: tenant.ErrBusy, Store: tenant.KindPostgres, Msg: "the structure is not any more what it was when it was looked at", Hint: "run the same command again"}
}

// piece is one statement of the definitions.
type piece struct {
	text   string
	tokens []sqltext.Token
}

func newPiece(text string) piece {
	tokens, _ := sqltext.Lex(text)
	return piece{text, tokens}
}

// piecesOf are the statements of definitions without the schema's name.
func piecesOf(d *definitions) (all []piece) {
	for _, sql := range []string{d.pre, d.post} {
		for _, s := range statementsOf(sql) {
			if !sqltext.Begins(s.tokens, "set") {
				all = append(all, newPiece(unqualified(s.text)))
			}
		}
	}
	return all
}

// unqualified leaves out the variable of the schema where it qualifies a name.
func unqualified(sql string) string {
	tokens, _ := sqltext.Lex(sql)
	var b strings.Builder
	end := 0
	for i := range tokens[:max(0, len(tokens)-2)] {
		if sql[tokens[i].Start:tokens[i+2].Start+1] == sqltext.Variables.Ident+"." {
			b.WriteString(sql[end:tokens[i].Start])
			end = tokens[i+2].Start + 1
		}
	}
	return b.String() + sql[end:]
}

// align gives the statements that lead from one set of definitions to another, or the reason why none do: whatever would
// take rows away or change them is not for it.
func align(have, want []piece) (statements []string, reason string) {
	extra, gone := lacking(have, want), lacking(want, have)
	replaced := map[string]bool{} // functions and views that are made anew in place
	for _, p := range gone {
		replaced[p.replaceable()] = true
	}
	var tables, undone []string
	dropped := map[string]bool{}
	for _, p := range slices.Backward(extra) {
		if name := p.table(); name != "" {
			i := slices.IndexFunc(gone, func(w piece) bool { return w.table() == name })
			if i < 0 {
				return nil, fmt.Sprintf("table %s is not in the usual structure, and what it holds is not for this to drop", name)
			}
			changes, reason := alter(name, p, gone[i])
			if reason != "" {
				return nil, reason
			}
			tables, gone = append(tables, changes...), slices.Delete(gone, i, i+1)
			continue
		}
		if name := p.replaceable(); name != "" && replaced[name] {
			continue
		}
		sql, object := p.undo()
		if sql == "" {
			first, _, _ := strings.Cut(p.text, "\n")
			return nil, fmt.Sprintf("%q is not in the usual structure, and is not for this to take back", first)
		}
		undone, dropped[object] = append(undone, sql), true
	}
	if name := counter(gone); name != "" {
		return nil, fmt.Sprintf("%s would count from its start again, though rows may have what it has given", name)
	}
	statements = append(undone, tables...)
	for _, p := range gone {
		statements = append(statements, p.orReplace())
	}
	for _, p := range want { // what is made anew has lost its comment
		again := sqltext.Begins(p.tokens, "comment", "on") && slices.ContainsFunc(p.tokens, func(t sqltext.Token) bool { return t.Kind != sqltext.Literal && dropped[t.Text] })
		if again && !slices.Contains(statements, p.text) {
			statements = append(statements, p.text)
		}
	}
	if len(statements) == 0 {
		return nil, "what differs is nothing that a dump of the definitions tells of, such as statistics targets"
	}
	return statements, ""
}

// counter names a sequence or identity column that is to be made for a table that is there already; "" where there is none.
func counter(gone []piece) string {
	made := func(table string) bool {
		return slices.ContainsFunc(gone, func(p piece) bool { return table != "" && p.table() == table })
	}
	owner := func(sequence string) string {
		for _, p := range gone {
			if sqltext.Begins(p.tokens, "alter", "sequence") && p.at(2) == sequence && sqltext.Begins(p.tokens[3:], "owned", "by") {
				return p.at(5)
			}
		}
		return ""
	}
	for _, p := range gone {
		switch altered := p.altered(); {
		case sqltext.Begins(p.tokens, "create", "sequence") && !made(owner(p.at(2))):
			return "sequence " + p.at(2)
		case sqltext.Begins(p.tokens, "alter", "table") && strings.Contains(p.text, " ADD GENERATED ") && strings.Contains(p.text, " AS IDENTITY") && !made(altered):
			return "the identity of table " + altered
		}
	}
	return ""
}

// lacking gives what a has and b has not.
func lacking(a, b []piece) (out []piece) {
	left := map[string]int{}
	for _, p := range b {
		left[p.text]++
	}
	for _, p := range a {
		if left[p.text]--; left[p.text] < 0 {
			out = append(out, p)
		}
	}
	return out
}

// at is a token's text, "" where there is none.
func (p piece) at(i int) string {
	if i < 0 || i >= len(p.tokens) {
		return ""
	}
	return p.tokens[i].Text
}

// after is the token that follows the first of a key word.
func (p piece) after(key string) string {
	return p.at(1 + slices.IndexFunc(p.tokens, func(t sqltext.Token) bool { return t.Is(key) }))
}

// table is the name of the table that the statement makes.
func (p piece) table() string {
	switch {
	case sqltext.Begins(p.tokens, "create", "table"):
		return p.at(2)
	case sqltext.Begins(p.tokens, "create", "unlogged", "table"):
		return p.at(3)
	}
	return ""
}

// altered is the table that an ALTER TABLE is about.
func (p piece) altered() string {
	if p.at(2) == "ONLY" {
		return p.at(3)
	}
	return p.at(2)
}

// replaceable names what CREATE OR REPLACE makes anew.
func (p piece) replaceable() string {
	for _, kind := range []string{"function", "procedure", "view"} {
		if sqltext.Begins(p.tokens, "create", kind) {
			return kind + " " + p.at(2)
		}
	}
	return ""
}

func (p piece) orReplace() string {
	if p.replaceable() == "" {
		return p.text
	}
	return "CREATE OR REPLACE" + strings.TrimPrefix(p.text, "CREATE")
}

// undo takes back what the statement made, which holds no rows, and names it; it is empty where it is anything else.
func (p piece) undo() (sql, object string) {
	altered := p.altered()
	has := func(words string) bool { return strings.Contains(p.text, words) }
	switch {
	case sqltext.Begins(p.tokens, "create", "index"), sqltext.Begins(p.tokens, "create", "unique", "index"):
		return "DROP INDEX " + p.after("index"), p.after("index")
	case sqltext.Begins(p.tokens, "create", "trigger"), sqltext.Begins(p.tokens, "create", "constraint", "trigger"):
		return "DROP TRIGGER " + p.after("trigger") + " ON " + p.after("on"), p.after("trigger")
	case sqltext.Begins(p.tokens, "create", "policy"):
		return "DROP POLICY " + p.at(2) + " ON " + p.after("on"), p.at(2)
	case p.replaceable() != "":
		return "DROP " + strings.ToUpper(p.at(1)) + " " + p.at(2), p.at(2)
	case sqltext.Begins(p.tokens, "create", "statistics"):
		return "DROP STATISTICS " + p.at(2), p.at(2)
	case sqltext.Begins(p.tokens, "comment", "on"):
		last := p.tokens[len(p.tokens)-1]
		return p.text[:last.Start] + "NULL", ""
	case !sqltext.Begins(p.tokens, "alter", "table"):
		return "", ""
	case has(" ADD CONSTRAINT "):
		return "ALTER TABLE " + altered + " DROP CONSTRAINT " + p.after("constraint"), p.after("constraint")
	case has(" SET DEFAULT "):
		return "ALTER TABLE " + altered + " ALTER COLUMN " + p.after("column") + " DROP DEFAULT", ""
	case has(" ENABLE ROW LEVEL SECURITY"):
		return "ALTER TABLE " + altered + " DISABLE ROW LEVEL SECURITY", ""
	case has(" FORCE ROW LEVEL SECURITY"):
		return "ALTER TABLE " + altered + " NO FORCE ROW LEVEL SECURITY", ""
	}
	return "", ""
}

// column is a column or a constraint of a CREATE TABLE.
type column struct {
	text, name    string
	constraint    bool
	kind, initial string // type and DEFAULT, as SQL
	notNull       bool
}

// alter gives the statements that lead from one CREATE TABLE to another of that name.
func alter(table string, have, want piece) (statements []string, reason string) {
	old, oldEnd := have.columns()
	now, nowEnd := want.columns()
	if oldEnd != nowEnd {
		return nil, fmt.Sprintf("table %s is made %q, and %q in the usual structure", table, oldEnd, nowEnd)
	}
	change := func(format string, args ...any) {
		statements = append(statements, "ALTER TABLE "+table+" "+fmt.Sprintf(format, args...))
	}
	var order, usual []string
	same := func(c column) func(column) bool {
		return func(o column) bool { return o.name == c.name && o.constraint == c.constraint }
	}
	for _, c := range old {
		i := slices.IndexFunc(now, same(c))
		switch {
		case c.constraint && (i < 0 || now[i].text != c.text):
			change("DROP CONSTRAINT %s", c.name)
		case i < 0:
			return nil, fmt.Sprintf("column %s of table %s is not in the usual structure, and what it holds is not for this to drop", c.name, table)
		case !c.constraint:
			order = append(order, c.name)
		}
	}
	for _, c := range now {
		i := slices.IndexFunc(old, same(c))
		switch {
		case c.constraint && (i < 0 || old[i].text != c.text):
			change("ADD %s", c.text)
			continue
		case c.constraint:
			continue
		}
		usual = append(usual, c.name)
		if i < 0 {
			order = append(order, c.name)
			change("ADD COLUMN %s", c.text)
			continue
		}
		o := old[i]
		if o.kind != c.kind {
			return nil, fmt.Sprintf("column %s of table %s is %q, and %q in the usual structure: it takes a migration that says what becomes of its values", c.name, table, o.kind, c.kind)
		}
		switch {
		case o.initial == c.initial:
		case c.initial == "":
			change("ALTER COLUMN %s DROP DEFAULT", c.name)
		default:
			change("ALTER COLUMN %s SET DEFAULT %s", c.name, c.initial)
		}
		if o.notNull != c.notNull {
			change("ALTER COLUMN %s %s NOT NULL", c.name, map[bool]string{true: "SET", false: "DROP"}[c.notNull])
		}
	}
	if !slices.Equal(order, usual) {
		return nil, fmt.Sprintf("the columns of table %s stand in another order, which no statement changes", table)
	}
	return statements, ""
}

// columns cuts a CREATE TABLE into its columns and constraints, and what follows them.
func (p piece) columns() (all []column, end string) {
	depth, from := 0, 0
	cut := func(to int) {
		if item := strings.TrimSpace(p.text[from:to]); item != "" {
			all = append(all, newColumn(item))
		}
	}
	for _, t := range p.tokens {
		switch {
		case t.Text == "(":
			if depth++; depth == 1 {
				from = t.Start + 1
			}
		case t.Text == "," && depth == 1:
			cut(t.Start)
			from = t.Start + 1
		case t.Text == ")":
			if depth--; depth == 0 {
				cut(t.Start)
				return all, strings.TrimSpace(p.text[t.Start+1:])
			}
		}
	}
	return all, p.text
}

func newColumn(item string) column {
	c := column{text: item}
	tokens, _ := sqltext.Lex(item)
	if sqltext.Begins(tokens, "constraint") && len(tokens) > 1 {
		c.constraint, c.name = true, tokens[1].Text
		return c
	}
	c.name = tokens[0].Text
	rest := item[len(c.name):]
	if without, ok := strings.CutSuffix(rest, " NOT NULL"); ok {
		rest, c.notNull = without, true
	}
	depth := 0
	for _, t := range tokens[1:] {
		switch {
		case t.Text == "(":
			depth++
		case t.Text == ")":
			depth--
		case depth == 0 && t.Is("default"):
			at := t.Start - len(c.name)
			c.initial = strings.TrimSpace(rest[at+len(t.Text):])
			c.kind = strings.TrimSpace(rest[:at])
			return c
		}
	}
	c.kind = strings.TrimSpace(rest)
	return c
}
