package nosql

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// printed takes what exec gives for one tenant.
type printed struct {
	columns []string
	rows    []string
}

func (p *printed) Columns(names []string) error {
	p.columns = names
	return nil
}

func (p *printed) Row(values []any) error {
	p.rows = append(p.rows, string(values[0].(json.RawMessage)))
	return nil
}

func TestExecRunsACommandInATenantsDatabase(t *testing.T) {
	r, p := proxied(t, folder(t, map[string]string{"00001_a.up.json": `[{"create": "orders"}]`}))
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	for _, c := range []struct {
		statement string
		rows      int64
		prints    []string
	}{
		{`{"insert": "orders", "documents": [{"_id": 1, "state": "open"}, {"_id": 2, "state": "open"}, {"_id": 3, "state": "paid"}]}`, 3, nil},
		{`{"update": "orders", "updates": [{"q": {"state": "open"}, "u": {"$set": {"seen": true}}, "multi": true}]}`, 2, nil},
		{`{"find": "orders", "sort": {"_id": 1}, "batchSize": 1}`, 3, []string{
			`{"_id":1,"state":"open","seen":true}`, `{"_id":2,"state":"open","seen":true}`, `{"_id":3,"state":"paid"}`,
		}},
		{`{"aggregate": "orders", "pipeline": [{"$match": {"state": "paid"}}]}`, 1, []string{`{"_id":3,"state":"paid"}`}},
		{`{"count": "orders", "query": {"state": "open"}}`, 1, []string{`{"n":2}`}},
		{`{"distinct": "orders", "key": "state"}`, 1, []string{`{"values":["open","paid"]}`}},
		{`{"delete": "orders", "deletes": [{"q": {"_id": 3}, "limit": 1}]}`, 1, nil},
		{`{"createIndexes": "orders", "indexes": [{"key": {"state": 1}, "name": "state"}]}`, 0, nil},
		{`{"renameCollection": "orders", "to": "sales"}`, 0, nil},
		{`{"count": "sales"}`, 1, []string{`{"n":2}`}},
	} {
		p.Intercept(nil)
		var out printed
		rows, err := r.Exec(t.Context(), ten, asked(c.statement), &out)
		must(t, err)
		if rows != c.rows || !slices.Equal(out.rows, c.prints) {
			t.Errorf("%s gives %d rows: %s", c.statement, rows, out.rows)
		}
	}
}

// asked is a statement that may do whatever exec does.
func asked(text string) tenant.Statement { return tenant.Statement{Text: text, Write: true, DDL: true} }

func TestExecOnlyReadsUnlessItIsAskedTo(t *testing.T) {
	r := New(nil, Config{})
	for statement, why := range map[string]string{
		`{"insert": "a", "documents": [{}]}`:              "add --write",
		`{"aggregate": "a", "pipeline": [{"$out": "b"}]}`: "add --write",
		`{"drop": "a"}`: "migrate new NAME --mongodb",
		`{"createIndexes": "a", "indexes": [{"key": {"b": 1}, "name": "b"}]}`: "migrate new NAME --mongodb",
	} {
		refuses(t, r.Admit(tenant.Statement{Text: statement}), tenant.ErrInvalid, why)
	}
	refuses(t, r.Admit(tenant.Statement{Text: `{"drop": "a"}`, Write: true}), tenant.ErrInvalid, "--ddl")
	must(t, r.Admit(tenant.Statement{Text: `{"insert": "a", "documents": [{}]}`, Write: true}))
	must(t, r.Admit(tenant.Statement{Text: `{"count": "a"}`}))
}

