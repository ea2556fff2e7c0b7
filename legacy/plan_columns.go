package legacy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
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

// misfit says what may keep the values of a source column from fitting into the target's; "" where all fit.
func misfit(src *sourceColumn, tgt *targetColumn) string {
	var problems []string
	if why := miscast(src, tgt); why != "" {
		problems = append(problems, why)
	}
	if !src.notNull && tgt.notNull {
		problems = append(problems, "may be NULL in the source and not in the target: such rows are rejected")
	}
	return strings.Join(problems, "; ")
}

var textual = []kind{kindInt, kindDecimal, kindFloat, kindBool, kindDate, kindTime, kindTimestamp, kindInstant, kindInterval, kindUUID, kindJSON, kindBytes}

func miscast(src *sourceColumn, tgt *targetColumn) string {
	types := fmt.Sprintf("%s in the source, %s in the target: ", typeName(src), tgt.typ)
	switch from, to := src.kind, tgt.kind; {
	case zeroFilled(src) && to != kindText:
		return types + "its leading zeros are lost"
	case from == to:
		return narrower(src, tgt, types)
	case to == kindText && from != kindOther && from != kindBytes:
		return ""
	case to == kindDecimal && from == kindInt, to == kindFloat && (from == kindInt || from == kindDecimal):
		return ""
	case to == kindInstant && (from == kindTimestamp || from == kindDate):
		return strings.TrimSuffix(types+"taken as UTC; "+strings.TrimPrefix(coarser(src, tgt, types), types), "; ")
	case to == kindTimestamp && from == kindInstant:
		return strings.TrimSuffix(types+"written as UTC; "+strings.TrimPrefix(coarser(src, tgt, types), types), "; ")
	case to == kindTimestamp && from == kindDate:
		return ""
	case to == kindDate && (from == kindTimestamp || from == kindInstant):
		return types + "the time of day is lost"
	case to == kindDecimal && from == kindFloat:
		return types + "digits may be lost"
	case to == kindInt && (from == kindDecimal || from == kindFloat):
		return types + "rows with fractions are rejected"
	case to == kindInt && from == kindBool:
		return types + "these do not cast; write {sql: ...} with the integer for true and for false"
	case to == kindBool && from == kindInt:
		if strings.HasPrefix(src.typ, "tinyint(1)") {
			return ""
		}
		return types + "rows with other values than 0 and 1 are rejected"
	case from == kindText && slices.Contains(textual, to):
		return types + "rows that do not parse are rejected"
	case from == kindOther || to == kindOther:
		return types + "rows that do not parse are rejected"
	}
	return types + "these do not cast; write {sql: ...}"
}

func typeName(c *sourceColumn) string { return cmp.Or(c.typ, string(c.kind)) }

var (
	scale = regexp.MustCompile(`\((\d+)(?:,\s*(-?\d+))?\)`)
	// widths of whole numbers in bytes, by the words of PostgreSQL and MySQL.
	widths = map[string]int{"tinyint": 1, "smallint": 2, "mediumint": 3, "integer": 4, "int": 4, "bigint": 8}
)

// narrower tells whether the target takes less than the source, both of one kind.
func narrower(src *sourceColumn, tgt *targetColumn, types string) string {
	switch src.kind {
	case kindText:
		if strings.HasPrefix(tgt.typ, "character(") && src.typ != tgt.typ {
			types += "padded with spaces; "
			if src.length > 0 && src.length <= tgt.length {
				return strings.TrimSuffix(types, "; ")
			}
		}
		switch {
		case tgt.length == 0 || src.length > 0 && src.length <= tgt.length:
			return ""
		case src.length == 0:
			return types + "rows with longer ones are rejected"
		}
		return fmt.Sprintf("up to %d characters in the source, %d in the target: rows with longer ones are rejected", src.length, tgt.length)
	case kindInt:
		from, to := width(src.typ), width(tgt.typ)
		if strings.Contains(src.typ, "unsigned") {
			from++ // the target's are signed
		}
		if from > to && to > 0 {
			return types + "rows with larger numbers are rejected"
		}
	case kindDecimal:
		if from, to := scale.FindStringSubmatch(src.typ), scale.FindStringSubmatch(tgt.typ); to != nil && !holds(from, to) {
			return types + "more digits are rejected, or rounded behind the point"
		}
	case kindFloat:
		if tgt.typ == "real" && src.typ != "real" && !strings.HasPrefix(src.typ, "float") {
			return types + "rounded to the digits of real"
		}
	case kindTime, kindTimestamp, kindInstant, kindInterval:
		return coarser(src, tgt, types)
	case kindOther:
		if src.typ != tgt.typ {
			return types + "rows that do not parse are rejected"
		}
	}
	return ""
}

// coarser tells whether a time loses digits of its seconds in the target, or an interval what its fields do not have.
func coarser(src *sourceColumn, tgt *targetColumn, types string) string {
	if fields, _, _ := strings.Cut(strings.TrimPrefix(tgt.typ, "interval"), "("); tgt.kind == kindInterval &&
		strings.TrimSpace(fields) != "" && src.typ != tgt.typ {
		return types + "what is finer than its fields is cut off"
	}
	if secondDigits(src.typ) > secondDigits(tgt.typ) {
		return types + "seconds are rounded to fewer digits"
	}
	return ""
}

// secondDigits is how many digits a type has behind the point of seconds. Where a type names none, PostgreSQL has six, and
// MySQL, whose types are single words, none.
func secondDigits(typ string) int {
	if m := scale.FindStringSubmatch(typ); m != nil {
		n, _ := strconv.Atoi(m[1]) // the pattern lets digits alone through
		return n
	}
	switch typ {
	case "time", "datetime", "timestamp", "date":
		return 0
	}
	return 6
}

// width is 0 for a type that is not known.
func width(typ string) int {
	word, _, _ := strings.Cut(strings.ToLower(typ), " ")
	word, _, _ = strings.Cut(word, "(")
	return widths[word]
}

// holds tells whether a decimal with its digits in all and behind the point fits into another.
func holds(from, to []string) bool {
	if from == nil {
		return false
	}
	number := func(s string) int {
		n, _ := strconv.Atoi(s) // the empty scale is 0
		return n
	}
	behind, room := number(from[2]), number(to[2])
	return behind <= room && number(from[1])-behind <= number(to[1])-room
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
