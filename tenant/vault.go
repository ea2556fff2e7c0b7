package tenant

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/google/uuid"
)

// Backup is one backup of one tenant in both stores, as its manifest tells of it.
type Backup struct {
	ID         uuid.UUID         `json:"id"`
	Tenant     Name              `json:"tenant"` // its name when the backup was made
	TenantID   uuid.UUID         `json:"tenant_id"`
	CreatedAt  time.Time         `json:"created_at"`
	FinishedAt time.Time         `json:"finished_at"`
	Size       int64             `json:"size"`     // bytes of the archive
	Versions   map[string]int64  `json:"versions"` // newest applied migration by kind of store
	Parts      []Part            `json:"parts"`
	Encrypted  bool              `json:"encrypted"`
	OwnKey     bool              `json:"own_key"`        // encrypted with a key of the tenant's own
	Location   string            `json:"location"`       // URL of the archive, without secrets
	Store      uuid.UUID         `json:"store,omitzero"` // id of the store at that URL; uuid.Nil where it had none
	Stores     map[string]Dumped `json:"stores,omitempty"`
	Only       string            `json:"only,omitempty"` // the one kind of store that it was asked to hold; empty for a whole backup
	SkewMS     int64             `json:"skew_ms"`        // from the snapshot of one store to the other's, or to where its reading ended
	Quiesced   bool              `json:"quiesced"`
	Labels     map[string]string `json:"labels,omitempty"`
	Domains    []string          `json:"domains,omitempty"`
	Tool       string            `json:"tool,omitempty"` // version of tenantctl

	// ManifestSHA256 is of the manifest's bytes, in hex. The catalog keeps it, so that another manifest is noticed.
	ManifestSHA256 string `json:"manifest_sha256,omitempty"`
	Signature      string `json:"signature,omitempty"` // what was found of the manifest's signature when it was read
	SignedBy       string `json:"signed_by"`           // id of the key whose signature was verified; empty: none was
}

// What a look at a manifest's signature finds.
const (
	SignatureVerified   = "verified"
	SignatureMissing    = "missing"
	SignatureUnknownKey = "unknown_key" // by a key that is not in the configuration
	SignatureIgnored    = "ignored"     // signatures are not looked at
)

// Vault is where backups are kept.
type Vault interface {
	// Create begins a backup's archive. about is how many bytes the stores hold, for the store's choice of piece.
	Create(ctx context.Context, b *Backup, about int64) (Archive, error)
	// Open reads a backup's manifest. ErrNotFound where there is none: an archive without it is no backup.
	Open(ctx context.Context, tenant, id uuid.UUID) (*Backup, error)
	// Read gives every part's bytes to the sink that is asked for it; nil leaves the part out, but checks it. Close is
	// called on the sink of a part that was found right. ErrDiffers names the first part that is not.
	Read(ctx context.Context, b *Backup, sink func(Part) (io.WriteCloser, error)) error
	// List gives what the vault holds of a tenant, or of all with uuid.Nil, from the names alone.
	List(ctx context.Context, tenant uuid.UUID) iter.Seq2[Stored, error]
	// Remove takes a backup away, or what was left of one; absent is success.
	Remove(ctx context.Context, tenant, id uuid.UUID) error
	// Holds tells whether a location, as Open gives it, is one of this vault's.
	Holds(location string) bool
	// ID is the id of the store, which it is given with its first backup; uuid.Nil where it has none yet.
	ID() uuid.UUID
	// DropKey destroys the tenant's own key, and tells whether there was one: its backups cannot be read any more.
	DropKey(ctx context.Context, tenant uuid.UUID) (bool, error)
}

// Archive takes the parts of a backup.
type Archive interface {
	PartWriter
	// Commit ends the archive and then writes the manifest, with which the backup is one. It completes b.
	Commit(ctx context.Context, b *Backup) error
	// Abandon leaves nothing of an archive that was not committed.
	Abandon()
}

// Stored is a backup, or a piece of one, as the names in a vault tell.
type Stored struct {
	Tenant, ID uuid.UUID
	Whole      bool // its manifest is there
	At         time.Time
}

// in tells whether a backup that the catalog knows is in a vault: at one of its locations, and in the store that it was written
// to. Another store may have come to stand under the same name. Of backups that were made before stores had ids the name is
// all that is known.
func (known *Backup) in(v Vault) bool {
	return v.Holds(known.Location) && (known.Store == uuid.Nil || known.Store == v.ID())
}

// elsewhere says where a backup is that is not in a vault.
func (known *Backup) elsewhere(v Vault) *Error {
	if !v.Holds(known.Location) {
		return &Error{
			Kind: ErrInvalid, Code: "other_place", Msg: fmt.Sprintf("backup %s is at %s, and not where backup.url points to", known.ID, known.Location),
			Hint: "set TENANTCTL_BACKUP_URL to its place for this command",
		}
	}
	has := "the store there has the id " + v.ID().String()
	if v.ID() == uuid.Nil {
		has = "the store there has no id"
	}
	return &Error{
		Kind: ErrDiffers, Code: "other_store", Msg: fmt.Sprintf("backup %s is in another store that was at %s: its id is %s, and %s", known.ID, known.Location, known.Store, has),
		Hint: "mount the right folder, or name the right bucket; where the backups were copied to this store on purpose: tenantctl backup list --scan",
	}
}
