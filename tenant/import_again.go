package tenant

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Emptying is whether a tenant's rows of a target are to be taken away before they are loaded.
type Emptying string

// The states of an emptying. None is of a load that empties nothing, or that is over.
const (
	EmptyingNone Emptying = ""
	EmptyingDue  Emptying = "due"
	EmptyingDone Emptying = "done"
)

// Lease is the right to write that the import has as long as nobody takes it over.
func (i *Import) Lease() *Lease { return i.s.catalog.leaseOf(i.op) }

// Forget makes a target's rows of these tenants count as not loaded, so that the next pass loads them again.
func (i *Import) Forget(ctx context.Context, target string, tenants []uuid.UUID) error {
	return i.inTx(ctx, "begin again", func(tx pgx.Tx) error { return i.forget(ctx, tx, target, tenants) })
}

func (i *Import) forget(ctx context.Context, tx pgx.Tx, target string, tenants []uuid.UUID) error {
	for _, table := range []string{"import_loads", "import_rejects"} {
		_, err := tx.Exec(ctx, `DELETE FROM tenantctl.`+table+` WHERE import = $1 AND target = $2
			AND coalesce(tenant_id, '00000000-0000-0000-0000-000000000000') = ANY($3::uuid[])`, i.Name, target, uuids(tenants))
		if err != nil {
			return err
		}
	}
	return nil
}

// Restart ends a target's pass and makes what was loaded for these tenants due to be taken away and loaded again.
func (i *Import) Restart(ctx context.Context, target string, tenants []uuid.UUID) error {
	return i.inTx(ctx, "restart a table", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM tenantctl.import_passes WHERE import = $1 AND target = $2`, i.Name, target); err != nil {
			return err
		}
		// Where nothing was loaded there is nothing to take away.
		if _, err := tx.Exec(ctx, `WITH none AS (DELETE FROM tenantctl.import_loads WHERE import = $1 AND target = $2 AND loaded = 0 AND NOT whole
					AND coalesce(tenant_id, '00000000-0000-0000-0000-000000000000') = ANY($3::uuid[]) RETURNING tenant_id)
				DELETE FROM tenantctl.import_rejects r USING none WHERE r.import = $1 AND r.target = $2 AND r.tenant_id IS NOT DISTINCT FROM none.tenant_id`,
			i.Name, target, uuids(tenants)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE tenantctl.import_loads SET whole = false, emptying = 'due' WHERE import = $1 AND target = $2
			AND coalesce(tenant_id, '00000000-0000-0000-0000-000000000000') = ANY($3::uuid[])`, i.Name, target, uuids(tenants))
		return err
	})
}

// Emptied records that a tenant's rows of a target were taken away, in the transaction that did it where there is one.
// What was known of them is forgotten.
func (i *Import) Emptied(ctx context.Context, tx pgx.Tx, target string, id uuid.UUID) error {
	if err := i.forget(ctx, tx, target, []uuid.UUID{id}); err != nil || id == uuid.Nil {
		return err
	}
	_, err := tx.Exec(ctx, `INSERT INTO tenantctl.import_loads (import, target, tenant_id, emptying) VALUES ($1, $2, $3, 'done')`, i.Name, target, id)
	return err
}

// DropPasses ends the passes over targets that the mapping does not load any more.
func (i *Import) DropPasses(ctx context.Context, targets []string) error {
	return i.inTx(ctx, "end a pass", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM tenantctl.import_passes WHERE import = $1 AND target = ANY($2)`, i.Name, targets)
		return err
	})
}

// OwnerChecker is a Resource that tells whether a tenant's place in it bears the tenant's ownership tag.
type OwnerChecker interface {
	Resource
	// CheckOwner fails where the place is missing, or bears another's tag or none.
	CheckOwner(ctx context.Context, t Tenant) error
}

// CheckOwners asks the stores of these kinds about each tenant, so many at once.
func (s *Service) CheckOwners(ctx context.Context, tenants []Tenant, parallel int, kinds ...string) error {
	g, ctx := NewGroup(ctx)
	g.SetLimit(max(1, parallel))
	for _, r := range s.resources {
		o, ok := r.(OwnerChecker)
		if !ok || !slices.Contains(kinds, r.Kind()) {
			continue
		}
		for _, t := range tenants {
			g.Go(func() error { return WithTenant(o.CheckOwner(ctx, t), t.Name) })
		}
	}
	return g.Wait()
}

// ImportUndo is something that a load took away and that is to be put back.
type ImportUndo struct {
	ID        int64
	Target    string
	Tenant    uuid.UUID
	Kind      string // index, foreign key, trigger
	Name      string
	Statement string // that puts it back
}

// Owe records what is to be put back, in the transaction that takes it away.
func (i *Import) Owe(ctx context.Context, tx pgx.Tx, u ImportUndo) error {
	var id any
	if u.Tenant != uuid.Nil {
		id = u.Tenant
	}
	_, err := tx.Exec(ctx, `INSERT INTO tenantctl.import_undo (import, target, tenant_id, kind, name, statement) VALUES ($1, $2, $3, $4, $5, $6)`, i.Name, u.Target, id, u.Kind, u.Name, u.Statement)
	return err
}

// Owed gives what is still to be put back, the oldest first; of one target, or of all where target is empty.
func (s *Service) Owed(ctx context.Context, name, target string) ([]ImportUndo, error) {
	rows, err := s.catalog.pool.Query(ctx, `SELECT id, target, coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'), kind, name, statement
		FROM tenantctl.import_undo WHERE import = $1 AND ($2 = '' OR target = $2) ORDER BY id`, name, target)
	if err != nil {
		return nil, catalogError("read what is to be put back", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ImportUndo])
	return out, catalogError("read what is to be put back", err)
}

// Paid forgets what was put back, in the transaction that did it.
func (i *Import) Paid(ctx context.Context, tx pgx.Tx, id int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM tenantctl.import_undo WHERE id = $1`, id)
	return err
}

// LeftAway counts the indexes, foreign keys and triggers that imports have taken away and that nobody puts back, by the
// imports' names.
func (c *Catalog) LeftAway(ctx context.Context) (n int, imports string, err error) {
	rows, err := c.pool.Query(ctx, `SELECT u.import, count(*) FROM tenantctl.import_undo u JOIN tenantctl.imports i ON i.name = u.import
		WHERE NOT EXISTS (SELECT FROM tenantctl.operations o WHERE o.id = i.run AND o.state IN ('running', 'undoing', 'stuck')) GROUP BY 1 ORDER BY 1`)
	if err != nil {
		return 0, "", catalogError("read what is to be put back", err)
	}
	var name string
	var count int
	var names []string
	_, err = pgx.ForEachRow(rows, []any{&name, &count}, func() error { n, names = n+count, append(names, name); return nil })
	return n, strings.Join(names, ", "), catalogError("read what is to be put back", err)
}

// LeftAway is the catalog's.
func (s *Service) LeftAway(ctx context.Context) (n int, imports string, err error) {
	return s.catalog.LeftAway(ctx)
}

// LeftAwayHint says how to get back what an import took away.
func LeftAwayHint(imports string) string {
	return fmt.Sprintf("run the import again to its end, which puts them back (%s); tenantctl import status names them", imports)
}
