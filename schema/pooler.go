package schema

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// poolerCheck remembers whether a pooler shares sessions between clients.
type poolerCheck struct {
	sync.Mutex
	known, shares bool
}

// sharesSessions tells whether a pooler shares sessions between clients. It looks once.
func (r *Resource) sharesSessions(ctx context.Context, conn *pgxpool.Conn) (bool, error) {
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

// sessions are what NO TRANSACTION files need, each one of its own.
type sessions struct{ shared bool }

// sessionsFor looks what sessions there are, if any of the files needs one.
func (r *Resource) sessionsFor(ctx context.Context, conn *pgxpool.Conn, set *files) (sessions, error) {
	if !slices.ContainsFunc(set.list, func(m *migration) bool { return m.outside }) {
		return sessions{}, nil
	}
	shared, err := r.sharesSessions(ctx, conn)
	return sessions{shared}, err
}

// allow refuses files of which one needs a session where a pooler gives none, before any of them is run.
func (s sessions) allow(todo []*migration) error {
	for _, m := range todo {
		if s.shared && m.outside {
			return &tenant.Error{
				Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: m.base() + ": NO TRANSACTION needs a session of its own, and " + sharing,
				Hint: hintSession,
			}
		}
	}
	return nil
}

const (
	sharing     = "a pooler such as PgBouncer shares them between transactions"
	hintSession = "point postgres.url at PostgreSQL itself, or at a pool in session mode"
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
	other, err := pgx.ConnectConfig(ctx, conn.Config().Copy())
	if err != nil {
		return false, err
	}
	defer func() { _ = other.Close(context.WithoutCancel(ctx)) }()
	for i := range poolerRounds {
		if i%2 == 1 { // a pooler that deals its backends out in turn is put out of step
			if _, err := backend(ctx, other); err != nil {
				return false, err
			}
		}
		shared, err := takes(ctx, other, conn, mine)
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
