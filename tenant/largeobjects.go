package tenant

import (
	"context"
	"fmt"
)

// LargeObjects are what a tenant has of them.
type LargeObjects struct {
	Carried int64    // by backups and copies
	Left    []string // what they leave out, each kind with its number
}

// ObjectKeeper is an Archiver whose tenants may have large objects outside their place.
type ObjectKeeper interface {
	Archiver
	LargeObjects(ctx context.Context, t Tenant) (LargeObjects, error)
	// SettleObjects gives t's role the objects that were loaded for beside, and takes from it those of what was replaced. It
	// follows Exchange, before t's users are let in, and may be called again after a crash.
	SettleObjects(ctx context.Context, t, beside Tenant) error
}

// warnObjectsLeft says which large objects of a tenant a backup or a copy leaves out, before it is made.
func (s *Service) warnObjectsLeft(ctx context.Context, t Tenant) error {
	for _, k := range each[ObjectKeeper](s) {
		found, err := k.LargeObjects(ctx, t)
		if err != nil {
			return err
		}
		for _, n := range found.Left {
			s.warn(fmt.Sprintf("tenant %s: %s: not carried: %s", t.Name, k.Kind(), n))
		}
	}
	return nil
}

// warnObjectsUnsaved says that a delete without a backup keeps no copy of a tenant's large objects.
func (s *Service) warnObjectsUnsaved(ctx context.Context, t Tenant) error {
	for _, k := range each[ObjectKeeper](s) {
		found, err := k.LargeObjects(ctx, t)
		if err != nil {
			return err
		}
		if found.Carried > 0 {
			found.Left = append(found.Left, fmt.Sprintf("large objects that a backup would carry: %d", found.Carried))
		}
		for _, n := range found.Left {
			s.warn(fmt.Sprintf("tenant %s: %s: saved nowhere, and unlinked by a purge where they are the tenant's: %s", t.Name, k.Kind(), n))
		}
	}
	return nil
}
