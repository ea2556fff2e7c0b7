package schema

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// ownersFiles are migrations of a tenant whose first one another tool has applied.
func ownersFiles(t *testing.T) string {
	t.Helper()
	return folder(t, map[string]string{
		"00001_orders.sql":   "-- +goose Up\nCREATE TABLE orders (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, n int);",
		"00002_invoices.sql": "-- +goose Up\nCREATE TABLE invoices (id bigint PRIMARY KEY, n int);\nALTER TABLE orders ADD COLUMN z int DEFAULT 1;\nUPDATE orders SET n = n + 1;\n-- +goose Down\nDROP TABLE invoices;\nALTER TABLE orders DROP COLUMN z;",
		"00004_view.sql":     "-- +goose Up\nCREATE FUNCTION two() RETURNS int LANGUAGE sql AS 'SELECT 2';\nCREATE VIEW totals AS SELECT sum(n) AS n, two() FROM orders;\n-- +goose Down\nDROP VIEW totals;\nDROP FUNCTION two();",
	})
}

// notOwners lists what is in the schema and is not its owner's.
func (b bench) notOwners(tn tenant.Tenant) string {
	return b.scalar(`SELECT string_agg(n.nspname || '.' || o.name, ' ') FROM pg_namespace n JOIN (
		SELECT relnamespace, relname, relowner FROM pg_class UNION ALL SELECT pronamespace, proname, proowner FROM pg_proc) o(nsp, name, owner) ON o.nsp = n.oid
		WHERE n.nspname = '%s' AND o.owner <> n.nspowner`, tn.Schema)
}

// logins counts the logins that were made for a while.
func (b bench) logins(tn tenant.Tenant) string {
	return b.scalar(`SELECT count(*) FROM pg_roles WHERE starts_with(rolname, '%s$')`, tn.Schema)
}

// adopted enters an adopted tenant into the catalog, and carries a lease for it.
func (l catalog) adopted(tn tenant.Tenant) context.Context {
	l.t.Helper()
	l.exec("INSERT INTO tenantctl.tenants (id, name, state, schema_name, database_name, role_name, adopted) VALUES ('%s', '%s', 'active', '%s', '%s', NULL, true)", tn.ID, tn.Name, tn.Schema, tn.Database)
	return l.ctx(1)
}

