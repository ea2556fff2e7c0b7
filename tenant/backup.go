package tenant

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// dumpParallel is how many tables or collections of one tenant are read or loaded at once.
const dumpParallel = 2

// BackupRequest asks for backups.
type BackupRequest struct {
	Selection Selection
	Only      string // one kind of store; empty for a whole backup
	Quiesce   bool   // lock the tenant's users out for the time of both snapshots
}

type backupParams struct {
	Quiesce bool   `json:"quiesce"`
	Only    string `json:"only,omitempty"`
}

// vault opens the place of backups at the first call.
func (s *Service) vault(ctx context.Context) (Vault, error) {
	if s.Vault == nil {
		return nil, noVault()
	}
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.opened == nil {
		v, err := s.Vault(ctx)
		if err != nil {
			return nil, err
		}
		s.opened = v
	}
	return s.opened, nil
}

func noVault() error {
	return Invalid("set backup.url in the configuration, such as file:///srv/backups or s3://bucket", "there is no place for backups")
}

// archivers gives the stores, all of which must be able to write and read backups; only names one of them, or none.
func (s *Service) archivers(only string) ([]Archiver, error) {
	as := each[Archiver](s)
	if len(as) != len(s.resources) {
		return nil, &Error{Kind: ErrUnsupported, Msg: "a store here can be neither backed up nor restored"}
	}
	if only == "" {
		return as, nil
	}
	if a := s.archiver(only); a != nil {
		return []Archiver{a}, nil
	}
	return nil, Invalid("choose one of: postgres, mongodb", "there is no store %s here", shorten(only))
}

// archiver is the store of that kind, or nil.
func (s *Service) archiver(kind string) Archiver {
	for _, a := range each[Archiver](s) {
		if a.Kind() == kind {
			return a
		}
	}
	return nil
}

