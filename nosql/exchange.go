package nosql

import (
	"context"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// Exchange marks the database that was loaded as t's and the one that it replaces as beside's, after the catalog gave
// each tenant the other's database. tx is not used: the catalog is another store.
//
// Users are kept by each database for itself. In the loaded one t's user is made, with a password that nobody knows
// ("tenantctl credentials NAME --rotate" gives one that somebody does); in the replaced one it loses its roles and keeps
// its password, so that a second exchange brings the old login back. A tenant that is not active gets no roles.
//
// A kill between leaves, in this order: nothing done; both databases marked as t's, of which its names mean the loaded
// one; both marks right and the old user still with its roles in the replaced database; that user locked and none in
// the loaded one. Calling it again goes on from each of them, and changes nothing where all is done. A replaced
// database that is gone is no error.
func (r *Resource) Exchange(ctx context.Context, _ pgx.Tx, t, beside tenant.Tenant) error {
	e := exchange{r: r, t: t, beside: beside, old: t}
	e.old.Database = beside.Database
	if err := e.refuse(ctx); err != nil {
		return err
	}
	for _, step := range []struct {
		do    func(context.Context) error
		point string
	}{
		{func(ctx context.Context) error { return r.remark(ctx, t, beside.ID, t.ID) }, "mongodb/exchanged-loaded"},
		{func(ctx context.Context) error { return r.remark(ctx, beside, t.ID, beside.ID) }, "mongodb/exchanged-replaced"},
		{e.lockOld, "mongodb/exchanged-user-locked"},
		{e.makeUser, "mongodb/exchanged-user"},
	} {
		if err := step.do(ctx); err != nil {
			return err
		}
		if err := tenant.Checkpoint(ctx, step.point); err != nil {
			return err
		}
	}
	return nil
}

type exchange struct {
	r         *Resource
	t, beside tenant.Tenant
	old       tenant.Tenant // t, as it was called in the replaced database
}

// refuse finds what stands in the way before anything is changed.
func (e exchange) refuse(ctx context.Context) error {
	s, err := e.r.lookFor(ctx, e.t, e.beside.ID)
	if err != nil {
		return err
	}
	if err := s.ours(e.t); err != nil {
		return err
	}
	s, err = e.r.lookFor(ctx, e.beside, e.t.ID)
	if err != nil {
		return err
	}
	if s.presence == tenant.Foreign {
		return s.ours(e.beside)
	}
	u, err := e.r.user(ctx, e.t)
	if err == nil && u.presence == tenant.Foreign && u.owner != e.beside.ID.String() {
		err = foreignUser(e.t, "it is left as it is")
	}
	return err
}

// lookFor is look, which takes the database for ours where it is marked as other's, too.
func (r *Resource) lookFor(ctx context.Context, t tenant.Tenant, other uuid.UUID) (state, error) {
	s, err := r.look(ctx, t)
	if err != nil || s.presence != tenant.Foreign {
		return s, err
	}
	t.ID = other
	return r.look(ctx, t)
}

// remark gives the database of a tenant from one owner to another.
func (r *Resource) remark(ctx context.Context, t tenant.Tenant, from, to uuid.UUID) error {
	return failure("mark database "+t.Database, write(ctx, func(ctx context.Context) error {
		_, err := r.own(t).UpdateOne(ctx,
			bson.D{{Key: "_id", Value: ownerID}, {Key: "tenant", Value: from.String()}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "tenant", Value: to.String()}}}})
		return err
	}))
}

// lockOld takes the roles from the user of the replaced database, and gives it to beside.
func (e exchange) lockOld(ctx context.Context) error {
	u, err := e.r.user(ctx, e.old)
	if err != nil || !u.kept || u.presence == tenant.Absent || !slices.Contains([]string{e.t.ID.String(), e.beside.ID.String()}, u.owner) {
		return err
	}
	if err := e.r.giveUser(ctx, e.old, e.beside.ID, bson.A{}); err != nil {
		return err
	}
	return e.r.endSessions(ctx, e.old)
}

// makeUser makes t's user in the loaded database, or takes the one that is there, and takes away the one that was
// beside's.
func (e exchange) makeUser(ctx context.Context) error {
	if was := e.t; e.beside.Role != e.t.Role && e.beside.Role != "" {
		was.Role, was.ID = e.beside.Role, e.beside.ID
		u, err := e.r.user(ctx, was)
		if err != nil {
			return err
		}
		if u.presence == tenant.Ours {
			if err := e.r.dropUser(ctx, was); err != nil {
				return err
			}
		}
	}
	u, err := e.r.user(ctx, e.t)
	if err != nil || !u.kept {
		return err
	}
	roles := readWrite(e.t)
	if e.t.State != tenant.Active {
		roles = bson.A{}
	}
	if u.presence == tenant.Absent {
		err := e.r.createUser(ctx, e.t, roles)
		if !isCode(err, codeUserExists) { // a process that died had it on its way
			return err
		}
	}
	return e.r.giveUser(ctx, e.t, e.t.ID, roles)
}

// Revive makes the user where the server keeps users and it is missing, and gives its roles back.
func (r *Resource) Revive(ctx context.Context, t tenant.Tenant) error {
	s, err := r.look(ctx, t)
	if err != nil {
		return err
	}
	if err := s.ours(t); err != nil {
		return err
	}
	u, err := r.user(ctx, t)
	switch {
	case err != nil || !u.kept:
		return err
	case u.presence == tenant.Foreign:
		return foreignUser(t, "it is left as it is")
	}
	if err := r.ensureUser(ctx, t, u); err != nil {
		return err
	}
	return tenant.Checkpoint(ctx, "mongodb/revived")
}
