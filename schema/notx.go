package schema

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// applyOutside is a stage outside any transaction: a NO TRANSACTION file, statement by statement in a session of the
// tenant's. How far it got is kept in the database, so that a call after a crash goes on from there. It is false
// where another process was faster.
func (r *Resource) applyOutside(ctx context.Context, conn *pgxpool.Conn, s stage) (done bool, err error) {
	if r.cfg.DirectURL != "" {
		if conn, err = r.session(ctx); err != nil {
			return false, err
		}
		defer conn.Release()
	}
	defer leaveSession(ctx, conn)
	p, at, err := r.enterSession(ctx, conn, s)
	if err != nil || p.book[s.Version] == s.up {
		return false, err
	}
	for i := range s.program().statements {
		if i < at.done {
			continue
		}
		if err := r.runOutside(ctx, conn, s, i, at.begun && i == at.done); err != nil {
			err = errors.Join(err, r.keepTagAfter(context.WithoutCancel(ctx), conn, s.tenant, p))
			return false, &stoppedAt{tenant.Stopped{Unit: "statement", Done: i, Of: len(s.program().statements)}, err}
		}
		if err := tenant.Checkpoint(ctx, "postgres/statement-run"); err != nil {
			return false, err
		}
	}
	end := append([]command{cmd("BEGIN"), cmd("%s", tenant.LeaseFrom(ctx).HoldSQL())}, append(r.conclude(s), r.keepTag(ctx, s.tenant), s.record(ctx))...)
	end = append(end, cmd("COMMENT ON TABLE %s IS NULL", bookTable), cmd("COMMIT"))
	return true, r.retry(ctx, func(ctx context.Context) error {
		defer rollback(ctx, conn)
		return send(ctx, conn.Conn().PgConn(), end)
	})
}

// stoppedAt is a failure in the middle of a NO TRANSACTION file.
type stoppedAt struct {
	tenant.Stopped
	err error
}

func (s *stoppedAt) Error() string { return s.err.Error() }
func (s *stoppedAt) Unwrap() error { return s.err }

// enterSession makes the session the tenant's, takes the lock for it, and reads how far an earlier call got.
func (r *Resource) enterSession(ctx context.Context, conn *pgxpool.Conn, s stage) (p *place, at progress, err error) {
	err = r.retry(ctx, func(ctx context.Context) error {
		p = new(place)
		var commands []command
		for _, setting := range r.settings(s.tenant) {
			commands = append(commands, cmd("SET %s", setting))
		}
		commands = append(commands, tryLock("pg_try_advisory_lock", s.tenant, p), look(s.tenant, p))
		commands = append(commands, readBook(p)...)
		commands = append(commands, readProgress(s, &at))
		if err := send(ctx, conn.Conn().PgConn(), commands); err != nil {
			return err
		}
		if !p.free {
			return busy()
		}
		return p.ours(s.tenant)
	})
	return p, at, err
}

// leaveSession gives the connection back as new, or closes it.
func leaveSession(ctx context.Context, conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	rollback(ctx, conn)
	if err := send(ctx, conn.Conn().PgConn(), []command{cmd("DISCARD ALL")}); err != nil {
		_ = conn.Conn().Close(ctx)
	}
}

// runOutside runs one statement, again where live traffic was in its way. begun tells that an earlier call was cut
// off in it.
func (r *Resource) runOutside(ctx context.Context, conn *pgxpool.Conn, s stage, i int, begun bool) error {
	statement := &s.program().statements[i]
	index := concurrentIndex(statement.sql)
	return r.retry(ctx, func(ctx context.Context) error {
		done := false // what the statement is to do with an index is so already
		if index.name != "" {
			there, err := clearIndex(ctx, conn, s.tenant, statement, index)
			if err != nil {
				return err
			}
			done = there == index.made
		}
		if done && begun {
			return nil // only the note that it is done was missing
		}
		note := []command{cmd("%s", tenant.LeaseFrom(ctx).HoldSQL()), writeProgress(s, i, !done)}
		if s.program().strays {
			note = append(note, cmd(stillThere, text(s.tenant.Schema)))
		}
		if err := send(ctx, conn.Conn().PgConn(), note); err != nil {
			return err
		}
		begun = !done
		return send(ctx, conn.Conn().PgConn(), []command{statement.command()})
	})
}

// index is one that a statement makes or drops CONCURRENTLY.
type index struct {
	name string // empty where the statement does neither
	made bool   // or dropped
}

