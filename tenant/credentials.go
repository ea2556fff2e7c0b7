package tenant

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
)

// Credentials are how a tenant's application reaches every store.
type Credentials struct {
	Tenant  Tenant  `json:"tenant"`
	Rotated bool    `json:"rotated"`
	Logins  []Login `json:"logins"`
}

// Logins gives a tenant's connection details, without passwords: those are kept nowhere.
func (s *Service) Logins(ctx context.Context, name Name) (*Credentials, error) {
	t, err := s.catalog.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	c := &Credentials{Tenant: t}
	for _, r := range each[Credentialer](s) {
		c.Logins = append(c.Logins, r.Login(t))
	}
	return c, nil
}

// PlanRotate gives the logins whose passwords Rotate would set, and touches nothing.
func (s *Service) PlanRotate(ctx context.Context, name Name) (*Credentials, error) {
	c, err := s.Logins(ctx, name)
	if err != nil {
		return c, err
	}
	for _, l := range c.Logins {
		if l.Err != nil {
			return c, WithTenant(l.Err, name)
		}
	}
	if !c.Tenant.State.Migrates() {
		refusal := &Error{Kind: ErrInvalid, Tenant: name, Msg: "has no credentials while it is " + string(c.Tenant.State), Hint: "tenantctl describe " + string(name)}
		err = s.catalog.instead(ctx, c.Tenant, refusal)
	}
	return c, err
}

// Rotate gives a tenant's users new passwords in every store, and returns them: this once. Open connections go on.
// Stores that keep no user for the tenant are left out, with a note. The passwords are shown when every store has said that
// it takes them, and before any is set: where they cannot be shown, nothing is changed. Then all stores change or none, and
// where one is lost on the way it is told which passwords count.
func (s *Service) Rotate(ctx context.Context, name Name, show func(*Credentials) error) (*Credentials, *Operation, error) {
	c, err := s.PlanRotate(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	r := rotation{s: s, c: c}
	for i, store := range each[Credentialer](s) {
		if c.Logins[i].User != "" {
			c.Logins[i].Password = newPassword()
			r.stores, r.logins = append(r.stores, store), append(r.logins, c.Logins[i])
		}
	}
	if len(r.stores) == 0 {
		return nil, nil, &Error{Kind: ErrUnsupported, Tenant: name, Msg: "has no user of its own in any store, so there is no password to set", Hint: "tenantctl credentials " + string(name) + " tells why for each store"}
	}
	op, _, err := s.begin(ctx, intent{kind: OpPassword, tenant: &c.Tenant, params: struct{}{}})
	if errors.Is(err, errAgain) {
		return s.Rotate(ctx, name, show)
	}
	if err != nil {
		return nil, nil, err
	}
	c.Rotated = true
	g := saga{steps: []step{
		{name: "check", do: r.check},
		{name: "show", do: func(context.Context) error { return show(c) }},
		{name: "set", do: r.set},
	}}
	g.pivot, g.firm = len(g.steps), len(g.steps)-1
	return c, op, s.run(ctx, op, g)
}

// rotation sets passwords in several stores as if it were one: each store holds its own open while the next one sets its own,
// so that the last one alone, which cannot take a password back, decides.
type rotation struct {
	s      *Service
	c      *Credentials
	stores []Credentialer
	logins []Login

	done, unsure []string // kinds of store
}

// errChecked ends a check: the store takes the password, and is not to set it.
var errChecked = errors.New("checked")

// check finds out whether every store takes its password, and sets none.
func (r *rotation) check(ctx context.Context) error {
	err := r.nest(ctx, 0, func(context.Context) error { return errChecked })
	if errors.Is(err, errChecked) {
		return nil
	}
	return err
}

// set sets the passwords, which were shown.
func (r *rotation) set(ctx context.Context) error {
	err := r.nest(ctx, 0, func(context.Context) error { return nil })
	if err == nil {
		return nil
	}
	return r.told(err)
}

// nest has the stores from i on set their passwords, and then does last.
func (r *rotation) nest(ctx context.Context, i int, last func(context.Context) error) error {
	if i == len(r.stores) {
		return last(ctx)
	}
	kind, sealed := r.stores[i].Kind(), false
	err := r.stores[i].SetPassword(ctx, r.c.Tenant, r.logins[i].Password, func(ctx context.Context) error {
		err := r.nest(ctx, i+1, last)
		if err == nil {
			err = r.s.point(ctx, OpPassword, kind, "seal")
		}
		sealed = err == nil
		return err
	})
	switch {
	case err == nil:
		r.done = append(r.done, kind)
	case sealed && uncertain(err):
		r.unsure = append(r.unsure, kind)
	}
	return err
}

// errHalf marks that a step has done a part of what it does, and cannot take it back.
var errHalf = errors.New("half done")

// told says which of the passwords that were shown count.
func (r *rotation) told(err error) error {
	said := Error{Kind: err, Err: err}
	var e *Error
	if errors.As(err, &e) {
		said = *e
	} else {
		said.Msg = err.Error()
	}
	if len(r.done)+len(r.unsure) == 0 {
		said.Msg += "; nothing was changed: the passwords that were shown do not count"
		return &said
	}
	var parts []string
	for _, store := range r.stores {
		is := "does not count"
		switch kind := store.Kind(); {
		case slices.Contains(r.done, kind):
			is = "counts"
		case slices.Contains(r.unsure, kind):
			is = "may count"
		}
		parts = append(parts, "the one for "+store.Kind()+" "+is)
	}
	said.Msg += "; of the passwords that were shown, " + strings.Join(parts, ", ")
	said.Err = errors.Join(errHalf, err)
	return &said
}

// newPassword has 192 random bits, in characters that need no escaping in a URL or a shell.
func newPassword() string {
	b := make([]byte, 24)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
