package tenant_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// New passwords are set in every store or in none. Where a connection is lost at the wrong moment, what is told is true.
func TestARotationChangesEveryStoreOrNoneOrTellsWhichPasswordsCount(t *testing.T) {
	t.Parallel()
	refusal := &tenant.Error{Kind: tenant.ErrRights, Msg: "may not"}
	lost := &tenant.Error{Kind: tenant.ErrUnreachable, Msg: "the connection broke"}
	const nothing = "nothing was changed: the passwords that were shown do not count"
	for name, c := range map[string]struct {
		store, call  string // which fails
		at           int    // its how many-th call: SetPassword is called once, Seal at the check and again
		after        bool   // the store did it, and its answer is lost
		err, show    error
		pg, docs     bool // whose new password counts
		shown        bool
		state        tenant.OpState
		says, silent string
	}{
		"all is well":                               {pg: true, docs: true, shown: true, state: tenant.OpDone},
		"PostgreSQL refuses":                        {store: "postgres", call: "Seal", at: 1, err: refusal, state: tenant.OpUndone, silent: "password"},
		"MongoDB refuses":                           {store: "mongodb", call: "Seal", at: 1, err: refusal, state: tenant.OpUndone, silent: "password"},
		"the passwords cannot be shown":             {show: errors.New("no space left"), shown: true, state: tenant.OpUndone, says: "no space left"},
		"PostgreSQL refuses after they were shown":  {store: "postgres", call: "Seal", at: 2, err: refusal, shown: true, state: tenant.OpUndone, says: nothing},
		"MongoDB refuses after they were shown":     {store: "mongodb", call: "SetPassword", at: 1, err: refusal, shown: true, state: tenant.OpUndone, says: nothing},
		"MongoDB's answer is lost":                  {store: "mongodb", call: "SetPassword", at: 1, after: true, err: lost, docs: true, shown: true, state: tenant.OpStuck, says: "the one for postgres does not count, the one for mongodb may count"},
		"PostgreSQL is lost before its commit":      {store: "postgres", call: "SetPassword", at: 1, err: lost, docs: true, shown: true, state: tenant.OpStuck, says: "the one for postgres may count, the one for mongodb counts"},
		"PostgreSQL's commit is refused":            {store: "postgres", call: "SetPassword", at: 1, err: refusal, docs: true, shown: true, state: tenant.OpStuck, says: "the one for postgres does not count, the one for mongodb counts"},
		"the answer to PostgreSQL's commit is lost": {store: "postgres", call: "SetPassword", at: 1, after: true, err: lost, pg: true, docs: true, shown: true, state: tenant.OpStuck, says: "the one for postgres may count, the one for mongodb counts"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.create("acme")
			calls := 0
			strike := func(_ context.Context, call string, _ tenant.Tenant) error {
				if call == c.call {
					if calls++; calls == c.at {
						return c.err
					}
				}
				return nil
			}
			for _, m := range []*memory{w.pg, w.docs} {
				if m.kind == c.store && c.after {
					m.after = strike
				} else if m.kind == c.store {
					m.before = strike
				}
			}
			var shown *tenant.Credentials
			_, op, err := w.service.Rotate(t.Context(), "acme", func(c2 *tenant.Credentials) error { shown = c2; return c.show })
			if (err == nil) != (c.state == tenant.OpDone) {
				t.Fatalf("error is %v", err)
			}
			if (shown != nil) != c.shown {
				t.Errorf("shown: %v", shown)
			}
			for i, m := range []*memory{w.pg, w.docs} {
				set := m.places["t_acme"].password
				if counts := []bool{c.pg, c.docs}[i]; (set != "") != counts || counts && set != shown.Logins[i].Password {
					t.Errorf("%s has the new password: %v", m.kind, set != "")
				}
			}
			if err != nil && (!strings.Contains(err.Error(), c.says) || c.silent != "" && strings.Contains(err.Error(), c.silent)) {
				t.Errorf("error is %v", err)
			}
			if d, err := w.service.Operation(t.Context(), op.ID.String()); err != nil || d.State != c.state {
				t.Errorf("the catalog has it %s, %v; want %s", d.State, err, c.state)
			}
			w.pg.before, w.pg.after, w.docs.before, w.docs.after = nil, nil, nil, nil
			if _, _, err := w.service.Rotate(t.Context(), "acme", func(*tenant.Credentials) error { return nil }); err != nil {
				t.Errorf("the same command again: %v", err)
			}
		})
	}
}
