package nosql

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

func TestCreateMakesTheNewestVersionAndDropLeavesNothing(t *testing.T) {
	r, p := proxied(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))

	st, err := r.Stat(t.Context(), ten)
	must(t, err)
	if st.Presence != tenant.Ours || st.Version != 3 || st.Applied != 3 || st.Objects != 3 || st.Bytes <= 0 || st.Locked {
		t.Errorf("stat is %+v", st)
	}
	if want := []string{"database " + ten.Database, "user " + ten.Role}; !slices.Equal(st.Remains, want) {
		t.Errorf("remains are %v, want %v", st.Remains, want)
	}
	if !slices.Equal(st.Users, []string{ten.Role}) || len(st.Notes) != 0 {
		t.Errorf("users are %v with notes %v", st.Users, st.Notes)
	}
	before := content(t, plain(t), ten.Database)
	must(t, r.Create(t.Context(), ten))
	if after := content(t, plain(t), ten.Database); after != before {
		t.Errorf("a second create changed\n%s\nto\n%s", before, after)
	}

	must(t, r.Drop(t.Context(), ten))
	st, err = r.Stat(t.Context(), ten)
	must(t, err)
	if st.Presence != tenant.Absent || len(st.Remains) != 0 || len(p.Users()) != 0 {
		t.Errorf("after drop: %+v, users %v", st, p.Users())
	}
	must(t, r.Drop(t.Context(), ten))
}

func TestWorksOnTheServerAsItIs(t *testing.T) {
	r := direct(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	st, err := r.Stat(t.Context(), ten)
	must(t, err)
	u, err := r.user(t.Context(), ten)
	must(t, err)
	if u.kept != (len(st.Users) == 1) || u.kept != (len(st.Notes) == 0) || st.Version != 3 {
		t.Errorf("the server keeps users: %v; stat is %+v", u.kept, st)
	}
	must(t, r.Drop(t.Context(), ten))
	if hasDatabase(t, plain(t), ten.Database) {
		t.Error("the database is still there")
	}
}

// Two tenants with logins of their own, on a server that checks them; elsewhere the server's answer is what is tested.
func TestTenantsReachOnlyTheirOwnDatabase(t *testing.T) {
	r := direct(t, example)
	checks := r.Doctor(t.Context())
	enforced := slices.ContainsFunc(checks, func(c tenant.Check) bool { return c.Name == "authorization" && c.Status == tenant.CheckOK })
	a, b := newTenant(t), newTenant(t)
	must(t, r.Create(t.Context(), a))
	must(t, r.Create(t.Context(), b))
	err := r.SetPassword(t.Context(), a, "a-password-of-a", nil)
	if !enforced {
		if u, userErr := r.user(t.Context(), a); userErr != nil || !u.kept {
			must(t, userErr)
			refuses(t, err, tenant.ErrUnsupported, "keeps no users")
		}
		return
	}
	must(t, err)
	l := r.Login(a)
	url := "mongodb://" + l.User + ":a-password-of-a@" + strings.Join(clientHosts(t), ",") + "/" + l.Database + "?" + l.Options
	client, err := mongo.Connect(options.Client().ApplyURI(url))
	must(t, err)
	t.Cleanup(func() { disconnect(t, client) })
	_, err = client.Database(a.Database).Collection("documents").InsertOne(t.Context(), bson.D{{Key: "slug", Value: "x"}})
	must(t, err)
	_, err = client.Database(b.Database).Collection("documents").InsertOne(t.Context(), bson.D{{Key: "slug", Value: "x"}})
	if !isCode(err, codeUnauthorized) {
		t.Errorf("a wrote into the database of b: %v", err)
	}
	if err = client.Database(b.Database).Collection("documents").FindOne(t.Context(), bson.D{}).Err(); !isCode(err, codeUnauthorized) {
		t.Errorf("a read the database of b: %v", err)
	}
	if enforced, err := r.Lock(t.Context(), a); err != nil || !enforced {
		t.Fatalf("lock: %v, %v", enforced, err)
	}
	if err = client.Database(a.Database).Collection("documents").FindOne(t.Context(), bson.D{}).Err(); !isCode(err, codeUnauthorized) {
		t.Errorf("a locked user read its database: %v", err)
	}
	must(t, r.Unlock(t.Context(), a))
	must(t, client.Database(a.Database).Collection("documents").FindOne(t.Context(), bson.D{}).Err())
}

func TestRefusesWhatIsNotOurs(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, r *Resource, ten tenant.Tenant)
	}{
		{"a database without a mark", func(t *testing.T, r *Resource, ten tenant.Tenant) {
			_, err := r.db(ten).Collection("theirs").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
			must(t, err)
		}},
		{"an empty collection without a mark", func(t *testing.T, r *Resource, ten tenant.Tenant) {
			must(t, r.db(ten).CreateCollection(t.Context(), "theirs"))
		}},
		{"another tenant's database", func(t *testing.T, r *Resource, ten tenant.Tenant) {
			ten.ID = uuid.Must(uuid.NewV7())
			must(t, r.Create(t.Context(), ten))
		}},
		{"a database of golang-migrate", func(t *testing.T, r *Resource, ten tenant.Tenant) {
			_, err := r.versions(ten).InsertOne(t.Context(), bson.D{{Key: "version", Value: 1}, {Key: "dirty", Value: false}})
			must(t, err)
		}},
		{"progress without a mark", func(t *testing.T, r *Resource, ten tenant.Tenant) {
			_, err := r.own(ten).InsertOne(t.Context(), bson.D{{Key: "_id", Value: progressID}, {Key: "applied", Value: bson.A{}}})
			must(t, err)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := direct(t, example)
			ten := newTenant(t)
			c.make(t, r, ten)
			before := content(t, plain(t), ten.Database)
			refuses(t, r.Create(t.Context(), ten), tenant.ErrForeign, ten.Database, "drop or move it")
			_, err := r.Up(t.Context(), ten, tenant.Newest, false)
			refuses(t, err, tenant.ErrForeign)
			_, err = r.Down(t.Context(), ten, 0)
			refuses(t, err, tenant.ErrForeign)
			refuses(t, r.Drop(t.Context(), ten), tenant.ErrForeign, ten.Database)
			if after := content(t, plain(t), ten.Database); after != before {
				t.Errorf("was changed from\n%s\nto\n%s", before, after)
			}
			st, err := r.Stat(t.Context(), ten)
			must(t, err)
			if st.Presence != tenant.Foreign || !slices.Contains(st.Remains, "database "+ten.Database) {
				t.Errorf("stat is %+v", st)
			}
		})
	}
}

