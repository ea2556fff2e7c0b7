package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// Ten tenants, each with a connection and a password of its own, try everything of each other's.
func TestTenantsReachOnlyTheirOwnSchema(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	var tenants []tenant.Tenant
	var conns []*pgx.Conn
	for i := range 10 {
		tn := b.created(fmt.Sprintf("acme-%d", i))
		conn := b.as(tn)
		_, err := conn.Exec(t.Context(), "INSERT INTO customers (email, name) VALUES ($1, 'me')", tn.Name)
		must(t, err)
		tenants, conns = append(tenants, tn), append(conns, conn)
	}
	refusals := 0
	for i, conn := range conns {
		if got := scalar(t, conn, "SELECT string_agg(email, ',') FROM customers"); got != string(tenants[i].Name) {
			t.Errorf("%s reads %q of its own", tenants[i].Name, got)
		}
		for j, other := range tenants {
			if i == j {
				continue
			}
			for _, sql := range []string{
				"SELECT * FROM %s.customers", "INSERT INTO %s.customers (email, name) VALUES ('x', 'y')", "UPDATE %s.customers SET name = 'x'",
				"DELETE FROM %s.customers", "TRUNCATE %s.customers", "SELECT nextval('%s.customers_id_seq')", "SELECT * FROM %s.goose_db_version",
				"SELECT %s.keep_sent_orders()", "SELECT 'open'::%s.order_state", "CREATE TABLE %s.mine (id int)", "GRANT USAGE ON SCHEMA %s TO CURRENT_USER",
				"ALTER ROLE %s PASSWORD 'x'", "DROP ROLE %s", "GRANT %s TO CURRENT_USER", "SET ROLE %s",
			} {
				denied(t, conn, fmt.Sprintf(sql, other.Schema))
				refusals++
			}
			_, err := conn.Exec(t.Context(), "DROP SCHEMA "+other.Schema+" CASCADE")
			if code(err) != insufficientRights {
				t.Errorf("drop of another's schema: %v", err)
			}
			_, err = conn.Exec(t.Context(), "SET search_path = "+other.Schema)
			must(t, err)
			if _, err := conn.Exec(t.Context(), "SELECT * FROM customers"); code(err) != undefinedTable {
				t.Errorf("with the search_path of another: %v", err)
			}
		}
	}
	t.Logf("%d statements were refused", refusals)
}

