package schema

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

const (
	// booksAtOnce is how many version books one call reads. Each takes two of the server's locks until the call ends.
	booksAtOnce = 125
	readers     = 4 // calls at once, if there are connections for so many
)

// Versions reads the real version books of many tenants, in the order given.
func (r *Resource) Versions(ctx context.Context, ts []tenant.Tenant) ([]tenant.Version, error) {
	if r.Delegates() {
		return r.delegated(ctx, ts)
	}
	out := make([]tenant.Version, len(ts))
	g, ctx := tenant.NewGroup(ctx)
	g.SetLimit(readers)
	for at := 0; at < len(ts); at += booksAtOnce {
		end := min(at+booksAtOnce, len(ts))
		g.Go(func() error {
			conn, err := r.acquireOwn(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			return r.books(ctx, conn, ts[at:end], out[at:end])
		})
	}
	return out, g.Wait()
}

// question and answer are what the server-side loop is asked and says, for one tenant.
type question struct {
	Schema string `json:"schema"`
	Mark   string `json:"mark"`
}

type answer struct {
	Presence tenant.Presence `json:"presence"`
	Version  int64           `json:"version"`
	Applied  int             `json:"applied"`
	Fault    string          `json:"fault"`
}

// readBooks loops over the books in the server. It needs no right to make a function; what goes in and out are
// settings of the transaction.
const readBooks = `DO $do$
DECLARE
	q record; newest bigint; n integer; plain boolean; odd boolean; fault text; answers jsonb[] := '{}';
BEGIN
	FOR q IN SELECT e ->> 'schema' AS schema, n.nspowner IS DISTINCT FROM (SELECT oid FROM pg_roles WHERE rolname = current_user) AS others, CASE WHEN n.oid IS NULL THEN '` + string(tenant.Absent) + `'
			WHEN split_part(d.description, ' ', 1) = e ->> 'mark' THEN '` + string(tenant.Ours) + `' ELSE '` + string(tenant.Foreign) + `' END AS presence
		FROM jsonb_array_elements(current_setting('tenantctl.ask')::jsonb) WITH ORDINALITY AS x(e, i)
		LEFT JOIN pg_namespace n ON n.nspname = e ->> 'schema'
		LEFT JOIN pg_description d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0 ORDER BY i
	LOOP
		newest := 0; n := 0; fault := '';
		IF q.presence = '` + string(tenant.Ours) + `' THEN
			BEGIN
				IF q.others THEN -- may have put a view or a policy there, whose functions would run with the rights of this session
					EXECUTE format('LOCK TABLE ONLY %I.` + migrationfile.VersionTable + ` IN ACCESS SHARE MODE', q.schema);
					SELECT NOT (c.relkind = 'r' AND NOT c.relforcerowsecurity AND NOT c.relhassubclass AND NOT EXISTS (
						SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
							AND (a.atttypid NOT IN ('int4'::regtype, 'int8'::regtype, 'bool'::regtype, 'timestamp'::regtype) OR a.attgenerated = 'v')))
						INTO STRICT odd FROM pg_class c WHERE c.oid = to_regclass(format('%I.` + migrationfile.VersionTable + `', q.schema));
					IF odd THEN
						RAISE EXCEPTION 'it is not the table that goose makes';
					END IF;
				END IF;
				EXECUTE format('SELECT coalesce(max(version_id), 0), count(*), coalesce(bool_and(is_applied) AND count(DISTINCT version_id) = count(*), true) FROM %I.` + migrationfile.VersionTable + ` WHERE version_id > 0', q.schema) INTO newest, n, plain;
				IF NOT plain THEN -- of several rows for a version the last one counts
					EXECUTE format('SELECT coalesce(max(version_id), 0), count(*) FROM (SELECT DISTINCT ON (version_id) version_id, is_applied
						FROM %I.` + migrationfile.VersionTable + ` WHERE version_id > 0 ORDER BY version_id, id DESC) last WHERE is_applied', q.schema) INTO newest, n;
				END IF;
			EXCEPTION WHEN OTHERS THEN
				fault := SQLERRM || ' (SQLSTATE ' || SQLSTATE || ')';
			END;
		END IF;
		answers := answers || jsonb_build_object('version', newest, 'applied', n, 'fault', fault, 'presence', q.presence);
	END LOOP;
	PERFORM set_config('tenantctl.answer', to_jsonb(answers)::text, true);
END $do$`

// books reads the version books of some tenants in one round trip, into out.
func (r *Resource) books(ctx context.Context, conn *pgxpool.Conn, ts []tenant.Tenant, out []tenant.Version) error {
	var ask []question
	for _, t := range ts {
		ask = append(ask, question{t.Schema, mark(t)})
	}
	questions, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	var answers []answer
	var broken error
	reply := cmd("SELECT current_setting('tenantctl.answer')")
	reply.row = func(row [][]byte) { broken = json.Unmarshal(row[0], &answers) }
	err = send(ctx, conn.Conn().PgConn(), []command{
		r.readPatience(), cmd("SELECT set_config('tenantctl.ask', %s, true)", text(string(questions))), cmd("%s", readBooks), reply,
	})
	if err := errors.Join(err, broken); err != nil {
		return failure("read the version books", err)
	}
	for i, a := range answers {
		v := tenant.Version{Presence: a.Presence, Version: a.Version, Applied: a.Applied}
		switch {
		case a.Presence == tenant.Absent:
			v.Err = missing(ts[i])
		case a.Presence == tenant.Foreign:
			v.Err = foreign("schema", ts[i].Schema)
		case lockedBook(a.Fault):
			v.Err = r.unreadable(ctx, conn, ts[i])
		case a.Fault != "":
			v.Err = &tenant.Error{
				Kind: tenant.ErrMissing, Store: tenant.KindPostgres, Msg: "read " + ts[i].Schema + "." + migrationfile.VersionTable + ": " + a.Fault,
				Hint: "restore the table: without it nobody knows which migrations are applied",
			}
		}
		out[i] = v
	}
	return nil
}
