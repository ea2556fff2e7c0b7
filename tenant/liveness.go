package tenant

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

type actorKey struct{}

// WithActor makes the work done under a context an actor's: who asked for it, as the operations and the audit name it.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// actorOf is who asked for the work: the context's actor, or the catalog's own where that has none.
func (c *Catalog) actorOf(ctx context.Context) string {
	if actor, _ := ctx.Value(actorKey{}).(string); actor != "" {
		return actor
	}
	return c.actor
}

// works are the operations that goroutines of this process work on. Leases of others are not renewed: what a goroutine has
// left can be taken over, however long the process lives.
type works struct {
	mu   sync.Mutex
	list map[uuid.UUID]*work
}

type work struct {
	op    Operation // as it was when the work began
	since time.Time
	hands int
	told  bool // that it is slow
}

// working enters an operation that the calling goroutine works on, until over is called.
func (c *Catalog) working(op *Operation) (over func()) {
	w := &c.works
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.list == nil {
		w.list = map[uuid.UUID]*work{}
	}
	id := op.ID
	if w.list[id] == nil {
		w.list[id] = &work{op: Operation{ID: id, Kind: op.Kind, Tenant: op.Tenant, TenantID: op.TenantID}, since: time.Now()}
	}
	w.list[id].hands++
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.list[id].hands--; w.list[id].hands == 0 {
			delete(w.list, id)
		}
	})
}

// workedOn gives the ids of the operations in work, and logs each that has become slow, once.
func (c *Catalog) workedOn() []string {
	c.works.mu.Lock()
	defer c.works.mu.Unlock()
	ids := []string{}
	for id, w := range c.works.list {
		ids = append(ids, id.String())
		if limit := w.op.slowAfter(); !w.told && time.Since(w.since) > limit {
			w.told = true
			c.log.Warn("an operation is slow", "operation", ShortID(id), "kind", w.op.Kind, "tenant", string(w.op.Tenant), "longer_than", limit.String())
		}
	}
	return ids
}

// slowAfter is how long an operation of its kind may take before it is told as slow. Nothing is ended by it.
func (o *Operation) slowAfter() time.Duration {
	if o.TenantID == nil && o.Run == nil && o.Kind != OpProbe { // a fleet run, or an import
		return 12 * time.Hour
	}
	switch o.Kind {
	case OpSet, OpRename, OpPassword, OpSuspend, OpResume, OpUndelete:
		return time.Minute
	case OpBackup, OpDelete, OpRestore, OpTest, OpClone, OpRehearse, OpImport, OpProbe:
		return 2 * time.Hour
	}
	return 15 * time.Minute
}

// slow tells whether an operation is in work for longer than its kind should take.
func (o *Operation) slow() bool {
	return (o.State == OpRunning || o.State == OpUndoing) && !o.Interrupted && o.StartedAt != nil && o.Duration() > o.slowAfter()
}

// safely does f, and makes an error of a panic in it. Where it came from is logged for who looks for it.
func (s *Service) safely(doing string, name Name, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = s.panicked(doing, name, r)
		}
	}()
	return f()
}

// panicked is the error that stands for a panic.
func (s *Service) panicked(doing string, name Name, r any) error {
	p := caught(r)
	s.log.Error("a fault of this program ended the work", "in", doing, "tenant", string(name), "fault", p.Error())
	s.log.Debug("where the fault was", "stack", p.Stack)
	return &Error{Code: "panic", Tenant: name, Msg: fmt.Sprintf("%s was ended by a fault of this program: %v", doing, p), Hint: "report it, with what --log-level debug shows"}
}
