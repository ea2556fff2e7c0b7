package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tenantctl/tenantctl/config"
	"github.com/tenantctl/tenantctl/tenant"
)

// The exit codes that scripts rely on.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitPartly      = 3
	exitNotFound    = 4
	exitBusy        = 5
	exitDiffers     = 6
	exitInterrupted = 130
)

const exitHelp = `Exit codes: 0 done, 1 failed, 2 wrong usage or refused, 3 partly done, 4 no such tenant, backup or operation,
5 busy or exists already, 6 a check found differences, 130 interrupted.`

// exitCodes maps what went wrong to the exit code; the first that fits counts.
var exitCodes = []struct {
	kind error
	code int
}{
	{tenant.ErrInterrupted, exitInterrupted},
	{context.Canceled, exitInterrupted},
	{tenant.ErrPartial, exitPartly},
	{tenant.ErrStuck, exitFailed},
	{tenant.ErrNotFound, exitNotFound},
	{tenant.ErrExists, exitBusy},
	{tenant.ErrBusy, exitBusy},
	{tenant.ErrDiffers, exitDiffers},
	{tenant.ErrForeign, exitUsage},
	{tenant.ErrInvalid, exitUsage},
	{tenant.ErrNoCatalog, exitUsage},
	{tenant.ErrUnsupported, exitUsage},
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	var faults *config.Faults
	if errors.As(err, &faults) {
		return exitUsage
	}
	var client *clientExit
	if errors.As(err, &client) {
		return client.code
	}
	for _, c := range exitCodes {
		if errors.Is(err, c.kind) {
			return c.code
		}
	}
	return exitFailed
}

// errorDoc is an error with -o json.
type errorDoc struct {
	Error struct {
		Code    string      `json:"code"`
		Message string      `json:"message"`
		Tenant  tenant.Name `json:"tenant,omitempty"`
		Hint    string      `json:"hint,omitempty"`
	} `json:"error"`
}

// report tells the person, or with -o json the script, what went wrong.
func (a *app) report(err error) {
	var client *clientExit
	if err == nil || errors.As(err, &client) {
		return
	}
	var e *tenant.Error
	var hint, statement string
	var name tenant.Name
	if errors.As(err, &e) {
		hint, statement, name = e.Hint, e.Statement, e.Tenant
	}
	code := tenant.Code(err)
	var faults *config.Faults
	if errors.As(err, &faults) {
		code = "configuration"
	}
	if a.format == formatJSON {
		var doc errorDoc
		doc.Error.Code, doc.Error.Message, doc.Error.Tenant, doc.Error.Hint = code, err.Error(), name, hint
		b, merr := json.Marshal(doc)
		if merr == nil {
			fmt.Fprintln(a.errOut, string(b))
			return
		}
	}
	fmt.Fprintln(a.errOut, a.paint(red, "error:"), err.Error())
	if statement != "" && !strings.Contains(err.Error(), statement) {
		fmt.Fprintln(a.errOut, "  statement:", statement)
	}
	if hint != "" {
		fmt.Fprintln(a.errOut, "  hint:", hint)
	}
}

// clientExit passes on the exit code of a client program, which has said itself what was wrong.
type clientExit struct{ code int }

func (c *clientExit) Error() string { return fmt.Sprintf("the client exited with %d", c.code) }
