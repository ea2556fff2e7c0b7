package schema

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// apart tells whether a stage needs a session of its own: that of a NO TRANSACTION file, or of one that says of its
// transaction what can be said only before anything is read in it.
func (s *stage) apart() bool { return s.NoTransaction || s.preamble() > 0 }

// preamble is with how many statements a stage begins that say how its transaction is to be.
func (s *stage) preamble() int {
	for i, st := range s.program().Statements {
		tokens, _ := sqltext.Lex(st.SQL)
		all := sqltext.Split(tokens)
		if len(all) != 1 || !sqltext.Begins(all[0], "set", "transaction") && !setsTransaction(all[0]) {
			return i
		}
	}
	return 0
}

// setsTransaction tells of SET transaction_isolation and the like, LOCAL or not.
func setsTransaction(sql []sqltext.Token) bool {
	if !sqltext.Begins(sql, "set") {
		return false
	}
	rest := sql[1:]
	if sqltext.Begins(rest, "local") || sqltext.Begins(rest, "session") {
		rest = rest[1:]
	}
	return sqltext.Begins(rest, "transaction_isolation") || sqltext.Begins(rest, "transaction_read_only") || sqltext.Begins(rest, "transaction_deferrable")
}

// applyApart does a stage that needs the session to itself, whose lock the session holds meanwhile. It is false where
// another process was faster.
func (r *Resource) applyApart(ctx context.Context, x *run, s stage) (done bool, err error) {
	p, at, leave, err := r.enterSession(ctx, x.conn, s)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, leave()) }()
	if p.book[s.Version] == s.up {
		return false, nil
	}
	if r.keeper != nil { // a worker has no rights on the catalog
		err = tenant.LeaseFrom(ctx).Check(ctx)
	}
	switch {
	case err != nil:
	case s.NoTransaction:
		err = r.applyOutside(ctx, x.conn, s, p, at)
	default:
		err = r.applyWithPreamble(ctx, x, s, p)
	}
	if err == nil && r.keeper != nil {
		err = tenant.LeaseFrom(ctx).Record(ctx, s.tenant.ID, tenant.KindPostgres, s.to, s.has)
	}
	return err == nil, err
}

// holdHere holds the lease, where the session may.
func (r *Resource) holdHere(ctx context.Context) command {
	if r.keeper != nil {
		return cmd("SELECT")
	}
	return cmd("%s", tenant.LeaseFrom(ctx).HoldSQL())
}

// noted is what is written with a stage: the ownership tag, and its version in the catalog, where the session may.
func (r *Resource) noted(ctx context.Context, s stage) []command {
	if r.keeper != nil {
		return nil
	}
	return []command{r.keepTag(ctx, s.tenant), s.record(ctx)}
}

// applyWithPreamble does a file in a transaction that begins as the file says.
func (r *Resource) applyWithPreamble(ctx context.Context, x *run, s stage, p *place) error {
	n := s.preamble()
	commands := r.applied(s, p)
	opening := []command{cmd(beginning)}
	for _, setting := range r.settings(s.tenant) {
		opening = append(opening, cmd("SET LOCAL %s", setting))
	}
	opening = append(opening, commands[:n]...)
	rest := append(x.watch.around(commands[n:]), r.noted(ctx, s)...)
	opening = append(opening, r.holdHere(ctx))
	err := r.retry(ctx, func(ctx context.Context) error {
		defer rollback(ctx, x.conn)
		return send(ctx, x.conn.Conn().PgConn(), append(append(opening[:len(opening):len(opening)], rest...), ending(x.conn, "COMMIT")...))
	})
	return r.blame(ctx, x.conn, s.tenant, err)
}

// applyOutside is a stage outside any transaction: a NO TRANSACTION file, statement by statement in a session of the
// tenant's. How far it got is kept in the database, so that a call after a crash goes on from there.
func (r *Resource) applyOutside(ctx context.Context, conn *pgxpool.Conn, s stage, p *place, at progress) error {
	if err := r.repeatSettings(ctx, conn, s, at.done); err != nil {
		return err
	}
	for i := range s.program().Statements {
		if i < at.done {
			continue
		}
		if err := r.runOutside(ctx, conn, s, p, i, at.begun && i == at.done); err != nil {
			err = errors.Join(err, r.keepTagAfter(context.WithoutCancel(ctx), conn, s.tenant, p))
			return &stoppedAt{tenant.Stopped{Unit: "statement", Done: i, Of: len(s.program().Statements)}, err}
		}
		if err := tenant.Checkpoint(ctx, "postgres/statement-run"); err != nil {
			return err
		}
	}
	end := append([]command{cmd(beginning), r.holdHere(ctx), p.unchanged()}, append(r.conclude(s), r.noted(ctx, s)...)...)
	end = append(end, cmd("COMMENT ON TABLE %s IS NULL", migrationfile.VersionTable), cmd("COMMIT"))
	return r.retry(ctx, func(ctx context.Context) error {
		defer rollback(ctx, conn)
		return send(ctx, conn.Conn().PgConn(), end)
	})
}

