package nosql

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// one reads a single command as a migration file holds it.
func one(t *testing.T, text string) command {
	t.Helper()
	commands, flaws := readCommands([]byte("[" + text + "]"))
	if len(flaws) > 0 || len(commands) != 1 {
		t.Fatalf("%s: %v", text, flaws)
	}
	return commands[0]
}

// inPlace runs commands in a tenant's database as a migration would; each with its own book, as if resumed.
func inPlace(t *testing.T, r *Resource, ten tenant.Tenant, texts ...string) error {
	t.Helper()
	for _, text := range texts {
		s, err := r.look(t.Context(), ten)
		must(t, err)
		s.book.progress.Running = &running{}
		c := one(t, text)
		if err := r.execute(t.Context(), ten, c, &s.book); err != nil {
			return located(err, &side{path: "file"}, 0, c)
		}
	}
	return nil
}

func TestACommandThatRanAlreadyIsSuccess(t *testing.T) {
	for _, c := range []struct{ before, command string }{
		{`{"create": "x"}`, `{"create": "x"}`},
		{`{"create": "x"}`, `{"create": "x", "comment": "again"}`},
		{`{"create": "x", "capped": true, "size": 4096}`, `{"create": "x", "capped": true, "size": {"$numberLong": "4096"}}`},
		{`{"create": "x"}`, `{"create": "x", "capped": false}`},
		{`{"createIndexes": "x", "indexes": [{"key": {"a": 1}, "name": "a"}]}`, `{"createIndexes": "x", "indexes": [{"key": {"a": 1}, "name": "a"}]}`},
		{`{"createIndexes": "x", "indexes": [{"key": {"a": 1}, "name": "a", "unique": true}]}`, `{"createIndexes": "x", "indexes": [{"key": {"a": 1}, "name": "a", "unique": true}, {"key": {"b": -1}, "name": "b"}]}`},
		{`{"create": "x"}`, `{"drop": "gone"}`},
		{`{"create": "x"}`, `{"dropIndexes": "gone", "index": "a"}`},
		{`{"create": "x"}`, `{"dropIndexes": "x", "index": "a"}`},
		{`{"create": "x"}`, `{"dropIndexes": "x", "index": {"a": 1}}`},
		{`{"insert": "x", "documents": [{"_id": 1, "a": {"b": [1, 2]}}]}`, `{"insert": "x", "documents": [{"a": {"b": [1, 2]}, "_id": 1}]}`},
		{`{"insert": "x", "documents": [{"_id": 1}, {"_id": 3}]}`, `{"insert": "x", "documents": [{"_id": 1}, {"_id": 2}, {"_id": 3}, {"_id": 4}]}`},
		{`{"insert": "x", "documents": [{"_id": 1}, {"_id": 3}]}`, `{"insert": "x", "ordered": false, "documents": [{"_id": 1}, {"_id": 2}, {"_id": 3}, {"_id": 4}]}`},
	} {
		t.Run(c.command, func(t *testing.T) {
			r := direct(t, example)
			ten := newTenant(t)
			must(t, inPlace(t, r, ten, c.before, c.command, c.command))
			if docs := one(t, c.command).documents("documents"); len(docs) > 0 {
				n, err := r.db(ten).Collection("x").CountDocuments(t.Context(), bson.D{})
				must(t, err)
				if n != int64(len(docs)) {
					t.Errorf("%d documents, want %d", n, len(docs))
				}
			}
		})
	}
}

func TestComparesNumbersByValueAndKeysInOrder(t *testing.T) {
	read := func(text string) any { return one(t, `{"create": "x", "v": `+text+`}`).field("v") }
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{`1`, `{"$numberLong": "1"}`, true},
		{`1`, `1.0`, true},
		{`1`, `true`, false},
		{`"1"`, `1`, false},
		{`{"a": 1, "b": 2}`, `{"a": 1.0, "b": 2}`, true},
		{`{"a": 1, "b": 2}`, `{"b": 2, "a": 1}`, false},
		{`[1, {"a": null}]`, `[1, {"a": null}]`, true},
		{`[1, 2]`, `[2, 1]`, false},
		{`{"$oid": "507f1f77bcf86cd799439011"}`, `{"$oid": "507f1f77bcf86cd799439011"}`, true},
		{`{"$oid": "507f1f77bcf86cd799439011"}`, `{"$oid": "507f1f77bcf86cd799439012"}`, false},
	} {
		if got := equal(read(c.a), read(c.b)); got != c.same {
			t.Errorf("%s and %s are equal: %v", c.a, c.b, got)
		}
	}
}

