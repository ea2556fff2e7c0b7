package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// faults gives what verify finds of tenants, as "name rule object".
func faults(t *testing.T, b bench, ts ...tenant.Tenant) (out []string) {
	t.Helper()
	must(t, b.Verify(t.Context(), ts, nil, func(f tenant.Fault) {
		i := slices.IndexFunc(ts, func(one tenant.Tenant) bool { return one.ID == f.Tenant })
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", ts[i].Name, f.Rule, f.Object)))
		if f.Message == "" || f.Fix == "" && f.Hint == "" {
			t.Errorf("%s of %s has no message or no way out: %+v", f.Rule, ts[i].Name, f)
		}
		if strings.Contains(f.Object+f.Message, ts[i].Schema) {
			t.Errorf("%s names its tenant, so that it is like no other's: %q %q", f.Rule, f.Object, f.Message)
		}
	}))
	return out
}

// verified is a fleet of three, of which acme will be harmed. Its tables have row-level security.
func verified(t *testing.T) (b bench, ts []tenant.Tenant) {
	t.Helper()
	dir := copied(t, example)
	write(t, dir, "00006_rows.sql", "-- +goose Up\nALTER TABLE customers ENABLE ROW LEVEL SECURITY;\nCREATE POLICY everybody ON customers USING (true);")
	b = newBench(t, dir)
	for _, name := range []string{"acme", "globex", "initech"} {
		tn := b.tenant(name)
		tn.State = tenant.Active
		must(t, b.Create(t.Context(), tn))
		ts = append(ts, tn)
	}
	return b, ts
}

