package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// Suspend locks a tenant's users out of every store and ends their connections. Suspended already is success.
func (s *Service) Suspend(ctx context.Context, name Name) (*Outcome, error) {
	return s.SuspendFor(ctx, name, "")
}

// SuspendFor is Suspend with a reason, which visitors see. A new reason is given to a suspended tenant too.
func (s *Service) SuspendFor(ctx context.Context, name Name, reason string) (*Outcome, error) {
	reason = strings.TrimSpace(reason)
	if err := checkReason(name, reason); err != nil {
		return nil, err
	}
	return s.lockdown(ctx, name, OpSuspend, reason)
}

// checkReason refuses a reason that is no line of text.
func checkReason(name Name, reason string) error {
	switch {
	case strings.ContainsFunc(reason, unicode.IsControl) || !utf8.ValidString(reason):
		return &Error{Kind: ErrInvalid, Tenant: name, Msg: "the reason has a control character in it", Hint: "write it in one line of plain text"}
	case len(reason) > maxReason:
		return &Error{Kind: ErrInvalid, Tenant: name, Msg: fmt.Sprintf("the reason is longer than %d bytes", maxReason), Hint: "shorten it"}
	}
	return nil
}

const maxReason = 500

// Resume gives a suspended tenant's users their way back. Active already is success.
func (s *Service) Resume(ctx context.Context, name Name) (*Outcome, error) {
	return s.lockdown(ctx, name, OpResume, "")
}

// PlanLockdown tells whether SuspendFor or Resume, as kind says, would change anything, and touches nothing.
func (s *Service) PlanLockdown(ctx context.Context, name Name, kind, reason string) (t Tenant, change bool, err error) {
	if err := checkReason(name, reason); err != nil {
		return t, false, err
	}
	from, to := Active, Suspended
	if kind == OpResume {
		from, to = Suspended, Active
	}
	if t, err = s.catalog.Get(ctx, name); err != nil {
		return t, false, err
	}
	live, err := s.catalog.liveOperation(ctx, t.ID)
	if err != nil {
		return t, false, err
	}
	if live == nil || live.restartable() {
		if t.State == to {
			return t, reason != "" && reason != t.SuspendedFor, nil
		}
		if t.State != from {
			refusal := &Error{Kind: ErrInvalid, Tenant: name, Msg: fmt.Sprintf("cannot %s it while it is %s", kind, t.State), Hint: "tenantctl describe " + string(name)}
			return t, false, s.catalog.instead(ctx, t, refusal)
		}
	}
	return t, true, nil
}

type lockParams struct {
	Reason string `json:"reason,omitempty"`
}

func (s *Service) lockdown(ctx context.Context, name Name, kind, reason string) (*Outcome, error) {
	t, change, err := s.PlanLockdown(ctx, name, kind, reason)
	if err != nil || !change {
		return &Outcome{Tenant: t, Err: err}, err
	}
	in := intent{kind: kind, tenant: &t, params: lockParams{reason}}
	if kind == OpSuspend {
		in.gate, in.reason = gateClosing, reason
	}
	op, _, err := s.begin(ctx, in)
	if errors.Is(err, errAgain) {
		return s.lockdown(ctx, name, kind, reason)
	}
	if err != nil {
		return nil, err
	}
	out := &Outcome{Operation: op}
	g, err := s.lockdownSaga(op, t, &out.Warnings)
	if err == nil {
		err = s.run(ctx, op, g)
	}
	if err != nil {
		out.Tenant, out.Err = t, err
		return out, err
	}
	out.Tenant, err = s.asEnded(ctx, t)
	return out, err
}

func notLockedOut(l Locker) string {
	return l.Kind() + ": the tenant has no user of its own here, so nobody was locked out"
}

