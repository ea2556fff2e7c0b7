package tenant

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Verifier is a Resource that finds where it is not what the catalog says and the policy allows.
type Verifier interface {
	Migrator
	// Verify looks at the places of tenants, all at once, and hands over what is wrong with them, one fault after the other.
	// Peers are only compared with: what most have.
	Verify(ctx context.Context, ts, peers []Tenant, found func(Fault)) error
	// Orphans hands over what bears tenantctl's mark and is of none of the known tenants, and as a warning what bears no
	// mark but begins with prefix.
	Orphans(ctx context.Context, known []Tenant, prefix string, found func(Fault)) error
	// Structures fingerprints the structures of tenants' places, in the order given; "" where there is none, and where the
	// error, an Unreadable, says why it cannot be read.
	Structures(ctx context.Context, ts []Tenant) ([]string, error)
	// Outline is the structure of a tenant's place as lines of the store's own language, without the tenant's names.
	Outline(ctx context.Context, t Tenant) ([]OutlinePart, error)
	// Retag gives lost ownership tags back, under the lease of ctx, where nothing says that what is there is not the tenant's:
	// no other owner's tag, the version table, the structure that peers at the same version have.
	Retag(ctx context.Context, t Tenant, peers []Tenant) (changed bool, err error)
	// Mend puts right what Verify finds with a Fix, under the lease of ctx, and tells whether there was anything.
	Mend(ctx context.Context, t Tenant) (changed bool, err error)
	// Align gives the statements that make the structure of a tenant's place that of another's, and drop nothing that holds
	// data. Where there are none that can, reason tells why.
	Align(ctx context.Context, t, like Tenant) (statements []string, reason string, err error)
	// Realign runs such statements under the lease of ctx in a place whose structure has the fingerprint have, and
	// refuses to end with any other than want, in one transaction where the store has them.
	Realign(ctx context.Context, t Tenant, statements []string, have, want string) error
}

// Fault is one thing in a store that is not what it should be. Object and Message do not name the tenant, so that equal
// faults of many are equal.
type Fault struct {
	Tenant  uuid.UUID // uuid.Nil where it is nobody's
	Rule    string
	Object  string // "table orders"; empty for the place as a whole
	Message string
	Hint    string // the way out
	Fix     string // what Mend would do; empty where it does nothing about it
	Warning bool   // nothing is broken, but somebody should look
	Tag     bool   // a lost ownership tag, which Retag gives back
}

// Unreadable are the tenants of several that could not be read, and why; the others were.
type Unreadable map[uuid.UUID]*Error

// Error says it of one of them.
func (u Unreadable) Error() string {
	for _, err := range u {
		return err.Error()
	}
	return "nothing is unreadable"
}

