package nosql

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// Every command of an operation is a place where the process can die: before the server has it, or after the server
// did it and before the answer is read. What is left must be brought to the same end by the same call.
func TestConvergesAfterADeathAtEveryCommand(t *testing.T) {
	client := plain(t)
	files := map[string]string{
		"00001_a.up.json":   `[{"create": "a"}, {"createIndexes": "a", "indexes": [{"key": {"x": 1}, "name": "x", "unique": true}]}]`,
		"00001_a.down.json": `[{"drop": "a"}]`,
	}
	oldDir := folder(t, files)
	files["00002_b.up.json"] = `[{"insert": "a", "documents": [{"_id": 1, "x": 1}, {"_id": 2, "x": 2}]}, {"renameCollection": "a", "to": "b"}, {"update": "b", "updates": [{"q": {}, "u": {"$set": {"y": 1}}, "multi": true}]}]`
	files["00002_b.down.json"] = `[{"renameCollection": "b", "to": "a"}, {"dropIndexes": "a", "index": ["x"]}, {"delete": "a", "deletes": [{"q": {}, "limit": 0}]}]`
	dir := folder(t, files)
	nothing := func(*testing.T, *Resource, tenant.Tenant) {}
	create := func(t *testing.T, r *Resource, ten tenant.Tenant) { must(t, r.Create(t.Context(), ten)) }
	for _, c := range []struct {
		name   string
		before func(t *testing.T, r *Resource, ten tenant.Tenant)
		do     func(ctx context.Context, r *Resource, ten tenant.Tenant) error
	}{
		{"create", nothing, func(ctx context.Context, r *Resource, ten tenant.Tenant) error { return r.Create(ctx, ten) }},
		{"up", func(t *testing.T, r *Resource, ten tenant.Tenant) {
			r.cfg.Dir = oldDir
			create(t, r, ten)
		}, func(ctx context.Context, r *Resource, ten tenant.Tenant) error {
			_, err := r.Up(ctx, ten, tenant.Newest, false)
			return err
		}},
		{"down", create, func(ctx context.Context, r *Resource, ten tenant.Tenant) error {
			_, err := r.Down(ctx, ten, 0)
			return err
		}},
		{"lock", create, func(ctx context.Context, r *Resource, ten tenant.Tenant) error {
			_, err := r.Lock(ctx, ten)
			return err
		}},
		{"revive", func(t *testing.T, r *Resource, ten tenant.Tenant) {
			create(t, r, ten)
			must(t, r.dropUser(t.Context(), ten))
		}, func(ctx context.Context, r *Resource, ten tenant.Tenant) error { return r.Revive(ctx, ten) }},
		{"exchange", func(t *testing.T, r *Resource, ten tenant.Tenant) {
			// What was loaded is marked as beside's and has no user; what it replaces is ten's, and so is its user.
			loaded, replaced := besideOf(ten), ten
			loaded.Database, replaced.Database = ten.Database, loaded.Database
			must(t, r.claim(t.Context(), loaded))
			create(t, r, replaced)
		}, func(ctx context.Context, r *Resource, ten tenant.Tenant) error {
			return r.Exchange(ctx, nil, ten, besideOf(ten))
		}},
		{"drop", create, func(ctx context.Context, r *Resource, ten tenant.Tenant) error { return r.Drop(ctx, ten) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := mongoproxy.Start(t, tenanttest.MongoURL(t))
			ten := newTenant(t)
			ten.State = tenant.Active
			t.Cleanup(func() { must(t, client.Database(besideOf(ten).Database).Drop(context.Background())) })
			cfg := Config{URL: p.URL(), Dir: dir, Users: UsersRequire, Timeout: 5 * time.Second}

			// once starts from the same state, runs the operation with its client cut off at one command, repeats
			// it as another process would, and tells what is there then.
			once := func(cut mongoproxy.Cut, at int) (end string, users []mongoproxy.User, sent []mongoproxy.Command) {
				p.KeepUsers()
				p.Intercept(nil)
				must(t, client.Database(ten.Database).Drop(t.Context()))
				must(t, client.Database(besideOf(ten).Database).Drop(t.Context()))
				process := func(run func(first, second *Resource)) {
					other, err := Open(t.Context(), cfg)
					must(t, err)
					defer func() { _ = other.Disconnect(context.Background()) }() // it may be cut off
					run(New(other, cfg), New(other, cfg))
				}
				process(func(first, second *Resource) {
					c.before(t, first, ten)
					ctx, die := context.WithCancel(t.Context())
					defer die()
					died := make(chan struct{})
					p.Intercept(func(cmd mongoproxy.Command) mongoproxy.Action {
						if cmd.N != at {
							return mongoproxy.Action{}
						}
						return mongoproxy.Action{Cut: cut, Then: func() { close(died); die() }}
					})
					err := c.do(ctx, second, ten)
					if at == 0 {
						must(t, err)
						return
					}
					if err == nil {
						t.Fatalf("went on after the cut at %d", at)
					}
					<-died
				})
				sent = slices.DeleteFunc(p.Commands(), func(cmd mongoproxy.Command) bool { return cmd.N == 0 })
				p.Heal()
				p.Intercept(nil)
				process(func(r, _ *Resource) { must(t, c.do(t.Context(), r, ten)) })
				users = p.Users()
				for i := range users {
					users[i].Password = "" // another one each time
				}
				return content(t, client, ten.Database) + content(t, client, besideOf(ten).Database), users, sent
			}

			wantContent, wantUsers, sent := once(mongoproxy.Never, 0)
			points := 0
			for _, cmd := range sent {
				for _, cut := range []mongoproxy.Cut{mongoproxy.Before, mongoproxy.After} {
					if cut == mongoproxy.After && reads(cmd.Name) {
						continue // leaves what the cut before it leaves
					}
					gotContent, gotUsers, _ := once(cut, cmd.N)
					points++
					if gotContent != wantContent {
						t.Errorf("cut %d at command %d (%s) left\n%s\nnot\n%s", cut, cmd.N, cmd.Name, gotContent, wantContent)
					}
					if !sameUsers(gotUsers, wantUsers) {
						t.Errorf("cut %d at command %d (%s) left the users %v, not %v", cut, cmd.N, cmd.Name, gotUsers, wantUsers)
					}
				}
			}
			t.Logf("%d points tried", points)
		})
	}
}

