package schema

import (
	"context"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

var _ tenant.Planner = (*Resource)(nil)

// Check finds what is wrong or risky in the migrations' folder and in each file, by file and line. What a comment in
// the file ignores is marked so.
func (r *Resource) Check(context.Context) ([]tenant.Finding, error) {
	return migrationfile.Check(r.cfg.Dir)
}

// Rules are all that Check looks for, by their ids.
func (r *Resource) Rules() []tenant.Rule { return migrationfile.Rules() }

// Explain tells of every file, in order of version, what its Up would do to the tables of a tenant.
func (r *Resource) Explain(context.Context) ([]tenant.PlannedFile, error) {
	set, err := r.files()
	if err != nil {
		return nil, err
	}
	return set.Explain(), nil
}

// New writes an empty migration after the newest one, numbered as the others are. It makes the folder where there is
// none.
func (r *Resource) New(name string, dryRun bool) ([]string, error) {
	return migrationfile.New(r.cfg.Dir, name, dryRun)
}
