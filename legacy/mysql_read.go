package legacy

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

// mysqlSelect is a query's SELECT. Its cells are the key, the state, the length where rows may be long, the columns that
// find the row again, and the fields.
type mysqlSelect struct {
	q      *query
	t      *sourceTable
	key    string
	state  string // the index of the hop whose row is missing; empty where none is
	length string // of the row in bytes; empty where no column is long
	place  []sourceColumn
	fields []field
	cells  []string // of the fields; one for a document
	joins  string
	conds  []string
}

func (s *mysqlSource) selection(ctx context.Context, q *query) (*mysqlSelect, error) {
	t, err := s.table(ctx, q.table.From)
	if err != nil {
		return nil, err
	}
	b := &mysqlSelect{q: q, t: t, key: "''", state: "''"}
	last, missing, keyTable := "x", "", t
	for i, h := range q.table.Via {
		alias := fmt.Sprintf("via%d", i+1)
		if h.Many {
			end, err := s.table(ctx, q.table.Via[len(q.table.Via)-1].Table)
			if err != nil {
				return nil, err
			}
			// As bytes: keys that are equal by the collation alone are several.
			key := mysqlText(fmt.Sprintf("down%d.%s", len(q.table.Via)-i, quoteMySQL(q.table.Key)), end.column(q.table.Key)) + " COLLATE utf8mb4_bin"
			b.joins += downwards(q.table.Via[i:], last, alias, quoteMySQL, s.from, key)
			b.key = alias + ".tenantctl_key"
			missing += fmt.Sprintf(" WHEN %s.tenantctl_1 IS NULL THEN '%d'", alias, i)
			break
		}
		var on []string
		for j := range h.Columns {
			on = append(on, fmt.Sprintf("%s.%s = %s.%s", alias, quoteMySQL(h.References[j]), last, quoteMySQL(h.Columns[j])))
		}
		b.joins += fmt.Sprintf(" LEFT JOIN %s AS %s ON %s", quoteMySQL(h.Table), alias, strings.Join(on, " AND "))
		missing += fmt.Sprintf(" WHEN %s.%s IS NULL THEN '%d'", alias, quoteMySQL(h.References[0]), i)
		last = alias
		if keyTable, err = s.table(ctx, h.Table); err != nil {
			return nil, err
		}
	}
	if missing != "" {
		b.state = "CASE" + missing + " ELSE '' END"
	}
	if q.table.Key != "" && b.key == "''" {
		b.key = mysqlText(last+"."+quoteMySQL(q.table.Key), keyTable.column(q.table.Key))
	}
	if q.table.Where != "" {
		b.conds = append(b.conds, q.table.Where)
	}
	if q.since != "" {
		b.conds = append(b.conds, "x."+quoteMySQL(q.table.Since)+" >= "+mysqlLiteral(q.since))
	}
	for _, name := range t.primaryKey {
		b.place = append(b.place, *t.column(name))
	}
	if len(b.place) == 0 {
		b.place = t.columns
	}
	for _, f := range q.fields {
		if !f.column.Default {
			b.fields = append(b.fields, f)
		}
	}
	if q.maxRow > 0 {
		b.length = mysqlLength(b.longColumns())
	}
	if q.document {
		doc, err := s.document(ctx, q, b)
		if err != nil {
			return nil, err
		}
		b.cells = []string{doc}
		return b, nil
	}
	for _, f := range b.fields {
		b.cells = append(b.cells, b.cell(f))
	}
	return b, nil
}

// longColumns are those of a query's fields; of a table without a primary key all, since the whole row finds it again.
func (b *mysqlSelect) longColumns() []sourceColumn {
	if len(b.t.primaryKey) == 0 {
		return b.t.columns
	}
	var columns []sourceColumn
	for _, f := range b.fields {
		if c := b.column(f); c != nil {
			columns = append(columns, *c)
		}
	}
	return columns
}

// mysqlLength is the SQL of how many bytes a row has in those of some columns that are long: what is longer is not even sent.
func mysqlLength(columns []sourceColumn) string {
	var sizes []string
	for _, c := range columns {
		if typ := strings.ToLower(c.typ); strings.HasPrefix(typ, "long") || strings.HasPrefix(typ, "medium") && c.kind != kindInt || c.kind == kindJSON {
			size := "COALESCE(OCTET_LENGTH(x." + quoteMySQL(c.name) + "), 0)"
			if c.kind == kindBytes {
				size = "2 * " + size
			}
			sizes = append(sizes, size)
		}
	}
	return strings.Join(sizes, " + ")
}

