package legacy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// conversion is what becomes of a source column's values in a column of the target. Plan, load, rejects and verify all go
// by it.
type conversion struct {
	refused string  // why no value fits; empty where some do
	note    string  // what is lost or rejected; empty where every value stays what it is
	binary  bool    // COPY's binary format carries the values as they are
	sameSum bool    // the source computes the same text of a value as the target, and so the same checksum
	reading reading // how a text is looked at before it is loaded
	cast    string  // SQL behind the value in a PostgreSQL source
}

// reading is what a text is looked at for, since PostgreSQL would guess.
type reading int

const (
	readAsIs reading = iota
	readDate
	readNumber // with the mapping's number_format alone
	readMoney  // PostgreSQL takes commas out of money
)

const (
	parses = "rows that do not parse are rejected"
	digits = "rounded to the digits that the target holds"
	longer = "rows with longer ones are rejected, but spaces too many at the end are cut off"
)

// losses says for each pair of kinds what is lost or rejected. Kinds that are the same are compared by narrower; pairs that
// are not listed do not cast.
var losses = map[kind]map[kind]string{
	kindInt:       {kindText: "", kindDecimal: "", kindFloat: digits, kindBool: "rows with other values than 0 and 1 are rejected", kindOther: parses},
	kindDecimal:   {kindText: "", kindFloat: digits, kindInt: "rows with fractions are rejected", kindOther: parses},
	kindFloat:     {kindText: "", kindDecimal: "digits may be lost", kindInt: "rows with fractions are rejected", kindOther: parses},
	kindBool:      {kindText: "", kindOther: parses},
	kindDate:      {kindText: "", kindTimestamp: "", kindInstant: "taken as UTC", kindOther: parses},
	kindTime:      {kindText: "", kindInterval: "", kindOther: parses},
	kindTimestamp: {kindText: "", kindDate: "the time of day is lost", kindInstant: "taken as UTC", kindOther: parses},
	kindInstant:   {kindText: "", kindDate: "the time of day is lost", kindTimestamp: "written as UTC", kindOther: parses},
	kindInterval:  {kindText: "", kindOther: parses},
	kindUUID:      {kindText: "", kindOther: parses},
	kindJSON:      {kindText: "", kindOther: parses},
	kindBytes:     {kindOther: parses},
	kindText: {
		kindInt: parses, kindDecimal: parses, kindFloat: parses, kindBool: parses, kindDate: parses, kindTime: parses,
		kindTimestamp: parses, kindInstant: parses, kindInterval: parses, kindUUID: parses, kindJSON: parses, kindBytes: parses, kindOther: parses,
	},
	kindOther: {
		kindInt: parses, kindDecimal: parses, kindFloat: parses, kindBool: parses, kindDate: parses, kindTime: parses, kindText: parses,
		kindTimestamp: parses, kindInstant: parses, kindInterval: parses, kindUUID: parses, kindJSON: parses, kindBytes: parses,
	},
}

// convert looks a pair of columns up. src is nil for an expression, a constant and a lookup.
func convert(store string, src *sourceColumn, tgt *targetColumn) conversion {
	var c conversion
	isoSource := (store == storePostgres || store == storeMySQL) && src != nil && isoTexts[src.kind] != nil
	switch {
	case isoTexts[tgt.kind] != nil && !isoSource:
		c.reading = readDate
	case tgt.typ == "money" && (src == nil || src.typ != "money"):
		c.reading = readMoney
	case tgt.typ == "money", slices.Contains([]kind{kindInt, kindDecimal, kindFloat}, tgt.kind):
		c.reading = readNumber
	}
	if src == nil {
		// PostgreSQL writes an expression's value with the text that its own type has.
		c.sameSum = store == storePostgres && c.reading != readDate && (tgt.kind == kindText || castOf(tgt) != "")
		return c
	}
	c.note, c.refused = lossOf(store, src, tgt)
	if store == storeMySQL && strings.HasPrefix(src.typ, "float") && tgt.typ != "real" && c.refused == "" {
		c.note = strings.TrimSuffix(typeName(src)+" in the source, written with the digits of a double, 0.1 as 0.10000000149011612; "+c.note, "; ")
	}
	if store != storePostgres {
		return c
	}
	c.binary = sameBinary(src, tgt)
	switch {
	case src.typ == tgt.typ:
		c.sameSum = true
	case castOf(tgt) == "", src.kind == kindOther, src.kind == kindText && tgt.kind != kindText:
		// A text is parsed by a column with its length and fields, and by a cast without them.
	default:
		c.sameSum = true
	}
	switch {
	case src.kind == kindBool && tgt.kind == kindText, strings.HasPrefix(src.typ, "character(") && !strings.HasPrefix(tgt.typ, "character("):
		// A truth value becomes true or false in a text, and char(n) loses the spaces that fill it up, as they do by a cast.
		c.cast = "::text"
	}
	return c
}

