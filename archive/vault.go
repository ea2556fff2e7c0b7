package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// Config says where backups are kept and who can read them.
type Config struct {
	URL          string        // file:// or a path, s3://, gs://, azblob://
	KeysURL      string        // place of the tenants' own keys; empty: beside the backups
	Recipients   []string      // age1...: whose identities open the backups; none: backups are not encrypted
	KeyPerTenant bool          // encrypt to the tenant's own key, and that to Recipients
	IdentityFile string        // secret keys that open backups, as age-keygen writes them; read when first needed
	Signing      string        // SigningAuto, SigningRequire or SigningNone; empty is auto
	SigningKeys  []string      // in base64; the first signs manifests, all verify them
	Silence      time.Duration // after which a store in which nothing moves counts as gone; 5 minutes where it is 0
}

// Vault is a place of backups.
type Vault struct {
	cfg        Config
	store      *store
	keys       *store
	recipients []age.Recipient
	signing    []signingKey

	identity sync.Mutex
	id       uuid.UUID // of the store; uuid.Nil where it has none yet
}

var _ tenant.Vault = (*Vault)(nil)

// OpenVault opens the place that cfg names and proves that it answers.
func OpenVault(ctx context.Context, cfg Config) (*Vault, error) {
	v := &Vault{cfg: cfg}
	var err error
	if v.recipients, err = parseRecipients(cfg.Recipients); err != nil {
		return nil, err
	}
	if v.signing, err = parseSigningKeys(cfg.SigningKeys); err != nil {
		return nil, err
	}
	if cfg.Signing == SigningRequire && len(v.signing) == 0 {
		return nil, tenant.Invalid("set it to a key that openssl rand -base64 32 makes", "backup.signing is require, and backup.signing_key is not set")
	}
	if cfg.KeyPerTenant && len(v.recipients) == 0 {
		return nil, tenant.Invalid("name at least one recipient (age1...), to whom the tenants' keys are encrypted", "a key per tenant needs recipients")
	}
	patience := cmp.Or(cfg.Silence, silence)
	if v.store, err = openStore(ctx, cfg.URL, patience); err != nil {
		return nil, err
	}
	if v.id, err = v.readID(ctx); err != nil {
		return nil, errors.Join(err, v.store.Close())
	}
	v.keys = v.store
	if cfg.KeysURL != "" && cfg.KeysURL != cfg.URL {
		if v.keys, err = openStore(ctx, cfg.KeysURL, patience); err != nil {
			return nil, errors.Join(err, v.store.Close())
		}
	}
	return v, nil
}

// Close lets the connections go.
func (v *Vault) Close() error {
	err := v.store.Close()
	if v.keys != v.store {
		err = errors.Join(err, v.keys.Close())
	}
	return err
}

// String is where the backups are, without secrets.
func (v *Vault) String() string { return v.store.name }

// Holds tells whether a location, as Open gives it, is one of this vault's.
func (v *Vault) Holds(location string) bool { return strings.HasPrefix(location, v.store.at("")) }

// folder is the beginning of the keys of a backup's files.
func folder(tenantID, id uuid.UUID) string { return tenantID.String() + "/" + id.String() + "/" }

// Open reads a backup's manifest. ErrNotFound where there is none; ErrDiffers where it is damaged; ErrInvalid where
// another version of the program wrote it.
func (v *Vault) Open(ctx context.Context, tenantID, id uuid.UUID) (*tenant.Backup, error) {
	m, err := v.manifest(ctx, tenantID, id)
	if err != nil {
		return nil, err
	}
	b := m.backup(v.store.at(folder(tenantID, id) + m.Archive.File))
	b.Store = v.ID()
	b.ManifestSHA256, b.Signature, b.SignedBy = m.sum, m.signature, m.signedBy
	return b, nil
}

