package legacy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// What is taken away before a load: the rows of tables with mode replace, and those of tables that are restarted. The
// catalog keeps for each tenant whether that is due or done, so that a run that was killed is gone on with.

// emptying tells whether a tenant's rows of a table are to be taken away before its load.
func emptying(t *Table, l tenant.ImportLoad) bool {
	return l.Emptying == tenant.EmptyingDue || t.Mode == ModeReplace && !l.Whole && l.Emptying == tenant.EmptyingNone
}

// loadsOf is what is loaded of each target for each tenant.
func (r *run) loadsOf(ctx context.Context) (map[string]map[uuid.UUID]tenant.ImportLoad, error) {
	loads, err := r.Service.ImportLoads(ctx, r.m.Name)
	out := map[string]map[uuid.UUID]tenant.ImportLoad{}
	for _, l := range loads {
		if out[l.Target] == nil {
			out[l.Target] = map[uuid.UUID]tenant.ImportLoad{}
		}
		out[l.Target][l.Tenant] = l
	}
	return out, err
}

// beginAgain makes what is loaded already due to be loaded: with Again what is asked for, else what is to be restarted.
func (r *run) beginAgain(ctx context.Context) error {
	if r.Since != "" {
		return nil
	}
	for _, t := range r.wanted() {
		restart := slices.Contains(r.Restart, t.Name())
		if !restart && !r.Again {
			continue
		}
		there, _, err := r.held.Pass(ctx, t.Name())
		if err != nil {
			return err
		}
		ids := make([]uuid.UUID, 0, len(r.scope))
		for _, at := range r.recipients(t) {
			ids = append(ids, r.tenantAt(at))
		}
		switch {
		case restart || t.Mode == ModeReplace && there == nil:
			err = r.held.Restart(ctx, t.Name(), ids)
		case there == nil:
			err = r.held.Forget(ctx, t.Name(), ids)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// due are the tables of a tenant whose rows are to be taken away.
func (r *run) due(at int32, tables []*Table, loads map[string]map[uuid.UUID]tenant.ImportLoad, passes map[string]bool) []*Table {
	var out []*Table
	for _, t := range tables {
		// The shared schema has one tenant, and its pass begins when it is empty.
		if slices.Contains(r.recipients(t), at) && emptying(t, loads[t.Name()][r.tenantAt(at)]) && !(t.Shared == SharedSchema && passes[t.Name()]) {
			out = append(out, t)
		}
	}
	return out
}

// empty takes the rows away of tables that are to be loaded anew, before the first of them is loaded. Each tenant's tables
// go together, so that their foreign keys to each other are no obstacle.
func (r *run) empty(ctx context.Context) error {
	if r.Since != "" {
		return nil
	}
	loads, err := r.loadsOf(ctx)
	if err != nil {
		return err
	}
	var tables []*Table
	passes := map[string]bool{}
	for _, t := range r.wanted() {
		if t.ToCollection != "" {
			continue
		}
		tables = append(tables, t)
		there, _, err := r.held.Pass(ctx, t.Name())
		if err != nil {
			return err
		}
		passes[t.Name()] = there != nil
	}
	places := append(slices.Clone(r.scope), r.sharedPlaces(tables)...)
	for _, at := range places {
		if err := r.canEmpty(at, r.due(at, tables, loads, passes)); err != nil {
			return err
		}
	}
	return r.each(ctx, places, func(ctx context.Context, at int32) error {
		due := r.due(at, tables, loads, passes)
		if len(due) == 0 {
			return nil
		}
		names := make([]string, len(due))
		for n, t := range due {
			names[n] = r.relation(at, t)
		}
		err := r.inTx(ctx, "empty the tables that are loaded anew", func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "TRUNCATE "+strings.Join(names, ", ")); err != nil {
				return err
			}
			for _, t := range due {
				if err := r.held.Emptied(ctx, tx, t.Name(), r.tenantAt(at)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return tenant.WithTenant(err, r.list[at].tenant.Name)
		}
		return tenant.Checkpoint(ctx, "import/empty/after")
	})
}

// canEmpty refuses to empty a tenant's tables while others refer to them.
func (r *run) canEmpty(at int32, tables []*Table) error {
	for _, t := range tables {
		if t.Shared == SharedSchema {
			continue // nothing of a tenant's refers to it
		}
		for _, name := range slices.Sorted(maps.Keys(r.target)) {
			other := r.target[name]
			refers := slices.ContainsFunc(other.foreignKeys, func(f foreignKey) bool { return f.table == t.To })
			if !refers || name == t.To || slices.ContainsFunc(tables, func(x *Table) bool { return x.To == name }) {
				continue
			}
			return &tenant.Error{
				Kind: tenant.ErrInvalid, Store: tenant.KindPostgres, Tenant: r.list[at].tenant.Name,
				Msg:  fmt.Sprintf("table %s cannot be emptied: rows of %s refer to it", t.To, name),
				Hint: fmt.Sprintf("set mode: replace for %s too; where this import has loaded both, --restart %s,%s also does", name, t.To, name),
			}
		}
	}
	return nil
}

// sharedPlaces is the shared schema, where one of the tables lies in it.
func (r *run) sharedPlaces(tables []*Table) []int32 {
	if slices.ContainsFunc(tables, func(t *Table) bool { return t.Shared == SharedSchema }) {
		return []int32{r.sharedEntry()}
	}
	return nil
}

func (r *run) tenantAt(at int32) uuid.UUID { return r.list[at].tenant.ID }

// clear empties the collections of a pass where that is due.
func (r *run) clear(ctx context.Context, p *pass) error {
	if p.table.ToCollection == "" || r.Since != "" {
		return nil
	}
	loads, err := r.loadsOf(ctx)
	if err != nil {
		return err
	}
	return r.each(ctx, p.tenants, func(ctx context.Context, at int32) error {
		if !emptying(p.table, loads[p.name][r.tenantAt(at)]) {
			return nil
		}
		// The transaction keeps others from taking the import over: a delete that goes on then would take what they load.
		return r.inTx(ctx, "empty the collection "+p.table.ToCollection, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
				return err
			}
			if _, err := r.collection(at, p.table).DeleteMany(ctx, struct{}{}); err != nil {
				return documentError("empty the collection "+p.table.ToCollection, r.list[at].tenant.Name, err)
			}
			if err := tenant.Checkpoint(ctx, "import/clear/after"); err != nil {
				return err
			}
			return r.held.Emptied(ctx, tx, p.name, r.tenantAt(at))
		})
	})
}
