package legacy

import (
	"bytes"
	"context"
	"crypto/md5"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

const mysqlChunk = 200 // rows that are looked for at once

const mysqlOrdinal = "tenantctl_ordinal"

func (s *mysqlSource) originals(ctx context.Context, q *query, refs [][]byte) ([]original, error) {
	plain := *q
	plain.document, plain.since = false, ""
	b, err := s.selection(ctx, &plain)
	if err != nil {
		return nil, err
	}
	out := make([]original, 0, len(refs))
	for chunk := range slices.Chunk(refs, mysqlChunk) {
		found, err := s.originalsOf(ctx, b, chunk)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// originalsOf finds rows again: by their primary keys, or as the rows that refs are.
func (s *mysqlSource) originalsOf(ctx context.Context, b *mysqlSelect, refs [][]byte) ([]original, error) {
	from, cond, ordinal := s.from(b.t.name), "", "0"
	at := map[string][]int{} // a place may be asked for twice
	if len(b.t.primaryKey) > 0 {
		var any []string
		for i, ref := range refs {
			at[string(ref)] = append(at[string(ref)], i)
			one, err := b.placed(string(ref), true)
			if err != nil {
				return nil, err
			}
			any = append(any, one)
		}
		cond = " WHERE " + strings.Join(any, " OR ")
	} else {
		rows := make([]json.RawMessage, len(refs))
		for i, ref := range refs {
			rows[i] = ref
		}
		var err error
		if from, err = s.literalRows(b.t, rows); err != nil {
			return nil, err
		}
		ordinal = "x." + mysqlOrdinal
	}
	length := "0"
	guard := func(cell string) string { return cell }
	if all := mysqlLength(b.t.columns); all != "" && b.q.maxRow > 0 {
		length = all
		guard = func(cell string) string { return fmt.Sprintf("IF(%s > %d, NULL, %s)", all, b.q.maxRow, cell) }
	}
	cells := []string{ordinal, length}
	for i := range b.place {
		cells = append(cells, mysqlText("x."+quoteMySQL(b.place[i].name), &b.place[i]))
	}
	for i := range b.t.columns {
		cells = append(cells, guard(mysqlText("x."+quoteMySQL(b.t.columns[i].name), &b.t.columns[i])))
	}
	for i, c := range b.cells {
		if q := b.fields; len(q) != len(b.cells) || !q[i].key { // a row that is too long has its key all the same
			c = guard(c)
		}
		cells = append(cells, c)
	}
	conn, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer s.release(conn)
	rows, err := conn.QueryContext(ctx, "SELECT "+strings.Join(cells, ", ")+" FROM "+from+" AS x"+cond)
	if err != nil {
		return nil, s.failed("find rows of table "+b.t.name+" again", err)
	}
	defer func() { _ = rows.Close() }()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, s.failed("find rows of table "+b.t.name+" again", err)
	}
	values, dest := make([]sql.RawBytes, len(types)), make([]any, len(types))
	for i := range values {
		dest[i] = &values[i]
	}
	out, seen := make([]original, len(refs)), 0
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return nil, s.failed("find rows of table "+b.t.name+" again", err)
		}
		o, place := b.original(values, types)
		indexes := at[place]
		if len(b.t.primaryKey) == 0 {
			var n int
			if _, err := fmt.Sscan(string(values[0]), &n); err != nil {
				return nil, s.failed("find rows of table "+b.t.name+" again", err)
			}
			indexes = []int{n}
			if o.row != nil && string(o.row) != "null" {
				o.row = bytes.Clone(refs[n])
			}
		}
		for _, i := range indexes {
			out[i] = o
			seen++
		}
	}
	if err := rows.Err(); err != nil {
		return nil, s.failed("find rows of table "+b.t.name+" again", err)
	}
	if seen > len(refs) && len(b.t.primaryKey) > 0 && b.t.view {
		return nil, tenant.Invalid("name columns that no two of its rows share", "rows of the %s share their primary_key", strings.Trim(b.t.name, "()"))
	}
	if seen < len(refs) {
		return nil, fmt.Errorf("source %s: %d rows of table %s that were read a moment ago are gone", s.name, len(refs)-seen, b.t.name)
	}
	return out, nil
}

const originalHead = 2 // cells before those of the place

// original makes an original of a result's row, and tells its place.
func (b *mysqlSelect) original(values []sql.RawBytes, types []*sql.ColumnType) (original, string) {
	place := string(b.appendPlace(nil, values[originalHead:originalHead+len(b.place)]))
	columns := values[originalHead+len(b.place):]
	fields := columns[len(b.t.columns):]
	var o original
	row := []byte{'{'}
	for i := range b.t.columns {
		if i > 0 {
			row = append(row, ',')
		}
		row = append(append(row, jsonString(b.t.columns[i].name)...), ':')
		row = appendMySQLJSON(row, columns[i], &b.t.columns[i])
	}
	o.row = append(row, '}')
	var length int64
	_, _ = fmt.Sscan(string(values[1]), &length) // a sum of lengths
	if b.q.maxRow > 0 && (length > b.q.maxRow || int64(len(o.row)) > 2*b.q.maxRow) {
		o.row = json.RawMessage("null")
	}
	var line []byte
	for i, v := range fields {
		line = appendMySQL(line, v, b.writing(types[len(types)-len(fields)+i], b.fields[i]))
	}
	switch o.key = jsonKey(b.fields, endLine(line)); {
	case o.key != "":
	case len(b.t.primaryKey) > 0:
		o.key = place
	default:
		o.key = fmt.Sprintf(`["%x"]`, md5.Sum(row))
	}
	return o, place
}

