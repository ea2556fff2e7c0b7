package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sync/errgroup"
)

// One of two processes on one tenant waits for nobody: it says who is at work, and the other finishes.
func TestTwoProcessesOnOneTenantOneIsBusy(t *testing.T) {
	b := newBench(t)
	b.must(t, "init")
	for _, c := range []struct {
		name, point string
		setup, args []string
	}{
		{"create", "create/postgres/after", nil, []string{"create", "create"}},
		{"suspend", "suspend/postgres/after", []string{"create", "suspend"}, []string{"suspend", "suspend"}},
		{"rename", "rename/check/after", []string{"create", "rename"}, []string{"rename", "rename", "renamed"}},
		{"set", "set/finish/before", []string{"create", "set"}, []string{"set", "set", "--label", "a=b"}},
		{"credentials", "credentials/set/before", []string{"create", "credentials"}, []string{"credentials", "credentials", "--rotate"}},
		{"redo", "migrate-redo/postgres/before", []string{"create", "redo"}, []string{"migrate", "redo", "redo", "--only", "postgres", "--yes"}},
		{"delete", "purge/mongodb/after", []string{"create", "delete"}, []string{"delete", "delete", "--now", "--no-backup", "--yes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.setup != nil {
				b.must(t, c.setup...)
			}
			first := b.start(t, "stop@"+c.point, c.args...)
			first.stopped()
			for _, args := range [][]string{c.args, {"suspend", c.name}, {"delete", c.name, "--no-backup", "--yes"}} {
				second := b.exits(t, 5, args...)
				if !strings.Contains(second.stderr, "is in progress (operation ") || !strings.Contains(second.stderr, fmt.Sprintf("pid %d on ", first.Process.Pid)) {
					t.Errorf("it does not say who is at work: %s", second)
				}
			}
			first.goOn()
			if end := first.wait(); end.code != 0 {
				t.Fatalf("the first: %s", end)
			}
			if held := b.unfinished(t, c.name); len(held) > 0 {
				t.Errorf("the tenant is held by %v", held)
			}
		})
	}
}

// A process that was stopped for longer than its lease is thought dead; another finishes its work. When it comes back,
// it changes nothing and does not pretend to have done it.
func TestAProcessThatWasTakenOverChangesNothing(t *testing.T) {
	shared := lateBench(t, false)
	var usual []*lateComer
	var parts [][]*lateComer // that sleep at the same time: so many at once that the server has connections for them
	tried := 0
	for _, c := range faultCases {
		sample := []string{"create", "delete", "purge", "suspend", "rename", "migrate", "adopt", "adopt-role", "migrate-exec", "rehearse"}
		if c.alone || c.source || !slices.Contains(sample, c.name) && !everyFault() {
			continue // their ways are those of the others
		}
		f := &faultTest{faultCase: c, bench: shared}
		if c.engine || c.scratch {
			f.bench = lateBench(t, c.engine)
		}
		late := f.lateComers(t)
		tried += len(late)
		switch {
		case c.scratch: // each run clears away what dead ones have left
			parts = slices.AppendSeq(parts, slices.Chunk(late, 1))
		case c.engine:
			parts = append(parts, late)
		default:
			usual = append(usual, late...)
		}
	}
	parts = slices.AppendSeq(parts, slices.Chunk(usual, 20))
	t.Logf("%d processes come back late", tried)
	if tried < 30 {
		t.Error("these are too few: checkpoints got lost")
	}
	for _, part := range parts {
		each(part, func(l *lateComer) { l.fallAsleep(t) })
		if _, err := part[0].pg.Exec(t.Context(), `SELECT pg_sleep(extract(epoch FROM max(lease_until) - clock_timestamp()) + 0.1) FROM tenantctl.operations WHERE state IN ('running', 'undoing')`); err != nil {
			t.Fatal(err)
		}
		each(part, func(l *lateComer) { l.takeOver(t) })
		each(part, func(l *lateComer) { l.comeBack(t) })
	}
}

// lateBench has a short lease.
func lateBench(t *testing.T, engine bool) *bench {
	b := newRestartBench(t, engine)
	b.extra = append(b.extra, "TENANTCTL_OPERATIONS_LEASE=3s")
	return b
}

