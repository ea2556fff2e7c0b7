package tenanttest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// Harness is one world for one test of the suite: names that nobody else uses, migrations of its own, and hands that
// reach into the store past the resource.
type Harness struct {
	// Prefix begins the names of all places in this world.
	Prefix string
	// New makes the resource as a fresh process would, over the migrations that are there now.
	New func(t *testing.T) tenant.Resource
	// AddMigration writes one more migration, newer than the others, with a Down; remove takes it away again.
	// nil where the resource is no Migrator.
	AddMigration func(t *testing.T) (remove func())
	// Foreign puts something of somebody else's at the tenant's places; untouched fails where it is not as it was.
	Foreign func(t *testing.T, tn tenant.Tenant) (untouched func(t *testing.T))
	// Write stores n things in the tenant's place; Count tells how many are there.
	Write func(t *testing.T, tn tenant.Tenant, n int)
	Count func(t *testing.T, tn tenant.Tenant) int
}

// Tenant makes up a tenant with places in this world.
func (h Harness) Tenant(t testing.TB, name string) tenant.Tenant {
	t.Helper()
	p, err := tenant.Naming{Prefix: h.Prefix}.Derive(name)
	if err != nil {
		t.Fatal(err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return tenant.Tenant{ID: id, Name: p.Name, State: tenant.Active, Schema: p.Schema, Database: p.Database, Role: p.Role}
}

// Exercise is what every resource must do. open makes a world for each test.
func Exercise(t *testing.T, open func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, w world)
	}{
		{"CreateMakesTheNewestAndAgainChangesNothing", createTwice},
		{"DropLeavesNothingAndAgainIsSuccess", dropTwice},
		{"ForeignPlaceIsRefusedAndLeft", foreignPlace},
		{"TenantsDoNotDisturbEachOther", twoTenants},
		{"CancelledCreateIsFinishedByTheNext", cancelled("Create")},
		{"CancelledDropIsFinishedByTheNext", cancelled("Drop")},
		{"FaultsAroundCallsAreHealedByTheNext", faults},
		{"UpAppliesWhatIsNewOnce", upTwice},
		{"DownAndUpAgain", downAndUp},
		{"UnknownVersionIsRefused", unknownVersion},
		{"VersionsAgreesWithStat", versions},
		{"MissingPlaceIsReported", missingPlace},
		{"BaselineMarksAndRunsNothing", baseline},
		{"RehearseIsUpAndTellsOfEachFile", rehearse},
		{"LockAndUnlockTwice", lockTwice},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, world{open(t)})
		})
	}
}

// world is a harness with the suite's own words.
type world struct{ Harness }

func (w world) create(t *testing.T, name string) tenant.Tenant {
	t.Helper()
	tn := w.Tenant(t, name)
	must(t, w.New(t).Create(t.Context(), tn))
	return tn
}

func (w world) stat(t *testing.T, tn tenant.Tenant) tenant.Stat {
	t.Helper()
	st, err := w.New(t).Stat(t.Context(), tn)
	must(t, err)
	return st
}

// migrator is the resource as a Migrator and its newest version; a resource without versions has no such tests.
func (w world) migrator(t *testing.T) (m tenant.Migrator, newest int64, all int) {
	t.Helper()
	m, ok := w.New(t).(tenant.Migrator)
	if !ok {
		return nil, 0, 0
	}
	files, err := m.Files(t.Context())
	must(t, err)
	return m, files[len(files)-1].Version, len(files)
}

// whole fails where a tenant is not wholly there, at the newest version.
func (w world) whole(t *testing.T, tn tenant.Tenant) {
	t.Helper()
	st := w.stat(t, tn)
	_, newest, all := w.migrator(t)
	if st.Presence != tenant.Ours || len(st.Remains) == 0 || st.Version != newest || st.Applied != all || st.Locked {
		t.Fatalf("stat is %+v, want it present at version %d with %d applied", st, newest, all)
	}
}

// gone fails where anything of a tenant is there.
func (w world) gone(t *testing.T, tn tenant.Tenant) {
	t.Helper()
	if st := w.stat(t, tn); st.Presence != tenant.Absent || len(st.Remains) != 0 {
		t.Fatalf("stat is %+v, want nothing there", st)
	}
}

func createTwice(t *testing.T, w world) {
	tn := w.Tenant(t, "acme")
	w.gone(t, tn)
	must(t, w.New(t).Create(t.Context(), tn))
	w.whole(t, tn)
	w.Write(t, tn, 3)
	before := w.stat(t, tn)
	must(t, w.New(t).Create(t.Context(), tn))
	w.whole(t, tn)
	if n := w.Count(t, tn); n != 3 {
		t.Errorf("a second create left %d of 3 things", n)
	}
	if after := w.stat(t, tn); after.Objects != before.Objects || !slices.Equal(after.Remains, before.Remains) {
		t.Errorf("a second create changed %+v to %+v", before, after)
	}
}

