package tenant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// undoTimeout bounds the clean-up after a failure or Ctrl-C, which runs on a context of its own.
const undoTimeout = 2 * time.Minute

// saga is what an operation does: steps forward, and back again where one fails before the pivot.
type saga struct {
	steps []step
	// pivot is the index of the first step that cannot be taken back; len(steps) where all can.
	pivot int
	// firm is the index of the first step from which on Ctrl-C waits for the end; 0 is the pivot.
	firm int
	// commit and rollback are the last change to the catalog, made together with the operation's end.
	commit, rollback func(ctx context.Context, tx pgx.Tx) error
	// stuck is the change to the catalog where the operation can go neither on nor back.
	stuck func(ctx context.Context, tx pgx.Tx) error
}

// step is one idempotent effect.
type step struct {
	name string
	do   func(ctx context.Context) error
	undo func(ctx context.Context) error // nil where there is nothing to take back
	// here tells that its effects, if it has any, are in the catalog's own server. What is noted of it before need not wait for
	// the disk: in the server's log it stands before them.
	here bool
}

// run brings an operation to its end: done, undone or stuck. It starts where the operation's recorded steps end.
func (s *Service) run(ctx context.Context, op *Operation, g saga) (err error) {
	defer s.catalog.working(op)()
	defer func() {
		if r := recover(); r != nil { // how far it got, nobody knows: it is left to be resumed, or aborted
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
			defer cancel()
			err = s.leave(clean, op, g, s.panicked(op.Kind, op.Tenant, r))
		}
	}()
	ctx = WithLease(ctx, s.catalog.leaseOf(op))
	if op.State == OpUndoing {
		return s.undo(ctx, op, g, min(len(op.Steps), len(g.steps))-1, &Error{Kind: ErrInterrupted, Tenant: op.Tenant, Msg: op.Kind + " was undone"})
	}
	if err := s.point(ctx, op.Kind, "begun", ""); err != nil {
		return s.fail(ctx, op, g, -1, err)
	}
	var done []mark
	for i, st := range g.steps {
		if i < len(op.Steps) && op.Steps[i].State == "done" {
			continue
		}
		if i >= cmp.Or(g.firm, g.pivot) {
			ctx = context.WithoutCancel(ctx)
		}
		if i < len(op.Steps) && op.Steps[i].State == "undoing" {
			// What an undoing has left of it, nobody knows: a half that is there would pass for the whole. What cannot be taken
			// back any more is whole.
			if err := st.undo(ctx); err != nil && !errors.Is(err, ErrStuck) {
				return s.fail(ctx, op, g, i, err)
			}
		}
		if err := s.catalog.note(ctx, op, st.here, append(done, mark{position: i, name: st.name, state: "started"})...); err != nil {
			return s.fail(ctx, op, g, i, err)
		}
		s.emitStep(ctx, Event{Operation: op, Step: st.name, Position: i + 1, Of: len(g.steps)})
		if err := s.attempt(ctx, op, st); err != nil {
			return s.fail(ctx, op, g, i, err)
		}
		done = []mark{{position: i, name: st.name, state: "done"}}
	}
	if len(done) > 0 {
		if err := s.catalog.note(ctx, op, true, done...); err != nil { // the end comes after it
			return s.fail(ctx, op, g, len(g.steps)-1, err)
		}
	}
	if err := s.point(ctx, op.Kind, "finish", "before"); err != nil {
		return s.fail(ctx, op, g, len(g.steps)-1, err)
	}
	if err := s.catalog.finish(ctx, op, OpDone, nil, g.commit); err != nil {
		return s.fail(ctx, op, g, len(g.steps)-1, err)
	}
	return s.point(ctx, op.Kind, "finish", "after")
}

func (s *Service) attempt(ctx context.Context, op *Operation, st step) error {
	if err := s.point(ctx, op.Kind, st.name, "before"); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return &Error{Kind: ErrInterrupted, Msg: "interrupted before step " + st.name, Err: err}
	}
	if err := st.do(ctx); err != nil {
		return err
	}
	return s.point(ctx, op.Kind, st.name, "after")
}

// point is a checkpoint named kind/step/moment.
func (s *Service) point(ctx context.Context, kind, step, moment string) error {
	name := kind + "/" + step
	if moment != "" {
		name += "/" + moment
	}
	return Checkpoint(ctx, name)
}

