package schema

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// counting makes a bench use pg_dump by way of a script that notes each call, and gives what counts them. before is run
// by the script, before pg_dump.
func (b bench) counting(before string) (counted bench, calls func() int) {
	b.t.Helper()
	program, err := b.client(b.t.Context(), b.major())
	must(b.t, err)
	dir := b.t.TempDir()
	log := filepath.Join(dir, "log")
	script := func(name, real, first string) {
		content := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" != --version ]; then :\n%s\nfi\nexec %s \"$@\"\n", first, real)
		must(b.t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o700))
	}
	script("pg_dump", program.dump, "echo called >> "+log+"\n"+before)
	script("pg_restore", program.restore, "")
	counted = b.over(b.cfg.Dir, func(c *Config) { c.Bin = dir })
	return counted, func() int {
		content, _ := os.ReadFile(log)
		return strings.Count(string(content), "called")
	}
}

func TestPgDumpRunsOnceForAllTenantsOfAStructure(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	b.catalog()
	b, calls := b.counting("")
	var g errgroup.Group
	for i := range 4 {
		tn := b.created(fmt.Sprintf("acme-%d", i))
		g.Go(func() error {
			_, err := b.Dump(t.Context(), tn, new(memory), tenant.DumpOptions{})
			return err
		})
	}
	must(t, g.Wait())
	if n := calls(); n != 1 {
		t.Errorf("pg_dump was called %d times for tenants made alike", n)
	}
	drifted := b.created("drifted")
	b.exec("ALTER TABLE %s.customers ADD COLUMN extra int", drifted.Schema)
	m := b.dump(drifted)
	if n := calls(); n != 2 || !strings.Contains(m.file(t, partPre).String(), "extra") {
		t.Errorf("pg_dump was called %d times with one tenant that drifted", n)
	}
	again, calls := b.counting("")
	same(t, m, again.dump(drifted))
	if n := calls(); n != 0 {
		t.Errorf("another process calls pg_dump %d times for what the catalog has", n)
	}
	b.exec("GRANT SELECT ON %s.customers TO PUBLIC", drifted.Schema)
	if grants := again.dump(drifted).file(t, partGrants).String(); calls() != 1 || !strings.Contains(grants, "customers TO PUBLIC") {
		t.Errorf("a right that was given is not in\n%s", grants)
	}
}

func TestATableMadeWhilePgDumpRunsIsInTheBackup(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	marker := filepath.Join(t.TempDir(), "done")
	u := b.pool.Config().ConnConfig
	b, calls := b.counting(fmt.Sprintf("test -e %s || PGPASSWORD=%s psql -q -h %s -p %d -U %s -d %s -c 'CREATE TABLE %s.late AS SELECT 1 AS one'; touch %[1]s",
		marker, u.Password, u.Host, u.Port, u.User, u.Database, tn.Schema))
	m := b.dump(tn)
	if !strings.Contains(m.file(t, "late").String(), "\n1\n") || !strings.Contains(m.file(t, partPre).String(), "late") || calls() != 2 {
		t.Errorf("after %d calls of pg_dump, the backup has %v", calls(), paths(m.sorted()))
	}
	to := b.tenant("globex")
	must(t, m.into(t.Context(), b.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true}, 1<<20))
}

// paused is a writer that stops at the first part with rows until it is let go.
type paused struct {
	memory
	once          sync.Once
	reached, goOn chan struct{}
}

func (p *paused) Create(path, name string) (tenant.PartFile, error) {
	if name != "" {
		p.once.Do(func() {
			close(p.reached)
			<-p.goOn
		})
	}
	return p.memory.Create(path, name)
}

