package schema

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// examine checks what breaks commands later: limits, time-outs, rights on what is there already, and programs.
func (r *Resource) examine(ctx context.Context, d *doctor, conn *pgxpool.Conn, f facts) error {
	for _, check := range []func(context.Context, *doctor, *pgxpool.Conn, facts) error{
		r.examineRole, r.examineTimeouts, r.examineClock, r.examineOwners, r.examineBiggest,
	} {
		if err := check(ctx, d, conn, f); err != nil {
			return err
		}
	}
	host := conn.Conn().Config().Host
	d.check("encryption", encrypted(host, conn.Conn().PgConn().Conn()), tenant.CheckWarning, "add sslmode=verify-full and sslrootcert to postgres.url",
		"nobody on the way to %s can read along", "whoever is on the way to %s can read along", host)
	if _, err := r.Pressure(ctx); err != nil {
		d.failed("pressure", err)
	}
	c, err := r.client(ctx, major(conn.Conn().PgConn()))
	if err != nil {
		d.warn("pg_dump", err)
		return nil
	}
	server := serverRelease(conn.Conn().PgConn())
	d.check("pg_dump", !c.olderThan(server), tenant.CheckWarning, fmt.Sprintf("update it as the server was: apt-get install postgresql-client-%d", c.major),
		"%[1]s in %[2]s", "%s in %s is older than the server, PostgreSQL %d.%d, which may keep what it does not know",
		c.version, strings.TrimSuffix(c.dump, "/pg_dump"), server.major, server.minor)
	return nil
}

// encrypted tells whether a connection cannot be read along: TLS, or one that stays on this machine.
func encrypted(host string, conn net.Conn) bool {
	if _, is := conn.(*tls.Conn); is || host == "localhost" || strings.HasPrefix(host, "/") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// examineRole looks at what the provisioning role may that it need not, and how often it may connect.
func (r *Resource) examineRole(ctx context.Context, d *doctor, conn *pgxpool.Conn, f facts) error {
	var super bool
	var most int
	err := conn.QueryRow(ctx, `SELECT rolsuper, coalesce(least(nullif(CASE WHEN rolsuper THEN -1 ELSE rolconnlimit END, -1), nullif(CASE WHEN rolsuper THEN -1 ELSE datconnlimit END, -1)), -1)
		FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()`).Scan(&super, &most)
	if err != nil {
		return failure("look at the role", err)
	}
	d.check("superuser", !super, tenant.CheckWarning, "use a role with less: docs/security.md has the statements that make one",
		"%s is none", "%s is one: whoever has postgres.url has the server", f.User)
	if pool := int(r.pool.Config().MaxConns); most >= 0 {
		d.check("connection limit", pool <= most, tenant.CheckError, fmt.Sprintf("ALTER ROLE %s or ALTER DATABASE %s CONNECTION LIMIT %d, or lower postgres.max_connections", quote(f.User), quote(f.Database), pool),
			"the role and the database allow %[1]d connections", "the role or the database allows %d connections, and postgres.max_connections is %d", most, pool)
	}
	return nil
}

// shortest is the time-out that the server may have: backups and imports of large tenants take their time.
const shortest = 10 * time.Minute

// examineTimeouts looks for limits that end what takes long. Migrations set their own.
func (r *Resource) examineTimeouts(ctx context.Context, d *doctor, conn *pgxpool.Conn, f facts) error {
	rows, err := conn.Query(ctx, `SELECT name, setting::bigint FROM pg_settings
		WHERE name IN ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout') AND setting::bigint BETWEEN 1 AND $1 ORDER BY name`, shortest.Milliseconds()-1)
	if err != nil {
		return failure("look at time-outs", err)
	}
	short := ""
	var name string
	var ms int64
	_, err = pgx.ForEachRow(rows, []any{&name, &ms}, func() error {
		short += fmt.Sprintf("%s is %s, ", name, time.Duration(ms)*time.Millisecond)
		return nil
	})
	if err != nil {
		return failure("look at time-outs", err)
	}
	name, _, _ = strings.Cut(short, " ")
	if short == "" {
		d.ok("time-outs", "nothing ends what takes long")
		return nil
	}
	d.check("time-outs", false, tenant.CheckWarning, fmt.Sprintf("ALTER ROLE %s SET %s = 0", quote(f.User), name), "", "%swhich ends what takes longer, such as the backup of a large tenant", short)
	return nil
}

func (r *Resource) examineClock(ctx context.Context, d *doctor, conn *pgxpool.Conn, _ facts) error {
	var server time.Time
	before := time.Now()
	if err := conn.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&server); err != nil {
		return failure("ask for the time", err)
	}
	d.checks = append(d.checks, tenant.ClockCheck(tenant.KindPostgres, server, before, time.Now()))
	return nil
}

