package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Dependent is an object outside a tenant's schema that depends on an object in it.
type Dependent struct {
	Kind      string `json:"kind"`                // "view", "foreign key", "publication", ...
	Object    string `json:"object"`              // with its kind: "view reports.sales"
	Schema    string `json:"schema,omitempty"`    // where it is; empty for what is in none, such as a publication
	Tenant    Name   `json:"tenant,omitempty"`    // whose that schema is
	On        string `json:"on"`                  // what it depends on: "table tenant_acme.orders"
	Extension string `json:"extension,omitempty"` // whose that is, where an extension made it
	Free      string `json:"free"`                // SQL that takes it off the tenant's objects
	Dropped   bool   `json:"dropped"`             // DROP ... CASCADE of the tenant's objects would drop it too
	Repoints  bool   `json:"repoints"`            // it can be made again on other tables of the same names
	Fixed     bool   `json:"-"`                   // the extension cannot be moved to another schema

	// Unmake takes it off the objects that it is on, Remake puts it on those that bear the same names afterwards.
	Unmake, Remake []string `json:"-"`
}

// DependentLister is a Resource that knows what depends on a tenant's objects from outside them.
type DependentLister interface {
	Resource
	// Dependents lists it, other tenants' objects included; nothing where the place is not there.
	Dependents(ctx context.Context, t Tenant) ([]Dependent, error)
	// Elsewhere refuses a tenant whose role owns something, or may use something, where the resource cannot take it away,
	// such as in another database of the server.
	Elsewhere(ctx context.Context, t Tenant) error
	// DependentsIn lists it within a transaction.
	DependentsIn(ctx context.Context, tx pgx.Tx, t Tenant) ([]Dependent, error)
	// Repoint takes dependents off the tenant's objects, makes the change, and puts them on what bears the same names
	// then, all within tx.
	Repoint(ctx context.Context, tx pgx.Tx, list []Dependent, change func() error) error
}

// DependentPolicy is what a restore does with dependents; neither refuses.
type DependentPolicy struct {
	Repoint bool `json:"repoint,omitempty"`          // those that can be made again are
	Leave   bool `json:"leave_dependents,omitempty"` // others stay with what is replaced
}

// repointed chooses those that are made again, or refuses because of those that are not.
func (p DependentPolicy) repointed(t Tenant, list []Dependent) ([]Dependent, error) {
	var again, others []Dependent
	for _, d := range list {
		if p.Repoint && d.Repoints {
			again = append(again, d)
		} else {
			others = append(others, d)
		}
	}
	if len(others) == 0 || p.Leave {
		return again, nil
	}
	e := dependentsRefusal(t, others, "a restore in its place would leave them with the data that it replaces")
	if p.Repoint {
		e.Msg = dependentNames(others) + " cannot be made again on the restored tables"
		e.Hint = "free them first: " + freeing(others) + "; or add --leave-dependents to leave them with what is replaced"
		return nil, e
	}
	e.Hint = "--repoint makes views, foreign keys and publications again on the restored tables; " +
		"--leave-dependents leaves all with what is replaced; or free them: " + freeing(others)
	return nil, e
}

// purgeableDependents refuses a purge that would drop what is not the tenant's. Publications and subscriptions would only
// lose the tenant's tables: with leave, that is meant.
func purgeableDependents(t Tenant, list []Dependent, leave bool) error {
	whose := func(schema string) Name {
		i := slices.IndexFunc(list, func(d Dependent) bool { return d.Schema == schema })
		return list[i].Tenant
	}
	var e *Error
	if err := UsedOutside(KindPostgres, "schema "+t.Schema, list, whose); errors.As(err, &e) {
		bare := slices.DeleteFunc(slices.Clone(list), func(d Dependent) bool { return !d.Dropped || d.Extension != "" })
		if e.Tenant = t.Name; len(bare) > 0 {
			e.Hint += ": " + freeing(bare)
		}
		return e
	}
	if leave || len(list) == 0 {
		return nil
	}
	e = dependentsRefusal(t, list, "a purge would take the tenant's tables from them")
	e.Hint = fmt.Sprintf("free them: %s; or: tenantctl purge %s --leave-dependents", freeing(list), t.Name)
	return e
}

func dependentsRefusal(t Tenant, on []Dependent, why string) *Error {
	return &Error{
		Kind: ErrInvalid, Code: "dependents", Tenant: t.Name, Store: KindPostgres,
		Msg: fmt.Sprintf("used from outside its schema by %s: %s", dependentNames(on), why),
	}
}