// PlanBackup gives the tenants that a backup would be made of, and touches nothing.
func (s *Service) PlanBackup(ctx context.Context, req BackupRequest) ([]Tenant, error) {
	if s.Vault == nil {
		return nil, noVault()
	}
	if _, err := s.archivers(req.Only); err != nil {
		return nil, err
	}
	if err := s.catalog.workable(ctx, req.Selection); err != nil {
		return nil, err
	}
	var out []Tenant
	for t, err := range s.catalog.tenants(ctx, s.selectMigrating(req.Selection)) {
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// Backup writes one archive for each of the selected tenants, both stores in it or the one that is asked for. The set is frozen at the start; each
// tenant is one operation; what was made is given to sink, one at a time.
func (s *Service) Backup(ctx context.Context, req BackupRequest, opts RunOptions, sink func(*Backup)) (*RunResult, error) {
	if s.Vault == nil {
		return nil, noVault()
	}
	if err := s.runnable(ctx, req.Selection, opts); err != nil {
		return nil, err
	}
	if _, err := s.archivers(req.Only); err != nil {
		return nil, err
	}
	if _, err := s.vault(ctx); err != nil {
		return nil, err
	}
	var run *Operation
	var err error
	if opts.Resume != "" {
		if run, err = s.resumeRun(ctx, OpBackup, &opts); err != nil {
			return nil, err
		}
		var p backupParams
		if err := json.Unmarshal(run.Params, &p); err != nil {
			return nil, fmt.Errorf("read the run's parameters: %w", err)
		}
		req.Quiesce, req.Only = p.Quiesce, p.Only
	} else {
		if err := s.closeDead(ctx, req.Selection, true); err != nil {
			return nil, err
		}
		params := backupParams{req.Quiesce, req.Only}
		first, err := s.canaries(ctx, s.selectMigrating(req.Selection), opts.Rollout)
		if err != nil {
			return nil, err
		}
		run, err = s.startRun(ctx, OpBackup, runParams{"quiesce": req.Quiesce, "only": req.Only}, opts.Rollout, first, func(ctx context.Context, tx pgx.Tx, run uuid.UUID) error {
			_, err := s.enterChildren(ctx, tx, run, OpBackup, params, s.selectMigrating(req.Selection))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	made := make(chan *Backup)
	sunk := make(chan struct{})
	go func() {
		defer close(sunk)
		for b := range made {
			sink(b)
		}
	}()
	result, err := s.fleet(ctx, run, 0, opts, nil, func(ctx context.Context, child *Operation) (bool, error) {
		var b *Backup
		err := s.sagaChild(ctx, run, child, func(op *Operation, t Tenant) saga {
			return s.backupSaga(op, t, backupParams{req.Quiesce, req.Only}, &b)
		})
		if err == nil {
			made <- b
		}
		return err == nil, err
	})
	close(made)
	<-sunk
	if err != nil {
		return nil, err
	}
	result.unrecorded = s.endRun(ctx, run, result)
	return result, nil
}

// sagaChild brings one tenant's part of a run to its end by a saga. Where a process died on it, what restarts is started
// anew, and the rest is gone on with.
func (s *Service) sagaChild(ctx context.Context, run, child *Operation, build func(*Operation, Tenant) saga) error {
	if child.State == OpPending || child.restartable() {
		t, err := s.claimChild(ctx, run, child)
		if err != nil {
			return err
		}
		return s.run(ctx, child, build(child, t))
	}
	op, err := s.catalog.yield(ctx, child, child.Kind)
	if err != nil {
		return WithTenant(err, child.Tenant)
	}
	t, err := s.catalog.byID(ctx, *op.TenantID, op.Tenant)
	if err != nil {
		return err
	}
	*child = *op
	return s.run(ctx, child, build(child, t))
}

// attemptID names what this attempt at an operation makes: a process that was taken over and comes back late writes
// beside its successor's, never over it.
func attemptID(op *Operation) uuid.UUID { return attempts(op)[0] }

// attempts names what each attempt at an operation makes, newest first.
func attempts(op *Operation) []uuid.UUID {
	var ids []uuid.UUID
	for n := op.Fence; n >= 1; n-- {
		id := op.ID
		binary.BigEndian.PutUint16(id[14:], binary.BigEndian.Uint16(id[14:])+uint16(n-1))
		ids = append(ids, id)
	}
	return ids
}

// backupSaga dumps a tenant under op. made is what it made, once it is done.
func (s *Service) backupSaga(op *Operation, t Tenant, p backupParams, made **Backup) saga {
	var g saga
	lock := func(ctx context.Context) error {
		for _, l := range each[Locker](s) {
			if _, err := l.Lock(ctx, t); err != nil {
				return err
			}
		}
		return nil
	}
	unlock := func(ctx context.Context) error { return s.unlock(ctx, t, t.State) }
	if p.Quiesce {
		g.steps = append(g.steps, s.gateStep(op, gateMoving, "it is being backed up"), step{name: "lock", do: lock, undo: unlock})
	}
	g.steps = append(g.steps, s.dumpStep(op, t, p, made))
	if p.Quiesce {
		g.steps = append(g.steps, step{name: "unlock", do: unlock})
	}
	g.pivot = len(g.steps)
	g.commit = func(ctx context.Context, tx pgx.Tx) error { return s.recordBackup(ctx, tx, op, t, made) }
	return g
}

// dumpStep writes the archive.
func (s *Service) dumpStep(op *Operation, t Tenant, p backupParams, made **Backup) step {
	return step{
		name: "dump",
		do: func(ctx context.Context) (err error) {
			if err := s.warnObjectsLeft(ctx, t); err != nil {
				return err
			}
			*made, err = s.dump(ctx, op, t, p)
			return err
		},
		undo: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, undoTimeout/2) // the rest is for the steps before it
			defer cancel()
			// Users are not kept out because a store is gone; what it holds is no backup, or a whole one that a scan finds.
			if err := s.removeAttempts(ctx, op, t); err != nil {
				s.log.Warn("what the backup wrote is left for backup prune", "tenant", t.Name, "error", err)
			}
			return nil
		},
	}
}

// removeAttempts takes away what every attempt at a backup wrote.
func (s *Service) removeAttempts(ctx context.Context, op *Operation, t Tenant) error {
	v, err := s.vault(ctx)
	if err != nil {
		return err
	}
	for _, id := range attempts(op) {
		if err := v.Remove(ctx, t.ID, id); err != nil {
			return err
		}
	}
	return nil
}

// recordBackup enters what dumpStep made into the catalog, and keeps it as the operation's result. An operation that was
// resumed after it finds it in the vault.
func (s *Service) recordBackup(ctx context.Context, tx pgx.Tx, op *Operation, t Tenant, made **Backup) error {
	if *made == nil {
		v, err := s.vault(ctx)
		if err != nil {
			return err
		}
		for _, id := range attempts(op) {
			if *made, err = v.Open(ctx, t.ID, id); !errors.Is(err, ErrNotFound) {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	b := **made
	op.Result = json.RawMessage(jsonText(map[string]any{"backup": b.ID, "location": b.Location, "size": b.Size, "skew_ms": b.SkewMS}))
	return s.catalog.addBackup(ctx, tx, &b)
}

// dump writes the stores of a tenant into a new archive.
func (s *Service) dump(ctx context.Context, op *Operation, t Tenant, p backupParams) (*Backup, error) {
	v, err := s.vault(ctx)
	if err != nil {
		return nil, err
	}
	stores, err := s.archivers(p.Only)
	if err != nil {
		return nil, err
	}
	about, err := s.about(ctx, t)
	if err != nil {
		return nil, err
	}
	now, err := s.catalog.now(ctx)
	if err != nil {
		return nil, err
	}
	b := &Backup{
		ID: attemptID(op), Tenant: t.Name, TenantID: t.ID, CreatedAt: now,
		Versions: map[string]int64{}, Stores: map[string]Dumped{}, Only: p.Only, Quiesced: p.Quiesce,
		Labels: t.Labels, Domains: t.Domains, Tool: s.Tool,
	}
	for _, id := range attempts(op)[1:] { // a dead process's
		made, err := v.Open(ctx, t.ID, id)
		if err == nil {
			return made, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if err := v.Remove(ctx, t.ID, id); err != nil {
			return nil, err
		}
	}
	// The upload is cancelled, not finished, where a store fails.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := v.Create(ctx, b, about)
	if err != nil {
		return nil, err
	}
	defer w.Abandon()
	dumped := make([]Dumped, len(stores))
	work, inner := NewGroup(ctx)
	for i, a := range stores {
		work.Go(func() (err error) {
			dumped[i], err = a.Dump(inner, t, w, DumpOptions{Parallel: dumpParallel})
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	for i, a := range stores {
		b.Stores[a.Kind()], b.Versions[a.Kind()] = dumped[i], dumped[i].Version
	}
	b.SkewMS = skew(dumped).Milliseconds()
	if err := LeaseFrom(ctx).Check(ctx); err != nil {
		return nil, err
	}
	if err := s.point(ctx, op.Kind, "dump", "written"); err != nil {
		return nil, err
	}
	if err := w.Commit(ctx, b); err != nil {
		return nil, err
	}
	return b, nil
}

// about is how many bytes a backup may take: somewhat more than the last one, or what PostgreSQL holds. MongoDB is not
// asked, which looks at every tenant's database for it.
func (s *Service) about(ctx context.Context, t Tenant) (int64, error) {
	last, err := s.catalog.lastBackup(ctx, t.ID)
	if err != nil {
		return 0, err
	}
	if last != nil {
		return 4 * last.Size, nil
	}
	a := s.archiver(KindPostgres)
	if a == nil {
		return 0, nil
	}
	st, err := a.Stat(ctx, t)
	return st.Bytes, err
}

// skew is how far apart in time the stores were read.
func skew(ds []Dumped) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	first, last := ds[0].From, ds[0].Until
	for _, d := range ds {
		if d.From.Before(first) {
			first = d.From
		}
		if d.Until.After(last) {
			last = d.Until
		}
	}
	return last.Sub(first)
}

// adopt enters what a dead backup finished into the catalog, and removes what it did not.
func (s *Service) adopt(ctx context.Context, op *Operation) error {
	if s.Vault == nil || op.TenantID == nil {
		return nil
	}
	v, err := s.vault(ctx)
	if err != nil {
		return err
	}
	for _, id := range attempts(op) {
		b, err := v.Open(ctx, *op.TenantID, id)
		switch {
		case errors.Is(err, ErrNotFound):
			err = v.Remove(ctx, *op.TenantID, id)
		case err == nil:
			err = catalogError("enter the backup", s.catalog.addBackup(ctx, s.catalog.pool, b))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// claimChild makes a child of a run this process's: one that is pending, or a dead one's that is simply run again.
func (s *Service) claimChild(ctx context.Context, run, child *Operation) (Tenant, error) {
	if child.claimed != nil {
		return *child.claimed, nil
	}
	if child.State != OpPending {
		if _, err := s.catalog.yield(ctx, child, ""); err != nil {
			return Tenant{}, err
		}
		if err := s.catalog.reopen(ctx, child); err != nil {
			return Tenant{}, err
		}
	}
	t, err := s.catalog.claim(ctx, run, child)
	switch {
	case err == nil || errors.Is(err, errRunLost):
		return t, err
	case errors.Is(err, ErrUnreachable):
		return t, &catalogAway{err}
	}
	return t, errors.Join(WithTenant(err, child.Tenant), s.catalog.failPending(ctx, child, err))
}
