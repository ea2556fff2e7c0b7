package schema

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// Clone makes a schema and its role as a copy of another, within the server. It belongs to whom the other belongs to.
func (r *Resource) Clone(ctx context.Context, from, to tenant.Tenant, data bool) error {
	if r.Delegates() && !data {
		return invalid("copy the rows too, and delete them there", "a copy without rows would lack the history of the tool that migrates it: migrations.engine is exec")
	}
	owner, err := r.OwnerOf(ctx, from)
	if err != nil {
		return err
	}
	if err := r.joinObjectReaders(ctx, from); err != nil {
		return err
	}
	conn, s, defs, err := r.hold(ctx, from)
	if err != nil {
		return err
	}
	server := serverName(conn.Conn().PgConn())
	rollback(ctx, conn)
	conn.Release()
	o := tenant.LoadOptions{Dumped: tenant.Dumped{Server: server, Fingerprint: s.fingerprint}, Role: to.Role, Owner: owner, MakeRole: true, Parallel: 1, Log: func(string) {}}
	loading, err := r.Load(ctx, to, o)
	if err != nil {
		return err
	}
	defer loading.Stop()
	l := loading.(*loader)
	if err := l.define(defs.pre); err != nil {
		return err
	}
	sequences, err := l.copyRows(ctx, from, s, data)
	if err != nil {
		return err
	}
	l.texts = map[string]string{partSequences: sequences, partPost: defs.post, partGrants: defs.grants}
	return l.Finish(ctx)
}

// copyRows copies the rows of all tables in one transaction, as they are at one moment, and gives the SQL that sets the
// sequences. Without data, it is only the version book. s is the structure that the new schema has.
func (l *loader) copyRows(ctx context.Context, from tenant.Tenant, s *structure, data bool) (sequences string, err error) {
	doing := fmt.Sprintf("copy the rows of schema %s to %s", from.Schema, l.t.Schema)
	into, err := l.w.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer into.Release()
	err = l.r.retry(ctx, func(ctx context.Context) error {
		conn, err := l.r.acquire(ctx)
		if err != nil {
			return err
		}
		g := &guard{conn} // which reads too
		defer g.release(ctx)
		defer rollback(ctx, into)
		sequences, err = l.copyOnce(ctx, g, into.Conn().PgConn(), from, s, data)
		return err
	})
	return sequences, failure(doing, err)
}

func (l *loader) copyOnce(ctx context.Context, g *guard, into *pgconn.PgConn, from tenant.Tenant, s *structure, data bool) (sequences string, err error) {
	opening := append([]command{cmd("BEGIN ISOLATION LEVEL REPEATABLE READ")}, l.r.readSettings(from, s.major)...)
	var names []string
	for _, t := range s.tables {
		names = append(names, t.name)
	}
	for some := range slices.Chunk(names, lockedAtOnce) {
		opening = append(opening, lockTables(from, some, ""))
	}
	opening = append(opening, cmd("%s", tenant.LeaseFrom(ctx).HoldSQL()))
	if err := send(ctx, g.pg(), opening); err != nil {
		if code(err) == undefinedTable {
			return "", changed(from)
		}
		return "", err
	}
	now, err := readStructure(ctx, g.pg(), from)
	if err != nil {
		return "", err
	}
	if now.fingerprint != s.fingerprint {
		return "", changed(from)
	}
	d := &dump{r: l.r, t: from, s: now, conn: g.conn}
	if !data {
		d.s.sequences = slices.DeleteFunc(d.s.sequences, func(name string) bool { return name != migrationfile.VersionTable+"_id_seq" })
	}
	if sequences, err = d.sequences(ctx); err != nil {
		return "", err
	}
	if data {
		if err := l.copyObjects(ctx, d); err != nil {
			return "", err
		}
	}
	if err := send(ctx, into, append([]command{cmd("BEGIN")}, l.r.readSettings(l.t, s.major)...)); err != nil {
		return "", err
	}
	for _, t := range d.s.tables {
		if !data && t.name != migrationfile.VersionTable {
			continue
		}
		if err := l.pipe(ctx, g.pg(), t, from, into); err != nil {
			return "", unloadable(t.name, err)
		}
	}
	return sequences, g.commit(ctx, into)
}

