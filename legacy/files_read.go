package legacy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tenantctl/tenantctl/tenant"
)

// fileRecord is one record of a file as it stands there.
type fileRecord struct {
	number int64
	csv    *csvScanner // at the record; nil for NDJSON
	raw    []byte      // nil where it is too long
	length int64
	fault  string
}

// records gives a file's records from behind the one with number after.
func (s *fileSource) records(ctx context.Context, file string, longest, after int64, yield func(*fileRecord) error) error {
	content, _, done, err := s.open(file)
	if err != nil {
		return err
	}
	defer done()
	r := fileRecord{}
	next := func(w *window) (err error) {
		r.raw, r.length, err = w.line()
		return err
	}
	lines := newWindow(content, longest)
	var header []string
	if isCSV, _ := format(file); isCSV {
		if r.csv, header, err = s.csv(file, content, longest); err != nil {
			return err
		}
		next = func(*window) error {
			err := r.csv.next()
			r.raw, r.length, r.fault = r.csv.raw, r.csv.length, r.csv.fault
			return err
		}
	}
	for {
		switch err := next(&lines); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fileError("read "+file, err)
		}
		if r.csv == nil && r.length <= int64(lines.max) && len(bytes.TrimSpace(r.raw)) == 0 {
			continue
		}
		if r.number++; r.number%512 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if r.number <= after {
			continue
		}
		if r.csv != nil && r.fault == "" && r.raw != nil && len(r.csv.fields) != len(header) {
			r.fault = fmt.Sprintf("it has %d fields, the header has %d", len(r.csv.fields), len(header))
		}
		if err := yield(&r); err != nil {
			return err
		}
	}
}

func (s *fileSource) read(ctx context.Context, q *query, p part, after string, yield func(*record) error) error {
	if err := s.unchanged(p); err != nil {
		return err
	}
	var behind int64
	if after != "" {
		var err error
		if behind, err = strconv.ParseInt(after, 10, 64); err != nil {
			return fmt.Errorf("go on in %s: %q is no record's number", p.low, after)
		}
	}
	w, err := s.writer(q, p.low)
	if err != nil {
		return err
	}
	err = s.records(ctx, p.low, q.maxRow, behind, func(r *fileRecord) error {
		if !w.write(r) {
			return nil
		}
		return yield(&w.rec)
	})
	if err != nil {
		return err
	}
	return s.unchanged(p)
}

// fileWriter makes records out of a file's own.
type fileWriter struct {
	q      *query
	null   string
	uuid   string // order of the bytes of legacy UUIDs
	csv    bool
	header []string
	rec    record
	prefix []byte // of refs

	cells      []fileCell
	key, since *fileCell
	document   *fileCell // the column that is the document
	whole      bool      // the line is the document
	texts      bool      // JSON objects made of CSV, where all is text

	object             jsonMemory
	line, ref, keyText []byte
	text, doc          []byte
	members, names     [][]byte
}

// fileCell is where a field's value comes from.
type fileCell struct {
	field
	name     []byte // as JSON writes it, without quotes
	column   int    // of a CSV file
	place    jsonPlace
	constant *string
}

