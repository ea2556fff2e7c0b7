package schema

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// facts are what the server says of itself and of the provisioning role.
type facts struct {
	User, Database                              string
	CreateInDatabase, CreateRole, SignalBackend bool
	PublicCreates, PublicConnects               bool
	MaxConnections, Reserved, MaxLocks          int
}

const factsSQL = `SELECT current_user, current_database(),
	has_database_privilege(current_database(), 'CREATE'),
	rolsuper OR rolcreaterole,
	rolsuper OR pg_has_role('pg_signal_backend', 'USAGE'),
	coalesce(has_schema_privilege('public', to_regnamespace('public')::oid, 'CREATE'), false),
	has_database_privilege('public', current_database(), 'CONNECT'),
	current_setting('max_connections')::int,
	current_setting('superuser_reserved_connections')::int,
	current_setting('max_locks_per_transaction')::int
FROM pg_roles WHERE rolname = current_user`

// locksPerConnection is about what dropping a schema takes at once: dropAtOnce tables with their indexes.
const locksPerConnection = 10 * dropAtOnce

// Doctor tells what the server lacks of what the store needs, and what would help.
func (r *Resource) Doctor(ctx context.Context) []tenant.Check {
	d := &doctor{}
	if err := fit(ctx, r.pool); err != nil {
		return d.failed("connection", err)
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return d.failed("connection", err)
	}
	defer conn.Release()
	d.ok("connection", "PostgreSQL %s, %s", conn.Conn().PgConn().ParameterStatus("server_version"), address(conn.Conn().Config()))
	rows, err := conn.Query(ctx, factsSQL)
	if err != nil {
		return d.failed("rights", failure("read rights", err))
	}
	f, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[facts])
	if err != nil {
		return d.failed("rights", failure("read rights", err))
	}
	user, database := quote(f.User), quote(f.Database)

	d.check("create schemas", f.CreateInDatabase, tenant.CheckError, fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s", database, user),
		"%s may create schemas in %s", "%s may not create schemas in %s", f.User, f.Database)
	if r.cfg.Roles {
		d.check("create roles", f.CreateRole, tenant.CheckError, fmt.Sprintf("ALTER ROLE %s CREATEROLE, or set postgres.roles to none", user),
			"%s may create roles", "%s may not create roles", f.User)
		d.check("end sessions", f.CreateRole || f.SignalBackend, tenant.CheckError, fmt.Sprintf("GRANT pg_signal_backend TO %s", user),
			"%s may end the sessions of tenants", "%s may not end the sessions of tenants", f.User)
		d.check("tenants connect", f.PublicConnects, tenant.CheckError, fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO PUBLIC", database),
			"every role may connect to %s", "the tenants' roles may not connect to %s", f.Database)
	}
	d.check("schema public", !f.PublicCreates, tenant.CheckWarning, "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
		"tenants cannot make anything in the schema public", "every tenant can make tables in the schema public")

	pool, free := int(r.pool.Config().MaxConns), f.MaxConnections-f.Reserved
	d.check("connections", pool <= free/2, tenant.CheckWarning, "lower postgres.max_connections, or raise the server's",
		"up to %d of the server's %d are used", "up to %d of the server's %d are used, which leaves few for the tenants", pool, free)
	needed := pool * locksPerConnection
	d.check("locks", f.MaxLocks*f.MaxConnections >= needed, tenant.CheckWarning,
		fmt.Sprintf("ALTER SYSTEM SET max_locks_per_transaction = %d, then restart the server", max(128, 2*needed/f.MaxConnections)),
		"max_locks_per_transaction is %d", "max_locks_per_transaction is %d: dropping schemas in parallel may run out of shared memory", f.MaxLocks)

	if err := r.examineExtensions(ctx, d, conn); err != nil {
		return d.failed("extensions", err)
	}
	if err := r.examinePooler(ctx, d, conn); err != nil {
		return d.failed("pooler", err)
	}
	shared, err := r.sharesSessions(ctx, conn)
	if err != nil {
		return d.failed("sessions", err)
	}
	d.check("sessions", !shared, tenant.CheckWarning, hintSession, "NO TRANSACTION migrations can run", "NO TRANSACTION migrations cannot run: "+sharing)
	if err := r.examine(ctx, d, conn, f); err != nil {
		return d.failed("limits", err)
	}
	r.examineLargeObjects(ctx, d)
	return d.checks
}

// doctor gathers checks.
type doctor struct{ checks []tenant.Check }

func (d *doctor) ok(name, format string, args ...any) {
	d.checks = append(d.checks, tenant.Check{Store: tenant.KindPostgres, Name: name, Status: tenant.CheckOK, Message: fmt.Sprintf(format, args...)})
}

// check adds one of two messages, which take the same arguments as far as they have verbs for them.
func (d *doctor) check(name string, good bool, otherwise, hint, yes, no string, args ...any) {
	if good {
		d.ok(name, yes, args...)
		return
	}
	d.checks = append(d.checks, tenant.Check{Store: tenant.KindPostgres, Name: name, Status: otherwise, Message: fmt.Sprintf(no, args...), Hint: hint})
}

// failed adds the check of an error, and gives all that there are.
func (d *doctor) failed(name string, err error) []tenant.Check {
	return d.because(name, tenant.CheckError, err)
}

// warn adds the check of an error that only some commands will meet.
func (d *doctor) warn(name string, err error) { d.because(name, tenant.CheckWarning, err) }

func (d *doctor) because(name, status string, err error) []tenant.Check {
	c := tenant.Check{Store: tenant.KindPostgres, Name: name, Status: status, Message: err.Error()}
	var e *tenant.Error
	if errors.As(err, &e) {
		c.Message, c.Hint = e.Msg, e.Hint
	}
	d.checks = append(d.checks, c)
	return d.checks
}
