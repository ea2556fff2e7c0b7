package schema

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// leaveOpen is a transaction of a connection's own that is left open after these statements.
func leaveOpen(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range append([]string{"BEGIN"}, statements...) {
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
	}
}

// application is a role that serves many tenants, as poolers have it, connected and at work for one.
func (b bench) application(tn tenant.Tenant) *pgx.Conn {
	b.t.Helper()
	role := tn.Schema + "_pool"
	super := b.super()
	for _, sql := range []string{"CREATE ROLE %[1]s LOGIN NOINHERIT PASSWORD %[3]s", "GRANT %[2]s TO %[1]s"} {
		_, err := super.Exec(b.t.Context(), fmt.Sprintf(sql, role, tn.Role, text(password)))
		must(b.t, err)
	}
	if b.major() >= 16 { // where CREATEROLE alone does not do
		_, err := super.Exec(b.t.Context(), fmt.Sprintf("GRANT pg_signal_backend TO %s", quote(b.pool.Config().ConnConfig.User)))
		must(b.t, err)
	}
	return b.loginAs(role)
}

// eventually waits until the condition holds.
func (b bench) eventually(format string, args ...any) {
	b.t.Helper()
	for range 600 {
		if b.scalar("("+format+")", args...) == "true" {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	b.t.Fatalf("it never came: "+format, args...)
}

func TestNoTenantCanStopItsLockout(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	l := b.catalog()
	tn := b.created("acme")
	holds := []string{
		"ALTER ROLE " + tn.Role + " PASSWORD 'mine'", // the role's row
		"SELECT pg_advisory_xact_lock(('x' || right(replace('" + tn.ID.String() + "', '-', ''), 16))::bit(64)::bigint)",
		"LOCK TABLE customers IN ROW EXCLUSIVE MODE",
		"SELECT pg_advisory_lock(7381276), pg_advisory_lock(7381277)",
	}
	for i := range holds {
		leaveOpen(t, b.as(tn), holds[i])
		began := time.Now()
		if enforced, err := b.Lock(l.ctx(1), tn); err != nil || !enforced {
			t.Errorf("%s: enforced %v, %v", holds[i], enforced, err)
		}
		t.Logf("%s: %v", holds[i], time.Since(began))
		if n := b.scalar("SELECT count(*) FROM pg_stat_activity WHERE usename = '%s'", tn.Role); n != "0" {
			t.Errorf("%s: %s sessions are left", holds[i], n)
		}
		must(t, b.Unlock(l.ctx(1), tn))
	}
}

func TestNoTransactionOutlivesALockout(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	b.exec("CREATE TABLE %s.notes (v text); GRANT ALL ON %[1]s.notes TO %s", tn.Schema, tn.Role)
	app, idle := b.application(tn), b.loginAs(tn.Schema+"_pool")
	leaveOpen(t, idle, "SET LOCAL ROLE "+tn.Role, "INSERT INTO "+tn.Schema+".notes VALUES ('idle')")
	leaveOpen(t, app, "SET LOCAL ROLE "+tn.Role)
	late := make(chan error, 1)
	go func() {
		_, err := app.Exec(context.WithoutCancel(t.Context()), "INSERT INTO "+tn.Schema+".notes SELECT 'late' FROM pg_sleep(60); COMMIT", pgx.QueryExecModeSimpleProtocol)
		late <- err
	}()
	b.eventually("SELECT count(*) = 2 FROM pg_locks WHERE relation = '%s.notes'::regclass AND mode = 'RowExclusiveLock'", tn.Schema)
	_, err := b.Lock(t.Context(), tn)
	must(t, err)
	if n := b.scalar("SELECT count(*) FROM pg_locks WHERE relation = '%s.notes'::regclass AND pid <> pg_backend_pid()", tn.Schema); n != "0" {
		t.Errorf("%s locks of others are left", n)
	}
	if err := <-late; err == nil {
		t.Error("it was written after the lock-out")
	}
	again := b.loginAs(tn.Schema + "_pool")
	_, err = again.Exec(t.Context(), "SET ROLE "+tn.Role)
	must(t, err)
	if _, err = again.Exec(t.Context(), "INSERT INTO "+tn.Schema+".notes VALUES ('later')"); code(err) != insufficientRights {
		t.Errorf("a new transaction: %v", err)
	}
	if n := scalar(t, b.super(), "SELECT count(*) FROM "+tn.Schema+".notes"); n != "0" {
		t.Errorf("%s rows are there", n)
	}
}

// Others than those who act for the tenant are not ended, such as an operator's psql or a dump of everything.
func TestWhoWroteBesideTheTenantIsWaitedForAndNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t, example, func(c *Config) { c.LockTimeout = 300 * time.Millisecond })
	tn := b.created("acme")
	reader, writer := b.super(), b.super()
	leaveOpen(t, reader, "LOCK TABLE "+tn.Schema+".customers IN ACCESS SHARE MODE")
	leaveOpen(t, writer, "LOCK TABLE "+tn.Schema+".customers IN ROW EXCLUSIVE MODE")
	_, err := b.Lock(t.Context(), tn)
	if !errors.Is(err, tenant.ErrBusy) || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("pid %d (role ", writer.PgConn().PID())) {
		t.Errorf("%v", err)
	}
	if err != nil && strings.Contains(err.Error(), fmt.Sprint(reader.PgConn().PID())) {
		t.Errorf("the reader is named: %v", err)
	}
	_, err = writer.Exec(t.Context(), "ROLLBACK")
	must(t, err)
	_, err = b.Lock(t.Context(), tn)
	must(t, err)
}

