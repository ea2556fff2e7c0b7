package nosql

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// faults gives the rules of what verify finds of a tenant.
func faults(t *testing.T, r *Resource, ten tenant.Tenant) (out []string) {
	t.Helper()
	must(t, r.Verify(t.Context(), []tenant.Tenant{ten}, nil, func(f tenant.Fault) {
		out = append(out, f.Rule)
		if f.Tenant != ten.ID || f.Message == "" || f.Fix == "" && f.Hint == "" || strings.Contains(f.Message, ten.Database) {
			t.Errorf("not as faults are to be told: %+v", f)
		}
	}))
	return out
}

// TestEachSeededFaultIsFoundAndMendedWhereThatIsSafe harms one tenant in one way at a time, by the commands that a person
// would use.
func TestEachSeededFaultIsFoundAndMendedWhereThatIsSafe(t *testing.T) {
	for _, c := range []struct {
		name  string
		state tenant.State
		harm  func(r *Resource, ten tenant.Tenant) bson.D
		want  string
		mends bool
	}{
		{"a user that is gone", tenant.Active, func(_ *Resource, ten tenant.Tenant) bson.D { return bson.D{{Key: "dropUser", Value: ten.Role}} }, ruleMissingUser, true},
		{"a suspended tenant's user that is gone", tenant.Suspended, func(_ *Resource, ten tenant.Tenant) bson.D { return bson.D{{Key: "dropUser", Value: ten.Role}} }, ruleMissingUser, true},
		{"a user of somebody else", tenant.Active, func(_ *Resource, ten tenant.Tenant) bson.D {
			return bson.D{{Key: "updateUser", Value: ten.Role}, {Key: "customData", Value: bson.D{{Key: "tenant", Value: "other"}}}}
		}, ruleForeignUser, false},
		{"a user of another database too", tenant.Active, func(_ *Resource, ten tenant.Tenant) bson.D {
			return bson.D{{Key: "updateUser", Value: ten.Role}, {Key: "roles", Value: append(readWrite(ten), bson.D{{Key: "role", Value: "read"}, {Key: "db", Value: "globex"}})}}
		}, ruleUserRoles, true},
		{"a user that owns its database", tenant.Active, func(_ *Resource, ten tenant.Tenant) bson.D {
			return bson.D{{Key: "updateUser", Value: ten.Role}, {Key: "roles", Value: bson.A{bson.D{{Key: "role", Value: "dbOwner"}, {Key: "db", Value: ten.Database}}}}}
		}, ruleUserRoles, true},
		{"an active tenant's user without roles", tenant.Active, func(_ *Resource, ten tenant.Tenant) bson.D {
			return bson.D{{Key: "updateUser", Value: ten.Role}, {Key: "roles", Value: bson.A{}}}
		}, ruleLockedOut, true},
		{"a suspended tenant's user with roles", tenant.Suspended, func(_ *Resource, ten tenant.Tenant) bson.D {
			return bson.D{{Key: "updateUser", Value: ten.Role}, {Key: "roles", Value: readWrite(ten)}}
		}, ruleNotLockedOut, true},
		{"a deleted tenant's user with roles", tenant.Deleted, func(_ *Resource, ten tenant.Tenant) bson.D {
			return bson.D{{Key: "updateUser", Value: ten.Role}, {Key: "roles", Value: readWrite(ten)}}
		}, ruleNotLockedOut, true},
		{"a database that is gone", tenant.Active, func(*Resource, tenant.Tenant) bson.D { return bson.D{{Key: "dropDatabase", Value: 1}} }, ruleMissingDatabase, true},
		{"a deleted tenant's database that is gone", tenant.Deleted, func(*Resource, tenant.Tenant) bson.D { return bson.D{{Key: "dropDatabase", Value: 1}} }, ruleMissingDatabase, false},
		{"a database of somebody else", tenant.Active, func(*Resource, tenant.Tenant) bson.D {
			return bson.D{{Key: "delete", Value: ownCollection}, {Key: "deletes", Value: bson.A{bson.D{{Key: "q", Value: bson.D{{Key: "_id", Value: ownerID}}}, {Key: "limit", Value: 1}}}}}
		}, ruleForeignDatabase, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := proxied(t, example)
			ten := newTenant(t)
			must(t, r.Create(t.Context(), ten))
			if ten.State = c.state; c.state != tenant.Active {
				_, err := r.Lock(t.Context(), ten)
				must(t, err)
			}
			if found := faults(t, r, ten); len(found) > 0 {
				t.Fatalf("a clean tenant has %q", found)
			}
			must(t, r.db(ten).RunCommand(t.Context(), r.concerned(c.harm(r, ten))).Err())
			if found := faults(t, r, ten); !slices.Equal(found, []string{c.want}) {
				t.Fatalf("found %q, want %s", found, c.want)
			}
			changed, err := r.Mend(t.Context(), ten)
			must(t, err)
			if left := faults(t, r, ten); changed != c.mends || (len(left) == 0) != c.mends {
				t.Errorf("mending it says changed %v and leaves %q", changed, left)
			}
			if changed, err := r.Mend(t.Context(), ten); err != nil || changed {
				t.Errorf("mending again says changed %v: %v", changed, err)
			}
		})
	}
}

