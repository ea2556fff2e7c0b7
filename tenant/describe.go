package tenant

import (
	"context"
	"iter"
	"slices"
)

// Description is everything that is known of a tenant.
type Description struct {
	Tenant
	Stores     map[string]Stat `json:"stores"`
	Behind     []Lag           `json:"behind"` // the stores that are not where the migration files are
	LastBackup *Backup         `json:"last_backup"`
	Operations []*Operation    `json:"operations"` // the last ones, newest first
}

// Lag is a store of a tenant that is not where the migration files are.
type Lag struct {
	Store   string   `json:"store"`
	Version int64    `json:"version"`
	Target  int64    `json:"target"`
	Applied int      `json:"applied"` // so many migrations
	Files   int      `json:"files"`   // of so many
	Failure *Failure `json:"failure"` // of the last run, where it ended in this store
}

// Get is the catalog's record of a tenant.
func (s *Service) Get(ctx context.Context, name Name) (Tenant, error) {
	return s.catalog.Get(ctx, name)
}

// Describe adds to the catalog's record what is really in the stores, and the tenant's last operations.
func (s *Service) Describe(ctx context.Context, name Name) (*Description, error) {
	t, err := s.catalog.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	inv, err := s.inventory(ctx, t)
	if err != nil {
		return nil, err
	}
	ops, err := s.catalog.lastOperations(ctx, t.ID, 10)
	if err != nil {
		return nil, err
	}
	for _, op := range ops {
		op.Interrupted = s.catalog.interrupted(op)
	}
	last, err := s.catalog.lastBackup(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	return &Description{Tenant: t, Stores: inv.Stores, Behind: s.behindFiles(ctx, inv.Stores, ops), LastBackup: last, Operations: ops}, nil
}

// behindFiles finds the stores that are not where the migration files are. A migration takes them in their order, so
// that one that failed leaves those before it at the target. Files that cannot be read are told of by other commands.
func (s *Service) behindFiles(ctx context.Context, stores map[string]Stat, ops []*Operation) []Lag {
	lags := []Lag{}
	moving := []string{OpMigrate, OpDown, OpRedo, OpBaseline}
	newest := slices.IndexFunc(ops, func(op *Operation) bool { return slices.Contains(moving, op.Kind) })
	for _, m := range each[Migrator](s) {
		st := stores[m.Kind()]
		files, err := m.Files(ctx)
		if err != nil || len(files) == 0 || st.Presence != Ours {
			continue
		}
		l := Lag{Store: m.Kind(), Version: st.Version, Target: files[len(files)-1].Version, Applied: st.Applied, Files: len(files)}
		if l.Version == l.Target && l.Applied == l.Files && st.Stopped == nil {
			continue
		}
		if newest >= 0 && ops[newest].Error != nil && ops[newest].Error.Store == l.Store {
			l.Failure = ops[newest].Error
		}
		lags = append(lags, l)
	}
	return lags
}

// List gives the selected tenants in the order of their names, as they come from the catalog.
func (s *Service) List(ctx context.Context, sel Selection) iter.Seq2[Tenant, error] {
	return s.catalog.Tenants(ctx, sel)
}

// Shell is the client program for one store of a tenant, with its arguments and its environment, which holds the
// secrets. cleanup is to be called when the client has ended.
func (s *Service) Shell(ctx context.Context, kind string, name Name, o ShellOptions) (program string, args, env []string, cleanup func(), err error) {
	t, err := s.catalog.Get(ctx, name)
	if err != nil {
		return "", nil, nil, nil, err
	}
	for _, sh := range each[Shell](s) {
		if sh.Kind() == kind {
			program, args, env, cleanup, err = sh.Command(ctx, t, o)
			if err != nil {
				return "", nil, nil, nil, WithTenant(err, name)
			}
			err = s.catalog.audit(ctx, s.catalog.pool, entry{action: "shell", tenant: &t, detail: map[string]any{"store": kind}})
			if err != nil {
				cleanup()
			}
			return program, args, env, cleanup, err
		}
	}
	return "", nil, nil, nil, Invalid("", "there is no store %s here", kind)
}
