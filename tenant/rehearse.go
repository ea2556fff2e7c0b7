package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Rehearser is a Migrator that tells what each file does.
type Rehearser interface {
	Migrator
	// Rehearse is Up in a place that nobody else uses. told is called after each file, and for the one that failed.
	Rehearse(ctx context.Context, t Tenant, to int64, outOfOrder bool, told func(RehearsedFile)) error
}

// RehearsedFile is what one file did to one copy.
type RehearsedFile struct {
	Store       string      `json:"store"`
	Version     int64       `json:"version"`
	File        string      `json:"file"` // without the folder
	DurationMS  int64       `json:"duration_ms"`
	Failed      bool        `json:"failed"`
	Transaction bool        `json:"transaction"` // it was one, and held its locks until its end
	Locks       []TableLock `json:"locks"`       // on tables that were there before, the strongest first, one a table; nil where they are not known
	Rewritten   []string    `json:"rewritten"`   // tables that were there before and have a new file on disk
}

// TableLock is the strongest lock that was held on a table.
type TableLock struct {
	Table  string `json:"table"` // with its schema where that is not the tenant's
	Mode   string `json:"mode"`  // "AccessExclusiveLock", as pg_locks has it
	Blocks Blocks `json:"blocks"`
}

// Blocks is what a lock keeps the application from.
type Blocks string

// What a lock blocks.
const (
	BlocksNothing Blocks = ""
	BlocksWrites  Blocks = "writes"
	BlocksAll     Blocks = "reads and writes"
)

// sampleSize is how many tenants stand for the others where none are named.
const sampleSize = 3

// RehearseRequest asks for a migration to be tried in copies.
type RehearseRequest struct {
	MigrateRequest      // an empty selection is a few tenants that stand for the others
	Data           bool // copy rows too; else structure alone
	Parallel       int  // copies at once
}

// RehearsalPlan is what a rehearsal would work on.
type RehearsalPlan struct {
	Target   map[string]int64 `json:"target"`
	Data     bool             `json:"data"`
	Behind   int              `json:"behind"` // tenants selected that are not at the target
	Tenants  []Rehearsed      `json:"tenants"`
	Warnings []string         `json:"warnings,omitempty"`

	current int // tenants selected that are
	targets []target
	tenants []Tenant
}

// Rehearsed is one tenant's part.
type Rehearsed struct {
	Name       Name             `json:"name"`
	Versions   map[string]int64 `json:"versions"`
	Bytes      int64            `json:"bytes"`         // of the stores that are copied
	Why        string           `json:"why,omitempty"` // it was chosen
	Result     RehearsalResult  `json:"result"`
	DurationMS int64            `json:"duration_ms,omitempty"` // with the copying
	Files      []RehearsedFile  `json:"files,omitempty"`
	Error      *Failure         `json:"error,omitempty"`
}

// RehearsalResult is what came of a tenant's part.
type RehearsalResult string

// The results. What was interrupted is removed, and counted as not started.
const (
	NotRehearsed    RehearsalResult = "not started"
	Interrupted     RehearsalResult = "interrupted"
	RehearsalDone   RehearsalResult = "done"
	RehearsalFailed RehearsalResult = "failed"
)

// Rehearsal is what a rehearsal reports.
type Rehearsal struct {
	State      RunState         `json:"state"`
	Target     map[string]int64 `json:"target"`
	Data       bool             `json:"data"`
	Summary    Summary          `json:"summary"`
	DurationMS int64            `json:"duration_ms"`
	Tenants    []Rehearsed      `json:"tenants"`
	Failures   []FailureGroup   `json:"failures"`
	Warnings   []string         `json:"warnings,omitempty"`
}

// Err is nil where every copy was migrated.
func (r *Rehearsal) Err() error {
	switch r.State {
	case RunDone:
		return nil
	case RunAborted:
		return &Error{Kind: ErrInterrupted, Msg: "the rehearsal was interrupted: " + r.Summary.shortfall(), Hint: "the copies are removed; run it again"}
	}
	return partial(r.Summary, r.Failures, "put the migration or the tenant right, and rehearse again; no tenant was touched")
}