// examineOwners looks for what was made for tenants and cannot be worked on by this role.
func (r *Resource) examineOwners(ctx context.Context, d *doctor, conn *pgxpool.Conn, f facts) error {
	var schemas int
	var first, owner *string
	err := conn.QueryRow(ctx, `SELECT count(*), min(n.nspname), min(pg_get_userbyid(n.nspowner)) FROM pg_namespace n JOIN pg_description s ON s.objoid = n.oid AND s.classoid = 'pg_namespace'::regclass AND s.objsubid = 0
		WHERE s.description LIKE 'tenantctl:%' AND NOT pg_has_role(n.nspowner, 'USAGE')`).Scan(&schemas, &first, &owner)
	if err != nil {
		return failure("look at the owners of schemas", err)
	}
	if schemas > 0 {
		d.check("schemas", false, tenant.CheckError, fmt.Sprintf("GRANT %s TO %s", quote(*owner), quote(f.User)), "", "%[2]s of tenants belong to others, such as %[3]s to %[4]s: %[1]s cannot work on them", f.User, tenant.Plural(schemas, "schema"), *first, *owner)
	} else {
		d.ok("schemas", "%s has the rights of the owner of every tenant's schema", f.User)
	}
	if major(conn.Conn().PgConn()) < 16 || !r.cfg.Roles {
		return nil
	}
	// From PostgreSQL 16 on CREATEROLE is a right over the roles alone that one has made, or has the ADMIN OPTION of. Roles are
	// the whole server's: those of tenants in other databases are other provisioners'.
	var roles int
	err = conn.QueryRow(ctx, `SELECT count(*), min(o.rolname) FROM pg_roles o JOIN pg_shdescription s ON s.objoid = o.oid AND s.classoid = 'pg_authid'::regclass
		WHERE split_part(s.description, ' ', 1) IN (SELECT split_part(d.description, ' ', 1) FROM pg_description d WHERE d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0 AND starts_with(d.description, $1))
			AND NOT pg_has_role(o.oid, 'MEMBER WITH ADMIN OPTION')`, markPrefix).Scan(&roles, &first)
	if err != nil {
		return failure("look at the tenants' roles", err)
	}
	if roles > 0 {
		d.check("roles", false, tenant.CheckError, fmt.Sprintf("GRANT %s TO %s WITH ADMIN OPTION, and so for the others", quote(*first), quote(f.User)), "", "%s may not administer %s of tenants, such as %s", f.User, tenant.Plural(roles, "role"), *first)
	}
	return nil
}

// examineBiggest compares the tenant with the most tables and indexes, each of which is a lock in a restore or a clone, with
// what the server keeps locks for.
func (r *Resource) examineBiggest(ctx context.Context, d *doctor, conn *pgxpool.Conn, f facts) error {
	var biggest int
	var schema string
	var prepared int
	err := conn.QueryRow(ctx, `SELECT coalesce(max(n), 0), coalesce((array_agg(nspname ORDER BY n DESC))[1], ''), current_setting('max_prepared_transactions')::int FROM (
		SELECT n.nspname, count(*) AS n FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_description s ON s.objoid = n.oid AND s.classoid = 'pg_namespace'::regclass AND s.objsubid = 0
		WHERE s.description LIKE 'tenantctl:%' GROUP BY n.nspname) AS t`).Scan(&biggest, &schema, &prepared)
	if err != nil {
		return failure("count the tables of tenants", err)
	}
	if biggest == 0 {
		return nil
	}
	workers := max(1, int(r.pool.Config().MaxConns)-2)
	have, need := f.MaxLocks*(f.MaxConnections+prepared), workers*biggest
	d.check("locks of the biggest", need <= have, tenant.CheckWarning,
		fmt.Sprintf("ALTER SYSTEM SET max_locks_per_transaction = %d, then restart the server; or lower postgres.max_connections", 2*need/(f.MaxConnections+prepared)+1),
		"%[2]s has %[1]d tables and indexes, the most of all tenants", "%[2]s has %[1]d tables and indexes: %[3]d tenants of that size at once need %[4]d locks, and the server keeps %[5]d", biggest, schema, workers, need, have)
	return nil
}
