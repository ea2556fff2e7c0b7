package nosql

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

var (
	_ tenant.Adopter = (*Resource)(nil)
	_ tenant.Roler   = (*Resource)(nil)
)

// Adoptable asks for the names of all databases at once, and looks into those that are there.
func (r *Resource) Adoptable(ctx context.Context, ps []tenant.Adoptee) ([]tenant.Adoptable, error) {
	names, err := r.client.ListDatabaseNames(ctx, bson.D{})
	if err != nil {
		return nil, failure("list databases", err)
	}
	out := make([]tenant.Adoptable, len(ps))
	for i, p := range ps {
		if out[i].Err = validDatabase(p.Database); out[i].Err != nil {
			continue
		}
		if near := slices.IndexFunc(names, func(n string) bool { return n != p.Database && strings.EqualFold(n, p.Database) }); near >= 0 && !slices.Contains(names, p.Database) {
			out[i].Err = foreignByCase(p.Tenant, "database "+names[near])
			continue
		}
		s := state{presence: tenant.Absent}
		if slices.Contains(names, p.Database) {
			if s, err = r.look(ctx, p.Tenant); err != nil {
				return nil, err
			}
		}
		out[i].Err = s.adoptable(p)
	}
	return out, nil
}

// validDatabase refuses what MongoDB takes for no name of a database.
func validDatabase(name string) error {
	if name == "" || len(name) > 63 || strings.ContainsAny(name, "/\\. \"$*<>:|?\x00") {
		return refused(tenant.ErrInvalid, "give the database's name as MongoDB has it", "%q is no name of a database", name)
	}
	return nil
}

// adoptable refuses a database that is another tenant's, one that was named and is not there, and one that nobody named
// and that is full.
func (s state) adoptable(p tenant.Adoptee) error {
	switch {
	case s.presence == tenant.Absent && p.Given:
		return refused(tenant.ErrNotFound, "leave --database out to have one made", "database %q does not exist", p.Database)
	case s.presence == tenant.Foreign && s.marked:
		return refused(tenant.ErrForeign, "if that tenant is gone for good, delete the document \"owner\" of its collection \"tenantctl\"",
			"database %q bears the mark of another tenant", p.Database)
	case s.presence == tenant.Foreign && !p.Given:
		return refused(tenant.ErrForeign, "if it is this tenant's, name it: --database "+p.Database, "database %q exists already, and nothing says that it is this tenant's", p.Database)
	}
	return nil
}

// Adopt marks the database, or makes it empty where nobody named one, with a user where one is asked for. The version is
// what golang-migrate's book says, if there is one.
func (r *Resource) Adopt(ctx context.Context, p tenant.Adoptee) error {
	t := p.Tenant
	s, err := r.look(ctx, t)
	if err != nil {
		return err
	}
	u, err := r.user(ctx, t)
	if err != nil {
		return err
	}
	if u.presence == tenant.Foreign {
		return foreignUser(t, "drop that user, or give this tenant another name")
	}
	if s.presence != tenant.Ours {
		if err := s.adoptable(p); err != nil {
			return err
		}
		if err := r.claim(ctx, t); err != nil {
			return err
		}
	}
	if err := tenant.Checkpoint(ctx, "mongodb/adopted"); err != nil {
		return err
	}
	if u.kept {
		if err := r.ensureUser(ctx, t, u); err != nil {
			return err
		}
	}
	if s, err = r.look(ctx, t); err != nil {
		return err
	}
	files, err := r.load()
	if err != nil && !errors.Is(err, tenant.ErrNoMigrations) { // what is applied is then as the database says
		return err
	}
	applied, err := s.book.applied(files)
	if err != nil {
		return err
	}
	return record(ctx, t, applied)
}

// Release takes the user and the mark away; a database that Adopt made goes with them.
func (r *Resource) Release(ctx context.Context, p tenant.Adoptee) error {
	t := p.Tenant
	s, err := r.look(ctx, t)
	if err != nil || s.presence != tenant.Ours {
		return err
	}
	if !p.Given {
		return r.Drop(ctx, t)
	}
	if err := r.dropUsers(ctx, t); err != nil {
		return err
	}
	err = write(ctx, func(ctx context.Context) error {
		_, err := r.own(t).DeleteOne(ctx, bson.D{{Key: "_id", Value: ownerID}, {Key: "tenant", Value: t.ID.String()}})
		return err
	})
	if err != nil {
		return failure("take the mark from the database", err)
	}
	if n, err := r.own(t).EstimatedDocumentCount(ctx); err != nil || n > 0 {
		return failure("look into the collection "+ownCollection, err)
	}
	return failure("drop the collection "+ownCollection, write(ctx, func(ctx context.Context) error { return r.own(t).Drop(ctx) }))
}

// GiveRole makes the user that an adopted tenant lacks, where the server keeps users.
func (r *Resource) GiveRole(ctx context.Context, t tenant.Tenant) error {
	u, err := r.user(ctx, t)
	switch {
	case err != nil:
		return err
	case u.presence == tenant.Foreign:
		return foreignUser(t, "drop that user, or give this tenant another name")
	case !u.kept:
		return nil
	}
	if err := r.ensureUser(ctx, t, u); err != nil {
		return err
	}
	return tenant.Checkpoint(ctx, "mongodb/user-given")
}

// TakeRole drops the tenant's users.
func (r *Resource) TakeRole(ctx context.Context, t tenant.Tenant) error { return r.dropUsers(ctx, t) }
