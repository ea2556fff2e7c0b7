package nosql

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// MongoDB 4.2 knows no hello; others tell their version to administrators alone.
func TestServersThatAnswerOtherwiseAreWorkedWith(t *testing.T) {
	for name, replies := range map[string]map[string]bson.D{
		"no hello":                           {"hello": mongoproxy.Refusal(59, "CommandNotFound", "no such command: 'hello'")},
		"a version for administrators alone": {"buildInfo": mongoproxy.Refusal(13, "Unauthorized", "not authorized on admin")},
	} {
		t.Run(name, func(t *testing.T) {
			p := mongoproxy.Start(t, tenanttest.MongoURL(t))
			p.KeepUsers()
			p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
				if c.N == 0 {
					return mongoproxy.Action{}
				}
				return mongoproxy.Action{Reply: replies[c.Name]}
			})
			r := connect(t, Config{URL: p.URL(), Dir: example, Timeout: 5 * time.Second})
			ten := newTenant(t)
			must(t, r.Create(t.Context(), ten))
			dump(t, r, ten)
			if got := report(r.Doctor(t.Context())); strings.Contains(got, "connection error") {
				t.Error(got)
			}
			must(t, r.Drop(t.Context(), ten))
		})
	}
}

// Users that do not fit into one document are asked for one by one.
func TestUsersThatAreTooManyForOneReplyAreVerified(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	ten.State = tenant.Active
	must(t, r.Create(t.Context(), ten))
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if which, ok := c.Body.Lookup("usersInfo").DocumentOK(); c.Name == "usersInfo" && ok && !which.Lookup("forAllDBs").IsZero() {
			return mongoproxy.Action{Reply: mongoproxy.ReplyTooLarge}
		}
		return mongoproxy.Action{}
	})
	verify := func() (rules []string) {
		must(t, r.Verify(t.Context(), []tenant.Tenant{ten}, nil, func(f tenant.Fault) { rules = append(rules, f.Rule) }))
		return rules
	}
	if rules := verify(); len(rules) > 0 {
		t.Errorf("of a tenant as it should be it finds %v", rules)
	}
	_, err := r.Lock(t.Context(), ten)
	must(t, err)
	if rules := verify(); !slices.Equal(rules, []string{ruleLockedOut}) {
		t.Errorf("of a user without roles it finds %v", rules)
	}
	must(t, r.Orphans(t.Context(), []tenant.Tenant{ten}, ten.Database, func(f tenant.Fault) { t.Errorf("%+v", f) }))
}

// A database whose tag another has taken meanwhile is not dropped.
func TestTheTagIsLookedAtRightBeforeADatabaseIsDropped(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	other := bson.D{{Key: "$set", Value: bson.D{{Key: "tenant", Value: "0197f6a0-0000-7000-8000-000000000000"}}}}
	client := plain(t)
	taken := false
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if c.Name == "drop" && !taken {
			taken = true
			_, err := client.Database(ten.Database).Collection(ownCollection).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: ownerID}}, other)
			must(t, err)
		}
		return mongoproxy.Action{}
	})
	refuses(t, r.Drop(t.Context(), ten), tenant.ErrForeign, "is left as it is")
	for _, c := range p.Commands() {
		if c.Name == "dropDatabase" {
			t.Error("the database was dropped")
		}
	}
}

func TestAWrongNameOfAReplicaSetIsToldWithTheRightOne(t *testing.T) {
	for name, c := range map[string]struct {
		is   func(p *mongoproxy.Proxy)
		says []string
	}{
		"another":  {func(p *mongoproxy.Proxy) { p.ReplicaSet("production", 21) }, []string{"is of replica set production", "replicaSet=production"}},
		"none":     {func(*mongoproxy.Proxy) {}, []string{"is of no replica set", "take replicaSet out"}},
		"a router": {func(p *mongoproxy.Proxy) { p.Router(21) }, []string{"is the router of a sharded cluster", "take replicaSet out"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mongoproxy.Start(t, tenanttest.MongoURL(t))
			c.is(p)
			url := strings.Replace(p.URL(), "directConnection=true", "replicaSet=staging", 1)
			_, err := Open(t.Context(), Config{URL: url, Timeout: time.Second})
			refuses(t, err, tenant.ErrUnreachable, append(c.says, "replica set staging is not there")...)
		})
	}
}
