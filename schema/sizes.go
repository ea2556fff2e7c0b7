package schema

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantctl/tenantctl/tenant"
)

var _ tenant.Sizer = (*Resource)(nil)

// sizesSQL finds each table by its name, which is indexed, and counts partitions with their table.
const sizesSQL = `SELECT s.i - 1, t.name, sum(%s)::bigint, sum(%s)::bigint, sum(greatest(l.reltuples, 0))::bigint
FROM unnest($1::text[]) WITH ORDINALITY s(schema, i) CROSS JOIN unnest($2::text[]) t(name)
JOIN pg_class c ON c.oid = to_regclass(quote_ident(s.schema) || '.' || quote_ident(t.name))
LEFT JOIN LATERAL pg_partition_tree(c.oid) p ON c.relkind = 'p' AND p.isleaf
JOIN pg_class l ON l.oid = coalesce(p.relid, c.oid)
GROUP BY s.i, t.name ORDER BY s.i, t.name`

// What a table measures now, which takes a short lock, and what it did when it was last analyzed, which takes none.
var (
	measuredNow    = [2]string{"pg_relation_size(l.oid)", "pg_total_relation_size(l.oid)"}
	measuredBefore = [2]string{"l.relpages * 8192.0", "l.relpages * 8192.0 + coalesce((SELECT sum(x.relpages) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = l.oid), 0) * 8192.0"}
)

// Sizes gives the sizes of some tables of many tenants in one query. Tables that live traffic keeps locked are not
// waited for: then all are taken as they were last analyzed.
func (r *Resource) Sizes(ctx context.Context, ts []tenant.Tenant, tables []string) ([][]tenant.TableSize, error) {
	out, err := r.sizes(ctx, ts, tables, measuredNow)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == lockNotAvailable {
		out, err = r.sizes(ctx, ts, tables, measuredBefore)
	}
	if err != nil {
		return nil, failure("measure the tables", err)
	}
	return out, nil
}

func (r *Resource) sizes(ctx context.Context, ts []tenant.Tenant, tables []string, measured [2]string) ([][]tenant.TableSize, error) {
	var schemas []string
	for _, t := range ts {
		schemas = append(schemas, t.Schema)
	}
	out := make([][]tenant.TableSize, len(ts))
	err := pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '500ms'"); err != nil {
			return err
		}
		sql := strings.Replace(strings.Replace(sizesSQL, "%s", measured[0], 1), "%s", measured[1], 1)
		rows, err := tx.Query(ctx, sql, schemas, tables)
		if err != nil {
			return err
		}
		var i int
		var size tenant.TableSize
		_, err = pgx.ForEachRow(rows, []any{&i, &size.Table, &size.Heap, &size.Total, &size.Rows}, func() error {
			out[i] = append(out[i], size)
			return nil
		})
		return err
	})
	return out, err
}
