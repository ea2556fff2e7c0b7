package schema

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// Paths of a backup's parts.
const (
	partPre       = tenant.KindPostgres + "/pre-data.sql"
	partData      = tenant.KindPostgres + "/data/"
	partSequences = tenant.KindPostgres + "/sequences.sql"
	partPost      = tenant.KindPostgres + "/post-data.sql"
	partGrants    = tenant.KindPostgres + "/grants.sql"
)

const (
	worthSharing  = 8 << 20 // bytes of tables, from which on more than one connection reads them
	lockedAtOnce  = 500     // tables in one LOCK
	manyTables    = 100     // from here on, locks on what hangs on tables are given back after each
	valuesAtOnce  = 200     // sequences read by one query
	endOfCopy     = "\\.\n"
	programLimit  = "54000" // SQLSTATE of a row that is too long for COPY
	internalError = "XX000" // also of a request for more memory than PostgreSQL can give at once
)

// Dump writes the definitions and the rows of a schema, all of one moment.
func (r *Resource) Dump(ctx context.Context, t tenant.Tenant, w tenant.PartWriter, o tenant.DumpOptions) (tenant.Dumped, error) {
	shared, err := r.shared(ctx)
	if err != nil {
		return tenant.Dumped{}, err
	}
	if shared { // a pooler may have no connection for a helper while this one holds its own
		o.Parallel = 1
	}
	if err := r.joinObjectReaders(ctx, t); err != nil {
		return tenant.Dumped{}, err
	}
	conn, s, defs, err := r.hold(ctx, t)
	if err != nil {
		return tenant.Dumped{}, err
	}
	defer conn.Release()
	defer rollback(ctx, conn)
	d := &dump{r: r, t: t, w: w, s: s, conn: conn}
	out := tenant.Dumped{Server: serverName(conn.Conn().PgConn()), Fingerprint: s.fingerprint, Snapshot: true, From: time.Now().UTC()}
	out.Until = out.From
	whose := new(ownership)
	if err := send(ctx, conn.Conn().PgConn(), whose.read(text(t.Schema))(nil)); err != nil {
		return tenant.Dumped{}, failure("ask who owns schema "+t.Schema, err)
	}
	out.Owner = whose.other()
	out.Partitioned = []string{}
	parted := cmd(partitionedSQL, text(quote(t.Schema)))
	parted.row = func(row [][]byte) { out.Partitioned = append(out.Partitioned, string(row[0])) }
	if err := send(ctx, conn.Conn().PgConn(), []command{parted}); err != nil {
		return tenant.Dumped{}, failure("list the partitioned tables of schema "+t.Schema, err)
	}
	if len(s.other) > 0 {
		out.Notes = append(out.Notes, "the fingerprint does not tell of "+strings.Join(s.other, ", "))
	}
	if out.Version, out.Applied, err = d.versions(ctx); err != nil {
		return tenant.Dumped{}, err
	}
	if err := d.write(partPre, defs.pre); err != nil {
		return tenant.Dumped{}, err
	}
	if err := d.objects(ctx); err != nil {
		return tenant.Dumped{}, err
	}
	if err := d.rows(ctx, o.Parallel); err != nil {
		return tenant.Dumped{}, err
	}
	sequences, err := d.sequences(ctx)
	if err != nil {
		return tenant.Dumped{}, err
	}
	for _, part := range []struct{ path, content string }{{partSequences, sequences}, {partPost, defs.post}, {partGrants, defs.grants}} {
		if err := d.write(part.path, part.content); err != nil {
			return tenant.Dumped{}, err
		}
	}
	if err := send(ctx, conn.Conn().PgConn(), []command{cmd("COMMIT")}); err != nil {
		return tenant.Dumped{}, failure("end reading schema "+t.Schema, err)
	}
	return out, r.use(ctx, conn, s)
}

// errChanged tells that the tables are not those that were locked.
var errChanged = errors.New("tables changed")

