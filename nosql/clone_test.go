package nosql

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

func TestACloneHoldsTheSameAndIsATenantOfItsOwn(t *testing.T) {
	r, p := proxied(t, example)
	from, to := newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), from))
	furnish(t, r, from, 2500)
	before := content(t, plain(t), from.Database)
	must(t, r.Clone(t.Context(), from, to, true))
	m, d := dump(t, r, from)
	again, after := dump(t, r, to)
	if got, want := again.listing(), m.listing(); !slices.Equal(got, want) || after.Fingerprint != d.Fingerprint {
		t.Errorf("the clone holds\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if content(t, plain(t), from.Database) != before {
		t.Error("the source was changed")
	}
	st, err := r.Stat(t.Context(), to)
	must(t, err)
	if st.Presence != tenant.Ours || st.Version != 3 || !slices.Equal(st.Users, []string{to.Role}) || len(p.Users()) != 2 {
		t.Errorf("stat is %+v", st)
	}
	refuses(t, r.Clone(t.Context(), from, to, true), tenant.ErrExists, to.Database)
	missing := newTenant(t)
	refuses(t, r.Clone(t.Context(), missing, newTenant(t), true), tenant.ErrMissing, missing.Database)
}

func TestACloneWithoutDataHasTheStructureAndTheVersions(t *testing.T) {
	r := direct(t, example)
	from, to := newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), from))
	furnish(t, r, from, 10)
	must(t, r.Clone(t.Context(), from, to, false))
	_, d := dump(t, r, from)
	again, after := dump(t, r, to)
	if after.Fingerprint != d.Fingerprint || after.Version != d.Version || after.Applied != d.Applied {
		t.Errorf("the clone is %+v, not %+v", after, d)
	}
	for _, p := range again.parts {
		if p.Rows > 0 && !isBook(p.Name) {
			t.Errorf("%s has %d rows", p.Name, p.Rows)
		}
	}
}

func TestACloneIsOfOneMomentWhereTheServerGivesIt(t *testing.T) {
	r, p := proxied(t, example)
	from, to := newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), from))
	_, reply := replica(p, 21)
	r = connect(t, r.cfg)
	p.Intercept(reply)
	must(t, r.Clone(t.Context(), from, to, true))
	for _, c := range p.Commands() {
		if name, _ := c.Body.Lookup("find").StringValueOK(); name == "documents" && c.Body.Lookup("readConcern", "atClusterTime").IsZero() {
			t.Errorf("was read by %s", c.Body)
		}
	}
}

// marks are the owners of databases, in order.
func marks(t *testing.T, r *Resource, places ...tenant.Tenant) (owners []string) {
	t.Helper()
	for _, place := range places {
		var doc struct{ Tenant string }
		must(t, r.own(place).FindOne(t.Context(), bson.D{{Key: "_id", Value: ownerID}}).Decode(&doc))
		owners = append(owners, doc.Tenant)
	}
	return owners
}

