package cmd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// trials is how many runs of the program are at work at once.
const trials = 8

// A command that is killed, fails or is interrupted at any point, and is then run again, resumed or aborted, leaves
// every store wholly with what it was to make or wholly without; and once it is done, it changes nothing more.
func TestConvergesAfterAFaultAtEveryPoint(t *testing.T) {
	var points, tried atomic.Int64
	t.Run("of", func(t *testing.T) {
		for _, c := range faultCases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				b.keepUsers(t)
				if c.engine {
					b.delegate(t)
				}
				b.must(t, "init")
				f := &faultTest{faultCase: c, bench: b}
				if c.source {
					b.must(t, "create", "source")
					b.customer(t, "source", "someone")
					b.must(t, "backup", "source")
				}
				f.learn(t)
				faults := f.faults()
				points.Add(int64(f.points))
				tried.Add(int64(len(faults)))
				t.Logf("tried %d faults at %d points", len(faults), f.points)
				if f.points < c.minimum {
					t.Errorf("there are %d points only, want %d at least", f.points, c.minimum)
				}
				atOnce := trials
				if c.scratch || c.alone {
					atOnce = 1
				}
				for part := range slices.Chunk(faults, atOnce) {
					f.prepare(t, part...)
					var all sync.WaitGroup
					for _, x := range part {
						all.Go(func() { t.Run(x.String(), func(t *testing.T) { f.try(t, x) }) })
					}
					all.Wait()
				}
			})
		}
	})
	t.Logf("tried %d faults at %d points", tried.Load(), points.Load())
}

// faultTest is a case with a world of its own, and what its beginning and its end look like.
type faultTest struct {
	faultCase
	*bench
	trace, back   []string // points passed on the way there, and on the way back
	before, after []string
	points        int
	writeOld      sync.Once
}

// fault is what is done to a run, and how its end is brought about then.
type fault struct {
	name   string // of the tenant
	strike string // kill, fail or interrupt
	spec   string // for TENANTCTL_TEST_FAULT
	then   string // again, resume or abort
	twice  bool   // the command is run once more at the end
}

func (f fault) String() string { return strings.ReplaceAll(f.spec, "/", ":") + "-" + f.then }

func (f *faultTest) command(name string) []string {
	args := named(f.args, name)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "PLACE", f.prefix+name)
	}
	return args
}

func named(args []string, name string) []string {
	out := slices.Clone(args)
	for i := range out {
		out[i] = strings.ReplaceAll(out[i], "NAME", name)
	}
	return out
}

// prepare makes the tenants that the command is to work on, in one run of the program.
func (f *faultTest) prepare(t testing.TB, faults ...fault) {
	t.Helper()
	if f.from == "" {
		return
	}
	if f.from == loose || f.from == roleless {
		for _, x := range faults {
			f.makeLoose(t, f.prefix+x.name)
			if f.from == roleless {
				f.must(t, "adopt", x.name, "--schema", f.prefix+x.name, "--database", f.prefix+x.name)
			}
		}
		return
	}
	b, file := *f.bench, faults[0].name+".csv"
	if f.from == old {
		b.extra = append(slices.Clone(b.extra), "TENANTCTL_MIGRATIONS_POSTGRES=old/postgres", "TENANTCTL_MIGRATIONS_MONGODB=old/mongodb", "NEWEST=1")
		f.writeOld.Do(func() { f.oldMigrations(t) }) // others read them at the same time
	}
	tenants := "name,domains\n"
	for _, x := range faults {
		tenants += x.name + "," + x.name + ".example.com\n"
	}
	if f.from == unlike { // those that are alike are the usual ones
		for i := range len(faults) + 1 {
			tenants += fmt.Sprintf("like%d-%s,\n", i, faults[0].name)
		}
	}
	b.write(t, file, tenants)
	b.must(t, "create", "--file", file)
	for _, x := range faults {
		switch f.from {
		case suspended:
			b.must(t, "suspend", x.name)
		case deleted:
			b.must(t, "delete", x.name, "--no-backup", "--yes")
		case harmed:
			f.harm(t, x.name)
		case unlike:
			f.makeUnlike(t, x.name)
		}
	}
}