// PlanRehearse chooses the tenants of a rehearsal, and touches nothing.
func (s *Service) PlanRehearse(ctx context.Context, req RehearseRequest) (*RehearsalPlan, error) {
	if _, err := s.archivers(""); err != nil {
		return nil, err
	}
	if err := s.mayRunCode(ctx); err != nil {
		return nil, err
	}
	p := &RehearsalPlan{Data: req.Data, Tenants: []Rehearsed{}}
	ms, err := s.migrators(req.Only)
	if err != nil {
		return nil, err
	}
	if err := ownWork("rehearsing", ms...); err != nil {
		return nil, err
	}
	if p.targets, p.Warnings, err = s.targets(ctx, req.Only, req.To); err != nil {
		return nil, err
	}
	p.Target = versionsOf(p.targets)
	if err := s.catalog.workable(ctx, req.Selection); err != nil {
		return nil, err
	}
	all, err := s.catalog.count(ctx, s.selectMigrating(req.Selection))
	if err != nil {
		return nil, err
	}
	q := s.selectMigrating(req.Selection)
	q.and(behind(q, p.targets))
	if p.Behind, err = s.catalog.count(ctx, q); err != nil {
		return nil, err
	}
	p.current = all - p.Behind
	var chosen []sampled
	if req.Selection.Empty() {
		if chosen, err = s.sample(ctx, q, sampleSize, false); err != nil {
			return nil, err
		}
	} else {
		for t, err := range s.catalog.tenants(ctx, q) {
			if err != nil {
				return nil, err
			}
			chosen = append(chosen, sampled{Tenant: t})
		}
	}
	for _, c := range chosen {
		one := Rehearsed{Name: c.Name, Versions: c.Versions, Why: c.why, Result: NotRehearsed}
		for _, target := range p.targets {
			st, err := target.m.Stat(ctx, c.Tenant)
			if err != nil {
				return nil, WithTenant(err, c.Name)
			}
			one.Bytes += st.Bytes
		}
		p.Tenants, p.tenants = append(p.Tenants, one), append(p.tenants, c.Tenant)
	}
	return p, nil
}

