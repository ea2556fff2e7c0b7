package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Import is the catalog's side of an import by a mapping: it holds the tenants against every other operation, and keeps
// the checkpoints, counts and rejects. Two imports of one name never run at once.
type Import struct {
	Name string
	// TopUp tells that rows which were loaded before are met again: they are not counted twice, and a reject takes the
	// place of an earlier one of the same row.
	TopUp bool
	op    *Operation
	s     *Service
	over  func() // ends the renewing of its lease

	mended sync.Map // by target: keys of rows that were mended, see mendedKeys
}

// BeginImport enters an import and holds all its tenants. A live operation on one of them is ErrBusy; what a dead import
// left is closed: the checkpoints tell where to go on.
func (s *Service) BeginImport(ctx context.Context, name string, params map[string]any, tenants []Tenant) (*Import, error) {
	s.beat()
	params["import"] = name
	for try := 1; ; try++ {
		op, err := s.catalog.enterImport(ctx, name, params, tenants)
		if err == nil {
			return &Import{Name: name, op: op, s: s, over: s.catalog.working(op)}, Checkpoint(ctx, "import/begun")
		}
		if !errors.Is(err, errHeld) && !errors.Is(err, errFilled) {
			return nil, err
		}
		if try == importTries {
			return nil, &Error{Kind: ErrBusy, Msg: fmt.Sprintf("import %s: other operations on its tenants begin faster than they can be waited for", name), Hint: "run it again when they are over: tenantctl ops list --unfinished"}
		}
		if errors.Is(err, errFilled) {
			if err := s.catalog.lookAgain(ctx, tenants); err != nil {
				return nil, err
			}
			continue
		}
		if err := s.closeHolders(ctx, name, tenants); err != nil {
			return nil, err
		}
	}
}

// lookAgain reads tenants anew that have changed since they were looked at, and refuses those that cannot be worked in any more.
func (c *Catalog) lookAgain(ctx context.Context, tenants []Tenant) error {
	ids := make([]string, len(tenants))
	for i, t := range tenants {
		ids[i] = t.ID.String()
	}
	op, err := c.oneOperation(ctx, `o.kind = 'restore' AND o.state IN ('running', 'undoing', 'stuck') AND o.params -> 'beside' ->> 'id' = ANY($1::text[])`, ids)
	if err != nil {
		return err
	}
	if op != nil {
		if c.dead(op) {
			return stuck(op, fmt.Sprintf("belongs to tenant %s: ", op.Tenant))
		}
		return c.busy(op)
	}
	now := make(map[uuid.UUID]Tenant, len(tenants))
	var q query
	q.and("t.id = ANY(" + q.arg(ids) + "::uuid[])")
	for t, err := range c.tenants(ctx, &q) {
		if err != nil {
			return err
		}
		now[t.ID] = t
	}
	for i, t := range tenants {
		again, there := now[t.ID]
		switch {
		case !there:
			return &Error{Kind: ErrNotFound, Tenant: t.Name, Msg: "no such tenant any more", Hint: "run the import again"}
		case !again.State.Migrates():
			return c.unready(ctx, again)
		}
		tenants[i] = again
	}
	return nil
}

// importTries is how often an import tries to enter; each try but the last closes dead operations that are in its way.
const importTries = 10

func (c *Catalog) enterImport(ctx context.Context, name string, params map[string]any, tenants []Tenant) (*Operation, error) {
	op := &Operation{ID: newID(), Kind: OpImport, State: OpRunning, Actor: c.actorOf(ctx), Owner: c.self, Fence: 1, Params: json.RawMessage(jsonText(params))}
	err := c.inTx(ctx, "enter the import", func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `INSERT INTO tenantctl.operations (id, kind, state, params, actor, owner, lease_until, started_at)
			VALUES ($1, $2, 'running', $3::jsonb, $4, $5, now() + $6::interval, clock_timestamp()) RETURNING created_at, started_at`,
			op.ID, op.Kind, string(op.Params), c.actorOf(ctx), c.self.String(), interval(c.lease)).Scan(&op.CreatedAt, &op.StartedAt)
		if violates(err, "operations_one_import") {
			return &Error{Kind: errHeld, Msg: "import is held", Err: err}
		}
		if err != nil {
			return err
		}
		for part := range slices.Chunk(tenants, page) {
			if err := c.enterPart(ctx, tx, op.ID, part); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `INSERT INTO tenantctl.imports (name, run) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET run = $2, updated_at = now()`, name, op.ID)
		return err
	})
	return op, err
}

