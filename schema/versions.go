package schema

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// booksAtOnce is how many version books one call reads. Each takes two of the server's locks until the call ends.
const booksAtOnce = 200

// Versions reads the real version books of many tenants, in the order given.
func (r *Resource) Versions(ctx context.Context, ts []tenant.Tenant) ([]tenant.Version, error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	out := make([]tenant.Version, 0, len(ts))
	for some := range slices.Chunk(ts, booksAtOnce) {
		versions, err := books(ctx, conn, some)
		if err != nil {
			return nil, err
		}
		out = append(out, versions...)
	}
	return out, nil
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
	q record; place oid; newest bigint; n integer; fault text; answers jsonb[] := '{}';
BEGIN
	FOR q IN SELECT e ->> 'schema' AS schema, e ->> 'mark' AS mark
		FROM jsonb_array_elements(current_setting('tenantctl.ask')::jsonb) WITH ORDINALITY AS x(e, i) ORDER BY i
	LOOP
		place := to_regnamespace(quote_ident(q.schema)); newest := 0; n := 0; fault := '';
		IF split_part(obj_description(place, 'pg_namespace'), ' ', 1) = q.mark THEN
			BEGIN
				EXECUTE format('SELECT coalesce(max(version_id), 0), count(*) FROM (SELECT DISTINCT ON (version_id) version_id, is_applied
					FROM %I.` + bookTable + ` WHERE version_id > 0 ORDER BY version_id, id DESC) last WHERE is_applied', q.schema) INTO newest, n;
			EXCEPTION WHEN OTHERS THEN
				fault := SQLERRM || ' (SQLSTATE ' || SQLSTATE || ')';
			END;
		END IF;
		answers := answers || jsonb_build_object('version', newest, 'applied', n, 'fault', fault, 'presence', CASE
			WHEN place IS NULL THEN '` + string(tenant.Absent) + `'
			WHEN split_part(obj_description(place, 'pg_namespace'), ' ', 1) = q.mark THEN '` + string(tenant.Ours) + `'
			ELSE '` + string(tenant.Foreign) + `' END);
	END LOOP;
	PERFORM set_config('tenantctl.answer', to_jsonb(answers)::text, true);
END $do$`

// books reads the version books of some tenants in one round trip.
func books(ctx context.Context, conn *pgxpool.Conn, ts []tenant.Tenant) ([]tenant.Version, error) {
	var ask []question
	for _, t := range ts {
		ask = append(ask, question{t.Schema, mark(t)})
	}
	questions, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	var answers []answer
	var broken error
	reply := cmd("SELECT current_setting('tenantctl.answer')")
	reply.row = func(row [][]byte) { broken = json.Unmarshal(row[0], &answers) }
	err = send(ctx, conn.Conn().PgConn(), []command{
		cmd("SELECT set_config('tenantctl.ask', %s, true)", text(string(questions))), cmd("%s", readBooks), reply,
	})
	if err := errors.Join(err, broken); err != nil {
		return nil, failure("read the version books", err)
	}
	out := make([]tenant.Version, 0, len(ts))
	for i, a := range answers {
		v := tenant.Version{Presence: a.Presence, Version: a.Version, Applied: a.Applied}
		switch {
		case a.Presence == tenant.Absent:
			v.Err = missing(ts[i])
		case a.Presence == tenant.Foreign:
			v.Err = foreign("schema", ts[i].Schema)
		case a.Fault != "":
			v.Err = &tenant.Error{
				Kind: tenant.ErrMissing, Store: tenant.KindPostgres, Msg: "read " + ts[i].Schema + "." + bookTable + ": " + a.Fault,
				Hint: "restore the table: without it nobody knows which migrations are applied",
			}
		}
		out = append(out, v)
	}
	return out, nil
}
