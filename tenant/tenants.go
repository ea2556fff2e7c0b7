package tenant

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const tenantColumns = `t.id, t.name, t.state, t.schema_name, t.database_name, coalesce(t.role_name, ''), t.labels, t.created_at, t.updated_at, t.purge_after, coalesce(t.deleted_from, CASE WHEN t.of IS NULL THEN 'active' ELSE '' END), coalesce(t.hold, ''), t.adopted, coalesce(t.suspended_for, ''), t.revision,
	ARRAY(SELECT d.domain FROM tenantctl.domains d WHERE d.tenant_id = t.id ORDER BY d.position, d.domain),
	coalesce((SELECT jsonb_object_agg(v.kind, v.version) FROM tenantctl.versions v WHERE v.tenant_id = t.id), '{}')`

func scanTenant(row pgx.CollectableRow) (Tenant, error) {
	var t Tenant
	err := row.Scan(&t.ID, &t.Name, &t.State, &t.Schema, &t.Database, &t.Role, &t.Labels, &t.CreatedAt, &t.UpdatedAt, &t.PurgeAfter, &t.deletedFrom, &t.Hold, &t.Adopted, &t.SuspendedFor, &t.revision,
		&t.Domains, &t.Versions)
	t.CreatedAt, t.UpdatedAt = t.CreatedAt.UTC(), t.UpdatedAt.UTC()
	if t.PurgeAfter != nil {
		utc := t.PurgeAfter.UTC()
		t.PurgeAfter = &utc
	}
	return t, err
}

// Tenants gives the selected tenants in the order of their names, as they come from the server. It stops after the
// first error.
func (c *Catalog) Tenants(ctx context.Context, sel Selection) iter.Seq2[Tenant, error] {
	var q query
	sel.where(&q)
	return c.tenants(ctx, &q)
}

