package tenant

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// VerifiedBackup is what was made sure of.
type VerifiedBackup struct {
	Backup      uuid.UUID `json:"backup"`
	Tenant      Name      `json:"tenant"`
	Parts       int       `json:"parts"`
	Size        int64     `json:"size"` // of the archive
	Rows        int64     `json:"rows"`
	Only        string    `json:"only,omitempty"` // the one store that the backup holds; empty for a whole one
	RestoreTest bool      `json:"restore_test"`
	Signature   string    `json:"signature"` // what was found of the manifest's: verified, missing, unknown_key or ignored
	SignedBy    string    `json:"signed_by"` // id of the key; empty where no signature was verified
	DurationMS  int64     `json:"duration_ms"`
}

// VerifyBackup reads a backup to its end and checks every part. With restoreTest it is also restored, in every store,
// into a tenant of its own that is compared row by row with what was dumped, and removed. ErrDiffers names what is not
// as it should be.
func (s *Service) VerifyBackup(ctx context.Context, id string, restoreTest bool) (*VerifiedBackup, error) {
	start := time.Now()
	if restoreTest {
		if err := s.mayRunCode(ctx); err != nil {
			return nil, err
		}
	}
	b, err := s.OpenBackup(ctx, id)
	if err != nil {
		return nil, err
	}
	v, err := s.vault(ctx)
	if err != nil {
		return nil, err
	}
	if restoreTest { // which reads it as well
		err = s.testRestore(ctx, b)
	} else {
		err = v.Read(ctx, b, func(Part) (io.WriteCloser, error) { return nil, nil })
	}
	err = ofBackup(b.ID, err)
	var e *Error
	if errors.As(err, &e) { // whatever tenant it was restored into
		of := *e
		of.Tenant = b.Tenant
		err = &of
	}
	if err != nil {
		return nil, err
	}
	r := &VerifiedBackup{Backup: b.ID, Tenant: b.Tenant, Parts: len(b.Parts), Size: b.Size, Only: b.Only, RestoreTest: restoreTest, Signature: b.Signature, SignedBy: b.SignedBy, DurationMS: time.Since(start).Milliseconds()}
	for _, p := range b.Parts {
		r.Rows += p.Rows
	}
	return r, nil
}

func (s *Service) testRestore(ctx context.Context, b *Backup) error {
	for kind := range b.Stores {
		if s.archiver(kind) == nil {
			return Invalid("switch the store on in the configuration", "the backup holds %s, which is not used here", kind)
		}
	}
	if err := s.endScratch(ctx, OpTest, b.TenantID); err != nil {
		return err
	}
	t, err := s.planBeside(b.Tenant)
	if err != nil {
		return err
	}
	owner, err := s.ownerFor(ctx, b, "", false)
	if err != nil {
		return err
	}
	p := restoreParams{Backup: b.ID, Of: b.TenantID, Way: RestoreSide, Owner: owner}
	if b.Only != "" {
		p.Names = map[string][]string{b.Only: nil}
	}
	op, _, err := s.beginNew(ctx, OpTest, &t, p)
	if err != nil {
		return err
	}
	g, err := s.testSaga(op, t)
	if err != nil {
		return err
	}
	return s.run(ctx, op, g)
}

// testSaga restores a backup, compares, and removes what it restored, whatever the outcome.
func (s *Service) testSaga(op *Operation, t Tenant) (saga, error) {
	p, err := restoreParamsOf(op)
	if err != nil {
		return saga{}, err
	}
	load := s.loadStep(t, p, "", false, new(notes))
	remove := func(ctx context.Context, tx pgx.Tx) error { return s.catalog.remove(ctx, tx, t.ID, Provisioning) }
	g := saga{
		steps: []step{
			{name: "check", do: func(ctx context.Context) error { return s.checkPlaces(ctx, t) }},
			load,
			{name: "compare", do: func(ctx context.Context) error { return s.compare(ctx, t, p) }},
			{name: "remove", do: load.undo},
		},
		commit: remove, rollback: remove,
	}
	g.firm, g.pivot = 3, len(g.steps) // to take it back is to remove it too
	return g, nil
}

