package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// An operation ends, or turns back, in one transaction under a lock on its row. Where the answer to a COMMIT is lost, it may
// still be on its way: whoever locks the row waits for it, and what the row says then is what is true.

const (
	holderPatience = 5 * time.Second  // how long a transaction that holds an operation may go on after its owner has lost it
	lockPatience   = 20 * time.Second // how long an operation's row is waited for in all
	settlePatience = time.Minute      // how long it may take to find out how an operation has ended
)

// rowState is what an operation's row says.
type rowState struct {
	state             OpState
	fence             int64
	owner             string
	result            json.RawMessage
	started, finished *time.Time
}

// withRow does f in a transaction that has an operation's row locked against every transaction that holds the operation.
// With end, connections of this program that go on holding it are ended: their process has lost the operation or is gone.
func (c *Catalog) withRow(ctx context.Context, verb string, op *Operation, end bool, f func(tx pgx.Tx, now rowState) error) error {
	return c.inTx(ctx, verb, func(tx pgx.Tx) error {
		var pid int
		err := tx.QueryRow(ctx, `SELECT pg_backend_pid(), set_config('lock_timeout', $1, true)`, fmt.Sprint(lockPatience.Milliseconds())).Scan(&pid, new(string))
		if err != nil {
			return err
		}
		if end {
			defer time.AfterFunc(holderPatience, func() { c.endHolders(ctx, pid, op) }).Stop()
		}
		var now rowState
		err = tx.QueryRow(ctx, `SELECT state, fence, owner, result, started_at, finished_at FROM tenantctl.operations WHERE id = $1 FOR UPDATE`, op.ID).
			Scan(&now.state, &now.fence, &now.owner, &now.result, &now.started, &now.finished)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return &Error{Kind: ErrNotFound, Tenant: op.Tenant, Msg: fmt.Sprintf("operation %s is not in the catalog any more", op.ID), Hint: "tenantctl ops list shows all"}
		case err != nil:
			return err
		}
		return f(tx, now)
	})
}

// endHolders ends the connections of this program, under this role, that keep the backend pid waiting and wait for nothing
// themselves. Where the server does not allow it, the wait ends by itself.
func (c *Catalog) endHolders(ctx context.Context, pid int, op *Operation) {
	ctx, cancel := context.WithTimeout(ctx, holderPatience)
	defer cancel()
	// Chosen first and ended then: the server may call functions of a condition in any order.
	rows, err := c.pool.Query(ctx, `WITH holders AS MATERIALIZED (SELECT a.pid FROM unnest(pg_blocking_pids($1)) b(pid) JOIN pg_stat_activity a ON a.pid = b.pid
			WHERE a.application_name = 'tenantctl' AND a.usename = current_user AND pg_blocking_pids(a.pid) = '{}')
		SELECT pid FROM holders WHERE pg_terminate_backend(pid)`, pid)
	if err == nil {
		var ended []int
		if ended, err = pgx.CollectRows(rows, pgx.RowTo[int]); len(ended) > 0 {
			c.log.Warn("ended connections of a process that had lost the operation", "operation", op.ID, "pids", ended)
		}
	}
	if err != nil {
		c.log.Warn("end the connections that hold the operation", "operation", op.ID, "error", err)
	}
}

// uncertain tells whether a transaction that failed so may have been committed, or may yet be.
func uncertain(err error) bool {
	return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrInterrupted) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// finish ends an operation with its last change to the catalog and its audit entry, all in one transaction. Where it
// cannot be told whether that was committed, the operation's row tells; if it was not, it is tried once more.
func (c *Catalog) finish(ctx context.Context, op *Operation, state OpState, cause error, last func(ctx context.Context, tx pgx.Tx) error) error {
	return c.concluded(ctx, op, state, func() error { return c.tryFinish(ctx, op, state, cause, last) })
}

// concluded is the one way in which an operation comes to its end.
func (c *Catalog) concluded(ctx context.Context, op *Operation, state OpState, try func() error) error {
	err := try()
	if err == nil || !uncertain(err) {
		return err
	}
	ended, serr := c.settled(ctx, op)
	switch {
	case serr != nil:
		return errors.Join(err, serr)
	case ended && op.State == state:
		return nil
	case ended:
		return takenOver(err)
	case ctx.Err() != nil:
		return err
	}
	return try()
}

func (c *Catalog) tryFinish(ctx context.Context, op *Operation, state OpState, cause error, last func(ctx context.Context, tx pgx.Tx) error) error {
	if last == nil {
		var b pgx.Batch
		return c.finishAtOnce(ctx, &b, op, state, cause)
	}
	return c.setState(ctx, op, state, cause, last)
}

// settled waits for what is still on its way to an operation's row, and tells whether the operation has ended: op is as the
// catalog has it then. One that another process has is ErrFenced.
func (c *Catalog) settled(ctx context.Context, op *Operation) (ended bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settlePatience)
	defer cancel()
	err = patiently(func() error {
		return c.withRow(ctx, "see how the operation ended", op, true, func(_ pgx.Tx, now rowState) (err error) {
			ended, err = c.mine(op, now)
			return err
		})
	})
	return ended, err
}

