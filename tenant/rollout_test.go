package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

// rollout is a fleet of 20 with one migration to come, and the order in which its tenants are brought to it.
type rollout struct {
	*world
	mu    sync.Mutex
	order []string
	fails map[tenant.Name]bool
}

func newRollout(t *testing.T) *rollout {
	t.Helper()
	r := &rollout{world: newWorld(t), fails: map[tenant.Name]bool{}}
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("tenant%02d", i))
	}
	r.create(names...)
	r.pg.addFile(3)
	r.pg.before = func(_ context.Context, call string, t tenant.Tenant) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if call == "Up" {
			r.order = append(r.order, strings.TrimPrefix(string(t.Name), "tenant"))
		}
		if call == "Up" && r.fails[t.Name] {
			return &tenant.Error{Kind: tenant.ErrMigration, Code: "42P07", Store: "postgres", Statement: "CREATE TABLE x", Msg: "relation exists"}
		}
		return nil
	}
	return r
}

func (r *rollout) migrate(t *testing.T, req tenant.MigrateRequest, o tenant.RunOptions) *tenant.RunResult {
	t.Helper()
	o.Parallel = 1
	if o.MaxFailures == (tenant.Budget{}) {
		o.MaxFailures = tenant.Budget{Count: 1}
	}
	req.To = tenant.Newest
	result, err := r.service.Migrate(t.Context(), req, o)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func sizes(r *tenant.RunResult) []int {
	var out []int
	for _, w := range r.Waves {
		out = append(out, w.Tenants)
	}
	return out
}

func TestWavesFollowOneAnotherWithACheckInBetween(t *testing.T) {
	for _, c := range []struct {
		name string
		tenant.Rollout
		waves []int
	}{
		{"a canary and the rest", tenant.Rollout{Canary: 2}, []int{2, 18}},
		{"waves alone", tenant.Rollout{Wave: tenant.Budget{Count: 8}}, []int{8, 8, 4}},
		{"a canary and waves of a share", tenant.Rollout{Canary: 1, Wave: tenant.Budget{Percent: 50}}, []int{1, 10, 9}},
		{"more canaries than tenants", tenant.Rollout{Canary: 30}, []int{20}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRollout(t)
			var checked []int
			c.Check = func(_ context.Context, w tenant.Wave) error {
				checked = append(checked, w.Number)
				if len(r.order) != sum(c.waves[:w.Number]) || w.Changed != c.waves[w.Number-1] || w.Of != len(c.waves) {
					t.Errorf("the check of wave %+v comes after %d tenants", w, len(r.order))
				}
				return nil
			}
			result := r.migrate(t, tenant.MigrateRequest{}, tenant.RunOptions{Rollout: c.Rollout})
			if result.State != tenant.RunDone || !slices.Equal(sizes(result), c.waves) || len(checked) != len(c.waves)-1 {
				t.Errorf("%+v, checked after %v", result, checked)
			}
		})
	}
}

func sum(ns []int) (n int) {
	for _, i := range ns {
		n += i
	}
	return n
}

func TestAFailedCheckStopsTheRunAndIsAskedAgainAtTheResumption(t *testing.T) {
	r := newRollout(t)
	asked, answer := 0, errors.New("unhealthy")
	o := tenant.RunOptions{Rollout: tenant.Rollout{Wave: tenant.Budget{Count: 10}, Check: func(context.Context, tenant.Wave) error {
		asked++
		return answer
	}}}
	result := r.migrate(t, tenant.MigrateRequest{}, o)
	if result.Summary.Changed != 10 || result.Summary.NotStarted != 10 || result.State != tenant.RunPartial {
		t.Fatalf("%+v", result)
	}
	if want := "stopped after wave 1 of 2: unhealthy: 10 of 20 tenants were not started"; result.Err().Error() != want {
		t.Errorf("%q, want %q", result.Err(), want)
	}
	again := tenant.RunOptions{Resume: result.Run.String()}
	_, err := r.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, again)
	wantKind(t, err, tenant.ErrInvalid)
	again.Check = o.Check
	if result := r.migrate(t, tenant.MigrateRequest{}, again); asked != 2 || result.Summary.NotStarted != 10 {
		t.Errorf("resumed while the check fails: asked %d times, %+v", asked, result)
	}
	again.Check, again.Unchecked = nil, true
	if result := r.migrate(t, tenant.MigrateRequest{}, again); result.State != tenant.RunDone || result.Summary.Changed != 10 {
		t.Errorf("without the check: %+v", result)
	}
}

func TestAFailedCanaryStopsTheRunWhateverTheBudget(t *testing.T) {
	r := newRollout(t)
	r.fails["tenant01"] = true
	result := r.migrate(t, tenant.MigrateRequest{}, tenant.RunOptions{MaxFailures: tenant.Budget{Percent: 100}, Rollout: tenant.Rollout{Canary: 3}})
	if result.Summary != (tenant.Summary{Tenants: 20, Changed: 1, Failed: 1, NotStarted: 18}) || !strings.HasPrefix(result.Err().Error(), "a canary failed: ") {
		t.Errorf("%+v, %v", result, result.Err())
	}
}

