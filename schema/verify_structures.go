package schema

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// structuresAtOnce is how many schemas one transaction reads. Each takes locks for its views until it ends.
const structuresAtOnce = 50

// Structures gives the fingerprints that backups have too, many at once: the question is planned once for each transaction,
// since planning it takes several times as long as answering.
func (r *Resource) Structures(ctx context.Context, ts []tenant.Tenant) ([]string, error) {
	out := make([]string, len(ts))
	var mu sync.Mutex
	away := tenant.Unreadable{}
	g, ctx := tenant.NewGroup(ctx)
	g.SetLimit(readers)
	for at := 0; at < len(ts); at += structuresAtOnce {
		end := min(at+structuresAtOnce, len(ts))
		g.Go(func() error {
			err := r.fingerprints(ctx, ts[at:end], out[at:end])
			if !vanished(err) && !locked(err) {
				return failure("read the structures", err)
			}
			some, err := r.oneByOne(ctx, ts[at:end], out[at:end])
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(away, some)
			return err
		})
	}
	if err := g.Wait(); err != nil || len(away) == 0 {
		return out, err
	}
	return out, away
}

// oneByOne fingerprints schemas of which somebody changes or locks one. One that is gone has no structure now.
func (r *Resource) oneByOne(ctx context.Context, ts []tenant.Tenant, out []string) (tenant.Unreadable, error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	away, err := r.lockedAway(ctx, conn, ts)
	if err != nil {
		return nil, failure("look for locks", err)
	}
	for i, t := range ts {
		if out[i] = ""; away[t.ID] != nil {
			continue
		}
		err := r.fingerprints(ctx, ts[i:i+1], out[i:i+1])
		switch {
		case locked(err):
			away[t.ID] = r.unreadable(ctx, conn, t)
		case err != nil && !vanished(err):
			return away, tenant.WithTenant(failure("read the structure", err), t.Name)
		}
	}
	return away, nil
}

// vanished tells whether an object was dropped while it was described, which the server calls by many names.
func vanished(err error) bool {
	return slices.Contains([]string{internalError, undefinedTable, undefinedObject, undefinedFunction, undefinedSchema}, code(err))
}

// membersOf are the members of the schema that is named first. It is put in force by the statement itself, and taken out of
// force at its end, since a plan is made anew where search_path is not what it was.
var membersOf = strings.Replace(strings.Replace(members,
	"WITH o AS MATERIALIZED (", "WITH here AS MATERIALIZED (\n\tSELECT n.oid, n.nspowner, set_config('search_path', quote_ident($1), true) FROM pg_namespace n WHERE n.nspname = $1\n), o AS MATERIALIZED (", 1),
	"FROM pg_depend d\n\tWHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident(current_schema()))",
	"FROM here JOIN pg_depend d\n\tON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = here.oid", 1)

func (r *Resource) fingerprints(ctx context.Context, ts []tenant.Tenant, out []string) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	pg := conn.Conn().PgConn()
	// A name of its own, since a pooler may give the session to others after a failure.
	plan := "tenantctl_" + strings.ToLower(rand.Text())
	defer func() {
		if !pg.IsClosed() && pg.TxStatus() != 'I' {
			rollback(ctx, conn)
			_ = send(context.WithoutCancel(ctx), pg, []command{cmd("DEALLOCATE %s", plan)}) // a session without it needs nothing
		}
	}()
	var s *structure // of the schema whose rows are coming
	var sum hash.Hash
	var names *sqltext.Renaming
	var t tenant.Tenant
	version := major(pg)
	var asked []asking
	ask := func(columns int, sql string, row func(row [][]byte)) {
		asked = append(asked, asking{columns, sql, row})
	}
	ask(1, "SELECT pg_get_userbyid(nspowner) FROM here UNION SELECT current_user UNION SELECT session_user", func(row [][]byte) { s.owners = append(s.owners, string(row[0])) })
	ask(1, objectNames, func(row [][]byte) { s.objects[string(row[0])] = true })
	for _, f := range structureFacts {
		if f.since > version {
			continue
		}
		ask(len(f.fields), f.sql, func(row [][]byte) {
			if names == nil {
				n := s.renaming(t)
				names = &n
			}
			f.add(sum, row, names)
		})
	}
	// The server looks at a statement again once it has run, to describe its result.
	ask(1, "SELECT set_config('search_path', 'pg_catalog', true)", func([][]byte) {})
	all, misread := togetherFrom(membersOf, asked)
	commands := append([]command{cmd("BEGIN READ ONLY")}, append(r.readSettings(ts[0], version), r.readPatience())...)
	commands = append(commands, cmd("SET LOCAL search_path = pg_catalog"), cmd("SET LOCAL plan_cache_mode = force_generic_plan"))
	for _, p := range planning {
		commands = append(commands, cmd("SET LOCAL %s", p))
	}
	prepared := all
	prepared.row = nil
	prepared.sql = "PREPARE " + plan + "(name) AS " + all.sql
	commands = append(commands, prepared)
	for i, one := range ts {
		begin := cmd("SELECT 1")
		begin.row = func([][]byte) {
			t, s, sum, names = one, &structure{objects: map[string]bool{}, major: version}, sha256.New(), nil
		}
		read := cmd("EXECUTE %s(%s)", plan, text(one.Schema))
		read.row = all.row
		done := cmd("SELECT 1")
		done.row = func([][]byte) {
			if len(s.objects) > 0 {
				out[i] = hashVersion + ":" + hex.EncodeToString(sum.Sum(nil))
			}
		}
		commands = append(commands, begin, read, done)
	}
	err = send(ctx, pg, append(commands, cmd("DEALLOCATE %s", plan), cmd("COMMIT")))
	if err == nil && *misread != nil {
		err = fmt.Errorf("read the structure: %w", *misread)
	}
	return err
}
