package legacy

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/xoptions"

	"github.com/tenantctl/tenantctl/tenant"
)

// documentsAtOnce and documentBytes bound one insertion.
const (
	documentsAtOnce = 1000
	documentBytes   = 4 << 20
)

// collection is a tenant's collection that a table is loaded into.
func (i *Importer) collection(at int32, t *Table) *mongo.Collection {
	return i.MongoDB.Database(i.list[at].tenant.Database).Collection(t.ToCollection)
}

// documentError says what MongoDB would not do.
func documentError(verb string, name tenant.Name, err error) error {
	if err == nil {
		return nil
	}
	e := &tenant.Error{Store: tenant.KindMongoDB, Tenant: name, Msg: verb + ": the connection broke", Hint: "run the same command again: it goes on from the last checkpoint", Err: err}
	var server mongo.ServerError
	switch {
	case errors.Is(err, context.Canceled):
		e.Kind, e.Msg = tenant.ErrInterrupted, verb+": interrupted"
	case errors.As(err, &server):
		e.Msg, e.Hint = verb+": refused", ""
		if text := messageOf(err); text != "" {
			e.Msg = verb + ": " + text
		}
	}
	return e
}

func messageOf(err error) string {
	var command mongo.CommandError
	var write mongo.WriteException
	var bulk mongo.BulkWriteException
	switch {
	case errors.As(err, &command):
		return fmt.Sprintf("%s (code %d)", command.Message, command.Code)
	case errors.As(err, &write) && len(write.WriteErrors) > 0:
		return fmt.Sprintf("%s (code %d)", write.WriteErrors[0].Message, write.WriteErrors[0].Code)
	case errors.As(err, &bulk) && len(bulk.WriteErrors) > 0:
		return fmt.Sprintf("%s (code %d)", bulk.WriteErrors[0].Message, bulk.WriteErrors[0].Code)
	}
	return ""
}

// parseDocument makes a document of a record's line. One without _id gets it from the mapping's id.
func parseDocument(buf, line []byte, q *query) (doc bson.Raw, text []byte, err error) {
	if q.raw {
		if _, err := bson.Raw(line).LookupErr("_id"); err != nil {
			return nil, buf, errors.New("the document has no _id")
		}
		return line, buf, nil
	}
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if isNull(line) {
		return nil, buf, errors.New("the document is NULL")
	}
	text = unescape(buf[:0], line)
	if err := inexactJSON(text); err != nil {
		return nil, text, err
	}
	if q.literal != nil && looksExtended(text) {
		doc, err = q.literal.parse(text)
	} else {
		err = bson.UnmarshalExtJSON(text, false, &doc)
	}
	if err != nil {
		return nil, text, fmt.Errorf("the document cannot be read: %w", err)
	}
	if _, err := doc.LookupErr("_id"); err == nil {
		return doc, text, nil
	}
	if q.table.ID == nil || q.table.ID.From == "" {
		return nil, text, errors.New("the document has no _id, and the mapping no id")
	}
	id, err := doc.LookupErr(q.table.ID.From)
	if err != nil {
		return nil, text, fmt.Errorf("the document has no field %s to be its _id", q.table.ID.From)
	}
	whole := bson.D{{Key: "_id", Value: id}}
	elements, err := doc.Elements()
	if err != nil {
		return nil, text, err
	}
	for _, e := range elements {
		if e.Key() != q.table.ID.From {
			whole = append(whole, bson.E{Key: e.Key(), Value: e.Value()})
		}
	}
	b, err := bson.Marshal(whole)
	return b, text, err
}

