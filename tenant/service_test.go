package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// world is a catalog in a database of the test's own, with two stores in memory.
type world struct {
	t        *testing.T
	pool     *pgxpool.Pool
	catalog  *tenant.Catalog
	pg, docs *memory
	service  *tenant.Service
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(tenanttest.Postgres(t, tenanttest.Prefix(t)))
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.MaxConns = 12
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w := &world{t: t, pool: pool, pg: newMemory(tenant.KindPostgres, 2), docs: newMemory(tenant.KindMongoDB, 1)}
	w.catalog = tenant.NewCatalog(pool, "tester", 30*time.Second)
	if _, _, err := w.catalog.Init(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	w.service = w.another(30 * time.Second)
	return w
}

// another is a second process, as far as the catalog can tell.
func (w *world) another(lease time.Duration) *tenant.Service {
	s := tenant.NewService(tenant.NewCatalog(w.pool, "tester", lease), []tenant.Resource{w.pg, w.docs}, tenant.Options{Naming: tenant.Naming{Prefix: "t_"}})
	w.t.Cleanup(s.Close)
	return s
}

func (w *world) create(names ...string) {
	w.t.Helper()
	for _, n := range names {
		if _, err := w.service.Create(w.t.Context(), tenant.CreateRequest{Name: n}, false); err != nil {
			w.t.Fatalf("create %s: %v", n, err)
		}
	}
}

func requests(names ...string) iter.Seq2[tenant.CreateRequest, error] {
	return func(yield func(tenant.CreateRequest, error) bool) {
		for _, n := range names {
			if !yield(tenant.CreateRequest{Name: n}, nil) {
				return
			}
		}
	}
}

func (w *world) state(name string) tenant.State {
	w.t.Helper()
	t, err := w.service.Get(w.t.Context(), tenant.Name(name))
	if errors.Is(err, tenant.ErrNotFound) {
		return ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return t.State
}

func wantKind(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error is %v, want one of kind %q", err, kind)
	}
}

func TestInitIsRepeatableAndRefusesANewerCatalog(t *testing.T) {
	w := newWorld(t)
	from, to, err := w.catalog.Init(t.Context(), false)
	if err != nil || from != to || to < 1 {
		t.Fatalf("second init: from %d to %d, %v", from, to, err)
	}
	if _, err := w.pool.Exec(t.Context(), `INSERT INTO tenantctl.goose_db_version (version_id, is_applied) VALUES (999, true)`); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.catalog.Init(t.Context(), false)
	wantKind(t, err, tenant.ErrInvalid)
	wantKind(t, w.catalog.Require(t.Context()), tenant.ErrInvalid)
}

func TestCreateMakesATenantWholeAndASecondCreateIsRefused(t *testing.T) {
	w := newWorld(t)
	out, err := w.service.Create(t.Context(), tenant.CreateRequest{Name: "acme", Domains: []string{"Acme.Example.COM."}, Labels: map[string]string{"plan": "pro"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	got := out.Tenant
	if got.State != tenant.Active || got.Versions["postgres"] != 2 || got.Versions["mongodb"] != 1 || !slices.Equal(got.Domains, []string{"acme.example.com"}) || got.Labels["plan"] != "pro" {
		t.Errorf("tenant is %+v", got)
	}
	_, err = w.service.Create(t.Context(), tenant.CreateRequest{Name: "acme"}, false)
	wantKind(t, err, tenant.ErrExists)
	again, err := w.service.Create(t.Context(), tenant.CreateRequest{Name: "acme"}, true)
	if err != nil || again.Operation != nil || again.Tenant.ID != got.ID {
		t.Errorf("create --if-not-exists: %+v, %v", again, err)
	}
	_, err = w.service.Create(t.Context(), tenant.CreateRequest{Name: "other", Domains: []string{"acme.example.com"}}, false)
	wantKind(t, err, tenant.ErrExists)
	if w.state("other") != "" {
		t.Error("a create that was refused for its domain left the tenant behind")
	}
}

func TestCreateUndoesWhatItMadeWhenAStoreFails(t *testing.T) {
	w := newWorld(t)
	w.docs.before = func(_ context.Context, call string, _ tenant.Tenant) error {
		if call == "Create" {
			return &tenant.Error{Store: "mongodb", Msg: "disk is full"}
		}
		return nil
	}
	_, err := w.service.Create(t.Context(), tenant.CreateRequest{Name: "acme"}, false)
	if err == nil || !strings.Contains(err.Error(), "tenant acme: mongodb: disk is full") {
		t.Fatalf("error is %v", err)
	}
	if len(w.pg.places) != 0 || w.state("acme") != "" {
		t.Errorf("left behind: %v, %q", w.pg.places, w.state("acme"))
	}
	w.docs.before = nil
	w.create("acme")
}

func TestCreateLeavesForeignPlacesAloneAndMakesNothing(t *testing.T) {
	w := newWorld(t)
	w.docs.places["t_acme"] = &place{}
	_, err := w.service.Create(t.Context(), tenant.CreateRequest{Name: "acme"}, false)
	wantKind(t, err, tenant.ErrForeign)
	if len(w.pg.calls) != 0 || w.docs.places["t_acme"] == nil {
		t.Errorf("calls %v, places %v", w.pg.calls, w.docs.places)
	}
}

func TestCancelledCreateIsUndone(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.pg.after = func(context.Context, string, tenant.Tenant) error { cancel(); return nil }
	_, err := w.service.Create(ctx, tenant.CreateRequest{Name: "acme"}, false)
	wantKind(t, err, tenant.ErrInterrupted)
	if len(w.pg.places)+len(w.docs.places) != 0 || w.state("acme") != "" {
		t.Errorf("left behind: %v %v %q", w.pg.places, w.docs.places, w.state("acme"))
	}
}

func TestAFailureThatCannotBeUndoneIsLeftToResume(t *testing.T) {
	w := newWorld(t)
	broken := true
	w.docs.before = func(_ context.Context, call string, _ tenant.Tenant) error {
		if broken && call != "Stat" {
			return &tenant.Error{Kind: tenant.ErrUnreachable, Store: "mongodb", Msg: "does not answer"}
		}
		return nil
	}
	_, err := w.service.Create(t.Context(), tenant.CreateRequest{Name: "acme"}, false)
	wantKind(t, err, tenant.ErrStuck)
	if w.state("acme") != tenant.Failed {
		t.Errorf("state is %q", w.state("acme"))
	}
	_, err = w.service.Suspend(t.Context(), "acme")
	wantKind(t, err, tenant.ErrBusy)
	broken = false
	w.create("acme")
	if w.state("acme") != tenant.Active {
		t.Errorf("state is %q", w.state("acme"))
	}
}

func TestTwoProcessesOnOneTenant(t *testing.T) {
	w := newWorld(t)
	inside, goOn := make(chan struct{}), make(chan struct{})
	w.pg.before = func(_ context.Context, call string, _ tenant.Tenant) error {
		if call == "Create" {
			close(inside)
			<-goOn
		}
		return nil
	}
	done := make(chan error)
	go func() {
		_, err := w.service.Create(t.Context(), tenant.CreateRequest{Name: "acme"}, false)
		done <- err
	}()
	<-inside
	_, err := w.another(30*time.Second).Create(t.Context(), tenant.CreateRequest{Name: "acme"}, false)
	wantKind(t, err, tenant.ErrBusy)
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestALeaseThatRanOutIsTakenOverAndTheLateWriterIsFenced(t *testing.T) {
	w := newWorld(t)
	slow := w.another(time.Hour) // its heartbeat is too slow to matter
	inside, goOn := make(chan struct{}), make(chan struct{})
	var entered atomic.Bool
	w.pg.before = func(_ context.Context, call string, _ tenant.Tenant) error {
		if call == "Create" && entered.CompareAndSwap(false, true) {
			close(inside)
			<-goOn
		}
		return nil
	}
	done := make(chan error)
	go func() {
		_, err := slow.Create(t.Context(), tenant.CreateRequest{Name: "acme"}, false)
		done <- err
	}()
	<-inside
	if _, err := w.pool.Exec(t.Context(), `UPDATE tenantctl.operations SET lease_until = now() - interval '1 second'`); err != nil {
		t.Fatal(err)
	}
	w.create("acme")
	close(goOn)
	wantKind(t, <-done, tenant.ErrFenced)
	if w.state("acme") != tenant.Active || w.pg.places["t_acme"] == nil {
		t.Errorf("state %q, places %v", w.state("acme"), w.pg.places)
	}
}

func TestSuspendAndResumeLockEveryStore(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	if _, err := w.service.Suspend(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if !w.pg.places["t_acme"].locked || !w.docs.places["t_acme"].locked || w.state("acme") != tenant.Suspended {
		t.Error("not locked everywhere")
	}
	if out, err := w.service.Suspend(t.Context(), "acme"); err != nil || out.Operation != nil {
		t.Errorf("second suspend: %+v, %v", out, err)
	}
	if _, err := w.service.Resume(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if w.pg.places["t_acme"].locked || w.docs.places["t_acme"].locked || w.state("acme") != tenant.Active {
		t.Error("not unlocked everywhere")
	}
}

func TestRenameChangesTheNameAlone(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex")
	out, err := w.service.Rename(t.Context(), "acme", "initech")
	if err != nil || out.Tenant.Name != "initech" || out.Tenant.Schema != "t_acme" {
		t.Fatalf("%+v, %v", out, err)
	}
	_, err = w.service.Rename(t.Context(), "initech", "globex")
	wantKind(t, err, tenant.ErrExists)
	_, err = w.service.Rename(t.Context(), "initech", "Not A Name")
	wantKind(t, err, tenant.ErrInvalid)
	_, err = w.service.Get(t.Context(), "acme")
	var e *tenant.Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint, "initech") {
		t.Errorf("the old name's error is %v", err)
	}
	_, err = w.service.Create(t.Context(), tenant.CreateRequest{Name: "acme"}, false)
	wantKind(t, err, tenant.ErrExists)
}

func TestSetChangesLabelsAndDomains(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	ch := tenant.Change{Labels: map[string]string{"plan": "pro", "tier": "1"}, AddDomains: []string{"a.example.com", "b.example.com"}}
	if _, err := w.service.Set(t.Context(), "acme", ch); err != nil {
		t.Fatal(err)
	}
	out, err := w.service.Set(t.Context(), "acme", tenant.Change{RemoveLabels: []string{"tier"}, RemoveDomains: []string{"A.example.com"}})
	if err != nil || !slices.Equal(out.Tenant.Domains, []string{"b.example.com"}) || len(out.Tenant.Labels) != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
}

func TestDeleteTakesEverythingAndKeepsARecord(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	out, err := w.service.Delete(t.Context(), "acme", tenant.DeleteRequest{NoBackup: true, Now: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(w.pg.places)+len(w.docs.places) != 0 || w.state("acme") != "" {
		t.Error("something is left")
	}
	d, err := w.service.Operation(t.Context(), out.Operation.ID.String())
	if err != nil || !strings.Contains(string(d.Result), "place t_acme") || d.State != tenant.OpDone {
		t.Errorf("record is %s, %v", d.Result, err)
	}
}

func TestDeleteGoesOnlyForwardPastItsFirstStep(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	fail := true
	w.pg.before = func(_ context.Context, call string, _ tenant.Tenant) error {
		if fail && call == "Drop" {
			return &tenant.Error{Store: "postgres", Msg: "out of shared memory"}
		}
		return nil
	}
	_, err := w.service.Delete(t.Context(), "acme", tenant.DeleteRequest{NoBackup: true, Now: true})
	wantKind(t, err, tenant.ErrStuck)
	if w.state("acme") != tenant.Deleting {
		t.Errorf("state is %q", w.state("acme"))
	}
	ops := w.unfinished()
	if len(ops) != 1 {
		t.Fatalf("unfinished: %v", ops)
	}
	_, err = w.service.Abort(t.Context(), ops[0].ID.String())
	wantKind(t, err, tenant.ErrInvalid)
	fail = false
	if _, err := w.service.ResumeOperation(t.Context(), ops[0].ID.String()); err != nil {
		t.Fatal(err)
	}
	if len(w.pg.places) != 0 || w.state("acme") != "" {
		t.Error("something is left")
	}
}

func (w *world) unfinished() (ops []*tenant.Operation) {
	w.t.Helper()
	for op, err := range w.service.Operations(w.t.Context(), tenant.OperationFilter{Unfinished: true}) {
		if err != nil {
			w.t.Fatal(err)
		}
		ops = append(ops, op)
	}
	return ops
}

func TestStatusCountsAndVerifyPutsTheRecordRight(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex", "initech")
	w.pg.places["t_acme"].version = 1
	delete(w.docs.places, "t_globex")
	st, err := w.service.Status(t.Context(), tenant.Selection{}, false)
	if err != nil || st.Current != 3 || st.Err() != nil {
		t.Fatalf("%+v, %v", st, err)
	}
	st, err = w.service.Status(t.Context(), tenant.Selection{}, true)
	if err != nil || st.Current != 1 || len(st.Differ) != 1 || len(st.Unknown) != 1 || len(st.Behind) != 1 {
		t.Fatalf("%+v, %v", st, err)
	}
	wantKind(t, st.Err(), tenant.ErrDiffers)
	p, err := w.service.PlanMigrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, 1)
	if err != nil || len(p.Behind) != 1 || p.Behind[0].Name != "acme" {
		t.Errorf("after verify, migrate would visit %+v, %v", p, err)
	}
}

func TestAChangedFileIsSaidAndDownForgetsIt(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	w.pg.files[1].Checksum = "changed"
	f, err := w.service.CheckMigrations(t.Context(), true, 0)
	if err != nil || len(f.Findings) != 1 || f.Findings[0].Rule != "changed-after-applied" {
		t.Fatalf("%+v, %v", f, err)
	}
	if _, err := w.service.MigrateDown(t.Context(), tenant.BackRequest{Name: "acme", Only: "postgres", To: 1}); err != nil {
		t.Fatal(err)
	}
	if f, err = w.service.CheckMigrations(t.Context(), true, 0); err != nil || len(f.Findings) != 0 {
		t.Fatalf("%+v, %v", f, err)
	}
}

// A release that sums what files do reads the sums of bytes that earlier ones recorded, and replaces them.
func TestSumsOfEarlierReleasesPassAndAreReplaced(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	if _, err := w.pool.Exec(t.Context(), `UPDATE tenantctl.migration_files SET checksum = 'bytes ' || version WHERE kind = 'postgres'`); err != nil {
		t.Fatal(err)
	}
	for i := range w.pg.files {
		w.pg.files[i].Earlier = []string{"other bytes", fmt.Sprintf("bytes %d", w.pg.files[i].Version)}
	}
	f, err := w.service.CheckMigrations(t.Context(), true, 0)
	if err != nil || len(f.Findings) != 0 {
		t.Fatalf("%+v, %v", f, err)
	}
	if _, err := w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 1}); err != nil {
		t.Fatal(err)
	}
	for i := range w.pg.files {
		w.pg.files[i].Earlier = nil
	}
	if f, err = w.service.CheckMigrations(t.Context(), true, 0); err != nil || len(f.Findings) != 0 {
		t.Fatalf("the sums were not replaced: %+v, %v", f, err)
	}
}

func TestAnAppliedFileThatIsRenamedIsSaidToBe(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	last := &w.pg.files[len(w.pg.files)-1]
	was, version := last.Name, last.Version
	last.Name = "another"
	f, err := w.service.CheckMigrations(t.Context(), true, 0)
	if err != nil || len(f.Findings) != 1 || f.Findings[0].Rule != "renamed-after-applied" || f.Findings[0].Severity != "warning" || !strings.Contains(f.Findings[0].Message, was) {
		t.Fatalf("%+v, %v", f, err)
	}
	last.Version = version + 5
	f, err = w.service.CheckMigrations(t.Context(), true, 0)
	if err != nil || len(f.Findings) != 1 || f.Findings[0].Rule != "moved-after-applied" || f.Findings[0].Severity != "error" || !strings.Contains(f.Findings[0].Message, fmt.Sprintf("version %d (%s)", version, was)) {
		t.Fatalf("%+v, %v", f, err)
	}
	_, err = w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 1})
	wantKind(t, err, tenant.ErrInvalid)
	if !strings.Contains(fmt.Sprint(err), fmt.Sprintf("is version %d (%s) under another version", version, was)) {
		t.Errorf("migrate says %v", err)
	}
}

func TestAFileThatDoesNothingIsRefusedBeforeAnyTenantHasIt(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	for i := range w.pg.files {
		w.pg.files[i].Empty = true // what was applied stays as it is
	}
	if _, err := w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 1}); err != nil {
		t.Fatal(err)
	}
	w.pg.addFile(int64(len(w.pg.files) + 1))
	w.pg.files[len(w.pg.files)-1].Empty = true
	_, err := w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 1})
	wantKind(t, err, tenant.ErrInvalid)
	if tenant.Code(err) != "empty" {
		t.Errorf("migrate says %v", err)
	}
	if _, err := w.service.Create(t.Context(), tenant.CreateRequest{Name: "globex"}, false); tenant.Code(err) != "empty" {
		t.Errorf("create says %v", err)
	}
}

