package schema

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// Rehearse is Up that tells what each file did: how long its statements took, which locks its transaction held at its
// end, and which tables have a new file on disk.
func (r *Resource) Rehearse(ctx context.Context, t tenant.Tenant, to int64, outOfOrder bool, told func(tenant.RehearsedFile)) error {
	_, err := r.up(ctx, t, to, outOfOrder, &watch{tenant: t, told: told})
	return err
}

// watch looks on while a file is applied. A nil watch does not look.
type watch struct {
	tenant tenant.Tenant
	told   func(tenant.RehearsedFile)

	since         time.Time
	began, ended  float64           // ms, by the server's clock
	before, after map[string]string // file on disk by oid
	names         map[string]string // by oid, before
	locks         map[string]tenant.TableLock
}

// around adds to a file's commands what looks on.
func (w *watch) around(commands []command) []command {
	if w == nil {
		return commands
	}
	w.start()
	all := append([]command{w.files(&w.before, w.names), clock(&w.began)}, commands...)
	return append(all, clock(&w.ended), w.held(), w.files(&w.after, nil))
}

func (w *watch) start() {
	w.since, w.began, w.ended = time.Now(), 0, 0
	w.before, w.after, w.names, w.locks = map[string]string{}, map[string]string{}, map[string]string{}, map[string]tenant.TableLock{}
}

// outside looks on while do runs a file outside of any transaction, whose locks come and go.
func (w *watch) outside(ctx context.Context, conn *pgxpool.Conn, do func() (bool, error)) (applied bool, err error) {
	if w == nil {
		return do()
	}
	w.start()
	if err := send(ctx, conn.Conn().PgConn(), []command{w.files(&w.before, w.names)}); err != nil {
		return false, err
	}
	w.since = time.Now()
	applied, err = do()
	w.ended = float64(time.Since(w.since).Milliseconds())
	if err == nil {
		err = send(ctx, conn.Conn().PgConn(), []command{w.files(&w.after, nil)})
	}
	return applied, err
}

// tell reports the file of a stage; err is why it failed.
func (w *watch) tell(s stage, err error) {
	if w == nil || s.File == nil {
		return
	}
	f := tenant.RehearsedFile{
		Store: tenant.KindPostgres, Version: s.Version, File: s.Base(), DurationMS: int64(w.ended - w.began + 0.5),
		Failed: err != nil, Transaction: !s.NoTransaction, Rewritten: []string{},
	}
	if err != nil {
		f.DurationMS = time.Since(w.since).Milliseconds()
		w.told(f)
		return
	}
	for oid, was := range w.before {
		if is, there := w.after[oid]; there && is != was {
			f.Rewritten = append(f.Rewritten, w.names[oid])
		}
	}
	slices.Sort(f.Rewritten)
	if !s.NoTransaction || concurrent(s.File) {
		f.Locks = []tenant.TableLock{}
	}
	for _, l := range w.locks {
		f.Locks = append(f.Locks, l)
	}
	slices.SortFunc(f.Locks, func(a, b tenant.TableLock) int {
		return cmp.Or(strength(b.Mode)-strength(a.Mode), cmp.Compare(a.Table, b.Table))
	})
	w.told(f)
}

// concurrent tells whether a file outside of any transaction does nothing but make and drop indexes CONCURRENTLY, which
// blocks neither reads nor writes.
func concurrent(m *migrationfile.File) bool {
	return !slices.ContainsFunc(m.Up.Statements, func(s migrationfile.Statement) bool { return concurrentIndex(s.SQL).name == "" })
}

// clock reads the server's clock, in ms.
func clock(into *float64) command {
	c := cmd("SELECT extract(epoch FROM clock_timestamp()) * 1000")
	c.row = func(row [][]byte) { *into, _ = strconv.ParseFloat(string(row[0]), 64) }
	return c
}

// files reads which file on disk each table of the tenant has, without goose's book.
func (w *watch) files(into *map[string]string, names map[string]string) command {
	c := cmd(`SELECT c.oid, c.relname, coalesce(pg_relation_filenode(c.oid), 0) FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(%s) AND d.classid = 'pg_class'::regclass
	AND c.relkind IN ('r', 'p', 'm') AND c.relname <> '%s'`, text(quote(w.tenant.Schema)), migrationfile.VersionTable)
	c.row = func(row [][]byte) {
		oid := string(row[0])
		(*into)[oid] = string(row[2])
		if names != nil {
			names[oid] = string(row[1])
		}
	}
	return c
}

// held reads the locks on tables that the transaction holds: on the tenant's that were there before it, and on what it
// reached in other schemas. What it made itself nobody else can wait for.
func (w *watch) held() command {
	c := cmd(`SELECT l.relation, l.mode, n.nspname || '.' || c.relname, n.nspname = %[1]s
FROM pg_locks l LEFT JOIN pg_class c ON c.oid = l.relation LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND coalesce(c.relkind IN ('r', 'p', 'm'), true)
	AND coalesce(n.nspname NOT IN ('information_schema', 'tenantctl') AND n.nspname NOT LIKE 'pg\_%%', true)`, text(w.tenant.Schema))
	c.row = func(row [][]byte) {
		oid, mode := string(row[0]), string(row[1])
		name, ours := w.names[oid]
		switch {
		case ours:
		case row[2] == nil || is(row[3]):
			return
		default:
			name = string(row[2])
		}
		if was, there := w.locks[oid]; !there || strength(mode) > strength(was.Mode) {
			w.locks[oid] = tenant.TableLock{Table: name, Mode: mode, Blocks: blocks(mode)}
		}
	}
	return c
}

// modes are PostgreSQL's locks on tables, the strongest last.
var modes = []string{
	"AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock",
	"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
}

func strength(mode string) int { return slices.Index(modes, mode) }

// blocks tells what a lock keeps SELECT, INSERT, UPDATE and DELETE from.
func blocks(mode string) tenant.Blocks {
	switch {
	case mode == "AccessExclusiveLock":
		return tenant.BlocksAll
	case strength(mode) >= strength("ShareLock"):
		return tenant.BlocksWrites
	}
	return tenant.BlocksNothing
}
