package schema

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// Pooled tells whether tenants come through a pooler: then there is a way past it.
func (r *Resource) Pooled() bool { return r.cfg.Roles && r.cfg.DirectURL != "" }

// poolRounds is how often two tenants take turns; a pool deals its connections out in no order that is promised.
const poolRounds = 8

// ProbePool lets two tenants take turns at the pooler, each in its own transactions. Each must be itself every time, read
// its own rows by names without a schema, and see nothing of what the other has set in its session.
func (r *Resource) ProbePool(ctx context.Context, a, b tenant.Tenant, tried func(tenant.Attempt)) (err error) {
	var guests [2]*guest
	for i, t := range []tenant.Tenant{a, b} {
		l, lerr := r.lend(ctx, t)
		if lerr != nil {
			return lerr
		}
		defer func() { err = errors.Join(err, l.takeBack(ctx)) }()
		conn, lerr := l.connect(ctx, r.pool.Config().ConnConfig)
		if lerr != nil {
			return lerr
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it holds nothing
		guests[i] = &guest{conn: conn, t: t}
	}
	for range poolRounds {
		for _, g := range guests {
			taken, seen, err := g.turn(ctx)
			if err != nil {
				return failure("take turns at the pooler", err)
			}
			tried(taken)
			tried(seen)
		}
	}
	return nil
}

// guest is one of two tenants at a pooler.
type guest struct {
	conn *pgx.Conn
	t    tenant.Tenant
}

// sessionMark is a setting that a tenant leaves in the pooler's session, and must find in no other's.
const sessionMark = "tenantctl.probe"

// turn is one transaction: who am I, whose rows do I read, and what has been left here.
func (g *guest) turn(ctx context.Context) (taken, seen tenant.Attempt, err error) {
	const who = "SELECT current_user, current_schema(), coalesce((SELECT c.relnamespace::regnamespace::text FROM " + migrationfile.VersionTable + " b JOIN pg_class c ON c.oid = b.tableoid LIMIT 1), ''), coalesce(current_setting('" + sessionMark + "', true), '')"
	taken = tenant.Attempt{What: "be taken for another tenant by the pooler", Object: g.t.Schema, Statement: "SELECT FROM " + migrationfile.VersionTable, Outcome: tenant.AttemptRefused}
	seen = tenant.Attempt{What: "read what another tenant has set in its session", Object: g.t.Schema, Statement: "SELECT current_setting(...)", Outcome: tenant.AttemptRefused}
	tx, err := g.conn.Begin(ctx)
	if err != nil {
		return taken, seen, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // where it has not been committed
	var role, schema, rows, left string
	if err := tx.QueryRow(ctx, who).Scan(&role, &schema, &rows, &left); err != nil {
		return taken, seen, err
	}
	if role != g.t.Role || schema != g.t.Schema || rows != "" && rows != g.t.Schema {
		taken.Outcome, taken.Message = tenant.AttemptThrough, fmt.Sprintf("it works as %s in schema %s and reads rows of schema %s", role, schema, rows)
	}
	if left != "" && left != string(g.t.Name) {
		seen.Outcome, seen.Message = tenant.AttemptThrough, "tenant "+left+" has left it"
	}
	if _, err := tx.Exec(ctx, "SELECT set_config($1, $2, false)", sessionMark, string(g.t.Name)); err != nil {
		return taken, seen, err
	}
	return taken, seen, tx.Commit(ctx)
}
