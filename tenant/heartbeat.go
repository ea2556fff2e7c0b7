package tenant

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// heartbeat renews the leases of what this process works on until ctx ends, on a connection of its own: whatever the process is busy with
// and waits for, it is seen to be alive. A lease that cannot be renewed runs out, and the fence stops this process's late
// writes.
func (c *Catalog) heartbeat(ctx context.Context) {
	tick := time.NewTicker(c.lease / 3)
	defer tick.Stop()
	var own *pgx.Conn
	defer func() { hangUp(own) }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			own = c.beat(ctx, own)
		}
	}
}

// beat renews the leases once, and gives the connection for the next time. An error is left to the fence: the next write of the
// operation says what is wrong.
func (c *Catalog) beat(ctx context.Context, own *pgx.Conn) *pgx.Conn {
	ctx, cancel := context.WithTimeout(ctx, c.lease/3)
	defer cancel()
	if own == nil || own.IsClosed() {
		var err error
		if own, err = pgx.ConnectConfig(ctx, c.pool.Config().ConnConfig); err != nil {
			_ = c.renew(ctx, c.pool) // a server that has no connection left may still serve those that there are
			return nil
		}
	}
	if err := c.renew(ctx, own); err != nil {
		hangUp(own)
		return nil
	}
	return own
}

// beginner is what a pool and a connection have in common.
type beginner interface {
	BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error)
}

// renew renews the leases of what is worked on, and of the tenants of a run that is: some are claimed ahead.
func (c *Catalog) renew(ctx context.Context, db beginner) error {
	worked := c.workedOn()
	return pgx.BeginTxFunc(ctx, db, readCommitted, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE tenantctl.operations SET lease_until = now() + $2::interval WHERE owner = $1 AND state IN ('running', 'undoing')
			AND (id = ANY($3::uuid[]) OR parent_id = ANY($3::uuid[]))`, c.self.String(), interval(c.lease), worked)
		return err
	})
}

// hangUp closes a connection, if there is one, without waiting for the server.
func hangUp(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the server notices, whatever this says
}
