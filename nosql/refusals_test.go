package nosql

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// outcome is what is said of a refusal: a text that must be in it, or empty for no error and nothing found.
type outcome struct{ create, suspend, remove, verify, doctor string }

// Each refusal of a command on users is injected, and each verb must say what stands or falls with it.
func TestEachRefusalOfACommandOnUsersIsToldByEachVerb(t *testing.T) {
	const none = "set nosql.users to none"
	const rights = "userAdminAnyDatabase on admin"
	const host = "hostManager on admin"
	elsewhere := []bson.D{
		mongoproxy.AtlasRefuses, mongoproxy.NoSuchCommand, mongoproxy.NotSupported, mongoproxy.NotForDatabase,
	}
	missing := []bson.D{mongoproxy.NotAuthorized}
	hints := func(of ...string) outcome { return outcome{of[0], of[1], of[2], of[3], of[4]} }
	for _, c := range []struct {
		command       string
		refusals      []bson.D
		auto, require outcome
	}{
		{"createUser", elsewhere, hints("", "", "", "", "nosql.users: none"), hints(none, "", "", "", none)},
		{"createUser", missing, hints(rights, "", "", "", none), hints(rights, "", "", "", none)},
		{"updateUser", elsewhere[:3], hints("", none, "", "", none), hints("", none, "", "", none)},
		{"updateUser", missing, hints("", rights, "", "", none), hints("", rights, "", "", none)},
		{"killAllSessions", elsewhere[:3], hints("", none, "", "", none), hints("", none, "", "", none)},
		{"killAllSessions", missing, hints("", host, "", "", none), hints("", host, "", "", none)},
		{"dropUser", elsewhere[:3], hints("", "", none, "", none), hints("", "", none, "", none)},
		{"dropUser", missing, hints("", "", rights, "", none), hints("", "", rights, "", none)},
		{"usersInfo", elsewhere[:3], hints("", "", "", "", "nosql.users: none"), hints("none", "none", "none", "none", "none")},
		{"usersInfo", missing, hints(rights, rights, rights, rights, none), hints(rights, rights, rights, rights, none)},
	} {
		for _, refusal := range c.refusals {
			for mode, want := range map[string]outcome{UsersAuto: c.auto, UsersRequire: c.require} {
				t.Run(fmt.Sprintf("%s %v %s", c.command, refusal[2].Value, mode), func(t *testing.T) {
					t.Parallel()
					r, p := proxied(t, folder(t, map[string]string{"00001_a.up.json": `[{"create": "a"}]`}))
					r.cfg.Users = mode
					p.Version("8.0.4")
					meets(t, r, p, c.command, refusal, want)
				})
			}
		}
	}
}

// meets compares what each verb says where the server refuses one command with what it is to say.
func meets(t *testing.T, r *Resource, p *mongoproxy.Proxy, command string, refusal bson.D, want outcome) {
	t.Helper()
	ten := newTenant(t)
	ten.State = tenant.Active
	says := func(what, want string, err error) {
		t.Helper()
		got := ""
		if err != nil {
			got = explained(err)
		}
		if (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("%s says %q, not %q", what, got, want)
		}
	}
	refuse := func() { p.Refuse(refusal, command) }
	refuse()
	says("create", want.create, r.Create(t.Context(), ten))
	if want.create != "" { // the others are asked of a tenant that was made before
		p.Intercept(nil)
		must(t, r.Create(t.Context(), ten))
		refuse()
	}
	says("verify", want.verify, r.Verify(t.Context(), []tenant.Tenant{ten}, nil, func(f tenant.Fault) {
		t.Errorf("verify finds %+v", f)
	}))
	locked, err := r.Lock(t.Context(), ten)
	says("suspend", want.suspend, err)
	if users := len(p.Users()) > 0; err == nil && locked && !users {
		t.Error("suspend says that nobody is locked out")
	}
	got := report(r.Doctor(t.Context()))
	if !strings.Contains(got, want.doctor) || !strings.Contains(got, "users error") && !strings.Contains(got, "users warning") {
		t.Errorf("doctor says\n%s", got)
	}
	says("delete", want.remove, r.Drop(t.Context(), ten))
	p.Intercept(nil)
	must(t, r.Drop(t.Context(), ten))
}

// FerretDB 1 as it is.
func TestAutoGoesOnWithoutUsersOnFerretDB1(t *testing.T) {
	r := direct(t, example)
	if b, err := r.build(t.Context()); err != nil || !b.isFerret() {
		return // TENANTCTL_TEST_NOSQL_URL names a server that keeps users, of which the other tests tell
	}
	ten := newTenant(t)
	ten.State = tenant.Active
	must(t, r.Create(t.Context(), ten))
	must(t, r.Verify(t.Context(), []tenant.Tenant{ten}, nil, func(f tenant.Fault) { t.Errorf("%+v", f) }))
	if locked, err := r.Lock(t.Context(), ten); locked || err != nil {
		t.Errorf("locked is %t, %v", locked, err)
	}
	got := report(r.Doctor(t.Context()))
	if !strings.Contains(got, "users warning: the server keeps no users") || !strings.Contains(got, "nosql.users: none") {
		t.Error(got)
	}
	must(t, r.Drop(t.Context(), ten))
	r.cfg.Users = UsersRequire
	refuses(t, r.Create(t.Context(), ten), tenant.ErrUnsupported, "nosql.users is require", "or to none")
}

