package schema

import (
	"context"
	"strconv"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

var _ tenant.Counter = (*Resource)(nil)

// countSQL makes one statement a table, which counts it: partitions are counted with their table.
const countSQL = `SELECT c.relname, format('SELECT count(*) FROM %%I.%%I', n.nspname, c.relname)
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(%s) AND d.classid = 'pg_class'::regclass
	AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> '` + migrationfile.VersionTable + `'
ORDER BY c.relname`

// Count counts the rows of every table.
func (r *Resource) Count(ctx context.Context, t tenant.Tenant) (map[string]int64, error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	rows := map[string]int64{}
	var tables, counts []string
	find := cmd(countSQL, text(quote(t.Schema)))
	find.row = func(row [][]byte) {
		tables, counts = append(tables, string(row[0])), append(counts, string(row[1]))
	}
	if err := send(ctx, conn.Conn().PgConn(), []command{find}); err != nil {
		return nil, failure("find the tables of schema "+t.Schema, err)
	}
	for i, name := range tables {
		count := cmd("%s", counts[i])
		count.row = func(row [][]byte) {
			rows[name], _ = strconv.ParseInt(string(row[0]), 10, 64) // the server writes a number
		}
		if err := send(ctx, conn.Conn().PgConn(), []command{count}); err != nil {
			return nil, failure("count table "+name, err)
		}
	}
	return rows, nil
}
