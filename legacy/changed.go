package legacy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// checksumOf tells one version of a table's mapping from another: by all that decides which rows are loaded and what their
// values are, and not by how they are loaded.
func checksumOf(m *Mapping, t *Table) string {
	one := *t
	one.Mode, one.OnError, one.Triggers, one.Since = "", "", "", ""
	var source SourceSpec
	if s := m.Sources[t.Source]; s != nil {
		source = *s
		source.URL, source.URLEnv, source.URLFile, source.Path, source.MaxConnections = "", "", "", "", 0
	}
	b, err := json.Marshal([]any{one, m.Tenants.Key, source})
	if err != nil {
		panic(err) // plain structs of texts
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// loads tells whether the mapping loads a target.
func (m *Mapping) loads(target string) bool {
	return slices.ContainsFunc(m.Tables, func(t *Table) bool { return t.Shared != SharedSkip && t.Name() == target })
}

// Change is a table whose mapping is another than the one that an earlier run went by.
type Change struct {
	Table  string    `json:"table"`
	Run    uuid.UUID `json:"run"`    // that went by the other
	What   string    `json:"what"`   // changed, gone from the mapping, shared: skip now
	Half   bool      `json:"half"`   // its load is not over
	Loaded bool      `json:"loaded"` // rows of it are in tenants
}

// The ways in which a mapping changes for a table.
const (
	changedTable = "changed"
	goneTable    = "not in the mapping any more"
	skippedTable = "set to shared: skip"
)

// Gone tells whether the mapping does not load the table any more.
func (c Change) Gone() bool { return c.What != changedTable }

// String is a change for a person.
func (c Change) String() string {
	return fmt.Sprintf("mapping changed since run %s: table %s: %s", tenant.ShortID(c.Run), c.Table, c.What)
}

// Changes compares the mapping with what earlier runs of its import went by.
func Changes(ctx context.Context, s *tenant.Service, m *Mapping) ([]Change, error) {
	known := map[string]*Table{}
	for _, t := range m.Tables {
		known[t.Name()] = t
	}
	found := map[string]Change{}
	see := func(target, mapping string, c Change) {
		t := known[target]
		switch {
		case t == nil:
			c.What = goneTable
		case t.Shared == SharedSkip:
			c.What = skippedTable
		case mapping != "" && mapping != checksumOf(m, t):
			c.What = changedTable
		default:
			return
		}
		old := found[target]
		c.Table, c.Half, c.Loaded = target, c.Half || old.Half, c.Loaded || old.Loaded
		if c.Run == uuid.Nil {
			c.Run = old.Run
		}
		found[target] = c
	}
	loads, err := s.ImportLoads(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	for _, l := range loads {
		see(l.Target, l.Mapping, Change{Run: l.Run, Loaded: l.Whole || l.Loaded > 0})
	}
	imports, err := s.Imports(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	for _, i := range imports {
		for _, p := range i.Passes {
			mapping := p.Mapping
			if !p.Planned {
				mapping = ""
			}
			see(p.Target, mapping, Change{Run: p.Run, Half: true})
		}
	}
	var out []Change
	for _, c := range found {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Change) int { return strings.Compare(a.Table, b.Table) })
	return out, nil
}

// checkChanges refuses, before anything is touched, tables whose mapping was changed since they were loaded, and loads that
// cannot be gone on with. It tells of tables that the mapping does not load any more, and ends their passes.
func (r *run) checkChanges(ctx context.Context) error {
	changes, err := Changes(ctx, r.Service, r.m)
	if err != nil {
		return err
	}
	wanted := map[string]*Table{}
	for _, t := range r.wanted() {
		wanted[t.Name()] = t
	}
	var gone []string
	for _, c := range changes {
		t := wanted[c.Table]
		switch {
		case c.Gone():
			r.report.Notes = append(r.report.Notes, c.String())
			gone = append(gone, c.Table)
		case t == nil, slices.Contains(r.Restart, c.Table), r.Again && !c.Half && r.Since == "":
		case r.Rejects != nil:
			r.report.Notes = append(r.report.Notes, c.String())
		default:
			return tenant.Invalid(restartHint(c.Table), "%s", c)
		}
	}
	imports, err := r.Service.Imports(ctx, r.m.Name)
	if err != nil {
		return err
	}
	for _, i := range imports {
		for _, p := range i.Passes {
			if r.Rejects == nil && !p.Planned && wanted[p.Target] != nil && !slices.Contains(r.Restart, p.Target) {
				return tenant.Invalid(restartHint(p.Target), "an older version of tenantctl began the load of %s: this one cannot tell where it ended", p.Target)
			}
		}
	}
	if len(gone) > 0 && !r.DryRun {
		return r.held.DropPasses(ctx, gone)
	}
	return nil
}

// restartHint says how a table is loaded anew.
func restartHint(table string) string {
	return fmt.Sprintf("add --restart %s, which empties what this import loaded there and loads it again", table)
}

// checkRestarts refuses to restart what would take rows away that this import has not loaded.
func (r *run) checkRestarts(ctx context.Context) error {
	if len(r.Restart) == 0 {
		return nil
	}
	loads, err := r.loadsOf(ctx)
	if err != nil {
		return err
	}
	for _, t := range r.wanted() {
		if !slices.Contains(r.Restart, t.Name()) {
			continue
		}
		there, _, err := r.held.Pass(ctx, t.Name())
		if err != nil {
			return err
		}
		if there != nil && !r.everyone {
			return tenant.Invalid("leave --tenant out", "the load of %s is not over for other tenants: it is restarted for all", t.Name())
		}
		known := map[uuid.UUID]bool{}
		for _, at := range r.recipients(t) {
			known[r.tenantAt(at)] = true
		}
		for id := range loads[t.Name()] {
			if !known[id] && id != uuid.Nil && r.everyone {
				r.report.Notes = append(r.report.Notes, fmt.Sprintf("table %s: what was loaded for tenant %s stays: it is not in the tenant list any more", t.Name(), id))
			}
		}
		if t.Mode == ModeReplace {
			continue // it empties whatever is there
		}
		err = r.each(ctx, r.recipients(t), func(ctx context.Context, at int32) error {
			l := loads[t.Name()][r.tenantAt(at)]
			for _, o := range r.m.entriesOf(t) {
				if o != t {
					l.Loaded += loads[o.Name()][r.tenantAt(at)].Loaded
				}
			}
			return r.onlyLoaded(ctx, at, t, l)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// onlyLoaded fails where a tenant has more rows than the import loaded.
func (r *run) onlyLoaded(ctx context.Context, at int32, t *Table, l tenant.ImportLoad) error {
	var rows int64
	var err error
	name, store := r.list[at].tenant.Name, tenant.KindPostgres
	if t.ToCollection != "" {
		store = tenant.KindMongoDB
		rows, err = r.collection(at, t).CountDocuments(ctx, struct{}{})
		err = documentError("count the documents of "+t.ToCollection, name, err)
	} else {
		err = targetError("count the rows of "+t.Name(), r.Postgres.QueryRow(ctx, "SELECT count(*) FROM "+r.rows(at, t)).Scan(&rows))
	}
	if err != nil || rows <= l.Loaded || l.Loaded == 0 && !l.Whole {
		return err
	}
	return &tenant.Error{
		Kind: tenant.ErrInvalid, Store: store, Tenant: name,
		Msg:  fmt.Sprintf("%s has %d rows, and this import loaded %d: to restart it would take the others away", t.Name(), rows, l.Loaded),
		Hint: "set mode: replace in the mapping, which takes every row away, or take the others out first",
	}
}
