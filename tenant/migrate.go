package tenant

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// MigrateRequest asks for new versions. Its fields but the first two are what the record of a run keeps of it.
type MigrateRequest struct {
	Selection   Selection `json:"-"`
	RetryFailed string    `json:"-"` // instead of a selection: the beginning or end of the id of a run, for those that failed in it, as it was asked for

	Only       string `json:"only"`         // one Kind; empty for every store
	To         int64  `json:"to"`           // Newest, or a version of the store that Only names
	OutOfOrder bool   `json:"out_of_order"` // also apply what lies below the newest applied version
}

// target is where one store's migrations are to go.
type target struct {
	kind     string
	to       int64 // the version
	applied  int   // how many files there are up to it
	newest   bool  // to is the newest there is: a tenant beyond it has books that these files do not know
	recorded bool  // the catalog knows what every file holds
	asked    bool  // another tool does the work: each tenant is asked for, and to is the newest that one has
	m        Migrator
}

// Behind is a tenant that is not at the target.
type Behind struct {
	Name     Name             `json:"name"`
	Versions map[string]int64 `json:"versions"`
}

// migrators gives the stores with versions that only names, or all.
func (s *Service) migrators(only string) ([]Migrator, error) {
	all := each[Migrator](s)
	if only == "" {
		return all, nil
	}
	var kinds []string
	for _, m := range all {
		if m.Kind() == only {
			return []Migrator{m}, nil
		}
		kinds = append(kinds, m.Kind())
	}
	return nil, Invalid("choose one of: "+strings.Join(kinds, ", "), "there is no store %s here", shorten(only))
}

// targets reads the migration files, and warns of those that changed after they were first applied.
func (s *Service) targets(ctx context.Context, only string, to int64) ([]target, []string, error) {
	if to != Newest && only == "" {
		return nil, nil, Invalid("add --only postgres or --only mongodb", "each store counts its own versions, so a version needs its store")
	}
	ms, err := s.migrators(only)
	if err != nil {
		return nil, nil, err
	}
	var out []target
	var warnings []string
	for _, m := range ms {
		if delegates(m) {
			if to != Newest {
				return nil, nil, ownWork("going to a version", m)
			}
			at, err := s.catalog.newestOf(ctx, m.Kind())
			if err != nil {
				return nil, nil, err
			}
			out = append(out, target{kind: m.Kind(), to: at, newest: true, recorded: true, asked: true, m: m})
			continue
		}
		files, err := m.Files(ctx)
		if err != nil {
			return nil, nil, err
		}
		t := target{kind: m.Kind(), newest: to == Newest, m: m}
		for _, f := range files {
			if to == Newest || f.Version <= to {
				t.to = f.Version
				t.applied++
			}
		}
		if to != Newest && t.to != to {
			return nil, nil, Invalid("tenantctl migrate status shows the versions", "%s has no migration with version %d", m.Kind(), to)
		}
		changes, complete, err := s.fitFiles(ctx, m.Kind(), files, t.to)
		if err != nil {
			return nil, nil, err
		}
		for _, c := range changes {
			if c.how == fileChanged {
				warnings = append(warnings, fmt.Sprintf("%s was changed after it was first applied; tenants differ from now on", c.Path))
			}
		}
		t.recorded = complete
		out = append(out, t)
	}
	return out, warnings, nil
}

// newestOf is the highest version that a tenant has in a store.
func (c *Catalog) newestOf(ctx context.Context, kind string) (version int64, err error) {
	err = c.pool.QueryRow(ctx, `SELECT coalesce(max(v.version), 0) FROM tenantctl.versions v JOIN tenantctl.tenants t ON t.id = v.tenant_id WHERE v.kind = $1 AND `+migrating, kind).Scan(&version)
	return version, catalogError("read the versions", err)
}

func versionsOf(ts []target) map[string]int64 {
	out := map[string]int64{}
	for _, t := range ts {
		out[t.kind] = t.to
	}
	return out
}

// behind is the condition, on t, that a tenant's recorded versions fall short of a target.
func behind(q *query, ts []target) string {
	var conds []string
	for _, t := range ts {
		if t.asked {
			return "true"
		}
		reached := ">="
		if t.newest {
			reached = "="
		}
		conds = append(conds, fmt.Sprintf(`NOT EXISTS (SELECT FROM tenantctl.versions v WHERE v.tenant_id = t.id AND v.kind = %s AND v.version %s %s AND v.applied %s %s)`,
			q.arg(t.kind), reached, q.arg(int(t.to)), reached, q.arg(t.applied)))
	}
	return "(" + strings.Join(conds, " OR ") + ")"
}

// migrating are the states in which a tenant is brought to new versions.
const migrating = "t.state IN ('active', 'suspended')"

