// Package archive is the format of backups and the places where they are kept: one tar file a backup, a manifest written
// after it, stores by URL, encryption and retention. docs/restore-by-hand.md tells how to read one without this program.
package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// format is the version of the archives written here; older ones are still read, newer ones are refused.
const format = 1

// Names of the files of a backup, below TENANT-ID/BACKUP-ID/.
const (
	manifestFile = "manifest.json"
	plainFile    = "backup.tar"
	sealedFile   = "backup.tar.age"
)

// Limits of a manifest: one beyond them is not ours.
const (
	maxManifest = 64 << 20
	maxParts    = 200_000
	maxPath     = 1000 // bytes
	maxSegment  = 255
)

// manifest is manifest.json: without it an archive is no backup.
type manifest struct {
	Format     int                      `json:"format"`
	ID         uuid.UUID                `json:"id"`
	Tenant     owner                    `json:"tenant"`
	CreatedAt  time.Time                `json:"created_at"`
	FinishedAt time.Time                `json:"finished_at"`
	Tool       string                   `json:"tool"`
	Stores     map[string]tenant.Dumped `json:"stores"`
	Only       string                   `json:"only,omitempty"` // the one store that was asked for; programs that do not know it refuse the backup
	SkewMS     int64                    `json:"skew_ms"`
	Quiesced   bool                     `json:"quiesced"`
	Archive    file                     `json:"archive"`
	Encryption encryption               `json:"encryption"`
	Parts      []tenant.Part            `json:"parts"`

	sum                 string // SHA-256 of its bytes, in hex
	signature, signedBy string
}

// owner is the tenant as it was when the backup was made.
type owner struct {
	ID      uuid.UUID         `json:"id"`
	Name    tenant.Name       `json:"name"`
	Domains []string          `json:"domains"`
	Labels  map[string]string `json:"labels"`
}

// file is the archive as it is stored.
type file struct {
	File   string `json:"file"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// encryption tells what opens the archive.
type encryption struct {
	Scheme     string   `json:"scheme"` // "none" or "age"
	Recipients []string `json:"recipients"`
	Key        string   `json:"key"` // object of the tenant's own key, in the store of keys; empty where there is none
}

const (
	schemeNone = "none"
	schemeAge  = "age"
)

func newManifest(b *tenant.Backup, f file, e encryption) *manifest {
	return &manifest{
		Format: format, ID: b.ID, CreatedAt: b.CreatedAt, FinishedAt: b.FinishedAt, Tool: b.Tool,
		Tenant: owner{ID: b.TenantID, Name: b.Tenant, Domains: b.Domains, Labels: b.Labels},
		Stores: b.Stores, Only: b.Only, SkewMS: b.SkewMS, Quiesced: b.Quiesced, Parts: b.Parts, Archive: f, Encryption: e,
	}
}

// backup gives the manifest in the model's words.
func (m *manifest) backup(location string) *tenant.Backup {
	b := &tenant.Backup{
		ID: m.ID, Tenant: m.Tenant.Name, TenantID: m.Tenant.ID, CreatedAt: m.CreatedAt, FinishedAt: m.FinishedAt,
		Size: m.Archive.Size, Versions: map[string]int64{}, Parts: m.Parts, Encrypted: m.Encryption.Scheme != schemeNone, OwnKey: m.Encryption.Key != "",
		Location: location, Stores: m.Stores, Only: m.Only, SkewMS: m.SkewMS, Quiesced: m.Quiesced, Labels: m.Tenant.Labels,
		Domains: m.Tenant.Domains, Tool: m.Tool,
	}
	for kind, d := range m.Stores {
		b.Versions[kind] = d.Version
	}
	return b
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func (m *manifest) encode() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the manifest: %w", err)
	}
	if len(text) >= maxManifest {
		return nil, fmt.Errorf("the manifest would have %d MiB: too many parts", len(text)>>20)
	}
	return append(text, '\n'), nil
}

// errFormat is a manifest of another format version; it may hold anything.
type errFormat int

func (e errFormat) Error() string {
	return fmt.Sprintf("it has format version %d, and this program reads version %d", int(e), format)
}

// readManifest takes nothing on trust: what it gives is safe to go by.
func readManifest(text []byte) (*manifest, error) {
	var version struct {
		Format *int `json:"format"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return nil, fmt.Errorf("it is not JSON: %s", jsonReason(err))
	}
	switch {
	case version.Format == nil:
		return nil, errors.New("it has no format version")
	case *version.Format != format:
		return nil, errFormat(*version.Format)
	}
	var m manifest
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return nil, errors.New(jsonReason(err))
	}
	return &m, m.check()
}

