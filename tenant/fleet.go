package tenant

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// RunOptions are how a fleet run goes about its tenants.
type RunOptions struct {
	Parallel    int // tenants at once
	MaxFailures Budget
	Resume      string // the beginning or end of the id of a run, whose tenants are gone on with; empty starts a new one
	Rollout
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
	Waves      []Wave           `json:"waves,omitempty"`
	Stopped    string           `json:"stopped,omitempty"` // why no further wave was begun
	Retry      string           `json:"retry,omitempty"`   // the command that tries those again that failed
	Refused    []AdoptPlace     `json:"refused,omitempty"` // of an adoption: counted as failed, and not part of what --resume goes on with
	LeftOut    []AdoptPlace     `json:"left_out,omitempty"`

	command    string // what is resumed by
	checked    bool   // which needs the check between waves again
	lost       bool   // another process has ended or taken over the run: its record is no longer ours to write
	unrecorded error  // why the catalog does not know the result
}

// Err is nil where all is done, and says what to do where it is not.
func (r *RunResult) Err() error {
	hint := "go on with those that are not done: tenantctl " + r.command + " --resume " + ShortID(r.Run)
	if r.checked {
		hint += " --check 'COMMAND'"
	}
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
	if len(r.Refused) > 0 && r.Summary.Failed == len(r.Refused) && r.Summary.NotStarted == 0 {
		return &Error{Kind: ErrPartial, Msg: fmt.Sprintf("%d of %s refused", len(r.Refused), Plural(r.Summary.Tenants, "tenant")), Hint: "fix the problems listed above, then run the same command again"}
	}
	if r.State == RunAborted {
		return &Error{Kind: ErrInterrupted, Msg: "the run was interrupted: " + r.Summary.shortfall(), Hint: hint}
	}
	err := partial(r.Summary, r.Failures, hint)
	if r.Stopped != "" {
		err.Msg = r.Stopped + ": " + r.Summary.shortfall()
	}
	return err
}

// partial is the error of a fleet's work that is not all done. The one tenant of a run of one has its own fault told.
func partial(s Summary, failures []FailureGroup, hint string) *Error {
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

// runnable refuses a run, before anything is touched, that could not be what was asked for.
func (s *Service) runnable(ctx context.Context, sel Selection, opts RunOptions) error {
	if opts.Resume == "" {
		if err := opts.Rollout.check(); err != nil {
			return err
		}
	}
	if err := s.catalog.workable(ctx, sel); err != nil {
		return err
	}
	_, err := s.pressed(ctx) // for stores that cannot tell, though the configuration asks for it
	return err
}

// job does one tenant's part of a run, from the claim of its operation to its end.
type job func(ctx context.Context, child *Operation) (changed bool, err error)

// runParams are what the catalog keeps of a run; each kind of run has its own beside the rollout.
type runParams map[string]any

// startRun enters a run and its children, in waves if opts say so: canaries first, or the first that there are where
// none were chosen. children is called with the run's id and adds them in its transaction.
func (s *Service) startRun(ctx context.Context, kind string, params runParams, r Rollout, canaries []uuid.UUID, children func(ctx context.Context, tx pgx.Tx, run uuid.UUID) error) (*Operation, error) {
	run := newID()
	if p := r.params(); p != nil {
		params["rollout"] = p
	}
	s.beat()
	if err := s.catalog.closeRuns(ctx, kind, run); err != nil {
		return nil, err
	}
	op := &Operation{ID: run, Kind: kind, State: OpRunning, Actor: s.catalog.actorOf(ctx), Owner: s.catalog.self, Fence: 1, Params: json.RawMessage(jsonText(params))}
	err := s.catalog.inTx(ctx, "enter the run", func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `INSERT INTO tenantctl.operations (id, kind, state, params, actor, owner, lease_until, started_at)
			VALUES ($1, $2, 'running', $3::jsonb, $4, $5, now() + $6::interval, clock_timestamp()) RETURNING created_at, started_at`,
			run, kind, string(op.Params), s.catalog.actorOf(ctx), s.catalog.self.String(), interval(s.catalog.lease)).Scan(&op.CreatedAt, &op.StartedAt)
		if err != nil {
			return err
		}
		if err := children(ctx, tx, run); err != nil {
			return err
		}
		return assignWaves(ctx, tx, run, r, canaries)
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

// closeRuns ends the runs of a kind whose process died, since another one takes their place, with those of their tenants'
// operations that are simply run again. They can be resumed all the same.
func (c *Catalog) closeRuns(ctx context.Context, kind string, by uuid.UUID) error {
	rows, err := c.pool.Query(ctx, `SELECT `+operationColumns+` FROM tenantctl.operations o
		WHERE o.kind = $1 AND (o.tenant_id IS NULL AND o.parent_id IS NULL AND o.state = 'running' OR o.parent_id IS NOT NULL AND o.state IN ('running', 'undoing', 'stuck')) ORDER BY o.id`, kind)
	if err != nil {
		return catalogError("read the runs", err)
	}
	ops, err := pgx.CollectRows(rows, scanOperation)
	if err != nil {
		return catalogError("read the runs", err)
	}
	for _, op := range ops {
		switch {
		case !c.dead(op):
			continue
		case op.TenantID == nil:
			err = c.closeRun(ctx, op, by)
		case op.restartable():
			err = c.closeDead(ctx, op)
		}
		if err != nil && !errors.Is(err, ErrBusy) { // another process was faster
			return err
		}
	}
	return nil
}

func (c *Catalog) closeRun(ctx context.Context, op *Operation, by uuid.UUID) error {
	return c.withRow(ctx, "close a dead run", op, true, func(tx pgx.Tx, now rowState) error {
		if err := stillSo(op, now); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE tenantctl.operations SET state = 'aborted', fence = fence + 1, finished_at = clock_timestamp(), error = $2::jsonb WHERE id = $1`,
			op.ID, jsonText(Failure{Code: "dead", Message: "its process died (" + op.Owner.Label() + "), and run " + by.String() + " was begun after it"}))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE tenantctl.operations SET state = 'aborted', finished_at = clock_timestamp() WHERE parent_id = $1 AND state = 'pending'`, op.ID)
		return err
	})
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
			ids, tenants, names, kind, run, jsonText(params), s.catalog.actorOf(ctx), s.catalog.self.String())
		if err != nil {
			return 0, err
		}
	}
	return len(refs), nil
}