// hold gives a connection in a transaction that sees the schema at one moment, with all tables locked against changes of
// their structure, and the definitions of that moment.
func (r *Resource) hold(ctx context.Context, t tenant.Tenant) (*pgxpool.Conn, *structure, *definitions, error) {
	for range attempts {
		conn, err := r.session(ctx)
		if err != nil {
			return nil, nil, nil, err
		}
		var s *structure
		var defs *definitions
		err = r.retry(ctx, func(ctx context.Context) (err error) {
			s, err = r.snapshot(ctx, conn, t)
			if err != nil {
				rollback(ctx, conn)
			}
			return err
		})
		if err = r.blame(ctx, conn, t, err); err == nil {
			defs, err = r.known(ctx, conn, s)
		}
		if err == nil && defs != nil {
			return conn, s, defs, nil
		}
		rollback(ctx, conn)
		conn.Release()
		switch {
		case errors.Is(err, errChanged):
		case err != nil:
			return nil, nil, nil, failure("read schema "+t.Schema, err)
		case len(s.other) > 0:
			if defs, err = r.define(ctx, t, s, true); err != nil || defs == nil {
				break
			}
			// They are of this schema alone: it has to be as it was.
			if conn, now, err := r.again(ctx, t, s); err == nil {
				return conn, now, defs, nil
			} else if !errors.Is(err, errChanged) {
				return nil, nil, nil, failure("read schema "+t.Schema, err)
			}
		default:
			_, err = r.define(ctx, t, s, true)
		}
		if err != nil && !errors.Is(err, errChanged) {
			return nil, nil, nil, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, nil, nil, failure("read schema "+t.Schema, ctx.Err())
		}
	}
	return nil, nil, nil, changed(t)
}

// again is a snapshot of a schema whose structure must be s.
func (r *Resource) again(ctx context.Context, t tenant.Tenant, s *structure) (*pgxpool.Conn, *structure, error) {
	conn, err := r.session(ctx)
	if err != nil {
		return nil, nil, err
	}
	now, err := r.snapshot(ctx, conn, t)
	if err == nil && now.key() != s.key() {
		err = errChanged
	}
	if err != nil {
		rollback(ctx, conn)
		conn.Release()
		return nil, nil, err
	}
	return conn, now, nil
}

// snapshot begins a transaction, locks all tables, and only then lets it see: what is locked cannot change any more. It
// is errChanged where the tables were others.
func (r *Resource) snapshot(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant) (*structure, error) {
	pg := conn.Conn().PgConn()
	p := new(place)
	var names []string
	list := cmd(tablesSQL, text(quote(t.Schema)))
	list.row = func(row [][]byte) { names = append(names, string(row[0])) }
	if err := send(ctx, pg, []command{look(t, p), list}); err != nil {
		return nil, err
	}
	p.inForce = true
	if err := r.usable(ctx, conn, t, p); err != nil {
		return nil, err
	}
	opening := append([]command{cmd("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")}, r.readSettings(t, major(pg))...)
	for some := range slices.Chunk(names, lockedAtOnce) {
		opening = append(opening, lockTables(t, some, ""))
	}
	if err := send(ctx, pg, opening); err != nil {
		if code(err) == undefinedTable {
			return nil, errChanged
		}
		return nil, err
	}
	s, _, err := structureOf(ctx, pg, t)
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(s.tables, names, func(t table, name string) bool { return t.name == name }) {
		return nil, errChanged
	}
	return s, nil
}

const tablesSQL = `SELECT c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(%s) AND d.classid = 'pg_class'::regclass AND c.relkind = 'r'
	AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
ORDER BY c.relname`

const partitionedSQL = `SELECT c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(%s) AND d.classid = 'pg_class'::regclass AND c.relkind = 'p'
ORDER BY c.relname`

func lockTables(t tenant.Tenant, names []string, wait string) command {
	var list []string
	for _, n := range names {
		list = append(list, "ONLY "+quote(t.Schema)+"."+quote(n))
	}
	return cmd("LOCK TABLE %s IN ACCESS SHARE MODE %s", strings.Join(list, ", "), wait)
}

// dump is a dump at work.
type dump struct {
	r    *Resource
	t    tenant.Tenant
	w    tenant.PartWriter
	s    *structure
	conn *pgxpool.Conn // with the transaction that holds all locks

	columns []objectColumn // that may refer to large objects
	known   knownObjects   // that the backup holds
}

// write writes a part without rows.
func (d *dump) write(path, content string) error {
	f, err := d.w.Create(path, "")
	if err != nil {
		return err
	}
	if _, err := io.WriteString(f, content); err != nil {
		return err
	}
	return f.End(0, 0)
}

