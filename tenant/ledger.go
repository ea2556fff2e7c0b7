package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The ledger is the part of the catalog that holds operations: intent before effect, result after it.

const operationColumns = `o.id, o.kind, o.parent_id, o.tenant_id, coalesce(o.tenant_name, ''), o.state, o.params, o.result, o.error,
	o.actor, o.owner, o.fence, o.lease_until, coalesce(o.lease_until < now(), true), o.created_at, o.started_at, o.finished_at`

func scanOperation(row pgx.CollectableRow) (*Operation, error) {
	var o Operation
	var owner string
	err := row.Scan(&o.ID, &o.Kind, &o.Run, &o.TenantID, &o.Tenant, &o.State, &o.Params, &o.Result, &o.Error,
		&o.Actor, &owner, &o.Fence, &o.LeaseUntil, &o.expired, &o.CreatedAt, &o.StartedAt, &o.FinishedAt)
	o.Owner = parseProcess(owner)
	return &o, err
}

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v", v, err)) // our own plain structs only
	}
	return string(b)
}

// intent is an operation about to be entered.
type intent struct {
	kind   string
	tenant *Tenant // as it was looked at: an operation is not entered for one that has changed since
	params any
	gate   gate   // what resolvers do from this moment on, until the operation ends
	reason string // of the gate, for visitors
	// reserve changes the catalog in the transaction that enters the operation.
	reserve func(ctx context.Context, tx pgx.Tx) error
	// upon is what was done last to the tenant when the verb decided what to do, where it goes by that. The entry is refused,
	// as of a tenant that has changed, where anything was done since.
	upon *lastDone
}

// lastDone is the last operation on a tenant, and how it stood; the zero value for none.
type lastDone struct {
	id    uuid.UUID
	state OpState
}

// begin enters an operation. Where a dead process left one of the same kind on this tenant, that one is taken over
// instead and resumed is true; where it left one that can simply be run again, it is closed.
func (c *Catalog) begin(ctx context.Context, in intent) (op *Operation, resumed bool, err error) {
	for {
		op, err = c.enter(ctx, in)
		if !errors.Is(err, errHeld) {
			return op, false, err
		}
		live, err := c.liveOperation(ctx, in.tenant.ID)
		if err != nil {
			return nil, false, err
		}
		if live == nil {
			continue // it ended in between
		}
		op, err := c.yield(ctx, live, in.kind)
		if op != nil || err != nil {
			return op, op != nil, err
		}
	}
}

// errHeld marks that the tenant has a live operation.
var errHeld = errors.New("tenant is held")

func (c *Catalog) enter(ctx context.Context, in intent) (*Operation, error) {
	op := &Operation{
		ID: newID(), Kind: in.kind, State: OpRunning, Actor: c.actorOf(ctx), Owner: c.self, Fence: 1,
		Params: json.RawMessage(jsonText(in.params)),
	}
	op.TenantID, op.Tenant = &in.tenant.ID, in.tenant.Name
	err := c.inTx(ctx, "enter the operation", func(tx pgx.Tx) error {
		if in.reserve != nil {
			if err := in.reserve(ctx, tx); err != nil {
				return err
			}
		}
		// The look and the entry are one statement: what was decided on is what the tenant is, until the operation has ended.
		err := tx.QueryRow(ctx, `WITH looked AS (`+looked("$3::uuid", "$9")+`)
			INSERT INTO tenantctl.operations (id, kind, tenant_id, tenant_name, state, params, actor, owner, lease_until, started_at, gate, gate_reason)
			SELECT $1::uuid, $2, looked.id, nullif($4, ''), 'running', $5::jsonb, $6, $7, now() + $8::interval, clock_timestamp(), nullif($10, ''), nullif($11, '')
			FROM looked WHERE NOT `+beingFilled("looked.id")+` RETURNING created_at, started_at`,
			op.ID, op.Kind, in.tenant.ID, string(op.Tenant), string(op.Params), op.Actor, c.self.String(), interval(c.lease), in.tenant.revision, string(in.gate), in.reason).
			Scan(&op.CreatedAt, &op.StartedAt)
		switch {
		case violates(err, "operations_one_live"):
			return &Error{Kind: errHeld, Msg: "tenant is held", Err: err}
		case errors.Is(err, pgx.ErrNoRows):
			return &Error{Kind: errFilled, Msg: "tenant is being filled, or is not as it was looked at", Err: err}
		}
		if err == nil && in.upon != nil { // nothing else is live on the tenant now: what has ended since is seen
			err = c.unchangedSince(ctx, tx, op, *in.upon)
		}
		return err
	})
	if errors.Is(err, errFilled) {
		if err := c.filling(ctx, in.tenant.ID); err != nil {
			return nil, err
		}
		return nil, &Error{Kind: errChanged, Tenant: op.Tenant, Msg: "was changed meanwhile", Hint: "run the same command again"}
	}
	if err != nil {
		return nil, err
	}
	return op, nil
}

