package schema

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// Export writes the rows of each table into a file, all of one moment. A partitioned table is one file, and each
// large object another. The version book is left out.
func (r *Resource) Export(ctx context.Context, t tenant.Tenant, format string, create func(name string) (io.WriteCloser, error)) ([]tenant.Exported, error) {
	if format != tenant.FormatCSV && format != tenant.FormatNDJSON {
		return nil, invalid("use csv or ndjson", "unknown format %q", format)
	}
	if err := r.joinObjectReaders(ctx, t); err != nil {
		return nil, err
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	defer rollback(ctx, conn)
	p := new(place)
	pg := conn.Conn().PgConn()
	opening := append([]command{cmd("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")}, r.readSettings(t, major(pg))...)
	if err := send(ctx, pg, append(opening, look(t, p))); err != nil {
		return nil, failure("begin in schema "+t.Schema, err)
	}
	if err := r.usable(ctx, conn, t, p); err != nil {
		return nil, failure("look at schema "+t.Schema, err)
	}
	tables, err := exported(ctx, conn)
	if err != nil {
		return nil, err
	}
	for i := range tables {
		if err := tables[i].write(ctx, conn, t, format, create); err != nil {
			return nil, err
		}
	}
	var out []tenant.Exported
	for _, e := range tables {
		out = append(out, e.Exported)
	}
	objects, err := r.exportObjects(ctx, pg, t, create)
	if err != nil {
		return nil, err
	}
	out = append(out, objects...)
	return out, failure("end reading schema "+t.Schema, send(ctx, pg, []command{cmd("COMMIT")}))
}

// exportTable is a table on its way into a file.
type exportTable struct {
	tenant.Exported
	only string // ONLY, but for a partitioned table
}

// exported lists what is to be exported, with its columns, in order of name.
func exported(ctx context.Context, conn *pgxpool.Conn) ([]exportTable, error) {
	var tables []exportTable
	list := cmd("%s%s", members, `SELECT relname, obj_description(oid, 'pg_class'), CASE relkind WHEN 'r' THEN 'ONLY ' END FROM r
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relname <> '`+migrationfile.VersionTable+`' ORDER BY relname`)
	at := map[string]int{}
	list.row = func(row [][]byte) {
		name := string(row[0])
		at[name] = len(tables)
		e := tenant.Exported{Store: tenant.KindPostgres, Name: name, Comment: string(row[1]), Fields: []tenant.ExportedField{}}
		tables = append(tables, exportTable{e, string(row[2])})
	}
	columns := cmd("%s%s", members, exportedColumns)
	columns.row = func(row [][]byte) {
		i, wanted := at[string(row[0])]
		if !wanted {
			return
		}
		tables[i].Fields = append(tables[i].Fields, tenant.ExportedField{
			Name: string(row[1]), Type: string(row[2]), Nullable: is(row[3]), Key: is(row[4]), References: string(row[5]), Comment: string(row[6]),
		})
	}
	err := send(ctx, conn.Conn().PgConn(), []command{list, columns})
	return tables, failure("list the tables", err)
}

const exportedColumns = `SELECT r.relname, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
	EXISTS (SELECT FROM x WHERE x.indrelid = r.oid AND x.indisprimary AND a.attnum = ANY (x.indkey::int2[])),
	(SELECT string_agg(DISTINCT k.confrelid::regclass || '.' || quote_ident(b.attname), ', ') FROM pg_constraint k
		CROSS JOIN unnest(k.conkey, k.confkey) AS pair(here, there) JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = pair.there
		WHERE k.conrelid = r.oid AND k.contype = 'f' AND k.conparentid = 0 AND pair.here = a.attnum),
	col_description(r.oid, a.attnum)
FROM r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE r.relkind IN ('r', 'p') AND NOT r.relispartition ORDER BY r.relname, a.attnum`

// write writes the rows of one table.
func (e *exportTable) write(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, format string, create func(name string) (io.WriteCloser, error)) (err error) {
	e.File = safe(e.Name) + "." + format
	f, err := create(e.File)
	if err != nil {
		return err
	}
	defer func() {
		if closing := f.Close(); err == nil {
			err = closing
		}
	}()
	var names []string
	for _, field := range e.Fields {
		names = append(names, "t."+quote(field.Name))
	}
	from := e.only + quote(t.Schema) + "." + quote(e.Name)
	sql := fmt.Sprintf("COPY (SELECT %s FROM %s t) TO STDOUT (FORMAT csv, HEADER)", strings.Join(names, ", "), from)
	if format == tenant.FormatNDJSON {
		// A column may be called as the alias: t.* is the row all the same. JSON has no control characters but between values,
		// so that COPY finds nothing to quote.
		sql = fmt.Sprintf(`COPY (SELECT translate(row_to_json(t.*)::text, E'\n\r', '  ') FROM %s t) TO STDOUT (FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01', NULL E'\x03')`, from)
	}
	l := newLines(f)
	tag, err := conn.Conn().PgConn().CopyTo(ctx, l, sql)
	if err != nil {
		return unreadable(e.Name, err)
	}
	e.Rows = tag.RowsAffected()
	return l.flush()
}
