package tenant

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Declared is a tenant as a file wants it. What is nil or empty is left as it is; an empty list takes all away.
type Declared struct {
	Name    Name              `json:"name"`
	State   State             `json:"state,omitempty"` // active or suspended
	Domains []string          `json:"domains"`         // nil leaves them
	Labels  map[string]string `json:"labels"`          // nil leaves them

	// Schema, Database and Role cannot be chosen: what differs from the catalog is refused.
	Schema   string `json:"-"`
	Database string `json:"-"`
	Role     string `json:"-"`
	From     string `json:"-"` // FILE:LINE, for errors
}

// ApplyRequest says what is to be made of the fleet.
type ApplyRequest struct {
	Prune      bool // delete, with a grace period, the tenants that are not declared
	NoBackup   bool // of those
	AllowEmpty bool // nothing is declared, and yet Prune is meant
}

// What a plan does to a tenant.
const (
	ApplyCreate = "create"
	ApplyChange = "change"
	ApplyDelete = "delete"
)

// PlannedChange is what a plan does to one tenant.
type PlannedChange struct {
	Tenant  Name         `json:"tenant"`
	Action  string       `json:"action"`
	Changes []Difference `json:"changes"`

	id   uuid.UUID // the tenant that was looked at; the zero UUID for one that is to be made
	want Declared
}

// ApplySummary counts the tenants of a plan.
type ApplySummary struct {
	Create    int `json:"create"`
	Change    int `json:"change"`
	Delete    int `json:"delete"`
	Unchanged int `json:"unchanged"`
	Missing   int `json:"missing"` // in the catalog, not declared, and left alone
}

// ApplyPlan is what has to be done for the fleet to be as declared.
type ApplyPlan struct {
	Changes []PlannedChange `json:"changes"`
	Missing []Name          `json:"missing"` // in the catalog, not declared, and left alone
	Summary ApplySummary    `json:"summary"`

	request ApplyRequest
	moves   []move
}

// move is a domain that one tenant of the plan gives up for another.
type move struct {
	from   Tenant
	domain string
}

// applyPlanner puts a plan together.
type applyPlanner struct {
	s       *Service
	req     ApplyRequest
	want    map[Name]Declared
	order   []Name
	domains map[string]Name         // whose a domain is to be
	places  map[string]Name         // whose schema, database or role a name is to be
	live    map[uuid.UUID]Operation // what has a tenant in work, or was interrupted
	found   map[Name]Tenant         // what the catalog has of the declared ones
	taken   map[Name]error          // why one that is to be made cannot be
	plan    *ApplyPlan
}

// PlanApply compares the catalog with what is declared, and touches nothing. What cannot be done is refused as a whole.
func (s *Service) PlanApply(ctx context.Context, declared iter.Seq2[Declared, error], req ApplyRequest) (*ApplyPlan, error) {
	p := &applyPlanner{
		s: s, req: req, want: map[Name]Declared{}, domains: map[string]Name{}, places: map[string]Name{}, live: map[uuid.UUID]Operation{},
		found: map[Name]Tenant{}, taken: map[Name]error{}, plan: &ApplyPlan{Changes: []PlannedChange{}, Missing: []Name{}, request: req},
	}
	for d, err := range declared {
		if err == nil {
			err = CreateRequest{From: d.From}.Placed(p.declare(d))
		}
		if err != nil {
			return nil, err
		}
	}
	if len(p.order) == 0 && req.Prune && !req.AllowEmpty {
		return nil, &Error{Kind: ErrInvalid, Code: "empty_selection", Msg: "the file names no tenant, and --prune would delete all of them", Hint: "add --allow-empty where that is meant"}
	}
	if err := p.look(ctx); err != nil {
		return nil, err
	}
	for _, n := range p.order {
		d := p.want[n]
		if err := p.compare(d); err != nil {
			return nil, CreateRequest{From: d.From}.Placed(err)
		}
	}
	if p.plan.Summary.Create > 0 {
		if err := s.ready(ctx); err != nil {
			return nil, err
		}
	}
	p.plan.Summary.Missing = len(p.plan.Missing)
	return p.plan, nil
}

