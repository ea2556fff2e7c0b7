package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Deletion is what a delete takes away, for the confirmation before it and the record after it.
type Deletion struct {
	Tenant Tenant          `json:"tenant"`
	Stores map[string]Stat `json:"stores"`

	// Dependents are outside the tenant's schema and depend on what a purge would take.
	Dependents []Dependent `json:"dependents,omitempty"`
}

// Refusal tells why a purge would be refused because of dependents, nil where it would not.
func (d *Deletion) Refusal(leave bool) error {
	return purgeableDependents(d.Tenant, d.Dependents, leave)
}

// Inventory tells what there is of a tenant, and touches nothing.
func (s *Service) Inventory(ctx context.Context, name Name) (*Deletion, error) {
	t, err := s.catalog.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.inventory(ctx, t)
}

func (s *Service) inventory(ctx context.Context, t Tenant) (*Deletion, error) {
	d := &Deletion{Tenant: t, Stores: map[string]Stat{}}
	for _, r := range s.resources {
		st, err := r.Stat(ctx, t)
		if err != nil {
			return nil, WithTenant(err, t.Name)
		}
		d.Stores[r.Kind()] = st
	}
	return d, nil
}

// DeleteRequest says how a tenant is to be deleted.
type DeleteRequest struct {
	NoBackup bool
	Now      bool // purge it at once

	ID uuid.UUID // the tenant that was confirmed; the zero UUID for whoever has the name
}

type deleteParams struct {
	Before State `json:"before"`
	Backup bool  `json:"backup"`
}

// Delete locks a tenant's users out, backs it up, and keeps everything in place until purge_after, when Purge may take
// it. What a create has left is purged at once. Deleted already is success.
func (s *Service) Delete(ctx context.Context, name Name, req DeleteRequest) (*Outcome, error) {
	t, err := s.PlanDeletion(ctx, name, req)
	if err != nil {
		return nil, err
	}
	if leftover(t.State) {
		if t, err = s.purgeable(ctx, name, t.ID); err != nil {
			return nil, err
		}
		out, err := s.purge(ctx, t, PurgeRequest{})
		if errors.Is(err, errAgain) { // such as a create that has come to its end
			req.ID = t.ID
			return s.Delete(ctx, name, req)
		}
		return out, err
	}
	out := &Outcome{Tenant: t}
	if t.State != Deleted {
		out, err = s.softDelete(ctx, t, req)
	}
	if err != nil || !req.Now {
		return out, err
	}
	return s.Purge(ctx, out.Tenant.Name, PurgeRequest{ID: t.ID})
}

// PlanDeletion gives the tenant that Delete would take, or refuses as Delete would, and touches nothing.
func (s *Service) PlanDeletion(ctx context.Context, name Name, req DeleteRequest) (Tenant, error) {
	t, err := s.confirmed(ctx, name, req.ID)
	switch {
	case err != nil:
		return t, err
	case req.Now && t.Hold != "":
		return t, held(t)
	case !req.NoBackup && s.Vault == nil && !leftover(t.State) && t.State != Deleted:
		return t, &Error{
			Kind: ErrInvalid, Tenant: name, Msg: "there is no place for the backup that a delete takes first",
			Hint: "set backup.url in the configuration, or add --no-backup",
		}
	}
	if req.Now || leftover(t.State) {
		hanging, err := s.purgeDependents(ctx, t)
		if err == nil {
			err = purgeableDependents(t, hanging, false)
		}
		if err != nil {
			return t, err
		}
	}
	if !req.NoBackup && t.State.Migrates() {
		_, err = s.vault(ctx) // a place that cannot be opened is found before the users are locked out
	}
	return t, err
}

// leftover tells that a tenant in this state is no whole tenant: there is nothing to keep.
func leftover(st State) bool { return st == Provisioning || st == Failed || st == Deleting }

func held(t Tenant) error {
	return &Error{
		Kind: ErrInvalid, Code: "on_hold", Tenant: t.Name, Msg: "is on hold: " + t.Hold,
		Hint: fmt.Sprintf("tenantctl set %s --no-hold, when that is right", t.Name),
	}
}

// beingDeleted is why a tenant's requests are refused while it is locked and backed up.
const beingDeleted = "it is being deleted"

func (s *Service) softDelete(ctx context.Context, t Tenant, req DeleteRequest) (*Outcome, error) {
	op, _, err := s.begin(ctx, intent{
		kind: OpDelete, tenant: &t, params: deleteParams{t.State, !req.NoBackup}, gate: gateClosing, reason: beingDeleted,
	})
	if errors.Is(err, errAgain) {
		req.ID = t.ID
		return s.Delete(ctx, t.Name, req)
	}
	if err != nil {
		return nil, err
	}
	g, err := s.deleteSaga(op, t)
	if err == nil {
		err = s.run(ctx, op, g)
	}
	if err != nil {
		return &Outcome{Operation: op, Tenant: t, Err: err}, err
	}
	t, err = s.asEnded(ctx, t)
	return &Outcome{Operation: op, Tenant: t}, err
}

