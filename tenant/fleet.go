package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// RunOptions are how a fleet run goes about its tenants.
type RunOptions struct {
	Parallel    int // tenants at once
	MaxFailures Budget
	Resume      string // the beginning or end of the id of a run, whose tenants are gone on with; empty starts a new one
}

// RunState is how a fleet run ended.
type RunState string

// The ends of a run.
const (
	RunDone    RunState = "done"
	RunPartial RunState = "partial" // some tenants failed or were not started
	RunAborted RunState = "aborted" // interrupted or aborted; the tenants in work were finished
)

// Summary counts the tenants of a run.
type Summary struct {
	Tenants    int `json:"tenants"`
	Changed    int `json:"changed"`
	Unchanged  int `json:"unchanged"`
	Failed     int `json:"failed"`
	NotStarted int `json:"not_started"`
}

// RunResult is what a fleet run reports.
type RunResult struct {
	Run        uuid.UUID        `json:"run"`
	State      RunState         `json:"state"`
	Target     map[string]int64 `json:"target,omitempty"` // version by kind of store
	Summary    Summary          `json:"summary"`
	DurationMS int64            `json:"duration_ms"`
	Failures   []FailureGroup   `json:"failures"`
	Warnings   []string         `json:"warnings,omitempty"`

	lost       bool  // another process has ended or taken over the run: its record is no longer ours to write
	unrecorded error // why the catalog does not know the result
}

// Err is nil where all is done, and says what to do where it is not.
func (r *RunResult) Err() error {
	hint := "go on with those that are not done: --resume " + ShortID(r.Run)
	switch {
	case r.unrecorded != nil:
		f := NewFailure(r.unrecorded)
		if f.Hint != "" {
			hint = f.Hint + "; then " + hint
		}
		return &Error{Code: f.Code, Store: f.Store, Msg: "the run's end could not be recorded: " + f.Message, Hint: hint, Err: r.unrecorded}
	case r.State == RunDone:
		return nil
	}
	if r.State == RunAborted {
		return &Error{Kind: ErrInterrupted, Msg: "the run was interrupted: " + r.Summary.shortfall(), Hint: hint}
	}
	return partial(r.Summary, r.Failures, hint)
}

// partial is the error of a fleet's work that is not all done. The one tenant of a run of one has its own fault told.
func partial(s Summary, failures []FailureGroup, hint string) error {
	if s.Tenants == 1 && len(failures) == 1 {
		f := failures[0]
		return &Error{Kind: ErrPartial, Tenant: f.Tenants[0], Store: f.Store, Statement: f.Statement, Msg: f.Message, Hint: f.Hint}
	}
	return &Error{Kind: ErrPartial, Msg: s.shortfall(), Hint: hint}
}

// shortfall says in words what is not done: "1 of 5 tenants failed, 2 were not started".
func (s Summary) shortfall() string {
	of := " of " + Plural(s.Tenants, "tenant")
	idle := "were not started"
	if s.NotStarted == 1 {
		idle = "was not started"
	}
	switch {
	case s.NotStarted == 0:
		return fmt.Sprintf("%d%s failed", s.Failed, of)
	case s.Failed == 0:
		return fmt.Sprintf("%d%s %s", s.NotStarted, of, idle)
	}
	return fmt.Sprintf("%d%s failed, %d %s", s.Failed, of, s.NotStarted, idle)
}

// job does one tenant's part of a run, from the claim of its operation to its end.
type job func(ctx context.Context, child *Operation) (changed bool, err error)