// enterPart enters an import's operations on some of its tenants. As everywhere, the look and the entry are one statement.
func (c *Catalog) enterPart(ctx context.Context, tx pgx.Tx, run uuid.UUID, part []Tenant) error {
	ids, of, names, revisions := make([]string, len(part)), make([]string, len(part)), make([]string, len(part)), make([]int64, len(part))
	for i, t := range part {
		ids[i], of[i], names[i], revisions[i] = newID().String(), t.ID.String(), string(t.Name), t.revision
	}
	tag, err := tx.Exec(ctx, `WITH looked AS (SELECT t.id FROM tenantctl.tenants t JOIN unnest($2::uuid[], $9::bigint[]) AS l(id, revision) ON l.id = t.id AND l.revision = t.revision
			WHERE `+migrating+` ORDER BY t.id FOR NO KEY UPDATE OF t)
		INSERT INTO tenantctl.operations (id, kind, parent_id, tenant_id, tenant_name, state, actor, owner, lease_until, started_at)
		SELECT i, $4, $5, x.t, n, 'running', $6, $7, now() + $8::interval, clock_timestamp() FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS x(i, t, n)
		JOIN looked ON looked.id = x.t WHERE NOT `+beingFilled("x.t"),
		ids, of, names, OpImport, run, c.actorOf(ctx), c.self.String(), interval(c.lease), revisions)
	switch {
	case violates(err, "operations_one_live"):
		return &Error{Kind: errHeld, Msg: "tenant is held", Err: err}
	case err == nil && tag.RowsAffected() != int64(len(part)):
		return &Error{Kind: errFilled, Msg: "a tenant is being filled, or is not as it was looked at"}
	}
	return err
}

// closeHolders closes the dead operations in an import's way, and fails for a live one.
func (s *Service) closeHolders(ctx context.Context, name string, tenants []Tenant) error {
	ids := make([]string, len(tenants))
	for i, t := range tenants {
		ids[i] = t.ID.String()
	}
	rows, err := s.catalog.pool.Query(ctx, `SELECT `+operationColumns+` FROM tenantctl.operations o
		WHERE o.state IN ('running', 'undoing', 'stuck') AND (o.tenant_id = ANY($1::uuid[]) OR o.kind = 'import' AND o.parent_id IS NULL AND o.params ->> 'import' = $2)`, ids, name)
	if err != nil {
		return catalogError("look for operations on the tenants", err)
	}
	ops, err := pgx.CollectRows(rows, scanOperation)
	if err != nil {
		return catalogError("look for operations on the tenants", err)
	}
	closed := map[uuid.UUID]bool{} // imports: with all their tenants
	for _, op := range ops {
		if op.Run != nil && closed[*op.Run] || closed[op.ID] {
			continue
		}
		if _, err := s.catalog.yield(ctx, op, ""); err != nil {
			return err
		}
		if op.Kind == OpImport {
			closed[op.ID] = true
			if op.Run != nil {
				closed[*op.Run] = true
			}
		}
	}
	return nil
}

// ID is the import's operation.
func (i *Import) ID() uuid.UUID { return i.op.ID }

// HoldSQL is one SQL statement that makes the surrounding transaction fail where the import was taken over. Its tenants'
// operations never end before its own.
func (i *Import) HoldSQL() string { return i.s.catalog.leaseOf(i.op).HoldSQL() }

