package schema

import (
	"net/url"
	"os"
	"os/exec"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// The tests' provisioner is made by the same file; here a person runs it with psql.
func TestPsqlMakesAProvisionerThatDoesEverythingAndIsNoMoreThanItMustBe(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	role := b.prefix + "by psql's \"hand\""
	u, err := url.Parse(tenanttest.SuperuserURL(t))
	must(t, err)
	u.Path = "/" + b.prefix + "db"
	c := exec.Command("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "-v", "role="+role, "-v", "database="+b.prefix+"db", "-v", "password=it's secret", "-f", "../migrations/roles/provisioner.sql")
	c.Env = append(os.Environ(), "PGHOST="+u.Hostname(), "PGPORT="+u.Port(), "PGUSER="+u.User.Username(), "PGDATABASE="+b.prefix+"db", "PGPASSWORD="+passwordOf(u))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	u.User = url.UserPassword(role, "it's secret")
	b = b.at(u.String())
	for _, check := range b.Doctor(t.Context()) {
		if check.Status != tenant.CheckOK && check.Name != "pg_dump" { // that of this machine may be older than the server
			t.Errorf("%+v", check)
		}
	}
	tn, other := b.created("acme"), b.created("globex")
	if got := b.letsThrough(tn, other); len(got) > 0 {
		t.Errorf("these got through: %v", got)
	}
	must(t, b.SetPassword(t.Context(), tn, password, nil))
	_, err = b.Lock(t.Context(), tn)
	must(t, err)
	must(t, b.Unlock(t.Context(), tn))
	if powers := b.scalar("SELECT concat(rolsuper, rolcreatedb, rolreplication, rolbypassrls) FROM pg_roles WHERE rolname = current_user"); powers != "ffff" {
		t.Errorf("its powers are %s", powers)
	}
	for _, sql := range []string{
		"SELECT rolpassword FROM pg_authid", "SELECT pg_read_file('PG_VERSION')", "COPY (SELECT 1) TO PROGRAM 'true'", "CREATE DATABASE more", "CREATE TABLE public.mine ()",
		"ALTER SYSTEM SET work_mem = '1GB'", "DROP DATABASE " + b.prefix + "db",
	} {
		if _, err := b.pool.Exec(t.Context(), sql); code(err) != insufficientRights {
			t.Errorf("%s: %v", sql, err)
		}
	}
	must(t, b.Drop(t.Context(), tn))
	must(t, b.Drop(t.Context(), other))
}

func passwordOf(u *url.URL) string {
	p, _ := u.User.Password()
	return p
}
