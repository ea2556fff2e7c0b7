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
	if err == nil && !c.Tenant.State.Migrates() {
		refusal := &Error{Kind: ErrInvalid, Tenant: name, Msg: "has no credentials while it is " + string(c.Tenant.State), Hint: "tenantctl describe " + string(name)}
		err = s.catalog.instead(ctx, c.Tenant, refusal)
	}
	return c, err
}

// Rotate gives a tenant's users new passwords in every store, and returns them: this once. Open connections go on.
// Stores that keep no user for the tenant are left out, with a note. The passwords are shown before they are set: where they
// cannot be shown, nothing is changed.
func (s *Service) Rotate(ctx context.Context, name Name, show func(*Credentials) error) (*Credentials, *Operation, error) {
	c, err := s.PlanRotate(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	for i := range c.Logins {
		if c.Logins[i].User != "" {
			c.Logins[i].Password = newPassword()
		}
	}
	if !slices.ContainsFunc(c.Logins, func(l Login) bool { return l.Password != "" }) {
		return nil, nil, &Error{Kind: ErrUnsupported, Tenant: name, Msg: "has no user of its own in any store, so there is no password to set", Hint: "tenantctl credentials " + string(name) + " tells why for each store"}
	}
	op, _, err := s.begin(ctx, intent{kind: OpPassword, tenant: &c.Tenant, params: struct{}{}})
	if errors.Is(err, errAgain) {
		return s.Rotate(ctx, name, show)
	}
	if err != nil {
		return nil, nil, err
	}
	// Nothing is taken back: a user with a new password that nobody was told is put right by the next rotation.
	c.Rotated = true
	g := saga{steps: []step{{name: "show", do: func(context.Context) error { return show(c) }}}}
	var set []string
	for i, r := range each[Credentialer](s) {
		if c.Logins[i].Password == "" {
			continue
		}
		g.steps = append(g.steps, step{name: r.Kind(), do: func(ctx context.Context) error {
			if err := r.SetPassword(ctx, c.Tenant, c.Logins[i].Password); err != nil {
				return notSet(err, r.Kind(), set)
			}
			set = append(set, r.Kind())
			return nil
		}})
	}
	g.pivot = len(g.steps)
	return c, op, s.run(ctx, op, g)
}

// notSet says which of the passwords that were shown count.
func notSet(err error, store string, set []string) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	said := *e
	said.Msg += "; the password shown for " + store + " is not set"
	if len(set) > 0 {
		said.Msg += ", that for " + strings.Join(set, " and ") + " is"
	}
	return &said
}

// newPassword has 192 random bits, in characters that need no escaping in a URL or a shell.
func newPassword() string {
	b := make([]byte, 24)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
