package legacy

import (
	"fmt"
	"strconv"
	"strings"
)

// Values of two different servers are compared by texts that both can make. The tests take them for a reading of MariaDB that
// shares no code with the import's own.

// portableSQL is PostgreSQL's expression for a value's portable text; NULL stays NULL. The source's is in portableMySQL.
func portableSQL(column string, f field) string {
	switch f.kind {
	case kindBool:
		return "(" + column + ")::int::text"
	case kindDecimal:
		return "trim_scale(" + column + ")::text"
	case kindFloat:
		if isReal(f) {
			// Six digits are what both servers show of it.
			return "trim_scale((" + column + ")::numeric)::text"
		}
		return "trim_scale(round((" + column + ")::text::numeric, 6))::text"
	case kindText:
		return "(" + column + ")::text"
	case kindBytes:
		return "encode(" + column + ", 'hex')"
	case kindDate:
		return "to_char(" + column + ", 'YYYY-MM-DD')"
	case kindTime:
		return "to_char(" + column + ", 'HH24:MI:SS.US')"
	case kindTimestamp:
		return "to_char(" + column + ", 'YYYY-MM-DD HH24:MI:SS.US')"
	case kindInstant:
		return "to_char((" + column + ") AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
	case kindInterval:
		return "extract(epoch FROM " + column + ")::bigint::text"
	case kindUUID:
		return "replace((" + column + ")::text, '-', '')"
	case kindJSON:
		// Each server writes JSON in its own way.
		return "CASE WHEN " + column + " IS NOT NULL THEN '' END"
	}
	return "(" + column + ")::text"
}

// portableMySQL is MySQL's expression for the same text of a value that is on its way to the field f. c is the source's
// column; nil for an expression.
func portableMySQL(expr string, c *sourceColumn, f field) string {
	bytesSource := c != nil && c.kind == kindBytes
	trimmed := func(decimal string) string {
		return "TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM " + decimal + "))"
	}
	switch f.kind {
	case kindInt:
		if c != nil && (c.kind == kindInt || c.kind == kindBool) {
			return "CAST(" + expr + "+0 AS CHAR)"
		}
		return "CAST(CAST(" + expr + " AS DECIMAL(65,0)) AS CHAR)"
	case kindBool:
		return "CASE WHEN " + expr + " <> 0 OR LOWER(TRIM(" + expr + ")) IN ('t','tr','tru','true','y','ye','yes','on') THEN '1' WHEN " + expr + " IS NOT NULL THEN '0' END"
	case kindDecimal:
		return trimmed(fmt.Sprintf("CAST(CAST(%s AS DECIMAL(65,%d)) AS DECIMAL(65,30))", expr, numericScale(f.typ)))
	case kindFloat:
		if isReal(f) {
			return trimmed("CAST(CAST(CAST(" + expr + " AS FLOAT) AS CHAR) AS DECIMAL(65,30))")
		}
		return trimmed("CAST(CAST(CAST(" + expr + " AS DOUBLE) AS CHAR) AS DECIMAL(65,6))")
	case kindBytes:
		return "LOWER(HEX(" + expr + "))"
	case kindDate:
		return "DATE_FORMAT(" + expr + ", '%Y-%m-%d')"
	case kindTime:
		return "TIME_FORMAT(" + expr + ", '%H:%i:%s.%f')"
	case kindTimestamp, kindInstant:
		return "DATE_FORMAT(" + expr + ", '%Y-%m-%d %H:%i:%s.%f')"
	case kindInterval:
		return "CAST(TIME_TO_SEC(" + expr + ") AS CHAR)"
	case kindUUID:
		if bytesSource {
			return "LOWER(HEX(" + expr + "))"
		}
		return "LOWER(REPLACE(" + expr + ", '-', ''))"
	case kindJSON:
		return "IF(" + expr + " IS NULL, NULL, '')"
	case kindText:
		if bytesSource {
			return "CONVERT(" + expr + " USING utf8mb4)"
		}
		if strings.HasPrefix(f.typ, "character(") || f.typ == "character" {
			return "TRIM(TRAILING ' ' FROM " + mysqlText(expr, c) + ")"
		}
	case kindOther:
		if c != nil && strings.HasPrefix(c.typ, "bit(") {
			return mysqlBits(expr, c)
		}
	}
	return mysqlText(expr, c)
}

func isReal(f field) bool { return f.typ == "real" }

// numericScale is the number of digits behind the point of a type such as numeric(10,2); what MySQL has at most where
// there is no limit.
func numericScale(typ string) int {
	inside, ok := strings.CutPrefix(strings.TrimSuffix(typ, ")"), "numeric(")
	if !ok {
		return 30
	}
	_, scale, _ := strings.Cut(inside, ",")
	n, err := strconv.Atoi(scale)
	if err != nil {
		return 0
	}
	return min(max(n, 0), 30)
}
