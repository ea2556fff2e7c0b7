package nosql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// Rules of verify.
const (
	ruleMissingDatabase = "missing-database"
	ruleForeignDatabase = "foreign-database"
	ruleMissingUser     = "missing-user"
	ruleForeignUser     = "foreign-user"
	ruleUserRoles       = "user-roles"
	ruleNotLockedOut    = "not-locked-out"
	ruleLockedOut       = "locked-out"
)

// Verify lists the users of all databases at once, where it may, and reads the mark of each database, some at once.
// Peers are only what a database that has lost its tag is compared with.
func (r *Resource) Verify(ctx context.Context, ts, peers []tenant.Tenant, found func(tenant.Fault)) error {
	users, kept, err := r.allUsers(ctx)
	oneByOne := errors.Is(err, tenant.ErrRights) || notAllAtOnce(err) // it may look into the tenants' databases alone
	if err != nil && !oneByOne {
		return err
	}
	all, states := make([][]tenant.Fault, len(ts)), make([]state, len(ts))
	err = each(ctx, len(ts), func(ctx context.Context, i int) error {
		t := ts[i]
		s, err := r.lookAtMarks(ctx, t) // Versions reads the books
		if err == nil && s.presence == tenant.Absent {
			err = r.lookFurther(ctx, t, &s)
		}
		if err != nil {
			return tenant.WithTenant(err, t.Name)
		}
		user := users[userKey{t.Database, t.Role}]
		if oneByOne {
			found, err := r.usersInfo(ctx, t, t.Role)
			if err != nil {
				return tenant.WithTenant(userFailure("look up user "+t.Role, err), t.Name)
			}
			if len(found) > 0 {
				user = &found[0]
			}
		}
		goes := user == nil && s.without != "" && r.goesWithout()
		all[i] = faultsOf(t, s.presence, user, (kept || oneByOne) && !goes)
		states[i] = s
		return nil
	})
	if err != nil {
		return err
	}
	peers = slices.Clone(peers)
	for i, t := range ts {
		if states[i].presence == tenant.Ours {
			peers = append(peers, t)
		}
	}
	for i, faults := range all {
		for _, f := range faults {
			if f.Rule == ruleForeignDatabase {
				if err := r.judge(ctx, ts[i], states[i], peers, &f); err != nil {
					return err
				}
			}
			found(f)
		}
	}
	return nil
}

// each works on the numbers below n, some at once, until one fails. A goroutine for each number would spend its time on
// growing a stack that is as deep as the driver.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	workers, ctx := tenant.NewGroup(ctx)
	var next atomic.Int64
	for range min(readers, n) {
		workers.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := do(ctx, i); err != nil {
					return err
				}
			}
		})
	}
	return workers.Wait()
}

// faultsOf judges one tenant's database and user, which is nil where there is none.
func faultsOf(t tenant.Tenant, database tenant.Presence, u *userInfo, kept bool) (faults []tenant.Fault) {
	lives := t.State.Migrates()
	add := func(rule, fix, hint, format string, args ...any) {
		if fix != "" {
			hint = "tenantctl verify --fix"
		}
		faults = append(faults, tenant.Fault{Tenant: t.ID, Rule: rule, Fix: fix, Hint: hint, Message: fmt.Sprintf(format, args...)})
	}
	switch {
	case database == tenant.Foreign:
		add(ruleForeignDatabase, "", "look whose it is; what is the tenant's all the same gets its tag back by a document {_id: \"owner\", tenant: ID} in its collection tenantctl",
			"the database does not bear the tenant's ownership tag")
		return faults
	case database == tenant.Absent && lives:
		add(ruleMissingDatabase, "make an empty database "+t.Database+", which tenantctl migrate fills", "", "the database does not exist: --fix makes an empty one at version 0, tenantctl restore puts back a backup")
	case database == tenant.Absent && t.State != tenant.Deleting:
		add(ruleMissingDatabase, "", "tenantctl restore puts back a backup", "the database does not exist")
	}
	switch mine := readWrite(t); {
	case !kept:
	case t.Role == "": // adopted without a user
	case u == nil && lives:
		add(ruleMissingUser, fmt.Sprintf("createUser %s with readWrite on %s", t.Role, t.Database), "", "the user does not exist")
	case u == nil:
	case u.owner() == "" && database == tenant.Ours:
		add(ruleForeignUser, fmt.Sprintf("updateUser %s: customData with the tenant's id", t.Role), "", "the user does not bear the tenant's ownership tag")
		faults[len(faults)-1].Tag = true
	case u.owner() != t.ID.String():
		add(ruleForeignUser, "", "look whose it is; what is the tenant's all the same gets its tag back by updateUser with customData {tenant: ID}", "the user does not bear the tenant's ownership tag")
	case t.State != tenant.Active && len(u.Roles) > 0:
		add(ruleNotLockedOut, fmt.Sprintf("updateUser %s: no roles", t.Role), "", "the tenant is %s, and its user has roles", t.State)
	case t.State == tenant.Active && len(u.Roles) == 0:
		add(ruleLockedOut, fmt.Sprintf("updateUser %s: readWrite on %s", t.Role, t.Database), "", "the tenant is active, and its user has no role")
	case t.State == tenant.Active && !sameRoles(u.Roles, t.Database):
		add(ruleUserRoles, fmt.Sprintf("updateUser %s: %v alone", t.Role, canonical(mine[0].(bson.D))), "", "the user's roles are not readWrite on its database alone: %s", rolesOf(u, t))
	}
	return faults
}

