package schema

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// pooled is the resource behind a PgBouncer in transaction mode with that many connections, with the way past it.
func (b bench) pooled(connections int) bench {
	b.t.Helper()
	direct := b.cfg.URL
	b = b.at(tenanttest.PgBouncer(b.t, direct, connections))
	b.cfg.DirectURL = direct
	b = b.over(b.cfg.Dir)
	b.t.Cleanup(b.Close)
	return b
}

func TestWhatNeedsASessionGoesPastPgBouncer(t *testing.T) {
	t.Parallel()
	dir := copied(t, example)
	b := newBench(t, dir).pooled(1)
	write(t, dir, "00006_name.sql", concurrently+"CREATE INDEX CONCURRENTLY later ON customers (name);\nCREATE INDEX CONCURRENTLY later_too ON customers (name, email);")
	tn := b.over(dir, func(c *Config) { c.DirectURL = b.cfg.DirectURL }).created("acme")
	if n := b.scalar("SELECT count(*) FROM pg_index WHERE indrelid = '%s.customers'::regclass AND indisvalid", tn.Schema); n < "4" {
		t.Errorf("there are %s indexes", n)
	}
	if n := b.scalar("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"); n != "0" {
		t.Errorf("%s locks are left", n)
	}
	without := b.over(dir, func(c *Config) { c.DirectURL = "" })
	never := b.tenant("never")
	refused(t, without.Create(t.Context(), never), tenant.ErrUnsupported, "NO TRANSACTION", "PgBouncer", "postgres.direct_url")
}

func TestAWrongWayPastThePoolerIsNamedByItsKey(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	u, err := url.Parse(b.cfg.URL)
	must(t, err)
	u.User = url.UserPassword(u.User.Username(), "wrong")
	wrong := b.over(example, func(c *Config) { c.DirectURL = u.String() })
	_, err = wrong.session(t.Context())
	e := refused(t, err, tenant.ErrUnreachable, "postgres.direct_url")
	if strings.Contains(e.Msg+e.Hint, "postgres.url") {
		t.Errorf("it names the wrong key: %s; %s", e.Msg, e.Hint)
	}
	elsewhere := b.over(example, func(c *Config) { c.DirectURL = tenanttest.PgBouncer(t, b.cfg.URL, 2) })
	t.Cleanup(elsewhere.Close)
	check := checkOf(t, elsewhere, "pooler")
	if check.Status != tenant.CheckError || !strings.Contains(check.Hint, "postgres.direct_url") {
		t.Errorf("of a way that leads to a pooler, doctor says %+v", check)
	}
}

// With one connection to the server for all, two tenants take turns at it.
func TestTenantsThatTakeTurnsAtAPoolOfOneAreNotTakenForEachOther(t *testing.T) {
	t.Parallel()
	b := newBench(t, example).pooled(1)
	a, o := b.created("acme"), b.created("globex")
	turns := 0
	must(t, b.ProbePool(t.Context(), a, o, func(at tenant.Attempt) {
		turns++
		if at.Outcome != tenant.AttemptRefused {
			t.Errorf("%+v", at)
		}
	}))
	if turns != 4*poolRounds {
		t.Errorf("%d attempts were made", turns)
	}
	if n := b.scalar("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, '%s') AND rolname LIKE '%%probe%%'", b.prefix); n != "0" {
		t.Errorf("%s roles are left", n)
	}
}

// A pooler that logs in as one user for all takes tenants for each other: the transaction shows whose rights it has.
func TestAPoolThatIsSharedByTenantsIsFound(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	a, o := b.created("acme"), b.created("globex")
	l, err := b.lend(t.Context(), a)
	must(t, err)
	conn, err := l.connect(t.Context(), b.pool.Config().ConnConfig)
	must(t, err)
	defer func() { must(t, l.takeBack(t.Context())) }()
	first, second := &guest{conn: conn, t: a}, &guest{conn: conn, t: o} // one session for both
	taken, seen, err := first.turn(t.Context())
	must(t, err)
	if taken.Outcome != tenant.AttemptRefused || seen.Outcome != tenant.AttemptRefused {
		t.Errorf("%+v, %+v", taken, seen)
	}
	taken, seen, err = second.turn(t.Context())
	must(t, err)
	if taken.Outcome != tenant.AttemptThrough || seen.Outcome != tenant.AttemptThrough {
		t.Errorf("%+v, %+v", taken, seen)
	}
}

// checkOf is what doctor says under a name.
func checkOf(t *testing.T, b bench, name string) tenant.Check {
	t.Helper()
	for _, c := range b.Doctor(t.Context()) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("doctor has no check %q: %+v", name, b.Doctor(t.Context()))
	return tenant.Check{}
}