// lateComers are to sleep at some points, and with TENANTCTL_TEST_FAULTS=all at each.
func (f *faultTest) lateComers(t *testing.T) (late []*lateComer) {
	ref := "r" + strings.ReplaceAll(f.name, "-", "")
	f.prepare(t, fault{name: ref})
	f.trace = f.traced(t, "", 0, f.command(ref))
	f.after = f.state(t, ref)
	every := 3
	if f.scratch { // one after the other
		every = 6
	}
	for i, p := range f.trace {
		// At its end there is nothing left to take over; what a scratch verb has the stores do, others do too.
		nothing := strings.HasSuffix(p, "finish/after#1") || strings.HasSuffix(p, "/run/begun#1") || f.scratch && ofStore(p)
		if strings.HasSuffix(p, "#1") && !nothing && (everyFault() || i%every == 0) {
			late = append(late, &lateComer{faultTest: f, point: p, name: fmt.Sprintf("%s%d", ref, i)})
		}
	}
	return late
}

// each does something for a few at once.
func each(late []*lateComer, do func(l *lateComer)) {
	var pool errgroup.Group
	pool.SetLimit(trials)
	for _, l := range late {
		pool.Go(func() error {
			do(l)
			return nil
		})
	}
	_ = pool.Wait() // nobody gives an error
}

// lateComer is a process that is stopped at a point of its work.
type lateComer struct {
	*faultTest
	*running
	point, name string
	taken       []string // the state after another took its work over
}

func (l *lateComer) fallAsleep(t *testing.T) {
	l.prepare(t, fault{name: l.name})
	l.running = l.start(t, "stop@"+l.point, l.command(l.name)...)
	l.stopped()
}

func (l *lateComer) takeOver(t *testing.T) {
	end := l.run(t, l.command(l.name)...)
	switch {
	case end.code == 0:
		l.taken = l.state(t, l.name)
		if diff := differences(l.after, l.taken); diff != "" {
			t.Errorf("%s at %s: the second did not finish what the first began:\n%s", l.faultTest.name, l.point, diff)
		}
	case l.point != "postgres/statement-run#1":
		t.Errorf("%s at %s: the second could not take it over: %s", l.faultTest.name, l.point, end)
	}
}

func (l *lateComer) comeBack(t *testing.T) {
	if l.running == nil {
		return // it never fell asleep, which has been said
	}
	l.goOn()
	end := l.wait()
	if end.code == 0 {
		t.Errorf("%s at %s: the first says that it did it: %s", l.faultTest.name, l.point, end)
	}
	if l.taken == nil { // its session held a lock, which the server kept for it: the second has to come again
		if end := l.run(t, l.command(l.name)...); end.code != 0 {
			t.Errorf("%s at %s: the second could not go on when the first was gone: %s", l.faultTest.name, l.point, end)
		}
		l.taken = l.after
	}
	if diff := differences(l.taken, l.state(t, l.name)); diff != "" {
		t.Errorf("%s at %s: the first came back and changed something:\n%s\n%s", l.faultTest.name, l.point, diff, end)
	}
	if held := l.unfinished(t, l.name); len(held) > 0 {
		t.Errorf("%s at %s: the tenant is held by %v", l.faultTest.name, l.point, held)
	}
}

func (l *lateComer) start(t testing.TB, fault string, args ...string) *running {
	return l.faultTest.start(t, fault, args...)
}

func (l *lateComer) run(t testing.TB, args ...string) ended { return l.faultTest.run(t, args...) }

// Two fleets at once share the work: no tenant is migrated twice.
func TestTwoFleetsMigrateNobodyTwice(t *testing.T) {
	b := newBench(t)
	b.must(t, "init")
	names := fleet(12)
	b.must(t, append([]string{"create"}, names...)...)
	b.write(t, "migrations/postgres/00006_once.sql", "-- +goose Up\nCREATE TABLE once (id int);\nINSERT INTO once VALUES (1);\n\n-- +goose Down\nDROP TABLE once;\n")
	b.write(t, "migrations/postgres/00007_twice.sql", "-- +goose Up\nINSERT INTO once VALUES (7);\n\n-- +goose Down\nDELETE FROM once WHERE id = 7;\n")
	first := b.start(t, "stop@migrate/run/begun", "migrate", "--parallel", "4", "-o", "json")
	second := b.start(t, "stop@migrate/run/begun", "migrate", "--parallel", "4", "-o", "json")
	first.stopped()
	second.stopped() // both have frozen the whole fleet as their work
	first.goOn()
	second.goOn()
	for _, r := range []*running{first, second} {
		if end := r.wait(); end.code != 0 {
			t.Errorf("%s", end)
		}
	}
	for _, n := range names {
		if rows := b.column(t, `SELECT string_agg(id::text, ',' ORDER BY id) FROM `+b.prefix+n+`.once`); !slices.Equal(rows, []string{"1,7"}) {
			t.Errorf("%s has rows %v, want each once", n, rows)
		}
		if rows := b.column(t, `SELECT string_agg(version_id::text, ',' ORDER BY version_id) FROM `+b.prefix+n+`.goose_db_version WHERE version_id > 5`); !slices.Equal(rows, []string{"6,7"}) {
			t.Errorf("%s has versions %v in its book", n, rows)
		}
	}
	b.must(t, "migrate", "status", "--verify")
}

