package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/google/uuid"
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
		d, err := ParseDomain(d)
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

// ready refuses to make tenants from migrations that cannot be read.
func (s *Service) ready(ctx context.Context) error {
	for _, m := range each[Migrator](s) {
		if _, err := m.Files(ctx); err != nil {
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
	t, err := s.plan(req)
	if err != nil {
		return nil, err
	}
	if err := s.ready(ctx); err != nil {
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
	if live == nil || restartable[live.Kind] {
		switch {
		case existing.State == Provisioning:
			return nil, true, nil // its operation ended between the two looks
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
	var owner string
	err := s.catalog.pool.QueryRow(ctx, `SELECT name FROM tenantctl.tenants WHERE schema_name = $1 OR database_name = $2 OR role_name = $3 LIMIT 1`, t.Schema, t.Database, t.Role).Scan(&owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return &Error{Kind: ErrBusy, Tenant: t.Name, Msg: "another process has just changed it", Hint: "run the same command again"}
	}
	if err != nil {
		return catalogError("look for the schema's owner", err)
	}
	return &Error{Kind: ErrExists, Tenant: t.Name, Msg: fmt.Sprintf("its schema %s belongs to tenant %s, which was renamed", t.Schema, owner), Hint: "choose another name"}
}

// finishCreate runs a create to its end and gives the tenant it made.
func (s *Service) finishCreate(ctx context.Context, op *Operation, t Tenant, req CreateRequest) (*Outcome, error) {
	if err := s.run(ctx, op, s.createSaga(t)); err != nil {
		return &Outcome{Operation: op, Tenant: t, Err: err}, err
	}
	t, err := s.catalog.byID(ctx, t.ID, t.Name)
	if err != nil {
		return nil, err
	}
	if op.Run == nil {
		if err := s.recordFiles(ctx); err != nil {
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
		steps: []step{{name: "check", do: func(ctx context.Context) error { return s.checkPlaces(ctx, t) }}},
		commit: func(ctx context.Context, tx pgx.Tx) error {
			return s.catalog.setTenantState(ctx, tx, t.ID, Active)
		},
		rollback: func(ctx context.Context, tx pgx.Tx) error { return s.catalog.remove(ctx, tx, t.ID) },
		stuck: func(ctx context.Context, tx pgx.Tx) error {
			return s.catalog.setTenantState(ctx, tx, t.ID, Failed)
		},
	}
	for _, r := range s.resources {
		g.steps = append(g.steps, step{
			name: r.Kind(),
			do:   func(ctx context.Context) error { return r.Create(ctx, t) },
			undo: func(ctx context.Context) error { return r.Drop(ctx, t) },
		})
	}
	g.pivot = len(g.steps)
	return g
}

// checkPlaces refuses a place that is somebody else's before anything is made in any store.
func (s *Service) checkPlaces(ctx context.Context, t Tenant) error {
	for _, r := range s.resources {
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

// CreateMany makes many tenants as one run. Requests are all checked before the first is made. Each tenant's outcome
// is given to sink as it comes, one at a time.
func (s *Service) CreateMany(ctx context.Context, reqs iter.Seq2[CreateRequest, error], ifNotExists bool, opts RunOptions, sink func(Outcome)) (*RunResult, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	var run *Operation
	var unchanged int
	var err error
	if opts.Resume != nil {
		run, err = s.resumeRun(ctx, OpCreate, *opts.Resume)
	} else {
		run, err = s.startRun(ctx, OpCreate, map[string]any{"if_not_exists": ifNotExists}, func(ctx context.Context, tx pgx.Tx, run uuid.UUID) error {
			var err error
			unchanged, err = s.enterCreates(ctx, tx, run, reqs, ifNotExists, sink)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	outcomes := make(chan Outcome)
	sunk := make(chan struct{})
	go func() {
		defer close(sunk)
		for o := range outcomes {
			sink(o)
		}
	}()
	result, err := s.fleet(ctx, run, unchanged, opts, func(ctx context.Context, child *Operation) (bool, error) {
		out, err := s.createChild(ctx, run, child)
		if !errors.Is(err, errRunLost) {
			outcomes <- out
		}
		return err == nil, err
	})
	close(outcomes)
	<-sunk
	if err != nil {
		return nil, err
	}
	if err := s.recordFiles(ctx); err != nil {
		return result, err
	}
	return result, s.endRun(ctx, run, result)
}

// enterCreates writes a pending operation for each request whose tenant is not there yet.
func (s *Service) enterCreates(ctx context.Context, tx pgx.Tx, run uuid.UUID, reqs iter.Seq2[CreateRequest, error], ifNotExists bool, sink func(Outcome)) (unchanged int, err error) {
	names := newSeen()
	var batch []Tenant
	flush := func() error {
		n, err := s.enterBatch(ctx, tx, run, batch, ifNotExists, sink)
		unchanged += n
		batch = batch[:0]
		return err
	}
	for req, err := range reqs {
		if err != nil {
			return unchanged, err
		}
		t, err := s.plan(req)
		if err != nil {
			return unchanged, req.Placed(err)
		}
		if err := names.add(t); err != nil {
			return unchanged, req.Placed(err)
		}
		if batch = append(batch, t); len(batch) == page {
			if err := flush(); err != nil {
				return unchanged, err
			}
		}
	}
	return unchanged, flush()
}

func (s *Service) enterBatch(ctx context.Context, tx pgx.Tx, run uuid.UUID, batch []Tenant, ifNotExists bool, sink func(Outcome)) (unchanged int, err error) {
	if len(batch) == 0 {
		return 0, nil
	}
	names := make([]Name, len(batch))
	var domains []string
	for i, t := range batch {
		names[i] = t.Name
		domains = append(domains, t.Domains...)
	}
	there := map[Name]bool{}
	var held []Tenant
	for t, err := range s.catalog.Tenants(ctx, Selection{Names: names}) {
		if err != nil {
			return 0, err
		}
		held = append(held, t)
	}
	for _, t := range held {
		if t.State == Provisioning || t.State == Failed {
			continue // an interrupted create: its turn goes on with it
		}
		if !ifNotExists || t.State != Active && t.State != Suspended {
			return 0, existsAlready(t)
		}
		there[t.Name] = true
		unchanged++
		sink(Outcome{Tenant: t})
	}
	var taken, by string
	err = tx.QueryRow(ctx, `SELECT d.domain, t.name FROM tenantctl.domains d JOIN tenantctl.tenants t ON t.id = d.tenant_id
		WHERE d.domain = ANY($1::text[]) AND NOT t.name = ANY($2::text[]) LIMIT 1`, domains, texts(names)).Scan(&taken, &by)
	if err == nil {
		return 0, &Error{Kind: ErrExists, Msg: fmt.Sprintf("domain %s belongs to tenant %s", taken, by), Hint: "a domain belongs to one tenant"}
	} else if !errors.Is(err, pgx.ErrNoRows) {
		return 0, err
	}
	var rows [][]any
	for _, t := range batch {
		if !there[t.Name] {
			req := CreateRequest{Name: string(t.Name), Domains: t.Domains, Labels: t.Labels}
			rows = append(rows, []any{newID(), OpCreate, run, string(t.Name), "pending", jsonText(req), s.catalog.actor, s.catalog.self.String()})
		}
	}
	var b pgx.Batch
	for _, r := range rows {
		b.Queue(`INSERT INTO tenantctl.operations (id, kind, parent_id, tenant_name, state, params, actor, owner) VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7, $8)`, r...)
	}
	return unchanged, tx.SendBatch(ctx, &b).Close()
}

// createChild makes one tenant of a run.
func (s *Service) createChild(ctx context.Context, run, child *Operation) (Outcome, error) {
	var req CreateRequest
	fail := func(err error) (Outcome, error) {
		err = WithTenant(err, child.Tenant)
		if errors.Is(err, errRunLost) || errors.Is(err, ErrFenced) {
			return Outcome{Err: err}, err
		}
		if child.State == OpPending {
			if ferr := s.catalog.failPending(ctx, child, err); ferr != nil {
				err = errors.Join(err, ferr)
			}
		}
		return Outcome{Operation: child, Tenant: Tenant{Name: child.Tenant}, Err: err}, err
	}
	if err := json.Unmarshal(child.Params, &req); err != nil {
		return fail(fmt.Errorf("read the operation's parameters: %w", err))
	}
	t, err := s.plan(req)
	if err != nil {
		return fail(err)
	}
	switch {
	case child.State != OpPending: // of a process that died
		op, err := s.catalog.yield(ctx, child, OpCreate)
		if err != nil {
			return fail(err)
		}
		if t, err = s.catalog.byID(ctx, *op.TenantID, op.Tenant); err != nil {
			return fail(err)
		}
		op.State = OpRunning // whichever way it was going: this run wants the tenant
		*child = *op
	default:
		err := s.catalog.reserveChild(ctx, run, child, &t)
		if errors.Is(err, errTaken) {
			return s.adoptCreate(ctx, child, t, req, fail)
		}
		if err != nil {
			return fail(err)
		}
	}
	out, err := s.finishCreate(ctx, child, t, req)
	if err != nil {
		return fail(err)
	}
	return *out, nil
}

// adoptCreate ends a pending child whose tenant another, dead create has begun.
func (s *Service) adoptCreate(ctx context.Context, child *Operation, t Tenant, req CreateRequest, fail func(error) (Outcome, error)) (Outcome, error) {
	out, again, err := s.createTaken(ctx, t, req, true)
	if again {
		out, err = s.Create(ctx, req, true)
	}
	if err != nil {
		return fail(err)
	}
	if err := s.catalog.donePending(ctx, child); err != nil {
		return fail(err)
	}
	return *out, nil
}

// reserveChild makes a pending create this process's, and reserves its tenant, in one transaction.
func (c *Catalog) reserveChild(ctx context.Context, run, child *Operation, t *Tenant) error {
	err := c.inTx(ctx, "claim a tenant", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, c.leaseOf(run).HoldSQL()); errors.Is(Fenced(err), ErrFenced) {
			return runLost(run)
		} else if err != nil {
			return err
		}
		if err := c.insert(ctx, tx, t); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `UPDATE tenantctl.operations SET state = 'running', tenant_id = $2, owner = $3, lease_until = now() + $4::interval, started_at = clock_timestamp()
			WHERE id = $1 AND state = 'pending'`, child.ID, t.ID, c.self.String(), interval(c.lease))
		if err == nil && tag.RowsAffected() == 0 {
			return &Error{Kind: ErrBusy, Msg: "another process works on it in this run"}
		}
		return err
	})
	if err == nil {
		child.State, child.TenantID, child.Owner = OpRunning, &t.ID, c.self
	}
	return err
}

// failPending ends a child that could not be started.
func (c *Catalog) failPending(ctx context.Context, child *Operation, cause error) error {
	child.State = OpFailed
	_, err := c.pool.Exec(ctx, `UPDATE tenantctl.operations SET state = 'failed', error = $2::jsonb, finished_at = clock_timestamp() WHERE id = $1 AND state = 'pending'`, child.ID, jsonText(NewFailure(cause)))
	return catalogError("record a failure", err)
}

// donePending ends a child whose work another operation has done.
func (c *Catalog) donePending(ctx context.Context, child *Operation) error {
	child.State = OpDone
	_, err := c.pool.Exec(ctx, `UPDATE tenantctl.operations SET state = 'done', finished_at = clock_timestamp() WHERE id = $1 AND state = 'pending'`, child.ID)
	return catalogError("record a result", err)
}
