package legacy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

const blockSize = 8192 // of PostgreSQL's heaps; another size only makes parts larger or smaller

// postgresSource reads a PostgreSQL database by COPY, all connections from one snapshot.
type postgresSource struct {
	name   string
	schema string
	pool   *pgxpool.Pool
	limit  chan struct{} // connections in use by readers

	mu       sync.Mutex
	tables   map[string]*sourceTable // as described, by name
	leader   *pgxpool.Conn
	snapshot string
	idle     []*pgxpool.Conn // inside the snapshot
}

// defaultConnections is how many connections a source gets where the mapping does not say.
const defaultConnections = 4

func openPostgres(ctx context.Context, spec *SourceSpec, url, name string) (source, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, tenant.Invalid("write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE, special characters in the password percent-encoded", "the URL of source %s cannot be read", name)
	}
	n := cmp.Or(spec.MaxConnections, defaultConnections)
	cfg.MaxConns = int32(n + 1) // and the one that keeps the snapshot
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	for k, v := range sessionSettings {
		cfg.ConnConfig.RuntimeParams[k] = v
	}
	s := &postgresSource{name: name, schema: cmp.Or(spec.Schema, "public"), limit: make(chan struct{}, n)}
	cfg.ConnConfig.RuntimeParams["search_path"] = quoteColumn(s.schema)
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig.Copy())
	if err != nil {
		return nil, s.failed("connect", err)
	}
	if conn.PgConn().ParameterStatus("server_encoding") == "SQL_ASCII" {
		// Its bytes may be anything: they come as they are, and the target refuses the rows that are no UTF-8.
		cfg.ConnConfig.RuntimeParams["client_encoding"] = "SQL_ASCII"
	}
	if err := conn.Close(ctx); err != nil {
		return nil, s.failed("connect", err)
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, s.failed("connect", err)
	}
	s.pool = pool
	return s, nil
}

// sessionSettings make values the same text on both sides, whatever the servers are set to.
var sessionSettings = map[string]string{
	"application_name": "tenantctl", "client_encoding": "UTF8", "timezone": "UTC", "datestyle": "ISO, MDY", "intervalstyle": "postgres",
	"extra_float_digits": "1", "bytea_output": "hex", "statement_timeout": "0", "idle_in_transaction_session_timeout": "0",
	// Blocks are read in their order: a part is a stretch of them.
	"synchronize_seqscans": "off",
}

func (s *postgresSource) failed(verb string, err error) error {
	return storeError("source "+s.name, verb, err)
}

func (s *postgresSource) close() {
	s.end()
	s.pool.Close()
}