func TestABackupIsOfOneMoment(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	b.exec("INSERT INTO %s.customers (email, name) VALUES ('a', 'a')", tn.Schema)
	p := &paused{reached: make(chan struct{}), goOn: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		_, err := b.Dump(t.Context(), tn, p, tenant.DumpOptions{Parallel: 2})
		done <- err
	}()
	select {
	case <-p.reached:
	case err := <-done:
		t.Fatalf("it ends before it reads rows: %v", err)
	}
	b.exec("INSERT INTO %[1]s.customers (email, name) VALUES ('b', 'b'); INSERT INTO %[1]s.orders (customer_id) VALUES (2); CREATE TABLE %[1]s.late (a int)", tn.Schema)
	if _, err := b.pool.Exec(t.Context(), fmt.Sprintf("SET lock_timeout = '50ms'; ALTER TABLE %s.orders ADD COLUMN x int", tn.Schema)); code(err) != "" && code(err) != lockNotAvailable {
		t.Fatal(err)
	} else if err == nil {
		t.Error("a table changes while it is backed up")
	}
	b.exec("SET lock_timeout = 0")
	close(p.goOn)
	must(t, <-done)
	for name, want := range map[string]int64{"customers": 1, "orders": 0} {
		if f := p.file(t, name); f.part.Rows != want {
			t.Errorf("%s has %d rows, want %d", name, f.part.Rows, want)
		}
	}
	for _, f := range p.files {
		if f.part.Name == "late" {
			t.Error("a table that was made later is in it")
		}
	}
}

func TestSeveralConnectionsReadGreatTables(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	for i := range 6 {
		b.exec("CREATE TABLE %s.big_%d AS SELECT i, repeat('x', 100) AS t FROM generate_series(1, 20000) i", tn.Schema, i)
	}
	var together, most int
	var mu sync.Mutex
	w := &watched{memory: new(memory), step: func(n int) {
		mu.Lock()
		defer mu.Unlock()
		together += n
		most = max(most, together)
	}}
	info, err := b.Dump(t.Context(), tn, w, tenant.DumpOptions{Parallel: 3})
	must(t, err)
	if most < 2 {
		t.Errorf("%d tables were read at once", most)
	}
	w.info = info
	one := b.over(b.cfg.Dir)
	to := one.tenant("globex")
	must(t, w.into(t.Context(), one.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true, Parallel: 3}, 100_000))
	same(t, w.memory, one.dump(to))
}

// watched counts the parts that are open at once.
type watched struct {
	*memory
	step func(n int)
}

type watchedFile struct {
	tenant.PartFile
	step func(n int)
}

func (w *watched) Create(path, name string) (tenant.PartFile, error) {
	f, err := w.memory.Create(path, name)
	w.step(1)
	return watchedFile{f, w.step}, err
}

func (f watchedFile) End(rows int64, sum uint64) error {
	f.step(-1)
	return f.PartFile.End(rows, sum)
}

func TestABackupNeedsOneConnectionOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	b.catalog()
	b = b.at(b.cfg.URL)
	cfg := b.cfg
	cfg.MaxConnections = 1
	b.Resource = New(openPool(t, cfg), cfg)
	tn := b.created("acme")
	for i := range 3 {
		b.exec("CREATE TABLE %s.big_%d AS SELECT i, repeat('x', 100) AS t FROM generate_series(1, 40000) i", tn.Schema, i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m := new(memory)
	info, err := b.Dump(ctx, tn, m, tenant.DumpOptions{Parallel: 4})
	must(t, err)
	m.info = info
	to := b.tenant("globex")
	must(t, m.into(ctx, b.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true, Parallel: 4}, 50_000))
	must(t, b.Clone(ctx, tn, b.tenant("initech"), true))
	same(t, m, b.dump(to))
}

