package schema

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// atOnce brings a tenant forward in one transaction and one round trip, where the catalog knows what its book holds, or a create
// has just made it: the server compares before it does anything. done is false where nothing was changed and move has to look for itself: the
// book holds something else, another process is at work, a lock was not to be had.
func (r *Resource) atOnce(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, set *migrationfile.Set, plan func(book map[int64]bool) ([]*migrationfile.File, error)) (moved tenant.Moved, done bool, err error) {
	lease := tenant.LeaseFrom(ctx)
	book, versions := set.UpTo(t.Versions[tenant.KindPostgres])
	if !lease.Records() || r.keeper != nil { // a worker has no rights on the catalog
		return moved, false, nil
	}
	todo, err := plan(book)
	if err != nil || len(todo) == 0 {
		return moved, false, nil
	}
	group := stagesOf(t, true, book, todo)
	first, last := group[0], group[len(group)-1]
	if !first.together() || last.more {
		return moved, false, nil
	}
	advance := cmd("SELECT tenantctl.advance('%s', %d, '%s', %s, %s, '{%s}', %d, %d)", lease.Operation, lease.Fence, t.ID, text(t.Schema), text(mark(t)), versions, last.to, last.has)
	commands := append(append(r.begin(t), advance), r.apply(group, nil)...) // what is plain leaves the tags as they are
	defer rollback(ctx, conn)
	if err := send(ctx, conn.Conn().PgConn(), append(commands, cmd("COMMIT"))); err != nil {
		if code(err) == "" { // not the server's
			return moved, false, migrationFailure(group, err)
		}
		return moved, false, nil
	}
	moved = tenant.Moved{From: first.from, To: last.to, Applied: last.has}
	for _, s := range group {
		moved.Ran = append(moved.Ran, s.Version)
	}
	return moved, true, nil
}
