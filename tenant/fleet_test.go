package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestMigrateBringsTheFleetToTheNewestVersionOnce(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex", "initech")
	w.pg.addFile(3)
	before := len(w.pg.calls)
	r, err := w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 2})
	if err != nil || r.Err() != nil || r.Summary != (tenant.Summary{Tenants: 3, Changed: 3}) || r.Target["postgres"] != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	if n := len(w.pg.calls) - before; n != 3 {
		t.Errorf("%d calls for 3 tenants", n)
	}
	r, err = w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 2})
	if err != nil || r.Summary != (tenant.Summary{Tenants: 3, Unchanged: 3}) {
		t.Fatalf("%+v, %v", r, err)
	}
	if n := len(w.pg.calls) - before; n != 3 {
		t.Errorf("a run with nothing to do asked the stores %d times", n-3)
	}
}

func TestMigrateStopsAtTheFailureBudgetGroupsFailuresAndResumes(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprintf("tenant%02d", i))
	}
	w.create(names...)
	w.pg.addFile(3)
	fail := true
	w.pg.before = func(_ context.Context, call string, _ tenant.Tenant) error {
		if fail && call == "Up" {
			return &tenant.Error{Kind: tenant.ErrMigration, Code: "42P07", Store: "postgres", Statement: "CREATE TABLE x", Msg: "relation exists"}
		}
		return nil
	}
	r, err := w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 1, MaxFailures: tenant.Budget{Count: 3}})
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, r.Err(), tenant.ErrPartial)
	if r.Summary != (tenant.Summary{Tenants: 12, Failed: 3, NotStarted: 9}) || len(r.Failures) != 1 || r.Failures[0].Count != 3 || len(r.Failures[0].Tenants) != 3 {
		t.Fatalf("%+v", r)
	}
	if want := "3 of 12 tenants failed, 9 were not started"; r.Err().Error() != want {
		t.Errorf("%q, want %q", r.Err(), want)
	}
	fail = false
	r, err = w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 3, Resume: tenant.ShortID(r.Run)})
	if err != nil || r.Summary != (tenant.Summary{Tenants: 12, Changed: 12}) || r.State != tenant.RunDone {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestADeadRunIsResumedThoughANewerOneClosesItMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex")
	w.pg.addFile(3)
	w.pg.before = func(_ context.Context, call string, _ tenant.Tenant) error {
		if call == "Up" {
			return errors.New("disk full")
		}
		return nil
	}
	r, err := w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 1, MaxFailures: tenant.Budget{Count: 1}})
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, r.Err(), tenant.ErrPartial)
	w.pg.before = nil
	if _, err := w.pool.Exec(t.Context(), `UPDATE tenantctl.operations SET state = 'running', lease_until = now() - interval '1 hour', finished_at = NULL
		WHERE id = $1`, r.Run); err != nil {
		t.Fatal(err)
	}
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `UPDATE tenantctl.operations SET state = 'aborted', fence = fence + 1, finished_at = now() WHERE id = $1`, r.Run); err != nil {
		t.Fatal(err)
	}
	resumed := make(chan error)
	go func() {
		again, err := w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Resume: r.Run.String()})
		if err == nil && again.State != tenant.RunDone {
			err = again.Err()
		}
		resumed <- err
	}()
	for waits := false; !waits; time.Sleep(10 * time.Millisecond) {
		if err := w.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity a WHERE pg_blocking_pids(a.pid) @> ARRAY[$1::int])`,
			tx.Conn().PgConn().PID()).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-resumed; err != nil {
		t.Error(err)
	}
}

// A run that was resumed begins anew with what its dead process had in work: another run, which begins meanwhile, waits
// for that.
func TestANewRunLeavesTheTenantsOfAResumedOneToIt(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex")
	w.pg.addFile(3)
	w.pg.before = func(_ context.Context, call string, _ tenant.Tenant) error {
		if call == "Up" {
			return errors.New("disk full")
		}
		return nil
	}
	r, err := w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 1, MaxFailures: tenant.Budget{Count: 5}})
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, r.Err(), tenant.ErrPartial)
	if _, err := w.pool.Exec(t.Context(), `UPDATE tenantctl.operations SET state = 'running', lease_until = now() - interval '1 hour', finished_at = NULL
		WHERE id = $1 OR parent_id = $1`, r.Run); err != nil {
		t.Fatal(err)
	}
	begun, goOn := make(chan bool, 1), make(chan bool)
	w.pg.before = func(_ context.Context, call string, t tenant.Tenant) error {
		if call == "Up" && t.Name == "acme" {
			select {
			case begun <- true:
				<-goOn
			default:
			}
		}
		return nil
	}
	migrate := func(s *tenant.Service, only string, opts tenant.RunOptions, ended chan<- error) {
		req := tenant.MigrateRequest{To: tenant.Newest}
		if only != "" {
			req.Selection.Names = []tenant.Name{tenant.Name(only)}
		}
		again, err := s.Migrate(t.Context(), req, opts)
		if err == nil {
			err = again.Err()
		}
		ended <- err
	}
	resumed, other := make(chan error, 1), make(chan error, 1)
	go migrate(w.service, "", tenant.RunOptions{Resume: r.Run.String(), Parallel: 1}, resumed)
	<-begun
	go migrate(w.another(30*time.Second), "globex", tenant.RunOptions{Parallel: 1}, other)
	for entered := false; !entered; time.Sleep(10 * time.Millisecond) {
		if err := w.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM tenantctl.operations WHERE parent_id <> $1 AND kind = 'migrate' AND tenant_name = 'globex')`,
			r.Run).Scan(&entered); err != nil {
			t.Fatal(err)
		}
	}
	close(goOn)
	if err := <-resumed; err != nil {
		t.Errorf("the resumed run: %v", err)
	}
	if err := <-other; err != nil {
		t.Errorf("the new run: %v", err)
	}
}

