package tenant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// switchSaga fills the place beside t, and exchanges the two. The exchange is one transaction: before it everything is
// taken back, after it everything goes forward.
func (s *Service) switchSaga(op *Operation, t, beside Tenant, p restoreParams, n *notes) saga {
	g := saga{
		steps: []step{
			{name: "place", do: func(ctx context.Context) error { return s.mend(ctx, t) }},
			s.loadStep(beside, p, t.Role, false, n),
			{name: "migrate", do: func(ctx context.Context) error { return s.migrateLoaded(ctx, beside) }},
			s.gateStep(op, gateMoving, "it is being restored"),
			{name: "lock", do: func(ctx context.Context) error { return s.lock(ctx, t) }, undo: func(ctx context.Context) error { return s.unlock(ctx, t, t.State) }},
			{
				name: "switch",
				do:   func(ctx context.Context) error { return s.exchangePatiently(ctx, t, beside, p.DependentPolicy, n) },
				undo: func(ctx context.Context) error { // the server may have committed what it could not say it had
					switched, err := s.catalog.switched(ctx, s.catalog.pool, beside.ID)
					if err == nil && switched {
						err = &Error{Kind: ErrStuck, Tenant: t.Name, Msg: "the restored data is in place already", Hint: "tenantctl ops list shows the operation to resume"}
					}
					return err
				},
			},
			{name: "settle", do: func(ctx context.Context) error { return s.settle(ctx, t, beside, n) }},
		},
		pivot: 6, firm: 5,
	}
	g.rollback = func(ctx context.Context, tx pgx.Tx) error { return s.catalog.remove(ctx, tx, beside.ID, Provisioning) }
	g.commit = func(context.Context, pgx.Tx) error {
		op.Result = restoreResult(p, beside.Name)
		return nil
	}
	return g
}

// mend makes an empty place where a tenant's own was lost, so that there is one to exchange.
func (s *Service) mend(ctx context.Context, t Tenant) error {
	for _, m := range each[Migrator](s) {
		versions, err := m.Versions(ctx, []Tenant{t})
		if err != nil {
			return err
		}
		if versions[0].Presence == Absent {
			if err := m.Create(ctx, t); err != nil {
				return err
			}
		}
		a, ok := m.(Archiver)
		if !ok {
			continue
		}
		st, err := m.Stat(ctx, t)
		if err != nil {
			return err
		}
		if len(st.Users) > 0 || t.State != Active {
			continue
		}
		if err := a.Revive(ctx, t); err != nil { // its role was lost
			return err
		}
	}
	return nil
}

// switched tells whether the exchange with a place beside has been made. It waits for one that is being committed.
func (c *Catalog) switched(ctx context.Context, tx DB, beside uuid.UUID) (bool, error) {
	var state State
	err := tx.QueryRow(ctx, `SELECT state FROM tenantctl.tenants WHERE id = $1 FOR UPDATE`, beside).Scan(&state)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, &Error{Kind: ErrMissing, Msg: "the place that was filled is gone from the catalog", Hint: "somebody purged it; run the restore again"}
	}
	return state != Provisioning, err
}

// exchangeTries is how often the exchange is tried where live traffic holds what depends on the tenant's tables.
const exchangeTries = 5