func TestDropsTheIndexesThatAreLeft(t *testing.T) {
	r := direct(t, example)
	ten := newTenant(t)
	must(t, inPlace(t, r, ten,
		`{"createIndexes": "x", "indexes": [{"key": {"a": 1}, "name": "a"}, {"key": {"b": 1}, "name": "b"}]}`,
		`{"dropIndexes": "x", "index": ["gone", "a", "b"]}`))
	left, err := r.indexes(t.Context(), ten, "x")
	must(t, err)
	if len(left) != 1 {
		t.Errorf("indexes left: %v", left)
	}
}

func TestNamesBothDefinitionsWhereTheyDiffer(t *testing.T) {
	for _, c := range []struct {
		before, command, code string
		says                  []string
	}{
		{`{"create": "x"}`, `{"create": "x", "capped": true, "size": 4096}`, "NamespaceExists", []string{`{}`, `"capped":true`}},
		{`{"create": "x", "capped": true, "size": 4096}`, `{"create": "x"}`, "NamespaceExists", []string{`"capped":true`, `not {}`}},
		{`{"create": "x", "capped": true, "size": 4096}`, `{"create": "x", "capped": true, "size": 8192}`, "NamespaceExists", []string{"4096", "8192"}},
		{
			`{"createIndexes": "x", "indexes": [{"key": {"a": 1}, "name": "a"}]}`, `{"createIndexes": "x", "indexes": [{"key": {"a": -1}, "name": "a"}]}`,
			"IndexKeySpecsConflict",
			[]string{`{"a":1}`, `{"a":-1}`},
		},
		{
			`{"createIndexes": "x", "indexes": [{"key": {"a": 1}, "name": "a"}]}`, `{"createIndexes": "x", "indexes": [{"key": {"a": 1}, "name": "a", "unique": true}]}`,
			"IndexOptionsConflict",
			[]string{`{"key":{"a":1},"name":"a"}`, `"unique":true`},
		},
		{
			`{"createIndexes": "x", "indexes": [{"key": {"a": 1}, "name": "a"}]}`, `{"createIndexes": "x", "indexes": [{"key": {"a": 1}, "name": "other"}]}`,
			"IndexOptionsConflict",
			[]string{`"name":"a"`, `"name":"other"`},
		},
	} {
		t.Run(c.command, func(t *testing.T) {
			r := direct(t, example)
			ten := newTenant(t)
			e := refuses(t, inPlace(t, r, ten, c.before, c.command), tenant.ErrMigration, append(c.says, "collection x", "file:1:")...)
			if e.Code != c.code || e.Hint == "" {
				t.Errorf("code %q, hint %q", e.Code, e.Hint)
			}
		})
	}
}

