package legacy

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantctl/tenantctl/tenant"
)

// storeError says what a store was asked for and why it would not, without the driver's wording. store is "postgres",
// "mongodb", "catalog" or "source NAME".
func storeError(store, verb string, err error) error {
	if err == nil {
		return nil
	}
	var ours *tenant.Error
	if err := tenant.Fenced(err); errors.As(err, &ours) {
		return err
	}
	e := &tenant.Error{Store: store, Msg: verb, Err: err}
	var pg *pgconn.PgError
	var dial *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		e.Kind, e.Msg = tenant.ErrInterrupted, verb+": interrupted"
	case errors.As(err, &pg):
		e.Code = pg.Code
		e.Msg = fmt.Sprintf("%s: %s (SQLSTATE %s)", verb, pg.Message, pg.Code)
		e.Hint, e.Kind = meaning(pg.Code)
	case errors.As(err, &dial):
		e.Kind, e.Msg, e.Hint = tenant.ErrUnreachable, fmt.Sprintf("%s: %v", verb, dial.Err), "is the server running?"
	case errors.Is(err, context.DeadlineExceeded):
		e.Kind, e.Msg, e.Hint = tenant.ErrUnreachable, verb+": no answer in time", "is the server running?"
	case pgconn.SafeToRetry(err), errors.Is(err, net.ErrClosed), isConnect(err):
		e.Kind, e.Msg, e.Hint = tenant.ErrUnreachable, verb+": the server does not answer", "is the server running?"
	default:
		e.Msg = verb + ": the connection broke"
		e.Hint = "run the same command again: it goes on from the last checkpoint"
	}
	return e
}

func isConnect(err error) bool {
	var c *pgconn.ConnectError
	return errors.As(err, &c)
}

func meaning(code string) (hint string, kind error) {
	switch code {
	case "42501":
		return "GRANT it to the role that the URL names", tenant.ErrRights
	case "53100":
		return "the server's disk is full: make room, and run the same command again", nil
	case "53200":
		return "the server is out of memory or locks: raise max_locks_per_transaction, or lower --parallel", nil
	case "53300":
		return "the server has no connection left: lower --parallel or max_connections", tenant.ErrUnreachable
	case "57P01", "57P02", "57P03":
		return "the server is stopping or starting: run the same command again when it is up", tenant.ErrUnreachable
	case "25006":
		return "the server is read-only: name the primary", tenant.ErrUnsupported
	case "28P01", "28000", "3D000":
		return "check the URL's user, password and database", tenant.ErrUnreachable
	case "42P01", "42703":
		return "check the names in the mapping", tenant.ErrInvalid
	}
	return "", nil
}
