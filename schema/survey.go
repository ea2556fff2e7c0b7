package schema

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// Survey looks at the sizes and rough structures of many schemas in one query.
func (r *Resource) Survey(ctx context.Context, ts []tenant.Tenant) ([]tenant.Shape, error) {
	var shapes []tenant.Shape
	err := r.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		schemas := "ARRAY["
		for i, t := range ts {
			if i > 0 {
				schemas += ", "
			}
			schemas += text(t.Schema)
		}
		c := cmd(surveyed, schemas+"]::text[]")
		c.row = func(row [][]byte) {
			bytes, _ := strconv.ParseInt(string(row[0]), 10, 64)
			shapes = append(shapes, tenant.Shape{Bytes: bytes, Structure: string(row[1])})
		}
		return send(ctx, conn.Conn().PgConn(), []command{c})
	})
	return shapes, failure("look at the tenants' schemas", err)
}

// surveyed finds tables by their dependence on the schema, which is indexed. A table that is dropped meanwhile has no size.
const surveyed = `SELECT coalesce(sum(pg_table_size(c.oid)) FILTER (WHERE c.relkind <> 'v'), 0),
	md5(string_agg(concat_ws(' ', c.relname, c.relkind, c.relnatts, c.relchecks, c.relhastriggers, c.relhasindex), ',' ORDER BY c.relname) FILTER (WHERE c.oid IS NOT NULL))
FROM unnest(%s) WITH ORDINALITY q(schema, i)
	LEFT JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident(q.schema)) AND d.classid = 'pg_class'::regclass
	LEFT JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'p', 'm', 'v')
GROUP BY i ORDER BY i`
