package nosql

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/tenantctl/tenantctl/tenant"
)

// Doctor asks the server everything that tenantctl counts on. What follows from an answer that did not come is left out.
func (r *Resource) Doctor(ctx context.Context) []tenant.Check {
	before := time.Now()
	g, err := hello(ctx, r.client)
	after := time.Now()
	if err != nil {
		return []tenant.Check{found("connection", tenant.CheckError, failure("greet the server", err))}
	}
	checks := []tenant.Check{check("connection", tenant.CheckOK, r.whichServer(ctx)+fmt.Sprintf(", wire version %d", g.WireVersion), "")}
	switch {
	case !g.Writable:
		checks = append(checks, check("writable", tenant.CheckError, "the server is not the primary: it takes no writes", "point nosql.url at the primary, or name the replica set in it"))
	case g.Router == routerName:
		checks = append(checks, check("writable", tenant.CheckOK, "the router of a sharded cluster takes writes", ""))
	case g.SetName == "":
		checks = append(checks, check("writable", tenant.CheckOK, "the server takes writes; it is no replica set, so nothing is kept twice", ""))
	default:
		checks = append(checks, check("writable", tenant.CheckOK, "the primary of replica set "+g.SetName+" takes writes", ""))
	}
	if !g.Time.IsZero() {
		checks = append(checks, tenant.ClockCheck(tenant.KindMongoDB, g.Time, before, after))
	}
	checks = append(checks, r.encryption())
	if c, known := r.openFiles(ctx); known {
		checks = append(checks, c)
	}
	login, known := r.whoAmI(ctx)
	users, keeps := r.users(ctx)
	checks = append(checks, users)
	switch {
	case !known:
	case login == "" && keeps:
		checks = append(checks, check("authorization", tenant.CheckWarning, "nosql.url names no user, and the server lets it manage users: it does not check who connects",
			"start the server with authorization on, or every tenant reaches every database"))
	case login == "":
		checks = append(checks, check("authorization", tenant.CheckWarning, "the server does not ask who connects", "keep it unreachable for tenants"))
	default:
		checks = append(checks, check("authorization", tenant.CheckOK, "connected as "+login, ""))
	}
	return append(checks, r.rights(ctx))
}

func check(name, status, message, hint string) tenant.Check {
	return tenant.Check{Store: tenant.KindMongoDB, Name: name, Status: status, Message: message, Hint: hint}
}

// found is the check of an error of this package.
func found(name, status string, err error) tenant.Check {
	c := check(name, status, err.Error(), "")
	if e, isOurs := err.(*tenant.Error); isOurs { //nolint:errorlint // made here, never wrapped
		c.Message, c.Hint = e.Msg, e.Hint
	}
	return c
}

// build is what a server says of its program.
type build struct {
	Version  string        `bson:"version"`
	Features bson.RawValue `bson:"ferretdbFeatures"` // of FerretDB 1
	Ferret1  string        `bson:"ferretdbVersion"`
	Ferret2  struct {
		Version string `bson:"version"`
	} `bson:"ferretdb"`
}

func (b build) isFerret() bool { return !b.Features.IsZero() || b.ferretVersion() != "" }

func (b build) ferretVersion() string {
	return strings.TrimPrefix(cmp.Or(b.Ferret1, b.Ferret2.Version), "v")
}

func (r *Resource) build(ctx context.Context) (b build, err error) {
	err = r.client.Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&b)
	return b, err
}

func (r *Resource) whichServer(ctx context.Context) string {
	b, err := r.build(ctx)
	switch {
	case err != nil:
		return "MongoDB of unknown version (" + topology.MinSupportedMongoDBVersion + " or newer)"
	case b.isFerret():
		return "FerretDB, which calls itself MongoDB " + b.Version
	}
	return "MongoDB " + b.Version
}

// whoAmI is the user that the connection is authenticated as; empty for nobody.
func (r *Resource) whoAmI(ctx context.Context) (name string, known bool) {
	var status struct {
		Info struct {
			Users []struct {
				User string `bson:"user"`
				DB   string `bson:"db"`
			} `bson:"authenticatedUsers"`
		} `bson:"authInfo"`
	}
	if err := r.client.Database("admin").RunCommand(ctx, bson.D{{Key: "connectionStatus", Value: 1}}).Decode(&status); err != nil {
		return "", false
	}
	var names []string
	for _, u := range status.Info.Users {
		names = append(names, u.User+"@"+u.DB)
	}
	return strings.Join(names, ", "), true
}

// users tells whether tenants can have users, and whether the server lets tenantctl manage them.
func (r *Resource) users(ctx context.Context) (c tenant.Check, keeps bool) {
	if r.cfg.Users == UsersNone {
		return check("users", tenant.CheckOK, "tenants have no user of their own: nosql.users is none", ""), false
	}
	err := r.client.Database("admin").RunCommand(ctx, bson.D{{Key: "usersInfo", Value: 1}, {Key: "filter", Value: bson.D{{Key: "user", Value: "tenantctl"}}}}).Err()
	switch {
	case notHere(err) && r.cfg.Users == UsersRequire:
		return found("users", tenant.CheckError, required(err)), false
	case notHere(err):
		return check("users", tenant.CheckWarning, keepsNone(err), "use MongoDB where tenants log in themselves; nosql.users: none says that this is meant"), false
	case err != nil:
		return found("users", tenant.CheckError, userFailure("list users", err)), true
	}
	if b, err := r.build(ctx); err == nil && b.ferretVersion() != "" && r.goesWithout() {
		return check("users", tenant.CheckWarning, "FerretDB makes no users for one database alone: whoever reaches it reaches every tenant",
			"use MongoDB where tenants log in themselves; nosql.users: none says that this is meant"), true
	}
	return r.tryUser(ctx), true
}

