package nosql

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

// Up applies what is not applied up to and including version to. What a crash or a failure left half done is gone on
// with first, at the command where it stopped.
func (r *Resource) Up(ctx context.Context, t tenant.Tenant, to int64, outOfOrder bool) (tenant.Moved, error) {
	files, err := r.load()
	if err != nil {
		return tenant.Moved{}, err
	}
	return r.up(ctx, t, files, to, outOfOrder, nil)
}

func (r *Resource) up(ctx context.Context, t tenant.Tenant, files []migration, to int64, outOfOrder bool, told told) (tenant.Moved, error) {
	if to == tenant.Newest {
		to = files[len(files)-1].version
	}
	if err := knows(files, to); err != nil {
		return tenant.Moved{}, err
	}
	s, err := r.lookAtMarks(ctx, t)
	if err != nil {
		return tenant.Moved{}, err
	}
	if s.begun, err = r.beginAsKnown(ctx, t, files, to, &s); err == nil && !s.begun {
		err = r.lookFurther(ctx, t, &s)
	}
	if err != nil {
		return tenant.Moved{}, err
	}
	return r.upFrom(ctx, t, files, to, outOfOrder, s, told)
}

// beginAsKnown marks golang-migrate's book as that of a migration at work, where it says what ours does: it need
// not be read before. It is false where nothing is to be done, or where the books have to be compared.
func (r *Resource) beginAsKnown(ctx context.Context, t tenant.Tenant, files []migration, to int64, s *state) (bool, error) {
	if s.presence != tenant.Ours || !s.book.kept || s.book.progress.Running != nil {
		return false, nil
	}
	applied := s.book.progress.Applied
	pending := pendingOf(files, applied, to)
	if len(pending) == 0 || pending[0] < newest(applied) {
		return false, nil
	}
	for _, v := range applied {
		if find(files, v) == nil {
			return false, nil
		}
	}
	return r.replaceVersion(ctx, t, &s.book, versionBook(newest(applied), false), versionBook(pending[0], true))
}

// pendingOf are the versions up to one that are not applied.
func pendingOf(files []migration, applied []int64, to int64) (pending []int64) {
	for _, f := range files {
		if _, done := slices.BinarySearch(applied, f.version); !done && f.version <= to {
			pending = append(pending, f.version)
		}
	}
	return pending
}

// upFrom is up where the state is known.
func (r *Resource) upFrom(ctx context.Context, t tenant.Tenant, files []migration, to int64, outOfOrder bool, s state, told told) (tenant.Moved, error) {
	b, applied, err := r.opened(ctx, t, files, &s)
	if err != nil {
		return tenant.Moved{}, err
	}
	moved := tenant.Moved{From: newest(applied), To: newest(applied), Applied: len(applied)}
	pending := pendingOf(files, applied, to)
	run := b.progress.Running
	if run != nil {
		if pending, err = first(pending, run); err != nil {
			return moved, err
		}
	}
	for _, v := range pending {
		if v < newest(applied) && !outOfOrder && (run == nil || run.Version != v) {
			return moved, coded(tenant.ErrInvalid, "out_of_order", "give it a newer number, or apply it with --out-of-order",
				"version %d was added below version %d, which is applied already", v, newest(applied))
		}
	}
	if len(pending) == 0 { // a process may have died before it told the catalog
		return moved, record(ctx, t, applied)
	}
	err = r.move(ctx, t, b, files, pending, up, &moved, told)
	return moved, err
}

// Down undoes the applied versions above to, newest first. One that was begun and not finished counts as applied.
func (r *Resource) Down(ctx context.Context, t tenant.Tenant, to int64) (tenant.Moved, error) {
	files, err := r.load()
	if err != nil {
		return tenant.Moved{}, err
	}
	if err := knows(files, to); err != nil {
		return tenant.Moved{}, err
	}
	b, applied, err := r.open(ctx, t, files)
	if err != nil {
		return tenant.Moved{}, err
	}
	moved := tenant.Moved{From: newest(applied), To: newest(applied), Applied: len(applied)}
	undo := slices.DeleteFunc(slices.Clone(applied), func(v int64) bool { return v <= to })
	if run := b.progress.Running; run != nil {
		if run.Version > to {
			undo = with(undo, run.Version)
		}
		slices.Reverse(undo)
		if undo, err = first(undo, run); err != nil {
			return moved, err
		}
	} else {
		slices.Reverse(undo)
	}
	for _, v := range undo {
		if find(files, v).down == nil {
			return moved, coded(tenant.ErrInvalid, "no_down", "write its .down.json file", "version %d has no down file", v)
		}
	}
	err = r.move(ctx, t, b, files, undo, down, &moved, nil)
	return moved, err
}

