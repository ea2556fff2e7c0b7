package migrationfile

import (
	"regexp"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/schema/sqltext"
)

// plainDDL tells of a SQL statement, by its tokens alone, that it is DDL of the simplest kind in the schema in force: it
// calls no function, reads no clock, fires no trigger, and leaves nothing in the session. Such statements give the same
// result in one transaction and one message as in one of each. What is not recognised is not plain.
func plainDDL(sql []sqltext.Token) bool {
	if !slices.ContainsFunc(sql, func(t sqltext.Token) bool { return !sober(t) }) {
		p := &plainReader{tokens: sql}
		return p.statement() && p.at == len(p.tokens)
	}
	return false
}

var (
	soberWord    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	soberQuoted  = regexp.MustCompile(`^"[A-Za-z0-9_ -]+"$`)
	soberNumber  = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
	soberLiteral = regexp.MustCompile(`^'[^\\]*'$`)
	momentary    = regexp.MustCompile(`(?i)now|today|tomorrow|yesterday`) // what a string of a time is read as at once
)

// sober tells of a token that every setting of the server's reads it alike.
func sober(t sqltext.Token) bool {
	switch t.Kind {
	case sqltext.Word:
		return soberWord.MatchString(t.Text)
	case sqltext.Quoted:
		return soberQuoted.MatchString(t.Text)
	case sqltext.Number:
		return soberNumber.MatchString(t.Text)
	case sqltext.Literal:
		return soberLiteral.MatchString(t.Text) && !momentary.MatchString(t.Text)
	}
	return strings.Contains("(),=<>!+-*/:[].", t.Text)
}

// plainReader follows the grammar of plain statements. Its methods are false where the tokens are not what they read.
type plainReader struct {
	tokens []sqltext.Token
	at     int
}

// words takes key words, all of them or none.
func (p *plainReader) words(keys string) bool {
	at := p.at
	for key := range strings.SplitSeq(keys, " ") {
		if at == len(p.tokens) || !p.tokens[at].Is(key) {
			return false
		}
		at++
	}
	p.at = at
	return true
}

// maybe takes the first of some phrases that is there, if any is.
func (p *plainReader) maybe(phrases ...string) bool {
	return slices.ContainsFunc(phrases, p.words)
}

func (p *plainReader) symbol(text string) bool {
	if p.at < len(p.tokens) && p.tokens[p.at].Kind == sqltext.Symbol && p.tokens[p.at].Text == text {
		p.at++
		return true
	}
	return false
}

func (p *plainReader) kind(kinds ...sqltext.TokenType) bool {
	if p.at < len(p.tokens) && slices.Contains(kinds, p.tokens[p.at].Kind) {
		p.at++
		return true
	}
	return false
}

// notNames begin something else where a name could stand.
var notNames = []string{"like", "constraint", "primary", "unique", "check", "foreign", "exclude", "only", "if", "concurrently", "on", "using"}

// name takes a name without a schema. goose's version table is not touched by what is plain.
func (p *plainReader) name() bool {
	if p.at == len(p.tokens) || slices.ContainsFunc(notNames, p.tokens[p.at].Is) || p.tokens[p.at].Name() == VersionTable {
		return false
	}
	return p.kind(sqltext.Word, sqltext.Quoted) && !(p.at < len(p.tokens) && p.tokens[p.at].Text == ".")
}

// list takes items between commas.
func (p *plainReader) list(item func() bool) bool {
	for item() {
		if !p.symbol(",") {
			return true
		}
	}
	return false
}

func (p *plainReader) parens(inner func() bool) bool {
	return p.symbol("(") && inner() && p.symbol(")")
}

func (p *plainReader) names() bool {
	return p.parens(func() bool { return p.list(p.name) })
}

