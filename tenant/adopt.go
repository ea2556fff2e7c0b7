package tenant

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Adopter is a Resource that can take over a place that another tool has made.
type Adopter interface {
	Resource
	// Adoptable tells of each place, in the order given, whether it can be adopted.
	Adoptable(ctx context.Context, ps []Adoptee) ([]Adoptable, error)
	// Adopt marks the place as the tenant's and leaves what is in it as it is. What belongs to others stays theirs.
	Adopt(ctx context.Context, p Adoptee) error
	// Release takes back what Adopt made, and nothing else.
	Release(ctx context.Context, p Adoptee) error
}

// Adoptee is a tenant whose places are there already, and how it is taken over.
type Adoptee struct {
	Tenant Tenant `json:"-"`
	Adoption
}

// Adoption is how one tenant is taken over; the ledger keeps it.
type Adoption struct {
	Name     Name              `json:"name"`
	Schema   string            `json:"schema"`
	Database string            `json:"database"`
	Role     string            `json:"role,omitempty"` // to be made; empty for none
	Domains  []string          `json:"domains"`
	Labels   map[string]string `json:"labels,omitempty"`
	Version  *int64            `json:"version,omitempty"` // of PostgreSQL, to be marked as applied; nil leaves the schema without a version table
	Booked   bool              `json:"booked,omitempty"`  // the schema has a version table already, which tells its version
	Given    bool              `json:"given,omitempty"`   // the database was named, and has to be there; else it is made where it is missing
}

// Adoptable is what a store says of a place that is to be adopted.
type Adoptable struct {
	Booked bool
	Err    error // why it cannot be
}

// Recogniser is an Adopter that finds the versions of places, in the order given.
type Recogniser interface {
	Adopter
	// Recognise finds the one at which the migrations here make the very structure of the place.
	Recognise(ctx context.Context, ps []Adoptee) ([]Recognised, error)
	// Recorded finds the one that the other tool's own history tells.
	Recorded(ctx context.Context, ps []Adoptee) ([]Recognised, error)
}

// Recognised is the version that was found of a place.
type Recognised struct {
	Version int64
	History string // the table that tells it, of Recorded
	Rest    int    // how many of its entries are of no migration here
	Err     error  // why there is no version
}

// Source is where the places to adopt are listed.
type Source struct {
	From          string // one of Sources
	Query         string // with FromQuery
	Pattern       string // with FromPattern
	TenantsTable  string // of django-tenants or apartment; empty to look for it
	TenantsColumn string // of apartment's table
	DomainsTable  string // of django-tenants; empty to look for it
}

// The sources.
const (
	FromDjango    = "django-tenants"
	FromApartment = "apartment"
	FromMigrator  = "migrator"
	FromQuery     = "query"
	FromPattern   = "pattern"
)

// Sources lists them.
func Sources() []string {
	return []string{FromDjango, FromApartment, FromMigrator, FromQuery, FromPattern}
}

// Lister is a Resource that reads in its store what a source lists.
type Lister interface {
	Resource
	Listed(ctx context.Context, s Source) ([]Listed, error)
}

// Listed is one place of a source.
type Listed struct {
	Name     string // a tenant's name is made of it
	Schema   string
	Database string // empty where the source has none
	Domains  []string
}

// AdoptRequest asks for places to be taken over: one by name, or what a source lists.
type AdoptRequest struct {
	One       *Listed // its name is the tenant's as it stands
	Source    *Source
	Labels    map[string]string
	Roles     bool   // make a role for each that has none, and a user in MongoDB
	NoDomains bool   // leave the source's domains out
	Version   *int64 // mark the migrations of PostgreSQL up to it as applied
	Recognise bool   // find the version by the structure instead
	Recorded  bool   // or in the history that the other tool keeps
}

// The states of a place in a plan.
const (
	AdoptNew       = "adopt"     // would be taken over
	AdoptRole      = "role"      // is a tenant's already, who would get a role
	AdoptUnchanged = "unchanged" // is a tenant's already
	AdoptLeftOut   = "left_out"  // is no tenant's place by its nature
	AdoptRefused   = "refused"
)

// AdoptPlan is what an adoption would do, place by place.
type AdoptPlan struct {
	Places []AdoptPlace `json:"places"`
}

