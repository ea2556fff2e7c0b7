package nosql

import (
	"bytes"
	"context"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// copiers is how many collections are copied at once.
const copiers = 4

// Clone makes the database of to, with its user, as a copy of from's, whose rows are read at one moment where the server
// gives a snapshot. They go through here in batches: a $merge by the server itself would read at no one moment, and
// would go on writing when this process is long dead and its work undone. What a failed clone leaves is to's, and Drop
// takes it away.
func (r *Resource) Clone(ctx context.Context, from, to tenant.Tenant, data bool) error {
	s, err := r.look(ctx, from)
	if err != nil {
		return err
	}
	if err := s.ours(from); err != nil {
		return err
	}
	if _, err := r.settle(ctx, to, true, "mongodb/cloned"); err != nil {
		return err
	}
	v, err := r.read(ctx, from)
	if err != nil {
		return err
	}
	for _, note := range append(v.modernize(), v.sharded...) {
		if r.cfg.Warn != nil {
			r.cfg.Warn(strings.Replace(note, "DATABASE", to.Database, 1))
		}
	}
	for _, d := range v.defs {
		if d.Name == ownCollection {
			continue // made with the mark
		}
		if err := r.createDefinition(ctx, to, d); err != nil {
			return err
		}
	}
	if err := tenant.Checkpoint(ctx, "mongodb/cloned-definitions"); err != nil {
		return err
	}
	c := copying{reading: v, to: to, slots: make(chan struct{}, copiers)}
	c.work, _ = tenant.NewGroup(ctx)
	workers, wctx := tenant.NewGroup(ctx)
	workers.SetLimit(copiers)
	for _, d := range v.defs {
		workers.Go(func() error { return c.collection(wctx, d, data) })
	}
	err = workers.Wait()
	_ = c.work.Wait() // the workers have told of errors
	if err != nil {
		return err
	}
	if err := tenant.Checkpoint(ctx, "mongodb/cloned-rows"); err != nil {
		return err
	}
	defs, _, err := r.definitions(ctx, to)
	if err != nil {
		return err
	}
	if structure(defs) != structure(v.defs) {
		return refused(tenant.ErrDiffers, "run the same command again", "the collections and indexes of database %q are not those of database %q", to.Database, from.Database)
	}
	// Last, so that a copy that is not whole never looks like one.
	err = v.each(ctx, definition{Name: ownCollection, Type: typeCollection}, func(doc bson.Raw) error {
		return r.putProgress(ctx, to, bytes.Clone(doc))
	})
	if err != nil {
		return err
	}
	return tenant.Checkpoint(ctx, "mongodb/cloned-progress")
}

// copying is a clone at work.
type copying struct {
	*reading
	to    tenant.Tenant
	slots chan struct{}
	work  *tenant.Group
}

// collection copies the rows, then builds the indexes.
func (c *copying) collection(ctx context.Context, d definition, data bool) error {
	if d.rows() != "" && d.Name != ownCollection && (data || isBook(d.Name)) {
		f := &filling{r: c.r, t: c.to, collection: d.rows(), raw: d.bucketless, slots: c.slots, work: c.work}
		if err := c.each(ctx, d, func(doc bson.Raw) error { return f.add(ctx, doc) }); err != nil {
			return err
		}
		if err := f.end(ctx); err != nil {
			return err
		}
	}
	return c.r.buildIndexes(ctx, c.to, d)
}
