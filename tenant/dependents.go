package tenant

import "context"

// Dependent is an object outside a tenant's schema that depends on an object in it.
type Dependent struct {
	Kind      string `json:"kind"`                // "view", "foreign key", "publication", ...
	Object    string `json:"object"`              // with its kind: "view reports.sales"
	Schema    string `json:"schema,omitempty"`    // where it is; empty for what is in none, such as a publication
	On        string `json:"on"`                  // what it depends on: "table tenant_acme.orders"
	Extension string `json:"extension,omitempty"` // whose that is, where an extension made it
	Free      string `json:"free"`                // SQL that takes it off the tenant's objects
	Dropped   bool   `json:"dropped"`             // DROP ... CASCADE of the tenant's objects would drop it too
	Repoints  bool   `json:"repoints"`            // it can be made again on other tables of the same names

	// Unmake takes it off the objects that it is on, Remake puts it on those that bear the same names afterwards.
	Unmake, Remake []string `json:"-"`
}

// DependentLister is a Resource that knows what depends on a tenant's objects from outside them.
type DependentLister interface {
	Resource
	// Dependents lists it, other tenants' objects included; nothing where the place is not there.
	Dependents(ctx context.Context, t Tenant) ([]Dependent, error)
}
