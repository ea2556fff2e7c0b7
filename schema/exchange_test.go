package schema

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// exchange exchanges in a transaction of its own.
func (b bench) exchange(ctx context.Context, tn, beside tenant.Tenant) error {
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error { return b.Exchange(ctx, tx, tn, beside) })
}

// speaking is a folder whose routines name the schema that they were made in.
func speaking(t testing.TB) string {
	dir := copied(t, example)
	write(t, dir, "00006_speaking.sql", `-- +goose Up
-- +goose StatementBegin
DO $do$ BEGIN
	EXECUTE format('CREATE FUNCTION named() RETURNS bigint LANGUAGE plpgsql AS $f$ BEGIN RETURN (SELECT count(*) FROM %1$I.customers); END $f$', current_schema());
	EXECUTE format('CREATE FUNCTION pathed() RETURNS bigint LANGUAGE sql SET search_path = %1$I AS ''SELECT count(*) FROM customers''', current_schema());
END $do$;
-- +goose StatementEnd
`)
	return dir
}

func TestExchangeGivesTheRoleWhatWasLoaded(t *testing.T) {
	t.Parallel()
	b := newBench(t, speaking(t))
	l := b.catalog()
	tn := b.created("acme")
	l.enter(tn)
	b.exec("INSERT INTO %s.customers (email, name) VALUES ('a', 'then')", tn.Schema)
	m := b.dump(tn)
	b.exec("INSERT INTO %s.customers (email, name) VALUES ('b', 'now'), ('c', 'now')", tn.Schema)
	beside := b.tenant("acme-restored")
	must(t, m.into(t.Context(), b.Resource, beside, tenant.LoadOptions{Role: tn.Role, Parallel: 2}, 1<<20))
	conn := b.as(tn)
	reads := func(when, want string) {
		t.Helper()
		for _, sql := range []string{"SELECT count(*) FROM customers", "SELECT named()", "SELECT pathed()"} {
			if got := scalarOf(t, conn, sql); got != want {
				t.Errorf("%s, %s is %s, want %s", when, sql, got, want)
			}
		}
	}
	reads("before", "3")
	ctx := l.ctx(1)
	must(t, b.exchange(ctx, tn, beside))
	reads("after the exchange", "1")
	denied(t, conn, "SELECT * FROM "+beside.Schema+".customers")
	must(t, b.exchange(ctx, tn, beside))
	reads("after the same operation did it again", "1")
	if n := b.scalar("SELECT count(*) FROM %s.customers", beside.Schema); n != "3" {
		t.Errorf("beside are %s", n)
	}
	for _, who := range []tenant.Tenant{tn, beside} {
		if v, err := b.Versions(t.Context(), []tenant.Tenant{who}); err != nil || v[0].Presence != tenant.Ours || v[0].Version != 6 {
			t.Errorf("%s is at %+v, %v", who.Name, v, err)
		}
	}
	must(t, b.Revive(t.Context(), tn))
	if path := b.scalar("SELECT rolconfig FROM pg_roles WHERE rolname = '%s'", tn.Role); path != "{search_path="+tn.Schema+"}" {
		t.Errorf("the role has %s", path)
	}

	// Another operation takes it back.
	back := uuid.Must(uuid.NewV7())
	b.exec("UPDATE tenantctl.operations SET state = 'done'; INSERT INTO tenantctl.operations (id, kind, state, actor, owner, fence) VALUES ('%s', 'test', 'running', 'test', 'test||1||999', 1)", back)
	must(t, b.exchange(tenant.WithLease(t.Context(), &tenant.Lease{Operation: back, Fence: 1}), tn, beside))
	reads("back again", "3")
	if _, err := conn.Exec(t.Context(), "INSERT INTO orders (customer_id) VALUES (1)"); err != nil {
		t.Errorf("back again, the role cannot write: %v", err)
	}
	denied(t, conn, "SELECT * FROM "+beside.Schema+".customers")
	if err := b.exchange(ctx, tn, beside); !errors.Is(err, tenant.ErrFenced) {
		t.Errorf("an operation that has ended is not refused: %v", err)
	}
	must(t, b.Drop(t.Context(), beside))
	reads("when the other is dropped", "3")
}