// fail takes an operation back that failed in step i, or leaves it to be resumed where it is past its pivot. Where the
// catalog says that the operation has ended all the same, its word counts.
func (s *Service) fail(ctx context.Context, op *Operation, g saga, i int, cause error) error {
	cause = WithTenant(cause, op.Tenant)
	if ctx.Err() != nil && !errors.Is(cause, ErrInterrupted) {
		cause = &Error{Kind: ErrInterrupted, Tenant: op.Tenant, Msg: op.Kind + " was interrupted", Err: cause}
	}
	if errors.Is(cause, ErrFenced) {
		return cause
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if i >= g.pivot || errors.Is(cause, errHalf) {
		return s.leave(clean, op, g, cause)
	}
	if ended, err := s.catalog.turn(clean, op, OpUndoing, cause, nil); err != nil || ended {
		return verdict(op, cause, err)
	}
	clean = WithLease(clean, s.catalog.leaseOf(op))
	if i >= 0 {
		// The ledger may be what failed; the undoing matters more than the note of why.
		if err := s.catalog.note(clean, op, false, mark{position: i, name: g.steps[i].name, state: "failed", cause: cause}); errors.Is(err, ErrFenced) {
			return err
		}
	}
	return s.undo(clean, op, g, i, cause)
}

// verdict is what is said of an operation that could not be turned: nil where the catalog has it done.
func verdict(op *Operation, cause, err error) error {
	switch {
	case errors.Is(err, ErrFenced):
		return err
	case err != nil:
		return errors.Join(cause, err)
	case op.State == OpDone:
		return nil
	}
	return cause
}

// undo takes back the steps from i down to the first, and ends the operation as undone because of cause.
func (s *Service) undo(ctx context.Context, op *Operation, g saga, i int, cause error) error {
	if op.State != OpUndoing {
		if ended, err := s.catalog.turn(ctx, op, OpUndoing, cause, nil); err != nil || ended {
			return verdict(op, cause, err)
		}
		ctx = WithLease(ctx, s.catalog.leaseOf(op))
	}
	undone := op.Kind == OpCreate || op.Kind == OpAdopt // whose name is given back in any case
	for ; i >= 0; i-- {
		st := g.steps[i]
		if st.undo == nil {
			continue
		}
		undone = true
		s.emitStep(ctx, Event{Operation: op, Step: st.name, Position: i + 1, Of: len(g.steps), Undo: true})
		err := s.catalog.note(ctx, op, false, mark{position: i, name: st.name, state: "undoing"})
		if err == nil {
			err = s.point(ctx, op.Kind, st.name, "undo")
		}
		if err == nil {
			err = st.undo(ctx)
		}
		if err == nil {
			err = s.point(ctx, op.Kind, st.name, "undone")
		}
		if err == nil {
			err = s.catalog.note(ctx, op, false, mark{position: i, name: st.name, state: "undone"})
		}
		if err != nil {
			return s.leave(ctx, op, g, fmt.Errorf("%w; then undoing it failed: %w", cause, err))
		}
	}
	end := OpUndone
	if errors.Is(cause, ErrInterrupted) || errors.Is(cause, context.Canceled) {
		end = OpAborted
	}
	if err := s.catalog.finish(ctx, op, end, cause, g.rollback); err != nil {
		return s.leave(ctx, op, g, fmt.Errorf("%w; then undoing it failed: %w", cause, err))
	}
	if undone {
		s.emitStep(ctx, Event{Operation: op, Undo: true})
	}
	return cause
}

// leave records that an operation is stuck, and tells the person how to go on.
func (s *Service) leave(ctx context.Context, op *Operation, g saga, cause error) error {
	if errors.Is(cause, ErrFenced) {
		return cause
	}
	// Where even this cannot be written, the lease runs out and the operation is taken over as a dead one's.
	ended, err := s.catalog.turn(ctx, op, OpStuck, cause, g.stuck)
	switch {
	case ended:
		return verdict(op, cause, nil)
	case errors.Is(err, ErrFenced):
		return err
	case err != nil:
		s.log.Warn("record that the operation is stuck", "operation", op.ID, "error", err)
	}
	f := NewFailure(cause)
	hint := cmp.Or(f.Hint, "put the cause right") + "; then run the same command again"
	if !op.restartable() {
		hint += ", or: tenantctl ops resume " + ShortID(op.ID)
	}
	return &Error{Kind: ErrStuck, Code: f.Code, Tenant: op.Tenant, Store: f.Store, Statement: f.Statement, Msg: f.Message, Hint: hint, Err: cause}
}