// End closes the import's operations: done, failed with a cause, or aborted by an interruption. result goes into the
// history.
func (i *Import) End(ctx context.Context, result any, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	defer i.over()
	state := OpDone
	switch {
	case errors.Is(cause, ErrInterrupted), errors.Is(cause, context.Canceled):
		state = OpAborted
	case cause != nil && !errors.Is(cause, ErrPartial):
		state = OpFailed
	}
	c := i.s.catalog
	if errors.Is(cause, ErrFenced) {
		// The operation is another's now; the tenants that are still held in its name are let go.
		_, err := c.pool.Exec(ctx, `UPDATE tenantctl.operations SET state = 'aborted', finished_at = clock_timestamp() WHERE parent_id = $1 AND owner = $2 AND state = 'running'`, i.op.ID, c.self.String())
		return catalogError("end the import", err)
	}
	i.op.Result = json.RawMessage(jsonText(result))
	return c.finish(ctx, i.op, state, cause, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE tenantctl.operations SET state = $2, finished_at = clock_timestamp() WHERE parent_id = $1 AND state = 'running'`, i.op.ID, string(state))
		return err
	})
}

// ImportKeys gives the tenants that an import's keys are known to belong to.
func (s *Service) ImportKeys(ctx context.Context, name string) (map[string]uuid.UUID, error) {
	rows, err := s.catalog.pool.Query(ctx, `SELECT key, tenant_id FROM tenantctl.import_keys WHERE import = $1`, name)
	if err != nil {
		return nil, catalogError("read the import's keys", err)
	}
	out := map[string]uuid.UUID{}
	var key string
	var id uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&key, &id}, func() error { out[key] = id; return nil })
	return out, catalogError("read the import's keys", err)
}

// KeepKeys records whose the keys are; one that is known keeps its tenant.
func (i *Import) KeepKeys(ctx context.Context, keys map[string]uuid.UUID) error {
	texts, ids := make([]string, 0, len(keys)), make([]string, 0, len(keys))
	for k, id := range keys {
		texts, ids = append(texts, k), append(ids, id.String())
	}
	_, err := i.s.catalog.pool.Exec(ctx, `INSERT INTO tenantctl.import_keys (import, key, tenant_id) SELECT $1, k, t FROM unnest($2::text[], $3::uuid[]) AS x(k, t) ON CONFLICT DO NOTHING`, i.Name, texts, ids)
	return catalogError("record the import's keys", err)
}

// ImportPass is a pass over a source table for some tenants.
type ImportPass struct {
	Target  string
	Mapping string // checksum
	Scope   string // which tenants; a pass is gone on with by the same alone
	Planned bool   // its parts are kept; false where an older version began it
	Run     uuid.UUID
}

// ImportPart is a checkpoint: a part of a pass, up to a position in it or whole.
type ImportPart struct {
	Part      string
	Position  string
	Done      bool
	Low, High string // the source's own bounds
	Rows      int64  // about
}

// Pass is the pass over a target's table that is not over, with its checkpoints; nil where there is none.
func (i *Import) Pass(ctx context.Context, target string) (*ImportPass, map[string]ImportPart, error) {
	p := ImportPass{Target: target}
	err := i.s.catalog.pool.QueryRow(ctx, `SELECT mapping, scope, planned, coalesce(run, '00000000-0000-0000-0000-000000000000') FROM tenantctl.import_passes WHERE import = $1 AND target = $2`, i.Name, target).Scan(&p.Mapping, &p.Scope, &p.Planned, &p.Run)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, catalogError("read the import's checkpoints", err)
	}
	rows, err := i.s.catalog.pool.Query(ctx, `SELECT part, position, done, low, high, row_count FROM tenantctl.import_parts WHERE import = $1 AND target = $2`, i.Name, target)
	if err != nil {
		return nil, nil, catalogError("read the import's checkpoints", err)
	}
	parts := map[string]ImportPart{}
	var part ImportPart
	_, err = pgx.ForEachRow(rows, []any{&part.Part, &part.Position, &part.Done, &part.Low, &part.High, &part.Rows}, func() error { parts[part.Part] = part; return nil })
	return &p, parts, catalogError("read the import's checkpoints", err)
}

// BeginPass enters a pass with the parts that it is to be done in. A pass over every tenant also forgets the rejects of
// rows that were nobody's: it meets them again.
func (i *Import) BeginPass(ctx context.Context, p ImportPass, parts []ImportPart, everyone bool) error {
	return i.inTx(ctx, "begin a pass", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO tenantctl.import_passes (import, target, mapping, scope, planned, run) VALUES ($1, $2, $3, $4, true, $5)`, i.Name, p.Target, p.Mapping, p.Scope, i.op.ID); err != nil {
			return err
		}
		if err := i.plan(ctx, tx, p.Target, parts); err != nil {
			return err
		}
		if !everyone {
			return nil
		}
		i.mended.Delete(p.Target)
		// Those that were mended and loaded wait for their rows to be met again: they are not set aside a second time.
		_, err := tx.Exec(ctx, `WITH gone AS (DELETE FROM tenantctl.import_rejects WHERE import = $1 AND target = $2 AND tenant_id IS NULL AND resolved_at IS NULL),
				mended AS (UPDATE tenantctl.import_rejects SET resolved_at = 'infinity' WHERE import = $1 AND target = $2 AND tenant_id IS NULL AND resolved_at IS NOT NULL)
			DELETE FROM tenantctl.import_loads WHERE import = $1 AND target = $2 AND tenant_id IS NULL`, i.Name, p.Target)
		return err
	})
}

