package nosql

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// routerCache is how long a mongos goes by what it knows of a user, unless it is set to something else.
const routerCache = 30 * time.Second

// awaitRouters returns once each mongos of a sharded cluster has seen a change of a user, which only the one that
// made it sees at once. Until then the others let the user work on as before.
func (r *Resource) awaitRouters(ctx context.Context) error {
	g, err := hello(ctx, r.client)
	if err != nil || g.Router != routerName {
		return failure("greet the server", err)
	}
	wait := routerCache
	var reply struct {
		Seconds float64 `bson:"userCacheInvalidationIntervalSecs"` // servers give any type of number
	}
	asks := bson.D{{Key: "getParameter", Value: 1}, {Key: "userCacheInvalidationIntervalSecs", Value: 1}}
	err = r.client.Database("admin").RunCommand(ctx, asks).Decode(&reply)
	if _, spoke := answerOf(err); err != nil && !spoke {
		return failure("ask how long a mongos keeps what it knows of users", err)
	}
	if reply.Seconds > 0 {
		wait = time.Duration(reply.Seconds * float64(time.Second))
	}
	r.waits.Do(func() {
		if r.cfg.Warn != nil {
			r.cfg.Warn(fmt.Sprintf(
				"this is a sharded cluster: each tenant is locked out after %s, when every mongos knows of it", wait))
		}
	})
	return r.sleep(ctx, wait)
}

// pause waits, unless it is interrupted.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return &tenant.Error{
			Kind: tenant.ErrInterrupted, Store: tenant.KindMongoDB, Err: ctx.Err(),
			Msg: "wait until every mongos knows of the lock-out: interrupted",
		}
	case <-time.After(d):
		return nil
	}
}
