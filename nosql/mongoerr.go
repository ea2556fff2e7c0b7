package nosql

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/tenantctl/tenantctl/tenant"
)

// Codes of MongoDB that mean something to tenantctl.
const (
	codeInternalError       = 1
	codeBadValue            = 2
	codeUnknownError        = 8
	codeUserNotFound        = 11
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
	codeNotSupported        = 115
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
	codeAtlas               = 8000  // of MongoDB Atlas, for whatever it does not allow
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

	unconfirmed bool // the primary did it, and the majority has not confirmed it
}

// writeOf finds what a server said against the first of some writes, or that the majority has not confirmed them.
func writeOf(err error) (a answer, ok bool) {
	var write mongo.WriteException
	var bulk mongo.BulkWriteException
	var command driver.WriteCommandError // of commands that write, such as dropDatabase
	switch {
	case errors.As(err, &write) && len(write.WriteErrors) > 0:
		return answer{code: write.WriteErrors[0].Code, message: write.WriteErrors[0].Message}, true
	case errors.As(err, &bulk) && len(bulk.WriteErrors) > 0:
		return answer{code: bulk.WriteErrors[0].Code, message: bulk.WriteErrors[0].Message}, true
	case errors.As(err, &write) && write.WriteConcernError != nil:
		w := write.WriteConcernError
		return answer{code: w.Code, name: w.Name, message: w.Message, unconfirmed: true}, true
	case errors.As(err, &bulk) && bulk.WriteConcernError != nil:
		w := bulk.WriteConcernError
		return answer{code: w.Code, name: w.Name, message: w.Message, unconfirmed: true}, true
	case errors.As(err, &command) && command.WriteConcernError != nil:
		w := command.WriteConcernError
		return answer{code: int(w.Code), name: w.Name, message: w.Message, unconfirmed: true}, true
	}
	return answer{}, false
}

// answerOf finds the server's own words in err; ok is false where no server spoke.
func answerOf(err error) (a answer, ok bool) {
	if w, ok := writeOf(err); ok {
		return w, true
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

// notHere tells whether the server does not let anybody manage users by commands: it keeps none, or otherwise.
func notHere(err error) bool { return unknownCommand(err) || isCode(err, codeNotSupported, codeAtlas) }

// failure says what was being done and why MongoDB would not, without the driver's wording. doing is "verb noun".
func failure(doing string, err error) error {
	var ours *tenant.Error
	if err == nil || errors.As(err, &ours) {
		return err
	}
	e := &tenant.Error{Store: tenant.KindMongoDB, Err: err}
	a, spoke := answerOf(err)
	switch {
	case a.unconfirmed:
		e.Code, e.Msg = codeOf(a), doing+": the primary did it, and the majority has not confirmed it: "+a.message
		e.Hint = "what it changed stays changed: look at rs.status() and at w in nosql.url before the same command runs again"
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
	case codeNotPrimary, codeNotPrimaryNoOK, codeSteppedDown, codeInterruptStepDown, codeShutdown, codeInterruptShutdown:
		e.Kind, e.Hint = tenant.ErrUnreachable, "the server is stopping or another one became primary; run the same command again"
	case codeLockTimeout, codeLockBusy, codeIndexBuildRunning, codeWriteConflict:
		e.Kind, e.Hint = tenant.ErrLocked, "other work held the collection; run the same command again"
	case codeCommandNotFound, codeNotImplemented:
		e.Kind, e.Hint = tenant.ErrUnsupported, "this server does not know that; tenantctl doctor tells what it is"
	default:
		e.Code = codeOf(a)
	}
}

// codeOf is the server's own name of what it answers, or its number where it has none.
func codeOf(a answer) string {
	if a.name == "" || strings.HasPrefix(a.name, "Location") {
		return fmt.Sprintf("mongodb_%d", a.code)
	}
	return a.name
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
