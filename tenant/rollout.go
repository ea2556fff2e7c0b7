package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Rollout is how a run goes over its tenants in waves: one after another, with a look around in between. The zero
// Rollout takes all tenants in one.
type Rollout struct {
	Canary   int      // tenants of the first wave; any failure among them stops the run
	Canaries Selector // the first wave is chosen among these; empty: among all
	Wave     Budget   // tenants of each further wave; zero: all that are left
	Pause    time.Duration
	// Check is called between two waves, after the pause; an error stops the run. nil asks nobody.
	Check     func(ctx context.Context, w Wave) error
	Unchecked bool // go on without the check that the run was started with
}

// Wave is a part of a run, and how it ended.
type Wave struct {
	Number     int   `json:"wave"` // from 1
	Of         int   `json:"-"`
	Tenants    int   `json:"tenants"`
	Changed    int   `json:"changed"`
	Unchanged  int   `json:"unchanged"`
	Failed     int   `json:"failed"`
	DurationMS int64 `json:"duration_ms"`
}

func (r Rollout) waves() bool { return r.Canary > 0 || r.Wave != Budget{} }

// check refuses what contradicts itself.
func (r Rollout) check() error {
	switch {
	case r.Canary < 0:
		return Invalid("write a number from 1 on", "invalid number of canaries %d", r.Canary)
	case len(r.Canaries) > 0 && r.Canary == 0:
		return Invalid("add --canary N", "a selector for canaries needs their number")
	case r.Pause < 0:
		return Invalid("write a duration such as 30s", "invalid pause %s", r.Pause)
	case !r.waves() && r.Pause > 0:
		return Invalid("add --canary N or --wave N", "a pause is between waves, and there is one only")
	case !r.waves() && r.Check != nil:
		return Invalid("add --canary N or --wave N", "a check is between waves, and there is one only")
	}
	return nil
}

// rolloutParams are what a run's record keeps of its rollout. The check is asked for anew: it may hold secrets.
type rolloutParams struct {
	Canary  int    `json:"canary,omitempty"`
	Wave    string `json:"wave,omitempty"`
	PauseMS int64  `json:"pause_ms,omitempty"`
	Check   bool   `json:"check,omitempty"`
}

func (r Rollout) params() *rolloutParams {
	if !r.waves() {
		return nil
	}
	return &rolloutParams{r.Canary, r.Wave.String(), r.Pause.Milliseconds(), r.Check != nil}
}

// resumed is a rollout as the run's record has it, with what the caller says anew.
func (r Rollout) resumed(run *Operation) (Rollout, error) {
	if r.waves() || len(r.Canaries) > 0 {
		return r, Invalid("leave --canary, --canary-selector and --wave out", "the run has its waves already")
	}
	var params struct {
		Rollout *rolloutParams `json:"rollout"`
	}
	if err := json.Unmarshal(run.Params, &params); err != nil {
		return r, fmt.Errorf("read the run's parameters: %w", err)
	}
	was := params.Rollout
	if was == nil {
		return r, r.check()
	}
	if was.Check && r.Check == nil && !r.Unchecked {
		return r, Invalid("give --check again, or --check '' to go on without", "the run was started with a check between its waves")
	}
	r.Canary = was.Canary
	if r.Pause == 0 {
		r.Pause = time.Duration(was.PauseMS) * time.Millisecond
	}
	return r, nil
}