func TestAMissingPlaceIsReportedByNameAndStopsNobody(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex", "initech")
	delete(w.pg.places, "t_acme")
	w.pg.addFile(3)
	r, err := w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 1, MaxFailures: tenant.Budget{Count: 1}})
	if err != nil || r.Summary != (tenant.Summary{Tenants: 3, Changed: 2, Failed: 1}) || r.Failures[0].Tenants[0] != "acme" || r.Failures[0].Code != "missing" {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestTwoFleetRunsAtOnceMigrateNobodyTwice(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("tenant%02d", i))
	}
	w.create(names...)
	w.pg.addFile(3)
	var mu sync.Mutex
	ran := map[tenant.Name]int{}
	w.pg.after = func(_ context.Context, call string, t tenant.Tenant) error {
		mu.Lock()
		defer mu.Unlock()
		if call == "Up" {
			ran[t.Name]++
		}
		return nil
	}
	other := w.another(30 * time.Second)
	var wg sync.WaitGroup
	results := make([]*tenant.RunResult, 2)
	for i, s := range []*tenant.Service{w.service, other} {
		wg.Go(func() {
			r, err := s.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 4})
			if err != nil {
				t.Error(err)
			}
			results[i] = r
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	changed := 0
	for _, r := range results {
		changed += r.Summary.Changed
		if r.State != tenant.RunDone {
			t.Errorf("%+v", r)
		}
	}
	if changed != 20 {
		t.Errorf("%d tenants changed, want each of 20 once", changed)
	}
}

func TestInterruptedRunFinishesWhatIsInFlightAndStartsNothing(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex", "initech")
	w.pg.addFile(3)
	ctx, cancel := context.WithCancel(t.Context())
	w.pg.before = func(_ context.Context, call string, _ tenant.Tenant) error {
		if call == "Up" {
			cancel()
		}
		return nil
	}
	r, err := w.service.Migrate(ctx, tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 1})
	if err != nil || r.State != tenant.RunAborted || r.Summary != (tenant.Summary{Tenants: 3, Changed: 1, NotStarted: 2}) {
		t.Fatalf("%+v, %v", r, err)
	}
	wantKind(t, r.Err(), tenant.ErrInterrupted)
}

func TestAnAbortedRunStartsNoNewTenant(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex", "initech")
	w.pg.addFile(3)
	other := w.another(30 * time.Second)
	w.pg.before = func(ctx context.Context, call string, _ tenant.Tenant) error {
		if call != "Up" {
			return nil
		}
		for op, err := range other.Operations(ctx, tenant.OperationFilter{}) {
			if err != nil {
				return err
			}
			if op.Kind == tenant.OpMigrate && op.State == tenant.OpRunning {
				if _, err := other.Abort(ctx, op.ID.String()); err != nil {
					return err
				}
			}
		}
		return nil
	}
	r, err := w.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Parallel: 1})
	if err != nil || r.State != tenant.RunAborted || r.Summary != (tenant.Summary{Tenants: 3, Changed: 1, NotStarted: 2}) {
		t.Fatalf("%+v, %v", r, err)
	}
	wantKind(t, r.Err(), tenant.ErrInterrupted)
	if n := w.pg.places["t_acme"].version + w.pg.places["t_globex"].version + w.pg.places["t_initech"].version; n != 7 {
		t.Errorf("versions add up to %d: want one tenant at 3, two at 2", n)
	}
}

func TestCreateManyIsOneRunThatResumes(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	fail := true
	w.docs.before = func(_ context.Context, call string, t tenant.Tenant) error {
		if fail && call == "Create" && t.Name == "globex" {
			return &tenant.Error{Store: "mongodb", Msg: "disk is full"}
		}
		return nil
	}
	var outcomes []string
	sink := func(o tenant.Outcome) { outcomes = append(outcomes, fmt.Sprint(o.Tenant.Name, o.Err != nil)) }
	_, err := w.service.CreateMany(t.Context(), requests("acme", "globex"), false, tenant.RunOptions{Parallel: 2}, sink)
	wantKind(t, err, tenant.ErrExists)
	r, err := w.service.CreateMany(t.Context(), requests("acme", "globex", "initech"), true, tenant.RunOptions{Parallel: 1}, sink)
	if err != nil || r.Summary != (tenant.Summary{Tenants: 3, Unchanged: 1, Failed: 1, NotStarted: 1}) {
		t.Fatalf("%+v, %v", r, err)
	}
	if want := []string{"acmefalse", "globextrue"}; !slices.Equal(outcomes, want) {
		t.Errorf("outcomes %v", outcomes)
	}
	fail = false
	r, err = w.service.CreateMany(t.Context(), nil, true, tenant.RunOptions{Parallel: 2, Resume: r.Run.String()}, sink)
	if err != nil || r.State != tenant.RunDone || r.Summary.Changed != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, n := range []string{"acme", "globex", "initech"} {
		if w.state(n) != tenant.Active {
			t.Errorf("%s is %q", n, w.state(n))
		}
	}
}

func TestCreateManyRefusesBadInputBeforeItMakesAnything(t *testing.T) {
	w := newWorld(t)
	for _, names := range [][]string{{"acme", "Bad Name"}, {"acme", "acme"}} {
		_, err := w.service.CreateMany(t.Context(), requests(names...), false, tenant.RunOptions{Parallel: 2}, func(tenant.Outcome) {})
		wantKind(t, err, tenant.ErrInvalid)
	}
	if len(w.pg.calls) != 0 || w.state("acme") != "" || len(w.unfinished()) != 0 {
		t.Error("something was made")
	}
}