// AdoptPlace is one place of a plan.
type AdoptPlace struct {
	Adoption
	State  string   `json:"state"`
	Reason string   `json:"reason,omitempty"` // why it is not taken over
	Error  *Failure `json:"error,omitempty"`
	// History is where the version was found, if in a history; Rest are its entries that are of no migration here.
	History string `json:"history,omitempty"`
	Rest    int    `json:"history_rest,omitempty"`

	err    error
	begun  bool    // by a process that died: the stores may have its mark already
	tenant *Tenant // who would get a role
}

func (p *AdoptPlace) refuse(err error) {
	if p.State == AdoptNew || p.State == AdoptRole {
		f := NewFailure(err)
		p.State, p.Reason, p.Error, p.err = AdoptRefused, f.Message, f, err
	}
}

// In gives the places of a plan in one state.
func (p *AdoptPlan) In(state string) []AdoptPlace {
	return slices.DeleteFunc(slices.Clone(p.Places), func(x AdoptPlace) bool { return x.State != state })
}

// reservedSchemas are no tenant's, whatever a source lists.
func reservedSchema(name string) bool {
	return name == "public" || name == "information_schema" || name == catalogSchema || strings.HasPrefix(name, "pg_")
}

var noName = regexp.MustCompile(`[^a-z0-9]+`)

// NameFrom makes a tenant's name of another tool's: in lower case, and '-' for what a name cannot have. What is left may
// still be none.
func NameFrom(s string) string {
	return strings.Trim(noName.ReplaceAllString(strings.ToLower(s), "-"), "-")
}

// PlanAdopt tells of each place whether it would be taken over, and why not, and touches nothing.
func (s *Service) PlanAdopt(ctx context.Context, req AdoptRequest) (*AdoptPlan, error) {
	for k, v := range req.Labels {
		if err := CheckGivenLabel(k, v); err != nil {
			return nil, err
		}
	}
	if req.Version != nil || req.Recognise || req.Recorded {
		for _, m := range each[Migrator](s) {
			if err := ownWork("marking migrations", m); err != nil {
				return nil, err
			}
		}
	}
	if req.Version != nil {
		if *req.Version < 0 {
			return nil, Invalid("tenantctl migrate status shows the versions", "there is no version %d", *req.Version)
		}
		if _, _, err := s.targets(ctx, KindPostgres, *req.Version); err != nil {
			return nil, err
		}
	}
	listed, err := s.listed(ctx, req)
	if err != nil {
		return nil, err
	}
	p := &AdoptPlan{Places: make([]AdoptPlace, len(listed))}
	for i, l := range listed {
		p.Places[i] = s.place(l, req)
	}
	p.unlike()
	if err := s.known(ctx, p); err != nil {
		return nil, err
	}
	if err := s.askStores(ctx, p, req); err != nil {
		return nil, err
	}
	return p, nil
}

func (s *Service) listed(ctx context.Context, req AdoptRequest) ([]Listed, error) {
	if req.One != nil {
		return []Listed{*req.One}, nil
	}
	ls := each[Lister](s)
	if len(ls) == 0 {
		return nil, Invalid("", "no store here lists what could be adopted")
	}
	return ls[0].Listed(ctx, *req.Source)
}

// place checks what is listed by the rules that need no server.
func (s *Service) place(l Listed, req AdoptRequest) AdoptPlace {
	name := l.Name
	if req.One == nil {
		name = NameFrom(l.Name)
	}
	p := AdoptPlace{State: AdoptNew, Adoption: Adoption{
		Name: Name(name), Schema: l.Schema, Database: l.Database, Given: l.Database != "", Domains: []string{}, Labels: req.Labels, Version: req.Version,
	}}
	if req.One == nil && reservedSchema(l.Schema) {
		p.State, p.Reason = AdoptLeftOut, fmt.Sprintf("schema %s is reserved: it is no tenant's", l.Schema)
		return p
	}
	places, err := s.Naming.Derive(name)
	switch {
	case l.Schema == "":
		p.refuse(Invalid("a tenant needs a schema", "no schema is named"))
	case reservedSchema(l.Schema):
		p.refuse(Invalid("give a tenant's own schema", "schema %s is reserved", shorten(l.Schema)))
	case len(l.Schema) > maxPlace:
		p.refuse(Invalid("", "schema %s is longer than the %d bytes that a name has", shorten(l.Schema), maxPlace))
	case reserved[strings.ToLower(l.Database)]:
		p.refuse(Invalid("give a tenant's own database", "database %s is reserved", shorten(l.Database)))
	case err != nil && req.One == nil:
		p.refuse(Invalid("adopt it by a name of your choice: tenantctl adopt NAME --schema "+l.Schema, "no tenant's name can be made of %s: %s", shorten(l.Name), NewFailure(err).Message))
	case err != nil:
		p.refuse(err)
	}
	if p.Database == "" {
		p.Database = places.Database
	}
	if req.Roles {
		p.Role = places.Role
	}
	if req.NoDomains {
		l.Domains = nil
	}
	for _, d := range l.Domains {
		d, err := ParseDomain(d)
		if err != nil {
			p.refuse(err)
		} else if !slices.Contains(p.Domains, d) {
			p.Domains = append(p.Domains, d)
		}
	}
	return p
}

