package schema

import (
	"context"
	"fmt"
	"slices"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// Recognise finds the version of schemas that have no version table: it brings a scratch schema forward file by file,
// and compares the fingerprint of each version with theirs.
func (r *Resource) Recognise(ctx context.Context, ps []tenant.Adoptee) ([]tenant.Recognised, error) {
	if len(ps) == 0 {
		return nil, nil
	}
	known, err := r.madeBy(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]tenant.Recognised, len(ps))
	g, ctx := tenant.NewGroup(ctx)
	g.SetLimit(readers)
	for i, p := range ps {
		g.Go(func() error {
			print, err := r.fingerprint(ctx, p.Tenant, nil)
			if err != nil {
				return err
			}
			out[i] = recognised(known[print], p)
			return nil
		})
	}
	return out, g.Wait()
}

// recognised is the one version of those that make a structure.
func recognised(versions []int64, p tenant.Adoptee) tenant.Recognised {
	switch len(versions) {
	case 0:
		return tenant.Recognised{Err: invalid(hintVersion, "the structure of schema %s is none that the migrations here make", p.Schema)}
	case 1:
		return tenant.Recognised{Version: versions[0]}
	}
	return tenant.Recognised{Err: invalid(hintVersion, "schema %s may be at any of the versions %d to %d: they differ in data alone", p.Schema, slices.Min(versions), slices.Max(versions))}
}

// madeBy are the structures that the migrations make, with the versions that make each.
func (r *Resource) madeBy(ctx context.Context) (map[string][]int64, error) {
	set, err := r.files()
	if err != nil {
		return nil, err
	}
	bare, done, err := r.bareScratch(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := bare.settle(ctx, scratch, set); err != nil {
		return nil, err
	}
	known := map[string][]int64{}
	for i := range len(set.List) + 1 {
		version := int64(0)
		if i > 0 {
			version = set.List[i-1].Version
			if _, err := bare.Up(ctx, scratch, version, false); err != nil {
				return nil, fmt.Errorf("bring a scratch schema to version %d: %w", version, err)
			}
		}
		// Schemas without a version table are what it is compared with.
		print, err := bare.fingerprint(ctx, scratch, []command{cmd("DROP TABLE %s", migrationfile.VersionTable)})
		if err != nil {
			return nil, err
		}
		known[print] = append(known[print], version)
	}
	return known, nil
}

// fingerprint reads a schema's structure, whosever it is, as it is after the commands given, which are taken back.
func (r *Resource) fingerprint(ctx context.Context, t tenant.Tenant, after []command) (string, error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Release()
	defer rollback(ctx, conn)
	pg := conn.Conn().PgConn()
	if err := send(ctx, pg, append(r.begin(t), after...)); err != nil {
		return "", failure("begin in schema "+t.Schema, err)
	}
	s, _, err := structureOf(ctx, pg, t)
	if err != nil {
		return "", failure("read the structure of schema "+t.Schema, err)
	}
	return s.fingerprint, nil
}
