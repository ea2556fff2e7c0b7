package schema

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

const example = "../migrations/example/postgres"

// bench is a database of one test's own, and a resource in it as the provisioner that is no superuser.
type bench struct {
	*Resource
	t      *testing.T
	prefix string
	worlds *atomic.Int64
}

// newBench makes a database and opens it over a folder of migrations; change may alter the configuration.
func newBench(t *testing.T, dir string, change ...func(*Config)) bench {
	t.Helper()
	prefix := tenanttest.Prefix(t)
	cfg := Config{URL: unencrypted(t, tenanttest.Postgres(t, prefix)), MaxConnections: 4, SchemasPerConnection: 20, ConnectTimeout: 10 * time.Second, LockTimeout: 2 * time.Second, LockRetries: 3, Roles: true, Dir: dir}
	for _, c := range change {
		c(&cfg)
	}
	return bench{Resource: New(openPool(t, cfg), cfg), t: t, prefix: prefix, worlds: new(atomic.Int64)}
}

// unencrypted is a URL without encryption, so that proxies can read along.
func unencrypted(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	return u.String()
}

func openPool(t *testing.T, cfg Config) *pgxpool.Pool {
	t.Helper()
	pool, err := Open(t.Context(), cfg)
	must(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// over is the resource as a fresh process would have it, over another folder or configuration.
func (b bench) over(dir string, change ...func(*Config)) bench {
	cfg := b.cfg
	cfg.Dir = dir
	for _, c := range change {
		c(&cfg)
	}
	b.Resource = New(b.pool, cfg)
	return b
}

// at is the resource by way of another address.
func (b bench) at(url string) bench {
	cfg := b.cfg
	cfg.URL = url
	b.Resource = New(openPool(b.t, cfg), cfg)
	return b
}

// tenant makes up a tenant.
func (b bench) tenant(name string) tenant.Tenant {
	b.t.Helper()
	p, err := tenant.Naming{Prefix: b.prefix}.Derive(name)
	must(b.t, err)
	return tenant.Tenant{ID: uuid.Must(uuid.NewV7()), Name: p.Name, Schema: p.Schema, Database: p.Database, Role: p.Role}
}

// created is a tenant that is there.
func (b bench) created(name string) tenant.Tenant {
	b.t.Helper()
	tn := b.tenant(name)
	must(b.t, b.Create(b.t.Context(), tn))
	return tn
}

// exec runs SQL as the provisioner, past the resource.
func (b bench) exec(format string, args ...any) {
	b.t.Helper()
	if _, err := b.pool.Exec(b.t.Context(), fmt.Sprintf(format, args...), pgx.QueryExecModeSimpleProtocol); err != nil {
		b.t.Fatalf("%v\n%s", err, fmt.Sprintf(format, args...))
	}
}

// scalar reads one value as text.
func (b bench) scalar(format string, args ...any) string {
	b.t.Helper()
	return scalar(b.t, b.pool, fmt.Sprintf(format, args...))
}

func scalar(t *testing.T, db tenant.DB, sql string) string {
	t.Helper()
	var s *string
	if err := db.QueryRow(t.Context(), "SELECT ("+sql+")::text").Scan(&s); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	if s == nil {
		return ""
	}
	return *s
}

// major is the version of the server.
func (b bench) major() int {
	b.t.Helper()
	n, err := strconv.Atoi(b.scalar("current_setting('server_version_num')::int / 10000"))
	must(b.t, err)
	return n
}

// super is a connection to the bench's database with every right.
func (b bench) super() *pgx.Conn {
	b.t.Helper()
	u, err := url.Parse(tenanttest.SuperuserURL(b.t))
	must(b.t, err)
	u.Path = "/" + b.pool.Config().ConnConfig.Database
	return connect(b.t, u.String())
}

// as is a connection of the tenant's own, with a password.
func (b bench) as(tn tenant.Tenant) *pgx.Conn {
	b.t.Helper()
	conn, err := b.login(tn)
	must(b.t, err)
	b.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

const password = "tenant-secret-§1"

func (b bench) login(tn tenant.Tenant) (*pgx.Conn, error) {
	b.t.Helper()
	must(b.t, b.SetPassword(b.t.Context(), tn, password, nil))
	cfg := b.pool.Config().ConnConfig.Copy()
	cfg.User, cfg.Password = tn.Role, password
	return pgx.ConnectConfig(b.t.Context(), cfg)
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// folder writes migrations, as name of the file and content.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, dir, name, content)
	}
	return dir
}

func write(t testing.TB, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// one is a folder with one migration, Up only unless it says Down itself.
func one(t testing.TB, up string) string {
	return folder(t, map[string]string{"00001_first.sql": "-- +goose Up\n" + up})
}

// copied is a copy of a folder that a test may change.
func copied(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func must(t testing.TB, err error) {
	t.Helper()
	var e *tenant.Error
	switch {
	case errors.As(err, &e):
		t.Fatalf("%v (statement: %s; hint: %s; cause: %v)", err, e.Statement, e.Hint, e.Err)
	case err != nil:
		t.Fatal(err)
	}
}

// refused fails where err is not of that kind, or its message and hint lack one of the words.
func refused(t testing.TB, err, kind error, words ...string) *tenant.Error {
	t.Helper()
	if err == nil {
		t.Fatalf("it was done, want it refused: %v", kind)
	}
	var e *tenant.Error
	if !errors.Is(err, kind) || !errors.As(err, &e) || e.Store != tenant.KindPostgres {
		t.Fatalf("it was refused with %v (%#v), want: %v", err, err, kind)
	}
	for _, w := range words {
		if !strings.Contains(e.Msg+"\n"+e.Hint, w) {
			t.Errorf("%q is not in the message %q or the hint %q", w, e.Msg, e.Hint)
		}
	}
	return e
}

// denied fails where a statement of a tenant's is not refused for want of rights.
func denied(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	if c := code(err); c != insufficientRights {
		t.Errorf("%s: %v, want it refused for want of rights", sql, err)
	}
}
