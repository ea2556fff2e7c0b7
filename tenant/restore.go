package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// The ways of a restore.
const (
	RestoreSwitch = "switch" // beside the tenant, then in its place; what it had is kept like a deleted tenant
	RestoreNew    = "new"    // a tenant of another name
	RestoreSide   = "side"   // a place that nobody logs in to, kept like a deleted tenant: for a part of a backup
)

// RestoreRequest asks for a backup to be restored.
type RestoreRequest struct {
	Backup      string   // its id, a beginning or end of it, or NAME@latest
	As          string   // the new tenant's name; empty: in the place of the tenant that it was made of
	Owner       string   // who is to own what is made; empty: who owns the tenant's place
	Only        string   // one Kind; empty for every store
	Tables      []string // only the rows of these
	Collections []string
	Dependents  DependentPolicy // for a restore in the tenant's place
}

// partial tells that not the whole backup is asked for.
func (r RestoreRequest) partial() bool {
	return r.Only != "" || len(r.Tables) > 0 || len(r.Collections) > 0
}

// RestorePlan is what a restore would do.
type RestorePlan struct {
	Backup   *Backup          `json:"backup"`
	Way      string           `json:"way"`
	Tenant   Tenant           `json:"tenant"`             // as it is now, or would be made
	Stores   []string         `json:"stores"`             // kinds of those that are restored
	Migrates map[string]int64 `json:"migrates,omitempty"` // by kind of store, the version that it would be migrated to

	// Dependents are outside the tenant's schema and depend on what would be replaced.
	Dependents []Dependent `json:"dependents,omitempty"`

	params restoreParams
}

// restoreParams are what the catalog keeps of a restore, so that any process can go on with it.
type restoreParams struct {
	Backup uuid.UUID           `json:"backup"`
	Of     uuid.UUID           `json:"of"` // the tenant that the backup was made of
	Way    string              `json:"way"`
	Owner  string              `json:"owner,omitempty"`  // of what is made, where it is not the store's own user
	Beside *Tenant             `json:"beside,omitempty"` // for a switch: the place that is filled
	Names  map[string][]string `json:"names,omitempty"`  // by kind of store: only the rows of these; a store that is not in it is left out; nil for all

	DependentPolicy
}

// Refusal tells why the restore would be refused because of what depends on the tenant's objects, nil where it would not.
func (p *RestorePlan) Refusal() error {
	_, err := p.params.repointed(p.Tenant, p.Dependents)
	return err
}

// PlanRestore checks a restore against every rule, reads the manifest, and touches nothing.
func (s *Service) PlanRestore(ctx context.Context, req RestoreRequest) (*RestorePlan, error) {
	if err := s.mayRunCode(ctx); err != nil {
		return nil, err
	}
	b, err := s.OpenBackup(ctx, req.Backup)
	if err != nil {
		return nil, err
	}
	names, err := s.wanted(b, req)
	if err != nil {
		return nil, err
	}
	p := &RestorePlan{Backup: b, Way: RestoreSwitch, params: restoreParams{Backup: b.ID, Of: b.TenantID, Names: names, DependentPolicy: req.Dependents}}
	if p.Migrates, err = s.migrates(ctx, b, names); err != nil {
		return nil, err
	}
	p.Stores = slices.Sorted(maps.Keys(b.Stores))
	if names != nil {
		p.Stores = slices.Sorted(maps.Keys(names))
	}
	switch {
	case req.partial():
		p.Way, p.Migrates = RestoreSide, nil
	case req.As != "":
		p.Way = RestoreNew
	}
	p.params.Way = p.Way
	if p.params.Owner, err = s.ownerFor(ctx, b, req.Owner, true); err != nil {
		return nil, err
	}
	if p.Way == RestoreSwitch {
		p.Tenant, err = s.catalog.byID(ctx, b.TenantID, b.Tenant)
		if errors.Is(err, ErrNotFound) {
			return nil, &Error{Kind: ErrNotFound, Tenant: b.Tenant, Msg: "is no tenant any more", Hint: "make one of the backup: --as " + string(b.Tenant)}
		}
		if err == nil && !p.Tenant.State.Migrates() {
			hint := "tenantctl describe " + string(p.Tenant.Name)
			if p.Tenant.State == Deleted {
				hint = fmt.Sprintf("tenantctl undelete %s first, or make another tenant of the backup with --as", p.Tenant.Name)
			}
			return nil, &Error{Kind: ErrInvalid, Tenant: p.Tenant.Name, Msg: fmt.Sprintf("cannot restore it while it is %s", p.Tenant.State), Hint: hint}
		}
		if err == nil {
			p.Dependents, err = s.dependents(ctx, p.Tenant)
		}
		return p, err
	}
	if req.Dependents != (DependentPolicy{}) {
		return nil, Invalid("leave them away", "--repoint and --leave-dependents are for a restore in the tenant's place")
	}
	name := req.As
	if name == "" {
		name = besideName(b.Tenant, newID())
	}
	p.Tenant, err = s.plan(CreateRequest{Name: name, Labels: givenLabels(b.Labels)})
	if err != nil {
		return nil, err
	}
	p.Tenant.Adopted = p.params.Owner != ""
	if p.Way == RestoreSide {
		p.Tenant.Labels[labelOf] = string(b.Tenant)
	}
	existing, err := s.catalog.Get(ctx, p.Tenant.Name)
	switch {
	case errors.Is(err, ErrNotFound):
		return p, nil
	case err != nil:
		return nil, err
	}
	live, err := s.catalog.liveOperation(ctx, existing.ID)
	if err != nil {
		return nil, err
	}
	if live == nil || live.Kind != OpRestore {
		e := existsAlready(existing)
		var named *Error
		if errors.As(e, &named) {
			named.Hint = "choose another name with --as"
		}
		return nil, e
	}
	return p, nil
}

