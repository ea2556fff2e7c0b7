package schema

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// owned is an adopted tenant whose schema belongs to a role that can log in, of which the provisioner is a member.
func (b bench) owned(name string) (tn tenant.Tenant, as *pgx.Conn) {
	b.t.Helper()
	tn = b.tenant(name)
	app := tn.Schema + "_app"
	run := func(format string, args ...any) {
		b.t.Helper()
		_, err := b.super().Exec(b.t.Context(), fmt.Sprintf(format, args...))
		must(b.t, err)
	}
	me := quote(b.pool.Config().ConnConfig.User)
	run("CREATE ROLE %s LOGIN PASSWORD %s", app, text(password))
	run("GRANT %s TO %s WITH ADMIN OPTION", app, me)
	run("CREATE SCHEMA %s AUTHORIZATION %s", tn.Schema, app)
	run("COMMENT ON SCHEMA %s IS %s", tn.Schema, text(mark(tn)))
	tn.Role, tn.Adopted = "", true
	cfg := b.pool.Config().ConnConfig.Copy()
	cfg.User, cfg.Password = app, password
	as, err := pgx.ConnectConfig(b.t.Context(), cfg)
	must(b.t, err)
	b.t.Cleanup(func() { _ = as.Close(context.Background()) })
	_, err = as.Exec(b.t.Context(), "SET search_path = "+tn.Schema)
	must(b.t, err)
	return tn, as
}

// workers are the logins that are there.
func (b bench) workers() string {
	return b.scalar("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, '%s') AND strpos(rolname, '$work_') > 0", b.prefix)
}

func TestAWorkerReachesItsSchemaAndNothingElse(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	l := b.catalog()
	other := b.created("globex")
	owned, _ := b.owned("initech")
	for _, tn := range []tenant.Tenant{b.created("acme"), owned} {
		w, err := b.workAs(l.ctx(1), tn)
		must(t, err)
		conn, err := w.acquire(t.Context())
		must(t, err)
		for _, sql := range []string{
			"RESET ROLE; SET ROLE " + quote(b.pool.Config().ConnConfig.User), "RESET SESSION AUTHORIZATION; SET SESSION AUTHORIZATION " + quote(b.pool.Config().ConnConfig.User),
			"SELECT 1 FROM tenantctl.tenants", "SET ROLE NONE; SELECT 1 FROM tenantctl.operations", "SELECT 1 FROM " + other.Schema + ".customers", "SET ROLE NONE; SELECT 1 FROM " + other.Schema + ".customers",
			"SET ROLE " + other.Role, "SET ROLE NONE; CREATE ROLE more", "CREATE SCHEMA more", "GRANT " + other.Role + " TO CURRENT_USER",
		} {
			if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); code(err) != insufficientRights {
				t.Errorf("%s in %s: %v, want it refused", sql, tn.Schema, err)
			}
		}
		_, err = conn.Exec(t.Context(), "RESET ROLE; CREATE TABLE "+tn.Schema+".made ()", pgx.QueryExecModeSimpleProtocol)
		must(t, err)
		conn.Release()
		_, _, err = w.handOver(l.ctx(1), tn.Role)
		must(t, err)
		must(t, w.done(t.Context()))
		if is := b.scalar("SELECT tableowner = (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = schemaname) FROM pg_tables WHERE schemaname = '%s' AND tablename = 'made'", tn.Schema); is != "true" {
			t.Errorf("in %s the worker's table is not the schema owner's", tn.Schema)
		}
	}
	if n := b.workers(); n != "0" {
		t.Errorf("%s logins are left", n)
	}
}

// A worker's transaction commits only while the provisioning role holds the lease and the lock for it.
func TestAWorkersTransactionEndsWithItsGuard(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	l := b.catalog()
	tn := b.created("acme")
	w, err := b.workAs(l.ctx(1), tn)
	must(t, err)
	defer func() { must(t, w.done(t.Context())) }()
	conn, err := w.acquire(t.Context())
	must(t, err)
	defer conn.Release()
	add := func(after string) error {
		return w.transact(l.ctx(1), conn, tn, nil, func(*place) ([]command, error) {
			if after != "" {
				b.exec("%s", after)
			}
			return []command{cmd("CREATE TABLE IF NOT EXISTS late ()")}, nil
		})
	}
	release := b.holdLock(tn)
	if err := add(""); !errors.Is(err, tenant.ErrBusy) {
		t.Errorf("while another holds the lock: %v", err)
	}
	release()
	guards := "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid() AND state = 'idle in transaction'"
	if err := add(guards); err == nil {
		t.Error("it was committed though its guard was gone")
	}
	if is := b.scalar("to_regclass('%s.late') IS NULL", tn.Schema); is != "true" {
		t.Error("what it made is there")
	}
	b.exec("UPDATE tenantctl.operations SET fence = 2")
	if err := tenant.Fenced(add("")); !errors.Is(err, tenant.ErrFenced) {
		t.Errorf("after a take-over: %v", err)
	}
}

