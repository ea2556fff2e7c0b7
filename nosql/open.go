package nosql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/address"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/auth"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/tenantctl/tenantctl/tenant"
)

const defaultTimeout = 10 * time.Second

// Open connects to the server and refuses one that cannot be worked with: unreachable, closed to the user, older than
// the driver can talk to, or not writable. The client waits for the majority of a replica set at every write of its
// own, unless the URL says otherwise, and reads from the primary alone.
func Open(ctx context.Context, cfg Config) (*mongo.Client, error) {
	opts, err := clientOptions(cfg)
	if err != nil {
		return nil, err
	}
	seen := &sightings{failures: map[string]error{}}
	opts.SetServerMonitor(seen.monitor())
	client, err := mongo.Connect(opts)
	if err != nil {
		return nil, refused(tenant.ErrInvalid, urlHint, "nosql.url cannot be used")
	}
	if err := greet(ctx, client, seen, opts); err != nil {
		// The client is of no use, so its own end is of no interest.
		_ = client.Disconnect(context.WithoutCancel(ctx))
		return nil, err
	}
	return client, nil
}

const urlHint = "write it as mongodb://user:password@host:27017/?authSource=admin, with special characters percent-encoded"

// clientOptions reads the URL. What the driver says of a broken one is not passed on: it may quote the password.
func clientOptions(cfg Config) (*options.ClientOptions, error) {
	opts := options.Client().ApplyURI(cfg.URL)
	if err := opts.Validate(); err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) {
			return nil, refused(tenant.ErrUnreachable, "check the host in nosql.url", "look up %s: no such host", dns.Name)
		}
		return nil, refused(tenant.ErrInvalid, urlHint, "nosql.url is not a MongoDB connection string")
	}
	timeout := cmp.Or(cfg.Timeout, defaultTimeout)
	opts.SetAppName("tenantctl").SetServerSelectionTimeout(timeout).SetConnectTimeout(timeout).
		SetReadPreference(readpref.Primary()).SetMonitor(cfg.Monitor)
	if opts.WriteConcern == nil {
		opts.SetWriteConcern(writeconcern.Majority())
	}
	if !opts.WriteConcern.Acknowledged() {
		return nil, refused(tenant.ErrInvalid, "take w=0 out of nosql.url: the server would not say what it refuses",
			"nosql.url asks for writes that nobody acknowledges (w=0)")
	}
	return opts, nil
}

// greeting is what a server says of itself.
type greeting struct {
	Writable    bool      `bson:"isWritablePrimary"`
	Master      bool      `bson:"ismaster"` // of servers older than hello
	SetName     string    `bson:"setName"`
	WireVersion int       `bson:"maxWireVersion"`
	Router      string    `bson:"msg"` // routerName for a mongos
	Time        time.Time `bson:"localTime"`
}

// routerName is how a mongos calls itself.
const routerName = "isdbgrid"

// hello greets a server. Before MongoDB 4.4.2 the greeting has another name.
func hello(ctx context.Context, client *mongo.Client) (greeting, error) {
	var g greeting
	admin := client.Database("admin")
	err := admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&g)
	if unknownCommand(err) {
		if err = admin.RunCommand(ctx, bson.D{{Key: "isMaster", Value: 1}}).Decode(&g); err == nil {
			g.Writable = g.Master
		}
	}
	return g, err
}

func greet(ctx context.Context, client *mongo.Client, seen *sightings, opts *options.ClientOptions) error {
	g, err := hello(ctx, client)
	if err != nil {
		if wrong := wrongSet(ctx, opts); wrong != nil {
			return wrong
		}
		return seen.explain(err, opts)
	}
	if !g.Writable {
		return refused(tenant.ErrUnsupported, "point nosql.url at the primary, or name the replica set in it with replicaSet=NAME",
			"%s is a read-only replica", strings.Join(opts.Hosts, ", "))
	}
	return nil
}

