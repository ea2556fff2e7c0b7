package legacy

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// matrixColumn is a type of a source that is not PostgreSQL: its values as the source has them, and the text that a target's
// column is given of each.
type matrixColumn struct {
	typ    string
	values []any
	text   func(v any, to matrixType) string
}

// asIs is the text of a value that is its own text.
func asIs(v any, _ matrixType) string { return fmt.Sprint(v) }

// asBytes is asIs, but for a column of bytes.
func asBytes(v any, to matrixType) string {
	if to.typ == "bytea" {
		return fmt.Sprintf(`\x%x`, v)
	}
	return fmt.Sprint(v)
}

var (
	zone       = regexp.MustCompile(`:.*(Z|[+-][0-9:]+)$`)
	timeWords  = regexp.MustCompile(`^(now|0042)$`)
	plainMoney = regexp.MustCompile(`^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)$`)
)

// oneReading tells whether a text has one reading in a type, as docs/import.md says.
func oneReading(text string, to matrixType) bool {
	switch {
	case !utf8.ValidString(text) || strings.Contains(text, "\x00"):
		return false
	case to.typ == "date" && strings.Contains(text, ":"), strings.HasPrefix(to.typ, "time") && !strings.HasPrefix(to.typ, "timestamp") && strings.Contains(text, "-"),
		strings.HasSuffix(to.typ, "without time zone") && strings.HasPrefix(to.typ, "timestamp") && zone.MatchString(text):
		return false // a part of it would be lost
	case strings.Contains(to.typ, "time") || to.typ == "date":
		return !timeWords.MatchString(text)
	case to.typ == "money":
		return plainMoney.MatchString(text)
	}
	return true
}

