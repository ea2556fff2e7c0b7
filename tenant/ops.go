package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// OperationFilter chooses operations to list; the zero filter leaves out the parts of runs.
type OperationFilter struct {
	Unfinished bool      // only those that hold a tenant or are a run in work
	Tenant     Name      // only this tenant's, parts of runs included
	Run        uuid.UUID // only the parts of this run
	Limit      int       // 0 for all
}

// Operations lists operations, newest first; the parts of a run in the order they were started.
func (s *Service) Operations(ctx context.Context, f OperationFilter) iter.Seq2[*Operation, error] {
	return func(yield func(*Operation, error) bool) {
		for op, err := range s.catalog.operations(ctx, f) {
			if err == nil {
				op.Interrupted = s.catalog.interrupted(op)
				op.Slow = op.slow()
			}
			if !yield(op, err) {
				return
			}
		}
	}
}

func (c *Catalog) operations(ctx context.Context, f OperationFilter) iter.Seq2[*Operation, error] {
	var q query
	order := "o.created_at DESC, o.seq DESC, o.id DESC" // never by ids alone: clients make them, each by its own clock
	if f.Unfinished {
		q.and("o.state IN ('running', 'undoing', 'stuck')")
	}
	switch {
	case f.Tenant != "":
		q.and("o.tenant_name = " + q.arg(string(f.Tenant)))
	case f.Run != uuid.Nil:
		q.and("o.parent_id = " + q.arg(f.Run))
		order = "o.seq NULLS LAST, o.id"
	case !f.Unfinished:
		q.and("o.parent_id IS NULL")
	}
	sql := `SELECT ` + operationColumns + ` FROM tenantctl.operations o WHERE ` + q.where() + ` ORDER BY ` + order
	if f.Limit > 0 {
		sql += fmt.Sprintf(" LIMIT %d", f.Limit)
	}
	return func(yield func(*Operation, error) bool) {
		rows, err := c.pool.Query(ctx, sql, q.args...)
		if err != nil {
			yield(nil, catalogError("read the operations", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			op, err := scanOperation(rows)
			if err != nil {
				yield(nil, catalogError("read the operations", err))
				return
			}
			if !yield(op, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, catalogError("read the operations", err))
		}
	}
}

func (c *Catalog) lastOperations(ctx context.Context, tenant uuid.UUID, n int) ([]*Operation, error) {
	rows, err := c.pool.Query(ctx, `SELECT `+operationColumns+` FROM tenantctl.operations o WHERE o.tenant_id = $1 ORDER BY o.seq DESC NULLS LAST, o.created_at DESC LIMIT $2`, tenant, n)
	if err != nil {
		return nil, catalogError("read the operations", err)
	}
	ops, err := pgx.CollectRows(rows, scanOperation)
	return ops, catalogError("read the operations", err)
}

// LeftOver counts the operations that are interrupted and hold their tenant, or are runs, and gives the kind of the oldest.
func (c *Catalog) LeftOver(ctx context.Context) (n int, oldest string, err error) {
	for op, err := range c.operations(ctx, OperationFilter{Unfinished: true}) {
		if err != nil {
			return 0, "", err
		}
		if c.interrupted(op) {
			n, oldest = n+1, op.Kind
		}
	}
	return n, oldest, nil
}

// AuditEntry is who changed what, when and from where.
type AuditEntry struct {
	At     time.Time       `json:"at"`
	Actor  string          `json:"actor"`
	Origin string          `json:"origin"`
	Action string          `json:"action"`
	Tenant Name            `json:"tenant,omitempty"`
	Detail json.RawMessage `json:"detail"`

	Operation *uuid.UUID `json:"operation,omitempty"`
}

// OperationDetail is an operation with its steps, its audit entries, and for a run how its tenants stand.
type OperationDetail struct {
	*Operation
	Tenants map[OpState]int `json:"tenants,omitempty"`
	Audit   []AuditEntry    `json:"audit"`
}

// MarshalJSON adds to the operation's own form.
func (d *OperationDetail) MarshalJSON() ([]byte, error) {
	op, err := json.Marshal(d.Operation)
	if err != nil {
		return nil, err
	}
	type rest struct {
		Tenants map[OpState]int `json:"tenants,omitempty"`
		Audit   []AuditEntry    `json:"audit"`
	}
	more, err := json.Marshal(rest{d.Tenants, d.Audit})
	if err != nil {
		return nil, err
	}
	return append(append(op[:len(op)-1], ','), more[1:]...), nil
}

// Operation gives one operation whole. A unique beginning or end of its id is enough.
func (s *Service) Operation(ctx context.Context, id string) (*OperationDetail, error) {
	op, err := s.catalog.findOperation(ctx, id)
	if err != nil {
		return nil, err
	}
	op.Interrupted = s.catalog.interrupted(op)
	op.Slow = op.slow()
	d := &OperationDetail{Operation: op}
	if op.Steps, err = s.catalog.steps(ctx, op.ID); err != nil {
		return nil, err
	}
	rows, err := s.catalog.pool.Query(ctx, `SELECT `+auditColumns+` FROM tenantctl.audit WHERE operation_id = $1 ORDER BY id`, op.ID)
	if err != nil {
		return nil, catalogError("read the audit", err)
	}
	if d.Audit, err = pgx.CollectRows(rows, pgx.RowToStructByPos[AuditEntry]); err != nil {
		return nil, catalogError("read the audit", err)
	}
	for i := range d.Audit {
		d.Audit[i].Operation = nil // it is the one that is shown
	}
	if op.TenantID == nil {
		rows, err := s.catalog.pool.Query(ctx, `SELECT state, count(*) FROM tenantctl.operations WHERE parent_id = $1 GROUP BY state`, op.ID)
		if err != nil {
			return nil, catalogError("count the run's tenants", err)
		}
		d.Tenants = map[OpState]int{}
		var state OpState
		var n int
		if _, err := pgx.ForEachRow(rows, []any{&state, &n}, func() error {
			d.Tenants[state] = n
			return nil
		}); err != nil {
			return nil, catalogError("count the run's tenants", err)
		}
	}
	return d, nil
}

// findOperation finds an operation by its id, or a unique part of it (isNamed).
func (c *Catalog) findOperation(ctx context.Context, id string) (*Operation, error) {
	if len(id) < 4 {
		return nil, Invalid("give four characters of it or more", "the id %s is too short", shorten(id))
	}
	rows, err := c.pool.Query(ctx, `SELECT `+operationColumns+` FROM tenantctl.operations o WHERE `+isNamed("o.id")+` LIMIT 2`, strings.ToLower(id))
	if err != nil {
		return nil, catalogError("read the operation", err)
	}
	ops, err := pgx.CollectRows(rows, scanOperation)
	switch {
	case err != nil:
		return nil, catalogError("read the operation", err)
	case len(ops) == 0:
		return nil, &Error{Kind: ErrNotFound, Msg: "no such operation: " + shorten(id), Hint: "tenantctl ops list shows all"}
	case len(ops) > 1:
		return nil, Invalid("give more of it, such as its end as tenantctl ops list shows it", "more than one operation has an id that begins or ends with %s", id)
	}
	return ops[0], nil
}

// sagaOf makes an operation's saga anew from what the catalog holds of it.
func (s *Service) sagaOf(ctx context.Context, op *Operation) (saga, error) {
	t, err := s.catalog.byID(ctx, *op.TenantID, op.Tenant)
	if err != nil {
		return saga{}, err
	}
	switch op.Kind {
	case OpCreate:
		return s.createSaga(t), nil
	case OpAdopt:
		return s.adoptionOf(op, t)
	case OpAdoptRole:
		return s.roleSaga(op, t)
	case OpDelete:
		return s.deleteSaga(op, t)
	case OpUndelete:
		return s.undeleteSaga(t), nil
	case OpPurge:
		return s.purgeSaga(op, t)
	case OpBackup:
		p := backupParams{Quiesce: true}
		if err := json.Unmarshal(op.Params, &p); err != nil {
			return saga{}, fmt.Errorf("read the operation's parameters: %w", err)
		}
		p.Quiesce = true // whoever locked the users out, they are let in
		return s.backupSaga(op, t, p, new(*Backup)), nil
	case OpRestore:
		return s.restoreSaga(op, t)
	case OpTest:
		return s.testSaga(op, t)
	case OpRehearse:
		return s.rehearseSaga(op, t)
	case OpClone:
		return s.cloneSaga(op, t)
	case OpSuspend, OpResume:
		return s.lockdownSaga(op, t, new([]string))
	case OpSet, OpRename:
		return s.changeSaga(op, t)
	}
	return saga{}, Invalid("run its command again", "%s is not resumed", op.Kind)
}

// takeable finds a live operation that nobody works on.
func (s *Service) takeable(ctx context.Context, id string) (*Operation, error) {
	op, err := s.catalog.findOperation(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case !op.State.Live():
		return nil, Invalid("nothing is left to do", "operation %s is %s", op.ID, op.State)
	case !s.catalog.dead(op):
		return nil, s.catalog.busy(op)
	}
	s.beat()
	return op, nil
}

// ResumeOperation goes on with an interrupted operation in the direction it was going. The caller resumes runs by the
// command that began them.
func (s *Service) ResumeOperation(ctx context.Context, id string) (*Operation, error) {
	op, err := s.takeable(ctx, id)
	if err != nil {
		return nil, err
	}
	switch {
	case op.TenantID == nil && op.Kind == OpImport:
		return nil, Invalid("tenantctl import run -f with its mapping: it goes on from the last checkpoint", "operation %s is an import", op.ID)
	case op.Kind == OpProbe:
		return nil, Invalid("tenantctl verify --probe begins a new one, and removes what this one has left", "operation %s is a probe", op.ID)
	case op.TenantID == nil:
		return nil, Invalid(fmt.Sprintf("tenantctl %s --resume %s", strings.ReplaceAll(op.Kind, "-", " "), ShortID(op.ID)), "operation %s is a run", op.ID)
	case op.restartable():
		if err := s.catalog.closeDead(ctx, op); err != nil {
			return nil, err
		}
		return nil, &Error{Kind: ErrInvalid, Tenant: op.Tenant, Msg: fmt.Sprintf("%s had nothing left to undo and is closed", op.Kind), Hint: "run its command again"}
	}
	if _, err := s.catalog.byID(ctx, *op.TenantID, op.Tenant); errors.Is(err, ErrNotFound) {
		return s.endGone(ctx, op, OpFailed)
	}
	if op, err = s.catalog.takeOver(ctx, op); err != nil {
		return nil, err
	}
	return op, s.resumeOperation(ctx, op)
}

// resumeOperation brings an operation that was taken over to its end; one that was being undone ends well undone.
func (s *Service) resumeOperation(ctx context.Context, op *Operation) error {
	g, err := s.sagaOf(ctx, op)
	if err != nil {
		return err
	}
	undoing := op.State == OpUndoing
	err = s.run(ctx, op, g)
	if undoing && (op.State == OpUndone || op.State == OpAborted) {
		return nil
	}
	return err
}

// Abort takes an interrupted operation back. A run is ended: its tenants in work are finished by the process that has
// them, and no new one is started. What is past its point of no return is refused.
func (s *Service) Abort(ctx context.Context, id string) (*Operation, error) {
	found, err := s.catalog.findOperation(ctx, id)
	if err != nil {
		return nil, err
	}
	if found.TenantID == nil {
		return found, s.abortRun(ctx, found)
	}
	op, err := s.takeable(ctx, id)
	if err != nil {
		return nil, err
	}
	if op.restartable() {
		op.State = OpFailed
		return op, s.catalog.closeDead(ctx, found)
	}
	op.Steps, err = s.catalog.steps(ctx, op.ID)
	if err != nil {
		return nil, err
	}
	g, err := s.sagaOf(ctx, op)
	if errors.Is(err, ErrNotFound) {
		return s.endGone(ctx, op, OpAborted)
	}
	if err != nil {
		return nil, err
	}
	if len(op.Steps) > g.pivot {
		return nil, pastReturn(op)
	}
	if op, err = s.catalog.takeOver(ctx, op); err != nil {
		return nil, err
	}
	if len(op.Steps) > g.pivot { // its process was not dead, and has gone on between the two looks
		return nil, errors.Join(pastReturn(op), s.catalog.setState(ctx, op, OpStuck, pastReturn(op), nil))
	}
	ctx = WithLease(ctx, s.catalog.leaseOf(op))
	cause := &Error{Kind: ErrInterrupted, Tenant: op.Tenant, Msg: op.Kind + " was aborted"}
	if found.Error != nil { // the first cause
		cause.Msg += "; it had failed: " + found.Error.Message
	}
	defer s.catalog.working(op)()
	err = s.undo(ctx, op, g, min(len(op.Steps), len(g.steps))-1, cause)
	if op.State == OpAborted {
		return op, nil
	}
	return op, err
}

func pastReturn(op *Operation) error {
	return &Error{Kind: ErrInvalid, Tenant: op.Tenant, Msg: fmt.Sprintf("%s is past the point where it could be taken back", op.Kind), Hint: "tenantctl ops resume " + ShortID(op.ID)}
}

// abortRun ends a run, whoever works on it: its claims fail from here on.
func (s *Service) abortRun(ctx context.Context, op *Operation) error {
	if !op.State.Live() {
		return Invalid("nothing is left to do", "run %s is %s", op.ID, op.State)
	}
	err := s.catalog.withRow(ctx, "abort the run", op, false, func(tx pgx.Tx, now rowState) error {
		if err := stillSo(op, now); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE tenantctl.operations SET state = 'aborted', fence = fence + 1, finished_at = clock_timestamp() WHERE id = $1`, op.ID)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE tenantctl.operations SET state = 'aborted', finished_at = clock_timestamp() WHERE parent_id = $1 AND state = 'pending'`, op.ID); err != nil {
			return err
		}
		return s.catalog.audit(ctx, tx, entry{action: "abort", operation: op})
	})
	if err == nil {
		op.State = OpAborted
	}
	return err
}