func dropTwice(t *testing.T, w world) {
	never := w.Tenant(t, "never")
	must(t, w.New(t).Drop(t.Context(), never))
	w.gone(t, never)
	tn := w.create(t, "acme")
	w.Write(t, tn, 3)
	for range 2 {
		must(t, w.New(t).Drop(t.Context(), tn))
		w.gone(t, tn)
	}
	must(t, w.New(t).Create(t.Context(), tn))
	w.whole(t, tn)
	if n := w.Count(t, tn); n != 0 {
		t.Errorf("%d things came back with a new place", n)
	}
}

func foreignPlace(t *testing.T, w world) {
	tn := w.Tenant(t, "acme")
	untouched := w.Foreign(t, tn)
	if st := w.stat(t, tn); st.Presence != tenant.Foreign || len(st.Remains) == 0 {
		t.Errorf("stat is %+v, want it foreign", st)
	}
	refused(t, w.New(t).Create(t.Context(), tn), tenant.ErrForeign)
	untouched(t)
	refused(t, w.New(t).Drop(t.Context(), tn), tenant.ErrForeign)
	untouched(t)
	if m, _, _ := w.migrator(t); m != nil {
		_, err := m.Up(t.Context(), tn, tenant.Newest, false)
		refused(t, err, tenant.ErrForeign)
		untouched(t)
	}

	// The same names, made for a tenant with another id.
	first := w.create(t, "globex")
	w.Write(t, first, 2)
	second := w.Tenant(t, "globex")
	refused(t, w.New(t).Create(t.Context(), second), tenant.ErrForeign)
	refused(t, w.New(t).Drop(t.Context(), second), tenant.ErrForeign)
	w.whole(t, first)
	if n := w.Count(t, first); n != 2 {
		t.Errorf("%d of 2 things are left of the tenant that was there first", n)
	}
}

func twoTenants(t *testing.T, w world) {
	a, b := w.create(t, "acme"), w.create(t, "acme-2")
	w.Write(t, a, 2)
	w.Write(t, b, 5)
	if na, nb := w.Count(t, a), w.Count(t, b); na != 2 || nb != 5 {
		t.Fatalf("the tenants have %d and %d things, want 2 and 5", na, nb)
	}
	must(t, w.New(t).Drop(t.Context(), a))
	w.gone(t, a)
	w.whole(t, b)
	if n := w.Count(t, b); n != 5 {
		t.Errorf("dropping one tenant left %d of 5 things of the other", n)
	}
}

// cancelled stops a call at ever later moments until it is done, and has another process do it again each time.
func cancelled(call string) func(t *testing.T, w world) {
	return func(t *testing.T, w world) {
		tn := w.Tenant(t, "acme")
		do := func(ctx context.Context, r tenant.Resource) error { return r.Create(ctx, tn) }
		if call == "Drop" {
			do = func(ctx context.Context, r tenant.Resource) error { return r.Drop(ctx, tn) }
		}
		stopped := 0
		for n := 1; ; n += 1 + n/3 {
			if call == "Create" {
				must(t, w.New(t).Drop(t.Context(), tn))
			} else {
				must(t, w.New(t).Create(t.Context(), tn))
			}
			err := do(Dying(t.Context(), n), w.New(t))
			if err != nil {
				stopped++
				must(t, do(t.Context(), w.New(t)))
			}
			if call == "Create" {
				w.whole(t, tn)
			} else {
				w.gone(t, tn)
			}
			if err == nil {
				break
			}
		}
		if stopped < 2 {
			t.Errorf("%s was stopped at %d moments only", call, stopped)
		}
		t.Logf("%s was stopped at %d moments", call, stopped)
	}
}

var errStruck = errors.New("struck")

func faults(t *testing.T, w world) {
	calls := []string{"Create", "Drop"}
	if m, _, _ := w.migrator(t); m != nil {
		calls = append(calls, "Up", "Down")
	}
	if _, ok := w.New(t).(tenant.Locker); ok {
		calls = append(calls, "Lock", "Unlock")
	}
	for _, call := range calls {
		for _, at := range []Point{Before, During, After} {
			tn := w.Tenant(t, "acme")
			if call != "Create" {
				must(t, w.New(t).Create(t.Context(), tn))
			}
			broken := Fault(w.New(t), call, at, func(context.Context) error { return errStruck })
			if err := invoke(t, broken, call, tn); !errors.Is(err, errStruck) {
				t.Fatalf("%s: a fault %s it gave %v", call, at, err)
			}
			must(t, invoke(t, w.New(t), call, tn))
			switch call {
			case "Create", "Up", "Unlock":
				w.whole(t, tn)
			case "Drop":
				w.gone(t, tn)
			}
			must(t, w.New(t).Drop(t.Context(), tn))
			w.gone(t, tn)
		}
	}
}

