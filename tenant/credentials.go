package tenant

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
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
// Stores that keep no user for the tenant are left out, with a note.
func (s *Service) Rotate(ctx context.Context, name Name) (*Credentials, *Operation, error) {
	c, err := s.PlanRotate(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	op, _, err := s.begin(ctx, intent{kind: OpPassword, tenant: &c.Tenant, params: struct{}{}})
	if errors.Is(err, errAgain) {
		return s.Rotate(ctx, name)
	}
	if err != nil {
		return nil, nil, err
	}
	// Nothing is taken back: a user with a new password that nobody was told is put right by the next rotation.
	g := saga{}
	for i, r := range each[Credentialer](s) {
		g.steps = append(g.steps, step{name: r.Kind(), do: func(ctx context.Context) error {
			password := newPassword()
			switch err := r.SetPassword(ctx, c.Tenant, password); {
			case errors.Is(err, ErrUnsupported):
				c.Logins[i].User = ""
			case err != nil:
				return err
			default:
				c.Logins[i].Password = password
			}
			return nil
		}})
	}
	g.pivot = len(g.steps)
	g.commit = func(context.Context, pgx.Tx) error {
		if !slices.ContainsFunc(c.Logins, func(l Login) bool { return l.Password != "" }) {
			return &Error{Kind: ErrUnsupported, Tenant: name, Msg: "has no user of its own in any store, so there is no password to set", Hint: "tenantctl credentials " + string(name) + " tells why for each store"}
		}
		return nil
	}
	c.Rotated = true
	return c, op, s.run(ctx, op, g)
}

// newPassword has 192 random bits, in characters that need no escaping in a URL or a shell.
func newPassword() string {
	b := make([]byte, 24)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
