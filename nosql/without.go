package nosql

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/tenantctl/tenantctl/tenant"
)

// withoutUser is the field of a database's mark that tells why the server would make no user for it.
const withoutUser = "withoutUser"

// goesWithout tells whether a tenant may have no user where the server makes none.
func (r *Resource) goesWithout() bool { return r.cfg.Users == "" || r.cfg.Users == UsersAuto }

// makesNone is why a server refuses to make a user, however often it is asked: not for want of a right, which can
// be granted, nor for what passes. FerretDB 2 knows createUser, and makes users for all databases alone.
func makesNone(err error) (why string, refused bool) {
	a, spoke := answerOf(err)
	if !spoke || isCode(err, codeUnauthorized, codeAuthentication, codeUserExists) || a.unconfirmed || passes(err) {
		return "", false
	}
	return a.message, true
}

// keepsNone is why there are no users of a server that answers so about them.
func keepsNone(err error) string {
	if a, _ := answerOf(err); !unknownCommand(err) {
		return "the server lets nobody manage users by commands (" + a.message + "): whoever reaches it reaches every tenant"
	}
	return "the server keeps no users: whoever reaches it reaches every tenant"
}

// usersElsewhere is what helps where users cannot be managed.
const usersElsewhere = "set nosql.users to none: tenants then have no users of their own; or use a server that keeps them"

// required is the error of a server that keeps no users where the configuration requires them.
func required(err error) error {
	what := "the server keeps no users"
	if a, _ := answerOf(err); !unknownCommand(err) {
		what = "the server lets nobody manage users by commands (" + a.message + ")"
	}
	return refused(tenant.ErrUnsupported, "use a server that keeps users, or set nosql.users to auto, or to none", "%s, and nosql.users is require", what)
}

// passes tells whether a server that answers so may answer otherwise soon.
func passes(err error) bool {
	var labelled mongo.LabeledError
	if errors.As(err, &labelled) && labelled.HasErrorLabel("RetryableWriteError") {
		return true
	}
	return isCode(err, codeNotPrimary, codeNotPrimaryNoOK, codeInterruptStepDown, codeShutdown, codeInterruptShutdown, codeSteppedDown,
		codeLockTimeout, codeLockBusy, codeWriteConflict, codeTimeLimit, codeTooSlow, codeInternalError, codeUnknownError)
}

// goWithout notes in the mark of a database why it has no user.
func (r *Resource) goWithout(ctx context.Context, t tenant.Tenant, why string) error {
	return failure("mark database "+t.Database, write(ctx, func(ctx context.Context) error {
		_, err := r.own(t).UpdateOne(ctx,
			bson.D{{Key: "_id", Value: ownerID}, {Key: "tenant", Value: t.ID.String()}},
			bson.D{{Key: "$set", Value: bson.D{{Key: withoutUser, Value: why}}}})
		return err
	}))
}

// whyWithout is what goWithout noted, empty where it did not.
func (r *Resource) whyWithout(ctx context.Context, t tenant.Tenant) (string, error) {
	mark, err := r.own(t).FindOne(ctx, bson.D{{Key: "_id", Value: ownerID}, {Key: "tenant", Value: t.ID.String()}}).Raw()
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return "", failure(fmt.Sprintf("read database %q", t.Database), err)
	}
	return whyIn(mark), nil
}

func whyIn(mark bson.Raw) string {
	why, _ := mark.Lookup(withoutUser).StringValueOK() // what is no text is no reason
	return why
}
