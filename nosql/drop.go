package nosql

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// Drop takes away the tenant's users, then every collection, and the mark last: what a crash leaves is still known as ours.
func (r *Resource) Drop(ctx context.Context, t tenant.Tenant) error {
	s, err := r.look(ctx, t)
	if err != nil {
		return err
	}
	u, err := r.user(ctx, t)
	switch {
	case err != nil:
		return err
	case s.presence == tenant.Foreign:
		return refused(tenant.ErrForeign, tenant.HintNotOwned, "database %q does not bear the tenant's ownership tag, and is left as it is", t.Database)
	case u.presence == tenant.Foreign:
		return foreignUser(t, tenant.HintNotOwned)
	}
	if err := r.dropUsers(ctx, t); err != nil {
		return err
	}
	if err := tenant.Checkpoint(ctx, "mongodb/user-dropped"); err != nil {
		return err
	}
	switch s.presence {
	case tenant.Absent: // a server that crashed may have left the bare name
		if there, err := r.listed(ctx, t); err != nil || !there {
			return err
		}
	case tenant.Ours:
		if err := r.dropCollections(ctx, t); err != nil {
			return err
		}
		if err := tenant.Checkpoint(ctx, "mongodb/collections-dropped"); err != nil {
			return err
		}
	}
	return r.dropDatabase(ctx, t, s.presence)
}

// dropDatabase asks whose the database is at the last moment, for its collections took their time, and gives the drop up where
// another process may take the operation over.
func (r *Resource) dropDatabase(ctx context.Context, t tenant.Tenant, was tenant.Presence) error {
	left, err := tenant.LeaseFrom(ctx).Remaining(ctx)
	if err != nil {
		return catalog(err)
	}
	return r.dropWithin(ctx, t, was, left)
}

// dropWithin gives up after what is left of a lease; 0 is for ever.
func (r *Resource) dropWithin(ctx context.Context, t tenant.Tenant, was tenant.Presence, left time.Duration) error {
	until := time.Now().Add(left)
	if left < 0 {
		return refused(tenant.ErrBusy, "run the same command again", "the lease of the operation ran out before database %q was dropped", t.Database)
	}
	now, err := r.look(ctx, t)
	if err != nil {
		return err
	}
	if now.presence != was {
		return refused(tenant.ErrForeign, tenant.HintNotOwned, "database %q is not any more what it was when its drop began, and is left as it is", t.Database)
	}
	drop := func(ctx context.Context) error {
		if left > 0 {
			var end context.CancelFunc
			ctx, end = context.WithDeadline(ctx, until)
			defer end()
		}
		return r.db(t).Drop(ctx)
	}
	doing := fmt.Sprintf("drop database %q", t.Database)
	if err := write(ctx, drop); err != nil {
		return failure(doing, err)
	}
	g, err := hello(ctx, r.client)
	if err != nil || g.Router != routerName || g.WireVersion >= wireSnapshot {
		return failure("greet the server", err)
	}
	// Before 5.0 one drop may leave parts on other shards, and what routers know of the database outlives it.
	if err := write(ctx, drop); err != nil {
		return failure(doing, err)
	}
	err = r.client.Database("admin").RunCommand(ctx, bson.D{{Key: "flushRouterConfig", Value: t.Database}}).Err()
	if isCode(err, codeUnauthorized) && r.cfg.Warn != nil {
		r.cfg.Warn(fmt.Sprintf("run db.adminCommand({flushRouterConfig: %q}) on each mongos before the name is used again", t.Database))
		return nil
	}
	return failure("flush what the router knows of database "+t.Database, err)
}

// listed tells whether the server has a database of that very name.
func (r *Resource) listed(ctx context.Context, t tenant.Tenant) (bool, error) {
	names, err := r.client.ListDatabaseNames(ctx, bson.D{{Key: "name", Value: t.Database}})
	return slices.Contains(names, t.Database), failure("list databases", err)
}

func (r *Resource) dropCollections(ctx context.Context, t tenant.Tenant) error {
	all, err := r.collections(ctx, t)
	if err != nil {
		return err
	}
	for _, name := range all {
		if name == ownCollection {
			continue
		}
		// The driver takes a collection that is gone already for dropped.
		err := write(ctx, func(ctx context.Context) error { return r.db(t).Collection(name).Drop(ctx) })
		if err != nil {
			return failure("drop collection "+name, err)
		}
	}
	return nil
}