// column is the source's column of a field; nil where the field is an expression.
func (b *mysqlSelect) column(f field) *sourceColumn {
	if f.column.From == "" {
		return nil
	}
	return b.t.column(f.column.From)
}

// cell is the SQL of a field's value as it is streamed.
func (b *mysqlSelect) cell(f field) string {
	expr := mysqlExpression("x", f.column)
	c := b.column(f)
	switch {
	case c == nil:
	case c.kind == kindFloat:
		// Of a float MySQL shows six digits only.
		return expr + "+0e0"
	case f.kind == kindOther && strings.HasPrefix(c.typ, "bit("):
		return mysqlBits(expr, c)
	case f.kind == kindText && zeroFilled(c):
		return mysqlText(expr, c)
	case spatial(c) && f.kind == kindBytes:
		return "ST_AsBinary(" + expr + ")"
	case spatial(c) && f.kind == kindText:
		return "ST_AsText(" + expr + ")"
	case spatial(c):
		// As PostGIS reads it; 0 is no reference system.
		return fmt.Sprintf("CONCAT(IF(ST_SRID(%[1]s) = 0, '', CONCAT('SRID=', ST_SRID(%[1]s), ';')), ST_AsText(%[1]s))", expr)
	}
	return expr
}

// zeroFilled tells whether a column's numbers are shown with zeros in front of them.
func zeroFilled(c *sourceColumn) bool { return strings.Contains(c.typ, "zerofill") }

// spatial tells whether a column holds geometries, which are no text and do not cast to one.
func spatial(c *sourceColumn) bool {
	return slices.Contains([]string{
		"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
		"geometrycollection", "geomcollection",
	}, strings.ToLower(c.typ))
}

// mysqlBits is the SQL of a bit(n) value as n digits.
func mysqlBits(expr string, c *sourceColumn) string {
	return "LPAD(BIN(" + expr + "), " + strings.Trim(c.typ, "bit()") + ", '0')"
}

// mysqlExpression is a column's value in SQL.
func mysqlExpression(alias string, c Column) string {
	switch {
	case c.SQL != "":
		return "(" + c.SQL + ")"
	case c.Value != nil:
		return mysqlLiteral(*c.Value)
	case c.Lookup != nil:
		var on []string
		for theirs, ours := range c.Lookup.Match {
			on = append(on, fmt.Sprintf("looked_up.%s = %s.%s", quoteMySQL(theirs), alias, quoteMySQL(ours)))
		}
		slices.Sort(on)
		return fmt.Sprintf("(SELECT looked_up.%s FROM %s AS looked_up WHERE %s)", quoteMySQL(c.Lookup.Take), quoteMySQL(c.Lookup.Table), strings.Join(on, " AND "))
	}
	return alias + "." + quoteMySQL(c.From)
}

// mysqlText is the SQL of a value as text, of bytes in hexadecimal; c is nil for an expression.
func mysqlText(expr string, c *sourceColumn) string {
	switch {
	case c == nil:
	case c.kind == kindBytes || spatial(c):
		return "LOWER(HEX(" + expr + "))"
	case strings.HasPrefix(c.typ, "bit("):
		expr += "+0"
	case c.kind == kindFloat:
		expr += "+0e0"
	}
	return "CAST(" + expr + " AS CHAR)"
}

// mysqlValue is SQL for a column's value that mysqlText gave.
func mysqlValue(text *string, c *sourceColumn) string {
	switch {
	case text == nil:
		return "NULL"
	case c != nil && (c.kind == kindBytes || spatial(c)):
		return "X'" + *text + "'"
	case c != nil && slices.Contains([]kind{kindInt, kindBool, kindDecimal, kindFloat}, c.kind) && isNumber(*text):
		return *text
	}
	return mysqlLiteral(*text)
}

func isNumber(s string) bool {
	end, err := 0, error(nil)
	if s != "" {
		end, err = skipNumber([]byte(s), 0)
	}
	return s != "" && err == nil && end == len(s)
}

// sql is the SELECT from a relation that is called x.
func (b *mysqlSelect) sql(from string, conds ...string) string {
	cells := []string{b.key, b.state, "0"}
	guard := func(cell string) string { return cell }
	if b.length != "" {
		cells[2] = b.length
		guard = func(cell string) string { return fmt.Sprintf("IF(%s > %d, NULL, %s)", b.length, b.q.maxRow, cell) }
	}
	for i := range b.place {
		text := mysqlText("x."+quoteMySQL(b.place[i].name), &b.place[i])
		if len(b.t.primaryKey) == 0 {
			text = guard(text)
		}
		cells = append(cells, text)
	}
	for _, c := range b.cells {
		cells = append(cells, guard(c))
	}
	return "SELECT " + strings.Join(cells, ", ") + " FROM " + from + " AS x" + b.joins + where(append(conds, b.conds...))
}

