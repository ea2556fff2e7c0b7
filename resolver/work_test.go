package resolver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// strange are names that no tenant of tenantctl has, and that an adopted one may have.
var strange = []string{"acme", "Acme Inc", `quo"te`, `apo'strophe`, `back\slash`, "müller", `$$; DROP TABLE t; --`}

// house is a schema and a role for each strange name, and a pool of two connections for a login that may become any
// of them.
type house struct {
	*world
	pool   *pgxpool.Pool
	prefix string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	w := newWorld(t)
	prefix := tenanttest.Prefix(t)
	for i, name := range strange {
		id := pgx.Identifier{prefix + name}.Sanitize()
		w.exec(`CREATE ROLE ` + id + `; GRANT ` + id + ` TO CURRENT_USER; CREATE SCHEMA ` + id + ` AUTHORIZATION ` + id + `; SET ROLE ` + id + `; CREATE TABLE ` + id + `.t (name text); RESET ROLE`)
		w.t.Cleanup(func() {
			if _, err := w.pool.Exec(context.WithoutCancel(w.t.Context()), `DROP SCHEMA `+id+` CASCADE; DROP ROLE `+id); err != nil {
				w.t.Error(err)
			}
		})
		if i%2 == 1 { // at another version
			w.exec(`DROP TABLE ` + id + `.t; CREATE TABLE ` + id + `.t (more int, name text); ALTER TABLE ` + id + `.t OWNER TO ` + id)
		}
		w.exec(`INSERT INTO `+id+`.t (name) VALUES ($1)`, name)
	}
	cfg := w.pool.Config()
	cfg.MaxConns = 2
	pool, err := pgxpool.NewWithConfig(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(pool.Close)
	return &house{w, pool, prefix}
}

func (h *house) inTenant(pool *pgxpool.Pool, name string, fn func(pgx.Tx) error) error {
	place := h.prefix + name
	return InTenant(WithTenant(h.t.Context(), &Tenant{Name: name, Schema: place, Role: place}), pool, fn)
}

func TestWorkOfATenantSeesItsRowsAlone(t *testing.T) {
	h := newHouse(t)
	var all sync.WaitGroup
	for i := range 200 {
		name := strange[i%len(strange)]
		all.Go(func() {
			err := h.inTenant(h.pool, name, func(tx pgx.Tx) error {
				var got, role string
				var columns int
				rows, err := tx.Query(t.Context(), `SELECT * FROM t`) // which differs between tenants
				if err != nil {
					return err
				}
				columns = len(rows.FieldDescriptions())
				rows.Close()
				if err := tx.QueryRow(t.Context(), `SELECT name, current_user FROM t`).Scan(&got, &role); err != nil {
					return err
				}
				if got != name || role != h.prefix+name || columns != 1+i%len(strange)%2 {
					return fmt.Errorf("got %q with %d columns as %s", got, columns, role)
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	all.Wait()
	var own bool
	var path string
	err := h.pool.QueryRow(t.Context(), `SELECT current_user = session_user, current_setting('search_path')`).Scan(&own, &path)
	if err != nil || !own || path != `"$user", public` {
		t.Errorf("a connection was left with the role of its own %v, in %s, %v", own, path, err)
	}
}

func TestWorkOfATenantReachesNoOther(t *testing.T) {
	h := newHouse(t)
	other := pgx.Identifier{h.prefix + "Acme Inc"}.Sanitize()
	err := h.inTenant(h.pool, "acme", func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `SELECT * FROM `+other+`.t`)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("another's table: %v", err)
	}
	failed := errors.New("no")
	err = h.inTenant(h.pool, "acme", func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `DELETE FROM t`); err != nil {
			t.Error(err)
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	var rows int
	if err := h.inTenant(h.pool, "acme", func(tx pgx.Tx) error { return tx.QueryRow(t.Context(), `SELECT count(*) FROM t`).Scan(&rows) }); err != nil || rows != 1 {
		t.Errorf("after an error there are %d rows, %v", rows, err)
	}
	nothing := func(pgx.Tx) error { t.Error("it was run"); return nil }
	if err := InTenant(t.Context(), h.pool, nothing); !errors.Is(err, ErrNoTenant) {
		t.Errorf("without a tenant: %v", err)
	}
	if err := InTenant(WithTenant(t.Context(), &Tenant{Name: "x"}), h.pool, nothing); err == nil {
		t.Error("without a schema it began")
	}
	if err := h.inTenant(h.pool, "gone", nothing); err == nil {
		t.Error("a role that is not there was taken")
	}
}

func TestAPoolThatKeepsStatementsIsRefused(t *testing.T) {
	cfg := newWorld(t).pool.Config()
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	err = InTenant(WithTenant(t.Context(), &Tenant{Name: "acme", Schema: "t_acme"}), pool, func(pgx.Tx) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "DefaultQueryExecMode") {
		t.Errorf("got %v", err)
	}
}

func TestWorkOfATenantIsSafeBehindAPooler(t *testing.T) {
	h := newHouse(t)
	cfg, err := pgxpool.ParseConfig(tenanttest.PgBouncer(t, h.pool.Config().ConnString(), 1))
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	through, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer through.Close()
	for i := range 30 {
		name := strange[i%len(strange)]
		err := h.inTenant(through, name, func(tx pgx.Tx) error {
			var own bool
			if err := tx.QueryRow(t.Context(), `SELECT current_user = $1 FROM t`, h.prefix+name).Scan(&own); err != nil || !own {
				return fmt.Errorf("own: %v, %w", own, err)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var left bool
		if err := through.QueryRow(t.Context(), `SELECT current_user <> session_user`).Scan(&left); err != nil || left {
			t.Errorf("a role was left in the server's connection: %v", err)
		}
	}
}
