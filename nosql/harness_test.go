package nosql

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

const example = "../migrations/example/mongodb"

// connect opens the server at url, and closes it with the test.
func connect(t *testing.T, cfg Config) *Resource {
	t.Helper()
	cfg.Monitor = waitsForTheMajority(t, cfg.Monitor)
	client, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disconnect(t, client) })
	return New(client, cfg)
}

// waitsForTheMajority fails the test at the first write that does not ask for the majority of a replica set. What concerns
// users the driver shows to no monitor.
func waitsForTheMajority(t *testing.T, next *event.CommandMonitor) *event.CommandMonitor {
	writes := []string{
		"create", "drop", "dropDatabase", "collMod", "convertToCapped", "renameCollection", "createIndexes", "dropIndexes",
		"insert", "update", "delete", "findAndModify",
	}
	monitor := &event.CommandMonitor{}
	if next != nil {
		*monitor = *next
	}
	monitor.Started = func(ctx context.Context, e *event.CommandStartedEvent) {
		w, _ := e.Command.Lookup("writeConcern", "w").StringValueOK()
		if slices.Contains(writes, e.CommandName) && w != "majority" {
			t.Errorf("%s asks for the write concern %s", e.CommandName, e.Command.Lookup("writeConcern"))
		}
		if next != nil && next.Started != nil {
			next.Started(ctx, e)
		}
	}
	return monitor
}

func disconnect(t *testing.T, client *mongo.Client) {
	if err := client.Disconnect(context.Background()); err != nil {
		t.Error(err)
	}
}

// direct is the resource on the shared server.
func direct(t *testing.T, dir string) *Resource {
	t.Helper()
	return connect(t, Config{URL: tenanttest.MongoURL(t), Dir: dir, Timeout: 5 * time.Second})
}

// proxied is the resource behind a proxy that keeps users, whatever the server does.
func proxied(t *testing.T, dir string) (*Resource, *mongoproxy.Proxy) {
	t.Helper()
	p := mongoproxy.Start(t, tenanttest.MongoURL(t))
	p.KeepUsers()
	return connect(t, Config{URL: p.URL(), Dir: dir, Timeout: 5 * time.Second}), p
}

// newTenant is a tenant whose database goes with the test.
func newTenant(t *testing.T) tenant.Tenant {
	t.Helper()
	place := tenanttest.Prefix(t) + "acme"
	ten := tenant.Tenant{ID: uuid.Must(uuid.NewV7()), Name: "acme", Database: place, Role: place}
	client := plain(t)
	t.Cleanup(func() {
		if err := errors.Join(client.Database(place).Drop(context.Background()), dropPlainUser(client, place)); err != nil {
			t.Error(err)
		}
	})
	return ten
}

// plain is a client on the shared server that shares nothing with the code under test.
func plain(t *testing.T) *mongo.Client {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(tenanttest.MongoURL(t)))
	if err != nil {
		t.Fatal("the server's URL is not valid")
	}
	t.Cleanup(func() { disconnect(t, client) })
	return client
}

// folder writes migrations, as name of the file and content.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(explained(err))
	}
}

func explained(err error) string {
	var e *tenant.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("%v (hint: %s; cause: %v)", e, e.Hint, e.Err)
	}
	return fmt.Sprint(err)
}

// refuses wants an error of that kind that is ours, has a store, and says what it must and nothing that it must not.
func refuses(t *testing.T, err, kind error, says ...string) *tenant.Error {
	t.Helper()
	var e *tenant.Error
	if !errors.As(err, &e) || !errors.Is(err, kind) || e.Store != tenant.KindMongoDB {
		t.Fatalf("got %v, want an error of mongodb that is %q", err, kind)
	}
	for _, s := range says {
		if !strings.Contains(e.Msg+" "+e.Hint, s) {
			t.Errorf("%q does not say %q", e.Msg+" | "+e.Hint, s)
		}
	}
	return e
}

// content is everything in a database, as text, but for what differs between two runs: generated ids and revisions.
func content(t *testing.T, client *mongo.Client, database string) string {
	t.Helper()
	ctx := context.Background()
	db := client.Database(database)
	names, err := db.ListCollectionNames(ctx, bson.D{})
	must(t, err)
	slices.Sort(names)
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "%s\n", n)
		cursor, err := db.Collection(n).Indexes().List(ctx)
		must(t, err)
		var indexes, docs []bson.D
		must(t, cursor.All(ctx, &indexes))
		cursor, err = db.Collection(n).Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
		must(t, err)
		must(t, cursor.All(ctx, &docs))
		for _, d := range append(indexes, docs...) {
			d = slices.DeleteFunc(d, func(e bson.E) bool {
				_, generated := e.Value.(bson.ObjectID)
				return generated || e.Key == "revision"
			})
			text, err := bson.MarshalExtJSON(d, false, false)
			must(t, err)
			fmt.Fprintf(&b, "  %s\n", text)
		}
	}
	return b.String()
}

func hasDatabase(t *testing.T, client *mongo.Client, name string) bool {
	t.Helper()
	names, err := client.ListDatabaseNames(context.Background(), bson.D{{Key: "name", Value: name}})
	must(t, err)
	return slices.Contains(names, name)
}

// dropAll takes away every database and user whose name begins with prefix.
func dropAll(t *testing.T, prefix string) {
	ctx := context.Background()
	client := plain(t)
	names, err := client.ListDatabaseNames(ctx, bson.D{{Key: "name", Value: bson.D{{Key: "$regex", Value: "^" + prefix}}}})
	if err != nil {
		t.Error(err)
	}
	for _, n := range names {
		if err := errors.Join(client.Database(n).Drop(ctx), dropPlainUser(client, n)); err != nil {
			t.Error(err)
		}
	}
}

// dropPlainUser takes away a user that has the name of its database.
func dropPlainUser(client *mongo.Client, name string) error {
	err := client.Database(name).RunCommand(context.Background(), bson.D{{Key: "dropUser", Value: name}}).Err()
	if unknownCommand(err) || isCode(err, codeUserNotFound) {
		return nil
	}
	return err
}
