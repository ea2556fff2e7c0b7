package nosql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/tenantctl/tenantctl/tenant"
)

// Codes of MongoDB that mean something to tenantctl.
const (
	codeUserNotFound        = 11
	codeInternalError       = 1
	codeUnauthorized        = 13
	codeAuthentication      = 18
	codeLockTimeout         = 24
	codeNamespaceNotFound   = 26
	codeIndexNotFound       = 27
	codeFailedToParse       = 9
	codeLockBusy            = 46
	codeNamespaceExists     = 48
	codeTooSlow             = 50
	codeCommandNotFound     = 59
	codeInvalidOptions      = 72
	codeInvalidNamespace    = 73
	codeIndexOptions        = 85
	codeIndexKeys           = 86
	codeShutdown            = 91
	codeWriteConflict       = 112
	codeSteppedDown         = 189
	codeNotImplemented      = 238
	codeSnapshotTooOld      = 239
	codeSnapshotUnavailable = 246
	codeTimeLimit           = 262
	codeNotPrimary          = 10107
	codeTooLarge            = 10334
	codeDuplicateKey        = 11000
	codeInterruptShutdown   = 11600
	codeInterruptStepDown   = 11602
	codeIndexBuildRunning   = 12587
	codeNotPrimaryNoOK      = 13435
	codeCaseCollision       = 13297 // the name differs from another database's by case alone
	codeUnknownStage        = 40324
	codeUnknownField        = 40415
	codeUserExists          = 51003
)

// answer is what a server said against a command.
type answer struct {
	code    int
	name    string
	message string
}

// answerOf finds the server's own words in err; ok is false where no server spoke.
func answerOf(err error) (a answer, ok bool) {
	var write mongo.WriteException
	if errors.As(err, &write) {
		switch {
		case len(write.WriteErrors) > 0:
			return answer{code: write.WriteErrors[0].Code, message: write.WriteErrors[0].Message}, true
		case write.WriteConcernError != nil:
			return answer{code: write.WriteConcernError.Code, name: write.WriteConcernError.Name, message: write.WriteConcernError.Message}, true
		}
	}
	var command mongo.CommandError
	if errors.As(err, &command) && !mongo.IsNetworkError(err) {
		return answer{code: int(command.Code), name: command.Name, message: command.Message}, true
	}
	return answer{}, false
}

func isCode(err error, codes ...int) bool {
	a, ok := answerOf(err)
	if !ok {
		return false
	}
	for _, c := range codes {
		if a.code == c {
			return true
		}
	}
	return false
}

// unknownCommand tells whether the server does not know the command at all.
func unknownCommand(err error) bool { return isCode(err, codeCommandNotFound, codeNotImplemented) }

// failure says what was being done and why MongoDB would not, without the driver's wording. doing is "verb noun".
func failure(doing string, err error) error {
	var ours *tenant.Error
	if err == nil || errors.As(err, &ours) {
		return err
	}
	e := &tenant.Error{Store: tenant.KindMongoDB, Err: err}
	a, spoke := answerOf(err)
	switch {
	case spoke:
		e.Msg = doing + ": " + withoutValues(a.message)
		classify(e, a)
	case errors.Is(err, context.Canceled):
		e.Kind, e.Msg = tenant.ErrInterrupted, doing+": interrupted"
	case errors.Is(err, context.DeadlineExceeded), mongo.IsTimeout(err):
		e.Kind, e.Msg = tenant.ErrUnreachable, doing+": the server took too long to answer"
		e.Hint = "is it up and not overloaded? tenantctl doctor tells more"
	case mongo.IsNetworkError(err), errors.As(err, new(topology.ServerSelectionError)), errors.As(err, new(topology.ConnectionError)):
		e.Kind, e.Msg = tenant.ErrUnreachable, doing+": the connection broke"
		e.Hint = "run the same command again when the server answers; tenantctl doctor tells more"
	default:
		e.Msg = doing + ": " + err.Error()
	}
	return e
}

// classify gives the kind and the way out of an answer; one that has neither keeps the server's own code.
func classify(e *tenant.Error, a answer) {
	switch a.code {
	case codeUnauthorized:
		e.Kind, e.Hint = tenant.ErrRights, rightsHint
	case codeAuthentication:
		e.Kind, e.Hint = tenant.ErrUnreachable, "check the user, the password and authSource of nosql.url"
	case codeNotPrimary, codeNotPrimaryNoOK, codeInterruptStepDown, codeShutdown, codeInterruptShutdown:
		e.Kind, e.Hint = tenant.ErrUnreachable, "the server is stopping or another one became primary; run the same command again"
	case codeLockTimeout, codeLockBusy, codeIndexBuildRunning, codeWriteConflict:
		e.Kind, e.Hint = tenant.ErrLocked, "other work held the collection; run the same command again"
	case codeCommandNotFound, codeNotImplemented:
		e.Kind, e.Hint = tenant.ErrUnsupported, "this server does not know that; tenantctl doctor tells what it is"
	default:
		e.Code = a.name
		if e.Code == "" || strings.HasPrefix(e.Code, "Location") {
			e.Code = fmt.Sprintf("mongodb_%d", a.code)
		}
	}
}

const rightsHint = "give the user of nosql.url the roles readWriteAnyDatabase, dbAdminAnyDatabase and userAdminAnyDatabase on admin"

// withoutValues takes a tenant's data out of a message: of a duplicate key the server shows the values.
func withoutValues(message string) string {
	before, _, _ := strings.Cut(message, " dup key:")
	return before
}

// refused is a guard's answer, before anything is touched.
func refused(kind error, hint, format string, args ...any) error {
	return &tenant.Error{Kind: kind, Store: tenant.KindMongoDB, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// coded is refused with a code of its own, for scripts and reports.
func coded(kind error, code, hint, format string, args ...any) error {
	return &tenant.Error{Kind: kind, Code: code, Store: tenant.KindMongoDB, Msg: fmt.Sprintf(format, args...), Hint: hint}
}