// literalRows is an SQL relation of rows that are given as JSON, numbered from 0.
func (s *mysqlSource) literalRows(t *sourceTable, rows []json.RawMessage) (string, error) {
	var selects []string
	for i, row := range rows {
		var values map[string]json.RawMessage
		if err := json.Unmarshal(row, &values); err != nil || values == nil {
			return "", tenant.Invalid("each line has a row as an object", "row %d of table %s is no JSON object", i+1, t.name)
		}
		cells := []string{fmt.Sprintf("%d AS %s", i, mysqlOrdinal)}
		for j := range t.columns {
			c := &t.columns[j]
			value, err := s.literalValue(t, c, values[c.name])
			if err != nil {
				return "", tenant.Invalid("correct it", "row %d of table %s: column %s is malformed", i+1, t.name, c.name)
			}
			cells = append(cells, value+" AS "+quoteMySQL(c.name))
		}
		selects = append(selects, "SELECT "+strings.Join(cells, ", "))
	}
	return "(" + strings.Join(selects, " UNION ALL ") + ")", nil
}

// literalValue is SQL for a JSON value of a column.
func (s *mysqlSource) literalValue(t *sourceTable, c *sourceColumn, value json.RawMessage) (string, error) {
	switch {
	case len(value) == 0 || value[0] == 'n':
		return "NULL", nil
	case value[0] == 't':
		return "1", nil
	case value[0] == 'f':
		return "0", nil
	case value[0] != '"' && value[0] != '{' && value[0] != '[':
		return string(value), nil
	}
	var text []byte
	switch {
	case value[0] == '"':
		var err error
		if text, err = appendUnquoted(nil, value); err != nil {
			return "", err
		}
		if digits, ok := strings.CutPrefix(string(text), `\x`); ok && (c.kind == kindBytes || spatial(c)) {
			if _, err := hex.DecodeString(digits); err != nil {
				return "", err
			}
			return "X'" + digits + "'", nil
		}
	default:
		text = value
		var doc bson.Raw
		if bson.UnmarshalExtJSON(append(append([]byte(`{"":`), value...), '}'), false, &doc) == nil {
			if _, data, ok := doc.Lookup("").BinaryOK(); ok {
				return "X'" + hex.EncodeToString(data) + "'", nil
			}
		}
	}
	s.mu.Lock()
	collation := s.collations[t.name+"."+c.name]
	s.mu.Unlock()
	if collation[0] == "" || collation[0] == "binary" {
		return mysqlLiteral(string(text)), nil
	}
	return fmt.Sprintf("CONVERT(%s USING %s) COLLATE %s", mysqlLiteral(string(text)), collation[0], collation[1]), nil
}

func (s *mysqlSource) reread(ctx context.Context, q *query, rows []json.RawMessage, yield func(*record) error) error {
	plain := *q
	plain.since = ""
	b, err := s.selection(ctx, &plain)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(rows, mysqlChunk) {
		from, err := s.literalRows(b.t, chunk)
		if err != nil {
			return err
		}
		if err := s.stream(ctx, b, b.sql(from)+" ORDER BY x."+mysqlOrdinal, false, yield); err != nil {
			return err
		}
	}
	return nil
}

func (s *mysqlSource) tenants(ctx context.Context, l *TenantList, yield func(tenantRow) error) error {
	from, column := "("+l.Query+")", (*sourceColumn)(nil)
	if l.From != "" {
		t, err := s.table(ctx, l.From)
		if err != nil {
			return err
		}
		from, column = quoteMySQL(l.From), t.column(l.Key)
	}
	if l.Distinct {
		from = fmt.Sprintf("(SELECT DISTINCT %s FROM %s AS x WHERE %s IS NOT NULL)", quoteMySQL(l.Key), from, quoteMySQL(l.Key))
	}
	cells, labels := tenantFields(l)
	for i, expr := range cells {
		cells[i] = "CAST((" + expr + ") AS CHAR)"
	}
	cells[0] = mysqlText("x."+quoteMySQL(l.Key), column)
	query := "SELECT " + strings.Join(cells, ", ") + " FROM " + from + " AS x"
	if l.Where != "" {
		query += " WHERE " + l.Where
	}
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer s.release(conn)
	values, dest := make([][]byte, len(cells)), make([]any, len(cells))
	for i := range values {
		dest[i] = &values[i]
	}
	err = mysqlRows(ctx, conn, query, func(scan func(...any) error) error {
		if err := scan(dest...); err != nil {
			return err
		}
		return yield(tenantOf(l, labels, values))
	})
	return s.failed("read the tenant list", err)
}
