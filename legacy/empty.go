package legacy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

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

// emptied is what a run takes away: the tables, what is loaded of them, and where passes are under way.
type emptied struct {
	tables []*Table
	loads  map[string]map[uuid.UUID]tenant.ImportLoad
	passes map[string]bool
}

func (r *run) toEmpty(ctx context.Context) (e emptied, err error) {
	if e.loads, err = r.loadsOf(ctx); err != nil {
		return e, err
	}
	e.passes = map[string]bool{}
	for _, t := range r.wanted() {
		if t.ToCollection != "" {
			continue
		}
		e.tables = append(e.tables, t)
		there, _, err := r.held.Pass(ctx, t.Name())
		if err != nil {
			return e, err
		}
		e.passes[t.Name()] = there != nil
	}
	return e, nil
}

// checkEmptying refuses, before anything is touched, to empty tables that rows of others refer to.
func (r *run) checkEmptying(ctx context.Context) error {
	if r.Since != "" {
		return nil
	}
	e, err := r.toEmpty(ctx)
	if err != nil {
		return err
	}
	for _, t := range e.tables {
		if !slices.Contains(r.Restart, t.Name()) && !(r.Again && t.Mode == ModeReplace && !e.passes[t.Name()]) {
			continue
		}
		for id, l := range e.loads[t.Name()] {
			if l.Loaded > 0 || l.Whole {
				l.Whole, l.Emptying = false, tenant.EmptyingDue
				e.loads[t.Name()][id] = l
			}
		}
	}
	r.sharedPlaces(e.tables) // the workers find it there
	return r.each(ctx, r.scope, func(ctx context.Context, at int32) error {
		due := r.due(at, e.tables, e.loads, e.passes)
		return r.inTx(ctx, "look at the tables that are loaded anew", func(tx pgx.Tx) error { return r.canEmpty(ctx, tx, at, due, r.alsoEmpty(due)) })
	})
}

// empty takes the rows away of tables that are to be loaded anew, before the first of them is loaded. Each tenant's tables
// go together, so that their foreign keys to each other are no obstacle.
func (r *run) empty(ctx context.Context) error {
	if r.Since != "" {
		return nil
	}
	e, err := r.toEmpty(ctx)
	if err != nil {
		return err
	}
	return r.each(ctx, append(slices.Clone(r.scope), r.sharedPlaces(e.tables)...), func(ctx context.Context, at int32) error {
		due := r.due(at, e.tables, e.loads, e.passes)
		if len(due) == 0 {
			return nil
		}
		also := r.alsoEmpty(due)
		names := make([]string, 0, len(due)+len(also))
		for _, t := range due {
			names = append(names, r.relation(at, t))
		}
		for _, name := range also {
			names = append(names, r.relation(at, &Table{To: name}))
		}
		err := r.inTx(ctx, "empty the tables that are loaded anew", func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "LOCK TABLE "+strings.Join(names, ", ")+" IN ACCESS EXCLUSIVE MODE"); err != nil {
				return err
			}
			if err := r.canEmpty(ctx, tx, at, due, also); err != nil {
				return err
			}
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

// alsoEmpty are the other tables whose foreign keys lead to these: PostgreSQL empties them together or not at all.
func (r *run) alsoEmpty(due []*Table) []string {
	in := map[string]bool{}
	for _, t := range due {
		if t.Shared != SharedSchema { // nothing of a tenant's refers to that
			in[t.To] = true
		}
	}
	var out []string
	for more := true; more; {
		more = false
		for _, name := range slices.Sorted(maps.Keys(r.target)) {
			if in[name] || !slices.ContainsFunc(r.target[name].foreignKeys, func(f foreignKey) bool { return in[f.table] }) {
				continue
			}
			in[name], more = true, true
			out = append(out, name)
		}
	}
	return out
}

// canEmpty refuses to empty a tenant's tables while rows of others refer to them.
func (r *run) canEmpty(ctx context.Context, tx pgx.Tx, at int32, due []*Table, also []string) error {
	for _, name := range also {
		var rows bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+r.relation(at, &Table{To: name})+")").Scan(&rows); err != nil || !rows {
			if err != nil {
				return err
			}
			continue
		}
		names := make([]string, len(due))
		for n, t := range due {
			names[n] = t.Name()
		}
		return &tenant.Error{
			Kind: tenant.ErrInvalid, Store: tenant.KindPostgres, Tenant: r.list[at].tenant.Name,
			Msg:  fmt.Sprintf("%s cannot be emptied: rows of %s refer to it", strings.Join(names, ", "), name),
			Hint: fmt.Sprintf("set mode: replace for %s too; where this import has loaded its rows, --restart %s,%s also does", name, strings.Join(names, ","), name),
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
			if err := emptyCollection(ctx, r.collection(at, p.table)); err != nil {
				return documentError("empty the collection "+p.table.ToCollection, r.list[at].tenant.Name, err)
			}
			if err := tenant.Checkpoint(ctx, "import/clear/after"); err != nil {
				return err
			}
			return r.held.Emptied(ctx, tx, p.name, r.tenantAt(at))
		})
	})
}

// emptyCollection deletes all documents, and leaves the indexes.
func emptyCollection(ctx context.Context, c *mongo.Collection) error {
	_, err := c.DeleteMany(ctx, bson.D{})
	// FerretDB 1 on SQLite deletes no more than 32,766 documents by one command.
	if err != nil && strings.Contains(err.Error(), "too many SQL variables") {
		return emptyByPieces(ctx, c)
	}
	return err
}

// deletedAtOnce is how many documents a piece has: their ids have to fit into a message.
const deletedAtOnce = 1000

func emptyByPieces(ctx context.Context, c *mongo.Collection) error {
	first := options.Find().SetLimit(deletedAtOnce).SetBatchSize(deletedAtOnce).SetProjection(bson.D{{Key: "_id", Value: 1}})
	for {
		cursor, err := c.Find(ctx, bson.D{}, first)
		if err != nil {
			return err
		}
		var found []bson.Raw
		if err := cursor.All(ctx, &found); err != nil {
			return err
		}
		if len(found) == 0 {
			return nil
		}
		ids := make(bson.A, len(found))
		for i, d := range found {
			ids[i] = d.Lookup("_id")
		}
		gone, err := c.DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
		if err != nil {
			return err
		}
		if gone.DeletedCount == 0 {
			return errors.New("documents that were found could not be deleted")
		}
	}
}
