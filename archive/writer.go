package archive

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/tenantctl/tenantctl/tenant"
)

// Parts are stored in chunks, each a zstd frame of its own and a member of the tar file: PATH.zst.000001 and so on. A part
// of no bytes has one chunk, an empty frame, so that `cat PATH.zst.* | zstd -d` gives any part.
const (
	chunkSize      = 8 << 20             // bytes of a part in a chunk; all but the last are full
	maxStoredChunk = chunkSize + 64<<10  // of one that does not compress
	maxChunks      = 999_999             // that names of six digits can count
	abandonLimit   = 30 * time.Second    // for taking away what was written
	stageSize      = 1 << 20             // bytes handed to the store at once
	binaryType     = "application/x-tar" // of the archive
	sealedType     = "application/age"   // of an encrypted one
	jsonType       = "application/json"  // of the manifest
	memberName     = "%s.zst.%06d"       // of a chunk in the tar file
)

// packer compresses chunks for all archives of the process, as many at once as there are processors.
var packer = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(true), zstd.WithZeroFrames(true), zstd.WithSingleSegment(true), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
})

// buffers are reused: a chunk at a time is held for every open part.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func buffer() *[]byte {
	b := buffers.Get().(*[]byte)
	*b = (*b)[:0]
	return b
}

// Writer is an archive being written. It is safe for use by many goroutines.
type Writer struct {
	v      *Vault
	b      *tenant.Backup // of Create, for its ids
	at     time.Time      // of the members
	name   string         // of the file
	sealed encryption

	mu     sync.Mutex // for all below
	up     *upload
	stage  *bufio.Writer
	sum    hash.Hash // of what is stored
	size   int64
	seal   io.WriteCloser // nil where it is not encrypted
	tar    *tar.Writer
	paths  map[string]bool
	parts  []*partFile // in the order of Create
	err    error       // the first; all later calls give it
	closed bool
}

var _ tenant.Archive = (*Writer)(nil)

// Create begins the archive of b, about so many bytes before compression. ErrExists where there is one with its id.
func (v *Vault) Create(ctx context.Context, b *tenant.Backup, about int64) (tenant.Archive, error) {
	dir := folder(b.TenantID, b.ID)
	w := &Writer{v: v, b: b, at: b.CreatedAt.UTC().Truncate(time.Second), paths: map[string]bool{}, sum: sha256.New(), name: plainFile, sealed: encryption{Scheme: schemeNone, Recipients: []string{}}}
	kind := binaryType
	recipients := v.recipients
	if len(recipients) > 0 {
		kind, w.name = sealedType, sealedFile
		w.sealed = encryption{Scheme: schemeAge, Recipients: v.cfg.Recipients}
	}
	if v.cfg.KeyPerTenant {
		own, err := v.tenantKey(ctx, b.TenantID)
		if err != nil {
			return nil, err
		}
		recipients = []age.Recipient{own}
		w.sealed.Recipients, w.sealed.Key = []string{own.String()}, keyObject(b.TenantID)
	}
	for _, name := range []string{manifestFile, signatureFile, plainFile, sealedFile} {
		there, err := v.store.exists(ctx, dir+name)
		if err != nil {
			return nil, err
		}
		if there {
			return nil, &tenant.Error{Kind: tenant.ErrExists, Store: storeName, Msg: "there is " + v.store.at(dir+name) + " already"}
		}
	}
	var err error
	if b.Store, err = v.identify(ctx); err != nil {
		return nil, err
	}
	up, err := v.store.upload(ctx, dir+w.name, kind, about)
	if err != nil {
		return nil, err
	}
	w.up, w.stage = up, bufio.NewWriterSize(up, stageSize)
	var out io.Writer = (*stored)(w)
	if len(recipients) > 0 {
		if w.seal, err = age.Encrypt(out, recipients...); err != nil {
			w.Abandon()
			return nil, fmt.Errorf("encrypt the backup: %w", err)
		}
		out = w.seal
	}
	w.tar = tar.NewWriter(out)
	return w, nil
}

// stored counts and sums what goes to the store.
type stored Writer

func (w *stored) Write(p []byte) (int, error) {
	w.sum.Write(p)
	w.size += int64(len(p))
	return w.stage.Write(p)
}

// where is the archive, for people.
func (w *Writer) where() string { return w.v.store.at(folder(w.b.TenantID, w.b.ID) + w.name) }

// Create begins a part.
func (w *Writer) Create(path, name string) (tenant.PartFile, error) {
	if err := checkPath(path); err != nil {
		return nil, fmt.Errorf("begin the part %.200q: %w", path, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return nil, w.err
	case w.closed:
		return nil, fmt.Errorf("begin the part %s: the archive is ended", path)
	case w.paths[path]:
		return nil, fmt.Errorf("begin the part %s: it is there already", path)
	case len(w.parts) == maxParts:
		return nil, tenant.Invalid("spread the tenant's tables over several tenants", "the tenant has more than %d tables and collections", maxParts)
	}
	f := &partFile{w: w, part: tenant.Part{Path: path, Name: name}, sum: sha256.New(), buf: buffer()}
	w.paths[path] = true
	w.parts = append(w.parts, f)
	return f, nil
}

// put stores a chunk.
func (w *Writer) put(path string, n int, chunk []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if w.closed {
		return fmt.Errorf("write %s: the archive is ended", path)
	}
	err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf(memberName, path, n), Size: int64(len(chunk)), Mode: 0o600, ModTime: w.at})
	if err == nil {
		_, err = w.tar.Write(chunk)
	}
	if err != nil {
		w.err = w.v.store.failure("write "+path+" to "+w.where(), err)
	}
	return w.err
}

