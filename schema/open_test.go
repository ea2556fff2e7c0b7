package schema

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

const secret = "s3cr/et?@:pw"

func TestOpenRefusesWhatItCannotWorkWith(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	change := func(f func(*url.URL)) string {
		u, err := url.Parse(b.cfg.URL)
		must(t, err)
		f(u)
		return u.String()
	}
	admin := b.super()
	for _, sql := range []string{
		"CREATE ROLE " + b.prefix + "readonly LOGIN PASSWORD '" + secret + "'",
		"ALTER ROLE " + b.prefix + "readonly SET default_transaction_read_only = on",
	} {
		_, err := admin.Exec(t.Context(), sql)
		must(t, err)
	}
	replica := func(m message) message {
		if m.kind == 'D' { // DataRow (pg_is_in_recovery, transaction_read_only) in text format
			m.raw = bytes.Replace(m.raw, []byte("\x00\x00\x00\x01f"), []byte("\x00\x00\x00\x01t"), 1)
		}
		return m
	}
	for _, c := range []struct {
		name, url string
		kind      error
		words     []string
	}{
		{"wrong password", change(func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), secret) }), tenant.ErrUnreachable, []string{"password authentication failed", b.prefix + "db", "check the user and password"}},
		{"no such user", change(func(u *url.URL) { u.User = url.UserPassword("nobody_at_all", secret) }), tenant.ErrUnreachable, []string{"as nobody_at_all"}},
		{"no such database", change(func(u *url.URL) { u.Path = "/no_such_db" }), tenant.ErrUnreachable, []string{"no_such_db", "createdb"}},
		{"nobody listens", "postgres://u:" + url.QueryEscape(secret) + "@127.0.0.1:1/app", tenant.ErrUnreachable, []string{"127.0.0.1:1", "database app", "connection refused", "is PostgreSQL running"}},
		{"no such host", "postgres://u:" + url.QueryEscape(secret) + "@no-such-host.invalid:5432/app", tenant.ErrUnreachable, []string{"no-such-host.invalid:5432"}},
		{"no URL", "postgres://u:" + secret + "@[::1/app", tenant.ErrInvalid, []string{"postgres.url cannot be read", "percent-encoded"}},
		{"bad option", "postgres://u:" + url.QueryEscape(secret) + "@localhost/app?sslmode=" + secret, tenant.ErrInvalid, []string{"postgres.url cannot be read"}},
		{"too old", pooler{backends: 1, version: "12.22 (Debian)"}.start(t, b.cfg.URL), tenant.ErrUnsupported, []string{"PostgreSQL 12.22", "version 13"}},
		{"replica", pooler{backends: 1, version: "15.1", answer: replica}.start(t, b.cfg.URL), tenant.ErrUnsupported, []string{"read-only replica", "primary"}},
		{"read-only", change(func(u *url.URL) { u.User = url.UserPassword(b.prefix+"readonly", secret) }), tenant.ErrUnsupported, []string{"read-only for this user", "default_transaction_read_only"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool, err := Open(t.Context(), Config{URL: c.url, ConnectTimeout: 10 * time.Second})
			if err == nil {
				pool.Close()
			}
			e := refused(t, err, c.kind, c.words...)
			for _, part := range []string{secret, "et?@", "provisioner-secret", url.QueryEscape(secret)} {
				if strings.Contains(e.Msg+e.Hint, part) {
					t.Errorf("the password is in %q", e.Msg+e.Hint)
				}
			}
		})
	}
}

func TestReadsServerVersions(t *testing.T) {
	for version, old := range map[string]bool{"9.6.24": true, "12.22": true, "13.0": false, "15.18 (Debian 15.18-0+deb12u1)": false, "17beta1": false, "18": false, "": false, "unknown": false} {
		if _, got := tooOld(version); got != old {
			t.Errorf("version %q is too old: %t, want %t", version, got, old)
		}
	}
}

func TestDoctorNamesTheStatementThatHelps(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	status := func(b bench) map[string]tenant.Check {
		checks := map[string]tenant.Check{}
		for _, c := range b.Doctor(t.Context()) {
			checks[c.Name] = c
			if c.Store != tenant.KindPostgres || c.Message == "" || (c.Status != tenant.CheckOK) == (c.Hint == "") {
				t.Errorf("a check lacks something: %+v", c)
			}
		}
		return checks
	}
	for name, c := range status(b) {
		if c.Status == tenant.CheckError {
			t.Errorf("with all rights, %s is %+v", name, c)
		}
	}
	admin := b.super()
	user, database := b.prefix+"provisioner", b.prefix+"db"
	for _, c := range []struct{ name, status, take, give, hint string }{
		{"create schemas", tenant.CheckError, "REVOKE CREATE ON DATABASE " + database + " FROM " + user, "GRANT CREATE ON DATABASE " + database + " TO " + user, "GRANT CREATE ON DATABASE"},
		{"create roles", tenant.CheckError, "ALTER ROLE " + user + " NOCREATEROLE", "ALTER ROLE " + user + " CREATEROLE", `ALTER ROLE "` + user + `" CREATEROLE`},
		{"end sessions", tenant.CheckError, "ALTER ROLE " + user + " NOCREATEROLE", "ALTER ROLE " + user + " CREATEROLE", "GRANT pg_signal_backend TO"},
		{"tenants connect", tenant.CheckError, "REVOKE CONNECT ON DATABASE " + database + " FROM PUBLIC", "GRANT CONNECT ON DATABASE " + database + " TO PUBLIC", "GRANT CONNECT"},
		{"schema public", tenant.CheckWarning, "GRANT CREATE ON SCHEMA public TO PUBLIC", "REVOKE CREATE ON SCHEMA public FROM PUBLIC", "REVOKE CREATE ON SCHEMA public FROM PUBLIC"},
	} {
		_, err := admin.Exec(t.Context(), c.take)
		must(t, err)
		if got := status(b)[c.name]; got.Status != c.status || !strings.Contains(got.Hint, c.hint) {
			t.Errorf("after %s, the check is %+v, want %s with %s", c.take, got, c.status, c.hint)
		}
		_, err = admin.Exec(t.Context(), c.give)
		must(t, err)
		if got := status(b)[c.name]; got.Status != tenant.CheckOK {
			t.Errorf("after %s, the check is %+v", c.give, got)
		}
	}
	all, err := strconv.Atoi(b.scalar("current_setting('max_connections')"))
	must(t, err)
	many := b.over(example, func(c *Config) { c.MaxConnections = all }).at(b.cfg.URL)
	for _, name := range []string{"connections", "locks"} {
		if got := status(many)[name]; got.Status != tenant.CheckWarning {
			t.Errorf("with as many connections as there are, %s is %+v", name, got)
		}
	}
	behind := b.at(pooler{backends: 2, version: "15.1"}.start(t, b.cfg.URL))
	if got := status(behind)["sessions"]; got.Status != tenant.CheckWarning || !strings.Contains(got.Message, "pooler") {
		t.Errorf("behind a pooler, sessions are %+v", got)
	}
	b.pool.Close()
	if got := b.Doctor(t.Context()); len(got) != 1 || got[0].Status != tenant.CheckError {
		t.Errorf("without a connection, the doctor says %+v", got)
	}
}
