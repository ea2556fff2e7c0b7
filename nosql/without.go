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

// makesNone is why a server refuses to make a user, however often it is asked: not for want of a right, which can be granted,
// nor for what passes. FerretDB 2 knows createUser, and makes users for all databases alone.
func makesNone(err error) (why string, refused bool) {
	a, spoke := answerOf(err)
	if !spoke || isCode(err, codeUnauthorized, codeAuthentication, codeUserExists) || passes(err) {
		return "", false
	}
	return a.message, true
}

// passes tells whether a server that answers so may answer otherwise soon.
func passes(err error) bool {
	var labelled mongo.LabeledError
	if errors.As(err, &labelled) && labelled.HasErrorLabel("RetryableWriteError") {
		return true
	}
	return isCode(err, codeNotPrimary, codeNotPrimaryNoOK, codeInterruptStepDown, codeShutdown, codeInterruptShutdown, codeSteppedDown,
		codeLockTimeout, codeLockBusy, codeWriteConflict, codeTimeLimit, codeTooSlow)
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