// knows refuses a version that no file has. 0 is before the first.
func knows(files []migration, to int64) error {
	if to == 0 || find(files, to) != nil {
		return nil
	}
	return refused(tenant.ErrInvalid, fmt.Sprintf("the newest is %d; tenantctl migrate status lists them", files[len(files)-1].version),
		"there is no migration with version %d", to)
}

// open reads the book of a database that must be ours.
func (r *Resource) open(ctx context.Context, t tenant.Tenant, files []migration) (*book, []int64, error) {
	s, err := r.look(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	return r.opened(ctx, t, files, &s)
}

// opened is open where the state is known.
func (r *Resource) opened(ctx context.Context, t tenant.Tenant, files []migration, s *state) (*book, []int64, error) {
	if err := s.ours(t); err != nil {
		return nil, nil, err
	}
	applied, err := s.book.applied(files)
	if err != nil {
		return nil, nil, err
	}
	if run := s.book.progress.Running; run != nil && find(files, run.Version) == nil {
		return nil, nil, refused(tenant.ErrInvalid, "put the file back", "version %d was begun and not finished, and there is no file for it", run.Version)
	}
	s.book.progress.Applied = applied
	// A process that was taken over may have written the version after its successor.
	if right := versionBook(newest(applied), false); !s.begun && s.book.progress.Running == nil && s.book.version != nil && s.book.version.By == ourHand && *s.book.version != right {
		if err := r.writeVersion(ctx, t, &s.book, newest(applied), false); err != nil {
			return nil, nil, err
		}
	}
	return &s.book, applied, nil
}

// first puts the version that was begun before all others; it must be among those to be run.
func first(versions []int64, run *running) ([]int64, error) {
	if !slices.Contains(versions, run.Version) {
		return nil, coded(tenant.ErrMigration, "dirty", "finish it with tenantctl migrate, or undo it with tenantctl migrate down, before anything else",
			"version %d was begun (%s) and not finished", run.Version, run.Direction)
	}
	return append([]int64{run.Version}, without(versions, run.Version)...), nil
}

// told is called after each migration, and for the one that failed.
type told func(m *migration, took time.Duration, err error)

func (r *Resource) move(ctx context.Context, t tenant.Tenant, b *book, files []migration, versions []int64, direction string, moved *tenant.Moved, told told) error {
	for i, v := range versions {
		m, start := find(files, v), time.Now()
		err := r.apply(ctx, t, b, m, direction, versions[i+1:])
		if told != nil {
			told(m, time.Since(start), err)
		}
		if err != nil {
			return err
		}
		moved.Ran = append(moved.Ran, v)
		moved.To, moved.Applied = newest(b.finished), len(b.finished)
	}
	return nil
}

// apply runs one side of one migration. Each write of a book comes before what it announces and after what it
// reports, so that a crash between any two leaves enough to go on from; one write reports the end of a migration
// and announces the next of those that are to follow.
func (r *Resource) apply(ctx context.Context, t tenant.Tenant, b *book, m *migration, direction string, follow []int64) error {
	s := m.side(direction)
	next, err := resume(b.progress.Running, m.version, direction, s)
	if err != nil {
		return err
	}
	after := b.after(m.version, direction)
	if !b.announced {
		b.announce(m.version, direction, next)
		if err := r.writeProgress(ctx, t, b); err != nil {
			return err
		}
	}
	b.progress.Running = next
	if err := r.writeVersion(ctx, t, b, newest(after), true); err != nil {
		return err
	}
	if direction == down {
		// From here on the catalog must not say that this version is there.
		if err := record(ctx, t, after); err != nil {
			return err
		}
	}
	if err := r.runSide(ctx, t, b, s); err != nil {
		return err
	}
	b.progress.Applied, b.progress.Running, b.finished = after, nil, after
	if b.announced = len(follow) > 0; b.announced {
		b.announce(follow[0], direction, &running{Version: follow[0], Direction: direction})
	}
	if err := r.writeProgress(ctx, t, b); err != nil {
		return err
	}
	if err := tenant.Checkpoint(ctx, "mongodb/progress-written"); err != nil {
		return err
	}
	if !b.announced {
		if err := r.writeVersion(ctx, t, b, newest(after), false); err != nil {
			return err
		}
		if err := tenant.Checkpoint(ctx, "mongodb/version-written"); err != nil {
			return err
		}
	}
	return record(ctx, t, after)
}

// runSide runs the commands that are not done. What is run once more with the same end, wherever it stopped, is
// reported together with what follows it.
func (r *Resource) runSide(ctx context.Context, t tenant.Tenant, b *book, s *side) error {
	next, written := b.progress.Running, b.progress.Running.Step
	for _, c := range s.commands[next.Step:] {
		// What was created is not created again once its options are others.
		if written < next.Step && (c.name == "collMod" || c.name == "convertToCapped") {
			if err := r.writeProgress(ctx, t, b); err != nil {
				return err
			}
			written = next.Step
		}
		if err := r.execute(ctx, t, c, b); err != nil {
			err = located(err, s, next.Step, c)
			if written < next.Step {
				err = errors.Join(err, r.writeProgress(ctx, t, b))
			}
			return err
		}
		if err := tenant.Checkpoint(ctx, "mongodb/command-run"); err != nil {
			return err
		}
		next.Step++
		next.Done, next.Renaming = fingerprint(s.commands[:next.Step]), false
		if next.Step == len(s.commands) || c.name == "create" || c.name == "createIndexes" {
			continue
		}
		if err := r.writeProgress(ctx, t, b); err != nil {
			return err
		}
		written = next.Step
	}
	return nil
}

// resume is where to begin: behind the commands that ran, or at the start where the other direction was at work, whose
// commands are safe to undo from wherever it stopped.
func resume(run *running, v int64, direction string, s *side) (*running, error) {
	if run == nil || run.Version != v || run.Direction != direction {
		return &running{Version: v, Direction: direction}, nil
	}
	if run.Step > len(s.commands) || run.Step < 0 || fingerprint(s.commands[:run.Step]) != run.Done {
		return nil, refused(tenant.ErrMigration, "put the commands that ran back as they were, and change only those behind them",
			"%s was changed after its first %d commands ran here", filepath.Base(s.path), run.Step)
	}
	again := *run
	return &again, nil
}

// stopped tells how far a migration got that was begun and not finished. files may be nil where they cannot be read.
func (run *running) stopped(files []migration) *tenant.Stopped {
	st := &tenant.Stopped{File: fmt.Sprintf("version %d", run.Version), Version: run.Version, Direction: run.Direction, Unit: "command", Done: run.Step}
	m := find(files, run.Version)
	if m == nil || m.side(run.Direction) == nil {
		return st
	}
	s := m.side(run.Direction)
	st.File, st.Of = filepath.Base(s.path), len(s.commands)
	_, err := resume(run, run.Version, run.Direction, s)
	st.Changed = err != nil
	return st
}

// fingerprint tells commands that ran from others; empty for none.
func fingerprint(commands []command) string {
	if len(commands) == 0 {
		return ""
	}
	sum := sha256.New()
	for _, c := range commands {
		sum.Write(c.raw)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// located says which command of which file it was.
func located(err error, s *side, step int, c command) error {
	var e *tenant.Error
	if err = failure(c.String(), err); !errors.As(err, &e) || e.Store != tenant.KindMongoDB {
		return err
	}
	named := *e
	named.Msg = fmt.Sprintf("%s:%d: %s", filepath.Base(s.path), c.line, e.Msg)
	if len(s.commands) > 1 {
		named.Msg += "; " + tenant.Stopped{Unit: "command", Done: step, Of: len(s.commands)}.At()
	}
	named.Statement = c.String()
	if named.Kind == nil {
		named.Kind = tenant.ErrMigration
	}
	if named.Hint == "" {
		named.Hint = fmt.Sprintf("put the data or the file right and run the same command again: it goes on at command %d", step+1)
	}
	return &named
}
