package nosql

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tenantctl/tenantctl/tenant"
)

// Apart tells why the server does not keep tenants apart. It asks without a login what only a login may.
func (r *Resource) Apart(ctx context.Context) (why string, err error) {
	if r.cfg.Users == UsersNone {
		return "nosql.users is none: the application reaches every database with one user", nil
	}
	_, err = r.probeUsers(ctx)
	switch {
	case notHere(err):
		return keepsNone(err), nil
	case err != nil:
		return "", userFailure("list users", err)
	}
	opts, err := clientOptions(r.cfg)
	if err != nil {
		return "", err
	}
	opts.Auth = nil
	err = as(ctx, opts, func(nobody *mongo.Client) error {
		return nobody.Database("admin").RunCommand(ctx, bson.D{{Key: "listDatabases", Value: 1}, {Key: "nameOnly", Value: true}}).Err()
	})
	if err == nil {
		return "the server does not ask who connects: start it with authorization on", nil
	}
	if _, spoke := answerOf(err); !spoke {
		return "", failure("connect without a login", err)
	}
	return "", nil
}

// as works with a client of its own.
func as(ctx context.Context, opts *options.ClientOptions, do func(*mongo.Client) error) error {
	client, err := mongo.Connect(opts)
	if err != nil {
		return err
	}
	// What it did is over; what its end has to say is of no interest.
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
	return do(client)
}

const probeKey = "probe" // in customData: the id of the operation

// probeUsers lists those of all databases that probes have made.
func (r *Resource) probeUsers(ctx context.Context) ([]userInfo, error) {
	var reply struct {
		Users []userInfo `bson:"users"`
	}
	err := r.client.Database("admin").RunCommand(ctx, bson.D{
		{Key: "usersInfo", Value: bson.D{{Key: "forAllDBs", Value: true}}},
		{Key: "filter", Value: bson.D{{Key: "customData." + probeKey, Value: bson.D{{Key: "$exists", Value: true}}}}},
	}).Decode(&reply)
	return reply.Users, err
}

// Probe tries as t whatever is not t's, by a user of its own beside t's that has the same roles. t's user and its
// password stay as they are.
func (r *Resource) Probe(ctx context.Context, t tenant.Tenant, others []tenant.Tenant, tried func(tenant.Attempt)) (err error) {
	u, err := r.ownUser(ctx, t)
	if err != nil {
		return err
	}
	collections := map[string][]string{}
	for _, o := range others {
		if collections[o.Database], err = r.db(o).ListCollectionNames(ctx, bson.D{}); err != nil {
			return failure("list collections", err)
		}
	}
	random := make([]byte, 4)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	probe := t
	probe.Role = t.Role + "$probe_" + hex.EncodeToString(random)
	password := rand.Text() + rand.Text()
	operation := uuid.Nil
	if l := tenant.LeaseFrom(ctx); l != nil {
		operation = l.Operation
	}
	if err := tenant.LeaseFrom(ctx).Check(ctx); err != nil {
		return err
	}
	roles := bson.A{}
	for _, role := range u.roles {
		roles = append(roles, role)
	}
	defer func() { // also where the answer to createUser was lost
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), defaultTimeout)
		defer cancel()
		err = errors.Join(err, r.dropUser(ctx, probe))
	}()
	if err := r.change(ctx, probe, "make a user to probe as "+t.Role, bson.D{
		{Key: "createUser", Value: probe.Role},
		{Key: "pwd", Value: password},
		{Key: "roles", Value: roles},
		{Key: "customData", Value: bson.D{{Key: probeKey, Value: operation.String()}}},
	}); err != nil {
		return err
	}
	if err := tenant.Checkpoint(ctx, "mongodb/probe-user-made"); err != nil {
		return err
	}
	opts, err := clientOptions(r.cfg)
	if err != nil {
		return err
	}
	opts.SetAuth(options.Credential{AuthSource: t.Database, Username: probe.Role, Password: password})
	return as(ctx, opts, func(client *mongo.Client) error {
		own := trial{"use its own database", t.Database, t.Database, bson.D{{Key: "listCollections", Value: 1}, {Key: "nameOnly", Value: true}}, nil}
		if a := r.try(ctx, client, own); a.Outcome != tenant.AttemptThrough { // else all that follows would prove nothing
			return &tenant.Error{
				Kind: tenant.ErrRights, Store: tenant.KindMongoDB, Code: a.Code, Msg: "the tenant cannot use its own database: " + a.Message,
				Hint: "give its user the role readWrite on it",
			}
		}
		for _, o := range others {
			for _, s := range onTenant(t, o, probe.Role, collections[o.Database]) {
				tried(r.try(ctx, client, s))
			}
		}
		for _, s := range onServer(t) {
			tried(r.try(ctx, client, s))
		}
		return ctx.Err()
	})
}

// trial is one command that must not get through.
type trial struct {
	what, object, db string
	command          bson.D
	sees             func(bson.Raw) string // it may run, and this finds what it must not see; empty for nothing
}

