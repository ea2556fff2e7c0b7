package legacy

import (
	"cmp"
	"context"
	"io"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// arena gathers rows of all tenants until it is full, and then gives each tenant's together. Its memory is used again.
type arena struct {
	bytes []byte
	rows  []arenaRow
	order []int32 // of rows, by tenant
}

// arenaRow is where a row's ref and line lie, one after the other.
type arenaRow struct {
	tenant    int32
	at        uint32
	ref, line uint32 // lengths
}

// A row takes about as much of the budget for its place in the lists as a short row does itself.
const arenaRowCost = 20

func newArena(size int) *arena {
	return &arena{bytes: make([]byte, 0, size), rows: make([]arenaRow, 0, size/128)}
}

// fits tells whether a row can be added before the arena is emptied. A row that is longer than all of it makes it grow.
func (a *arena) fits(ref, line []byte) bool {
	return len(a.rows) == 0 || len(a.bytes)+len(ref)+len(line)+arenaRowCost*len(a.rows) <= cap(a.bytes)
}

func (a *arena) add(tenant int32, ref, line []byte) {
	a.rows = append(a.rows, arenaRow{tenant, uint32(len(a.bytes)), uint32(len(ref)), uint32(len(line))})
	a.bytes = append(append(a.bytes, ref...), line...)
}

func (a *arena) reset() {
	a.bytes, a.rows = a.bytes[:0], a.rows[:0]
}

// empty gives each tenant's rows, in the order they came, and takes them out. With half, those who have most come first, until
// half of what is held is gone: the others gather more rows, and the server has fewer and larger COPYs to do.
func (a *arena) empty(tenants int, half bool, yield func(tenant int32, rows []int32) error) error {
	starts, sizes := make([]int32, tenants+1), make([]int, tenants)
	for _, r := range a.rows {
		starts[r.tenant+1]++
		sizes[r.tenant] += arenaRowCost + int(r.ref+r.line)
	}
	var queue []int32
	total := 0
	for t := range tenants {
		if starts[t+1] > 0 {
			queue = append(queue, int32(t))
		}
		starts[t+1] += starts[t]
		total += sizes[t]
	}
	a.order = slices.Grow(a.order[:0], len(a.rows))[:len(a.rows)]
	next := slices.Clone(starts)
	for i, r := range a.rows {
		a.order[next[r.tenant]] = int32(i)
		next[r.tenant]++
	}
	if half {
		slices.SortStableFunc(queue, func(s, t int32) int { return cmp.Compare(sizes[t], sizes[s]) })
	}
	gone, given := 0, make([]bool, tenants)
	for _, t := range queue {
		if half && gone >= total/2 {
			break
		}
		if err := yield(t, a.order[starts[t]:starts[t+1]]); err != nil {
			return err
		}
		given[t] = true
		gone += sizes[t]
	}
	a.keep(func(tenant int32) bool { return !given[tenant] })
	return nil
}

// keep moves the rows of some tenants together, and drops the others.
func (a *arena) keep(these func(tenant int32) bool) {
	bytes, rows := a.bytes[:0], a.rows[:0]
	for _, r := range a.rows {
		if these(r.tenant) {
			from := a.bytes[r.at : r.at+r.ref+r.line]
			r.at = uint32(len(bytes))
			bytes, rows = append(bytes, from...), append(rows, r)
		}
	}
	a.bytes, a.rows = bytes, rows
}

func (a *arena) ref(row int32) []byte {
	r := a.rows[row]
	return a.bytes[r.at : r.at+r.ref]
}

func (a *arena) line(row int32) []byte {
	r := a.rows[row]
	return a.bytes[r.at+r.ref : r.at+r.ref+r.line]
}

// copyTo sends rows to a server by COPY. Where the connection breaks, the driver comes back while it is still reading: it
// is told to stop before the arena takes other rows.
// Tuples go between the header and the trailer of the binary format.
func (a *arena) copyTo(ctx context.Context, conn *pgconn.PgConn, rows []int32, tuples bool, sql string) error {
	r := &lineReader{a: a, rows: rows}
	if tuples {
		r.rest, r.tail = tupleHeader, tupleTrailer
		sql += " (FORMAT binary)"
	}
	defer r.stop()
	tag, err := conn.CopyFrom(ctx, r, sql)
	if err == nil && tag.RowsAffected() != int64(len(rows)) {
		return errLeftOut
	}
	return err
}

// lineReader gives the lines of rows, one after another.
type lineReader struct {
	mu   sync.Mutex
	a    *arena // nil when it was stopped
	rows []int32
	rest []byte
	tail []byte
}

func (r *lineReader) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.a = nil
}

func (r *lineReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.a == nil {
		return 0, errStopped
	}
	n := 0
	for n < len(p) {
		if len(r.rest) == 0 {
			switch {
			case len(r.rows) > 0:
				r.rest, r.rows = r.a.line(r.rows[0]), r.rows[1:]
			case len(r.tail) > 0:
				r.rest, r.tail = r.tail, nil
			case n == 0:
				return 0, io.EOF
			default:
				return n, nil
			}
		}
		c := copy(p[n:], r.rest)
		n, r.rest = n+c, r.rest[c:]
	}
	return n, nil
}