// sameRoles tells whether the roles are readWrite on that database and nothing else.
func sameRoles(roles []bson.RawValue, database string) bool {
	if len(roles) != 1 {
		return false
	}
	role, db := roleOf(roles[0])
	return role == "readWrite" && db == database
}

func roleOf(v bson.RawValue) (role, db string) {
	d, ok := v.DocumentOK()
	if !ok {
		return "", ""
	}
	// What is no text is the empty one, which is no role and no database that is asked for.
	role, _ = d.Lookup("role").StringValueOK()
	db, _ = d.Lookup("db").StringValueOK()
	return role, db
}

// rolesOf names a user's roles, its own database without its name.
func rolesOf(u *userInfo, t tenant.Tenant) string {
	var all []string
	for _, v := range u.Roles {
		role, db := roleOf(v)
		if db == t.Database {
			db = "its own"
		}
		all = append(all, role+" on "+db)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// userKey is a user's name with the database that it is of.
type userKey struct{ database, name string }

// allUsers lists the users of all databases, which the server does in one document: some 50,000 fit in, more are
// codeTooLarge. kept is false where the server keeps none or the configuration wants none.
func (r *Resource) allUsers(ctx context.Context) (users map[userKey]*userInfo, kept bool, err error) {
	if r.cfg.Users == UsersNone {
		return nil, false, nil
	}
	var reply struct {
		Users []userInfo `bson:"users"`
	}
	err = r.client.Database("admin").RunCommand(ctx, bson.D{{Key: "usersInfo", Value: bson.D{{Key: "forAllDBs", Value: true}}}}).Decode(&reply)
	switch {
	case notHere(err) && r.cfg.Users == UsersRequire:
		return nil, false, required(err)
	case notHere(err):
		return nil, false, nil
	case err != nil:
		return nil, false, userFailure("list the users", err)
	}
	users = map[userKey]*userInfo{}
	for _, u := range reply.Users {
		users[userKey{u.Database, u.Name}] = &u
	}
	return users, true, nil
}

// notAllAtOnce tells whether a server lists no users of all databases: they are too many, or it takes no such
// question.
func notAllAtOnce(err error) bool { return isCode(err, codeTooLarge, codeBadValue) }

// Orphans looks at databases and users whose names begin with prefix: the others may be of another catalog that
// shares the server.
func (r *Resource) Orphans(ctx context.Context, known []tenant.Tenant, prefix string, found func(tenant.Fault)) error {
	databases := map[string]bool{}
	for _, t := range known {
		databases[t.Database] = true
	}
	names, err := r.client.ListDatabaseNames(ctx, bson.D{})
	if err != nil {
		return failure("list databases", err)
	}
	slices.Sort(names)
	for _, name := range names {
		if databases[name] || prefix == "" || !strings.HasPrefix(name, prefix) {
			continue
		}
		n, err := r.client.Database(name).Collection(ownCollection).CountDocuments(ctx, bson.D{{Key: "_id", Value: ownerID}})
		if err != nil {
			return failure("read database "+name, err)
		}
		f := tenant.Fault{
			Rule: "orphaned-database", Object: "database " + name, Message: "bears tenantctl's mark and is of no tenant in the catalog",
			Hint: "look what it holds, and drop it by hand if nobody needs it",
		}
		if n == 0 {
			f.Rule, f.Warning, f.Message = "unknown-database", true, fmt.Sprintf("begins with %s, bears no mark and is of no tenant in the catalog", prefix)
			f.Hint = "tenantctl did not make it; where it is no tenant's, give it another name"
		}
		found(f)
	}
	users, _, err := r.allUsers(ctx)
	if err != nil && !errors.Is(err, tenant.ErrRights) && !notAllAtOnce(err) { // users that it cannot see are not for it to judge
		return err
	}
	ids := map[string]userKey{}
	for _, t := range known {
		ids[t.ID.String()] = userKey{t.Database, t.Role}
	}
	var lost []userKey
	for key, u := range users {
		id := u.owner()
		if id != "" && prefix != "" && strings.HasPrefix(key.database, prefix) && ids[id] != key && !(ids[id] != userKey{} && databases[key.database]) {
			lost = append(lost, key)
		}
	}
	slices.SortFunc(lost, func(a, b userKey) int {
		return cmp.Or(cmp.Compare(a.database, b.database), cmp.Compare(a.name, b.name))
	})
	for _, key := range lost {
		found(tenant.Fault{
			Rule: "orphaned-user", Object: fmt.Sprintf("user %s of database %s", key.name, key.database), Message: "bears tenantctl's mark and is of no tenant in the catalog",
			Hint: fmt.Sprintf("drop it: db.getSiblingDB(%q).dropUser(%q)", key.database, key.name),
		})
	}
	return nil
}

// Structures fingerprints databases, some at once.
func (r *Resource) Structures(ctx context.Context, ts []tenant.Tenant) ([]string, error) {
	out := make([]string, len(ts))
	err := each(ctx, len(ts), func(ctx context.Context, i int) error {
		all, _, err := r.definitions(ctx, ts[i])
		if err == nil && len(all) > 0 { // else it was dropped meanwhile
			out[i] = structure(all)
		}
		return tenant.WithTenant(err, ts[i].Name)
	})
	return out, err
}

// Outline is what mongosh would make the collections and indexes with, without what the server chooses by itself.
func (r *Resource) Outline(ctx context.Context, t tenant.Tenant) ([]tenant.OutlinePart, error) {
	all, _, err := r.definitions(ctx, t)
	if err != nil {
		return nil, err
	}
	var parts []tenant.OutlinePart
	add := func(format string, args ...any) {
		parts = append(parts, tenant.OutlinePart{Lines: []string{fmt.Sprintf(format, args...)}})
	}
	for _, d := range all {
		if isBook(d.Name) {
			continue
		}
		add("db.createCollection(%q, %s)", d.Name, canonical(plainFields(d.Options, "autoIndexId")))
		var indexes []string
		for _, x := range d.Indexes {
			if !madeByCreate(x) {
				key, _ := lookup(x, "key").(bson.D)
				indexes = append(indexes, fmt.Sprintf("db.getCollection(%q).createIndex(%s, %s)", d.Name, canonical(key), canonical(plainFields(x, "v", "ns", "key", "background", "textIndexVersion", "2dsphereIndexVersion"))))
			}
		}
		slices.Sort(indexes)
		for _, x := range indexes {
			add("%s", x)
		}
	}
	return parts, nil
}

// Mend makes an empty database or a user where there is none, and gives the user the roles that it has to have.
func (r *Resource) Mend(ctx context.Context, t tenant.Tenant) (changed bool, err error) {
	var faults []tenant.Fault
	if err := r.Verify(ctx, []tenant.Tenant{t}, nil, func(f tenant.Fault) { faults = append(faults, f) }); err != nil {
		return false, err
	}
	for _, f := range faults {
		if f.Fix == "" || f.Tag {
			continue
		}
		switch f.Rule {
		case ruleMissingDatabase:
			err = r.claim(ctx, t) // in one write: what a crash left of more would look like a place that is there
		case ruleMissingUser:
			err = r.createUser(ctx, t, readWrite(t))
		case ruleNotLockedOut:
			_, err = r.Lock(ctx, t)
		case ruleLockedOut, ruleUserRoles:
			err = r.Unlock(ctx, t)
		}
		if err == nil {
			err = tenant.Checkpoint(ctx, "mongodb/mended")
		}
		if err != nil {
			return changed, err
		}
		changed = true
	}
	if changed && t.State == tenant.Suspended { // what was made anew can log in
		_, err = r.Lock(ctx, t)
	}
	return changed, err
}
