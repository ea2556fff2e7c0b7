package legacy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// selection is a query's SELECT from rel, an SQL relation; what is in it is called x.
func (s *postgresSource) selection(ctx context.Context, q *query, rel, ref string, conds ...string) (string, error) {
	t, err := s.table(ctx, q.table.From)
	if err != nil {
		return "", err
	}
	b, err := s.buildRow(ctx, q, t)
	if err != nil {
		return "", err
	}
	cells := append([]string{cmp.Or(b.shown, b.key), ref, b.state}, b.fields...)
	return "SELECT " + strings.Join(cells, ", ") + " FROM " + rel + " AS x" + b.joins + where(append(conds, b.conds...)), nil
}

func where(conds []string) string {
	if len(conds) == 0 {
		return ""
	}
	return " WHERE (" + strings.Join(conds, ") AND (") + ")"
}

// row is the SQL of a record.
type row struct {
	key, state string
	shown      string // key, without a cast where none is needed
	fields     []string
	joins      string
	conds      []string
}

func (s *postgresSource) buildRow(ctx context.Context, q *query, t *sourceTable) (*row, error) {
	b := &row{key: "''", state: "NULL"}
	last := "x"
	var missing []string
	for i, h := range q.table.Via {
		alias := fmt.Sprintf("via%d", i+1)
		if h.Many {
			key := fmt.Sprintf("down%d.%s::text", len(q.table.Via)-i, quoteColumn(q.table.Key))
			b.joins += downwards(q.table.Via[i:], last, alias, quoteColumn, s.from, key)
			b.key = alias + ".tenantctl_key"
			missing = append(missing, fmt.Sprintf("WHEN %s.tenantctl_1 IS NULL THEN '%d'", alias, i))
			break
		}
		var on []string
		for j := range h.Columns {
			on = append(on, fmt.Sprintf("%s.%s = %s.%s", alias, quoteColumn(h.References[j]), last, quoteColumn(h.Columns[j])))
		}
		b.joins += fmt.Sprintf(" LEFT JOIN %s AS %s ON %s", s.from(h.Table), alias, strings.Join(on, " AND "))
		missing = append(missing, fmt.Sprintf("WHEN %s.%s IS NULL THEN '%d'", alias, quoteColumn(h.References[0]), i))
		last = alias
	}
	if q.table.Key != "" && b.key == "''" {
		b.key = last + "." + quoteColumn(q.table.Key) + "::text"
		if !q.binary {
			b.shown = last + "." + quoteColumn(q.table.Key) // COPY writes it as text in any case
		}
	}
	size := ""
	if t != nil && q.maxRow > 0 {
		var err error
		if size, err = s.rowSize(ctx, q, t); err != nil {
			return nil, err
		}
	}
	var states []string
	if size != "" {
		// It is worked out once for each row.
		b.joins += " CROSS JOIN LATERAL (SELECT " + size + " AS bytes OFFSET 0) AS tenantctl_size"
		states = append(states, fmt.Sprintf("WHEN tenantctl_size.bytes > %d THEN 'L' || tenantctl_size.bytes", q.maxRow))
	}
	if states = append(states, missing...); len(states) > 0 {
		b.state = "CASE " + strings.Join(states, " ") + " END"
	}
	if q.table.Where != "" {
		b.conds = append(b.conds, q.table.Where)
	}
	if q.since != "" {
		b.conds = append(b.conds, fmt.Sprintf("x.%s >= %s", quoteColumn(q.table.Since), literal(q.since)))
	}
	if len(q.only) > 0 && q.table.Key != "" {
		keys := make([]string, len(q.only))
		for i, k := range q.only {
			keys[i] = literal(k)
		}
		b.conds = append(b.conds, fmt.Sprintf("%s = ANY(ARRAY[%s])", b.key, strings.Join(keys, ", ")))
	}
	if q.document {
		doc, err := s.document(ctx, q, t)
		if err != nil {
			return nil, err
		}
		b.fields = []string{doc}
	} else {
		for _, f := range q.fields {
			b.fields = append(b.fields, s.expression("x", f.column)+f.conv.cast)
		}
	}
	if size != "" {
		for i, f := range b.fields {
			b.fields[i] = fmt.Sprintf("CASE WHEN tenantctl_size.bytes <= %d THEN %s END", q.maxRow, f)
		}
	}
	return b, nil
}

