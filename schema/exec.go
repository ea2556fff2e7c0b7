package schema

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// Exec runs one statement in the tenant's schema, in a transaction of its own, and streams its rows: as the tenant's role,
// and reading alone, unless x says otherwise. What the statement does to the session does not outlive it.
func (r *Resource) Exec(ctx context.Context, t tenant.Tenant, x tenant.Statement, sink tenant.RowSink) (rows int64, err error) {
	if err := r.Admit(x); err != nil {
		return 0, err
	}
	if x.AsProvisioner && t.Adopted {
		if err := r.ownsAlone(ctx, t); err != nil {
			return 0, err
		}
	}
	err = r.asOwner(ctx, t, func(r *Resource) (err error) {
		rows, err = r.execHere(ctx, t, x, sink)
		return err
	})
	return rows, err
}

// ownsAlone refuses a schema of another role's, whose code must not run with the provisioning role's rights.
func (r *Resource) ownsAlone(ctx context.Context, t tenant.Tenant) error {
	owners, err := r.otherOwners(ctx, []tenant.Tenant{t})
	if err != nil || owners[t.Schema] == "" {
		return err
	}
	return &tenant.Error{
		Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: fmt.Sprintf("schema %s is %s's, whose code would run with the provisioning role's rights", t.Schema, owners[t.Schema]),
		Hint: "leave --as-provisioner out: the statement runs with the owner's rights",
	}
}

func (r *Resource) execHere(ctx context.Context, t tenant.Tenant, x tenant.Statement, sink tenant.RowSink) (rows int64, err error) {
	conn, err := r.connFor(ctx, x.Text)
	if err != nil {
		return 0, err
	}
	defer giveBack(ctx, conn)
	pg, p := conn.Conn().PgConn(), new(place)
	as, ask := r.execAs(t, x)
	if err := send(ctx, pg, append(append(r.begin(t), look(t, p)), ask...)); err != nil {
		return 0, failure("begin in schema "+t.Schema, err)
	}
	if err := errors.Join(p.ours(t), as.mayAct(t, p)); err != nil {
		return 0, err
	}
	if err := send(ctx, pg, as.take()); err != nil {
		return 0, as.refused(failure("take the rights of the tenant's role", err))
	}
	rows, err = stream(ctx, conn, x.Text, sink)
	if err == nil && !x.Write {
		return rows, failure("end the transaction", send(ctx, pg, ending(conn, "ROLLBACK")))
	}
	if err == nil {
		err = send(ctx, pg, as.giveBack())
	}
	if err == nil {
		err = r.keepTagAfter(ctx, conn, t, p)
	}
	if err == nil {
		err = send(ctx, pg, ending(conn, "COMMIT"))
	}
	return rows, as.refused(statementFailure(x.Text, err))
}

// connFor takes a connection for one statement: past a pooler where it leaves something in its session.
func (r *Resource) connFor(ctx context.Context, statement string) (conn *pgxpool.Conn, err error) {
	tokens, _ := sqltext.Lex(statement)
	what := migrationfile.LeftBy(sqltext.Split(tokens)[0]).What
	if what != "" {
		conn, err = r.session(ctx)
	} else {
		conn, err = r.acquire(ctx)
	}
	if err != nil {
		return nil, err
	}
	leave(conn, migrationfile.LeavesIn(statement))
	if what == "" {
		return conn, nil
	}
	shared, err := r.sharesSessions(ctx, conn)
	if err == nil && shared {
		err = &tenant.Error{Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: what + " needs a session of its own, and " + sharing, Hint: hintSession}
	}
	if err != nil {
		giveBack(ctx, conn)
		return nil, err
	}
	return conn, nil
}

// oneStatement refuses what the server would take for none or several, or would wait for input to.
func oneStatement(statement string) error {
	tokens, open := sqltext.Lex(statement)
	if open.What != "" {
		return invalid("close it", "the statement has a %s that does not end", open.What)
	}
	all := sqltext.Split(tokens)
	switch {
	case len(all) == 0:
		return invalid("give it after --, such as: tenantctl exec --all -- SELECT 1", "there is no statement")
	case len(all) > 1:
		return invalid("run them one by one", "there are %d statements, and exec runs one", len(all))
	case migrationfile.EndsTransaction(all[0]):
		return invalid("each statement is a transaction of its own", "exec does not run %s", all[0][0].Text)
	case sqltext.Begins(all[0], "copy") && slices.ContainsFunc(all[0], func(t sqltext.Token) bool { return t.Is("stdin") || t.Is("stdout") }):
		return invalid("use tenantctl shell and psql's \\copy", "exec does not run COPY with standard input or output")
	}
	return nil
}

// stream hands the rows of a statement on as they come. The extended protocol takes one statement only.
func stream(ctx context.Context, conn *pgxpool.Conn, statement string, sink tenant.RowSink) (int64, error) {
	rows, err := conn.Query(ctx, statement, pgx.QueryExecModeExec)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var count int64
	for ; rows.Next(); count++ {
		if count == 0 {
			if err := sink.Columns(columns(rows)); err != nil {
				return 0, sinkError{err}
			}
		}
		values, err := plain(rows)
		if err != nil {
			return count, err
		}
		if err := sink.Row(values); err != nil {
			return count, sinkError{err}
		}
	}
	if err := rows.Err(); err != nil {
		return count, err
	}
	if count == 0 && len(rows.FieldDescriptions()) > 0 {
		if err := sink.Columns(columns(rows)); err != nil {
			return 0, sinkError{err}
		}
	}
	return max(count, rows.CommandTag().RowsAffected()), nil
}

func columns(rows pgx.Rows) []string {
	var names []string
	for _, f := range rows.FieldDescriptions() {
		names = append(names, f.Name)
	}
	return names
}

// plain gives a row as nil, bool, int64, float64, string, time.Time in UTC and json.RawMessage. Types that Go does
// not have are text, as PostgreSQL writes them.
func plain(rows pgx.Rows) ([]any, error) {
	values, err := rows.Values()
	if err != nil {
		return nil, err
	}
	for i, raw := range rows.RawValues() {
		switch v := values[i].(type) {
		case nil, bool, string:
		case int16:
			values[i] = int64(v)
		case int32:
			values[i] = int64(v)
		case int64:
		case float32:
			values[i] = finite(float64(v), raw)
		case float64:
			values[i] = finite(v, raw)
		case time.Time:
			values[i] = v.UTC()
		default:
			values[i] = string(raw)
		}
		switch rows.FieldDescriptions()[i].DataTypeOID {
		case pgtype.JSONOID, pgtype.JSONBOID:
			if raw != nil {
				values[i] = json.RawMessage(bytes.Clone(raw))
			}
		}
	}
	return values, nil
}

// finite is a number that JSON has too, or else its text.
func finite(f float64, raw []byte) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return string(raw)
	}
	return f
}

// sinkError is one of the taker of the rows, not of the server.
type sinkError struct{ error }

// statementFailure says why a statement of the user's failed.
func statementFailure(statement string, err error) error {
	var sink sinkError
	if errors.As(err, &sink) {
		return sink.error
	}
	err = failure("run the statement", err)
	var e *tenant.Error
	if errors.As(err, &e) && e.Kind != tenant.ErrFenced && code(err) != "" {
		e.Statement = sqltext.Show(statement)
	}
	return err
}