// Refusals come before anything is sent.
func TestExecRefusesWhatLeavesADatabaseOrDoesNotEnd(t *testing.T) {
	r := New(nil, Config{})
	for statement, why := range map[string]string{
		``:                                        "one MongoDB command",
		`[{"count": "a"}]`:                        "one MongoDB command",
		`{"count": "a"} {"count": "b"}`:           "one MongoDB command",
		`{}`:                                      "has no name",
		`{"dropDatabase": 1}`:                     "dropDatabase is refused",
		`{"createUser": "x", "pwd": "y"}`:         "tenantctl alone makes users",
		`{"grantRolesToUser": "x", "roles": []}`:  "tenantctl alone makes users",
		`{"usersInfo": 1}`:                        "may reach beyond",
		`{"shutdown": 1}`:                         "may reach beyond",
		`{"getMore": {"$numberLong": "1"}}`:       "may reach beyond",
		`{"eval": "1"}`:                           "may reach beyond",
		`{"mapReduce": "a"}`:                      "may reach beyond",
		`{"find": 1}`:                             "the collection is missing",
		`{"aggregate": 1, "pipeline": []}`:        "the collection is missing",
		`{"find": "a", "$db": "other"}`:           "the connection's own",
		`{"find": "a", "lsid": {}}`:               "the connection's own",
		`{"find": "a", "tailable": true}`:         "does not end",
		`{"insert": "a", "$db": "other"}`:         "the connection's own",
		`{"insert": "tenantctl", "documents":[]}`: "tenantctl's own",
		`{"drop": "schema_migrations"}`:           "tenantctl's own",
		`{"delete": "system.views"}`:              "the server's own",
		`{"renameCollection": "a", "to": "b.c"}`:  "by name alone",
		`{"insert": "a", "documents": [], "writeConcern": {"w": 0}}`:                        "no acknowledgement",
		`{"aggregate": "a", "pipeline": [{"$changeStream": {}}]}`:                           "does not end",
		`{"aggregate": "a", "pipeline": [{"$out": {"db": "other", "coll": "b"}}]}`:          "names a database",
		`{"aggregate": "a", "pipeline": [{"$merge": {"into": {"db": "o", "coll": "b"}}}]}`:  "names a database",
		`{"aggregate": "a", "pipeline": [{"$out": "tenantctl"}]}`:                           "tenantctl's own",
		`{"aggregate": "a", "pipeline": [{"$lookup": {"from": {"db": "o", "coll": "b"}}}]}`: "names a database",
		`{"explain": {"dropDatabase": 1}}`:                                                  "dropDatabase is refused",
		`{"explain": {"explain": {"find": "a"}}}`:                                           "is missing",
	} {
		refuses(t, r.Admit(asked(statement)), tenant.ErrInvalid, why)
		if got := r.WithoutValues(statement); got != "" {
			t.Errorf("of %s it notes %s", statement, got)
		}
	}
}

func TestExecKeepsValuesToItself(t *testing.T) {
	r := New(nil, Config{})
	got := r.WithoutValues(`{"update": "people", "updates": [{"q": {"mail": "a@acme.example"}, "u": {"$set": {"pin": 1234}}}], "comment": "for 1234"}`)
	if want := `{"update":"people","updates":"?","comment":"?"}`; got != want {
		t.Errorf("%s is noted", got)
	}
}

func TestExecTouchesOnlyWhatIsTheTenants(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	insert := `{"insert": "orders", "documents": [{"_id": 1}]}`
	_, err := r.Exec(t.Context(), ten, asked(insert), new(printed))
	refuses(t, err, tenant.ErrMissing, "does not exist")
	must(t, r.Create(t.Context(), ten))
	other := newTenant(t)
	other.Database = ten.Database
	p.Intercept(nil)
	_, err = r.Exec(t.Context(), other, asked(insert), new(printed))
	refuses(t, err, tenant.ErrForeign, "was not made for this tenant")
	for _, c := range p.Commands() {
		if c.Name == "insert" {
			t.Error("the document was sent")
		}
	}
}

// MongoDB has no transaction around a command: what is said of one that fails in the middle must not sound as if it had.
func TestExecSaysThatAFailedWriteIsNotUndone(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	statement := `{"insert": "orders", "documents": [{"_id": 1}, {"_id": 1}]}`
	_, err := r.Exec(t.Context(), ten, asked(statement), new(printed))
	if got := explained(err); !strings.Contains(got, "stays changed") || strings.Contains(got, "_id: 1") {
		t.Error(got)
	}
	for code, kind := range map[int32]error{13: tenant.ErrRights, 10107: tenant.ErrUnreachable, 11602: tenant.ErrUnreachable} {
		p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
			if c.Name != "delete" {
				return mongoproxy.Action{}
			}
			return mongoproxy.Action{Reply: mongoproxy.Refusal(code, fmt.Sprint("Code", code), "refused")}
		})
		_, err := r.Exec(t.Context(), ten, asked(`{"delete": "orders", "deletes": [{"q": {}, "limit": 0}]}`), new(printed))
		refuses(t, err, kind)
	}
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if c.Name != "delete" {
			return mongoproxy.Action{}
		}
		concern := bson.D{{Key: "code", Value: int32(64)}, {Key: "errmsg", Value: "waiting for replication timed out"}}
		return mongoproxy.Action{Reply: bson.D{{Key: "n", Value: int32(1)}, {Key: "writeConcernError", Value: concern}, {Key: "ok", Value: 1.0}}}
	})
	_, err = r.Exec(t.Context(), ten, asked(`{"delete": "orders", "deletes": [{"q": {}, "limit": 0}]}`), new(printed))
	if got := explained(err); !strings.Contains(got, "stays changed") || !strings.Contains(got, "waiting for replication timed out") {
		t.Error(got)
	}
}
