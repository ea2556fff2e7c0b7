package nosql

import (
	"context"
	"path/filepath"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

// Rehearse is Up that tells how long each file took.
func (r *Resource) Rehearse(ctx context.Context, t tenant.Tenant, to int64, outOfOrder bool, told func(tenant.RehearsedFile)) error {
	files, err := r.load()
	if err != nil {
		return err
	}
	_, err = r.up(ctx, t, files, to, outOfOrder, func(m *migration, took time.Duration, err error) {
		told(tenant.RehearsedFile{
			Store: tenant.KindMongoDB, Version: m.version, File: filepath.Base(m.up.path), DurationMS: took.Milliseconds(),
			Failed: err != nil, Rewritten: []string{},
		})
	})
	return err
}
