package tenant_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// belief is what a process thinks of an operation: what it was told last.
type belief struct {
	state tenant.OpState
	fence int64
}

// modelState is an operation's row, and what its first owner and another process think of it.
type modelState struct {
	row    belief
	owner  int // 0 for the first, 1 for the other
	thinks [2]belief
}

// modelEvent is what a process does; what it was told is lost with the answer in the events that end in "unheard".
type modelEvent struct {
	name    string
	unheard bool
	do      func(ctx context.Context, c *tenant.Catalog, op *tenant.Operation) (ended bool, err error)
}

func modelEvents() []modelEvent {
	one := func(do func(*tenant.Catalog, context.Context, *tenant.Operation) error) func(context.Context, *tenant.Catalog, *tenant.Operation) (bool, error) {
		return func(ctx context.Context, c *tenant.Catalog, op *tenant.Operation) (bool, error) {
			return false, do(c, ctx, op)
		}
	}
	turn := func(to tenant.OpState) func(context.Context, *tenant.Catalog, *tenant.Operation) (bool, error) {
		return func(ctx context.Context, c *tenant.Catalog, op *tenant.Operation) (bool, error) {
			return c.Turn(ctx, op, to)
		}
	}
	events := []modelEvent{
		{name: "end as done", do: one((*tenant.Catalog).EndDone)},
		{name: "end as undone", do: one((*tenant.Catalog).EndUndone)},
		{name: "turn back", do: turn(tenant.OpUndoing)},
		{name: "leave stuck", do: turn(tenant.OpStuck)},
		{name: "note a step", do: one((*tenant.Catalog).Note)},
		{name: "close", do: one((*tenant.Catalog).CloseAbandoned)},
		{name: "see how it ended", do: func(ctx context.Context, c *tenant.Catalog, op *tenant.Operation) (bool, error) {
			return c.Settle(ctx, op)
		}},
		{name: "take over", do: func(ctx context.Context, c *tenant.Catalog, op *tenant.Operation) (bool, error) {
			taken, err := c.TakeOver(ctx, op)
			if err == nil {
				*op = *taken
			}
			return false, err
		}},
	}
	for _, e := range events[:4] {
		e.name, e.unheard = e.name+", unheard", true
		events = append(events, e)
	}
	return events
}

// model is the operation log, with one operation and two processes.
type model struct {
	w   *world
	c   [2]*tenant.Catalog
	id  uuid.UUID
	run int
}

// maxFence bounds the model: it is raised at each turn and take-over.
const maxFence = 3

// Every state of an operation that two processes can bring about is reached, and in each, everything is done that either can do:
// what has ended stays as it ended, the fence only rises, who lost an operation changes nothing, and who is told something is
// told what the row says.
func TestTheOperationLogHoldsInEveryState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := &model{w: w, id: uuid.Must(uuid.NewV7())}
	for i := range m.c {
		m.c[i] = tenant.NewCatalog(w.pool, fmt.Sprint("process ", i), time.Hour)
	}
	if _, err := w.pool.Exec(t.Context(), `INSERT INTO tenantctl.operations (id, kind, tenant_id, tenant_name, state, actor, owner) VALUES ($1, 'set', gen_random_uuid(), 'acme', 'running', 'x', $2)`, m.id, m.c[0].Self()); err != nil {
		t.Fatal(err)
	}
	first := belief{tenant.OpRunning, 1}
	todo := []modelState{{row: first, thinks: [2]belief{first, first}}}
	seen := map[modelState]bool{todo[0]: true}
	for len(todo) > 0 {
		s := todo[0]
		todo = todo[1:]
		for who := range m.c {
			for _, e := range modelEvents() {
				next := m.step(t, s, who, e)
				if next.row.fence <= maxFence && !seen[next] {
					seen[next] = true
					todo = append(todo, next)
				}
			}
			look := s // a process that looks anew, such as one that was started again
			look.thinks[who] = s.row
			if !seen[look] {
				seen[look] = true
				todo = append(todo, look)
			}
		}
	}
	t.Logf("%d steps from %d states", m.run, len(seen))
	if len(seen) < 100 {
		t.Error("these are too few: events got lost")
	}
}

// step brings the row into a state, lets a process do something, and judges what came of it.
func (m *model) step(t *testing.T, s modelState, who int, e modelEvent) modelState {
	t.Helper()
	m.run++
	ctx := t.Context()
	live := s.row.state.Live()
	_, err := m.w.pool.Exec(ctx, `WITH gone AS (DELETE FROM tenantctl.audit WHERE operation_id = $1)
		UPDATE tenantctl.operations SET state = $2, fence = $3, owner = $4, finished_at = CASE WHEN $5 THEN NULL ELSE now() END WHERE id = $1`,
		m.id, string(s.row.state), s.row.fence, m.c[s.owner].Self(), live)
	if err != nil {
		t.Fatal(err)
	}
	op := &tenant.Operation{ID: m.id, Kind: tenant.OpSet, Tenant: "acme", State: s.thinks[who].state, Fence: s.thinks[who].fence}
	ended, err := e.do(ctx, m.c[who], op)
	next := s
	var owner string
	if err := m.w.pool.QueryRow(ctx, `SELECT state, fence, owner FROM tenantctl.operations WHERE id = $1`, m.id).Scan(&next.row.state, &next.row.fence, &owner); err != nil {
		t.Fatal(err)
	}
	next.owner = 0
	if owner == m.c[1].Self() {
		next.owner = 1
	}
	if !e.unheard {
		next.thinks[who] = belief{op.State, op.Fence}
	}
	takes := e.name == "take over" || e.name == "close"
	fail := func(format string, args ...any) {
		t.Errorf("from %+v, process %d does %q (ended %v, %v), which gives %+v: %s", s, who, e.name, ended, err, next, fmt.Sprintf(format, args...))
	}
	switch {
	case !live && next.row != s.row:
		fail("what had ended has changed")
	case next.row.fence < s.row.fence:
		fail("the fence was lowered")
	case !takes && s.owner != who && next.row != s.row:
		fail("who does not own it has changed it")
	case takes && s.thinks[who] != s.row && next.row != s.row:
		fail("it was taken by who had not seen how it stands")
	case err != nil && next.row != s.row:
		fail("it was changed, and that is told as a failure")
	case err == nil && e.name == "end as done" && next.row.state != tenant.OpDone, err == nil && e.name == "end as undone" && next.row.state != tenant.OpUndone:
		fail("an end is told that the row does not know")
	case err == nil && ended && (live || op.State != next.row.state):
		fail("it is told to have ended otherwise than it has")
	case err == nil && !takes && !ended && s.owner == who && (op.State != next.row.state || op.Fence != next.row.fence) && e.name != "note a step" && e.name != "see how it ended":
		fail("it is told to be otherwise than it is")
	}
	return next
}