// FaultGroup is one fault and every tenant that has it.
type FaultGroup struct {
	Store    string `json:"store"`
	Rule     string `json:"rule"`
	Severity string `json:"severity"` // "error" or "warning"
	Object   string `json:"object,omitempty"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
	Fixable  bool   `json:"fixable"`
	Fix      string `json:"fix,omitempty"` // of the first tenant
	Count    int    `json:"count"`         // tenants; 0 where it is nobody's
	Tenants  []Name `json:"tenants"`       // the first 20

	of []found
}

// found is one tenant's finding: what it is about, and whose it is.
type found struct {
	what uint64 // store, rule, object and tenant, whatever the text says
	name Name
}

// Rules that every store has.
const (
	ruleVersionBook    = "version-book"
	ruleVersionUnknown = "unknown-version"
	ruleVersionCache   = "version-cache"
	ruleDrift          = "structure-drift"
	ruleUnreadable     = "unreadable"
)

// VerifyRequest asks for a verification.
type VerifyRequest struct {
	Selection Selection // empty for the whole fleet, and then orphans are looked for too
	Only      string    // the store; empty for all
}

// Verification is what was found.
type Verification struct {
	Tenants    int              `json:"tenants"` // that were looked at
	Skipped    []SkippedTenants `json:"skipped"`
	Structures []FleetStructure `json:"structures"`
	Findings   []FaultGroup     `json:"findings"`
	Summary    FaultSummary     `json:"summary"`
	DurationMS int64            `json:"duration_ms"`

	mendable map[uuid.UUID]bool
	lost     map[uuid.UUID]bool // mendable by giving an ownership tag back
	drifts   []*Drift
}

// SkippedTenants are those that are not in a state that could be compared.
type SkippedTenants struct {
	Reason  string `json:"reason"`
	Count   int    `json:"count"`
	Tenants []Name `json:"tenants"` // the first 20
}

// FleetStructure is the structure that most tenants at one version of a store have: the measure of the others.
type FleetStructure struct {
	Store   string `json:"store"`
	Version int64  `json:"version"`
	Tenants int    `json:"tenants"` // that have it
	Of      int    `json:"of"`      // that are at this version and were looked at
	Example Name   `json:"example"`
}

// FaultSummary counts what was found.
type FaultSummary struct {
	Findings int `json:"findings"` // groups
	Warnings int `json:"warnings"` // groups
	Tenants  int `json:"tenants"`  // that have an error
	Fixable  int `json:"fixable"`  // groups
}

// Err is ErrDiffers where something is wrong; warnings alone are not.
func (v *Verification) Err() error {
	errors := v.Summary.Findings - v.Summary.Warnings
	if errors == 0 {
		return nil
	}
	e := &Error{Kind: ErrDiffers, Msg: fmt.Sprintf("%s in %s", Plural(errors, "finding"), Plural(v.Summary.Tenants, "tenant"))}
	if v.Summary.Fixable > 0 {
		e.Hint = "tenantctl verify --fix --dry-run shows what can be put right"
	}
	return e
}

// peers is how many tenants a selection is compared with.
const peers = 200

// verifying is a verification under way.
type verifying struct {
	s       *Service
	v       *Verification
	whole   bool
	began   time.Time            // by the catalog's clock
	known   []Tenant             // everything in the catalog
	tenants map[uuid.UUID]Tenant // known, by id
	asked   []Tenant             // to be verified
	beside  []Tenant             // compared with
	groups  faultGroups          // of what was found
	pending []Fault              // not yet in groups
	broken  error                // why pending could not be judged
	faulty  map[uuid.UUID]bool   // tenants with an error
	skipped map[string]int       // index in v.Skipped
	moving  map[uuid.UUID]string // why a tenant is not looked at
}

// Verify compares the catalog with what the stores hold of the selected tenants, and touches nothing. Tenants that an
// operation is at work on are left out.
func (s *Service) Verify(ctx context.Context, req VerifyRequest) (*Verification, error) {
	start := time.Now()
	stores, err := s.verifiers(req.Only)
	if err != nil {
		return nil, err
	}
	if err := s.catalog.matches(ctx, req.Selection, "true", "tenant"); err != nil {
		return nil, err
	}
	x := &verifying{s: s, whole: req.Selection.Empty() || req.Selection.onlyAll(), tenants: map[uuid.UUID]Tenant{}, faulty: map[uuid.UUID]bool{}, skipped: map[string]int{}}
	x.v = &Verification{Skipped: []SkippedTenants{}, Structures: []FleetStructure{}, Findings: []FaultGroup{}, mendable: map[uuid.UUID]bool{}, lost: map[uuid.UUID]bool{}}
	if err := x.choose(ctx, req.Selection); err != nil {
		return nil, err
	}
	for _, store := range stores {
		if err := x.store(ctx, store); err != nil {
			return nil, err
		}
	}
	x.v.Findings = x.groups.list()
	for _, g := range x.v.Findings {
		if x.v.Summary.Findings++; g.Severity == severityWarning {
			x.v.Summary.Warnings++
		}
		if g.Fixable {
			x.v.Summary.Fixable++
		}
	}
	x.v.Summary.Tenants = len(x.faulty)
	x.v.DurationMS = time.Since(start).Milliseconds()
	return x.v, nil
}

// verifiers gives the stores that are asked.
func (s *Service) verifiers(only string) ([]Verifier, error) {
	all := each[Verifier](s)
	if only == "" {
		return all, nil
	}
	i := slices.IndexFunc(all, func(v Verifier) bool { return v.Kind() == only })
	if i < 0 {
		return nil, Invalid("the stores are postgres and mongodb, if the configuration has it", "there is no store %s here", shorten(only))
	}
	return all[i : i+1], nil
}

// onlyAll tells a selection that leaves nobody out.
func (s Selection) onlyAll() bool {
	return s.All && len(s.Names) == 0 && len(s.Selector) == 0 && len(s.States) == 0 && s.Shard.Of <= 1
}

// choose reads the catalog: who is asked for, and whom they are compared with.
func (x *verifying) choose(ctx context.Context, sel Selection) (err error) {
	if x.began, err = x.s.catalog.now(ctx); err != nil {
		return catalogError("ask for the time", err)
	}
	if x.moving, err = x.s.catalog.inMotion(ctx); err != nil {
		return err
	}
	var all query
	if x.known, err = x.read(ctx, &all); err != nil {
		return err
	}
	wanted := x.known
	if !x.whole {
		var q query
		sel.where(&q)
		if wanted, err = x.read(ctx, &q); err != nil {
			return err
		}
	}
	isAsked := make(map[uuid.UUID]bool, len(wanted))
	for _, t := range wanted {
		isAsked[t.ID] = true
		reason := x.moving[t.ID]
		if reason == "" && !t.State.Migrates() && t.State != Deleted && t.State != Deleting {
			reason = "it is " + string(t.State)
		}
		if reason != "" {
			x.skip(t, reason)
			continue
		}
		x.asked = append(x.asked, t)
	}
	x.v.Tenants = len(x.asked)
	for _, t := range x.known {
		x.tenants[t.ID] = t
		x.groups.know(t)
		if !isAsked[t.ID] && t.State.Migrates() && x.moving[t.ID] == "" && len(x.beside) < peers {
			x.beside = append(x.beside, t)
		}
	}
	return nil
}

// read gives tenants without what is of no use here.
func (x *verifying) read(ctx context.Context, q *query) (ts []Tenant, err error) {
	for t, err := range x.s.catalog.tenants(ctx, q) {
		if err != nil {
			return nil, err
		}
		t.Labels, t.Domains = maps.Clone(t.Labels), nil
		maps.DeleteFunc(t.Labels, func(k, _ string) bool { return k != labelOf })
		ts = append(ts, t)
	}
	return ts, nil
}

// placedIn tells whether there is to be anything of the tenant in a store: what a restore has put beside another tenant is
// in those alone of which it has a version.
func (t Tenant) placedIn(store string) bool {
	_, versioned := t.Versions[store]
	return versioned || t.State != Deleted || t.deletedFrom != "" && t.Labels[labelOf] == ""
}

func (x *verifying) skip(t Tenant, reason string) {
	i, ok := x.skipped[reason]
	if !ok {
		i = len(x.v.Skipped)
		x.skipped[reason] = i
		x.v.Skipped = append(x.v.Skipped, SkippedTenants{Reason: reason, Tenants: []Name{}})
	}
	g := &x.v.Skipped[i]
	if g.Count++; len(g.Tenants) < groupNames {
		g.Tenants = append(g.Tenants, t.Name)
	}
}

// inMotion gives the tenants that operations are at work on, and why they are left alone. What a dead process has left that
// is simply run again leaves its tenant to be looked at.
func (c *Catalog) inMotion(ctx context.Context) (map[uuid.UUID]string, error) {
	rows, err := c.pool.Query(ctx, `SELECT `+operationColumns+` FROM tenantctl.operations o WHERE o.tenant_id IS NOT NULL AND o.state IN ('running', 'undoing', 'stuck')`)
	if err != nil {
		return nil, catalogError("read the operations", err)
	}
	ops, err := pgx.CollectRows(rows, scanOperation)
	if err != nil {
		return nil, catalogError("read the operations", err)
	}
	out := map[uuid.UUID]string{}
	for _, op := range ops {
		if op.restartable() && c.dead(op) {
			continue
		}
		out[*op.TenantID] = "operation " + op.Kind + " is not over"
		if op.Kind != OpRestore {
			continue
		}
		var p restoreParams
		if err := json.Unmarshal(op.Params, &p); err != nil {
			return nil, fmt.Errorf("read the operation's parameters: %w", err)
		}
		if p.Beside != nil {
			out[p.Beside.ID] = out[*op.TenantID]
		}
	}
	return out, nil
}

// store verifies one store.
func (x *verifying) store(ctx context.Context, store Verifier) error {
	unreadable := map[uuid.UUID]bool{}
	found := func(f Fault) {
		if f.Rule == ruleUnreadable {
			if unreadable[f.Tenant] { // each look finds it
				return
			}
			unreadable[f.Tenant] = true
		}
		if x.pending = append(x.pending, f); len(x.pending) >= faultsAtOnce {
			x.judge(ctx, store.Kind())
		}
	}
	asked := slices.DeleteFunc(slices.Clone(x.asked), func(t Tenant) bool { return !t.placedIn(store.Kind()) })
	if err := store.Verify(ctx, asked, x.beside, found); err != nil {
		return err
	}
	if err := x.versionsAndStructures(ctx, store, found); err != nil {
		return err
	}
	x.judge(ctx, store.Kind())
	if x.broken != nil || !x.whole {
		return x.broken
	}
	return x.orphans(ctx, store)
}

// orphans looks for places of nobody. What is of nobody may be of a tenant that was made meanwhile.
func (x *verifying) orphans(ctx context.Context, store Verifier) error {
	var all []Fault
	add := func(f Fault) { all = append(all, f) }
	if err := store.Orphans(ctx, x.known, x.s.Naming.Prefix, add); err != nil || len(all) == 0 {
		return err
	}
	var q query
	now, err := x.read(ctx, &q)
	if err != nil {
		return err
	}
	all = nil
	if err := store.Orphans(ctx, slices.Concat(x.known, now), x.s.Naming.Prefix, add); err != nil {
		return err
	}
	for _, f := range all {
		x.groups.add(store.Kind(), Tenant{}, f)
	}
	return nil
}

// faultsAtOnce is how many faults are held before they are put into groups.
const faultsAtOnce = 10_000

// judge puts faults into groups, but for those of tenants that something has been at work on meanwhile.
func (x *verifying) judge(ctx context.Context, store string) {
	if len(x.pending) == 0 || x.broken != nil {
		return
	}
	ids := map[uuid.UUID]bool{}
	for _, f := range x.pending {
		ids[f.Tenant] = true
	}
	moved, err := x.s.catalog.movedSince(ctx, ids, x.began)
	if err != nil {
		x.broken = err
		return
	}
	for _, f := range x.pending {
		if moved[f.Tenant] {
			continue
		}
		x.groups.add(store, x.tenants[f.Tenant], f)
		if !f.Warning {
			x.faulty[f.Tenant] = true
		}
		if f.Fix != "" {
			x.v.mendable[f.Tenant] = true
			x.v.lost[f.Tenant] = x.v.lost[f.Tenant] || f.Tag
		}
	}
	x.pending = x.pending[:0]
}

// movedSince gives those of the tenants that are gone, or that an operation has been at work on since then.
func (c *Catalog) movedSince(ctx context.Context, ids map[uuid.UUID]bool, since time.Time) (map[uuid.UUID]bool, error) {
	list := make([]string, 0, len(ids))
	for id := range ids {
		list = append(list, id.String())
	}
	rows, err := c.pool.Query(ctx, `SELECT x.id FROM unnest($1::uuid[]) x(id) WHERE NOT EXISTS (SELECT FROM tenantctl.tenants t WHERE t.id = x.id)
		OR EXISTS (SELECT FROM tenantctl.operations o WHERE o.tenant_id = x.id AND (o.state IN ('running', 'undoing', 'stuck') AND o.started_at >= $2 OR o.finished_at >= $2))
		OR `+beingFilled("x.id"), list, since)
	if err != nil {
		return nil, catalogError("read the operations", err)
	}
	gone, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	out := map[uuid.UUID]bool{}
	for _, id := range gone {
		out[id] = true
	}
	return out, catalogError("read the operations", err)
}
