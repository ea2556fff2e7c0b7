package resolver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

const routeColumns = `tenant_id::text, name, state, schema_name, role_name, database_name, revision, gate, gate_reason,
	domains, serves, verified, former_names, generation`

func scanRoute(row pgx.CollectableRow) (*route, error) {
	var r route
	var names, serves []string
	var verified []bool
	err := row.Scan(
		&r.ID, &r.Name, &r.State, &r.Schema, &r.Role, &r.Database, &r.Revision, &r.Gate, &r.Reason,
		&names, &serves, &verified, &r.formerNames, &r.Generation,
	)
	if err != nil {
		return nil, err
	}
	for i, n := range names {
		r.domains = append(r.domains, domain{n, serves[i], verified[i]})
	}
	return &r, nil
}

// position is how far a reader has come: the snapshot it has read by, and which catalog that was of.
type position struct {
	snapshot string
	catalog  string
}

// version counts the transactions that are visible: of two positions in one catalog the later has the higher one.
func (p position) version() int64 {
	parts := strings.Split(p.snapshot, ":") // xmin:xmax:xip,xip
	if len(parts) != 3 {
		return 0
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return 0
	}
	if parts[2] != "" {
		n -= int64(strings.Count(parts[2], ",") + 1)
	}
	return n
}

// identity is another one where the server was started anew or replaced, or the catalog was put back from a dump.
const identity = `concat_ws(' ', pg_postmaster_start_time(),
	(SELECT oid FROM pg_database WHERE datname = current_database()), 'tenantctl.route_changes'::regclass::oid)`

// load reads all routes. The position is taken before them, so that nothing between the two is missed.
func (r *Resolver) load(ctx context.Context) (*snapshot, position, error) {
	var at position
	if err := r.pool.QueryRow(ctx, `SELECT pg_current_snapshot()::text, `+identity, pgx.QueryExecModeExec).
		Scan(&at.snapshot, &at.catalog); err != nil {
		return nil, at, readError("ask for the catalog's position", err)
	}
	s, err := r.read(ctx, &snapshot{at: at}, `SELECT `+routeColumns+` FROM tenantctl.routes`)
	return s, at, err
}

// read adds the routes that a query gives to a snapshot.
func (r *Resolver) read(ctx context.Context, s *snapshot, sql string, args ...any) (*snapshot, error) {
	rows, err := r.pool.Query(ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		return nil, readError("read the routes", err)
	}
	defer rows.Close()
	e := s.edit()
	for rows.Next() {
		route, err := scanRoute(rows)
		if err != nil {
			return nil, readError("read the routes", err)
		}
		e.remove(route.ID)
		e.add(route)
	}
	return e.snapshot, readError("read the routes", rows.Err())
}

// errJumped marks that changes since the position cannot be told: all routes have to be read.
var errJumped = errors.New("the feed has jumped")

// follow reads what has changed since the position.
func (r *Resolver) follow(ctx context.Context, s *snapshot, since position) (*snapshot, position, error) {
	var now position
	var jumped bool
	var ids []string
	// What commits late was not visible in the snapshot that was read by, however low its number.
	err := r.pool.QueryRow(ctx, `SELECT pg_current_snapshot()::text, `+identity+`,
			pg_snapshot_xmin($1::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot())
				OR f.trimmed > pg_snapshot_xmin($1::pg_snapshot) AND f.trimmed <= pg_snapshot_xmax(pg_current_snapshot()),
			ARRAY(SELECT DISTINCT c.tenant_id::text FROM tenantctl.route_changes c
				WHERE c.xid >= pg_snapshot_xmin($1::pg_snapshot) AND NOT pg_visible_in_snapshot(c.xid, $1::pg_snapshot))
		FROM tenantctl.route_feed f`, pgx.QueryExecModeExec, since.snapshot).
		Scan(&now.snapshot, &now.catalog, &jumped, &ids)
	switch {
	case err != nil:
		return nil, now, readError("read the changes of routes", err)
	case jumped || now.catalog != since.catalog:
		return nil, now, errJumped
	case len(ids) == 0:
		return s, now, nil
	}
	e := s.edit()
	e.at = now
	for _, id := range ids { // all of them first: a name or a domain may have gone from one to another
		e.remove(id)
	}
	s, err = r.read(
		ctx,
		e.snapshot,
		`SELECT `+routeColumns+` FROM tenantctl.routes WHERE tenant_id = ANY($1::uuid[])`,
		ids,
	)
	r.stats.changes.Add(int64(len(ids)))
	return s, now, err
}

// register tells the catalog how far this resolver has come, and that it answers until maxStale from now. It tells
// whether the catalog counted on this resolver before, too.
func (r *Resolver) register(ctx context.Context, at position) (live bool, err error) {
	err = r.pool.QueryRow(ctx, `WITH before AS (
			SELECT expires_at > clock_timestamp() AS live FROM tenantctl.resolvers WHERE id = $1::uuid),
		now AS (INSERT INTO tenantctl.resolvers (id, name, seen, expires_at)
			VALUES ($1::uuid, $2, nullif($3, '')::pg_snapshot, clock_timestamp() + $4::interval)
			ON CONFLICT (id) DO UPDATE SET seen = EXCLUDED.seen, expires_at = EXCLUDED.expires_at)
		SELECT coalesce((SELECT live FROM before), false)`, pgx.QueryExecModeExec,
		r.id, r.name, at.snapshot, fmt.Sprintf("%d milliseconds", r.maxStale.Milliseconds())).
		Scan(&live)
	return live, readError("register with the catalog", err)
}

// leave tells the catalog not to wait for this resolver any more.
func (r *Resolver) leave(ctx context.Context) error {
	_, err := r.pool.Exec(ctx, `DELETE FROM tenantctl.resolvers WHERE id = $1::uuid`, pgx.QueryExecModeExec, r.id)
	return readError("leave the catalog", err)
}

func readError(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", verb, err)
}
