package nosql

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// guarded is the resource behind a server that keeps users and asks who connects.
func guarded(t *testing.T) (*Resource, *mongoproxy.Proxy) {
	t.Helper()
	p := mongoproxy.Start(t, tenanttest.MongoURL(t))
	p.CheckLogins()
	return connect(t, Config{URL: p.URL(), Dir: example, Users: UsersRequire, Timeout: 5 * time.Second}), p
}

// probe tries as a what is b's, and gives the kinds of attempt by what came of them.
func probe(t *testing.T, r *Resource, a, b tenant.Tenant) map[tenant.AttemptOutcome][]string {
	t.Helper()
	got := map[tenant.AttemptOutcome][]string{}
	must(t, r.Probe(t.Context(), a, []tenant.Tenant{b}, func(at tenant.Attempt) {
		if !slices.Contains(got[at.Outcome], at.What) {
			got[at.Outcome] = append(got[at.Outcome], at.What)
		}
	}))
	return got
}

func TestAProbeFindsEverythingRefusedAndLeavesTheUsersAsTheyWere(t *testing.T) {
	r, p := guarded(t)
	a, b := newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), a))
	must(t, r.Create(t.Context(), b))
	if why, err := r.Apart(t.Context()); why != "" || err != nil {
		t.Fatalf("the tenants are not kept apart: %s, %v", why, err)
	}
	before := fmt.Sprint(p.Users())
	got := probe(t, r, a, b)
	if len(got[tenant.AttemptRefused]) < 14 || len(got[tenant.AttemptThrough]) > 0 || len(got[tenant.AttemptUnclear]) > 0 {
		t.Errorf("it came to %v", got)
	}
	if after := fmt.Sprint(p.Users()); after != before {
		t.Errorf("the users were changed:\n%s\n%s", before, after)
	}
}

func TestAProbeFindsARoleTooManyAndChangesNothing(t *testing.T) {
	r, p := guarded(t)
	a, b := newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), a))
	must(t, r.Create(t.Context(), b))
	_, err := r.db(b).Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	must(t, err)
	must(t, r.giveUser(t.Context(), a, a.ID, append(readWrite(a), readWrite(b)...)))
	got := probe(t, r, a, b)
	for _, want := range []string{
		"list another tenant's collections", "read another tenant's documents", "insert into another tenant's collection",
		"update another tenant's documents", "delete another tenant's documents", "list databases",
	} {
		if !slices.Contains(got[tenant.AttemptThrough], want) {
			t.Errorf("%q did not get through: %v", want, got)
		}
	}
	var doc bson.D
	must(t, r.db(b).Collection("orders").FindOne(t.Context(), bson.D{}).Decode(&doc))
	if n, err := r.db(b).Collection("orders").CountDocuments(t.Context(), bson.D{}); n != 1 || err != nil || len(doc) != 1 {
		t.Errorf("the other tenant's documents were changed: %d, %v, %v", n, doc, err)
	}
	if users := p.Users(); len(users) != 3 {
		t.Errorf("the users are %v", users)
	}
}

func TestAServerThatAsksNobodyOrKeepsNoUsersKeepsNobodyApart(t *testing.T) {
	r, _ := proxied(t, example)
	if why, err := r.Apart(t.Context()); !strings.Contains(why, "does not ask who connects") || err != nil {
		t.Errorf("of a server without authorization it says %q, %v", why, err)
	}
	r.cfg.Users = UsersNone
	if why, err := r.Apart(t.Context()); !strings.Contains(why, "nosql.users is none") || err != nil {
		t.Errorf("of a configuration without users it says %q, %v", why, err)
	}
}

func TestOnlyEndedProbesAreSwept(t *testing.T) {
	r, p := guarded(t)
	a := newTenant(t)
	must(t, r.Create(t.Context(), a))
	ended, alive := uuid.New(), uuid.New()
	for _, id := range []uuid.UUID{ended, alive} {
		must(t, r.send(t.Context(), r.db(a), bson.D{
			{Key: "createUser", Value: "left-" + id.String()},
			{Key: "pwd", Value: "x"},
			{Key: "roles", Value: bson.A{}},
			{Key: "customData", Value: bson.D{{Key: probeKey, Value: id.String()}}},
		}))
	}
	must(t, r.Sweep(t.Context(), func(id uuid.UUID) (bool, error) { return id == ended, nil }))
	var left []string
	for _, u := range p.Users() {
		left = append(left, u.Name)
	}
	if slices.Contains(left, "left-"+ended.String()) || !slices.Contains(left, "left-"+alive.String()) || !slices.Contains(left, a.Role) {
		t.Errorf("left are %v", left)
	}
}
