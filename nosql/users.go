package nosql

import (
	"cmp"
	"context"
	"crypto/rand"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// user is what the server keeps under the name of a tenant's user.
type user struct {
	kept     bool   // the server keeps users, and the configuration wants them
	note     string // why not
	presence tenant.Presence
	owner    string // the id of the tenant that it was made for; empty where it tells none
	roles    []bson.RawValue
}

// user asks the server. The mark is customData.tenant, written when the user was made.
func (r *Resource) user(ctx context.Context, t tenant.Tenant) (user, error) {
	return r.userBy(ctx, t, func() (string, error) { return r.whyWithout(ctx, t) })
}

// userBy is user; without tells why the server made none, as the database's mark says.
func (r *Resource) userBy(ctx context.Context, t tenant.Tenant, without func() (string, error)) (user, error) {
	if r.cfg.Users == UsersNone {
		return user{presence: tenant.Absent, note: "tenants have no user of their own here: nosql.users is none"}, nil
	}
	if t.Role == "" {
		return user{presence: tenant.Absent, note: "the tenant was adopted without a user of its own"}, nil
	}
	all, err := r.usersInfo(ctx, t, bson.D{{Key: "user", Value: t.Role}, {Key: "db", Value: t.Database}})
	switch {
	case notHere(err) && r.cfg.Users == UsersRequire:
		return user{}, required(err)
	case notHere(err):
		return user{presence: tenant.Absent, note: keepsNone(err)}, nil
	case err != nil:
		return user{}, userFailure("look up user "+t.Role, err)
	case len(all) == 0:
		return r.noUser(without)
	}
	u := user{kept: true, presence: tenant.Foreign, owner: all[0].owner(), roles: all[0].Roles}
	if u.owner == t.ID.String() {
		u.presence = tenant.Ours
	}
	return u, nil
}

// noUser is a user that is not there: yet, or since the server would not make it.
func (r *Resource) noUser(without func() (string, error)) (user, error) {
	if r.goesWithout() {
		why, err := without()
		if err != nil {
			return user{}, err
		}
		if why != "" {
			return user{presence: tenant.Absent, note: "the server makes no user for the tenant (" + why + "): whoever reaches it reaches every tenant"}, nil
		}
	}
	return user{kept: true, presence: tenant.Absent}, nil
}

// userInfo is a user as the server describes it.
type userInfo struct {
	Name       string          `bson:"user"`
	Database   string          `bson:"db"`
	CustomData bson.RawValue   `bson:"customData"`
	Roles      []bson.RawValue `bson:"roles"`
}

func (u userInfo) owner() (id string) {
	if data, ok := u.CustomData.DocumentOK(); ok {
		id, _ = data.Lookup("tenant").StringValueOK() // what is no text is no tenant's mark
	}
	return id
}

func (r *Resource) usersInfo(ctx context.Context, t tenant.Tenant, which any) ([]userInfo, error) {
	var reply struct {
		Users []userInfo `bson:"users"`
	}
	err := r.db(t).RunCommand(ctx, bson.D{{Key: "usersInfo", Value: which}}).Decode(&reply)
	return reply.Users, err
}

// dropUsers takes away every user of the tenant's database that was made for it: the one that an exchange left
// there has the name of another tenant's.
func (r *Resource) dropUsers(ctx context.Context, t tenant.Tenant) error {
	if r.cfg.Users == UsersNone {
		return nil
	}
	all, err := r.usersInfo(ctx, t, 1)
	if notHere(err) && r.cfg.Users != UsersRequire {
		return nil
	}
	if err != nil {
		return userFailure("list the users of database "+t.Database, err)
	}
	for _, u := range all {
		if u.owner() == t.ID.String() {
			t.Role = u.Name
			if err := r.dropUser(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// userFailure names the role that would help where the server refuses for want of one, and the setting where it
// manages no users by commands.
func userFailure(doing string, err error) error {
	switch {
	case isCode(err, codeUnauthorized):
		return &tenant.Error{
			Kind: tenant.ErrRights, Store: tenant.KindMongoDB, Err: err,
			Msg:  doing + ": the user of nosql.url may not manage users",
			Hint: "grant it the role userAdminAnyDatabase on admin (userAdmin on each tenant's database is enough), or set nosql.users to none",
		}
	case notHere(err):
		a, _ := answerOf(err)
		return &tenant.Error{Kind: tenant.ErrUnsupported, Store: tenant.KindMongoDB, Err: err, Msg: doing + ": " + a.message, Hint: usersElsewhere}
	}
	return failure(doing, err)
}

// change runs a command on the tenant's user. Only what concerns users goes here: its text is never shown.
func (r *Resource) change(ctx context.Context, t tenant.Tenant, doing string, cmd bson.D) error {
	return userFailure(doing, r.send(ctx, r.db(t), cmd))
}

// readWrite is all that a tenant's user may do: its own database, and nothing else.
func readWrite(t tenant.Tenant) bson.A {
	return bson.A{bson.D{{Key: "role", Value: "readWrite"}, {Key: "db", Value: t.Database}}}
}

// ensureUser makes the user with a password that nobody knows: SetPassword gives one that somebody does.
func (r *Resource) ensureUser(ctx context.Context, t tenant.Tenant, u user) error {
	if u.presence == tenant.Ours {
		return r.Unlock(ctx, t)
	}
	err := r.createUser(ctx, t, readWrite(t))
	if isCode(err, codeUserExists) { // a process that died had it on its way
		return r.Unlock(ctx, t)
	}
	return err
}

// createUser makes the user, or notes that the server makes none where the tenant may go without.
func (r *Resource) createUser(ctx context.Context, t tenant.Tenant, roles bson.A) error {
	password := rand.Text() + rand.Text()
	err := r.send(ctx, r.db(t), bson.D{
		{Key: "createUser", Value: t.Role},
		{Key: "pwd", Value: password},
		{Key: "roles", Value: roles},
		{Key: "customData", Value: userMark(t.ID)},
	})
	why, none := makesNone(err)
	why = strings.ReplaceAll(why, password, "xxxxx")
	switch {
	case none && r.goesWithout():
		return r.goWithout(ctx, t, why)
	case none:
		return refused(tenant.ErrUnsupported, usersElsewhere, "create user %s: %s", t.Role, why)
	}
	return userFailure("create user "+t.Role, err)
}

func userMark(id uuid.UUID) bson.D { return bson.D{{Key: "tenant", Value: id.String()}} }

// giveUser marks a user that is there as a tenant's, with these roles; its password stays.
func (r *Resource) giveUser(ctx context.Context, t tenant.Tenant, id uuid.UUID, roles bson.A) error {
	return r.change(ctx, t, "update user "+t.Role, bson.D{{Key: "updateUser", Value: t.Role}, {Key: "roles", Value: roles}, {Key: "customData", Value: userMark(id)}})
}

func (r *Resource) dropUser(ctx context.Context, t tenant.Tenant) error {
	err := r.change(ctx, t, "drop user "+t.Role, bson.D{{Key: "dropUser", Value: t.Role}})
	if isCode(err, codeUserNotFound) {
		return nil
	}
	return err
}

// ownUser is the tenant's user where it is there and ours; kept is false where there are no users at all, and then the
// database is what must be there and ours.
func (r *Resource) ownUser(ctx context.Context, t tenant.Tenant) (u user, err error) {
	u, err = r.user(ctx, t)
	switch {
	case err != nil:
		return u, err
	case !u.kept:
		s, err := r.look(ctx, t)
		if err != nil {
			return u, err
		}
		return u, r.usable(ctx, t, &s)
	case u.presence == tenant.Absent:
		return u, refused(tenant.ErrMissing, "restore it, or delete the tenant", "user %q of database %q does not exist", t.Role, t.Database)
	case !u.usable():
		return u, foreignUser(t, "it is left as it is")
	case u.presence == tenant.Foreign:
		r.warnLost(t, "user "+t.Role)
	}
	return u, nil
}

func foreignUser(t tenant.Tenant, hint string) error {
	return refused(tenant.ErrForeign, hint, "user %q of database %q was not made for this tenant", t.Role, t.Database)
}

// Lock takes every role from the user, which stops it at its next command, and ends its sessions.
func (r *Resource) Lock(ctx context.Context, t tenant.Tenant) (enforced bool, err error) {
	u, err := r.ownUser(ctx, t)
	if err != nil || !u.kept {
		return false, err
	}
	if err := r.change(ctx, t, "lock user "+t.Role, bson.D{{Key: "updateUser", Value: t.Role}, {Key: "roles", Value: bson.A{}}}); err != nil {
		return false, err
	}
	if err := r.endSessions(ctx, t); err != nil {
		return false, err
	}
	return true, nil
}

// endSessions ends what the user has under way, once no server would let it begin anything again.
func (r *Resource) endSessions(ctx context.Context, t tenant.Tenant) error {
	if err := r.awaitRouters(ctx); err != nil {
		return err
	}
	doing := "end the sessions of user " + t.Role
	err := r.send(ctx, r.client.Database("admin"), bson.D{
		{Key: "killAllSessions", Value: bson.A{bson.D{{Key: "user", Value: t.Role}, {Key: "db", Value: t.Database}}}},
	})
	if isCode(err, codeUnauthorized) {
		return &tenant.Error{
			Kind: tenant.ErrRights, Store: tenant.KindMongoDB, Err: err,
			Msg:  doing + ": the user of nosql.url may not end sessions",
			Hint: "grant it the role hostManager on admin, or set nosql.users to none",
		}
	}
	return userFailure(doing, err)
}

// Unlock gives the role back.
func (r *Resource) Unlock(ctx context.Context, t tenant.Tenant) error {
	u, err := r.ownUser(ctx, t)
	if err != nil || !u.kept {
		return err
	}
	return r.change(ctx, t, "unlock user "+t.Role, bson.D{{Key: "updateUser", Value: t.Role}, {Key: "roles", Value: readWrite(t)}})
}

// SetPassword changes the password alone: a user that is locked stays locked. Before seal the server shows that it
// takes changes of the user, by one that changes nothing.
func (r *Resource) SetPassword(ctx context.Context, t tenant.Tenant, password string, seal func(context.Context) error) error {
	u, err := r.ownUser(ctx, t)
	if err != nil {
		return err
	}
	if !u.kept {
		return refused(tenant.ErrUnsupported, "use a server that keeps users, with nosql.users auto or require", "no password can be set: %s", u.note)
	}
	doing := "set the password of user " + t.Role
	if seal != nil {
		same := bson.D{{Key: "updateUser", Value: t.Role}, {Key: "roles", Value: append([]bson.RawValue{}, u.roles...)}}
		if err := r.change(ctx, t, doing, same); err != nil {
			return err
		}
		if err := seal(ctx); err != nil {
			return err
		}
	}
	return r.change(ctx, t, doing, bson.D{{Key: "updateUser", Value: t.Role}, {Key: "pwd", Value: password}})
}

// Login tells how the tenant's application connects: to the first host of the URL, which names the others where it
// is one of a replica set.
func (r *Resource) Login(t tenant.Tenant) tenant.Login {
	l := tenant.Login{Store: tenant.KindMongoDB, Database: t.Database}
	opts, err := clientOptions(r.cfg)
	if err != nil {
		l.Note, l.Err = err.Error(), err
		return l
	}
	host, port, err := net.SplitHostPort(opts.Hosts[0])
	if err != nil {
		host, port = opts.Hosts[0], "27017"
	}
	l.Host = host
	l.Port, _ = strconv.Atoi(port) // the driver refuses what is no number
	query := url.Values{}
	if opts.ReplicaSet != nil {
		query.Set("replicaSet", *opts.ReplicaSet)
	}
	if opts.TLSConfig != nil {
		query.Set("tls", "true")
	}
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(r.cfg.Timeout, defaultTimeout))
	defer cancel()
	u, err := r.user(ctx, t)
	switch {
	case err != nil:
		l.Note, l.Err = err.Error(), err
	case !u.kept:
		l.Note = u.note
	default:
		l.User = t.Role
		query.Set("authSource", t.Database)
	}
	l.Options = query.Encode()
	return l
}
