package tenant

import (
	"context"
	"fmt"
)

// Uncarrier is an Archiver that may hold what neither backups nor clones carry.
type Uncarrier interface {
	Resource
	// Uncarried tells what that is, with its number; nothing where there is none.
	Uncarried(ctx context.Context, t Tenant) ([]string, error)
}

// warnUncarried says what of a tenant is left out of a backup or a copy, before it is made.
func (s *Service) warnUncarried(ctx context.Context, t Tenant) error {
	for _, u := range each[Uncarrier](s) {
		notes, err := u.Uncarried(ctx, t)
		if err != nil {
			return err
		}
		for _, n := range notes {
			s.warn(fmt.Sprintf("tenant %s: %s: %s", t.Name, u.Kind(), n))
		}
	}
	return nil
}
