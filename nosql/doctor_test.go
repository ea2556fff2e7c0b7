package nosql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// report is one line per check, sorted as given.
func report(checks []tenant.Check) string {
	var b strings.Builder
	for _, c := range checks {
		fmt.Fprintf(&b, "%s %s %s: %s | %s\n", c.Store, c.Name, c.Status, c.Message, c.Hint)
	}
	return b.String()
}

func TestDoctorTellsWhatWouldBreak(t *testing.T) {
	loggedIn := bson.D{{Key: "authInfo", Value: bson.D{{Key: "authenticatedUsers", Value: bson.A{bson.D{{Key: "user", Value: "root"}, {Key: "db", Value: "admin"}}}}}}, {Key: "ok", Value: 1.0}}
	nobody := bson.D{{Key: "authInfo", Value: bson.D{{Key: "authenticatedUsers", Value: bson.A{}}}}, {Key: "ok", Value: 1.0}}
	mongodb := bson.D{{Key: "version", Value: "8.0.4"}, {Key: "ok", Value: 1.0}}
	for _, c := range []struct {
		name    string
		users   string
		replies map[string]bson.D
		want    []string
	}{
		{"a server as it should be", UsersAuto, map[string]bson.D{"buildInfo": mongodb, "connectionStatus": loggedIn}, []string{
			"connection ok: MongoDB 8.0.4, wire version ", "writable ok: ", "users ok: each tenant has a user", "authorization ok: connected as root@admin", "databases ok: ",
		}},
		{"one that checks nobody", UsersAuto, map[string]bson.D{"buildInfo": mongodb, "connectionStatus": nobody}, []string{"authorization warning: ", "with authorization on"}},
		{"one without users", UsersAuto, map[string]bson.D{"connectionStatus": nobody, "usersInfo": mongoproxy.Refusal(59, "CommandNotFound", "no such command")}, []string{"users warning: the server keeps no users"}},
		{"one without users where they are required", UsersRequire, map[string]bson.D{"usersInfo": mongoproxy.Refusal(59, "CommandNotFound", "no such command")}, []string{"users error: ", "set nosql.users to auto"}},
		{"one that gives no rights", UsersAuto, map[string]bson.D{
			"usersInfo": mongoproxy.Refusal(13, "Unauthorized", "not authorized"), "listDatabases": mongoproxy.Refusal(13, "Unauthorized", "not authorized"),
		}, []string{"users error: ", "userAdminAnyDatabase", "databases error: ", "readWriteAnyDatabase"}},
		{"one that makes no users for one database", UsersAuto, map[string]bson.D{
			"buildInfo": mongodb, "createUser": mongoproxy.Refusal(8000, "AtlasError", "user management is done elsewhere"),
		}, []string{"users warning: ", "user management is done elsewhere", "nosql.users: none"}},
		{"one that makes no users where they are required", UsersRequire, map[string]bson.D{
			"buildInfo": mongodb, "createUser": mongoproxy.Refusal(8000, "AtlasError", "user management is done elsewhere"),
		}, []string{"users error: ", "which create, clone and restore need", "nosql.users to none"}},
		{"one that ends no sessions", UsersAuto, map[string]bson.D{
			"buildInfo": mongodb, "killAllSessions": mongoproxy.Refusal(13, "Unauthorized", "not authorized"),
		}, []string{"users error: ", "which suspend and delete need", "nosql.users to none"}},
		{"one that changes no users", UsersAuto, map[string]bson.D{
			"buildInfo": mongodb, "updateUser": mongoproxy.Refusal(115, "CommandNotSupported", "not supported"),
		}, []string{"users error: ", "which suspend, resume and credentials --rotate need"}},
		{"one with few files for its collections", UsersAuto, files(1000, 500), []string{"open files warning: 1000 of at most 1000 files", "LimitNOFILE=4000"}},
		{"one with files enough", UsersAuto, files(64000, 500), []string{"open files ok: 1000 of at most 64000 files"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, p := proxied(t, example)
			r.cfg.Users = c.users
			p.Intercept(func(cmd mongoproxy.Command) mongoproxy.Action { return mongoproxy.Action{Reply: c.replies[cmd.Name]} })
			got := report(r.Doctor(t.Context()))
			if users := p.Users(); len(users) > 0 {
				t.Errorf("users are left: %v", users)
			}
			for _, w := range c.want {
				if !strings.Contains(got, w) {
					t.Errorf("does not say %q:\n%s", w, got)
				}
			}
		})
	}
}

// files are the replies of a server that may open so many files and has so many collections.
func files(limit, collections int64) map[string]bson.D {
	return map[string]bson.D{
		"hostInfo":     {{Key: "extra", Value: bson.D{{Key: "maxOpenFiles", Value: limit}}}, {Key: "ok", Value: 1.0}},
		"serverStatus": {{Key: "catalogStats", Value: bson.D{{Key: "collections", Value: collections}}}, {Key: "ok", Value: 1.0}},
	}
}

func TestDoctorTellsOfAClockThatIsApartAndOfAConnectionThatCanBeReadAlong(t *testing.T) {
	r, p := proxied(t, example)
	p.Hello(func(d bson.D) bson.D { return mongoproxy.Set(d, "localTime", time.Now().Add(time.Hour)) })
	if got := report(r.Doctor(t.Context())); !strings.Contains(got, "clock warning: the server's is 1h0m0s ahead") || !strings.Contains(got, "encryption ok: ") {
		t.Error(got)
	}
	for url, want := range map[string]string{
		"mongodb://u:p@db.example.com/": tenant.CheckWarning, "mongodb://localhost,10.0.0.7:27018/": tenant.CheckWarning,
		"mongodb://u:p@db.example.com/?tls=true": tenant.CheckOK, "mongodb://127.0.0.1:27017,localhost/": tenant.CheckOK,
	} {
		if c := New(nil, Config{URL: url}).encryption(); c.Status != want {
			t.Errorf("%s: %+v", url, c)
		}
	}
}

func TestDoctorSeesAServerThatWentAwayOrBecameAReplica(t *testing.T) {
	p := mongoproxy.Start(t, tenanttest.MongoURL(t))
	r := connect(t, Config{URL: p.URL(), Dir: example, Timeout: 500 * time.Millisecond})
	p.Hello(func(d bson.D) bson.D { return mongoproxy.Set(d, "isWritablePrimary", false) })
	if got := report(r.Doctor(t.Context())); !strings.Contains(got, "writable error: the server is not the primary") {
		t.Error(got)
	}
	p.Hello(func(bson.D) bson.D {
		return mongoproxy.Refusal(91, "ShutdownInProgress", "the server is in quiesce mode")
	})
	if got := report(r.Doctor(t.Context())); !strings.HasPrefix(got, "mongodb connection error: ") || strings.Count(got, "\n") != 1 {
		t.Error(got)
	}
}