func (c *Catalog) tenants(ctx context.Context, q *query) iter.Seq2[Tenant, error] {
	return func(yield func(Tenant, error) bool) {
		rows, err := c.pool.Query(ctx, `SELECT `+tenantColumns+` FROM tenantctl.tenants t WHERE `+q.where()+` ORDER BY t.name`, q.args...)
		if err != nil {
			yield(Tenant{}, catalogError("read the tenants", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			t, err := scanTenant(rows)
			if err != nil {
				yield(Tenant{}, catalogError("read the tenants", err))
				return
			}
			if !yield(t, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(Tenant{}, catalogError("read the tenants", err))
		}
	}
}

// Get is the tenant of that name, or ErrNotFound.
func (c *Catalog) Get(ctx context.Context, name Name) (Tenant, error) {
	return c.one(ctx, name, "t.name = $1", string(name))
}

func (c *Catalog) byID(ctx context.Context, id uuid.UUID, name Name) (Tenant, error) {
	return c.one(ctx, name, "t.id = $1", id)
}

func (c *Catalog) one(ctx context.Context, name Name, where string, arg any) (Tenant, error) {
	rows, err := c.pool.Query(ctx, `SELECT `+tenantColumns+` FROM tenantctl.tenants t WHERE `+where, arg)
	if err != nil {
		return Tenant{}, catalogError("read the tenant", err)
	}
	t, err := pgx.CollectOneRow(rows, scanTenant)
	if errors.Is(err, pgx.ErrNoRows) {
		return Tenant{}, &Error{Kind: ErrNotFound, Tenant: name, Msg: "no such tenant", Hint: c.renamedHint(ctx, name)}
	}
	return t, catalogError("read the tenant", err)
}

// renamedHint says where a name went that is not in the catalog.
func (c *Catalog) renamedHint(ctx context.Context, name Name) string {
	var now string
	err := c.pool.QueryRow(ctx, `SELECT t.name FROM tenantctl.operations o JOIN tenantctl.tenants t ON t.id = o.tenant_id
		WHERE o.tenant_name = $1 AND o.kind = 'rename' AND o.state = 'done' ORDER BY o.seq DESC NULLS LAST LIMIT 1`, string(name)).Scan(&now)
	if err == nil {
		return "it was renamed to " + now
	}
	if near := c.near(ctx, name); near != "" {
		return "did you mean " + near + "? tenantctl list shows all"
	}
	return "tenantctl list shows all"
}

// missing refuses names that the catalog does not have, all at once.
func (c *Catalog) missing(ctx context.Context, names []Name) error {
	rows, err := c.pool.Query(ctx, `SELECT n FROM unnest($1::text[]) n WHERE NOT EXISTS (SELECT FROM tenantctl.tenants t WHERE t.name = n)`, texts(names))
	if err != nil {
		return catalogError("look for the tenants", err)
	}
	unknown, err := pgx.CollectRows(rows, pgx.RowTo[string])
	switch {
	case err != nil:
		return catalogError("look for the tenants", err)
	case len(unknown) == 1:
		return &Error{Kind: ErrNotFound, Tenant: Name(unknown[0]), Msg: "no such tenant", Hint: c.renamedHint(ctx, Name(unknown[0]))}
	case len(unknown) > 1:
		return &Error{Kind: ErrNotFound, Msg: "no such tenants: " + list(unknown), Hint: "tenantctl list shows all"}
	}
	return nil
}

// matches refuses names that the catalog does not have, and a selection without names that no tenant within cond
// matches: a misspelt label must not look like work that is done. Where nothing was selected, nobody has to match.
func (c *Catalog) matches(ctx context.Context, sel Selection, cond, which string) error {
	if len(sel.Names) > 0 {
		return c.missing(ctx, sel.Names)
	}
	if sel.AllowEmpty || sel.Empty() {
		return nil
	}
	var q query
	sel.where(&q)
	q.and(cond)
	var any bool
	err := c.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM tenantctl.tenants t WHERE `+q.where()+`)`, q.args...).Scan(&any)
	if err != nil || any {
		return catalogError("look for the tenants", err)
	}
	return &Error{
		Kind: ErrInvalid, Code: "empty_selection", Msg: "the selection matches no " + which,
		Hint: "tenantctl list shows all tenants; add --allow-empty where that is no mistake",
	}
}

// workable refuses a selection that matches nobody, and named tenants that cannot be worked in: a name given by hand is
// never left out in silence.
func (c *Catalog) workable(ctx context.Context, sel Selection) error {
	if err := c.matches(ctx, sel, migrating, "tenant that is active or suspended"); err != nil || len(sel.Names) == 0 {
		return err
	}
	var q query
	Selection{Names: sel.Names}.where(&q)
	q.and("NOT " + migrating)
	var first *Tenant
	for t, err := range c.tenants(ctx, &q) {
		if err != nil {
			return err
		}
		first = &t
		break
	}
	if first == nil {
		return nil
	}
	return c.unready(ctx, *first)
}

// instead is why a tenant is refused: the operation that has it in work, where there is one, or else what is given.
func (c *Catalog) instead(ctx context.Context, t Tenant, refusal error) error {
	live, err := c.liveOperation(ctx, t.ID)
	switch {
	case err != nil:
		return err
	case live != nil && !c.dead(live):
		return c.busy(live)
	}
	return refusal
}

// unready says why a tenant that is neither active nor suspended cannot be worked in, and the way out.
func (c *Catalog) unready(ctx context.Context, t Tenant) error {
	live, err := c.liveOperation(ctx, t.ID)
	switch {
	case err != nil:
		return err
	case live == nil:
		return &Error{Kind: ErrInvalid, Tenant: t.Name, Msg: fmt.Sprintf("cannot work in it while it is %s", t.State), Hint: "tenantctl describe " + string(t.Name)}
	case !c.dead(live):
		return c.busy(live)
	}
	return stuck(live, fmt.Sprintf("is %s: ", t.State))
}

// list joins the first few.
func list(names []string) string {
	if len(names) > 10 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:10], ", "), len(names)-10)
	}
	return strings.Join(names, ", ")
}

// insert reserves a tenant's name, places and domains.
func (c *Catalog) insert(ctx context.Context, tx pgx.Tx, t *Tenant) error {
	err := tx.QueryRow(ctx, `INSERT INTO tenantctl.tenants (id, name, state, schema_name, database_name, role_name, labels, adopted)
		VALUES ($1, $2, 'provisioning', $3, $4, nullif($5, ''), $6::jsonb, $7) RETURNING created_at, updated_at, revision`,
		t.ID, string(t.Name), t.Schema, t.Database, t.Role, jsonText(t.Labels), t.Adopted).Scan(&t.CreatedAt, &t.UpdatedAt, &t.revision)
	if constraint, ok := isUnique(err); ok {
		return &Error{Kind: errTaken, Tenant: t.Name, Msg: constraint, Err: ErrExists}
	}
	if err != nil {
		return err
	}
	return c.addDomains(ctx, tx, *t, t.Domains)
}

// errTaken marks that a name or place is in the catalog already.
var errTaken = errors.New("taken")

func (c *Catalog) addDomains(ctx context.Context, tx pgx.Tx, t Tenant, domains []string) error {
	if len(domains) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `INSERT INTO tenantctl.domains (domain, tenant_id, position)
		SELECT d, $2, o + (SELECT coalesce(max(position), 0) FROM tenantctl.domains WHERE tenant_id = $2)
		FROM unnest($1::text[]) WITH ORDINALITY AS x(d, o) ON CONFLICT (domain) DO NOTHING RETURNING domain`, domains, t.ID)
	if err != nil {
		return err
	}
	added, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(added) == len(domains) {
		return err
	}
	for _, d := range domains {
		if slices.Contains(added, d) {
			continue
		}
		var owner string
		if err := tx.QueryRow(ctx, `SELECT t.name FROM tenantctl.domains d JOIN tenantctl.tenants t ON t.id = d.tenant_id WHERE d.domain = $1`, d).Scan(&owner); err != nil {
			return err
		}
		if owner != string(t.Name) {
			return &Error{Kind: ErrExists, Tenant: t.Name, Msg: fmt.Sprintf("domain %s belongs to tenant %s", d, owner), Hint: fmt.Sprintf("take it from there first: tenantctl set %s --remove-domain %s", owner, d)}
		}
	}
	return nil
}

// remove takes a tenant out of the catalog, if it has one of the states that it is to be removed from.
func (c *Catalog) remove(ctx context.Context, tx pgx.Tx, id uuid.UUID, from ...State) error {
	_, err := tx.Exec(ctx, `DELETE FROM tenantctl.tenants WHERE id = $1 AND state = ANY($2::text[])`, id, stateTexts(from))
	return err
}
