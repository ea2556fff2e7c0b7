package nosql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/tenantctl/tenantctl/tenant"
)

// command is one database command of a migration.
type command struct {
	name       string
	collection string // the command's own value
	body       bson.D
	raw        bson.Raw
	line       int
	relaxed    bool // golang-migrate, which reads canonical Extended JSON, would refuse it
}

// String is the command without its values.
func (c command) String() string { return c.name + " " + c.collection }

func (c command) field(key string) any {
	for _, e := range c.body[1:] {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

// with is the command with another value in a field that it has.
func (c command) with(key string, value any) command {
	c.body = slices.Clone(c.body)
	for i := range c.body {
		if c.body[i].Key == key {
			c.body[i].Value = value
		}
	}
	return c
}

// documents are the elements of an array field that are documents.
func (c command) documents(key string) []bson.D {
	list, _ := c.field(key).(bson.A)
	var docs []bson.D
	for _, v := range list {
		if d, ok := v.(bson.D); ok {
			docs = append(docs, d)
		}
	}
	return docs
}

// execute runs one command such that running it once more, after a crash at any point, gives the same end.
func (r *Resource) execute(ctx context.Context, t tenant.Tenant, c command, b *book) error {
	switch c.name {
	case "create":
		return r.create(ctx, t, c)
	case "createIndexes":
		return r.createIndexes(ctx, t, c)
	case "drop":
		if err := r.run(ctx, t, c); !isCode(err, codeNamespaceNotFound) {
			return err
		}
		return nil
	case "dropIndexes":
		return r.dropIndexes(ctx, t, c)
	case "renameCollection":
		return r.rename(ctx, t, c, b)
	case "insert":
		return r.insert(ctx, t, c)
	}
	return r.run(ctx, t, c)
}

// run sends the command as it is written. The driver takes writeErrors and writeConcernError of a reply for errors.
func (r *Resource) run(ctx context.Context, t tenant.Tenant, c command) error {
	return r.send(ctx, r.db(t), c.body)
}

// create takes a collection that is there already with the same options for its own.
func (r *Resource) create(ctx context.Context, t tenant.Tenant, c command) error {
	err := r.run(ctx, t, c)
	if !isCode(err, codeNamespaceExists) {
		return err
	}
	specs, listErr := r.db(t).ListCollectionSpecifications(ctx, bson.D{{Key: "name", Value: c.collection}})
	if listErr != nil {
		return listErr
	}
	if len(specs) == 0 {
		return err
	}
	var have bson.D
	if err := bson.Unmarshal(specs[0].Options, &have); err != nil {
		return err
	}
	want := slices.DeleteFunc(slices.Clone(c.body[1:]), func(e bson.E) bool {
		return slices.Contains([]string{"comment", "writeConcern", "maxTimeMS", "idIndex"}, e.Key)
	})
	if sameOptions(have, want) {
		return nil
	}
	return coded(tenant.ErrMigration, "NamespaceExists", "drop it, or bring it to these options with collMod", "collection %s exists with the options %s, not %s",
		c.collection, show(have), show(want))
}

// sameOptions compares what listCollections tells with what create asks for: the server fills in what is not asked.
func sameOptions(have, want bson.D) bool {
	defaults := bson.D{{Key: "validationLevel", Value: "strict"}, {Key: "validationAction", Value: "error"}}
	for _, w := range want {
		h := lookup(have, w.Key)
		switch w.Key {
		case "collation", "timeseries", "clusteredIndex", "changeStreamPreAndPostImages", "encryptedFields", "storageEngine":
			if !contains(h, w.Value) {
				return false
			}
		case "size": // rounded up to a multiple of 256 by MongoDB
			hn, hok := number(h)
			wn, wok := number(w.Value)
			if !hok || !wok || hn < wn || hn-wn >= 256 {
				return false
			}
		default:
			if w.Value == false && h == nil {
				continue
			}
			if d := lookup(defaults, w.Key); h == nil && d != nil && equal(d, w.Value) {
				continue
			}
			if !equal(h, w.Value) {
				return false
			}
		}
	}
	for _, h := range have {
		if lookup(want, h.Key) == nil && h.Value != false && !equal(h.Value, lookup(defaults, h.Key)) {
			return false
		}
	}
	return true
}

// createIndexes makes the indexes that are missing and takes one that is there already with the same definition for its
// own. Servers are not to be relied on here: one takes an index of the same name for the same, and cannot go on where
// a crash left only some of several. All is well where there are as many more indexes as are asked for.
func (r *Resource) createIndexes(ctx context.Context, t tenant.Tenant, c command) error {
	var made struct {
		Before int `bson:"numIndexesBefore"`
		After  int `bson:"numIndexesAfter"`
	}
	cmd := r.concerned(c.body)
	first := write(ctx, func(ctx context.Context) error { return r.db(t).RunCommand(ctx, cmd).Decode(&made) })
	asked, _ := c.field("indexes").(bson.A)
	switch {
	case first == nil && len(asked) > 0 && made.After-made.Before == len(asked):
		return nil
	case ctx.Err() != nil, first != nil && !mongo.IsNetworkError(first) && !isCode(first, codeIndexOptions, codeIndexKeys, codeInternalError):
		return first // FerretDB 1 ends the connection where some of the indexes are there
	}
	existing, err := r.indexes(ctx, t, c.collection)
	if err != nil {
		return err
	}
	wanted, _ := c.field("indexes").(bson.A)
	missing := bson.A{}
	for _, v := range wanted {
		w, _ := v.(bson.D)
		there := false
		for _, h := range existing {
			if equal(lookup(h, "name"), lookup(w, "name")) && compareIndexes(h, w) == indexesDiffer {
				return indexConflict(c, h, w)
			}
			there = there || sameIndex(h, w)
		}
		if !there {
			missing = append(missing, v)
		}
	}
	if len(missing) == 0 && len(wanted) > 0 {
		return nil
	}
	c = c.with("indexes", missing)
	err = r.run(ctx, t, c)
	if !isCode(err, codeIndexOptions, codeIndexKeys) {
		return err
	}
	for _, w := range c.documents("indexes") {
		for _, h := range existing {
			if equal(lookup(h, "name"), lookup(w, "name")) || sameKeys(h, w) {
				return indexConflict(c, h, w)
			}
		}
	}
	return err
}

func indexConflict(c command, have, want bson.D) error {
	code := "IndexOptionsConflict"
	if equal(lookup(have, "name"), lookup(want, "name")) && !sameKeys(have, want) {
		code = "IndexKeySpecsConflict"
	}
	return coded(tenant.ErrMigration, code, "drop that index in a migration before this one, or give this one its definition",
		"collection %s has the index %s, not %s", c.collection, show(have), show(want))
}

func (r *Resource) indexes(ctx context.Context, t tenant.Tenant, collection string) ([]bson.D, error) {
	cursor, err := r.db(t).Collection(collection).Indexes().List(ctx)
	if isCode(err, codeNamespaceNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []bson.D
	if err := cursor.All(ctx, &all); err != nil {
		return nil, err
	}
	for i := range all {
		all[i] = slices.DeleteFunc(all[i], func(e bson.E) bool { return e.Key == "v" || e.Key == "ns" })
	}
	return all, nil
}

// dropIndexes takes what is gone already for dropped. Of several, the server drops none where one is missing.
func (r *Resource) dropIndexes(ctx context.Context, t tenant.Tenant, c command) error {
	err := r.run(ctx, t, c)
	switch {
	case isCode(err, codeNamespaceNotFound):
		return nil
	case !isCode(err, codeIndexNotFound):
		return err
	}
	names, several := c.field("index").(bson.A)
	if !several {
		return nil
	}
	for _, name := range names {
		one := bson.D{{Key: c.name, Value: c.collection}, {Key: "index", Value: name}}
		if err := r.send(ctx, r.db(t), one); err != nil && !isCode(err, codeIndexNotFound, codeNamespaceNotFound) {
			return err
		}
	}
	return nil
}

// rename notes first that the source is there: only then is a source that is gone a rename that was done.
func (r *Resource) rename(ctx context.Context, t tenant.Tenant, c command, b *book) error {
	to, _ := c.field("to").(string)
	if !b.progress.Running.Renaming {
		there, err := r.exists(ctx, t, c.collection)
		if err != nil {
			return err
		}
		if !there {
			return coded(tenant.ErrMigration, "NamespaceNotFound", "", "there is no collection %s to rename", c.collection)
		}
		b.progress.Running.Renaming = true
		if err := r.writeProgress(ctx, t, b); err != nil {
			return err
		}
	}
	whole := c.with(c.name, t.Database+"."+c.collection).with("to", t.Database+"."+to)
	err := r.send(ctx, r.client.Database("admin"), whole.body)
	if !isCode(err, codeNamespaceNotFound) {
		return err
	}
	there, listErr := r.exists(ctx, t, to)
	if listErr != nil {
		return listErr
	}
	if there {
		return nil
	}
	return err
}

func (r *Resource) exists(ctx context.Context, t tenant.Tenant, collection string) (bool, error) {
	names, err := r.db(t).ListCollectionNames(ctx, bson.D{{Key: "name", Value: collection}})
	return slices.Contains(names, collection), err
}

// insert takes a document that is there already, byte for byte, for its own.
func (r *Resource) insert(ctx context.Context, t tenant.Tenant, c command) error {
	docs := c.documents("documents")
	ordered := c.field("ordered") != false
	for {
		err := r.run(ctx, t, c)
		var failed mongo.WriteException
		if !errors.As(err, &failed) || failed.WriteConcernError != nil || len(failed.WriteErrors) == 0 {
			return err
		}
		for _, e := range failed.WriteErrors {
			if e.Code != codeDuplicateKey || e.Index >= len(docs) {
				return err
			}
			same, findErr := r.stored(ctx, t, c.collection, docs[e.Index])
			if findErr != nil {
				return findErr
			}
			if !same {
				return err
			}
		}
		last := failed.WriteErrors[len(failed.WriteErrors)-1].Index
		if !ordered || last+1 == len(docs) {
			return nil
		}
		// The server stopped there: go on behind it.
		docs = docs[last+1:]
		rest := bson.A{}
		for _, d := range docs {
			rest = append(rest, d)
		}
		c = c.with("documents", rest)
	}
}

// stored tells whether the collection holds this very document.
func (r *Resource) stored(ctx context.Context, t tenant.Tenant, collection string, doc bson.D) (bool, error) {
	id := lookup(doc, "_id")
	if id == nil {
		return false, nil
	}
	have, err := r.db(t).Collection(collection).FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// The server moves _id to the front.
	want, err := bson.Marshal(append(bson.D{{Key: "_id", Value: id}}, slices.DeleteFunc(slices.Clone(doc), func(e bson.E) bool { return e.Key == "_id" })...))
	return bytes.Equal(have, want), err
}

func lookup(d bson.D, key string) any {
	for _, e := range d {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

func isTrue(d bson.D, key string) bool { return lookup(d, key) == true }

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int32:
		return float64(n), true
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// equal compares values as MongoDB does: numbers by value, documents in order.
func equal(a, b any) bool {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch x := a.(type) {
	case bson.D:
		y, ok := b.(bson.D)
		return ok && slices.EqualFunc(x, y, func(p, q bson.E) bool { return p.Key == q.Key && equal(p.Value, q.Value) })
	case bson.A:
		y, ok := b.(bson.A)
		return ok && slices.EqualFunc(x, y, equal)
	}
	p, errP := bson.Marshal(bson.D{{Key: "v", Value: a}})
	q, errQ := bson.Marshal(bson.D{{Key: "v", Value: b}})
	return errP == nil && errQ == nil && bytes.Equal(p, q)
}

// contains tells whether have is want, with fields more where both are documents.
func contains(have, want any) bool {
	w, ok := want.(bson.D)
	if !ok {
		return equal(have, want)
	}
	h, ok := have.(bson.D)
	if !ok {
		return false
	}
	for _, e := range w {
		if !contains(lookup(h, e.Key), e.Value) {
			return false
		}
	}
	return true
}

// show is a definition as the migration would write it, shortened.
func show(d bson.D) string {
	const most = 300
	text, err := bson.MarshalExtJSON(d, false, false)
	if err != nil {
		return fmt.Sprintf("(%d fields)", len(d))
	}
	s := string(text)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