// Rehearse copies tenants beside, migrates the copies, tells what that did, and removes them. The tenants themselves
// are only read. What killed rehearsals have left is removed first.
func (s *Service) Rehearse(ctx context.Context, req RehearseRequest) (*Rehearsal, error) {
	start := time.Now()
	p, err := s.PlanRehearse(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := s.endScratch(ctx, OpRehearse, uuid.Nil); err != nil {
		return nil, err
	}
	f := s.overList(len(p.tenants), Budget{Count: len(p.tenants) + 1}) // failures do not end it
	f.summary.Tenants, f.summary.Unchanged = len(p.tenants)+p.current, p.current
	f.list(ctx, s.parallel(req.Parallel), func(i int) {
		child := &Operation{Kind: OpRehearse, Tenant: p.tenants[i].Name}
		f.begun(child)
		err := s.rehearseOne(ctx, p, req, i)
		if p.Tenants[i].Result != Interrupted {
			f.over(child, true, err)
		}
	})
	r := &Rehearsal{State: RunDone, Target: p.Target, Data: p.Data, Summary: f.summary, DurationMS: time.Since(start).Milliseconds(), Tenants: p.Tenants, Failures: f.groups.list(), Warnings: p.Warnings}
	switch {
	case f.summary.NotStarted > 0:
		r.State = RunAborted
	case f.summary.Failed > 0:
		r.State = RunPartial
	}
	return r, nil
}

// rehearseParams are what the catalog keeps of it.
type rehearseParams struct {
	cloneParams
	Of         uuid.UUID        `json:"of"`
	Target     map[string]int64 `json:"target"`
	OutOfOrder bool             `json:"out_of_order,omitempty"`
}

// rehearsalKept is what the operation keeps.
type rehearsalKept struct {
	Files []RehearsedFile `json:"files"`
}

// rehearseOne rehearses with the plan's tenant i, and writes into the plan what came of it.
func (s *Service) rehearseOne(ctx context.Context, p *RehearsalPlan, req RehearseRequest, i int) error {
	start, from, one := time.Now(), p.tenants[i], &p.Tenants[i]
	op, err := s.rehearseIn(ctx, from, rehearseParams{cloneParams: cloneParams{From: from.ID, Data: req.Data}, Of: from.ID, Target: p.Target, OutOfOrder: req.OutOfOrder})
	var e *Error
	if errors.As(err, &e) { // whatever the copy is called
		of := *e
		of.Tenant = from.Name
		err = &of
	}
	one.Result, one.Error, one.DurationMS = RehearsalDone, NewFailure(err), time.Since(start).Milliseconds()
	switch {
	case err != nil && ctx.Err() != nil && !errors.Is(err, ErrStuck):
		one.Result, one.Error = Interrupted, nil
	case err != nil:
		one.Result = RehearsalFailed
	}
	var kept rehearsalKept
	if op != nil && op.Result != nil {
		if uerr := json.Unmarshal(op.Result, &kept); uerr != nil {
			return errors.Join(err, uerr)
		}
	}
	one.Files = kept.Files
	return err
}

func (s *Service) rehearseIn(ctx context.Context, from Tenant, p rehearseParams) (*Operation, error) {
	var err error
	if p.Was, err = s.standing(ctx, from); err != nil {
		return nil, err
	}
	t, err := s.planBeside(from.Name)
	if err != nil {
		return nil, err
	}
	op, _, err := s.beginNew(ctx, OpRehearse, &t, p)
	if err != nil {
		return nil, err
	}
	g, err := s.rehearseSaga(op, t)
	if err != nil {
		return op, err
	}
	return op, s.run(ctx, op, g)
}

// rehearseSaga copies a tenant, migrates the copy and removes it, whatever the outcome.
func (s *Service) rehearseSaga(op *Operation, t Tenant) (saga, error) {
	var p rehearseParams
	if err := json.Unmarshal(op.Params, &p); err != nil {
		return saga{}, fmt.Errorf("read the operation's parameters: %w", err)
	}
	drop := func(ctx context.Context) error {
		for _, r := range s.reverse() {
			if err := r.Drop(ctx, t); err != nil {
				return err
			}
		}
		return nil
	}
	remove := func(ctx context.Context, tx pgx.Tx) error { return s.catalog.remove(ctx, tx, t.ID, Provisioning) }
	g := saga{
		steps: []step{
			{name: "check", do: func(ctx context.Context) error {
				if err := setOf(ctx, s.catalog.pool, t.ID, p.Of); err != nil {
					return catalogError("record whose copy it is", err)
				}
				return s.checkPlaces(ctx, t)
			}},
			{name: "copy", do: func(ctx context.Context) error { return s.copyFor(ctx, p, t) }, undo: drop},
			{name: "migrate", do: func(ctx context.Context) error { return s.migrateCopy(ctx, op, p, t) }},
			{name: "remove", do: drop},
		},
		commit: remove, rollback: remove,
	}
	g.firm, g.pivot = 3, len(g.steps)
	return g, nil
}

// copyFor copies the stores that are to be migrated.
func (s *Service) copyFor(ctx context.Context, p rehearseParams, t Tenant) error {
	for _, a := range each[Archiver](s) {
		if _, asked := p.Target[a.Kind()]; !asked {
			continue
		}
		if err := s.cloneInto(ctx, a, p.cloneParams, t); err != nil {
			return err
		}
	}
	return s.sameSource(ctx, p.cloneParams)
}

// migrateCopy migrates the copy and keeps what each file did with the operation, up to the one that failed.
func (s *Service) migrateCopy(ctx context.Context, op *Operation, p rehearseParams, t Tenant) error {
	kept := rehearsalKept{Files: []RehearsedFile{}}
	defer func() { op.Result = json.RawMessage(jsonText(kept)) }()
	for _, m := range each[Rehearser](s) {
		to, asked := p.Target[m.Kind()]
		if !asked {
			continue
		}
		err := m.Rehearse(ctx, t, to, p.OutOfOrder, func(f RehearsedFile) { kept.Files = append(kept.Files, f) })
		if err != nil {
			return err
		}
	}
	return nil
}

// endScratch takes away what killed operations of a kind have left that work in a tenant of their own: those that have
// to do with tenant of, or all where that is uuid.Nil.
func (s *Service) endScratch(ctx context.Context, kind string, of uuid.UUID) error {
	const doing = "look for interrupted operations"
	rows, err := s.catalog.pool.Query(ctx, `SELECT `+operationColumns+` FROM tenantctl.operations o
		WHERE o.kind = $1 AND o.state IN ('running', 'undoing', 'stuck') AND ($2 = '' OR o.params ->> 'of' = $2)`, kind, ofText(of))
	if err != nil {
		return catalogError(doing, err)
	}
	ops, err := pgx.CollectRows(rows, scanOperation)
	if err != nil {
		return catalogError(doing, err)
	}
	for _, op := range ops {
		if !s.catalog.dead(op) {
			continue
		}
		_, err := s.Abort(ctx, op.ID.String())
		if err == nil || errors.Is(err, ErrBusy) {
			continue
		}
		if now, lerr := s.catalog.oneOperation(ctx, "o.id = $1", op.ID); lerr != nil || now != nil && now.State.Live() {
			return errors.Join(err, lerr)
		} // else another process was faster
	}
	return nil
}

func ofText(of uuid.UUID) string {
	if of == uuid.Nil {
		return ""
	}
	return of.String()
}
