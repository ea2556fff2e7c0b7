package tenant

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// catalogError says what the catalog was asked for, and why PostgreSQL would not, without the driver's wording.
func catalogError(verb string, err error) error {
	if err == nil {
		return nil
	}
	var ours *Error
	if errors.As(err, &ours) {
		return err
	}
	if err := Fenced(err); errors.As(err, &ours) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return &Error{Kind: ErrInterrupted, Store: "catalog", Msg: verb + ": interrupted", Err: err}
	}
	e := &Error{Store: "catalog", Msg: verb, Err: err}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		e.Code = pg.Code
		e.Msg = fmt.Sprintf("%s: %s (SQLSTATE %s)", verb, pg.Message, pg.Code)
		switch pg.Code {
		case "3F000", "42P01", "42883":
			e.Kind, e.Msg, e.Code = ErrNoCatalog, "there is no catalog in this database", ""
			e.Hint = "run: tenantctl init"
		case "42501":
			e.Kind, e.Hint = ErrRights, "connect as the role that ran tenantctl init, or GRANT that role to this one"
		case "55P03", "40P01":
			e.Kind, e.Hint = ErrBusy, "another process is in the middle of a change; try again in a moment"
		case sqlstateOlder:
			e.Kind, e.Code, e.Msg, e.Hint = ErrInvalid, "new_catalog", pg.Message, "another one has brought the catalog to a newer version: tenantctl init with this one does not help"
		case sqlstateInWork:
			return inWork(pg.Message)
		case "25006":
			e.Kind, e.Hint = ErrUnsupported, "the server is read-only; point postgres.url at the primary"
		case "53300":
			e.Kind, e.Hint = ErrUnreachable, "the server has no connection left; lower postgres.max_connections or raise the server's"
		case "53100":
			e.Hint = "the server's disk is full"
		case "57P01", "57P02", "57P03":
			e.Kind, e.Hint = ErrUnreachable, "the server is stopping or starting; try again when it is up"
		}
		return e
	}
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) || errors.Is(err, net.ErrClosed) {
		e.Kind, e.Msg = ErrUnreachable, verb+": the server does not answer"
		e.Hint = "is PostgreSQL running? tenantctl doctor tells more"
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) {
		e.Kind, e.Msg = ErrUnreachable, verb+": the server took too long to answer"
		e.Hint = "tenantctl doctor tells more"
		return e
	}
	e.Kind, e.Msg = ErrUnreachable, verb+": the connection broke"
	e.Hint = "run the same command again"
	return e
}

// violates tells whether err is a broken unique constraint of that name.
func violates(err error, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505" && pg.ConstraintName == constraint
}
