package nosql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/xoptions"

	"github.com/tenantctl/tenantctl/tenant"
)

// A batch ends at whichever comes first.
const (
	batchRows  = 1000
	batchBytes = 16 << 20
)

// filling puts rows into one collection of a new database, in their order: one batch is on its way while the next one is
// gathered.
type filling struct {
	r          *Resource
	t          tenant.Tenant
	collection string
	raw        bool          // the rows are buckets of a time series that has no collection of them
	slots      chan struct{} // shared: how many batches may be on their way at once
	work       *tenant.Group // shared: what is on its way

	batch    []bson.Raw
	size     int // bytes
	underway chan error
	tally
}

// add keeps a copy of the document.
func (f *filling) add(ctx context.Context, doc bson.Raw) error {
	if f.size+len(doc) > batchBytes || len(f.batch) == batchRows {
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	f.batch = append(f.batch, bytes.Clone(doc))
	f.size += len(doc)
	f.tally.add(doc)
	return nil
}

func (f *filling) flush(ctx context.Context) error {
	if err := f.wait(); err != nil {
		return err
	}
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return failure("write into collection "+f.collection, ctx.Err())
	}
	batch, done := f.batch, make(chan error, 1)
	f.batch, f.size, f.underway = nil, 0, done
	f.work.Go(func() error {
		err := errNotSent
		defer func() {
			<-f.slots
			done <- err
		}()
		err = f.send(ctx, batch)
		return nil // done tells it
	})
	return nil
}

// errNotSent is said of a batch whose sending has panicked.
var errNotSent = errors.New("the documents were not sent")

// wait returns once no batch is on its way.
func (f *filling) wait() error {
	if f.underway == nil {
		return nil
	}
	err := <-f.underway
	f.underway = nil
	return err
}

// end sends what is left and returns once all rows are there.
func (f *filling) end(ctx context.Context) error {
	if len(f.batch) > 0 {
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	return f.wait()
}

// send inserts one batch. What the collection's validator says of rows that are there already is of no interest.
func (f *filling) send(ctx context.Context, batch []bson.Raw) error {
	docs := make([]any, len(batch))
	var frail []bson.Raw
	for i, d := range batch {
		docs[i] = d
		if hasEmptyTimestamp(d) {
			frail = append(frail, d)
		}
	}
	if len(frail) > 0 {
		// Only a newer server knows how to leave them as they are.
		err := f.insert(ctx, docs, bson.E{Key: "bypassEmptyTsReplacement", Value: true})
		if err == nil || !isCode(err, codeUnknownField, codeNotImplemented, codeFailedToParse) {
			return err
		}
	}
	if err := f.insert(ctx, docs); err != nil {
		return err
	}
	for _, d := range frail {
		if err := f.asItWas(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// insert sends the documents with more fields of the command.
func (f *filling) insert(ctx context.Context, docs []any, fields ...bson.E) error {
	opts := options.InsertMany().SetBypassDocumentValidation(true)
	if f.raw {
		fields = append(fields, bson.E{Key: "rawData", Value: true})
	}
	if len(fields) > 0 {
		if err := xoptions.SetInternalInsertManyOptions(opts, "addCommandFields", bson.D(fields)); err != nil {
			return failure("write into collection "+f.collection, err)
		}
	}
	err := write(ctx, func(ctx context.Context) error {
		_, err := f.r.db(f.t).Collection(f.collection).InsertMany(ctx, docs, opts)
		return err
	})
	if mongo.IsDuplicateKeyError(err) {
		return &tenant.Error{Kind: tenant.ErrDiffers, Store: tenant.KindMongoDB, Err: err, Msg: fmt.Sprintf("collection %s would hold two documents with one _id", f.collection)}
	}
	return failure("write into collection "+f.collection, err)
}

// hasEmptyTimestamp tells whether a field at the top is Timestamp(0, 0), in which servers put their own clock at an
// insert.
func hasEmptyTimestamp(doc bson.Raw) bool {
	if !bytes.Contains(doc, make([]byte, 9)) { // the end of the field's name and the value
		return false
	}
	elements, err := doc.Elements()
	if err != nil {
		return false
	}
	for _, e := range elements {
		if sec, inc, ok := e.Value().TimestampOK(); ok && sec == 0 && inc == 0 && e.Key() != "_id" {
			return true
		}
	}
	return false
}

// asItWas writes a document anew in which the server put its clock: no server changes the result of a pipeline.
func (f *filling) asItWas(ctx context.Context, doc bson.Raw) error {
	c, id := f.r.db(f.t).Collection(f.collection), bson.D{{Key: "_id", Value: doc.Lookup("_id")}}
	for again := range 2 {
		have, err := c.FindOne(ctx, id).Raw()
		if err != nil {
			return failure("read collection "+f.collection, err)
		}
		if bytes.Equal(have, doc) {
			return nil
		}
		if again > 0 {
			break
		}
		whole := mongo.Pipeline{{{Key: "$replaceRoot", Value: bson.D{{Key: "newRoot", Value: bson.D{{Key: "$literal", Value: doc}}}}}}}
		err = write(ctx, func(ctx context.Context) error {
			_, err := c.UpdateOne(ctx, id, whole, options.UpdateOne().SetBypassDocumentValidation(true))
			return err
		})
		if _, spoke := answerOf(err); spoke && !passes(err) {
			break // the server knows no pipelines in updates
		}
		if err != nil {
			return failure("write into collection "+f.collection, err)
		}
	}
	return refused(tenant.ErrUnsupported, "load it into MongoDB 4.2 or newer", "the server changes the empty timestamps of collection %s when they are written", f.collection)
}

// settle makes the place of a tenant: its mark, then its user where it is to have one. What is there already is refused.
// point begins the names of the checkpoints; keeps tells whether the server keeps users.
func (r *Resource) settle(ctx context.Context, t tenant.Tenant, withUser bool, point string) (keeps bool, err error) {
	u, err := r.user(ctx, t)
	if err != nil {
		return false, err
	}
	if u.presence == tenant.Foreign {
		return u.kept, foreignUser(t, "drop that user, or give this tenant another name")
	}
	s, err := r.look(ctx, t)
	if err != nil {
		return u.kept, err
	}
	switch s.presence {
	case tenant.Ours:
		return u.kept, refused(tenant.ErrExists, "delete the tenant first, or use another name", "database %q is there already", t.Database)
	case tenant.Foreign:
		return u.kept, s.ours(t)
	}
	if err := r.claim(ctx, t); err != nil {
		return u.kept, err
	}
	if err := tenant.Checkpoint(ctx, point+"-mark"); err != nil {
		return u.kept, err
	}
	if !withUser || !u.kept {
		return u.kept, nil
	}
	if err := r.ensureUser(ctx, t, u); err != nil {
		return true, err
	}
	return true, tenant.Checkpoint(ctx, point+"-user")
}

// systemOnly tells the name of a collection that no tenant may fill.
func systemOnly(name string) bool {
	return strings.HasPrefix(name, "system.") || strings.HasPrefix(name, "$")
}