func TestAWorkersLoginIsSweptOnceItsOperationHasEnded(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	left, err := b.workAs(t.Context(), tn)
	must(t, err)
	defer left.pool.Close()
	if until := b.scalar("SELECT rolvaliduntil BETWEEN now() AND now() + interval '16 minutes' FROM pg_roles WHERE rolname = %s", text(left.login.role)); until != "true" {
		t.Error("a login without an operation is valid for long")
	}
	ended := uuid.New()
	_, err = b.super().Exec(t.Context(), "COMMENT ON ROLE "+quote(left.login.role)+" IS "+text(working.mark+ended.String()))
	must(t, err)
	conn, err := left.acquire(t.Context())
	must(t, err)
	defer conn.Release()
	if until := b.scalar("SELECT rolvaliduntil BETWEEN now() AND now() + interval '3 days' FROM pg_roles WHERE rolname = %s", text(left.login.role)); until != "true" {
		t.Error("the login has no end")
	}
	must(t, b.Sweep(t.Context(), func(uuid.UUID) (bool, error) { return false, nil }))
	if b.workers() != "1" {
		t.Fatal("the login of work that goes on is gone")
	}
	must(t, b.Sweep(t.Context(), func(id uuid.UUID) (bool, error) { return id == ended, nil }))
	if b.workers() != "0" || conn.Ping(t.Context()) == nil {
		t.Error("the login of ended work, or its session, is left")
	}
}

// What exec makes has no operation whose end tells that a killed process is done with it.
func TestALoginWithoutAnOperationIsSweptByTheNextWorkOfAnyTenant(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn, other := b.created("acme"), b.created("globex")
	killed, err := b.workAs(t.Context(), tn)
	must(t, err)
	next := func() {
		t.Helper()
		w, err := b.workAs(t.Context(), other)
		must(t, err)
		must(t, w.done(t.Context()))
	}
	conn, err := killed.acquire(t.Context())
	must(t, err)
	next()
	if b.workers() != "1" {
		t.Error("a login that is valid is gone")
	}
	b.exec("ALTER ROLE %s VALID UNTIL '2026-01-01'", quote(killed.login.role))
	next()
	if b.workers() != "1" {
		t.Error("a login that has a session is gone")
	}
	conn.Release()
	killed.pool.Close()
	for range 100 { // the server may not have ended the session yet
		if next(); b.workers() == "0" {
			return
		}
	}
	t.Error("a login that is valid no longer and has no session is left")
}

func TestNoWorkerIsLentToWhoIsAboveTheTenant(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn, _ := b.owned("initech")
	owner := b.scalar("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = '%s'", tn.Schema)
	try := func(change, back string, words ...string) {
		t.Helper()
		_, err := b.super().Exec(t.Context(), change)
		must(t, err)
		w, err := b.workAs(t.Context(), tn)
		if err == nil {
			must(t, w.done(t.Context()))
		}
		refused(t, err, tenant.ErrRights, words...)
		_, err = b.super().Exec(t.Context(), back)
		must(t, err)
	}
	try("ALTER ROLE "+owner+" SUPERUSER", "ALTER ROLE "+owner+" NOSUPERUSER", owner, "ALTER SCHEMA")
	if b.major() >= 16 {
		me := quote(b.pool.Config().ConnConfig.User)
		try("REVOKE ADMIN OPTION FOR "+owner+" FROM "+me, "GRANT "+owner+" TO "+me+" WITH ADMIN OPTION", "WITH ADMIN OPTION")
	}
	super := b.super().Config().ConnString()
	_, err := b.at(super).workAs(t.Context(), tn)
	refused(t, err, tenant.ErrRights, "superuser", "--allow-superuser")
	refused(t, b.at(super).MayRunCode(t.Context()), tenant.ErrRights, "superuser")
	must(t, b.MayRunCode(t.Context()))
}
