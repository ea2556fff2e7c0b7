package nosql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/tenantctl/tenantctl/tenant"
)

// Wire versions of MongoDB.
const (
	wireSnapshot       = 13 // 5.0: reads at a moment outside transactions
	wireSnapshotCapped = 25 // 8.0: of capped collections too
)

// reading is a tenant's database as it is read: all of it at one moment where the server can give that.
type reading struct {
	r     *Resource
	t     tenant.Tenant
	wire  int
	at    *bson.Timestamp // the moment; nil for the present
	since time.Time       // when it was chosen, by this machine's clock
	defs  []definition    // as they were at that moment
	notes []string

	sharded []string // what is said of the shard keys, which no copy has
}

// read chooses the moment, with the definitions that hold at it. Those cannot be read at a moment themselves, so they
// must be the same before and after the choice.
func (r *Resource) read(ctx context.Context, t tenant.Tenant) (*reading, error) {
	const attempts = 5
	g, err := hello(ctx, r.client)
	if err != nil {
		return nil, failure("greet the server", err)
	}
	v := &reading{r: r, t: t, wire: g.WireVersion}
	if g.Router == routerName {
		if v.sharded, err = r.shardKeys(ctx, t); err != nil {
			return nil, err
		}
	}
	able := g.WireVersion >= wireSnapshot && (g.SetName != "" || g.Router == routerName)
	var before []definition
	if able {
		if before, _, err = r.wholeDefinitions(ctx, t); err != nil {
			return nil, err
		}
	}
	for range attempts {
		v.since = time.Now()
		if able {
			v.at, err = r.moment(ctx, t)
			if err != nil && !isCode(err, codeSnapshotUnavailable) {
				return nil, failure("begin a snapshot", err)
			}
			able = v.at != nil || err != nil
		}
		var left []string
		v.defs, left, err = r.wholeDefinitions(ctx, t)
		if err != nil {
			return nil, err
		}
		if !able || v.at != nil && sameDefinitions(before, v.defs) {
			v.note(left)
			return v, nil
		}
		before = v.defs
	}
	return nil, refused(tenant.ErrBusy, "run the same command again when nothing makes or drops collections or indexes", "the collections of database %q changed while a snapshot was begun", t.Database)
}

// moment is the newest point in time that the server can read at; nil where it gives none.
func (r *Resource) moment(ctx context.Context, t tenant.Tenant) (*bson.Timestamp, error) {
	var reply struct {
		Cursor struct {
			At *bson.Timestamp `bson:"atClusterTime"`
		} `bson:"cursor"`
	}
	err := r.db(t).RunCommand(ctx, bson.D{
		{Key: "find", Value: ownCollection},
		{Key: "filter", Value: bson.D{{Key: "_id", Value: ownerID}}},
		{Key: "singleBatch", Value: true},
		{Key: "readConcern", Value: bson.D{{Key: "level", Value: "snapshot"}}},
	}).Decode(&reply)
	if unknownCommand(err) || isCode(err, codeInvalidOptions) {
		return nil, nil
	}
	return reply.Cursor.At, err
}

// note says what a reader must know of how it was read.
func (v *reading) note(left []string) {
	if v.at == nil {
		v.notes = append(v.notes, "the server gives no snapshot: the collections were read one after the other")
	}
	var apart []string
	for _, d := range v.defs {
		if v.at != nil && v.apart(d) {
			apart = append(apart, d.Name)
		}
	}
	if len(apart) > 0 {
		v.notes = append(v.notes, "read outside the snapshot, which this server does not give for capped collections: "+strings.Join(apart, ", "))
	}
	v.notes = append(v.notes, v.sharded...)
	if len(left) > 0 {
		v.notes = append(v.notes, "left out, the server's own: "+strings.Join(left, ", "))
	}
}

// apart tells a collection that cannot be read at the moment.
func (v *reading) apart(d definition) bool {
	return isTrue(d.Options, "capped") && v.wire < wireSnapshotCapped
}

// whole tells whether everything is read at the moment.
func (v *reading) whole() bool {
	for _, d := range v.defs {
		if v.apart(d) {
			return false
		}
	}
	return v.at != nil
}

// each hands over the documents of a collection as the server sent them, in the order that they are stored in; take
// must not keep them. Of our own collection there is the progress alone.
func (v *reading) each(ctx context.Context, d definition, take func(bson.Raw) error) error {
	return v.find(ctx, d, d.rows(), take)
}

// find reads from the collection itself or from the one that holds its rows.
func (v *reading) find(ctx context.Context, d definition, collection string, take func(bson.Raw) error) error {
	filter := bson.D{}
	if d.Name == ownCollection {
		filter = bson.D{{Key: "_id", Value: progressID}}
	}
	cmd := bson.D{{Key: "find", Value: collection}, {Key: "filter", Value: filter}}
	if v.at != nil && !v.apart(d) {
		cmd = append(cmd, bson.E{Key: "readConcern", Value: bson.D{{Key: "level", Value: "snapshot"}, {Key: "atClusterTime", Value: *v.at}}})
	}
	if d.bucketless {
		cmd = append(cmd, bson.E{Key: "rawData", Value: true})
	}
	cursor, err := v.r.db(v.t).RunCommandCursor(ctx, cmd)
	if err != nil {
		return readFailure(d.Name, err)
	}
	// What it returns says no more than what ended the loop.
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }()
	for cursor.Next(ctx) {
		if err := take(cursor.Current); err != nil {
			return err
		}
	}
	return readFailure(d.Name, cursor.Err())
}

// isEmpty tells whether a collection has no row, seen as its users see it.
func (v *reading) isEmpty(ctx context.Context, d definition) (bool, error) {
	err := v.r.db(v.t).Collection(d.Name).FindOne(ctx, bson.D{}).Err()
	if err == nil {
		return false, nil
	}
	if errors.Is(err, mongo.ErrNoDocuments) {
		return true, nil
	}
	return false, readFailure(d.Name, err)
}

// readFailure names what helps where the server forgot the moment.
func readFailure(collection string, err error) error {
	doing := "read collection " + collection
	switch {
	case isCode(err, codeSnapshotTooOld):
		return &tenant.Error{
			Kind: tenant.ErrUnsupported, Code: "SnapshotTooOld", Store: tenant.KindMongoDB, Err: err,
			Msg:  doing + ": the server no longer knows the moment that is read at",
			Hint: "let it remember for longer: db.adminCommand({setParameter: 1, minSnapshotHistoryWindowInSeconds: 3600})",
		}
	case isCode(err, codeSnapshotUnavailable):
		return &tenant.Error{
			Kind: tenant.ErrBusy, Code: "SnapshotUnavailable", Store: tenant.KindMongoDB, Err: err,
			Msg:  doing + ": it or an index of it was changed meanwhile",
			Hint: "run the same command again when nothing makes or drops collections or indexes",
		}
	}
	return failure(doing, err)
}

// serverName is the kind of server and its version, such as "MongoDB 7.0.14".
func (r *Resource) serverName(ctx context.Context) (string, error) {
	b, err := r.build(ctx)
	if isCode(err, codeUnauthorized) || notHere(err) { // some servers tell their version to administrators alone
		return "MongoDB of unknown version", nil
	}
	if err != nil {
		return "", failure("ask for the server's version", err)
	}
	if b.isFerret() {
		return fmt.Sprintf("FerretDB %s", b.ferretVersion()), nil
	}
	return "MongoDB " + b.Version, nil
}
