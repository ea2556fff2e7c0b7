package nosql

import (
	"context"
	"slices"
	"testing"
	"time"

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
		{"drop", create, func(ctx context.Context, r *Resource, ten tenant.Tenant) error { return r.Drop(ctx, ten) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := mongoproxy.Start(t, tenanttest.MongoURL(t))
			ten := newTenant(t)
			cfg := Config{URL: p.URL(), Dir: dir, Users: UsersRequire, Timeout: 5 * time.Second}

			// once starts from the same state, runs the operation with its client cut off at one command, repeats
			// it as another process would, and tells what is there then.
			once := func(cut mongoproxy.Cut, at int) (end string, users []mongoproxy.User, sent []mongoproxy.Command) {
				p.KeepUsers()
				p.Intercept(nil)
				must(t, client.Database(ten.Database).Drop(t.Context()))
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
				return content(t, client, ten.Database), users, sent
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
