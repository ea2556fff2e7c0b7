package legacy

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// tableQuery is an SQL query that a mapping has in place of a table, so that no view has to be made in a source that is only
// read.
type tableQuery struct {
	sql        string
	primaryKey []string // columns that no two of its rows share
}

// querier is a source that takes queries in place of tables. They are known by names from then on.
type querier interface {
	define(queries map[string]tableQuery)
}

// queryName is how a table entry with a query calls it.
func queryName(t *Table) string {
	if t.ToCollection != "" {
		return "(query for " + t.ToCollection + ")"
	}
	return "(query for " + t.Name() + ")"
}

// define hands a source the queries of a mapping.
func (i *Importer) define(source string) {
	queries := map[string]tableQuery{}
	for _, t := range i.m.Tables {
		if t.Source == source && t.Query != "" {
			queries[t.From] = tableQuery{strings.TrimRight(strings.TrimSpace(t.Query), "; \n\t"), t.PrimaryKey}
		}
	}
	if s, ok := i.sources[source].(querier); ok {
		s.define(queries)
	}
}

// relation is the query where a table is read; a comment at its end ends with the line.
func (q tableQuery) relation() string { return "(" + q.sql + "\n)" }

// keyed reports columns of the key that the query does not give.
func (q tableQuery) keyed(t *sourceTable) error {
	for _, name := range q.primaryKey {
		if t.column(name) == nil {
			var names []string
			for _, c := range t.columns {
				names = append(names, c.name)
			}
			return tenant.Invalid("it has "+strings.Join(names, ", "), "%s gives no column %s of primary_key", t.name, name)
		}
	}
	t.primaryKey = slices.Clone(q.primaryKey)
	return nil
}

func (s *postgresSource) define(queries map[string]tableQuery) { s.queries = queries }

// describeQueries describes those of the mapping's queries that are named.
func (s *postgresSource) describeQueries(ctx context.Context, names []string) ([]*sourceTable, error) {
	var out []*sourceTable
	for _, name := range names {
		q, ok := s.queries[name]
		if !ok {
			continue
		}
		conn, err := s.acquire(ctx)
		if err != nil {
			return nil, err
		}
		t, err := describeQuery(ctx, conn, name, q)
		s.release(conn, err)
		if err != nil {
			return nil, s.failed("look at the "+strings.Trim(name, "()"), err)
		}
		out = append(out, t)
	}
	return out, nil
}

func describeQuery(ctx context.Context, conn *pgxpool.Conn, name string, q tableQuery) (*sourceTable, error) {
	t := &sourceTable{name: name, view: true}
	d, err := conn.Conn().PgConn().Prepare(ctx, "", "SELECT * FROM "+q.relation()+" AS x", nil)
	if err != nil {
		return nil, err
	}
	for _, f := range d.Fields {
		c := sourceColumn{name: f.Name}
		var typname string
		err := conn.QueryRow(ctx, `SELECT format_type(t.oid, $2), coalesce(b.typname, t.typname), CASE WHEN t.typname IN ('varchar', 'bpchar') AND $2 > 4 THEN $2 - 4 ELSE 0 END,
				ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = coalesce(b.oid, t.oid) ORDER BY e.enumsortorder)
			FROM pg_type t LEFT JOIN pg_type b ON b.oid = t.typbasetype WHERE t.oid = $1::bigint::oid`, int64(f.DataTypeOID), f.TypeModifier).Scan(&c.typ, &typname, &c.length, &c.labels)
		if err != nil {
			return nil, err
		}
		c.kind = postgresKind(typname)
		t.columns = append(t.columns, c)
	}
	var plan string
	if err := conn.QueryRow(ctx, "EXPLAIN (FORMAT JSON) SELECT * FROM "+q.relation()+" AS x").Scan(&plan); err != nil {
		return nil, err
	}
	var plans []struct {
		Plan struct {
			Rows int64 `json:"Plan Rows"`
		}
	}
	if json.Unmarshal([]byte(plan), &plans) == nil && len(plans) == 1 {
		t.rows = plans[0].Plan.Rows
	}
	return t, q.keyed(t)
}

func (s *mysqlSource) define(queries map[string]tableQuery) { s.queries = queries }

// from is a table, or a query of the mapping's, in SQL.
func (s *mysqlSource) from(name string) string {
	if q, ok := s.queries[name]; ok {
		return q.relation()
	}
	return quoteMySQL(name)
}

func (s *mysqlSource) describeQueries(ctx context.Context, conn *sql.Conn, names []string) ([]*sourceTable, error) {
	var out []*sourceTable
	for _, name := range names {
		q, ok := s.queries[name]
		if !ok {
			continue
		}
		rows, err := conn.QueryContext(ctx, "SELECT * FROM "+q.relation()+" AS x LIMIT 0")
		if err != nil {
			return nil, err
		}
		types, err := rows.ColumnTypes()
		if err != nil {
			return nil, err
		}
		if err := rows.Close(); err != nil {
			return nil, err
		}
		t := &sourceTable{name: name, view: true}
		for _, c := range types {
			t.columns = append(t.columns, mysqlResultColumn(c))
		}
		if err := q.keyed(t); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// mysqlResultColumn is a column of a result: it has no length, and a truth value is a number.
func mysqlResultColumn(result *sql.ColumnType) sourceColumn {
	dataType, unsigned := strings.CutPrefix(strings.ToLower(result.DatabaseTypeName()), "unsigned ")
	c := sourceColumn{name: result.Name(), typ: dataType}
	switch digits, scale, ok := result.DecimalSize(); {
	case ok && dataType == "decimal":
		c.typ = fmt.Sprintf("decimal(%d,%d)", digits, scale)
	case ok && scale > 0 && scale < 7 && slices.Contains([]string{"datetime", "timestamp", "time"}, dataType):
		c.typ = fmt.Sprintf("%s(%d)", dataType, scale)
	}
	if unsigned {
		c.typ += " unsigned"
	}
	c.kind = mysqlKind(dataType, c.typ)
	if nullable, ok := result.Nullable(); ok {
		c.notNull = !nullable
	}
	return c
}