func fleet(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("f%02d", i+1)
	}
	return names
}

// Ctrl-C once lets the tenants in work finish, starts no others, and tells how to go on.
func TestCtrlCDuringAFleetRunFinishesWhatIsInWork(t *testing.T) {
	b := newBench(t)
	b.must(t, "init")
	names := fleet(5)
	b.must(t, append([]string{"create"}, names...)...)
	b.write(t, "migrations/postgres/00006_more.sql", "-- +goose Up\nCREATE TABLE more (id int);\n\n-- +goose Down\nDROP TABLE more;\n")
	end := b.start(t, "interrupt@migrate/postgres/before#2", "migrate", "--parallel", "1").wait()
	if end.code != 130 || !strings.Contains(end.stdout, "5 tenants, 2 changed, 0 unchanged, 0 failed, 3 not started") {
		t.Fatalf("%s", end)
	}
	_, run, ok := strings.Cut(end.stderr, "--resume ")
	if !ok {
		t.Fatalf("it does not say how to go on: %s", end)
	}
	run = strings.Fields(run)[0]
	if at := b.column(t, `SELECT string_agg(version::text, ',' ORDER BY name) FROM tenantctl.versions v JOIN tenantctl.tenants t ON t.id = v.tenant_id WHERE kind = 'postgres'`); at[0] != "6,6,5,5,5" {
		t.Errorf("the versions are %s", at[0])
	}
	end = b.must(t, "migrate", "--resume", run)
	if !strings.Contains(end.stdout, " 3 changed, ") {
		t.Errorf("the resumed run: %s", end)
	}
	b.must(t, "migrate", "status", "--verify")
}

// Ctrl-C twice ends the program at once; what it was at is gone on with.
func TestCtrlCTwiceStopsAtOnce(t *testing.T) {
	b := newBench(t)
	b.must(t, "init")
	b.must(t, "create", "acme")
	b.write(t, "migrations/postgres/00006_slow.sql", "-- +goose Up\nCREATE TABLE slow (id int);\nSELECT pg_sleep(300);\n\n-- +goose Down\nDROP TABLE slow;\n")
	r := b.start(t, "", "migrate")
	asleep := `SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`
	pids := b.until(t, asleep, func(rows []string) bool { return len(rows) == 1 })
	r.signal(syscall.SIGINT)
	r.says(&r.stderr, "interrupted: finishing or undoing what is in flight")
	r.signal(syscall.SIGINT)
	if end := r.wait(); end.code != 130 {
		t.Fatalf("%s", end)
	}
	b.write(t, "migrations/postgres/00006_slow.sql", "-- +goose Up\nCREATE TABLE slow (id int);\n\n-- +goose Down\nDROP TABLE slow;\n")
	// The server notices that its client is gone when it has slept enough.
	b.column(t, `SELECT pg_terminate_backend($1::int)::text`, pids[0])
	b.until(t, asleep, func(rows []string) bool { return len(rows) == 0 })
	b.must(t, "migrate")
	b.must(t, "migrate", "status", "--verify")
	if held := b.unfinished(t, "acme"); len(held) > 0 {
		t.Errorf("the tenant is held by %v", held)
	}
}

// until asks again and again until the answer is as it is to be.
func (b *bench) until(t testing.TB, sql string, enough func([]string) bool) []string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if rows := b.column(t, sql); enough(rows) {
			return rows
		}
		if time.Now().After(deadline) {
			t.Fatalf("it did not come about: %s", sql)
		}
	}
}

