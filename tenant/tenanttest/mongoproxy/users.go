package mongoproxy

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// User is what a server keeps of a user.
type User struct {
	Name, DB, Password string
	Roles              bson.A
	CustomData         bson.D
}

// users answers the commands on users as MongoDB documents them, from memory.
type users struct {
	mu    sync.Mutex
	known map[string]User // by "database.name"
	ended []string        // whose sessions were ended

	logins bool // see CheckLogins
}

// KeepUsers answers every command on users from memory, for a server that does not know them. Like MongoDB's, they
// outlive their database.
func (p *Proxy) KeepUsers() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users = &users{known: map[string]User{}}
}

// Users lists what is kept, ordered by database and name.
func (p *Proxy) Users() []User {
	p.mu.Lock()
	u := p.users
	p.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	var all []User
	for _, v := range u.known {
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b User) int { return cmp.Or(cmp.Compare(a.DB, b.DB), cmp.Compare(a.Name, b.Name)) })
	return all
}

// SessionsEnded lists the users, as "database.name", whose sessions killAllSessions ended.
func (p *Proxy) SessionsEnded() []string {
	p.mu.Lock()
	u := p.users
	p.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.ended)
}

// answer is the reply to a command on users, or nil for any other command.
func (u *users) answer(c Command) bson.D {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch c.Name {
	case "createUser":
		return u.create(c)
	case "updateUser":
		return u.update(c)
	case "dropUser":
		name, _ := c.Body.Lookup("dropUser").StringValueOK()
		if _, known := u.known[c.DB+"."+name]; !known {
			return notFound(name, c.DB)
		}
		delete(u.known, c.DB+"."+name)
		return done()
	case "usersInfo":
		return u.info(c)
	case "killAllSessions":
		var body struct {
			Who []struct{ User, DB string } `bson:"killAllSessions"`
		}
		if err := bson.Unmarshal(c.Body, &body); err != nil {
			return Refusal(14, "TypeMismatch", err.Error())
		}
		for _, w := range body.Who {
			u.ended = append(u.ended, w.DB+"."+w.User)
		}
		return done()
	}
	return nil
}

type userFields struct {
	Pwd        string `bson:"pwd"`
	Roles      bson.A `bson:"roles"`
	CustomData bson.D `bson:"customData"`
}

func (u *users) create(c Command) bson.D {
	name, _ := c.Body.Lookup("createUser").StringValueOK()
	var f userFields
	if err := bson.Unmarshal(c.Body, &f); err != nil {
		return Refusal(14, "TypeMismatch", err.Error())
	}
	if _, known := u.known[c.DB+"."+name]; known {
		return Refusal(51003, "Location51003", fmt.Sprintf(`User "%s@%s" already exists`, name, c.DB))
	}
	if f.Pwd == "" || f.Roles == nil {
		return Refusal(2, "BadValue", "Must provide a 'pwd' and 'roles' field for all user documents")
	}
	u.known[c.DB+"."+name] = User{Name: name, DB: c.DB, Password: f.Pwd, Roles: f.Roles, CustomData: f.CustomData}
	return done()
}

func (u *users) update(c Command) bson.D {
	name, _ := c.Body.Lookup("updateUser").StringValueOK()
	var f userFields
	if err := bson.Unmarshal(c.Body, &f); err != nil {
		return Refusal(14, "TypeMismatch", err.Error())
	}
	user, known := u.known[c.DB+"."+name]
	switch {
	case !known:
		return notFound(name, c.DB)
	case f.Pwd == "" && f.Roles == nil && f.CustomData == nil:
		return Refusal(2, "BadValue", "Must specify at least one field to update in updateUser")
	}
	if f.Pwd != "" {
		user.Password = f.Pwd
	}
	if f.Roles != nil {
		user.Roles = f.Roles
	}
	if f.CustomData != nil {
		user.CustomData = f.CustomData
	}
	u.known[c.DB+"."+name] = user
	return done()
}

// info knows the forms {usersInfo: "name"}, {usersInfo: {user, db}}, {usersInfo: {forAllDBs: true}} and {usersInfo: 1}; a
// filter is not looked at.
func (u *users) info(c Command) bson.D {
	found := bson.A{}
	asked := c.Body.Lookup("usersInfo")
	name, byName := asked.StringValueOK()
	db, all := c.DB, false
	if doc, ok := asked.DocumentOK(); ok {
		all, _ = doc.Lookup("forAllDBs").BooleanOK()
		name, byName = doc.Lookup("user").StringValueOK()
		db, _ = doc.Lookup("db").StringValueOK()
	}
	for id, v := range u.known {
		if v.DB != db && !all || byName && v.Name != name {
			continue
		}
		found = append(found, bson.D{
			{Key: "_id", Value: id},
			{Key: "user", Value: v.Name},
			{Key: "db", Value: v.DB},
			{Key: "customData", Value: v.CustomData},
			{Key: "roles", Value: v.Roles},
			{Key: "mechanisms", Value: bson.A{"SCRAM-SHA-256"}},
		})
	}
	return append(bson.D{{Key: "users", Value: found}}, done()...)
}

func notFound(name, db string) bson.D {
	return Refusal(11, "UserNotFound", fmt.Sprintf("Could not find user %q for db %q", name, db))
}

func done() bson.D { return bson.D{{Key: "ok", Value: 1.0}} }
