package tenant

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Sentinels: what went wrong, in the words that exit codes are chosen by.
var (
	ErrInvalid     = errors.New("invalid")               // bad name, selector, configuration, refused by a guard
	ErrNotFound    = errors.New("not found")             // no such tenant, operation, run
	ErrExists      = errors.New("exists already")        // the name, domain or place is taken
	ErrBusy        = errors.New("busy")                  // another live operation holds the tenant
	ErrForeign     = errors.New("not ours")              // a schema, role or database that tenantctl did not make
	ErrMissing     = errors.New("missing")               // in the catalog, not in the store
	ErrFenced      = errors.New("taken over")            // another process took the operation over
	ErrNoCatalog   = errors.New("no catalog")            // init has not been run here
	ErrUnreachable = errors.New("unreachable")           // a server does not answer or does not let us in
	ErrUnsupported = errors.New("unsupported server")    // too old, a replica, a pooler in the wrong mode
	ErrRights      = errors.New("missing rights")        // the server refuses for want of a privilege
	ErrMigration   = errors.New("migration")             // a migration file is broken or its statement failed
	ErrDiffers     = errors.New("differences found")     // a check found what should not be
	ErrPartial     = errors.New("partly done")           // some tenants of a fleet failed or were not started
	ErrLocked      = errors.New("lock not available")    // live traffic held a lock for longer than lock_timeout
	ErrInterrupted = errors.New("interrupted")           // Ctrl-C
	ErrStuck       = errors.New("left for a resumption") // neither done nor undone: resume or abort it
)

// ErrNoMigrations is the cause where a folder holds no migrations or is not there: some commands need none.
var ErrNoMigrations = errors.New("no migrations")

// Error is a failure as a person and a script both need it: what, where, and the way out.
type Error struct {
	Kind      error  // one of the sentinels: decides the exit code
	Code      string // a word or SQLSTATE for scripts and for grouping failures; the kind's own where empty
	Tenant    Name   // the tenant concerned, if one is
	Store     string // "postgres", "mongodb", "catalog"; empty where no store is concerned
	Statement string // the statement or command that the server refused, shortened, without values
	Msg       string // lower-case, verb and noun
	Hint      string // one sentence: the way out
	Output    string // what another program said, whole
	Err       error  // the cause, for errors.Is; its text is not shown
}

// Error names the tenant and the store before the message, once each.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Tenant != "" {
		fmt.Fprintf(&b, "tenant %s: ", e.Tenant)
	}
	if e.Store != "" {
		b.WriteString(e.Store + ": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Unwrap gives both the sentinel and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// Invalid makes the error for input that is refused before anything is touched.
func Invalid(hint, format string, args ...any) error {
	return &Error{Kind: ErrInvalid, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// WithTenant names the tenant on err, which must be or wrap an *Error to carry it; others are wrapped.
func WithTenant(err error, name Name) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		if e.Tenant == "" {
			named := *e
			named.Tenant = name
			return &named
		}
		return err
	}
	return &Error{Tenant: name, Msg: err.Error(), Err: err}
}

var codes = []struct {
	kind error
	code string
}{
	{ErrInvalid, "invalid"},
	{ErrNotFound, "not_found"},
	{ErrExists, "exists"},
	{ErrBusy, "busy"},
	{ErrForeign, "not_ours"},
	{ErrMissing, "missing"},
	{ErrFenced, "taken_over"},
	{ErrNoCatalog, "no_catalog"},
	{ErrUnreachable, "unreachable"},
	{ErrUnsupported, "unsupported_server"},
	{ErrRights, "missing_rights"},
	{ErrLocked, "locked"},
	{ErrMigration, "migration"},
	{ErrDiffers, "differs"},
	{ErrPartial, "partial"},
	{ErrStuck, "stuck"},
	{ErrInterrupted, "interrupted"},
	{context.Canceled, "interrupted"},
}

// Code is the stable word for err: its own code where it has one, else its kind's.
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Code != "" {
		return e.Code
	}
	for _, c := range codes {
		if errors.Is(err, c.kind) {
			return c.code
		}
	}
	return "failed"
}
