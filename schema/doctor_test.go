package schema

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

func TestDoctorFindsNothingWhereAllIsWell(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	b.created("acme")
	seen := 0
	for _, c := range b.Doctor(t.Context()) {
		if seen++; c.Status != tenant.CheckOK {
			t.Errorf("%+v", c)
		}
		if strings.Contains(c.Message, "%!") {
			t.Errorf("%q is not put together right", c.Message)
		}
	}
	if seen < 15 {
		t.Errorf("it checks %d things", seen)
	}
}

// From PostgreSQL 16 on a role is administered by who made it: that of a tenant here by this provisioner, that of a tenant
// in another database of the server by another, which is nothing to be told of.
func TestDoctorAsksForTheRolesOfItsOwnTenantsAlone(t *testing.T) {
	t.Parallel()
	b, elsewhere := newBench(t, example), newBench(t, example)
	tn := b.created("acme")
	elsewhere.created("globex")
	roles := func() (found tenant.Check) {
		for _, c := range b.Doctor(t.Context()) {
			if c.Name == "roles" {
				found = c
			}
		}
		return found
	}
	if c := roles(); c.Name != "" {
		t.Errorf("where all is well it says %+v", c)
	}
	if b.major() < 16 {
		return
	}
	b.asSuper("REVOKE ADMIN OPTION FOR " + tn.Role + " FROM %sprovisioner")
	c := roles()
	hint, _, _ := strings.Cut(c.Hint, ",")
	if c.Status != tenant.CheckError || !strings.Contains(c.Message, "may not administer 1 role of tenants, such as "+tn.Role) || hint == "" {
		t.Fatalf("without the right over a role it says %+v", c)
	}
	_, err := b.super().Exec(t.Context(), hint)
	must(t, err)
	if c := roles(); c.Name != "" {
		t.Errorf("after %s it says %+v", hint, c)
	}
}

// Each reason why other commands would fail is found, with what mends it.
func TestDoctorFindsWhatWouldBreak(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		check, status string
		make          func(bench) bench
		message, hint string
	}{
		{"superuser", tenant.CheckWarning, func(b bench) bench {
			u, err := url.Parse(tenanttest.SuperuserURL(b.t))
			must(b.t, err)
			u.Path = "/" + b.prefix + "db"
			return b.at(u.String())
		}, "has the server", "docs/security.md"},
		{"connection limit", tenant.CheckError, func(b bench) bench {
			b.asSuper("ALTER ROLE %sprovisioner CONNECTION LIMIT 3")
			return b
		}, "allows 3 connections, and postgres.max_connections is 4", "CONNECTION LIMIT 4"},
		{"connection limit", tenant.CheckError, func(b bench) bench {
			b.asSuper("ALTER DATABASE %sdb CONNECTION LIMIT 2")
			return b
		}, "allows 2 connections", "CONNECTION LIMIT 4"},
		{"time-outs", tenant.CheckWarning, func(b bench) bench {
			b.asSuper("ALTER ROLE %sprovisioner SET idle_in_transaction_session_timeout = '30s'")
			return b.at(b.cfg.URL)
		}, "idle_in_transaction_session_timeout is 30s", "SET idle_in_transaction_session_timeout = 0"},
		{"time-outs", tenant.CheckWarning, func(b bench) bench {
			b.asSuper("ALTER DATABASE %sdb SET statement_timeout = '1min'")
			return b.at(b.cfg.URL)
		}, "statement_timeout is 1m0s", "SET statement_timeout = 0"},
		{"schemas", tenant.CheckError, func(b bench) bench {
			b.created("acme")
			b.asSuper("CREATE ROLE %[1]sother; ALTER SCHEMA %[1]sacme OWNER TO %[1]sother")
			return b
		}, "1 schema of tenants belong to others", "other"},
		{"locks of the biggest", tenant.CheckWarning, func(b bench) bench {
			b = b.over(one(b.t, manyTablesSQL(80)), func(c *Config) { c.MaxConnections = 202 })
			b.Resource = New(openPool(b.t, b.cfg), b.cfg)
			b.created("acme")
			return b
		}, "200 tenants of that size at once need", "max_locks_per_transaction"},
		{"pg_dump", tenant.CheckWarning, func(b bench) bench {
			return b.over(example, func(c *Config) { c.Bin = b.t.TempDir() })
		}, "not to be found", "install"},
		{"pressure", tenant.CheckError, func(b bench) bench {
			return b.over(example, func(c *Config) { c.MaxActive = 5 })
		}, "may not see", "GRANT pg_read_all_stats"},
		{"pooler", tenant.CheckError, func(b bench) bench {
			u, err := url.Parse(b.cfg.URL)
			must(b.t, err)
			u.Path = "/postgres"
			b = b.over(example, func(c *Config) { c.DirectURL = u.String() })
			b.t.Cleanup(b.Close)
			return b
		}, "does not lead past the pooler to the same database", "postgres.direct_url"},
		{"sessions", tenant.CheckWarning, func(b bench) bench {
			return b.at(tenanttest.PgBouncer(b.t, b.cfg.URL, 2))
		}, "NO TRANSACTION migrations cannot run", "postgres.direct_url"},
	} {
		t.Run(c.check, func(t *testing.T) {
			t.Parallel()
			got := checkOf(t, c.make(newBench(t, example)), c.check)
			if got.Status != c.status || !strings.Contains(got.Message, c.message) || !strings.Contains(got.Hint, c.hint) || strings.Contains(got.Message+got.Hint, "%!") {
				t.Errorf("it says %+v", got)
			}
		})
	}
}

// asSuper runs SQL with every right; the bench's prefix is put in.
func (b bench) asSuper(format string) {
	b.t.Helper()
	_, err := b.super().Exec(b.t.Context(), fmt.Sprintf(format, b.prefix))
	must(b.t, err)
}

func manyTablesSQL(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "CREATE TABLE t%d (id int PRIMARY KEY);\n", i)
	}
	return b.String()
}

func TestAConnectionThatCanBeReadAlongIsTold(t *testing.T) {
	plain, _ := net.Pipe()
	for _, c := range []struct {
		host string
		conn net.Conn
		want bool
	}{
		{"db.example.com", plain, false},
		{"10.0.0.7", plain, false},
		{"db.example.com", tls.Client(plain, &tls.Config{ServerName: "db.example.com"}), true},
		{"localhost", plain, true},
		{"127.0.0.1", plain, true},
		{"::1", plain, true},
		{"/var/run/postgresql", plain, true},
	} {
		if got := encrypted(c.host, c.conn); got != c.want {
			t.Errorf("%s with %T: got %t", c.host, c.conn, got)
		}
	}
}