func (s *Service) deleteSaga(op *Operation, t Tenant) (saga, error) {
	var p deleteParams
	if err := json.Unmarshal(op.Params, &p); err != nil {
		return saga{}, fmt.Errorf("read the operation's parameters: %w", err)
	}
	g := saga{steps: []step{s.gateStep(op, gateClosing, beingDeleted), {
		name: "lock",
		do: func(ctx context.Context) error {
			if !p.Backup {
				if err := s.warnObjectsUnsaved(ctx, t); err != nil && !nobody(err) {
					return err
				}
			}
			return s.lock(ctx, t)
		},
		undo: func(ctx context.Context) error { return s.unlock(ctx, t, p.Before) },
	}}}
	var made *Backup
	if p.Backup {
		dump := s.dumpStep(op, t, backupParams{Quiesce: true}, &made)
		write := dump.do
		dump.do = func(ctx context.Context) error {
			err := write(ctx)
			var e *Error
			if errors.Is(err, ErrMissing) && errors.As(err, &e) {
				lost := *e
				lost.Hint = "add --no-backup to delete what is left of it"
				return &lost
			}
			return err
		}
		g.steps = append(g.steps, dump)
	}
	g.pivot = len(g.steps)
	g.commit = func(ctx context.Context, tx pgx.Tx) error {
		if p.Backup {
			if err := s.recordBackup(ctx, tx, op, t, &made); err != nil {
				return err
			}
		}
		if err := s.catalog.moveTenant(ctx, tx, t.ID, Deleted, p.Before); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE tenantctl.tenants SET deleted_from = $2, purge_after = now() + $3::interval WHERE id = $1`, t.ID, string(p.Before), interval(s.KeepDeleted))
		return err
	}
	return g, nil
}

// Undelete puts a deleted tenant back as it was, while its time has not run out. Not deleted at all is success.
func (s *Service) Undelete(ctx context.Context, name Name) (*Outcome, error) {
	t, change, err := s.PlanUndelete(ctx, name)
	if err != nil || !change {
		return &Outcome{Tenant: t, Err: err}, err
	}
	op, _, err := s.begin(ctx, intent{kind: OpUndelete, tenant: &t, params: struct{}{}})
	if errors.Is(err, errAgain) {
		return s.Undelete(ctx, name)
	}
	if err != nil {
		return nil, err
	}
	if err := s.run(ctx, op, s.undeleteSaga(t)); err != nil {
		return &Outcome{Operation: op, Tenant: t, Err: err}, err
	}
	t, err = s.asEnded(ctx, t)
	return &Outcome{Operation: op, Tenant: t}, err
}

// PlanUndelete tells whether Undelete would change anything, and touches nothing.
func (s *Service) PlanUndelete(ctx context.Context, name Name) (t Tenant, change bool, err error) {
	t, err = s.catalog.Get(ctx, name)
	switch {
	case err != nil:
		return t, false, err
	case t.State.Migrates():
		live, err := s.catalog.liveOperation(ctx, t.ID)
		return t, live != nil && live.Kind == OpUndelete, err
	case t.State == Deleted && t.deletedFrom == "":
		return t, false, &Error{Kind: ErrInvalid, Tenant: name, Msg: "is a part of a backup, and no whole tenant", Hint: "copy what you need from it, then: tenantctl purge " + string(name)}
	case t.State == Deleted:
		return t, true, s.catalog.filling(ctx, t.ID)
	}
	refusal := &Error{Kind: ErrInvalid, Tenant: name, Msg: fmt.Sprintf("cannot undelete it while it is %s", t.State), Hint: "tenantctl describe " + string(name)}
	return t, false, s.catalog.instead(ctx, t, refusal)
}

func (s *Service) undeleteSaga(t Tenant) saga {
	before := t.deletedFrom
	g := saga{
		commit: func(ctx context.Context, tx pgx.Tx) error {
			if err := s.catalog.moveTenant(ctx, tx, t.ID, before, Deleted); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `UPDATE tenantctl.tenants SET deleted_from = NULL, purge_after = NULL WHERE id = $1`, t.ID)
			return err
		},
	}
	for _, a := range each[Archiver](s) {
		if before != Active {
			continue // it was locked before it was deleted
		}
		g.steps = append(g.steps, step{
			name: a.Kind(),
			do:   func(ctx context.Context) error { return a.Revive(ctx, t) },
			undo: func(ctx context.Context) error {
				l, ok := a.(Locker)
				if !ok {
					return nil
				}
				if _, err := l.Lock(ctx, t); err != nil && !nobody(err) {
					return err
				}
				return nil
			},
		})
	}
	g.pivot = len(g.steps)
	return g
}

// lock locks a tenant's users out of every store, where there are any.
// It warns of where nobody was locked out: what is not the tenant's, and where it has no user of its own.
func (s *Service) lock(ctx context.Context, t Tenant) error {
	for _, l := range each[Locker](s) {
		enforced, err := l.Lock(ctx, t)
		switch {
		case err != nil && !nobody(err):
			return err
		case errors.Is(err, ErrForeign):
			s.warn(fmt.Sprintf("%v: nobody was locked out there", WithTenant(err, t.Name)))
		case err == nil && !enforced:
			s.warn(fmt.Sprintf("tenant %s: %s", t.Name, notLockedOut(l)))
		}
	}
	return nil
}

// nobody tells that there is nobody to lock out: the place is gone, or somebody else's.
func nobody(err error) bool { return errors.Is(err, ErrMissing) || errors.Is(err, ErrForeign) }

// unlock gives a tenant back what a lock took, unless it was locked before.
func (s *Service) unlock(ctx context.Context, t Tenant, before State) error {
	if before != Active {
		return nil
	}
	for _, l := range each[Locker](s) {
		if err := l.Unlock(ctx, t); err != nil && !nobody(err) {
			return err
		}
	}
	return nil
}