// compare reads what was restored and holds it against the manifest: rows and their sums, part by part.
func (s *Service) compare(ctx context.Context, t Tenant, p restoreParams) error {
	v, err := s.vault(ctx)
	if err != nil {
		return err
	}
	b, err := s.openKnown(ctx, v, p.Of, p.Backup)
	if err != nil {
		return err
	}
	for kind, was := range b.Stores {
		a := s.archiver(kind)
		if a == nil {
			return Invalid("switch the store on in the configuration", "the backup holds %s, which is not used here", kind)
		}
		var found tally
		is, err := a.Dump(ctx, t, &found, DumpOptions{Parallel: dumpParallel})
		if err != nil {
			return err
		}
		if err := found.differs(kind, b.Parts, is, was); err != nil {
			return err
		}
	}
	return nil
}

// tally is a PartWriter that keeps of each part what it amounts to.
type tally struct {
	mu    sync.Mutex
	parts map[string]Part
}

// Create begins a part.
func (w *tally) Create(path, name string) (PartFile, error) {
	return &tallied{to: w, part: Part{Path: path, Name: name}, sum: sha256.New()}, nil
}

type tallied struct {
	to   *tally
	part Part
	sum  hash.Hash
}

func (f *tallied) Write(b []byte) (int, error) {
	f.part.Size += int64(len(b))
	if f.part.Name == "" {
		f.sum.Write(b)
	}
	return len(b), nil
}

// End keeps the part.
func (f *tallied) End(rows int64, sum uint64) error {
	f.part.Rows, f.part.Sum = rows, SumText(sum)
	f.part.SHA256 = hex.EncodeToString(f.sum.Sum(nil))
	f.to.mu.Lock()
	defer f.to.mu.Unlock()
	if f.to.parts == nil {
		f.to.parts = map[string]Part{}
	}
	f.to.parts[f.part.Path] = f.part
	return nil
}

// SumText is the sum of a part's rows as a manifest has it.
func SumText(sum uint64) string { return fmt.Sprintf("%016x", sum) }

// differs names the first part of a store that is not what the manifest says.
func (w *tally) differs(kind string, want []Part, is, was Dumped) error {
	fail := func(format string, args ...any) error {
		return &Error{Kind: ErrDiffers, Store: kind, Msg: "restored for a test, " + fmt.Sprintf(format, args...), Hint: "do not rely on this backup; make another and verify it"}
	}
	for _, p := range want {
		if !strings.HasPrefix(p.Path, kind+"/") {
			continue
		}
		got, ok := w.parts[p.Path]
		switch {
		case !ok:
			return fail("%s is missing", p.Path)
		case p.Name != "" && got.Rows != p.Rows:
			return fail("%s has %d rows where the backup has %d", p.Name, got.Rows, p.Rows)
		case p.Name != "" && got.Sum != p.Sum:
			return fail("%s has rows that differ from the backup's", p.Name)
		case p.Name == "" && kind == KindPostgres && got.SHA256 != p.SHA256 && sameText(p.Path, is, was):
			return fail("%s differs from the backup's", p.Path)
		}
		delete(w.parts, p.Path)
	}
	for path := range w.parts {
		return fail("%s is there and not in the backup", path)
	}
	return nil
}

// sameText tells whether a part without rows has to be the same text. Definitions need not where fingerprints prove that they
// are the same, since another pg_dump may have written them, and fingerprints of another version tell of another writing.
func sameText(path string, is, was Dumped) bool {
	a, _, _ := strings.Cut(is.Fingerprint, ":")
	b, _, _ := strings.Cut(was.Fingerprint, ":")
	switch {
	case is.Server != was.Server || strings.HasSuffix(path, "/grants.sql"):
		return false
	case strings.HasSuffix(path, "/sequences.sql"):
		return true
	}
	return a == b && (is.Fingerprint != was.Fingerprint || len(is.Notes)+len(was.Notes) > 0)
}