func TestSelectionChoosesTenants(t *testing.T) {
	w := newWorld(t)
	for i := range 10 {
		req := tenant.CreateRequest{Name: fmt.Sprintf("tenant%d", i), Labels: map[string]string{"parity": []string{"even", "odd"}[i%2]}}
		if i == 9 {
			req.Labels = nil
		}
		if _, err := w.service.Create(t.Context(), req, false); err != nil {
			t.Fatal(err)
		}
	}
	count := func(sel tenant.Selection) (n int) {
		t.Helper()
		for _, err := range w.service.List(t.Context(), sel) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	for selector, want := range map[string]int{"": 10, "parity=even": 5, "parity!=even": 5, "parity in (even,odd)": 9, "!parity": 1, "parity": 9, "parity notin (odd)": 6} {
		sel, err := tenant.ParseSelector(selector)
		if err != nil {
			t.Fatal(err)
		}
		if got := count(tenant.Selection{Selector: sel}); got != want {
			t.Errorf("%q chooses %d tenants, want %d", selector, got, want)
		}
	}
	sum := 0
	for i := 1; i <= 3; i++ {
		sum += count(tenant.Selection{Shard: tenant.Shard{Index: i, Of: 3}})
	}
	if sum != 10 {
		t.Errorf("three shards hold %d tenants together, want each of 10 once", sum)
	}
	if got := count(tenant.Selection{States: []tenant.State{tenant.Suspended}}); got != 0 {
		t.Errorf("%d suspended", got)
	}
	_, err := w.service.PlanMigrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest, Selection: tenant.Selection{Names: []tenant.Name{"tenant1", "nobody"}}}, 1)
	wantKind(t, err, tenant.ErrNotFound)
}
