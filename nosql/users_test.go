package nosql

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// sent lists the commands of that name, as Extended JSON without what the driver adds.
func sent(t *testing.T, p *mongoproxy.Proxy, name string) []string {
	t.Helper()
	var all []string
	for _, c := range p.Commands() {
		if c.Name != name {
			continue
		}
		var body bson.D
		must(t, bson.Unmarshal(c.Body, &body))
		body = slices.DeleteFunc(body, func(e bson.E) bool { return e.Key == "lsid" || e.Key == "$db" })
		text, err := bson.MarshalExtJSON(body, false, false)
		must(t, err)
		all = append(all, c.DB+" "+string(text))
	}
	return all
}

func TestMakesAUserThatMayWriteToItsDatabaseAlone(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	users := p.Users()
	if len(users) != 1 {
		t.Fatalf("users are %v", users)
	}
	u := users[0]
	if u.Name != ten.Role || u.DB != ten.Database || len(u.Password) < 40 {
		t.Errorf("user %s of %s has a password of %d characters", u.Name, u.DB, len(u.Password))
	}
	if want := (bson.A{bson.D{{Key: "role", Value: "readWrite"}, {Key: "db", Value: ten.Database}}}); !equal(u.Roles, want) {
		t.Errorf("roles are %v, want %v", u.Roles, want)
	}
	if want := (bson.D{{Key: "tenant", Value: ten.ID.String()}}); !equal(u.CustomData, want) {
		t.Errorf("customData is %v, want %v", u.CustomData, want)
	}

	p.Intercept(nil)
	must(t, r.Create(t.Context(), ten))
	want := []string{fmt.Sprintf(`%s {"updateUser":%q,"roles":[{"role":"readWrite","db":%q}],"writeConcern":{"w":"majority"}}`, ten.Database, ten.Role, ten.Database)}
	if got := sent(t, p, "updateUser"); !slices.Equal(got, want) || len(sent(t, p, "createUser")) != 0 {
		t.Errorf("a second create sent %v", got)
	}
	if p.Users()[0].Password != u.Password {
		t.Error("a second create changed the password")
	}
}

func TestATenantThatWasAdoptedWithoutAUserIsGivenOneAndItIsTakenBack(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	bare := ten
	bare.Role = ""
	must(t, r.Create(t.Context(), bare))
	if users := p.Users(); len(users) != 0 {
		t.Fatalf("users are %v", users)
	}
	for range 2 {
		must(t, r.GiveRole(t.Context(), ten))
	}
	if users := p.Users(); len(users) != 1 || users[0].Name != ten.Role || len(users[0].Roles) != 1 || !equal(users[0].CustomData, bson.D{{Key: "tenant", Value: ten.ID.String()}}) {
		t.Errorf("users are %v", users)
	}
	for range 2 {
		must(t, r.TakeRole(t.Context(), ten))
	}
	if users := p.Users(); len(users) != 0 {
		t.Errorf("users are left: %v", users)
	}
	if st, err := r.Stat(t.Context(), bare); err != nil || st.Presence != tenant.Ours {
		t.Errorf("the database is %s, %v", st.Presence, err)
	}
}

func TestPasswordLockAndUnlock(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	must(t, r.SetPassword(t.Context(), ten, "first", nil))

	p.Intercept(nil)
	for range 2 {
		enforced, err := r.Lock(t.Context(), ten)
		must(t, err)
		if !enforced {
			t.Error("the lock is not enforced")
		}
	}
	st, err := r.Stat(t.Context(), ten)
	must(t, err)
	if !st.Locked || len(p.Users()[0].Roles) != 0 {
		t.Errorf("locked is %v, roles are %v", st.Locked, p.Users()[0].Roles)
	}
	if want := fmt.Sprintf(`admin {"killAllSessions":[{"user":%q,"db":%q}]}`, ten.Role, ten.Database); !slices.Contains(sent(t, p, "killAllSessions"), want) {
		t.Errorf("sent %v, want %s", sent(t, p, "killAllSessions"), want)
	}
	if want := ten.Database + "." + ten.Role; !slices.Contains(p.SessionsEnded(), want) {
		t.Errorf("sessions ended of %v, want %s", p.SessionsEnded(), want)
	}

	must(t, r.SetPassword(t.Context(), ten, "second", nil))
	if u := p.Users()[0]; u.Password != "second" || len(u.Roles) != 0 {
		t.Errorf("a new password changed the lock: roles are %v", u.Roles)
	}
	for range 2 {
		must(t, r.Unlock(t.Context(), ten))
	}
	if u := p.Users()[0]; u.Password != "second" || len(u.Roles) != 1 {
		t.Errorf("after unlock the roles are %v", u.Roles)
	}
}

