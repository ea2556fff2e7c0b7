package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// maxKey is more than a tenant's key ever has: one line for each operator, and one secret.
const maxKey = 1 << 20

// keyObject is where a tenant's own key lies, in the store of keys.
func keyObject(tenantID uuid.UUID) string { return "keys/" + tenantID.String() + ".age" }

func parseRecipients(texts []string) ([]age.Recipient, error) {
	var out []age.Recipient
	for _, text := range texts {
		var r age.Recipient
		var err error
		switch {
		case strings.HasPrefix(text, "AGE-SECRET-KEY-"):
			return nil, tenant.Invalid("give its public half: age-keygen -y FILE prints it", "a recipient of backups is a secret key")
		case strings.HasPrefix(text, "age1pq1"):
			r, err = age.ParseHybridRecipient(text)
		default:
			r, err = age.ParseX25519Recipient(text)
		}
		if err != nil {
			return nil, tenant.Invalid("age-keygen makes a pair; the recipient is the line that begins with age1", "%.80q is no recipient of backups", text)
		}
		out = append(out, r)
	}
	if len(out) > 0 {
		if _, err := age.Encrypt(io.Discard, out...); err != nil {
			return nil, tenant.Invalid("use recipients of one kind", "the recipients of backups do not go together: %s", innermost(err))
		}
	}
	return out, nil
}

// readIdentities reads a file as age-keygen writes it. No error quotes it.
func readIdentities(name string) ([]age.Identity, error) {
	if name == "" {
		return nil, tenant.Invalid("name the file with the identity (AGE-SECRET-KEY-1...) in backup.identity_file", "the backup is encrypted, and no identity is given")
	}
	f, err := os.Open(name)
	if err != nil {
		var cause *fs.PathError
		errors.As(err, &cause)
		return nil, tenant.Invalid("name a file as age-keygen writes it", "the identities in %s cannot be read: %v", name, cause.Err)
	}
	defer f.Close()
	ids, err := age.ParseIdentities(io.LimitReader(f, maxKey))
	if err != nil {
		return nil, tenant.Invalid("it holds a line AGE-SECRET-KEY-1... for each, as age-keygen writes it", "%s holds no identities that can be read", name)
	}
	return ids, nil
}

// identities are what may open a backup: those of the file and, where it has one, the tenant's own key, which they open.
func (v *Vault) identities(ctx context.Context, m *manifest) ([]age.Identity, error) {
	ids, err := readIdentities(v.cfg.IdentityFile)
	if err != nil || m.Encryption.Key == "" {
		return ids, err
	}
	where := v.keys.at(m.Encryption.Key)
	text, err := v.keys.read(ctx, m.Encryption.Key, maxKey)
	if errors.Is(err, tenant.ErrNotFound) {
		if holds(ids, m.Encryption.Recipients) {
			return ids, nil
		}
		return nil, &tenant.Error{
			Kind: tenant.ErrMissing, Code: "no_key", Store: storeName,
			Msg: "the tenant's own key " + where + " is gone: nobody can read the backup", Hint: "where it was not destroyed on purpose, put the file back",
		}
	}
	if err != nil {
		return nil, err
	}
	plain, err := age.Decrypt(bytes.NewReader(text), ids...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		if holds(ids, m.Encryption.Recipients) {
			return ids, nil
		}
		return nil, &tenant.Error{
			Kind: tenant.ErrInvalid, Code: "wrong_key", Store: storeName, Err: err,
			Msg: "none of the identities opens the tenant's own key " + where, Hint: "use the file with the identity of one of those who were recipients when the key was made",
		}
	}
	if err != nil {
		return nil, damaged("the tenant's own key %s is damaged: %s", where, innermost(err))
	}
	own, err := age.ParseIdentities(io.LimitReader(plain, maxKey))
	if err != nil {
		return nil, damaged("the tenant's own key %s is damaged: it holds no identity", where)
	}
	return append(own, ids...), nil
}

// holds tells whether one of the identities is that of one of the recipients: the tenant's own key, as a file.
func holds(ids []age.Identity, recipients []string) bool {
	for _, id := range ids {
		if x, ok := id.(*age.X25519Identity); ok {
			for _, r := range recipients {
				if x.Recipient().String() == r {
					return true
				}
			}
		}
	}
	return false
}

// tenantKey gives the recipient of the tenant's own key. It makes the key at the first use: one file that `age -d` opens
// with the identity of any of the vault's recipients, and whose header tells the tenant's recipient to everybody. So one
// write makes it, and of two processes at once both use the one that was first.
func (v *Vault) tenantKey(ctx context.Context, tenantID uuid.UUID) (*age.X25519Recipient, error) {
	key := keyObject(tenantID)
	text, err := v.keys.read(ctx, key, maxKey)
	if errors.Is(err, tenant.ErrNotFound) {
		if text, err = v.newKey(); err != nil {
			return nil, err
		}
		if err = v.keys.writeOnce(ctx, key, sealedType, text); err == nil || errors.Is(err, errTaken) {
			text, err = v.keys.read(ctx, key, maxKey)
		}
	}
	if err != nil {
		return nil, err
	}
	var p peek
	// It cannot open the file; what it reads on the way is what is asked for.
	_, _ = age.Decrypt(bytes.NewReader(text), &p)
	if p.recipient == nil {
		return nil, damaged("the tenant's own key %s is damaged: its header names no recipient", v.keys.at(key))
	}
	return p.recipient, nil
}

func (v *Vault) newKey() ([]byte, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("make the tenant's key: %w", err)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, append([]age.Recipient{label{id.Recipient().String(), v.recipients[0]}}, v.recipients...)...)
	if err == nil {
		_, err = fmt.Fprintf(w, "# public key: %s\n%s\n", id.Recipient(), id)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encrypt the tenant's key: %w", err)
	}
	return sealed.Bytes(), nil
}

// labelType marks the line of a key's header that tells its recipient; age itself passes over it.
const labelType = "tenantctl/recipient"

// label writes that line. like is a true recipient of the file: age wants all of one kind.
type label struct {
	recipient string
	like      age.Recipient
}

func (l label) Wrap([]byte) ([]*age.Stanza, error) {
	return []*age.Stanza{{Type: labelType, Args: []string{l.recipient}}}, nil
}

func (l label) WrapWithLabels(fileKey []byte) ([]*age.Stanza, []string, error) {
	var kinds []string
	if r, ok := l.like.(age.RecipientWithLabels); ok {
		var err error
		if _, kinds, err = r.WrapWithLabels(fileKey); err != nil {
			return nil, nil, err
		}
	}
	lines, err := l.Wrap(fileKey)
	return lines, kinds, err
}

// peek is an identity that opens nothing and reads the label.
type peek struct{ recipient *age.X25519Recipient }

func (p *peek) Unwrap(lines []*age.Stanza) ([]byte, error) {
	for _, l := range lines {
		if l.Type == labelType && len(l.Args) == 1 {
			// What cannot be read leaves none, which the caller refuses.
			p.recipient, _ = age.ParseX25519Recipient(l.Args[0])
		}
	}
	return nil, age.ErrIncorrectIdentity
}

// DropKey destroys the tenant's own key, and tells whether there was one: its backups cannot be read any more. A store
// that keeps deleted files for a time (soft delete) keeps the key that long.
func (v *Vault) DropKey(ctx context.Context, tenantID uuid.UUID) (bool, error) {
	there, err := v.keys.exists(ctx, keyObject(tenantID))
	if err != nil {
		return false, err
	}
	return there, v.keys.forget(ctx, keyObject(tenantID))
}