// makeLoose makes a schema and a database with something in each, as another tool does.
func (f *faultTest) makeLoose(t testing.TB, place string) {
	t.Helper()
	ctx := context.Background()
	statement := fmt.Sprintf(`CREATE SCHEMA %[1]s; CREATE TABLE %[1]s.note (body text); INSERT INTO %[1]s.note VALUES ('kept'); COMMENT ON SCHEMA %[1]s IS 'theirs';
		GRANT USAGE ON SCHEMA %[1]s TO CURRENT_USER; GRANT SELECT ON %[1]s.note TO CURRENT_USER`, place)
	if _, err := querySQL(ctx, f.postgres, statement); err != nil {
		t.Fatal(err)
	}
	if _, err := f.mongo.Database(place).Collection("papers").InsertOne(ctx, bson.D{{Key: "_id", Value: 1}}); err != nil {
		t.Fatal(err)
	}
}

// harm takes rights from a tenant, gives others to everybody, takes its user, and makes the catalog's record wrong.
func (f *faultTest) harm(t testing.TB, name string) {
	t.Helper()
	place := f.prefix + name
	for _, sql := range []string{
		`REVOKE INSERT ON ` + place + `.orders FROM ` + place, `GRANT SELECT ON ` + place + `.customers TO PUBLIC`,
		`UPDATE tenantctl.versions SET version = 1 WHERE tenant_id = (SELECT id FROM tenantctl.tenants WHERE name = '` + name + `')`,
	} {
		if _, err := f.pg.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.mongo.Database(place).RunCommand(t.Context(), bson.D{{Key: "dropDatabase", Value: 1}}).Err(); err != nil {
		t.Fatal(err)
	}
}

// makeUnlike takes an index from a tenant in each store, and gives it a structure that no other has.
func (f *faultTest) makeUnlike(t testing.TB, name string) {
	t.Helper()
	place := f.prefix + name
	sql := fmt.Sprintf("DROP INDEX %[1]s.orders_customer; COMMENT ON TABLE %[1]s.orders IS 'of %[2]s'; CREATE VIEW %[1]s.by_hand AS SELECT id FROM %[1]s.orders", place, name)
	if _, err := querySQL(t.Context(), f.postgres, sql); err != nil {
		t.Fatal(err)
	}
	for _, c := range []bson.D{
		{{Key: "dropIndexes", Value: "documents"}, {Key: "index", Value: "*"}},
		{{Key: "createIndexes", Value: "documents"}, {Key: "indexes", Value: bson.A{bson.D{{Key: "key", Value: bson.D{{Key: name, Value: 1}}}, {Key: "name", Value: "by_hand"}}}}},
	} {
		if err := f.mongo.Database(place).RunCommand(t.Context(), c).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// oldMigrations writes the first migration of each store into a folder of its own.
func (f *faultTest) oldMigrations(t testing.TB) {
	t.Helper()
	for _, first := range []string{"postgres/00001_customers.sql", "mongodb/00001_documents.up.json", "mongodb/00001_documents.down.json"} {
		content, err := os.ReadFile(filepath.Join(f.dir, "migrations", first))
		if err != nil {
			t.Fatal(err)
		}
		f.write(t, filepath.Join("old", first), string(content))
	}
}

// state is everything about a tenant, in the stores and in the catalog, without its name.
func (f *faultTest) state(t testing.TB, name string) []string {
	t.Helper()
	lines := f.place(t, f.prefix+name)
	if f.scratch {
		lines = append(lines, f.besides(t, name)...)
	}
	for _, n := range []string{name, name + "x"} {
		for _, r := range f.record(t, n) {
			lines = append(lines, strings.ReplaceAll("as "+n+": "+r, name, "NAME"))
		}
	}
	return lines
}

// besides are the places beside a tenant.
func (f *faultTest) besides(t testing.TB, name string) []string {
	t.Helper()
	place := f.prefix + name + "_r"
	lines := f.column(t, `SELECT 'schema ' || nspname FROM pg_namespace WHERE starts_with(nspname, $1)
		UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE starts_with(rolname, $1)
		UNION ALL SELECT 'tenant ' || name FROM tenantctl.tenants WHERE starts_with(schema_name, $1)`, place)
	for _, db := range f.databases(t) {
		if strings.HasPrefix(db, place) {
			lines = append(lines, "database "+db)
		}
	}
	return lines
}

// learn runs the command without a fault, and on its way back.
func (f *faultTest) learn(t *testing.T) {
	f.prepare(t, fault{name: "reference"})
	f.before = f.state(t, "reference")
	f.trace = f.traced(t, "", 0, f.command("reference"))
	f.after = f.state(t, "reference")
	if slices.Equal(f.before, f.after) && !strings.Contains(f.name, "redo") && f.name != "credentials" && !f.scratch {
		t.Fatal("the command changes nothing that the test can see")
	}
	f.wipe(t, "reference")
	if f.undo != "" {
		f.prepare(t, fault{name: "backwards"})
		code := 1
		if f.scratch || f.fleet {
			code = 3
		}
		all := f.traced(t, f.undo, code, f.command("backwards"))
		_, at, _ := strings.Cut(f.undo, "@")
		f.back = all[slices.Index(all, at+"#1")+1:]
		f.wipe(t, "backwards")
	}
}

func (f *faultTest) traced(t *testing.T, spec string, code int, args []string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "trace")
	b := *f.bench
	b.extra = append(slices.Clone(b.extra), "TENANTCTL_TEST_FAULT_TRACE="+file)
	if end := b.start(t, spec, args...).wait(); end.code != code {
		t.Fatalf("tenantctl %s: %s", strings.Join(args, " "), end)
	}
	trace, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(trace))
}

// faults are those that are to be tried: each point is killed, and fails or is interrupted in turns; with
// TENANTCTL_TEST_FAULTS=all it fails and is interrupted, which takes twice as long. What was killed is brought to its end by
// the same command, by ops resume or by ops abort, in turns; between steps, with all, by two of them. A point that a store
// passes many times is only killed from the second time on. Work in a place of its own takes longest: it is never all.
func (f *faultTest) faults() []fault {
	var all []fault
	add := func(strike, spec, then string) {
		all = append(all, fault{fmt.Sprintf("t%d", len(all)), strike, spec, then, len(all)%3 == 0})
	}
	ways := []string{"resume", "abort", "again"}
	every := everyFault() && !f.scratch
	// Of three points one is tried, each time with the next of the ways.
	spared := func(i int, p string) bool { return f.modelled && !every && !ofStore(p) && (i+i/3)%3 != 0 }
	for i, p := range f.trace {
		inside := ofStore(p)
		if inside && f.scratch {
			continue
		}
		f.points++
		if spared(i, p) {
			continue
		}
		add("kill", "kill@"+p, ways[i%3])
		if !inside && every && !strings.HasSuffix(f.name, "-mongodb") && !strings.HasPrefix(f.name, "verify-fix") { // whose ways others go too
			add("kill", "kill@"+p, ways[(i+1)%3])
		}
		// A store that loads or copies says so between many calls: there it is enough to be killed.
		if first := strings.HasSuffix(p, "#1"); first && !(inside && f.source) {
			if every || i%2 == 0 {
				add("fail", "fail@"+p, "again")
			}
			if every || i%2 == 1 {
				add("interrupt", "interrupt@"+p, "again")
			}
		}
	}
	for i, p := range f.back {
		if f.scratch && !strings.HasPrefix(p, "rehearse/") {
			continue
		}
		f.points++
		if spared(i, p) {
			continue
		}
		add("kill", f.undo+",kill@"+p, ways[i%3])
		if !f.scratch {
			add("fail", f.undo+",fail@"+p, ways[(i+1)%3])
		}
	}
	return all
}

// ofStore tells of a point that lies within a store.
func ofStore(point string) bool {
	return strings.HasPrefix(point, "postgres/") || strings.HasPrefix(point, "mongodb/")
}

func (f *faultTest) try(t *testing.T, x fault) {
	name := x.name
	end := f.start(t, x.spec, f.command(name)...).wait()
	switch {
	case x.strike == "kill" && end.killed:
	case x.strike == "fail" && (end.code == 1 || (f.fleet || f.scratch || f.from == harmed || f.from == unlike) && end.code == 3):
	case x.strike == "interrupt" && end.code == 130:
	case x.strike == "interrupt" && end.code == 0 && slices.Equal(f.state(t, name), f.after): // it was done before it heard
	default:
		t.Fatalf("after %s: %s", x.spec, end)
	}
	if strings.Contains(end.stderr, "panic") {
		t.Fatal(end)
	}
	left := f.left(t, name)
	if state := f.state(t, name); x.strike != "kill" && len(left) == 0 && (!f.between || f.from == loose) && !slices.Equal(state, f.before) && !slices.Equal(state, f.after) {
		t.Fatalf("nothing is unfinished, but the tenant is neither as before:\n%s\nnor as it was to be:\n%s", differences(f.before, state), differences(f.after, state))
	}
	switch x.then {
	case "resume":
		f.resume(t, left)
	case "abort":
		f.abort(t, name, left)
	}
	f.finally(t, name, x, "after the command was run again")
	if x.twice {
		f.finally(t, name, x, "after it was run once more")
	}
	f.wipe(t, name)
}

// finally runs the command to its end and looks at what is there then.
func (f *faultTest) finally(t *testing.T, name string, x fault, when string) {
	t.Helper()
	if end := f.run(t, f.command(name)...); end.code != 0 && end.code != f.again {
		t.Fatalf("%s: %s", when, end)
	}
	if state := f.state(t, name); !slices.Equal(state, f.after) {
		t.Fatalf("%s, the tenant is not as it was to be:\n%s", when, differences(f.after, state))
	}
	// A run that died and was not gone on with waits for a word, but holds no tenant.
	if left := f.left(t, name); len(left) > 0 && !(f.fleet && x.then == "again") {
		t.Fatalf("%s, operations are left unfinished: %v", when, left)
	}
	if held := f.unfinished(t, name); len(held) > 0 {
		t.Fatalf("%s, the tenant is held by operations %v", when, held)
	}
}

// left are the operations on a tenant, or the run that it is part of, which wait for their end.
func (f *faultTest) left(t *testing.T, name string) []string {
	t.Helper()
	return f.column(t, `SELECT o.id::text FROM tenantctl.operations o WHERE o.state IN ('running', 'undoing', 'stuck')
		AND (o.tenant_name = $1 AND (o.parent_id IS NULL OR o.state = 'stuck') OR o.kind = 'rehearse' AND starts_with(o.tenant_name, $1 || '-r') OR EXISTS (SELECT FROM tenantctl.operations c WHERE c.parent_id = o.id AND c.tenant_name = $1))`, name)
}

func (f *faultTest) resume(t *testing.T, left []string) {
	t.Helper()
	for _, id := range left {
		if run := f.column(t, `SELECT id::text FROM tenantctl.operations WHERE id = $1::uuid AND tenant_id IS NULL`, id); f.fleet && len(run) > 0 {
			goOn := f.goOn
			if goOn == nil {
				goOn = []string{"migrate"}
			}
			f.must(t, append(slices.Clone(goOn), "--resume", id)...)
			continue
		}
		end := f.run(t, "ops", "resume", id)
		// What leaves nothing half done is closed, and said to be run again.
		if end.code != 0 && !(end.code == 2 && strings.Contains(end.stderr, "had nothing left to undo and is closed")) {
			t.Fatalf("ops resume: %s", end)
		}
	}
}

func (f *faultTest) abort(t *testing.T, name string, left []string) {
	t.Helper()
	for _, id := range left {
		end := f.run(t, "ops", "abort", id)
		for tries := 0; f.fleet && end.code == 5 && tries < 5; tries++ { // another trial's run is closing it
			end = f.run(t, "ops", "abort", id)
		}
		switch {
		case end.code == 2 && strings.Contains(end.stderr, "is past the point where it could be taken back"):
			f.must(t, "ops", "resume", id)
		case f.fleet && end.code == 2 && strings.Contains(end.stderr, "is aborted\n  hint: nothing is left to do"): // it has
		case end.code != 0:
			t.Fatalf("ops abort: %s", end)
		default:
			if state := f.state(t, name); !f.between && f.name != "credentials" && !slices.Equal(state, f.before) {
				t.Fatalf("after it was aborted, the tenant is not as before:\n%s", differences(f.before, state))
			}
		}
	}
}

// wipe takes a tenant's places away by hand, so that the servers stay small.
func (f *faultTest) wipe(t *testing.T, name string) {
	t.Helper()
	ctx, place := context.Background(), f.prefix+name
	if _, err := f.pg.Exec(ctx, `DROP SCHEMA IF EXISTS `+place+` CASCADE`); err != nil {
		t.Error(err)
	}
	if _, err := f.pg.Exec(ctx, `DROP ROLE IF EXISTS `+place); err != nil {
		t.Error(err)
	}
	if err := f.mongo.Database(place).Drop(ctx); err != nil {
		t.Error(err)
	}
}
