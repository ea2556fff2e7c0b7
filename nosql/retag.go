package nosql

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tenantctl/tenantctl/tenant"
)

// usable is ours for what the operator can do while the database's tag is lost: lock out, read. It warns.
func (r *Resource) usable(ctx context.Context, t tenant.Tenant, s *state) (err error) {
	if s.presence != tenant.Foreign || s.marked {
		return s.ours(t)
	}
	if s.book.version, err = r.version(ctx, t); err != nil {
		return err
	}
	if s.book.version == nil { // nothing tells that tenantctl was here
		return s.ours(t)
	}
	r.warnLost(t, "database "+t.Database)
	return nil
}

// usable tells whether a user is the tenant's, or has only lost its tag.
func (u user) usable() bool {
	return u.presence == tenant.Ours || u.presence == tenant.Foreign && u.owner == ""
}

func (r *Resource) warnLost(t tenant.Tenant, what string) {
	if r.cfg.Warn != nil {
		r.cfg.Warn(tenant.LostTag(t, tenant.KindMongoDB, what))
	}
}

// doubt is why a database without a tag may not be the tenant's; "" where nothing says so.
func (r *Resource) doubt(ctx context.Context, t tenant.Tenant, s state) (string, error) {
	if s.marked {
		return "it bears the tag of another tenant", nil
	}
	elsewhere, err := r.taggedElsewhere(ctx, t)
	if err != nil {
		return "", err
	}
	if elsewhere != "" {
		return "the tenant's tag is in database " + elsewhere, nil
	}
	if s.book.version, err = r.version(ctx, t); err != nil {
		return "", err
	}
	at, v := int64(0), t.Versions[tenant.KindMongoDB]
	if s.book.version != nil {
		at = max(s.book.version.Version, 0)
	}
	if at != v {
		return fmt.Sprintf("its collection %s says version %d, and the catalog %d", versionCollection, at, v), nil
	}
	return "", nil
}

// taggedElsewhere is another database that bears the tenant's tag.
func (r *Resource) taggedElsewhere(ctx context.Context, t tenant.Tenant) (string, error) {
	names, err := r.client.ListDatabaseNames(ctx, bson.D{})
	if err != nil {
		return "", failure("list databases", err)
	}
	for _, name := range names {
		if name == t.Database {
			continue
		}
		tag := bson.D{{Key: "_id", Value: ownerID}, {Key: "tenant", Value: t.ID.String()}}
		n, err := r.client.Database(name).Collection(ownCollection).CountDocuments(ctx, tag)
		if err != nil {
			return "", failure("read database "+name, err)
		}
		if n > 0 {
			return name, nil
		}
	}
	return "", nil
}

// likeOthers is how many tenants at the same version a structure is compared with.
const likeOthers = 10

func (r *Resource) doubtStructure(ctx context.Context, t tenant.Tenant, peers []tenant.Tenant) (string, error) {
	ts := append([]tenant.Tenant{t}, tenant.AtVersion(peers, t, tenant.KindMongoDB, likeOthers)...)
	if len(ts) == 1 {
		return "", nil
	}
	all, err := r.Structures(ctx, ts)
	if err != nil {
		return "", err
	}
	return tenant.DoubtStructure(all), nil
}

// judge says of a fault that is a database's lost tag whether Retag would give it back, or why not.
func (r *Resource) judge(ctx context.Context, t tenant.Tenant, s state, peers []tenant.Tenant, f *tenant.Fault) error {
	doubt, err := r.doubt(ctx, t, s)
	if err == nil && doubt == "" {
		doubt, err = r.doubtStructure(ctx, t, peers)
	}
	switch {
	case err != nil:
		return tenant.WithTenant(err, t.Name)
	case doubt != "":
		f.Message += ": " + doubt
	default:
		f.Fix = fmt.Sprintf("write the owner into collection %s of database %s", ownCollection, t.Database)
		f.Hint, f.Tag = "tenantctl verify --fix", true
	}
	return nil
}

// Retag gives the database and the user their tags back where nothing says that they are not the tenant's.
func (r *Resource) Retag(ctx context.Context, t tenant.Tenant, peers []tenant.Tenant) (changed bool, err error) {
	s, err := r.look(ctx, t)
	if err != nil {
		return false, err
	}
	if s.presence == tenant.Foreign {
		f := tenant.Fault{}
		if err := r.judge(ctx, t, s, peers, &f); err != nil || !f.Tag {
			return false, err
		}
		err := write(ctx, func(ctx context.Context) error {
			set := bson.D{{Key: "$set", Value: userMark(t.ID)}}
			_, err := r.own(t).UpdateOne(ctx, bson.D{{Key: "_id", Value: ownerID}}, set, options.UpdateOne().SetUpsert(true))
			return err
		})
		if err != nil {
			return false, failure("mark database "+t.Database, err)
		}
		changed = true
	} else if s.presence != tenant.Ours {
		return false, nil
	}
	u, err := r.user(ctx, t)
	if err != nil {
		return changed, err
	}
	if u.presence == tenant.Foreign && u.usable() {
		update := bson.D{{Key: "updateUser", Value: t.Role}, {Key: "customData", Value: userMark(t.ID)}}
		if err := r.change(ctx, t, "update user "+t.Role, update); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, tenant.Checkpoint(ctx, "mongodb/retagged")
}
