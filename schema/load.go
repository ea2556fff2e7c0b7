package schema

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// maxDefinitions is how many bytes a part without rows may have: it is held in memory.
const maxDefinitions = 256 << 20

// Load makes a tenant's schema, and its role where that is asked for, and fills it with the parts that it is given.
func (r *Resource) Load(ctx context.Context, t tenant.Tenant, o tenant.LoadOptions) (tenant.PartLoader, error) {
	if !r.cfg.Roles || o.Role == "" {
		o.Role, o.MakeRole = "", false
	}
	if err := r.prepare(ctx, t, o); err != nil {
		return nil, err
	}
	w, err := r.workAs(ctx, t)
	if err != nil {
		return nil, err
	}
	o.Owner = w.owner
	l := &loader{r: r, w: w, t: t, o: o, texts: map[string]string{}, loaded: map[string]*counts{}, spare: make(chan []byte, max(o.Parallel, 1))}
	if o.Names != nil {
		l.wanted = map[string]bool{}
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	l.jobs, _ = tenant.NewGroup(l.ctx)
	l.jobs.SetLimit(max(o.Parallel, 1))
	return l, nil
}

// prepare makes an empty schema of the owner that is named, and the role where that is asked for.
func (r *Resource) prepare(ctx context.Context, t tenant.Tenant, o tenant.LoadOptions) error {
	role, newRole := o.Role, o.MakeRole
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	as := t
	as.Role = role
	err = r.transact(ctx, conn, as, nil, func(p *place) ([]command, error) {
		switch {
		case p.schema == tenant.Ours:
			return nil, &tenant.Error{
				Kind: tenant.ErrExists, Store: tenant.KindPostgres, Msg: fmt.Sprintf("schema %s exists already", t.Schema), Hint: "what is restored goes into a new schema",
			}
		case p.schema == tenant.Foreign:
			return nil, foreign("schema", t.Schema)
		case newRole && p.role == tenant.Foreign:
			return nil, foreign("role", role)
		case role != "" && !newRole && p.role == tenant.Absent:
			return nil, noRole(as, p)
		}
		schema := quote(t.Schema)
		authorization := ""
		if o.Owner != "" {
			authorization = " AUTHORIZATION " + quote(o.Owner)
		}
		commands := []command{cmd("CREATE SCHEMA %s%s", schema, authorization), cmd("COMMENT ON SCHEMA %s IS %s", schema, text(mark(t))), cmd("REVOKE ALL ON SCHEMA %s FROM PUBLIC", schema)}
		switch {
		case newRole && p.role == tenant.Absent:
			commands = append(commands, r.makeRole(as)...)
		case newRole:
			commands = append(commands, cmd("ALTER ROLE %s LOGIN", quote(role)), cmd("ALTER ROLE %s SET search_path = %s", quote(role), r.path(t.Schema)))
		}
		return commands, nil
	})
	if err := refusal("create schema "+t.Schema, conn, as, err); err != nil {
		return err
	}
	return tenant.Checkpoint(ctx, "postgres/restored-place")
}

// loader fills a schema. Its methods are called by one goroutine; rows go into the tables in others.
type loader struct {
	r      *Resource
	w      *worker // runs what the backup holds, and is nil when it is done
	t      tenant.Tenant
	o      tenant.LoadOptions
	ctx    context.Context // ends with the first failure
	cancel context.CancelCauseFunc

	made   bool              // the tables are there
	texts  map[string]string // parts that wait for the rows
	tables []string          // all that hold rows
	wanted map[string]bool   // those whose rows are loaded; nil for all
	left   bool              // the definitions were adapted: they cannot be compared

	columns []objectColumn // that refer to large objects
	objects []newObject    // that were made, in order of their numbers in the backup

	jobs  *tenant.Group
	spare chan []byte // buffers to be used again

	mu     sync.Mutex
	loaded map[string]*counts // by path of the part
}

// counts are how many rows of a part there are to be, and how many the server took.
type counts struct {
	part     tenant.Part
	expected int64
	taken    int64
}

// role is who gets the rights of the tenant's role.
func (l *loader) role() tenant.Tenant {
	as := l.t
	as.Role = l.o.Role
	return as
}

// names are the tenant's own, as the definitions are to have them.
func (l *loader) names() sqltext.Spelling {
	to := sqltext.Spelling{Ident: quote(l.t.Schema), Literal: text(l.t.Schema), Role: l.maker()}
	if l.o.Role != "" {
		to.Role = quote(l.o.Role)
	}
	return to
}

// maker is the role that objects are made for: the schema's owner.
func (l *loader) maker() string {
	if l.o.Owner != "" {
		return quote(l.o.Owner)
	}
	return quote(l.r.pool.Config().ConnConfig.User)
}

// fail notes the first failure and ends all work.
func (l *loader) fail(err error) error {
	if err != nil {
		l.cancel(err)
	}
	return err
}

// failed is the first failure, also that the caller's context has ended.
func (l *loader) failed() error {
	if l.ctx.Err() == nil {
		return nil
	}
	return failure("load schema "+l.t.Schema, context.Cause(l.ctx))
}

// Part takes a part of the backup. Rows are written as they come; definitions when they are complete.
func (l *loader) Part(_ context.Context, p tenant.Part) (io.WriteCloser, error) {
	if err := l.failed(); err != nil {
		return nil, err
	}
	switch {
	case !strings.HasPrefix(p.Path, tenant.KindPostgres+"/"):
		return nil, nil
	case p.Path == partPre, p.Path == partPost, p.Path == partSequences, p.Path == partGrants:
		return &textPart{l: l, path: p.Path}, nil
	case p.Path == partObjects && l.made && len(l.loaded) == 0 && l.columns == nil:
		return &objectsPart{l: l, by: l.r, rows: p.Rows, skipped: map[uint32]bool{}}, nil
	case p.Path == partObjects:
		return nil, l.fail(invalid("the backup is damaged: verify it", "part %s does not come between the definitions and the rows", p.Path))
	case !strings.HasPrefix(p.Path, partData):
		return nil, l.fail(invalid("it was written by a newer tenantctl: use that", "part %s is not known here", p.Path))
	case !l.made:
		return nil, l.fail(invalid("the backup is damaged: verify it", "part %s comes before the definitions", p.Path))
	case l.wanted != nil && !l.wanted[p.Name]:
		return nil, nil
	}
	if !slices.Contains(l.tables, p.Name) {
		return nil, l.fail(invalid("the backup is damaged: verify it", "part %s is of table %q, of which the definitions do not tell", p.Path, p.Name))
	}
	c := &counts{part: p}
	l.mu.Lock()
	l.loaded[p.Path] = c
	l.mu.Unlock()
	return &rowPart{l: l, counts: c}, nil
}

// Stop ends all work.
func (l *loader) Stop() {
	l.cancel(context.Canceled)
	defer func() { _ = l.end(l.ctx) }() // a login that is left is swept by the next work
	_ = l.jobs.Wait()                   // what they failed of is told by Finish
}

// end removes the worker's login, and with it what a failed load has made that is still its own.
func (l *loader) end(ctx context.Context) error {
	if l.w == nil {
		return nil
	}
	w := l.w
	l.w = nil
	return w.done(ctx)
}

// textPart gathers a part that has no rows.
type textPart struct {
	l    *loader
	path string
	text bytes.Buffer
}

func (p *textPart) Write(b []byte) (int, error) {
	if p.text.Len()+len(b) > maxDefinitions {
		return 0, p.l.fail(invalid("restore it with psql", "part %s is longer than %d MB", p.path, maxDefinitions>>20))
	}
	return p.text.Write(b)
}

func (p *textPart) Close() error {
	if err := p.l.failed(); err != nil {
		return err
	}
	sql := settable(p.text.String())
	if p.path == partPre {
		return p.l.fail(p.l.define(sql))
	}
	p.l.texts[p.path] = sql
	// What is forged is known before the rest of the backup is read.
	_, err := p.l.admit(p.path, statementsOf(sql))
	return p.l.fail(err)
}

// define makes types, tables and functions.
func (l *loader) define(sql string) error {
	if l.made {
		return invalid("the backup is damaged: verify it", "part %s comes twice", partPre)
	}
	if err := l.extensions(sql); err != nil {
		return err
	}
	if err := l.w.needs(l.ctx, sql); err != nil {
		return err
	}
	if err := l.statements(l.w.Resource, partPre, statementsOf(sql)); err != nil {
		return err
	}
	if err := l.list(); err != nil {
		return err
	}
	l.made = true
	return tenant.Checkpoint(l.ctx, "postgres/restored-tables")
}

// extensions refuses a schema that needs extensions which the database does not have.
func (l *loader) extensions(sql string) error {
	var missing []string
	for line := range strings.Lines(sql) {
		name, found := strings.CutPrefix(strings.TrimSpace(line), needs)
		if !found {
			break
		}
		missing = append(missing, strings.ReplaceAll(strings.Trim(name, `"`), `""`, `"`))
	}
	if missing == nil {
		return nil
	}
	conn, err := l.r.acquire(l.ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	c := cmd("SELECT extname FROM pg_extension")
	c.row = func(row [][]byte) {
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == string(row[0]) })
	}
	if err := send(l.ctx, conn.Conn().PgConn(), []command{c}); err != nil {
		return failure("look for extensions", err)
	}
	if len(missing) == 0 {
		return nil
	}
	return &tenant.Error{
		Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: "the database has no extension " + strings.Join(missing, ", "),
		Hint: fmt.Sprintf("CREATE EXTENSION %s in %s, in the schema that it had where the backup was made", quote(missing[0]), address(conn.Conn().Config())),
	}
}