// userTrials are what create, suspend, resume and purge do with users, in this order.
var userTrials = []struct {
	command func(name, password string) bson.D
	needs   string // what the refusal of the command stands in the way of
}{
	{func(name, password string) bson.D {
		roles := bson.A{bson.D{{Key: "role", Value: "readWrite"}, {Key: "db", Value: trialDatabase}}}
		return bson.D{{Key: "createUser", Value: name}, {Key: "pwd", Value: password}, {Key: "roles", Value: roles}}
	}, "create, clone and restore"},
	{func(name, _ string) bson.D {
		return bson.D{{Key: "updateUser", Value: name}, {Key: "roles", Value: bson.A{}}}
	}, "suspend, resume and credentials --rotate"},
	{func(name, _ string) bson.D {
		return bson.D{{Key: "killAllSessions", Value: bson.A{bson.D{{Key: "user", Value: name}, {Key: "db", Value: trialDatabase}}}}}
	}, "suspend and delete"},
	{func(name, _ string) bson.D { return bson.D{{Key: "dropUser", Value: name}} }, "purge"},
}

// trialDatabase is never made: a user may be of a database that is not there.
const trialDatabase = "tenantctl_doctor"

// tryUser makes a user, changes it, ends its sessions and drops it, to see what the server lets tenantctl do.
func (r *Resource) tryUser(ctx context.Context) tenant.Check {
	name, password := "doctor_"+strings.ToLower(rand.Text()), rand.Text()
	made := false
	for _, trial := range userTrials {
		command := trial.command(name, password)
		db := r.client.Database(trialDatabase)
		if command[0].Key == "killAllSessions" {
			db = r.client.Database("admin")
		}
		err := db.RunCommand(ctx, r.concerned(command)).Err()
		if err == nil {
			made = true
			continue
		}
		if made {
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), defaultTimeout)
			defer cancel()
			_ = r.client.Database(trialDatabase).RunCommand(clean, r.concerned(userTrials[len(userTrials)-1].command(name, ""))).Err() // what refuses this is told below
		}
		if _, none := makesNone(err); none && !made && r.goesWithout() {
			c := found("users", tenant.CheckWarning, userFailure("create a user", err))
			c.Hint = "tenants are made without users of their own, and whoever reaches the server reaches every tenant; nosql.users: none says that this is meant"
			return c
		}
		e := found("users", tenant.CheckError, userFailure(command[0].Key+" of a user on trial", err))
		e.Message = strings.ReplaceAll(e.Message, password, "xxxxx") + ", which " + trial.needs + " need"
		if !strings.Contains(e.Hint, "nosql.users to none") {
			e.Hint = strings.TrimPrefix(e.Hint+"; or set nosql.users to none: tenants then have no users of their own", "; or ")
		}
		return e
	}
	return check("users", tenant.CheckOK, "each tenant has a user of its own, with readWrite on its database alone", "")
}

// encryption tells whether the connection can be read along.
func (r *Resource) encryption() tenant.Check {
	opts, err := clientOptions(r.cfg)
	if err != nil {
		return found("encryption", tenant.CheckError, err)
	}
	if opts.TLSConfig != nil {
		return check("encryption", tenant.CheckOK, "nobody on the way to the server can read along", "")
	}
	for _, h := range opts.Hosts {
		host, _, err := net.SplitHostPort(h)
		if err != nil {
			host = h
		}
		if ip := net.ParseIP(host); host != "localhost" && !strings.HasPrefix(host, "/") && (ip == nil || !ip.IsLoopback()) {
			return check("encryption", tenant.CheckWarning, "whoever is on the way to "+host+" can read along", "add tls=true and tlsCAFile to nosql.url")
		}
	}
	return check("encryption", tenant.CheckOK, "the server is on this machine", "")
}

// openFiles compares the files that the server may have open with what it has: WiredTiger keeps one for each collection and
// for each index. Only a server that tells both is looked at.
func (r *Resource) openFiles(ctx context.Context) (c tenant.Check, known bool) {
	var host struct {
		Extra struct {
			Files int64 `bson:"maxOpenFiles"`
		} `bson:"extra"`
	}
	var status struct {
		Catalog struct {
			Collections int64 `bson:"collections"`
		} `bson:"catalogStats"`
		Index struct {
			Count int64 `bson:"count"`
		} `bson:"indexStats"`
	}
	admin := r.client.Database("admin")
	if err := admin.RunCommand(ctx, bson.D{{Key: "hostInfo", Value: 1}}).Decode(&host); err != nil || host.Extra.Files == 0 {
		return c, false
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "serverStatus", Value: 1}}).Decode(&status); err != nil || status.Catalog.Collections == 0 {
		return c, false
	}
	files := status.Catalog.Collections + max(status.Index.Count, status.Catalog.Collections) // each has an index of its _id
	text := fmt.Sprintf("%d of at most %d files are needed for all collections and indexes", files, host.Extra.Files)
	if files*5 > host.Extra.Files*4 {
		return check("open files", tenant.CheckWarning, text, fmt.Sprintf("raise the server's limit (LimitNOFILE=%d in its unit, or ulimit -n), or spread the tenants over more servers", 4*files)), true
	}
	return check("open files", tenant.CheckOK, text, ""), true
}

// rights tells whether the server lets tenantctl see all databases, which every create does first.
func (r *Resource) rights(ctx context.Context) tenant.Check {
	if _, err := r.client.ListDatabaseNames(ctx, bson.D{{Key: "name", Value: "tenantctl"}}); err != nil {
		return found("databases", tenant.CheckError, failure("list databases", err))
	}
	return check("databases", tenant.CheckOK, "databases can be listed", "")
}
