package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

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
	Error *errorFields `json:"error"`
}

type errorFields struct {
	Code      string      `json:"code"`
	Message   string      `json:"message"`
	Tenant    tenant.Name `json:"tenant,omitempty"`
	Hint      string      `json:"hint,omitempty"`
	Statement string      `json:"statement,omitempty"` // where every line of stderr is JSON
}

// codeOf is the word for what went wrong.
func codeOf(err error) string {
	var faults *config.Faults
	if errors.As(err, &faults) {
		return "configuration"
	}
	return tenant.Code(err)
}

// report tells the person, or with -o json the script, what went wrong.
func (a *app) report(err error) {
	var client *clientExit
	if err == nil || errors.As(err, &client) {
		return
	}
	fields := fieldsOf(err)
	statement := ""
	var e *tenant.Error
	if errors.As(err, &e) && !strings.Contains(err.Error(), e.Statement) {
		statement = e.Statement
	}
	switch {
	case a.errOut.isJSON():
		fields.Statement = statement
		fmt.Fprintln(a.errOut, jsonLine{Time: time.Now().UTC(), Level: slog.LevelError.String(), Msg: err.Error(), Error: fields})
		return
	case a.format == formatJSON:
		if b, merr := json.Marshal(errorDoc{fields}); merr == nil {
			fmt.Fprintln(a.errOut, string(b))
			return
		}
	}
	fmt.Fprintln(a.errOut, a.paint(red, "error:"), err.Error())
	if statement != "" {
		fmt.Fprintln(a.errOut, "  statement:", statement)
	}
	if fields.Hint != "" {
		fmt.Fprintln(a.errOut, "  hint:", fields.Hint)
	}
}

// clientExit passes on the exit code of a client program, which has said itself what was wrong.
type clientExit struct{ code int }

func (c *clientExit) Error() string { return fmt.Sprintf("the client exited with %d", c.code) }
