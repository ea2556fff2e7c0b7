package legacy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// Why a row is nobody's, or not even read.
const (
	codeNoKey      = "no_key"
	codeUnknownKey = "unknown_key"
	codeOrphan     = "orphan"
	codeTooLong    = "too_long"
	codeUnreadable = "unreadable"
)

const (
	partTries     = 5
	rejectsAtOnce = 500 // rejects that are held before they are written
	partsAtOnce   = 4   // a transaction ends when it holds so many times the bytes of a part
)

// reject is a row that is to be set aside, before the source has given it back.
type reject struct {
	tenant       int32 // of the pass; -1 for none
	key          *string
	ref          []byte
	code, reason string
	sum          *uint64 // where the source cannot compute it
}

// load is the work on some parts of a pass: rows go from the source through the arena into the tenants' tables, in
// transactions that end with the parts' checkpoints.
type load struct {
	*run
	p     *pass
	a     *arena
	queue *jobQueue
	parts []part // that this load has taken
	done  map[string]tenant.ImportPart
	part  part                // that is being read
	ended []tenant.ImportPart // of this transaction: parts that were read to their ends

	conn    *pgxpool.Conn
	tx      pgx.Tx
	temp    bool // the table for upserts is made
	saved   bool // a savepoint is set
	loaded  []int64
	refused []int64
	nobody  tenant.ImportCount
	rejects []reject
	again   []string // keys of rows that an earlier run set aside, and that are loaded now
	written int64    // bytes in this transaction
	after   string
	total   int64 // rows read in this transaction
	told    int64 // of them, for progress
}

// loadPart loads a part, and further ones of its pass in the same transaction while that is small: again where the server
// says that another try may do.
func (r *run) loadPart(ctx context.Context, j job, q *jobQueue, a *arena) error {
	parts, done := []part{j.part}, j.pass.done
	for try := 1; ; try++ {
		l := &load{run: r, p: j.pass, a: a, queue: q, parts: parts, done: done}
		err := l.load(ctx)
		var pg *pgconn.PgError
		if err == nil || try == partTries || !errors.As(err, &pg) || pg.Code != "40P01" && pg.Code != "40001" && pg.Code != "55P03" {
			return err
		}
		time.Sleep(time.Duration(rand.IntN(200)*try) * time.Millisecond)
		if _, done, err = r.held.Pass(ctx, j.pass.name); err != nil {
			return err
		}
		parts = slices.DeleteFunc(l.parts, func(one part) bool { return done[one.id].Done })
	}
}

func (l *load) load(ctx context.Context) error {
	a := l.a
	a.reset()
	l.loaded, l.refused = make([]int64, len(l.p.tenants)), make([]int64, len(l.p.tenants))
	var err error
	if l.conn, err = l.Postgres.Acquire(ctx); err != nil {
		return targetError("connect", err)
	}
	defer l.conn.Release()
	defer l.rollback(ctx)
	if err := l.begin(ctx); err != nil {
		return err
	}
	for n := 0; n < len(l.parts); n++ {
		l.part = l.parts[n]
		l.after = l.done[l.part.id].Position
		err = readRows(ctx, l.p.src, l.p.q, l.part, l.after, func(rec *record) error { return l.take(ctx, rec) })
		if err != nil {
			return err
		}
		l.ended = append(l.ended, tenant.ImportPart{Part: l.part.id, Position: l.after, Done: true})
		if n == len(l.parts)-1 && !l.large() {
			if j, ok := l.queue.next(l.p); ok {
				l.parts = append(l.parts, j.part)
			}
		}
	}
	return l.commit(ctx, nil)
}

// large tells whether the transaction is to end as soon as it can.
func (l *load) large() bool { return l.written >= partsAtOnce*l.PartSize }

// take puts a record where it belongs.
func (l *load) take(ctx context.Context, rec *record) error {
	l.total++
	if l.large() && rec.after != "" && l.after != "" {
		if err := l.commit(ctx, &tenant.ImportPart{Part: l.part.id, Position: l.after}); err != nil {
			return err
		}
		if err := l.begin(ctx); err != nil {
			return err
		}
	}
	to, skip := l.owner(rec)
	switch {
	case skip:
	case to < 0 || rec.tooLong > 0 || rec.broken != "":
		if err := l.refuse(ctx, rec, to); err != nil {
			return err
		}
	default:
		for !l.a.fits(rec.ref, rec.line) {
			if err := l.empty(ctx, true); err != nil {
				return err
			}
		}
		l.a.add(to, rec.ref, rec.line)
		l.written += int64(len(rec.line))
		if len(l.p.aside) > 0 {
			if key := l.keyOf(rec.line); l.p.aside[key] {
				l.again = append(l.again, key)
			}
		}
	}
	l.after = rec.after
	return nil
}