// declare checks one entry by itself and against those before it.
func (p *applyPlanner) declare(d Declared) error {
	places, err := p.s.Naming.Derive(string(d.Name))
	if err != nil {
		return err
	}
	if _, twice := p.want[d.Name]; twice {
		return Invalid("give each name once", "tenant %s is given twice", d.Name)
	}
	if d.State != "" && !d.State.Migrates() {
		return &Error{
			Kind: ErrInvalid, Tenant: d.Name, Msg: fmt.Sprintf("state %s cannot be asked for", shorten(string(d.State))),
			Hint: "active or suspended; to delete a tenant, leave it out and add --prune",
		}
	}
	for i, name := range d.Domains {
		if d.Domains[i], err = ParseWildcard(name); err != nil {
			return WithTenant(err, d.Name)
		}
		if of, twice := p.domains[d.Domains[i]]; twice {
			return Invalid("a domain belongs to one tenant", "domain %s is given twice: to %s and to %s", d.Domains[i], of, d.Name)
		}
		p.domains[d.Domains[i]] = d.Name
	}
	for k, v := range d.Labels {
		if err := CheckLabel(k, v); err != nil {
			return WithTenant(err, d.Name)
		}
	}
	p.want[d.Name] = d
	p.order = append(p.order, d.Name)
	p.places[places.Schema] = d.Name // the three have one name
	return nil
}

