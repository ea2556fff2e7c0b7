package legacy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// modelOf is a table such as a source's, in PostgreSQL: with the types that it has there, as far as the target knows them.
func (i *Importer) modelOf(ctx context.Context, t *Table, src *sourceTable) (*targetTable, error) {
	out := &targetTable{name: t.To}
	for _, c := range src.columns {
		typ, err := i.typeOf(ctx, t, c)
		if err != nil {
			return nil, err
		}
		column := targetColumn{name: c.name, typ: typ, kind: c.kind, length: c.length, notNull: c.notNull}
		switch {
		case len(c.labels) > 0:
			column.kind, column.labels, column.length = kindOther, c.labels, 0
		case typ == "text" || strings.HasPrefix(typ, "character"):
			column.kind = kindText
		case strings.HasPrefix(typ, "numeric"):
			column.kind = kindDecimal
		case typ == "interval":
			column.kind = kindInterval
		}
		out.columns = append(out.columns, column)
	}
	out.primaryKey = slices.Clone(src.primaryKey)
	return out, nil
}

// typeOf is the type of the shared schema's column for a source's. An enum is made there, by its name in the source.
func (i *Importer) typeOf(ctx context.Context, t *Table, c sourceColumn) (string, error) {
	store := i.m.realStore(t.Source)
	switch {
	case len(c.labels) > 0 && store == storePostgres:
		names := identifiers(c.typ)
		return quoteColumn(i.m.SharedSchema) + "." + quoteColumn(names[len(names)-1]), nil
	case len(c.labels) > 0:
		return quoteColumn(i.m.SharedSchema) + "." + quoteColumn(t.To+"_"+c.name), nil
	case store == storeMySQL:
		return typeOfMySQL(c), nil
	case store != storePostgres:
		return postgresType(c), nil
	}
	var known bool
	err := i.Postgres.QueryRow(ctx, `SELECT coalesce((SELECT typnamespace = 'pg_catalog'::regnamespace FROM pg_type WHERE oid = to_regtype($1)), false)`, c.typ).Scan(&known)
	if err != nil || !known {
		return postgresType(c), targetError("look at the type "+c.typ, err)
	}
	return c.typ, nil
}

// typeOfMySQL is the type of PostgreSQL that holds the same values.
func typeOfMySQL(c sourceColumn) string {
	unsigned := strings.Contains(c.typ, "unsigned")
	word, _, _ := strings.Cut(strings.ToLower(c.typ), "(")
	word, _, _ = strings.Cut(word, " ")
	m := scale.FindStringSubmatch(c.typ)
	digits := ""
	if m != nil && m[1] != "0" {
		digits = "(" + m[1] + ")"
	}
	switch {
	case zeroFilled(&c):
		return "text"
	case c.kind == kindInt && width(c.typ) > 0:
		n := width(c.typ)
		if unsigned {
			n++ // the types of PostgreSQL are signed
		}
		return map[int]string{1: "smallint", 2: "smallint", 3: "integer", 4: "integer", 5: "bigint", 8: "bigint", 9: "numeric(20,0)"}[n]
	case c.kind == kindDecimal && m != nil:
		return fmt.Sprintf("numeric(%s,%s)", m[1], cmp.Or(m[2], "0"))
	case word == "float":
		return "real"
	case (word == "varchar" || word == "char") && c.length > 0:
		return fmt.Sprintf("character varying(%d)", c.length)
	case word == "datetime":
		return "timestamp" + digits + " without time zone"
	case word == "timestamp":
		return "timestamp" + digits + " with time zone"
	case word == "time":
		return "interval" // it may be longer than a day
	}
	return postgresType(c)
}

// postgresType is a type of PostgreSQL that holds what a source's column holds.
func postgresType(c sourceColumn) string {
	switch c.kind {
	case kindInt:
		return "bigint"
	case kindDecimal:
		return "numeric"
	case kindFloat:
		return "double precision"
	case kindBool:
		return "boolean"
	case kindBytes:
		return "bytea"
	case kindDate:
		return "date"
	case kindTime:
		return "time without time zone"
	case kindTimestamp:
		return "timestamp without time zone"
	case kindInstant:
		return "timestamp with time zone"
	case kindInterval:
		return "interval"
	case kindUUID:
		return "uuid"
	case kindJSON:
		return "jsonb"
	}
	return "text"
}
