package legacy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// mongoWriter makes records out of documents.
type mongoWriter struct {
	q      *query
	fields []field
	whole  bool // the document is passed on as it is, but for fields
	rec    record

	line, key, doc []byte
}

func newMongoWriter(q *query) (*mongoWriter, error) {
	t := q.table
	if len(t.Via) > 0 || t.Where != "" || len(t.Embed) > 0 {
		return nil, tenant.Invalid("leave it out", "MongoDB as a source knows neither via nor where nor embed: table %s", t.Name())
	}
	w := &mongoWriter{q: q, whole: q.document && t.Document == "" && len(t.Columns) == 0}
	for _, f := range q.fields {
		switch {
		case f.column.Default, w.whole && (f.name != "_id" || f.column.From == "_id"):
			continue
		case f.column.From == "" && f.column.Value == nil:
			return nil, tenant.Invalid("name a field, or a value", "column %s of table %s cannot be %s: its source is MongoDB", f.name, t.Name(), &f.column)
		}
		w.fields = append(w.fields, f)
	}
	return w, nil
}

// projection is what the server must send; nil for all.
func (w *mongoWriter) projection() bson.D {
	if w.whole {
		return nil
	}
	names := []string{"_id", w.q.table.Key, w.q.table.Document}
	for _, f := range w.fields {
		names = append(names, f.column.From)
	}
	for i, n := range names {
		head, _, dotted := strings.Cut(n, ".")
		if strings.HasPrefix(n, "$") || dotted && head == "" {
			return nil
		}
		names[i] = head
	}
	slices.Sort(names)
	var p bson.D
	for _, n := range slices.Compact(names) {
		if n != "" {
			p = append(p, bson.E{Key: n, Value: 1})
		}
	}
	return p
}

// lookUp finds a field by its name, or else by its path.
func lookUp(doc bson.Raw, name string) bson.RawValue {
	v, err := doc.LookupErr(name)
	if err != nil && strings.Contains(name, ".") {
		v, err = doc.LookupErr(strings.Split(name, ".")...)
	}
	if err != nil {
		return bson.RawValue{}
	}
	return v
}

// mongoPlace is where a document stands in its collection.
func mongoPlace(doc bson.Raw) ([]byte, error) {
	return bson.MarshalExtJSON(bson.D{{Key: "_id", Value: doc.Lookup("_id")}}, true, false)
}

// write makes the record of a document.
func (w *mongoWriter) write(doc bson.Raw) {
	w.rec = record{}
	place, err := mongoPlace(doc)
	if err != nil {
		w.rec.broken = "its _id cannot be read: " + err.Error()
		return
	}
	w.rec.ref, w.rec.after = place, string(place)
	if err := doc.Validate(); err != nil {
		w.rec.broken = "the document is malformed: " + err.Error()
		return
	}
	if w.q.table.Key != "" {
		if w.rec.key, err = bsonText(w.key[:0], lookUp(doc, w.q.table.Key)); err == nil && w.rec.key != nil {
			w.key = w.rec.key
		}
	}
	if w.q.maxRow > 0 && int64(len(doc)) > w.q.maxRow {
		w.rec.tooLong = int64(len(doc))
		return
	}
	w.line = w.line[:0]
	if w.q.document {
		if err == nil {
			err = w.fillDocument(doc)
		}
	} else {
		for i := 0; i < len(w.fields) && err == nil; i++ {
			w.line, err = w.appendValue(w.line, doc, &w.fields[i])
		}
	}
	if err != nil {
		w.rec = record{broken: err.Error(), ref: w.rec.ref, after: w.rec.after}
		return
	}
	w.rec.line = endLine(w.line)
}

func (w *mongoWriter) appendValue(line []byte, doc bson.Raw, f *field) ([]byte, error) {
	if f.column.Value != nil {
		return appendField(line, *f.column.Value), nil
	}
	return appendBSON(line, lookUp(doc, f.column.From), f.kind)
}

// bsonText is a value as text; nil for none.
func bsonText(buf []byte, v bson.RawValue) ([]byte, error) {
	line, err := appendBSON(nil, v, kindText)
	if err != nil {
		return nil, err
	}
	if line = line[:len(line)-1]; string(line) == `\N` {
		return nil, nil
	}
	if buf == nil {
		buf = []byte{}
	}
	return unescape(buf, line), nil
}

