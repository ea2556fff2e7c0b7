// Package schema is what a tenant has in PostgreSQL: a schema with goose's version table in it, and a role that can
// log in and use it.
package schema

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

const oldest = 13 // major version of PostgreSQL

// Config is what the store needs to know.
type Config struct {
	URL                  string        // of the provisioning role
	DirectURL            string        // the same past a pooler, for what needs a session of its own; empty where URL has no pooler
	MaxConnections       int           // 0 for the driver's choice
	SchemasPerConnection int           // a connection is closed after that many, since its cache grows; 0 for never
	ConnectTimeout       time.Duration // 0 for none
	LockTimeout          time.Duration // for a lock that live traffic holds; 0 for no limit
	StatementTimeout     time.Duration // for each statement; 0 for no limit
	LockRetries          int           // how often a transaction is tried again after LockTimeout
	Roles                bool          // a role for each tenant
	Dir                  string        // folder of the migrations
	AllowSuperuser       bool          // the provisioning role may be a superuser where code that tenants wrote is run
	MaxReplicationLag    int64         // bytes that a replica may be behind before a run waits; 0 for no limit
	MaxActive            int           // sessions of others that may be at work before a run waits; 0 for no limit
	Engine               *Engine       // migrates the schemas in goose's place; nil for goose
	Bin                  string        // folder of pg_dump and pg_restore; empty to look for them
	LargeObjectColumns   []string      // table.column, of other types than oid, that hold numbers of large objects
	ExtensionsSchema     string        // comes after the tenant's on the search_path; empty for none

	Warn func(string) // takes what a person must not miss, from many goroutines; may be nil

	silence time.Duration // silenceAfter, where that is 0
}

// Open connects to PostgreSQL and refuses a server that cannot be worked with, before anything is touched. The pool
// serves the catalog and the tenants' schemas alike, and leaves no prepared statements behind, so that PgBouncer's
// transaction mode will do.
func Open(ctx context.Context, cfg Config) (*pgxpool.Pool, error) {
	pc, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		// The driver's message holds the URL, and masks passwords in it by guessing.
		return nil, invalid("write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE, special characters in the password percent-encoded", "postgres.url cannot be read")
	}
	pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pc.ConnConfig.RuntimeParams["application_name"] = "tenantctl"
	pc.ConnConfig.DialFunc = watching(dialer().DialContext, cfg)
	if cfg.ConnectTimeout > 0 {
		pc.ConnConfig.ConnectTimeout = cfg.ConnectTimeout
	}
	if cfg.MaxConnections > 0 {
		pc.MaxConns = int32(cfg.MaxConnections)
	}
	// Not at the release: the pool does that aside, and opens another connection for whoever asks meanwhile.
	pc.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) {
		fresh := cfg.SchemasPerConnection == 0 || useOf(conn.PgConn()).served < cfg.SchemasPerConnection
		return fresh && renew(ctx, conn), nil
	}
	pc.AfterConnect = connected
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, unreachable(pc.ConnConfig, err)
	}
	if err := fit(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// fit refuses a server that is too old or read-only.
func fit(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return unreachable(pool.Config().ConnConfig, err)
	}
	defer conn.Release()
	where := address(conn.Conn().Config())
	if version, old := tooOld(conn.Conn().PgConn().ParameterStatus("server_version")); old {
		return &tenant.Error{
			Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: fmt.Sprintf("%s runs PostgreSQL %s", where, version),
			Hint: fmt.Sprintf("version %d or newer is needed", oldest),
		}
	}
	u := useOf(conn.Conn().PgConn())
	switch {
	case u.replica:
		return &tenant.Error{Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: where + " is a read-only replica", Hint: "point postgres.url at the primary, or add target_session_attrs=read-write"}
	case u.readOnly:
		return &tenant.Error{Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: where + " is read-only for this user", Hint: "ALTER ROLE or ALTER DATABASE ... RESET default_transaction_read_only"}
	case u.others && u.pooled:
		return &tenant.Error{
			Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: where + " begins transactions at another level than read committed, and a pooler stands before it",
			Hint: fmt.Sprintf("ALTER ROLE %s IN DATABASE %s SET default_transaction_isolation = 'read committed', and the same for default_transaction_deferrable = off",
				quote(conn.Conn().Config().User), quote(conn.Conn().Config().Database)),
		}
	}
	return nil
}

