package schema

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// poolerCheck remembers whether a pooler shares sessions between clients.
type poolerCheck struct {
	sync.Mutex
	known, shares bool
	looked, quiet bool // for event triggers: there are none
}

// sharesSessions tells whether a pooler shares sessions between clients, and there is no way past it. It looks once.
func (r *Resource) sharesSessions(ctx context.Context, conn *pgxpool.Conn) (bool, error) {
	if r.cfg.DirectURL != "" {
		return false, nil
	}
	r.pooler.Lock()
	defer r.pooler.Unlock()
	if !r.pooler.known {
		shares, err := pooled(ctx, conn.Conn())
		if err != nil {
			return false, failure("look for a pooler", err)
		}
		r.pooler.known, r.pooler.shares = true, shares
	}
	return r.pooler.shares, nil
}

// examinePooler tells whether a pooler stands before the server, and whether the way past it leads to the same database.
func (r *Resource) examinePooler(ctx context.Context, d *doctor, conn *pgxpool.Conn) error {
	mine, err := backend(ctx, conn.Conn())
	if err != nil {
		return failure("look for a pooler", err)
	}
	switch {
	case mine == conn.Conn().PgConn().PID() && r.cfg.DirectURL == "":
		d.ok("pooler", "there is none before the server")
		return nil
	case r.cfg.DirectURL == "":
		d.ok("pooler", "a pooler stands before the server; postgres.direct_url is not set")
		return nil
	}
	const which = "SELECT concat_ws(' ', pg_postmaster_start_time(), oid) FROM pg_database WHERE datname = current_database()"
	past, err := r.session(ctx)
	if err != nil {
		return err
	}
	defer past.Release()
	var here, there string
	if err := conn.QueryRow(ctx, which).Scan(&here); err != nil {
		return failure("ask which server it is", err)
	}
	if err := past.QueryRow(ctx, which).Scan(&there); err != nil {
		return failure("ask which server it is", err)
	}
	shared, err := pooled(ctx, past.Conn())
	if err != nil {
		return failure("look for a pooler", err)
	}
	d.check("pooler", here == there && !shared, tenant.CheckError, "set postgres.direct_url to the server behind the pooler itself, and to the same database",
		"postgres.direct_url leads past it to the same database", "postgres.direct_url does not lead past the pooler to the same database")
	return nil
}

// sessions are what files need that are not plain.
type sessions struct {
	shared bool // there is none but what a pooler shares between transactions
	joins  bool // plain files may share a transaction
}

// sessionsFor looks what sessions there are, if any of the files needs one.
func (r *Resource) sessionsFor(ctx context.Context, conn *pgxpool.Conn, set *migrationfile.Set) (s sessions, err error) {
	set.Look()
	if set.NeedsSession {
		if s.shared, err = r.sharesSessions(ctx, conn); err != nil {
			return s, err
		}
	}
	if s.joins = !set.Operators; s.joins {
		s.joins, err = r.noEventTriggers(ctx, conn)
	}
	return s, err
}

// noEventTriggers tells that DDL runs no code of the database's. It looks once.
func (r *Resource) noEventTriggers(ctx context.Context, conn *pgxpool.Conn) (bool, error) {
	r.pooler.Lock()
	defer r.pooler.Unlock()
	if !r.pooler.looked {
		if err := conn.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtenabled <> 'D')`).Scan(&r.pooler.quiet); err != nil {
			return false, failure("look for event triggers", err)
		}
		r.pooler.looked = true
	}
	return r.pooler.quiet, nil
}

// allow refuses files of which one needs a session where a pooler gives none, before any of them is run.
func (s sessions) allow(todo []*migrationfile.File, up bool) error {
	if !s.shared {
		return nil
	}
	for _, m := range todo {
		at := stage{File: m, up: up}
		i, what := at.program().LeftBy(func(l migrationfile.Left) bool { return !strings.HasPrefix(l.What, "RESET ") })
		msg := ""
		switch {
		case m.NoTransaction:
			msg = m.Base() + ": NO TRANSACTION"
		case at.apart():
			msg = m.Base() + ": SET TRANSACTION at its beginning"
		case what != "":
			msg = migrationfile.InFile(m.Path, at.program().Statements[i].Line) + what
		default:
			continue
		}
		return &tenant.Error{
			Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: msg + " needs a session of its own, and " + sharing, Hint: hintSession,
		}
	}
	return nil
}

const (
	sharing     = "a pooler such as PgBouncer shares them between transactions"
	hintSession = "set postgres.direct_url to PostgreSQL itself, past the pooler, or let the pool be in session mode"
)

const (
	poolerRounds = 8
	poolerWait   = 3 * time.Second // for a connection that a pooler of one cannot give
)

// pooled tells whether a pooler in transaction mode stands between us and the server: then another client's
// transaction gets the very backend that is thought ours, and we another one. PostgreSQL itself says at the start
// which backend a connection has; poolers say something else.
func pooled(ctx context.Context, conn *pgx.Conn) (bool, error) {
	mine, err := backend(ctx, conn)
	if err != nil || mine == conn.PgConn().PID() {
		return false, err
	}
	// Two connections of its own: one that waits in vain is of no use afterwards.
	first, err := pgx.ConnectConfig(ctx, conn.Config().Copy())
	if err != nil {
		return false, err
	}
	defer func() { _ = first.Close(context.WithoutCancel(ctx)) }()
	other, err := pgx.ConnectConfig(ctx, conn.Config().Copy())
	if err != nil {
		return false, err
	}
	defer func() { _ = other.Close(context.WithoutCancel(ctx)) }()
	waiting, cancel := context.WithTimeout(ctx, poolerWait)
	defer cancel()
	mine, err = backend(waiting, first)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return false, nil // conn holds the one session that the pool has
	}
	if err != nil {
		return false, err
	}
	for i := range poolerRounds {
		if i%2 == 1 { // a pooler that deals its backends out in turn is put out of step
			if _, err := backend(ctx, other); err != nil {
				return false, err
			}
		}
		shared, err := takes(ctx, other, first, mine)
		if shared || err != nil {
			return shared, err
		}
	}
	return false, nil
}

// takes tells whether a transaction of other's takes the backend from under conn.
func takes(ctx context.Context, other, conn *pgx.Conn, mine uint32) (bool, error) {
	tx, err := other.Begin(ctx)
	if err != nil {
		return true, nil // a pooler in statement mode refuses transactions
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	theirs, err := backend(ctx, other)
	if err != nil || theirs == mine {
		return true, err
	}
	waiting, cancel := context.WithTimeout(ctx, poolerWait)
	defer cancel()
	now, err := backend(waiting, conn)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return true, nil
	}
	return now != mine, err
}

func backend(ctx context.Context, conn *pgx.Conn) (pid uint32, err error) {
	err = conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid)
	return pid, err
}
