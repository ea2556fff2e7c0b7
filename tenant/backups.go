package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const backupColumns = `b.id, b.tenant_id, b.tenant_name, b.created_at, b.location, b.size, b.versions, b.parts, b.encrypted, b.own_key, b.manifest_sha256, b.signed_by, coalesce(b.store, '00000000-0000-0000-0000-000000000000'), coalesce(b.only_store, '')`

func scanBackup(row pgx.CollectableRow) (*Backup, error) {
	var b Backup
	err := row.Scan(&b.ID, &b.TenantID, &b.Tenant, &b.CreatedAt, &b.Location, &b.Size, &b.Versions, &b.Parts, &b.Encrypted, &b.OwnKey, &b.ManifestSHA256, &b.SignedBy, &b.Store, &b.Only)
	b.CreatedAt = b.CreatedAt.UTC()
	return &b, err
}

// addBackup enters a backup that is whole. Of one that is known already only the place is new, if it was moved.
func (c *Catalog) addBackup(ctx context.Context, tx DB, b *Backup) error {
	_, err := tx.Exec(ctx, `INSERT INTO tenantctl.backups (id, tenant_id, tenant_name, created_at, location, size, versions, parts, encrypted, own_key, manifest_sha256, signed_by, store, only_store)
		VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8::jsonb, $9, $10, $11, $12, nullif($13::uuid, '00000000-0000-0000-0000-000000000000'), nullif($14, ''))
		ON CONFLICT (id) DO UPDATE SET location = EXCLUDED.location, store = EXCLUDED.store`,
		b.ID, b.TenantID, string(b.Tenant), b.CreatedAt, b.Location, b.Size, jsonText(b.Versions), jsonText(b.Parts), b.Encrypted, b.OwnKey, b.ManifestSHA256, b.SignedBy, b.Store, b.Only)
	return err
}

// forgetBackup takes a backup out of the catalog.
func (c *Catalog) forgetBackup(ctx context.Context, id uuid.UUID) error {
	_, err := c.pool.Exec(ctx, `DELETE FROM tenantctl.backups WHERE id = $1`, id)
	return catalogError("forget the backup", err)
}

// BackupFilter chooses backups to list.
type BackupFilter struct {
	Names []Name // of the tenants, as they are called now or were then; none for all
}

// Backups gives the backups that the catalog knows, by tenant and newest first.
func (s *Service) Backups(ctx context.Context, f BackupFilter) iter.Seq2[*Backup, error] {
	var q query
	if len(f.Names) > 0 {
		names := q.arg(texts(f.Names))
		q.and(`(b.tenant_name = ANY(` + names + `::text[]) OR b.tenant_id IN (SELECT t.id FROM tenantctl.tenants t WHERE t.name = ANY(` + names + `::text[])))`)
	}
	return s.catalog.backups(ctx, &q, true)
}