func TestExchangeIsAPartOfTheCallersTransaction(t *testing.T) {
	t.Parallel()
	b := newBench(t, speaking(t))
	tn, beside := b.created("acme"), b.created("globex")
	before := b.state(tn) + b.state(beside)
	tx, err := b.pool.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), "SET LOCAL search_path = pg_catalog, public; SET LOCAL lock_timeout = '7s'")
	must(t, err)
	must(t, b.Exchange(t.Context(), tx, tn, beside))
	if path, wait := scalarOf(t, tx, "SELECT current_setting('search_path')"), scalarOf(t, tx, "SELECT current_setting('lock_timeout')"); path != "pg_catalog, public" || wait != "7s" {
		t.Errorf("the caller's settings became %s and %s", path, wait)
	}
	must(t, tx.Rollback(t.Context()))
	if after := b.state(tn) + b.state(beside); after != before {
		t.Errorf("taken back, there is\n%s\nwant\n%s", after, before)
	}
	stranger := b.tenant("stranger")
	b.exec("CREATE SCHEMA %s", stranger.Schema)
	refused(t, b.exchange(t.Context(), tn, stranger), tenant.ErrForeign, stranger.Schema)
	refused(t, b.exchange(t.Context(), tn, b.tenant("nobody")), tenant.ErrMissing, "nobody")
}

// Who writes beside the tenant's role, such as an application with rights of its own, writes into the one schema or the other, and
// nothing into what was replaced after it was.
func TestAnExchangeWaitsForWritersAndLosesNone(t *testing.T) {
	t.Parallel()
	b := newBench(t, example, func(c *Config) { c.LockTimeout = 500 * time.Millisecond })
	tn, beside := b.created("acme"), b.created("globex")
	before, after := b.super(), b.super()
	const write = "INSERT INTO %s.customers (email, name) VALUES ('%s', 'x')"
	leaveOpen(t, before, fmt.Sprintf(write, tn.Schema, "before"))
	err := b.exchange(t.Context(), tn, beside)
	refused(t, err, tenant.ErrLocked, fmt.Sprintf("pid %d (role ", before.PgConn().PID()))

	exchanged, written := make(chan error, 1), make(chan error, 1)
	patient := b.over(b.cfg.Dir, func(c *Config) { c.LockTimeout = time.Minute })
	go func() { exchanged <- patient.exchange(t.Context(), tn, beside) }()
	waiting := "SELECT count(*) = %d FROM pg_locks WHERE relation = '%s.customers'::regclass AND NOT granted"
	b.eventually(waiting, 1, tn.Schema)
	go func() {
		_, err := after.Exec(t.Context(), fmt.Sprintf(write, tn.Schema, "after"))
		written <- err
	}()
	b.eventually(waiting, 2, tn.Schema)
	_, err = before.Exec(t.Context(), "COMMIT")
	must(t, err)
	must(t, <-exchanged)
	must(t, <-written)
	for schema, want := range map[string]string{tn.Schema: "after", beside.Schema: "before"} {
		if got := scalar(t, b.super(), "SELECT string_agg(email, ' ') FROM "+schema+".customers"); got != want {
			t.Errorf("%s has %q, want %q", schema, got, want)
		}
	}
}

func TestALockedTenantStaysLockedThroughAnExchange(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	m := b.dump(tn)
	beside := b.tenant("acme-restored")
	_, err := b.Lock(t.Context(), tn)
	must(t, err)
	must(t, m.into(t.Context(), b.Resource, beside, tenant.LoadOptions{Role: tn.Role}, 1<<20))
	must(t, b.exchange(t.Context(), tn, beside))
	if can := b.scalar("has_schema_privilege('%s', '%s', 'USAGE')", tn.Role, tn.Schema); can != "false" {
		t.Error("the role may use the schema")
	}
	must(t, b.Unlock(t.Context(), tn))
	if n := scalarOf(t, b.as(tn), "SELECT count(*) FROM customers"); n != "0" {
		t.Errorf("%s customers", n)
	}
}