// list reads which tables there are, and which of them are asked for.
func (l *loader) list() error {
	conn, err := l.r.acquire(l.ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	under := map[string][]string{} // tables that hold rows, by their own name and those of all they are partitions of
	c := cmd(partitionsSQL, text(quote(l.t.Schema)))
	c.row = func(row [][]byte) {
		name, leaf := string(row[0]), string(row[1])
		if name == leaf {
			l.tables = append(l.tables, leaf)
		}
		under[name] = append(under[name], leaf)
	}
	if err := send(l.ctx, conn.Conn().PgConn(), []command{c}); err != nil {
		return failure("list the tables of schema "+l.t.Schema, err)
	}
	for _, name := range l.o.Names {
		if under[name] == nil {
			return &tenant.Error{
				Kind: tenant.ErrNotFound, Store: tenant.KindPostgres, Msg: fmt.Sprintf("the backup has no table %q", name),
				Hint: "it has " + listed(l.tables),
			}
		}
		for _, leaf := range under[name] {
			l.wanted[leaf] = true
		}
	}
	return nil
}

// listed is a list that stays readable.
func listed(names []string) string { return upTo(20, names) }

// upTo joins the first names, and says how many there are besides.
func upTo(most int, names []string) string {
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

const partitionsSQL = `SELECT up.relname, c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'r'
	CROSS JOIN LATERAL (SELECT c.oid AS relid UNION SELECT relid FROM pg_partition_ancestors(c.oid)) a JOIN pg_class up ON up.oid = a.relid
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(%s) AND d.classid = 'pg_class'::regclass
	AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
ORDER BY c.relname`
