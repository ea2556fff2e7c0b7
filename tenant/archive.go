package tenant

import (
	"context"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
)

// Part is one file of a backup, as its manifest tells of it. A part of PostgreSQL lies below "postgres/", one of MongoDB
// below "mongodb/".
type Part struct {
	Path   string `json:"path"`           // "postgres/data/0001-orders.sql": relative, forward slashes
	Name   string `json:"name,omitempty"` // the table or collection whose rows it holds; empty for definitions
	Size   int64  `json:"size"`           // bytes
	Stored int64  `json:"stored"`         // bytes in the archive, compressed
	Chunks int    `json:"chunks"`         // how many pieces it is stored in
	SHA256 string `json:"sha256"`         // of its bytes, in hex
	Rows   int64  `json:"rows"`
	Sum    string `json:"sum,omitempty"` // of its rows in any order: the sum modulo 2^64 of each one's XXH64, in hex
}

// PartWriter takes the parts of a dump. It is safe for use by many goroutines; parts may be written at the same time.
type PartWriter interface {
	// Create begins the part with that path and name. A part that is not ended makes the archive fail.
	Create(path, name string) (PartFile, error)
}

// PartFile is a part being written, by one goroutine.
type PartFile interface {
	io.Writer
	// End ends the part, with how many rows it holds and their sum; 0 and 0 for definitions.
	End(rows int64, sum uint64) error
}

// PartLoader takes the parts of one store as the archive holds them; several may be open at once, in one goroutine.
type PartLoader interface {
	// Part gives what takes the part's bytes, or nil where the part is not wanted. Close is called once all bytes have
	// been written and found right, and tells whether they were loaded.
	Part(ctx context.Context, p Part) (io.WriteCloser, error)
	// Finish is called after the last part: it makes what has to wait for the rows, and proves what it can.
	Finish(ctx context.Context) error
	// Stop ends all work and is called in any case; without Finish before it, what was loaded is of no use.
	Stop()
}

// DumpOptions are how a dump goes about its work.
type DumpOptions struct {
	Parallel int // tables or collections at once
}

// Dumped is what a store's part of a backup is worth.
type Dumped struct {
	Server      string    `json:"server"`          // "PostgreSQL 15.4"
	Version     int64     `json:"version"`         // newest migration applied
	Applied     int       `json:"applied"`         // how many are applied
	Fingerprint string    `json:"fingerprint"`     // of the structure; the same for tenants whose structure is the same
	Snapshot    bool      `json:"snapshot"`        // all of it is of one moment, From
	From        time.Time `json:"from"`            // when reading began, by this machine's clock
	Until       time.Time `json:"until"`           // when it ended; the same as From where it is a snapshot
	Owner       string    `json:"owner,omitempty"` // who owned the place, where it was not the store's own user
	Notes       []string  `json:"notes,omitempty"`
	Partitioned []string  `json:"partitioned,omitzero"` // tables whose rows are their partitions'; nil where it is not known
}

// LoadOptions say what is to become of what is loaded.
type LoadOptions struct {
	Dumped   Dumped       // what the archive tells of the store
	Role     string       // who gets the rights that the tenant's role had; empty: nobody, and no user is made
	Owner    string       // who owns what is made; empty: the user that the store works as
	MakeRole bool         // Role is made anew as the tenant's own; else it is there already
	Names    []string     // only the rows of these tables or collections, with all definitions but foreign keys; nil: all
	Parallel int          // tables or collections at once
	Log      func(string) // takes what a person should know; never nil
}

// Archiver is a Resource whose data can be written into a backup and read back.
type Archiver interface {
	Resource
	// Dump writes all that the tenant has in the store, consistent as far as the store can give it. Nothing in it is
	// bound to the tenant's names.
	Dump(ctx context.Context, t Tenant, w PartWriter, o DumpOptions) (Dumped, error)
	// Load makes the place of t and fills it. A place that is there already is ErrExists (ErrForeign where it is
	// somebody else's). What a failed load leaves is t's, and Drop takes it away.
	Load(ctx context.Context, t Tenant, o LoadOptions) (PartLoader, error)
	// Clone makes the place of to, with its role, as a copy of from's at one moment, as far as the store can give it;
	// without rows where data is false (books of versions are copied in any case).
	Clone(ctx context.Context, from, to Tenant, data bool) error
	// Exchange gives the place that was loaded for beside to t, and t's to beside, which nobody uses from then on. Where
	// the store is the catalog's own, it is part of tx, and names stay: afterwards t's schema holds what was loaded.
	// Else the caller exchanges the names in the catalog in tx, and Exchange, called again after it, marks the places as
	// their new owners'; t and beside hold the names after the exchange then. It may be called again after a crash.
	Exchange(ctx context.Context, tx pgx.Tx, t, beside Tenant) error
	// Revive makes the role or user of a tenant whose place is there, where it is missing, and unlocks it.
	Revive(ctx context.Context, t Tenant) error
	// Export writes the rows of every table or collection for people and other programs, a file each, and describes
	// them.
	Export(ctx context.Context, t Tenant, format string, create func(name string) (io.WriteCloser, error)) ([]Exported, error)
}

// CodeRunner is an Archiver whose server runs code that tenants have written when their data is loaded.
type CodeRunner interface {
	Archiver
	// MayRunCode refuses a user of the store whose rights such code could use, before anything is touched.
	MayRunCode(ctx context.Context) error
	// OwnerOf is who owns t's place where it is not the store's own user; empty where it is, or where there is no place.
	OwnerOf(ctx context.Context, t Tenant) (string, error)
}

// mayRunCode asks all stores.
func (s *Service) mayRunCode(ctx context.Context) error {
	for _, r := range each[CodeRunner](s) {
		if err := r.MayRunCode(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Formats of an export.
const (
	FormatCSV    = "csv"
	FormatNDJSON = "ndjson"
)

// Exported is one file of an export: an entry of the data dictionary.
type Exported struct {
	Store   string          `json:"store"`
	Name    string          `json:"name"` // the table or collection
	Comment string          `json:"comment,omitempty"`
	File    string          `json:"file"`
	Rows    int64           `json:"rows"`
	Fields  []ExportedField `json:"fields"`
}

// ExportedField is a column, or a field at the top of a collection's documents.
type ExportedField struct {
	Name       string `json:"name"`
	Type       string `json:"type"` // as the store calls it; several are joined by "|"
	Nullable   bool   `json:"nullable"`
	Key        bool   `json:"key"`                  // part of the primary key
	References string `json:"references,omitempty"` // "customers.id"
	Comment    string `json:"comment,omitempty"`
}
