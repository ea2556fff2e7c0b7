package tenant_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

func (w *world) beginImport(s *tenant.Service, name string, names ...string) (*tenant.Import, error) {
	w.t.Helper()
	var tenants []tenant.Tenant
	for _, n := range names {
		one, err := s.Get(w.t.Context(), tenant.Name(n))
		if err != nil {
			w.t.Fatal(err)
		}
		tenants = append(tenants, one)
	}
	return s.BeginImport(w.t.Context(), name, map[string]any{}, tenants)
}

// recorded writes a checkpoint as a load does.
func (w *world) recorded(i *tenant.Import, part tenant.ImportPart, counts []tenant.ImportCount, rejects ...tenant.ImportReject) error {
	return pgx.BeginFunc(w.t.Context(), w.pool, func(tx pgx.Tx) error { return i.Record(w.t.Context(), tx, "a", part, counts, rejects) })
}

func TestAnImportHoldsItsTenantsAgainstEverythingElse(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex", "other")
	i, err := w.beginImport(w.service, "old", "acme", "globex")
	if err != nil {
		t.Fatal(err)
	}
	second := w.another(30 * time.Second)
	if _, err := second.Suspend(t.Context(), "globex"); !errors.Is(err, tenant.ErrBusy) {
		t.Errorf("a tenant that is being loaded is suspended: %v", err)
	}
	if _, err := w.beginImport(second, "old"); !errors.Is(err, tenant.ErrBusy) {
		t.Errorf("two imports of one name run at once: %v", err)
	}
	if _, err := w.beginImport(second, "new", "other", "acme"); !errors.Is(err, tenant.ErrBusy) {
		t.Errorf("two imports load one tenant at once: %v", err)
	}
	other, err := w.beginImport(second, "new", "other")
	if err != nil {
		t.Errorf("another import of other tenants is in the way: %v", err)
	}
	for _, x := range []*tenant.Import{i, other} {
		if err := x.End(t.Context(), nil, nil); err != nil {
			t.Error(err)
		}
	}
	if _, err := second.Suspend(t.Context(), "globex"); err != nil {
		t.Errorf("it is still held when it is over: %v", err)
	}
}

func TestAnImportThatWasTakenOverRecordsNothing(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	i, err := w.beginImport(w.service, "old", "acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.pool.Exec(t.Context(), `UPDATE tenantctl.operations SET state = 'aborted', fence = fence + 1 WHERE kind = 'import'`); err != nil {
		t.Fatal(err)
	}
	part := tenant.ImportPart{Part: "1", Done: true}
	for what, err := range map[string]error{
		"a checkpoint": w.recorded(i, part, nil),
		"a pass":       i.BeginPass(t.Context(), tenant.ImportPass{Target: "a"}, nil, true),
		"its end":      i.EndPass(t.Context(), "a", "m", nil),
	} {
		if !errors.Is(tenant.Fenced(err), tenant.ErrFenced) {
			t.Errorf("%s is recorded: %v", what, err)
		}
	}
	loads, err := w.service.ImportLoads(t.Context(), "old")
	if err != nil || len(loads) > 0 {
		t.Errorf("%v %v", loads, err)
	}
}

