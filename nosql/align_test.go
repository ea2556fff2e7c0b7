package nosql

import (
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// of makes definitions of commands in Extended JSON, "collection: options: index: index".
func of(t *testing.T, all ...string) (out []definition) {
	t.Helper()
	for _, one := range all {
		parts := strings.Split(one, " | ")
		d := definition{Name: parts[0], Type: "collection", Indexes: []bson.D{{{Key: "v", Value: 2}, {Key: "key", Value: bson.D{{Key: "_id", Value: 1}}}, {Key: "name", Value: "_id_"}}}}
		for i, p := range parts[1:] {
			var doc bson.D
			must(t, bson.UnmarshalExtJSON([]byte(p), false, &doc))
			if i == 0 {
				d.Options = doc
				if lookup(doc, "viewOn") != nil {
					d.Type = typeView
				}
				continue
			}
			d.Indexes = append(d.Indexes, append(bson.D{{Key: "v", Value: 2}}, doc...))
		}
		out = append(out, d)
	}
	return out
}

func TestCommandsLeadFromOneStructureToAnother(t *testing.T) {
	t.Parallel()
	a, b := `{"key": {"a": 1}, "name": "a_1"}`, `{"key": {"b": 1}, "name": "b_1", "unique": true}`
	old := `{"key": {"at": 1}, "name": "at_1", "expireAfterSeconds": 60}`
	strict, other := `{"validator": {"a": {"$exists": true}}, "validationLevel": "moderate"}`, `{"validator": {"b": 1}}`
	for _, c := range []struct {
		name         string
		have, want   []string
		commands, no string
	}{
		{"nothing", []string{"x | {} | " + a}, []string{"x | {} | " + a}, ``, ""},
		{"our own books", []string{"schema_migrations", "tenantctl"}, nil, ``, ""},
		{"a collection that is missing", nil, []string{"x | {\"capped\": true, \"size\": 4096} | " + a}, `{"create":"x","capped":true,"size":{"$numberInt":"4096"}} {"createIndexes":"x","indexes":[{"key":{"a":{"$numberInt":"1"}},"name":"a_1"}]}`, ""},
		{"an index that is missing", []string{"x | {}"}, []string{"x | {} | " + b}, `{"createIndexes":"x","indexes":[{"key":{"b":{"$numberInt":"1"}},"name":"b_1","unique":true}]}`, ""},
		{"an index too many", []string{"x | {} | " + a + " | " + b}, []string{"x | {} | " + b}, `{"dropIndexes":"x","index":["a_1"]}`, ""},
		{
			"an index that is another",
			[]string{`x | {} | {"key": {"a": -1}, "name": "a_1"}`},
			[]string{"x | {} | " + a},
			`{"dropIndexes":"x","index":["a_1"]} {"createIndexes":"x","indexes":[{"key":{"a":{"$numberInt":"1"}},"name":"a_1"}]}`, "",
		},
		{"an index that deletes by age", []string{"x | {} | " + a}, []string{"x | {} | " + old}, "", "index at_1 of x makes the server delete documents by their age"},
		{"a missing collection with such an index", nil, []string{"x | {} | " + old}, `{"create":"x"} {"createIndexes":"x","indexes":[{"key":{"at":{"$numberInt":"1"}},"name":"at_1","expireAfterSeconds":{"$numberInt":"60"}}]}`, ""},
		{"a validator", []string{"x | " + other}, []string{"x | " + strict}, `{"collMod":"x","validationLevel":"moderate","validator":{"a":{"$exists":true}}}`, ""},
		{"a validator too many", []string{"x | " + strict}, []string{"x"}, `{"collMod":"x","validationLevel":"strict","validator":{}}`, ""},
		{"a view", []string{`v | {"viewOn": "x", "pipeline": []}`}, []string{`v | {"viewOn": "y", "pipeline": []}`}, `{"collMod":"v","viewOn":"y","pipeline":[]}`, ""},
		{"a collection too many", []string{"x", "more"}, []string{"x"}, "", "collection more is not in the usual structure, and what it holds is not for this to drop"},
		{"an option for good", []string{`x | {"capped": true, "size": 4096}`}, []string{"x"}, "", "option capped of collection x is another in the usual structure, and cannot be changed once it is made"},
		{"a view in place of a collection", []string{"x"}, []string{`x | {"viewOn": "y", "pipeline": []}`}, "", "x is a collection, and a view in the usual structure"},
	} {
		commands, no := align(of(t, c.have...), of(t, c.want...))
		var texts []string
		for _, one := range commands {
			text, err := bson.MarshalExtJSON(one, true, false)
			must(t, err)
			if _, _, problem := parseCommand(text); problem != "" {
				t.Errorf("%s: the command %s", c.name, problem)
			}
			texts = append(texts, string(text))
		}
		if got := strings.Join(texts, " "); got != c.commands || no != c.no {
			t.Errorf("%s: the commands are %s, want %s; the reason is %q, want %q", c.name, got, c.commands, no, c.no)
		}
	}
}

func TestAnIndexThatDoesNotFitTheDocumentsLeavesTheOneBefore(t *testing.T) {
	r := connect(t, Config{URL: tenanttest.MongoURL(t), Dir: example, Timeout: 5 * time.Second})
	a, like := newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), a))
	must(t, r.Create(t.Context(), like))
	for _, one := range []struct {
		t      tenant.Tenant
		unique bool
	}{{a, false}, {like, true}} {
		index := bson.D{{Key: "key", Value: bson.D{{Key: "email", Value: 1}}}, {Key: "name", Value: "email_1"}}
		if one.unique {
			index = append(index, bson.E{Key: "unique", Value: true})
		}
		must(t, r.send(t.Context(), r.db(one.t), bson.D{{Key: "createIndexes", Value: "people"}, {Key: "indexes", Value: bson.A{index}}}))
	}
	for range 2 {
		_, err := r.db(a).Collection("people").InsertOne(t.Context(), bson.D{{Key: "email", Value: "twice"}})
		must(t, err)
	}
	prints, err := r.Structures(t.Context(), []tenant.Tenant{a, like})
	must(t, err)
	statements, reason, err := r.Align(t.Context(), a, like)
	must(t, err)
	if len(statements) != 2 || reason != "" {
		t.Fatalf("the statements are %q, the reason %q", statements, reason)
	}
	if err := r.Realign(t.Context(), a, statements, prints[0], prints[1]); err == nil {
		t.Error("two documents alike have a unique index")
	}
	after, err := r.Structures(t.Context(), []tenant.Tenant{a})
	must(t, err)
	if after[0] != prints[0] {
		t.Error("the index is gone")
	}
}