func TestABackupGoesThroughAPoolerThatSharesSessions(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, "CREATE TABLE orders (id int PRIMARY KEY, at timestamptz DEFAULT now()); CREATE INDEX ON orders (at); INSERT INTO orders SELECT generate_series(1, 30000);"))
	tn := b.created("acme")
	direct := b.dump(tn)
	pooled := b.at(pooler{backends: 2, roundRobin: true, version: b.scalar("current_setting('server_version')")}.start(t, b.cfg.URL))
	pooled.definitions.put(definitionKeyOf(t, b, tn), b.definitions.get(definitionKeyOf(t, b, tn)))
	same(t, direct, pooled.dump(tn))
	pooled.cfg.DirectURL = b.cfg.URL // what loads works by a login of its own, which no pooler has
	pooled.Resource = New(pooled.pool, pooled.cfg)
	t.Cleanup(pooled.Close)
	to := b.tenant("globex")
	must(t, direct.into(t.Context(), pooled.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true, Parallel: 2}, 1<<20))
	same(t, direct, b.dump(to))
	must(t, pooled.Clone(t.Context(), tn, b.tenant("initech"), true))
}

func definitionKeyOf(t *testing.T, b bench, tn tenant.Tenant) definitionKey {
	t.Helper()
	conn, err := b.acquire(t.Context())
	must(t, err)
	defer conn.Release()
	s, _, err := b.inspect(t.Context(), conn, tn)
	must(t, err)
	return s.key()
}

func TestThousandsOfTablesDoNotRunOutOfLocks(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, "SELECT 1;"))
	tn := b.created("acme")
	for i := range 20 {
		b.exec("SELECT set_config('search_path', '%s', false); DO $$ BEGIN FOR i IN 1 .. 100 LOOP EXECUTE format('CREATE TABLE t_%d_%%s (id int PRIMARY KEY, v text)', i); END LOOP; END $$; SELECT set_config('search_path', '', false)", tn.Schema, i)
	}
	b.exec("INSERT INTO %s.t_3_7 SELECT i, repeat(md5(i::text), 200) FROM generate_series(1, 50) i", tn.Schema)
	m := b.dump(tn)
	to := b.tenant("globex")
	must(t, m.into(t.Context(), b.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true, Parallel: 2}, 1<<20))
	same(t, m, b.dump(to))
	must(t, b.Drop(t.Context(), tn))
	must(t, b.Drop(t.Context(), to))
}

func TestSomeTablesAloneAreLoaded(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.full("acme")
	b.exec("INSERT INTO %[1]s.customers (email, name) VALUES ('a', 'a'); INSERT INTO %[1]s.orders (customer_id) VALUES (1); COMMENT ON CONSTRAINT orders_customer_id_fkey ON %[1]s.orders IS 'x'", tn.Schema)
	m := b.dump(tn)
	side := b.tenant("side")
	must(t, m.into(t.Context(), b.Resource, side, tenant.LoadOptions{Names: []string{"orders", "measures_2024", "Weird Name"}}, 1<<20))
	got := b.scalar(`SELECT concat_ws(' ', (SELECT count(*) FROM %[1]s.orders), (SELECT count(*) FROM %[1]s.customers), (SELECT count(*) FROM %[1]s.measures), (SELECT count(*) FROM %[1]s."Weird Name"),
		(SELECT count(*) FROM pg_constraint WHERE connamespace = '%[1]s'::regnamespace AND contype = 'f'))`, side.Schema)
	if got != "1 0 2 1 0" {
		t.Errorf("there are %s orders, customers, measures, rows of the weird table, foreign keys", got)
	}
	refused(t, m.into(t.Context(), b.Resource, b.tenant("wrong"), tenant.LoadOptions{Names: []string{"order"}}, 1<<20), tenant.ErrNotFound, `"order"`, "order_lines")
}

