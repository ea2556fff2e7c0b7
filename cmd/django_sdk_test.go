package cmd_test

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/resolver"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// The secrets in sdk/django/tests/settings.py.
var djangoKeys = []string{"a new secret of assertions, long enough", "an old secret of assertions, long enough"}

// djangoTenant is what the tests of sdk/django know of a tenant.
type djangoTenant struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Schema   string `json:"schema"`
	Role     string `json:"role"`
	Database string `json:"database"`
	State    string `json:"state"`
	Revision int64  `json:"revision"`

	Generation string `json:"generation"`
}

// odd is a tenant as an adopted one may be named: each character that is special to SQL, Python or a driver.
func (b *bench) odd(t *testing.T) djangoTenant {
	t.Helper()
	name := b.prefix + `o"d'd\ 100%s {x} é`
	id := pgx.Identifier{name}.Sanitize()
	acme := pgx.Identifier{b.prefix + "acme"}.Sanitize()
	sql := `CREATE ROLE ID; CREATE SCHEMA ID AUTHORIZATION ID;
		CREATE TABLE ID.customers (more text, LIKE ACME.customers INCLUDING ALL); ALTER TABLE ID.customers OWNER TO ID`
	if _, err := b.pg.Exec(t.Context(), strings.NewReplacer("ID", id, "ACME", acme).Replace(sql)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := b.pg.Exec(context.Background(), `DROP SCHEMA `+id+` CASCADE; DROP ROLE `+id); err != nil {
			t.Error(err)
		}
	})
	return djangoTenant{ID: "odd", Name: "odd", Schema: name, Role: name, State: "active", Generation: "5e"}
}

// applicationLogin makes the one login of an application, which may become each tenant and is nobody itself.
func (b *bench) applicationLogin(t *testing.T, roles ...string) (user, password string) {
	t.Helper()
	user, password = b.prefix+"app", "of-the-test"
	login := pgx.Identifier{user}.Sanitize()
	sql := `CREATE ROLE ` + login + ` LOGIN NOINHERIT PASSWORD '` + password + `';
		GRANT USAGE ON SCHEMA tenantctl TO ` + login + `; GRANT SELECT ON tenantctl.routes TO ` + login
	// NOINHERIT holds for tenants; the catalog is granted to the login itself.
	for _, role := range roles {
		sql += `; GRANT ` + pgx.Identifier{role}.Sanitize() + ` TO ` + login
	}
	if _, err := b.pg.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := b.pg.Exec(context.Background(), `DROP OWNED BY `+login+`; DROP ROLE `+login); err != nil {
			t.Error(err)
		}
	})
	return user, password
}

// djangoServer is how Django's settings name a server.
func djangoServer(t *testing.T, to string) map[string]any {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal("the server's URL cannot be read")
	}
	password, _ := u.User.Password()
	return map[string]any{
		"HOST": u.Hostname(), "PORT": u.Port(), "NAME": strings.TrimPrefix(u.Path, "/"),
		"USER": u.User.Username(), "PASSWORD": password, "OPTIONS": map[string]any{"sslmode": "disable"},
	}
}

// djangoFacts makes the tenants and the login, and tells the tests of them.
func djangoFacts(t *testing.T, b *bench) string {
	t.Helper()
	b.must(t, "init")
	b.must(t, "create", "acme", "globex", "closed")
	b.must(t, "suspend", "closed")
	tenants := map[string]djangoTenant{"odd": b.odd(t)}
	for _, name := range []string{"acme", "globex"} {
		var d djangoTenant
		err := b.pg.QueryRow(t.Context(), `SELECT tenant_id::text, name, schema_name, role_name, database_name, state, revision, generation
			FROM tenantctl.routes WHERE name = $1`, name).
			Scan(&d.ID, &d.Name, &d.Schema, &d.Role, &d.Database, &d.State, &d.Revision, &d.Generation)
		if err != nil {
			t.Fatal(err)
		}
		tenants[name] = d
	}
	acme := tenants["acme"]
	user, password := b.applicationLogin(t, acme.Role, tenants["globex"].Role, tenants["odd"].Role)
	server := djangoServer(t, b.postgres)
	through, err := url.Parse(b.postgres)
	if err != nil {
		t.Fatal("the server's URL cannot be read")
	}
	through.User = url.UserPassword(user, password)
	pooler := djangoServer(t, tenanttest.PgBouncer(t, through.String(), 2))
	super := djangoServer(t, b.as(t, tenanttest.SuperuserURL(t)))
	super["TEST"] = map[string]any{"NAME": b.prefix + "of_django"}
	server["USER"], server["PASSWORD"] = user, password

	keys, err := resolver.NewKeys([]byte(djangoKeys[0]))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	asserted := keys.Sign(&resolver.Tenant{
		ID: acme.ID, Name: acme.Name, State: acme.State, Schema: acme.Schema, Role: acme.Role, Database: acme.Database,
		Revision: acme.Revision, Generation: acme.Generation,
	}, "acme.example.com", now)
	keyFile := filepath.Join(b.dir, "assertion.keys")
	if err := os.WriteFile(keyFile, []byte(strings.Join(djangoKeys, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	facts, err := json.Marshal(map[string]any{
		"tenants": tenants, "server": server, "pooler": pooler, "superuser": super, "mongodb": b.mongodb,
		"assertion": asserted, "asserted_at": now.Unix(), "key_file": keyFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(facts)
}

func TestTheDjangoSDKKeepsTenantsApart(t *testing.T) {
	b := newBench(t)
	facts := djangoFacts(t, b)
	dir, err := filepath.Abs("../sdk/django")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	path := djangoPath(t)
	c := exec.CommandContext(ctx, "env", "PATH="+path, "python3", "-m", "unittest", "discover", "-t", ".", "-s", "tests")
	c.Dir = dir
	c.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "TENANTCTL_TEST_DJANGO="+facts)
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nOK\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheDjangoSDKIsTyped(t *testing.T) {
	c := exec.Command("mypy", "--strict", "--cache-dir", t.TempDir())
	c.Dir = "../sdk/django"
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
