package legacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
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
func (v *run) stage(ctx context.Context, passes []*pass, atOnce bool, look func(tx pgx.Tx) error) error {
	return v.inSession(ctx, func(tx pgx.Tx) error {
		p := passes[0]
		_, err := tx.Exec(ctx, fmt.Sprintf("CREATE TEMP TABLE tenantctl_staged ON COMMIT DROP AS SELECT 0 AS %s, %s FROM %s WHERE false",
			p.q.stagedOwner(), columnList(p.q), v.relation(p.tenants[0], p.table)))
		if err != nil {
			return targetError("compute checksums of "+p.name, err)
		}
		for _, p := range passes {
			s := &staging{run: v, p: p, tx: tx}
			if !atOnce {
				s.look = look
			}
			if err := s.all(ctx); err != nil {
				return err
			}
		}
		if !atOnce {
			return nil
		}
		return look(tx)
	})
}

// keys are those of all rejects.
func (a *setAside) keys() map[string]bool {
	known := map[string]bool{}
	for _, key := range a.without {
		known[compactKey(key)] = true
	}
	for _, rows := range a.rows {
		for _, r := range rows {
			known[compactKey(r.key)] = true
		}
	}
	return known
}

// unfitOf collects rows of a pass that do not fit the target and are not among the rejects. A row without a primary key
// has no key to be known by: as many as there are rejects may be those.
func (v *run) unfitOf(p *pass, aside *setAside, found *[]Difference) {
	known, keyless := aside.keys(), int64(0)
	p.unfit = func(to int32, line []byte, why string) {
		if to < 0 || len(*found) >= differencesShown {
			return
		}
		at, key := p.tenants[to], "null"
		if line != nil {
			key = (&load{run: v, p: p}).keyOf(line)
		}
		if key == "null" {
			if key, keyless = "", keyless+1; keyless <= aside.unlike[v.tenantAt(at)] {
				return
			}
		}
		if !known[key] {
			*found = append(*found, Difference{v.list[at].tenant.Name, key, "does not fit: " + why})
		}
	}
}

// nameUnfit adds to a report the rows that do not fit the target and are not among the rejects.
func (v *run) nameUnfit(ctx context.Context, report *TableReport, sides []*sourceSide, aside *setAside) error {
	for _, side := range sides {
		v.unfitOf(side.pass, aside, &report.Differences)
		if err := v.stage(ctx, []*pass{side.pass}, false, func(pgx.Tx) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// stagedOwner is the column of what is staged that says whose a row is: a name that no field has.
func (q *query) stagedOwner() string {
	name := "tenantctl_tenant"
	for slices.ContainsFunc(q.fields, func(f field) bool { return f.name == name }) {
		name += "_"
	}
	return name
}

// columnList are the columns of a query's fields in SQL.
func columnList(q *query) string {
	columns := make([]string, len(q.fields))
	for n, f := range q.fields {
		columns[n] = quoteColumn(f.name)
	}
	return strings.Join(columns, ", ")
}

// staging is the way of one pass's rows into the temporary table.
type staging struct {
	*run
	p    *pass
	tx   pgx.Tx
	look func(tx pgx.Tx) error // sees each arena, which is emptied then; nil where all are kept

	a      *arena
	staged []int32 // whose the rows in the arena are
	line   []byte
}

func (s *staging) all(ctx context.Context) error {
	s.a = s.takeArena(2, false)
	defer s.giveArena(s.a)
	parts, err := s.p.src.parts(ctx, s.p.q, s.PartSize)
	if err != nil {
		return err
	}
	for _, one := range parts {
		if err := readRows(ctx, s.p.src, s.p.q, one, "", func(rec *record) error { return s.take(ctx, rec) }); err != nil {
			return err
		}
	}
	return s.flush(ctx)
}

func (s *staging) take(ctx context.Context, rec *record) error {
	to := int32(0)
	if !s.p.copied {
		var ours bool
		if to, ours = s.p.byKey[string(rec.key)]; !ours || rec.key == nil {
			to = -1
		}
	}
	if rec.line == nil {
		s.p.leaveOut(to)
		if s.p.unfit != nil {
			s.p.unfit(to, nil, "too long or unreadable")
		}
		return nil
	}
	s.line = append(fmt.Appendf(s.line[:0], "%d", to), '\t')
	if len(s.p.q.fields) == 0 {
		s.line = s.line[:len(s.line)-1]
	}
	s.line = append(s.line, rec.line...)
	if !s.a.fits(nil, s.line) {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.a.add(0, nil, s.line)
	s.staged = append(s.staged, to)
	return nil
}

func (s *staging) flush(ctx context.Context) error {
	rows := make([]int32, len(s.a.rows))
	for n := range rows {
		rows[n] = int32(n)
	}
	conn := s.tx.Conn().PgConn()
	into := "COPY pg_temp.tenantctl_staged (" + s.p.q.stagedOwner() + strings.TrimSuffix(", "+columnList(s.p.q), ", ") + ") FROM STDIN"
	err := bisect(rows, func(rows []int32) error {
		err := s.a.copyTo(ctx, conn, rows, false, "SAVEPOINT rows; "+into)
		if _, ok := rowError(err); !ok {
			return err
		}
		_, rerr := conn.Exec(ctx, "ROLLBACK TO SAVEPOINT rows").ReadAll()
		return errors.Join(rerr, err)
	}, func(row int32, pg *pgconn.PgError) error {
		s.p.leaveOut(s.staged[row])
		if s.p.unfit != nil {
			_, line, _ := bytes.Cut(s.a.line(row), []byte("\t")) // without whose it is
			s.p.unfit(s.staged[row], line, told(pg))
		}
		return nil
	})
	s.staged = s.staged[:0]
	s.a.reset()
	if err != nil || s.look == nil {
		return targetError("compute checksums of "+s.p.name, err)
	}
	if err := s.look(s.tx); err != nil {
		return err
	}
	_, err = s.tx.Exec(ctx, "TRUNCATE pg_temp.tenantctl_staged")
	return targetError("compute checksums of "+s.p.name, err)
}

// digestByStaging computes the source's side for a source that cannot: inside PostgreSQL, by a temporary table.
func (v *run) digestByStaging(ctx context.Context, p *pass, without []string) (map[string]digest, error) {
	out := map[string]digest{}
	cond := ""
	if len(without) > 0 {
		cond = fmt.Sprintf(" WHERE NOT (%s = ANY(ARRAY[%s]::jsonb[]))", v.targetKey(p), literals(without))
	}
	err := v.stage(ctx, []*pass{p}, false, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, fmt.Sprintf("SELECT x.%s, count(*), coalesce(sum(%s), 0)::text FROM pg_temp.tenantctl_staged AS x%s GROUP BY 1", p.q.stagedOwner(), v.targetSum(p), cond))
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