// mine takes over what the row of this process's operation says, and tells whether it has ended.
func (c *Catalog) mine(op *Operation, now rowState) (ended bool, err error) {
	if now.owner != c.self.String() || !now.state.Live() && now.fence != op.Fence {
		return false, takenOver(nil)
	}
	op.Fence = now.fence // raised by a turn whose answer was lost
	if ended = !now.state.Live(); ended {
		op.State, op.StartedAt, op.FinishedAt = now.state, now.started, now.finished
		if now.result != nil {
			op.Result = now.result
		}
	}
	return ended, nil
}

// turn makes an operation go back, or leaves it stuck. It waits for what this process has sent before, and raises the fence
// against what comes later: nothing is undone that may yet be done. ended tells that the operation had come to its end, which
// op says then, and that nothing was changed.
func (c *Catalog) turn(ctx context.Context, op *Operation, state OpState, cause error, also func(ctx context.Context, tx pgx.Tx) error) (ended bool, err error) {
	err = patiently(func() error {
		var fence int64
		err := c.withRow(ctx, "record the operation's state", op, true, func(tx pgx.Tx, now rowState) (err error) {
			if ended, err = c.mine(op, now); err != nil || ended {
				return err
			}
			if also != nil {
				if err := also(ctx, tx); err != nil {
					return err
				}
			}
			fence = now.fence + 1
			if _, err := tx.Exec(ctx, `UPDATE tenantctl.operations SET fence = $2 WHERE id = $1`, op.ID, fence); err != nil {
				return err
			}
			var b pgx.Batch
			c.queueState(&b, &Operation{ID: op.ID, State: now.state, Fence: fence, Result: op.Result}, state, cause)
			return tx.SendBatch(ctx, &b).Close()
		})
		if err == nil && !ended {
			op.Fence, op.State = fence, state
		}
		return err
	})
	return ended, err
}

// asEnded is a tenant as an operation has left it: to be told although Ctrl-C came or a connection broke with its end.
func (s *Service) asEnded(ctx context.Context, t Tenant) (now Tenant, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settlePatience)
	defer cancel()
	err = patiently(func() error {
		now, err = s.catalog.byID(ctx, t.ID, t.Name)
		return err
	})
	if errors.Is(err, ErrNotFound) { // what was asked for is done; somebody has purged the tenant since
		return t, nil
	}
	return now, err
}

// forward makes an operation that was taken over go on to its end, also where it was on its way back.
func (c *Catalog) forward(ctx context.Context, op *Operation) error {
	if op.State == OpRunning {
		return nil
	}
	return c.setState(ctx, op, OpRunning, nil, nil)
}

// endGone ends an operation whose tenant where its tenant is not in the catalog any more: nothing is left to be done or undone.
func (s *Service) endGone(ctx context.Context, op *Operation, state OpState) (*Operation, error) {
	op, err := s.catalog.takeOver(ctx, op)
	if err != nil {
		return nil, err
	}
	cause := &Error{Kind: ErrNotFound, Code: "tenant_gone", Tenant: op.Tenant, Msg: "the tenant is not in the catalog any more", Hint: "tenantctl verify looks for what may be left of it"}
	return op, s.catalog.finish(ctx, op, state, cause, nil)
}

// errChanged marks that a tenant has changed since it was looked at.
var errChanged = errors.New("tenant was changed")

// looked is the condition, on t, that a tenant is as it was looked at. The row stays locked until the transaction ends.
func looked(id, revision string) string {
	return `SELECT t.id FROM tenantctl.tenants t WHERE t.id = ` + id + ` AND t.revision = ` + revision + ` FOR NO KEY UPDATE`
}

// moveTenant gives a tenant a new state, if it has one of those that it is to come from.
func (c *Catalog) moveTenant(ctx context.Context, tx DB, id uuid.UUID, to State, from ...State) error {
	moved, err := c.moveBack(ctx, tx, id, to, from...)
	if err == nil && !moved {
		err = &Error{Kind: ErrBusy, Msg: "was changed by somebody else meanwhile", Hint: "tenantctl list shows how it stands"}
	}
	return err
}

// moveBack is moveTenant for rollbacks, which change only what the operation itself has set.
func (c *Catalog) moveBack(ctx context.Context, tx DB, id uuid.UUID, to State, from ...State) (bool, error) {
	tag, err := tx.Exec(ctx, `UPDATE tenantctl.tenants SET state = $2, updated_at = now() WHERE id = $1 AND state = ANY($3::text[])`, id, string(to), stateTexts(from))
	return err == nil && tag.RowsAffected() == 1, err
}

func stateTexts(states []State) []string {
	out := make([]string, len(states))
	for i, s := range states {
		out[i] = string(s)
	}
	return out
}
