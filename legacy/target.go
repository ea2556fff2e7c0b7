package legacy

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// target is a tenant's model in PostgreSQL, as its migrations made it: tables by name.
type target map[string]*targetTable

// targetTable is a table that rows are loaded into.
type targetTable struct {
	name        string
	columns     []targetColumn
	primaryKey  []string
	foreignKeys []foreignKey // to tables of the same schema
	partitioned bool
	code        bool // something of the migrations' own runs when a row comes: a trigger, check, default or expression
}

type targetColumn struct {
	name       string
	typ        string // as format_type writes it
	kind       kind
	length     int  // most characters of a text; 0 for no limit
	notNull    bool // without a default: a value is needed
	hasDefault bool // a default, an identity or a sequence
	// sequenceMax is the last value that the column's sequence gives, where that is less than the type holds; else 0.
	// sequenceMin is the same of a sequence that goes down.
	sequenceMax, sequenceMin int64
	sequence                 bool     // the default takes a value from a sequence
	generated                bool     // from other columns: nothing can be loaded into it
	labels                   []string // of an enum
}

func (t *targetTable) column(name string) *targetColumn {
	for i := range t.columns {
		if t.columns[i].name == name {
			return &t.columns[i]
		}
	}
	return nil
}

// selfReferences tells whether rows of the table refer to others of the same table.
func (t *targetTable) selfReferences() bool {
	return slices.ContainsFunc(t.foreignKeys, func(f foreignKey) bool { return f.table == t.name })
}

// queryer is what a connection, a pool and a transaction have in common.
type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// readTarget looks at the tables of a schema. Version books are left out.
func readTarget(ctx context.Context, db queryer, schema string) (target, error) {
	out := target{}
	rows, err := db.Query(ctx, `SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), t.typname, coalesce(b.typname, t.typname),
			CASE WHEN t.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 0 END,
			a.attnotnull, a.atthasdef AND a.attgenerated = '' OR a.attidentity <> '', a.attgenerated <> '',
			coalesce(array_position(k.conkey, a.attnum), 0), c.relkind = 'p',
			coalesce((SELECT min(q.seqmax) FROM (`+sequencesOf+`) o JOIN pg_sequence q ON q.seqrelid = o.sequence
				WHERE o."table" = c.oid AND o."column" = a.attname AND q.seqincrement > 0 AND q.seqmax < CASE t.typname WHEN 'int2' THEN 32767 WHEN 'int4' THEN 2147483647 ELSE 9223372036854775807 END), 0),
			coalesce((SELECT max(q.seqmin) FROM (`+sequencesOf+`) o JOIN pg_sequence q ON q.seqrelid = o.sequence
				WHERE o."table" = c.oid AND o."column" = a.attname AND q.seqincrement < 0 AND q.seqmin > CASE t.typname WHEN 'int2' THEN -32768 WHEN 'int4' THEN -2147483648 ELSE -9223372036854775808 END), 0),
			c.relhastriggers AND EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal)
				OR EXISTS (SELECT FROM pg_constraint h WHERE h.conrelid = c.oid AND h.contype NOT IN ('p', 'u', 'f', 'n'))
				OR EXISTS (SELECT FROM pg_attrdef d WHERE d.adrelid = c.oid)
				OR EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND (x.indexprs IS NOT NULL OR x.indpred IS NOT NULL))
				OR EXISTS (SELECT FROM pg_attribute y JOIN pg_type z ON z.oid = y.atttypid WHERE y.attrelid = c.oid AND y.attnum > 0 AND z.typnamespace <> 'pg_catalog'::regnamespace),
			ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = coalesce(b.oid, t.oid) ORDER BY e.enumsortorder),
			EXISTS (SELECT FROM (`+sequencesOf+`) o JOIN pg_sequence q ON q.seqrelid = o.sequence WHERE o."table" = c.oid AND o."column" = a.attname)
		FROM pg_class c
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_type t ON t.oid = a.atttypid
		LEFT JOIN pg_type b ON b.oid = t.typbasetype
		LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
		WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> 'goose_db_version'
		ORDER BY c.relname, a.attnum`, schema)
	if err != nil {
		return nil, targetError("look at the tables of schema "+schema, err)
	}
	var table, base, typname string
	var c targetColumn
	var position int
	var code, partitioned bool
	keys := map[string]map[int]string{}
	_, err = pgx.ForEachRow(rows, []any{&table, &c.name, &c.typ, &typname, &base, &c.length, &c.notNull, &c.hasDefault, &c.generated, &position, &partitioned, &c.sequenceMax, &c.sequenceMin, &code, &c.labels, &c.sequence}, func() error {
		t := out[table]
		if t == nil {
			t = &targetTable{name: table, code: code, partitioned: partitioned}
			out[table], keys[table] = t, map[int]string{}
		}
		c.kind = postgresKind(base)
		t.columns = append(t.columns, c)
		c.labels = nil
		if position > 0 {
			keys[table][position] = c.name
		}
		return nil
	})
	if err != nil {
		return nil, targetError("look at the tables of schema "+schema, err)
	}
	for name, key := range keys {
		for i := 1; i <= len(key); i++ {
			out[name].primaryKey = append(out[name].primaryKey, key[i])
		}
	}
	return out, out.readForeignKeys(ctx, db, schema)
}