// startRun enters a run and its children. children is called with the run's id and adds them in its transaction; it
// returns how many there are.
func (s *Service) startRun(ctx context.Context, kind string, params any, children func(ctx context.Context, tx pgx.Tx, run uuid.UUID) error) (*Operation, error) {
	run := newID()
	s.beat()
	op := &Operation{ID: run, Kind: kind, State: OpRunning, Actor: s.catalog.actor, Owner: s.catalog.self, Fence: 1, Params: json.RawMessage(jsonText(params))}
	err := s.catalog.inTx(ctx, "enter the run", func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `INSERT INTO tenantctl.operations (id, kind, state, params, actor, owner, lease_until, started_at)
			VALUES ($1, $2, 'running', $3::jsonb, $4, $5, now() + $6::interval, clock_timestamp()) RETURNING created_at, started_at`,
			run, kind, string(op.Params), s.catalog.actor, s.catalog.self.String(), interval(s.catalog.lease)).Scan(&op.CreatedAt, &op.StartedAt)
		if err != nil {
			return err
		}
		return children(ctx, tx, run)
	})
	if err != nil {
		return nil, err
	}
	if s.Keep > 0 {
		if err := s.catalog.forget(ctx, s.Keep); err != nil {
			s.log.Warn("trim the history", "error", err)
		}
	}
	return op, Checkpoint(ctx, kind+"/run/begun")
}

// enterChildren freezes a run's set of tenants: one pending operation for each that q selects.
func (s *Service) enterChildren(ctx context.Context, tx pgx.Tx, run uuid.UUID, kind string, params any, q *query) (int, error) {
	rows, err := tx.Query(ctx, `SELECT t.id, t.name FROM tenantctl.tenants t WHERE `+q.where()+` ORDER BY t.name`, q.args...)
	if err != nil {
		return 0, err
	}
	type ref struct {
		ID   uuid.UUID
		Name string
	}
	refs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ref])
	if err != nil {
		return 0, err
	}
	for part := range slices.Chunk(refs, page) {
		ids, tenants, names := make([]string, len(part)), make([]string, len(part)), make([]string, len(part))
		for i, r := range part {
			ids[i], tenants[i], names[i] = newID().String(), r.ID.String(), r.Name
		}
		_, err := tx.Exec(ctx, `INSERT INTO tenantctl.operations (id, kind, parent_id, tenant_id, tenant_name, state, params, actor, owner)
			SELECT i, $4, $5, t, n, 'pending', $6::jsonb, $7, $8 FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS x(i, t, n)`,
			ids, tenants, names, kind, run, jsonText(params), s.catalog.actor, s.catalog.self.String())
		if err != nil {
			return 0, err
		}
	}
	return len(refs), nil
}