func TestAPasswordIsSealedWhereTheServerTakesChangesOfTheUser(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	must(t, r.SetPassword(t.Context(), ten, "first", nil))
	before := p.Users()[0]
	err := r.SetPassword(t.Context(), ten, "second", func(context.Context) error { return errors.New("not now") })
	if err == nil || !reflect.DeepEqual(p.Users()[0], before) {
		t.Errorf("error is %v, and the user is another", err)
	}
	must(t, r.SetPassword(t.Context(), ten, "second", func(context.Context) error {
		if !reflect.DeepEqual(p.Users()[0], before) {
			t.Error("the user was changed before it was sealed")
		}
		return nil
	}))
	if p.Users()[0].Password != "second" {
		t.Error("it was sealed and not set")
	}
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if c.Name == "updateUser" {
			return mongoproxy.Action{Reply: mongoproxy.Refusal(13, "Unauthorized", "not authorized")}
		}
		return mongoproxy.Action{}
	})
	refuses(t, r.SetPassword(t.Context(), ten, "third", func(context.Context) error {
		t.Error("what is refused was sealed")
		return nil
	}), tenant.ErrRights)
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		if c.Name == "usersInfo" {
			return mongoproxy.Action{Reply: mongoproxy.Refusal(13, "Unauthorized", "not authorized")}
		}
		return mongoproxy.Action{}
	})
	if l := r.Login(ten); l.Err == nil || l.Note == "" {
		t.Errorf("whether there is a user cannot be told, and the login says %+v", l)
	}
}

func TestAUserOfSomebodyElseIsLeftAlone(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	userIs(p, ten, bson.D{{Key: "tenant", Value: "another"}})
	refuses(t, r.Create(t.Context(), ten), tenant.ErrForeign, ten.Role)
	_, err := r.Lock(t.Context(), ten)
	refuses(t, err, tenant.ErrForeign, ten.Role)
	refuses(t, r.Unlock(t.Context(), ten), tenant.ErrForeign, ten.Role)
	refuses(t, r.SetPassword(t.Context(), ten, "x", nil), tenant.ErrForeign, ten.Role)
	refuses(t, r.Drop(t.Context(), ten), tenant.ErrForeign)
	for _, c := range p.Commands() {
		if slices.Contains([]string{"createUser", "updateUser", "dropUser", "killAllSessions", "insert"}, c.Name) {
			t.Errorf("sent %s", c.Name)
		}
	}
}

// userIs has the server tell of a tenant's user with such data, and take changes of it.
func userIs(p *mongoproxy.Proxy, ten tenant.Tenant, data any) {
	info := bson.D{{Key: "users", Value: bson.A{bson.D{{Key: "user", Value: ten.Role}, {Key: "customData", Value: data}, {Key: "roles", Value: bson.A{}}}}}, {Key: "ok", Value: 1.0}}
	p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
		switch c.Name {
		case "usersInfo":
			return mongoproxy.Action{Reply: info}
		case "updateUser", "killAllSessions":
			return mongoproxy.Action{Reply: bson.D{{Key: "ok", Value: 1.0}}}
		}
		return mongoproxy.Action{}
	})
}

