package nosql

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/tenantctl/tenantctl/tenant"
)

// grace is how long a write that was sent is waited for once its context has ended.
const grace = 10 * time.Second

// write is the one way to change anything: it makes sure first that the operation is still this process's, and lets an
// effect that is on its way arrive. One that is abandoned may land later than what undoes it.
func write(ctx context.Context, effect func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := catalog(tenant.LeaseFrom(ctx).Current(ctx)); err != nil {
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

// send writes by a command, and waits for as many servers as the client's other writes do: of a command that is run as it
// is, the driver leaves that to whoever wrote it.
func (r *Resource) send(ctx context.Context, db *mongo.Database, cmd bson.D) error {
	cmd = r.concerned(cmd)
	return write(ctx, func(ctx context.Context) error { return db.RunCommand(ctx, cmd).Err() })
}

// concernedCommands are those that take a write concern. An aggregate takes one too: a migration's ends with $out or $merge.
var concernedCommands = []string{
	"create", "drop", "dropDatabase", "collMod", "convertToCapped", "renameCollection", "createIndexes", "dropIndexes",
	"insert", "update", "delete", "findAndModify", "aggregate", "createUser", "updateUser", "dropUser",
}

// concerned is a command with the write concern of the client, unless it has one of its own.
func (r *Resource) concerned(cmd bson.D) bson.D {
	if lookup(cmd, "writeConcern") != nil || !slices.Contains(concernedCommands, cmd[0].Key) {
		return cmd
	}
	return append(slices.Clone(cmd), bson.E{Key: "writeConcern", Value: r.concern})
}

// concernOf is a write concern as commands have it.
func concernOf(w *writeconcern.WriteConcern) bson.D {
	concern := bson.D{}
	if w.W != nil {
		concern = append(concern, bson.E{Key: "w", Value: w.W})
	}
	if w.Journal != nil {
		concern = append(concern, bson.E{Key: "j", Value: *w.Journal})
	}
	return concern
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
