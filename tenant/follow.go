package tenant

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Look is how far a fleet run is that another process works on.
type Look struct {
	Done, Total int
	Failed      int
	Working     []Name // claimed and not ended, the oldest first; at most maxWorking, none of an apply
	Claimed     int    // how many these are in all
}

const maxWorking = 20

// Follow looks at an operation again and again until it has ended, or nobody works on it any more, and tells by Events what
// became of it since. It gives the operation as it stood at the end.
func (s *Service) Follow(ctx context.Context, id string, every time.Duration) (*OperationDetail, error) {
	var seen []Step
	var last *Look
	for {
		d, err := s.Operation(ctx, id)
		if err != nil {
			return nil, err
		}
		id = d.ID.String()
		s.emitSteps(d.Operation, seen)
		seen = d.Steps
		if d.TenantID == nil {
			look, err := s.look(ctx, d)
			if err != nil {
				return nil, err
			}
			if last == nil || !look.equal(last) {
				s.emit(Event{Operation: d.Operation, Look: look, Done: look.Done, Total: look.Total})
			}
			last = look
		}
		if !d.State.Live() && d.State != OpPending || d.Interrupted || d.State == OpStuck {
			return d, nil
		}
		select {
		case <-ctx.Done():
			return nil, &Error{Kind: ErrInterrupted, Msg: fmt.Sprintf("stopped following; the %s goes on", d.Kind), Hint: "tenantctl ops show " + ShortID(d.ID) + " --follow"}
		case <-time.After(every):
		}
	}
}

func (l *Look) equal(o *Look) bool {
	return l.Done == o.Done && l.Failed == o.Failed && l.Claimed == o.Claimed && slices.Equal(l.Working, o.Working)
}

// emitSteps tells of the steps that have begun since they were seen.
func (s *Service) emitSteps(op *Operation, seen []Step) {
	for i, st := range op.Steps {
		if i < len(seen) && seen[i].State == st.State {
			continue
		}
		if undoing := st.State == "undoing"; undoing || i >= len(seen) {
			s.emit(Event{Operation: op, Step: st.Name, Position: i + 1, Undo: undoing})
		}
	}
}

// look counts the tenants of a run, and names those that are claimed.
func (s *Service) look(ctx context.Context, d *OperationDetail) (*Look, error) {
	l := &Look{}
	for state, n := range d.Tenants {
		l.Total += n
		if state != OpPending && !state.Live() {
			l.Done += n
		}
		if state == OpFailed || state == OpUndone || state == OpStuck {
			l.Failed += n
		}
	}
	rows, err := s.catalog.pool.Query(ctx, `SELECT tenant_name, count(*) OVER () FROM tenantctl.operations
		WHERE parent_id = $1 AND state IN ('running', 'undoing')
		ORDER BY started_at, tenant_name LIMIT $2`, d.ID, maxWorking)
	if err != nil {
		return nil, catalogError("read the run's tenants", err)
	}
	var name Name
	_, err = pgx.ForEachRow(rows, []any{&name, &l.Claimed}, func() error {
		l.Working = append(l.Working, name)
		return nil
	})
	return l, catalogError("read the run's tenants", err)
}

// Err is nil where the operation was done. What did not end well is an error with the way out.
func (d *OperationDetail) Err() error {
	if d.State == OpDone {
		return nil
	}
	e := &Error{Tenant: d.Tenant, Msg: fmt.Sprintf("the %s ended as %s", d.Kind, d.State)}
	if f := d.Error; f != nil {
		e.Code, e.Store, e.Statement, e.Msg, e.Hint = f.Code, f.Store, f.Statement, f.Message, f.Hint
	}
	switch ends := d.WaysOut(); {
	case len(ends) > 0:
		e.Kind, e.Code, e.Msg, e.Hint = ErrStuck, "", fmt.Sprintf("the %s was interrupted, and nobody works on it", d.Kind), ends[0]
	case d.TenantID == nil && d.State == OpFailed:
		e.Kind = ErrPartial
	}
	return e
}