// insertDocuments loads rows into one tenant's collection. A document that is there with the same content was loaded by
// an attempt that died before its checkpoint; one with other content is in the way.
func (l *load) insertDocuments(ctx context.Context, to int32, rows []int32) error {
	at := l.p.tenants[to]
	docs := make([]any, 0, min(len(rows), documentsAtOnce))
	from := make([]int32, 0, cap(docs))
	size := 0
	var buf []byte
	send := func() error {
		err := l.insertOnce(ctx, to, docs, from)
		docs, from, size = docs[:0], from[:0], 0
		return err
	}
	for _, row := range rows {
		var doc bson.Raw
		var err error
		if doc, buf, err = parseDocument(buf, l.a.line(row), l.p.q); err != nil {
			if err := l.setDocument(ctx, to, row, "unreadable", err.Error()); err != nil {
				return err
			}
			continue
		}
		docs, from, size = append(docs, doc), append(from, row), size+len(doc)
		if len(docs) == documentsAtOnce || size > documentBytes {
			if err := send(); err != nil {
				return tenant.WithTenant(err, l.list[at].tenant.Name)
			}
		}
	}
	if len(docs) == 0 {
		return nil
	}
	return tenant.WithTenant(send(), l.list[at].tenant.Name)
}

func (l *load) insertOnce(ctx context.Context, to int32, docs []any, from []int32) error {
	at := l.p.tenants[to]
	c := l.collection(at, l.p.table)
	// The transaction keeps others from taking the import over, as long as its connection lives.
	if _, err := l.tx.Exec(ctx, l.held.HoldSQL()); err != nil {
		return targetError("ask whether the import is still this one's", err)
	}
	if l.p.table.Mode == ModeUpsert || l.Since != "" {
		return l.replaceDocuments(ctx, to, c, docs, from)
	}
	opts := options.InsertMany().SetOrdered(false)
	if slices.ContainsFunc(docs, hasEmptyTimestamp) {
		if err := xoptions.SetInternalInsertManyOptions(opts, "addCommandFields", keepEmptyTimestamps); err != nil {
			return documentError("load collection "+l.p.table.ToCollection, l.list[at].tenant.Name, err)
		}
	}
	_, err := c.InsertMany(ctx, docs, opts)
	if unknownField(err) {
		return l.withoutEmptyTimestamps(ctx, to, docs, from)
	}
	l.loaded[to] += int64(len(docs))
	if err == nil {
		return nil
	}
	var bulk mongo.BulkWriteException
	if !errors.As(err, &bulk) || bulk.WriteConcernError != nil {
		return documentError("load collection "+l.p.table.ToCollection, l.list[at].tenant.Name, err)
	}
	var refused []int
	for _, w := range bulk.WriteErrors {
		if w.Code == 11000 {
			refused = append(refused, w.Index)
		}
	}
	there, err := areThere(ctx, c, docs, refused)
	if err != nil {
		return documentError("load collection "+l.p.table.ToCollection, l.list[at].tenant.Name, err)
	}
	for _, w := range bulk.WriteErrors {
		if there[w.Index] {
			continue
		}
		l.loaded[to]--
		if err := l.setDocument(ctx, to, from[w.Index], fmt.Sprint(w.Code), w.Message); err != nil {
			return err
		}
	}
	return nil
}

// keepEmptyTimestamps has a server leave Timestamp(0, 0) as it is, in whose place it puts its clock otherwise.
var keepEmptyTimestamps = bson.D{{Key: "bypassEmptyTsReplacement", Value: true}}

// unknownField tells whether a server knows no such part of a command: nothing of it was done.
func unknownField(err error) bool {
	var command mongo.CommandError
	return errors.As(err, &command) && slices.Contains([]int32{9, 238, 40415}, command.Code)
}

// hasEmptyTimestamp tells whether a field at the top is Timestamp(0, 0).
func hasEmptyTimestamp(doc any) bool {
	raw, ok := doc.(bson.Raw)
	if !ok || !bytes.Contains(raw, make([]byte, 9)) { // the end of the field's name and the value
		return false
	}
	elements, err := raw.Elements()
	return err == nil && slices.ContainsFunc(elements, func(e bson.RawElement) bool {
		sec, inc, ok := e.Value().TimestampOK()
		return ok && sec == 0 && inc == 0 && e.Key() != "_id"
	})
}