// look reads the catalog once, and what it has in work.
func (p *applyPlanner) look(ctx context.Context) error {
	for op, err := range p.s.catalog.operations(ctx, OperationFilter{Unfinished: true}) {
		if err != nil {
			return err
		}
		if op.TenantID != nil {
			p.live[*op.TenantID] = *op
		}
	}
	var missing []Tenant
	for t, err := range p.s.catalog.Tenants(ctx, Selection{}) {
		if err != nil {
			return err
		}
		_, isDeclared := p.want[t.Name]
		if err := p.conflicts(t); err != nil {
			return err
		}
		switch {
		case isDeclared:
			p.found[t.Name] = t
		case t.State == Deleted:
			// It was left out before.
		case !p.req.Prune || !t.State.Migrates(): // what a create has left is no whole tenant to be kept
			p.plan.Missing = append(p.plan.Missing, t.Name)
		default:
			missing = append(missing, t)
		}
	}
	for _, t := range missing {
		if err := p.prune(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// conflicts refuses what the catalog has under names or domains that are declared for another tenant.
func (p *applyPlanner) conflicts(t Tenant) error {
	for _, place := range []string{t.Schema, t.Database, t.Role} {
		if n, ok := p.places[place]; ok && n != t.Name {
			p.taken[n] = &Error{Kind: ErrExists, Tenant: n, Msg: fmt.Sprintf("its schema, database or role %s belongs to tenant %s, which was renamed or restored", place, t.Name), Hint: "write the name that it has now"}
		}
	}
	for _, d := range t.Domains {
		to, ok := p.domains[d]
		if !ok || to == t.Name {
			continue
		}
		if from, isDeclared := p.want[t.Name]; !isDeclared || from.Domains == nil || !t.State.Migrates() {
			return CreateRequest{From: p.want[to].From}.Placed(&Error{
				Kind: ErrExists, Tenant: to, Msg: fmt.Sprintf("domain %s belongs to tenant %s (%s)", d, t.Name, t.State),
				Hint: fmt.Sprintf("take it from there first: tenantctl set %s --remove-domain %s", t.Name, d),
			})
		}
		p.plan.moves = append(p.plan.moves, move{t, d})
	}
	return nil
}

func (p *applyPlanner) prune(ctx context.Context, t Tenant) error {
	if err := p.free(t, OpDelete); err != nil {
		return err
	}
	if _, err := p.s.PlanDeletion(ctx, t.Name, DeleteRequest{NoBackup: p.req.NoBackup, ID: t.ID}); err != nil {
		return err
	}
	to := Deleted
	p.plan.Summary.Delete++
	p.plan.Changes = append(p.plan.Changes, PlannedChange{
		Tenant: t.Name, Action: ApplyDelete, id: t.ID, want: Declared{Name: t.Name, State: to},
		Changes: []Difference{{Field: "state", From: unlessEmpty(string(t.State)), To: unlessEmpty(string(to))}},
	})
	return nil
}

// free refuses a tenant that is being worked on, or that an interrupted operation holds which none of these verbs goes on with.
func (p *applyPlanner) free(t Tenant, verbs ...string) error {
	op, ok := p.live[t.ID]
	switch {
	case !ok:
		return nil
	case !p.s.catalog.dead(&op):
		return p.s.catalog.busy(&op)
	case op.restartable() || slices.Contains(verbs, op.Kind):
		return nil
	}
	return stuck(&op, "")
}

// compare adds what has to be done for a tenant to be as declared.
func (p *applyPlanner) compare(d Declared) error {
	t, exists := p.found[d.Name]
	if !exists || t.State == Provisioning || t.State == Failed {
		return p.create(d, t)
	}
	if t.State == Deleted {
		return &Error{Kind: ErrExists, Tenant: t.Name, Msg: "is deleted, and its name is kept until it is purged", Hint: fmt.Sprintf("tenantctl undelete %s, or tenantctl purge %s", t.Name, t.Name)}
	}
	if !t.State.Migrates() {
		return &Error{Kind: ErrInvalid, Tenant: t.Name, Msg: fmt.Sprintf("cannot change it while it is %s", t.State), Hint: "tenantctl describe " + string(t.Name)}
	}
	for _, place := range []struct{ what, want, have string }{{"schema", d.Schema, t.Schema}, {"database", d.Database, t.Database}, {"role", d.Role, t.Role}} {
		if place.want != "" && place.want != place.have {
			return unchangeable(d.Name, place.what, place.want, place.have)
		}
	}
	after, err := d.of(t)
	if err != nil {
		return err
	}
	changes := Differences(t, after)
	if op, ok := p.live[t.ID]; ok && len(changes) == 0 && !op.restartable() && p.s.catalog.dead(&op) {
		return stuck(&op, "") // the catalog does not tell how far it has come
	}
	if len(changes) == 0 {
		p.plan.Summary.Unchanged++
		return nil
	}
	verbs := []string{OpSet}
	if t.State != after.State {
		verbs = append(verbs, map[State]string{Suspended: OpSuspend, Active: OpResume}[after.State])
	}
	if err := p.free(t, verbs...); err != nil {
		return err
	}
	p.plan.Summary.Change++
	p.plan.Changes = append(p.plan.Changes, PlannedChange{Tenant: t.Name, Action: ApplyChange, Changes: changes, id: t.ID, want: d})
	return nil
}

// create plans a tenant that is not there, or that an interrupted create has begun.
func (p *applyPlanner) create(d Declared, begun Tenant) error {
	if err := p.taken[d.Name]; err != nil {
		return err
	}
	if begun.Name != "" {
		if _, isHeld := p.live[begun.ID]; !isHeld {
			return &Error{Kind: ErrInvalid, Tenant: d.Name, Msg: fmt.Sprintf("cannot make it while it is %s", begun.State), Hint: "tenantctl describe " + string(d.Name)}
		}
		if err := p.free(begun, OpCreate); err != nil {
			return err
		}
	}
	planned, err := p.s.plan(d.request())
	if err != nil {
		return err
	}
	for _, place := range []struct{ what, want, have string }{{"schema", d.Schema, planned.Schema}, {"database", d.Database, planned.Database}, {"role", d.Role, planned.Role}} {
		if place.want != "" && place.want != place.have {
			return unchangeable(d.Name, place.what, place.want, place.have)
		}
	}
	planned.State = Active
	if d.State == Suspended {
		planned.State = Suspended
	}
	p.plan.Summary.Create++
	p.plan.Changes = append(p.plan.Changes, PlannedChange{Tenant: d.Name, Action: ApplyCreate, Changes: Differences(Tenant{Name: d.Name}, planned), want: d})
	return nil
}

func unchangeable(name Name, what, want, have string) error {
	return &Error{Kind: ErrInvalid, Tenant: name, Msg: fmt.Sprintf("the %s of a tenant cannot be chosen: the file has %s, the tenant %s", what, shorten(want), have), Hint: "leave the field out"}
}

// request is what a create of the declared tenant is asked for. Labels of tenantctl's own are not copied to a new tenant.
func (d Declared) request() CreateRequest {
	return CreateRequest{Name: string(d.Name), Domains: d.Domains, Labels: givenLabels(d.Labels)}
}

// of gives the tenant as declared.
func (d Declared) of(t Tenant) (Tenant, error) {
	if d.Domains != nil {
		t.Domains = d.Domains
	}
	if d.Labels != nil {
		labels := givenLabels(d.Labels)
		for k, v := range d.Labels {
			if have, is := t.Labels[k]; strings.HasPrefix(k, reservedLabels) && (!is || have != v) {
				return t, WithTenant(CheckGivenLabel(k, v), t.Name)
			}
		}
		for k, v := range t.Labels {
			if strings.HasPrefix(k, reservedLabels) {
				labels[k] = v
			}
		}
		t.Labels = labels
	}
	if d.State != "" {
		t.State = d.State
	}
	return t, nil
}

// change is what Set has to do for a tenant to have the declared domains and labels.
func (d Declared) change(t Tenant) (ch Change, needed bool, err error) {
	after, err := d.of(t)
	if err != nil {
		return ch, false, err
	}
	ch.Labels = map[string]string{}
	for _, x := range Differences(t, after) {
		switch {
		case x.Field == "domain" && x.To != nil:
			ch.AddDomains = append(ch.AddDomains, *x.To)
		case x.Field == "domain":
			ch.RemoveDomains = append(ch.RemoveDomains, *x.From)
		case x.Field == "label" && x.To != nil:
			ch.Labels[x.Key] = *x.To
		case x.Field == "label":
			ch.RemoveLabels = append(ch.RemoveLabels, x.Key)
		}
	}
	return ch, len(ch.AddDomains)+len(ch.RemoveDomains)+len(ch.Labels)+len(ch.RemoveLabels) > 0, nil
}
