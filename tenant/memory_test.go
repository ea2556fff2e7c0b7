package tenant_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// memory is a store in memory: what the use cases do to a store can be looked at, and made to fail.
type memory struct {
	kind string
	mu   sync.Mutex
	// places by name, so that two tenants of one name collide as they would in a real store
	places map[string]*place
	files  []tenant.MigrationFile
	// before and after are called around each call, outside the lock; an error is the call's.
	before, after func(ctx context.Context, call string, t tenant.Tenant) error
	calls         []string

	shapes   map[tenant.Name]tenant.Shape
	pressure func() (string, error)
	findings []tenant.Finding // of Check
}

type place struct {
	owner    uuid.UUID
	version  int64
	locked   bool
	password string
}

func newMemory(kind string, versions int) *memory {
	m := &memory{kind: kind, places: map[string]*place{}}
	for v := range int64(versions) {
		m.addFile(v + 1)
	}
	return m
}

func (m *memory) addFile(v int64) {
	m.files = append(m.files, tenant.MigrationFile{Version: v, Name: fmt.Sprintf("m%d", v), Path: fmt.Sprintf("m%d", v), Checksum: fmt.Sprint("sum", v)})
}

func (m *memory) call(ctx context.Context, name string, t tenant.Tenant, do func() error) error {
	if m.before != nil {
		if err := m.before(ctx, name, t); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := tenant.LeaseFrom(ctx).Check(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	m.calls = append(m.calls, name+" "+string(t.Name))
	err := do()
	m.mu.Unlock()
	if err == nil && m.after != nil {
		err = m.after(ctx, name, t)
	}
	return err
}

func (m *memory) Kind() string { return m.kind }

func (m *memory) Create(ctx context.Context, t tenant.Tenant) error {
	err := m.call(ctx, "Create", t, func() error {
		if p := m.places[t.Schema]; p != nil && p.owner != t.ID {
			return &tenant.Error{Kind: tenant.ErrForeign, Store: m.kind, Msg: "not ours"}
		}
		m.places[t.Schema] = &place{owner: t.ID, version: int64(len(m.files))}
		return nil
	})
	if err != nil {
		return err
	}
	return tenant.LeaseFrom(ctx).Record(ctx, t.ID, m.kind, int64(len(m.files)), len(m.files))
}

func (m *memory) Drop(ctx context.Context, t tenant.Tenant) error {
	return m.call(ctx, "Drop", t, func() error {
		if p := m.places[t.Schema]; p != nil && p.owner == t.ID {
			delete(m.places, t.Schema)
		}
		return nil
	})
}

func (m *memory) Stat(ctx context.Context, t tenant.Tenant) (tenant.Stat, error) {
	var st tenant.Stat
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.places[t.Schema]
	switch {
	case p == nil:
		st.Presence = tenant.Absent
	case p.owner != t.ID:
		st.Presence, st.Remains = tenant.Foreign, []string{"place " + t.Schema}
	default:
		st = tenant.Stat{Presence: tenant.Ours, Remains: []string{"place " + t.Schema}, Version: p.version, Applied: int(p.version), Locked: p.locked}
	}
	return st, ctx.Err()
}

func (m *memory) Survey(_ context.Context, ts []tenant.Tenant) ([]tenant.Shape, error) {
	out := make([]tenant.Shape, len(ts))
	for i, t := range ts {
		out[i] = m.shapes[t.Name]
	}
	return out, nil
}

func (m *memory) Pressure(context.Context) (string, error) {
	if m.pressure == nil {
		return "", nil
	}
	return m.pressure()
}

func (m *memory) Files(context.Context) ([]tenant.MigrationFile, error) { return m.files, nil }

func (m *memory) Up(ctx context.Context, t tenant.Tenant, to int64, _ bool) (tenant.Moved, error) {
	var moved tenant.Moved
	err := m.call(ctx, "Up", t, func() error {
		p := m.places[t.Schema]
		if p == nil {
			return &tenant.Error{Kind: tenant.ErrMissing, Store: m.kind, Msg: "place is missing"}
		}
		if to == tenant.Newest {
			to = int64(len(m.files))
		}
		moved.From = p.version
		for p.version < to {
			p.version++
			moved.Ran = append(moved.Ran, p.version)
		}
		moved.To, moved.Applied = p.version, int(p.version)
		return nil
	})
	if err == nil { // outside the lock: a process that dies here leaves the others their store
		err = tenant.LeaseFrom(ctx).Record(ctx, t.ID, m.kind, moved.To, moved.Applied)
	}
	return moved, err
}

func (m *memory) Down(ctx context.Context, t tenant.Tenant, to int64) (tenant.Moved, error) {
	var moved tenant.Moved
	err := m.call(ctx, "Down", t, func() error {
		p := m.places[t.Schema]
		moved.From = p.version
		p.version = to
		moved.To, moved.Applied = to, int(to)
		return nil
	})
	return moved, err
}

func (m *memory) Versions(_ context.Context, ts []tenant.Tenant) ([]tenant.Version, error) {
	out := make([]tenant.Version, len(ts))
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, t := range ts {
		if p := m.places[t.Schema]; p != nil {
			out[i] = tenant.Version{Presence: tenant.Ours, Version: p.version, Applied: int(p.version)}
		} else {
			out[i] = tenant.Version{Presence: tenant.Absent}
		}
	}
	return out, nil
}

func (m *memory) Check(context.Context) ([]tenant.Finding, error) { return m.findings, nil }
func (m *memory) New(string, bool) ([]string, error)              { return nil, nil }

func (m *memory) Lock(ctx context.Context, t tenant.Tenant) (bool, error) {
	return true, m.call(ctx, "Lock", t, func() error {
		if p := m.places[t.Schema]; p != nil {
			p.locked = true
		}
		return nil
	})
}

func (m *memory) Unlock(ctx context.Context, t tenant.Tenant) error {
	return m.call(ctx, "Unlock", t, func() error {
		if p := m.places[t.Schema]; p != nil {
			p.locked = false
		}
		return nil
	})
}

func (m *memory) Login(t tenant.Tenant) tenant.Login {
	return tenant.Login{Store: m.kind, User: t.Role}
}

func (m *memory) SetPassword(ctx context.Context, t tenant.Tenant, password string, seal func(context.Context) error) error {
	if err := m.call(ctx, "Seal", t, func() error { return nil }); err != nil {
		return err
	}
	if seal != nil {
		if err := seal(ctx); err != nil {
			return err
		}
	}
	return m.call(ctx, "SetPassword", t, func() error {
		if p := m.places[t.Schema]; p != nil {
			p.password = password
		}
		return nil
	})
}

// Explain says of every file that it reads the table small twice and writes big anew.
func (m *memory) Explain(context.Context) ([]tenant.PlannedFile, error) {
	var out []tenant.PlannedFile
	for _, f := range m.files {
		out = append(out, tenant.PlannedFile{Store: m.kind, Version: f.Version, Name: f.Name, Path: f.Path, Statements: []tenant.PlannedStatement{
			{Line: 1, Scans: []string{"small"}}, {Line: 2, Scans: []string{"small"}}, {Line: 3, Scans: []string{"big"}, Rewrites: []string{"big"}},
		}})
	}
	return out, nil
}

// Sizes gives every table 1.25 MiB of rows, and big 20 MiB where the tenant's name begins with b.
func (m *memory) Sizes(_ context.Context, ts []tenant.Tenant, tables []string) ([][]tenant.TableSize, error) {
	out := make([][]tenant.TableSize, len(ts))
	for i, t := range ts {
		for _, table := range tables {
			size := tenant.TableSize{Table: table, Heap: 5 << 18, Total: 5 << 19, Rows: 10}
			if t.Name[0] == 'b' && table == "big" {
				size = tenant.TableSize{Table: table, Heap: 20 << 20, Total: 25 << 20, Rows: 1000}
			}
			out[i] = append(out[i], size)
		}
	}
	return out, nil
}
