package legacy

import (
	"fmt"
	"strings"
)

// matchColumns finds the target column for each source column: the same name, else the same without case and underscores.
func matchColumns(src *sourceTable, model *targetTable) map[string]*targetColumn {
	matched, taken := map[string]*targetColumn{}, map[string]bool{}
	for _, c := range src.columns {
		if column := model.column(c.name); column != nil && !taken[column.name] {
			matched[c.name], taken[column.name] = column, true
		}
	}
	for _, c := range src.columns {
		if matched[c.name] != nil {
			continue
		}
		for i := range model.columns {
			if column := &model.columns[i]; !taken[column.name] && loose(column.name) == loose(c.name) {
				matched[c.name], taken[column.name] = column, true
				break
			}
		}
	}
	return matched
}

// label is the expression that makes a tenant's name, a DNS label, of its key; "" where the key itself has to do.
func (p *planner) label(key *sourceColumn) string {
	if key == nil {
		return ""
	}
	switch p.store {
	case storePostgres:
		column := quoteIdent(`"`, key.name)
		switch key.kind {
		case kindInt:
			return "'t' || " + column
		case kindUUID:
			return column + "::text"
		}
		name := "regexp_replace(lower(" + column + "::text), '[^a-z0-9]+', '-', 'g')"
		if key.length == 0 || key.length > longestLabel {
			name = fmt.Sprintf("left(%s, %d)", name, longestLabel)
		}
		return "trim(BOTH '-' FROM " + name + ")"
	case storeMySQL:
		column := quoteIdent("`", key.name)
		if key.kind == kindInt {
			return "concat('t', " + column + ")"
		}
		name := "regexp_replace(lower(" + column + "), '[^a-z0-9]+', '-')"
		if key.length == 0 || key.length > longestLabel {
			name = fmt.Sprintf("left(%s, %d)", name, longestLabel)
		}
		return "trim(BOTH '-' FROM " + name + ")"
	}
	return ""
}

const longestLabel = 40 // characters of a tenant's name

// quoteIdent quotes a name for SQL.
func quoteIdent(quote, name string) string {
	return quote + strings.ReplaceAll(name, quote, quote+quote) + quote
}