// asked completes a request that names an earlier run, to be gone on with or for its failures, by what was asked for then.
func (s *Service) asked(ctx context.Context, req MigrateRequest, resume string) (MigrateRequest, error) {
	id := cmp.Or(resume, req.RetryFailed)
	if id == "" {
		return req, nil
	}
	run, err := s.catalog.findRun(ctx, OpMigrate, id)
	if err != nil {
		return req, err
	}
	req.To = Newest // of runs that did not record it
	if err := json.Unmarshal(run.Params, &req); err != nil {
		return req, fmt.Errorf("read the run's parameters: %w", err)
	}
	if resume != "" {
		return req, nil
	}
	var failed int
	req.Selection = Selection{failedIn: run.ID}
	if failed, err = s.catalog.count(ctx, s.selectMigrating(req.Selection)); err == nil && failed == 0 {
		err = Invalid("tenantctl ops show "+ShortID(run.ID)+" shows how it ended", "no tenant failed in run %s", run.ID)
	}
	return req, err
}

func (s *Service) selectMigrating(sel Selection) *query {
	var q query
	sel.where(&q)
	q.and(migrating)
	return &q
}

func (c *Catalog) count(ctx context.Context, q *query) (n int, err error) {
	err = c.pool.QueryRow(ctx, `SELECT count(*) FROM tenantctl.tenants t WHERE `+q.where(), q.args...).Scan(&n)
	return n, catalogError("count the tenants", err)
}

