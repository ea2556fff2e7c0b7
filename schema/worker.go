package schema

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// worker is a resource that works in one tenant's schema by a login of its own, so that code which the tenant has written
// reaches nothing but that schema when it runs: the login is a member of the schema's owner alone and works as that
// owner, or, where the provisioning role owns the schema, may use and fill it and nothing else. It has no rights on the
// catalog: the provisioning role's guard holds lease and lock around each of its transactions.
type worker struct {
	*Resource
	login *login
	owner string // of the schema; empty where it is the provisioning role
	t     tenant.Tenant
}

// workAs makes the login for t's schema, which has to be there. done removes it.
func (r *Resource) workAs(ctx context.Context, t tenant.Tenant) (*worker, error) {
	of := t.Role
	if of == "" {
		of = t.Schema
	}
	own, err := uuid.Parse(operationOf(ctx))
	if err != nil {
		return nil, err
	}
	// What an earlier attempt of the same operation has left may be at work still. Work without an operation has no attempts.
	err = r.sweep(ctx, working, func(role string, id uuid.UUID) (bool, error) {
		return id == own && own != uuid.Nil && strings.HasPrefix(role, working.base(of)), nil
	})
	if err != nil {
		return nil, err
	}
	w := &worker{t: t}
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	o := new(ownership)
	// A commit that is cut off may be done all the same, and nobody would take the role back.
	err = r.transact(context.WithoutCancel(ctx), conn, t, o.read(text(t.Schema)), func(p *place) (commands []command, err error) {
		if err := errors.Join(ctx.Err(), p.ours(t), r.mayLend(t, o)); err != nil {
			return nil, err
		}
		if w.login, err = r.newLogin(working, of, o.other()); err != nil {
			return nil, err
		}
		w.owner = o.other()
		commands, err = w.login.make(ctx)
		if w.owner == "" {
			commands = append(commands, cmd("GRANT USAGE, CREATE ON SCHEMA %s TO %s", quote(t.Schema), quote(w.login.role)))
		}
		return commands, err
	})
	if err != nil {
		return nil, refusal("make a login to work in schema "+t.Schema, conn, t, err)
	}
	if w.Resource, err = r.by(ctx, w.login); err != nil {
		return nil, errors.Join(err, w.login.takeBack(ctx))
	}
	return w, tenant.Checkpoint(ctx, "postgres/worker-made")
}

// by is the resource over connections of a login's own, past a pooler.
func (r *Resource) by(ctx context.Context, l *login) (*Resource, error) {
	to, address, err := r.past()
	if err != nil {
		return nil, err
	}
	pc := r.pool.Config()
	pc.ConnConfig = l.as(to)
	pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pc.ConnConfig.RuntimeParams["application_name"] = "tenantctl"
	pc.MinConns, pc.MinIdleConns = 0, 0
	pc.MaxConnLifetime = 1000 * time.Hour // the login is valid for less, and is asked for its password with each connection
	pc.AfterConnect = l.is
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, l.shutOut(pc.ConnConfig, err)
	}
	cfg := r.cfg
	cfg.URL, cfg.DirectURL = address, ""
	return &Resource{pool: pool, cfg: cfg, keeper: r, acts: l.acts}, nil
}

// done ends the worker's sessions and removes its login. What it still owns is handed over.
func (w *worker) done(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	w.pool.Close()
	return w.keeper.dropLogin(ctx, working, w.login.role)
}

// ownership is whose a schema is, and what the provisioning role may do about it.
type ownership struct {
	owner, me string
	mine      bool
	above     bool // the owner is a superuser, or a member of the provisioning role
	lends     bool // the provisioning role may make others members of the owner
	super     bool // the provisioning role is a superuser
}

// other is the owner where it is not the provisioning role.
func (o *ownership) other() string {
	if o.mine {
		return ""
	}
	return o.owner
}

// read asks for the owner of a schema, which is given as SQL.
func (o *ownership) read(schema string) func(*place) []command {
	return func(*place) []command {
		c := cmd(`SELECT u.rolname, me.rolname, u.oid = me.oid, u.oid <> me.oid AND (u.rolsuper OR pg_has_role(u.oid, me.oid, 'MEMBER')),
	me.rolsuper OR me.rolcreaterole AND current_setting('server_version_num')::int < 160000 OR pg_has_role(u.oid, 'MEMBER WITH ADMIN OPTION'), me.rolsuper
FROM pg_roles me, pg_namespace n JOIN pg_roles u ON u.oid = n.nspowner WHERE me.rolname = current_user AND n.nspname = %s`, schema)
		c.row = func(row [][]byte) {
			o.owner, o.me, o.mine, o.above, o.lends, o.super = string(row[0]), string(row[1]), is(row[2]), is(row[3]), is(row[4]), is(row[5])
		}
		return []command{c}
	}
}

// mayLend refuses a schema in which nobody can work but whoever has more rights than its tenant.
func (r *Resource) mayLend(t tenant.Tenant, o *ownership) error {
	switch {
	case o.super && !r.cfg.AllowSuperuser:
		return superuserRefused(o.me)
	case !o.mine && o.above:
		return &tenant.Error{
			Kind: tenant.ErrRights, Store: tenant.KindPostgres, Msg: fmt.Sprintf("schema %s belongs to %s, which may do as much as the provisioning role: code in the schema would run with its rights", t.Schema, o.owner),
			Hint: fmt.Sprintf("ALTER SCHEMA %s OWNER TO a role that has this schema alone, and give it the objects in it", quote(t.Schema)),
		}
	case !o.mine && !o.lends:
		return &tenant.Error{
			Kind: tenant.ErrRights, Store: tenant.KindPostgres, Msg: fmt.Sprintf("schema %s belongs to %s, and %s may make no login that works as it", t.Schema, o.owner, o.me),
			Hint: fmt.Sprintf("GRANT %s TO %s WITH ADMIN OPTION", quote(o.owner), quote(o.me)),
		}
	}
	return nil
}

// MayRunCode refuses a superuser as the provisioning role: one who finds a way out of a worker's login is in the whole server.
func (r *Resource) MayRunCode(ctx context.Context) error {
	super, name := false, ""
	c := cmd("SELECT rolsuper, rolname FROM pg_roles WHERE rolname = current_user")
	c.row = func(row [][]byte) { super, name = is(row[0]), string(row[1]) }
	err := r.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error { return send(ctx, conn.Conn().PgConn(), []command{c}) })
	if err == nil && super && !r.cfg.AllowSuperuser {
		return superuserRefused(name)
	}
	return failure("ask what the provisioning role may do", err)
}

// OwnerOf is the role that owns t's schema where it is not the provisioning role.
func (r *Resource) OwnerOf(ctx context.Context, t tenant.Tenant) (string, error) {
	o := new(ownership)
	err := r.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		return send(ctx, conn.Conn().PgConn(), o.read(text(t.Schema))(nil))
	})
	return o.other(), failure("ask who owns schema "+t.Schema, err)
}

func superuserRefused(name string) error {
	return &tenant.Error{
		Kind: tenant.ErrRights, Store: tenant.KindPostgres, Code: "superuser",
		Msg:  fmt.Sprintf("%s, the role of postgres.url, is a superuser", name),
		Hint: "use a provisioning role that is none (migrations/roles/provisioner.sql makes it); postgres.allow_superuser: true, or --allow-superuser, goes on all the same",
	}
}
