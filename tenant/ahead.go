package tenant

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Where tenants take milliseconds each, asking the catalog about every one of them, before and after, costs as much as the
// work itself. So a run claims some tenants ahead and records ends together; where tenants take long it does neither.

// aheadFor is how much work a run may hold that it has not begun.
const aheadFor = 100 * time.Millisecond

// ahead is how many tenants to claim at once, by the pace so far: at first one for each worker, then no more than have ended.
func (f *fanOut) ahead(since time.Time, before int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.ended - before
	return min(8*f.parallel, 1+n, 1+int(int64(aheadFor)*int64(n)/int64(max(time.Since(since), 1))))
}

// claimAhead makes pending children this process's in one statement. Those that it could not get, such as tenants that
// another run has in work, stay as they are: claim waits for each, or says why not.
func (c *Catalog) claimAhead(ctx context.Context, run *Operation, children []*Operation) {
	byID := map[uuid.UUID]*Operation{}
	var ids []string
	for _, op := range children {
		if op.State == OpPending {
			byID[op.ID] = op
			ids = append(ids, op.ID.String())
		}
	}
	if len(ids) < 2 {
		return
	}
	rows, err := c.pool.Query(ctx, `WITH run AS (SELECT set_config('synchronous_commit', 'off', true) FROM tenantctl.operations WHERE id = $2 AND fence = $3 AND state = 'running'),
		seen AS (`+workableNow("t.id IN (SELECT p.tenant_id FROM tenantctl.operations p WHERE p.id = ANY($1::uuid[]))", "SKIP LOCKED")+`),
		claimed AS (UPDATE tenantctl.operations o SET state = 'running', owner = $4, lease_until = now() + $5::interval, started_at = clock_timestamp()
			WHERE o.id = ANY($1::uuid[]) AND o.state = 'pending' AND EXISTS (SELECT FROM run)
				AND `+asSeen+`
				AND NOT EXISTS (SELECT FROM tenantctl.operations l WHERE l.tenant_id = o.tenant_id AND l.state IN ('running', 'undoing', 'stuck'))
			RETURNING o.id, o.tenant_id)
		SELECT `+tenantColumns+`, claimed.id FROM claimed JOIN tenantctl.tenants t ON t.id = claimed.tenant_id`,
		ids, run.ID, run.Fence, c.self.String(), interval(c.lease))
	if err != nil {
		return
	}
	type got struct {
		Tenant
		child uuid.UUID
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (g got, err error) {
		g.Tenant, err = scanTenant(also{row, &g.child})
		return g, err
	})
	if err != nil { // such as that another run was faster with one of them
		return
	}
	for _, g := range all {
		op := byID[g.child]
		op.State, op.Owner, op.claimed = OpRunning, c.self, &g.Tenant
	}
}

// also scans one column more than its row's reader asks for.
type also struct {
	pgx.CollectableRow
	last any
}

func (r also) Scan(into ...any) error {
	return r.CollectableRow.Scan(append(slices.Clone(into), r.last)...)
}

