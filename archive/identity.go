package archive

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/smithy-go"
	"github.com/google/uuid"
	"gocloud.dev/gcerrors"

	"github.com/tenantctl/tenantctl/tenant"
)

// identityFile lies at the root of a store and holds its id: another store that has come to stand under the same name, such as
// another bucket or a folder on which nothing is mounted, has another id or none.
const (
	identityFile = "tenantctl-store"
	identityType = "text/plain"
)

// ID is the id of the store; uuid.Nil where nothing was written to it since stores have one.
func (v *Vault) ID() uuid.UUID {
	v.identity.Lock()
	defer v.identity.Unlock()
	return v.id
}

// readID looks for the store's id.
func (v *Vault) readID(ctx context.Context) (uuid.UUID, error) {
	text, err := v.store.read(ctx, identityFile, 1<<10)
	if errors.Is(err, tenant.ErrNotFound) {
		return uuid.Nil, nil
	}
	if err != nil {
		return uuid.Nil, err
	}
	id, err := uuid.Parse(strings.TrimSpace(string(text)))
	if err != nil || id == uuid.Nil {
		return uuid.Nil, &tenant.Error{
			Kind: tenant.ErrDiffers, Code: "store_id", Store: storeName, Msg: v.store.at(identityFile) + " holds no id of a store",
			Hint: "put back the file that was there; where it is lost, remove it, and run: tenantctl backup list --scan",
		}
	}
	return id, nil
}

// identify gives the store an id where it has none. Of two processes at once, both use the one that was first.
func (v *Vault) identify(ctx context.Context) (uuid.UUID, error) {
	v.identity.Lock()
	defer v.identity.Unlock()
	if v.id != uuid.Nil {
		return v.id, nil
	}
	text := []byte(uuid.NewString() + "\n")
	err := v.store.writeOnce(ctx, identityFile, identityType, text)
	if unconditional(err) {
		err = v.store.write(ctx, identityFile, identityType, text)
	}
	if err != nil && !errors.Is(err, errTaken) {
		return uuid.Nil, err
	}
	v.id, err = v.readID(ctx)
	return v.id, err
}

// unconditional tells that a server knows no writes on condition.
func unconditional(err error) bool {
	var api smithy.APIError
	return gcerrors.Code(err) == gcerrors.Unimplemented || errors.As(err, &api) && api.ErrorCode() == "NotImplemented"
}
