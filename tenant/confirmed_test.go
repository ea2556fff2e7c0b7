package tenant_test

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// books is a store whose version tables can be written without running anything.
type books struct{ *memory }

func (b books) Baseline(ctx context.Context, t tenant.Tenant, to int64, _ bool) (moved tenant.Moved, err error) {
	err = b.call(ctx, "Baseline", t, func() error {
		b.places[t.Schema].version = to
		return nil
	})
	return moved, err
}

// A person confirmed one tenant; by the time of the answer another one has its name. Nothing is done to either.
func TestWhatWasConfirmedIsWhatIsWorkedOn(t *testing.T) {
	t.Parallel()
	one := tenant.Selection{Names: []tenant.Name{"acme"}}
	for name, c := range map[string]struct {
		deleted bool
		do      func(ctx context.Context, s *tenant.Service, shown uuid.UUID) error
	}{
		"delete": {do: func(ctx context.Context, s *tenant.Service, shown uuid.UUID) error {
			return failure(s.Delete(ctx, "acme", tenant.DeleteRequest{NoBackup: true, ID: shown}))
		}},
		"delete --now": {do: func(ctx context.Context, s *tenant.Service, shown uuid.UUID) error {
			return failure(s.Delete(ctx, "acme", tenant.DeleteRequest{NoBackup: true, Now: true, ID: shown}))
		}},
		"purge": {deleted: true, do: func(ctx context.Context, s *tenant.Service, shown uuid.UUID) error {
			return failure(s.Purge(ctx, "acme", tenant.PurgeRequest{ID: shown}))
		}},
		"purge --due": {deleted: true, do: func(ctx context.Context, s *tenant.Service, shown uuid.UUID) error {
			return failure(s.Purge(ctx, "acme", tenant.PurgeRequest{Due: true, ID: shown}))
		}},
		"migrate down": {do: func(ctx context.Context, s *tenant.Service, shown uuid.UUID) error {
			return failure(s.MigrateDown(ctx, tenant.BackRequest{Name: "acme", Only: tenant.KindPostgres, To: 1, ID: shown}))
		}},
		"migrate redo": {do: func(ctx context.Context, s *tenant.Service, shown uuid.UUID) error {
			return failure(s.MigrateRedo(ctx, tenant.BackRequest{Name: "acme", Only: tenant.KindPostgres, ID: shown}))
		}},
		"migrate baseline": {do: func(ctx context.Context, s *tenant.Service, shown uuid.UUID) error {
			_, err := s.Baseline(ctx, tenant.BaselineRequest{Selection: one, Only: tenant.KindPostgres, Version: 2, Confirmed: []uuid.UUID{shown}}, tenant.RunOptions{Parallel: 1})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			stay := func(name string) {
				if !c.deleted {
					return
				}
				if _, err := w.service.Delete(t.Context(), tenant.Name(name), tenant.DeleteRequest{NoBackup: true}); err != nil {
					t.Fatal(err)
				}
				execute(t, w.pool, `UPDATE tenantctl.tenants SET purge_after = now()`)
			}
			w.create("acme")
			shown, err := w.service.Get(t.Context(), "acme")
			if err != nil {
				t.Fatal(err)
			}
			w.create("other")
			for old, name := range []string{"elder", "acme"} {
				if _, err := w.service.Rename(t.Context(), []tenant.Name{"acme", "other"}[old], name); err != nil {
					t.Fatal(err)
				}
				stay(name)
			}
			picture := func() string { return w.picture("acme") + w.picture("elder") + w.picture("other") }
			before := picture()
			s := tenant.NewService(w.catalog, []tenant.Resource{books{w.pg}, w.docs}, tenant.Options{Naming: tenant.Naming{Prefix: "t_"}})
			defer s.Close()
			err = c.do(t.Context(), s, shown.ID)
			wantKind(t, err, tenant.ErrBusy)
			if tenant.Code(err) != "not_confirmed" {
				t.Errorf("error is %v", err)
			}
			if after := picture(); after != before {
				t.Errorf("it was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

// An import enters its tenants as they are when it enters them, and refuses those that it cannot work in any more.
func TestAnImportLooksAgainAtTenantsThatHaveChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("acme", "globex")
	look := func() []tenant.Tenant {
		var all []tenant.Tenant
		for _, name := range []tenant.Name{"acme", "globex"} {
			one, err := w.service.Get(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, one)
		}
		return all
	}
	looked := look()
	if _, err := w.service.Suspend(t.Context(), "globex"); err != nil {
		t.Fatal(err)
	}
	i, err := w.service.BeginImport(t.Context(), "old", map[string]any{}, looked)
	if err != nil {
		t.Fatal(err)
	}
	if looked[1].State != tenant.Suspended {
		t.Errorf("it goes on with what it saw before: %+v", looked[1])
	}
	if err := i.End(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	looked = look()
	if _, err := w.service.Delete(t.Context(), "globex", tenant.DeleteRequest{NoBackup: true}); err != nil {
		t.Fatal(err)
	}
	_, err = w.service.BeginImport(t.Context(), "old", map[string]any{}, looked)
	wantKind(t, err, tenant.ErrInvalid)
	if _, err := w.service.Suspend(t.Context(), "acme"); err != nil {
		t.Errorf("a refused import holds its tenants: %v", err)
	}
}
