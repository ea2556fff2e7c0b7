package tenant

import (
	"context"
	"time"
)

// What the model of the operation log does with an operation, as the use cases do it.

func (c *Catalog) Self() string { return c.self.String() }

func (c *Catalog) EndDone(ctx context.Context, op *Operation) error {
	return c.finish(ctx, op, OpDone, nil, nil)
}

func (c *Catalog) EndUndone(ctx context.Context, op *Operation) error {
	return c.finish(ctx, op, OpUndone, nil, nil)
}

func (c *Catalog) Turn(ctx context.Context, op *Operation, state OpState) (bool, error) {
	return c.turn(ctx, op, state, nil, nil)
}

func (c *Catalog) Settle(ctx context.Context, op *Operation) (bool, error) { return c.settled(ctx, op) }

func (c *Catalog) TakeOver(ctx context.Context, op *Operation) (*Operation, error) {
	return c.takeOver(ctx, op)
}

func (c *Catalog) CloseAbandoned(ctx context.Context, op *Operation) error {
	return c.closeDead(ctx, op)
}

func (c *Catalog) Note(ctx context.Context, op *Operation) error {
	return c.note(ctx, op, false, mark{position: 0, name: "step", state: "done"})
}

// InitOnly brings the catalog to a version and looks at nothing before.
func (c *Catalog) InitOnly(ctx context.Context, version int64) error {
	from, err := c.Version(ctx)
	if err != nil {
		return err
	}
	if err := c.makeSchema(ctx, from); err != nil {
		return err
	}
	return c.bringTo(ctx, version)
}

func (c *Catalog) Renew(ctx context.Context) error { return c.renew(ctx, c.pool) }

// Age lets what this process works on have begun earlier.
func (c *Catalog) Age(by time.Duration) {
	c.works.mu.Lock()
	defer c.works.mu.Unlock()
	for _, w := range c.works.list {
		w.since = w.since.Add(-by)
	}
}