// withoutEmptyTimestamps sets the documents aside that the server would change, and loads the others.
func (l *load) withoutEmptyTimestamps(ctx context.Context, to int32, docs []any, from []int32) error {
	var left []any
	var rows []int32
	for n, d := range docs {
		if !hasEmptyTimestamp(d) {
			left, rows = append(left, d), append(rows, from[n])
			continue
		}
		if err := l.setDocument(ctx, to, from[n], "empty_timestamp", "it has an empty timestamp, in whose place this server would put its clock; MongoDB 8.0 does not"); err != nil {
			return err
		}
	}
	if len(left) == 0 || len(left) == len(docs) {
		return nil
	}
	return l.insertOnce(ctx, to, left, rows)
}

// areThere tells which of some documents a collection has exactly: an earlier run wrote them. They are asked for together, since a server without an index for the _id's type reads all of the
// collection for each question.
func areThere(ctx context.Context, c *mongo.Collection, docs []any, which []int) (map[int]bool, error) {
	out, asked, ids := map[int]bool{}, map[string]int{}, bson.A{}
	for _, n := range which {
		id := docs[n].(bson.Raw).Lookup("_id")
		asked[string(id.Type)+string(id.Value)] = n
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return out, nil
	}
	cur, err := c.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	if err != nil {
		return nil, err
	}
	for cur.Next(ctx) {
		id := cur.Current.Lookup("_id")
		if n, ok := asked[string(id.Type)+string(id.Value)]; ok && string(docs[n].(bson.Raw)) == string(cur.Current) {
			out[n] = true
		}
	}
	return out, errors.Join(cur.Err(), cur.Close(ctx))
}

func (l *load) replaceDocuments(ctx context.Context, to int32, c *mongo.Collection, docs []any, from []int32) error {
	models := make([]mongo.WriteModel, len(docs))
	for n, d := range docs {
		models[n] = mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: d.(bson.Raw).Lookup("_id")}}).SetReplacement(d).SetUpsert(true)
	}
	opts := options.BulkWrite().SetOrdered(false)
	if slices.ContainsFunc(docs, hasEmptyTimestamp) {
		if err := xoptions.SetInternalBulkWriteOptions(opts, "addCommandFields", keepEmptyTimestamps); err != nil {
			return documentError("load collection "+l.p.table.ToCollection, l.list[l.p.tenants[to]].tenant.Name, err)
		}
	}
	_, err := c.BulkWrite(ctx, models, opts)
	if unknownField(err) {
		return l.withoutEmptyTimestamps(ctx, to, docs, from)
	}
	l.loaded[to] += int64(len(docs))
	if err == nil {
		return nil
	}
	var bulk mongo.BulkWriteException
	if !errors.As(err, &bulk) || bulk.WriteConcernError != nil {
		return documentError("load collection "+l.p.table.ToCollection, l.list[l.p.tenants[to]].tenant.Name, err)
	}
	for _, w := range bulk.WriteErrors {
		l.loaded[to]--
		if err := l.setDocument(ctx, to, from[w.Index], fmt.Sprint(w.Code), w.Message); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) setDocument(ctx context.Context, to, row int32, code, reason string) error {
	key := l.list[l.p.tenants[to]].key
	x := reject{tenant: to, key: &key, ref: bytes.Clone(l.a.ref(row)), code: code, reason: reason}
	if doc, _, err := parseDocument(nil, l.a.line(row), l.p.q); err == nil {
		sum := documentSum(doc)
		x.sum = &sum
	}
	return l.set(ctx, x)
}

// documentSum is a document's checksum: the first half of the MD5 of its BSON.
func documentSum(doc bson.Raw) uint64 {
	sum := md5.Sum(doc)
	return binary.BigEndian.Uint64(sum[:8])
}