// A file of tenants that was cut short is gone on with, by the run or by the file.
func TestCreateFromAFileIsGoneOnWithAfterAKill(t *testing.T) {
	b := newBench(t)
	b.keepUsers(t)
	b.must(t, "init")
	b.must(t, "create", "reference", "--label", "plan=pro")
	whole := b.place(t, b.prefix+"reference")
	for _, c := range []struct{ name, point string }{
		{"early", "create/run/begun"},
		{"midway", "create/mongodb/after#5"},
		{"inside", "postgres/settled#4"},
		{"late", "create/finish/after#9"},
	} {
		for _, way := range []string{"resume", "file"} {
			t.Run(c.name+"-"+way, func(t *testing.T) {
				t.Parallel()
				var names []string
				content := "name,label.plan\n"
				for i := range 10 {
					n := fmt.Sprintf("%s%s%d", c.name, way, i)
					names = append(names, n)
					content += n + ",pro\n"
				}
				file := c.name + way + ".csv"
				b.write(t, file, content)
				if end := b.start(t, "kill@"+c.point, "create", "--file", file, "--parallel", "3").wait(); !end.killed {
					t.Fatalf("%s", end)
				}
				if way == "file" {
					b.must(t, "create", "--file", file, "--if-not-exists", "--parallel", "3")
				} else {
					run := b.column(t, `SELECT DISTINCT parent_id::text FROM tenantctl.operations WHERE tenant_name = $1`, names[0])
					b.must(t, "create", "--resume", run[0], "--parallel", "3")
				}
				for _, n := range names {
					if diff := differences(whole, b.place(t, b.prefix+n)); diff != "" {
						t.Errorf("%s is not whole:\n%s", n, diff)
					}
					if r := b.record(t, n); !slices.Equal(r, []string{`tenant active {"plan": "pro"} mongodb 3 3,postgres 5 5`}) {
						t.Errorf("%s is recorded as %v", n, r)
					}
					if held := b.unfinished(t, n); len(held) > 0 {
						t.Errorf("%s is held by %v", n, held)
					}
				}
				before := b.place(t, b.prefix+names[0])
				b.must(t, "create", "--file", file, "--if-not-exists")
				if diff := differences(before, b.place(t, b.prefix+names[0])); diff != "" {
					t.Errorf("the same file again changed something:\n%s", diff)
				}
			})
		}
	}
}

// Processes that make different tenants do not get into each other's way.
func TestProcessesCreateDifferentTenantsAtOnce(t *testing.T) {
	b := newBench(t)
	b.must(t, "init")
	var all []*running
	for _, n := range fleet(6) {
		all = append(all, b.start(t, "", "create", n, "--domain", n+".example.com"))
	}
	for _, r := range all {
		if end := r.wait(); end.code != 0 {
			t.Errorf("%s", end)
		}
	}
	b.must(t, "migrate", "status", "--verify")
	if n := b.column(t, `SELECT count(*)::text FROM tenantctl.tenants WHERE state = 'active'`); n[0] != "6" {
		t.Errorf("%s of 6 tenants are there", n[0])
	}
}

// Two that create one tenant at the same moment: one makes it, the other says so.
func TestProcessesCreateOneTenantAtOnce(t *testing.T) {
	b := newBench(t)
	b.must(t, "init")
	first := b.start(t, "stop@create/begun", "create", "acme")
	first.stopped()
	second := b.start(t, "", "create", "acme", "--if-not-exists")
	if end := second.wait(); end.code != 5 {
		t.Errorf("a tenant that is not whole yet passes for one that exists: %s", end)
	}
	first.goOn()
	if end := first.wait(); end.code != 0 {
		t.Errorf("%s", end)
	}
	b.must(t, "create", "acme", "--if-not-exists")
}

// Ctrl-C at a question is an answer.
func TestCtrlCAtTheQuestionDoesNothing(t *testing.T) {
	b := newBench(t)
	b.must(t, "init")
	b.must(t, "create", "acme")
	before := b.everything(t)
	r := b.prepared(t, "", "delete", "acme", "--no-backup")
	terminal, err := pty.Start(r.Cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	r.says(&r.stderr, "to go on [")
	if _, err := terminal.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	if end := r.wait(); end.code != 130 {
		t.Fatalf("%s", end)
	}
	if diff := differences(before, b.everything(t)); diff != "" {
		t.Errorf("something was changed:\n%s", diff)
	}
}

// Ctrl-C in a client belongs to the client: it does not end the program that waits for it.
func TestCtrlCBelongsToTheClientThatTheShellStarts(t *testing.T) {
	b := newBench(t)
	b.must(t, "init")
	b.must(t, "create", "acme")
	b.write(t, "bin/psql", "#!/bin/sh\ntrap 'echo heard' INT\necho ready\nread line\nread line\necho \"$line\"\nexit 9\n")
	if err := os.Chmod(filepath.Join(b.dir, "bin/psql"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.extra = []string{"PATH=" + filepath.Join(b.dir, "bin") + string(os.PathListSeparator) + os.Getenv("PATH")}
	r := b.prepared(t, "", "shell", "acme")
	input, err := r.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	r.says(&r.stdout, "ready")
	for range 3 {
		r.signal(syscall.SIGINT)
	}
	if _, err := input.Write([]byte("first\nsecond\n")); err != nil {
		t.Fatal(err)
	}
	if end := r.wait(); end.code != 9 || !strings.Contains(end.stdout, "second") || strings.Contains(end.stderr, "interrupted") {
		t.Fatalf("%s", end)
	}
}