// versions reads the version book.
func (d *dump) versions(ctx context.Context) (newest int64, applied int, err error) {
	if d.r.Delegates() {
		newest, err = d.r.versionHere(ctx, d.conn.Conn().PgConn())
		return newest, 0, err
	}
	if !d.s.objects[migrationfile.VersionTable] {
		return 0, 0, nil
	}
	c := cmd(`SELECT coalesce(max(version_id), 0), count(*) FROM (SELECT DISTINCT ON (version_id) version_id, is_applied
		FROM %s WHERE version_id > 0 ORDER BY version_id, id DESC) last WHERE is_applied`, migrationfile.VersionTable)
	c.row = func(row [][]byte) {
		// The server writes numbers.
		newest, _ = strconv.ParseInt(string(row[0]), 10, 64)
		applied, _ = strconv.Atoi(string(row[1]))
	}
	err = send(ctx, d.conn.Conn().PgConn(), []command{c})
	return newest, applied, failure("read the version book", err)
}

// job is a table and its number among all.
type job struct {
	table
	number int
}

// queue is what is left to do.
type queue struct {
	sync.Mutex
	left []job
}

func (q *queue) next() (job, bool) {
	q.Lock()
	defer q.Unlock()
	if len(q.left) == 0 {
		return job{}, false
	}
	j := q.left[0]
	q.left = q.left[1:]
	return j, true
}

// back puts back what was not done.
func (q *queue) back(j job) {
	q.Lock()
	defer q.Unlock()
	q.left = append(q.left, j)
}

// rows writes a part for each table, several at once where that is worth it.
func (d *dump) rows(ctx context.Context, parallel int) error {
	q := new(queue)
	var size int64
	for i, t := range d.s.tables {
		q.left = append(q.left, job{t, i + 1})
		size += t.size
	}
	if size < worthSharing || parallel < 2 || len(q.left) < 2 {
		return d.work(ctx, d.conn.Conn().PgConn(), q, false)
	}
	// The greatest first, so that all end at the same time.
	slices.SortStableFunc(q.left, func(a, b job) int { return cmp.Compare(b.size, a.size) })
	return d.share(ctx, q, min(parallel, len(q.left)))
}