// matrixOf loads each of the columns into each type that the mapping may name for it, and holds the matrix. names are the
// source's tables, put has made them with the columns id, firm and v; a nil value is NULL, and the first.
func (s *stand) matrixOf(spec, store string, names []string, columns []matrixColumn) {
	s.t.Helper()
	all := os.Getenv("TENANTCTL_TEST_MATRIX") == "all"
	m, err := LoadBytes("mapping.yaml", []byte("version: 1\nname: old\nsources: {legacy: {url_env: LEGACY_TEST_URL, schema: old}, other: {"+spec+"}}\n"+
		"tenants: {source: legacy, from: firms, key: id, name: \"'f' || id\"}\ntables: [{source: other, from: "+names[0]+", key: firm, to: none}]\n"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.mapping("tables: [{from: firms, key: id, to_collection: none}]\n") // sets the source's URL
	src, err := openSource(s.t.Context(), m.Sources["other"], "other", ".")
	if err != nil {
		s.t.Fatal(err)
	}
	described, err := src.describe(s.t.Context(), names)
	src.close()
	if err != nil {
		s.t.Fatal(err)
	}
	var pairs []pair
	var model, mapping, puts strings.Builder
	for i, c := range columns {
		at := slices.IndexFunc(described, func(d *sourceTable) bool { return d.name == names[i] })
		from := described[at].column("v")
		for j, to := range matrixTypes {
			target := &targetColumn{typ: to.typ, kind: s.kindOf(to.typ)}
			if to.typ == "old.size" || !all && to.typ != "text" && (i+j)%3 != 0 || convert(store, from, target).refused != "" {
				continue
			}
			p := pair{fmt.Sprintf("m_%d_%d", i, j), matrixType{typ: c.typ}, to}
			pairs = append(pairs, p)
			fmt.Fprintf(&model, "CREATE TABLE %s (id int PRIMARY KEY, v %s);\n", p.name, to.typ)
			fmt.Fprintf(&mapping, "  - {source: other, from: %s, to: %s, key: firm, columns: {id: id, v: v}}\n", names[i], p.name)
			for n, v := range c.values {
				text, exact := "NULL", true
				if v != nil {
					given := c.text(v, to)
					if exact = oneReading(given, to); exact {
						text = literal(given)
					}
				}
				fmt.Fprintf(&puts, "SELECT expected.put('%s', %d, %s, %t);\n", p.name, n, text, exact)
			}
		}
	}
	s.tables.model = model.String()
	s.sql(expectedSQL(model.String()) + "SET timezone = 'UTC';" + puts.String())
	whole, err := LoadBytes("mapping.yaml", []byte("version: 1\nname: old\nsources: {legacy: {url_env: LEGACY_TEST_URL, schema: old}, other: {"+spec+"}}\n"+
		"tenants: {source: legacy, from: firms, key: id, name: \"'f' || id\"}\ntables:\n"+mapping.String()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.matrixHolds(whole, pairs)
}

// kindOf is the kind of a PostgreSQL type.
func (s *stand) kindOf(typ string) kind {
	s.t.Helper()
	return postgresKind(s.rows("SELECT typname FROM pg_type WHERE oid = '" + strings.Split(typ, "(")[0] + "'::regtype")[0])
}

func matrixStand(t *testing.T) *stand {
	return newStand(t, "CREATE TABLE nothing (id int)", "CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1); CREATE TYPE old.size AS ENUM ('small', 'large')")
}

// withNull puts NULL in front.
func withNull(values ...any) []any { return append([]any{nil}, values...) }

var awkwardTexts = withNull("", "tab\t nl\n \\ \x01", "0042", "2024-02-29", "now", `{"a": 1}`, "true", "trailing  ", "12.34", "é😀")

func TestEveryPairOfTypesOfMariaDBIsLoadedExactlyAndVerified(t *testing.T) {
	columns := []matrixColumn{
		{"SMALLINT INVISIBLE", withNull(-32768, 0, 32767), asIs},
		{"BIGINT UNSIGNED", withNull(uint64(18446744073709551615), 0, 9007199254740993), asIs},
		{"DECIMAL(10,2)", withNull("-99999999.99", "0.00", "12.34"), asIs},
		{"DECIMAL(40,10)", withNull("123456789012345678901234567890.0000000001", "-0.0000000001"), asIs},
		{"DOUBLE", withNull(0.1, -1.5), asIs},
		{"VARCHAR(40) CHARACTER SET utf8mb4", awkwardTexts, asBytes},
		{"LONGTEXT", withNull("x", "12.34"), asIs},
		{"DATE", withNull("2024-02-29", "0001-01-01", "9999-12-31"), asIs},
		{"DATETIME(6)", withNull("2024-02-29 23:59:59.999999", "1000-01-01 00:00:00.000000"), func(v any, to matrixType) string {
			if to.typ == "date" { // plan notes the cut
				return strings.Fields(fmt.Sprint(v))[0]
			}
			return fmt.Sprint(v)
		}},
		{"YEAR", withNull("1901", "2155"), asIs},
		{"VARBINARY(10)", withNull("", "\x00\xff\\"), asBytes},
		{"TINYINT(1)", withNull("0", "1", "-128", "127"), asIs},
		{"BIT(1)", withNull("0", "1"), asIs},
		{"INT(6) ZEROFILL", withNull("000042", "1000000"), func(v any, to matrixType) string {
			if to.typ == "text" || strings.HasPrefix(to.typ, "char") {
				return fmt.Sprint(v)
			}
			return strings.TrimLeft(fmt.Sprint(v), "0")
		}},
		{"DECIMAL(65,30)", withNull("99999999999999999999999999999999999.999999999999999999999999999999", "-0.000000000000000000000000000001"), asIs},
		{"FLOAT", withNull("0.1", "16777216", "-0.5"), func(v any, to matrixType) string {
			if v == "0.1" && to.typ != "real" {
				return "0.10000000149011612" // as docs/import.md says
			}
			return fmt.Sprint(v)
		}},
		{"DATE /* zero */", withNull("0000-00-00", "2024-00-10"), asIs},
		{"DATETIME /* zero */", withNull("0000-00-00 00:00:00", "9999-12-31 23:59:59"), func(v any, to matrixType) string {
			if to.typ == "date" {
				return strings.Fields(fmt.Sprint(v))[0]
			}
			return fmt.Sprint(v)
		}},
		{"TIME(6)", withNull("-838:59:59.000000", "-00:00:00.000001", "24:00:00.000000", "838:59:59.000000"), asIs},
		{"ENUM('small', 'a''b', '')", withNull("small", "a'b", ""), asBytes},
		{"SET('a', 'b c')", withNull("", "a,b c"), asBytes},
		{"CHAR(6)", withNull("ab", "é"), asBytes},
		{"VARCHAR(20) CHARACTER SET latin1", withNull("é€", "ab  "), asBytes},
		{"VARCHAR(20) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci", withNull("é€", "AB"), asBytes},
		{"JSON", withNull(`{"a": 1e400, "a": 12345678901234567890.10, "b": 1.0}`, `"x"`), asIs},
		{"BINARY(16)", withNull("\x00\x01\x02\x03abcdefghijk\x00"), func(v any, to matrixType) string {
			if to.typ == "uuid" {
				return fmt.Sprintf("%x", v)
			}
			return asBytes(v, to)
		}},
	}
	statements := []string{"SET sql_mode = '', time_zone = '+00:00'"}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = fmt.Sprintf("s_%d", i)
		statements = append(statements, fmt.Sprintf("CREATE TABLE %s (id INT PRIMARY KEY, firm INT DEFAULT 1, v %s) WITH SYSTEM VERSIONING", names[i], c.typ))
		for n, v := range c.values {
			value := "NULL"
			if v != nil {
				value = fmt.Sprintf("X'%x'", fmt.Sprint(v))
				switch {
				case strings.HasPrefix(c.typ, "BIT"):
					value = fmt.Sprint(v)
				case !strings.Contains(c.typ, "BINARY"):
					value = "CONVERT(" + value + " USING utf8mb4)"
				}
			}
			statements = append(statements, fmt.Sprintf("INSERT INTO %s (id, v) VALUES (%d, %s)", names[i], n, value))
		}
	}
	s := matrixStand(t)
	_, _, u := mariaWith(t, statements...)
	t.Setenv("LEGACY_OTHER", u)
	s.matrixOf("url_env: LEGACY_OTHER", storeMySQL, names, columns)
}

// fileValues are values of files: what is written there.
func fileColumns() []matrixColumn {
	return []matrixColumn{
		{"texts", awkwardTexts, asIs},
		{"whole numbers", withNull("-32768", "0", "9007199254740993"), asIs},
		{"numbers", withNull("-99999999.99", "12.34", "1e2"), asIs},
		{"dates", withNull("2024-02-29", "9999-12-31"), asIs},
		{"moments", withNull("2024-02-29 23:59:59.999999", "2024-02-29T12:00:00Z"), asIs},
		{"truth", withNull("true", "false"), asIs},
		{"ids", withNull("00112233-4455-6677-8899-aabbccddeeff", "{00112233445566778899AABBCCDDEEFF}"), asIs},
		{"intervals", withNull("1 day 02:03:04.5", "-00:00:01", "P1Y2M"), asIs},
		{"networks", withNull("10.0.0.1/8", "::1"), asIs},
		{"arrays", withNull("{1,NULL}", "{}", "{1,x}"), asIs},
		{"ranges", withNull("[1,5)", "(1,4]", "empty"), asIs},
		{"bytes", withNull(`\x00ff5c`, `\000`), asIs},
		{"odd numbers", withNull("NaN", "-0", " 42 ", "1e400", "+7", ".5"), asIs},
	}
}

func (s *stand) filesOf(ending string, columns []matrixColumn, head string, line func(n int, v any) string) (spec string, names []string) {
	s.t.Helper()
	dir := s.t.(*testing.T).TempDir()
	for i, c := range columns {
		var b strings.Builder
		b.WriteString(head)
		for n, v := range c.values {
			b.WriteString(line(n, v))
		}
		name := fmt.Sprintf("s_%d.%s", i, ending)
		writeFile(s.t, filepath.Join(dir, name), b.String())
		names = append(names, name)
	}
	return "path: " + dir, names
}

func TestEveryPairOfTypesOfCSVIsLoadedExactlyAndVerified(t *testing.T) {
	s, columns := matrixStand(t), fileColumns()
	spec, names := s.filesOf("csv", columns, "id,firm,v\n", func(n int, v any) string {
		if v == nil {
			return fmt.Sprintf("%d,1,\n", n)
		}
		return fmt.Sprintf("%d,1,\"%s\"\n", n, strings.ReplaceAll(fmt.Sprint(v), `"`, `""`))
	})
	s.matrixOf(spec, storeFiles, names, columns)
}

func TestEveryPairOfTypesOfNDJSONIsLoadedExactlyAndVerified(t *testing.T) {
	// A text is itself in a column of texts, and JSON in one of JSON.
	columns := fileColumns()
	for i := range columns {
		columns[i].text = func(v any, to matrixType) string {
			if strings.HasPrefix(to.typ, "json") {
				return jsonString(fmt.Sprint(v))
			}
			return fmt.Sprint(v)
		}
	}
	columns = append(columns, matrixColumn{"numbers of JSON", withNull("-1", "12.34", "1e2", "9007199254740993"), asIs},
		matrixColumn{"objects", withNull(`{"a": [1, 1.0]}`, `[]`), asIs}, matrixColumn{"truth of JSON", withNull("true", "false"), asIs})
	s, texts := matrixStand(t), len(fileColumns())
	at := -1
	spec, names := s.filesOf("ndjson", columns, "", func(n int, v any) string {
		if n == 0 {
			at++
		}
		value := "null"
		switch {
		case v != nil && at < texts:
			value = jsonString(fmt.Sprint(v))
		case v != nil:
			value = fmt.Sprint(v)
		}
		return fmt.Sprintf("{\"id\":%d,\"firm\":1,\"v\":%s}\n", n, value)
	})
	s.matrixOf(spec, storeFiles, names, columns)
}

func TestEveryPairOfTypesOfMongoDBIsLoadedExactlyAndVerified(t *testing.T) {
	at := time.Date(2024, 2, 29, 12, 0, 0, 5e8, time.UTC)
	quoted := func(v any, to matrixType) string {
		if strings.HasPrefix(to.typ, "json") {
			return jsonString(fmt.Sprint(v))
		}
		return fmt.Sprint(v)
	}
	columns := []matrixColumn{
		{"int", withNull(int32(-5), int32(0)), asIs},
		{"long", withNull(int64(9007199254740993), int64(-1)), asIs},
		{"double", withNull(0.1, -1.5), asIs},
		{"string", awkwardTexts, quoted},
		{"bool", withNull(true, false), asIs},
		{"objectId", withNull(objectID(t, "507f1f77bcf86cd799439011")), func(v any, to matrixType) string {
			if hex := v.(bson.ObjectID).Hex(); !strings.HasPrefix(to.typ, "json") {
				return hex
			}
			return `{"$oid":"507f1f77bcf86cd799439011"}`
		}},
		{"date", withNull(at), func(_ any, to matrixType) string {
			switch {
			case strings.HasPrefix(to.typ, "json"):
				return `{"$date":"2024-02-29T12:00:00.5Z"}`
			case to.typ == "date":
				return "2024-02-29"
			case strings.HasPrefix(to.typ, "time "), strings.HasPrefix(to.typ, "time("):
				return "12:00:00.5"
			case to.typ == "timestamp without time zone":
				return "2024-02-29 12:00:00.5"
			case strings.HasPrefix(to.typ, "timestamp"):
				return "2024-02-29 12:00:00.5+00"
			}
			return "2024-02-29T12:00:00.5Z"
		}},
		{"binData", withNull(bson.Binary{Data: []byte("a\xc3\xa9")}), func(v any, to matrixType) string {
			data := v.(bson.Binary).Data
			switch {
			case strings.HasPrefix(to.typ, "json"):
				return `{"$binary":{"base64":"` + base64.StdEncoding.EncodeToString(data) + `","subType":"00"}}`
			case to.typ == "bytea":
				return fmt.Sprintf(`\x%x`, data)
			}
			return string(data)
		}},
		{"array", withNull(bson.A{int32(1), "x"}), func(any, matrixType) string { return `[1,"x"]` }},
		{"object", withNull(bson.D{{Key: "a", Value: int32(1)}}), func(any, matrixType) string { return `{"a":1}` }},
	}
	s := matrixStand(t)
	collections := map[string][]any{}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = fmt.Sprintf("s_%d", i)
		for n, v := range c.values {
			collections[names[i]] = append(collections[names[i]], bson.D{{Key: "_id", Value: int32(n)}, {Key: "id", Value: int32(n)}, {Key: "firm", Value: int32(1)}, {Key: "v", Value: v}})
		}
	}
	mongoWith(t, collections)
	s.matrixOf("url_env: LEGACY_MONGO", storeMongoDB, names, columns)
}
