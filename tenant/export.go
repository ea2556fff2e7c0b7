package tenant

import (
	"context"
	"io"
)

// Export writes a tenant's data for the tenant: a file for each table and collection, and the dictionary that describes
// them. create makes a file by its name, such as "postgres/orders.csv".
func (s *Service) Export(ctx context.Context, name Name, format string, create func(name string) (io.WriteCloser, error)) ([]Exported, error) {
	if format != FormatCSV && format != FormatNDJSON {
		return nil, Invalid("choose one of: csv, ndjson", "unknown format %s", shorten(format))
	}
	t, err := s.catalog.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	stores, err := s.archivers("")
	if err != nil {
		return nil, err
	}
	if err := s.catalog.audit(ctx, s.catalog.pool, entry{action: "export", tenant: &t, detail: map[string]any{"format": format}}); err != nil {
		return nil, err
	}
	all := []Exported{}
	for _, a := range stores {
		files, err := a.Export(ctx, t, format, func(name string) (io.WriteCloser, error) { return create(a.Kind() + "/" + name) })
		if err != nil {
			return nil, WithTenant(err, name)
		}
		for _, f := range files {
			f.Store, f.File = a.Kind(), a.Kind()+"/"+f.File
			all = append(all, f)
		}
	}
	return all, nil
}