// A user of the tenant's name in the tenant's database that bears nobody's tag has lost it: it can be locked out, and nothing
// is made or dropped over it.
func TestAUserThatLostItsTagCanBeLockedOut(t *testing.T) {
	for _, data := range []any{nil, "text", bson.D{}, bson.D{{Key: "tenant", Value: 1}}} {
		r, p := proxied(t, example)
		ten := newTenant(t)
		userIs(p, ten, data)
		refuses(t, r.Create(t.Context(), ten), tenant.ErrForeign, ten.Role)
		if len(sent(t, p, "updateUser"))+len(sent(t, p, "createUser")) > 0 {
			t.Errorf("data %v: create changes the user", data)
		}
		if locked, err := r.Lock(t.Context(), ten); err != nil || !locked || len(sent(t, p, "updateUser")) != 1 {
			t.Errorf("data %v: locked is %t, %v", data, locked, err)
		}
		refuses(t, r.Drop(t.Context(), ten), tenant.ErrForeign)
	}
}

func TestAUserThatIsGoneIsMissing(t *testing.T) {
	r, _ := proxied(t, example)
	ten := newTenant(t)
	_, err := r.Lock(t.Context(), ten)
	refuses(t, err, tenant.ErrMissing, ten.Role)
	refuses(t, r.SetPassword(t.Context(), ten, "x", nil), tenant.ErrMissing, ten.Role)
}

// The database may be gone, by hand or by a crash, while its user is not: MongoDB keeps users apart. The user is ours to take.
func TestDropTakesTheUserOfADatabaseThatIsGone(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	must(t, r.db(ten).Drop(t.Context()))
	st, err := r.Stat(t.Context(), ten)
	must(t, err)
	if st.Presence != tenant.Ours || !slices.Equal(st.Remains, []string{"user " + ten.Role}) {
		t.Errorf("stat is %+v", st)
	}
	must(t, r.Drop(t.Context(), ten))
	if len(p.Users()) != 0 {
		t.Errorf("users are %v", p.Users())
	}
}

func TestAServerWithoutUsers(t *testing.T) {
	for _, refusal := range []bson.D{
		mongoproxy.Refusal(59, "CommandNotFound", "no such command: 'usersInfo'"),
		mongoproxy.Refusal(238, "NotImplemented", "usersInfo is not implemented yet"),
	} {
		r, p := proxied(t, example)
		p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
			if strings.Contains(strings.ToLower(c.Name), "user") {
				return mongoproxy.Action{Reply: refusal}
			}
			return mongoproxy.Action{}
		})
		ten := newTenant(t)
		r.cfg.Users = UsersRequire
		refuses(t, r.Create(t.Context(), ten), tenant.ErrUnsupported, "nosql.users is require")
		if hasDatabase(t, plain(t), ten.Database) {
			t.Error("the database was made all the same")
		}

		r.cfg.Users = UsersAuto
		must(t, r.Create(t.Context(), ten))
		st, err := r.Stat(t.Context(), ten)
		must(t, err)
		if len(st.Users) != 0 || st.Users == nil || len(st.Notes) != 1 || !strings.Contains(st.Notes[0], "keeps no users") {
			t.Errorf("stat is %+v", st)
		}
		enforced, err := r.Lock(t.Context(), ten)
		must(t, err)
		must(t, r.Unlock(t.Context(), ten))
		if enforced {
			t.Error("a lock of nobody is said to be enforced")
		}
		refuses(t, r.SetPassword(t.Context(), ten, "x", nil), tenant.ErrUnsupported, "no password can be set")
		l := r.Login(ten)
		if l.User != "" || l.Database != ten.Database || l.Host != "127.0.0.1" || l.Port == 0 || !strings.Contains(l.Note, "keeps no users") || l.Options != "" {
			t.Errorf("login is %+v", l)
		}
		must(t, r.Drop(t.Context(), ten))
	}
}