// tooOld reads a server's version, such as "15.4 (Debian)" or "17beta1".
func tooOld(version string) (string, bool) {
	version, _, _ = strings.Cut(version, " ")
	major, err := strconv.Atoi(version[:sqltext.PrefixLen(version, sqltext.IsDigit)])
	return version, err == nil && major < oldest
}

// address is the server and database of a connection, for messages.
func address(c *pgx.ConnConfig) string {
	return fmt.Sprintf("database %s at %s", c.Database, net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))))
}

// unreachable says why there is no connection, without the password that may be in the driver's words.
func unreachable(c *pgx.ConnConfig, err error) error {
	e := &tenant.Error{
		Kind: tenant.ErrUnreachable, Store: tenant.KindPostgres, Err: err,
		Msg: "cannot connect to " + address(c), Hint: "is PostgreSQL running there? check postgres.url",
	}
	var pg *pgconn.PgError
	var dns *net.DNSError
	var dial *net.OpError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &pg):
		e.Code = pg.Code
		e.Msg = fmt.Sprintf("%s as %s: %s", e.Msg, c.User, told(pg))
		if hint, kind := meaning(pg); kind != nil {
			e.Kind, e.Hint = kind, hint
		}
	case errors.Is(err, context.Canceled):
		e.Kind, e.Msg = tenant.ErrInterrupted, e.Msg+": interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		e.Msg += ": no answer in time"
	case errors.As(err, &untrusted):
		e.Msg += ": its certificate cannot be trusted: " + untrusted.Err.Error()
		e.Hint = "check the host and sslrootcert in postgres.url"
	case errors.As(err, &dns):
		e.Msg += ": no such host"
	case errors.As(err, &dial):
		e.Msg += ": " + dial.Err.Error()
	}
	return e
}

// Resource is the tenants' schemas in one PostgreSQL database. It reads the migrations' folder once, when they are
// first needed, so that a fleet gets one set of files.
type Resource struct {
	pool *pgxpool.Pool
	cfg  Config

	keeper *Resource // the provisioning role's, where this one is a worker's: it guards its transactions
	acts   string    // the role that a worker works as; empty for its own

	reading sync.Once
	set     *migrationfile.Set
	broken  error

	pooler      poolerCheck
	direct      directPool
	helping     sync.Mutex // one helper at a time looks whether there is a connection to spare
	definitions definitionCache
}

var (
	_ tenant.Migrator     = (*Resource)(nil)
	_ tenant.Delegate     = (*Resource)(nil)
	_ tenant.Locker       = (*Resource)(nil)
	_ tenant.Credentialer = (*Resource)(nil)
	_ tenant.Shell        = (*Resource)(nil)
	_ tenant.Execer       = (*Resource)(nil)
	_ tenant.Archiver     = (*Resource)(nil)
	_ tenant.CodeRunner   = (*Resource)(nil)
	_ tenant.Baseliner    = (*Resource)(nil)
	_ tenant.Rehearser    = (*Resource)(nil)
	_ tenant.Surveyor     = (*Resource)(nil)
	_ tenant.PoolProber   = (*Resource)(nil)
	_ tenant.Vacancy      = (*Resource)(nil)
	_ tenant.Verifier     = (*Resource)(nil)
)

// New makes the resource over a pool that Open gave for the same configuration.
func New(pool *pgxpool.Pool, cfg Config) *Resource {
	return &Resource{pool: pool, cfg: cfg}
}

// Kind is the stable key in the catalog.
func (r *Resource) Kind() string { return tenant.KindPostgres }

// files are the migrations, read at the first call.
func (r *Resource) files() (*migrationfile.Set, error) {
	if r.keeper != nil {
		return r.keeper.files()
	}
	r.reading.Do(func() {
		if r.Delegates() { // there are no files here
			r.set = &migrationfile.Set{}
			return
		}
		r.set, r.broken = migrationfile.Load(r.cfg.Dir)
	})
	return r.set, r.broken
}

// acquire takes a connection to work for one tenant. Whatever that leaves in the session is taken away before it is
// used again.
func (r *Resource) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	conn, err := r.acquireOwn(ctx)
	if err == nil {
		leave(conn, migrationfile.Discardable)
	}
	return conn, err
}

// acquireOwn is acquire for what sends nothing but SQL of this program's, which leaves nothing.
func (r *Resource) acquireOwn(ctx context.Context) (*pgxpool.Conn, error) {
	conn, err := r.pool.Acquire(ctx)
	if err != nil {
		return nil, unreachable(r.pool.Config().ConnConfig, err)
	}
	useOf(conn.Conn().PgConn()).served++
	return conn, nil
}