func TestTenantUsesItsSchemaAndOwnsNothing(t *testing.T) {
	t.Parallel()
	dir := copied(t, example)
	b := newBench(t, dir)
	tn := b.created("acme")
	conn := b.as(tn)
	if path := scalar(t, conn, "current_setting('search_path')"); path != tn.Schema {
		t.Errorf("search_path is %s", path)
	}
	for _, sql := range []string{
		"INSERT INTO customers (email, name) VALUES ('a', 'b')", "INSERT INTO orders (customer_id) VALUES (1)", "UPDATE orders SET state = 'paid'",
		"DELETE FROM orders", "SELECT * FROM order_totals", "SELECT nextval('customers_id_seq')", "SELECT 'paid'::order_state", "SELECT * FROM goose_db_version",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	for _, sql := range []string{
		"CREATE TABLE mine (id int)", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP TABLE orders", "ALTER TABLE orders ADD COLUMN x int",
		"TRUNCATE orders", "CREATE INDEX ON orders (id)", "DROP SCHEMA " + tn.Schema, "ALTER SCHEMA " + tn.Schema + " RENAME TO x",
		"INSERT INTO goose_db_version (version_id, is_applied) VALUES (9, true)", "UPDATE goose_db_version SET is_applied = false",
		"DELETE FROM goose_db_version", "SELECT nextval('goose_db_version_id_seq')", "CREATE ROLE more", "CREATE SCHEMA more", "CREATE DATABASE more",
		"COMMENT ON SCHEMA " + tn.Schema + " IS 'x'", "COMMENT ON TABLE goose_db_version IS 'x'", "ALTER DEFAULT PRIVILEGES FOR ROLE " + b.prefix + "provisioner GRANT ALL ON TABLES TO PUBLIC",
	} {
		denied(t, conn, sql)
	}
	if n := b.scalar("SELECT count(*) FROM pg_shdepend WHERE deptype = 'o' AND refobjid = '%s'::regrole", tn.Role); n != "0" {
		t.Errorf("the role owns %s objects", n)
	}
	if flags := b.scalar("SELECT concat(rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls) FROM pg_roles WHERE rolname = '%s'", tn.Role); flags != "fffff" {
		t.Errorf("the role's powers are %s", flags)
	}

	// What a later migration makes can be used at once, in a session that was open before.
	write(t, dir, "00006_more.sql", `-- +goose Up
CREATE TABLE later (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, mood text);
CREATE TYPE mood AS ENUM ('good');
CREATE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT 42';
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
-- +goose StatementBegin
CREATE PROCEDURE nothing() LANGUAGE plpgsql AS $$ BEGIN END $$;
-- +goose StatementEnd`)
	up(t, b.over(dir), tn)
	for _, sql := range []string{"INSERT INTO later (mood) VALUES ('x')", "SELECT answer()", "SELECT 'good'::mood", "SELECT 1::positive", "CALL nothing()"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestNothingIsGrantedToPublic(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	b.exec("ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC")
	tn := b.created("acme")
	for what, sql := range map[string]string{
		"schema":   "has_schema_privilege('public', '%s', 'USAGE') OR has_schema_privilege('public', '%[1]s', 'CREATE')",
		"tables":   "SELECT bool_or(has_table_privilege('public', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')) FROM pg_class WHERE relnamespace = '%s'::regnamespace AND relkind IN ('r', 'v')",
		"routines": "SELECT bool_or(has_function_privilege('public', oid, 'EXECUTE')) FROM pg_proc WHERE pronamespace = '%s'::regnamespace",
		"types":    "SELECT bool_or(has_type_privilege('public', oid, 'USAGE')) FROM pg_type WHERE typnamespace = '%s'::regnamespace AND typtype IN ('e', 'd')",
	} {
		if got := b.scalar(sql, tn.Schema); got != "false" {
			t.Errorf("%s granted to PUBLIC: %s", what, got)
		}
	}
}

func TestMissingRightsNameTheGrant(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	admin := b.super()
	user, database := b.prefix+"provisioner", b.prefix+"db"
	old := b.created("old")
	run := func(sql string) {
		t.Helper()
		_, err := admin.Exec(t.Context(), sql)
		must(t, err)
	}
	run("REVOKE CREATE ON DATABASE " + database + " FROM " + user)
	refused(t, b.Create(t.Context(), b.tenant("acme")), tenant.ErrRights, "permission denied", fmt.Sprintf(`GRANT CREATE ON DATABASE "%s" TO "%s"`, database, user))
	run("GRANT CREATE ON DATABASE " + database + " TO " + user)
	run("ALTER ROLE " + user + " NOCREATEROLE")
	tn := b.tenant("acme")
	refused(t, b.Create(t.Context(), tn), tenant.ErrRights, fmt.Sprintf(`ALTER ROLE "%s" CREATEROLE`, user))
	_, err := b.Lock(t.Context(), old)
	refused(t, err, tenant.ErrRights, "lock role", "CREATEROLE")
	refused(t, b.SetPassword(t.Context(), old, password, nil), tenant.ErrRights, "CREATEROLE")
	must(t, b.over(example, func(c *Config) { c.Roles = false }).Create(t.Context(), tn))
	run("ALTER ROLE " + user + " CREATEROLE")
	must(t, b.Create(t.Context(), tn)) // the role that was left out
	if conn := b.as(tn); scalar(t, conn, "SELECT count(*) FROM customers") != "0" {
		t.Error("the table has rows")
	}
	denied(t, b.as(tn), "DELETE FROM goose_db_version")

	run("CREATE ROLE " + b.prefix + "other")
	run("ALTER SCHEMA " + old.Schema + " OWNER TO " + b.prefix + "other")
	_, err = b.Up(t.Context(), old, 5, false)
	refused(t, err, tenant.ErrRights, "no right to use schema "+old.Schema)
	refused(t, b.Drop(t.Context(), old), tenant.ErrRights, "drop schema "+old.Schema, "GRANT the role that owns schema")
	run("ALTER SCHEMA " + old.Schema + " OWNER TO " + user)
	must(t, b.Drop(t.Context(), old))
}

func TestForeignRoleIsRefusedAndLeft(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.tenant("acme")
	b.exec("CREATE ROLE %s NOLOGIN", tn.Role)
	refused(t, b.Create(t.Context(), tn), tenant.ErrForeign, "role "+tn.Role, "RENAME TO")
	st, err := b.Stat(t.Context(), tn)
	must(t, err)
	if st.Presence != tenant.Foreign || fmt.Sprint(st.Remains) != "[role "+tn.Role+"]" || len(st.Users) != 0 {
		t.Errorf("stat is %+v", st)
	}
	refused(t, b.Drop(t.Context(), tn), tenant.ErrForeign, "role "+tn.Role)
	refused(t, b.SetPassword(t.Context(), tn, password, nil), tenant.ErrForeign)
	if got := b.scalar("SELECT concat(count(*), bool_or(rolcanlogin)) FROM pg_roles WHERE rolname = '%s'", tn.Role); got != "1f" {
		t.Errorf("the role was changed: %s", got)
	}
	without := b.over(example, func(c *Config) { c.Roles = false })
	must(t, without.Create(t.Context(), tn))
	if st, err := without.Stat(t.Context(), tn); err != nil || st.Presence != tenant.Ours || len(st.Remains) != 1 || len(st.Users) != 0 || len(st.Notes) != 1 {
		t.Errorf("without roles, stat is %+v, %v", st, err)
	}
	if enforced, err := without.Lock(t.Context(), tn); enforced || err != nil {
		t.Errorf("without roles, lock is %t, %v", enforced, err)
	}
	refused(t, without.SetPassword(t.Context(), tn, password, nil), tenant.ErrUnsupported, "postgres.roles")
	_, err = b.Lock(t.Context(), tn)
	refused(t, err, tenant.ErrForeign)
	must(t, without.Drop(t.Context(), tn))
	b.exec("DROP ROLE %s", tn.Role)
}

func TestLockEndsSessionsAndShutsTheDoor(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn, other := b.created("acme"), b.created("globex")
	conn, bystander := b.as(tn), b.as(other)
	secret := scalar(t, b.super(), "SELECT rolpassword FROM pg_authid WHERE rolname = '"+tn.Role+"'")
	enforced, err := b.Lock(t.Context(), tn)
	must(t, err)
	if !enforced {
		t.Error("the lock is not enforced")
	}
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a session of the tenant's goes on")
	}
	cfg := conn.Config().Copy()
	if again, err := pgx.ConnectConfig(t.Context(), cfg); code(err) != invalidLogin {
		t.Errorf("a locked tenant logs in: %v, %v", again, err)
	}
	if _, err := bystander.Exec(t.Context(), "SELECT * FROM customers"); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	if got := b.scalar("has_schema_privilege('%s', '%s', 'USAGE')", tn.Role, tn.Schema); got != "false" {
		t.Error("the role still may use the schema")
	}
	must(t, b.Unlock(t.Context(), tn))
	if now := scalar(t, b.super(), "SELECT rolpassword FROM pg_authid WHERE rolname = '"+tn.Role+"'"); now != secret {
		t.Error("the password is another one")
	}
	back, err := pgx.ConnectConfig(t.Context(), cfg)
	must(t, err)
	defer back.Close(t.Context())
	if scalar(t, back, "SELECT count(*) FROM customers") != "0" {
		t.Error("the table has rows")
	}
	must(t, b.Drop(t.Context(), tn)) // with a session open
	if _, err := back.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a session of a dropped tenant's goes on")
	}
}

func TestPasswordNeverReachesTheServer(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	var heard strings.Builder
	spied := b.at(pooler{backends: 1, version: "15.0", heard: func(m message) { heard.Write(m.raw) }}.start(t, b.cfg.URL))
	must(t, spied.SetPassword(t.Context(), tn, password, nil))
	spied.pool.Close()
	if strings.Contains(heard.String(), password) || !strings.Contains(heard.String(), "SCRAM-SHA-256$4096:") {
		t.Errorf("what was sent is %s", heard.String())
	}
	first := scalar(t, b.super(), "SELECT rolpassword FROM pg_authid WHERE rolname = '"+tn.Role+"'")
	b.as(tn) // logs in
	if again := scalar(t, b.super(), "SELECT rolpassword FROM pg_authid WHERE rolname = '"+tn.Role+"'"); again == first {
		t.Error("two verifiers have the same salt")
	}
	e := refused(t, b.SetPassword(t.Context(), b.tenant("missing"), password, nil), tenant.ErrMissing, "role")
	if strings.Contains(e.Msg, password) {
		t.Errorf("the password is in %q", e.Msg)
	}
}

func TestNoPasswordMeansNoLogin(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	cfg := b.pool.Config().ConnConfig.Copy()
	for _, guess := range []string{"", tn.Role, "provisioner-secret"} {
		cfg.User, cfg.Password = tn.Role, guess
		if _, err := pgx.ConnectConfig(t.Context(), cfg); code(err) != invalidPassword {
			t.Errorf("with password %q: %v", guess, err)
		}
	}
}