// labelOf says whose data it is that a restore has put aside or beside.
const labelOf = "tenantctl/of"

// besideName is the name of the place that a restore fills or leaves beside a tenant.
func besideName(of Name, id uuid.UUID) string {
	const tag = 8 // "-r" and six digits
	base := string(of)
	if base == "pg" {
		base = "tenant-pg" // a name may not begin with pg-
	}
	if len(base) > maxName-tag {
		base = strings.TrimRight(base[:maxName-tag], "-")
	}
	return base + "-r" + ShortID(id)[6:]
}

// wanted sorts what a restore asks for by store; nil where it asks for all. What the backup does not have is refused.
func (s *Service) wanted(b *Backup, req RestoreRequest) (map[string][]string, error) {
	if !req.partial() {
		if b.Only != "" {
			return nil, &Error{
				Kind: ErrInvalid, Code: "partial_backup", Tenant: b.Tenant, Msg: fmt.Sprintf("backup %s holds %s alone, and a tenant is restored in every store", b.ID, b.Only),
				Hint: fmt.Sprintf("restore it beside the tenant with --only %s, or choose a whole backup (tenantctl backup list %s)", b.Only, b.Tenant),
			}
		}
		for kind := range b.Stores {
			if s.archiver(kind) == nil {
				return nil, Invalid("switch the store on in the configuration, or restore one store with --only", "the backup holds %s, which is not used here", kind)
			}
		}
		return nil, nil
	}
	asked := map[string][]string{KindPostgres: req.Tables, KindMongoDB: req.Collections}
	out := map[string][]string{}
	for kind, names := range asked {
		if req.Only != "" && req.Only != kind {
			if len(names) > 0 {
				return nil, Invalid("leave one of the two away", "--only %s and names of %s exclude each other", req.Only, kind)
			}
			continue
		}
		if len(names) == 0 && req.Only == "" {
			continue
		}
		if _, ok := b.Stores[kind]; !ok {
			return nil, Invalid("", "the backup holds nothing of %s", kind)
		}
		if s.archiver(kind) == nil {
			return nil, Invalid("switch it on in the configuration", "%s is not used here", kind)
		}
		for _, n := range names {
			if !holdsRows(b, kind, n) {
				return nil, &Error{Kind: ErrNotFound, Tenant: b.Tenant, Store: kind, Msg: fmt.Sprintf("the backup has no rows of %s", shorten(n)), Hint: "tenantctl backup show " + ShortID(b.ID) + " lists what it has"}
			}
		}
		out[kind] = names
	}
	if len(out) == 0 {
		return nil, Invalid("choose one of: postgres, mongodb", "there is no store %s here", shorten(req.Only))
	}
	return out, nil
}

// holdsRows tells whether a backup may have rows of a table or collection. Who has not written down which tables are
// partitioned leaves it to the load.
func holdsRows(b *Backup, kind, name string) bool {
	if slices.ContainsFunc(b.Parts, func(p Part) bool { return p.Name == name && strings.HasPrefix(p.Path, kind+"/") }) {
		return true
	}
	known := b.Stores[kind].Partitioned
	return kind == KindPostgres && (known == nil || slices.Contains(known, name))
}