func (s *Service) lockdownSaga(op *Operation, t Tenant, warnings *[]string) (saga, error) {
	var p lockParams
	if err := json.Unmarshal(op.Params, &p); err != nil {
		return saga{}, fmt.Errorf("read the operation's parameters: %w", err)
	}
	kind := op.Kind
	to, back := Suspended, Active
	if kind == OpResume {
		to, back = Active, Suspended
	}
	g := saga{commit: func(ctx context.Context, tx pgx.Tx) error {
		if err := s.catalog.moveTenant(ctx, tx, t.ID, to, back, to); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE tenantctl.tenants SET suspended_for = nullif($2, '') WHERE id = $1 AND suspended_for IS DISTINCT FROM nullif($2, '')`, t.ID, p.Reason)
		return err
	}}
	if kind == OpSuspend {
		g.steps = append(g.steps, s.gateStep(op, gateClosing, p.Reason))
	}
	for _, l := range each[Locker](s) {
		lock := func(ctx context.Context) error {
			enforced, err := l.Lock(ctx, t)
			if err == nil && !enforced {
				*warnings = append(*warnings, notLockedOut(l))
			}
			return err
		}
		unlock := func(ctx context.Context) error { return l.Unlock(ctx, t) }
		st := step{name: l.Kind(), do: lock, undo: unlock}
		if kind == OpResume {
			st = step{name: l.Kind(), do: unlock, undo: lock}
		}
		back := st.undo
		st.undo = func(ctx context.Context) error {
			if err := back(ctx); !nobody(err) {
				return err
			}
			return nil // where it is not the tenant's, nothing was done
		}
		g.steps = append(g.steps, st)
	}
	g.pivot = len(g.steps)
	return g, nil
}

// Change is what set and rename make of a tenant in the catalog.
type Change struct {
	Name          string            `json:"name,omitempty"` // the new name; empty leaves it
	Labels        map[string]string `json:"labels,omitempty"`
	RemoveLabels  []string          `json:"remove_labels,omitempty"`
	AddDomains    []string          `json:"add_domains,omitempty"`
	RemoveDomains []string          `json:"remove_domains,omitempty"`
	Hold          *string           `json:"hold,omitempty"` // why nothing of it may be taken away; "" lifts the hold

	Serve  map[string]Serves `json:"serve,omitempty"`  // what domains are for
	Verify map[string]string `json:"verify,omitempty"` // domains that are the tenant's, and by what that is known
}

// PlanSet gives the tenant as the change would make it, and touches nothing.
func (s *Service) PlanSet(ctx context.Context, name Name, ch Change) (Tenant, error) {
	t, err := s.catalog.Get(ctx, name)
	if err != nil {
		return t, err
	}
	return s.changed(t, &ch)
}

// changed checks a change and applies it to a copy of the tenant.
func (s *Service) changed(t Tenant, ch *Change) (Tenant, error) {
	if ch.Name != "" {
		p, err := s.Naming.Derive(ch.Name)
		if err != nil {
			return t, err
		}
		t.Name = p.Name
	}
	for _, k := range ch.RemoveLabels {
		if strings.HasPrefix(k, reservedLabels) {
			return t, WithTenant(CheckGivenLabel(k, ""), t.Name)
		}
	}
	labels := map[string]string{}
	for k, v := range t.Labels {
		if !slices.Contains(ch.RemoveLabels, k) {
			labels[k] = v
		}
	}
	for k, v := range ch.Labels {
		if err := CheckGivenLabel(k, v); err != nil {
			return t, WithTenant(err, t.Name)
		}
		labels[k] = v
	}
	t.Labels = labels
	if ch.Hold != nil {
		t.Hold = strings.TrimSpace(*ch.Hold)
		if strings.ContainsFunc(t.Hold, unicode.IsControl) {
			return t, &Error{Kind: ErrInvalid, Tenant: t.Name, Msg: "the reason of a hold has a control character in it", Hint: "write it in one line of plain text"}
		}
	}
	domains := slices.Clone(t.Domains)
	for i, d := range ch.RemoveDomains {
		d, err := ParseWildcard(d)
		if err != nil {
			return t, WithTenant(err, t.Name)
		}
		if !slices.Contains(domains, d) {
			return t, &Error{Kind: ErrNotFound, Tenant: t.Name, Msg: "it has no domain " + d, Hint: "tenantctl get " + string(t.Name)}
		}
		domains = slices.DeleteFunc(domains, func(have string) bool { return have == d })
		ch.RemoveDomains[i] = d
	}
	for i, d := range ch.AddDomains {
		d, err := ParseWildcard(d)
		if err != nil {
			return t, WithTenant(err, t.Name)
		}
		if !slices.Contains(domains, d) {
			domains = append(domains, d)
		}
		ch.AddDomains[i] = d
	}
	t.Domains = domains
	return t, t.checkServe(ch.Serve)
}

// Set changes labels and domains. A tenant in any state but deleting can be changed.
func (s *Service) Set(ctx context.Context, name Name, ch Change) (*Outcome, error) {
	return s.change(ctx, OpSet, name, ch)
}

// Rename changes the name alone: schema, database and role stay what they are. The name it has already is success.
func (s *Service) Rename(ctx context.Context, name Name, to string) (*Outcome, error) {
	if string(name) == to {
		t, err := s.catalog.Get(ctx, name)
		return &Outcome{Tenant: t}, err
	}
	return s.change(ctx, OpRename, name, Change{Name: to})
}

func (s *Service) change(ctx context.Context, kind string, name Name, ch Change) (*Outcome, error) {
	t, err := s.catalog.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	if _, err := s.changed(t, &ch); err != nil {
		return nil, err
	}
	op, resumed, err := s.begin(ctx, intent{kind: kind, tenant: &t, params: ch})
	if errors.Is(err, errAgain) {
		return s.change(ctx, kind, name, ch)
	}
	if err != nil {
		return nil, err
	}
	out := &Outcome{Operation: op, Tenant: t}
	if resumed && jsonText(op.Params) != jsonText(json.RawMessage(jsonText(ch))) {
		out.Warnings = append(out.Warnings, "an interrupted "+kind+" was finished first; run the command again for what it asks")
	}
	g, err := s.changeSaga(op, t)
	if err != nil {
		return nil, err
	}
	if err := s.run(ctx, op, g); err != nil {
		out.Err = err
		return out, err
	}
	out.Tenant, err = s.asEnded(ctx, t)
	out.Changes = Differences(t, out.Tenant)
	return out, err
}

func (s *Service) changeSaga(op *Operation, t Tenant) (saga, error) {
	var ch Change
	if err := json.Unmarshal(op.Params, &ch); err != nil {
		return saga{}, fmt.Errorf("read the operation's parameters: %w", err)
	}
	// The one effect is the catalog's, made together with the operation's end; the step is there to stop before it.
	check := step{name: "check", do: func(ctx context.Context) error {
		_, err := s.changed(t, &ch)
		return err
	}}
	return saga{steps: []step{check}, pivot: 1, commit: func(ctx context.Context, tx pgx.Tx) error {
		return s.catalog.apply(ctx, tx, t, ch)
	}}, nil
}

func (c *Catalog) apply(ctx context.Context, tx pgx.Tx, t Tenant, ch Change) error {
	name := string(t.Name)
	if ch.Name != "" {
		name = ch.Name
	}
	labels := ch.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	removed := append([]string{}, ch.RemoveLabels...)
	_, err := tx.Exec(ctx, `UPDATE tenantctl.tenants SET name = $2, labels = (labels - $3::text[]) || $4::jsonb, hold = CASE WHEN $5::text IS NULL THEN hold ELSE nullif($5, '') END,
			updated_at = now() WHERE id = $1`,
		t.ID, name, removed, jsonText(labels), ch.Hold)
	if violates(err, "tenants_name_key") {
		return &Error{Kind: ErrExists, Tenant: t.Name, Msg: fmt.Sprintf("there is a tenant %s already", name), Hint: "choose another name"}
	}
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM tenantctl.domains WHERE tenant_id = $1 AND domain = ANY($2::text[])`, t.ID, append([]string{}, ch.RemoveDomains...)); err != nil {
		return err
	}
	if err := c.addDomains(ctx, tx, t, ch.AddDomains); err != nil {
		return err
	}
	return c.serveDomains(ctx, tx, t, ch)
}
