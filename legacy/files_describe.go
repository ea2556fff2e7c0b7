package legacy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

const sampleRecords = 1000

var errEnough = errors.New("enough")

func (s *fileSource) describe(ctx context.Context, names []string) ([]*sourceTable, error) {
	if names == nil {
		var err error
		if names, err = s.files("."); err != nil {
			return nil, err
		}
	}
	var out []*sourceTable
	for _, name := range names {
		found, err := s.files(name)
		if err != nil {
			var e *tenant.Error
			if errors.As(err, &e) && errors.Is(err, tenant.ErrNotFound) {
				continue // the caller misses it
			}
			return nil, err
		}
		t := &sourceTable{name: name}
		for _, f := range found {
			one, err := s.sample(ctx, f)
			if err != nil {
				return nil, err
			}
			t.rows += one.rows
			t.bytes += one.bytes
			t.merge(one)
		}
		out = append(out, t)
	}
	return out, nil
}

// merge takes in the columns of another file of the same table.
func (t *sourceTable) merge(o *sourceTable) {
	for _, c := range o.columns {
		ours := t.column(c.name)
		if ours == nil {
			t.columns = append(t.columns, c)
		} else if ours.kind != c.kind {
			ours.kind = kindText
		}
	}
	for i := range t.columns {
		t.columns[i].typ = string(t.columns[i].kind)
	}
}

// sample describes a file by its first records.
func (s *fileSource) sample(ctx context.Context, file string) (*sourceTable, error) {
	info, err := os.Stat(filepath.Join(s.root, file))
	if err != nil {
		return nil, fileError("look at "+file, err)
	}
	t := &sourceTable{name: file, bytes: info.Size()}
	var g guesses
	if isCSV, _ := format(file); isCSV {
		header, err := s.header(file)
		if err != nil {
			return nil, err
		}
		for _, name := range header {
			g.of(name)
		}
	}
	var count, size int64
	err = s.records(ctx, file, 1<<20, 0, func(r *fileRecord) error {
		count++
		size += r.length + 1
		switch {
		case r.fault != "" || r.raw == nil:
		case r.csv != nil:
			for i, f := range r.csv.fields {
				if f.quoted || string(r.raw[f.from:f.to]) != s.null {
					g.list[i].see(r.csv.appendValue(nil, f))
				}
			}
		default:
			// A malformed line becomes a reject when it is read.
			_ = jsonMembers(r.raw, func(name, value []byte) { g.seeJSON(name, value) })
		}
		if count == sampleRecords {
			return errEnough
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		t.rows = info.Size() * s.expansion(file) / max(size/count, 1)
	case err != nil:
		return nil, err
	default:
		t.rows = count
	}
	for _, c := range g.list {
		t.columns = append(t.columns, sourceColumn{name: c.name, typ: string(c.kind()), kind: c.kind()})
	}
	return t, nil
}

// expansion is about how many bytes one byte of a file becomes when it is decompressed.
func (s *fileSource) expansion(file string) int64 {
	if !strings.HasSuffix(file, ".gz") && !strings.HasSuffix(file, ".zst") {
		return 1
	}
	return 4
}

// guesses are what the values seen so far may be, by name in the order of first sight.
type guesses struct {
	list []*guess
	at   map[string]int
}

type guess struct {
	name string
	seen bool
	fits [len(guessOrder)]bool
}

// guessOrder has the narrower kinds first.
var guessOrder = [...]kind{kindBool, kindInt, kindDecimal, kindDate, kindTimestamp, kindInstant, kindUUID, kindJSON}

func (g *guesses) of(name string) *guess {
	if g.at == nil {
		g.at = map[string]int{}
	}
	i, ok := g.at[name]
	if !ok {
		i = len(g.list)
		g.at[name] = i
		g.list = append(g.list, &guess{name: name})
	}
	return g.list[i]
}

var (
	intPattern       = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,17})$`)
	decimalPattern   = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`)
	datePattern      = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	timestampPattern = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?$`)
	instantPattern   = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$`)
	uuidPattern      = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
)

