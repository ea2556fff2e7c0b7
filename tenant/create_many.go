package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// CreateMany makes many tenants as one run. Requests are all checked before the first is made. Each tenant's outcome
// is given to sink as it comes, one at a time.
func (s *Service) CreateMany(ctx context.Context, reqs iter.Seq2[CreateRequest, error], ifNotExists bool, opts RunOptions, sink func(Outcome)) (*RunResult, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if err := s.runnable(ctx, Selection{}, opts); err != nil {
		return nil, err
	}
	var run *Operation
	var unchanged int
	var err error
	if opts.Resume != "" {
		run, err = s.resumeRun(ctx, OpCreate, &opts)
	} else {
		run, err = s.startRun(ctx, OpCreate, runParams{"if_not_exists": ifNotExists}, opts.Rollout, nil, func(ctx context.Context, tx pgx.Tx, run uuid.UUID) error {
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
	result, err := s.fleet(ctx, run, unchanged, opts, nil, func(ctx context.Context, child *Operation) (bool, error) {
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
	result.unrecorded = errors.Join(s.recordFiles(ctx), s.endRun(ctx, run, result))
	return result, nil
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
	var ids, params []string
	names = names[:0]
	for _, t := range batch {
		if !there[t.Name] {
			req := CreateRequest{Name: string(t.Name), Domains: t.Domains, Labels: t.Labels}
			ids, names, params = append(ids, newID().String()), append(names, t.Name), append(params, jsonText(req))
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO tenantctl.operations (id, kind, parent_id, tenant_name, state, params, actor, owner)
		SELECT i, $4, $5, n, 'pending', p::jsonb, $6, $7 FROM unnest($1::uuid[], $2::text[], $3::text[]) AS x(i, n, p)`,
		ids, texts(names), params, OpCreate, run, s.catalog.actorOf(ctx), s.catalog.self.String())
	return unchanged, err
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
		if err := s.catalog.forward(ctx, op); err != nil { // whichever way it was going: this run wants the tenant
			return fail(err)
		}
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
	// It need not wait for the disk: what is made for the tenant is noted after it.
	err := c.inTxAs(ctx, "claim a tenant", lazily+"; "+c.leaseOf(run).HoldSQL(), func(tx pgx.Tx) error {
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
	switch {
	case errors.Is(Fenced(err), ErrFenced):
		return runLost(run)
	case err == nil:
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