// share lets other connections help, which see what this one sees. It does not wait for them, and takes none that the work may
// need that everybody waits for: where the pool has none to spare, it does all by itself.
func (d *dump) share(ctx context.Context, q *queue, parallel int) error {
	var snapshot string
	c := cmd("SELECT pg_export_snapshot()")
	c.row = func(row [][]byte) { snapshot = string(row[0]) }
	pg := d.conn.Conn().PgConn()
	if err := send(ctx, pg, []command{c}); err != nil {
		return failure("share what is seen of schema "+d.t.Schema, err)
	}
	g, working := tenant.NewGroup(ctx)
	waiting, stop := context.WithCancel(working)
	defer stop()
	for range parallel - 1 {
		g.Go(func() error {
			conn := d.r.spareSession(waiting)
			if conn == nil {
				return nil // the others do its part
			}
			defer conn.Release()
			defer rollback(working, conn)
			opening := append([]command{cmd("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"), cmd("SET TRANSACTION SNAPSHOT %s", text(snapshot))}, d.r.readSettings(d.t, d.s.major)...)
			if err := send(working, conn.Conn().PgConn(), opening); err != nil {
				return failure("share what is seen of schema "+d.t.Schema, err)
			}
			return d.work(working, conn.Conn().PgConn(), q, true)
		})
	}
	g.Go(func() error {
		defer stop()
		return d.work(working, pg, q, false)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return d.work(ctx, pg, q, false) // what helpers gave back
}

// work writes parts until none is left. A helper takes a lock of its own, and does not wait for it: somebody who waits to
// change the table waits for us.
func (d *dump) work(ctx context.Context, pg *pgconn.PgConn, q *queue, helper bool) error {
	lean := len(d.s.tables) > manyTables
	if lean {
		if err := send(ctx, pg, []command{cmd("SAVEPOINT part")}); err != nil {
			return failure("read schema "+d.t.Schema, err)
		}
	}
	for {
		j, more := q.next()
		if !more {
			return nil
		}
		if helper {
			err := send(ctx, pg, []command{lockTables(d.t, []string{j.name}, "NOWAIT")})
			if locked(err) {
				q.back(j)
				return nil
			}
			if err != nil {
				return failure("read table "+j.name, err)
			}
		}
		if err := d.part(ctx, pg, j); err != nil {
			return err
		}
		if lean {
			if err := send(ctx, pg, []command{cmd("ROLLBACK TO part")}); err != nil {
				return failure("read table "+j.name, err)
			}
		}
	}
}

// part writes the rows of one table.
func (d *dump) part(ctx context.Context, pg *pgconn.PgConn, j job) error {
	f, err := d.w.Create(fmt.Sprintf("%s%04d-%s.sql", partData, j.number, safe(j.name)), j.name)
	if err != nil {
		return err
	}
	l := newLines(f)
	if err := l.put([]byte("COPY " + sqltext.Variables.Ident + "." + ident(j.into()) + j.columnList() + " FROM stdin;\n")); err != nil {
		return err
	}
	var to io.Writer = l
	if places := objectPlaces(d.columns, j.name, columnNames(j.columns)); places != nil && len(d.known) > 0 {
		// Objects count by their content: their numbers are others after a restore.
		to = &counted{l, relabel{columns: places, to: d.known.text, out: l.count}}
	}
	tag, err := pg.CopyTo(ctx, to, j.read(d.t))
	if err != nil {
		return unreadable(j.name, err)
	}
	if tag.RowsAffected() != l.rows {
		return &tenant.Error{Kind: tenant.ErrDiffers, Store: tenant.KindPostgres, Msg: fmt.Sprintf("table %s: the server sent %d rows and %d arrived", j.name, tag.RowsAffected(), l.rows)}
	}
	if err := l.put([]byte(endOfCopy)); err != nil {
		return err
	}
	if err := l.flush(); err != nil {
		return err
	}
	return f.End(l.rows, l.sum)
}

// unreadable says why a table's rows could not be read.
func unreadable(name string, err error) error {
	err = failure("read table "+name, err)
	var e *tenant.Error
	if !errors.As(err, &e) {
		return err
	}
	helped := *e
	switch {
	case e.Code == programLimit || e.Code == internalError && strings.Contains(e.Msg, "memory alloc"):
		helped.Msg = fmt.Sprintf("table %s has a row that is longer than the 1 GB that COPY can write", name)
		helped.Kind, helped.Hint = tenant.ErrUnsupported, "split the value over several rows: pg_dump could not write it either"
	case e.Code == insufficientRights && strings.Contains(e.Msg, "row-level security"):
		helped.Hint = "row security is forced on the table's owner: ALTER ROLE of the provisioning role ... BYPASSRLS"
	default:
		return err
	}
	return &helped
}

// sequences is the SQL that sets all sequences to what they are at. They are read after the rows, so that they are not
// behind them.
func (d *dump) sequences(ctx context.Context) (string, error) {
	var b strings.Builder
	for some := range slices.Chunk(d.s.sequences, valuesAtOnce) {
		values := map[string][2]string{}
		c := cmd("%s", readSequences(d.t.Schema, some))
		c.row = func(row [][]byte) { values[string(row[0])] = [2]string{string(row[1]), string(row[2])} }
		if err := send(ctx, d.conn.Conn().PgConn(), []command{c}); err != nil {
			return "", failure("read the sequences of schema "+d.t.Schema, err)
		}
		for _, name := range some {
			b.WriteString(setSequence(name, values[name][0], values[name][1]))
		}
	}
	return b.String(), nil
}

func readSequences(schema string, names []string) string {
	var each []string
	for _, n := range names {
		each = append(each, fmt.Sprintf("SELECT %s, last_value, is_called FROM %s.%s", text(n), quote(schema), quote(n)))
	}
	return strings.Join(each, " UNION ALL ")
}

// setSequence sets a sequence in the schema that psql's variable names.
func setSequence(name, last, called string) string {
	content := sqltext.Variables.Literal + "\n'\"." + strings.ReplaceAll(quote(name), "'", "''") + "'"
	return fmt.Sprintf("SELECT pg_catalog.setval('\"'\n%s, %s, %s);\n", content, last, map[bool]string{true: "true", false: "false"}[called == "t"])
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// ident writes a name as SQL, without quotes where it is plain: a table may have a key word's name after its schema's.
func ident(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return quote(name)
}

// safe is a name as a part of a path: what is not a letter, digit, '_', '-' or '.' of ASCII is %XX.
func safe(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c < utf8.RuneSelf && (sqltext.InName(rune(c)) && c != '$' || c == '-' || c == '.' && i > 0) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
