package nosql

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// maxFields bounds the columns of a CSV file and the entries of the data dictionary for one collection.
const maxFields = 2000

// Export writes a file for each collection and time series: CSV with a column for each field at the top of any document,
// in the order that they were first met, or relaxed Extended JSON, a document a line. Our books are left out, and views,
// which hold nothing of their own. In CSV, what has fields of its own is JSON, binary data is base64, and a field that
// is null or missing is empty.
func (r *Resource) Export(ctx context.Context, t tenant.Tenant, format string, create func(name string) (io.WriteCloser, error)) ([]tenant.Exported, error) {
	if format != tenant.FormatCSV && format != tenant.FormatNDJSON {
		return nil, refused(tenant.ErrInvalid, "use csv or ndjson", "unknown format %q", format)
	}
	s, err := r.look(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := r.usable(ctx, t, &s); err != nil {
		return nil, err
	}
	v, err := r.read(ctx, t)
	if err != nil {
		return nil, err
	}
	exported := []tenant.Exported{}
	for _, d := range v.defs {
		if isBook(d.Name) || d.Type == typeView {
			continue
		}
		file := fileStem(d.Name) + "." + format
		w, err := create(file)
		if err != nil {
			return nil, err
		}
		out := bufio.NewWriter(w)
		found := fields{byName: map[string]*field{}}
		if format == tenant.FormatCSV {
			err = v.writeCSV(ctx, d, &found, out)
		} else {
			err = v.writeLines(ctx, d, &found, out)
		}
		if err == nil {
			err = out.Flush()
		}
		if err = errors.Join(err, w.Close()); err != nil {
			return nil, err
		}
		e := tenant.Exported{Store: tenant.KindMongoDB, Name: d.Name, File: file, Rows: found.rows, Fields: found.describe(d)}
		if found.more {
			e.Comment = fmt.Sprintf("only the first %d fields are described", maxFields)
		}
		exported = append(exported, e)
	}
	return exported, nil
}

// writeCSV reads twice: the fields, then the rows.
func (v *reading) writeCSV(ctx context.Context, d definition, found *fields, w io.Writer) error {
	if err := v.find(ctx, d, d.Name, found.add); err != nil {
		return err
	}
	if found.more {
		return refused(tenant.ErrInvalid, "use ndjson", "collection %s has more than %d fields, too many for columns", d.Name, maxFields)
	}
	if len(found.order) == 0 {
		return nil
	}
	out := csv.NewWriter(w)
	if err := out.Write(found.order); err != nil {
		return err
	}
	var rows int64
	row := make([]string, len(found.order))
	err := v.find(ctx, d, d.Name, func(doc bson.Raw) error {
		clear(row)
		elements, err := doc.Elements()
		if err != nil {
			return failure("read collection "+d.Name, err)
		}
		for _, e := range elements {
			f := found.byName[e.Key()]
			if f == nil {
				return refused(tenant.ErrBusy, "suspend the tenant meanwhile, or use ndjson", "collection %s got the field %q while it was written", d.Name, e.Key())
			}
			if row[f.column], err = cell(e.Value()); err != nil {
				return failure("write a value of collection "+d.Name, err)
			}
		}
		rows++
		return out.Write(row)
	})
	if err != nil {
		return err
	}
	found.rows = rows // of the second reading, where no snapshot makes both the same
	out.Flush()
	return out.Error()
}

func (v *reading) writeLines(ctx context.Context, d definition, found *fields, w io.Writer) error {
	return v.find(ctx, d, d.Name, func(doc bson.Raw) error {
		if err := found.add(doc); err != nil {
			return err
		}
		line, err := bson.MarshalExtJSON(doc, false, false)
		if err != nil {
			return failure("write a document of collection "+d.Name, err)
		}
		_, err = w.Write(append(line, '\n'))
		return err
	})
}

// cell is a value as text.
func cell(v bson.RawValue) (string, error) {
	switch v.Type {
	case bson.TypeNull, bson.TypeUndefined:
		return "", nil
	case bson.TypeString:
		return v.StringValue(), nil
	case bson.TypeSymbol:
		return v.Symbol(), nil
	case bson.TypeBoolean:
		return strconv.FormatBool(v.Boolean()), nil
	case bson.TypeInt32:
		return strconv.FormatInt(int64(v.Int32()), 10), nil
	case bson.TypeInt64:
		return strconv.FormatInt(v.Int64(), 10), nil
	case bson.TypeDouble:
		return strconv.FormatFloat(v.Double(), 'g', -1, 64), nil
	case bson.TypeDecimal128:
		return v.Decimal128().String(), nil
	case bson.TypeObjectID:
		return v.ObjectID().Hex(), nil
	case bson.TypeDateTime:
		return time.UnixMilli(v.DateTime()).UTC().Format("2006-01-02T15:04:05.000Z07:00"), nil
	case bson.TypeBinary:
		subtype, data := v.Binary()
		if subtype == bson.TypeBinaryUUID && len(data) == 16 {
			return fmt.Sprintf("%x-%x-%x-%x-%x", data[:4], data[4:6], data[6:8], data[8:10], data[10:]), nil
		}
		return base64.StdEncoding.EncodeToString(data), nil
	}
	// Extended JSON writes documents only, so the value is taken out of one.
	text, err := bson.MarshalExtJSON(bson.D{{Key: "v", Value: v}}, false, false)
	return strings.TrimSuffix(strings.TrimPrefix(string(text), `{"v":`), "}"), err
}

// fields is what was met at the top of a collection's documents.
type fields struct {
	rows   int64
	order  []string
	byName map[string]*field
	more   bool // there were more than are kept
}

type field struct {
	column int
	types  []bson.Type
	rows   int64 // documents that have it
}

func (f *fields) add(doc bson.Raw) error {
	f.rows++
	elements, err := doc.Elements()
	if err != nil {
		return failure("read a document", err)
	}
	for _, e := range elements {
		name := e.Key()
		known := f.byName[name]
		if known == nil {
			if len(f.order) == maxFields {
				f.more = true
				continue
			}
			known = &field{column: len(f.order)}
			f.order = append(f.order, name)
			f.byName[name] = known
		}
		known.rows++
		if kind := e.Value().Type; !slices.Contains(known.types, kind) {
			known.types = append(known.types, kind)
		}
	}
	return nil
}

// typeNames are MongoDB's own aliases ($type), where the driver has others.
var typeNames = map[bson.Type]string{
	bson.TypeEmbeddedDocument: "object", bson.TypeBinary: "binData", bson.TypeObjectID: "objectId", bson.TypeBoolean: "bool",
	bson.TypeDateTime: "date", bson.TypeDBPointer: "dbPointer", bson.TypeCodeWithScope: "javascriptWithScope", bson.TypeJavaScript: "javascript",
	bson.TypeInt32: "int", bson.TypeInt64: "long", bson.TypeDecimal128: "decimal", bson.TypeMinKey: "minKey", bson.TypeMaxKey: "maxKey",
}

// describe lists the fields in order, with their types and the indexes that they are in.
func (f *fields) describe(d definition) []tenant.ExportedField {
	out := make([]tenant.ExportedField, len(f.order))
	for i, name := range f.order {
		known := f.byName[name]
		var kinds []string
		for _, k := range known.types {
			alias, other := typeNames[k]
			if !other {
				alias = k.String()
			}
			kinds = append(kinds, alias)
		}
		slices.Sort(kinds)
		out[i] = tenant.ExportedField{
			Name: name, Type: strings.Join(kinds, "|"), Key: name == "_id", Comment: indexesOf(d, name),
			Nullable: known.rows < f.rows || slices.Contains(kinds, "null"),
		}
	}
	return out
}

// indexesOf names the indexes that a field is part of, itself or by a field in it; empty for none.
func indexesOf(d definition, field string) string {
	var in []string
	for _, x := range d.Indexes {
		keys, _ := lookup(x, "key").(bson.D)
		part := slices.ContainsFunc(keys, func(e bson.E) bool { return e.Key == field || strings.HasPrefix(e.Key, field+".") })
		if !part || madeByCreate(x) {
			continue
		}
		kind := "index"
		if isTrue(x, "unique") {
			kind = "unique index"
		}
		in = append(in, fmt.Sprintf("%s %v", kind, lookup(x, "name")))
	}
	return strings.Join(in, ", ")
}