// repeatSettings makes the settings of a file's statements that an earlier session has run. Where one of them made what ended
// with that session, the file is not gone on with.
func (r *Resource) repeatSettings(ctx context.Context, conn *pgxpool.Conn, s stage, done int) error {
	if err := s.lost(done); err != nil {
		return err
	}
	for i := range s.program().Statements[:done] {
		st := &s.program().Statements[i]
		tokens, _ := sqltext.Lex(st.SQL)
		if !slices.ContainsFunc(sqltext.Split(tokens), func(sql []sqltext.Token) bool { return migrationfile.LeftBy(sql).Setting }) {
			continue
		}
		c := commandOf(st)
		c.own = true
		if err := send(ctx, conn.Conn().PgConn(), []command{c}); err != nil {
			return err
		}
	}
	return nil
}

// lost refuses to go on with a file whose statements before made what is of their session alone.
func (s stage) lost(done int) error {
	all := s.program().Statements
	before := migrationfile.Program{Statements: all[:min(done, len(all))]}
	i, what := before.LeftBy(func(l migrationfile.Left) bool { return !l.Setting })
	if what == "" {
		return nil
	}
	row := strings.TrimSuffix(s.program().VersionSQL, ";")
	return &tenant.Error{
		Kind: tenant.ErrMigration, Code: "session_ended", Store: tenant.KindPostgres,
		Msg: fmt.Sprintf("%sthe file stopped after statement %d of %d, and what this one left in its session ended with it: %s",
			migrationfile.InFile(s.Path, all[i].Line), done, len(all), what),
		Hint: fmt.Sprintf("finish it by hand in one session of tenantctl shell %s: run what is needed of the statements before line %d again, then those from there on, then %s; write such a file without NO TRANSACTION",
			s.tenant.Name, all[min(done, len(all)-1)].Line, row),
	}
}

// stoppedAt is a failure in the middle of a NO TRANSACTION file.
type stoppedAt struct {
	tenant.Stopped
	err error
}

func (s *stoppedAt) Error() string { return s.err.Error() }
func (s *stoppedAt) Unwrap() error { return s.err }

// enterSession makes the session the tenant's, takes the lock for it until leave, and reads how far an earlier call got.
func (r *Resource) enterSession(ctx context.Context, conn *pgxpool.Conn, s stage) (p *place, at progress, leave func() error, err error) {
	err = r.retry(ctx, func(ctx context.Context) (err error) {
		p = new(place)
		var commands []command
		for _, setting := range r.settings(s.tenant) {
			commands = append(commands, cmd("SET %s", setting))
		}
		if err := send(ctx, conn.Conn().PgConn(), commands); err != nil {
			return err
		}
		if leave, err = r.lockSession(ctx, conn, s.tenant); err != nil {
			return err
		}
		commands = append(readRun(p), look(s.tenant, p), readProgress(s, &at))
		if err = send(ctx, conn.Conn().PgConn(), commands); err == nil {
			err = p.ours(s.tenant)
		}
		if err != nil {
			err = errors.Join(err, leave())
		}
		return err
	})
	return p, at, leave, r.blame(ctx, conn, s.tenant, err)
}

// lockSession takes the tenant's lock for a session, for what is done outside any transaction, until unlock or the session's
// end. The catalog holds whose it is: a killed process's session holds on while the server still runs its statement.
func (r *Resource) lockSession(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant) (unlock func() error, err error) {
	lease := tenant.LeaseFrom(ctx)
	if lease == nil { // there is no catalog, and nobody to share with
		return func() error { return nil }, nil
	}
	var pid, login, since string
	who := cmd("SELECT pid, usesysid, backend_start FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()")
	who.row = func(row [][]byte) { pid, login, since = string(row[0]), string(row[1]), string(row[2]) }
	if err := send(ctx, conn.Conn().PgConn(), []command{who}); err != nil {
		return nil, err
	}
	ask := func(ctx context.Context, c command) error { return send(ctx, conn.Conn().PgConn(), []command{c}) }
	if r.keeper != nil { // a worker has no rights on the catalog
		ask = func(ctx context.Context, c command) error { return r.keeper.ask(ctx, c) }
	}
	free := false
	lock := cmd("SELECT tenantctl.lock_session('%s', %s, %s, nullif(%s, '')::timestamptz)", t.ID, pid, login, text(since))
	lock.row = func(row [][]byte) { free = is(row[0]) }
	if err := ask(ctx, lock); err != nil {
		return nil, err
	}
	if !free {
		return nil, busy()
	}
	return func() error {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
		defer cancel()
		err := ask(clean, cmd("SELECT tenantctl.unlock_session('%s', %s)", t.ID, pid))
		if err != nil && r.keeper == nil { // the lock ends with the session, which works as another role, or is lost
			return conn.Conn().Close(clean)
		}
		return failure("unlock schema "+t.Schema, err)
	}, nil
}