func TestRefusesANameThatDiffersByCaseAlone(t *testing.T) {
	r := direct(t, example)
	ten := newTenant(t)
	other := ten
	other.ID, other.Database = uuid.Must(uuid.NewV7()), strings.ToUpper(ten.Database)
	must(t, r.Create(t.Context(), other))
	t.Cleanup(func() { must(t, r.Drop(context.Background(), other)) })
	refuses(t, r.Create(t.Context(), ten), tenant.ErrForeign, other.Database, "case")
	if hasDatabase(t, plain(t), ten.Database) {
		t.Error("the database was made")
	}
}

func TestOneOfTwoTenantsGetsADatabaseThatBothClaim(t *testing.T) {
	r := direct(t, example)
	a := newTenant(t)
	b := a
	b.ID = uuid.Must(uuid.NewV7())
	errs := make(chan error, 2)
	for _, ten := range []tenant.Tenant{a, b} {
		go func() { errs <- r.claim(context.Background(), ten) }()
	}
	first, second := <-errs, <-errs
	if first != nil {
		first, second = second, first
	}
	must(t, first)
	refuses(t, second, tenant.ErrForeign)
}

func TestAnEmptyDatabaseThatACrashedServerLeftIsTakenAndDropped(t *testing.T) {
	r := direct(t, example)
	ten := newTenant(t)
	must(t, r.db(ten).CreateCollection(t.Context(), ownCollection))
	must(t, r.Create(t.Context(), ten))
	must(t, r.Drop(t.Context(), ten))
	must(t, r.db(ten).CreateCollection(t.Context(), ownCollection))
	must(t, r.Drop(t.Context(), ten))
	if hasDatabase(t, plain(t), ten.Database) {
		t.Error("the empty database is still there")
	}
}

func TestCreateAndMigrateNeedMigrations(t *testing.T) {
	r := direct(t, t.TempDir())
	ten := newTenant(t)
	refuses(t, r.Create(t.Context(), ten), tenant.ErrInvalid, "is empty", "tenantctl migrate new NAME --mongodb")
	if hasDatabase(t, plain(t), ten.Database) {
		t.Error("the database was made")
	}
	r.cfg.Dir = example
	_, err := r.Up(t.Context(), ten, tenant.Newest, false)
	refuses(t, err, tenant.ErrMissing, ten.Database)
}

func TestStatSurvivesABrokenFolder(t *testing.T) {
	r := direct(t, example)
	ten := newTenant(t)
	must(t, r.Create(t.Context(), ten))
	r.cfg.Dir = folder(t, map[string]string{"00001_a.up.json": "["})
	st, err := r.Stat(t.Context(), ten)
	must(t, err)
	if st.Version != 3 || st.Applied != 3 || !strings.Contains(strings.Join(st.Notes, "\n"), "00001_a.up.json:1:1") {
		t.Errorf("stat is %+v", st)
	}
}

func TestVersionsOfManyTenantsComeInOrder(t *testing.T) {
	r := direct(t, example)
	var all []tenant.Tenant
	for i := range 12 {
		ten := newTenant(t)
		if i%3 != 0 {
			must(t, r.Create(t.Context(), ten))
		}
		if i%3 == 2 {
			_, err := r.Down(t.Context(), ten, 1)
			must(t, err)
		}
		all = append(all, ten)
	}
	vs, err := r.Versions(t.Context(), all)
	must(t, err)
	for i, v := range vs {
		want := []tenant.Version{{Presence: tenant.Absent}, {Presence: tenant.Ours, Version: 3, Applied: 3}, {Presence: tenant.Ours, Version: 1, Applied: 1}}[i%3]
		if v != want {
			t.Errorf("tenant %d: %+v, want %+v", i, v, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Versions(ctx, all)
	refuses(t, err, tenant.ErrInterrupted)
}

func clientHosts(t *testing.T) []string {
	t.Helper()
	opts, err := clientOptions(Config{URL: tenanttest.MongoURL(t)})
	must(t, err)
	return opts.Hosts
}