const mysqlHead = 3 // cells before those of the place

// stream runs a SELECT of sql and gives its records.
func (s *mysqlSource) stream(ctx context.Context, b *mysqlSelect, query string, positions bool, yield func(*record) error) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer s.release(conn)
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return s.failed("read table "+b.t.name, err)
	}
	defer func() { _ = rows.Close() }()
	types, err := rows.ColumnTypes()
	if err != nil {
		return s.failed("read table "+b.t.name, err)
	}
	first := mysqlHead + len(b.place)
	writings := make([]int, len(b.cells))
	for i := range b.cells {
		if writings[i] = writeText; !b.q.document {
			writings[i] = b.writing(types[first+i], b.fields[i])
		}
	}
	values := make([]sql.RawBytes, len(types))
	dest := make([]any, len(types))
	for i := range values {
		dest[i] = &values[i]
	}
	var rec record
	var line, ref []byte
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return s.failed("read table "+b.t.name, err)
		}
		ref = b.appendPlace(ref[:0], values[mysqlHead:first])
		rec = record{key: values[0], ref: ref}
		if positions {
			rec.after = string(ref)
		}
		if state := values[1]; len(state) > 0 {
			hop, _ := strconv.Atoi(string(state)) // our own number
			rec.key, rec.orphan = nil, b.q.table.Via[hop].missing()
		}
		length, _ := strconv.ParseInt(string(values[2]), 10, 64) // a sum of lengths
		line = line[:0]
		switch {
		case b.q.maxRow > 0 && length > b.q.maxRow:
			rec.tooLong = length
		case b.q.document && values[first] == nil:
			rec.broken = "the document is longer than the source's max_allowed_packet"
		default:
			for i, v := range values[first:] {
				line = appendMySQL(line, v, writings[i])
			}
			line = endLine(line)
			rec.line = line
		}
		if b.q.document && rec.line != nil && len(b.q.table.Embed)+len(b.q.table.Document) > 0 && !isJSONObject(unescape(nil, rec.line[:len(line)-1])) {
			rec.line, rec.broken = nil, "its document is no JSON object, or was cut off at the source's max_allowed_packet"
		}
		if err := yield(&rec); err != nil {
			return err
		}
	}
	return s.failed("read table "+b.t.name, rows.Err())
}

// appendPlace appends what finds a row again: the primary key's texts as a JSON array, else the row as an object.
func (b *mysqlSelect) appendPlace(ref []byte, values []sql.RawBytes) []byte {
	object := len(b.t.primaryKey) == 0
	open, end := byte('['), byte(']')
	if object {
		open, end = '{', '}'
	}
	ref = append(ref, open)
	for i, v := range values {
		if i > 0 {
			ref = append(ref, ',')
		}
		if object {
			ref = append(append(ref, jsonString(b.place[i].name)...), ':')
			ref = appendMySQLJSON(ref, v, &b.place[i])
			continue
		}
		ref = appendJSONText(ref, v)
	}
	return append(ref, end)
}

// appendMySQLJSON appends a value that mysqlText gave, as an original has it: numbers as such, bytes as PostgreSQL writes them.
func appendMySQLJSON(b, text []byte, c *sourceColumn) []byte {
	switch {
	case text == nil:
		return append(b, "null"...)
	case c.kind == kindBytes || spatial(c):
		return append(append(append(b, `"\\x`...), text...), '"')
	case c.kind != kindText && isNumber(string(text)):
		return append(b, text...)
	}
	return appendJSONText(b, text)
}

// placed is the condition on rows that come behind a place, or are at it, in the order of the primary key.
func (b *mysqlSelect) placed(place string, at bool) (string, error) {
	var values []*string
	if err := json.Unmarshal([]byte(place), &values); err != nil || len(values) != len(b.place) {
		return "", fmt.Errorf("go on in table %s: %q is no place in it", b.t.name, place)
	}
	var equal, behind []string
	for i := range b.place {
		column, value := "x."+quoteMySQL(b.place[i].name), mysqlValue(values[i], &b.place[i])
		behind = append(behind, strings.Join(append(slices.Clone(equal), column+" > "+value), " AND "))
		equal = append(equal, column+" = "+value)
	}
	if at {
		return "(" + strings.Join(equal, " AND ") + ")", nil
	}
	return "(" + strings.Join(behind, ") OR (") + ")", nil
}