// loginAs is a connection of a role that owned has made.
func (b bench) loginAs(role string) *pgx.Conn {
	b.t.Helper()
	cfg := b.pool.Config().ConnConfig.Copy()
	cfg.User, cfg.Password = role, password
	conn, err := pgx.ConnectConfig(b.t.Context(), cfg)
	must(b.t, err)
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestMigrationsLeaveAnAdoptedTenantToItsOwner(t *testing.T) {
	t.Parallel()
	b := newBench(t, ownersFiles(t))
	l := b.catalog()
	tn, owner, app := owned(t, b, "acme")
	ctx := l.adopted(tn)
	if _, err := b.Baseline(ctx, tn, 1, false); err != nil {
		t.Fatal(err)
	}
	asOwner, asApp := b.loginAs(owner), b.loginAs(app)
	readable := func(when string) {
		t.Helper()
		if others := b.notOwners(tn); others != "" {
			t.Errorf("%s these are not the owner's: %s", when, others)
		}
		for who, conn := range map[string]tenant.DB{"owner": asOwner, "application": asApp} {
			if n := scalar(t, conn, "SELECT count(*) FROM "+quote(tn.Schema)+".orders"); n != "5" {
				t.Errorf("%s the %s reads %s orders", when, who, n)
			}
		}
		if n := b.logins(tn); n != "0" {
			t.Errorf("%s there are %s logins", when, n)
		}
	}
	recorded := func(version string) {
		t.Helper()
		if v := b.scalar("SELECT version FROM tenantctl.versions WHERE tenant_id = '%s'", tn.ID); v != version {
			t.Errorf("the catalog records version %s, want %s", v, version)
		}
	}
	readable("after the baseline")
	moved, err := b.Up(ctx, tn, tenant.Newest, false)
	must(t, err)
	if moved.From != 1 || moved.To != 4 || moved.Applied != 3 {
		t.Errorf("it moved %+v", moved)
	}
	readable("after the migration")
	recorded("4")
	if can := scalar(t, asApp, "SELECT count(*) FROM "+quote(tn.Schema)+".invoices"); can != "0" {
		t.Error("the application cannot read what the migration has made")
	}
	if public := b.scalar("SELECT has_function_privilege('public', '%s.two()', 'EXECUTE')", quote(tn.Schema)); public != "true" {
		t.Error("a migration takes rights of PUBLIC in what another tool has made")
	}
	_, err = b.Down(ctx, tn, 1)
	must(t, err)
	readable("after the way back")
	recorded("1")
	_, err = b.Up(ctx, tn, tenant.Newest, false)
	must(t, err)
	readable("after the way forth")
	if found := faults(t, b, tn); len(found) > 0 {
		t.Errorf("verify finds %q", found)
	}
}

// spying is code that an adopted tenant's owner writes: it goes back to the role that has logged in and tries what only the
// provisioning role may do. It notes whom it ran as.
const spying = `
CREATE TABLE seen (who name, login name, reaches boolean);
GRANT INSERT ON seen TO PUBLIC;
CREATE FUNCTION spy() RETURNS int LANGUAGE plpgsql AS $$
DECLARE was text := current_setting('role'); reaches boolean := false;
BEGIN
	RESET ROLE;
	BEGIN
		EXECUTE 'CREATE ROLE $X';
		reaches := true;
	EXCEPTION WHEN insufficient_privilege THEN
	END;
	BEGIN
		PERFORM FROM tenantctl.tenants;
		reaches := true;
	EXCEPTION WHEN insufficient_privilege THEN
	END;
	reaches := reaches OR pg_has_role(session_user, '$P', 'MEMBER');
	PERFORM set_config('role', was, false);
	INSERT INTO $S.seen VALUES (current_user, session_user, reaches);
	RETURN 1;
END $$;
CREATE FUNCTION spy_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM $S.spy(); RETURN NEW; END $$;
CREATE TRIGGER spy BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION spy_trigger();
CREATE TRIGGER spy BEFORE INSERT ON goose_db_version FOR EACH ROW EXECUTE FUNCTION spy_trigger();
CREATE VIEW spies AS SELECT spy();
`

func TestCodeThatAnAdoptedTenantWroteRunsAsItsOwnerAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t, ownersFiles(t))
	l := b.catalog()
	tn, owner, _ := owned(t, b, "acme")
	ctx := l.adopted(tn)
	_, err := b.Baseline(ctx, tn, 1, false)
	must(t, err)
	asOwner := b.loginAs(owner)
	as := strings.NewReplacer("$X", b.prefix+"gained", "$P", b.pool.Config().ConnConfig.User, "$S", quote(tn.Schema))
	_, err = asOwner.Exec(t.Context(), "SET search_path = "+quote(tn.Schema)+";"+as.Replace(spying))
	must(t, err)
	seen := func(when string) {
		t.Helper()
		if n := b.scalar("SELECT count(*) FROM %s.seen", quote(tn.Schema)); n == "0" {
			t.Errorf("%s the code did not run at all", when)
		}
		if whose := b.scalar("SELECT string_agg(DISTINCT who || ' ' || login, ', ') FROM %s.seen WHERE reaches OR who <> '%s' OR login = current_user", quote(tn.Schema), owner); whose != "" {
			t.Errorf("%s the code ran as %s", when, whose)
		}
		b.exec("DELETE FROM %s.seen", quote(tn.Schema))
	}
	_, err = b.Up(ctx, tn, tenant.Newest, false)
	must(t, err)
	seen("in a migration")
	_, err = b.Exec(t.Context(), tn, "SELECT * FROM spies", new(rows))
	must(t, err)
	seen("in a statement")
	before := b.structures(t, tn)[0]
	_, err = asOwner.Exec(t.Context(), "CREATE TABLE "+quote(tn.Schema)+".wanted (id int)")
	must(t, err)
	after := b.structures(t, tn)[0]
	_, err = asOwner.Exec(t.Context(), "DROP TABLE "+quote(tn.Schema)+".wanted")
	must(t, err)
	must(t, b.Realign(ctx, tn, []string{"UPDATE orders SET n = n + 1", "CREATE TABLE wanted (id int)"}, before, after))
	seen("in a change of the structure")
	if others := b.notOwners(tn); others != "" {
		t.Errorf("these are not the owner's: %s", others)
	}

	// A book that is none is not read as the provisioner.
	_, err = asOwner.Exec(t.Context(), "SET search_path = "+quote(tn.Schema)+"; ALTER TABLE goose_db_version RENAME TO book; CREATE VIEW goose_db_version AS SELECT id, version_id, is_applied, spy() FROM book")
	must(t, err)
	versions, err := b.Versions(t.Context(), []tenant.Tenant{tn})
	must(t, err)
	refused(t, versions[0].Err, tenant.ErrMissing, "it is not the table that goose makes")
	if n := b.scalar("SELECT count(*) FROM %s.seen", quote(tn.Schema)); n != "0" {
		t.Error("a view in the place of the version table was read")
	}
	if n := b.logins(tn); n != "0" {
		t.Errorf("there are %s logins left", n)
	}
}

// A NO TRANSACTION file runs in a session whose code is an adopted tenant's: nothing that it says gives up the tenant's lock.
func TestNoSessionOfAnAdoptedTenantGivesUpItsLock(t *testing.T) {
	t.Parallel()
	b := newBench(t, ownersFiles(t))
	l := b.catalog()
	tn, _, _ := owned(t, b, "acme")
	ctx := l.adopted(tn)
	w, err := b.workAs(ctx, tn)
	must(t, err)
	defer func() { must(t, w.done(t.Context())) }()
	conn, err := w.acquire(ctx)
	must(t, err)
	defer conn.Release()
	unlock, err := w.lockSession(ctx, conn, tn)
	must(t, err)
	other, err := b.acquire(ctx)
	must(t, err)
	defer other.Release()
	free := func() bool {
		t.Helper()
		unlock, err := b.lockSession(ctx, other, tn)
		if err == nil {
			must(t, unlock())
			return true
		}
		refused(t, err, tenant.ErrBusy)
		return false
	}
	for _, sql := range []string{
		"SELECT pg_advisory_unlock_all()", "DISCARD ALL", "RESET SESSION AUTHORIZATION",
		fmt.Sprintf("SELECT tenantctl.unlock_session('%s', pg_backend_pid())", tn.ID), "UPDATE tenantctl.locks SET pid = NULL",
	} {
		_, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		if strings.Contains(sql, "tenantctl.") && code(err) != insufficientRights {
			t.Errorf("%s: %v", sql, err)
		}
		if free() {
			t.Errorf("%s gives up the tenant's lock", sql)
		}
	}
	must(t, unlock())
	if !free() {
		t.Error("the lock is held after it was given up")
	}
}