func (s *postgresSource) describe(ctx context.Context, names []string) ([]*sourceTable, error) {
	byName := map[string]*sourceTable{}
	var out []*sourceTable
	var table, typname string
	var view, partitioned bool
	var count, size int64
	var c sourceColumn
	err := s.query(ctx, "look at the tables", `SELECT c.relname, c.relkind NOT IN ('r', 'p', 'm'), c.relkind = 'p', greatest(c.reltuples, 0)::bigint,
			(SELECT coalesce(sum(pg_relation_size(p.relid)), 0) FROM pg_partition_tree(c.oid) p WHERE p.isleaf) + CASE WHEN c.relkind IN ('r', 'm') THEN pg_relation_size(c.oid) ELSE 0 END,
			a.attname, format_type(a.atttypid, a.atttypmod), coalesce(b.typname, t.typname),
			CASE WHEN t.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 0 END, a.attnotnull
		FROM pg_class c
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_type t ON t.oid = a.atttypid
		LEFT JOIN pg_type b ON b.oid = t.typbasetype
		WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
			AND ($2::text[] IS NULL OR c.relname = ANY($2))
		ORDER BY c.relname, a.attnum`, []any{s.schema, names}, []any{&table, &view, &partitioned, &count, &size, &c.name, &c.typ, &typname, &c.length, &c.notNull}, func() error {
		t := byName[table]
		if t == nil {
			t = &sourceTable{name: table, view: view, partitioned: partitioned, rows: count, bytes: size}
			byName[table] = t
			out = append(out, t)
		}
		c.kind = postgresKind(typname)
		t.columns = append(t.columns, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var f foreignKey
	var contype string
	err = s.query(ctx, "look at the keys", `SELECT c.relname, k.conname, k.contype::text, coalesce(f.relname, ''),
			ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(n, o) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.o),
			ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(n, o) JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.o)
		FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid LEFT JOIN pg_class f ON f.oid = k.confrelid
		WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND k.contype IN ('p', 'u', 'f') AND k.conparentid = 0 AND (f.oid IS NULL OR f.relnamespace = c.relnamespace)
		UNION ALL
		SELECT c.relname, i.relname, 'u', '', ARRAY(SELECT a.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY u(n, o) JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.n ORDER BY u.o), '{}'
		FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
		WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND x.indisunique AND x.indpred IS NULL AND x.indexprs IS NULL
			AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u'))
		ORDER BY 1, 2`, []any{s.schema}, []any{&table, &f.name, &contype, &f.table, &f.columns, &f.references}, func() error {
		t := byName[table]
		if t == nil {
			return nil
		}
		switch contype {
		case "p":
			t.primaryKey = slices.Clone(f.columns)
		case "u":
			t.unique = append(t.unique, slices.Clone(f.columns))
		case "f":
			t.foreignKeys = append(t.foreignKeys, foreignKey{f.name, slices.Clone(f.columns), f.table, slices.Clone(f.references)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tables == nil {
		s.tables = map[string]*sourceTable{}
	}
	for _, t := range out {
		s.tables[t.name] = t
	}
	return out, nil
}

// table is what is known of a table, described when it is first asked for.
func (s *postgresSource) table(ctx context.Context, name string) (*sourceTable, error) {
	s.mu.Lock()
	t := s.tables[name]
	s.mu.Unlock()
	if t != nil {
		return t, nil
	}
	if _, err := s.describe(ctx, []string{name}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t = s.tables[name]; t == nil {
		return nil, tenant.Invalid("check the mapping", "source %s has no table %s in schema %s", s.name, name, s.schema)
	}
	return t, nil
}

func (s *postgresSource) tenants(ctx context.Context, l *TenantList, yield func(tenantRow) error) error {
	from := "(" + l.Query + ")"
	if l.From != "" {
		from = s.relation(l.From)
	}
	name := l.Name
	if name == "" {
		name = quoteColumn(l.Key)
	}
	domains := make([]string, len(l.Domains))
	for i, d := range l.Domains {
		domains[i] = "(" + d + ")::text"
	}
	labels := []string{}
	for k, v := range l.Labels {
		labels = append(labels, literal(k), "("+v+")::text")
	}
	where := "true"
	if l.Where != "" {
		where = l.Where
	}
	distinct := ""
	if l.Distinct {
		distinct = "DISTINCT "
	}
	sql := fmt.Sprintf(`SELECT %s%s::text, (%s)::text, ARRAY[%s]::text[], ARRAY[%s]::text[] FROM %s AS x WHERE %s`,
		distinct, quoteColumn(l.Key), name, strings.Join(domains, ", "), strings.Join(labels, ", "), from, where)
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer func() { s.release(conn, err) }()
	var rows pgx.Rows
	if rows, err = conn.Query(ctx, sql); err != nil {
		return s.failed("read the tenant list", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r tenantRow
		var domains, labels []*string
		if err = rows.Scan(&r.key, &r.name, &domains, &labels); err != nil {
			return s.failed("read the tenant list", err)
		}
		for _, d := range domains {
			if d != nil && *d != "" {
				r.domains = append(r.domains, *d)
			}
		}
		for i := 0; i+1 < len(labels); i += 2 {
			if labels[i+1] != nil {
				if r.labels == nil {
					r.labels = map[string]string{}
				}
				r.labels[*labels[i]] = *labels[i+1]
			}
		}
		if err = yield(r); err != nil {
			return err
		}
	}
	err = rows.Err()
	return s.failed("read the tenant list", err)
}

func (s *postgresSource) begin(ctx context.Context) (string, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return "", s.failed("connect", err)
	}
	var snapshot string
	if _, err = conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`); err == nil {
		err = conn.QueryRow(ctx, `SELECT pg_export_snapshot()`).Scan(&snapshot)
	}
	if err != nil {
		conn.Release()
		return "", s.failed("take a snapshot", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leader, s.snapshot = conn, snapshot
	return "", nil
}

func (s *postgresSource) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range append(s.idle, s.leader) {
		if c != nil {
			// A connection that is in a transaction is closed by the pool.
			c.Release()
		}
	}
	s.idle, s.leader, s.snapshot = nil, nil, ""
}

// acquire gives a connection inside the snapshot, where there is one.
func (s *postgresSource) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	select {
	case s.limit <- struct{}{}:
	case <-ctx.Done():
		return nil, s.failed("connect", ctx.Err())
	}
	s.mu.Lock()
	snapshot := s.snapshot
	if n := len(s.idle); n > 0 {
		conn := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		return conn, nil
	}
	s.mu.Unlock()
	conn, err := s.pool.Acquire(ctx)
	if err == nil && snapshot != "" {
		if _, err = conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT `+literal(snapshot)); err != nil {
			conn.Release()
		}
	}
	if err != nil {
		<-s.limit
		return nil, s.failed("connect", err)
	}
	return conn, nil
}

// release takes a connection back; after an error its transaction is of no use any more.
func (s *postgresSource) release(conn *pgxpool.Conn, err error) {
	s.mu.Lock()
	if err == nil && s.snapshot != "" && !conn.Conn().IsClosed() {
		s.idle = append(s.idle, conn)
		conn = nil
	}
	s.mu.Unlock()
	if conn != nil {
		conn.Release()
	}
	<-s.limit
}

// query runs a query within the connections that the source may have, and hands its rows to scan.
func (s *postgresSource) query(ctx context.Context, verb, sql string, args []any, into []any, each func() error) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	rows, err := conn.Query(ctx, sql, args...)
	if err == nil {
		_, err = pgx.ForEachRow(rows, into, each)
	}
	s.release(conn, err)
	return s.failed(verb, err)
}

// relation is a table's name in SQL.
func (s *postgresSource) relation(name string) string {
	return pgx.Identifier{s.schema, name}.Sanitize()
}

func quoteColumn(name string) string { return pgx.Identifier{name}.Sanitize() }

func literal(s string) string { return quoteLiteral(s) }

// quoteLiteral writes a text constant that is safe whatever standard_conforming_strings says.
func quoteLiteral(s string) string {
	s = strings.ReplaceAll(s, "'", "''")
	if strings.Contains(s, `\`) {
		return "E'" + strings.ReplaceAll(s, `\`, `\\`) + "'"
	}
	return "'" + s + "'"
}

func (s *postgresSource) parts(ctx context.Context, q *query, size int64) ([]part, error) {
	t, err := s.table(ctx, q.table.From)
	if err != nil {
		return nil, err
	}
	if t.view {
		return []part{{id: "all", rows: t.rows}}, nil
	}
	// Another hash of the parents is built for each part: it must not cost more than the part itself.
	for _, h := range q.table.Via {
		parent, err := s.table(ctx, h.Table)
		if err != nil {
			return nil, err
		}
		size = max(size, 4*parent.bytes)
	}
	var leaf string
	var bytes, tuples, node int64
	var ranges bool
	var out []part
	err = s.query(ctx, "look at table "+q.table.From, `SELECT c.oid::regclass::text, pg_relation_size(c.oid), greatest(c.reltuples, 0)::bigint, current_setting('server_version_num')::int >= 140000, pg_relation_filenode(c.oid)::bigint
		FROM pg_class c WHERE c.oid = $1::text::regclass AND c.relkind IN ('r', 'm')
		UNION ALL SELECT c.oid::regclass::text, pg_relation_size(c.oid), greatest(c.reltuples, 0)::bigint, current_setting('server_version_num')::int >= 140000, pg_relation_filenode(c.oid)::bigint
		FROM pg_partition_tree($1::text::regclass) p JOIN pg_class c ON c.oid = p.relid WHERE p.isleaf AND c.oid <> $1::text::regclass ORDER BY 1`, []any{s.relation(q.table.From)}, []any{&leaf, &bytes, &tuples, &ranges, &node}, func() error {
		blocks := (bytes + blockSize - 1) / blockSize
		step := max(1, size/blockSize)
		if !ranges || blocks == 0 {
			// Older servers read the whole table for each range.
			step = blocks + 1
		}
		for low := int64(0); low == 0 || low < blocks; low += step {
			p := part{
				// A table that was rewritten has its rows elsewhere: its checkpoints are of another file.
				id:  fmt.Sprintf("%s/%d/%d+%d", leaf, node, low, step),
				low: leaf, high: fmt.Sprintf("x.ctid >= '(%d,0)'", low), rows: tuples * min(step, blocks-low) / max(1, blocks),
			}
			if low+step < blocks {
				p.high += fmt.Sprintf(" AND x.ctid < '(%d,0)'", low+step)
			}
			out = append(out, p)
		}
		return nil
	})
	return out, err
}

// columns that a record has in front of the query's fields.
const (
	recordKey = iota
	recordRef
	recordState // empty, the index of the hop whose row is missing, or the length of a row that is too long as "L123"
	recordHead
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
	b := &row{key: "''", state: "''"}
	last := "x"
	var missing []string
	for i, h := range q.table.Via {
		alias := fmt.Sprintf("via%d", i+1)
		var on []string
		for j := range h.Columns {
			on = append(on, fmt.Sprintf("%s.%s = %s.%s", alias, quoteColumn(h.References[j]), last, quoteColumn(h.Columns[j])))
		}
		b.joins += fmt.Sprintf(" LEFT JOIN %s AS %s ON %s", s.relation(h.Table), alias, strings.Join(on, " AND "))
		missing = append(missing, fmt.Sprintf("WHEN %s.%s IS NULL THEN '%d'", alias, quoteColumn(h.References[0]), i))
		last = alias
	}
	if q.table.Key != "" {
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
		states = append(states, fmt.Sprintf("WHEN %s > %d THEN 'L' || (%s)", size, q.maxRow, size))
	}
	if states = append(states, missing...); len(states) > 0 {
		b.state = "CASE " + strings.Join(states, " ") + " ELSE '' END"
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
			b.fields = append(b.fields, s.expression("x", f.column))
		}
	}
	if size != "" {
		for i, f := range b.fields {
			b.fields[i] = fmt.Sprintf("CASE WHEN %s <= %d THEN %s END", size, q.maxRow, f)
		}
	}
	return b, nil
}

// rowSize is the SQL of a row's length in bytes; empty where the table holds nothing long. Lengths of values that lie
// outside the row are known without reading them.
func (s *postgresSource) rowSize(ctx context.Context, q *query, t *sourceTable) (string, error) {
	var long bool
	err := s.query(ctx, "look at table "+t.name, `SELECT EXISTS (SELECT FROM pg_class c WHERE c.reltoastrelid <> 0 AND pg_relation_size(c.reltoastrelid) >= $2
		AND (c.oid = $1::text::regclass OR c.oid IN (SELECT relid FROM pg_partition_tree($1::text::regclass))))`, []any{s.relation(t.name), q.maxRow / 200}, []any{&long}, func() error { return nil })
	if err != nil {
		return "", err
	}
	if !long && !t.view {
		return "", nil
	}
	var sizes []string
	for _, c := range t.columns {
		column := "x." + quoteColumn(c.name)
		switch {
		case c.kind == kindText && c.length == 0 && (c.typ == "text" || strings.HasPrefix(c.typ, "character varying")):
			sizes = append(sizes, "coalesce(octet_length("+column+"), 0)::bigint")
		case c.kind == kindBytes:
			sizes = append(sizes, "2 * coalesce(octet_length("+column+"), 0)::bigint")
		case c.kind == kindJSON || c.kind == kindOther:
			sizes = append(sizes, "4 * coalesce(pg_column_size("+column+"), 0)::bigint")
		}
	}
	return strings.Join(sizes, " + "), nil
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
		return fmt.Sprintf("(SELECT looked_up.%s FROM %s AS looked_up WHERE %s)", quoteColumn(c.Lookup.Take), s.relation(c.Lookup.Table), strings.Join(on, " AND "))
	}
	return alias + "." + quoteColumn(c.From)
}

func (s *postgresSource) read(ctx context.Context, q *query, p part, _ string, yield func(*record) error) error {
	t, err := s.table(ctx, q.table.From)
	if err != nil {
		return err
	}
	rel, conds, ref := p.low, []string{p.high}, "x.ctid"
	switch {
	case rel == "": // a view
		rel, conds, ref = s.relation(q.table.From), nil, "pg_catalog.to_jsonb(x)::text"
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

var errStopped = errors.New("stopped")

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
				rec.orphan, rec.key = w.q.table.Via[hop].Table, nil
			}
		}
	}
	if w.err == nil {
		w.err = w.yield(rec)
	}
}

func isNull(field []byte) bool { return len(field) == 2 && field[0] == '\\' && field[1] == 'N' }

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
	if q.maxRow > 0 {
		t, err := s.table(ctx, q.table.From)
		if err != nil {
			return err
		}
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
		rel, ref, cond = s.recordset(q, rows), "(x.tenantctl_ordinal - 1)::text", "true"
	} else {
		table := s.relation(q.table.From)
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
	sql := fmt.Sprintf(`SELECT %s, %s::text, CASE WHEN NOT (%s) THEN (to_jsonb(x) - 'tenantctl_ordinal')::text END, CASE WHEN NOT (%s) THEN %s END FROM %s AS x WHERE %s`, ref, s.rowKey(q), long, long, sum, rel, cond)
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
				o.row = json.RawMessage(strings.ToValidUTF8(*text, "\uFFFD"))
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
func (s *postgresSource) rowKey(q *query) string {
	var parts []string
	for _, f := range q.fields {
		if f.key {
			parts = append(parts, s.expression("x", f.column)+"::text")
		}
	}
	if len(parts) == 0 {
		return "jsonb_build_array(md5(x::text))"
	}
	return "jsonb_build_array(" + strings.Join(parts, ", ") + ")"
}

// recordset is an SQL relation of rows that are given as JSON.
func (s *postgresSource) recordset(q *query, rows []json.RawMessage) string {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, r := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(r)
	}
	b.WriteByte(']')
	return fmt.Sprintf("(SELECT r.*, row_number() OVER () AS tenantctl_ordinal FROM jsonb_populate_recordset(NULL::%s, %s::jsonb) AS r)", s.relation(q.table.From), literal(b.String()))
}

func (s *postgresSource) reread(ctx context.Context, q *query, rows []json.RawMessage, yield func(*record) error) error {
	for len(rows) > 0 {
		n := min(len(rows), 1000)
		sql, err := s.selection(ctx, q, s.recordset(q, rows[:n]), "x.tenantctl_ordinal::text")
		if err != nil {
			return err
		}
		if err := s.stream(ctx, q, sql+" ORDER BY x.tenantctl_ordinal", yield); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// checksum is the SQL of a row's checksum, a signed 64-bit number: the first half of the MD5 of its fields' texts.
func (s *postgresSource) checksum(q *query) string {
	texts := make([]string, len(q.fields))
	for i, f := range q.fields {
		texts[i] = canonicalSource(s.expression("x", f.column), f)
	}
	return checksumSQL(texts)
}

// canonicalSource is a value's text on the source's side: as the target's type writes it, where both servers know it.
func canonicalSource(expr string, f field) string {
	if f.cast == "" {
		return expr + "::text"
	}
	return expr + "::text::" + f.cast + "::text"
}

// checksumSQL is a signed 64-bit checksum of texts, in PostgreSQL.
func checksumSQL(texts []string) string {
	cells := make([]string, len(texts))
	for i, t := range texts {
		cells[i] = "coalesce(" + t + `, E'\x01') || E'\x1f'`
	}
	return "('x' || left(md5(" + strings.Join(cells, " || ") + "), 16))::bit(64)::bigint"
}

func (s *postgresSource) digest(ctx context.Context, q *query, without []string) (map[string]digest, error) {
	t, err := s.table(ctx, q.table.From)
	if err != nil {
		return nil, err
	}
	plain := *q
	plain.maxRow = 0
	b, err := s.buildRow(ctx, &plain, t)
	if err != nil {
		return nil, err
	}
	conds := b.conds
	if len(without) > 0 {
		keys := make([]string, len(without))
		for i, k := range without {
			keys[i] = literal(k)
		}
		conds = append(conds, fmt.Sprintf("NOT (%s = ANY(ARRAY[%s]::jsonb[]))", s.rowKey(q), strings.Join(keys, ", ")))
	}
	orphan := "false"
	if len(q.table.Via) > 0 {
		orphan = b.state + " <> ''"
	}
	sql := fmt.Sprintf(`SELECT CASE WHEN NOT (%s) THEN %s END, count(*), coalesce(sum(%s), 0)::text FROM %s AS x%s%s GROUP BY 1`,
		orphan, b.key, s.checksum(q), s.relation(q.table.From), b.joins, where(conds))
	conn, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { s.release(conn, err) }()
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, s.failed("compute checksums of table "+q.table.From, err)
	}
	out := map[string]digest{}
	var key *string
	var d digest
	var sum string
	_, err = pgx.ForEachRow(rows, []any{&key, &d.rows, &sum}, func() error {
		var err error
		if d.sum, err = modulo(sum); err != nil {
			return err
		}
		k := nobody
		if key != nil {
			k = *key
		}
		out[k] = d
		return nil
	})
	return out, s.failed("compute checksums of table "+q.table.From, err)
}

// nobody stands in a digest for rows without a key, or whose way to it is broken. No key of a tenant has a NUL in it.
const nobody = "\x00"

// modulo is a decimal number of any size, modulo 2^64.
func modulo(decimal string) (uint64, error) {
	n, ok := new(big.Int).SetString(decimal, 10)
	if !ok {
		return 0, fmt.Errorf("read a checksum: %q is no number", decimal)
	}
	return n.And(n, new(big.Int).SetUint64(^uint64(0))).Uint64(), nil
}