// backups gives the selected backups, newest first: with their parts and by name, to be shown, or without parts and by
// tenant, to be worked on.
func (c *Catalog) backups(ctx context.Context, q *query, shown bool) iter.Seq2[*Backup, error] {
	columns, order := backupColumns, "b.tenant_name, b.tenant_id"
	if !shown {
		columns, order = strings.Replace(columns, "b.parts", "'[]'::jsonb", 1), "b.tenant_id"
	}
	return func(yield func(*Backup, error) bool) {
		rows, err := c.pool.Query(ctx, `SELECT `+columns+` FROM tenantctl.backups b WHERE `+q.where()+` ORDER BY `+order+`, b.created_at DESC, b.id DESC`, q.args...)
		if err != nil {
			yield(nil, catalogError("read the backups", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			b, err := scanBackup(rows)
			if err != nil {
				yield(nil, catalogError("read the backups", err))
				return
			}
			if !yield(b, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, catalogError("read the backups", err))
		}
	}
}

// lastBackup is a tenant's newest whole backup, or nil.
func (c *Catalog) lastBackup(ctx context.Context, tenant uuid.UUID) (*Backup, error) {
	rows, err := c.pool.Query(ctx, `SELECT `+backupColumns+` FROM tenantctl.backups b WHERE b.tenant_id = $1 AND b.only_store IS NULL ORDER BY b.created_at DESC LIMIT 1`, tenant)
	if err != nil {
		return nil, catalogError("read the backups", err)
	}
	b, err := pgx.CollectOneRow(rows, scanBackup)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return b, catalogError("read the backups", err)
}

// findBackup finds a backup by its id, a unique part of it (isNamed), or by "NAME@latest" for a tenant's newest whole one.
func (c *Catalog) findBackup(ctx context.Context, id string) (*Backup, error) {
	hint := "tenantctl backup list shows all; backup list --scan also looks into the place of backups"
	if name, ok := strings.CutSuffix(id, "@latest"); ok {
		for b, err := range c.backups(ctx, newestOf(name), true) {
			return b, err
		}
		for b, err := range c.backups(ctx, namedThen(name), false) {
			if err != nil {
				return nil, err
			}
			hint = "those listed under that name are of an earlier tenant, or of another server's: give the id, such as " + ShortID(b.ID)
			if b.Only != "" {
				hint = fmt.Sprintf("the newest, %s, holds %s alone: give its id, or make a whole one", ShortID(b.ID), b.Only)
			}
			break
		}
		return nil, &Error{Kind: ErrNotFound, Msg: "no whole backup of tenant " + shorten(name), Hint: hint}
	}
	if len(id) < 4 {
		return nil, Invalid("give four characters of it or more, or NAME@latest", "the id %s is too short", shorten(id))
	}
	rows, err := c.pool.Query(ctx, `SELECT `+backupColumns+` FROM tenantctl.backups b WHERE `+isNamed("b.id")+` LIMIT 2`, strings.ToLower(id))
	if err != nil {
		return nil, catalogError("read the backup", err)
	}
	found, err := pgx.CollectRows(rows, scanBackup)
	switch {
	case err != nil:
		return nil, catalogError("read the backup", err)
	case len(found) == 0:
		return nil, &Error{Kind: ErrNotFound, Msg: "no such backup: " + shorten(id), Hint: hint}
	case len(found) > 1:
		return nil, Invalid("give more of it, such as its end as tenantctl backup list shows it", "more than one backup has an id that begins or ends with %s", id)
	}
	return found[0], nil
}

// newestOf selects the newest whole backup of a tenant by its name now or, where no tenant has it, then.
func newestOf(name string) *query {
	var q query
	n := q.arg(name)
	q.and(`b.id = (SELECT id FROM tenantctl.backups x WHERE x.only_store IS NULL AND (x.tenant_id = (SELECT t.id FROM tenantctl.tenants t WHERE t.name = ` + n + `)
			OR x.tenant_name = ` + n + ` AND NOT EXISTS (SELECT FROM tenantctl.tenants t WHERE t.name = ` + n + `))
		ORDER BY x.created_at DESC LIMIT 1)`)
	return &q
}

// namedThen selects the backups of tenants that had a name when they were backed up.
func namedThen(name string) *query {
	var q query
	q.and("b.tenant_name = " + q.arg(name))
	return &q
}

// OpenBackup reads the manifest of a backup: what is really there, not what the catalog remembers.
func (s *Service) OpenBackup(ctx context.Context, id string) (*Backup, error) {
	v, err := s.vault(ctx)
	if err != nil {
		return nil, err
	}
	known, err := s.catalog.findBackup(ctx, id)
	if err != nil {
		return nil, err
	}
	b, err := known.open(ctx, v)
	if !errors.Is(err, ErrNotFound) {
		return b, err
	}
	if !v.Holds(known.Location) {
		return nil, known.elsewhere(v)
	}
	return nil, &Error{
		Kind: ErrDiffers, Code: "lost_backup", Msg: fmt.Sprintf("backup %s is in the catalog, but not at %s", known.ID, known.Location),
		Hint: "tenantctl backup list --scan puts the catalog right",
	}
}

// open reads the manifest of a backup that the catalog knows. One that is another than it was is refused: who can write
// to the place of backups may have put it there.
func (known *Backup) open(ctx context.Context, v Vault) (*Backup, error) {
	if v.Holds(known.Location) && !known.in(v) {
		return nil, known.elsewhere(v)
	}
	b, err := v.Open(ctx, known.TenantID, known.ID)
	if err == nil {
		err = known.same(b)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// same refuses a manifest that is not the one that the catalog knows.
func (known *Backup) same(b *Backup) error {
	if known.ManifestSHA256 == "" || b.ManifestSHA256 == known.ManifestSHA256 {
		return nil
	}
	return &Error{
		Kind: ErrDiffers, Code: "changed_manifest", Msg: fmt.Sprintf("the manifest of backup %s is not the one that the catalog knows: it was changed in %s", known.ID, known.Location),
		Hint: "restore another backup, and look who can write to the place of backups",
	}
}

// openKnown reads the manifest of a backup by its id, as open does where the catalog knows it.
func (s *Service) openKnown(ctx context.Context, v Vault, tenant, id uuid.UUID) (*Backup, error) {
	known := &Backup{ID: id, TenantID: tenant}
	err := s.catalog.pool.QueryRow(ctx, `SELECT manifest_sha256, location, coalesce(store, $2) FROM tenantctl.backups WHERE id = $1`, id, uuid.Nil).
		Scan(&known.ManifestSHA256, &known.Location, &known.Store)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, catalogError("read the backup", err)
	}
	return known.open(ctx, v)
}

// Scan is what a look into the place of backups found to be otherwise than the catalog had it.
type Scan struct {
	Added   []uuid.UUID `json:"added"`   // there, and unknown to the catalog
	Lost    []uuid.UUID `json:"lost"`    // in the catalog, and not there
	Partial []uuid.UUID `json:"partial"` // archives without a manifest: no backups; prune removes them
	Broken  []string    `json:"broken"`  // manifests that cannot be read, with the reason

	// Elsewhere are in another store that was under the same name when they were written; they are left in the catalog.
	Elsewhere []uuid.UUID `json:"elsewhere,omitempty"`

	partial []Stored
}

// ScanBackups puts the catalog's list of backups right by what is really there. Manifests that are new are read, and those of
// backups that the catalog has elsewhere: whoever asks for a scan says that this is their place.
func (s *Service) ScanBackups(ctx context.Context) (*Scan, error) { return s.scanBackups(ctx, true) }

// scanBackups is ScanBackups; backups that the catalog has elsewhere stay there unless they are to move.
func (s *Service) scanBackups(ctx context.Context, move bool) (*Scan, error) {
	v, err := s.vault(ctx)
	if err != nil {
		return nil, err
	}
	known := map[uuid.UUID]*Backup{}
	here := 0
	for b, err := range s.catalog.backups(ctx, new(query), false) {
		if err != nil {
			return nil, err
		}
		known[b.ID] = b
		if b.in(v) {
			here++
		}
	}
	empty := true
	met := map[uuid.UUID]bool{}
	r := &Scan{Added: []uuid.UUID{}, Lost: []uuid.UUID{}, Partial: []uuid.UUID{}, Broken: []string{}}
	for st, err := range v.List(ctx, uuid.Nil) {
		if err != nil {
			return nil, err
		}
		if !st.Whole {
			r.Partial, r.partial = append(r.Partial, st.ID), append(r.partial, st)
			continue
		}
		empty, met[st.ID] = false, true
		if b := known[st.ID]; b != nil && (b.in(v) && b.Store == v.ID() || !b.in(v) && !move) {
			continue
		}
		if err := s.scanned(ctx, v, st, known[st.ID], r); err != nil {
			return nil, err
		}
	}
	if empty && here > 0 {
		return nil, &Error{
			Kind: ErrDiffers, Code: "empty_place", Msg: fmt.Sprintf("the place of backups is empty, and the catalog knows %s there", Plural(here, "backup")),
			Hint: "is the right folder mounted, or the right bucket named, in backup.url?",
		}
	}
	for id, b := range known {
		switch {
		case met[id]:
		case b.in(v):
			if err := s.catalog.forgetBackup(ctx, id); err != nil {
				return nil, err
			}
			r.Lost = append(r.Lost, id)
		case v.Holds(b.Location):
			r.Elsewhere = append(r.Elsewhere, id)
		}
	}
	byText := func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) }
	slices.SortFunc(r.Lost, byText)
	slices.SortFunc(r.Elsewhere, byText)
	return r, nil
}

// scanned enters a backup that a scan has met; known is what the catalog has of it, or nil.
func (s *Service) scanned(ctx context.Context, v Vault, st Stored, known *Backup, r *Scan) error {
	b, err := v.Open(ctx, st.Tenant, st.ID)
	if err == nil && known != nil {
		err = known.same(b)
	}
	if errors.Is(err, ErrDiffers) || errors.Is(err, ErrInvalid) {
		r.Broken = append(r.Broken, fmt.Sprintf("%s: %v", st.ID, err))
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.catalog.addBackup(ctx, s.catalog.pool, b); err != nil {
		return catalogError("enter the backup", err)
	}
	if known == nil || !known.in(v) {
		r.Added = append(r.Added, b.ID)
	}
	return nil
}

// Kept is what a retention policy says of one backup.
type Kept struct {
	Backup  *Backup
	Reasons []string // why it is kept; empty: it goes
}

// PruneRequest asks for backups to be removed that no rule keeps.
type PruneRequest struct {
	Names []Name
	// Keep judges one tenant's backups, newest first: for each, the reasons to keep it.
	Keep   func(times []time.Time) [][]string
	DryRun bool
	// Confirm is asked before anything is removed, with all that would be; nil: nobody is asked. What is not part of that is
	// kept, whatever the rules say by then.
	Confirm func(PrunePlan) error
}

// PrunePlan is what a prune would remove.
type PrunePlan struct {
	Backups int
	Size    int64
	Tenants []Name // that lose some
	Partial int    // archives that killed backups have left
}

// keep judges the backups of a tenant: whole ones among themselves, and those of one store among those of that store.
func (req PruneRequest) keep(group []*Backup) [][]string {
	reasons := make([][]string, len(group))
	alike := map[string][]int{}
	for i, b := range group {
		alike[b.Only] = append(alike[b.Only], i)
	}
	for _, indexes := range alike {
		part, times := make([]*Backup, len(indexes)), make([]time.Time, len(indexes))
		for n, i := range indexes {
			part[n], times[n] = group[i], group[i].CreatedAt
		}
		for n, why := range req.keepAlike(part, times) {
			reasons[indexes[n]] = why
		}
	}
	return reasons
}

// keepAlike judges backups that hold the same stores. Those that are signed are judged among themselves too: a backup that
// somebody else put into the place of backups takes none of them away.
func (req PruneRequest) keepAlike(group []*Backup, times []time.Time) [][]string {
	reasons := req.Keep(times)
	var signed []int
	var theirs []time.Time
	for i, b := range group {
		if b.SignedBy != "" {
			signed, theirs = append(signed, i), append(theirs, times[i])
		}
	}
	if len(signed) == 0 || len(signed) == len(group) {
		return reasons
	}
	for n, among := range req.Keep(theirs) {
		if i := signed[n]; len(reasons[i]) == 0 {
			reasons[i] = among
		}
	}
	return reasons
}

// prunable selects the backups of the tenants of those names now, and of purged ones that had them; all where there are none.
func prunable(names []Name) *query {
	var q query
	if len(names) > 0 {
		n := q.arg(texts(names))
		q.and(`(b.tenant_id IN (SELECT t.id FROM tenantctl.tenants t WHERE t.name = ANY(` + n + `))
			OR b.tenant_id IN (SELECT x.tenant_id FROM tenantctl.backups x WHERE x.tenant_name = ANY(` + n + `))
				AND NOT EXISTS (SELECT FROM tenantctl.tenants t WHERE t.id = b.tenant_id))`)
	}
	return &q
}

// uploads are the archives that operations which have not ended may be writing.
func (c *Catalog) uploads(ctx context.Context) (map[uuid.UUID]bool, error) {
	out := map[uuid.UUID]bool{}
	for op, err := range c.operations(ctx, OperationFilter{Unfinished: true}) {
		if err != nil {
			return nil, err
		}
		if op.Kind == OpBackup || op.Kind == OpDelete {
			for _, id := range attempts(op) {
				out[id] = true
			}
		}
	}
	return out, nil
}

// removeBackup takes a backup away, the manifest first, and writes it into the audit. It is false where a hold was set since.
func (s *Service) removeBackup(ctx context.Context, v Vault, b *Backup) (gone bool, err error) {
	// A hold set since the list was read is honoured: the row says no in the same statement.
	tag, err := s.catalog.pool.Exec(ctx, `DELETE FROM tenantctl.backups b WHERE b.id = $1 AND NOT EXISTS (SELECT FROM tenantctl.tenants t WHERE t.id = b.tenant_id AND t.hold IS NOT NULL)`, b.ID)
	if err != nil {
		return false, catalogError("forget the backup", err)
	}
	if tag.RowsAffected() == 0 {
		return false, nil
	}
	if err := v.Remove(ctx, b.TenantID, b.ID); err != nil {
		// It is still there, whole or in part; the catalog says so again.
		return false, errors.Join(err, s.catalog.addBackup(context.WithoutCancel(ctx), s.catalog.pool, b))
	}
	return true, s.catalog.audit(ctx, s.catalog.pool, entry{
		action: "remove backup", tenant: &Tenant{ID: b.TenantID, Name: b.Tenant},
		detail: map[string]any{"backup": b.ID, "created_at": b.CreatedAt, "location": b.Location},
	})
}

// holds are the tenants that may lose nothing, with the reasons.
func (c *Catalog) holds(ctx context.Context) (map[uuid.UUID]string, error) {
	rows, err := c.pool.Query(ctx, `SELECT id, hold FROM tenantctl.tenants WHERE hold IS NOT NULL`)
	if err != nil {
		return nil, catalogError("read the holds", err)
	}
	out := map[uuid.UUID]string{}
	var id uuid.UUID
	var why string
	_, err = pgx.ForEachRow(rows, []any{&id, &why}, func() error {
		out[id] = why
		return nil
	})
	return out, catalogError("read the holds", err)
}

// Deletions gives the records of what was purged, newest first; of one name, or of all where it is empty.
func (s *Service) Deletions(ctx context.Context, name Name) ([]json.RawMessage, error) {
	rows, err := s.catalog.pool.Query(ctx, `SELECT record FROM tenantctl.deletions WHERE $1 = '' OR tenant_name = $1 OR tenant_id::text = $1 ORDER BY at DESC`, string(name))
	if err != nil {
		return nil, catalogError("read the deletions", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[json.RawMessage])
	if err == nil && name != "" && len(out) == 0 {
		return nil, &Error{Kind: ErrNotFound, Tenant: name, Msg: "no record of a deletion", Hint: "tenantctl purge record shows all"}
	}
	return out, catalogError("read the deletions", err)
}
