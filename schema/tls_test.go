package schema

import (
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// encryptedServer is a server that takes TLS with a certificate alone, and the URL of a provisioner that verifies it.
func encryptedServer(t *testing.T) (*tenanttest.Certificates, *url.URL) {
	t.Helper()
	certs := tenanttest.NewCertificates(t)
	server := tenanttest.PostgresServer(t)
	server.Encrypt(certs)
	super := connect(t, server.URL())
	_, err := super.Exec(t.Context(), "CREATE ROLE provisioner LOGIN CREATEROLE PASSWORD 'provisioner-secret'; GRANT CREATE ON DATABASE postgres TO provisioner", pgx.QueryExecModeSimpleProtocol)
	must(t, err)
	u, err := url.Parse(server.URL())
	must(t, err)
	u.User, u.Host = url.UserPassword("provisioner", "provisioner-secret"), "localhost:"+u.Port()
	u.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {certs.CA}, "sslcert": {certs.ClientCert}, "sslkey": {certs.ClientKey}}.Encode()
	return certs, u
}

func TestATenantIsMadeDumpedAndProbedOverVerifiedTLS(t *testing.T) {
	t.Parallel()
	_, u := encryptedServer(t)
	cfg := Config{URL: u.String(), MaxConnections: 4, ConnectTimeout: 10 * time.Second, LockTimeout: 2 * time.Second, Roles: true, Dir: example}
	b := bench{Resource: New(openPool(t, cfg), cfg), t: t, prefix: tenanttest.Prefix(t)}
	tn, other := b.created("acme"), b.created("globex")
	if n := b.scalar("SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'provisioner' AND NOT s.ssl"); n != "0" {
		t.Errorf("%s connections are not encrypted", n)
	}
	if got := b.letsThrough(tn, other); len(got) > 0 {
		t.Errorf("these got through: %v", got)
	}
	if l := b.Login(tn); !strings.Contains(l.Options, "sslmode=verify-full") || l.Host != "localhost" {
		t.Errorf("the tenant is told to connect by %+v", l)
	}
	// PostgreSQL's own programs connect in the same way: pg_dump and, for a person, psql.
	if _, err := b.run(t.Context(), nil, "pg_dump", "--schema-only", "--schema="+tn.Schema); err != nil {
		t.Errorf("pg_dump: %v", err)
	}
	program, _, env, cleanup, err := b.Command(t.Context(), tn, tenant.ShellOptions{AsProvisioner: true})
	must(t, err)
	defer cleanup()
	c := exec.Command(program, "--no-psqlrc", "--tuples-only", "--no-align", "--command=SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
	c.Env = env
	if out, err := c.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "t" {
		t.Errorf("psql said %q, %v", out, err)
	}
	for _, check := range b.Doctor(t.Context()) {
		if check.Name == "encryption" && check.Status != tenant.CheckOK {
			t.Errorf("doctor says %+v", check)
		}
	}
}

func TestAServerOrClientThatCannotProveItselfIsRefused(t *testing.T) {
	t.Parallel()
	_, right := encryptedServer(t)
	other := tenanttest.NewCertificates(t)
	for name, c := range map[string]struct {
		change func(*url.URL, url.Values)
		says   string
	}{
		"another authority":            {func(_ *url.URL, q url.Values) { q.Set("sslrootcert", other.CA) }, "its certificate cannot be trusted"},
		"another name":                 {func(u *url.URL, _ url.Values) { u.Host = "127.0.0.1:" + u.Port() }, "its certificate cannot be trusted"},
		"no certificate of the client": {func(_ *url.URL, q url.Values) { q.Del("sslcert"); q.Del("sslkey") }, "requires a valid client certificate"},
		// The server may be gone before its answer is read.
		"a certificate of another's": {func(_ *url.URL, q url.Values) { q.Set("sslcert", other.ClientCert); q.Set("sslkey", other.ClientKey) }, "tls: |connection reset"},
		"no encryption":              {func(_ *url.URL, q url.Values) { q.Set("sslmode", "disable") }, "no encryption"},
	} {
		u, q := *right, right.Query()
		c.change(&u, q)
		u.RawQuery = q.Encode()
		pool, err := Open(t.Context(), Config{URL: u.String(), ConnectTimeout: 5 * time.Second})
		if err == nil {
			pool.Close()
			t.Errorf("with %s it connects", name)
			continue
		}
		e := refused(t, err, tenant.ErrUnreachable, "cannot connect to database postgres at ")
		if said := e.Msg + e.Hint; !regexp.MustCompile(c.says).MatchString(said) || strings.Contains(said, "secret") {
			t.Errorf("with %s it says %q", name, said)
		}
	}
}