// lossOf says what is lost or rejected, or why nothing fits.
func lossOf(store string, src *sourceColumn, tgt *targetColumn) (note, refused string) {
	types := fmt.Sprintf("%s in the source, %s in the target: ", typeName(src), tgt.typ)
	if loss, special := mysqlLoss(store, src, tgt); special {
		if loss != "" {
			loss = types + loss
		}
		return loss, ""
	}
	from := src.kind
	if store == storeMySQL && from == kindBool && tgt.kind != kindBool {
		from = kindInt // 0 and 1, or what else is in it
	}
	if from == tgt.kind {
		return narrower(store, src, tgt, types), ""
	}
	if labelsFit(src.labels, tgt.labels) {
		return "", ""
	}
	loss, casts := losses[from][tgt.kind]
	if !casts {
		return "", types + "these do not cast; write {sql: ...}"
	}
	if from == kindInt && tgt.kind == kindFloat && width(src.typ) > 0 && width(src.typ) <= floatHolds(tgt.typ) {
		loss = ""
	}
	if finer := coarser(src, tgt); finer != "" && tgt.kind != kindText && tgt.kind != kindDate {
		loss = strings.TrimPrefix(loss+"; "+finer, "; ")
	}
	if tgt.kind == kindText && tgt.length > 0 && from != kindOther {
		loss = "rows with longer ones are rejected"
		if from == kindUUID && tgt.length >= 36 || from == kindBool && tgt.length >= 5 || from == kindInt && tgt.length >= 20 {
			loss = ""
		}
		if strings.HasPrefix(tgt.typ, "character(") {
			loss = strings.TrimSuffix("padded with spaces; "+loss, "; ")
		}
	}
	if loss == "" {
		return "", ""
	}
	return types + loss, ""
}

// mysqlLoss is for types of MySQL that are another thing than their kind says.
func mysqlLoss(store string, src *sourceColumn, tgt *targetColumn) (loss string, special bool) {
	typ := strings.ToLower(src.typ)
	switch {
	case zeroFilled(src) && tgt.kind != kindText:
		return "its leading zeros are lost", true
	case store != storeMySQL:
	case spatial(src) && tgt.kind == kindText:
		return "written as WKT, without its reference system", true
	case spatial(src) && tgt.kind == kindBytes:
		return "written as WKB, without its reference system", true
	case src.kind == kindBytes && tgt.kind == kindUUID:
		return "its 16 bytes in their order, others are rejected; for UUID_TO_BIN(..., 1) write {sql: \"BIN_TO_UUID(x." + src.name + ", 1)\"}", true
	case src.kind == kindBytes && tgt.kind == kindText:
		return "taken as UTF-8; rows with other bytes are rejected", true
	case strings.HasPrefix(typ, "bit(") && strings.HasPrefix(tgt.typ, "bit"):
		return "", true
	case src.kind == kindTime && tgt.kind == kindTime:
		return strings.TrimPrefix(coarser(src, tgt)+"; rows below 0 and above 24 hours are rejected", "; "), true
	case strings.HasPrefix(typ, "set(") && tgt.kind == kindOther:
		return "its labels with commas between them; " + parses, true
	}
	return "", false
}

