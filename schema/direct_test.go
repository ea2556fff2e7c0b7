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

// A file that leaves something in its session runs past the pooler, whose one session stays as new; without a way past it
// the file is refused before anything is done.
func TestWhatAFileLeavesReachesNoSessionOfPgBouncer(t *testing.T) {
	t.Parallel()
	for what, sql := range map[string]string{
		"SET timezone":             "SET timezone = 'Asia/Tokyo'",
		"SET of another reading":   "SET standard_conforming_strings = off",
		"set_config":               "SELECT set_config('statement_timeout', '12345', false)",
		"PREPARE":                  "PREPARE left_over AS SELECT 1",
		"LISTEN":                   "LISTEN left_over",
		"a temporary object":       "CREATE TEMP TABLE left_over (id int)",
		"an object in pg_temp":     "CREATE FUNCTION pg_temp.left_over() RETURNS int LANGUAGE sql AS 'SELECT 1'",
		"a cursor WITH HOLD":       "DECLARE left_over CURSOR WITH HOLD FOR SELECT 1",
		"pg_advisory_lock":         "SELECT pg_advisory_lock(4242)",
		"a temporary object in DO": "DO $$ BEGIN CREATE TEMP TABLE left_over (id int); END $$",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, map[string]string{"00001_leaves.sql": "-- +goose Up\n-- +goose StatementBegin\n" + sql + ";\n-- +goose StatementEnd\n"})
			b := newBench(t, dir).pooled(1)
			before := b.session1(t)
			without := b.over(dir, func(c *Config) { c.DirectURL = "" })
			refused(t, without.Create(t.Context(), b.tenant("never")), tenant.ErrUnsupported, "00001_leaves.sql", "PgBouncer", "postgres.direct_url")
			b.created("acme")
			if after := b.session1(t); after != before {
				t.Errorf("the session was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

// session1 is what there is in the one session that the pooler has.
func (b bench) session1(t *testing.T) string {
	t.Helper()
	return b.scalar(`SELECT concat_ws(E'\n', (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE source = 'session'),
		(SELECT string_agg(name, ' ') FROM pg_prepared_statements WHERE from_sql), (SELECT string_agg(c, ' ') FROM pg_listening_channels() c),
		(SELECT string_agg(name, ' ') FROM pg_cursors WHERE is_holdable), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
		(SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relname = 'left_over'),
		(SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()))`)
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
