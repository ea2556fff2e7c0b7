package legacy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// document is the SQL of a row as one document in Extended JSON. It is built by CONCAT: MariaDB's own functions forget
// what is JSON.
func (s *mysqlSource) document(ctx context.Context, q *query, b *mysqlSelect) (string, error) {
	column := ""
	if q.table.Document != "" {
		column = "x." + quoteMySQL(q.table.Document)
		if len(b.fields) == 0 {
			return "COALESCE(CAST(" + column + " AS CHAR), 'null')", nil
		}
	}
	var members []string
	for _, f := range b.fields {
		members = append(members, mysqlMember("x", f.name, f.column, b.t))
	}
	for _, name := range slices.Sorted(maps.Keys(q.table.Embed)) {
		children, err := s.children(ctx, q.table.Embed[name])
		if err != nil {
			return "", err
		}
		members = append(members, mysqlLiteral(jsonString(name)+":")+", "+children)
	}
	inside := strings.Join(members, ", ',', ")
	if column == "" {
		return "CONCAT('{', " + inside + ", '}')", nil
	}
	// The column's object, with the fields in front of its own; what is none is passed on, and refused.
	return fmt.Sprintf("IF(JSON_TYPE(%[1]s) = 'OBJECT', IF(JSON_LENGTH(%[1]s) = 0, CONCAT('{', %[2]s, '}'), CONCAT('{', %[2]s, ',', SUBSTR(LTRIM(CAST(%[1]s AS CHAR)), 2))), COALESCE(CAST(%[1]s AS CHAR), 'null'))",
		column, inside), nil
}

// children is the SQL of an array of the rows that belong to x.
func (s *mysqlSource) children(ctx context.Context, e *Embed) (string, error) {
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
	var members []string
	for _, c := range columns {
		if !c.Column.Default {
			members = append(members, mysqlMember("child", c.Name, c.Column, t))
		}
	}
	var on []string
	for _, theirs := range slices.Sorted(maps.Keys(e.Match)) {
		on = append(on, fmt.Sprintf("child.%s = x.%s", quoteMySQL(theirs), quoteMySQL(e.Match[theirs])))
	}
	order := slices.Clone(e.OrderBy)
	if len(order) == 0 {
		order = t.primaryKey
	}
	by := ""
	for i, c := range order {
		if by += ", "; i == 0 {
			by = " ORDER BY "
		}
		by += "child." + quoteMySQL(c)
	}
	return fmt.Sprintf("(SELECT CONCAT('[', COALESCE(GROUP_CONCAT(CONCAT('{', %s, '}')%s SEPARATOR ','), ''), ']') FROM %s AS child WHERE %s)",
		strings.Join(members, ", ',', "), by, quoteMySQL(e.From), strings.Join(on, " AND ")), nil
}

// mysqlMember is the SQL of one member of an object, as arguments of CONCAT: its name and its value in Extended JSON.
func mysqlMember(alias, name string, c Column, t *sourceTable) string {
	expr := mysqlExpression(alias, c)
	text := "CAST(" + expr + " AS CHAR)"
	quoted := func(typ, text string) string { return `CONCAT('{"$` + typ + `":"', ` + text + `, '"}')` }
	value := ""
	column := t.column(c.From)
	switch {
	case c.Value != nil:
		value = mysqlLiteral(jsonString(*c.Value))
	case c.From == "" || column == nil:
		// Of an expression the server alone knows the type.
		array := "JSON_ARRAY(" + expr + ")"
		value = "SUBSTR(" + array + ", 2, CHAR_LENGTH(" + array + ") - 2)"
	case column.kind == kindBool:
		value = "CASE " + expr + "+0 WHEN 0 THEN 'false' WHEN 1 THEN 'true' ELSE CAST(" + expr + "+0 AS CHAR) END"
	case column.kind == kindInt && strings.HasPrefix(column.typ, "bigint"):
		value = "IF(" + expr + " > 9223372036854775807, " + quoted("numberDecimal", text) + ", " + quoted("numberLong", text) + ")"
	case column.kind == kindInt:
		value = "CAST(" + expr + "+0 AS CHAR)"
	case column.kind == kindDecimal:
		value = quoted("numberDecimal", text)
	case column.kind == kindFloat:
		value = quoted("numberDouble", "CAST("+expr+"+0e0 AS CHAR)")
	case column.kind == kindBytes:
		value = `CONCAT('{"$binary":{"base64":"', REPLACE(TO_BASE64(` + expr + `), '\n', ''), '","subType":"00"}}')`
	case column.kind == kindDate || column.kind == kindTimestamp || column.kind == kindInstant:
		// 0000-00-00 is no moment: it stays a text.
		value = `COALESCE(CONCAT('{"$date":{"$numberLong":"', TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ` + expr + `) DIV 1000, '"}}'), JSON_QUOTE(` + text + `))`
	case column.kind == kindJSON:
		value = "IF(JSON_VALID(" + expr + "), " + text + ", JSON_QUOTE(" + text + "))"
	default:
		value = "JSON_QUOTE(" + text + ")"
	}
	return mysqlLiteral(jsonString(name)+":") + ", COALESCE(" + value + ", 'null')"
}
