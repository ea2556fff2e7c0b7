package schema

import "github.com/tenantctl/tenantctl/schema/lint"

// WithoutValues is a statement without its constants and comments, as PostgreSQL's parser tells them; next to nothing where it
// cannot.
func (r *Resource) WithoutValues(sql string) string { return lint.WithoutValues(sql) }
