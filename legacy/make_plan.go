package legacy

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

// PlanRequest says what a first mapping is made from.
type PlanRequest struct {
	From         string // URL, or a folder of files
	Key          string
	TenantsTable string
	Name         string
	Schema       string // of PostgreSQL's legacy tables; public where empty
}

// URLEnv is the environment variable that a planned mapping reads the source's URL from.
const URLEnv = "TENANTCTL_IMPORT_URL"

// fileNamed is the file that a name without folder and endings means, where there is one such file.
func fileNamed(files []*sourceTable, name string) string {
	if name == "" || tableNamed(files, name) != nil {
		return name
	}
	m := &Mapping{Sources: map[string]*SourceSpec{"": {Path: "."}}}
	found := name
	for _, f := range files {
		if m.baseName(&Table{From: f.name}) == name {
			if found != name {
				return name
			}
			found = f.name
		}
	}
	return found
}

// MakePlan looks at a source and at the tenants' model, and writes a first mapping. Nothing is touched.
func MakePlan(ctx context.Context, req PlanRequest, o Options) (*Planned, error) {
	spec := &SourceSpec{URL: req.From, Schema: req.Schema}
	if !strings.Contains(req.From, "://") {
		if info, err := os.Stat(req.From); err != nil || !info.IsDir() {
			return nil, tenant.Invalid("give a URL such as postgres://user@host/db, or a folder of files", "%s is neither a URL nor a folder", filepath.Base(req.From))
		}
		spec = &SourceSpec{Path: req.From}
	}
	s, err := openSource(ctx, spec, "legacy", ".")
	if err != nil {
		return nil, err
	}
	defer s.close()
	tables, err := s.describe(ctx, nil)
	if err != nil {
		return nil, err
	}
	if spec.Path != "" {
		req.TenantsTable = fileNamed(tables, req.TenantsTable)
	}
	options := PlanOptions{Name: req.Name, SourceName: "legacy", SourceSpec: spec, Key: req.Key, TenantsTable: req.TenantsTable}
	if err := options.check(tables); err != nil {
		return nil, err
	}
	schema, done, err := o.Model(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	model, err := readTarget(ctx, o.Postgres, schema)
	if err != nil {
		return nil, err
	}
	if comparer, ok := s.(keyComparer); ok {
		options.SameKeys = func(table, column, tenants, key string) (sameKeys, error) {
			return comparer.sameKeys(ctx, table, column, tenants, key)
		}
	}
	return Plan(options, tables, model)
}
