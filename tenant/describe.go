package tenant

import "context"

// Description is everything that is known of a tenant.
type Description struct {
	Tenant
	Stores     map[string]Stat `json:"stores"`
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
	return &Description{Tenant: t, Stores: inv.Stores, Operations: ops}, nil
}