func dependentNames(all []Dependent) string {
	var names []string
	for _, d := range all {
		names = append(names, d.Object)
	}
	return list(names)
}

// freeing is the SQL that frees dependents, as far as it can be read in one line; --dry-run shows all of it.
func freeing(all []Dependent) string {
	const shown = 3
	var sql []string
	for _, d := range all[:min(shown, len(all))] {
		sql = append(sql, d.Free)
	}
	if len(all) > shown {
		return strings.Join(sql, "; ") + "; and so on (--dry-run lists all)"
	}
	return strings.Join(sql, "; ")
}

// dependents lists what depends on a tenant's objects in every store.
func (s *Service) dependents(ctx context.Context, t Tenant) ([]Dependent, error) {
	var all []Dependent
	for _, l := range each[DependentLister](s) {
		list, err := l.Dependents(ctx, t)
		if err != nil {
			return nil, WithTenant(err, t.Name)
		}
		all = append(all, list...)
	}
	if len(all) == 0 {
		return nil, nil
	}
	var q query
	for o, err := range s.catalog.tenants(ctx, &q) {
		if err != nil {
			return nil, err
		}
		for i := range all {
			if all[i].Schema == o.Schema {
				all[i].Tenant = o.Name
			}
		}
	}
	return all, nil
}

// exchangeWith exchanges two places in the catalog's own database, and takes along what hangs on the one.
func (p DependentPolicy) exchangeWith(ctx context.Context, tx pgx.Tx, a Archiver, t, beside Tenant, n *notes) error {
	change := func() error { return a.Exchange(ctx, tx, t, beside) }
	l, ok := a.(DependentLister)
	if !ok {
		return change()
	}
	list, err := l.DependentsIn(ctx, tx, t)
	if err != nil {
		return err
	}
	again, err := p.repointed(t, list)
	if err != nil {
		return err
	}
	if err := l.Repoint(ctx, tx, again, change); err != nil {
		return err
	}
	for _, d := range list {
		switch {
		case !slices.ContainsFunc(again, func(r Dependent) bool { return r.Object == d.Object && r.On == d.On }):
			n.add(d.Object + " was left with the data that was replaced, and is in the way of its purge")
		case d.Kind == "publication":
			n.add(d.Object + " has the restored tables: subscribers need REFRESH PUBLICATION, and a fresh copy of the rows")
		}
	}
	return nil
}

// UsedOutside refuses to drop what objects outside a tenant depend on: the drop would take them with it. whose tells
// which tenant a schema is of, as far as the caller knows. It is nil where nothing would be taken.
func UsedOutside(store, place string, deps []Dependent, whose func(schema string) Name) error {
	var used, extensions, fixed, owners []string
	for _, d := range deps {
		if !d.Dropped {
			continue
		}
		used = append(used, d.Object)
		if d.Extension != "" && !slices.Contains(extensions, d.Extension) {
			extensions = append(extensions, d.Extension)
			if d.Fixed {
				fixed = append(fixed, d.Extension)
			}
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
		e.Hint = MoveExtensions(extensions, fixed, "extensions")
	case len(tenants) > 0:
		e.Msg += ", of " + firstOf(tenants)
	}
	return e
}

// MoveExtensions says how extensions get a schema of their own; fixed are those that ALTER EXTENSION does not move.
func MoveExtensions(extensions, fixed []string, to string) string {
	var moves []string
	for _, x := range extensions {
		if !slices.Contains(fixed, x) {
			moves = append(moves, "ALTER EXTENSION "+pgx.Identifier{x}.Sanitize()+" SET SCHEMA "+pgx.Identifier{to}.Sanitize())
		}
	}
	var ways []string
	if len(moves) > 0 {
		ways = append(ways, "give it a schema of its own (postgres.extensions_schema): "+strings.Join(moves, "; "))
	}
	if len(fixed) > 0 {
		ways = append(ways, fmt.Sprintf("%s cannot be moved: dump what uses it, DROP EXTENSION %s CASCADE, CREATE EXTENSION %[2]s SCHEMA %s, and load that again",
			list(fixed), pgx.Identifier{fixed[0]}.Sanitize(), pgx.Identifier{to}.Sanitize()))
	}
	return strings.Join(ways, "; ")
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