func TestReviveMakesAMissingRole(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	_, err := b.super().Exec(t.Context(), fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", tn.Role))
	must(t, err)
	must(t, b.Revive(t.Context(), tn))
	conn := b.as(tn)
	if n := scalarOf(t, conn, "SELECT count(*) FROM customers"); n != "0" {
		t.Errorf("%s customers", n)
	}
	denied(t, conn, "DELETE FROM goose_db_version")
	refused(t, b.Revive(t.Context(), b.tenant("nobody")), tenant.ErrMissing)
}

func TestACloneIsACopyWithARoleOfItsOwn(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	from := b.full("acme")
	to, bare := b.tenant("globex"), b.tenant("initech")
	must(t, b.Clone(t.Context(), from, to, true))
	same(t, b.dump(from), b.dump(to))
	b.lives(to)
	must(t, b.Clone(t.Context(), from, bare, false))
	conn := b.as(bare)
	if n := scalarOf(t, conn, "SELECT (SELECT count(*) FROM ids) + (SELECT count(*) FROM measures)"); n != "0" {
		t.Errorf("without rows there are %s", n)
	}
	if id := scalarOf(t, conn, "INSERT INTO ids (note) VALUES ('x') RETURNING id"); id != "1" {
		t.Errorf("without rows, the first id is %s", id)
	}
	if v, err := b.Versions(t.Context(), []tenant.Tenant{bare}); err != nil || v[0].Version != 5 {
		t.Errorf("without rows it is at %+v, %v", v, err)
	}
	refused(t, b.Clone(t.Context(), from, to, true), tenant.ErrExists, to.Schema)
	refused(t, b.Clone(t.Context(), b.tenant("nobody"), b.tenant("other"), true), tenant.ErrMissing)
}

// sink is a folder for an export.
func sink(dir string) func(string) (io.WriteCloser, error) {
	return func(name string) (io.WriteCloser, error) { return os.Create(filepath.Join(dir, name)) }
}

func TestExportWritesAFileForEachTable(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.full("acme")
	for _, format := range []string{tenant.FormatCSV, tenant.FormatNDJSON} {
		dir := t.TempDir()
		tables, err := b.Export(t.Context(), tn, format, sink(dir))
		must(t, err)
		var names []string
		for _, e := range tables {
			names = append(names, e.Name)
			content, err := os.ReadFile(filepath.Join(dir, e.File))
			must(t, err)
			want := e.Rows
			if format == tenant.FormatNDJSON {
				for _, line := range bytes.Split(bytes.TrimSuffix(content, []byte("\n")), []byte("\n")) {
					if e.Rows > 0 {
						b.scalar("SELECT %s::json IS NOT NULL", text(string(line)))
					}
				}
				if n := int64(bytes.Count(content, []byte("\n"))); n != want {
					t.Errorf("%s has %d lines, want %d", e.File, n, want)
				}
			} else if len(e.Fields) > 0 && !bytes.HasPrefix(content, []byte(strings.TrimSuffix(csvName(e.Fields[0].Name), "\n"))) {
				t.Errorf("%s begins with %.40q", e.File, content)
			}
		}
		for _, name := range []string{"ids", "measures", "Weird Name", ".hidden/../x", "no_columns"} {
			if !slices.Contains(names, name) {
				t.Errorf("%s is not exported: %v", name, names)
			}
		}
		for _, name := range []string{migrationfile.VersionTable, "measures_2024", "measures_2024_a", "opened"} {
			if slices.Contains(names, name) {
				t.Errorf("%s is exported", name)
			}
		}
		i := slices.Index(names, "order_lines")
		if got := fmt.Sprintf("%+v", tables[i].Fields[0]); got != "{Name:order_id Type:bigint Nullable:false Key:true References:orders.id Comment:}" {
			t.Errorf("the dictionary says %s", got)
		}
		if tables[slices.Index(names, "ids")].Comment == "" || tables[slices.Index(names, "measures")].Rows != 3 {
			t.Errorf("the dictionary lacks a comment or rows: %+v", tables)
		}
	}
	_, err := b.Export(t.Context(), tn, "xlsx", sink(t.TempDir()))
	refused(t, err, tenant.ErrInvalid, "xlsx")
}

// csvName is a column's name as CSV has it, where it needs no quotes.
func csvName(name string) string {
	if strings.ContainsAny(name, "\"\n,") {
		return `"`
	}
	return name
}