// migrates tells which versions a backup would be brought to, and refuses one that is newer than what is known here.
func (s *Service) migrates(ctx context.Context, b *Backup, names map[string][]string) (map[string]int64, error) {
	out := map[string]int64{}
	for _, m := range each[Migrator](s) {
		d, ok := b.Stores[m.Kind()]
		if _, asked := names[m.Kind()]; !ok || names != nil && !asked || delegates(m) {
			continue // another tool says itself what it does not know
		}
		files, err := m.Files(ctx)
		if err != nil {
			return nil, err
		}
		var newest int64
		if len(files) > 0 {
			newest = files[len(files)-1].Version
		}
		switch {
		case d.Version > newest:
			return nil, &Error{
				Kind: ErrInvalid, Code: "newer_backup", Tenant: b.Tenant, Store: m.Kind(),
				Msg:  fmt.Sprintf("the backup is at version %d, and the newest migration known here is %d", d.Version, newest),
				Hint: "use the newer folder of migrations",
			}
		case d.Version < newest:
			out[m.Kind()] = newest
		}
	}
	return out, nil
}

// Restore puts a backup back: in its tenant's place, as a new tenant, or a part of it beside. In a tenant's place, it is
// filled beside, proved, migrated, and then exchanged for what is there in one transaction; that is kept like a deleted
// tenant. After a crash at any point the same call goes on.
func (s *Service) Restore(ctx context.Context, req RestoreRequest) (*Outcome, error) {
	p, err := s.PlanRestore(ctx, req)
	if err == nil {
		err = p.Refusal()
	}
	if err != nil {
		return nil, err
	}
	s.beat()
	var op *Operation
	var resumed bool
	if p.Way == RestoreSwitch {
		op, resumed, err = s.beginSwitch(ctx, p)
	} else {
		op, resumed, err = s.beginNew(ctx, OpRestore, &p.Tenant, p.params)
	}
	if errors.Is(err, errAgain) {
		return s.Restore(ctx, req)
	}
	if err != nil {
		return nil, err
	}
	out := &Outcome{Operation: op, Tenant: p.Tenant}
	if resumed {
		if err := sameRestore(op, p.params); err != nil {
			return out, errors.Join(err, s.catalog.setState(context.WithoutCancel(ctx), op, OpStuck, err, nil))
		}
		out.Warnings = append(out.Warnings, "an interrupted restore of the same backup is gone on with")
	}
	var notes notes
	g, err := s.restoreSagaNoting(op, p.Tenant, &notes)
	if err == nil {
		err = s.run(ctx, op, g)
	}
	out.Warnings = append(out.Warnings, notes.list...)
	if out.Err = err; err != nil {
		return out, err
	}
	out.Tenant, err = s.asEnded(ctx, p.Tenant)
	return out, err
}

// sameRestore refuses to go on with an interrupted restore of something else.
func sameRestore(op *Operation, want restoreParams) error {
	p, err := restoreParamsOf(op)
	if err != nil {
		return err
	}
	if p.Backup == want.Backup && p.Way == want.Way && jsonText(p.Names) == jsonText(want.Names) {
		return nil
	}
	return stuck(op, "")
}

func restoreParamsOf(op *Operation) (restoreParams, error) {
	var p restoreParams
	if err := json.Unmarshal(op.Params, &p); err != nil {
		return p, fmt.Errorf("read the operation's parameters: %w", err)
	}
	return p, nil
}

// beginSwitch enters a restore in a tenant's place, and reserves the place beside it.
func (s *Service) beginSwitch(ctx context.Context, p *RestorePlan) (*Operation, bool, error) {
	for {
		beside, err := s.planBeside(p.Tenant.Name)
		if err != nil {
			return nil, false, err
		}
		beside.Adopted = p.params.Owner != ""
		if p.Tenant.Role == "" { // of what is replaced, which stays as it is
			beside.Role = ""
		}
		p.params.Beside = &beside
		op, resumed, err := s.begin(ctx, intent{kind: OpRestore, tenant: &p.Tenant, params: p.params, reserve: func(ctx context.Context, tx pgx.Tx) error {
			if err := s.catalog.insert(ctx, tx, &beside); err != nil {
				return err
			}
			return setOf(ctx, tx, beside.ID, p.Tenant.ID)
		}})
		if !errors.Is(err, errTaken) { // else another name is drawn
			return op, resumed, err
		}
	}
}

// setOf records whose data a place holds; a tenant that is gone is nobody.
func setOf(ctx context.Context, tx DB, id, of uuid.UUID) error {
	_, err := tx.Exec(ctx, `UPDATE tenantctl.tenants SET of = (SELECT t.id FROM tenantctl.tenants t WHERE t.id = $2) WHERE id = $1`, id, of)
	return err
}