// Commit ends the archive, and then stores the manifest, with which the backup is one. Where it fails, nothing is left.
func (w *Writer) Commit(ctx context.Context, b *tenant.Backup) error {
	err := w.commit(ctx, b)
	if err != nil {
		w.Abandon()
	}
	return err
}

func (w *Writer) commit(ctx context.Context, b *tenant.Backup) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if w.closed {
		return errors.New("end the archive: it is ended")
	}
	parts := make([]tenant.Part, len(w.parts))
	for i, f := range w.parts {
		if !f.ended {
			return fmt.Errorf("end the archive: the part %s is not ended", f.part.Path)
		}
		parts[i] = f.part
	}
	w.err = w.end()
	if w.err != nil {
		w.err = w.v.store.failure("write the end of "+w.where(), w.err)
		return w.err
	}
	b.Parts, b.Size, b.Encrypted, b.Location, b.FinishedAt = parts, w.size, w.seal != nil, w.where(), time.Now().UTC().Truncate(time.Microsecond)
	text, err := newManifest(b, file{File: w.name, Size: w.size, SHA256: hex.EncodeToString(w.sum.Sum(nil))}, w.sealed).encode()
	if err == nil {
		_, err = readManifest(text) // what could not be read again is no backup
	}
	if err == nil {
		err = w.sign(ctx, b, text)
	}
	if err == nil {
		err = w.v.store.write(ctx, folder(w.b.TenantID, w.b.ID)+manifestFile, jsonType, text)
	}
	if w.err = err; err != nil {
		return err
	}
	w.closed = true
	return nil
}

// sign stores the signature, where there is a key: before the manifest, so that no backup waits for its own.
func (w *Writer) sign(ctx context.Context, b *tenant.Backup, manifest []byte) error {
	b.ManifestSHA256, b.Signature = sumOf(manifest), tenant.SignatureMissing
	key := w.v.signer()
	if key == nil {
		return nil
	}
	text, err := key.sign(manifest)
	if err != nil {
		return fmt.Errorf("sign the manifest: %w", err)
	}
	b.Signature, b.SignedBy = tenant.SignatureVerified, key.id()
	return w.v.store.write(ctx, folder(w.b.TenantID, w.b.ID)+signatureFile, jsonType, text)
}

func (w *Writer) end() error {
	if err := w.tar.Close(); err != nil {
		return err
	}
	if w.seal != nil {
		if err := w.seal.Close(); err != nil {
			return err
		}
	}
	if err := w.stage.Flush(); err != nil {
		return err
	}
	return w.up.Close()
}

// Abandon leaves nothing of an archive that was not committed. It waits for a store that does not answer, but not long.
func (w *Writer) Abandon() {
	w.up.soon() // ends a write that hangs, and with it who holds the lock
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.closed = true
	if w.err == nil {
		w.err = errors.New("the archive was abandoned")
	}
	w.up.giveUp()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.up.ctx), abandonLimit)
	defer cancel()
	// What stays where the store is gone is no backup, and goes with the next prune.
	_ = w.v.Remove(ctx, w.b.TenantID, w.b.ID)
}

// partFile is a part being written.
type partFile struct {
	w     *Writer
	part  tenant.Part
	sum   hash.Hash // of its bytes
	buf   *[]byte   // those that are not stored yet
	ended bool
}

// Write stores p, a chunk at a time. Its error may be that of an earlier write.
func (f *partFile) Write(p []byte) (int, error) {
	if f.ended {
		return 0, fmt.Errorf("write %s: the part is ended", f.part.Path)
	}
	f.sum.Write(p)
	f.part.Size += int64(len(p))
	for rest := p; len(rest) > 0; {
		n := min(len(rest), chunkSize-len(*f.buf))
		*f.buf, rest = append(*f.buf, rest[:n]...), rest[n:]
		if len(*f.buf) == chunkSize {
			if err := f.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

func (f *partFile) flush() error {
	if f.part.Chunks == maxChunks {
		return &tenant.Error{Store: storeName, Msg: fmt.Sprintf("write %s: it has more than %d TB", f.part.Path, maxChunks*chunkSize>>40)}
	}
	packed := buffer()
	defer buffers.Put(packed)
	*packed = packer().EncodeAll(*f.buf, *packed)
	*f.buf = (*f.buf)[:0]
	f.part.Chunks++
	f.part.Stored += int64(len(*packed))
	return f.w.put(f.part.Path, f.part.Chunks, *packed)
}

// End ends the part.
func (f *partFile) End(rows int64, sum uint64) error {
	if f.ended {
		return fmt.Errorf("end %s: the part is ended", f.part.Path)
	}
	if len(*f.buf) > 0 || f.part.Chunks == 0 {
		if err := f.flush(); err != nil {
			return err
		}
	}
	buffers.Put(f.buf)
	f.part.SHA256, f.part.Rows = hex.EncodeToString(f.sum.Sum(nil)), rows
	if f.part.Name != "" {
		f.part.Sum = tenant.SumText(sum)
	}
	f.w.mu.Lock()
	f.ended = true
	f.w.mu.Unlock()
	return nil
}
