package nosql

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

func TestDoesWhatEveryResourceMustDo(t *testing.T) {
	t.Parallel()
	tenanttest.Exercise(t, func(t *testing.T) tenanttest.Harness { return world(t, tenanttest.MongoURL(t)) })
}

// world is the server at url for one test of the suite, with the example's migrations and names of its own.
func world(t *testing.T, url string, also ...func(dir string)) tenanttest.Harness {
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(example)))
	for _, change := range also {
		change(dir)
	}
	r := connect(t, Config{URL: url, Dir: dir, Timeout: 5 * time.Second})
	h := tenanttest.Harness{
		Prefix: tenanttest.Prefix(t),
		New:    func(*testing.T) tenant.Resource { return New(r.client, r.cfg) },
		AddMigration: func(t *testing.T) func() {
			put(t, dir, "00004_later.up.json", `[{"create": "later"}]`)
			put(t, dir, "00004_later.down.json", `[{"drop": "later"}]`)
			return func() {
				for _, side := range []string{"up", "down"} {
					must(t, os.Remove(filepath.Join(dir, "00004_later."+side+".json")))
				}
			}
		},
		Foreign: func(t *testing.T, tn tenant.Tenant) func(*testing.T) {
			_, err := r.db(tn).Collection("theirs").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 42}})
			must(t, err)
			before := content(t, r.client, tn.Database)
			return func(t *testing.T) {
				if after := content(t, r.client, tn.Database); after != before {
					t.Errorf("the foreign database was changed to\n%s", after)
				}
			}
		},
		Write: func(t *testing.T, tn tenant.Tenant, n int) {
			for i := range n {
				_, err := r.db(tn).Collection("documents").InsertOne(t.Context(), bson.D{{Key: "slug", Value: fmt.Sprint("d", i)}})
				must(t, err)
			}
		},
		Count: func(t *testing.T, tn tenant.Tenant) int {
			n, err := r.db(tn).Collection("documents").CountDocuments(t.Context(), bson.D{})
			must(t, err)
			return int(n)
		},
	}
	t.Cleanup(func() { dropAll(t, h.Prefix) })
	return h
}
