package schema

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantctl/tenantctl/tenant"
)

// DependentsIn is Dependents within a transaction.
func (r *Resource) DependentsIn(ctx context.Context, tx pgx.Tx, t tenant.Tenant) ([]tenant.Dependent, error) {
	pg := tx.Conn().PgConn()
	back, err := keepSettings(ctx, pg, "search_path")
	if err != nil {
		return nil, err
	}
	var list []tenant.Dependent
	commands := []command{cmd("SET LOCAL search_path = pg_catalog"), dependents(t.Schema, major(pg), &list)}
	err = send(ctx, pg, append(commands, back...))
	return list, failure("look for what depends on schema "+t.Schema, err)
}

// Repoint carries dependents over a change of the objects that they are on. What is made again was written down before,
// with whole names: search_path is pg_catalog alone.
func (r *Resource) Repoint(ctx context.Context, tx pgx.Tx, list []tenant.Dependent, change func() error) error {
	if len(list) == 0 {
		return change()
	}
	pg := tx.Conn().PgConn()
	back, err := keepSettings(ctx, pg, "search_path", "lock_timeout", "statement_timeout", "check_function_bodies")
	if err != nil {
		return err
	}
	settings := local([]string{
		"search_path = pg_catalog", "statement_timeout = 0", fmt.Sprintf("lock_timeout = %d", milliseconds(r.cfg.LockTimeout)),
	})
	if err := send(ctx, pg, settings); err != nil {
		return failure("repoint dependents", err)
	}
	for _, d := range list {
		if err := repoint(ctx, pg, d, d.Unmake); err != nil {
			return err
		}
	}
	if err := change(); err != nil {
		return err
	}
	if err := send(ctx, pg, settings); err != nil {
		return failure("repoint dependents", err)
	}
	for _, d := range list {
		if err := repoint(ctx, pg, d, d.Remake); err != nil {
			return err
		}
	}
	return failure("repoint dependents", send(ctx, pg, back))
}

// repoint runs what takes one dependent off, or puts it on.
func repoint(ctx context.Context, pg *pgconn.PgConn, d tenant.Dependent, statements []string) error {
	for _, sql := range statements {
		err := send(ctx, pg, []command{{sql: sql, count: len(statementsOf(sql))}})
		if err == nil {
			continue
		}
		err = failure("make "+d.Object+" again on the restored tables", err)
		var e *tenant.Error
		if errors.As(err, &e) && e.Hint == "" {
			helped := *e
			helped.Hint = "free it first: " + d.Free + "; or leave it with what is replaced: --leave-dependents, no --repoint"
			return &helped
		}
		return err
	}
	return nil
}

// keepSettings gives what puts settings back in a transaction.
func keepSettings(ctx context.Context, pg *pgconn.PgConn, names ...string) (back []command, err error) {
	var ask []command
	for _, name := range names {
		c := cmd("SELECT current_setting('%s')", name)
		c.row = func(row [][]byte) { back = append(back, cmd("SET LOCAL %s", setTo(name, string(row[0])))) }
		ask = append(ask, c)
	}
	return back, send(ctx, pg, ask)
}
