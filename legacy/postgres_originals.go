package legacy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func (s *postgresSource) originals(ctx context.Context, q *query, refs [][]byte) ([]original, error) {
	out := make([]original, len(refs))
	byTable := map[string][]int{}
	for i, ref := range refs {
		// A place is a ctid such as (0,1), with the partition's oid in front where there are some; a row of a view is its own.
		oid, _, _ := bytes.Cut(ref, []byte("("))
		if ref[0] == '{' {
			oid = []byte(ofView)
		}
		byTable[string(oid)] = append(byTable[string(oid)], i)
	}
	for oid, indexes := range byTable {
		for chunk := range slices.Chunk(indexes, 1000) {
			if err := s.originalsOf(ctx, q, oid, chunk, refs, out); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// ofView stands for rows that are given as JSON.
const ofView = "{"

// originalsOf reads rows of one table by their places, with checksums; where one of those fails, one by one.
func (s *postgresSource) originalsOf(ctx context.Context, q *query, oid string, indexes []int, refs [][]byte, out []original) error {
	err := s.readOriginals(ctx, q, oid, indexes, refs, out, true)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	if len(indexes) == 1 {
		return s.readOriginals(ctx, q, oid, indexes, refs, out, false)
	}
	half := len(indexes) / 2
	if err := s.originalsOf(ctx, q, oid, indexes[:half], refs, out); err != nil {
		return err
	}
	return s.originalsOf(ctx, q, oid, indexes[half:], refs, out)
}

func (s *postgresSource) readOriginals(ctx context.Context, q *query, oid string, indexes []int, refs [][]byte, out []original, sums bool) error {
	size := "0"
	t, err := s.table(ctx, q.table.From)
	if err != nil {
		return err
	}
	if q.maxRow > 0 {
		text, err := s.rowSize(ctx, q, t)
		if err != nil {
			return err
		}
		size = cmp.Or(text, size)
	}
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer func() { s.release(conn, err) }()
	var rel, ref, cond string
	if oid == ofView {
		rows := make([]json.RawMessage, len(indexes))
		for i, at := range indexes {
			rows[i] = refs[at]
		}
		rel, ref, cond = s.recordset(t, rows), "(x."+t.ordinal()+" - 1)::text", "true"
	} else {
		table := s.from(q.table.From)
		if oid != "" {
			if err = conn.QueryRow(ctx, `SELECT $1::text::oid::regclass::text`, oid).Scan(&table); err != nil {
				return s.failed("find a row again", err)
			}
		}
		places := make([]string, len(indexes))
		for i, at := range indexes {
			places[i] = literal(string(refs[at][len(oid):]))
		}
		rel, ref, cond = table, "x.ctid::text", "x.ctid = ANY(ARRAY["+strings.Join(places, ", ")+"]::tid[])"
	}
	sum := "NULL::bigint"
	if sums && !q.document {
		sum = s.checksum(q)
	}
	if _, err = conn.Exec(ctx, "SAVEPOINT originals"); err != nil {
		return s.failed("find a row again", err)
	}
	long := fmt.Sprintf("(%s) > %d", size, max(q.maxRow, 1))
	row, err := s.rowObject(ctx, q)
	if err != nil {
		return err
	}
	sql := fmt.Sprintf(`SELECT %s, %s::text, CASE WHEN NOT (%s) THEN %s::text END, CASE WHEN NOT (%s) THEN %s END FROM %s AS x WHERE %s`,
		ref, s.rowKey(q, t), long, row, long, sum, rel, cond)
	rows, qerr := conn.Query(ctx, sql)
	var place, key string
	var text *string
	var checksum *int64
	found := 0
	if qerr == nil {
		at := map[string][]int{} // a row that is copied to every tenant is rejected many times
		for i, index := range indexes {
			place := strconv.Itoa(i)
			if oid != ofView {
				place = string(refs[index][len(oid):])
			}
			at[place] = append(at[place], index)
		}
		_, qerr = pgx.ForEachRow(rows, []any{&place, &key, &text, &checksum}, func() error {
			o := original{key: compactKey(key)}
			if text != nil {
				o.row = readable(json.RawMessage(strings.ToValidUTF8(*text, "\uFFFD")), t)
			}
			if checksum != nil {
				u := uint64(*checksum)
				o.sum = &u
			}
			for _, index := range at[place] {
				out[index] = o
				found++
			}
			return nil
		})
	}
	if qerr != nil {
		if _, rerr := conn.Exec(ctx, "ROLLBACK TO originals"); rerr != nil {
			err = rerr
		}
		return s.failed("find a row again", qerr)
	}
	if _, err = conn.Exec(ctx, "RELEASE originals"); err != nil {
		return s.failed("find a row again", err)
	}
	if found < len(indexes) {
		return fmt.Errorf("source %s: %d rows of table %s that were read a moment ago are gone", s.name, len(indexes)-found, q.table.From)
	}
	return nil
}

// compactKey is a JSON array without spaces, whoever wrote it.
func compactKey(key string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(key)) != nil {
		return key
	}
	return b.String()
}

// rowKey is the SQL of what names a row: the target's primary key as a JSON array, else a checksum of the whole row.
func (s *postgresSource) rowKey(q *query, t *sourceTable) string {
	var parts []string
	for _, f := range q.fields {
		if f.key {
			parts = append(parts, s.expression("x", f.column)+"::text")
		}
	}
	if len(parts) == 0 {
		for _, c := range t.columns {
			parts = append(parts, "x."+quoteColumn(c.name))
		}
		return "jsonb_build_array(md5(ROW(" + strings.Join(parts, ", ") + ")::text))"
	}
	return "jsonb_build_array(" + strings.Join(parts, ", ") + ")"
}

// rowObject is the SQL of the row x as a JSON object, from which recordset makes the same row again: what has no form of
// its own in JSON by its text, such as arrays, hstore and composites, and JSON too, for its spelling.
func (s *postgresSource) rowObject(ctx context.Context, q *query) (string, error) {
	t, err := s.table(ctx, q.table.From)
	if err != nil {
		return "", err
	}
	cells := make([]string, len(t.columns))
	for i, c := range t.columns {
		cells[i] = "x." + quoteColumn(c.name)
		if c.kind == kindOther || c.kind == kindJSON {
			cells[i] += "::text AS " + quoteColumn(c.name)
		}
	}
	return "(SELECT row_to_json(o.*) FROM (SELECT " + strings.Join(cells, ", ") + ") AS o)", nil
}

// readable shows JSON as such in a row of rowObject, where recordset reads the same value from it: a text otherwise.
func readable(row json.RawMessage, t *sourceTable) json.RawMessage {
	return changeJSON(row, t, func(c *sourceColumn, value []byte) []byte {
		var text string
		if json.Unmarshal(value, &text) != nil || value[0] != '"' || text == "" || text[0] == '"' || text == "null" || strings.Contains(text, `\u0000`) {
			return value
		}
		var b bytes.Buffer
		if json.Compact(&b, []byte(text)) != nil || c.typ != "jsonb" && b.String() != text {
			return value
		}
		return b.Bytes()
	})
}

// changeJSON changes the values of a row's JSON columns.
func changeJSON(row json.RawMessage, t *sourceTable, change func(c *sourceColumn, value []byte) []byte) json.RawMessage {
	if !slices.ContainsFunc(t.columns, func(c sourceColumn) bool { return c.kind == kindJSON }) {
		return row
	}
	out := []byte{'{'}
	err := jsonMembers(row, func(quoted, value []byte) {
		var name string
		if json.Unmarshal(slices.Concat([]byte{'"'}, quoted, []byte{'"'}), &name) != nil {
			name = string(quoted)
		}
		if c := t.column(name); c != nil && c.kind == kindJSON {
			value = change(c, value)
		}
		out = append(fmt.Appendf(out, "%s:", jsonString(name)), value...)
		out = append(out, ',')
	})
	if err != nil || len(out) == 1 {
		return row
	}
	out[len(out)-1] = '}'
	return out
}

// recordset is an SQL relation of rows that are given as JSON, with their numbers in the column that ordinal names.
func (s *postgresSource) recordset(t *sourceTable, rows []json.RawMessage) string {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, r := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(r)
	}
	b.WriteByte(']')
	cells, types := make([]string, len(t.columns)), make([]string, len(t.columns))
	for i, c := range t.columns {
		name := quoteColumn(c.name)
		cells[i], types[i] = "r."+name, name+" "+c.typ
		if c.kind == kindJSON {
			cells[i], types[i] = "r."+name+"::"+c.typ+" AS "+name, name+" text"
		}
	}
	return fmt.Sprintf("(SELECT %s, row_number() OVER () AS %s FROM json_to_recordset(%s::json) AS r (%s))",
		strings.Join(cells, ", "), t.ordinal(), literal(b.String()), strings.Join(types, ", "))
}

// ordinal is a column's name that the table does not have.
func (t *sourceTable) ordinal() string {
	name := "tenantctl_ordinal"
	for t.column(name) != nil {
		name += "_"
	}
	return name
}

func (s *postgresSource) reread(ctx context.Context, q *query, rows []json.RawMessage, yield func(*record) error) error {
	t, err := s.table(ctx, q.table.From)
	if err != nil {
		return err
	}
	for len(rows) > 0 {
		n := min(len(rows), 1000)
		sql, err := s.selection(ctx, q, s.recordset(t, rows[:n]), "x."+t.ordinal()+"::text")
		if err != nil {
			return err
		}
		if err := s.stream(ctx, q, sql+" ORDER BY x."+t.ordinal(), yield); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}