// What MongoDB answers and the server of the tests does not: its documented replies, given by the proxy.
func TestUnderstandsMongoDBsAnswers(t *testing.T) {
	listed := func(docs ...bson.D) bson.D {
		batch := bson.A{}
		for _, d := range docs {
			batch = append(batch, d)
		}
		return bson.D{{Key: "cursor", Value: bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: "x.y"}, {Key: "firstBatch", Value: batch}}}, {Key: "ok", Value: 1.0}}
	}
	view := bson.D{
		{Key: "name", Value: "x"},
		{Key: "type", Value: "view"},
		{Key: "options", Value: bson.D{{Key: "viewOn", Value: "docs"}, {Key: "pipeline", Value: bson.A{bson.D{{Key: "$match", Value: bson.D{{Key: "a", Value: 1}}}}}}}},
	}
	checked := bson.D{{Key: "name", Value: "x"}, {Key: "type", Value: "collection"}, {Key: "options", Value: bson.D{
		{Key: "validator", Value: bson.D{{Key: "a", Value: 1}}},
		{Key: "validationLevel", Value: "strict"},
		{Key: "validationAction", Value: "error"},
		{Key: "collation", Value: bson.D{{Key: "locale", Value: "en"}, {Key: "caseLevel", Value: false}, {Key: "strength", Value: int32(3)}}},
	}}}
	exists := mongoproxy.Refusal(48, "NamespaceExists", "Collection x.y already exists.")
	sparse := bson.D{{Key: "v", Value: 2}, {Key: "key", Value: bson.D{{Key: "a", Value: 1}}}, {Key: "name", Value: "a"}, {Key: "expireAfterSeconds", Value: 10}}
	for _, c := range []struct {
		name, command string
		replies       map[string]bson.D
		kind          error
		says          string
		code          string
	}{
		{name: "drop of what is gone", command: `{"drop": "x"}`, replies: map[string]bson.D{"drop": mongoproxy.Refusal(26, "NamespaceNotFound", "ns not found")}},
		{
			name: "a view that is the same", command: `{"create": "x", "viewOn": "docs", "pipeline": [{"$match": {"a": 1}}]}`,
			replies: map[string]bson.D{"create": exists, "listCollections": listed(view)},
		},
		{
			name: "a view that is another", command: `{"create": "x", "viewOn": "docs", "pipeline": [{"$match": {"a": 2}}]}`,
			replies: map[string]bson.D{"create": exists, "listCollections": listed(view)}, kind: tenant.ErrMigration, says: `not {"viewOn":"docs","pipeline":[{"$match":{"a":2}}]}`, code: "NamespaceExists",
		},
		{
			name: "defaults that the server fills in", command: `{"create": "x", "validator": {"a": 1}, "collation": {"locale": "en"}}`,
			replies: map[string]bson.D{"create": exists, "listCollections": listed(checked)},
		},
		{
			name: "another validator", command: `{"create": "x", "validator": {"a": 1, "b": 1}, "collation": {"locale": "en"}}`,
			replies: map[string]bson.D{"create": exists, "listCollections": listed(checked)}, kind: tenant.ErrMigration, says: `"validator":{"a":1}`, code: "NamespaceExists",
		},
		{
			name: "another collation", command: `{"create": "x", "validator": {"a": 1}, "collation": {"locale": "en", "strength": 1}}`,
			replies: map[string]bson.D{"create": exists, "listCollections": listed(checked)}, kind: tenant.ErrMigration, says: `"strength":1`, code: "NamespaceExists",
		},
		{
			name: "an index with other options", command: `{"createIndexes": "x", "indexes": [{"key": {"a": 1}, "name": "a", "expireAfterSeconds": 20}]}`,
			replies: map[string]bson.D{"createIndexes": mongoproxy.Refusal(85, "IndexOptionsConflict", "An equivalent index already exists"), "listIndexes": listed(sparse)},
			kind:    tenant.ErrMigration, says: `"expireAfterSeconds":10}, not {"key":{"a":1},"name":"a","expireAfterSeconds":20}`, code: "IndexOptionsConflict",
		},
		{
			name: "a partial index of which the server would say nothing", command: `{"createIndexes": "x", "indexes": [{"key": {"a": 1}, "name": "a", "expireAfterSeconds": 10, "partialFilterExpression": {"b": 1}}]}`,
			replies: map[string]bson.D{"createIndexes": {{Key: "ok", Value: 1.0}}, "listIndexes": listed(sparse)},
			kind:    tenant.ErrMigration, says: `"partialFilterExpression":{"b":1}`, code: "IndexOptionsConflict",
		},
		{
			name: "a write concern that was not met", command: `{"insert": "x", "documents": [{"_id": 1}]}`,
			replies: map[string]bson.D{"insert": {{Key: "ok", Value: 1.0}, {Key: "n", Value: 1}, {Key: "writeConcernError", Value: bson.D{{Key: "code", Value: 64}, {Key: "codeName", Value: "WriteConcernFailed"}, {Key: "errmsg", Value: "waiting for replication timed out"}}}}},
			kind:    tenant.ErrMigration, says: "waiting for replication timed out", code: "WriteConcernFailed",
		},
		{
			name: "a write concern that create did not meet", command: `{"create": "x"}`,
			replies: map[string]bson.D{"create": {{Key: "ok", Value: 1.0}, {Key: "writeConcernError", Value: bson.D{{Key: "code", Value: 64}, {Key: "codeName", Value: "WriteConcernFailed"}, {Key: "errmsg", Value: "waiting for replication timed out"}}}}},
			kind:    tenant.ErrMigration, says: "waiting for replication timed out", code: "WriteConcernFailed",
		},
		{
			name: "one update of two that failed", command: `{"update": "x", "updates": [{"q": {}, "u": {"$set": {"a": 1}}}]}`,
			replies: map[string]bson.D{"update": {{Key: "ok", Value: 1.0}, {Key: "writeErrors", Value: bson.A{bson.D{{Key: "index", Value: 0}, {Key: "code", Value: 121}, {Key: "errmsg", Value: "Document failed validation"}}}}}},
			kind:    tenant.ErrMigration, says: "Document failed validation", code: "mongodb_121",
		},
		{name: "missing rights", command: `{"collMod": "x"}`, replies: map[string]bson.D{"collMod": mongoproxy.Refusal(13, "Unauthorized", "not authorized")}, kind: tenant.ErrRights, says: "dbAdminAnyDatabase", code: "missing_rights"},
		{name: "a lock", command: `{"collMod": "x"}`, replies: map[string]bson.D{"collMod": mongoproxy.Refusal(24, "LockTimeout", "Unable to acquire lock")}, kind: tenant.ErrLocked, says: "Unable to acquire lock", code: "locked"},
		{name: "a primary that steps down", command: `{"collMod": "x"}`, replies: map[string]bson.D{"collMod": mongoproxy.Refusal(10107, "NotWritablePrimary", "not primary")}, kind: tenant.ErrUnreachable, says: "not primary", code: "unreachable"},
		{name: "a command that it does not know", command: `{"collMod": "x"}`, replies: map[string]bson.D{"collMod": mongoproxy.Refusal(59, "CommandNotFound", "no such command: 'collMod'")}, kind: tenant.ErrUnsupported, says: "collMod", code: "unsupported_server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, p := proxied(t, example)
			ten := newTenant(t)
			p.Intercept(func(cmd mongoproxy.Command) mongoproxy.Action { return mongoproxy.Action{Reply: c.replies[cmd.Name]} })
			cmd := one(t, c.command)
			err := r.execute(t.Context(), ten, cmd, &book{})
			if c.kind == nil {
				must(t, err)
				return
			}
			e := refuses(t, located(err, &side{path: "file"}, 0, cmd), c.kind, c.says)
			if tenant.Code(e) != c.code || e.Statement != cmd.String() {
				t.Errorf("code %q, statement %q", tenant.Code(e), e.Statement)
			}
		})
	}
}