// beginNew enters an operation that makes t, and reserves its name and places. Where a dead operation of the kind is
// making a tenant of that name, that one is taken over, and t is what it makes.
func (s *Service) beginNew(ctx context.Context, kind string, t *Tenant, params any) (*Operation, bool, error) {
	s.beat()
	for {
		op, err := s.catalog.enter(ctx, intent{kind: kind, tenant: t, params: params, reserve: func(ctx context.Context, tx pgx.Tx) error {
			return s.catalog.insert(ctx, tx, t)
		}})
		if !errors.Is(err, errTaken) {
			return op, false, err
		}
		existing, err := s.catalog.Get(ctx, t.Name)
		if errors.Is(err, ErrNotFound) {
			return nil, false, s.placeTaken(ctx, *t)
		}
		if err != nil {
			return nil, false, err
		}
		live, err := s.catalog.liveOperation(ctx, existing.ID)
		if err != nil {
			return nil, false, err
		}
		if live == nil || existing.State != Provisioning {
			if existing.State == Provisioning {
				if err := s.catalog.filling(ctx, existing.ID); err != nil {
					return nil, false, err
				}
				continue // its operation ended between the two looks
			}
			return nil, false, existsAlready(existing)
		}
		op, err = s.catalog.yield(ctx, live, kind)
		if err != nil {
			return nil, false, err
		}
		if op == nil {
			continue
		}
		if op.State == OpUndoing {
			if err := s.resumeOperation(ctx, op); err != nil {
				return nil, false, err
			}
			continue
		}
		*t = existing
		return op, true, nil
	}
}

// notes collects what a person should know of a restore.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.list, text) {
		n.list = append(n.list, text)
	}
}

func (s *Service) restoreSaga(op *Operation, t Tenant) (saga, error) {
	return s.restoreSagaNoting(op, t, new(notes))
}

func (s *Service) restoreSagaNoting(op *Operation, t Tenant, n *notes) (saga, error) {
	p, err := restoreParamsOf(op)
	if err != nil {
		return saga{}, err
	}
	switch p.Way {
	case RestoreSwitch:
		if p.Beside == nil {
			return saga{}, Invalid("", "operation %s does not know its place", op.ID)
		}
		return s.switchSaga(op, t, *p.Beside, p, n), nil
	case RestoreNew:
		g := saga{
			steps: []step{
				{name: "check", do: func(ctx context.Context) error { return s.checkPlaces(ctx, t) }},
				s.loadStep(t, p, t.Role, true, n),
				{name: "migrate", do: func(ctx context.Context) error { return s.migrateLoaded(ctx, t) }},
			},
			commit: func(ctx context.Context, tx pgx.Tx) error {
				op.Result = restoreResult(p, "")
				return s.catalog.moveTenant(ctx, tx, t.ID, Active, Provisioning)
			},
			rollback: func(ctx context.Context, tx pgx.Tx) error { return s.catalog.remove(ctx, tx, t.ID, Provisioning) },
		}
		g.pivot = len(g.steps)
		return g, nil
	}
	g := saga{
		steps: []step{
			{name: "check", do: func(ctx context.Context) error { return s.checkPlaces(ctx, t) }},
			s.loadStep(t, p, "", false, n),
		},
		commit: func(ctx context.Context, tx pgx.Tx) error {
			op.Result = restoreResult(p, "")
			if err := setOf(ctx, tx, t.ID, p.Of); err != nil {
				return err
			}
			return s.putAside(ctx, tx, t.ID, "")
		},
		rollback: func(ctx context.Context, tx pgx.Tx) error { return s.catalog.remove(ctx, tx, t.ID, Provisioning) },
	}
	g.pivot = len(g.steps)
	return g, nil
}

func restoreResult(p restoreParams, replaced Name) json.RawMessage {
	r := map[string]any{"backup": p.Backup, "way": p.Way}
	if replaced != "" {
		r["replaced"] = replaced
	}
	return json.RawMessage(jsonText(r))
}

// putAside makes a place that is being provisioned one that is kept like a deleted tenant. from is the state that an
// undelete gives it; empty for a part, which is no tenant.
func (s *Service) putAside(ctx context.Context, tx DB, id uuid.UUID, from State) error {
	_, err := tx.Exec(ctx, `UPDATE tenantctl.tenants SET state = 'deleted', deleted_from = nullif($3, ''), purge_after = now() + $2::interval, updated_at = now()
		WHERE id = $1 AND state = 'provisioning'`, id, interval(s.KeepDeleted), string(from))
	return err
}