// unlike refuses all that would bear one name, or share a place or a domain: nobody can tell which of them is meant.
func (p *AdoptPlan) unlike() {
	first := map[string]*AdoptPlace{}
	for i := range p.Places {
		x := &p.Places[i]
		if x.State != AdoptNew {
			continue
		}
		claims := []string{"name " + string(x.Name), "schema " + x.Schema, "database " + strings.ToLower(x.Database)}
		for _, d := range x.Domains {
			claims = append(claims, "domain "+d)
		}
		for _, c := range claims {
			other := first[c]
			if other == nil {
				first[c] = x
				continue
			}
			hint := "adopt each by a name of its own: tenantctl adopt NAME --schema SCHEMA"
			if strings.HasPrefix(c, "domain ") {
				hint = "put it right there, or leave the domains out: --no-domains"
			}
			x.refuse(Invalid(hint, "%s is that of schema %s too", c, other.Schema))
			other.refuse(Invalid(hint, "%s is that of schema %s too", c, x.Schema))
		}
	}
}

// known looks in the catalog for the names, places and domains of a plan. A tenant with that schema makes a place
// unchanged; one whose adoption was interrupted is taken up again.
func (s *Service) known(ctx context.Context, p *AdoptPlan) error {
	rows, err := s.catalog.pool.Query(ctx, `SELECT `+tenantColumns+` FROM tenantctl.tenants t WHERE t.name = ANY($1::text[]) OR t.schema_name = ANY($2::text[]) OR t.database_name = ANY($3::text[])
		OR t.role_name = ANY($4::text[]) OR t.id IN (SELECT d.tenant_id FROM tenantctl.domains d WHERE d.domain = ANY($5::text[])) ORDER BY t.name`,
		p.all(func(x AdoptPlace) []string { return []string{string(x.Name)} }), p.all(func(x AdoptPlace) []string { return []string{x.Schema} }),
		p.all(func(x AdoptPlace) []string { return []string{x.Database} }), p.all(func(x AdoptPlace) []string { return []string{x.Role} }),
		p.all(func(x AdoptPlace) []string { return x.Domains }))
	if err != nil {
		return catalogError("look for the tenants", err)
	}
	defer rows.Close()
	owner := map[string]Tenant{}
	for rows.Next() {
		t, err := scanTenant(rows)
		if err != nil {
			return catalogError("look for the tenants", err)
		}
		for _, c := range []string{"name " + string(t.Name), "schema " + t.Schema, "database " + t.Database, "role " + t.Role} {
			owner[c] = t
		}
		for _, d := range t.Domains {
			owner["domain "+d] = t
		}
	}
	if err := rows.Err(); err != nil {
		return catalogError("look for the tenants", err)
	}
	for i := range p.Places {
		p.Places[i].against(owner, s.Naming)
	}
	return nil
}

func (p *AdoptPlan) all(of func(AdoptPlace) []string) []string {
	out := []string{}
	for _, x := range p.Places {
		out = append(out, of(x)...)
	}
	return out
}

