package tenant

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Group is an errgroup.Group in which a panic reaches the goroutine that waits, and not the end of the process. Whoever
// recovers there, as an operation and a command do, logs it and leaves what was in work to be resumed.
type Group struct {
	of       *errgroup.Group
	panicked atomic.Pointer[Panic] // the first
}

// NewGroup is a Group, with a context that ends with the first error or panic.
func NewGroup(ctx context.Context) (*Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	return &Group{of: g}, ctx
}

// SetLimit is how many goroutines are at work at once.
func (g *Group) SetLimit(n int) { g.of.SetLimit(n) }

// Go does f in a goroutine of its own.
func (g *Group) Go(f func() error) {
	g.of.Go(func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				p := caught(r)
				g.panicked.CompareAndSwap(nil, p)
				err = p
			}
		}()
		return f()
	})
}

// Wait waits for all of them, gives the first error, and panics where one of them did.
func (g *Group) Wait() error {
	err := g.of.Wait()
	if p := g.panicked.Load(); p != nil {
		panic(p)
	}
	return err
}

// Panic is a panic that was carried from one goroutine to another, and where it was.
type Panic struct {
	Value any
	Stack string
}

func (p *Panic) Error() string { return fmt.Sprint(p.Value) }

// caught is what a goroutine recovered: one that was carried before keeps its place.
func caught(r any) *Panic {
	if p, ok := r.(*Panic); ok {
		return p
	}
	return &Panic{Value: r, Stack: string(debug.Stack())}
}
