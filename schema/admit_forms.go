package schema

import (
	"regexp"
	"strings"

	"github.com/tenantctl/tenantctl/schema/sqltext"
)

// forms are the statements that a backup holds. What pg_dump writes of one schema, and nothing else, has one of them.
// Words stand for themselves; "?word" may be missing; "a|b" is one of them; the rest is read by elements.
var forms = compileForms(`
create ?unlogged table @ (...) TABLE
create ?unlogged table @ of NAME . NAME TABLE
create ?unlogged table @ of NAME TABLE
create foreign table @ (...) TABLE
create view @ *
create or replace view @ *
create materialized view @ * with no data
create ?unlogged sequence @ *
create type @ TYPE
create domain @ as *
create function|procedure @ (...) ROUTINE
create aggregate @ (...) (...)
create operator @op (...)
create operator class @ *
create operator family @ using NAME
create collation @ (...)
create ?default conversion @ for *
create text search configuration|dictionary|parser|template @ (...)
create statistics @ *
create ?unique index NAME on ?only @ *
create ?constraint trigger NAME before|after|instead ... on @ *
create rule NAME as on select|insert|update|delete to @ *
create policy NAME on @ *

alter ?foreign table ?only @ add constraint NAME ONE
alter table|view ?only @ alter ?column NAME set|drop default ONE
alter ?foreign table ?only @ alter ?column NAME set statistics|storage|compression ONE
alter materialized view ?only @ alter ?column NAME set statistics|storage|compression ONE
alter ?foreign table ?only @ alter ?column NAME set (...)
alter materialized view ?only @ alter ?column NAME set (...)
alter ?foreign table ?only @ alter ?column NAME set|drop not null
alter ?foreign table ?only @ alter ?column NAME options (...)
alter ?foreign table ?only @ alter ?column NAME add generated IDENTITY
alter table ?only @ attach partition @ ONE
alter table ?only @ cluster on NAME
alter materialized view @ cluster on NAME
alter table|view ?only @ set (...)
alter table ?only @ set access method NAME
alter table ?only @ replica identity ONE
alter table ?only @ enable|disable|force row level security
alter table ?only @ enable|disable trigger|rule NAME
alter table ?only @ enable replica|always trigger|rule NAME
alter index @ attach partition @
alter index @ alter column NUMBER set statistics NUMBER
alter sequence @ owned by @col
alter sequence @ set logged|unlogged
alter domain @ add constraint NAME ONE
alter operator family @ using NAME add *
alter text search configuration @ add mapping for *
alter statistics @ set statistics NUMBER
alter function|procedure @ (...) depends on extension NAME
alter index @ depends on extension NAME
alter materialized view @ depends on extension NAME
alter trigger NAME on @ depends on extension NAME

comment|label on table|view|sequence|index|type|domain|statistics|collation|conversion @ is TEXT
comment|label on materialized view @ is TEXT
comment|label on foreign table @ is TEXT
comment|label on column @col is TEXT
comment|label on function|procedure|aggregate @ (...) is TEXT
comment|label on constraint NAME on ?domain @ is TEXT
comment|label on trigger|rule|policy NAME on @ is TEXT
comment|label on operator @op (...) is TEXT
comment|label on operator class|family @ using NAME is TEXT
comment|label on text search configuration|dictionary|parser|template @ is TEXT

refresh materialized view @
select pg_catalog . setval VALUE
set check_function_bodies = off
set search_path = @schema
set default_table_access_method = NAME

grant RIGHTS on OBJECT to ROLES
grant RIGHTS on OBJECT to ROLES with grant option
revoke RIGHTS on OBJECT from ROLES
revoke grant option for RIGHTS on OBJECT from ROLES
alter default privileges in schema @schema grant RIGHTS on KIND to ROLES
alter default privileges in schema @schema grant RIGHTS on KIND to ROLES with grant option
alter default privileges in schema @schema revoke RIGHTS on KIND from ROLES
alter default privileges in schema @schema revoke grant option for RIGHTS on KIND from ROLES
alter default privileges for role ROLE in schema @schema grant RIGHTS on KIND to ROLES
alter default privileges for role ROLE in schema @schema grant RIGHTS on KIND to ROLES with grant option
alter default privileges for role ROLE in schema @schema revoke RIGHTS on KIND from ROLES
alter default privileges for role ROLE in schema @schema revoke grant option for RIGHTS on KIND from ROLES
`)

