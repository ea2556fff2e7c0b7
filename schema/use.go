package schema

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
)

// use is what a connection has been used for. It is kept in the connection, which several resources may share.
type use struct {
	served int                   // tenants that it has worked for
	left   migrationfile.Residue // by the last of them
	pooled bool                  // a pooler stands between the connection and the server
	inBand bool                  // the session is the next client's after each transaction, and is made as new within it
	others bool                  // the defaults of transactions are not ours
	// As the connection was made: the server is a replica, or its transactions are read-only.
	replica, readOnly bool
}

const useKey = "tenantctl.use"

func useOf(conn *pgconn.PgConn) *use {
	u, ok := conn.CustomData()[useKey].(*use)
	if !ok {
		u = new(use)
		conn.CustomData()[useKey] = u
	}
	return u
}

// leave says what may be left in a connection by what is done next.
func leave(conn *pgxpool.Conn, what migrationfile.Residue) { useOf(conn.Conn().PgConn()).left = what }

// asNew is what DISCARD ALL does, for within a transaction.
const asNew = `CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DEALLOCATE ALL; UNLISTEN *; SELECT pg_catalog.pg_advisory_unlock_all();
DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES`

// asNewResults is how many results the server gives for it.
const asNewResults = 9

// ourDefaults are those of transactions for which this program is written.
const ourDefaults = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE"

// connected looks at a new connection. A session that is the program's own gets the defaults that it is written for.
func connected(ctx context.Context, conn *pgx.Conn) error {
	if _, old := tooOld(conn.PgConn().ParameterStatus("server_version")); old {
		return nil // fit refuses it
	}
	u := useOf(conn.PgConn())
	var pid uint32
	err := conn.QueryRow(ctx, `SELECT pg_backend_pid(), pg_is_in_recovery(), current_setting('transaction_read_only')::bool,
		current_setting('default_transaction_isolation') <> 'read committed' OR current_setting('default_transaction_deferrable')::bool`).Scan(&pid, &u.replica, &u.readOnly, &u.others)
	if err != nil {
		return err
	}
	u.pooled = pid != conn.PgConn().PID()
	u.inBand = u.pooled
	if u.others && !u.pooled {
		_, err = conn.Exec(ctx, ourDefaults)
	}
	return err
}

// renew makes a session as new before it works for the next tenant. It is false where the connection has to be closed.
func renew(ctx context.Context, conn *pgx.Conn) bool {
	u := useOf(conn.PgConn())
	switch {
	case u.left == migrationfile.Nothing:
		return true
	case u.left == migrationfile.Lasting && !u.pooled:
		return false
	}
	reset := []command{{sql: "DISCARD ALL", count: 1, own: true}}
	if u.others && !u.pooled {
		reset = append(reset, command{sql: ourDefaults, count: 1, own: true})
	}
	for _, c := range reset {
		if err := send(ctx, conn.PgConn(), []command{c}); err != nil {
			return false
		}
	}
	u.left, u.inBand = migrationfile.Nothing, u.pooled
	return true
}

// giveBack ends the work for a tenant on a connection. What it holds, such as an advisory lock, it holds no longer;
// where that cannot be told, the connection is closed. Connections that are released without it are made as new
// before they are used again.
func giveBack(ctx context.Context, conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	rollback(ctx, conn)
	if !conn.Conn().IsClosed() && !renew(ctx, conn.Conn()) {
		_ = conn.Conn().Close(ctx)
	}
	conn.Release()
}

// ending ends a transaction by COMMIT or ROLLBACK. Where the session is the next client's then, all that may be left
// is taken away in the same message: after it, another process may have the session already.
func ending(conn *pgxpool.Conn, how string) []command {
	u := useOf(conn.Conn().PgConn())
	switch {
	case u.left == migrationfile.Nothing:
		return []command{cmd("%s", how)}
	case u.inBand:
		return []command{{sql: how + ";\n" + asNew, count: 1 + asNewResults, own: true}}
	}
	return []command{{sql: how, count: 1, own: true}}
}
