package legacy

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// literalJSON tells which values of a document are JSON of the source's, and are what they are, also where they look like
// Extended JSON. All others are of plain columns, written in Extended JSON here; so is, for MongoDB takes no other, the _id
// that a document column has.
type literalJSON struct {
	fields   []literalField // the first members, in order
	document bool           // behind them stand the members of a JSON column
}

type literalField struct {
	name     string
	json     bool
	children map[string]bool // of an array of embedded rows: whether the member of that name is JSON
}

// literalOf tells it for a table of a source that speaks SQL; nil where no value is JSON, or the mapping asks for the other reading.
func (i *Importer) literalOf(q *query) *literalJSON {
	t := q.table
	if store := i.m.realStore(t.Source); store != storePostgres && store != storeMySQL || t.ExtendedJSON {
		return nil
	}
	l, any := &literalJSON{document: t.Document != ""}, t.Document != ""
	for _, f := range q.fields {
		is := f.column.From == "" || f.kind == kindJSON
		l.fields, any = append(l.fields, literalField{name: f.name, json: is}), any || is
	}
	for _, name := range slices.Sorted(maps.Keys(t.Embed)) {
		e := t.Embed[name]
		children, columns := map[string]bool{}, e.Columns
		child := i.sourceTable(&Table{Source: t.Source, From: e.From})
		if len(columns) == 0 && child != nil {
			for _, c := range child.columns {
				columns = append(columns, NamedColumn{c.name, Column{From: c.name}})
			}
		}
		for _, c := range columns {
			is := c.Column.From == "" || child != nil && child.column(c.Column.From) != nil && child.column(c.Column.From).kind == kindJSON
			children[string(jsonName(c.Name))], any = is, any || is
		}
		l.fields = append(l.fields, literalField{name: name, children: children})
	}
	if !any {
		return nil
	}
	return l
}

// parse makes a document of a text in which plain columns' values alone are Extended JSON.
func (l *literalJSON) parse(text []byte) (bson.Raw, error) {
	var doc bson.D
	var failed error
	at := 0
	err := jsonMembers(text, func(name, value []byte) {
		f := literalField{json: true}
		own := at < len(l.fields) && bytes.Equal(name, jsonName(l.fields[at].name))
		if !own && l.document && at == 0 && len(doc) == 0 && len(l.fields) > 1 && bytes.Equal(name, jsonName(l.fields[1].name)) {
			own, at = true, 1 // the column has an _id of its own
		}
		switch {
		case own:
			f = l.fields[at]
			at++
		case l.document:
			at, f.json = len(l.fields), string(name) != "_id"
		}
		e, err := f.element(name, value)
		doc, failed = append(doc, e), cmp.Or(failed, err)
	})
	if err = cmp.Or(failed, err); err != nil {
		return nil, err
	}
	return bson.Marshal(doc)
}

// looksExtended tells whether a text may have names of Extended JSON.
func looksExtended(text []byte) bool {
	return bytes.Contains(text, []byte(`"$`)) || bytes.Contains(text, []byte(`"\u0024`))
}

// element makes a field of a member.
func (f literalField) element(name, value []byte) (e bson.E, err error) {
	key := append(append([]byte{'"'}, name...), '"')
	if key, err = appendUnquoted(nil, key); err != nil {
		return e, err
	}
	if bytes.IndexByte(key, 0) >= 0 {
		return e, errors.New("a name holds null bytes")
	}
	e.Key = string(key)
	switch {
	case f.children != nil:
		e.Value, err = f.array(value)
	case f.json:
		e.Value, err = literalValue(value)
	default:
		e.Value, err = extendedValue(value)
	}
	return e, err
}

// array makes one of embedded rows.
func (f literalField) array(value []byte) (rows bson.A, err error) {
	rows = bson.A{}
	err = jsonElements(value, func(row []byte) error {
		var doc bson.D
		var failed error
		err := jsonMembers(row, func(name, value []byte) {
			e, err := literalField{json: f.children[string(name)]}.element(name, value)
			doc, failed = append(doc, e), cmp.Or(failed, err)
		})
		rows = append(rows, doc)
		return cmp.Or(failed, err)
	})
	return rows, err
}

func extendedValue(value []byte) (bson.RawValue, error) {
	var doc bson.Raw
	if err := bson.UnmarshalExtJSON(append(append([]byte(`{"":`), value...), '}'), false, &doc); err != nil {
		return bson.RawValue{}, err
	}
	return doc.Lookup(""), nil
}

// literalValue reads JSON as it is: each name gets a letter in front, so that none looks like one of Extended JSON, and
// loses it again.
func literalValue(value []byte) (any, error) {
	named, err := withLetters(nil, value)
	if err != nil {
		return nil, err
	}
	v, err := extendedValue(named)
	if err != nil {
		return nil, err
	}
	return withoutLetters(v)
}

func withLetters(b, value []byte) ([]byte, error) {
	var failed error
	switch value[0] {
	case '{':
		b = append(b, '{')
		begun := false
		err := jsonMembers(value, func(name, value []byte) {
			if begun {
				b = append(b, ',')
			}
			begun = true
			b = append(append(append(b, `"x`...), name...), `":`...)
			var err error
			b, err = withLetters(b, value)
			failed = cmp.Or(failed, err)
		})
		return append(b, '}'), cmp.Or(failed, err)
	case '[':
		b = append(b, '[')
		begun := false
		err := jsonElements(value, func(value []byte) (err error) {
			if begun {
				b = append(b, ',')
			}
			begun = true
			b, err = withLetters(b, value)
			return err
		})
		return append(b, ']'), err
	}
	return append(b, value...), nil
}

func withoutLetters(v bson.RawValue) (any, error) {
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		elements, err := v.Document().Elements()
		doc := make(bson.D, 0, len(elements))
		for _, e := range elements {
			value, verr := withoutLetters(e.Value())
			doc, err = append(doc, bson.E{Key: e.Key()[1:], Value: value}), cmp.Or(err, verr)
		}
		return doc, err
	case bson.TypeArray:
		values, err := v.Array().Values()
		list := make(bson.A, 0, len(values))
		for _, v := range values {
			value, verr := withoutLetters(v)
			list, err = append(list, value), cmp.Or(err, verr)
		}
		return list, err
	}
	return v, nil
}

// jsonElements gives the elements of a JSON array as they are written.
func jsonElements(array []byte, yield func(value []byte) error) error {
	i := skipSpace(array, 0)
	if i == len(array) || array[i] != '[' {
		return errors.New("no JSON array")
	}
	if i = skipSpace(array, i+1); i < len(array) && array[i] == ']' {
		return nil
	}
	for {
		end, err := skipJSON(array, i, 0)
		if err != nil {
			return err
		}
		if err := yield(array[i:end]); err != nil {
			return err
		}
		if i = skipSpace(array, end); i == len(array) || array[i] != ',' {
			return nil
		}
		i = skipSpace(array, i+1)
	}
}