// TestEachSeededFaultIsFoundAndMendedWhereThatIsSafe harms acme in one way at a time. In the statements, S and R are acme's
// schema and role, G and H those of globex, and P is the provisioner. What is mended is gone by then; undo takes the rest back.
func TestEachSeededFaultIsFoundAndMendedWhereThatIsSafe(t *testing.T) {
	t.Parallel()
	b, ts := verified(t)
	super := b.super()
	as := func(format string) string {
		r := strings.NewReplacer("$S", ts[0].Schema, "$R", ts[0].Role, "$G", ts[1].Schema, "$H", ts[1].Role, "$P", b.pool.Config().ConnConfig.User, "$D", b.pool.Config().ConnConfig.Database, "$X", b.prefix+"other")
		return r.Replace(format)
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := super.Exec(t.Context(), as(sql)); err != nil {
			t.Fatalf("%v\n%s", err, as(sql))
		}
	}
	// From PostgreSQL 16 on the provisioning role takes no more than it has or has given; undo is then needed.
	from16 := func(undo string) string {
		if b.major() < 16 {
			return ""
		}
		return undo
	}
	join, leave := "GRANT $R TO $P", "REVOKE $R FROM $P"
	if b.major() >= 16 { // who has made a role is a member of it, without its rights
		join, leave = join+" WITH INHERIT TRUE, SET TRUE", join+" WITH INHERIT FALSE, SET FALSE"
	}
	exec("CREATE ROLE $X; CREATE SCHEMA $X")
	if found := faults(t, b, ts...); len(found) > 0 {
		t.Fatalf("a clean fleet has faults: %q", found)
	}
	for _, c := range []struct {
		name, harm string
		want       []string
		undo       string // where it is not mended; with superuser's rights
	}{
		{"a role that is missing", "DROP OWNED BY $R; DROP ROLE $R", []string{"missing-role"}, ""},
		{"a role without its mark", "COMMENT ON ROLE $R IS 'mine'", []string{"foreign-role"}, "COMMENT ON ROLE $R IS '" + mark(ts[0]) + "'"},
		{"a schema without its mark", "COMMENT ON SCHEMA $S IS NULL", []string{"foreign-schema"}, "COMMENT ON SCHEMA $S IS '" + mark(ts[0]) + "'"},
		{"a schema of another name", "ALTER SCHEMA $S RENAME TO ${S}_gone", []string{"missing-schema"}, "ALTER SCHEMA ${S}_gone RENAME TO $S"},
		{"a role that makes roles", "ALTER ROLE $R CREATEROLE", []string{"role-attributes"}, ""},
		{"a role that makes databases", "ALTER ROLE $R CREATEDB", []string{"role-attributes"}, from16("ALTER ROLE $R NOCREATEDB")},
		{"a role above row-level security", "ALTER ROLE $R BYPASSRLS", []string{"role-attributes"}, "ALTER ROLE $R NOBYPASSRLS"},
		{"a role that replicates", "ALTER ROLE $R REPLICATION", []string{"role-attributes"}, "ALTER ROLE $R NOREPLICATION"},
		{"a superuser", "ALTER ROLE $R SUPERUSER", []string{"role-attributes"}, "ALTER ROLE $R NOSUPERUSER"},
		{"a role that inherits", "ALTER ROLE $R INHERIT", []string{"role-attributes"}, ""},
		{"a role in another tenant's", "GRANT $H TO $R GRANTED BY $P", []string{"role-member"}, ""},
		{"a role that a superuser put there", "GRANT $H TO $R", []string{"role-member"}, from16("REVOKE $H FROM $R")},
		{"a role in the server's own", "GRANT pg_read_all_data TO $R", []string{"role-member"}, "REVOKE pg_read_all_data FROM $R"},
		{"a role with another search_path", "ALTER ROLE $R SET search_path = $S, public", []string{"role-search-path"}, ""},
		{"a role without a search_path", "ALTER ROLE $R RESET search_path", []string{"role-search-path"}, ""},
		{"a role that works as another", "ALTER ROLE $R SET role = $H", []string{"role-setting"}, ""},
		{"a role that works as another in this database", "ALTER ROLE $R IN DATABASE $D SET role = $H", []string{"role-setting"}, ""},
		{"a search_path for this database", "ALTER ROLE $R IN DATABASE $D SET search_path = $G", []string{"role-search-path"}, ""},
		{"an active tenant's role that cannot log in", "ALTER ROLE $R NOLOGIN", []string{"locked-out"}, ""},
		{"a password that ran out", "ALTER ROLE $R VALID UNTIL '2001-01-01'", []string{"locked-out"}, ""},
		{"a schema of another owner", "ALTER SCHEMA $S OWNER TO $X; GRANT $X TO $P", []string{"schema-owner"}, "ALTER SCHEMA $S OWNER TO $P"},
		{"a table that is the tenant's own", "ALTER TABLE $S.products OWNER TO $R; " + join, []string{"object-owner table products"}, "ALTER TABLE $S.products OWNER TO $P; " + leave},
		{"a function of another owner", "ALTER FUNCTION $S.keep_sent_orders OWNER TO $X", []string{"object-owner function keep_sent_orders()"}, ""},
		{"a schema for everybody", "GRANT USAGE ON SCHEMA $S TO PUBLIC", []string{"public-grant schema"}, ""},
		{"a table for everybody", "GRANT SELECT ON $S.orders TO PUBLIC", []string{"public-grant table orders"}, ""},
		{"a function for everybody", "GRANT EXECUTE ON FUNCTION $S.keep_sent_orders TO PUBLIC", []string{"public-grant function keep_sent_orders()"}, ""},
		{"a type for everybody", "GRANT USAGE ON TYPE $S.order_state TO PUBLIC", []string{"public-grant type order_state"}, ""},
		{"a sequence for everybody", "GRANT SELECT ON SEQUENCE $S.orders_id_seq TO PUBLIC", []string{"public-grant sequence orders_id_seq"}, ""},
		{"a table for another tenant", "GRANT SELECT ON $S.customers TO $H", []string{"foreign-grant table customers"}, ""},
		{"a column for another tenant", "GRANT SELECT (email) ON $S.customers TO $H", []string{"foreign-grant column customers.email"}, ""},
		{"a schema for another tenant", "GRANT USAGE ON SCHEMA $S TO $H", []string{"foreign-grant schema"}, ""},
		{"a schema that the tenant may create in", "GRANT CREATE ON SCHEMA $S TO $R", []string{"wide-grant schema"}, ""},
		{"a table that the tenant may empty", "GRANT TRUNCATE ON $S.orders TO $R", []string{"wide-grant table orders"}, ""},
		{"a right that may be passed on", "GRANT SELECT ON $S.orders TO $R WITH GRANT OPTION", []string{"wide-grant table orders"}, ""},
		{"a version book that the tenant may write", "GRANT UPDATE ON $S.goose_db_version TO $R", []string{"wide-grant table goose_db_version"}, ""},
		{"a table that the tenant may not write", "REVOKE INSERT, UPDATE ON $S.orders FROM $R", []string{"missing-grant table orders"}, ""},
		{"a schema that the tenant may not use", "REVOKE USAGE ON SCHEMA $S FROM $R", []string{"missing-grant schema"}, ""},
		{"a function that the tenant may not run", "REVOKE EXECUTE ON FUNCTION $S.keep_sent_orders FROM $R", []string{"missing-grant function keep_sent_orders()"}, ""},
		{"what is to come for another tenant", "ALTER DEFAULT PRIVILEGES FOR ROLE $P IN SCHEMA $S GRANT SELECT ON TABLES TO $H", []string{"default-privileges default privileges on tables"}, ""},
		{"what is to come for everybody", "ALTER DEFAULT PRIVILEGES FOR ROLE $P IN SCHEMA $S GRANT USAGE ON SEQUENCES TO PUBLIC", []string{"default-privileges default privileges on sequences"}, ""},
		{"what is to come not for the tenant", "ALTER DEFAULT PRIVILEGES FOR ROLE $P IN SCHEMA $S REVOKE DELETE ON TABLES FROM $R", []string{"default-privileges default privileges on tables"}, ""},
		{"a foreign key to another tenant", "ALTER TABLE $S.orders ADD CONSTRAINT far FOREIGN KEY (customer_id) REFERENCES $G.customers NOT VALID", []string{"reaches-out relation orders"}, "ALTER TABLE $S.orders DROP CONSTRAINT far"},
		{
			"a view of another tenant's table", "CREATE OR REPLACE VIEW $S.order_totals AS SELECT id, customer_id, state::text::$S.order_state AS state, 0::numeric AS total_cents FROM $G.orders",
			[]string{"reaches-out relation order_totals"},
			"CREATE OR REPLACE VIEW $S.order_totals AS SELECT o.id, o.customer_id, o.state, COALESCE(sum(l.quantity * l.price_cents), 0) AS total_cents FROM $S.orders o LEFT JOIN $S.order_lines l ON l.order_id = o.id GROUP BY o.id",
		},
		{"a trigger by another tenant's function", "CREATE TRIGGER far BEFORE INSERT ON $S.orders FOR EACH ROW EXECUTE FUNCTION $G.keep_sent_orders()", []string{"reaches-out relation orders"}, "DROP TRIGGER far ON $S.orders"},
		{"a default of another tenant's sequence", "ALTER TABLE $S.order_lines ALTER COLUMN position SET DEFAULT nextval('$G.orders_id_seq')", []string{"reaches-out relation order_lines"}, "ALTER TABLE $S.order_lines ALTER COLUMN position DROP DEFAULT"},
		{"a column of another tenant's type", "CREATE TABLE $X.t (s $S.order_state)", []string{"reached-into order_state"}, "DROP TABLE $X.t"},
		{"a view of the tenant's table outside", "CREATE VIEW $X.v AS SELECT id FROM $S.orders", []string{"reached-into orders"}, "DROP VIEW $X.v"},
		{"a table that inherits outside", "CREATE TABLE $X.child () INHERITS ($S.products)", []string{"reached-into products"}, "DROP TABLE $X.child"},
		{"a function with its owner's rights", "ALTER FUNCTION $S.keep_sent_orders SECURITY DEFINER", []string{"security-definer function keep_sent_orders()"}, "ALTER FUNCTION $S.keep_sent_orders SECURITY INVOKER"},
		{"one that is pinned", "ALTER FUNCTION $S.keep_sent_orders SECURITY DEFINER SET search_path = $S, pg_temp", []string{"security-definer-pinned function keep_sent_orders()"}, "ALTER FUNCTION $S.keep_sent_orders SECURITY INVOKER RESET search_path"},
		{"a function that looks elsewhere", "ALTER FUNCTION $S.keep_sent_orders SET search_path = public, $S", []string{"unsafe-search-path function keep_sent_orders()"}, "ALTER FUNCTION $S.keep_sent_orders RESET search_path"},
		{"an index that is not valid", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '$S.orders_customer'::regclass", []string{"invalid-index index orders_customer"}, "UPDATE pg_index SET indisvalid = true WHERE indexrelid = '$S.orders_customer'::regclass"},
		{"row-level security that is off", "ALTER TABLE $S.customers DISABLE ROW LEVEL SECURITY", []string{"row-security-off table customers"}, "ALTER TABLE $S.customers ENABLE ROW LEVEL SECURITY"},
	} {
		exec(strings.ReplaceAll(c.harm, "${S}", "$S"))
		var want []string
		for _, w := range c.want {
			want = append(want, "acme "+w)
		}
		if found := faults(t, b, ts...); !slices.Equal(found, want) {
			t.Errorf("%s: found %q, want %q", c.name, found, want)
		}
		if c.undo == "" || c.want[0] == "schema-owner" || strings.HasPrefix(c.want[0], "object-owner") {
			if changed, err := b.Mend(t.Context(), ts[0]); err != nil || !changed {
				t.Errorf("%s: mending it says changed %v: %v", c.name, changed, err)
			}
		} else {
			if changed, err := b.Mend(t.Context(), ts[0]); c.want[0] != "role-member" && (err != nil || changed) {
				t.Errorf("%s: it is not to be mended, and was: changed %v: %v", c.name, changed, err)
			}
		}
		if c.undo != "" {
			exec(strings.ReplaceAll(c.undo, "${S}", "$S"))
		}
		if found := faults(t, b, ts...); len(found) > 0 {
			t.Fatalf("%s: still found when it was put right: %q", c.name, found)
		}
		if changed, err := b.Mend(t.Context(), ts[0]); err != nil || changed {
			t.Errorf("%s: mending again says changed %v: %v", c.name, changed, err)
		}
	}
}

func TestWhatTheProvisionerMayTakeIsTakenAndTheRestIsLeftToASuperuser(t *testing.T) {
	t.Parallel()
	b, ts := verified(t)
	_, err := b.super().Exec(t.Context(), "ALTER ROLE "+ts[0].Role+" CREATEROLE INHERIT BYPASSRLS")
	must(t, err)
	changed, err := b.Mend(t.Context(), ts[0])
	must(t, err)
	var left []string
	must(t, b.Verify(t.Context(), ts, nil, func(f tenant.Fault) { left = append(left, f.Message+"; "+f.Hint) }))
	if len(left) != 1 || !changed || !strings.HasPrefix(left[0], "the role has BYPASSRLS; let a superuser") {
		t.Errorf("mending it says changed %v and leaves %q", changed, left)
	}
}

func TestStructuresAreTheFingerprintsOfBackups(t *testing.T) {
	t.Parallel()
	b, ts := verified(t)
	b.exec("ALTER TABLE %s.products ADD COLUMN extra int", ts[1].Schema)
	b.exec("CREATE FUNCTION %s.here() RETURNS text LANGUAGE sql AS $$SELECT email FROM %[1]s.customers LIMIT 1$$", ts[2].Schema)
	conn, err := b.acquire(t.Context())
	must(t, err)
	defer conn.Release()
	var want []string
	for _, tn := range ts {
		s, _, err := b.inspect(t.Context(), conn, tn)
		must(t, err)
		want = append(want, s.fingerprint)
	}
	// One that is gone does not disturb the others.
	got, err := b.Structures(t.Context(), []tenant.Tenant{ts[0], b.tenant("nobody"), ts[1], ts[2]})
	must(t, err)
	if !slices.Equal(got, []string{want[0], "", want[1], want[2]}) || want[0] == want[1] {
		t.Errorf("the fingerprints are %q, and those of backups %q", got, want)
	}
	for range 3 { // each connection of the pool is as it was
		if path := b.scalar("SELECT current_setting('search_path') || (SELECT count(*) FROM pg_prepared_statements)"); path != `"$user", public0` {
			t.Errorf("a session is left with %s", path)
		}
	}
}

func TestTenantsWithoutRolesHaveNoFaultsOfRoles(t *testing.T) {
	t.Parallel()
	b := newBench(t, example, func(c *Config) { c.Roles = false })
	tn := b.tenant("acme")
	tn.State = tenant.Active
	must(t, b.Create(t.Context(), tn))
	if found := faults(t, b, tn); len(found) > 0 {
		t.Errorf("a clean tenant has faults: %q", found)
	}
	b.exec("GRANT SELECT ON %s.orders TO PUBLIC", tn.Schema)
	if found := faults(t, b, tn); !slices.Equal(found, []string{"acme public-grant table orders"}) {
		t.Errorf("found %q", found)
	}
}

func TestNamesThatNeedQuotesAreFoundAndMended(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, `CREATE TABLE "Odd; ""Name" ("Äm n" text); CREATE TYPE "a b" AS ENUM ('x'); CREATE SEQUENCE "s.q";
-- +goose StatementBegin
CREATE FUNCTION "F x"(a "a b", b text DEFAULT '; DROP') RETURNS void LANGUAGE sql AS 'SELECT';
-- +goose StatementEnd
`))
	tn := b.tenant("acme")
	tn.State = tenant.Active
	must(t, b.Create(t.Context(), tn))
	if found := faults(t, b, tn); len(found) > 0 {
		t.Fatalf("a clean tenant has faults: %q", found)
	}
	b.exec(`SET search_path = %s; GRANT SELECT ON "Odd; ""Name" TO PUBLIC; GRANT UPDATE ("Äm n") ON "Odd; ""Name" TO PUBLIC; REVOKE USAGE ON TYPE "a b" FROM %[2]s;
		GRANT USAGE ON SEQUENCE "s.q" TO PUBLIC; GRANT EXECUTE ON FUNCTION "F x" TO PUBLIC; RESET search_path`, tn.Schema, tn.Role)
	want := []string{
		`acme public-grant column "Odd; ""Name"."Äm n"`, `acme public-grant function "F x"(a "a b", b text)`, `acme public-grant sequence "s.q"`,
		`acme public-grant table "Odd; ""Name"`, `acme missing-grant type "a b"`,
	}
	found := faults(t, b, tn)
	slices.Sort(found)
	slices.Sort(want)
	if !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
	changed, err := b.Mend(t.Context(), tn)
	must(t, err)
	if found := faults(t, b, tn); !changed || len(found) > 0 {
		t.Errorf("mending it says changed %v and leaves %q", changed, found)
	}
}

func TestOneSchemaThatChangesMeanwhileDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	b, ts := verified(t)
	want, err := b.Structures(t.Context(), ts[:1])
	must(t, err)
	super, stop, stopped := b.super(), make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if _, err := super.Exec(t.Context(), strings.ReplaceAll("CREATE VIEW $.v AS SELECT * FROM $.orders; CREATE FUNCTION $.f(a $.order_state) RETURNS void LANGUAGE sql AS 'SELECT'", "$", ts[1].Schema)); err != nil {
				stopped <- err
				return
			}
			if _, err := super.Exec(t.Context(), strings.ReplaceAll("DROP VIEW $.v; DROP FUNCTION $.f", "$", ts[1].Schema)); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 40 {
		got, err := b.Structures(t.Context(), []tenant.Tenant{ts[1], ts[0], ts[2]})
		var away tenant.Unreadable
		if errors.As(err, &away) && len(away) == 1 && away[ts[1].ID] != nil { // it was locked for too long, and the others can be asked for alone
			got, err = b.Structures(t.Context(), []tenant.Tenant{ts[0], ts[2]})
			got = append([]string{""}, got...)
		}
		must(t, err)
		if got[1] != want[0] || got[2] != want[0] {
			t.Fatalf("the fingerprints are %q, want the last two to be %s", got, want[0])
		}
	}
	close(stop)
	must(t, <-stopped)
}