// ask sends commands on a connection of their own.
func (r *Resource) ask(ctx context.Context, commands ...command) error {
	conn, err := r.acquireOwn(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return send(ctx, conn.Conn().PgConn(), commands)
}

// runOutside runs one statement, again where live traffic was in its way. begun tells that an earlier call was cut
// off in it.
func (r *Resource) runOutside(ctx context.Context, conn *pgxpool.Conn, s stage, p *place, i int, begun bool) error {
	statement := &s.program().Statements[i]
	index := concurrentIndex(statement.SQL)
	err := r.retry(ctx, func(ctx context.Context) error {
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
		note := []command{r.holdHere(ctx), p.unchanged(), writeProgress(s, i, !done)}
		if err := send(ctx, conn.Conn().PgConn(), note); err != nil {
			return err
		}
		begun = !done
		c := commandOf(statement)
		c.own = true
		return send(ctx, conn.Conn().PgConn(), []command{c})
	})
	return r.blame(ctx, conn, s.tenant, err)
}

// index is one that a statement makes or drops CONCURRENTLY.
type index struct {
	name string // empty where the statement does neither
	made bool   // or dropped
}

// concurrentIndex reads CREATE [UNIQUE] INDEX CONCURRENTLY [IF NOT EXISTS] name and DROP INDEX CONCURRENTLY [IF EXISTS] name.
func concurrentIndex(sql string) index {
	tokens, _ := sqltext.Lex(sql)
	all := sqltext.Split(tokens)
	if len(all) != 1 || !migrationfile.IndexConcurrently(all[0]) || !(sqltext.Begins(all[0], "create") || sqltext.Begins(all[0], "drop")) {
		return index{}
	}
	tokens = all[0]
	i := 0
	for !tokens[i].Is("concurrently") {
		i++
	}
	for i++; i < len(tokens) && (tokens[i].Is("if") || tokens[i].Is("not") || tokens[i].Is("exists")); i++ {
	}
	if i == len(tokens) || tokens[i].Is("on") {
		return index{}
	}
	return index{name: tokens[i].Name(), made: sqltext.Begins(tokens, "create")}
}

// clearIndex drops an index that a failed CONCURRENTLY has left invalid, and tells whether a valid one is there. What
// goes wrong is put down to the statement.
func clearIndex(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, of *migrationfile.Statement, ix index) (there bool, err error) {
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
	for _, st := range s.program().Statements[:at.done] {
		fmt.Fprintf(sum, "%s\x00", st.SQL)
	}
	return fmt.Sprintf("tenantctl: version %d %s, statement %d %s, after %x, row ", s.Version, direction, at.done+1, state, sum.Sum(nil)[:8])
}

// lastRow is the last number given to a row of the book. It ends the note, which thus goes stale when anybody else
// applies a version in between, such as the stock goose.
const lastRow = "coalesce(pg_sequence_last_value(pg_get_serial_sequence('" + migrationfile.VersionTable + "', 'id')), 0)"

func writeProgress(s stage, done int, begun bool) command {
	return cmd(`DO $do$ BEGIN EXECUTE format('COMMENT ON TABLE %s IS %%L', %s || %s); END $do$`, migrationfile.VersionTable, text(progressText(s, progress{done, begun})), lastRow)
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
	if err != nil || set.ByVersion[version] == nil {
		return s // what is wrong with the files is not told here
	}
	at := stage{File: set.ByVersion[version], up: m[2] == "up"}
	s.File, s.Of = at.Base(), len(at.program().Statements)
	s.Changed = s.Done > s.Of || note != progressText(at, progress{s.Done, m[4] == "begun"})+last
	return s
}

func readProgress(s stage, at *progress) command {
	c := cmd("SELECT obj_description('%s'::regclass, 'pg_class'), %s", migrationfile.VersionTable, lastRow)
	c.row = func(row [][]byte) {
		*at = progress{}
		for i := range s.program().Statements {
			for _, p := range []progress{{i, false}, {i, true}} {
				if string(row[0]) == progressText(s, p)+string(row[1]) {
					*at = p
				}
			}
		}
	}
	return c
}