// against compares a place with the tenants that have something of it.
func (p *AdoptPlace) against(owner map[string]Tenant, n Naming) {
	if p.State != AdoptNew {
		return
	}
	if t, ok := owner["schema "+p.Schema]; ok {
		switch {
		case (t.State == Provisioning || t.State == Failed) && t.Name == p.Name:
			p.begun = true // which its turn goes on with, or refuses if it is no adoption
			return
		case !t.State.Migrates():
			p.refuse(&Error{Kind: ErrExists, Msg: fmt.Sprintf("schema %s belongs to tenant %s, which is %s", p.Schema, t.Name, t.State), Hint: "tenantctl describe " + string(t.Name)})
		case p.Given && p.Database != t.Database:
			p.refuse(&Error{Kind: ErrExists, Msg: fmt.Sprintf("schema %s belongs to tenant %s, whose database is %s", p.Schema, t.Name, t.Database), Hint: "tenantctl describe " + string(t.Name)})
		default:
			role := p.Role
			p.Name, p.Database, p.Role, p.Domains, p.Labels, p.Version = t.Name, t.Database, t.Role, t.Domains, t.Labels, nil
			if role != "" && t.Role == "" {
				p.wantRole(t, n)
				return
			}
			p.State, p.Reason = AdoptUnchanged, "is tenant "+string(t.Name)+" already"
		}
		return
	}
	claims := []string{"name " + string(p.Name), "database " + p.Database, "role " + p.Role}
	for _, d := range p.Domains {
		claims = append(claims, "domain "+d)
	}
	for i, c := range claims {
		t, ok := owner[c]
		if !ok || c == "role " {
			continue
		}
		if i == 0 {
			p.refuse(&Error{Kind: ErrExists, Msg: fmt.Sprintf("there is a tenant %s already, with schema %s", t.Name, t.Schema), Hint: "adopt it by another name: tenantctl adopt NAME --schema " + p.Schema})
			return
		}
		p.refuse(&Error{Kind: ErrExists, Msg: fmt.Sprintf("%s belongs to tenant %s", c, t.Name), Hint: "tenantctl describe " + string(t.Name)})
		return
	}
}

// askStores asks the stores whether the places can be taken over, and for their versions where those are to be found.
func (s *Service) askStores(ctx context.Context, p *AdoptPlan, req AdoptRequest) error {
	var index []int
	var ask []Adoptee
	for i, x := range p.Places {
		if x.State == AdoptNew && !x.begun {
			index, ask = append(index, i), append(ask, s.adoptee(x.Adoption))
		}
		if x.State == AdoptRole {
			index, ask = append(index, i), append(ask, Adoptee{Tenant: *x.tenant, Adoption: x.Adoption})
		}
	}
	if len(ask) == 0 {
		return nil
	}
	for _, a := range each[Adopter](s) {
		found, err := a.Adoptable(ctx, ask)
		if err != nil {
			return err
		}
		for i, f := range found {
			x := &p.Places[index[i]]
			if f.Err != nil {
				x.refuse(f.Err)
			}
			if a.Kind() == KindPostgres && f.Booked && x.State == AdoptNew {
				x.Booked, x.Version = true, nil
			}
		}
	}
	if !req.Recognise && !req.Recorded {
		return nil
	}
	index, ask = index[:0], ask[:0]
	for i, x := range p.Places {
		if x.State == AdoptNew && !x.begun && !x.Booked {
			index, ask = append(index, i), append(ask, s.adoptee(x.Adoption))
		}
	}
	for _, r := range each[Recogniser](s) {
		find := r.Recognise
		if req.Recorded {
			find = r.Recorded
		}
		found, err := find(ctx, ask)
		if err != nil {
			return err
		}
		for i, v := range found {
			x := &p.Places[index[i]]
			if v.Err != nil {
				x.refuse(v.Err)
				continue
			}
			x.Version, x.History, x.Rest = &v.Version, v.History, v.Rest
		}
	}
	return nil
}

// adoptee gives an adoption a tenant that is in no catalog yet.
func (s *Service) adoptee(a Adoption) Adoptee {
	t := Tenant{
		ID: newID(), Name: a.Name, State: Provisioning, Schema: a.Schema, Database: a.Database, Role: a.Role,
		Domains: append([]string{}, a.Domains...), Labels: map[string]string{}, Versions: map[string]int64{}, Adopted: true,
	}
	for k, v := range a.Labels {
		t.Labels[k] = v
	}
	return Adoptee{Tenant: t, Adoption: a}
}

// Err is the refusal of the one place that was asked for by its name, or says how many of many were refused.
func (p *AdoptPlan) Err() error {
	switch n := len(p.In(AdoptRefused)); {
	case n == 0:
		return nil
	case len(p.Places) == 1:
		return WithTenant(p.Places[0].err, p.Places[0].Name)
	default:
		return &Error{Kind: ErrPartial, Msg: fmt.Sprintf("%d of %s refused", n, Plural(len(p.Places), "tenant")), Hint: "fix the problems listed above"}
	}
}
