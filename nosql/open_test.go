package nosql

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

func TestOpenRefusesAServerThatCannotBeWorkedWith(t *testing.T) {
	set := func(pairs ...any) func(bson.D) bson.D {
		return func(d bson.D) bson.D {
			for i := 0; i < len(pairs); i += 2 {
				d = mongoproxy.Set(d, pairs[i].(string), pairs[i+1])
			}
			return d
		}
	}
	for _, c := range []struct {
		name      string
		hello     func(bson.D) bson.D
		refusals  map[string]bson.D
		url       func(string) string
		kind      error
		says      string
		saysAlso  string
		saysNever string
	}{
		{name: "older than the driver can talk to", hello: set("maxWireVersion", int32(7)), kind: tenant.ErrUnsupported, says: "is older than MongoDB 4.", saysAlso: "upgrade"},
		{name: "a secondary", hello: set("isWritablePrimary", false, "ismaster", false, "secondary", true, "setName", "rs"), kind: tenant.ErrUnsupported, says: "is a read-only replica", saysAlso: "replicaSet=NAME"},
		{
			name: "a replica set in the midst of an election", kind: tenant.ErrUnreachable, says: "replica set rs has no primary", saysAlso: "rs.status()",
			url: func(u string) string { return strings.Replace(u, "directConnection=true", "replicaSet=rs", 1) },
			hello: func(d bson.D) bson.D {
				return set("isWritablePrimary", false, "ismaster", false, "secondary", true, "setName", "rs", "hosts", bson.A{"HOST"})(d)
			},
		},
		{
			name: "closed to the user", kind: tenant.ErrUnreachable, says: `does not let the user "root" in`, saysAlso: "authSource", saysNever: "s3cret",
			refusals: map[string]bson.D{"saslStart": mongoproxy.Refusal(18, "AuthenticationFailed", "Authentication failed.")},
			url:      func(u string) string { return strings.Replace(u, "mongodb://", "mongodb://root:s3cret@", 1) },
		},
		{
			name: "closed to everybody", kind: tenant.ErrRights, says: "not authorized",
			refusals: map[string]bson.D{"hello": mongoproxy.Refusal(13, "Unauthorized", "not authorized")},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := mongoproxy.Start(t, tenanttest.MongoURL(t))
			p.Hello(func(d bson.D) bson.D {
				if r := c.refusals["hello"]; r != nil && !slices.ContainsFunc(d, func(e bson.E) bool { return e.Key == "ismaster" }) {
					return r
				}
				if c.hello == nil {
					return d
				}
				host, _, _ := strings.Cut(strings.TrimPrefix(p.URL(), "mongodb://"), "/")
				d = c.hello(d)
				for i := range d {
					if d[i].Key == "hosts" {
						d[i].Value = bson.A{host}
					}
				}
				return d
			})
			p.Intercept(func(cmd mongoproxy.Command) mongoproxy.Action { return mongoproxy.Action{Reply: c.refusals[cmd.Name]} })
			url := p.URL()
			if c.url != nil {
				url = c.url(url)
			}
			_, err := Open(t.Context(), Config{URL: url, Timeout: time.Second})
			e := refuses(t, err, c.kind, c.says, c.saysAlso)
			if c.saysNever != "" && strings.Contains(explained(e), c.saysNever) {
				t.Error("the error holds the password")
			}
			for _, cmd := range p.Commands() {
				if cmd.N > 0 && cmd.Name != "hello" {
					t.Errorf("%s was sent", cmd.Name)
				}
			}
		})
	}
}

func TestOpenNamesTheHostsThatItCannotReach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	_, err = Open(t.Context(), Config{URL: "mongodb://root:s3cret@" + address + ",localhost:1/?replicaSet=rs", Timeout: 100 * time.Millisecond})
	e := refuses(t, err, tenant.ErrUnreachable, "cannot reach "+address+" (connection refused), localhost:1 (connection refused)", "is the server running")
	if strings.Contains(e.Msg, "s3cret") {
		t.Error("the error holds the password")
	}
}