// plan keeps parts of a pass that are not known yet.
func (i *Import) plan(ctx context.Context, tx pgx.Tx, target string, parts []ImportPart) error {
	ids, low, high, rows := make([]string, len(parts)), make([]string, len(parts)), make([]string, len(parts)), make([]int64, len(parts))
	for n, p := range parts {
		ids[n], low[n], high[n], rows[n] = p.Part, p.Low, p.High, p.Rows
	}
	_, err := tx.Exec(ctx, `INSERT INTO tenantctl.import_parts (import, target, part, done, low, high, row_count)
		SELECT $1, $2, p, false, l, h, n FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[]) AS x(p, l, h, n) ON CONFLICT DO NOTHING`, i.Name, target, ids, low, high, rows)
	return err
}

// AddParts keeps further parts of a pass: what has come into the source since it was planned.
func (i *Import) AddParts(ctx context.Context, target string, parts []ImportPart) error {
	return i.inTx(ctx, "go on with a pass", func(tx pgx.Tx) error { return i.plan(ctx, tx, target, parts) })
}

// EndPass marks the target's rows of these tenants as loaded by a mapping. The zero id stands for rows that are every
// tenant's.
func (i *Import) EndPass(ctx context.Context, target, mapping string, tenants []uuid.UUID) error {
	shared := slices.Contains(tenants, uuid.Nil)
	tenants = slices.DeleteFunc(slices.Clone(tenants), func(id uuid.UUID) bool { return id == uuid.Nil })
	return i.inTx(ctx, "end a pass", func(tx pgx.Tx) error {
		if shared {
			if _, err := tx.Exec(ctx, `INSERT INTO tenantctl.import_loads AS l (import, target, whole, mapping, run) VALUES ($1, $2, true, $3, $4)
				ON CONFLICT (import, target) WHERE tenant_id IS NULL DO UPDATE SET whole = true, emptying = NULL, mapping = $3, run = $4`, i.Name, target, mapping, i.op.ID); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO tenantctl.import_loads AS l (import, target, tenant_id, whole, mapping, run) SELECT $1, $2, t, true, $4, $5 FROM unnest($3::uuid[]) AS t
			ON CONFLICT (import, target, tenant_id) DO UPDATE SET whole = true, emptying = NULL, mapping = $4, run = $5`, i.Name, target, uuids(tenants), mapping, i.op.ID)
		if err == nil {
			_, err = tx.Exec(ctx, `DELETE FROM tenantctl.import_passes WHERE import = $1 AND target = $2`, i.Name, target)
		}
		return err
	})
}

func (i *Import) inTx(ctx context.Context, verb string, f func(tx pgx.Tx) error) error {
	return i.s.catalog.inTx(ctx, verb, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, i.HoldSQL()); err != nil {
			return err
		}
		return f(tx)
	})
}

func uuids(ids []uuid.UUID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}

// ImportCount is how many rows of a tenant went where. The zero id counts rows that are no tenant's.
type ImportCount struct {
	Tenant           uuid.UUID
	Loaded, Rejected int64
}

// ImportReject is a row that was set aside.
type ImportReject struct {
	ID        int64     `json:"-"`
	Target    string    `json:"target"`
	Tenant    uuid.UUID `json:"-"`
	Name      Name      `json:"tenant,omitempty"`
	TenantKey *string   `json:"tenant_key"`
	Key       string    `json:"key"`
	Code      string    `json:"code"` // an SQLSTATE or a word
	Reason    string    `json:"reason"`
	Row       *string   `json:"-"` // the source's row as JSON; nil where it was too long to keep
	Sum       *uint64   `json:"-"` // checksum, where the values fit the target's types
}

const (
	insertReject = `INSERT INTO tenantctl.import_rejects (import, target, tenant_id, tenant_key, row_key, code, reason, original, checksum)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::numeric)`
	// insertUnlessMended is for a row of no tenant that a pass meets again after it was mended and loaded.
	insertUnlessMended = `WITH mended AS (UPDATE tenantctl.import_rejects SET resolved_at = now() WHERE id = (SELECT id FROM tenantctl.import_rejects
			WHERE import = $1 AND target = $2 AND tenant_id IS NULL AND row_key = $5 AND resolved_at = 'infinity' LIMIT 1 FOR UPDATE) RETURNING id),
		fewer AS (INSERT INTO tenantctl.import_loads AS l (import, target, loaded, rejected) SELECT $1, $2, 0, -1 FROM mended
			ON CONFLICT (import, target) WHERE tenant_id IS NULL DO UPDATE SET rejected = l.rejected - 1)
		INSERT INTO tenantctl.import_rejects (import, target, tenant_id, tenant_key, row_key, code, reason, original, checksum)
		SELECT $1, $2, $3::uuid, $4, $5, $6, $7, $8, $9::text::numeric WHERE NOT EXISTS (SELECT FROM mended)`
)

// mendedKeys are the keys of a target's rows of no tenant that were mended and that its pass has not met again.
func (i *Import) mendedKeys(ctx context.Context, tx pgx.Tx, target string) (map[string]bool, error) {
	if known, ok := i.mended.Load(target); ok {
		return known.(map[string]bool), nil
	}
	rows, err := tx.Query(ctx, `SELECT row_key FROM tenantctl.import_rejects WHERE import = $1 AND target = $2 AND tenant_id IS NULL AND resolved_at = 'infinity'`, i.Name, target)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	keys := map[string]bool{}
	for _, key := range list {
		keys[key] = true
	}
	if err == nil {
		i.mended.Store(target, keys)
	}
	return keys, err
}

// Record writes a checkpoint with its counts and rejects, in the transaction that loaded the rows. A part without a name
// records counts and rejects alone.
func (i *Import) Record(ctx context.Context, tx pgx.Tx, target string, part ImportPart, counts []ImportCount, rejects []ImportReject) error {
	var b pgx.Batch
	b.Queue(i.HoldSQL())
	if part.Part != "" {
		b.Queue(`INSERT INTO tenantctl.import_parts (import, target, part, position, done) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (import, target, part) DO UPDATE SET position = EXCLUDED.position, done = EXCLUDED.done`, i.Name, target, part.Part, part.Position, part.Done)
	}
	ids, loaded, rejected := make([]string, 0, len(counts)), make([]int64, 0, len(counts)), make([]int64, 0, len(counts))
	for _, n := range counts {
		if i.TopUp {
			n.Loaded = 0
		}
		if n.Tenant == uuid.Nil {
			b.Queue(`INSERT INTO tenantctl.import_loads AS l (import, target, loaded, rejected) VALUES ($1, $2, $3, $4)
				ON CONFLICT (import, target) WHERE tenant_id IS NULL DO UPDATE SET loaded = l.loaded + EXCLUDED.loaded, rejected = l.rejected + EXCLUDED.rejected`, i.Name, target, n.Loaded, n.Rejected)
			continue
		}
		ids, loaded, rejected = append(ids, n.Tenant.String()), append(loaded, n.Loaded), append(rejected, n.Rejected)
	}
	if len(ids) > 0 {
		// In one order, so that two workers never wait for each other.
		b.Queue(`INSERT INTO tenantctl.import_loads AS l (import, target, tenant_id, loaded, rejected)
			SELECT $1, $2, t, n, r FROM unnest($3::uuid[], $4::bigint[], $5::bigint[]) AS x(t, n, r) ORDER BY t
			ON CONFLICT (import, target, tenant_id) DO UPDATE SET loaded = l.loaded + EXCLUDED.loaded, rejected = l.rejected + EXCLUDED.rejected`, i.Name, target, ids, loaded, rejected)
	}
	for _, r := range rejects {
		var id, sum any
		if r.Tenant != uuid.Nil {
			id = r.Tenant
		}
		if r.Sum != nil {
			sum = fmt.Sprint(*r.Sum)
		}
		if i.TopUp {
			b.Queue(`WITH gone AS (DELETE FROM tenantctl.import_rejects WHERE import = $1 AND target = $2 AND row_key = $3 AND resolved_at IS NULL RETURNING tenant_id)
				UPDATE tenantctl.import_loads l SET rejected = l.rejected - 1 FROM gone WHERE l.import = $1 AND l.target = $2 AND l.tenant_id IS NOT DISTINCT FROM gone.tenant_id`, i.Name, target, r.Key)
		}
		insert := insertReject
		if id == nil {
			mended, err := i.mendedKeys(ctx, tx, target)
			if err != nil {
				return err
			}
			if mended[r.Key] {
				insert = insertUnlessMended
			}
		}
		b.Queue(insert, i.Name, target, id, r.TenantKey, r.Key, r.Code, r.Reason, r.Row, sum)
	}
	return tx.SendBatch(ctx, &b).Close()
}

// Rejects gives the rows that an import has set aside and that were not loaded since, in the order they came.
func (s *Service) Rejects(ctx context.Context, name, target string, yield func(ImportReject) error) error {
	return s.eachReject(ctx, `r.import = $1 AND ($2 = '' OR r.target = $2) AND r.resolved_at IS NULL`, []any{name, target}, yield)
}

// AllRejects gives every row that was set aside for a target, also those that were mended and loaded since.
// key then names the row that was loaded, and is empty for those that are still aside.
func (s *Service) AllRejects(ctx context.Context, name, target string, yield func(r ImportReject, key string) error) error {
	var loaded string
	return s.rejectRows(ctx, `r.import = $1 AND r.target = $2`, []any{name, target}, &loaded, func(r ImportReject) error { return yield(r, loaded) })
}

func (s *Service) eachReject(ctx context.Context, where string, args []any, yield func(ImportReject) error) error {
	var loaded string
	return s.rejectRows(ctx, where, args, &loaded, yield)
}

func (s *Service) rejectRows(ctx context.Context, where string, args []any, loaded *string, yield func(ImportReject) error) error {
	rows, err := s.catalog.pool.Query(ctx, `SELECT r.id, r.target, coalesce(r.tenant_id, '00000000-0000-0000-0000-000000000000'), coalesce(t.name, ''), r.tenant_key, r.row_key, r.code, r.reason, r.original, r.checksum::text, coalesce(r.loaded_key, '')
		FROM tenantctl.import_rejects r LEFT JOIN tenantctl.tenants t ON t.id = r.tenant_id WHERE `+where+` ORDER BY r.id`, args...)
	if err != nil {
		return catalogError("read the rejects", err)
	}
	var r ImportReject
	var sum *string
	_, err = pgx.ForEachRow(rows, []any{&r.ID, &r.Target, &r.Tenant, &r.Name, &r.TenantKey, &r.Key, &r.Code, &r.Reason, &r.Row, &sum, loaded}, func() error {
		one := r
		one.Sum = nil
		if sum != nil {
			var v uint64
			if _, err := fmt.Sscan(*sum, &v); err != nil {
				return err
			}
			one.Sum = &v
		}
		return yield(one)
	})
	return catalogError("read the rejects", err)
}

// Resolve marks a reject as loaded after a fix, in the transaction that loaded it. key names the row that was loaded.
func (i *Import) Resolve(ctx context.Context, tx pgx.Tx, id int64, key string) error {
	_, err := tx.Exec(ctx, `WITH done AS (UPDATE tenantctl.import_rejects SET resolved_at = now(), loaded_key = $3 WHERE id = $1 AND import = $2 AND resolved_at IS NULL RETURNING target, tenant_id)
		UPDATE tenantctl.import_loads l SET rejected = l.rejected - 1 FROM done WHERE l.import = $2 AND l.target = done.target AND l.tenant_id IS NOT DISTINCT FROM done.tenant_id`, id, i.Name, key)
	return err
}

// Replaced forgets rejects of rows that were met again and loaded, in the transaction that loaded them.
func (i *Import) Replaced(ctx context.Context, tx pgx.Tx, target string, keys []string) error {
	_, err := tx.Exec(ctx, `WITH gone AS (DELETE FROM tenantctl.import_rejects WHERE import = $1 AND target = $2 AND row_key = ANY($3) AND resolved_at IS NULL RETURNING tenant_id),
			n AS (SELECT tenant_id, count(*) AS n FROM gone GROUP BY 1)
		UPDATE tenantctl.import_loads l SET rejected = l.rejected - n.n FROM n WHERE l.import = $1 AND l.target = $2 AND l.tenant_id IS NOT DISTINCT FROM n.tenant_id`, i.Name, target, keys)
	return err
}

// ImportLoad is what has been loaded of a target for a tenant; the zero id stands for rows that are no tenant's.
type ImportLoad struct {
	Target           string
	Tenant           uuid.UUID
	Loaded, Rejected int64
	Whole            bool
	Emptying         Emptying
	Mapping          string    // checksum of the mapping that it was loaded by; empty where nobody knows
	Run              uuid.UUID // that loaded it
}

// ImportLoads gives what an import has loaded.
func (s *Service) ImportLoads(ctx context.Context, name string) ([]ImportLoad, error) {
	rows, err := s.catalog.pool.Query(ctx, `SELECT target, coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'), loaded, rejected, whole,
		coalesce(emptying, ''), mapping, coalesce(run, '00000000-0000-0000-0000-000000000000') FROM tenantctl.import_loads WHERE import = $1`, name)
	if err != nil {
		return nil, catalogError("read what was loaded", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ImportLoad])
	return out, catalogError("read what was loaded", err)
}

// ImportStatus is how far an import is.
type ImportStatus struct {
	Name    string
	Run     *Operation // that last worked on it; nil where the history has forgotten it
	Passes  []ImportPass
	Owed    int // indexes, constraints and triggers that are still to be put back
	Updated time.Time
}

// Imports gives the imports that the catalog knows; all, or the one of that name.
func (s *Service) Imports(ctx context.Context, name string) ([]ImportStatus, error) {
	rows, err := s.catalog.pool.Query(ctx, `SELECT i.name, i.run, i.updated_at, (SELECT count(*) FROM tenantctl.import_undo u WHERE u.import = i.name)
		FROM tenantctl.imports i WHERE $1 = '' OR i.name = $1 ORDER BY i.name`, name)
	if err != nil {
		return nil, catalogError("read the imports", err)
	}
	type row struct {
		Name    string
		Run     *uuid.UUID
		Updated time.Time
		Owed    int
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		return nil, catalogError("read the imports", err)
	}
	var out []ImportStatus
	for _, r := range found {
		st := ImportStatus{Name: r.Name, Owed: r.Owed, Updated: r.Updated.UTC()}
		if r.Run != nil {
			if st.Run, err = s.catalog.oneOperation(ctx, "o.id = $1", *r.Run); err != nil {
				return nil, err
			}
			if st.Run != nil {
				st.Run.Interrupted = st.Run.State.Live() && s.catalog.dead(st.Run)
			}
		}
		rows, err := s.catalog.pool.Query(ctx, `SELECT target, mapping, scope, planned, coalesce(run, '00000000-0000-0000-0000-000000000000') FROM tenantctl.import_passes WHERE import = $1 ORDER BY target`, r.Name)
		if err != nil {
			return nil, catalogError("read the imports", err)
		}
		if st.Passes, err = pgx.CollectRows(rows, pgx.RowToStructByPos[ImportPass]); err != nil {
			return nil, catalogError("read the imports", err)
		}
		out = append(out, st)
	}
	return out, nil
}