// unchangedSince fails where the last operation on a tenant, beside its own, is not the one that was looked at.
func (c *Catalog) unchangedSince(ctx context.Context, tx pgx.Tx, own *Operation, looked lastDone) error {
	var now lastDone
	err := tx.QueryRow(ctx, `SELECT o.id, o.state FROM tenantctl.operations o WHERE o.tenant_id = $1 AND o.id <> $2
		ORDER BY o.seq DESC NULLS LAST, o.created_at DESC LIMIT 1`, own.TenantID, own.ID).Scan(&now.id, &now.state)
	switch {
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return err
	case now != looked:
		return &Error{Kind: errFilled, Tenant: own.Tenant, Msg: "another operation has ended since the tenant was looked at"}
	}
	return nil
}

// errFilled marks that a restore works on the tenant as on the place beside another, or that it has changed.
var errFilled = errors.New("tenant is being filled")

// beingFilled is the condition that a live restore has a tenant as its place beside.
func beingFilled(id string) string {
	return `EXISTS (SELECT FROM tenantctl.operations r WHERE r.kind = 'restore' AND r.state IN ('running', 'undoing', 'stuck') AND r.params -> 'beside' ->> 'id' = (` + id + `)::text)`
}

// filling says which restore works on a tenant as on the place beside another; nil where none does.
func (c *Catalog) filling(ctx context.Context, id uuid.UUID) error {
	op, err := c.oneOperation(ctx, `o.kind = 'restore' AND o.state IN ('running', 'undoing', 'stuck') AND o.params -> 'beside' ->> 'id' = $1`, id.String())
	switch {
	case err != nil || op == nil:
		return err
	case !c.dead(op):
		return c.busy(op)
	}
	return stuck(op, fmt.Sprintf("belongs to tenant %s: ", op.Tenant))
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// ShortID is the end of an operation's id, which is enough to name it: a UUIDv7 begins with the time, so that the
// beginnings of what was made together are the same.
func ShortID(id uuid.UUID) string {
	s := id.String()
	return s[strings.LastIndex(s, "-")+1:]
}

// isNamed is the condition that an id, a column, is meant by $1: its beginning, its end, or the beginning of what ShortID
// shows of it.
func isNamed(id string) string {
	return fmt.Sprintf("(starts_with(%[1]s::text, $1) OR right(%[1]s::text, length($1)) = $1 OR starts_with(split_part(%[1]s::text, '-', 5), $1))", id)
}

// interval is d in a form that PostgreSQL reads as an interval.
func interval(d time.Duration) string { return fmt.Sprintf("%d milliseconds", d.Milliseconds()) }

// now is the time by the catalog's server: the one clock that all processes have in common.
func (c *Catalog) now(ctx context.Context) (at time.Time, err error) {
	err = c.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&at)
	return at.UTC(), catalogError("ask for the time", err)
}

func (c *Catalog) liveOperation(ctx context.Context, tenant uuid.UUID) (*Operation, error) {
	return c.oneOperation(ctx, `o.tenant_id = $1 AND o.state IN ('running', 'undoing', 'stuck')`, tenant)
}

// oneOperation is the operation where the condition holds, or nil.
func (c *Catalog) oneOperation(ctx context.Context, where string, arg any) (*Operation, error) {
	rows, err := c.pool.Query(ctx, `SELECT `+operationColumns+` FROM tenantctl.operations o WHERE `+where, arg)
	if err != nil {
		return nil, catalogError("read the operation", err)
	}
	op, err := pgx.CollectOneRow(rows, scanOperation)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return op, catalogError("read the operation", err)
}