func (p *plainReader) statement() bool {
	switch {
	case p.maybe("create table", "create unlogged table"):
		p.words("if not exists")
		return p.name() && p.parens(func() bool { return p.list(p.element) })
	case p.maybe("create index", "create unique index"):
		return p.index()
	case p.words("alter table"):
		p.words("if exists")
		p.words("only")
		return p.name() && (p.rename() || p.list(p.action))
	case p.maybe("drop table", "drop index", "drop view", "drop sequence", "drop type"):
		p.words("if exists")
		return p.list(p.name) && p.behaviour()
	case p.words("comment on"):
		return p.comment()
	case p.words("create type"):
		return p.name() && p.words("as enum") && p.parens(func() bool { return p.list(func() bool { return p.kind(sqltext.Literal) }) })
	case p.words("create sequence"):
		p.words("if not exists")
		return p.name()
	}
	return false
}

func (p *plainReader) behaviour() bool {
	p.maybe("cascade", "restrict")
	return true
}

func (p *plainReader) comment() bool {
	switch {
	case p.words("column"):
		if !p.kind(sqltext.Word, sqltext.Quoted) || !p.symbol(".") || !p.name() {
			return false
		}
	case !p.maybe("table", "index", "view", "sequence", "type") || !p.name():
		return false
	}
	return p.words("is") && (p.words("null") || p.kind(sqltext.Literal))
}

func (p *plainReader) index() bool {
	p.words("if not exists")
	if !p.words("on") && !(p.name() && p.words("on")) {
		return false
	}
	if !p.name() {
		return false
	}
	if p.words("using") && !p.maybe("btree", "hash", "gin", "gist", "brin") {
		return false
	}
	column := func() bool {
		if !p.name() {
			return false
		}
		p.maybe("asc", "desc")
		p.maybe("nulls first", "nulls last")
		return true
	}
	if !p.parens(func() bool { return p.list(column) }) {
		return false
	}
	return p.at == len(p.tokens) || p.words("where") && p.condition()
}

func (p *plainReader) rename() bool {
	at := p.at
	if p.words("rename to") {
		return p.name()
	}
	if p.maybe("rename column", "rename constraint", "rename") && p.name() && p.words("to") && p.name() {
		return true
	}
	p.at = at
	return false
}

// action is one of ALTER TABLE. What it adds is filled in for rows that are there, so that its defaults are constants.
func (p *plainReader) action() bool {
	switch {
	case p.maybe("drop constraint"), p.maybe("drop column"), p.maybe("drop"):
		p.words("if exists")
		return p.name() && p.behaviour()
	case p.words("validate constraint"):
		return p.name()
	case p.maybe("alter column", "alter"):
		return p.name() && (p.maybe("set not null", "drop not null", "drop default") || p.words("set default") && (p.stored() || p.constant()))
	case !p.words("add"):
		return false
	case p.words("column"):
		p.words("if not exists")
		return p.column(builtIn, p.constant)
	}
	if at := p.at; p.constraint() {
		p.words("not valid")
		return true
	} else if p.at = at; p.words("if not exists") {
		return p.column(builtIn, p.constant)
	}
	return p.column(builtIn, p.constant)
}

// element is one of CREATE TABLE, whose table has no rows: defaults are kept and not called.
func (p *plainReader) element() bool {
	at := p.at
	if p.constraint() {
		return true
	}
	p.at = at
	return p.column(anyType, func() bool { return p.stored() || p.constant() })
}

// constraint is one of a table.
func (p *plainReader) constraint() bool {
	if p.words("constraint") && !p.kind(sqltext.Word, sqltext.Quoted) {
		return false
	}
	switch {
	case p.maybe("primary key", "unique"):
		return p.names() && p.deferral()
	case p.words("check"):
		return p.parens(p.condition)
	case p.words("foreign key"):
		return p.names() && p.words("references") && p.reference()
	}
	return false
}

func (p *plainReader) reference() bool {
	if !p.name() {
		return false
	}
	if p.at < len(p.tokens) && p.tokens[p.at].Text == "(" && !p.names() {
		return false
	}
	for p.maybe("on delete", "on update") {
		if !p.maybe("cascade", "restrict", "no action", "set null") {
			return false
		}
	}
	return p.deferral()
}

func (p *plainReader) deferral() bool {
	p.maybe("deferrable", "not deferrable")
	p.maybe("initially deferred", "initially immediate")
	return true
}