// see takes a text into account.
func (g *guess) see(text []byte) {
	if len(text) > 1<<16 {
		text = text[:1<<16]
	}
	g.narrow([]bool{
		slices.Contains([]string{"t", "f", "true", "false"}, string(text)),
		intPattern.Match(text), decimalPattern.Match(text), datePattern.Match(text), timestampPattern.Match(text),
		instantPattern.Match(text), uuidPattern.Match(text), len(text) > 0 && strings.IndexByte("{[", text[0]) >= 0 && json.Valid(text),
	})
}

func (g *guess) narrow(fits []bool) {
	for i := range g.fits {
		g.fits[i] = fits[i] && (!g.seen || g.fits[i])
	}
	g.seen = true
}

// seeJSON takes a member of a JSON object into account.
func (g *guesses) seeJSON(name, value []byte) {
	c := g.of(unquotedName(name))
	if value[0] == 'n' {
		return
	}
	line, err := appendJSONField(nil, value, kindText, uuidStandard)
	values, _ := splitLine(line, nil, nil)
	if err != nil || len(values) == 0 {
		return
	}
	switch value[0] {
	case '"':
		// A number in quotes is a text on purpose.
		if text := values[0]; decimalPattern.Match(text) || string(text) == "true" || string(text) == "false" {
			c.narrow(make([]bool, len(guessOrder)))
			return
		}
	case '[', '{':
		if bytes.Equal(values[0], value) {
			c.narrow([]bool{7: true})
			return
		}
	}
	c.see(values[0])
}

func (g *guess) kind() kind {
	for i, fits := range g.fits {
		if fits {
			return guessOrder[i]
		}
	}
	return kindText
}

func unquotedName(name []byte) string {
	text, err := appendUnquoted(nil, append(append([]byte{'"'}, name...), '"'))
	if err != nil {
		return string(name)
	}
	return string(text)
}

func (s *fileSource) tenants(ctx context.Context, l *TenantList, yield func(tenantRow) error) error {
	if l.Query != "" || l.Where != "" {
		return tenant.Invalid("name a file in from", "a tenant list in files knows neither query nor where")
	}
	found, err := s.files(l.From)
	if err != nil {
		return err
	}
	names, labels := tenantFields(l)
	q := &query{table: &Table{From: l.From}}
	for _, n := range names {
		q.fields = append(q.fields, field{name: n, column: Column{From: n}, kind: kindText})
	}
	seen := map[string]bool{}
	for _, f := range found {
		w, err := s.writer(q, f)
		if err != nil {
			return err
		}
		err = s.records(ctx, f, 1<<20, 0, func(r *fileRecord) error {
			w.write(r)
			if w.rec.line == nil {
				return tenant.Invalid("correct the file", "record %d of %s is no tenant: %s", r.number, f, orTooLong(w.rec.broken))
			}
			values, _ := splitLine(w.rec.line, nil, nil)
			if l.Distinct && (values[0] == nil || seen[string(values[0])]) {
				return nil
			}
			if l.Distinct {
				seen[string(values[0])] = true
			}
			return yield(tenantOf(l, labels, values))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func orTooLong(fault string) string {
	if fault == "" {
		return "it is too long"
	}
	return fault
}

// tenantFields are what a tenant is made of: its key, its name where the list has one, its domains, and its labels.
func tenantFields(l *TenantList) (fields, labels []string) {
	fields = []string{l.Key}
	if l.Name != "" {
		fields = append(fields, l.Name)
	}
	fields = append(fields, l.Domains...)
	for _, label := range slices.Sorted(maps.Keys(l.Labels)) {
		fields, labels = append(fields, l.Labels[label]), append(labels, label)
	}
	return fields, labels
}

// tenantOf makes a tenant of the values of tenantFields.
func tenantOf(l *TenantList, labels []string, values [][]byte) tenantRow {
	next := func() *string {
		v := values[0]
		if values = values[1:]; v == nil {
			return nil
		}
		text := string(v)
		return &text
	}
	t := tenantRow{key: next()}
	if t.name = t.key; l.Name != "" {
		t.name = next()
	}
	for range l.Domains {
		if d := next(); d != nil && *d != "" {
			t.domains = append(t.domains, *d)
		}
	}
	for _, label := range labels {
		if v := next(); v != nil {
			if t.labels == nil {
				t.labels = map[string]string{}
			}
			t.labels[label] = *v
		}
	}
	return t
}

// Members of an original that stands for a record which is malformed: by these it can be corrected and loaded again.
const (
	malformedFile = "_file"
	malformedLine = "_line"
)

func (s *fileSource) originals(_ context.Context, q *query, refs [][]byte) ([]original, error) {
	plain := *q
	plain.document, plain.since = false, ""
	writers := map[string]*fileWriter{}
	out := make([]original, len(refs))
	for i, ref := range refs {
		file, rest, _ := bytes.Cut(ref, []byte{0})
		number, raw, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return nil, fmt.Errorf("find a record again: %q is no place in a file", ref)
		}
		w := writers[string(file)]
		if w == nil {
			var err error
			if w, err = s.writer(&plain, string(file)); err != nil {
				return nil, err
			}
			writers[string(file)] = w
		}
		o := original{key: jsonString(string(file) + ":" + string(number)), row: json.RawMessage("null")}
		if len(raw) > 0 {
			var named string
			if o.row, named = s.original(w, string(file), raw); named != "" {
				o.key = named
			}
		}
		out[i] = o
	}
	return out, nil
}

// original gives a record as a JSON object, and the key of its row where it has one.
func (s *fileSource) original(w *fileWriter, file string, raw []byte) (json.RawMessage, string) {
	r := &fileRecord{raw: raw, length: int64(len(raw))}
	if w.csv {
		s.scanOne(r, raw, len(w.header))
	}
	w.write(r)
	key := ""
	if w.rec.line != nil {
		fields := make([]field, len(w.cells))
		for i, c := range w.cells {
			fields[i] = c.field
		}
		key = jsonKey(fields, w.rec.line)
	}
	switch {
	case r.fault != "" || r.csv == nil && !json.Valid(raw):
		b := appendJSONText(append(append([]byte(`{"`+malformedFile+`":`), jsonString(file)...), `,"`+malformedLine+`":`...), raw)
		return append(b, '}'), key
	case r.csv == nil:
		return bytes.Clone(raw), key
	}
	b := []byte{'{'}
	for i, f := range r.csv.fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, jsonString(w.header[i])...), ':')
		if !f.quoted && string(r.csv.raw[f.from:f.to]) == w.null {
			b = append(b, "null"...)
		} else {
			b = appendJSONText(b, r.csv.appendValue(nil, f))
		}
	}
	return append(b, '}'), key
}