func TestALoadSaysWhatIsMissingHere(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	from := b.full("acme")
	m := b.dump(from)
	away := newBench(t, example)
	to := away.tenant("globex")
	refused(t, m.into(t.Context(), away.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true}, 1<<20), tenant.ErrUnsupported, "hstore", "CREATE EXTENSION")
	must(t, away.Drop(t.Context(), to))
	super := away.super()
	_, err := super.Exec(t.Context(), "CREATE SCHEMA ext; GRANT USAGE ON SCHEMA ext TO PUBLIC; CREATE EXTENSION hstore SCHEMA ext")
	must(t, err)
	gone := b.prefix + "reader"
	b.exec("ALTER ROLE %s RENAME TO %sgone", gone, b.prefix)
	err = m.into(t.Context(), away.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true}, 1<<20)
	var e *tenant.Error
	if !errors.As(err, &e) || !strings.Contains(e.Msg, gone) || !strings.Contains(e.Hint, "CREATE ROLE") || !strings.Contains(e.Statement, "CREATE POLICY") {
		t.Errorf("a policy for a role that is missing here: %v (%#v)", err, e)
	}
	must(t, away.Drop(t.Context(), to))

	b.exec("DROP POLICY limits ON %s.eggs", from.Schema)
	m = b.dump(from)
	grants := m.file(t, partGrants)
	said := strings.ReplaceAll(grants.String(), b.prefix+"gone", gone) // a name that is nobody's by now
	grants.Reset()
	grants.WriteString(said)
	var notes []string
	must(t, m.into(t.Context(), away.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true, Log: func(s string) { notes = append(notes, s) }}, 1<<20))
	if len(notes) != 1 || !strings.Contains(notes[0], gone) {
		t.Errorf("rights of a role that is missing here: %q", notes)
	}
	if n := scalarOf(t, away.as(to), "SELECT count(*) FROM ids"); n != "3" {
		t.Errorf("%s ids", n)
	}
}

func TestALoadIsRefusedWhereSomethingStands(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	m := b.dump(tn)
	refused(t, m.into(t.Context(), b.Resource, tn, tenant.LoadOptions{Role: tn.Role, MakeRole: true}, 1<<20), tenant.ErrExists, tn.Schema)
	foreign := b.tenant("globex")
	b.exec("CREATE SCHEMA %s", foreign.Schema)
	refused(t, m.into(t.Context(), b.Resource, foreign, tenant.LoadOptions{Role: foreign.Role, MakeRole: true}, 1<<20), tenant.ErrForeign, foreign.Schema)
	refused(t, m.into(t.Context(), b.Resource, b.tenant("initech"), tenant.LoadOptions{Role: b.tenant("initech").Role}, 1<<20), tenant.ErrMissing, "role")
	_, err := b.Dump(t.Context(), b.tenant("nobody"), new(memory), tenant.DumpOptions{})
	refused(t, err, tenant.ErrMissing, "nobody")
	_, err = b.Dump(t.Context(), foreign, new(memory), tenant.DumpOptions{})
	refused(t, err, tenant.ErrForeign, foreign.Schema)
}

func TestTwoLoadsAtOnceMakeOne(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	m := b.dump(b.created("acme"))
	to := b.tenant("globex")
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			errs <- m.into(t.Context(), b.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true}, 1<<20)
		}()
	}
	one, other := <-errs, <-errs
	if one != nil && other != nil || one == nil && other == nil {
		t.Fatalf("two loads of one place end in %v and %v", one, other)
	}
	if err := errors.Join(one, other); !errors.Is(err, tenant.ErrExists) && !errors.Is(err, tenant.ErrBusy) {
		t.Errorf("the other is refused with %v", err)
	}
	same(t, m, b.dump(to))
}

func TestALoadThatDiesAtAnyRoundTripIsTakenAway(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, "CREATE TABLE orders (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY); INSERT INTO orders SELECT FROM generate_series(1, 9);"))
	m := b.dump(b.created("acme"))
	deaths := 0
	for n := int64(1); ; n++ {
		to := b.tenant(fmt.Sprintf("globex-%d", n))
		g := newGuillotine(t, b.cfg.URL, n, n%2 == 0)
		died := b.through(g, to, func(ctx context.Context, r *Resource, tn tenant.Tenant) error {
			return m.into(ctx, r, tn, tenant.LoadOptions{Role: tn.Role, MakeRole: true}, 1<<20)
		})
		if !g.fell.Load() {
			must(t, died)
			break
		}
		deaths++
		must(t, b.Drop(t.Context(), to))
		if state := b.state(to); state != "" {
			t.Fatalf("after a death at round trip %d there is\n%s", n, state)
		}
	}
	if deaths < 10 {
		t.Errorf("died at %d moments only", deaths)
	}
}