// dead tells whether nobody works on a live operation any more.
func (c *Catalog) dead(op *Operation) bool {
	return op.State == OpStuck || op.expired || c.self.gone(op.Owner)
}

// interrupted tells whether an operation holds its tenant, or is a run, and nobody works on it any more.
func (c *Catalog) interrupted(op *Operation) bool { return op.State.Live() && c.dead(op) }

func (c *Catalog) busy(op *Operation) error {
	return &Error{
		Kind: ErrBusy, Tenant: op.Tenant,
		Msg:  fmt.Sprintf("%s is in progress (operation %s, %s)", op.Kind, op.ID, op.Owner.Label()),
		Hint: fmt.Sprintf("wait for it; if that process is dead, run the command again after %s, when its lease ends", op.LeaseUntil.UTC().Format(time.RFC3339)),
	}
}

// yield deals with a live operation in the way of a new one: alive is ErrBusy, dead and of the same kind is taken over,
// dead and restartable is closed (nil, nil: try again), other dead ones are ErrStuck.
func (c *Catalog) yield(ctx context.Context, live *Operation, kind string) (*Operation, error) {
	switch {
	case !c.dead(live):
		return nil, c.busy(live)
	case live.restartable():
		return nil, c.closeDead(ctx, live)
	case live.Kind == kind:
		return c.takeOver(ctx, live)
	}
	return nil, stuck(live, "")
}

// stuck says that an operation that nobody works on is in the way; before comes first in the message.
func stuck(op *Operation, before string) error {
	id := ShortID(op.ID)
	return &Error{
		Kind: ErrBusy, Code: "stuck", Tenant: op.Tenant,
		Msg:  fmt.Sprintf("%san interrupted %s has to be ended first (operation %s)", before, op.Kind, op.ID),
		Hint: fmt.Sprintf("tenantctl ops resume %s, or tenantctl ops abort %s", id, id),
	}
}

// takeOver makes a dead process's operation this one's. A transaction that the dead one left open is waited for, and ended.
func (c *Catalog) takeOver(ctx context.Context, op *Operation) (*Operation, error) {
	taken := *op
	err := c.withRow(ctx, "take the operation over", op, true, func(tx pgx.Tx, now rowState) error {
		if err := stillLive(op, now); err != nil {
			return err
		}
		state := op.State
		if state == OpStuck {
			state = OpRunning
		}
		err := tx.QueryRow(ctx, `UPDATE tenantctl.operations SET owner = $2, fence = fence + 1, state = $3, lease_until = now() + $4::interval, error = NULL
			WHERE id = $1 RETURNING fence`, op.ID, c.self.String(), string(state), interval(c.lease)).Scan(&taken.Fence)
		if err != nil {
			return err
		}
		taken.Owner, taken.State = c.self, state
		return c.audit(ctx, tx, entry{action: "take over", operation: &taken, detail: map[string]any{"from": op.Owner.Label()}})
	})
	if err != nil {
		return nil, err
	}
	taken.Steps, err = c.steps(ctx, op.ID)
	return &taken, err
}

// stillSo makes sure that nobody else was faster with an operation that nobody worked on.
func stillSo(op *Operation, now rowState) error {
	if now.fence == op.Fence && now.state == op.State {
		return nil
	}
	return &Error{
		Kind: ErrBusy, Tenant: op.Tenant, Msg: fmt.Sprintf("operation %s was taken over by another process", op.ID),
		Hint: "look at it with: tenantctl ops show " + ShortID(op.ID),
	}
}

// stillLive is stillSo for an operation that has not ended.
func stillLive(op *Operation, now rowState) error {
	if !now.state.Live() {
		return &Error{Kind: ErrBusy, Tenant: op.Tenant, Msg: fmt.Sprintf("operation %s is %s", op.ID, now.state), Hint: "nothing is left to do"}
	}
	return stillSo(op, now)
}