// keyOf is what names a row: its primary key, or its document's _id, as a JSON array of texts.
func (l *load) keyOf(line []byte) string {
	var key []string
	if l.p.q.document {
		doc, _, err := parseDocument(nil, line, l.p.q)
		if err != nil {
			return ""
		}
		text, err := bsonText(nil, doc.Lookup("_id"), cmp.Or(l.m.Sources[l.p.table.Source].UUID, uuidStandard))
		if err != nil {
			return ""
		}
		key = []string{string(text)}
	} else {
		fields, _ := splitLine(line, nil, nil)
		for n, f := range l.p.q.fields {
			if f.key {
				key = append(key, string(fields[n]))
			}
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // as PostgreSQL writes it
	if err := e.Encode(key); err != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

// owner is the tenant of a record, as its place in the pass; -1 where there is none. skip means that it is left to
// another pass.
func (l *load) owner(rec *record) (to int32, skip bool) {
	if l.p.copied {
		return 0, false
	}
	if rec.key == nil {
		return -1, !l.p.strangers
	}
	if to, ok := l.p.byKey[string(rec.key)]; ok {
		return to, false
	}
	return -1, !l.p.strangers || l.p.skip[string(rec.key)]
}

// refuse sets a record aside that cannot even be tried.
// set keeps a reject, and writes those that are kept when they are many.
// originalsOf has the source give back the rows of the rejects.
func (l *load) begin(ctx context.Context) error {
	var err error
	if l.tx, err = l.conn.Begin(ctx); err != nil {
		return targetError("begin", err)
	}
	l.temp, l.saved, l.written, l.total, l.told = false, false, 0, 0, 0
	clear(l.loaded)
	clear(l.refused)
	l.nobody = tenant.ImportCount{}
	_, err = l.tx.Exec(ctx, localSettings+immediateConstraints+l.held.HoldSQL())
	return targetError("begin", err)
}

func (l *load) rollback(ctx context.Context) {
	if l.tx != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		// Where this fails the connection is broken, and the server has done it.
		_ = l.tx.Rollback(ctx)
		l.p.read.Add(-l.told)
	}
}

// commit writes what is left and the checkpoints, and ends the transaction. within is where it ends in the midst of a part.
func (l *load) commit(ctx context.Context, within *tenant.ImportPart) error {
	if err := l.flush(ctx); err != nil {
		return err
	}
	if err := l.overBudget(); err != nil {
		return err
	}
	rejects, err := l.originalsOf(ctx)
	if err != nil {
		return err
	}
	l.rejects = l.rejects[:0]
	var counts []tenant.ImportCount
	for n := range l.p.tenants {
		if l.loaded[n] > 0 || l.refused[n] > 0 {
			counts = append(counts, tenant.ImportCount{Tenant: l.list[l.p.tenants[n]].tenant.ID, Loaded: l.loaded[n], Rejected: l.refused[n]})
		}
	}
	if l.nobody.Rejected > 0 {
		counts = append(counts, l.nobody)
	}
	if len(l.again) > 0 {
		if err := l.held.Replaced(ctx, l.tx, l.p.name, l.again); err != nil {
			return targetError("record the checkpoint", err)
		}
		l.again = l.again[:0]
	}
	if within != nil {
		l.ended = append(l.ended, *within)
	}
	for n, at := range l.ended {
		if n > 0 {
			counts, rejects = nil, nil // they are recorded once
		}
		if err := l.held.Record(ctx, l.tx, l.p.name, at, counts, rejects); err != nil {
			return targetError("record the checkpoint", err)
		}
	}
	l.ended = nil
	if err := tenant.Checkpoint(ctx, "import/part/before"); err != nil {
		return err
	}
	if err := l.tx.Commit(ctx); err != nil {
		return targetError("commit", err)
	}
	l.tx = nil
	l.run.read.Add(l.total)
	l.told = 0
	return tenant.Checkpoint(ctx, "import/part/after")
}

// tell counts what was read since it was last told, for progress.
func (l *load) tell() {
	read := l.p.read.Add(l.total - l.told)
	l.told = l.total
	l.Events(Event{Table: l.p.name, Rows: read, Of: l.p.of, Reject: l.p.rejected.Load()})
}

// flush empties the arena into the tenants' tables or collections.
func (l *load) flush(ctx context.Context) error { return l.empty(ctx, false) }

// empty writes all of the arena, or half of it.
func (l *load) empty(ctx context.Context, half bool) error {
	err := l.a.empty(len(l.p.tenants), half, func(n int32, rows []int32) error {
		if l.p.copied {
			for to := range l.p.tenants {
				if err := l.write(ctx, int32(to), rows); err != nil {
					return err
				}
			}
			return nil
		}
		return l.write(ctx, n, rows)
	})
	l.tell()
	return err
}

func (l *load) write(ctx context.Context, to int32, rows []int32) error {
	if l.p.table.ToCollection != "" {
		return l.insertDocuments(ctx, to, rows)
	}
	return l.copyRows(ctx, to, rows)
}

// copyRows loads rows into one tenant's table. Where the server refuses one, only that one is set aside.
func (l *load) copyRows(ctx context.Context, to int32, rows []int32) error {
	return bisect(rows, func(rows []int32) error {
		err := l.copyOnce(ctx, to, rows)
		if err == nil {
			l.loaded[to] += int64(len(rows))
			return nil
		}
		if _, ofRow := rowError(err); ofRow {
			return err
		}
		return tenant.WithTenant(targetError("load table "+l.p.name, err), l.list[l.p.tenants[to]].tenant.Name)
	}, func(row int32, pg *pgconn.PgError) error { return l.setRow(ctx, to, row, pg) })
}

// bisect tries rows together. Where the server refuses one of them, it often says which; else halves are tried, until
// those that are bad stand alone.
func bisect(rows []int32, try func(rows []int32) error, bad func(row int32, pg *pgconn.PgError) error) error {
	for len(rows) > 0 {
		err := try(rows)
		if err == nil {
			return nil
		}
		pg, ofRow := rowError(err)
		if !ofRow {
			return err
		}
		if len(rows) == 1 {
			return bad(rows[0], pg)
		}
		n := lineOf(pg)
		if n < 1 || n > len(rows) {
			half := len(rows) / 2
			if err := bisect(rows[:half], try, bad); err != nil {
				return err
			}
			rows = rows[half:]
			continue
		}
		if n > 1 {
			if err := bisect(rows[:n-1], try, bad); err != nil {
				return err
			}
		}
		// It is tried alone: in an upsert the line is of another statement's making.
		if err := bisect(rows[n-1:n], try, bad); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// sumsInSource tells whether a verification has the source compute the checksums of the pass's rows.
// sumOf is a row's checksum, computed by the target for a source that cannot.
// told is what PostgreSQL says of a row, without the row's values: those are in the rejects file.

func (l *load) copyOnce(ctx context.Context, to int32, rows []int32) error {
	at := l.p.tenants[to]
	into := l.relation(at, l.p.table)
	columns := make([]string, len(l.p.q.fields))
	for n, f := range l.p.q.fields {
		columns[n] = quoteColumn(f.name)
	}
	list := strings.Join(columns, ", ")
	head := "SAVEPOINT rows; "
	if l.target[l.p.table.To].code {
		// What runs there finds the tenant's other objects, and nobody else's.
		head += "SET LOCAL search_path = " + quoteColumn(l.list[at].tenant.Schema) + "; "
	}
	if l.saved {
		// Together with what comes next it costs no round trip.
		head = "RELEASE SAVEPOINT rows; " + head
	}
	upsert := l.p.table.Mode == ModeUpsert || l.Since != ""
	target := into
	if upsert {
		target = "pg_temp.tenantctl_rows"
		if !l.temp {
			head = "CREATE TEMP TABLE tenantctl_rows ON COMMIT DROP AS SELECT " + list + " FROM " + into + " WHERE false; " + head
		}
	}
	conn := l.conn.Conn().PgConn()
	err := l.a.copyTo(ctx, conn, rows, l.p.q.binary, head+"COPY "+target+" ("+list+") FROM STDIN")
	l.saved, l.temp = true, upsert
	if err == nil && upsert {
		err = l.upsert(ctx, conn, into, list, len(rows))
	}
	if _, ofRow := rowError(err); ofRow {
		_, rerr := conn.Exec(ctx, "ROLLBACK TO SAVEPOINT rows").ReadAll()
		return errors.Join(rerr, err)
	}
	return err
}

// upsert moves the rows of the temporary table into the tenant's.
func (l *load) upsert(ctx context.Context, conn *pgconn.PgConn, into, list string, rows int) error {
	results, err := conn.Exec(ctx, l.upsertSQL(into, list)+"; TRUNCATE pg_temp.tenantctl_rows").ReadAll()
	keyAlone := !slices.ContainsFunc(l.p.q.fields, func(f field) bool { return !f.key }) // then a row that is there is left alone
	if err == nil && !keyAlone && results[0].CommandTag.RowsAffected() != int64(rows) {
		return errLeftOut
	}
	return err
}

// upsertSQL moves the rows of the temporary table over those of the same primary key.
func (l *load) upsertSQL(into, list string) string {
	var key, set []string
	for _, f := range l.p.q.fields {
		if f.key {
			key = append(key, quoteColumn(f.name))
		} else {
			set = append(set, quoteColumn(f.name)+" = EXCLUDED."+quoteColumn(f.name))
		}
	}
	do := "NOTHING"
	if len(set) > 0 {
		do = "UPDATE SET " + strings.Join(set, ", ")
	}
	return fmt.Sprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM pg_temp.tenantctl_rows ON CONFLICT (%s) DO %s", into, list, list, strings.Join(key, ", "), do)
}

// tenantID is a tenant of the pass.
func (r *run) tenantID(p *pass, n int32) uuid.UUID { return r.list[p.tenants[n]].tenant.ID }
