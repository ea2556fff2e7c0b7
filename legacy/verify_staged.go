package legacy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// leaveOut counts a row that cannot be compared; to is whose it is, -1 for nobody's. Each has to be among the rejects.
func (p *pass) leaveOut(to int32) {
	if to < 0 {
		p.unread++
		return
	}
	if p.leftOut == nil {
		p.leftOut = map[int32]int64{}
	}
	p.leftOut[to]++
}

// stage copies what a source gives for a pass into a temporary table of the target's types, and has look see it: an arena at
// a time, or all of it. Rows whose values do not fit the types are left out: they were rejected too.
func (v *run) stage(ctx context.Context, p *pass, atOnce bool, look func(tx pgx.Tx) error) error {
	return v.inSession(ctx, func(tx pgx.Tx) error {
		columns := make([]string, len(p.q.fields))
		for n, f := range p.q.fields {
			columns[n] = quoteColumn(f.name)
		}
		list := strings.Join(columns, ", ")
		if _, err := tx.Exec(ctx, fmt.Sprintf("CREATE TEMP TABLE tenantctl_staged ON COMMIT DROP AS SELECT 0 AS tenantctl_tenant, %s FROM %s WHERE false", list, v.relation(p.tenants[0], p.table))); err != nil {
			return targetError("compute checksums of "+p.name, err)
		}
		a := v.takeArena(2, false)
		defer v.giveArena(a)
		conn := tx.Conn().PgConn()
		var staged []int32 // whose the rows in the arena are
		flush := func() error {
			rows := make([]int32, len(a.rows))
			for n := range rows {
				rows[n] = int32(n)
			}
			err := bisect(rows, func(rows []int32) error {
				if err := a.copyTo(ctx, conn, rows, false, "SAVEPOINT rows; COPY pg_temp.tenantctl_staged (tenantctl_tenant, "+list+") FROM STDIN"); err != nil {
					if _, ok := rowError(err); !ok {
						return err
					}
					_, rerr := conn.Exec(ctx, "ROLLBACK TO SAVEPOINT rows").ReadAll()
					return errors.Join(rerr, err)
				}
				return nil
			}, func(row int32, _ *pgconn.PgError) error { p.leaveOut(staged[row]); return nil })
			staged = staged[:0]
			a.reset()
			if err != nil || atOnce {
				return targetError("compute checksums of "+p.name, err)
			}
			if err := look(tx); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "TRUNCATE pg_temp.tenantctl_staged")
			return targetError("compute checksums of "+p.name, err)
		}
		parts, err := p.src.parts(ctx, p.q, v.PartSize)
		if err != nil {
			return err
		}
		var line []byte
		for _, one := range parts {
			err := readRows(ctx, p.src, p.q, one, "", func(rec *record) error {
				to := int32(0)
				if !p.copied {
					var ours bool
					if to, ours = p.byKey[string(rec.key)]; !ours || rec.key == nil {
						to = -1
					}
				}
				if rec.line == nil {
					p.leaveOut(to)
					return nil
				}
				line = append(fmt.Appendf(line[:0], "%d", to), '\t')
				if len(p.q.fields) == 0 {
					line = line[:len(line)-1]
				}
				line = append(line, rec.line...)
				if !a.fits(nil, line) {
					if err := flush(); err != nil {
						return err
					}
				}
				a.add(0, nil, line)
				staged = append(staged, to)
				return nil
			})
			if err != nil {
				return err
			}
		}
		if err := flush(); err != nil || !atOnce {
			return err
		}
		return look(tx)
	})
}

// digestByStaging computes the source's side for a source that cannot: inside PostgreSQL, by a temporary table.
func (v *run) digestByStaging(ctx context.Context, p *pass, without []string) (map[string]digest, error) {
	out := map[string]digest{}
	cond := ""
	if len(without) > 0 {
		cond = fmt.Sprintf(" WHERE NOT (%s = ANY(ARRAY[%s]::jsonb[]))", v.targetKey(p), literals(without))
	}
	err := v.stage(ctx, p, false, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, fmt.Sprintf("SELECT tenantctl_tenant, count(*), coalesce(sum(%s), 0)::text FROM pg_temp.tenantctl_staged AS x%s GROUP BY 1", v.targetSum(p), cond))
		if err != nil {
			return targetError("compute checksums of "+p.name, err)
		}
		var n int
		var d digest
		var text string
		_, err = pgx.ForEachRow(rows, []any{&n, &d.rows, &text}, func() (err error) {
			if d.sum, err = modulo(text); err != nil {
				return err
			}
			key := nobody
			if n >= 0 {
				key = v.list[p.tenants[n]].key
			}
			sum := out[key]
			sum.add(d)
			out[key] = sum
			return nil
		})
		return targetError("compute checksums of "+p.name, err)
	})
	if p.unread > 0 {
		d := out[nobody]
		d.rows += p.unread
		out[nobody] = d
	}
	return out, err
}