func TestCanariesAreTheLargestAndTheOddest(t *testing.T) {
	r := newRollout(t)
	r.pg.shapes = map[tenant.Name]tenant.Shape{
		"tenant07": {Bytes: 900, Structure: "same"}, "tenant03": {Bytes: 500, Structure: "same"},
		"tenant11": {Bytes: 2, Structure: "odd"}, "tenant12": {Bytes: 3, Structure: "odd"}, "tenant15": {Bytes: 1, Structure: "alone"},
	}
	result := r.migrate(t, tenant.MigrateRequest{}, tenant.RunOptions{Rollout: tenant.Rollout{Canary: 4}})
	first := slices.Sorted(slices.Values(r.order[:4]))
	if want := []string{"03", "07", "12", "15"}; !slices.Equal(first, want) || len(r.order) != 20 {
		t.Errorf("the canaries are %v of %v, want %v; %+v", first, r.order, want, result)
	}
}

func TestCanariesAreChosenAmongThoseSelected(t *testing.T) {
	r := newRollout(t)
	for _, name := range []tenant.Name{"tenant17", "tenant18", "tenant19"} {
		if _, err := r.service.Set(t.Context(), name, tenant.Change{Labels: map[string]string{"beta": "yes"}}); err != nil {
			t.Fatal(err)
		}
	}
	beta, err := tenant.ParseSelector("beta=yes")
	if err != nil {
		t.Fatal(err)
	}
	nobody, err := tenant.ParseSelector("beta=no")
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{Rollout: tenant.Rollout{Canary: 2, Canaries: nobody}})
	wantKind(t, err, tenant.ErrInvalid)
	r.migrate(t, tenant.MigrateRequest{}, tenant.RunOptions{Rollout: tenant.Rollout{Canary: 2, Canaries: beta}})
	if first := slices.Sorted(slices.Values(r.order[:2])); !slices.Equal(first, []string{"17", "18"}) {
		t.Errorf("the canaries are %v", first)
	}
}

func TestOnlyThoseThatFailedAreTriedAgain(t *testing.T) {
	r := newRollout(t)
	r.fails["tenant04"], r.fails["tenant09"] = true, true
	first := r.migrate(t, tenant.MigrateRequest{Only: "postgres"}, tenant.RunOptions{MaxFailures: tenant.Budget{Count: 5}})
	if first.Summary.Failed != 2 || first.Retry != "tenantctl migrate --retry-failed "+tenant.ShortID(first.Run) {
		t.Fatalf("%+v", first)
	}
	r.order = nil
	delete(r.fails, "tenant04")
	second := r.migrate(t, tenant.MigrateRequest{RetryFailed: tenant.ShortID(first.Run)}, tenant.RunOptions{MaxFailures: tenant.Budget{Count: 5}})
	if !slices.Equal(r.order, []string{"04", "09"}) || second.Summary != (tenant.Summary{Tenants: 2, Changed: 1, Failed: 1}) || len(second.Target) != 1 {
		t.Errorf("tried %v: %+v", r.order, second)
	}
	delete(r.fails, "tenant09")
	third := r.migrate(t, tenant.MigrateRequest{RetryFailed: second.Run.String()}, tenant.RunOptions{})
	if third.Summary != (tenant.Summary{Tenants: 1, Changed: 1}) {
		t.Errorf("%+v", third)
	}
	_, err := r.service.Migrate(t.Context(), tenant.MigrateRequest{RetryFailed: third.Run.String()}, tenant.RunOptions{})
	wantKind(t, err, tenant.ErrInvalid)
	_, err = r.service.Migrate(t.Context(), tenant.MigrateRequest{RetryFailed: "ffffffff"}, tenant.RunOptions{})
	wantKind(t, err, tenant.ErrNotFound)
}

func TestARunWaitsWhileTheServerHasEnoughToDo(t *testing.T) {
	r := newRollout(t)
	var mu sync.Mutex
	asked := 0
	r.pg.pressure = func() (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked < 4 { // the first answer is to the question whether it can be asked
			return "replica east is 1 GiB behind", nil
		}
		return "", nil
	}
	start := time.Now()
	result := r.migrate(t, tenant.MigrateRequest{}, tenant.RunOptions{})
	if result.State != tenant.RunDone || asked < 4 || time.Since(start) < time.Second {
		t.Errorf("asked %d times in %s: %+v", asked, time.Since(start), result)
	}
	r.pg.addFile(4)
	r.pg.pressure = func() (string, error) { return "", &tenant.Error{Kind: tenant.ErrInvalid, Msg: "may not see"} }
	_, err := r.service.Migrate(t.Context(), tenant.MigrateRequest{To: tenant.Newest}, tenant.RunOptions{})
	wantKind(t, err, tenant.ErrInvalid)
}