// scanOne reads one record of CSV.
func (s *fileSource) scanOne(r *fileRecord, raw []byte, columns int) {
	r.csv = &csvScanner{window: newWindow(bytes.NewReader(raw), int64(len(raw))), delimiter: s.delimiter, single: columns == 1}
	if err := r.csv.next(); err != nil {
		r.fault = "it is empty"
		return
	}
	r.raw, r.fault = r.csv.raw, r.csv.fault
	if r.fault == "" && len(r.csv.fields) != columns {
		r.fault = fmt.Sprintf("it has %d fields, the header has %d", len(r.csv.fields), columns)
	}
}

func (s *fileSource) reread(ctx context.Context, q *query, rows []json.RawMessage, yield func(*record) error) error {
	plain := *q
	plain.since = ""
	objects, err := s.writer(&plain, "")
	if err != nil {
		return err
	}
	for i, row := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		w, r := objects, &fileRecord{number: int64(i + 1), raw: row, length: int64(len(row))}
		var malformed map[string]json.RawMessage
		if err := json.Unmarshal(row, &malformed); err == nil && malformed[malformedLine] != nil {
			if w, err = s.malformed(&plain, malformed, r); err != nil {
				return err
			}
		}
		w.write(r)
		if err := yield(&w.rec); err != nil {
			return err
		}
	}
	return nil
}

// malformed makes a record of a line that was malformed and has been corrected since.
func (s *fileSource) malformed(q *query, row map[string]json.RawMessage, r *fileRecord) (*fileWriter, error) {
	var file, line string
	if json.Unmarshal(row[malformedFile], &file) != nil || json.Unmarshal(row[malformedLine], &line) != nil {
		r.fault = "the members " + malformedFile + " and " + malformedLine + " are texts"
		return s.writer(q, "")
	}
	w, err := s.writer(q, file)
	if err != nil {
		return nil, err
	}
	r.raw, r.length = []byte(line), int64(len(line))
	if w.csv {
		s.scanOne(r, r.raw, len(w.header))
	}
	return w, nil
}
