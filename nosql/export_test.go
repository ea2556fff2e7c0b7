package nosql

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// exported is a folder in memory.
type exported map[string]*bytes.Buffer

func (e exported) create(name string) (io.WriteCloser, error) {
	e[name] = &bytes.Buffer{}
	return closing{e[name]}, nil
}

type closing struct{ io.Writer }

func (closing) Close() error { return nil }

func export(t *testing.T, r *Resource, ten tenant.Tenant, format string) (exported, map[string]tenant.Exported) {
	t.Helper()
	files := exported{}
	list, err := r.Export(t.Context(), ten, format, files.create)
	must(t, err)
	byName := map[string]tenant.Exported{}
	for _, e := range list {
		byName[e.Name] = e
		if e.Store != tenant.KindMongoDB || files[e.File] == nil {
			t.Errorf("%s was not written: %+v", e.Name, e)
		}
	}
	if len(list) != len(files) {
		t.Errorf("%d files are described, %d were written", len(list), len(files))
	}
	return files, byName
}

func TestExportsRowsForPeople(t *testing.T) {
	r := direct(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	furnish(t, r, ten, 30)
	files, list := export(t, r, ten, tenant.FormatCSV)
	for _, book := range []string{ownCollection, versionCollection} {
		if _, there := list[book]; there {
			t.Errorf("%s was exported", book)
		}
	}
	records, err := csv.NewReader(files["types.csv"]).ReadAll()
	must(t, err)
	want := [][]string{
		{"_id", "double", "int", "long", "string", "empty", "bool", "null", "date", "binary", "uuid", "regex", "timestamp", "object", "array", "late"},
		{
			"0123456789abcdef01234567", "1.5", "7", "1152921504606846976", "ünï\ncödé \"quoted\", comma", "", "true", "", "1969-12-31T23:59:59.999Z", "AP8NCg==",
			"30313233-3435-3637-3839-616263646566", `{"$regularExpression":{"pattern":"^a/b","options":"i"}}`, `{"$timestamp":{"t":5,"i":6}}`, `{"b":1,"a":{}}`, `[1,"two",{"x":null}]`, "",
		},
		append([]string{"text"}, make([]string, 15)...),
		append(append([]string{"3"}, make([]string, 14)...), "1"),
	}
	if !slices.EqualFunc(records, want, func(a, b []string) bool { return slices.Equal(a, b) }) {
		t.Errorf("is\n%q\nnot\n%q", records, want)
	}
	if e := list["types"]; e.Rows != 3 || e.Fields[0].Type != "long|objectId|string" || !e.Fields[0].Key || e.Fields[0].Nullable || !e.Fields[1].Nullable || e.Fields[9].Type != "binData" {
		t.Errorf("described as %+v", e)
	}
	if f := list["small"].Fields[2]; f.Comment != "index by_n, unique index pair" || f.Type != "string" || f.Nullable {
		t.Errorf("described as %+v", f)
	}
	if e := list["void"]; e.Rows != 0 || len(e.Fields) != 0 || e.Fields == nil || files[e.File].Len() != 0 {
		t.Errorf("the empty collection is %+v", e)
	}

	files, list = export(t, r, ten, tenant.FormatNDJSON)
	lines := strings.Split(files["small.ndjson"].String(), "\n")
	if len(lines) != 31 || lines[3] != `{"_id":3,"n":3,"s":"row 3"}` || list["small"].Rows != 30 || len(list["small"].Fields) != 3 {
		t.Errorf("%d lines, such as %s", len(lines), lines[3])
	}
	if got := files["types.ndjson"].String(); !strings.Contains(got, `"date":{"$date":{"$numberLong":"-1"}}`) && !strings.Contains(got, `"date":{"$date":"1969-12-31T23:59:59.999Z"}`) {
		t.Errorf("is %s", got)
	}
	if files["a.b.ndjson"].String() != "{\"_id\":\"a.b\"}\n" {
		t.Errorf("files are %v", files)
	}
	_, err = r.Export(t.Context(), ten, "xml", files.create)
	refuses(t, err, tenant.ErrInvalid, `"xml"`)
	_, err = r.Export(t.Context(), newTenant(t), tenant.FormatCSV, files.create)
	refuses(t, err, tenant.ErrMissing)
}

func TestMoreFieldsThanColumnsAreRefusedAsCSVAndNotedElsewhere(t *testing.T) {
	r := direct(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	for i := range 3 {
		wide := bson.D{{Key: "_id", Value: i}}
		for j := range 700 {
			wide = append(wide, bson.E{Key: fmt.Sprintf("f%d_%d", i, j), Value: 1})
		}
		_, err := r.db(ten).Collection("wide").InsertOne(t.Context(), wide)
		must(t, err)
	}
	_, err := r.Export(t.Context(), ten, tenant.FormatCSV, exported{}.create)
	refuses(t, err, tenant.ErrInvalid, "wide", "2000 fields", "ndjson")
	_, list := export(t, r, ten, tenant.FormatNDJSON)
	if e := list["wide"]; len(e.Fields) != 2000 || e.Rows != 3 || !strings.Contains(e.Comment, "first 2000") {
		t.Errorf("%d fields, %q", len(e.Fields), e.Comment)
	}
}

func TestAFieldThatAppearsWhileColumnsAreWrittenIsRefused(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	_, err := r.db(ten).Collection("x").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	must(t, err)
	var reads atomic.Int64
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if name, _ := c.Body.Lookup("find").StringValueOK(); name == "x" {
			if reads.Add(1) == 2 {
				_, err := plain(t).Database(ten.Database).Collection("x").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 2}, {Key: "late", Value: 1}})
				must(t, err)
			}
		}
		return mongoproxy.Action{}
	})
	_, err = r.Export(t.Context(), ten, tenant.FormatCSV, exported{}.create)
	refuses(t, err, tenant.ErrBusy, `"late"`)
}

func TestAnExportThatCannotBeWrittenFails(t *testing.T) {
	r := direct(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	_, err := r.Export(t.Context(), ten, tenant.FormatNDJSON, func(string) (io.WriteCloser, error) { return nil, errFull })
	if !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}