// besideOf is the tenant that what replaces ten's data is loaded for.
func besideOf(ten tenant.Tenant) tenant.Tenant {
	ten.ID = uuid.NewSHA1(ten.ID, nil)
	ten.Database += "_beside"
	return ten
}

// A load or a clone that died is never gone on with: what it left must be known as the new tenant's, so that a drop takes
// all of it and nothing else.
func TestADropTakesWhatADeathLeftOfALoadOrAClone(t *testing.T) {
	client := plain(t)
	origin := direct(t, example)
	from := newTenant(t)
	must(t, origin.Create(t.Context(), from))
	_, err := origin.db(from).Collection("documents").InsertOne(t.Context(), bson.D{{Key: "slug", Value: "x"}})
	must(t, err)
	m, d := dump(t, origin, from)
	before := content(t, client, from.Database)
	for _, c := range []struct {
		name string
		do   func(ctx context.Context, r *Resource, to tenant.Tenant) error
	}{
		{"load", func(ctx context.Context, r *Resource, to tenant.Tenant) error {
			_, err := restore(ctx, r, to, m, ownUser(to, d))
			return err
		}},
		{"clone", func(ctx context.Context, r *Resource, to tenant.Tenant) error { return r.Clone(ctx, from, to, true) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := mongoproxy.Start(t, tenanttest.MongoURL(t))
			p.KeepUsers()
			cfg := Config{URL: p.URL(), Dir: example, Users: UsersRequire, Timeout: 500 * time.Millisecond}
			patient := cfg // nothing is cut off any more, and a machine may be slow
			patient.Timeout = 20 * time.Second
			to := newTenant(t)
			for at, cut, points := 1, mongoproxy.Before, 0; ; {
				p.Heal()
				first, err := Open(t.Context(), cfg)
				must(t, err)
				ctx, die := context.WithCancel(t.Context())
				var died atomic.Bool
				p.Intercept(func(cmd mongoproxy.Command) mongoproxy.Action {
					if cmd.N != at {
						return mongoproxy.Action{}
					}
					died.Store(true)
					return mongoproxy.Action{Cut: cut, Then: die}
				})
				err = c.do(ctx, New(first, cfg), to)
				die()
				if (err == nil) == died.Load() {
					t.Fatalf("cut %d at command %d: %v", cut, at, err)
				}
				p.Heal()
				p.Intercept(nil)
				_ = first.Disconnect(context.Background()) // it may be cut off
				second, err := Open(t.Context(), patient)
				must(t, err)
				must(t, New(second, patient).Drop(t.Context(), to))
				disconnect(t, second)
				if hasDatabase(t, client, to.Database) || len(p.Users()) != 0 {
					t.Fatalf("cut %d at command %d left something behind a drop", cut, at)
				}
				if !died.Load() {
					t.Logf("%d points tried", points)
					break
				}
				points++
				if cut == mongoproxy.Before {
					cut = mongoproxy.After
				} else {
					at, cut = at+1, mongoproxy.Before
				}
			}
		})
	}
	t.Cleanup(func() {
		if content(t, plain(t), from.Database) != before {
			t.Error("the source was changed")
		}
	})
}

func reads(command string) bool {
	return slices.Contains([]string{"find", "listCollections", "listDatabases", "listIndexes", "usersInfo"}, command)
}

func sameUsers(a, b []mongoproxy.User) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name || a[i].DB != b[i].DB || !equal(a[i].Roles, b[i].Roles) || !equal(a[i].CustomData, b[i].CustomData) {
			return false
		}
	}
	return true
}