func TestDatabasesAndUsersOfNobodyAreFoundByTheirPrefix(t *testing.T) {
	r, p := proxied(t, example)
	ten, lost := newTenant(t), newTenant(t)
	lost.ID = uuid.Must(uuid.NewV7())
	prefix := lost.Database[:len(lost.Database)-len("acme")]
	must(t, r.Create(t.Context(), ten))
	must(t, r.Create(t.Context(), lost))
	plainly := lost
	plainly.Database = prefix + "plain"
	t.Cleanup(func() { must(t, plain(t).Database(plainly.Database).Drop(context.Background())) })
	must(t, r.db(plainly).CreateCollection(t.Context(), "things"))
	orphans := func(known ...tenant.Tenant) (out []string) {
		must(t, r.Orphans(t.Context(), known, prefix, func(f tenant.Fault) { out = append(out, fmt.Sprint(f.Rule, " ", f.Object, " ", f.Warning)) }))
		return out
	}
	want := []string{
		"orphaned-database database " + lost.Database + " false", "unknown-database database " + plainly.Database + " true",
		"orphaned-user user " + lost.Role + " of database " + lost.Database + " false",
	}
	if found := orphans(ten); !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
	if found := orphans(ten, lost); !slices.Equal(found, want[1:2]) {
		t.Errorf("found %q where only one database is nobody's", found)
	}
	if n := len(sent(t, p, "usersInfo")); n == 0 {
		t.Error("nobody asked for users")
	}
}

func TestStructuresAreAlikeWhereCollectionsAndIndexesAre(t *testing.T) {
	r := direct(t, example)
	one, other := newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), one))
	must(t, r.Create(t.Context(), other))
	prints, err := r.Structures(t.Context(), []tenant.Tenant{one, other})
	must(t, err)
	if prints[0] != prints[1] || prints[0] == "" {
		t.Fatalf("fingerprints are %q", prints)
	}
	must(t, plain(t).Database(other.Database).RunCommand(t.Context(), bson.D{{Key: "createIndexes", Value: "extra"}, {Key: "indexes", Value: bson.A{bson.D{{Key: "key", Value: bson.D{{Key: "at", Value: 1}}}, {Key: "name", Value: "at"}}}}}).Err())
	if prints, err = r.Structures(t.Context(), []tenant.Tenant{one, other, {ID: one.ID, Database: one.Database + "_none"}}); err != nil || prints[0] == prints[1] || prints[2] != "" {
		t.Errorf("fingerprints are %q: %v", prints, err)
	}
	before, err := r.Outline(t.Context(), one)
	must(t, err)
	after, err := r.Outline(t.Context(), other)
	must(t, err)
	var lines []string
	for _, p := range after {
		if !slices.ContainsFunc(before, func(b tenant.OutlinePart) bool { return slices.Equal(b.Lines, p.Lines) }) {
			lines = append(lines, p.Lines...)
		}
	}
	want := []string{`db.createCollection("extra", {})`, `db.getCollection("extra").createIndex({"at":{"$numberLong":"1"}}, {"name":"at"})`}
	if !slices.Equal(lines, want) {
		t.Errorf("the outlines differ by %q, want %q", lines, want)
	}
}

// The user of nosql.url may be one that manages users in the tenants' databases alone.
func TestUsersAreLookedUpOneByOneWhereTheServerListsThemNotAtOnce(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if c.Name == "usersInfo" && c.DB == "admin" {
			return mongoproxy.Action{Reply: mongoproxy.Refusal(13, "Unauthorized", "not authorized on admin")}
		}
		return mongoproxy.Action{}
	})
	ten.State = tenant.Active
	if found := faults(t, r, ten); len(found) > 0 {
		t.Errorf("a clean tenant has %q", found)
	}
	must(t, r.dropUser(t.Context(), ten))
	if found := faults(t, r, ten); !slices.Equal(found, []string{ruleMissingUser}) {
		t.Errorf("found %q", found)
	}
	must(t, r.Orphans(t.Context(), []tenant.Tenant{ten}, ten.Database, func(f tenant.Fault) { t.Errorf("found %+v", f) }))
}
