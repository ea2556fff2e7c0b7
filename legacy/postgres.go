package legacy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
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
	utf8   bool          // its checksums are of the same bytes as the target's

	mu       sync.Mutex
	tables   map[string]*sourceTable // as described, by name
	leader   *pgxpool.Conn
	snapshot string
	settings map[string]string // of each session
	queries  map[string]tableQuery
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
	s := &postgresSource{name: name, schema: cmp.Or(spec.Schema, "public"), limit: make(chan struct{}, n), settings: maps.Clone(sessionSettings)}
	s.settings["search_path"] = quoteColumn(s.schema)
	maps.Copy(cfg.ConnConfig.RuntimeParams, s.settings)
	cfg.ConnConfig.RuntimeParams["client_encoding"] = "UTF8"
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig.Copy())
	if err != nil {
		return nil, s.failed("connect", err)
	}
	encoding := conn.PgConn().ParameterStatus("server_encoding")
	s.utf8 = encoding == "UTF8"
	if encoding == "SQL_ASCII" {
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
			CASE WHEN t.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 0 END, a.attnotnull,
			ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = coalesce(b.oid, t.oid) ORDER BY e.enumsortorder)
		FROM pg_class c
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_type t ON t.oid = a.atttypid
		LEFT JOIN pg_type b ON b.oid = t.typbasetype
		WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
			AND ($2::text[] IS NULL OR c.relname = ANY($2))
		ORDER BY c.relname, a.attnum`, []any{s.schema, names}, []any{&table, &view, &partitioned, &count, &size, &c.name, &c.typ, &typname, &c.length, &c.notNull, &c.labels}, func() error {
		t := byName[table]
		if t == nil {
			t = &sourceTable{name: table, view: view, partitioned: partitioned, rows: count, bytes: size}
			byName[table] = t
			out = append(out, t)
		}
		c.kind = postgresKind(typname)
		t.columns = append(t.columns, c)
		c.labels = nil
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
		WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND x.indisunique AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL
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
	defined, err := s.describeQueries(ctx, names)
	if err != nil {
		return nil, err
	}
	out = append(out, defined...)
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
		from = s.from(l.From)
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
	if err = s.beginReading(ctx, conn, ""); err == nil {
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
		if err = s.beginReading(ctx, conn, snapshot); err != nil {
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

// from is the table to read in SQL: without the rows of tables that inherit from it, which are read by themselves. Of a
// partitioned table they are all there is.
func (s *postgresSource) from(name string) string {
	if q, ok := s.queries[name]; ok {
		return q.relation()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[name]; t != nil && !t.view && !t.partitioned {
		return "ONLY " + s.relation(name)
	}
	return s.relation(name)
}

func quoteColumn(name string) string { return pgx.Identifier{name}.Sanitize() }

// literal writes a text constant that is safe whatever standard_conforming_strings says.
func literal(s string) string {
	s = strings.ReplaceAll(s, "'", "''")
	if strings.Contains(s, `\`) {
		return "E'" + strings.ReplaceAll(s, `\`, `\\`) + "'"
	}
	return "'" + s + "'"
}

// columns that a record has in front of the query's fields.
const (
	recordKey = iota
	recordRef
	recordState // empty, the index of the hop whose row is missing, or the length of a row that is too long as "L123"
	recordHead
)

var errStopped = errors.New("stopped")