// concurrentIndex reads CREATE [UNIQUE] INDEX CONCURRENTLY [IF NOT EXISTS] name and DROP INDEX CONCURRENTLY [IF EXISTS] name.
func concurrentIndex(sql string) index {
	tokens, _ := lex(sql)
	all := split(tokens)
	if len(all) != 1 || !indexConcurrently(all[0]) || !(begins(all[0], "create") || begins(all[0], "drop")) {
		return index{}
	}
	tokens = all[0]
	i := 0
	for !tokens[i].is("concurrently") {
		i++
	}
	for i++; i < len(tokens) && (tokens[i].is("if") || tokens[i].is("not") || tokens[i].is("exists")); i++ {
	}
	if i == len(tokens) || tokens[i].is("on") {
		return index{}
	}
	return index{name: tokens[i].name(), made: begins(tokens, "create")}
}

// clearIndex drops an index that a failed CONCURRENTLY has left invalid, and tells whether a valid one is there. What
// goes wrong is put down to the statement.
func clearIndex(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, of *statement, ix index) (there bool, err error) {
	name := quote(t.Schema) + "." + quote(ix.name)
	invalid := false
	find := cmd("SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indexrelid = to_regclass(%s) AND c.relkind = 'i'", text(name))
	find.row = func(row [][]byte) { there, invalid = is(row[0]), !is(row[0]) }
	if err := send(ctx, conn.Conn().PgConn(), []command{find}); err != nil || !invalid || !ix.made {
		return there || invalid, err
	}
	drop := cmd("DROP INDEX CONCURRENTLY %s", name)
	drop.of = of
	return false, send(ctx, conn.Conn().PgConn(), []command{drop})
}

// progress is how far a NO TRANSACTION file got: a comment on the version table, which goose does not look at.
type progress struct {
	done  int  // statements that are done
	begun bool // the next one was begun
}

// progressText says how far a stage got. It holds what the statements before were, so that it goes stale when the
// file is changed there.
func progressText(s stage, at progress) string {
	direction, state := "down", "is next"
	if s.up {
		direction = "up"
	}
	if at.begun {
		state = "is begun"
	}
	sum := sha256.New()
	for _, st := range s.program().statements[:at.done] {
		fmt.Fprintf(sum, "%s\x00", st.sql)
	}
	return fmt.Sprintf("tenantctl: version %d %s, statement %d %s, after %x, row ", s.Version, direction, at.done+1, state, sum.Sum(nil)[:8])
}

// lastRow is the last number given to a row of the book. It ends the note, which thus goes stale when anybody else
// applies a version in between, such as the stock goose.
const lastRow = "coalesce(pg_sequence_last_value(pg_get_serial_sequence('" + bookTable + "', 'id')), 0)"

func writeProgress(s stage, done int, begun bool) command {
	return cmd(`DO $do$ BEGIN EXECUTE format('COMMENT ON TABLE %s IS %%L', %s || %s); END $do$`, bookTable, text(progressText(s, progress{done, begun})), lastRow)
}

var noted = regexp.MustCompile(`^tenantctl: version (\d+) (up|down), statement (\d+) is (next|begun), after [0-9a-f]+, row (\d+)$`)

// stopped reads the note of a file that was begun and not finished. It is nil where there is none, and where the note
// is stale because somebody else has written into the book since. last is the number of the book's last row.
func (r *Resource) stopped(note, last string) *tenant.Stopped {
	m := noted.FindStringSubmatch(note)
	if m == nil || m[5] != last {
		return nil
	}
	version, _ := strconv.ParseInt(m[1], 10, 64)
	next, _ := strconv.Atoi(m[3])
	s := &tenant.Stopped{File: "version " + m[1], Version: version, Direction: m[2], Unit: "statement", Done: next - 1}
	set, err := r.files()
	if err != nil || set.byVersion[version] == nil {
		return s // what is wrong with the files is not told here
	}
	at := stage{migration: set.byVersion[version], up: m[2] == "up"}
	s.File, s.Of = at.base(), len(at.program().statements)
	s.Changed = s.Done > s.Of || note != progressText(at, progress{s.Done, m[4] == "begun"})+last
	return s
}

func readProgress(s stage, at *progress) command {
	c := cmd("SELECT obj_description('%s'::regclass, 'pg_class'), %s", bookTable, lastRow)
	c.row = func(row [][]byte) {
		*at = progress{}
		for i := range s.program().statements {
			for _, p := range []progress{{i, false}, {i, true}} {
				if string(row[0]) == progressText(s, p)+string(row[1]) {
					*at = p
				}
			}
		}
	}
	return c
}