// resumeRun takes over a run that ended partly or whose process died.
func (s *Service) resumeRun(ctx context.Context, kind, id string) (*Operation, error) {
	s.beat()
	op, err := s.catalog.findOperation(ctx, id)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return nil, err
	case err != nil || op.Kind != kind || op.TenantID != nil || op.Run != nil:
		return nil, &Error{Kind: ErrNotFound, Msg: fmt.Sprintf("no such run of %s: %s", kind, shorten(id)), Hint: "tenantctl ops list shows all"}
	case op.State == OpDone:
		return nil, Invalid("start a new one", "run %s is done", op.ID)
	case op.State.Live() && !s.catalog.dead(op):
		return nil, s.catalog.busy(op)
	}
	taken := *op
	err = s.catalog.inTx(ctx, "take the run over", func(tx pgx.Tx) error {
		if err := s.catalog.seize(ctx, tx, op); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `UPDATE tenantctl.operations SET state = 'running', owner = $2, fence = fence + 1, lease_until = now() + $3::interval, finished_at = NULL, error = NULL
			WHERE id = $1 RETURNING fence`, op.ID, s.catalog.self.String(), interval(s.catalog.lease)).Scan(&taken.Fence)
		if err != nil {
			return err
		}
		taken.Owner, taken.State = s.catalog.self, OpRunning
		// Steps of an ended child are history; it starts anew. A dead live one is dealt with when it is its turn.
		_, err = tx.Exec(ctx, `WITH again AS (UPDATE tenantctl.operations SET state = 'pending', fence = fence + 1, error = NULL, finished_at = NULL
				WHERE parent_id = $1 AND state IN ('failed', 'undone', 'aborted') RETURNING id)
			DELETE FROM tenantctl.steps WHERE operation_id IN (SELECT id FROM again)`, op.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &taken, nil
}

// page is how many children are read at once: memory is bounded whatever the size of the fleet.
const page = 500

// pending gives the children of a run that are not over, in order.
func (c *Catalog) pending(ctx context.Context, run uuid.UUID, yield func(*Operation) bool) error {
	last := uuid.Nil
	for {
		rows, err := c.pool.Query(ctx, `SELECT `+operationColumns+` FROM tenantctl.operations o
			WHERE o.parent_id = $1 AND o.id > $2 AND o.state IN ('pending', 'running', 'undoing', 'stuck') ORDER BY o.id LIMIT $3`, run, last, page)
		if err != nil {
			return catalogError("read the run's tenants", err)
		}
		ops, err := pgx.CollectRows(rows, scanOperation)
		if err != nil {
			return catalogError("read the run's tenants", err)
		}
		for _, op := range ops {
			if !yield(op) {
				return nil
			}
			last = op.ID
		}
		if len(ops) < page {
			return nil
		}
	}
}

// fleet works through a run's children, opts.Parallel at a time. After the first failure too many, or when ctx ends, no
// new one is started; those in work are finished. already counts tenants of the run that need no work.
func (s *Service) fleet(ctx context.Context, run *Operation, already int, opts RunOptions, do job) (*RunResult, error) {
	start := time.Now()
	total, done, err := s.catalog.countChildren(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	f := &fanOut{
		s: s, run: run, limit: opts.MaxFailures.limit(total), todo: total - done,
		// What an earlier attempt at this run finished counts as changed then, unchanged now.
		summary: Summary{Tenants: total + already, Unchanged: already + done},
	}
	todo := make(chan *Operation)
	dispatch, stop := context.WithCancel(ctx)
	defer stop()
	f.stop = stop
	var feed error
	go func() {
		defer close(todo)
		feed = s.catalog.pending(context.WithoutCancel(ctx), run.ID, func(op *Operation) bool {
			select {
			case todo <- op:
				return true
			case <-dispatch.Done():
				return false
			}
		})
	}()
	var workers sync.WaitGroup
	for range s.parallel(opts.Parallel) {
		workers.Go(func() {
			for child := range todo {
				if dispatch.Err() != nil {
					continue
				}
				changed, err := do(context.WithoutCancel(ctx), child)
				f.over(child, changed, err)
			}
		})
	}
	workers.Wait()
	if feed != nil {
		return nil, feed
	}
	f.summary.NotStarted = total - done - f.summary.Changed - (f.summary.Unchanged - already - done) - f.summary.Failed
	result := &RunResult{Run: run.ID, State: RunDone, Summary: f.summary, Failures: f.groups.list(), DurationMS: time.Since(start).Milliseconds()}
	switch {
	case f.lost:
		result.State, result.lost = RunAborted, true
	case ctx.Err() != nil && f.summary.NotStarted > 0:
		result.State = RunAborted
	case f.summary.Failed > 0 || f.summary.NotStarted > 0:
		result.State = RunPartial
	}
	return result, nil
}

func (s *Service) parallel(n int) int {
	n = max(1, n)
	if s.MaxParallel > 0 {
		n = min(n, s.MaxParallel)
	}
	return n
}

// endRun records a run's result.
func (s *Service) endRun(ctx context.Context, run *Operation, r *RunResult) error {
	if r.lost {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	run.Result = json.RawMessage(jsonText(r))
	state := map[RunState]OpState{RunDone: OpDone, RunPartial: OpFailed, RunAborted: OpAborted}[r.State]
	return s.catalog.finish(ctx, run, state, r.Err(), nil)
}

// fanOut is the state that a run's workers share.
type fanOut struct {
	s     *Service
	run   *Operation
	limit int // failures
	todo  int // tenants that have work to do
	stop  context.CancelFunc

	mu      sync.Mutex
	summary Summary
	ended   int
	spent   int // failures that count against the limit
	groups  failureGroups
	lost    bool // the run was aborted or taken over
}

// over takes one tenant's end into account.
func (f *fanOut) over(child *Operation, changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case errors.Is(err, errRunLost):
		f.lost = true
		f.stop()
		return
	case err != nil:
		f.summary.Failed++
		f.groups.add(child.Tenant, NewFailure(err))
		// A tenant whose place is missing says nothing about the others.
		if !errors.Is(err, ErrMissing) {
			f.spent++
		}
		if f.spent >= f.limit {
			f.stop()
		}
	case changed:
		f.summary.Changed++
	default:
		f.summary.Unchanged++
	}
	f.ended++
	f.s.emit(Event{Operation: child, End: true, Changed: changed, Err: err, Done: f.ended, Total: f.todo})
}

// errRunLost says that a run was aborted or taken over under its worker's feet.
var errRunLost = errors.New("run lost")

func runLost(run *Operation) error {
	return &Error{Kind: ErrInterrupted, Code: "aborted", Msg: fmt.Sprintf("run %s was aborted or taken over by another process", run.ID), Hint: "tenantctl ops show " + ShortID(run.ID), Err: errRunLost}
}

func (c *Catalog) countChildren(ctx context.Context, run uuid.UUID) (total, done int, err error) {
	err = c.pool.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE state = 'done') FROM tenantctl.operations WHERE parent_id = $1`, run).Scan(&total, &done)
	return total, done, catalogError("count the run's tenants", err)
}

// busyWait is how long a run waits for a tenant that another run has in work.
const busyWait = 30 * time.Second

// claim makes a pending child this process's and gives its tenant. Another run's work on the tenant is waited for.
func (c *Catalog) claim(ctx context.Context, run, child *Operation) (Tenant, error) {
	deadline := time.Now().Add(busyWait)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		t, err := c.tryClaim(ctx, run, child)
		if !errors.Is(err, errHeld) {
			return t, err
		}
		live, err := c.liveOperation(ctx, *child.TenantID)
		if err != nil {
			return t, err
		}
		if live == nil {
			continue
		}
		_, err = c.yield(ctx, live, "")
		if err == nil {
			continue // it was a dead one, closed now
		}
		if live.Run == nil || c.dead(live) || time.Now().After(deadline) {
			return t, err
		}
		select {
		case <-ctx.Done():
			return t, ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (c *Catalog) tryClaim(ctx context.Context, run, child *Operation) (Tenant, error) {
	// It need not wait for the disk: what comes after it in the server's log is not durable before it is.
	rows, err := c.pool.Query(ctx, `WITH run AS (SELECT set_config('synchronous_commit', 'off', true) FROM tenantctl.operations WHERE id = $2 AND fence = $3 AND state = 'running'),
		claimed AS (UPDATE tenantctl.operations SET state = 'running', owner = $4, lease_until = now() + $5::interval, started_at = clock_timestamp()
			WHERE id = $1 AND state = 'pending' AND EXISTS (SELECT FROM run) RETURNING tenant_id)
		SELECT `+tenantColumns+` FROM claimed JOIN tenantctl.tenants t ON t.id = claimed.tenant_id`,
		child.ID, run.ID, run.Fence, c.self.String(), interval(c.lease))
	if err != nil {
		return Tenant{}, catalogError("claim a tenant", err)
	}
	t, err := pgx.CollectOneRow(rows, scanTenant)
	switch {
	case violates(err, "operations_one_live"):
		return t, &Error{Kind: errHeld, Msg: "tenant is held", Err: err}
	case errors.Is(err, pgx.ErrNoRows):
		return t, c.whyUnclaimed(ctx, run, child)
	case err != nil:
		return t, catalogError("claim a tenant", err)
	}
	child.State, child.Owner = OpRunning, c.self
	return t, nil
}

// whyUnclaimed tells a run that was lost from a tenant that is gone.
func (c *Catalog) whyUnclaimed(ctx context.Context, run, child *Operation) error {
	now, err := c.oneOperation(ctx, "o.id = $1", run.ID)
	if err != nil {
		return err
	}
	if now == nil || now.Fence != run.Fence || now.State != OpRunning {
		return runLost(run)
	}
	if _, err := c.byID(ctx, *child.TenantID, child.Tenant); err != nil {
		return err
	}
	return &Error{Kind: ErrBusy, Tenant: child.Tenant, Msg: "another process works on it in this run"}
}