var oneIndex = map[string]string{"00001_a.up.json": `[{"createIndexes": "a", "indexes": [{"key": {"x": 1}, "name": "x"}]}]`}

// What passes, and what the primary did and the majority did not confirm, is an error: another attempt makes the user.
func TestWhatPassesWhileAUserIsMadeIsAnErrorThatTheNextAttemptHeals(t *testing.T) {
	const again = "run the same command again"
	for _, c := range []struct {
		reply bson.D
		says  string
	}{
		{mongoproxy.SteppedDown, again},
		{mongoproxy.ShuttingDown, again},
		{mongoproxy.StateChanging, again},
		{mongoproxy.NotPrimary, again},
		{mongoproxy.NotReplicated(64, "WriteConcernFailed", "timed out"), "the majority has not confirmed it: timed out"},
		{mongoproxy.NotReplicated(100, "UnsatisfiableWriteConcern", "too few nodes"), "rs.status() and at w in nosql.url"},
	} {
		for _, command := range []string{"createUser", "insert", "createIndexes", "dropDatabase"} {
			t.Run(fmt.Sprint(c.reply[len(c.reply)-1].Value, " ", command), func(t *testing.T) {
				t.Parallel()
				r, p := proxied(t, folder(t, oneIndex))
				p.ReplicaSet("rs", 21)
				ten := newTenant(t)
				do := func() error { return r.Create(t.Context(), ten) }
				if command == "dropDatabase" {
					must(t, do())
					do = func() error { return r.Drop(t.Context(), ten) }
				}
				p.Refuse(c.reply, command)
				if got := explained(do()); !strings.Contains(got, c.says) {
					t.Errorf("it says %q, not %q", got, c.says)
				}
				p.Intercept(nil)
				must(t, do())
				if users := p.Users(); (len(users) == 1) != (command != "dropDatabase") {
					t.Errorf("the users are %v", users)
				}
			})
		}
	}
}

// An index that is there in another form is an error of the migration, which names it.
func TestAnIndexThatIsThereInAnotherFormIsAnErrorOfTheMigration(t *testing.T) {
	for code, reply := range map[string]bson.D{
		"IndexOptionsConflict": mongoproxy.IndexOptionsConflict, "IndexKeySpecsConflict": mongoproxy.IndexKeySpecsConflict,
	} {
		r, p := proxied(t, folder(t, oneIndex))
		p.Refuse(reply, "createIndexes")
		err := r.Create(t.Context(), newTenant(t))
		e := refuses(t, err, tenant.ErrMigration, "00001_a.up.json:1: createIndexes a", "goes on at command 1")
		if e.Code != code {
			t.Errorf("the code is %q", e.Code)
		}
	}
}

// Each mongos goes by what it knows of a user for a while: a lock-out that did not wait for that would not be one.
func TestALockOutOnAShardedClusterWaitsUntilEveryRouterKnowsOfIt(t *testing.T) {
	r, p := proxied(t, example)
	var warned []string
	r.cfg.Warn = func(s string) { warned = append(warned, s) }
	var slept []time.Duration
	r.sleep = func(_ context.Context, d time.Duration) error {
		if n := p.Counts(); n["updateUser"] == 0 || n["killAllSessions"] > 0 {
			t.Errorf("it waits after %v", n)
		}
		slept = append(slept, d)
		return nil
	}
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	lock := func(reply bson.D) {
		p.Intercept(func(c mongoproxy.Command) mongoproxy.Action {
			if c.Name == "getParameter" {
				return mongoproxy.Action{Reply: reply}
			}
			return mongoproxy.Action{}
		})
		locked, err := r.Lock(t.Context(), ten)
		must(t, err)
		if n := p.Counts(); !locked || n["killAllSessions"] != 1 {
			t.Errorf("locked is %t after %v", locked, n)
		}
	}
	lock(nil)
	if len(slept) > 0 {
		t.Errorf("a server that is no router is waited for: %v", slept)
	}
	p.Router(21)
	lock(bson.D{{Key: "userCacheInvalidationIntervalSecs", Value: int32(5)}, {Key: "ok", Value: 1.0}})
	lock(mongoproxy.NotAuthorized)
	if !slices.Equal(slept, []time.Duration{5 * time.Second, 30 * time.Second}) {
		t.Errorf("it waits for %v", slept)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "after 5s, when every mongos knows of it") {
		t.Errorf("warned %q", warned)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	refuses(t, pause(ctx, time.Hour), tenant.ErrInterrupted, "every mongos")
	must(t, pause(t.Context(), time.Nanosecond))
}
