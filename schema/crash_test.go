package schema

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// Every round trip is a place where the process can die: before the server has the question, or after it answered
// and before the answer is read. The same call, made by another process, must bring what is left to the same end.
func TestConvergesAfterADeathAtEveryRoundTrip(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"00001_orders.sql": `-- +goose Up
CREATE TYPE state AS ENUM ('open');
CREATE TABLE orders (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, state state, placed_at timestamptz);
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
-- +goose Down
DROP FUNCTION one;
DROP TABLE orders;
DROP TYPE state;`,
		"00002_open.sql": "-- +goose Up\nCREATE VIEW opened AS SELECT * FROM orders WHERE state = 'open';\n-- +goose Down\nDROP VIEW opened;",
		"00003_several.sql": `-- +goose NO TRANSACTION
-- +goose Up
CREATE INDEX CONCURRENTLY orders_placed ON orders (placed_at);
ALTER TYPE state ADD VALUE IF NOT EXISTS 'returned';
CREATE UNIQUE INDEX CONCURRENTLY orders_state ON orders (state, id);
-- +goose Down
DROP INDEX CONCURRENTLY orders_state;
DROP INDEX CONCURRENTLY orders_placed;`,
	})
	b := newBench(t, dir, func(c *Config) { c.LockRetries = 8 })
	prepared := func(ctx context.Context, r *Resource, tn tenant.Tenant) error { return r.Create(ctx, tn) }
	for _, c := range []struct {
		name       string
		before, do func(ctx context.Context, r *Resource, tn tenant.Tenant) error
		whole      bool
	}{
		{"create", nil, prepared, true},
		{"down", prepared, func(ctx context.Context, r *Resource, tn tenant.Tenant) error {
			_, err := r.Down(ctx, tn, 0)
			return err
		}, true},
		{"lock", prepared, func(ctx context.Context, r *Resource, tn tenant.Tenant) error {
			_, err := r.Lock(ctx, tn)
			return err
		}, true},
		{"drop", prepared, func(ctx context.Context, r *Resource, tn tenant.Tenant) error { return r.Drop(ctx, tn) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := b
			b.t = t
			want := ""
			deaths := 0
			for n := int64(0); ; n++ {
				fell := false
				for _, answered := range []bool{false, true} {
					tn := b.tenant(fmt.Sprintf("%s-%d-%t", c.name, n, answered))
					if c.before != nil {
						must(t, c.before(t.Context(), b.Resource, tn))
					}
					g := newGuillotine(t, b.cfg.URL, n, answered)
					if died := b.through(g, tn, c.do); n == 0 {
						must(t, died) // nothing was cut off: this is what the end is to look like
					} else if g.fell.Load() {
						fell = true
						deaths++
						b.settled(tn)
						must(t, c.do(t.Context(), b.Resource, tn))
					}
					got := b.state(tn)
					if n == 0 {
						want = got
					}
					if got != want {
						t.Fatalf("after a death at round trip %d (answered: %t):\n%s\nwant\n%s", n, answered, got, want)
					}
					if c.whole {
						must(t, b.Drop(t.Context(), tn))
					}
				}
				if n > 0 && !fell {
					break
				}
			}
			if deaths < 6 {
				t.Errorf("died at %d moments only", deaths)
			}
			t.Logf("died at %d moments", deaths)
		})
	}
}

// settled waits until a transaction whose connection was cut off has ended: its COMMIT may be under way. An operation waits
// for the tenant's lock, which is the catalog's; here there is none.
func (b bench) settled(tn tenant.Tenant) {
	b.t.Helper()
	for b.scalar(`SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation AND l.database <> 0
		WHERE c.relnamespace = to_regnamespace(%s) AND l.pid <> pg_backend_pid()`, text(tn.Schema)) != "0" {
		time.Sleep(time.Millisecond)
	}
}

// through makes a call by way of a guillotine.
func (b bench) through(g *guillotine, tn tenant.Tenant, do func(context.Context, *Resource, tenant.Tenant) error) error {
	b = b.at(g.url)
	defer b.pool.Close()
	return do(b.t.Context(), b.Resource, tn)
}

// state is all that the server knows of a tenant, as text in which the tenant's own names and ids do not occur.
func (b bench) state(tn tenant.Tenant) string {
	b.t.Helper()
	schema := text(tn.Schema)
	state := b.scalar(`SELECT string_agg(line, E'\n' ORDER BY line) FROM (
		SELECT concat_ws(' ', 'schema', obj_description(oid, 'pg_namespace'), nspacl) FROM pg_namespace WHERE nspname = %[1]s
		UNION ALL SELECT concat_ws(' ', 'role', shobj_description(oid, 'pg_authid'), rolcanlogin, rolconfig) FROM pg_roles WHERE rolname = %[1]s
		UNION ALL SELECT concat_ws(' ', 'member', roleid::regrole, member::regrole) FROM pg_auth_members WHERE roleid::regrole::text = %[1]s
		UNION ALL SELECT concat_ws(' ', 'default', defaclobjtype, defaclacl) FROM pg_default_acl WHERE defaclnamespace::regnamespace::text = %[1]s
		UNION ALL SELECT concat_ws(' ', 'relation', relkind, relname, relacl, obj_description(oid, 'pg_class')) FROM pg_class WHERE relnamespace::regnamespace::text = %[1]s
		UNION ALL SELECT concat_ws(' ', 'index', indexdef, indisvalid) FROM pg_indexes JOIN pg_index ON indexrelid = format('%%I.%%I', schemaname, indexname)::regclass WHERE schemaname = %[1]s
		UNION ALL SELECT concat_ws(' ', 'column', table_name, column_name, data_type, is_nullable, column_default) FROM information_schema.columns WHERE table_schema = %[1]s
		UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace::regnamespace::text = %[1]s
		UNION ALL SELECT concat_ws(' ', 'routine', oid::regprocedure, proacl) FROM pg_proc WHERE pronamespace::regnamespace::text = %[1]s
		UNION ALL SELECT concat_ws(' ', 'type', typname, typacl) FROM pg_type WHERE typnamespace::regnamespace::text = %[1]s
		UNION ALL SELECT concat_ws(' ', 'label', enumlabel) FROM pg_enum JOIN pg_type t ON t.oid = enumtypid WHERE typnamespace::regnamespace::text = %[1]s
	) all_of_it(line)`, schema)
	if strings.Contains(state, "relation r "+migrationfile.VersionTable) {
		state += "\n" + b.scalar("SELECT string_agg(version_id || ' ' || is_applied, ',' ORDER BY id) FROM %s.%s", quote(tn.Schema), migrationfile.VersionTable)
	}
	return strings.NewReplacer(tn.Schema, "SCHEMA", tn.ID.String(), "ID").Replace(state)
}