// builtIn are types of PostgreSQL's own, without domains, whose checks would run.
var builtIn = []string{
	"timestamp with time zone", "timestamp without time zone", "time with time zone", "time without time zone", "double precision",
	"character varying", "timestamptz", "timestamp", "timetz", "time", "date", "interval", "smallint", "integer", "int", "bigint", "int2", "int4",
	"int8", "real", "float4", "float8", "numeric", "decimal", "boolean", "bool", "text", "varchar", "character", "char", "uuid", "json", "jsonb",
	"bytea", "inet", "cidr", "macaddr", "tsvector",
}

// anyType are they, and types by a name of one word.
var anyType []string

func (p *plainReader) typeOf(allowed []string) bool {
	if !p.maybe(builtIn...) && (allowed != nil || !p.name()) {
		return false
	}
	if p.at < len(p.tokens) && p.tokens[p.at].Text == "(" && !p.parens(func() bool { return p.list(func() bool { return p.kind(sqltext.Number) }) }) {
		return false
	}
	for p.symbol("[") {
		if !p.symbol("]") {
			return false
		}
	}
	return true
}

func (p *plainReader) column(types []string, value func() bool) bool {
	if !p.name() || !p.typeOf(types) {
		return false
	}
	for p.at < len(p.tokens) && p.tokens[p.at].Text != "," && p.tokens[p.at].Text != ")" {
		if p.words("constraint") && !p.kind(sqltext.Word, sqltext.Quoted) {
			return false
		}
		switch {
		case p.maybe("not null", "null"):
		case p.words("default"):
			if !value() {
				return false
			}
		case p.maybe("primary key", "unique"):
			p.deferral()
		case p.words("references"):
			if !p.reference() {
				return false
			}
		case p.words("check"):
			if !p.parens(p.condition) {
				return false
			}
		case types == nil && p.maybe("generated always as identity", "generated by default as identity"):
		default:
			return false
		}
	}
	return true
}

// stored are defaults that are called for each row to come.
func (p *plainReader) stored() bool {
	if p.maybe("current_timestamp", "current_date") {
		return true
	}
	at := p.at
	if p.maybe("now", "gen_random_uuid", "clock_timestamp", "statement_timestamp", "transaction_timestamp") && p.symbol("(") && p.symbol(")") {
		return true
	}
	p.at = at
	return false
}

// constant is a number, string, truth value or NULL, perhaps with its type.
func (p *plainReader) constant() bool {
	switch {
	case p.maybe("true", "false", "null"), p.kind(sqltext.Literal):
	default:
		p.symbol("-")
		if !p.kind(sqltext.Number) {
			return false
		}
	}
	return !p.symbol(":") || p.symbol(":") && p.typeOf(builtIn)
}

// inConditions are words that may stand before a parenthesis without being a function, and others that are no name.
var inConditions = []string{"and", "or", "not", "in"}

// evaluated are words that are functions.
var evaluated = []string{
	"current_timestamp", "current_date", "current_time", "localtime", "localtimestamp", "current_user", "current_role", "session_user",
	"user", "current_schema", "current_catalog", "system_user", "select", "operator", "collate", "case", "row", "array", "exists", "values", "with",
}

// condition takes a comparison of columns and constants, up to the parenthesis that ends it or the end.
func (p *plainReader) condition() bool {
	depth := 0
	for from := p.at; p.at < len(p.tokens); p.at++ {
		t := p.tokens[p.at]
		switch {
		case t.Text == ")" && depth == 0:
			return p.at > from
		case t.Text == ")":
			depth--
		case t.Text == "(":
			if before := p.tokens[p.at-1]; p.at > from && (before.Kind == sqltext.Quoted || before.Kind == sqltext.Word && !slices.ContainsFunc(inConditions, before.Is)) {
				return false
			}
			depth++
		case t.Text == "." || t.Text == ":" || t.Text == "[" || t.Text == "]" || slices.ContainsFunc(evaluated, t.Is):
			return false
		}
	}
	return depth == 0
}
