package schema

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// letsThrough gives the kinds of attempt that got through.
func (b bench) letsThrough(a tenant.Tenant, others ...tenant.Tenant) []string {
	b.t.Helper()
	var got []string
	refusals := 0
	must(b.t, b.Probe(b.t.Context(), a, others, func(at tenant.Attempt) {
		switch {
		case at.Outcome == tenant.AttemptRefused:
			refusals++
		case !slices.Contains(got, at.What):
			got = append(got, at.What)
		}
	}))
	if refusals < 25 {
		b.t.Errorf("only %d attempts were refused", refusals)
	}
	return got
}

// Each grant too many is found by the attempt that it lets through, and nothing is changed by that.
func TestAProbeFindsEachGrantTooMany(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	a, o := b.created("acme"), b.created("globex")
	if got := b.letsThrough(a, o); len(got) > 0 {
		t.Errorf("with the grants of create, these got through: %v", got)
	}
	super := b.super()
	run := func(sql string) {
		t.Helper()
		_, err := super.Exec(t.Context(), sql)
		must(t, err)
	}
	run("INSERT INTO " + o.Schema + ".customers (email, name) VALUES ('x', 'y')")
	open, shut := "GRANT USAGE ON SCHEMA "+o.Schema+" TO "+a.Role, "REVOKE USAGE ON SCHEMA "+o.Schema+" FROM "+a.Role
	for _, c := range []struct{ grant, revoke, finds string }{
		{open + "; GRANT SELECT ON " + o.Schema + ".customers TO " + a.Role, "REVOKE ALL ON " + o.Schema + ".customers FROM " + a.Role + ";" + shut, "read another tenant's rows"},
		{open + "; GRANT INSERT ON " + o.Schema + ".customers TO PUBLIC", "REVOKE ALL ON " + o.Schema + ".customers FROM PUBLIC;" + shut, "insert into another tenant's table"},
		{open + "; GRANT UPDATE ON " + o.Schema + ".customers TO " + a.Role, "REVOKE ALL ON " + o.Schema + ".customers FROM " + a.Role + ";" + shut, "update another tenant's table"},
		{open + "; GRANT DELETE ON " + o.Schema + ".customers TO " + a.Role, "REVOKE ALL ON " + o.Schema + ".customers FROM " + a.Role + ";" + shut, "delete from another tenant's table"},
		{open, shut, "use any other tenant's schema"},
		{"GRANT CREATE, USAGE ON SCHEMA " + o.Schema + " TO " + a.Role, "REVOKE CREATE, USAGE ON SCHEMA " + o.Schema + " FROM " + a.Role, "create in another tenant's schema"},
		{"GRANT " + o.Role + " TO " + a.Role, "REVOKE " + o.Role + " FROM " + a.Role, "become another tenant"},
		{"ALTER ROLE " + a.Role + " CREATEROLE", "ALTER ROLE " + a.Role + " NOCREATEROLE", "create a role"},
		{"GRANT CREATE ON DATABASE " + b.prefix + "db TO " + a.Role, "REVOKE CREATE ON DATABASE " + b.prefix + "db FROM " + a.Role, "create a schema"},
		{"GRANT CREATE ON SCHEMA public TO PUBLIC", "REVOKE CREATE ON SCHEMA public FROM PUBLIC", "create in the schema public"},
		{"ALTER ROLE " + a.Role + " INHERIT; GRANT pg_read_server_files TO " + a.Role, "REVOKE pg_read_server_files FROM " + a.Role, "be a member of another role"},
		{"GRANT pg_write_server_files TO " + a.Role, "REVOKE pg_write_server_files FROM " + a.Role, "write a file on the server"},
		{"GRANT pg_execute_server_program TO " + a.Role, "REVOKE pg_execute_server_program FROM " + a.Role + "; ALTER ROLE " + a.Role + " NOINHERIT", "run a program on the server"},
		{"GRANT SELECT ON pg_catalog.pg_authid TO PUBLIC", "REVOKE SELECT ON pg_catalog.pg_authid FROM PUBLIC", "read passwords"},
		{"GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO " + a.Role, "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) FROM " + a.Role, "read a file of the server"},
		{"CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public", "DROP EXTENSION dblink", "connect elsewhere from the server"},
	} {
		run(c.grant)
		if got := b.letsThrough(a, o); !slices.Contains(got, c.finds) {
			t.Errorf("after %s, %q is not found but %v", c.grant, c.finds, got)
		}
		run(c.revoke)
	}
	if got := b.letsThrough(a, o); len(got) > 0 {
		t.Errorf("with all taken back, these got through: %v", got)
	}
	if n := b.scalar("SELECT count(*) FROM %s.customers WHERE name = 'y'", o.Schema); n != "1" {
		t.Errorf("the other tenant has %s of its rows", n)
	}
	if n := b.scalar("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, '%s') AND rolname LIKE '%%probe%%'", b.prefix); n != "0" {
		t.Errorf("%s roles are left", n)
	}
}

// On a server of its own: every role of a server may read what is set for others, and so would the probes of other tests.
func TestAProbeFindsSettingsOfOtherRoles(t *testing.T) {
	t.Parallel()
	server := tenanttest.PostgresServer(t)
	b := newBench(t, example, func(c *Config) { c.URL = server.URL() })
	a, o := b.created("acme"), b.created("globex")
	b.exec("ALTER ROLE %s SET app.key = 'secret'", o.Role)
	if got := b.letsThrough(a, o); !slices.Contains(got, "read settings of other roles") {
		t.Errorf("found are only %v", got)
	}
}

func TestAProbeLeavesTheTenantsPasswordAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	a := b.created("acme")
	must(t, b.SetPassword(t.Context(), a, password, nil))
	secret := func() string {
		var s string
		must(t, b.super().QueryRow(t.Context(), "SELECT rolpassword FROM pg_authid WHERE rolname = $1", a.Role).Scan(&s))
		return s
	}
	before := secret()
	b.letsThrough(a, b.created("globex"))
	if secret() != before {
		t.Error("the tenant's password was changed")
	}
}

// A login that a killed probe has left ends by itself, and goes with the next probe, but not while its own one is alive.
func TestOnlyLoginsOfEndedProbesAreSwept(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	a := b.created("acme")
	left, err := b.lend(t.Context(), a)
	must(t, err)
	ended := uuid.New() // probes of other tests are on the same server
	_, err = b.super().Exec(t.Context(), "COMMENT ON ROLE "+quote(left.role)+" IS "+text(probing.mark+ended.String()))
	must(t, err)
	conn, err := left.connect(t.Context(), b.pool.Config().ConnConfig)
	must(t, err)
	defer conn.Close(t.Context())
	there := func() string {
		return b.scalar("SELECT count(*) FROM pg_roles WHERE rolname = '%s' AND rolvaliduntil < now() + interval '16 minutes' AND rolvaliduntil > now()", left.role)
	}
	must(t, b.Sweep(t.Context(), func(uuid.UUID) (bool, error) { return false, nil }))
	if there() != "1" {
		t.Fatal("the login of a probe that is alive is gone, or has no end")
	}
	must(t, b.Sweep(t.Context(), func(id uuid.UUID) (bool, error) { return id == ended, nil }))
	if there() != "0" {
		t.Error("the login of a probe that has ended is left")
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("its session is left")
	}
}