func (m target) readForeignKeys(ctx context.Context, db queryer, schema string) error {
	rows, err := db.Query(ctx, `SELECT k.conname, c.relname, f.relname,
			ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(n, o) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.o),
			ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(n, o) JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.o)
		FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid
		WHERE c.relnamespace = to_regnamespace(quote_ident($1)) AND f.relnamespace = c.relnamespace AND k.contype = 'f' AND k.conparentid = 0
		ORDER BY c.relname, k.conname`, schema)
	if err != nil {
		return targetError("look at the foreign keys of schema "+schema, err)
	}
	var f foreignKey
	var table string
	_, err = pgx.ForEachRow(rows, []any{&f.name, &table, &f.table, &f.columns, &f.references}, func() error {
		if t := m[table]; t != nil {
			k := f
			k.columns, k.references = slices.Clone(f.columns), slices.Clone(f.references)
			t.foreignKeys = append(t.foreignKeys, k)
		}
		return nil
	})
	return targetError("look at the foreign keys of schema "+schema, err)
}

// postgresKind is the kind of a PostgreSQL type by its name in pg_type.
func postgresKind(typname string) kind {
	switch typname {
	case "int2", "int4", "int8", "oid":
		return kindInt
	case "numeric":
		return kindDecimal
	case "float4", "float8":
		return kindFloat
	case "bool":
		return kindBool
	case "text", "varchar", "bpchar", "name", "citext":
		return kindText
	case "bytea":
		return kindBytes
	case "date":
		return kindDate
	case "time":
		return kindTime
	case "timestamp":
		return kindTimestamp
	case "timestamptz":
		return kindInstant
	case "interval":
		return kindInterval
	case "uuid":
		return kindUUID
	case "json", "jsonb":
		return kindJSON
	}
	return kindOther
}

// loadOrder gives tables in an order in which each comes after those it refers to. Tables of a cycle share a level, and
// are named in cycles.
func (m target) loadOrder(names []string) (levels [][]string, cycles [][]string) {
	left := map[string]bool{}
	for _, n := range names {
		left[n] = true
	}
	for len(left) > 0 {
		var level []string
		for n := range left {
			if !m.waits(n, left) {
				level = append(level, n)
			}
		}
		if len(level) == 0 {
			level = m.oneCycle(left)
			cycles = append(cycles, level)
		}
		slices.Sort(level)
		levels = append(levels, level)
		for _, n := range level {
			delete(left, n)
		}
	}
	return levels, cycles
}

// waits tells whether a table refers to another of those that are left.
func (m target) waits(name string, left map[string]bool) bool {
	t := m[name]
	return t != nil && slices.ContainsFunc(t.foreignKeys, func(f foreignKey) bool { return f.table != name && left[f.table] })
}

// oneCycle gives tables that refer to each other in a circle, and to nothing else that is left.
func (m target) oneCycle(left map[string]bool) []string {
	var best []string
	for start := range left {
		reached := map[string]bool{}
		m.reach(start, left, reached)
		if reached[start] && (best == nil || len(reached) < len(best)) {
			best = best[:0:0]
			for n := range reached {
				best = append(best, n)
			}
		}
	}
	return best
}

func (m target) reach(from string, left, reached map[string]bool) {
	t := m[from]
	if t == nil {
		return
	}
	for _, f := range t.foreignKeys {
		if left[f.table] && !reached[f.table] {
			reached[f.table] = true
			m.reach(f.table, left, reached)
		}
	}
}

// targetError says what PostgreSQL would not do.
func targetError(verb string, err error) error {
	return storeError(tenant.KindPostgres, verb, err)
}