func (v *Vault) manifest(ctx context.Context, tenantID, id uuid.UUID) (*manifest, error) {
	key := folder(tenantID, id) + manifestFile
	text, err := v.store.read(ctx, key, maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := readManifest(text)
	var other errFormat
	switch {
	case errors.As(err, &other):
		return nil, &tenant.Error{
			Kind: tenant.ErrInvalid, Code: "format", Store: storeName, Err: err,
			Msg: fmt.Sprintf("%s cannot be read: %v", v.store.at(key), err), Hint: "use the version of tenantctl that wrote it",
		}
	case err != nil:
		return nil, damaged("%s is damaged: %v", v.store.at(key), err)
	case m.ID != id || m.Tenant.ID != tenantID:
		return nil, damaged("%s is the manifest of backup %s of tenant %s", v.store.at(key), m.ID, m.Tenant.ID)
	}
	m.sum = sumOf(text)
	m.signature, m.signedBy, err = v.signedBy(ctx, folder(tenantID, id), text)
	return m, err
}

// List gives what the vault holds of a tenant, or of all with uuid.Nil, from the names alone; also archives without a
// manifest, and what killed uploads left. Files of other kinds are passed over.
func (v *Vault) List(ctx context.Context, tenantID uuid.UUID) iter.Seq2[tenant.Stored, error] {
	return func(yield func(tenant.Stored, error) bool) {
		prefix := ""
		if tenantID != uuid.Nil {
			prefix = tenantID.String() + "/"
		}
		var cur tenant.Stored
		for o, err := range v.store.objects(ctx, prefix) {
			if err != nil {
				yield(tenant.Stored{}, err)
				return
			}
			t, id, name, ok := parseKey(o.key)
			if !ok {
				continue
			}
			if t != cur.Tenant || id != cur.ID {
				if cur.ID != uuid.Nil && !yield(cur, nil) {
					return
				}
				cur = tenant.Stored{Tenant: t, ID: id}
			}
			cur.Whole = cur.Whole || name == manifestFile
			if o.at.After(cur.At) {
				cur.At = o.at.UTC()
			}
		}
		if cur.ID != uuid.Nil && !yield(cur, nil) {
			return
		}
		v.listUploads(ctx, prefix, yield)
	}
}

// listUploads gives the backups of which there are but pieces of an upload that never ended.
func (v *Vault) listUploads(ctx context.Context, prefix string, yield func(tenant.Stored, error) bool) {
	for u, err := range v.store.uploads(ctx, prefix) {
		if err != nil {
			yield(tenant.Stored{}, err)
			return
		}
		t, id, _, ok := parseKey(u.key)
		if !ok {
			continue
		}
		// What has a manifest was listed, and is no piece.
		whole, err := v.store.exists(ctx, folder(t, id)+manifestFile)
		if err != nil {
			yield(tenant.Stored{}, err)
			return
		}
		if !whole && !yield(tenant.Stored{Tenant: t, ID: id, At: u.at.UTC()}, nil) {
			return
		}
	}
}

// parseKey reads TENANT-ID/BACKUP-ID/NAME; also the names that files have while file:// writes them.
func parseKey(key string) (tenantID, id uuid.UUID, name string, ok bool) {
	t, rest, _ := strings.Cut(key, "/")
	b, name, _ := strings.Cut(rest, "/")
	tenantID, tenantErr := uuid.Parse(t)
	id, err := uuid.Parse(b)
	if tenantErr != nil || err != nil || key != folder(tenantID, id)+name {
		return uuid.Nil, uuid.Nil, "", false
	}
	for _, own := range []string{manifestFile, signatureFile, plainFile, sealedFile} {
		if name == own || strings.HasPrefix(name, own+".") && strings.HasSuffix(name, ".tmp") {
			return tenantID, id, name, true
		}
	}
	return uuid.Nil, uuid.Nil, "", false
}

// Remove takes a backup away, or what was left of one; absent is success. The manifest goes first: a backup that is
// removed by half is none.
func (v *Vault) Remove(ctx context.Context, tenantID, id uuid.UUID) error {
	dir := folder(tenantID, id)
	if err := v.store.remove(ctx, dir+manifestFile); err != nil {
		return err
	}
	var keys []string
	for o, err := range v.store.objects(ctx, dir) {
		if err != nil {
			return err
		}
		if _, _, _, ours := parseKey(o.key); ours {
			keys = append(keys, o.key)
		}
	}
	for _, key := range keys {
		if err := v.store.remove(ctx, key); err != nil {
			return err
		}
	}
	if err := v.store.abortUploads(ctx, dir); err != nil {
		return err
	}
	v.store.prune(path.Clean(dir))
	return nil
}