// invoke makes one of the calls that can have a fault.
func invoke(t *testing.T, r tenant.Resource, call string, tn tenant.Tenant) (err error) {
	t.Helper()
	switch call {
	case "Create":
		return r.Create(t.Context(), tn)
	case "Drop":
		return r.Drop(t.Context(), tn)
	case "Up":
		_, err = r.(tenant.Migrator).Up(t.Context(), tn, tenant.Newest, false)
	case "Down":
		_, err = r.(tenant.Migrator).Down(t.Context(), tn, 0)
	case "Lock":
		_, err = r.(tenant.Locker).Lock(t.Context(), tn)
	case "Unlock":
		err = r.(tenant.Locker).Unlock(t.Context(), tn)
	}
	return err
}

func upTwice(t *testing.T, w world) {
	m, old, all := w.migrator(t)
	if m == nil {
		return
	}
	tn := w.create(t, "acme")
	w.Write(t, tn, 3)
	w.AddMigration(t)
	m, newest, _ := w.migrator(t)
	moved, err := m.Up(t.Context(), tn, tenant.Newest, false)
	must(t, err)
	if want := (tenant.Moved{From: old, To: newest, Ran: []int64{newest}, Applied: all + 1}); !same(moved, want) {
		t.Errorf("up gave %+v, want %+v", moved, want)
	}
	moved, err = m.Up(t.Context(), tn, tenant.Newest, false)
	must(t, err)
	if want := (tenant.Moved{From: newest, To: newest, Applied: all + 1}); !same(moved, want) {
		t.Errorf("up again gave %+v, want %+v", moved, want)
	}
	w.whole(t, tn)
	if n := w.Count(t, tn); n != 3 {
		t.Errorf("up left %d of 3 things", n)
	}
}

func same(a, b tenant.Moved) bool {
	return a.From == b.From && a.To == b.To && a.Applied == b.Applied && slices.Equal(a.Ran, b.Ran)
}

func downAndUp(t *testing.T, w world) {
	m, newest, all := w.migrator(t)
	if m == nil {
		return
	}
	files, err := m.Files(t.Context())
	must(t, err)
	var ups []int64
	for _, f := range files {
		ups = append(ups, f.Version)
	}
	downs := slices.Clone(ups)
	slices.Reverse(downs)
	tn := w.create(t, "acme")
	for range 2 {
		moved, err := m.Down(t.Context(), tn, 0)
		must(t, err)
		if want := (tenant.Moved{From: newest, Ran: downs}); !same(moved, want) {
			t.Errorf("down gave %+v, want %+v", moved, want)
		}
		if st := w.stat(t, tn); st.Presence != tenant.Ours || st.Version != 0 || st.Applied != 0 || st.Objects != 0 {
			t.Errorf("after down, stat is %+v", st)
		}
		// To the first version, and from there to the newest.
		moved, err = m.Up(t.Context(), tn, ups[0], false)
		must(t, err)
		if want := (tenant.Moved{To: ups[0], Ran: ups[:1], Applied: 1}); !same(moved, want) {
			t.Errorf("up to the first gave %+v, want %+v", moved, want)
		}
		moved, err = m.Up(t.Context(), tn, tenant.Newest, false)
		must(t, err)
		if want := (tenant.Moved{From: ups[0], To: newest, Ran: ups[1:], Applied: all}); !same(moved, want) {
			t.Errorf("up to the newest gave %+v, want %+v", moved, want)
		}
		w.whole(t, tn)
	}
	moved, err := m.Down(t.Context(), tn, newest)
	must(t, err)
	if want := (tenant.Moved{From: newest, To: newest, Applied: all}); !same(moved, want) {
		t.Errorf("down to where it is gave %+v, want %+v", moved, want)
	}
}