// parts are ranges of an integer primary key, of equal width; other tables are one part.
func (s *mysqlSource) parts(ctx context.Context, q *query, size int64) ([]part, error) {
	t, err := s.table(ctx, q.table.From)
	if err != nil {
		return nil, err
	}
	one := []part{{id: "all", rows: t.rows}}
	if t.view || len(t.primaryKey) != 1 || t.column(t.primaryKey[0]).kind != kindInt {
		return one, nil
	}
	conn, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer s.release(conn)
	pk, table := quoteMySQL(t.primaryKey[0]), quoteMySQL(t.name)
	names, lengths := make([]string, len(t.columns)), make([]string, len(t.columns)) // named, since some may be invisible
	for i, c := range t.columns {
		names[i] = quoteMySQL(c.name)
		lengths[i] = "COALESCE(OCTET_LENGTH(x." + names[i] + "), 0)"
	}
	// Counted and sampled, since what the server guesses changes from one time to the next.
	var count int64
	var low, high, average sql.NullString
	err = conn.QueryRowContext(ctx, fmt.Sprintf(`SELECT COUNT(*), MIN(%[1]s), MAX(%[1]s), (SELECT CEILING(AVG(%[3]s)) FROM (SELECT %[4]s FROM %[2]s ORDER BY %[1]s LIMIT 1000) AS x) FROM %[2]s`,
		pk, table, strings.Join(lengths, " + "), strings.Join(names, ", "))).Scan(&count, &low, &high, &average)
	if err != nil {
		return nil, s.failed("look at table "+t.name, err)
	}
	from, ok := new(big.Int).SetString(low.String, 10)
	to, ok2 := new(big.Int).SetString(high.String, 10)
	bytesPerRow, _ := strconv.ParseInt(average.String, 10, 64) // 0 for an empty table
	n := (count*bytesPerRow + size - 1) / max(size, 1)
	if one[0].rows = count; !ok || !ok2 || n <= 1 {
		return one, nil
	}
	width := to.Sub(to, from)
	width.Add(width.Div(width, big.NewInt(n)), big.NewInt(1))
	parts := make([]part, n)
	for i := range parts {
		// The ends are open.
		p := &parts[i]
		if i > 0 {
			p.low = from.String()
		}
		from.Add(from, width)
		if i < len(parts)-1 {
			p.high = from.String()
		}
		p.id, p.rows = p.low+".."+p.high, count/n
	}
	return parts, nil
}

// resume goes on by ranges of the primary key; a table without one is loaded in one transaction.
func (s *mysqlSource) resume(_ context.Context, _ *query, before []plannedPart) ([]part, string, error) {
	return planned(before), "", nil
}

func (s *mysqlSource) read(ctx context.Context, q *query, p part, after string, yield func(*record) error) error {
	b, err := s.selection(ctx, q)
	if err != nil {
		return err
	}
	var conds []string
	if p.low != "" {
		conds = append(conds, "x."+quoteMySQL(b.t.primaryKey[0])+" >= "+p.low)
	}
	if p.high != "" {
		conds = append(conds, "x."+quoteMySQL(b.t.primaryKey[0])+" < "+p.high)
	}
	ordered := b.ordered()
	if after != "" {
		if !ordered {
			return tenant.Invalid("run the table again from its beginning", "table %s has no primary key that could be gone on by", b.t.name)
		}
		behind, err := b.placed(after, false)
		if err != nil {
			return err
		}
		conds = append(conds, behind)
	}
	sql := b.sql(s.from(b.t.name), conds...)
	if ordered {
		sql += " ORDER BY " + b.order()
	}
	return s.stream(ctx, b, sql, ordered, yield)
}

// ordered tells whether rows come in the order in which their primary keys compare.
func (b *mysqlSelect) ordered() bool {
	return !b.t.view && len(b.t.primaryKey) > 0 && !slices.ContainsFunc(b.place, func(c sourceColumn) bool {
		// An enum is sorted by its numbers and compared by its texts.
		return strings.HasPrefix(c.typ, "enum") || strings.HasPrefix(c.typ, "set") || c.kind == kindFloat
	})
}

func (b *mysqlSelect) order() string {
	names := make([]string, len(b.t.primaryKey))
	for i, n := range b.t.primaryKey {
		names[i] = "x." + quoteMySQL(n)
	}
	return strings.Join(names, ", ")
}