func TestOpenRefusesAURLThatIsNone(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:27017", "mongodb://", "http://127.0.0.1/", "mongodb://127.0.0.1:27017/?w=x&authMechanism=none"} {
		_, err := Open(t.Context(), Config{URL: url})
		refuses(t, err, tenant.ErrInvalid, "nosql.url is not a MongoDB connection string", "mongodb://user:password@host")
	}
}

func TestOpenRefusesWritesThatNobodyAcknowledges(t *testing.T) {
	for _, query := range []string{"w=0", "w=0&journal=false"} {
		_, err := Open(t.Context(), Config{URL: "mongodb://127.0.0.1:27017/?" + query})
		refuses(t, err, tenant.ErrInvalid, "w=0", "nosql.url")
	}
}

// What the URL asks for is asked for by commands too.
func TestWritesByCommandsGoByTheURL(t *testing.T) {
	p := mongoproxy.Start(t, tenanttest.MongoURL(t))
	p.KeepUsers()
	client, err := Open(t.Context(), Config{URL: p.URL() + "&w=1&journal=true"})
	must(t, err)
	t.Cleanup(func() { disconnect(t, client) })
	r := New(client, Config{URL: p.URL() + "&w=1&journal=true", Dir: example})
	must(t, r.Create(t.Context(), newTenant(t)))
	seen := 0
	for _, c := range p.Commands() {
		if c.Name == "createIndexes" || c.Name == "createUser" || c.Name == "insert" {
			seen++
			if got := c.Body.Lookup("writeConcern").String(); got != `{"w": {"$numberInt":"1"},"j": true}` {
				t.Errorf("%s asks for the write concern %s", c.Name, got)
			}
		}
	}
	if seen < 3 {
		t.Errorf("only %d writes were seen", seen)
	}
}

func TestOpenCanBeInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Open(ctx, Config{URL: tenanttest.MongoURL(t)})
	refuses(t, err, tenant.ErrInterrupted)
}

func TestPresentsItselfAndWaitsForTheMajority(t *testing.T) {
	p := mongoproxy.Start(t, tenanttest.MongoURL(t))
	p.KeepUsers()
	var concerns, inserts int
	r := connect(t, Config{URL: p.URL(), Dir: example, Monitor: &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if e.CommandName == "insert" || e.CommandName == "update" {
			if name, _ := e.Command.Lookup(e.CommandName).StringValueOK(); !isBook(name) {
				return
			}
			inserts++
			if w, _ := e.Command.Lookup("writeConcern", "w").StringValueOK(); w == "majority" {
				concerns++
			}
		}
	}}})
	acme := newTenant(t)
	must(t, r.Create(t.Context(), acme))
	_, err := r.Lock(t.Context(), acme)
	must(t, err)
	must(t, r.Unlock(t.Context(), acme))
	must(t, r.SetPassword(t.Context(), acme, "secret", nil))
	must(t, r.Drop(t.Context(), acme))
	users := map[string]int{}
	for _, c := range p.Commands() {
		if !strings.HasSuffix(c.Name, "User") {
			continue
		}
		users[c.Name]++
		if w, _ := c.Body.Lookup("writeConcern", "w").StringValueOK(); w != "majority" {
			t.Errorf("%s asks for the write concern %s", c.Name, c.Body.Lookup("writeConcern"))
		}
	}
	if users["createUser"] != 1 || users["updateUser"] != 3 || users["dropUser"] != 1 {
		t.Errorf("the commands about users are %v", users)
	}
	if inserts == 0 || concerns != inserts {
		t.Errorf("%d of %d writes of a book wait for the majority", concerns, inserts)
	}
	if p.AppName() != "tenantctl" {
		t.Errorf("presents itself as %q", p.AppName())
	}
}
