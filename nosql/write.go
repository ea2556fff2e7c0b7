package nosql

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/tenantctl/tenantctl/tenant"
)

// grace is how long a write that was sent is waited for once its context has ended.
const grace = 10 * time.Second

// write is the one way to change anything: it asks the catalog first whether the operation is still this process's,
// and lets an effect that is on its way arrive. One that is abandoned may land later than what undoes it.
func write(ctx context.Context, effect func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := catalog(tenant.LeaseFrom(ctx).Check(ctx)); err != nil {
		return err
	}
	patient, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, end)
		context.AfterFunc(patient, func() { timer.Stop() })
	})
	defer stop()
	return effect(patient)
}

// send writes by a command.
func send(ctx context.Context, db *mongo.Database, cmd bson.D) error {
	return write(ctx, func(ctx context.Context) error { return db.RunCommand(ctx, cmd).Err() })
}

// record tells the catalog what is applied now.
func record(ctx context.Context, t tenant.Tenant, applied []int64) error {
	return catalog(tenant.LeaseFrom(ctx).Record(ctx, t.ID, tenant.KindMongoDB, newest(applied), len(applied)))
}

// catalog says of an error from the lease that the catalog is concerned.
func catalog(err error) error {
	var ours *tenant.Error
	switch {
	case err == nil, errors.As(err, &ours):
		return err
	case errors.Is(err, context.Canceled):
		return &tenant.Error{Kind: tenant.ErrInterrupted, Store: "catalog", Msg: "ask for the lease: interrupted", Err: err}
	}
	return &tenant.Error{Kind: tenant.ErrUnreachable, Store: "catalog", Msg: "the catalog does not answer", Hint: "is PostgreSQL up? then run the same command again", Err: err}
}
