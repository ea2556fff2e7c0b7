package schema

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/migrations"
	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// catalog is the real catalog's tables and functions in a bench, with one operation at fence 1.
type catalog struct {
	bench
	operation uuid.UUID
}

func (b bench) catalog() catalog {
	b.t.Helper()
	files, err := fs.Glob(migrations.Control, "control/*.sql")
	must(b.t, err)
	b.exec("CREATE SCHEMA tenantctl")
	for i, file := range files {
		content, err := migrations.Control.ReadFile(file)
		must(b.t, err)
		m, err := migrationfile.Compile(file, int64(i+1), "", content)
		must(b.t, err)
		for _, s := range m.Up.Statements {
			b.exec("%s", s.SQL)
		}
	}
	l := catalog{b, uuid.Must(uuid.NewV7())}
	b.exec("INSERT INTO tenantctl.operations (id, kind, state, actor, owner, fence) VALUES ('%s', 'test', 'running', 'test', 'test||1||999', 1)", l.operation)
	return l
}

// ctx carries a lease with that fence.
func (l catalog) ctx(fence int64) context.Context {
	return tenant.WithLease(l.t.Context(), &tenant.Lease{Operation: l.operation, Fence: fence})
}

// enter puts a tenant into the catalog, as create does before the stores.
func (l catalog) enter(tn tenant.Tenant) {
	l.exec("INSERT INTO tenantctl.tenants (id, name, state, schema_name, database_name, role_name) VALUES ('%s', '%s', 'active', '%s', '%s', '%s')", tn.ID, tn.Name, tn.Schema, tn.Database, tn.Role)
}

// holdLock holds the tenant's lock as another process would.
func (b bench) holdLock(tn tenant.Tenant) (release func()) {
	b.t.Helper()
	tx, err := b.pool.Begin(b.t.Context())
	must(b.t, err)
	if got := scalar(b.t, tx, fmt.Sprintf("SELECT tenantctl.try_lock('%s')", tn.ID)); got != "true" {
		b.t.Fatalf("the lock is not free: %s", got)
	}
	return func() { must(b.t, tx.Rollback(context.WithoutCancel(b.t.Context()))) }
}

// recorded is what the catalog says of a tenant.
func (l catalog) recorded(tn tenant.Tenant) string {
	return l.scalar("SELECT version || ' ' || applied FROM tenantctl.versions WHERE kind = 'postgres' AND tenant_id = '%s'", tn.ID)
}

func TestVersionIsRecordedWithTheMigration(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	l := b.catalog()
	tn := b.tenant("acme")
	l.enter(tn)
	want := func(what, want string) {
		t.Helper()
		if got := l.recorded(tn); got != want {
			t.Errorf("after %s, the catalog says %q, want %q", what, got, want)
		}
	}
	must(t, b.Create(l.ctx(1), tn))
	want("create", "5 5")
	_, err := b.Down(l.ctx(1), tn, 4)
	must(t, err)
	want("down of a NO TRANSACTION file", "4 4")
	_, err = b.Down(l.ctx(1), tn, 2)
	must(t, err)
	want("down", "2 2")
	_, err = b.Up(l.ctx(1), tn, 3, false)
	must(t, err)
	want("up", "3 3")
	_, err = b.Up(l.ctx(1), tn, tenant.Newest, false)
	must(t, err)
	want("up with a NO TRANSACTION file", "5 5")
	b.exec("UPDATE tenantctl.versions SET version = 1, applied = 1")
	_, err = b.Up(l.ctx(1), tn, tenant.Newest, false)
	must(t, err)
	want("up with nothing to do", "5 5")
}

func TestWorkUnderALeaseThatEndedChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	l := b.catalog()
	tn, never := b.tenant("acme"), b.tenant("never")
	l.enter(tn)
	l.enter(never)
	must(t, b.Create(l.ctx(1), tn))
	_, err := b.Down(l.ctx(1), tn, 2)
	must(t, err)
	before, recorded := b.state(tn), l.recorded(tn)
	late := l.ctx(0)
	for name, call := range map[string]func() error{
		"create":   func() error { return b.Create(late, never) },
		"drop":     func() error { return b.Drop(late, tn) },
		"up":       func() error { _, err := b.Up(late, tn, tenant.Newest, false); return err },
		"down":     func() error { _, err := b.Down(late, tn, 0); return err },
		"lock":     func() error { _, err := b.Lock(late, tn); return err },
		"unlock":   func() error { return b.Unlock(late, tn) },
		"password": func() error { return b.SetPassword(late, tn, password, nil) },
	} {
		err := call()
		if !errors.Is(err, tenant.ErrFenced) {
			t.Errorf("%s: %v, want it refused as taken over", name, err)
		}
	}
	if after := b.state(tn); after != before || l.recorded(tn) != recorded {
		t.Errorf("late work changed\n%s\nto\n%s", before, after)
	}
	if state := b.state(never); state != "" {
		t.Errorf("late work made\n%s", state)
	}
}
