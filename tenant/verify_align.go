package tenant

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Drift is one structure that is not the one that most tenants at its version have, and what would make it so.
type Drift struct {
	Store      string   `json:"store"`
	Version    int64    `json:"version"`
	Structure  string   `json:"structure"` // as the finding calls it
	Count      int      `json:"count"`
	Tenants    []Name   `json:"tenants"`    // the first 20
	Like       Name     `json:"like"`       // a tenant with the usual structure
	Usual      int      `json:"usual"`      // tenants that have that
	Of         int      `json:"of"`         // tenants at this version
	Lines      []string `json:"lines"`      // how they differ, as in a StoreDiff
	Statements []string `json:"statements"` // SQL, or commands in Extended JSON as in a migration; none where Reason tells why
	Reason     string   `json:"reason,omitempty"`

	store      Verifier
	tenants    []uuid.UUID
	like       Tenant
	have, want string
}

func (x *verifying) drift(store Verifier, at atVersion, a, usual *alike, of int) *Drift {
	d := &Drift{
		Store: store.Kind(), Version: at.version, Structure: shortPrint(a.fingerprint), Count: len(a.asked), Like: usual.newest.Name, Usual: usual.count, Of: of, Lines: []string{}, Statements: []string{},
		store: store, tenants: a.asked, like: usual.newest, have: a.fingerprint, want: usual.fingerprint,
	}
	for _, id := range a.asked[:min(len(a.asked), groupNames)] {
		d.Tenants = append(d.Tenants, x.tenants[id].Name)
	}
	return d
}

// driftsAtOnce is how many structures one fix goes into: each is read whole.
const driftsAtOnce = 20

// Drifts tells of the structures that Verify has found to be unlike the usual ones how they differ, and the statements that
// would end that; left is how many more there are.
func (s *Service) Drifts(ctx context.Context, v *Verification) (all []*Drift, left int, err error) {
	all = v.drifts[:min(len(v.drifts), driftsAtOnce)]
	for _, d := range all {
		t, err := s.catalog.byID(ctx, d.tenants[0], d.Tenants[0])
		if err == nil {
			err = WithTenant(d.describe(ctx, t), t.Name)
		}
		switch {
		case err == nil:
		case ctx.Err() != nil || errors.Is(err, ErrUnreachable) || errors.Is(err, ErrInterrupted):
			return nil, 0, err
		default: // what else is to be mended does not wait for it
			d.Statements, d.Reason = []string{}, "it cannot be read: "+NewFailure(err).Message+"; fix the other findings first, then run the same command again"
		}
	}
	return all, len(v.drifts) - len(all), nil
}

func (d *Drift) describe(ctx context.Context, t Tenant) error {
	want, err := d.store.Outline(ctx, d.like)
	if err != nil {
		return err
	}
	have, err := d.store.Outline(ctx, t)
	if err != nil {
		return err
	}
	d.Lines = append([]string{}, compareOutlines(want, have)...)
	if 2*d.Usual <= d.Of {
		d.Reason = fmt.Sprintf("only %d of %s have the structure that it is compared with, and which of them is right is not for this to say", d.Usual, Plural(d.Of, "tenant"))
		return nil
	}
	statements, reason, err := d.store.Align(ctx, t, d.like)
	d.Statements, d.Reason = append([]string{}, statements...), reason
	return err
}