// exchangePatiently is exchange that waits for live traffic: a restore is long, and this is its end.
func (s *Service) exchangePatiently(ctx context.Context, t, beside Tenant, p DependentPolicy, n *notes) error {
	for try := 1; ; try++ {
		err := s.exchange(ctx, t, beside, p, n)
		if try == exchangeTries || !errors.Is(err, ErrLocked) {
			return err
		}
		select {
		case <-time.After(time.Duration(try) * time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

// exchange gives the filled place to t, and t's to beside, which is kept like a deleted tenant from then on.
func (s *Service) exchange(ctx context.Context, t, beside Tenant, p DependentPolicy, n *notes) error {
	return s.catalog.inTx(ctx, "exchange the tenant's places", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, LeaseFrom(ctx).HoldSQL()); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT FROM tenantctl.tenants WHERE id IN ($1, $2) FOR UPDATE`, t.ID, beside.ID); err != nil {
			return err
		}
		done, err := s.catalog.switched(ctx, tx, beside.ID)
		if err != nil || done {
			return err
		}
		if err := s.catalog.exchangeNames(ctx, tx, t, beside); err != nil {
			return err
		}
		if err := s.putAside(ctx, tx, beside.ID, Active); err != nil {
			return err
		}
		// What applications keep in Redis of the data that is replaced is not looked at any more.
		if _, err := tx.Exec(ctx, `UPDATE tenantctl.tenants SET generation = DEFAULT WHERE id = $1`, t.ID); err != nil {
			return err
		}
		// What was replaced stays adopted; what replaces it is where its owner is another.
		if _, err := tx.Exec(ctx, `WITH was AS (SELECT id, hold, adopted FROM tenantctl.tenants WHERE id IN ($1, $2))
			UPDATE tenantctl.tenants n SET hold = CASE WHEN n.id = $2 THEN was.hold ELSE n.hold END, adopted = was.adopted OR n.id = $1 AND n.adopted
			FROM was WHERE n.id IN ($1, $2) AND was.id IN ($1, $2) AND was.id <> n.id`, t.ID, beside.ID); err != nil {
			return err
		}
		if a := s.archiver(KindPostgres); a != nil { // the catalog's own store takes part in its transaction
			return p.exchangeWith(ctx, tx, a, t, beside, n)
		}
		return nil
	})
}

// exchangeNames exchanges the database names and the recorded versions of two tenants. Schemas are renamed instead, and
// keep their names.
func (c *Catalog) exchangeNames(ctx context.Context, tx pgx.Tx, t, beside Tenant) error {
	for _, set := range []struct {
		id   uuid.UUID
		name string
	}{{beside.ID, "exchange " + beside.ID.String()}, {t.ID, beside.Database}, {beside.ID, t.Database}} {
		if _, err := tx.Exec(ctx, `UPDATE tenantctl.tenants SET database_name = $2, updated_at = now() WHERE id = $1`, set.id, set.name); err != nil {
			return err
		}
	}
	rows, err := tx.Query(ctx, `DELETE FROM tenantctl.versions WHERE tenant_id IN ($1, $2) RETURNING tenant_id, kind, version, applied`, t.ID, beside.ID)
	if err != nil {
		return err
	}
	type version struct {
		Tenant  uuid.UUID
		Kind    string
		Version int64
		Applied int
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[version])
	if err != nil {
		return err
	}
	for _, v := range all {
		other := t.ID
		if v.Tenant == t.ID {
			other = beside.ID
		}
		if _, err := tx.Exec(ctx, `INSERT INTO tenantctl.versions (tenant_id, kind, version, applied) VALUES ($1, $2, $3, $4)`, other, v.Kind, v.Version, v.Applied); err != nil {
			return err
		}
	}
	return nil
}

// settle makes the other stores' places their new owners', and lets the users in again.
func (s *Service) settle(ctx context.Context, t, beside Tenant, n *notes) error {
	now, err := s.catalog.byID(ctx, t.ID, t.Name)
	if err != nil {
		return err
	}
	aside, err := s.catalog.byID(ctx, beside.ID, beside.Name)
	if err != nil {
		return err
	}
	for _, a := range each[Archiver](s) {
		if a.Kind() == KindPostgres {
			continue
		}
		if err := a.Exchange(ctx, nil, now, aside); err != nil {
			return err
		}
		n.add(fmt.Sprintf("%s: the tenant's database is %s now; where the store keeps users, its user there needs a password: tenantctl credentials %s --rotate", a.Kind(), now.Database, t.Name))
	}
	for _, k := range each[ObjectKeeper](s) {
		if err := k.SettleObjects(ctx, now, aside); err != nil {
			return err
		}
	}
	if t.State == Active {
		return s.unlock(ctx, now, Active)
	}
	return s.lock(ctx, now)
}