// compileForms sorts the forms by their first word.
func compileForms(text string) map[string][][]string {
	out := map[string][][]string{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if f[0] != "comment|label" {
			out[f[0]] = append(out[f[0]], f)
			continue
		}
		out["comment"] = append(out["comment"], append([]string{"comment"}, f[1:]...))
		out["security"] = append(out["security"], append([]string{"security", "label", "for", "PROVIDER"}, f[1:]...))
	}
	return out
}

// elements are the parts of a form that are no words: each gives where it ends, or -1.
var elements map[string]func(m statementReader, i int) int

func init() { // they speak of each other
	elements = map[string]func(m statementReader, i int) int{
		"@":    func(m statementReader, i int) int { return m.object(i) },
		"@col": func(m statementReader, i int) int { return m.column(i) },
		"@op":  func(m statementReader, i int) int { return m.operator(i) },
		"@schema": func(m statementReader, i int) int {
			return m.when(m.isSchema(i) && !sqltext.IsAt(m.tokens, i+1, "."), i+1)
		},
		"(...)":    func(m statementReader, i int) int { return m.group(i) },
		"NAME":     func(m statementReader, i int) int { return m.when(m.isName(i), i+1) },
		"NUMBER":   func(m statementReader, i int) int { return m.number(i) },
		"PROVIDER": func(m statementReader, i int) int { return m.when(m.isName(i) || m.isText(i), i+1) },
		"TEXT":     func(m statementReader, i int) int { return m.when(m.isText(i) || m.isWord(i, "null"), i+1) },
		"ROLE":     func(m statementReader, i int) int { return m.when(m.isRole(i), i+1) },
		"ROLES":    func(m statementReader, i int) int { return m.roles(i) },
		"RIGHTS":   func(m statementReader, i int) int { return m.rights(i) },
		"OBJECT":   func(m statementReader, i int) int { return m.granted(i) },
		"KIND": func(m statementReader, i int) int {
			return m.when(m.isWord(i, "tables", "sequences", "functions", "routines", "types"), i+1)
		},
		"VALUE":    func(m statementReader, i int) int { return m.sequenceValue(i) },
		"TABLE":    func(m statementReader, i int) int { return m.tableOptions(i) },
		"TYPE":     func(m statementReader, i int) int { return m.typeDefinition(i) },
		"ROUTINE":  func(m statementReader, i int) int { return m.routine(i) },
		"IDENTITY": func(m statementReader, i int) int { return m.identity(i) },
		"ONE":      func(m statementReader, i int) int { return m.one(i) },
	}
}

// matches tells whether the tokens from i on are what the rest of a form wants.
func (m statementReader) matches(form []string, i int) bool {
	if len(form) == 0 {
		return i == len(m.tokens)
	}
	f, rest := form[0], form[1:]
	switch {
	case f == "*" && len(rest) == 0:
		return i < len(m.tokens)
	case f == "*": // what ends the statement
		end := len(m.tokens) - len(rest)
		return end > i && m.matches(rest, end)
	case f == "...": // up to the next word outside parentheses
		for ; i < len(m.tokens); i = m.after(i) {
			if m.tokens[i].Is(rest[0]) {
				return m.matches(rest, i)
			}
		}
		return false
	case f[0] == '?':
		return m.isWord(i, f[1:]) && m.matches(rest, i+1) || m.matches(rest, i)
	case elements[f] != nil:
		end := elements[f](m, i)
		return end >= 0 && m.matches(rest, end)
	case f == "." || f == "=":
		return sqltext.IsAt(m.tokens, i, f) && m.matches(rest, i+1)
	}
	return m.isWord(i, strings.Split(f, "|")...) && m.matches(rest, i+1)
}

// plainNumber is one without letters that another version of PostgreSQL would take for a word.
var plainNumber = regexp.MustCompile(`^([0-9][0-9_]*(\.[0-9_]*)?([eE][0-9]*)?|0[xXoObB][0-9a-fA-F_]+|\$[0-9]+)$`)