func TestCheckpointsCountsAndRejectsOfAnImportAreKept(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	i, err := w.beginImport(w.service, "old", "acme")
	if err != nil {
		t.Fatal(err)
	}
	acme, err := w.service.Get(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	pass := tenant.ImportPass{Target: "a", Mapping: "m", Scope: "s"}
	if err := i.BeginPass(t.Context(), pass, nil, true); err != nil {
		t.Fatal(err)
	}
	row, sum := `{"id": 1}`, uint64(1<<64-1)
	counts := []tenant.ImportCount{{Tenant: acme.ID, Loaded: 5, Rejected: 1}, {Rejected: 1}}
	rejects := []tenant.ImportReject{{Target: "a", Tenant: acme.ID, Key: `["1"]`, Code: "22001", Reason: "too long", Row: &row, Sum: &sum}, {Target: "a", Key: `["2"]`, Code: "no_key", Reason: "none"}}
	if err := w.recorded(i, tenant.ImportPart{Part: "1", Position: "7"}, counts, rejects...); err != nil {
		t.Fatal(err)
	}
	if err := w.recorded(i, tenant.ImportPart{Part: "1", Position: "9", Done: true}, counts[:1]); err != nil {
		t.Fatal(err)
	}
	there, parts, err := i.Pass(t.Context(), "a")
	if err != nil || there == nil || *there != (tenant.ImportPass{Target: "a", Mapping: "m", Scope: "s", Planned: true, Run: i.ID()}) || len(parts) != 1 || parts["1"] != (tenant.ImportPart{Part: "1", Position: "9", Done: true}) {
		t.Errorf("%+v %+v %v", there, parts, err)
	}
	loads := func(want ...tenant.ImportLoad) {
		t.Helper()
		got, err := w.service.ImportLoads(t.Context(), "old")
		slices.SortFunc(got, func(a, b tenant.ImportLoad) int { return int(b.Loaded - a.Loaded) })
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %+v, want %+v: %v", got, want, err)
		}
	}
	loads(tenant.ImportLoad{Target: "a", Tenant: acme.ID, Loaded: 10, Rejected: 2}, tenant.ImportLoad{Target: "a", Rejected: 1})
	var ids []int64
	err = w.service.Rejects(t.Context(), "old", "", func(r tenant.ImportReject) error {
		ids = append(ids, r.ID)
		if r.Tenant == acme.ID && (r.Name != "acme" || r.Sum == nil || *r.Sum != sum || r.Row == nil || *r.Row != row) || r.Tenant == uuid.Nil && (r.Row != nil || r.Sum != nil) {
			t.Errorf("%+v", r)
		}
		return nil
	})
	if err != nil || len(ids) != 2 {
		t.Fatalf("%v %v", ids, err)
	}
	if err := i.EndPass(t.Context(), "a", "m", []uuid.UUID{acme.ID}); err != nil {
		t.Fatal(err)
	}
	if there, parts, err := i.Pass(t.Context(), "a"); there != nil || len(parts) != 0 || err != nil {
		t.Errorf("a pass that is over: %v %v %v", there, parts, err)
	}
	loads(tenant.ImportLoad{Target: "a", Tenant: acme.ID, Loaded: 10, Rejected: 2, Whole: true, Mapping: "m", Run: i.ID()}, tenant.ImportLoad{Target: "a", Rejected: 1})
	if err := i.Forget(t.Context(), "a", []uuid.UUID{acme.ID}); err != nil {
		t.Fatal(err)
	}
	loads(tenant.ImportLoad{Target: "a", Rejected: 1})
	// A pass over everybody meets the rows of nobody again.
	if err := i.BeginPass(t.Context(), pass, nil, true); err != nil {
		t.Fatal(err)
	}
	loads()
	if err := w.service.Rejects(t.Context(), "old", "", func(r tenant.ImportReject) error { t.Errorf("left: %+v", r); return nil }); err != nil {
		t.Error(err)
	}
	if err := i.End(t.Context(), nil, tenant.ErrInterrupted); err != nil {
		t.Error(err)
	}
	st, err := w.service.Imports(t.Context(), "old")
	if err != nil || len(st) != 1 || len(st[0].Passes) != 1 || st[0].Run == nil || st[0].Run.State != tenant.OpAborted {
		t.Errorf("%+v %v", st, err)
	}
}

func TestAKeyKeepsItsTenant(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "globex")
	i, err := w.beginImport(w.service, "old")
	if err != nil {
		t.Fatal(err)
	}
	acme, err := w.service.Get(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	globex, err := w.service.Get(t.Context(), "globex")
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range []map[string]uuid.UUID{{"1": acme.ID}, {"1": globex.ID, "2": globex.ID}} {
		if err := i.KeepKeys(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.service.ImportKeys(t.Context(), "old")
	if err != nil || len(got) != 2 || got["1"] != acme.ID || got["2"] != globex.ID {
		t.Errorf("%v %v", got, err)
	}
}
