package schema

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/tenantctl/tenantctl/tenant"
)

// structuresAtOnce is how many schemas one transaction reads. Each takes locks for its views until it ends.
const structuresAtOnce = 50

// Structures gives the fingerprints that backups have too, many at once: the question is planned once for each transaction,
// since planning it takes several times as long as answering.
func (r *Resource) Structures(ctx context.Context, ts []tenant.Tenant) ([]string, error) {
	out := make([]string, len(ts))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for at := 0; at < len(ts); at += structuresAtOnce {
		end := min(at+structuresAtOnce, len(ts))
		g.Go(func() error {
			conn, err := r.acquire(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			defer rollback(ctx, conn)
			return failure("read the structures", r.fingerprints(ctx, conn.Conn().PgConn(), ts[at:end], out[at:end]))
		})
	}
	return out, g.Wait()
}

// membersOf are the members of the schema that is named first. It is put in force by the statement itself, and taken out of
// force at its end, since a plan is made anew where search_path is not what it was.
var membersOf = strings.Replace(strings.Replace(members,
	"WITH o AS MATERIALIZED (", "WITH here AS MATERIALIZED (\n\tSELECT n.oid, n.nspowner, set_config('search_path', quote_ident($1), true) FROM pg_namespace n WHERE n.nspname = $1\n), o AS MATERIALIZED (", 1),
	"FROM pg_depend d\n\tWHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident(current_schema()))",
	"FROM here JOIN pg_depend d\n\tON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = here.oid", 1)

func (r *Resource) fingerprints(ctx context.Context, pg *pgconn.PgConn, ts []tenant.Tenant, out []string) error {
	var s *structure // of the schema whose rows are coming
	var sum hash.Hash
	var names *renaming
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
	commands := append([]command{cmd("BEGIN READ ONLY")}, r.readSettings(ts[0], version)...)
	commands = append(commands, cmd("SET LOCAL search_path = pg_catalog"), cmd("SET LOCAL plan_cache_mode = force_generic_plan"))
	for _, p := range planning {
		commands = append(commands, cmd("SET LOCAL %s", p))
	}
	prepared := all
	prepared.row = nil
	prepared.sql = "PREPARE tenantctl_structure(name) AS " + all.sql
	commands = append(commands, prepared)
	for i, one := range ts {
		begin := cmd("SELECT 1")
		begin.row = func([][]byte) {
			t, s, sum, names = one, &structure{objects: map[string]bool{}, major: version}, sha256.New(), nil
		}
		read := cmd("EXECUTE tenantctl_structure(%s)", text(one.Schema))
		read.row = all.row
		done := cmd("SELECT 1")
		done.row = func([][]byte) {
			if len(s.objects) > 0 {
				out[i] = hashVersion + ":" + hex.EncodeToString(sum.Sum(nil))
			}
		}
		commands = append(commands, begin, read, done)
	}
	err := send(ctx, pg, append(commands, cmd("DEALLOCATE tenantctl_structure"), cmd("COMMIT")))
	if err == nil && *misread != nil {
		err = fmt.Errorf("read the structure: %w", *misread)
	}
	return err
}