func (w *mongoWriter) fillDocument(doc bson.Raw) error {
	if w.whole && len(w.fields) == 0 {
		text, err := bson.MarshalExtJSON(doc, true, false)
		w.line = appendField(w.line, text)
		return err
	}
	var members, names [][]byte
	for i := range w.fields {
		f := &w.fields[i]
		var value []byte
		if f.column.Value != nil {
			value = []byte(jsonString(*f.column.Value))
		} else {
			v := lookUp(doc, f.column.From)
			if v.Type == 0 {
				continue
			}
			text, err := bson.MarshalExtJSON(bson.D{{Key: "", Value: v}}, true, false)
			if err != nil {
				return err
			}
			value = text[len(`{"":`) : len(text)-1]
		}
		members, names = append(members, value), append(names, jsonName(f.name))
	}
	object, left := []byte("{}"), []byte(nil)
	if w.whole {
		// What became the _id is not there twice.
		left = jsonName(w.fields[0].column.From)
	}
	if w.whole || w.q.table.Document != "" {
		from := doc
		if !w.whole {
			var ok bool
			if from, ok = lookUp(doc, w.q.table.Document).DocumentOK(); !ok {
				return errors.New("its field " + w.q.table.Document + " is no document")
			}
		}
		var err error
		if object, err = bson.MarshalExtJSON(from, true, false); err != nil {
			return err
		}
	}
	var err error
	w.doc, err = withMembers(w.doc[:0], members, names, object, left)
	w.line = appendField(w.line, w.doc)
	return err
}

func (s *mongoSource) originals(ctx context.Context, q *query, refs [][]byte) ([]original, error) {
	plain := *q
	plain.document, plain.maxRow = false, 0
	w, err := newMongoWriter(&plain)
	if err != nil {
		return nil, err
	}
	out := make([]original, len(refs))
	for start := 0; start < len(refs); start += mongoChunk {
		at := map[string][]int{}
		var ids bson.A
		for i, ref := range refs[start:min(start+mongoChunk, len(refs))] {
			if len(ref) == 0 {
				return nil, fmt.Errorf("find a document of collection %s again: its _id cannot be read", q.table.From)
			}
			var place bson.Raw
			if err := bson.UnmarshalExtJSON(ref, true, &place); err != nil {
				return nil, fmt.Errorf("find a document of collection %s again: %q is no position in it", q.table.From, ref)
			}
			at[string(ref)] = append(at[string(ref)], start+i)
			ids = append(ids, place.Lookup("_id"))
		}
		err := s.find(ctx, q.table.From, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, func(doc bson.Raw) error {
			o, place, err := w.original(doc, q.maxRow)
			for _, i := range at[place] {
				out[i] = o
			}
			delete(at, place)
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(at) > 0 {
			return nil, fmt.Errorf("source %s: %d documents of collection %s that were read a moment ago are gone", s.name, len(at), q.table.From)
		}
	}
	return out, nil
}

// original makes an original of a document, and tells its place.
func (w *mongoWriter) original(doc bson.Raw, longest int64) (original, string, error) {
	place, err := mongoPlace(doc)
	if err != nil {
		return original{}, "", err
	}
	o := original{row: json.RawMessage("null")}
	if longest <= 0 || int64(len(doc)) <= longest {
		if o.row, err = bson.MarshalExtJSON(doc, true, false); err != nil {
			return original{}, "", err
		}
	}
	if w.write(doc); w.rec.line != nil {
		o.key = jsonKey(w.fields, w.rec.line)
	}
	if o.key == "" {
		id, err := bsonText(nil, doc.Lookup("_id"))
		if err != nil {
			return original{}, "", err
		}
		o.key = "[" + jsonString(string(id)) + "]"
	}
	return o, string(place), nil
}

func (s *mongoSource) reread(ctx context.Context, q *query, rows []json.RawMessage, yield func(*record) error) error {
	w, err := newMongoWriter(q)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		var doc bson.Raw
		if err := bson.UnmarshalExtJSON(bytes.TrimSpace(row), false, &doc); err != nil {
			w.rec = record{broken: "it is no document in Extended JSON"}
		} else {
			w.write(doc)
		}
		if err := yield(&w.rec); err != nil {
			return err
		}
	}
	return nil
}

func (s *mongoSource) tenants(ctx context.Context, l *TenantList, yield func(tenantRow) error) error {
	if l.Query != "" || l.Where != "" {
		return tenant.Invalid("name a collection in from", "a tenant list in MongoDB knows neither query nor where")
	}
	names, labels := tenantFields(l)
	seen := map[string]bool{}
	return s.find(ctx, l.From, bson.D{}, func(doc bson.Raw) error {
		values := make([][]byte, len(names))
		for i, n := range names {
			var err error
			if values[i], err = bsonText(nil, lookUp(doc, n)); err != nil {
				return fmt.Errorf("read the tenant list: field %s: %w", n, err)
			}
		}
		if l.Distinct && (values[0] == nil || seen[string(values[0])]) {
			return nil
		}
		if l.Distinct {
			seen[string(values[0])] = true
		}
		return yield(tenantOf(l, labels, values))
	})
}