// onTenant is what is tried on another tenant, without changing anything where it gets through.
func onTenant(t, o tenant.Tenant, self string, collections []string) []trial {
	nobody := bson.D{{Key: "_id", Value: bson.NewObjectID()}}
	all := []trial{
		{"list another tenant's collections", o.Database, o.Database, bson.D{{Key: "listCollections", Value: 1}, {Key: "nameOnly", Value: true}}, nil},
		{"list another tenant's users", o.Database, o.Database, bson.D{{Key: "usersInfo", Value: 1}}, nil},
		{"take a role in another tenant's database", o.Database, t.Database, bson.D{{Key: "grantRolesToUser", Value: self}, {Key: "roles", Value: readWrite(o)}}, nil},
	}
	for _, c := range collections {
		object := o.Database + "." + c
		all = append(all,
			trial{"read another tenant's documents", object, o.Database, bson.D{{Key: "find", Value: c}, {Key: "limit", Value: 1}}, nil},
			// No document may have an array for its _id.
			trial{"insert into another tenant's collection", object, o.Database, bson.D{{Key: "insert", Value: c}, {Key: "documents", Value: bson.A{bson.D{{Key: "_id", Value: bson.A{}}}}}}, nil},
			trial{"update another tenant's documents", object, o.Database, bson.D{{Key: "update", Value: c}, {Key: "updates", Value: bson.A{
				bson.D{{Key: "q", Value: nobody}, {Key: "u", Value: bson.D{{Key: "$set", Value: bson.D{{Key: "tenantctl", Value: 1}}}}}},
			}}}, nil},
			trial{"delete another tenant's documents", object, o.Database, bson.D{{Key: "delete", Value: c}, {Key: "deletes", Value: bson.A{
				bson.D{{Key: "q", Value: nobody}, {Key: "limit", Value: 1}},
			}}}, nil})
	}
	return all
}

// onServer is what is tried on the server.
func onServer(t tenant.Tenant) []trial {
	others := func(reply bson.Raw) string {
		var list struct {
			Databases []struct {
				Name string `bson:"name"`
			} `bson:"databases"`
		}
		if err := bson.Unmarshal(reply, &list); err != nil {
			return "databases"
		}
		for _, db := range list.Databases {
			if db.Name != t.Database {
				return db.Name
			}
		}
		return ""
	}
	return []trial{
		{"list databases", "", "admin", bson.D{{Key: "listDatabases", Value: 1}, {Key: "nameOnly", Value: true}}, others},
		{"read passwords", "admin.system.users", "admin", bson.D{{Key: "find", Value: "system.users"}, {Key: "limit", Value: 1}}, nil},
		{"list all users", "", "admin", bson.D{{Key: "usersInfo", Value: bson.D{{Key: "forAllDBs", Value: true}}}}, nil},
		{"read the server's log", "", "admin", bson.D{{Key: "getLog", Value: "global"}}, nil},
		{"read the server's parameters", "", "admin", bson.D{{Key: "getParameter", Value: "*"}}, nil},
		{"read the oplog", "local.oplog.rs", "local", bson.D{{Key: "find", Value: "oplog.rs"}, {Key: "limit", Value: 1}}, nil},
		{"read the configuration", "config.settings", "config", bson.D{{Key: "find", Value: "settings"}, {Key: "limit", Value: 1}}, nil},
		{"watch commands of others", "", "admin", bson.D{{Key: "aggregate", Value: 1}, {Key: "pipeline", Value: bson.A{bson.D{{Key: "$currentOp", Value: bson.D{{Key: "allUsers", Value: true}}}}}}, {Key: "cursor", Value: bson.D{}}}, nil},
	}
}

// try runs one command.
func (r *Resource) try(ctx context.Context, client *mongo.Client, s trial) tenant.Attempt {
	a := tenant.Attempt{What: s.what, Object: s.object, Statement: s.command[0].Key, Outcome: tenant.AttemptThrough}
	reply, err := client.Database(s.db).RunCommand(ctx, r.concerned(s.command)).Raw()
	if err == nil {
		if s.sees != nil {
			if a.Object = s.sees(reply); a.Object == "" {
				a.Outcome = tenant.AttemptRefused
			}
		}
		return a
	}
	said, spoke := answerOf(err)
	a.Code, a.Message = said.name, said.message
	switch {
	case !spoke:
		a.Outcome, a.Message = tenant.AttemptUnclear, failure("try", err).Error()
	case slices.Contains([]int{codeUnauthorized, codeCommandNotFound, codeNotImplemented}, said.code):
		a.Outcome = tenant.AttemptRefused
	}
	return a // else it was not for want of rights that the command failed
}

// Sweep removes the users of probes that have ended.
func (r *Resource) Sweep(ctx context.Context, ended func(uuid.UUID) (bool, error)) error {
	if r.cfg.Users == UsersNone {
		return nil
	}
	all, err := r.probeUsers(ctx)
	if notHere(err) {
		return nil
	}
	if err != nil {
		return userFailure("look for what probes have left", err)
	}
	for _, u := range all {
		data, _ := u.CustomData.DocumentOK()
		mark, _ := data.Lookup(probeKey).StringValueOK()
		id, err := uuid.Parse(mark)
		if err != nil {
			continue // not a probe's
		}
		over, err := ended(id)
		if err == nil && over {
			err = r.dropUser(ctx, tenant.Tenant{Database: u.Database, Role: u.Name})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
