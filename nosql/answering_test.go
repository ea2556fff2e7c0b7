package nosql

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// answering is the resource on a server that answers as MongoDB does: users and logins, a replica set, views and
// validators.
func answering(t *testing.T, dir string) (*Resource, *mongoproxy.Proxy) {
	t.Helper()
	p := answeringServer(t)
	return connect(t, Config{URL: p.URL(), Dir: dir, Users: UsersRequire, Timeout: 5 * time.Second}), p
}

// answeringServer shows itself as MongoDB 8.
func answeringServer(t *testing.T) *mongoproxy.Proxy {
	t.Helper()
	p := mongoproxy.Start(t, tenanttest.MongoURL(t))
	p.CheckLogins()
	p.KeepDefinitions()
	p.ReplicaSet("rs", 25)
	p.Version("8.0.4")
	return p
}

// modernUp is a migration of what FerretDB 1 does not know.
const modernUp = `[
	{"create": "papers", "validator": {"$jsonSchema": {"required": ["slug"], "properties": {"slug": {"bsonType": "string"}}}}},
	{"createIndexes": "papers", "indexes": [
		{"key": {"at": 1}, "name": "at", "expireAfterSeconds": 3600},
		{"key": {"slug": 1}, "name": "open", "unique": true, "partialFilterExpression": {"open": true}}
	]},
	{"create": "open_papers", "viewOn": "papers", "pipeline": [{"$match": {"open": true}}]},
	{"collMod": "papers", "validationLevel": "moderate"},
	{"collMod": "papers", "index": {"name": "at", "expireAfterSeconds": 7200}}
]`

const modernDown = `[{"drop": "open_papers"}, {"drop": "papers"}]`

func TestDoesWhatEveryResourceMustDoOnAServerThatAnswersAsMongoDB(t *testing.T) {
	t.Parallel()
	p := answeringServer(t)
	tenanttest.Exercise(t, func(t *testing.T) tenanttest.Harness {
		return world(t, p.URL(), func(dir string) {
			put(t, dir, "00003_labels.up.json", modernUp)
			put(t, dir, "00003_labels.down.json", modernDown)
		})
	})
}

// What the server knows beyond FerretDB is dumped, restored and cloned as it was, at one moment, and enforced in
// the copies.
func TestViewsValidatorsAndOptionsOfIndexesComeThroughADumpAndAClone(t *testing.T) {
	r, p := answering(t, folder(t, map[string]string{"00001_a.up.json": modernUp, "00001_a.down.json": modernDown}))
	from, restored, cloned := newTenant(t), newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), from))
	papers := []any{bson.D{{Key: "slug", Value: "a"}, {Key: "open", Value: true}}, bson.D{{Key: "slug", Value: "b"}}}
	_, err := r.db(from).Collection("papers").InsertMany(t.Context(), papers)
	must(t, err)
	m, d := dump(t, r, from)
	if !d.Snapshot || !d.Until.Equal(d.From) {
		t.Errorf("it is of no one moment: %+v", d)
	}
	_, err = restore(t.Context(), r, restored, m, ownUser(restored, d))
	must(t, err)
	must(t, r.Clone(t.Context(), from, cloned, true))
	for _, to := range []tenant.Tenant{restored, cloned} {
		if _, after := dump(t, r, to); after.Fingerprint != d.Fingerprint {
			t.Error("the copy has another structure")
		}
		defs, _, err := r.definitions(t.Context(), to)
		must(t, err)
		for _, def := range defs {
			text := canonical(def.Options)
			for _, x := range def.Indexes {
				text += canonical(x)
			}
			for _, want := range map[string][]string{
				"papers": {
					`"validationLevel":"moderate"`, `"required":["slug"]`, `"expireAfterSeconds":{"$numberLong":"7200"}`,
					`"partialFilterExpression":{"open":true}`,
				},
				"open_papers": {`"viewOn":"papers"`, `"$match":{"open":true}`},
			}[def.Name] {
				if !strings.Contains(text, want) {
					t.Errorf("%s is %s, without %s", def.Name, text, want)
				}
			}
		}
		var open []bson.D
		cursor, err := r.db(to).Collection("open_papers").Find(t.Context(), bson.D{})
		must(t, err)
		must(t, cursor.All(t.Context(), &open))
		if len(open) != 1 {
			t.Errorf("the view shows %v", open)
		}
		_, err = r.db(to).Collection("papers").InsertOne(t.Context(), bson.D{{Key: "slug", Value: 1}})
		if !isCode(err, 121) {
			t.Errorf("the validator of the copy lets a wrong document in: %v", err)
		}
		must(t, r.Drop(t.Context(), to))
	}
	from.State = tenant.Active
	must(t, r.Verify(t.Context(), []tenant.Tenant{from}, nil, func(f tenant.Fault) { t.Errorf("%+v", f) }))
	if users := p.Users(); len(users) != 2 { // root and that of from
		t.Errorf("the users are %v", users)
	}
}

// Who was logged in before works on after the login and until the lock-out, and not one command further.
func TestAnApplicationIsLockedOutAtItsNextCommand(t *testing.T) {
	r, p := answering(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	must(t, r.SetPassword(t.Context(), ten, "of the application", nil))
	login := options.Credential{AuthSource: ten.Database, Username: ten.Role, Password: "of the application"}
	app, err := mongo.Connect(options.Client().ApplyURI(p.URL()).SetAuth(login))
	must(t, err)
	t.Cleanup(func() { disconnect(t, app) })
	documents := app.Database(ten.Database).Collection("documents")
	write := func() error {
		_, err := documents.InsertOne(t.Context(), bson.D{{Key: "slug", Value: bson.NewObjectID()}})
		return err
	}
	must(t, write())
	locked, err := r.Lock(t.Context(), ten)
	must(t, err)
	if err := write(); !locked || !isCode(err, codeUnauthorized) {
		t.Errorf("after the lock-out (%t) it writes: %v", locked, err)
	}
	if want := ten.Database + "." + ten.Role; !slices.Contains(p.SessionsEnded(), want) {
		t.Errorf("sessions ended of %v, want %s", p.SessionsEnded(), want)
	}
	must(t, r.Unlock(t.Context(), ten))
	must(t, write())
}
