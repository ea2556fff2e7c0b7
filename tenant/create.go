package tenant

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"
)

// CreateRequest asks for a tenant.
type CreateRequest struct {
	Name    string            `json:"name"`
	Domains []string          `json:"domains,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	From    string            `json:"-"` // FILE:LINE that asks for it, for errors; empty where none does
}

// Placed adds to an error where the request came from.
func (r CreateRequest) Placed(err error) error {
	var e *Error
	if r.From == "" || !errors.As(err, &e) {
		return err
	}
	at := *e
	at.Msg = r.From + ": " + e.Msg
	return &at
}

// Outcome is one tenant's operation and what the tenant is after it.
type Outcome struct {
	Operation *Operation // nil where nothing had to be done
	Tenant    Tenant
	Changes   []Difference // what set and rename made of it
	Warnings  []string
	Err       error // of one tenant among several
}

// plan checks a request against every rule that needs no store, and gives the tenant it asks for.
func (s *Service) plan(req CreateRequest) (Tenant, error) {
	p, err := s.Naming.Derive(req.Name)
	if err != nil {
		return Tenant{}, err
	}
	t := Tenant{
		ID: newID(), Name: p.Name, State: Provisioning, Schema: p.Schema, Database: p.Database, Role: p.Role,
		Domains: []string{}, Labels: map[string]string{}, Versions: map[string]int64{},
	}
	for _, d := range req.Domains {
		d, err := ParseWildcard(d)
		if err != nil {
			return Tenant{}, WithTenant(err, p.Name)
		}
		if !slices.Contains(t.Domains, d) {
			t.Domains = append(t.Domains, d)
		}
	}
	for k, v := range req.Labels {
		if err := CheckLabel(k, v); err != nil {
			return Tenant{}, WithTenant(err, p.Name)
		}
		t.Labels[k] = v
	}
	return t, nil
}

// planBeside gives the place for a copy of a tenant's data, with the label that says whose it is.
func (s *Service) planBeside(of Name) (Tenant, error) {
	t, err := s.plan(CreateRequest{Name: besideName(of, newID())})
	if err == nil {
		t.Labels[labelOf] = string(of)
	}
	return t, err
}

// ready refuses to make tenants from migrations that cannot be read or must not be run.
func (s *Service) ready(ctx context.Context) error {
	for _, m := range each[Migrator](s) {
		files, err := m.Files(ctx)
		if err != nil {
			return err
		}
		if _, _, err := s.fitFiles(ctx, m.Kind(), files, math.MaxInt64); err != nil {
			return err
		}
	}
	return nil
}

// PlanCreate gives the tenants that the requests would make, and touches nothing. A taken name is ErrExists.
func (s *Service) PlanCreate(ctx context.Context, reqs iter.Seq2[CreateRequest, error], ifNotExists bool) ([]Tenant, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	var out []Tenant
	seen := newSeen()
	for req, err := range reqs {
		if err != nil {
			return nil, err
		}
		t, err := s.plan(req)
		if err != nil {
			return nil, req.Placed(err)
		}
		if err := seen.add(t); err != nil {
			return nil, req.Placed(err)
		}
		existing, err := s.catalog.Get(ctx, t.Name)
		switch {
		case err == nil && ifNotExists:
			continue
		case err == nil:
			return nil, existsAlready(existing)
		case !errors.Is(err, ErrNotFound):
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// seen finds names and domains that one command gives twice.
type seen struct{ names, domains map[string]bool }

func newSeen() seen { return seen{map[string]bool{}, map[string]bool{}} }

func (s seen) add(t Tenant) error {
	if s.names[string(t.Name)] {
		return Invalid("give each name once", "tenant %s is given twice", t.Name)
	}
	s.names[string(t.Name)] = true
	for _, d := range t.Domains {
		if s.domains[d] {
			return Invalid("a domain belongs to one tenant", "domain %s is given twice", d)
		}
		s.domains[d] = true
	}
	return nil
}

func existsAlready(t Tenant) error {
	return &Error{Kind: ErrExists, Tenant: t.Name, Msg: "exists already (" + string(t.State) + ")", Hint: "add --if-not-exists where that is fine"}
}

// Create makes a tenant in every store, at the newest version. After a crash at any point, the same call goes on where
// the dead one stopped. A tenant that is there already is ErrExists, or success with ifNotExists.
func (s *Service) Create(ctx context.Context, req CreateRequest, ifNotExists bool) (*Outcome, error) {
	if _, err := s.plan(req); err != nil {
		return nil, err
	}
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	return s.create(ctx, req, ifNotExists)
}

// create is Create for migrations that are known to be ready.
func (s *Service) create(ctx context.Context, req CreateRequest, ifNotExists bool) (*Outcome, error) {
	t, err := s.plan(req)
	if err != nil {
		return nil, err
	}
	s.beat()
	for {
		op, err := s.catalog.enter(ctx, intent{kind: OpCreate, tenant: &t, params: req, reserve: func(ctx context.Context, tx pgx.Tx) error {
			return s.catalog.insert(ctx, tx, &t)
		}})
		if errors.Is(err, errTaken) {
			out, again, err := s.createTaken(ctx, t, req, ifNotExists)
			if again {
				continue
			}
			return out, err
		}
		if err != nil {
			return nil, err
		}
		return s.finishCreate(ctx, op, t, req)
	}
}

// createTaken deals with a name that is in the catalog: a dead create is gone on with, a dead one that was being undone
// is undone first (again is true then), a whole tenant is success or ErrExists.
func (s *Service) createTaken(ctx context.Context, t Tenant, req CreateRequest, ifNotExists bool) (out *Outcome, again bool, err error) {
	existing, err := s.catalog.Get(ctx, t.Name)
	if errors.Is(err, ErrNotFound) {
		return nil, false, s.placeTaken(ctx, t)
	}
	if err != nil {
		return nil, false, err
	}
	live, err := s.catalog.liveOperation(ctx, existing.ID)
	if err != nil {
		return nil, false, err
	}
	if live == nil || live.restartable() {
		switch {
		case existing.State == Provisioning:
			// Its operation ended between the two looks, or it is the place beside a tenant.
			err := s.catalog.filling(ctx, existing.ID)
			return nil, err == nil, err
		case ifNotExists && (existing.State == Active || existing.State == Suspended):
			return &Outcome{Tenant: existing}, false, nil
		}
		return nil, false, existsAlready(existing)
	}
	op, err := s.catalog.yield(ctx, live, OpCreate)
	if err != nil || op == nil {
		return nil, op == nil && err == nil, err
	}
	if op.State == OpUndoing {
		if err := s.resumeOperation(ctx, op); err != nil {
			return nil, false, err
		}
		return nil, true, nil
	}
	out, err = s.finishCreate(ctx, op, existing, req)
	return out, false, err
}

// placeTaken says whose schema, database or role the name leads to.
func (s *Service) placeTaken(ctx context.Context, t Tenant) error {
	var owner, place string
	err := s.catalog.pool.QueryRow(ctx, `SELECT name, CASE WHEN schema_name = $1 THEN 'schema ' || $1 WHEN database_name = $2 THEN 'database ' || $2 ELSE 'role ' || $3 END
		FROM tenantctl.tenants WHERE schema_name = $1 OR database_name = $2 OR role_name = $3 LIMIT 1`, t.Schema, t.Database, t.Role).Scan(&owner, &place)
	if errors.Is(err, pgx.ErrNoRows) {
		return &Error{Kind: ErrBusy, Tenant: t.Name, Msg: "another process has just changed it", Hint: "run the same command again"}
	}
	if err != nil {
		return catalogError("look for the schema's owner", err)
	}
	return &Error{Kind: ErrExists, Tenant: t.Name, Msg: fmt.Sprintf("its %s belongs to tenant %s, which was renamed or restored", place, owner), Hint: "choose another name"}
}

// finishCreate runs a create to its end and gives the tenant it made.
func (s *Service) finishCreate(ctx context.Context, op *Operation, t Tenant, req CreateRequest) (*Outcome, error) {
	if err := s.run(ctx, op, s.createSaga(t)); err != nil {
		return &Outcome{Operation: op, Tenant: t, Err: err}, err
	}
	t, err := s.asEnded(ctx, t)
	if err != nil {
		return nil, err
	}
	if op.Run == nil {
		if err := s.recordFiles(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
	}
	out := &Outcome{Operation: op, Tenant: t}
	if wanted, err := s.plan(req); err == nil && (!slices.Equal(wanted.Domains, t.Domains) || !maps.Equal(wanted.Labels, t.Labels)) {
		out.Warnings = append(out.Warnings, "domains and labels are those of the interrupted create; change them with: tenantctl set "+string(t.Name))
	}
	return out, nil
}

func (s *Service) createSaga(t Tenant) saga {
	g := saga{
		steps: []step{{name: "check", here: true, do: func(ctx context.Context) error { return s.checkPlaces(ctx, t) }}},
		commit: func(ctx context.Context, tx pgx.Tx) error {
			return s.catalog.moveTenant(ctx, tx, t.ID, Active, Provisioning, Failed)
		},
		rollback: func(ctx context.Context, tx pgx.Tx) error {
			return s.catalog.remove(ctx, tx, t.ID, Provisioning, Failed)
		},
		stuck: func(ctx context.Context, tx pgx.Tx) error {
			_, err := s.catalog.moveBack(ctx, tx, t.ID, Failed, Provisioning)
			return err
		},
	}
	for _, r := range s.resources {
		g.steps = append(g.steps, step{
			name: r.Kind(),
			do:   func(ctx context.Context) error { return r.Create(ctx, t) },
			undo: func(ctx context.Context) error { return r.Drop(ctx, t) },
			here: r.Kind() == KindPostgres,
		})
	}
	g.pivot = len(g.steps)
	return g
}

// checkPlaces refuses a place that is somebody else's before anything is made in any store.
func (s *Service) checkPlaces(ctx context.Context, t Tenant) error {
	for _, r := range s.resources {
		if v, looks := r.(Vacancy); looks {
			vacant, err := v.Vacant(ctx, t)
			if err != nil {
				return err
			}
			if vacant {
				continue
			}
		}
		st, err := r.Stat(ctx, t)
		if err != nil {
			return err
		}
		if st.Presence == Foreign {
			return &Error{
				Kind: ErrForeign, Store: r.Kind(), Msg: fmt.Sprintf("%s exists already and was not made by tenantctl for this tenant", list(st.Remains)),
				Hint: "choose another name, or move what is there out of the way",
			}
		}
	}
	return nil
}
