package tenant

import (
	"context"
	"iter"
)

// Description is everything that is known of a tenant.
type Description struct {
	Tenant
	Stores     map[string]Stat `json:"stores"`
	LastBackup *Backup         `json:"last_backup"`
	Operations []*Operation    `json:"operations"` // the last ones, newest first
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
	return &Description{Tenant: t, Stores: inv.Stores, LastBackup: last, Operations: ops}, nil
}

// List gives the selected tenants in the order of their names, as they come from the catalog.
func (s *Service) List(ctx context.Context, sel Selection) iter.Seq2[Tenant, error] {
	return s.catalog.Tenants(ctx, sel)
}

// Shell is the client program for one store of a tenant, with its arguments and its environment, which holds the
// secrets. cleanup is to be called when the client has ended.
func (s *Service) Shell(ctx context.Context, kind string, name Name) (program string, args, env []string, cleanup func(), err error) {
	t, err := s.catalog.Get(ctx, name)
	if err != nil {
		return "", nil, nil, nil, err
	}
	for _, sh := range each[Shell](s) {
		if sh.Kind() == kind {
			program, args, env, cleanup, err = sh.Command(ctx, t)
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
