package legacy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// begin opens all connections, and lets them see the same moment: for the instant in which their transactions begin, a
// lock keeps everybody from writing. Without the right to lock there is one connection, whose own transaction is enough.
func (s *mysqlSource) begin(ctx context.Context) (string, error) {
	first, err := s.db.Conn(ctx)
	if err != nil {
		return "", s.failed("connect", err)
	}
	conns, locked := []*sql.Conn{first}, false
	fail := func(err error) (string, error) {
		if locked {
			// Where this fails the connection is broken, which unlocks too.
			_, _ = first.ExecContext(context.WithoutCancel(ctx), "UNLOCK TABLES")
		}
		for _, c := range conns {
			_ = c.Close()
		}
		return "", s.failed("take a snapshot", err)
	}
	var limits []string
	if s.limit > 1 {
		// A statement that runs for long must not make everybody wait behind the lock.
		_, err := first.ExecContext(ctx, "SET SESSION lock_wait_timeout = 30")
		if err == nil {
			_, err = first.ExecContext(ctx, "FLUSH TABLES WITH READ LOCK")
		}
		var answer *mysql.MySQLError
		switch {
		case err == nil:
			locked = true
		case errors.As(err, &answer) && (answer.Number == mysqlNeedsRight || answer.Number == mysqlAccessDenied):
			limits = append(limits, "the user lacks the right RELOAD, which a snapshot over several connections needs: one connection is used")
		default:
			return fail(err)
		}
	}
	for locked && len(conns) < s.limit {
		c, err := s.db.Conn(ctx)
		if err != nil {
			return fail(err)
		}
		conns = append(conns, c)
	}
	longest := "SET SESSION max_execution_time = 0"
	if s.maria {
		longest = "SET SESSION max_statement_time = 0"
	}
	for _, c := range conns {
		if _, err := c.ExecContext(ctx, longest); err != nil {
			return fail(err)
		}
		if err := s.assertSession(ctx, c); err != nil {
			return fail(err)
		}
		for _, statement := range []string{"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT"} {
			if _, err := c.ExecContext(ctx, statement); err != nil {
				return fail(err)
			}
		}
	}
	if locked {
		if _, err := first.ExecContext(ctx, "UNLOCK TABLES"); err != nil {
			return fail(err)
		}
		locked = false
	}
	var unsafe []string
	err = mysqlRows(ctx, first, `SELECT TABLE_NAME FROM information_schema.TABLES
		WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' AND ENGINE NOT IN ('InnoDB', 'ROCKSDB', 'TokuDB') ORDER BY TABLE_NAME`, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		unsafe = append(unsafe, name)
		return err
	})
	if err != nil {
		return fail(err)
	}
	if len(unsafe) > 0 {
		shown := unsafe
		if len(shown) > 5 {
			shown = append(shown[:5:5], fmt.Sprintf("%d more", len(unsafe)-5))
		}
		limits = append(limits, "their engine has no snapshots: "+strings.Join(shown, ", "))
	}
	snap := &mysqlSnapshot{free: make(chan *sql.Conn, len(conns)), live: len(conns), dead: make(chan struct{})}
	for _, c := range conns {
		snap.free <- c
	}
	s.end()
	s.mu.Lock()
	s.snap = snap
	s.mu.Unlock()
	return strings.Join(limits, "; "), nil
}

// end gives the connections back. None is in use any more.
func (s *mysqlSource) end() {
	s.mu.Lock()
	snap := s.snap
	s.snap = nil
	s.mu.Unlock()
	if snap == nil {
		return
	}
	for {
		select {
		case c := <-snap.free:
			// A transaction that only read has nothing to lose.
			_, _ = c.ExecContext(context.Background(), "ROLLBACK")
			_ = c.Close()
		default:
			return
		}
	}
}

// acquire gives a connection that sees the snapshot, or any where there is none.
func (s *mysqlSource) acquire(ctx context.Context) (*sql.Conn, error) {
	s.mu.Lock()
	snap := s.snap
	s.mu.Unlock()
	if snap == nil {
		conn, err := s.db.Conn(ctx)
		return conn, s.failed("connect", err)
	}
	select {
	case c := <-snap.free:
		return c, nil
	case <-snap.dead:
		return nil, s.failed("read", mysql.ErrInvalidConn)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// release gives a connection back. One that broke has lost the snapshot.
func (s *mysqlSource) release(conn *sql.Conn) {
	s.mu.Lock()
	snap := s.snap
	s.mu.Unlock()
	if snap == nil {
		_ = conn.Close()
		return
	}
	if conn.PingContext(context.Background()) == nil {
		snap.free <- conn
		return
	}
	_ = conn.Close()
	snap.mu.Lock()
	defer snap.mu.Unlock()
	if snap.live--; snap.live == 0 {
		close(snap.dead)
	}
}
