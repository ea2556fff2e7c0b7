package resolver

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// InTenant runs fn in a transaction of the context's tenant: as the tenant's role, with the tenant's schema alone
// on the search_path. Both end with the transaction, so that a connection can serve the next tenant, by a pooler in
// transaction mode too. They are set by the message that begins the transaction, which costs no round trip of its
// own.
//
// The pool's DefaultQueryExecMode has to be pgx.QueryExecModeExec, DescribeExec or SimpleProtocol. A statement that is
// prepared for one tenant fails for a tenant whose tables are at another version (0A000).
//
// The role stops mistakes, not attacks: SQL that an attacker can write may reset it.
func InTenant(ctx context.Context, pool *pgxpool.Pool, fn func(pgx.Tx) error) error {
	t, err := FromContext(ctx)
	if err != nil {
		return err
	}
	begin, err := beginAs(t)
	if err != nil {
		return err
	}
	switch pool.Config().ConnConfig.DefaultQueryExecMode {
	case pgx.QueryExecModeExec, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeSimpleProtocol:
	default:
		return errors.New("the pool keeps prepared statements, which fail for tenants at another version: " +
			"set its DefaultQueryExecMode to pgx.QueryExecModeExec")
	}
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{BeginQuery: begin}, fn)
}

// beginAs begins a transaction as the tenant, in one message.
func beginAs(t *Tenant) (string, error) {
	if t.Schema == "" {
		return "", errors.New("tenant " + t.Name + " has no schema")
	}
	set := `set_config('search_path', ` + literal(`"`+strings.ReplaceAll(t.Schema, `"`, `""`)+`"`) + `, true)`
	if t.Role != "" {
		set += `, set_config('role', ` + literal(t.Role) + `, true)`
	}
	return `BEGIN; SELECT ` + set, nil
}

// literal quotes a text for SQL, whatever standard_conforming_strings is.
func literal(s string) string {
	quoted := `'` + strings.ReplaceAll(s, `'`, `''`) + `'`
	if strings.Contains(s, `\`) {
		return ` E` + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
