package tenant

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/jackc/pgx/v5"
)

// recordFiles keeps what each file does that a tenant has applied, the first time it is seen; what no tenant has any
// more is forgotten. A sum of an earlier release's kind is replaced where the file is still the same.
func (s *Service) recordFiles(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var b pgx.Batch
	for _, m := range each[Migrator](s) {
		files, err := m.Files(ctx)
		if err != nil && !errors.Is(err, ErrNoMigrations) {
			return err
		}
		b.Queue(`DELETE FROM tenantctl.migration_files f WHERE f.kind = $1 AND f.version > coalesce((SELECT max(version) FROM tenantctl.versions WHERE kind = $1), 0)`, m.Kind())
		for _, f := range files {
			b.Queue(`INSERT INTO tenantctl.migration_files (kind, version, name, checksum)
				SELECT $1, $2, $3, $4 WHERE EXISTS (SELECT FROM tenantctl.versions WHERE kind = $1 AND version >= $2)
				ON CONFLICT (kind, version) DO UPDATE SET checksum = EXCLUDED.checksum WHERE migration_files.checksum = ANY ($5)`,
				m.Kind(), f.Version, f.Name, f.Checksum, slices.Concat([]string{}, f.Earlier))
		}
	}
	return catalogError("record the migration files", s.catalog.pool.SendBatch(ctx, &b).Close())
}

// ByteSums are what earlier releases have recorded of a file: SHA-256 of its bytes, in hex, with line ends of either kind.
func ByteSums(content []byte) []string {
	unix := bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
	var sums []string
	for _, c := range [][]byte{content, unix, bytes.ReplaceAll(unix, []byte("\n"), []byte("\r\n"))} {
		sum := sha256.Sum256(c)
		sums = append(sums, hex.EncodeToString(sum[:]))
	}
	return sums
}

// fileHow is how a file differs from what was first applied.
type fileHow int

const (
	fileChanged fileHow = iota // it does something else
	fileRenamed                // it does the same under another name
	fileMoved                  // it does the same under another version
)

// fileChange is a file that differs from what was first applied.
type fileChange struct {
	MigrationFile
	how fileHow
	was string // the name, with its version, under which it was applied
}

// finding is the change as a check reports it.
func (c fileChange) finding(kind string) Finding {
	f := Finding{Store: kind, File: c.Path, Rule: changedRules[c.how].ID, Severity: changedRules[c.how].Severity}
	switch c.how {
	case fileChanged:
		f.Message = "was changed after it was first applied; put it back and write a new migration"
	case fileRenamed:
		f.Message = fmt.Sprintf("is %s under another name; it was applied by that name, and nothing runs again", c.was)
	case fileMoved:
		f.Message = fmt.Sprintf("is %s under another version, and would run once more; give it back the version that tenants have applied", c.was)
	}
	return f
}

// recordedFile is what the catalog keeps of a file that was applied.
type recordedFile struct{ name, checksum string }

// recordedFiles are those of a store by their versions.
func (c *Catalog) recordedFiles(ctx context.Context, kind string) (map[int64]recordedFile, error) {
	rows, err := c.pool.Query(ctx, `SELECT version, name, checksum FROM tenantctl.migration_files WHERE kind = $1`, kind)
	if err != nil {
		return nil, catalogError("read the migration files", err)
	}
	known := map[int64]recordedFile{}
	var version int64
	var f recordedFile
	if _, err := pgx.ForEachRow(rows, []any{&version, &f.name, &f.checksum}, func() error {
		known[version] = f
		return nil
	}); err != nil {
		return nil, catalogError("read the migration files", err)
	}
	return known, nil
}

// does tells whether a file does what was recorded, by this release's sum or by an earlier one's.
func (f MigrationFile) does(was recordedFile) bool {
	return was.checksum == f.Checksum || slices.Contains(f.Earlier, was.checksum)
}

// compareFiles gives the files that differ from what was first applied, and whether all are recorded by this release.
func compareFiles(known map[int64]recordedFile, files []MigrationFile) (changes []fileChange, complete bool) {
	here := map[int64]bool{}
	for _, f := range files {
		here[f.Version] = true
	}
	complete = true
	for _, f := range files {
		was, applied := known[f.Version]
		complete = complete && applied && (was.checksum == f.Checksum || !f.does(was))
		switch {
		case !applied:
			for version, old := range known {
				if !here[version] && !f.Empty && f.does(old) {
					changes = append(changes, fileChange{f, fileMoved, fmt.Sprintf("version %d (%s)", version, old.name)})
				}
			}
		case !f.does(was):
			changes = append(changes, fileChange{f, fileChanged, was.name})
		case f.Name != was.name:
			changes = append(changes, fileChange{f, fileRenamed, fmt.Sprintf("%d_%s", f.Version, was.name)})
		}
	}
	return changes, complete
}

// fitFiles compares the files up to a version with what was applied, and refuses those that must not be run: one that
// does nothing, and one that was applied under another version. What was applied before is left as it is.
func (s *Service) fitFiles(ctx context.Context, kind string, files []MigrationFile, to int64) (changes []fileChange, complete bool, err error) {
	known, err := s.catalog.recordedFiles(ctx, kind)
	if err != nil {
		return nil, false, err
	}
	changes, complete = compareFiles(known, files)
	for _, c := range changes {
		if c.how == fileMoved && c.Version <= to {
			return nil, false, &Error{
				Kind: ErrInvalid, Code: changedRules[fileMoved].ID, Store: kind, Msg: fmt.Sprintf("%s is %s under another version, and would run once more", filepath.Base(c.Path), c.was),
				Hint: "rename it to the version that tenants have applied",
			}
		}
	}
	empty := func(f MigrationFile) bool { return f.Empty && f.Version <= to }
	if !slices.ContainsFunc(files, empty) {
		return changes, complete, nil
	}
	applied, err := s.catalog.newestOf(ctx, kind)
	if err != nil {
		return nil, false, err
	}
	for _, f := range files {
		if empty(f) && f.Version > applied {
			return nil, false, &Error{
				Kind: ErrInvalid, Code: emptyRule, Store: kind, Msg: filepath.Base(f.Path) + " does nothing: it holds no statement",
				Hint: "write what it is to do, or remove the file",
			}
		}
	}
	return changes, complete, nil
}
