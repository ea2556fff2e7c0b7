package legacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/tenantctl/tenantctl/tenant"
)

// What a document of MongoDB has in other collections, looked up for many documents at once: the one with the tenant's key,
// by via, and its children, by embed.

// mongoJoined is what belongs to one document.
type mongoJoined struct {
	last     bson.Raw // of via: the document with the key
	orphan   string   // the collection of via whose document is missing
	children map[string][]bson.Raw
	much     bool // more than maxJoined
}

// maxDocument is how many bytes a document of MongoDB may have.
const maxDocument = 16 << 20

// maxJoined is how many bytes are looked up at once: a few documents, as large as they may be.
const maxJoined = 4 * maxDocument

var errMuchJoined = fmt.Errorf("its children have more than %d bytes", maxJoined)

// checkJoins refuses what a MongoDB source cannot look up.
func checkJoins(t *Table) error {
	for _, h := range t.Via {
		if h.Many || len(h.Columns) != 1 || len(h.References) != 1 {
			return tenant.Invalid("load it into PostgreSQL first", "via of table %s: its source is MongoDB, which goes from one field to one field, and not to many", t.Name())
		}
	}
	if len(t.Embed) > 0 && t.ToCollection == "" {
		return tenant.Invalid("leave it out", "embed of table %s is for collections", t.Name())
	}
	for name, e := range t.Embed {
		for _, c := range e.Columns {
			if !c.Column.Default && c.Column.From == "" {
				return tenant.Invalid("name a field", "embed %s of table %s: %s cannot be %s: its source is MongoDB", name, t.Name(), c.Name, &c.Column)
			}
		}
	}
	_, err := whereFilter(t)
	return err
}

// whereFilter is a table's condition: a filter of MongoDB in Extended JSON.
func whereFilter(t *Table) (bson.D, error) {
	if t.Where == "" {
		return nil, nil
	}
	var filter bson.D
	if err := bson.UnmarshalExtJSON([]byte(t.Where), false, &filter); err != nil {
		return nil, tenant.Invalid(`such as where: '{"state": {"$ne": "gone"}}'`, "where of table %s is no filter of MongoDB in Extended JSON", t.Name())
	}
	return filter, nil
}

// lookUpAll gives the documents of a collection, in the order asked for, whose field has one of these values, and their
// places by those values.
func (s *mongoSource) lookUpAll(ctx context.Context, collection, field string, values []bson.RawValue, e *Embed) ([]bson.Raw, map[string][]int, error) {
	places := map[string][]int{}
	asked, in := map[string]bool{}, bson.A{}
	for _, v := range values {
		if key := joinKey(v); !asked[key] {
			asked[key] = true
			in = append(in, v)
		}
	}
	if len(in) == 0 {
		return nil, places, nil
	}
	within, done, err := s.within(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	cursor, err := s.db.Collection(collection).Find(within, bson.D{{Key: field, Value: bson.D{{Key: "$in", Value: in}}}}, joinOptions(e))
	if err != nil {
		return nil, nil, s.failed("read collection "+collection, err)
	}
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }() // it was only read
	var docs []bson.Raw
	size := 0
	for cursor.Next(within) {
		for _, v := range joinValues(cursor.Current, field) {
			if key := joinKey(v); asked[key] && !slices.Contains(places[key], len(docs)) {
				places[key] = append(places[key], len(docs))
			}
		}
		docs = append(docs, bytes.Clone(cursor.Current))
		if size += len(cursor.Current); size > maxJoined {
			return nil, nil, errMuchJoined
		}
	}
	return docs, places, s.failed("read collection "+collection, cursor.Err())
}

// joinOptions are the order and the fields of what is looked up.
func joinOptions(e *Embed) *options.FindOptionsBuilder {
	opts := options.Find().SetBatchSize(mongoBatch)
	if e == nil {
		return opts.SetSort(bson.D{{Key: "_id", Value: 1}})
	}
	sort := bson.D{}
	for _, o := range e.OrderBy {
		sort = append(sort, bson.E{Key: o, Value: 1})
	}
	if !slices.Contains(e.OrderBy, "_id") {
		sort = append(sort, bson.E{Key: "_id", Value: 1})
	}
	if len(e.Columns) > 0 {
		names := slices.Collect(maps.Keys(e.Match))
		for _, c := range e.Columns {
			names = append(names, c.Column.From)
		}
		if p := projectionOf(names); p != nil {
			opts.SetProjection(p)
		}
	}
	return opts.SetSort(sort)
}