// resumeRun takes over the run that opts.Resume names, which ended partly or whose process died, and completes opts by
// what was said when it was started.
func (s *Service) resumeRun(ctx context.Context, kind string, opts *RunOptions) (*Operation, error) {
	s.beat()
	op, err := s.catalog.findRun(ctx, kind, opts.Resume)
	switch {
	case err != nil:
		return nil, err
	case op.State == OpDone:
		return nil, Invalid("start a new one", "run %s is done", op.ID)
	case op.State.Live() && !s.catalog.dead(op):
		return nil, s.catalog.busy(op)
	}
	if opts.Rollout, err = opts.Rollout.resumed(op); err != nil {
		return nil, err
	}
	taken := *op
	err = s.catalog.withRow(ctx, "take the run over", op, true, func(tx pgx.Tx, now rowState) error {
		switch {
		case now.state == OpDone:
			return Invalid("start a new one", "run %s is done", op.ID)
		case now.state.Live():
			if err := stillSo(op, now); err != nil {
				return err
			}
		}
		// Nobody works on a run that has ended meanwhile: another one of its kind closes what a dead process left.
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

// findRun finds a fleet run of that kind by its id, or a unique beginning or end of it.
func (c *Catalog) findRun(ctx context.Context, kind, id string) (*Operation, error) {
	op, err := c.findOperation(ctx, id)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return nil, err
	case err != nil || op.Kind != kind || op.TenantID != nil || op.Run != nil:
		return nil, &Error{Kind: ErrNotFound, Msg: fmt.Sprintf("no such run of %s: %s", kind, shorten(id)), Hint: "tenantctl ops list shows all"}
	}
	return op, nil
}

// page is how many children are read at once: memory is bounded whatever the size of the fleet.
const page = 500

// pending gives the children of one wave of a run that are not over, in order.
func (c *Catalog) pending(ctx context.Context, run uuid.UUID, wave int, yield func(*Operation) bool) error {
	last := uuid.Nil
	for {
		var ops []*Operation
		err := patiently(func() error {
			rows, err := c.pool.Query(ctx, `SELECT `+operationColumns+` FROM tenantctl.operations o
				WHERE o.parent_id = $1 AND o.id > $2 AND o.wave = $4 AND o.state IN ('pending', 'running', 'undoing', 'stuck') ORDER BY o.id LIMIT $3`, run, last, page, wave)
			if err == nil {
				ops, err = pgx.CollectRows(rows, scanOperation)
			}
			return catalogError("read the run's tenants", err)
		})
		if err != nil {
			return err
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

// fleet works through a run's children, opts.Parallel at a time and wave by wave. After the first failure too many, or
// when ctx ends, no new one is started; those in work are finished. already counts tenants of the run that need no work;
// over takes the ends of work that is so short that it is claimed and recorded together, and is nil where it is not.
func (s *Service) fleet(ctx context.Context, run *Operation, already int, opts RunOptions, over *ends, do job) (*RunResult, error) {
	start := time.Now()
	defer s.catalog.working(run)()
	waves, err := s.catalog.waves(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	total, done := 0, 0
	for _, w := range waves {
		total += w.total
		done += w.done
	}
	dispatch, stop := context.WithCancel(ctx)
	defer stop()
	f := &fanOut{
		s: s, run: run, ends: over, parallel: s.parallel(opts.Parallel), todo: total - done, stop: stop,
		// What an earlier attempt at this run finished counts as changed then, unchanged now.
		summary: Summary{Tenants: total + already, Unchanged: already + done},
	}
	result := &RunResult{Run: run.ID, State: RunDone, command: run.Kind, checked: opts.Check != nil}
	if run.Kind == OpBaseline {
		result.command = "migrate baseline"
	}
	var last Wave
	for i, w := range waves {
		before := last
		last = Wave{Number: w.number, Of: len(waves), Tenants: w.total}
		if w.done == w.total {
			continue
		}
		if i > 0 && w.begun == 0 {
			if err := f.gate(dispatch, before, opts.Rollout); err != nil {
				result.Stopped = err.Error()
			}
		}
		if result.Stopped != "" || dispatch.Err() != nil {
			break
		}
		f.limit = opts.MaxFailures.limit(total)
		if canaries := opts.Canary > 0 && w.number == 1; canaries {
			f.limit = 1
		}
		f.wave(ctx, dispatch, &last, do)
		if w.number > 0 {
			result.Waves = append(result.Waves, last)
		}
		if opts.Canary > 0 && w.number == 1 && last.Failed > 0 && total > w.total {
			result.Stopped = "a canary failed"
			break
		}
	}
	if f.away != nil && result.Stopped == "" {
		result.Stopped = f.away.Error()
	}
	f.summary.NotStarted = total - done - f.ended
	result.Summary, result.Failures, result.DurationMS = f.summary, f.groups.list(), time.Since(start).Milliseconds()
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

// catalogAway says that a tenant could not be begun with, for a reason that is not its own.
type catalogAway struct{ error }

func (e *catalogAway) Unwrap() error { return e.error }

// errRunLost says that a run was aborted or taken over under its worker's feet.
var errRunLost = errors.New("run lost")

func runLost(run *Operation) error {
	return &Error{Kind: ErrInterrupted, Code: "aborted", Msg: fmt.Sprintf("run %s was aborted or taken over by another process", run.ID), Hint: "tenantctl ops show " + ShortID(run.ID), Err: errRunLost}
}

// busyWait is how long a run waits for a tenant that another run has in work.
const busyWait = 30 * time.Second

// awayWait is how long a run waits for a catalog that does not answer, such as one whose server is restarted.
const awayWait = 10 * time.Second

// patiently tries again, for a while, what failed because the catalog did not answer.
func patiently(do func() error) error {
	deadline := time.Now().Add(awayWait)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := do()
		if !errors.Is(err, ErrUnreachable) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pause)
	}
}

// claim makes a pending child this process's and gives its tenant. Another run's work on the tenant is waited for.
func (c *Catalog) claim(ctx context.Context, run, child *Operation) (t Tenant, err error) {
	deadline := time.Now().Add(busyWait)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err = patiently(func() error {
			t, err = c.tryClaim(ctx, run, child)
			return err
		})
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
		if live.Run == nil || !errors.Is(err, ErrBusy) || NewFailure(err).Code == "stuck" || time.Now().After(deadline) {
			return t, err
		}
		select {
		case <-ctx.Done():
			return t, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// workableNow selects the tenants of a condition on t that can be worked in, and locks their rows as they are now.
func workableNow(where, how string) string {
	return `SELECT t.id, t.revision FROM tenantctl.tenants t WHERE ` + where + ` AND ` + migrating + ` FOR NO KEY UPDATE ` + how
}

// asSeen is the condition that the tenant of an operation o is locked as "seen", and that the statement does not read it as it was
// before: a statement reads what was committed when it began, and locks what is there now.
const asSeen = `EXISTS (SELECT FROM seen s JOIN tenantctl.tenants t ON t.id = s.id AND t.revision = s.revision WHERE s.id = o.tenant_id)`

func (c *Catalog) tryClaim(ctx context.Context, run, child *Operation) (Tenant, error) {
	// One that runs as this process's was claimed by a statement whose answer was lost: no child is given to two workers.
	// It need not wait for the disk: what comes after it in the server's log is not durable before it is.
	rows, err := c.pool.Query(ctx, `WITH run AS (SELECT set_config('synchronous_commit', 'off', true) FROM tenantctl.operations WHERE id = $2 AND fence = $3 AND state = 'running'),
		seen AS (`+workableNow("t.id = (SELECT o.tenant_id FROM tenantctl.operations o WHERE o.id = $1)", "")+`),
		claimed AS (UPDATE tenantctl.operations o SET state = 'running', owner = $4, lease_until = now() + $5::interval, started_at = clock_timestamp()
			WHERE id = $1 AND (state = 'pending' OR state = 'running' AND owner = $4) AND EXISTS (SELECT FROM run) AND `+asSeen+` RETURNING tenant_id)
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
	t, err := c.byID(ctx, *child.TenantID, child.Tenant)
	switch {
	case err != nil:
		return err
	case !t.State.Migrates():
		return c.unready(ctx, t)
	}
	own, err := c.oneOperation(ctx, "o.id = $1", child.ID)
	if err == nil && own != nil && own.State == OpPending {
		return &Error{Kind: errHeld, Msg: "tenant was changed meanwhile"}
	}
	return cmp.Or(err, error(&Error{Kind: ErrBusy, Tenant: child.Tenant, Msg: "another process works on it in this run"}))
}
