package nosql

import (
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// checked is what the check says of one command, for a stated version of the server.
func checked(t *testing.T, r *Resource, command string) string {
	t.Helper()
	r.cfg.Dir = folder(t, map[string]string{"00001_a.up.json": "[" + command + "]", "00001_a.down.json": `[{"drop": "a"}]`})
	found, err := r.Check(t.Context())
	must(t, err)
	var said []string
	for _, f := range found {
		said = append(said, f.Severity+" "+f.Rule+" "+f.Message)
	}
	return strings.Join(said, "\n")
}

func TestTheCheckKnowsWhatAServersVersionRefuses(t *testing.T) {
	index := func(spec string) string { return `{"createIndexes": "a", "indexes": [` + spec + `]}` }
	for _, c := range []struct{ command, refuses, takes, says string }{
		{`{"create": "a", "timeseries": {"timeField": "t"}}`, "4.4", "5.0", "timeseries needs MongoDB 5.0"},
		{`{"create": "a", "timeseries": {"timeField": "t", "bucketMaxSpanSeconds": 60, "bucketRoundingSeconds": 60}}`, "6.0", "7.0", "6.3"},
		{`{"create": "a", "clusteredIndex": {"key": {"_id": 1}, "unique": true}}`, "5.0", "6.0", "clusteredIndex"},
		{`{"create": "a", "viewOn": "b", "pipeline": [{"$unionWith": "c"}]}`, "4.2", "4.4", "$unionWith"},
		{`{"collMod": "a", "index": {"name": "x", "prepareUnique": true}}`, "5.0.9", "6.0.1", "index.prepareUnique"},
		{`{"collMod": "a", "changeStreamPreAndPostImages": {"enabled": true}}`, "5", "6", "changeStreamPreAndPostImages"},
		{`{"aggregate": "a", "pipeline": [{"$setWindowFields": {}}, {"$out": "b"}]}`, "4.4", "5.0", "$setWindowFields"},
		{index(`{"key": {"x": 1}, "name": "x", "hidden": true}`), "4.2", "4.4", "hidden index"},
		{index(`{"key": {"$**": 1, "x": 1}, "name": "x"}`), "6.0", "7.0", "compound wildcard"},
		{index(`{"key": {"x": 1}, "name": "x", "partialFilterExpression": {"$or": [{"a": 1}]}}`), "5.0", "6.0", "partial index"},
		{index(`{"key": {"x": "geoHaystack", "y": 1}, "name": "x", "bucketSize": 1}`), "5.0", "4.4", "geoHaystack"},
	} {
		if got := checked(t, New(nil, Config{Version: c.refuses}), c.command); !strings.Contains(got, "error server-version") || !strings.Contains(got, c.says) {
			t.Errorf("for %s, of %s it says %q", c.refuses, c.command, got)
		}
		if got := checked(t, New(nil, Config{Version: c.takes}), c.command); strings.Contains(got, "server-version") {
			t.Errorf("for %s, of %s it says %q", c.takes, c.command, got)
		}
		if got := checked(t, New(nil, Config{}), c.command); !strings.Contains(got, "warning server-version") || !strings.Contains(got, "nosql.version") {
			t.Errorf("for a server that nobody knows, of %s it says %q", c.command, got)
		}
	}
}

func TestTheCheckKnowsIndexesThatEveryServerRefuses(t *testing.T) {
	for spec, want := range map[string]string{
		`{"key": {"x": 1, "y": -1}}`:                                "error index-name createIndexes a: the index of {\"x\":1,\"y\":-1} has no name",
		`{"key": {}, "name": "x"}`:                                  "error index-key createIndexes a: an index has no key",
		`{"key": {"x": 0}, "name": "x"}`:                            "the key x of an index",
		`{"key": {"x": "ascending"}, "name": "x"}`:                  "the key x of an index",
		`{"key": {"x": 1}, "name": "x", "expireAfterSecond": 5}`:    "no option expireAfterSecond",
		`{"key": {"x": "text"}, "name": "x", "weights": {"x": 2}}`:  "",
		`{"key": {"x": {"$numberLong": "-1"}}, "name": "x_unique"}`: "",
	} {
		got := checked(t, New(nil, Config{Version: "8.0"}), `{"createIndexes": "a", "indexes": [`+spec+`]}`)
		if want == "" && strings.Contains(got, "index") || !strings.Contains(got, want) {
			t.Errorf("of %s it says %q", spec, got)
		}
	}
	if got := checked(t, New(nil, Config{}), `{"createIndexes": "a", "indexes": [{"key": {"x": 1, "y": -1}}]}`); !strings.Contains(got, "x_1_y_-1") {
		t.Errorf("the name is not proposed: %q", got)
	}
}

// Where nothing is stated the server that is there is asked.
func TestTheCheckAsksTheServerForItsVersion(t *testing.T) {
	p := mongoproxy.Start(t, tenanttest.MongoURL(t))
	r := connect(t, Config{URL: p.URL(), Dir: example})
	series := `{"create": "a", "timeseries": {"timeField": "t"}}`
	for reply, want := range map[string]string{
		`{"version": "4.4.29", "ok": 1}`:                                                       "error server-version create a: create with timeseries needs MongoDB 5.0",
		`{"version": "7.0.14", "ok": 1}`:                                                       "",
		`{"version": "7.0.42", "ferretdbVersion": "v1.24.0", "ok": 1}`:                         "error server-version create a: FerretDB 1 does not do create with timeseries",
		`{"version": "7.0.42", "ferretdbVersion": "unknown", "ferretdbFeatures": {}, "ok": 1}`: "error server-version create a: FerretDB 1",
		`{"version": "7.0.77", "ferretdb": {"version": "v2.4.0"}, "ok": 1}`:                    "",
		`{"ok": 0, "code": 13, "codeName": "Unauthorized", "errmsg": "admin"}`:                 "warning server-version",
	} {
		var doc bson.D
		must(t, bson.UnmarshalExtJSON([]byte(reply), false, &doc))
		p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
			if c.Name != "buildInfo" {
				return mongoproxy.Action{}
			}
			return mongoproxy.Action{Reply: doc}
		})
		got := checked(t, r, series)
		if want == "" && strings.Contains(got, "server-version") || !strings.Contains(got, want) {
			t.Errorf("of a server that answers %s it says %q", reply, got)
		}
	}
}