func unknownVersion(t *testing.T, w world) {
	if m, _, _ := w.migrator(t); m == nil {
		return
	}
	remove := w.AddMigration(t)
	tn := w.create(t, "acme")
	remove()
	m, newest, all := w.migrator(t)
	before := w.stat(t, tn)
	_, err := m.Up(t.Context(), tn, tenant.Newest, true)
	refused(t, err, tenant.ErrInvalid)
	_, err = m.Down(t.Context(), tn, 0)
	refused(t, err, tenant.ErrInvalid)
	if after := w.stat(t, tn); after.Version != before.Version || after.Applied != all+1 || after.Version <= newest {
		t.Errorf("refusals changed %+v to %+v", before, after)
	}
}

func versions(t *testing.T, w world) {
	m, newest, all := w.migrator(t)
	if m == nil {
		return
	}
	a, b, c := w.create(t, "acme"), w.create(t, "globex"), w.Tenant(t, "missing")
	_, err := m.Down(t.Context(), b, 0)
	must(t, err)
	got, err := m.Versions(t.Context(), []tenant.Tenant{b, c, a})
	must(t, err)
	if len(got) != 3 {
		t.Fatalf("%d answers to 3 questions", len(got))
	}
	if v := got[0]; v.Presence != tenant.Ours || v.Version != 0 || v.Applied != 0 || v.Err != nil {
		t.Errorf("the tenant that was taken down is %+v", v)
	}
	if v := got[1]; v.Presence != tenant.Absent || v.Version != 0 {
		t.Errorf("the missing tenant is %+v", v)
	}
	if v := got[2]; v.Presence != tenant.Ours || v.Version != newest || v.Applied != all || v.Err != nil {
		t.Errorf("the newest tenant is %+v, want version %d with %d applied", v, newest, all)
	}
	for i, tn := range []tenant.Tenant{b, c, a} {
		if st := w.stat(t, tn); st.Version != got[i].Version || st.Applied != got[i].Applied || st.Presence != got[i].Presence {
			t.Errorf("stat says %+v, versions says %+v", st, got[i])
		}
	}
}

func missingPlace(t *testing.T, w world) {
	tn := w.Tenant(t, "missing")
	if m, _, _ := w.migrator(t); m != nil {
		_, err := m.Up(t.Context(), tn, tenant.Newest, false)
		refused(t, err, tenant.ErrMissing)
		_, err = m.Down(t.Context(), tn, 0)
		refused(t, err, tenant.ErrMissing)
	}
	if l, ok := w.New(t).(tenant.Locker); ok {
		_, err := l.Lock(t.Context(), tn)
		refused(t, err, tenant.ErrMissing)
		refused(t, l.Unlock(t.Context(), tn), tenant.ErrMissing)
	}
	w.gone(t, tn)
}

func lockTwice(t *testing.T, w world) {
	l, ok := w.New(t).(tenant.Locker)
	if !ok {
		return
	}
	tn := w.create(t, "acme")
	w.Write(t, tn, 3)
	for range 2 {
		var enforced bool
		for range 2 {
			var err error
			enforced, err = l.Lock(t.Context(), tn)
			must(t, err)
			if st := w.stat(t, tn); st.Locked != enforced {
				t.Errorf("lock is enforced: %v; stat is %+v", enforced, st)
			}
		}
		if m, _, all := w.migrator(t); m != nil { // a suspended tenant still migrates
			moved, err := m.Up(t.Context(), tn, tenant.Newest, false)
			must(t, err)
			if moved.Applied != all {
				t.Errorf("a locked tenant has %d of %d migrations", moved.Applied, all)
			}
		}
		for range 2 {
			must(t, l.Unlock(t.Context(), tn))
			w.whole(t, tn)
		}
	}
	if n := w.Count(t, tn); n != 3 {
		t.Errorf("locking left %d of 3 things", n)
	}
	_, err := l.Lock(t.Context(), tn)
	must(t, err)
	must(t, w.New(t).Drop(t.Context(), tn))
	w.gone(t, tn)
}

// must fails with the hint, which says more than the error.
func must(t *testing.T, err error) {
	t.Helper()
	var e *tenant.Error
	switch {
	case errors.As(err, &e):
		t.Fatalf("%v (hint: %s; cause: %v)", err, e.Hint, e.Err)
	case err != nil:
		t.Fatal(err)
	}
}

// refused fails where err is not an *Error of that kind with a way out.
func refused(t *testing.T, err, kind error) {
	t.Helper()
	var e *tenant.Error
	switch {
	case err == nil:
		t.Fatalf("it was done, want it refused: %v", kind)
	case !errors.Is(err, kind):
		t.Fatalf("it was refused with %v, want: %v", err, kind)
	case !errors.As(err, &e) || e.Store == "" || e.Msg == "" || e.Hint == "":
		t.Fatalf("the refusal lacks the store, the message or the way out: %#v", err)
	}
}