func TestALoadAndACloneEndWithTheirLease(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	l := b.catalog()
	from := b.created("acme")
	m := b.dump(from)
	late, to := l.ctx(0), b.tenant("globex")
	if err := m.into(late, b.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true}, 1<<20); !errors.Is(err, tenant.ErrFenced) {
		t.Errorf("load: %v, want it refused as taken over", err)
	}
	if err := b.Clone(late, from, to, true); !errors.Is(err, tenant.ErrFenced) {
		t.Errorf("clone: %v, want it refused as taken over", err)
	}
	if err := b.Revive(late, from); !errors.Is(err, tenant.ErrFenced) {
		t.Errorf("revive: %v, want it refused as taken over", err)
	}
	// Taken over in the midst of it.
	o := tenant.LoadOptions{Role: to.Role, MakeRole: true, Dumped: m.info, Log: func(string) {}}
	loading, err := b.Load(l.ctx(1), to, o)
	must(t, err)
	defer loading.Stop()
	w, err := loading.Part(t.Context(), m.file(t, partPre).part)
	must(t, err)
	_, err = w.Write(m.file(t, partPre).Bytes())
	must(t, err)
	must(t, w.Close())
	b.exec("UPDATE tenantctl.operations SET fence = 2")
	w, err = loading.Part(t.Context(), m.file(t, migrationfile.VersionTable).part)
	must(t, err)
	_, err = w.Write(m.file(t, migrationfile.VersionTable).Bytes())
	must(t, err)
	_ = w.Close() // what it says may come later
	for _, path := range []string{partSequences, partPost, partGrants} {
		if w, err := loading.Part(t.Context(), m.file(t, path).part); err == nil {
			_, _ = w.Write(m.file(t, path).Bytes())
			_ = w.Close()
		}
	}
	if err := loading.Finish(t.Context()); !errors.Is(err, tenant.ErrFenced) {
		t.Errorf("in the midst of it: %v, want it refused as taken over", err)
	}
	if n := scalar(t, b.super(), "SELECT count(*) FROM "+to.Schema+".goose_db_version"); n != "0" {
		t.Errorf("%s rows were loaded after the take-over", n)
	}
}

func TestAnInterruptedBackupSaysSo(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	ctx, cancel := context.WithCancel(t.Context())
	p := &paused{reached: make(chan struct{}), goOn: make(chan struct{})}
	go func() {
		<-p.reached
		cancel()
		close(p.goOn)
	}()
	_, err := b.Dump(ctx, tn, p, tenant.DumpOptions{})
	refused(t, err, tenant.ErrInterrupted)
	m := b.dump(tn)
	ctx, cancel = context.WithCancel(t.Context())
	to := b.tenant("globex")
	l, err := b.Load(ctx, to, tenant.LoadOptions{Role: to.Role, MakeRole: true, Dumped: m.info, Log: func(string) {}})
	must(t, err)
	cancel()
	_, err = l.Part(ctx, m.files[0].part)
	refused(t, err, tenant.ErrInterrupted)
	l.Stop()
	must(t, b.Drop(t.Context(), to))
}

func TestAnOldPgDumpIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	dir := t.TempDir()
	for _, name := range []string{"pg_dump", "pg_restore"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho \"$0 (PostgreSQL) 12.3\"\n"), 0o700))
	}
	old := b.over(b.cfg.Dir, func(c *Config) { c.Bin = dir })
	_, err := old.Dump(t.Context(), tn, new(memory), tenant.DumpOptions{})
	refused(t, err, tenant.ErrInvalid, "12.3", "postgresql-client")
	none := b.over(b.cfg.Dir, func(c *Config) { c.Bin = t.TempDir() })
	_, err = none.Dump(t.Context(), tn, new(memory), tenant.DumpOptions{})
	refused(t, err, tenant.ErrInvalid, "pg_dump", "postgresql-client")
}