// assignWaves divides the parts of a run, canaries first, the others in their order.
func assignWaves(ctx context.Context, tx pgx.Tx, run uuid.UUID, r Rollout, canaries []uuid.UUID) error {
	if !r.waves() {
		return nil
	}
	var total int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM tenantctl.operations WHERE parent_id = $1`, run).Scan(&total); err != nil {
		return err
	}
	first := r.Canary
	if canaries != nil {
		first = len(canaries)
	}
	next, size := 1, max(total, 1)
	if first > 0 {
		next = 2
	}
	if (r.Wave != Budget{}) {
		size = r.Wave.limit(total)
	}
	ids := make([]string, len(canaries))
	for i, id := range canaries {
		ids[i] = id.String()
	}
	_, err := tx.Exec(ctx, `WITH placed AS (SELECT id, row_number() OVER (ORDER BY coalesce(tenant_id = ANY($2::uuid[]), false) DESC, id) AS n
			FROM tenantctl.operations WHERE parent_id = $1)
		UPDATE tenantctl.operations o SET wave = CASE WHEN n <= $3 THEN 1 ELSE $4 + (n - 1 - $3) / $5 END FROM placed WHERE placed.id = o.id`,
		run, ids, first, next, size)
	return err
}

// waveCount is how the parts of one wave stand.
type waveCount struct {
	number, total, done, begun int
}

// waves counts the parts of a run, wave by wave. A run without waves has one, of number 0.
func (c *Catalog) waves(ctx context.Context, run uuid.UUID) ([]waveCount, error) {
	rows, err := c.pool.Query(ctx, `SELECT wave, count(*), count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE started_at IS NOT NULL)
		FROM tenantctl.operations WHERE parent_id = $1 GROUP BY wave ORDER BY wave`, run)
	if err != nil {
		return nil, catalogError("count the run's tenants", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w waveCount, err error) {
		return w, row.Scan(&w.number, &w.total, &w.done, &w.begun)
	})
	return out, catalogError("count the run's tenants", err)
}

// wave works through the children of one wave.
func (f *fanOut) wave(ctx, dispatch context.Context, w *Wave, do job) {
	start, before, ended := time.Now(), f.summary, f.ended
	todo := make(chan *Operation)
	var idle []*Operation // claimed ahead, and not begun
	var resting sync.Mutex
	rest := func(ops ...*Operation) {
		resting.Lock()
		defer resting.Unlock()
		idle = append(idle, ops...)
	}
	go func() {
		defer close(todo)
		var next []*Operation
		give := func() bool {
			if f.ends != nil {
				f.s.catalog.claimAhead(context.WithoutCancel(ctx), f.run, next)
			}
			for i, op := range next {
				select {
				case todo <- op:
				case <-dispatch.Done():
					rest(next[i:]...)
					return false
				}
			}
			next = next[:0]
			return true
		}
		n := f.parallel
		err := f.s.catalog.pending(context.WithoutCancel(ctx), f.run.ID, w.Number, func(op *Operation) bool {
			f.backOff(dispatch)
			if next = append(next, op); len(next) < n {
				return true
			}
			going := give()
			n = f.ahead(start, ended)
			return going
		})
		if err == nil && dispatch.Err() == nil {
			give()
		}
		f.halt(err)
	}()
	var workers sync.WaitGroup
	for range f.parallel {
		workers.Go(func() {
			for child := range todo {
				if dispatch.Err() != nil {
					rest(child)
					continue
				}
				changed := false
				f.begun(child)
				err := f.s.safely(child.Kind, child.Tenant, func() (err error) {
					changed, err = do(context.WithoutCancel(ctx), child)
					return err
				})
				f.over(child, changed, err)
			}
		})
	}
	workers.Wait()
	f.halt(f.s.catalog.letGo(ctx, idle))
	f.settle(ctx)
	w.Changed = f.summary.Changed - before.Changed
	w.Unchanged = f.summary.Unchanged - before.Unchanged
	w.Failed = f.summary.Failed - before.Failed
	w.DurationMS = time.Since(start).Milliseconds()
}

// gate stands before a wave that nobody has begun: it waits, then asks. An error stops the run there.
func (f *fanOut) gate(ctx context.Context, before Wave, r Rollout) error {
	if r.Pause > 0 && before.DurationMS > 0 {
		f.s.note("wave %d of %d is done; the next begins in %s", before.Number, before.Of, r.Pause)
		select {
		case <-time.After(r.Pause):
		case <-ctx.Done():
			return nil
		}
	}
	if r.Check == nil {
		return nil
	}
	f.s.note("wave %d of %d is done; checking", before.Number, before.Of)
	err := r.Check(ctx, before)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return &Error{Kind: ErrPartial, Code: "check", Msg: fmt.Sprintf("stopped after wave %d of %d: %v", before.Number, before.Of, err), Err: err}
}

// canaries chooses a run's first wave among the tenants that q selects.
func (s *Service) canaries(ctx context.Context, q *query, r Rollout) ([]uuid.UUID, error) {
	if r.Canary == 0 {
		return nil, nil
	}
	r.Canaries.where(q)
	chosen, err := s.sample(ctx, q, r.Canary, true)
	if err != nil {
		return nil, err
	}
	if len(chosen) == 0 && len(r.Canaries) > 0 {
		return nil, Invalid("tenantctl list --selector '"+r.Canaries.String()+"' shows whom it means", "no tenant with work to do is selected for the canaries")
	}
	ids := make([]uuid.UUID, len(chosen))
	for i, c := range chosen {
		ids[i] = c.ID
	}
	return ids, nil
}

// Gauge is a Resource that can tell when its server has enough to do.
type Gauge interface {
	Resource
	// Pressure says in words why no new work should be begun now; empty where it may.
	Pressure(ctx context.Context) (string, error)
}

// pressureEvery is how long an answer about the servers' pressure holds.
const pressureEvery = time.Second

// pressed asks each store whether it has enough to do.
func (s *Service) pressed(ctx context.Context) (string, error) {
	var why []string
	for _, g := range each[Gauge](s) {
		w, err := g.Pressure(ctx)
		if err != nil {
			return "", err
		}
		if w != "" {
			why = append(why, w)
		}
	}
	return strings.Join(why, "; "), nil
}

// backOff waits until no store has enough to do. Between two questions a moment passes.
func (f *fanOut) backOff(ctx context.Context) {
	if time.Since(f.asked) < pressureEvery {
		return
	}
	for waited := false; ; waited = true {
		why, err := f.s.pressed(ctx)
		f.asked = time.Now()
		if err != nil && !errors.Is(err, context.Canceled) {
			f.s.log.Warn("ask the server what it has to do", "error", err) // the next tenant says whether it is there at all
		}
		if why == "" || err != nil {
			if waited {
				f.s.note("going on")
			}
			return
		}
		if !waited {
			f.s.note("waiting: %s", why)
		}
		select {
		case <-time.After(pressureEvery):
		case <-ctx.Done():
			return
		}
	}
}

// note tells something of a run as a whole.
func (s *Service) note(format string, args ...any) {
	s.emit(Event{Note: fmt.Sprintf(format, args...)})
}
