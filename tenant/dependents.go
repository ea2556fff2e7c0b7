package tenant

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

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

// UsedOutside refuses to drop what objects outside a tenant depend on: the drop would take them with it. whose tells
// which tenant a schema is of, as far as the caller knows. It is nil where nothing would be taken.
func UsedOutside(store, place string, deps []Dependent, whose func(schema string) Name) error {
	var used, extensions, owners []string
	for _, d := range deps {
		if !d.Dropped {
			continue
		}
		used = append(used, d.Object)
		if d.Extension != "" && !slices.Contains(extensions, d.Extension) {
			extensions = append(extensions, d.Extension)
		}
		if owner := owner(d.Schema, whose); owner != "" && !slices.Contains(owners, owner) {
			owners = append(owners, owner)
		}
	}
	if len(used) == 0 {
		return nil
	}
	tenants := slices.DeleteFunc(slices.Clone(owners), func(o string) bool { return !strings.HasPrefix(o, "tenant ") })
	e := &Error{
		Kind: ErrForeign, Store: store, Msg: fmt.Sprintf("%s is used from outside it by %s", place, firstOf(used)),
		Hint: "drop that first: it is not the tenant's",
	}
	switch {
	case len(extensions) > 0:
		slices.Sort(extensions)
		e.Msg = fmt.Sprintf("extension %s is installed in %s and is used by %s: by %s",
			list(extensions), place, firstOf(owners), firstOf(used))
		e.Hint = fmt.Sprintf("give it a schema of its own (postgres.extensions_schema): ALTER EXTENSION %s SET SCHEMA extensions",
			strings.Join(extensions, " SET SCHEMA extensions; ALTER EXTENSION "))
	case len(tenants) > 0:
		e.Msg += ", of " + firstOf(tenants)
	}
	return e
}

func owner(schema string, whose func(schema string) Name) string {
	if schema == "" {
		return ""
	}
	if name := whose(schema); name != "" {
		return "tenant " + string(name)
	}
	return "schema " + schema
}

// firstOf names the first five.
func firstOf(all []string) string {
	const most = 5
	if len(all) <= most {
		return list(all)
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}
