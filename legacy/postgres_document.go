package legacy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// document is the SQL of a row as one document in Extended JSON.
func (s *postgresSource) document(ctx context.Context, q *query, t *sourceTable) (string, error) {
	if q.table.Document != "" && len(q.fields) == 0 {
		return fmt.Sprintf("x.%s::text", quoteColumn(q.table.Document)), nil
	}
	members := make([]string, 0, len(q.fields)+len(q.table.Embed))
	for _, f := range q.fields {
		members = append(members, s.member("x", f.name, f.column, t))
	}
	for _, name := range slices.Sorted(maps.Keys(q.table.Embed)) {
		children, err := s.children(ctx, q.table.Embed[name])
		if err != nil {
			return "", err
		}
		members = append(members, literal(jsonString(name)+":")+" || "+children)
	}
	object := "'{' || " + strings.Join(members, " || ',' || ") + " || '}'"
	if q.table.Document != "" {
		// The column's object with the fields in front of its own. An _id that it has is kept, unless the mapping names one.
		with := func(members []string) string {
			if len(members) == 0 {
				return fmt.Sprintf("x.%s::text", quoteColumn(q.table.Document))
			}
			return fmt.Sprintf("'{' || %s || ',' || substr(ltrim(x.%s::text), 2)", strings.Join(members, " || ',' || "), quoteColumn(q.table.Document))
		}
		own := ""
		if q.table.ID == nil && len(q.fields) > 0 {
			own = fmt.Sprintf("WHEN jsonb_typeof(x.%[1]s::jsonb) = 'object' AND x.%[1]s::jsonb ? '_id' THEN %[2]s ", quoteColumn(q.table.Document), with(members[1:]))
		}
		return fmt.Sprintf("CASE %[4]sWHEN jsonb_typeof(x.%[1]s::jsonb) = 'object' AND x.%[1]s::jsonb <> '{}' THEN %[2]s ELSE %[3]s END",
			quoteColumn(q.table.Document), with(members), object, own), nil
	}
	return object, nil
}

// children is the SQL of an array of the rows that belong to x.
func (s *postgresSource) children(ctx context.Context, e *Embed) (string, error) {
	t, err := s.table(ctx, e.From)
	if err != nil {
		return "", err
	}
	columns := e.Columns
	if len(columns) == 0 {
		for _, c := range t.columns {
			if _, parent := e.Match[c.name]; !parent {
				columns = append(columns, NamedColumn{c.name, Column{From: c.name}})
			}
		}
	}
	members := make([]string, 0, len(columns))
	for _, c := range columns {
		if !c.Column.Default {
			members = append(members, s.member("child", c.Name, c.Column, t))
		}
	}
	var on []string
	for _, theirs := range slices.Sorted(maps.Keys(e.Match)) {
		on = append(on, fmt.Sprintf("child.%s = x.%s", quoteColumn(theirs), quoteColumn(e.Match[theirs])))
	}
	order := e.OrderBy
	if len(order) == 0 {
		order = t.primaryKey
	}
	by := ""
	for i, c := range order {
		if by += ", "; i == 0 {
			by = " ORDER BY "
		}
		by += "child." + quoteColumn(c)
	}
	return fmt.Sprintf("(SELECT '[' || coalesce(string_agg('{' || %s || '}', ','%s), '') || ']' FROM %s AS child WHERE %s)",
		strings.Join(members, " || ',' || "), by, s.from(e.From), strings.Join(on, " AND ")), nil
}

// member is the SQL of one member of an object: its name and its value in Extended JSON.
func (s *postgresSource) member(alias, name string, c Column, t *sourceTable) string {
	expr := s.expression(alias, c)
	k, typ := kindText, ""
	if column := t.column(c.From); column != nil && c.From != "" {
		k, typ = column.kind, column.typ
	}
	value := "to_json(" + expr + ")::text"
	switch k {
	case kindInt:
		if typ == "bigint" {
			value = `'{"$numberLong":"' || ` + expr + ` || '"}'`
		} else {
			value = expr + "::text"
		}
	case kindDecimal:
		value = `'{"$numberDecimal":"' || ` + expr + ` || '"}'`
	case kindFloat:
		value = `'{"$numberDouble":"' || ` + expr + ` || '"}'`
	case kindBytes:
		value = `'{"$binary":{"base64":"' || translate(encode(` + expr + `, 'base64'), E'\n', '') || '","subType":"00"}}'`
	case kindDate, kindTimestamp, kindInstant:
		value = fmt.Sprintf(`CASE WHEN isfinite(%[1]s) THEN '{"$date":{"$numberLong":"' || (extract(epoch FROM %[1]s) * 1000)::bigint || '"}}' ELSE to_json(%[1]s::text)::text END`, expr)
	case kindJSON:
		value = expr + "::text"
	case kindTime, kindInterval, kindUUID, kindOther:
		value = "to_json(" + expr + "::text)::text"
	}
	return literal(jsonString(name)+":") + " || coalesce(" + value + ", 'null')"
}
