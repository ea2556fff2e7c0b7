package schema

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// invalid is tenant.Invalid with this store's name.
func invalid(hint, format string, args ...any) *tenant.Error {
	return &tenant.Error{Kind: tenant.ErrInvalid, Store: tenant.KindPostgres, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// missing says that a tenant's schema is not there.
func missing(t tenant.Tenant) error {
	return &tenant.Error{
		Kind: tenant.ErrMissing, Store: tenant.KindPostgres, Msg: fmt.Sprintf("schema %s does not exist", t.Schema),
		Hint: "restore it, or delete the tenant",
	}
}

// foreign refuses a schema or role that was not made for the tenant.
func foreign(what, name string) *tenant.Error {
	return &tenant.Error{
		Kind: tenant.ErrForeign, Store: tenant.KindPostgres, Msg: fmt.Sprintf("%s %s exists, and was not made for this tenant", what, name),
		Hint: fmt.Sprintf("choose another name, or move it away: ALTER %s %s RENAME TO ...", strings.ToUpper(what), quote(name)),
	}
}

// failure says what PostgreSQL was asked for and why it would not, in our own words where we know more.
func failure(doing string, err error) error {
	var ours *tenant.Error
	if err == nil || errors.As(err, &ours) {
		return err
	}
	if err := tenant.Fenced(err); errors.As(err, &ours) {
		return err
	}
	e := &tenant.Error{Store: tenant.KindPostgres, Msg: doing, Err: err}
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		e.Code, e.Msg = pg.Code, fmt.Sprintf("%s: %s", doing, told(pg))
		e.Hint, e.Kind = meaning(pg)
		nameHolders(e, err)
	case errors.Is(err, context.Canceled):
		e.Kind, e.Msg = tenant.ErrInterrupted, doing+": interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		e.Kind, e.Msg, e.Hint = tenant.ErrUnreachable, doing+": the server took too long to answer", hintDoctor
	case lost(err):
		e.Kind, e.Msg, e.Hint = tenant.ErrUnreachable, doing+": the connection broke", "run the same command again"
	default:
		e.Msg = fmt.Sprintf("%s: %v", doing, err)
	}
	return e
}

const hintDoctor = "tenantctl doctor tells more"

// lost tells whether there is no connection, or no longer one.
func lost(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		errors.Is(err, pgconn.ErrConnClosed) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// SQLSTATEs that are acted upon.
const (
	lockNotAvailable   = "55P03"
	deadlockDetected   = "40P01"
	undefinedTable     = "42P01"
	undefinedObject    = "42704"
	insufficientRights = "42501"
	dependentObjects   = "2BP01"
	invalidPassword    = "28P01"
	invalidLogin       = "28000"
	noSuchDatabase     = "3D000"
	readOnly           = "25006"

	serializationFailure = "40001"
	uniqueViolation      = "23505"
	duplicateObject      = "42710"
	duplicateTable       = "42P07"
	duplicateSchema      = "42P06"
	duplicateFunction    = "42723"
)

// meaning gives the way out of a server's error, where there is one, and its kind.
func meaning(pg *pgconn.PgError) (hint string, kind error) {
	switch pg.Code {
	case lockNotAvailable, deadlockDetected:
		return "live traffic holds the lock; try again when there is less, or raise postgres.lock_timeout or postgres.lock_retries", tenant.ErrLocked
	case insufficientRights:
		return hintDoctor, tenant.ErrRights
	case invalidPassword, invalidLogin:
		return "check the user and password in postgres.url", tenant.ErrUnreachable
	case noSuchDatabase:
		return "create it with createdb, or correct postgres.url", tenant.ErrUnreachable
	case "08P01":
		return "if it is a pooler that answers, set its pool_mode to session or transaction", tenant.ErrUnsupported
	case readOnly:
		return "the server is read-only; point postgres.url at the primary", tenant.ErrUnsupported
	case "53300":
		return "the server has no connection left; lower postgres.max_connections or raise the server's", tenant.ErrUnreachable
	case "53200":
		return "raise max_locks_per_transaction on the server (ALTER SYSTEM SET max_locks_per_transaction = 256, then restart), or lower --parallel", nil
	case "53100":
		return "the server's disk is full", nil
	case "57014":
		return "it took longer than statement_timeout; raise postgres.statement_timeout", nil
	case "57P01", "57P02", "57P03":
		return "the server is stopping or starting; try again when it is up", tenant.ErrUnreachable
	case dependentObjects:
		return "drop what depends on it first", nil
	}
	return pg.Hint, nil
}

var (
	keyValues  = regexp.MustCompile(`=\(.*\)`)
	rowValues  = regexp.MustCompile(`contains \(.*\)`)
	inQuotes   = regexp.MustCompile(`"[^"]*"`)
	afterColon = regexp.MustCompile(`: ".*"`)
)

// told is the server's message with its detail, without the values of rows.
func told(pg *pgconn.PgError) string {
	text, detail := pg.Message, pg.Detail
	switch {
	case strings.HasPrefix(pg.Code, "22"): // a value does not fit
		text, detail = afterColon.ReplaceAllString(text, `: "…"`), ""
	case strings.HasPrefix(pg.Code, "23"): // a row breaks a constraint
		detail = rowValues.ReplaceAllString(keyValues.ReplaceAllString(detail, "=(…)"), "contains (…)")
	}
	text += fmt.Sprintf(" (SQLSTATE %s)", pg.Code)
	if detail != "" {
		text += ": " + strings.TrimSuffix(strings.ReplaceAll(detail, "\n", "; "), ".")
	}
	return text
}

// refusal is failure for what a provisioning role does for a tenant: it names the statement that gives it the right
// which it lacks.
func refusal(doing string, conn *pgxpool.Conn, t tenant.Tenant, err error) error {
	err = failure(doing, err)
	var e *tenant.Error
	var at *refusedCommand
	if !errors.As(err, &e) || e.Code != insufficientRights || !errors.As(err, &at) {
		return err
	}
	user, role := quote(conn.Conn().Config().User), quote(t.Role)
	helped := *e
	switch {
	case strings.HasPrefix(at.sql, "CREATE SCHEMA"):
		helped.Hint = fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s", quote(conn.Conn().Config().Database), user)
	case strings.HasPrefix(at.sql, "CREATE ROLE"):
		helped.Hint = fmt.Sprintf("ALTER ROLE %s CREATEROLE, or set postgres.roles to none", user)
	case strings.Contains(at.sql, "pg_terminate_backend"):
		helped.Hint = "GRANT pg_signal_backend TO " + user
	case strings.Contains(at.sql, " ROLE ") || strings.HasSuffix(at.sql, "CURRENT_USER") || strings.HasPrefix(at.sql, "DROP OWNED"):
		helped.Hint = fmt.Sprintf("ALTER ROLE %[1]s CREATEROLE; on PostgreSQL 16 and newer also GRANT %[2]s TO %[1]s WITH ADMIN OPTION", user, role)
	default:
		helped.Hint = fmt.Sprintf("GRANT the role that owns schema %s TO %s", quote(t.Schema), user)
	}
	return &helped
}