// labelsFit tells whether each label of an enum is one of the target's too.
func labelsFit(from, to []string) bool {
	return len(from) > 0 && !slices.ContainsFunc(from, func(l string) bool { return !slices.Contains(to, l) })
}

// floatHolds is how many bytes of a whole number a float holds exactly.
func floatHolds(typ string) int {
	if typ == "real" {
		return 3
	}
	return 4
}

// misfit says what may keep the values of a source column from fitting into the target's; "" where all fit.
func misfit(store string, src *sourceColumn, tgt *targetColumn) string {
	var problems []string
	if c := convert(store, src, tgt); c.refused+c.note != "" {
		problems = append(problems, c.refused+c.note)
	}
	if !src.notNull && tgt.notNull {
		problems = append(problems, "may be NULL in the source and not in the target: such rows are rejected")
	}
	return strings.Join(problems, "; ")
}

func typeName(c *sourceColumn) string { return cmp.Or(c.typ, string(c.kind)) }

var (
	scale = regexp.MustCompile(`\((\d+)(?:,\s*(-?\d+))?\)`)
	// widths of whole numbers in bytes, by the words of PostgreSQL and MySQL.
	widths = map[string]int{"tinyint": 1, "smallint": 2, "year": 2, "mediumint": 3, "integer": 4, "int": 4, "bigint": 8}
)

// narrower tells whether the target takes less than the source, both of one kind.
func narrower(store string, src *sourceColumn, tgt *targetColumn, types string) string {
	switch src.kind {
	case kindText:
		return narrowerText(src, tgt, types)
	case kindInt, kindBool:
		if src.kind == tgt.kind && src.kind == kindBool {
			return ""
		}
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
		if finer := coarser(src, tgt); finer != "" {
			return types + finer
		}
	case kindJSON:
		if src.typ == "json" && tgt.typ == "jsonb" && store == storePostgres {
			return types + "of keys that are there twice the last is kept, and its spelling is lost"
		}
	case kindOther:
		if src.typ != tgt.typ && !labelsFit(src.labels, tgt.labels) {
			return types + parses
		}
	}
	return ""
}

func narrowerText(src *sourceColumn, tgt *targetColumn, types string) string {
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
		return types + longer
	}
	return fmt.Sprintf("up to %d characters in the source, %d in the target: %s", src.length, tgt.length, longer)
}

// coarser tells whether a time loses digits of its seconds in the target, or an interval what its fields do not have.
func coarser(src *sourceColumn, tgt *targetColumn) string {
	if isoTexts[src.kind] == nil && src.kind != kindInterval || tgt.kind == kindOther {
		return ""
	}
	if fields, _, _ := strings.Cut(strings.TrimPrefix(tgt.typ, "interval"), "("); tgt.kind == kindInterval &&
		strings.TrimSpace(fields) != "" && src.typ != tgt.typ {
		return "what is finer than its fields is cut off"
	}
	if secondDigits(src.typ) > secondDigits(tgt.typ) {
		return "seconds are rounded to fewer digits"
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

// castOf is a column's type where every PostgreSQL knows it.
func castOf(c *targetColumn) string {
	if c.kind == kindOther || strings.Contains(c.typ, `"`) || strings.Contains(c.typ, ".") || strings.HasPrefix(c.typ, "citext") {
		return ""
	}
	return c.typ
}

// sameBinary tells whether a column's values can be handed on as they are.
func sameBinary(src *sourceColumn, tgt *targetColumn) bool {
	if castOf(tgt) == "" {
		return false
	}
	from, to := baseType(src.typ), baseType(tgt.typ)
	if from == "character" && to != from {
		return false // the spaces that fill it up stay behind
	}
	texts := []string{"text", "character varying", "character"}
	return from == to || slices.Contains(texts, from) && slices.Contains(texts, to)
}