// rowSize is the SQL of a row's length in bytes, that of its fields' texts; empty where the table holds nothing long. A value
// that is a thousandth of the limit where it is stored is not longer than the limit as text, and is not looked into.
func (s *postgresSource) rowSize(ctx context.Context, q *query, t *sourceTable) (string, error) {
	if !t.view && q.maxRow > 255*blockSize {
		// What is not stored outside lies in a block, at most 255 times shorter than it is.
		var long bool
		err := s.query(ctx, "look at table "+t.name, `SELECT EXISTS (SELECT FROM pg_class c
			WHERE c.reltoastrelid <> 0 AND pg_relation_size(c.reltoastrelid) >= $2
				AND (c.oid = $1::text::regclass OR c.oid IN (SELECT relid FROM pg_partition_tree($1::text::regclass))))`,
			[]any{s.relation(t.name), q.maxRow / 1000}, []any{&long}, func() error { return nil })
		if err != nil || !long {
			return "", err
		}
	}
	var stored, sizes []string
	for _, f := range q.fields {
		value, c := s.expression("x", f.column), t.column(f.column.From)
		if f.column.Value != nil {
			continue
		}
		stored = append(stored, "coalesce(pg_column_size("+value+"), 0)")
		switch {
		case c != nil && c.kind == kindBytes:
			sizes = append(sizes, "coalesce(2 * octet_length("+value+")::bigint + 2, 0)")
		case c != nil && (c.typ == "text" || strings.HasPrefix(c.typ, "character varying")):
			sizes = append(sizes, "coalesce(octet_length("+value+"), 0)::bigint")
		default:
			sizes = append(sizes, "coalesce(octet_length(("+value+")::text), 0)::bigint")
		}
	}
	if len(sizes) == 0 {
		return "", nil
	}
	return fmt.Sprintf("CASE WHEN %s > %d THEN %s ELSE 0 END", strings.Join(stored, " + "), q.maxRow/1000, strings.Join(sizes, " + ")), nil
}

// expression is a column's value in SQL.
func (s *postgresSource) expression(alias string, c Column) string {
	switch {
	case c.SQL != "":
		return "(" + c.SQL + ")"
	case c.Value != nil:
		return literal(*c.Value) + "::text"
	case c.Lookup != nil:
		var on []string
		for theirs, ours := range c.Lookup.Match {
			on = append(on, fmt.Sprintf("looked_up.%s = %s.%s", quoteColumn(theirs), alias, quoteColumn(ours)))
		}
		slices.Sort(on)
		return fmt.Sprintf("(SELECT looked_up.%s FROM %s AS looked_up WHERE %s)", quoteColumn(c.Lookup.Take), s.from(c.Lookup.Table), strings.Join(on, " AND "))
	}
	return alias + "." + quoteColumn(c.From)
}

func (s *postgresSource) read(ctx context.Context, q *query, p part, _ string, yield func(*record) error) error {
	t, err := s.table(ctx, q.table.From)
	if err != nil {
		return err
	}
	var b bounds
	if p.high != "" {
		if err := json.Unmarshal([]byte(p.high), &b); err != nil {
			return fmt.Errorf("read the bounds of part %s: %w", p.id, err)
		}
	}
	rel, conds, ref := p.low, b.conditions("x", t.primaryKey), "x.ctid"
	switch {
	case rel == "": // a view
		object, err := s.rowObject(ctx, q)
		if err != nil {
			return err
		}
		rel, conds, ref = s.from(q.table.From), nil, object+"::text"
	case t.partitioned:
		ref = "x.tableoid::text || x.ctid::text"
	}
	sql, err := s.selection(ctx, q, rel, ref, conds...)
	if err != nil {
		return err
	}
	return s.stream(ctx, q, sql, yield)
}

// stream runs a query by COPY and gives its records.
func (s *postgresSource) stream(ctx context.Context, q *query, sql string, yield func(*record) error) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	w := &recordWriter{q: q, yield: yield}
	var to io.Writer = w
	options := ""
	if q.binary {
		to, options = &tupleWriter{recordWriter: w}, " (FORMAT binary)"
	}
	_, err = conn.Conn().PgConn().CopyTo(ctx, to, "COPY ("+sql+") TO STDOUT"+options)
	s.release(conn, err)
	if w.err != nil {
		return w.err
	}
	return s.failed("read table "+q.table.From, err)
}

// recordWriter makes records of the lines that COPY writes, one at a time.
type recordWriter struct {
	q     *query
	yield func(*record) error
	rec   record
	text  []byte
	err   error
}

func (w *recordWriter) Write(line []byte) (int, error) {
	rec := &w.rec
	*rec = record{}
	rest := line
	var head [recordHead][]byte
	for i := range head {
		n := bytes.IndexByte(rest, '\t')
		if n < 0 {
			// No fields at all: every one of them is left to its default.
			n = len(rest) - 1
		}
		head[i], rest = rest[:n], rest[n+1:]
	}
	w.text = w.text[:0]
	if !isNull(head[recordKey]) {
		w.text = unescape(w.text, head[recordKey])
		rec.key = w.text
	}
	rec.ref, rec.line = head[recordRef], rest
	w.emit(head[recordState])
	if w.err != nil {
		return 0, errStopped
	}
	return len(line), nil
}

// emit gives the record away, after what its state says of it.
func (w *recordWriter) emit(state []byte) {
	rec := &w.rec
	if len(state) > 0 && !isNull(state) {
		if state[0] == 'L' {
			rec.tooLong, w.err = strconv.ParseInt(string(state[1:]), 10, 64)
			rec.line = nil
		} else {
			var hop int
			if hop, w.err = strconv.Atoi(string(state)); w.err == nil {
				rec.orphan, rec.key = w.q.table.Via[hop].missing(), nil
			}
		}
	}
	if w.err == nil {
		w.err = w.yield(rec)
	}
}

func isNull(field []byte) bool { return len(field) == 2 && field[0] == '\\' && field[1] == 'N' }
