package schema

import (
	"slices"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// owned is an adopted tenant whose schema belongs to a role of its own that can log in, and an application's login beside it.
func owned(t *testing.T, b bench, name string) (tn tenant.Tenant, owner, app string) {
	t.Helper()
	tn, owner, app = b.tenant(name), b.prefix+name+"_owner", b.prefix+name+"_app"
	tn.State, tn.Adopted, tn.Role = tenant.Active, true, ""
	super, grant := b.super(), ""
	if b.major() >= 16 {
		grant = " WITH ADMIN TRUE, INHERIT TRUE, SET TRUE"
	}
	for _, sql := range []string{
		"CREATE ROLE " + quote(owner) + " LOGIN PASSWORD '" + password + "'", "CREATE ROLE " + quote(app) + " LOGIN PASSWORD '" + password + "'",
		"GRANT " + quote(owner) + " TO " + quote(b.pool.Config().ConnConfig.User) + grant,
		"CREATE SCHEMA " + quote(tn.Schema) + " AUTHORIZATION " + quote(owner), "COMMENT ON SCHEMA " + quote(tn.Schema) + " IS " + text(mark(tn)),
		"GRANT USAGE ON SCHEMA " + quote(tn.Schema) + " TO " + quote(app), "SET ROLE " + quote(owner), "SET search_path = " + quote(tn.Schema),
		"ALTER DEFAULT PRIVILEGES IN SCHEMA " + quote(tn.Schema) + " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO " + quote(app),
		"CREATE TABLE orders (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, n int)", "INSERT INTO orders (n) SELECT 1 FROM generate_series(1, 5)",
	} {
		if _, err := super.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
	}
	return tn, owner, app
}

func TestVerifyFindsWhatTheApplicationOfAnAdoptedTenantCannotUse(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, "SELECT 1;"))
	tn, owner, app := owned(t, b, "acme")
	super, provisioner := b.super(), quote(b.pool.Config().ConnConfig.User)
	exec := func(sql string) {
		t.Helper()
		if _, err := super.Exec(t.Context(), "RESET ROLE; SET search_path = "+quote(tn.Schema)+"; "+sql); err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
	}
	if found := faults(t, b, tn); len(found) > 0 {
		t.Fatalf("an adopted schema that is well has faults: %q", found)
	}
	for _, c := range []struct {
		name, harm string
		want       []string
		undo       string // where it is not mended
	}{
		{
			"a table that the provisioner has made", "CREATE TABLE late (id int GENERATED ALWAYS AS IDENTITY); ALTER TABLE late OWNER TO " + provisioner,
			[]string{"acme application-access table late", "acme application-access table late", "acme object-owner table late"},
			"",
		},
		{"a function that the provisioner has made", "CREATE FUNCTION two() RETURNS int LANGUAGE sql AS 'SELECT 2'; ALTER FUNCTION two OWNER TO " + provisioner, []string{"acme object-owner function two()"}, ""},
		{"a table of somebody else", "CREATE TABLE other (id int)", []string{"acme application-access table other", "acme application-access table other"}, "DROP TABLE other"},
		{"a table without rights for the application", "SET ROLE " + quote(owner) + "; CREATE TABLE own (id int); REVOKE ALL ON own FROM " + quote(app), []string{"acme application-without-rights table own"}, "DROP TABLE own"},
		{"a table that is to be read only", "SET ROLE " + quote(owner) + "; CREATE TABLE log (id int); REVOKE UPDATE, DELETE ON log FROM " + quote(app), nil, "DROP TABLE log"},
	} {
		exec(c.harm)
		if found := faults(t, b, tn); !slices.Equal(found, c.want) {
			t.Errorf("%s: found %q, want %q", c.name, found, c.want)
		}
		if c.undo != "" {
			exec(c.undo)
			continue
		}
		if _, err := b.Mend(t.Context(), tn); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if found := faults(t, b, tn); len(found) > 0 {
			t.Errorf("%s: after the mending there is %q", c.name, found)
		}
	}
	if owns := b.scalar("SELECT string_agg(pg_get_userbyid(relowner), ',') FROM pg_class WHERE oid = '%s.late'::regclass", quote(tn.Schema)); owns != owner {
		t.Errorf("the table belongs to %s, not to the schema's owner", owns)
	}
	if can := b.scalar("SELECT has_table_privilege('%s', '%s.late', 'INSERT')", app, quote(tn.Schema)); can != "true" {
		t.Error("the application cannot use the table that was mended")
	}
}