// letGo gives children back that were claimed ahead and not begun.
func (c *Catalog) letGo(ctx context.Context, children []*Operation) error {
	var ids []string
	for _, op := range children {
		if op.claimed != nil {
			ids = append(ids, op.ID.String())
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := c.pool.Exec(context.WithoutCancel(ctx), `UPDATE tenantctl.operations SET state = 'pending', lease_until = NULL, started_at = NULL
		WHERE id = ANY($1::uuid[]) AND state = 'running' AND owner = $2`, ids, c.self.String())
	return catalogError("let go of tenants", err)
}

// ends records the ends of operations together, lazily: what is lost with the process or the server is run again, and
// finds nothing to do.
type ends struct {
	c       *Catalog
	writing sync.Mutex // one at a time records; it comes before mu
	mu      sync.Mutex
	list    []ended
	late    *time.Timer
	// taken are operations that another process had taken over by then.
	taken []ended
}

type ended struct {
	op      *Operation
	changed bool
	took    time.Duration
	since   time.Time // when it ended
}

const (
	endsAtOnce = 64
	endsWait   = 100 * time.Millisecond
)

// done takes an operation that has ended well. The worker that brings the last of many records them, while others go on.
func (e *ends) done(ctx context.Context, op *Operation, changed bool, took time.Duration) {
	e.mu.Lock()
	op.State = OpDone
	e.list = append(e.list, ended{op, changed, took, time.Now()})
	full := len(e.list) == endsAtOnce
	if !full && e.late == nil {
		e.late = time.AfterFunc(endsWait, func() { e.tryWrite(ctx) })
	}
	e.mu.Unlock()
	if full {
		e.tryWrite(ctx)
	}
}

// flush records what is left, and gives what was another process's by then.
func (e *ends) flush(ctx context.Context) (taken []ended, err error) {
	err = patiently(func() error { return e.write(ctx) })
	e.writing.Lock()
	defer e.writing.Unlock()
	taken, e.taken = e.taken, nil
	return taken, err
}

// tryWrite is write for those who cannot wait: what it could not record is left to the flush.
func (e *ends) tryWrite(ctx context.Context) {
	_ = e.write(ctx) // the flush tells
}

// write records what has ended by now.
func (e *ends) write(ctx context.Context) error {
	e.writing.Lock()
	defer e.writing.Unlock()
	e.mu.Lock()
	if e.late != nil {
		e.late.Stop()
		e.late = nil
	}
	list := e.list
	e.list = nil
	e.mu.Unlock()
	theirs, err := e.record(ctx, list)
	if err != nil {
		e.mu.Lock()
		e.list = append(list, e.list...)
		e.mu.Unlock()
		return err
	}
	for _, x := range list {
		if slices.Contains(theirs, x.op.ID) {
			e.taken = append(e.taken, x)
		}
	}
	return nil
}

// record writes the ends of some operations, and gives those that are another process's by now.
func (e *ends) record(ctx context.Context, list []ended) (theirs []uuid.UUID, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	var ids, results []string
	var fences, took, ago []int64
	for _, x := range list {
		ids, results, fences = append(ids, x.op.ID.String()), append(results, string(x.op.Result)), append(fences, x.op.Fence)
		took, ago = append(took, x.took.Microseconds()), append(ago, time.Since(x.since).Microseconds())
	}
	// One that was taken over meanwhile keeps what its new owner says; one recorded by a statement whose answer was lost is done.
	rows, err := e.c.pool.Query(context.WithoutCancel(ctx), `WITH lazily AS (`+lazily+`), r AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) AS r(id, result, fence, took, ago), lazily),
		done AS (UPDATE tenantctl.operations o SET state = 'done', error = NULL, result = r.result::jsonb, lease_until = NULL,
				started_at = clock_timestamp() - (r.took + r.ago) * interval '1 microsecond', finished_at = clock_timestamp() - r.ago * interval '1 microsecond'
			FROM r WHERE o.id = r.id AND o.fence = r.fence AND o.state = 'running' RETURNING o.id, o.kind, o.tenant_id, o.tenant_name),
		told AS (INSERT INTO tenantctl.audit (actor, origin, action, tenant_id, tenant_name, operation_id, detail)
			SELECT $6, $7, kind, tenant_id, tenant_name, id, '{"state": "done"}' FROM done)
		SELECT r.id FROM r LEFT JOIN tenantctl.operations o USING (id)
			WHERE NOT EXISTS (SELECT FROM done d WHERE d.id = r.id) AND (o.state, o.fence) IS DISTINCT FROM ('done', r.fence)`,
		ids, results, fences, took, ago, e.c.actorOf(ctx), e.c.self.Label())
	if err == nil {
		theirs, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	}
	return theirs, catalogError("record the results", err)
}
