package legacy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// keyedSum is a row by its key and its checksum.
type keyedSum struct {
	key string
	sum int64
}

// differences finds the first rows of one tenant that are not the same on both sides.
func (v *run) differences(ctx context.Context, sides []*sourceSide, n int32, aside *setAside) ([]Difference, error) {
	p := sides[0].pass
	if p.table.ToCollection != "" {
		return v.differentDocuments(ctx, p, n, aside)
	}
	at := p.tenants[n]
	id, name := v.tenantAt(at), v.list[at].tenant.Name
	var keys []string
	var sums []int64
	for _, r := range aside.rows[id] {
		keys, sums = append(keys, r.key), append(sums, r.sum)
	}
	sql := v.keyedDifferences(p, at, aside)
	if !slices.ContainsFunc(p.q.fields, func(f field) bool { return f.key }) {
		sql = v.keylessDifferences(p, at, aside)
	}
	var out []Difference
	var alone []*pass
	for _, s := range sides {
		p := v.alone(s.pass, at)
		v.unfitOf(p, aside, &out)
		alone = append(alone, p)
	}
	err := v.stage(ctx, alone, true, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sql, keys, sums)
		if err != nil {
			return targetError("compare "+p.name, err)
		}
		var key string
		var notThere, notHere bool
		_, err = pgx.ForEachRow(rows, []any{&key, &notThere, &notHere}, func() error {
			what := "differs"
			switch {
			case notThere:
				what = "not in the source"
			case notHere:
				what = "missing"
			}
			out = append(out, Difference{name, compactKey(key), what})
			return nil
		})
		return targetError("compare "+p.name, err)
	})
	return out, err
}

// keyedDifferences is the SQL that compares what is staged with a tenant's table by the primary key. $1 and $2 are keys and
// checksums of rows that are among the rejects: of rows that are the same, as many are taken out.
func (v *run) keyedDifferences(p *pass, at int32, aside *setAside) string {
	cond := "true"
	if len(aside.without) > 0 {
		// They fit no type and so cannot be here; a row of the same key is another.
		cond += fmt.Sprintf(" AND NOT (t.sum IS NULL AND key = ANY(ARRAY[%s]::jsonb[]))", literals(aside.without))
	}
	if mended := aside.resolvedOf(v.tenantAt(at)); len(mended) > 0 {
		cond += fmt.Sprintf(" AND NOT (key = ANY(ARRAY[%s]::jsonb[]))", literals(mended))
	}
	return fmt.Sprintf(`WITH aside AS (SELECT k::jsonb AS key, sum, count(*) AS n FROM unnest($1::text[], $2::bigint[]) AS a (k, sum) GROUP BY 1, 2),
			all_s AS (SELECT key, sum, row_number() OVER (PARTITION BY key, sum) AS n
				FROM (SELECT %[1]s AS key, %[2]s AS sum FROM pg_temp.tenantctl_staged AS x WHERE x.%[6]s = 0) AS one),
			s AS (SELECT key, sum FROM all_s WHERE NOT EXISTS (SELECT FROM aside WHERE aside.key = all_s.key AND aside.sum = all_s.sum AND all_s.n <= aside.n)),
			t AS (SELECT %[1]s AS key, %[2]s AS sum FROM %[3]s AS x)
		SELECT key::text, s.sum IS NULL, t.sum IS NULL FROM s FULL JOIN t USING (key) WHERE s.sum IS DISTINCT FROM t.sum AND %[4]s ORDER BY key LIMIT %[5]d`,
		v.targetKey(p), v.targetSum(p), v.rows(at, p.table), cond, differencesShown, p.q.stagedOwner())
}

const (
	columnsShown    = 6  // of a row without a primary key
	charactersShown = 40 // of each
)

// keylessDifferences is the same for a table without a primary key: rows are the same whose values are, and are named by
// the first of them.
func (v *run) keylessDifferences(p *pass, at int32, aside *setAside) string {
	values := make([]string, 0, columnsShown)
	for _, f := range p.q.fields[:min(len(p.q.fields), columnsShown)] {
		values = append(values, fmt.Sprintf("left(x.%s::text, %d)", quoteColumn(f.name), charactersShown))
	}
	cond := "true"
	if mended := aside.resolvedOf(v.tenantAt(at)); len(mended) > 0 {
		cond = fmt.Sprintf("NOT (jsonb_build_array(sum::text) = ANY(ARRAY[%s]::jsonb[]))", literals(mended))
	}
	return fmt.Sprintf(`WITH aside AS (SELECT sum, count(*) AS n FROM unnest($1::text[], $2::bigint[]) AS a (k, sum) GROUP BY 1),
			s AS (SELECT %[1]s AS sum, min(jsonb_build_array(%[2]s)::text) AS shown, count(*) AS n FROM pg_temp.tenantctl_staged AS x WHERE x.%[6]s = 0 GROUP BY 1),
			t AS (SELECT %[1]s AS sum, min(jsonb_build_array(%[2]s)::text) AS shown, count(*) AS n FROM %[3]s AS x GROUP BY 1)
		SELECT coalesce(s.shown, t.shown), coalesce(s.n, 0) - coalesce(a.n, 0) < coalesce(t.n, 0), coalesce(s.n, 0) - coalesce(a.n, 0) > coalesce(t.n, 0)
		FROM s FULL JOIN t USING (sum) LEFT JOIN aside AS a USING (sum)
		WHERE coalesce(s.n, 0) - coalesce(a.n, 0) <> coalesce(t.n, 0) AND %[4]s ORDER BY 1 LIMIT %[5]d`,
		v.targetSum(p), strings.Join(values, ", "), v.rows(at, p.table), cond, differencesShown, p.q.stagedOwner())
}