func TestRowsThatDoNotMatchTheStructureTheyWereWithAreFound(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	m := b.dump(b.created("acme"))
	cutInto(m.file(t, partPost), "ADD CONSTRAINT customers_email_key UNIQUE (email)", "ADD CONSTRAINT customers_email_key UNIQUE (email, name)")
	to := b.tenant("globex")
	refused(t, m.into(t.Context(), b.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true}, 1<<20), tenant.ErrDiffers, to.Schema)
	must(t, b.Drop(t.Context(), to))
	m = b.dump(b.created("initech"))
	m.file(t, "customers").part.Rows = 7
	refused(t, m.into(t.Context(), b.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true}, 1<<20), tenant.ErrDiffers, "customers", "7")
}

func TestTenantsWithoutRolesAreDumpedAndLoaded(t *testing.T) {
	t.Parallel()
	with := newBench(t, example)
	m := with.dump(with.created("acme"))
	without := with.over(example, func(c *Config) { c.Roles = false })
	to := without.tenant("globex")
	must(t, m.into(t.Context(), without.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true}, 1<<20))
	if n := with.scalar("SELECT count(*) FROM pg_roles WHERE rolname = '%s'", to.Role); n != "0" {
		t.Error("a role was made")
	}
	bare := without.dump(to)
	tn := with.tenant("initech")
	must(t, bare.into(t.Context(), with.Resource, tn, tenant.LoadOptions{Role: tn.Role, MakeRole: true}, 1<<20))
	conn := with.as(tn)
	if n := scalarOf(t, conn, "SELECT count(*) FROM customers"); n != "0" {
		t.Errorf("%s customers", n)
	}
	denied(t, conn, "DELETE FROM goose_db_version")
}

func TestARowThatIsTooLongForCopyIsRefusedByTheNameOfItsTable(t *testing.T) {
	t.Parallel()
	for _, pg := range []*pgconn.PgError{
		{Code: programLimit, Message: "out of memory", Detail: "Cannot enlarge string buffer containing 1073741792 bytes by 99 more bytes."},
		{Code: internalError, Message: "invalid memory alloc request size 1600000003"},
	} {
		refused(t, unreadable("films", pg), tenant.ErrUnsupported, "films", "1 GB")
	}
	refused(t, unreadable("films", &pgconn.PgError{Code: insufficientRights, Message: `query would be affected by row-level security policy for table "films"`}), tenant.ErrRights, "films", "BYPASSRLS")
}

func TestLinesAreCountedHoweverTheyCome(t *testing.T) {
	t.Parallel()
	content := "one\n\nthree " + strings.Repeat("x", bufferSize) + "\nfour\n"
	var want uint64
	for _, line := range strings.Split(strings.TrimSuffix(content, "\n"), "\n") {
		want += xxhash.Sum64String(line)
	}
	for _, piece := range []int{1, 3, 1000, len(content)} {
		var out strings.Builder
		l := newLines(&out)
		for left := content; left != ""; {
			n := min(piece, len(left))
			_, err := l.Write([]byte(left[:n]))
			must(t, err)
			left = left[n:]
		}
		must(t, l.flush())
		if l.rows != 4 || l.sum != want || out.String() != content {
			t.Errorf("in pieces of %d: %d lines, sum %x, want 4 and %x", piece, l.rows, l.sum, want)
		}
	}
}

func TestASchemaOfAnyNameIsDumpedAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	b.exec(`CREATE SCHEMA "%[1]sa""*"; CREATE TABLE "%[1]sa""*".own (id int); CREATE SCHEMA "%[1]sab"; CREATE TABLE "%[1]sab".others (id int)`, b.prefix)
	program, err := b.client(t.Context(), b.major())
	must(t, err)
	got, err := b.pgDump(t.Context(), tenant.Tenant{Schema: b.prefix + `a"*`}, program)
	must(t, err)
	if !strings.Contains(got.pre, "own") || strings.Contains(got.pre, "others") {
		t.Errorf("dumped is\n%s", got.pre)
	}
}