func TestADocumentThatIsAnotherIsNotTakenForOurs(t *testing.T) {
	for _, c := range []string{
		`{"insert": "x", "documents": [{"_id": 1, "a": 2}]}`,
		`{"insert": "x", "documents": [{"_id": 2, "u": 1}]}`,
		`{"insert": "x", "documents": [{"u": 1}]}`,
	} {
		r := direct(t, example)
		ten := newTenant(t)
		err := inPlace(t, r, ten,
			`{"createIndexes": "x", "indexes": [{"key": {"u": 1}, "name": "u", "unique": true}]}`,
			`{"insert": "x", "documents": [{"_id": 1, "u": 1}]}`, c)
		e := refuses(t, err, tenant.ErrMigration, "insert x", "E11000")
		if e.Code != "mongodb_11000" {
			t.Errorf("%s: code is %q", c, e.Code)
		}
	}
}

func TestRenamesByNameAloneInTheTenantsDatabase(t *testing.T) {
	dir := folder(t, map[string]string{
		"1_a.up.json": `[{"create": "a"}, {"renameCollection": "a", "to": "b", "dropTarget": false}]`,
	})
	r, p := proxied(t, dir)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	for _, c := range p.Commands() {
		if c.Name == "renameCollection" {
			got := fmt.Sprint(c.DB, " ", c.Body.Lookup("renameCollection").StringValue(), " ", c.Body.Lookup("to").StringValue())
			if want := fmt.Sprintf("admin %s.a %s.b", ten.Database, ten.Database); got != want {
				t.Errorf("sent %s, want %s", got, want)
			}
		}
	}
	names, err := r.collections(t.Context(), ten)
	must(t, err)
	if !slices.Contains(names, "b") || slices.Contains(names, "a") {
		t.Errorf("collections are %v", names)
	}
}

// A rename whose source never was must not be mistaken for one that was done before a crash.
func TestARenameWithoutASourceFailsEachTime(t *testing.T) {
	dir := folder(t, map[string]string{"1_a.up.json": `[{"create": "b"}, {"renameCollection": "a", "to": "b"}]`})
	r := direct(t, dir)
	ten := newTenant(t)
	for range 3 {
		refuses(t, r.Create(t.Context(), ten), tenant.ErrMigration, "there is no collection a to rename")
	}
}

func TestSendsKeysInTheOrderOfTheFile(t *testing.T) {
	dir := folder(t, map[string]string{"1_a.up.json": `[{"createIndexes": "x", "indexes": [{"key": {"z": 1, "a": 1, "m": -1}, "name": "i"}]}]`})
	r, p := proxied(t, dir)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	var sent []string
	for _, c := range p.Commands() {
		if c.Name == "createIndexes" {
			keys, err := c.Body.Lookup("indexes", "0", "key").Document().Elements()
			must(t, err)
			for _, k := range keys {
				sent = append(sent, k.Key())
			}
		}
	}
	if strings.Join(sent, "") != "zam" {
		t.Errorf("sent %v", sent)
	}
}