// Nobody is locked out where the tenant has no role of its own, but who writes at that moment is waited for.
func TestWithoutARoleWhoWritesAtALockoutIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBench(t, example, func(c *Config) { c.Roles, c.LockTimeout = false, time.Second })
	tn := b.created("acme")
	late, later := b.super(), b.super()
	writing := "LOCK TABLE " + tn.Schema + ".customers IN ROW EXCLUSIVE MODE"
	leaveOpen(t, late, writing)
	_, err := b.Lock(t.Context(), tn)
	if !errors.Is(err, tenant.ErrBusy) || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("pid %d (role ", late.PgConn().PID())) {
		t.Errorf("an open transaction: %v", err)
	}
	before := b.scalar("SELECT clock_timestamp()")
	locked := make(chan error, 1)
	go func() {
		_, err := b.over(b.cfg.Dir, func(c *Config) { c.LockTimeout = time.Minute }).Lock(t.Context(), tn)
		locked <- err
	}()
	b.eventually("SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%%l.virtualtransaction%%%s%%' AND state = 'idle' AND query_start > '%s'", tn.Schema, before)
	leaveOpen(t, later, writing)
	select {
	case err := <-locked:
		t.Errorf("while the first goes on: %v", err)
	default:
	}
	_, err = late.Exec(t.Context(), "ROLLBACK")
	must(t, err)
	must(t, <-locked) // the second goes on for ever, and the first is over
}

func TestAPreparedTransactionIsNamedWithItsEnd(t *testing.T) {
	t.Parallel()
	var warned []string
	b := newBench(t, example, func(c *Config) { c.Warn = func(w string) { warned = append(warned, w) } })
	tn := b.created("acme")
	gid := tn.Schema + "'s"
	leaveOpen(t, b.as(tn), "LOCK TABLE customers IN ROW EXCLUSIVE MODE", "PREPARE TRANSACTION "+text(gid))
	defer func() {
		_, err := b.super().Exec(context.WithoutCancel(t.Context()), "ROLLBACK PREPARED "+text(gid))
		must(t, err)
	}()
	_, err := b.Lock(t.Context(), tn)
	must(t, err)
	if len(warned) != 1 || !strings.Contains(warned[0], "ROLLBACK PREPARED "+text(gid)) || !strings.Contains(warned[0], "role "+tn.Role) {
		t.Errorf("%q", warned)
	}
}

func TestWhoHoldsALockIsNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t, example, func(c *Config) { c.LockTimeout, c.LockRetries = 100*time.Millisecond, 1 })
	l := b.catalog()
	tn := b.tenant("acme")
	l.enter(tn)
	must(t, b.Create(l.ctx(1), tn))
	mine := b.as(tn)
	leaveOpen(t, mine, "LOCK TABLE orders IN ROW EXCLUSIVE MODE")
	_, err := b.Down(l.ctx(1), tn, 2)
	var e *tenant.Error
	if !errors.As(err, &e) || !strings.Contains(e.Msg, fmt.Sprintf("pid %d (role %s, since 2", mine.PgConn().PID(), tn.Role)) ||
		!strings.Contains(e.Hint, fmt.Sprintf("SELECT pg_terminate_backend(%d)", mine.PgConn().PID())) {
		t.Errorf("a tenant's lock on a table: %v", err)
	}
	must(t, mine.Close(t.Context()))
	release := b.holdLock(tn)
	_, err = b.Down(l.ctx(1), tn, 2)
	if !errors.Is(err, tenant.ErrBusy) || !strings.Contains(fmt.Sprint(err), "held by pid ") {
		t.Errorf("another process at work: %v", err)
	}
	release()
	_, err = b.Down(l.ctx(1), tn, 2)
	must(t, err)
}

// A killed process's session holds the lock until the server has noticed, and a session whose number another has now does not.
// A lease and a lock are taken by one statement where both are to be had; where not, it tells which is not.
func TestALeaseIsHeldAndALockTakenAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	l := b.catalog()
	tn := b.tenant("acme")
	l.enter(tn)
	take := func(fence int64) string {
		t.Helper()
		var free bool
		err := b.pool.QueryRow(t.Context(), tenant.LeaseFrom(l.ctx(fence)).TakeSQL(tn.ID)).Scan(&free)
		return strings.TrimSpace(fmt.Sprint(free, " ", code(err)))
	}
	want := func(when, want string, fence int64) {
		t.Helper()
		if got := take(fence); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	want("both are free", "true", 1)
	release := b.holdLock(tn)
	want("the lock is another process's", "false", 1)
	want("the lease has ended, and the lock is another process's", "false TC001", 0)
	release()
	want("the lease has ended", "false TC001", 0)
	b.exec("DELETE FROM tenantctl.locks WHERE id = '%s'", tn.ID)
	want("nobody has locked it before", "true", 1)
	b.exec("UPDATE tenantctl.locks SET pid = (SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'), login = NULL WHERE id = '%s'", tn.ID)
	want("the session that held it is gone", "true", 1)
	b.exec("UPDATE tenantctl.operations SET state = 'done'")
	want("the operation has ended", "false TC001", 1)
}

func TestASessionsLockEndsWithTheSession(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	b.catalog()
	tn := b.tenant("acme")
	free := func() string { return b.scalar("SELECT tenantctl.try_lock('%s')", tn.ID) }
	const lock = "SELECT tenantctl.lock_session('%s', pid, usesysid, backend_start + %s) FROM pg_stat_activity WHERE pid = pg_backend_pid()"
	own := func() *pgx.Conn { return connect(b.t, b.cfg.URL) }
	session := own()
	if is := scalar(t, session, "("+fmt.Sprintf(lock, tn.ID, "interval '0'")+")"); is != "true" {
		t.Fatal(is)
	}
	if is := free(); is != "false" {
		t.Errorf("while the session lives: %s", is)
	}
	if is := scalar(t, session, fmt.Sprintf("SELECT tenantctl.try_lock('%s')", tn.ID)); is != "true" {
		t.Errorf("in the session itself: %s", is)
	}
	must(t, session.Close(t.Context()))
	b.eventually("SELECT tenantctl.try_lock('%s')", tn.ID)
	other := own()
	if is := scalar(t, other, "("+fmt.Sprintf(lock, tn.ID, "interval '-1 hour'")+")"); is != "true" {
		t.Fatal(is)
	}
	if is := free(); is != "true" {
		t.Errorf("another session with that number: %s", is)
	}
}