// wrongSet says which replica set the first host is of, where the URL names another; nil where that is not the trouble.
func wrongSet(ctx context.Context, opts *options.ClientOptions) error {
	if opts.ReplicaSet == nil {
		return nil
	}
	direct := *opts
	direct.SetDirect(true).SetHosts(opts.Hosts[:1]).SetServerMonitor(nil)
	direct.ReplicaSet = nil
	client, err := mongo.Connect(&direct)
	if err != nil {
		return nil
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }() // it was for one question
	g, err := hello(ctx, client)
	switch set, host := *opts.ReplicaSet, opts.Hosts[0]; {
	case err != nil || g.SetName == set:
		return nil
	case g.Router == routerName:
		return refused(tenant.ErrUnreachable, "take replicaSet out of nosql.url",
			"replica set %s is not there: %s is the router of a sharded cluster", set, host)
	case g.SetName == "":
		return refused(tenant.ErrUnreachable, "take replicaSet out of nosql.url, or name the hosts of the replica set",
			"replica set %s is not there: %s is of no replica set", set, host)
	default:
		return refused(tenant.ErrUnreachable, "write replicaSet="+g.SetName+" in nosql.url",
			"replica set %s is not there: %s is of replica set %s", set, host, g.SetName)
	}
}

// sightings is what the driver last saw of the servers: its own errors tell it only as one long line.
type sightings struct {
	mu       sync.Mutex
	last     event.TopologyDescription
	failures map[string]error // by host
}

func (s *sightings) monitor() *event.ServerMonitor {
	return &event.ServerMonitor{
		TopologyDescriptionChanged: func(e *event.TopologyDescriptionChangedEvent) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.last = e.NewDescription
		},
		ServerHeartbeatFailed: func(e *event.ServerHeartbeatFailedEvent) {
			s.mu.Lock()
			defer s.mu.Unlock()
			host, _, _ := strings.Cut(e.ConnectionID, "[")
			s.failures[host] = e.Failure
		},
	}
}

// explain says in one sentence why the first command came to nothing.
func (s *sightings) explain(err error, opts *options.ClientOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	hosts := strings.Join(opts.Hosts, ", ")
	var refusal *auth.Error
	switch {
	case errors.Is(err, context.Canceled):
		return failure("connect to "+hosts, err)
	case s.last.CompatibilityErr != nil:
		return refused(tenant.ErrUnsupported, "upgrade it to MongoDB "+topology.MinSupportedMongoDBVersion+" or newer",
			"%s is older than MongoDB %s", hosts, topology.MinSupportedMongoDBVersion)
	case errors.As(err, &refusal), isCode(err, codeAuthentication):
		user := ""
		if opts.Auth != nil {
			user = opts.Auth.Username
		}
		return &tenant.Error{
			Kind: tenant.ErrUnreachable, Store: tenant.KindMongoDB, Err: err,
			Msg:  fmt.Sprintf("%s does not let the user %q in", hosts, user),
			Hint: "check the user, the password and authSource of nosql.url",
		}
	case isCode(err, codeUnauthorized, codeCommandNotFound):
		return failure("greet "+hosts, err)
	case s.last.Kind == "ReplicaSetNoPrimary" && len(s.failures) < len(opts.Hosts):
		return refused(tenant.ErrUnreachable, "wait for the election, or look at rs.status()", "replica set %s has no primary", s.last.SetName)
	}
	reasons := make([]string, len(opts.Hosts))
	for i, host := range opts.Hosts {
		reasons[i] = host
		if cause := s.failures[address.Address(host).String()]; cause != nil {
			reasons[i] += " (" + innermost(cause) + ")"
		}
	}
	return &tenant.Error{
		Kind: tenant.ErrUnreachable, Store: tenant.KindMongoDB, Err: err,
		Msg:  "cannot reach " + strings.Join(reasons, ", "),
		Hint: "is the server running, and is nosql.url right?",
	}
}

// innermost is the text of the first cause, such as "connection refused".
func innermost(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
