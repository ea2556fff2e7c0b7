package schema

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// guard is a transaction of the provisioning role's own that holds what others may not: the lease, the tenant's lock. It
// stands around work that has no right to hold them, a worker's transaction or another tool's command.
type guard struct{ conn *pgxpool.Conn }

// guard opens one by the commands that are given. It stays open however long the work takes.
func (r *Resource) guard(ctx context.Context, opening ...command) (*guard, error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	g := &guard{conn}
	commands := append([]command{cmd(beginning)}, unlimited(major(g.pg()))...)
	if err := send(ctx, g.pg(), append(commands, opening...)); err != nil {
		g.release(ctx)
		return nil, err
	}
	return g, nil
}

func (g *guard) pg() *pgconn.PgConn { return g.conn.Conn().PgConn() }

// release gives up what is held.
func (g *guard) release(ctx context.Context) {
	rollback(ctx, g.conn)
	g.conn.Release()
}

// end ends the guard's transaction with what is to be noted in it.
func (g *guard) end(ctx context.Context, noted ...command) error {
	return send(ctx, g.pg(), append(noted, cmd("COMMIT")))
}

// commit commits a worker's transaction while the guard stands. The COMMIT is sent by itself: a process that was killed
// before it leaves nothing that commits later.
func (g *guard) commit(ctx context.Context, worker *pgconn.PgConn, noted ...command) error {
	if err := send(ctx, g.pg(), []command{cmd("SELECT")}); err != nil {
		return err
	}
	if err := send(ctx, worker, []command{cmd("COMMIT")}); err != nil {
		return err
	}
	return g.end(ctx, noted...)
}