// joined looks up what belongs to documents.
func (s *mongoSource) joined(ctx context.Context, t *Table, docs []bson.Raw) ([]mongoJoined, error) {
	out := make([]mongoJoined, len(docs))
	valuesOf := func(field string) []bson.RawValue {
		values := make([]bson.RawValue, len(docs))
		for n := range docs {
			from := docs[n]
			if out[n].last != nil {
				from = out[n].last
			}
			if out[n].orphan == "" {
				values[n] = lookUp(from, field)
			}
		}
		return values
	}
	for _, h := range t.Via {
		values := valuesOf(h.Columns[0])
		there := slices.DeleteFunc(slices.Clone(values), noValue)
		found, places, err := s.lookUpAll(ctx, h.Table, h.References[0], there, nil)
		if err != nil {
			return nil, err
		}
		for n, v := range values {
			switch parents := places[joinKey(v)]; {
			case out[n].orphan != "":
			case len(parents) == 0:
				out[n].orphan = h.Table
			default:
				out[n].last = found[parents[0]]
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Embed)) {
		if err := s.joinChildren(ctx, name, t.Embed[name], docs, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// joinChildren finds the children by the values of a document's field, or of its elements where it is an array.
func (s *mongoSource) joinChildren(ctx context.Context, name string, e *Embed, docs []bson.Raw, out []mongoJoined) error {
	theirs := slices.Sorted(maps.Keys(e.Match))
	var values []bson.RawValue
	for _, d := range docs {
		values = append(values, joinValues(d, e.Match[theirs[0]])...)
	}
	found, places, err := s.lookUpAll(ctx, e.From, theirs[0], values, e)
	if err != nil {
		return err
	}
	for n, d := range docs {
		if out[n].children == nil {
			out[n].children = map[string][]bson.Raw{}
		}
		var mine []int
		for _, v := range joinValues(d, e.Match[theirs[0]]) {
			mine = append(mine, places[joinKey(v)]...)
		}
		slices.Sort(mine)
		for _, place := range slices.Compact(mine) {
			child := found[place]
			other := slices.ContainsFunc(theirs[1:], func(f string) bool { return !joins(child, f, d, e.Match[f]) })
			if !other {
				out[n].children[name] = append(out[n].children[name], child)
			}
		}
	}
	return nil
}

// appendChildren appends the arrays of a document's children. Their values keep their bytes.
func (w *mongoWriter) appendChildren(line []byte) ([]byte, error) {
	if w.joined != nil && w.joined.much {
		return line, errMuchJoined
	}
	for _, name := range slices.Sorted(maps.Keys(w.q.table.Embed)) {
		e := w.q.table.Embed[name]
		array, all := bsoncore.AppendArrayElementStart(line, name)
		for n, child := range w.joined.children[name] {
			object, one := bsoncore.AppendDocumentElementStart(all, strconv.Itoa(n))
			elements, err := child.Elements()
			if err != nil {
				return line, err
			}
			for _, el := range elements {
				// What refers to the parent is left out, but for an array, which may refer to others too.
				if _, parent := e.Match[el.Key()]; len(e.Columns) == 0 && (!parent || el.Value().Type == bson.TypeArray) {
					one = append(one, el...)
				}
			}
			for _, c := range e.Columns {
				if v := lookUp(child, c.Column.From); v.Type != 0 && !c.Column.Default {
					one = bsoncore.AppendValueElement(one, c.Name, bsoncore.Value{Type: bsoncore.Type(v.Type), Data: v.Value})
				}
			}
			if all, err = bsoncore.AppendDocumentEnd(one, object); err != nil {
				return line, err
			}
		}
		var err error
		if line, err = bsoncore.AppendArrayEnd(all, array); err != nil {
			return line, err
		}
	}
	if len(line) > maxDocument {
		return line, fmt.Errorf("with its children it has %d bytes, and a document of MongoDB at most %d", len(line), maxDocument)
	}
	return line, nil
}

// errNoJoin says that a document was not looked up.
var errNoJoin = errors.New("the document has others that belong to it, which were not looked up")

// eachJoined gives documents to write, with what belongs to them, in their order.
func (s *mongoSource) eachJoined(ctx context.Context, q *query, w *mongoWriter, docs []bson.Raw, yield func(*record) error) error {
	found, err := s.joined(ctx, q.table, docs)
	switch half := len(docs) / 2; {
	case errors.Is(err, errMuchJoined) && half > 0:
		if err := s.eachJoined(ctx, q, w, docs[:half], yield); err != nil {
			return err
		}
		return s.eachJoined(ctx, q, w, docs[half:], yield)
	case errors.Is(err, errMuchJoined):
		found = []mongoJoined{{much: true}}
	case err != nil:
		return err
	}
	for n, d := range docs {
		w.joined = &found[n]
		w.write(d)
		if err := yield(&w.rec); err != nil {
			return err
		}
	}
	return nil
}
