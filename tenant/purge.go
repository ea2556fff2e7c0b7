package tenant

import (
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

type purgeParams struct {
	Deletion
	Rows       map[string]int64 `json:"rows"`
	Backups    []uuid.UUID      `json:"backups"`
	AndBackups bool             `json:"and_backups"`
	Copies     []Name           `json:"copies"`                  // what restores had put aside, purged before it
	Due        bool             `json:"due,omitempty"`           // only if its time has come
	KeyGone    bool             `json:"key_destroyed,omitempty"` // written once it is
	KeyStore   uuid.UUID        `json:"key_store,omitzero"`      // the id of the store of backups to which that key belonged
	Leave      bool             `json:"leave,omitempty"`         // publications and subscriptions may lose the tenant's tables

	// Held tells that the tenant is held before its rows are counted and its copies purged; operations of earlier versions of
	// the program had done both before they were entered.
	Held bool `json:"held,omitempty"`
}

// Counter is a Resource that can count what a tenant has in it.
type Counter interface {
	Resource
	// Count tells exactly how many rows each table or collection holds; nothing where the place is not there.
	Count(ctx context.Context, t Tenant) (map[string]int64, error)
}

// DeletionRecord is what is kept of a tenant that was purged.
type DeletionRecord struct {
	Tenant    Tenant           `json:"tenant"`
	Stores    map[string]Stat  `json:"stores"` // what was there
	Rows      map[string]int64 `json:"rows"`   // counted, by "postgres/orders"
	DeletedAt time.Time        `json:"deleted_at"`
	By        string           `json:"by"`
	Origin    string           `json:"origin"`
	Operation uuid.UUID        `json:"operation"`
	Proof     string           `json:"proof"`   // how it was made sure that nothing is left
	Backups   []BackupLeft     `json:"backups"` // that still exist
	Removed   []uuid.UUID      `json:"backups_removed"`
	KeyGone   bool             `json:"key_destroyed"` // the tenant's own key: backups that were encrypted with it cannot be read any more
	Copies    []Name           `json:"copies"`        // what restores had put aside of it: each has its own record
}

// BackupLeft is a backup that outlives its tenant.
type BackupLeft struct {
	ID        uuid.UUID `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Location  string    `json:"location"`
	Encrypted bool      `json:"encrypted"`
	Readable  bool      `json:"readable"` // not where its key was destroyed
}

// PurgeRequest says what is to be purged beside the tenant.
type PurgeRequest struct {
	AndBackups bool // its backups and its own key too
	Due        bool // nothing, unless its time has come
	Leave      bool // publications and subscriptions may lose the tenant's tables

	ID uuid.UUID // the tenant that was confirmed; the zero UUID for whoever has the name
}

// Purge takes away for good what is left of a tenant: deleted, being deleted, or left by a create that failed. It holds the
// tenant, counts what there is, and drops it; what restores have put aside of it goes first. It proves that nothing is left,
// and keeps the record of it. Once something is dropped it only goes forward; after a crash the same call goes on.
func (s *Service) Purge(ctx context.Context, name Name, req PurgeRequest) (*Outcome, error) {
	t, err := s.purgeable(ctx, name, req.ID)
	if err != nil {
		return nil, err
	}
	out, err := s.purge(ctx, t, req)
	if errors.Is(err, errAgain) {
		req.ID = t.ID
		return s.Purge(ctx, name, req)
	}
	return out, err
}

// purge is Purge for a tenant that may be purged; errAgain says that it has changed since.
func (s *Service) purge(ctx context.Context, t Tenant, req PurgeRequest) (*Outcome, error) {
	if req.AndBackups {
		if _, err := s.vault(ctx); err != nil {
			return nil, err
		}
	}
	live, err := s.catalog.liveOperation(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	if live != nil && (t.State == Provisioning || t.State == Failed) && s.catalog.dead(live) && live.Kind != OpPurge {
		// What a dead create left is taken away by undoing it.
		op, err := s.Abort(ctx, live.ID.String())
		return &Outcome{Operation: op, Tenant: t}, err
	}
	hanging, err := s.purgeDependents(ctx, t)
	if err == nil {
		err = purgeableDependents(t, hanging, req.Leave)
	}
	if err != nil {
		return nil, err
	}
	was := purgeParams{
		Deletion: Deletion{Tenant: t}, Rows: map[string]int64{}, Backups: []uuid.UUID{}, Copies: []Name{},
		AndBackups: req.AndBackups, Due: req.Due, Leave: req.Leave, Held: true,
	}
	op, _, err := s.begin(ctx, intent{kind: OpPurge, tenant: &t, params: was})
	if err != nil {
		return nil, err
	}
	g, err := s.purgeSaga(op, t)
	if err == nil {
		err = s.run(ctx, op, g)
	}
	out := &Outcome{Operation: op, Tenant: t, Err: err}
	if n := outlive(op); err == nil && req.AndBackups && n > 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("%s in another place than backup.url names can still be read; see: tenantctl purge record %s -o json", Plural(n, "backup"), t.Name))
	}
	return out, err
}

// outlive counts the backups that a purge has left and that can be read.
func outlive(op *Operation) (n int) {
	var r DeletionRecord
	if json.Unmarshal(op.Result, &r) != nil {
		return 0 // it did not come to a record
	}
	for _, b := range r.Backups {
		if b.Readable {
			n++
		}
	}
	return n
}

// copies are what restores have put aside of a tenant.
func (s *Service) copies(ctx context.Context, t Tenant) ([]Tenant, error) {
	var q query
	q.and("t.of = " + q.arg(t.ID) + " AND t.state NOT IN ('active', 'suspended')")
	var all []Tenant
	for c, err := range s.catalog.tenants(ctx, &q) {
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// purgeDependents lists what depends on what a purge takes.
func (s *Service) purgeDependents(ctx context.Context, t Tenant) ([]Dependent, error) {
	copies, err := s.copies(ctx, t)
	if err != nil {
		return nil, err
	}
	var all []Dependent
	for _, c := range append(copies, t) {
		list, err := s.dependents(ctx, c)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	for _, d := range each[DependentLister](s) {
		if err := d.Elsewhere(ctx, t); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// purgeCopies purges what restores have put aside of a tenant, each as an operation of its own, and notes their names.
func (s *Service) purgeCopies(ctx context.Context, op *Operation, t Tenant, was *purgeParams) error {
	copies, err := s.copies(ctx, t)
	if err != nil {
		return err
	}
	for _, c := range copies {
		if !slices.Contains(was.Copies, c.Name) {
			was.Copies = append(was.Copies, c.Name)
			if err := s.keepParams(ctx, op, map[string]any{"copies": was.Copies}); err != nil {
				return err
			}
		}
		_, err := s.Purge(ctx, c.Name, PurgeRequest{Leave: was.Leave, AndBackups: was.AndBackups, ID: c.ID})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// keepParams adds to what the catalog keeps of an operation.
func (s *Service) keepParams(ctx context.Context, op *Operation, more any) error {
	var b pgx.Batch
	b.Queue(LeaseFrom(ctx).HoldSQL())
	b.Queue(`UPDATE tenantctl.operations SET params = params || $3::jsonb WHERE id = $1 AND fence = $2`, op.ID, op.Fence, jsonText(more))
	return catalogError("record what is to be purged", s.catalog.pool.SendBatch(ctx, &b).Close())
}

// count notes what a purge takes away, now that nobody else can change it.
func (s *Service) count(ctx context.Context, op *Operation, t Tenant, was *purgeParams) error {
	now, err := s.loss(ctx, t)
	if err != nil {
		return err
	}
	was.Stores, was.Rows, was.Backups = now.Stores, now.Rows, now.Backups
	if err := s.keepParams(ctx, op, map[string]any{"stores": was.Stores, "rows": was.Rows, "backups": was.Backups}); err != nil {
		return err
	}
	op.Params = json.RawMessage(jsonText(was))
	return nil
}

// loss is what a purge takes away, counted.
func (s *Service) loss(ctx context.Context, t Tenant) (purgeParams, error) {
	p := purgeParams{Rows: map[string]int64{}, Backups: []uuid.UUID{}}
	d, err := s.inventory(ctx, t)
	if err != nil {
		return p, err
	}
	p.Deletion = *d
	for _, c := range each[Counter](s) {
		if d.Stores[c.Kind()].Presence != Ours {
			continue
		}
		rows, err := c.Count(ctx, t)
		if err != nil {
			return p, err
		}
		for name, n := range rows {
			p.Rows[c.Kind()+"/"+name] = n
		}
	}
	var q query
	q.and("b.tenant_id = " + q.arg(t.ID))
	for b, err := range s.catalog.backups(ctx, &q, false) {
		if err != nil {
			return p, err
		}
		p.Backups = append(p.Backups, b.ID)
	}
	return p, nil
}

// PlanPurge tells what Purge would take away, and touches nothing.
func (s *Service) PlanPurge(ctx context.Context, name Name) (*Deletion, error) {
	t, err := s.purgeable(ctx, name, uuid.Nil)
	if err != nil {
		return nil, err
	}
	d, err := s.inventory(ctx, t)
	if err != nil {
		return nil, err
	}
	d.Dependents, err = s.purgeDependents(ctx, t)
	return d, err
}

// purgeable is the tenant that a purge would take, if it may; id is the one that was confirmed.
func (s *Service) purgeable(ctx context.Context, name Name, id uuid.UUID) (Tenant, error) {
	t, err := s.confirmed(ctx, name, id)
	switch {
	case err != nil:
		return t, err
	case t.State.Migrates():
		refusal := &Error{Kind: ErrInvalid, Tenant: name, Msg: fmt.Sprintf("is %s: purge is for what is deleted or was left by a failed create", t.State), Hint: "tenantctl delete " + string(name)}
		return t, s.catalog.instead(ctx, t, refusal)
	case t.Hold != "":
		return t, held(t)
	}
	if err := s.catalog.filling(ctx, t.ID); err != nil {
		return t, err
	}
	copies, err := s.copies(ctx, t)
	if err != nil {
		return t, err
	}
	for _, c := range copies { // one that may not go is found before anything is touched
		if c.Hold != "" {
			return t, held(c)
		}
		if err := s.catalog.filling(ctx, c.ID); err != nil {
			return t, err
		}
	}
	return t, nil
}

// confirmed is the tenant of a name, if it is the one that a person was asked about.
func (s *Service) confirmed(ctx context.Context, name Name, id uuid.UUID) (Tenant, error) {
	t, err := s.catalog.Get(ctx, name)
	if err == nil && id != uuid.Nil && t.ID != id {
		err = notConfirmed(name)
	}
	return t, err
}

func notConfirmed(name Name) error {
	return &Error{Kind: ErrBusy, Code: "not_confirmed", Tenant: name, Msg: "is another tenant now than the one that was confirmed", Hint: "tenantctl describe " + string(name) + "; then run the command again"}
}

// Due gives the deleted tenants whose purge_after has passed, and those whose purge was begun and nobody works on any more;
// those on hold are left out.
func (s *Service) Due(ctx context.Context) ([]Tenant, error) {
	var q query
	q.and("t.state = 'deleted' AND t.purge_after <= now() AND t.hold IS NULL OR EXISTS (SELECT FROM tenantctl.operations o WHERE o.tenant_id = t.id AND o.kind = 'purge' AND o.state IN ('running', 'undoing', 'stuck'))")
	var due []Tenant
	for t, err := range s.catalog.tenants(ctx, &q) {
		if err != nil {
			return nil, err
		}
		due = append(due, t)
	}
	var free []Tenant
	for _, t := range due {
		live, err := s.catalog.liveOperation(ctx, t.ID)
		if err != nil {
			return nil, err
		}
		if live == nil || live.Kind != OpPurge || s.catalog.dead(live) {
			free = append(free, t)
		}
	}
	return free, nil
}

func (s *Service) purgeSaga(op *Operation, t Tenant) (saga, error) {
	var was purgeParams
	if err := json.Unmarshal(op.Params, &was); err != nil {
		return saga{}, fmt.Errorf("read the operation's parameters: %w", err)
	}
	before := was.Tenant.State
	refused := op.Error != nil && op.Error.Code == codeNotOwned // in an earlier process
	g := saga{
		steps: []step{{
			name: "lock",
			do:   func(ctx context.Context) error { return s.lockForPurge(ctx, t, was) }, // it was locked before
		}, {
			name: "owned",
			do: func(ctx context.Context) error {
				err := s.allOwned(ctx, t)
				refused = Code(err) == codeNotOwned
				return err
			},
		}},
		commit: func(ctx context.Context, tx pgx.Tx) error {
			record, err := s.recordDeletion(ctx, tx, op, was)
			if err != nil {
				return err
			}
			op.Result = record
			if err := s.catalog.moveTenant(ctx, tx, t.ID, Deleting, Deleting); err != nil {
				return err
			}
			return s.catalog.remove(ctx, tx, t.ID, Deleting)
		},
		rollback: func(ctx context.Context, tx pgx.Tx) error {
			if refused {
				return nil // nothing is dropped, and the tenant is still to be deleted
			}
			_, err := s.catalog.moveBack(ctx, tx, t.ID, before, Deleting)
			return err
		},
	}
	if was.Held {
		g.steps = append(g.steps, step{name: "count", do: func(ctx context.Context) error { return s.count(ctx, op, t, &was) }})
	}
	g.pivot = len(g.steps)
	// In any store, before anything is dropped in the first one.
	g.steps = append(g.steps, step{name: "unused", do: func(ctx context.Context) error { return s.usedByNobody(ctx, t) }})
	if was.Held {
		g.steps = append(g.steps, step{name: "copies", do: func(ctx context.Context) error { return s.purgeCopies(ctx, op, t, &was) }})
	}
	for _, r := range s.reverse() {
		g.steps = append(g.steps, step{name: r.Kind(), do: func(ctx context.Context) error { return r.Drop(ctx, t) }})
	}
	g.steps = append(g.steps, step{name: "prove", do: func(ctx context.Context) error { return s.proveGone(ctx, t) }})
	if was.AndBackups {
		g.steps = append(g.steps, step{name: "backups", do: func(ctx context.Context) error { return s.removeBackups(ctx, op, t, &was) }})
	}
	return g, nil
}

func (s *Service) lockForPurge(ctx context.Context, t Tenant, was purgeParams) error {
	err := s.catalog.inTx(ctx, "record that the tenant is being deleted", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, LeaseFrom(ctx).HoldSQL()); err != nil {
			return err
		}
		// What was looked at before the operation held the tenant may not be so any more.
		tag, err := tx.Exec(ctx, `UPDATE tenantctl.tenants SET state = 'deleting', updated_at = now()
			WHERE id = $1 AND hold IS NULL AND (state = 'deleting' OR state = $2 AND (NOT $3 OR purge_after <= now()))`, t.ID, string(was.Tenant.State), was.Due)
		if err == nil && tag.RowsAffected() == 0 {
			return &Error{Kind: ErrBusy, Tenant: t.Name, Msg: "was changed by somebody else meanwhile", Hint: "tenantctl describe " + string(t.Name)}
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.lock(ctx, t)
}

// removeBackups takes a tenant's backups away, and destroys its own key, which it notes: what a store refuses to remove
// cannot be read then, where it was encrypted with that key.
func (s *Service) removeBackups(ctx context.Context, op *Operation, t Tenant, was *purgeParams) error {
	v, err := s.vault(ctx)
	if err != nil {
		return err
	}
	gone, keyErr := v.DropKey(ctx, t.ID)
	if keyErr != nil {
		return keyErr
	}
	if gone {
		was.KeyGone, was.KeyStore = true, v.ID()
		if err := s.keepParams(ctx, op, map[string]any{"key_destroyed": true, "key_store": was.KeyStore}); err != nil {
			return err
		}
	}
	elsewhere := map[uuid.UUID]bool{} // also where this store has a copy of it
	var q query
	q.and("b.tenant_id = " + q.arg(t.ID))
	for b, err := range s.catalog.backups(ctx, &q, false) {
		if err != nil {
			return err
		}
		elsewhere[b.ID] = !b.in(v)
	}
	var failed error
	for st, err := range v.List(ctx, t.ID) {
		if err == nil {
			err = v.Remove(ctx, st.Tenant, st.ID)
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if elsewhere[st.ID] {
			continue
		}
		if err := s.catalog.forgetBackup(ctx, st.ID); err != nil {
			return err
		}
	}
	if was.KeyGone {
		return nil
	}
	return failed
}

// recordDeletion writes what was there and what still is.
func (s *Service) recordDeletion(ctx context.Context, tx pgx.Tx, op *Operation, was purgeParams) (json.RawMessage, error) {
	r := DeletionRecord{
		Tenant: was.Tenant, Stores: was.Stores, DeletedAt: time.Now().UTC(), By: op.Actor, Origin: s.catalog.self.Label(), Operation: op.ID,
		Rows: was.Rows, Proof: "each store was asked for everything under the tenant's names after the last drop, and has nothing", Backups: []BackupLeft{}, Removed: []uuid.UUID{},
	}
	rows, err := tx.Query(ctx, `SELECT `+backupColumns+` FROM tenantctl.backups b WHERE b.tenant_id = $1 ORDER BY b.created_at`, was.Tenant.ID)
	if err != nil {
		return nil, err
	}
	left, err := pgx.CollectRows(rows, scanBackup)
	if err != nil {
		return nil, err
	}
	still := map[uuid.UUID]bool{}
	for _, b := range left {
		still[b.ID] = true
		r.Backups = append(r.Backups, BackupLeft{b.ID, b.CreatedAt, b.Location, b.Encrypted, !was.destroyed(b)})
	}
	for _, id := range was.Backups {
		if !still[id] {
			r.Removed = append(r.Removed, id)
		}
	}
	r.KeyGone, r.Copies = was.KeyGone, was.Copies
	text := json.RawMessage(jsonText(r))
	_, err = tx.Exec(ctx, `INSERT INTO tenantctl.deletions (operation_id, tenant_id, tenant_name, record) VALUES ($1, $2, $3, $4::jsonb) ON CONFLICT DO NOTHING`,
		op.ID, was.Tenant.ID, string(was.Tenant.Name), string(text))
	return text, err
}

// destroyed tells that nobody can read a backup any more: its key is gone, and was not that of another store.
func (p *purgeParams) destroyed(b *Backup) bool {
	return p.KeyGone && b.OwnKey && (b.Store == uuid.Nil || b.Store == p.KeyStore)
}

// HintNotOwned is the fix where something under a tenant's names does not bear its ownership tag.
const HintNotOwned = "where it is this tenant's: tenantctl verify --fix NAME gives the tag back; where it is not: give it another name; then run the same command again"

// codeNotOwned says that something bears no tag of the tenant: the tenant stays one that is to be deleted.
const codeNotOwned = "not_ours"

// allOwned refuses, before anything is dropped in any store, to delete a tenant under whose names there is something that does
// not bear its ownership tag.
func (s *Service) allOwned(ctx context.Context, t Tenant) error {
	var left []string
	for _, r := range s.resources {
		st, err := r.Stat(ctx, t)
		if err != nil {
			return err
		}
		for _, part := range st.NotOwned {
			left = append(left, r.Kind()+": "+part)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return &Error{
		Kind: ErrStuck, Code: codeNotOwned, Tenant: t.Name, Msg: fmt.Sprintf("is not deleted, nothing was dropped: %s is left, and does not bear the tenant's ownership tag", list(left)),
		Hint: strings.ReplaceAll(HintNotOwned, "NAME", string(t.Name)),
	}
}

// usedByNobody refuses to drop what other tenants, or objects that are nobody's, depend on.
func (s *Service) usedByNobody(ctx context.Context, t Tenant) error {
	for _, d := range each[DependentLister](s) {
		deps, err := d.Dependents(ctx, t)
		if err != nil {
			return err
		}
		if len(deps) == 0 {
			continue
		}
		names := map[string]Name{}
		var q query
		for o, err := range s.catalog.tenants(ctx, &q) {
			if err != nil {
				return err
			}
			names[o.Schema] = o.Name
		}
		if err := UsedOutside(d.Kind(), "schema "+t.Schema, deps, func(schema string) Name { return names[schema] }); err != nil {
			return err
		}
	}
	return nil
}

// proveGone looks once more, in every store, for anything under the tenant's names.
func (s *Service) proveGone(ctx context.Context, t Tenant) error {
	for _, r := range s.resources {
		st, err := r.Stat(ctx, t)
		if err != nil {
			return err
		}
		if st.Presence != Absent || len(st.Remains) > 0 {
			return &Error{Kind: ErrDiffers, Store: r.Kind(), Msg: fmt.Sprintf("%s is still there after the drop", list(st.Remains)), Hint: "somebody made it anew; see who is connected"}
		}
	}
	return nil
}

// deletionOf reads what a delete wrote down before it began.
func deletionOf(op *Operation) (*Deletion, error) {
	var d Deletion
	if err := json.Unmarshal(op.Params, &d); err != nil {
		return nil, fmt.Errorf("read the operation's parameters: %w", err)
	}
	return &d, nil
}

// removed is the short record of a deletion for the audit: by store what there was, how many tables or collections, and
// how many bytes.
func removed(op *Operation) any {
	d, err := deletionOf(op)
	if err != nil {
		return op.Params
	}
	type loss struct {
		Places  []string `json:"places"`
		Objects int64    `json:"objects"`
		Bytes   int64    `json:"bytes"`
	}
	out := map[string]loss{}
	for kind, st := range d.Stores {
		if st.Presence == Ours {
			out[kind] = loss{st.Remains, st.Objects, st.Bytes}
		}
	}
	return out
}