// closeDead ends a dead operation that needs no resumption. An import ends with all its tenants: it works on them together.
func (c *Catalog) closeDead(ctx context.Context, op *Operation) error {
	if op.Kind == OpImport && op.Run != nil {
		run, err := c.oneOperation(ctx, "o.id = $1", *op.Run)
		if err != nil {
			return err
		}
		if run != nil && run.State.Live() {
			op = run
		}
	}
	return c.withRow(ctx, "close a dead operation", op, true, func(tx pgx.Tx, now rowState) error {
		if err := stillLive(op, now); err != nil {
			return err
		}
		if err := c.leftToRun(ctx, tx, op); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE tenantctl.operations SET state = 'failed', fence = fence + 1, finished_at = clock_timestamp(), error = $2::jsonb
			WHERE id = $1 OR parent_id = $1 AND kind = 'import' AND state = 'running'`,
			op.ID, jsonText(Failure{Code: "dead", Message: "its process died (" + op.Owner.Label() + ")"}))
		return err
	})
}

// leftToRun refuses to close a dead operation of a run that another process has resumed: it is that run's to begin anew.
// The run's row stays locked, so that nobody resumes it before this transaction has ended.
func (c *Catalog) leftToRun(ctx context.Context, tx pgx.Tx, op *Operation) error {
	if op.Run == nil {
		return nil
	}
	rows, err := tx.Query(ctx, `SELECT `+operationColumns+` FROM tenantctl.operations o WHERE o.id = $1 FOR SHARE`, *op.Run)
	if err != nil {
		return err
	}
	run, err := pgx.CollectOneRow(rows, scanOperation)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return err
	case run.State.Live() && run.Owner != c.self && !c.dead(run):
		return WithTenant(c.busy(run), op.Tenant)
	}
	return nil
}

// leaseOf is the right that holding op gives.
func (c *Catalog) leaseOf(op *Operation) *Lease {
	return &Lease{Operation: op.ID, Fence: op.Fence, db: c.pool, silent: op.Kind == OpRehearse}
}

func (c *Catalog) steps(ctx context.Context, op uuid.UUID) ([]Step, error) {
	rows, err := c.pool.Query(ctx, `SELECT name, state, coalesce(error, ''), started_at, finished_at FROM tenantctl.steps WHERE operation_id = $1 ORDER BY position`, op)
	if err != nil {
		return nil, catalogError("read the operation's steps", err)
	}
	steps, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Step, err error) {
		err = row.Scan(&s.Name, &s.State, &s.Error, &s.StartedAt, &s.FinishedAt)
		return s, err
	})
	return steps, catalogError("read the operation's steps", err)
}

// mark is a step's new state.
type mark struct {
	position    int
	name, state string // state: started, done, failed, undone
	cause       error
}

// note writes the states of steps, under the lease and in one round trip. With late it does not wait for the disk.
func (c *Catalog) note(ctx context.Context, op *Operation, late bool, marks ...mark) error {
	var b pgx.Batch
	if late {
		b.Queue(lazily)
	}
	b.Queue(c.leaseOf(op).HoldSQL())
	for _, m := range marks {
		var msg any
		if m.cause != nil {
			msg = m.cause.Error()
		}
		b.Queue(`INSERT INTO tenantctl.steps (operation_id, position, name, state, error, finished_at)
			VALUES ($1, $2, $3, $4, $5, CASE WHEN $4 IN ('started', 'undoing') THEN NULL ELSE clock_timestamp() END)
			ON CONFLICT (operation_id, position) DO UPDATE SET state = EXCLUDED.state, error = EXCLUDED.error, finished_at = EXCLUDED.finished_at`,
			op.ID, m.position, m.name, m.state, msg)
	}
	return catalogError("record a step", c.pool.SendBatch(ctx, &b).Close())
}

// setState gives a live operation another state, or its end with an audit entry; stuck gives the lease up.
func (c *Catalog) setState(ctx context.Context, op *Operation, state OpState, cause error, also func(ctx context.Context, tx pgx.Tx) error) error {
	err := c.inTxAs(ctx, "record the operation's state", c.leaseOf(op).HoldSQL(), func(tx pgx.Tx) error {
		if also != nil {
			if err := also(ctx, tx); err != nil {
				return err
			}
		}
		var b pgx.Batch
		c.queueState(&b, op, state, cause)
		if !state.Live() {
			c.queueAudit(ctx, &b, ending(op, state, cause))
		}
		return tx.SendBatch(ctx, &b).Close()
	})
	if err == nil {
		op.State = state
	}
	return err
}

// queueState adds the statement that gives an operation a new state.
func (c *Catalog) queueState(b *pgx.Batch, op *Operation, state OpState, cause error) {
	var failure, result any
	if cause != nil {
		failure = jsonText(NewFailure(cause))
	}
	if op.Result != nil {
		result = string(op.Result)
	}
	b.Queue(`UPDATE tenantctl.operations SET state = $3, error = $4::jsonb, result = coalesce($5::jsonb, result),
			finished_at = CASE WHEN $3 IN ('running', 'undoing', 'stuck') THEN NULL ELSE clock_timestamp() END,
			lease_until = CASE WHEN $3 IN ('running', 'undoing') THEN lease_until END
		WHERE id = $1 AND fence = $2 AND state = $6 AND owner = $7 RETURNING started_at, finished_at`,
		op.ID, op.Fence, string(state), failure, result, string(op.State), c.self.String()).
		QueryRow(func(row pgx.Row) error {
			err := row.Scan(&op.StartedAt, &op.FinishedAt) // a duration is by one clock
			if errors.Is(err, pgx.ErrNoRows) {
				err = takenOver(err)
			}
			return err
		})
}

// ending is the audit entry for the end of an operation.
func ending(op *Operation, state OpState, cause error) entry {
	detail := map[string]any{"state": state}
	if cause != nil {
		detail["error"] = NewFailure(cause).Message
	}
	if op.Kind == OpPurge && state == OpDone {
		detail["removed"] = removed(op) // the audit outlives the operation
	}
	return entry{action: op.Kind, operation: op, detail: detail}
}

// finishLazily is finish in one round trip that does not wait for the disk: for an operation that a crash of the server
// may set back to running, since it is simply run again and finds nothing to do.
func (c *Catalog) finishLazily(ctx context.Context, op *Operation, state OpState, cause error) error {
	return c.concluded(ctx, op, state, func() error {
		var b pgx.Batch
		b.Queue(lazily)
		return c.finishAtOnce(ctx, &b, op, state, cause)
	})
}

// finishAtOnce ends an operation in one round trip: a batch is a transaction.
func (c *Catalog) finishAtOnce(ctx context.Context, b *pgx.Batch, op *Operation, state OpState, cause error) error {
	b.Queue(c.leaseOf(op).HoldSQL())
	c.queueState(b, op, state, cause)
	c.queueAudit(ctx, b, ending(op, state, cause))
	if err := c.pool.SendBatch(ctx, b).Close(); err != nil {
		return catalogError("record the result", err)
	}
	op.State = state
	return nil
}

// lazily makes the commit of the surrounding transaction not wait for the disk.
const lazily = `SELECT set_config('synchronous_commit', 'off', true)`

// forget deletes the history of operations that ended before the age given, a run with all its tasks: while a run is there, what
// it has done is. The audit keeps its entries. The locks of tenants and copies that are gone go at once.
func (c *Catalog) forget(ctx context.Context, age time.Duration) error {
	var b pgx.Batch
	b.Queue(`DELETE FROM tenantctl.locks WHERE id IN (SELECT l.id FROM tenantctl.locks l
		WHERE l.pid IS NULL AND NOT EXISTS (SELECT FROM tenantctl.tenants t WHERE t.id = l.id)
		FOR UPDATE SKIP LOCKED)`)
	queueTrimRoutes(&b)
	b.Queue(`DELETE FROM tenantctl.operations o WHERE o.parent_id IS NULL AND o.finished_at < now() - $1::interval
		AND o.state IN ('done', 'undone', 'failed', 'aborted')
		AND NOT EXISTS (SELECT FROM tenantctl.operations c WHERE c.parent_id = o.id AND c.state IN ('running', 'undoing', 'stuck'))`, interval(age))
	return catalogError("trim the history", c.pool.SendBatch(ctx, &b).Close())
}

// isUnique tells whether err is any broken unique constraint.
func isUnique(err error) (constraint string, ok bool) {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23505" {
		return pg.ConstraintName, true
	}
	return "", false
}
