package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// verb is a use case on one tenant, as a command of the program calls it.
type verb struct {
	name string
	from tenant.State // what the tenant is before; empty for none
	do   func(ctx context.Context, s *tenant.Service, name string) error
}

var verbs = []verb{
	{"create", "", func(ctx context.Context, s *tenant.Service, name string) error {
		return failure(s.Create(ctx, tenant.CreateRequest{Name: name, Labels: map[string]string{"by": "create"}}, false))
	}},
	{"suspend", tenant.Active, func(ctx context.Context, s *tenant.Service, name string) error {
		return failure(s.Suspend(ctx, tenant.Name(name)))
	}},
	{"resume", tenant.Suspended, func(ctx context.Context, s *tenant.Service, name string) error {
		return failure(s.Resume(ctx, tenant.Name(name)))
	}},
	{"delete", tenant.Active, func(ctx context.Context, s *tenant.Service, name string) error {
		return failure(s.Delete(ctx, tenant.Name(name), tenant.DeleteRequest{NoBackup: true}))
	}},
	{"undelete", tenant.Deleted, func(ctx context.Context, s *tenant.Service, name string) error {
		return failure(s.Undelete(ctx, tenant.Name(name)))
	}},
	{"purge", tenant.Deleted, func(ctx context.Context, s *tenant.Service, name string) error {
		return failure(s.Purge(ctx, tenant.Name(name), tenant.PurgeRequest{}))
	}},
	{"rename", tenant.Active, func(ctx context.Context, s *tenant.Service, name string) error {
		return failure(s.Rename(ctx, tenant.Name(name), name+"x"))
	}},
	{"set", tenant.Active, func(ctx context.Context, s *tenant.Service, name string) error {
		return failure(s.Set(ctx, tenant.Name(name), tenant.Change{Labels: map[string]string{"by": "set"}, AddDomains: []string{name + ".example.com"}}))
	}},
	{"credentials", tenant.Active, func(ctx context.Context, s *tenant.Service, name string) error {
		_, _, err := s.Rotate(ctx, tenant.Name(name), func(*tenant.Credentials) error { return nil })
		return err
	}},
	{"clone", tenant.Active, func(ctx context.Context, s *tenant.Service, name string) error {
		return failure(s.Clone(ctx, tenant.CloneRequest{From: tenant.Name(name), To: tenant.CreateRequest{Name: name + "c"}, Data: true}))
	}},
	{"migrate", tenant.Active, func(ctx context.Context, s *tenant.Service, name string) error {
		r, err := s.Migrate(ctx, tenant.MigrateRequest{Selection: tenant.Selection{Names: []tenant.Name{tenant.Name(name)}}, To: tenant.Newest}, tenant.RunOptions{Parallel: 1})
		if err != nil {
			return err
		}
		return r.Err()
	}},
	{"migrate-down", tenant.Active, func(ctx context.Context, s *tenant.Service, name string) error {
		return failure(s.MigrateDown(ctx, tenant.BackRequest{Name: tenant.Name(name), Only: tenant.KindPostgres, To: 1}))
	}},
	{"migrate-redo", tenant.Active, func(ctx context.Context, s *tenant.Service, name string) error {
		return failure(s.MigrateRedo(ctx, tenant.BackRequest{Name: tenant.Name(name), Only: tenant.KindPostgres}))
	}},
	{"import", tenant.Active, func(ctx context.Context, s *tenant.Service, name string) error {
		t, err := s.Get(ctx, tenant.Name(name))
		if err != nil {
			return err
		}
		i, err := s.BeginImport(ctx, name, map[string]any{}, []tenant.Tenant{t})
		if err != nil {
			return err
		}
		return i.End(ctx, nil, nil)
	}},
}

func failure(_ *tenant.Outcome, err error) error { return err }

var freshNames atomic.Int64

// fresh is the name of a new tenant in a state.
func (w *world) fresh(state tenant.State) string {
	w.t.Helper()
	name := fmt.Sprintf("p%05d", freshNames.Add(1))
	if state == "" {
		return name
	}
	w.create(name)
	ctx := context.Background()
	var err error
	switch state {
	case tenant.Suspended:
		_, err = w.service.Suspend(ctx, tenant.Name(name))
	case tenant.Deleted:
		_, err = w.service.Delete(ctx, tenant.Name(name), tenant.DeleteRequest{NoBackup: true})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return name
}

// picture is all that the catalog and the stores have of a tenant and of what verbs make of it, whatever it is called.
func (w *world) picture(name string) string {
	w.t.Helper()
	ctx := context.Background()
	rows, err := w.pool.Query(ctx, `SELECT concat_ws(' ', replace(t.name, $1, 'NAME'), t.state, 'from', t.deleted_from, 'purge', t.purge_after IS NOT NULL, t.labels,
			(SELECT string_agg(replace(domain, $1, 'NAME'), ',') FROM tenantctl.domains d WHERE d.tenant_id = t.id),
			(SELECT string_agg(concat_ws(' ', kind, version), ',' ORDER BY kind) FROM tenantctl.versions v WHERE v.tenant_id = t.id))
		FROM tenantctl.tenants t WHERE starts_with(t.name, $1)
		UNION ALL SELECT concat_ws(' ', 'live', kind, state) FROM tenantctl.operations WHERE starts_with(tenant_name, $1) AND state IN ('running', 'undoing', 'stuck', 'pending')
		UNION ALL SELECT 'purged' FROM tenantctl.deletions WHERE tenant_name = $1`, name)
	if err != nil {
		w.t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range []*memory{w.pg, w.docs} {
		m.mu.Lock()
		for at, p := range m.places {
			if strings.HasPrefix(at, "t_"+name) {
				lines = append(lines, fmt.Sprintf("%s %s version %d locked %v", m.kind, strings.Replace(at, name, "NAME", 1), p.version, p.locked))
			}
		}
		m.mu.Unlock()
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (m *memory) Clone(ctx context.Context, from, to tenant.Tenant, _ bool) error {
	return m.call(ctx, "Clone", to, func() error {
		p := m.places[from.Schema]
		if p == nil {
			return &tenant.Error{Kind: tenant.ErrMissing, Store: m.kind, Msg: "place is missing"}
		}
		m.places[to.Schema] = &place{owner: to.ID, version: p.version}
		return nil
	})
}

func (m *memory) Revive(ctx context.Context, t tenant.Tenant) error { return m.Unlock(ctx, t) }

func (m *memory) Dump(context.Context, tenant.Tenant, tenant.PartWriter, tenant.DumpOptions) (tenant.Dumped, error) {
	return tenant.Dumped{}, errors.ErrUnsupported
}

func (m *memory) Load(context.Context, tenant.Tenant, tenant.LoadOptions) (tenant.PartLoader, error) {
	return nil, errors.ErrUnsupported
}

func (m *memory) Exchange(context.Context, pgx.Tx, tenant.Tenant, tenant.Tenant) error {
	return errors.ErrUnsupported
}

func (m *memory) Export(context.Context, tenant.Tenant, string, func(string) (io.WriteCloser, error)) ([]tenant.Exported, error) {
	return nil, errors.ErrUnsupported
}
