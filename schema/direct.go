package schema

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// directPool is the way past a pooler, opened when it is first needed.
type directPool struct {
	sync.Mutex
	pool *pgxpool.Pool
}

// session takes a connection that is a session of the server's own, to the end of its use: past the pooler where the
// configuration tells the way. Without one it is a connection like others.
func (r *Resource) session(ctx context.Context) (*pgxpool.Conn, error) {
	if r.cfg.DirectURL == "" {
		return r.acquire(ctx)
	}
	r.direct.Lock()
	defer r.direct.Unlock()
	if r.direct.pool == nil {
		cfg := r.cfg
		cfg.URL = cfg.DirectURL
		pool, err := Open(ctx, cfg)
		if err != nil {
			return nil, ofDirect(err)
		}
		r.direct.pool = pool
	}
	conn, err := r.direct.pool.Acquire(ctx)
	if err != nil {
		return nil, ofDirect(unreachable(r.direct.pool.Config().ConnConfig, err))
	}
	leave(conn, migrationfile.Discardable)
	return conn, nil
}

// keptFree is how many connections helpers leave to others: one that works for a tenant now and then needs a second.
const keptFree = 2

// spareSession is session for a helper, which can be done without: nil where no connection is to spare.
func (r *Resource) spareSession(ctx context.Context) *pgxpool.Conn {
	r.helping.Lock()
	defer r.helping.Unlock()
	pool := r.pool
	if r.cfg.DirectURL != "" {
		r.direct.Lock()
		pool = r.direct.pool
		r.direct.Unlock()
	}
	if pool == nil {
		return nil
	}
	if st := pool.Stat(); st.MaxConns()-st.AcquiredConns() <= keptFree {
		return nil
	}
	conn, err := r.session(ctx)
	if err != nil {
		return nil
	}
	return conn
}

// Close closes what the resource has opened itself.
func (r *Resource) Close() {
	r.direct.Lock()
	defer r.direct.Unlock()
	if r.direct.pool != nil {
		r.direct.pool.Close()
		r.direct.pool = nil
	}
}

// ofDirect names the key that the error is about.
func ofDirect(err error) error {
	var e *tenant.Error
	if !errors.As(err, &e) {
		return err
	}
	named := *e
	named.Msg = strings.ReplaceAll(named.Msg, "postgres.url", "postgres.direct_url")
	named.Hint = strings.ReplaceAll(named.Hint, "postgres.url", "postgres.direct_url")
	return &named
}

// past is how to connect past a pooler, and the URL that says so.
func (r *Resource) past() (*pgx.ConnConfig, string, error) {
	if r.cfg.DirectURL == "" {
		return r.pool.Config().ConnConfig, r.cfg.URL, nil
	}
	cfg, err := pgx.ParseConfig(r.cfg.DirectURL)
	if err != nil { // the driver's message holds the URL
		return nil, "", invalid("write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE, special characters in the password percent-encoded", "postgres.direct_url cannot be read")
	}
	cfg.ConnectTimeout = r.cfg.ConnectTimeout
	return cfg, r.cfg.DirectURL, nil
}