// read and write are the statements that copy a table's rows as text, in which no name of the schema stands and no code of
// the tenant's makes the values.
func (t table) read(of tenant.Tenant) string {
	return "COPY " + quote(of.Schema) + "." + quote(t.name) + t.columnList() + " TO STDOUT"
}

func (t table) write(to tenant.Tenant) string {
	return "COPY " + quote(to.Schema) + "." + quote(t.into()) + t.columnList() + " FROM STDIN"
}

// errNotTaken ends the reading of rows that nobody takes any more.
var errNotTaken = errors.New("the rows are not taken")

// pipe lets one connection take the rows of a table that another gives.
func (l *loader) pipe(ctx context.Context, from *pgconn.PgConn, t table, of tenant.Tenant, to *pgconn.PgConn) error {
	r, w := io.Pipe()
	var given pgconn.CommandTag
	reading, ctx := tenant.NewGroup(ctx)
	reading.Go(func() error {
		err := errNotTaken // rows that are read in part have no end
		defer func() { _ = w.CloseWithError(err) }()
		buffered := bufio.NewWriterSize(w, 64<<10)
		var rows io.Writer = buffered
		if places := objectPlaces(l.columns, t.name, columnNames(t.columns)); places != nil && len(l.objects) > 0 {
			rows = relabeled{&relabel{columns: places, to: l.now, out: func(b []byte) { _, _ = buffered.Write(b) }}} // Flush tells of errors
		}
		if given, err = from.CopyTo(ctx, rows, t.read(of)); err == nil {
			err = buffered.Flush()
		}
		return err // nil is the end of the rows
	})
	taken, err := to.CopyFrom(ctx, r, t.write(l.t))
	_ = r.CloseWithError(errNotTaken)
	switch rerr := reading.Wait(); {
	case rerr != nil && !errors.Is(rerr, errNotTaken):
		return rerr
	case err != nil:
		return err
	case given.RowsAffected() != taken.RowsAffected():
		return fmt.Errorf("%d rows were read and %d written", given.RowsAffected(), taken.RowsAffected())
	}
	return nil
}

// relabeled writes rows as relabel gives them.
type relabeled struct{ as *relabel }

func (r relabeled) Write(p []byte) (int, error) {
	r.as.write(p)
	return len(p), nil
}

// copyObjects makes the large objects of a dump at work, by a connection beside the one that reads them. Those of an earlier
// attempt are taken away.
func (l *loader) copyObjects(ctx context.Context, d *dump) error {
	to := &objectsTo{l: l}
	defer to.close()
	if len(l.objects) > 0 {
		by, err := to.resource()
		if err == nil {
			err = by.unlinkMarked(ctx, l.t)
		}
		if err != nil {
			return err
		}
	}
	l.columns, l.objects = nil, nil
	d.w = to
	return d.objects(ctx)
}

// objectsTo lets a loader take the part with large objects as it is written.
type objectsTo struct {
	l  *loader
	by *Resource
}

// resource has a connection of its own: the pool's last one may be that which reads.
func (o *objectsTo) resource() (*Resource, error) {
	if o.by != nil {
		return o.by, nil
	}
	pc := o.l.r.pool.Config()
	pc.MaxConns, pc.MinConns, pc.MinIdleConns = 1, 0, 0
	pool, err := pgxpool.NewWithConfig(o.l.ctx, pc)
	if err != nil {
		return nil, unreachable(pc.ConnConfig, err)
	}
	o.by = &Resource{pool: pool, cfg: o.l.r.cfg}
	return o.by, nil
}

func (o *objectsTo) close() {
	if o.by != nil {
		o.by.pool.Close()
	}
}

// Create begins the part.
func (o *objectsTo) Create(string, string) (tenant.PartFile, error) {
	by, err := o.resource()
	if err != nil {
		return nil, err
	}
	return objectsHere{&objectsPart{l: o.l, by: by, skipped: map[uint32]bool{}}}, nil
}

type objectsHere struct{ *objectsPart }

// End ends it.
func (o objectsHere) End(rows int64, _ uint64) error {
	o.rows = rows
	return o.Close()
}
