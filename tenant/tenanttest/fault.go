package tenanttest

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/tenantctl/tenantctl/tenant"
)

// Point is where in a call a fault strikes.
type Point string

// The points. During cancels the call's context in its midst.
const (
	Before Point = "before"
	During Point = "during"
	After  Point = "after"
)

// midst is how many times a call asks whether its context is over before During cancels it.
const midst = 12

// Fault wraps a resource so that one of its methods (Create, Drop, Up, Down, Lock or Unlock) fails: strike is run at
// the point, and its error, if it returns one, is what the caller gets. The wrapped resource has the optional
// interfaces that r has.
func Fault(r tenant.Resource, call string, at Point, strike func(context.Context) error) tenant.Resource {
	f := &fault{Resource: r, call: call, at: at, strike: strike}
	m, migrates := r.(tenant.Migrator)
	l, locks := r.(tenant.Locker)
	c, hasLogins := r.(tenant.Credentialer)
	s, hasShell := r.(tenant.Shell)
	x, execs := r.(tenant.Execer)
	mover, latch := migrator{f, m}, locker{f, l}
	switch have := [5]bool{migrates, locks, hasLogins, hasShell, execs}; have {
	case [5]bool{}:
		return f
	case [5]bool{true}:
		return struct {
			*fault
			migrator
		}{f, mover}
	case [5]bool{true, true}:
		return struct {
			*fault
			migrator
			locker
		}{f, mover, latch}
	case [5]bool{true, true, true, true}:
		return struct {
			*fault
			migrator
			locker
			logins
			shell
		}{f, mover, latch, c, s}
	case [5]bool{true, true, true, true, true}:
		return struct {
			*fault
			migrator
			locker
			logins
			shell
			execer
		}{f, mover, latch, c, s, x}
	default:
		panic(fmt.Sprintf("tenanttest.Fault has no case for the interfaces of %T", r))
	}
}

type fault struct {
	tenant.Resource
	call   string
	at     Point
	strike func(context.Context) error
}

// around runs a call with the fault in it.
func (f *fault) around(ctx context.Context, call string, do func(context.Context) error) error {
	if call != f.call {
		return do(ctx)
	}
	if f.at == Before {
		if err := f.strike(ctx); err != nil {
			return err
		}
		return do(ctx)
	}
	inner := ctx
	if f.at == During {
		inner = Dying(ctx, midst)
	}
	err := do(inner)
	if err != nil && f.at == After {
		return err
	}
	if struck := f.strike(ctx); struck != nil {
		return struck
	}
	return err
}

func (f *fault) Create(ctx context.Context, t tenant.Tenant) error {
	return f.around(ctx, "Create", func(ctx context.Context) error { return f.Resource.Create(ctx, t) })
}

func (f *fault) Drop(ctx context.Context, t tenant.Tenant) error {
	return f.around(ctx, "Drop", func(ctx context.Context) error { return f.Resource.Drop(ctx, t) })
}

// migrator, locker and the interfaces below are what the optional interfaces add to a Resource.
type migrator struct {
	f *fault
	m tenant.Migrator
}

func (w migrator) Files(ctx context.Context) ([]tenant.MigrationFile, error) { return w.m.Files(ctx) }

func (w migrator) Check(ctx context.Context) ([]tenant.Finding, error) { return w.m.Check(ctx) }

func (w migrator) New(name string, dryRun bool) ([]string, error) { return w.m.New(name, dryRun) }

func (w migrator) Versions(ctx context.Context, ts []tenant.Tenant) ([]tenant.Version, error) {
	return w.m.Versions(ctx, ts)
}

func (w migrator) Up(ctx context.Context, t tenant.Tenant, to int64, outOfOrder bool) (moved tenant.Moved, err error) {
	err = w.f.around(ctx, "Up", func(ctx context.Context) (err error) {
		moved, err = w.m.Up(ctx, t, to, outOfOrder)
		return err
	})
	return moved, err
}

func (w migrator) Down(ctx context.Context, t tenant.Tenant, to int64) (moved tenant.Moved, err error) {
	err = w.f.around(ctx, "Down", func(ctx context.Context) (err error) {
		moved, err = w.m.Down(ctx, t, to)
		return err
	})
	return moved, err
}

type locker struct {
	f *fault
	l tenant.Locker
}

func (w locker) Lock(ctx context.Context, t tenant.Tenant) (enforced bool, err error) {
	err = w.f.around(ctx, "Lock", func(ctx context.Context) (err error) {
		enforced, err = w.l.Lock(ctx, t)
		return err
	})
	return enforced, err
}

func (w locker) Unlock(ctx context.Context, t tenant.Tenant) error {
	return w.f.around(ctx, "Unlock", func(ctx context.Context) error { return w.l.Unlock(ctx, t) })
}

type logins interface {
	Login(t tenant.Tenant) tenant.Login
	SetPassword(ctx context.Context, t tenant.Tenant, password string, seal func(context.Context) error) error
}

type shell interface {
	Command(ctx context.Context, t tenant.Tenant, o tenant.ShellOptions) (program string, args, env []string, cleanup func(), err error)
}

type execer interface {
	Exec(ctx context.Context, t tenant.Tenant, x tenant.Statement, sink tenant.RowSink) (rows int64, err error)
}

// Dying is a context that is cancelled when it has been asked n times whether it is over: a way to stop a call in its
// midst without a clock.
func Dying(ctx context.Context, n int) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	d := &dying{Context: ctx, cancel: cancel}
	d.left.Store(int64(n))
	return d
}

type dying struct {
	context.Context
	left   atomic.Int64
	cancel context.CancelFunc
}

func (d *dying) asked() {
	if d.left.Add(-1) <= 0 {
		d.cancel()
	}
}

func (d *dying) Done() <-chan struct{} {
	d.asked()
	return d.Context.Done()
}

func (d *dying) Err() error {
	d.asked()
	return d.Context.Err()
}