// Migrate brings every store of the selected tenants to new versions: the set is frozen at the start, each tenant is
// one operation, and tenants whose recorded versions are there already cost nothing.
func (s *Service) Migrate(ctx context.Context, req MigrateRequest, opts RunOptions) (*RunResult, error) {
	req, err := s.asked(ctx, req, opts.Resume)
	if err != nil {
		return nil, err
	}
	ts, warnings, err := s.targets(ctx, req.Only, req.To)
	if err != nil {
		return nil, err
	}
	if err := s.runnable(ctx, req.Selection, opts); err != nil {
		return nil, err
	}
	var run *Operation
	var all, work int
	if opts.Resume != "" {
		run, err = s.resumeRun(ctx, OpMigrate, &opts)
	} else {
		if err := s.closeDead(ctx, req.Selection, false); err != nil {
			return nil, err
		}
		q := s.selectMigrating(req.Selection)
		q.and(behind(q, ts))
		var first []uuid.UUID
		if first, err = s.canaries(ctx, q, opts.Rollout); err != nil {
			return nil, err
		}
		params := runParams{"target": versionsOf(ts), "only": req.Only, "to": req.To, "out_of_order": req.OutOfOrder, "selector": req.Selection.Selector.String()}
		run, err = s.startRun(ctx, OpMigrate, params, opts.Rollout, first, func(ctx context.Context, tx pgx.Tx, run uuid.UUID) error {
			all, work, err = s.enterMigrations(ctx, tx, run, req.Selection, ts)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	over := &ends{c: s.catalog}
	result, err := s.fleet(ctx, run, all-work, opts, over, func(ctx context.Context, child *Operation) (bool, error) {
		return s.migrateChild(ctx, run, child, ts, req.OutOfOrder, over)
	})
	if err != nil {
		return nil, err
	}
	for i, t := range ts {
		if t.asked {
			if ts[i].to, err = s.catalog.newestOf(context.WithoutCancel(ctx), t.kind); err != nil {
				return nil, err
			}
		}
	}
	result.Target, result.Warnings = versionsOf(ts), warnings
	if result.Summary.Failed > 0 {
		result.Retry = "tenantctl migrate --retry-failed " + ShortID(run.ID)
	}
	if result.Summary.Changed > 0 || slices.ContainsFunc(ts, func(t target) bool { return !t.recorded }) {
		result.unrecorded = s.recordFiles(ctx)
	}
	result.unrecorded = errors.Join(result.unrecorded, s.endRun(ctx, run, result))
	return result, nil
}

// closeDead ends what dead processes left on the selected tenants and needs no resumption, backups among it: a tenant that is
// current gets no new operation that would come across it. With adopt, what dead backups made is looked for.
func (s *Service) closeDead(ctx context.Context, sel Selection, adopt bool) error {
	q := s.selectMigrating(sel)
	rows, err := s.catalog.pool.Query(ctx, `SELECT `+operationColumns+` FROM tenantctl.operations o JOIN tenantctl.tenants t ON t.id = o.tenant_id
		WHERE o.state IN ('running', 'undoing', 'stuck') AND `+q.where(), q.args...)
	if err != nil {
		return catalogError("look for interrupted operations", err)
	}
	ops, err := pgx.CollectRows(rows, scanOperation)
	if err != nil {
		return catalogError("look for interrupted operations", err)
	}
	for _, op := range ops {
		if !s.catalog.dead(op) {
			continue
		}
		switch {
		case op.restartable():
			err = s.catalog.closeDead(ctx, op)
			if err == nil && op.Kind == OpBackup && adopt {
				err = s.adopt(ctx, op)
			}
		case op.Kind == OpBackup: // the users that it locked out are let in again
			_, err = s.Abort(ctx, op.ID.String())
		}
		if err != nil && !errors.Is(err, ErrBusy) {
			return err
		}
	}
	return nil
}

// enterMigrations freezes the set of tenants: one pending operation for each that is behind.
func (s *Service) enterMigrations(ctx context.Context, tx pgx.Tx, run uuid.UUID, sel Selection, ts []target) (all, work int, err error) {
	q := s.selectMigrating(sel)
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM tenantctl.tenants t WHERE `+q.where(), q.args...).Scan(&all); err != nil {
		return 0, 0, err
	}
	q.and(behind(q, ts))
	work, err = s.enterChildren(ctx, tx, run, OpMigrate, struct{}{}, q)
	return all, work, err
}

// migrateChild brings one tenant of a run to the targets.
func (s *Service) migrateChild(ctx context.Context, run, child *Operation, ts []target, outOfOrder bool, over *ends) (changed bool, err error) {
	t, err := s.claimChild(ctx, run, child)
	if err != nil {
		return false, err
	}
	s.emit(Event{Operation: child, Step: "migrate"})
	changed, err = s.migrateOne(ctx, child, t, over, func(ctx context.Context) (bool, error) {
		return s.up(ctx, child, t, ts, outOfOrder)
	})
	return changed, err
}

// migrateOne runs one tenant's migration under its operation, and ends the operation: with others where over is given.
func (s *Service) migrateOne(ctx context.Context, op *Operation, t Tenant, over *ends, do func(ctx context.Context) (bool, error)) (changed bool, err error) {
	start := time.Now()
	defer s.catalog.working(op)()
	ctx = WithLease(ctx, s.catalog.leaseOf(op))
	if err = s.point(ctx, op.Kind, "begun", ""); err == nil {
		err = s.safely(op.Kind, t.Name, func() error {
			changed, err = do(ctx)
			return err
		})
	}
	if err == nil {
		err = s.point(ctx, op.Kind, "finish", "before")
	}
	err = WithTenant(err, t.Name)
	if errors.Is(err, ErrFenced) {
		return changed, err
	}
	end := OpDone
	if err != nil {
		end = OpFailed
	}
	op.Result = []byte(jsonText(migrated{changed, op.output}))
	if err == nil && over != nil {
		over.done(ctx, op, changed, time.Since(start))
		return changed, nil
	}
	if ferr := s.catalog.finishLazily(context.WithoutCancel(ctx), op, end, err); ferr != nil {
		return changed, errors.Join(err, ferr)
	}
	return changed, err
}

// migrated is the result of one tenant's migration.
type migrated struct {
	Changed bool   `json:"changed"`
	Output  string `json:"output,omitempty"` // of another tool, if one did the work
}

// up applies what each target asks for.
func (s *Service) up(ctx context.Context, op *Operation, t Tenant, ts []target, outOfOrder bool) (changed bool, err error) {
	for _, target := range ts {
		if err := s.point(ctx, OpMigrate, target.kind, "before"); err != nil {
			return changed, err
		}
		to := target.to
		if target.asked {
			to = Newest
		}
		moved, err := target.m.Up(ctx, t, to, outOfOrder)
		op.output += moved.Output
		changed = changed || len(moved.Ran) > 0
		if err != nil {
			return changed, err
		}
		if len(moved.Ran) == 0 { // else the store has recorded it with the migration
			if err := LeaseFrom(ctx).Record(ctx, t.ID, target.kind, moved.To, moved.Applied); err != nil {
				return changed, catalogError("record the version", err)
			}
		}
		if err := s.point(ctx, OpMigrate, target.kind, "after"); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// NewMigration writes an empty migration of one store; with dryRun it only tells which files that would be.
func (s *Service) NewMigration(kind, name string, dryRun bool) ([]string, error) {
	ms, err := s.migrators(kind)
	if err != nil {
		return nil, err
	}
	if err := ownWork("writing a migration", ms[0]); err != nil {
		return nil, err
	}
	return ms[0].New(name, dryRun)
}

// reopen makes a closed child of a run pending again.
func (c *Catalog) reopen(ctx context.Context, child *Operation) error {
	err := c.pool.QueryRow(ctx, `UPDATE tenantctl.operations SET state = 'pending', fence = fence + 1, error = NULL, finished_at = NULL
		WHERE id = $1 AND state = 'failed' RETURNING fence`, child.ID).Scan(&child.Fence)
	if errors.Is(err, pgx.ErrNoRows) {
		return &Error{Kind: ErrBusy, Tenant: child.Tenant, Msg: "another process works on it in this run"}
	}
	child.State = OpPending
	return catalogError("open the tenant's part again", err)
}