// FerretDB 2 answers so: it knows users, and makes none for one database alone.
func TestGoesOnWithoutAUserWhereTheServerMakesNone(t *testing.T) {
	for _, refusal := range []bson.D{
		mongoproxy.Refusal(2, "BadValue", "Unsupported value specified for db. Only 'admin' is allowed."),
		mongoproxy.Refusal(31, "RoleNotFound", "The specified value for the role is invalid: 'readWrite'."),
		mongoproxy.Refusal(115, "CommandNotSupported", "CreateUser command is not supported."),
	} {
		r, p := proxied(t, example)
		p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
			if c.Name == "createUser" {
				return mongoproxy.Action{Reply: refusal}
			}
			return mongoproxy.Action{}
		})
		ten := newTenant(t)
		r.cfg.Users = UsersRequire
		if err := r.Create(t.Context(), ten); err == nil {
			t.Error("nosql.users require goes on without a user")
		}
		must(t, r.Drop(t.Context(), ten))

		r.cfg.Users = UsersAuto
		must(t, r.Create(t.Context(), ten))
		must(t, r.Create(t.Context(), ten)) // once more, as after a crash
		message := refusal[1].Value.(string)
		st, err := r.Stat(t.Context(), ten)
		must(t, err)
		if len(st.Users) != 0 || len(st.Notes) != 1 || !strings.Contains(st.Notes[0], "makes no user for the tenant ("+message+")") {
			t.Errorf("stat is %+v", st)
		}
		enforced, err := r.Lock(t.Context(), ten)
		must(t, err)
		must(t, r.Unlock(t.Context(), ten))
		if enforced {
			t.Error("a lock of nobody is said to be enforced")
		}
		refuses(t, r.SetPassword(t.Context(), ten, "x", nil), tenant.ErrUnsupported, "no password can be set", message)
		if l := r.Login(ten); l.User != "" || !strings.Contains(l.Note, message) {
			t.Errorf("login is %+v", l)
		}
		must(t, r.Verify(t.Context(), []tenant.Tenant{ten}, nil, func(f tenant.Fault) { t.Errorf("verify finds %+v", f) }))
		if n := len(sent(t, p, "createUser")); n != 2 {
			t.Errorf("it asks %d times for a user", n)
		}
		must(t, r.Drop(t.Context(), ten))
	}
}

func TestWhatPassesIsNoReasonToGoWithoutAUser(t *testing.T) {
	for _, refusal := range []bson.D{
		mongoproxy.Refusal(10107, "NotWritablePrimary", "not primary"), mongoproxy.Refusal(13, "Unauthorized", "not authorized"),
		mongoproxy.Refusal(50, "MaxTimeMSExpired", "too slow"), mongoproxy.Refusal(112, "WriteConflict", "conflict"),
	} {
		r, p := proxied(t, example)
		p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
			if c.Name == "createUser" {
				return mongoproxy.Action{Reply: refusal}
			}
			return mongoproxy.Action{}
		})
		ten := newTenant(t)
		if err := r.Create(t.Context(), ten); err == nil {
			t.Errorf("it goes on without a user after %v", refusal)
		}
		must(t, r.Drop(t.Context(), ten))
	}
}

func TestUsersNoneNeverAsks(t *testing.T) {
	r, p := proxied(t, example)
	r.cfg.Users = UsersNone
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	_, err := r.Lock(t.Context(), ten)
	must(t, err)
	st, err := r.Stat(t.Context(), ten)
	must(t, err)
	r.Doctor(t.Context())
	must(t, r.Drop(t.Context(), ten))
	for _, c := range p.Commands() {
		if strings.Contains(strings.ToLower(c.Name), "user") || c.Name == "killAllSessions" {
			t.Errorf("sent %s", c.Name)
		}
	}
	if len(st.Notes) != 1 || !strings.Contains(st.Notes[0], "nosql.users is none") {
		t.Errorf("notes are %v", st.Notes)
	}
}

