package legacy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/tenantctl/tenantctl/tenant"
)

// mongoWriter makes records out of documents.
type mongoWriter struct {
	q      *query
	uuid   string
	fields []field
	whole  bool // the document is passed on as it is, but for fields
	rec    record
	joined *mongoJoined // what belongs to the document in other collections; nil where nothing does

	line, key []byte
}

func newMongoWriter(q *query, order string) (*mongoWriter, error) {
	t := q.table
	if err := checkJoins(t); err != nil {
		return nil, err
	}
	w := &mongoWriter{q: q, uuid: order, whole: q.document && t.Document == "" && len(t.Columns) == 0}
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
	for _, h := range w.q.table.Via[:min(1, len(w.q.table.Via))] {
		names = append(names, h.Columns[0])
	}
	for _, e := range w.q.table.Embed {
		for _, ours := range e.Match {
			names = append(names, ours)
		}
	}
	for _, f := range w.fields {
		names = append(names, f.column.From)
	}
	return projectionOf(names)
}

// projectionOf has the fields with these names, or at the head of these paths; nil for all.
func projectionOf(names []string) bson.D {
	names = slices.Clone(names)
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

// oneValue is lookUp, but refuses a path through an array, behind which there may be many.
func oneValue(doc bson.Raw, name string) (bson.RawValue, error) {
	v := lookUp(doc, name)
	if v.Type == 0 && strings.Contains(name, ".") && len(joinValues(doc, name)) > 0 {
		return v, fmt.Errorf("its field %s is in an array", name)
	}
	return v, nil
}

// mongoPlace is where a document stands in its collection: its _id, byte by byte.
func mongoPlace(doc bson.Raw) ([]byte, error) {
	id, err := doc.LookupErr("_id")
	if err != nil {
		return nil, err
	}
	_, place, err := bson.MarshalValue(bson.D{{Key: "_id", Value: id}})
	return base64.StdEncoding.AppendEncode(nil, place), err
}

// mongoID is the _id of a place. An older version kept places in Extended JSON.
func mongoID(place string) (bson.RawValue, error) {
	var at bson.Raw
	err := error(nil)
	if strings.HasPrefix(place, "{") {
		err = bson.UnmarshalExtJSON([]byte(place), true, &at)
	} else {
		at, err = base64.StdEncoding.DecodeString(place)
	}
	if err != nil {
		return bson.RawValue{}, err
	}
	return at.LookupErr("_id")
}

// bsonRow is the one member of a row that Extended JSON cannot write exactly: the document in base64.
const bsonRow = "$bson"

// documentRow is a document as a rejects file has it: in Extended JSON where that reads as the same bytes.
func documentRow(doc bson.Raw) json.RawMessage {
	if row, err := bson.MarshalExtJSON(doc, true, false); err == nil {
		if back, err := rowDocument(row); err == nil && bytes.Equal(back, doc) {
			return row
		}
	}
	return json.RawMessage(`{"` + bsonRow + `":"` + base64.StdEncoding.EncodeToString(doc) + `"}`)
}

// rowDocument is the document of a row as documentRow wrote it, edited perhaps.
func rowDocument(row json.RawMessage) (doc bson.Raw, err error) {
	var exact map[string]json.RawMessage
	if json.Unmarshal(row, &exact) == nil && len(exact) == 1 && exact[bsonRow] != nil {
		var b []byte
		if err := json.Unmarshal(exact[bsonRow], &b); err != nil || bson.Raw(b).Validate() != nil {
			return nil, errors.New("its " + bsonRow + " is no document in base64")
		}
		return b, nil
	}
	if err := bson.UnmarshalExtJSON(bytes.TrimSpace(row), false, &doc); err != nil {
		return nil, errors.New("it is no document in Extended JSON")
	}
	return doc, nil
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
	keyed := doc
	if len(w.q.table.Via) > 0 && w.joined != nil {
		w.rec.orphan, keyed = w.joined.orphan, w.joined.last
	}
	if w.q.table.Key != "" && w.rec.orphan == "" {
		if w.rec.key, err = bsonText(w.key[:0], lookUp(keyed, w.q.table.Key), w.uuid); err == nil && w.rec.key != nil {
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
	if w.rec.line = w.line; !w.q.document {
		w.rec.line = endLine(w.line)
	}
}

func (w *mongoWriter) appendValue(line []byte, doc bson.Raw, f *field) ([]byte, error) {
	if f.column.Value != nil {
		return appendField(line, *f.column.Value), nil
	}
	v, err := oneValue(doc, f.column.From)
	if err != nil {
		return line, err
	}
	return appendBSON(line, v, f.kind, w.uuid)
}

// bsonText is a value as text; nil for none.
func bsonText(buf []byte, v bson.RawValue, order string) ([]byte, error) {
	line, err := appendBSON(nil, v, kindText, order)
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

// fillDocument makes the document: what is not given another name or left out keeps its bytes.
func (w *mongoWriter) fillDocument(doc bson.Raw) error {
	if len(w.q.table.Embed) > 0 && w.joined == nil {
		return errNoJoin
	}
	if w.whole && len(w.fields) == 0 && len(w.q.table.Embed) == 0 {
		w.line = append(w.line, doc...)
		return nil
	}
	start, line := bsoncore.AppendDocumentStart(w.line)
	left := map[string]bool{}
	for name := range w.q.table.Embed {
		left[name] = true
	}
	for i := range w.fields {
		f := &w.fields[i]
		v := bson.RawValue{}
		if f.column.Value != nil {
			v.Type, v.Value = bson.TypeString, bsoncore.AppendString(nil, *f.column.Value)
		} else {
			var err error
			if v, err = oneValue(doc, f.column.From); err != nil {
				return err
			}
			if v.Type == 0 {
				continue
			}
		}
		left[f.name] = true
		line = bsoncore.AppendValueElement(line, f.name, bsoncore.Value{Type: bsoncore.Type(v.Type), Data: v.Value})
	}
	var own bson.Raw
	switch {
	case w.whole:
		own = doc
		if len(w.fields) > 0 {
			left[w.fields[0].column.From] = true // what became the _id is not there twice
		}
	case w.q.table.Document != "":
		var ok bool
		if own, ok = lookUp(doc, w.q.table.Document).DocumentOK(); !ok {
			return errors.New("its field " + w.q.table.Document + " is no document")
		}
	}
	if own != nil {
		elements, err := own.Elements()
		if err != nil {
			return err
		}
		for _, e := range elements {
			if !left[e.Key()] {
				line = append(line, e...)
			}
		}
	}
	line, err := w.appendChildren(line)
	if err != nil {
		return err
	}
	w.line, err = bsoncore.AppendDocumentEnd(line, start)
	return err
}

func (s *mongoSource) originals(ctx context.Context, q *query, refs [][]byte) ([]original, error) {
	plain := *q
	plain.document, plain.maxRow = false, 0
	w, err := newMongoWriter(&plain, s.uuid)
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
			id, err := mongoID(string(ref))
			if err != nil {
				return nil, fmt.Errorf("find a document of collection %s again: %q is no position in it", q.table.From, ref)
			}
			at[string(ref)] = append(at[string(ref)], start+i)
			ids = append(ids, id)
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
		o.row = documentRow(doc)
	}
	if w.write(doc); w.rec.line != nil {
		o.key = jsonKey(w.fields, w.rec.line)
	}
	if o.key == "" {
		id, err := bsonText(nil, doc.Lookup("_id"), cmp.Or(w.uuid, uuidStandard))
		if err != nil {
			return original{}, "", err
		}
		o.key = "[" + jsonString(string(id)) + "]"
	}
	return o, string(place), nil
}

func (s *mongoSource) reread(ctx context.Context, q *query, rows []json.RawMessage, yield func(*record) error) error {
	w, err := newMongoWriter(q, s.uuid)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		var doc bson.Raw
		var err error
		if doc, err = rowDocument(row); err != nil {
			w.rec = record{broken: err.Error()}
		} else {
			if err := s.eachJoined(ctx, q, w, []bson.Raw{doc}, yield); err != nil {
				return err
			}
			continue
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
			if values[i], err = bsonText(nil, lookUp(doc, n), s.uuid); err != nil {
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