// writer makes ready for a query on a file; file is "" for rows of a rejects file.
func (s *fileSource) writer(q *query, file string) (*fileWriter, error) {
	w := &fileWriter{q: q, null: s.null, uuid: s.uuid, prefix: append([]byte(file), 0), object: jsonMemory{slots: map[string]int{}}}
	t := q.table
	if len(t.Via) > 0 || t.Where != "" || len(t.Embed) > 0 {
		return nil, tenant.Invalid("load the files into a database first, and name that as the source", "files know neither via nor where nor embed: table %s", t.Name())
	}
	var err error
	if file != "" {
		w.csv, _ = format(file) // a file that is read has one of the known names
	} else if found, err := s.files(t.From); err != nil {
		return nil, err
	} else {
		w.texts, _ = format(found[0]) // as above
	}
	if w.csv {
		if w.header, err = s.header(file); err != nil {
			return nil, err
		}
	}
	w.whole = q.document && !w.csv && !w.texts && t.Document == "" && len(t.Columns) == 0
	for _, f := range q.fields {
		if w.whole && (f.name != "_id" || f.column.From == "_id") {
			continue
		}
		if f.column.Default {
			continue
		}
		c, err := w.cell(file, f)
		if err != nil {
			return nil, err
		}
		w.cells = append(w.cells, *c)
	}
	for _, place := range []struct {
		from string
		cell **fileCell
	}{{t.Key, &w.key}, {t.Document, &w.document}, {t.Since, &w.since}} {
		if place.from == "" || place.cell == &w.since && q.since == "" || place.cell == &w.document && !q.document {
			continue
		}
		if *place.cell, err = w.cell(file, field{column: Column{From: place.from}, kind: kindText}); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *fileWriter) cell(file string, f field) (*fileCell, error) {
	c := &fileCell{field: f, name: jsonName(f.name), column: -1, constant: f.column.Value}
	switch {
	case c.constant != nil:
	case f.column.From == "":
		return nil, tenant.Invalid("load the files into a database first, and name that as the source",
			"column %s of table %s cannot be %s: its source is files", f.name, w.q.table.Name(), &f.column)
	case w.csv:
		if c.column = slices.Index(w.header, f.column.From); c.column < 0 {
			return nil, tenant.Invalid("the header has "+strings.Join(w.header, ", "), "file %s has no column %s", file, f.column.From)
		}
	default:
		c.place = w.object.place(f.column.From)
	}
	return c, nil
}

// write makes the record of a file's own; false where the query does not want it.
func (w *fileWriter) write(r *fileRecord) bool {
	w.rec = record{after: strconv.FormatInt(r.number, 10)}
	w.ref = strconv.AppendInt(append(w.ref[:0], w.prefix...), r.number, 10)
	w.ref = append(append(w.ref, 0), r.raw...)
	w.rec.ref = w.ref
	switch {
	case r.fault != "":
		w.rec.broken = r.fault
		return true
	case r.raw == nil && r.length > 0:
		w.rec.tooLong = r.length
		return true
	}
	if r.csv == nil {
		if err := w.object.load(r.raw); err != nil {
			w.rec.broken = err.Error()
			return true
		}
	}
	return w.fill(r)
}

// fill writes the key and the line; what stands against it makes the record a broken one.
func (w *fileWriter) fill(r *fileRecord) bool {
	if w.since != nil {
		if text, null, err := w.value(r, w.since); err == nil && (null || !atLeast(string(text), w.q.since)) {
			return false
		}
	}
	err := w.fillKey(r)
	w.line = w.line[:0]
	switch {
	case err != nil:
	case w.q.document && !utf8.Valid(r.raw):
		err = errors.New("it is not UTF-8")
	case w.whole && len(w.cells) == 0:
		w.line = appendField(w.line, bytes.TrimSpace(r.raw))
	case w.q.document:
		w.doc, err = w.appendDocument(w.doc[:0], r)
		w.line = appendField(w.line, w.doc)
	default:
		for i := range w.cells {
			if err = w.appendCell(r, &w.cells[i]); err != nil {
				break
			}
		}
	}
	if err = cmp.Or(err, w.object.fault); err != nil {
		w.rec = record{broken: err.Error(), ref: w.rec.ref, after: w.rec.after}
		return true
	}
	w.rec.line = endLine(w.line)
	return true
}

func (w *fileWriter) fillKey(r *fileRecord) error {
	if w.key == nil {
		return nil
	}
	text, null, err := w.value(r, w.key)
	if err == nil && !null {
		w.keyText = append(w.keyText[:0], text...)
		w.rec.key = w.keyText
	}
	return err
}

// value is a cell's value as text. It is valid until the next call.
func (w *fileWriter) value(r *fileRecord, c *fileCell) (text []byte, null bool, err error) {
	switch {
	case c.constant != nil:
		return []byte(*c.constant), false, nil
	case r.csv != nil:
		f := r.csv.fields[c.column]
		if !f.quoted && string(r.csv.raw[f.from:f.to]) == w.null {
			return nil, true, nil
		}
		w.text = r.csv.appendValue(w.text[:0], f)
		return w.text, false, nil
	}
	raw := w.object.get(&c.place)
	if len(raw) > 0 && raw[0] == '"' {
		w.text, err = appendUnquoted(w.text[:0], raw)
		return w.text, false, err
	}
	line, err := appendJSONField(nil, raw, c.kind, w.uuid)
	values, _ := splitLine(endLine(line), nil, nil)
	return values[0], values[0] == nil, err
}

func (w *fileWriter) appendCell(r *fileRecord, c *fileCell) (err error) {
	if r.csv == nil && c.constant == nil {
		w.line, err = appendJSONField(w.line, w.object.get(&c.place), c.kind, w.uuid)
		return err
	}
	text, null, err := w.value(r, c)
	if null {
		w.line = appendNull(w.line)
	} else {
		w.line = appendField(w.line, text)
	}
	return err
}

// appendDocument appends the record as one document.
func (w *fileWriter) appendDocument(doc []byte, r *fileRecord) ([]byte, error) {
	w.members, w.names = w.members[:0], w.names[:0]
	var values []byte
	for i := range w.cells {
		c := &w.cells[i]
		start := len(values)
		if raw := []byte(nil); r.csv == nil && c.constant == nil && !w.texts {
			if raw = w.object.get(&c.place); raw != nil {
				w.members, w.names = append(w.members, raw), append(w.names, c.name)
			}
			continue
		}
		text, null, err := w.value(r, c)
		switch {
		case err != nil:
			return doc, err
		case null:
			values = append(values, "null"...)
		default:
			values = appendGuessed(values, text, c.kind)
		}
		w.members, w.names = append(w.members, values[start:len(values):len(values)]), append(w.names, c.name)
	}
	object, left := []byte("{}"), []byte(nil)
	switch {
	case w.whole:
		// What became the _id is not there twice.
		object, left = r.raw, jsonName(w.cells[0].field.column.From)
	case w.document != nil && r.csv == nil:
		object = w.object.get(&w.document.place)
	case w.document != nil:
		var err error
		if object, _, err = w.value(r, w.document); err != nil {
			return doc, err
		}
	}
	return withMembers(doc, w.members, w.names, object, left)
}

// appendGuessed appends a text as JSON of the kind that it seems to be; where it is not, as a text.
func appendGuessed(b, text []byte, k kind) []byte {
	switch k {
	case kindInt, kindFloat, kindBool, kindJSON:
		if json.Valid(text) {
			return append(b, text...)
		}
	case kindDecimal:
		if json.Valid(text) {
			return append(append(append(b, `{"$numberDecimal":"`...), text...), `"}`...)
		}
	case kindDate, kindTimestamp, kindInstant:
		if t, ok := parseTime(string(text)); ok {
			return append(strconv.AppendInt(append(b, `{"$date":{"$numberLong":"`...), t.UnixMilli(), 10), `"}}`...)
		}
	}
	return appendJSONText(b, text)
}

var timeLayouts = []string{time.DateOnly, time.DateTime, "2006-01-02T15:04:05", time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07"}

func parseTime(s string) (time.Time, bool) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// atLeast compares as numbers where both are such, else as texts, which is right for dates as ISO 8601 writes them.
func atLeast(a, b string) bool {
	x, xerr := strconv.ParseFloat(a, 64)
	y, yerr := strconv.ParseFloat(b, 64)
	if xerr == nil && yerr == nil {
		return x >= y
	}
	return a >= b
}

// jsonMemory remembers members of a JSON object that are asked for.
type jsonMemory struct {
	slots  map[string]int
	values [][]byte
	fault  error // why a member that was asked for has no one value
}

// jsonPlace is a member by its name, or else by its path, with dots between the names.
type jsonPlace struct {
	exact, head int
	rest        string
}

func (m *jsonMemory) slot(name string) int {
	i, ok := m.slots[name]
	if !ok {
		i = len(m.values)
		m.slots[name], m.values = i, append(m.values, nil)
	}
	return i
}

func (m *jsonMemory) place(name string) jsonPlace {
	p := jsonPlace{exact: m.slot(name), head: -1}
	if head, rest, ok := strings.Cut(name, "."); ok {
		p.head, p.rest = m.slot(head), rest
	}
	return p
}

func (m *jsonMemory) load(object []byte) error {
	clear(m.values)
	m.fault = nil
	err := jsonMembers(object, func(name, value []byte) {
		if bytes.IndexByte(name, '\\') >= 0 {
			quoted := append(append([]byte{'"'}, name...), '"')
			name, _ = appendUnquoted(nil, quoted) // half a surrogate pair is no name that is asked for
		}
		if i, ok := m.slots[string(name)]; ok {
			if m.values[i] != nil {
				m.fault = fmt.Errorf("its member %s is there twice", name)
			}
			m.values[i] = value
		}
	})
	return cmp.Or(err, m.fault)
}

// get is a member's value as it is written; nil where there is none.
func (m *jsonMemory) get(p *jsonPlace) []byte {
	if v := m.values[p.exact]; v != nil || p.head < 0 {
		return v
	}
	value := m.values[p.head]
	if len(value) == 0 || value[0] != '{' {
		return nil
	}
	inner := jsonMemory{slots: map[string]int{}}
	place := inner.place(p.rest)
	if err := inner.load(value); err != nil {
		m.fault = err
		return nil
	}
	found := inner.get(&place)
	m.fault = cmp.Or(m.fault, inner.fault)
	return found
}