func TestNamesTheRoleThatWouldHelp(t *testing.T) {
	for _, c := range []struct {
		command, hint string
		do            func(t *testing.T, r *Resource, ten tenant.Tenant) error
	}{
		{"usersInfo", "userAdminAnyDatabase", func(t *testing.T, r *Resource, ten tenant.Tenant) error { return r.Create(t.Context(), ten) }},
		{"createUser", "userAdminAnyDatabase", func(t *testing.T, r *Resource, ten tenant.Tenant) error { return r.Create(t.Context(), ten) }},
		{"insert", "readWriteAnyDatabase", func(t *testing.T, r *Resource, ten tenant.Tenant) error { return r.Create(t.Context(), ten) }},
		{"killAllSessions", "hostManager", func(t *testing.T, r *Resource, ten tenant.Tenant) error {
			must(t, r.Create(t.Context(), ten))
			_, err := r.Lock(t.Context(), ten)
			return err
		}},
		{"dropUser", "userAdminAnyDatabase", func(t *testing.T, r *Resource, ten tenant.Tenant) error {
			must(t, r.Create(t.Context(), ten))
			return r.Drop(t.Context(), ten)
		}},
	} {
		t.Run(c.command, func(t *testing.T) {
			r, p := proxied(t, example)
			p.Intercept(func(cmd mongoproxy.Command) mongoproxy.Action {
				if cmd.Name == c.command {
					return mongoproxy.Action{Reply: mongoproxy.Refusal(13, "Unauthorized", "not authorized on x to execute command")}
				}
				return mongoproxy.Action{}
			})
			refuses(t, c.do(t, r, newTenant(t)), tenant.ErrRights, c.hint)
		})
	}
}

func TestLoginNamesWhatTheURLNeeds(t *testing.T) {
	_, p := proxied(t, example)
	ten := newTenant(t)
	r := connect(t, Config{URL: p.URL(), Dir: example, Timeout: 5 * time.Second})
	must(t, r.Create(t.Context(), ten))
	l := r.Login(ten)
	if l.Store != "mongodb" || l.User != ten.Role || l.Database != ten.Database || l.Options != "authSource="+ten.Database || l.Note != "" || l.Password != "" {
		t.Errorf("login is %+v", l)
	}
	for _, c := range []struct {
		url, options, host string
		port               int
	}{
		{"mongodb://a,b:1/?replicaSet=rs", "authSource=" + ten.Database + "&replicaSet=rs", "a", 27017},
		{"mongodb://[::1]:5/?tls=true", "authSource=" + ten.Database + "&tls=true", "::1", 5},
	} {
		r.cfg.URL = c.url
		if l := r.Login(ten); l.Options != c.options || l.Host != c.host || l.Port != c.port {
			t.Errorf("login for %s is %+v", c.url, l)
		}
	}
}

func TestNoPasswordInErrors(t *testing.T) {
	const secret = "hunter2-s3cret"
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	for _, refusal := range []bson.D{
		mongoproxy.Refusal(13, "Unauthorized", "not authorized"),
		mongoproxy.Refusal(2, "BadValue", "no"),
	} {
		p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
			if c.Name == "updateUser" {
				return mongoproxy.Action{Reply: refusal}
			}
			return mongoproxy.Action{}
		})
		err := r.SetPassword(t.Context(), ten, secret, nil)
		if err == nil || strings.Contains(explained(err), secret) {
			t.Error("the error is nil or holds the password")
		}
	}
	url := strings.Replace(tenanttest.MongoURL(t), "mongodb://", "mongodb://root:"+secret+"%@", 1)
	for _, u := range []string{url, "mongodb://root:" + secret + "@127.0.0.1:1/", "mongodb://root:" + secret + "@/", "postgres://root:" + secret + "@x/", "mongodb://root:" + secret + "@127.0.0.1:99999/"} {
		_, err := Open(t.Context(), Config{URL: u, Timeout: 200 * time.Millisecond})
		if err == nil || strings.Contains(explained(err), secret) {
			t.Error("the error is nil or holds the password of the URL")
		}
	}
}