// jsonReason is the decoder's message without its own name.
func jsonReason(err error) string { return strings.TrimPrefix(err.Error(), "json: ") }

func (m *manifest) check() error {
	if m.ID == uuid.Nil || m.Tenant.ID == uuid.Nil {
		return errors.New("it names no backup or no tenant")
	}
	if err := m.checkArchive(); err != nil {
		return err
	}
	if len(m.Parts) > maxParts {
		return fmt.Errorf("it has %d parts, and more than %d is never written", len(m.Parts), maxParts)
	}
	if bad := slices.Sorted(maps.Keys(m.Stores)); slices.Contains(bad, "") {
		return errors.New("a store has no name")
	}
	if _, held := m.Stores[m.Only]; m.Only != "" && (!held || len(m.Stores) != 1) {
		return fmt.Errorf("it says that it holds %.40q alone, and holds something else", m.Only)
	}
	seen := make(map[string]bool, len(m.Parts))
	for _, p := range m.Parts {
		if err := checkPath(p.Path); err != nil {
			return fmt.Errorf("part %.200q: %w", p.Path, err)
		}
		if seen[p.Path] {
			return fmt.Errorf("part %s: listed twice", p.Path)
		}
		seen[p.Path] = true
		if err := checkPart(p); err != nil {
			return fmt.Errorf("part %s: %w", p.Path, err)
		}
	}
	return nil
}

func (m *manifest) checkArchive() error {
	want, ok := map[string]string{schemeNone: plainFile, schemeAge: sealedFile}[m.Encryption.Scheme]
	switch {
	case !ok:
		return fmt.Errorf("the encryption %.40q is unknown", m.Encryption.Scheme)
	case m.Archive.File != want:
		return fmt.Errorf("the archive is called %.40q, not %s", m.Archive.File, want)
	case m.Archive.Size < 0:
		return errors.New("the size of the archive is negative")
	case m.Encryption.Key != "" && m.Encryption.Key != keyObject(m.Tenant.ID):
		return fmt.Errorf("the tenant's key is %.80q, not %s", m.Encryption.Key, keyObject(m.Tenant.ID))
	}
	return checkSHA256(m.Archive.SHA256)
}

// checkPart holds a part's numbers against each other: every chunk but the last is full, and an empty part has one.
func checkPart(p tenant.Part) error {
	switch {
	case p.Size < 0 || p.Stored < 0 || p.Rows < 0:
		return errors.New("a size or the number of rows is negative")
	case p.Size > maxChunks*chunkSize:
		return errors.New("it is too big")
	case int64(p.Chunks) != max(1, (p.Size+chunkSize-1)/chunkSize):
		return fmt.Errorf("%d chunks do not fit a size of %d bytes", p.Chunks, p.Size)
	case p.Stored > int64(p.Chunks)*maxStoredChunk:
		return fmt.Errorf("%d bytes stored in %d chunks are too many", p.Stored, p.Chunks)
	}
	return checkSHA256(p.SHA256)
}

func checkSHA256(sum string) error {
	if b, err := hex.DecodeString(sum); err != nil || len(b) != 32 || strings.ToLower(sum) != sum {
		return errors.New("its SHA-256 is not 64 digits of lower-case hex")
	}
	return nil
}

// pathBytes are those that a path may hold, beside letters and digits: what needs no quotes in a shell or that a URL
// leaves as it is.
const pathBytes = "_.-%~$&+=:@"

// checkPath refuses what tar would put anywhere but below postgres/ or mongodb/.
func checkPath(path string) error {
	if len(path) > maxPath {
		return fmt.Errorf("longer than %d bytes", maxPath)
	}
	segments := strings.Split(path, "/")
	if len(segments) < 2 || segments[0] != "postgres" && segments[0] != "mongodb" {
		return errors.New("not below postgres/ or mongodb/")
	}
	for _, s := range segments {
		switch {
		case s == "":
			return errors.New("an empty name in the path")
		case s[0] == '.' || s[0] == '-' || s[0] == '~':
			return errors.New("a name in the path begins with " + s[:1])
		case len(s) > maxSegment:
			return fmt.Errorf("a name in the path is longer than %d bytes", maxSegment)
		}
		for _, c := range []byte(s) {
			if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !strings.ContainsRune(pathBytes, rune(c)) {
				return fmt.Errorf("the path holds %q", rune(c))
			}
		}
	}
	return nil
}