func TestAnExchangeGivesEachDatabaseToItsNewOwner(t *testing.T) {
	r, p := proxied(t, example)
	t1, beside := newTenant(t), newTenant(t)
	t1.State = tenant.Active
	must(t, r.Create(t.Context(), t1))
	must(t, r.SetPassword(t.Context(), t1, "the old one", nil))
	m, d := dump(t, r, t1)
	_, err := restore(t.Context(), r, beside, m, tenant.LoadOptions{Dumped: d, Role: t1.Role})
	must(t, err)
	if len(p.Users()) != 1 {
		t.Errorf("a load beside made users: %v", p.Users())
	}
	user := func(db string) mongoproxy.User {
		t.Helper()
		for _, u := range p.Users() {
			if u.DB == db {
				return u
			}
		}
		t.Fatalf("no user of %s", db)
		return mongoproxy.User{}
	}

	t2, old := t1, beside
	t2.Database, old.Database = beside.Database, t1.Database
	for range 2 {
		must(t, r.Exchange(t.Context(), nil, t2, old))
		if got := marks(t, r, t2, old); !slices.Equal(got, []string{t1.ID.String(), beside.ID.String()}) {
			t.Errorf("marks are %v", got)
		}
		if u := user(t2.Database); u.Name != t1.Role || len(u.Roles) != 1 || u.Password == "the old one" || !equal(u.CustomData, userMark(t1.ID)) {
			t.Errorf("the user of the loaded database has the roles %v and the mark %v", u.Roles, u.CustomData)
		}
		if u := user(old.Database); u.Name != t1.Role || len(u.Roles) != 0 || u.Password != "the old one" || !equal(u.CustomData, userMark(beside.ID)) {
			t.Errorf("the user of the replaced database has the roles %v and the mark %v", u.Roles, u.CustomData)
		}
		if !slices.Contains(p.SessionsEnded(), old.Database+"."+t1.Role) {
			t.Error("the old sessions were not ended")
		}
	}
	// And back: the old login is good again.
	must(t, r.Exchange(t.Context(), nil, t1, beside))
	if u := user(t1.Database); len(u.Roles) != 1 || u.Password != "the old one" {
		t.Errorf("the user that came back has the roles %v", u.Roles)
	}
	must(t, r.Drop(t.Context(), beside))
	if len(p.Users()) != 1 || hasDatabase(t, plain(t), beside.Database) {
		t.Errorf("something of the replaced one is left: users are %v", p.Users())
	}
	// Without what it replaces, too.
	t1.State = tenant.Suspended
	must(t, r.Exchange(t.Context(), nil, t1, beside))
	if u := user(t1.Database); len(u.Roles) != 0 {
		t.Errorf("a suspended tenant got the roles %v", u.Roles)
	}
}

func TestAnExchangeOfWhatIsNotOursIsRefused(t *testing.T) {
	r, p := proxied(t, example)
	ten, beside, other := newTenant(t), newTenant(t), newTenant(t)
	refuses(t, r.Exchange(t.Context(), nil, ten, beside), tenant.ErrMissing, ten.Database)
	must(t, r.Create(t.Context(), ten))
	must(t, r.Create(t.Context(), beside))
	must(t, r.Create(t.Context(), other))
	stranger := beside
	stranger.Database = other.Database
	refuses(t, r.Exchange(t.Context(), nil, ten, stranger), tenant.ErrForeign, other.Database)
	refuses(t, r.Exchange(t.Context(), nil, stranger, ten), tenant.ErrForeign, other.Database)
	must(t, r.dropUser(t.Context(), ten))
	foreign := ten
	foreign.ID = uuid.Must(uuid.NewV7())
	must(t, r.createUser(t.Context(), foreign, bson.A{}))
	users := p.Users()
	refuses(t, r.Exchange(t.Context(), nil, ten, beside), tenant.ErrForeign, "user")
	if got := marks(t, r, ten, beside, other); !slices.Equal(got, []string{ten.ID.String(), beside.ID.String(), other.ID.String()}) || !sameUsers(users, p.Users()) {
		t.Errorf("a refusal changed the marks to %v", got)
	}
}

func TestReviveGivesTheUserBack(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	refuses(t, r.Revive(t.Context(), ten), tenant.ErrMissing, ten.Database)
	must(t, r.Create(t.Context(), ten))
	must(t, r.SetPassword(t.Context(), ten, "kept", nil))
	_, err := r.Lock(t.Context(), ten)
	must(t, err)
	must(t, r.Revive(t.Context(), ten))
	if u := p.Users(); len(u) != 1 || len(u[0].Roles) != 1 || u[0].Password != "kept" {
		t.Errorf("users are %v", u)
	}
	must(t, r.dropUser(t.Context(), ten))
	for range 2 {
		must(t, r.Revive(t.Context(), ten))
		if u := p.Users(); len(u) != 1 || len(u[0].Roles) != 1 {
			t.Errorf("users are %v", u)
		}
	}
	other := ten
	other.ID = uuid.Must(uuid.NewV7())
	must(t, r.giveUser(t.Context(), ten, other.ID, bson.A{}))
	refuses(t, r.Revive(t.Context(), ten), tenant.ErrForeign, ten.Role)
	must(t, direct(t, example).Revive(t.Context(), ten))
}
