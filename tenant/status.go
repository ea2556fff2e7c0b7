package tenant

import (
	"context"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"
)

// MigrationStatus is how far the fleet is.
type MigrationStatus struct {
	Target   map[string]int64          `json:"target"`
	Tenants  int                       `json:"tenants"`
	Current  int                       `json:"current"`
	Behind   []Behind                  `json:"behind"`
	Unknown  []UnknownVersion          `json:"unknown"`
	Versions map[string][]VersionCount `json:"versions"` // by kind of store, oldest first
	Differ   []VersionDiffers          `json:"differ,omitempty"`
	Verified bool                      `json:"verified"`
}

// UnknownVersion is a tenant whose version is not one of the files', or could not be read.
type UnknownVersion struct {
	Name     Name             `json:"name"`
	Versions map[string]int64 `json:"versions"`
	Reason   string           `json:"reason"`
}

// VersionCount is one version and how many tenants are at it.
type VersionCount struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
	Tenants int    `json:"tenants"`
}

// VersionDiffers is a tenant whose books say something else than the catalog did.
type VersionDiffers struct {
	Name     Name   `json:"name"`
	Store    string `json:"store"`
	Recorded int64  `json:"recorded"`
	Real     int64  `json:"real"`
}

// Status tells how far the selected tenants are. With verify it reads the real books in every store and puts the
// catalog's record right; what differed is in Differ.
func (s *Service) Status(ctx context.Context, sel Selection, verify bool) (*MigrationStatus, error) {
	ts, _, err := s.targets(ctx, "", Newest)
	if err != nil {
		return nil, err
	}
	if err := s.catalog.workable(ctx, sel); err != nil {
		return nil, err
	}
	for i := range ts {
		if verify && ts[i].asked {
			if err := s.newestReal(ctx, &ts[i], sel); err != nil {
				return nil, err
			}
		}
	}
	st := &statusOf{MigrationStatus: MigrationStatus{Target: versionsOf(ts), Behind: []Behind{}, Unknown: []UnknownVersion{}, Versions: map[string][]VersionCount{}, Verified: verify}}
	st.index, st.asked = map[string]map[int64]int{}, map[string]bool{}
	for _, t := range ts {
		if t.asked {
			if err := s.askedVersions(ctx, t, st); err != nil {
				return nil, err
			}
			continue
		}
		files, err := t.m.Files(ctx)
		if err != nil {
			return nil, err
		}
		counts := []VersionCount{{Version: 0, Name: "nothing applied"}}
		st.index[t.kind] = map[int64]int{0: 0}
		for i, f := range files {
			counts = append(counts, VersionCount{Version: f.Version, Name: f.Name})
			st.index[t.kind][f.Version] = i + 1
		}
		st.Versions[t.kind] = counts
	}
	var batch []Tenant
	flush := func() error {
		defer func() { batch = batch[:0] }()
		if verify {
			return s.verifyBatch(ctx, ts, batch, st)
		}
		for _, t := range batch {
			st.add(t, "")
		}
		return nil
	}
	for t, err := range s.catalog.tenants(ctx, s.selectMigrating(sel)) {
		if err != nil {
			return nil, err
		}
		if batch = append(batch, t); len(batch) == page {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return &st.MigrationStatus, nil
}

// byOther stands where a file's name would.
const byOther = "(of migrations.command)"

type statusOf struct {
	MigrationStatus
	index map[string]map[int64]int // position in Versions by kind and version
	asked map[string]bool          // kinds whose versions another tool counts
}

// add counts one tenant by its versions; unreadable says why they are not known.
func (st *statusOf) add(t Tenant, unreadable string) {
	st.Tenants++
	current := true
	for kind, to := range st.Target {
		v := t.Versions[kind]
		if _, ok := st.index[kind][v]; !ok && st.asked[kind] {
			st.index[kind][v] = len(st.Versions[kind])
			st.Versions[kind] = append(st.Versions[kind], VersionCount{Version: v, Name: byOther})
		}
		if i, ok := st.index[kind][v]; ok {
			st.Versions[kind][i].Tenants++
		} else if unreadable == "" {
			unreadable = fmt.Sprintf("%s is at version %d, which the files do not know", kind, v)
		}
		current = current && v == to
	}
	switch {
	case unreadable != "":
		st.Unknown = append(st.Unknown, UnknownVersion{Name: t.Name, Versions: t.Versions, Reason: unreadable})
	case current:
		st.Current++
	default:
		st.Behind = append(st.Behind, Behind{Name: t.Name, Versions: t.Versions})
	}
}

// newestReal makes the highest version that a selected tenant really has the one that the others are compared with.
func (s *Service) newestReal(ctx context.Context, t *target, sel Selection) error {
	var all []Tenant
	for tn, err := range s.catalog.tenants(ctx, s.selectMigrating(sel)) {
		if err != nil {
			return err
		}
		all = append(all, Tenant{ID: tn.ID, Name: tn.Name, Schema: tn.Schema})
	}
	vs, err := t.m.Versions(ctx, all)
	for _, v := range vs {
		t.to = max(t.to, v.Version)
	}
	return err
}

// askedVersions lists the versions that tenants have of another tool, as last recorded.
func (s *Service) askedVersions(ctx context.Context, t target, st *statusOf) error {
	rows, err := s.catalog.pool.Query(ctx, `SELECT DISTINCT v.version FROM tenantctl.versions v JOIN tenantctl.tenants t ON t.id = v.tenant_id WHERE v.kind = $1 AND v.version > 0 AND `+migrating+` ORDER BY 1`, t.kind)
	if err != nil {
		return catalogError("read the versions", err)
	}
	versions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return catalogError("read the versions", err)
	}
	st.Versions[t.kind] = []VersionCount{{Version: 0, Name: "nothing applied"}}
	st.index[t.kind], st.asked[t.kind] = map[int64]int{0: 0}, true
	for i, v := range versions {
		st.Versions[t.kind] = append(st.Versions[t.kind], VersionCount{Version: v, Name: byOther})
		st.index[t.kind][v] = i + 1
	}
	return nil
}

// verifyBatch reads the real versions of some tenants, and puts the catalog's record right.
func (s *Service) verifyBatch(ctx context.Context, ts []target, batch []Tenant, st *statusOf) error {
	if len(batch) == 0 {
		return nil
	}
	unreadable := make([]string, len(batch))
	for i := range batch {
		batch[i].Versions = maps.Clone(batch[i].Versions)
	}
	for _, target := range ts {
		vs, err := target.m.Versions(ctx, batch)
		if err != nil {
			return err
		}
		for i, v := range vs {
			t := &batch[i]
			if v.Err != nil || v.Presence != Ours {
				unreadable[i] = fmt.Sprintf("%s: %s", target.kind, v.Presence)
				if v.Err != nil {
					unreadable[i] = NewFailure(v.Err).Message
				}
				continue
			}
			if was := t.Versions[target.kind]; was != v.Version {
				st.Differ = append(st.Differ, VersionDiffers{Name: t.Name, Store: target.kind, Recorded: was, Real: v.Version})
			}
			t.Versions[target.kind] = v.Version
		}
		if err := s.catalog.refresh(ctx, target.kind, batch, vs); err != nil {
			return err
		}
	}
	for i, t := range batch {
		st.add(t, unreadable[i])
	}
	return nil
}

// refresh puts the catalog's record of versions right, in one statement, unless an operation is about to write it itself.
func (c *Catalog) refresh(ctx context.Context, kind string, ts []Tenant, vs []Version) error {
	var ids []string
	var versions, applied []int64
	for i, v := range vs {
		if v.Err == nil && v.Presence == Ours {
			ids, versions, applied = append(ids, ts[i].ID.String()), append(versions, v.Version), append(applied, int64(v.Applied))
		}
	}
	_, err := c.pool.Exec(ctx, `SELECT tenantctl.record(v.tenant_id, v.kind, r.version, r.applied::integer)
		FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS r(id, version, applied)
		JOIN tenantctl.versions v ON v.tenant_id = r.id AND v.kind = $4 AND (v.version, v.applied) IS DISTINCT FROM (r.version, r.applied::integer)
		WHERE NOT EXISTS (SELECT FROM tenantctl.operations o WHERE o.tenant_id = r.id AND o.state IN ('running', 'undoing', 'stuck'))`,
		ids, versions, applied, kind)
	return catalogError("record the versions", err)
}

// Err is ErrDiffers where the catalog's record was not what the stores hold.
func (m *MigrationStatus) Err() error {
	if len(m.Differ) == 0 && (!m.Verified || len(m.Unknown) == 0) {
		return nil
	}
	return &Error{
		Kind: ErrDiffers, Msg: fmt.Sprintf("%d versions were recorded wrongly and are corrected now; %d tenants could not be read or are at an unknown version", len(m.Differ), len(m.Unknown)),
		Hint: "tenantctl migrate brings them to the target",
	}
}
