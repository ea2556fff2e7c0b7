package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"sync"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/tenantctl/tenantctl/tenant"
)

// unpacker unpacks chunks for all archives of the process. It never gives more than a chunk has, whatever a frame claims.
var unpacker = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(chunkSize), zstd.WithDecoderMaxWindow(chunkSize), zstd.WithDecoderConcurrency(0))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
})

// Read gives every part's bytes to the sink that is asked for it at its first; nil leaves the part out, but checks it.
// Close is called on the sink of a part that was found right; sinks of others are left open. ErrDiffers names the first
// part that is not as it was written.
func (v *Vault) Read(ctx context.Context, b *tenant.Backup, sink func(tenant.Part) (io.WriteCloser, error)) error {
	m, err := v.manifest(ctx, b.TenantID, b.ID)
	if err != nil {
		return err
	}
	key := folder(b.TenantID, b.ID) + m.Archive.File
	if b.ManifestSHA256 != "" && m.sum != b.ManifestSHA256 {
		return damaged("the manifest of %s was changed while it was in use", v.store.at(key))
	}
	var identities []age.Identity
	if m.Encryption.Scheme == schemeAge {
		if identities, err = v.identities(ctx, m); err != nil {
			return err
		}
	}
	d, err := v.store.download(ctx, key)
	if errors.Is(err, tenant.ErrNotFound) {
		return damaged("%s is missing; its manifest is there", v.store.at(key))
	}
	if err != nil {
		return err
	}
	defer d.Close()
	r := &reader{m: m, where: v.store.at(key), raw: &source{from: d, sum: sha256.New(), limit: m.Archive.Size}, sink: sink}
	return r.read(identities)
}

// source counts and sums what comes from the store, and keeps its error apart from faults of the archive.
type source struct {
	from  io.Reader
	sum   hash.Hash
	size  int64
	limit int64 // bytes that the manifest tells of
	err   error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.from.Read(p)
	s.sum.Write(p[:n])
	s.size += int64(n)
	if err == nil && s.size > s.limit {
		err = damaged("the archive has more than the %d bytes that its manifest tells of", s.limit)
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// reader goes through an archive once.
type reader struct {
	m      *manifest
	where  string
	raw    *source
	sink   func(tenant.Part) (io.WriteCloser, error)
	parts  map[string]*partState
	last   string // what was read last, for messages
	packed bytes.Buffer
	plain  []byte
}

type partState struct {
	tenant.Part
	sink   io.WriteCloser // nil: only checked
	sum    hash.Hash
	chunks int
	size   int64
	stored int64
}

func (r *reader) read(identities []age.Identity) error {
	r.parts = make(map[string]*partState, len(r.m.Parts))
	for _, p := range r.m.Parts {
		r.parts[p.Path] = &partState{Part: p}
	}
	var in io.Reader = r.raw
	if r.m.Encryption.Scheme == schemeAge {
		var err error
		if in, err = age.Decrypt(r.raw, identities...); err != nil {
			return r.locked(err)
		}
	}
	members := tar.NewReader(in)
	for {
		h, err := members.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return r.broken(err)
		}
		if err := r.member(h, members); err != nil {
			return err
		}
	}
	for _, p := range r.m.Parts {
		if done := r.parts[p.Path]; done.chunks != done.Chunks {
			return damaged("%s: part %s has %d of its %d chunks", r.where, p.Path, done.chunks, p.Chunks)
		}
	}
	return r.tail(in)
}

// tail reads what follows the tar file's end and compares the whole.
func (r *reader) tail(in io.Reader) error {
	for _, rest := range []io.Reader{in, r.raw} {
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return r.broken(err)
		}
	}
	switch {
	case r.raw.size != r.m.Archive.Size:
		return damaged("%s has %d bytes; its manifest tells of %d", r.where, r.raw.size, r.m.Archive.Size)
	case hex.EncodeToString(r.raw.sum.Sum(nil)) != r.m.Archive.SHA256:
		return damaged("%s: its SHA-256 is not that of the manifest, though every part's is: a byte between the parts was changed", r.where)
	}
	return nil
}

// locked tells a wrong key from a damaged header.
func (r *reader) locked(err error) error {
	var none *age.NoIdentityMatchError
	if r.raw.err == nil && errors.As(err, &none) {
		return &tenant.Error{
			Kind: tenant.ErrInvalid, Code: "wrong_key", Store: storeName, Err: err,
			Msg:  fmt.Sprintf("%s: none of the identities opens it; it was encrypted to %s", r.where, strings.Join(r.m.Encryption.Recipients, ", ")),
			Hint: "use the file with the identity (AGE-SECRET-KEY-1...) of one of these recipients",
		}
	}
	return r.broken(err)
}

// broken names the place of what cannot be read on.
func (r *reader) broken(err error) error {
	if r.raw.err != nil {
		return r.raw.err // the store's own, which is whole
	}
	at := "at its beginning, before any part"
	if r.last != "" {
		at = "after " + r.last
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && r.raw.size < r.m.Archive.Size {
		return damaged("%s is cut %s: %d of %d bytes are there", r.where, at, r.raw.size, r.m.Archive.Size)
	}
	return damaged("%s is damaged %s: %s", r.where, at, innermost(err))
}

// bad is a fault of one part.
func (r *reader) bad(p *partState, text string, args ...any) error {
	return damaged("%s: part %s: %s", r.where, p.Path, fmt.Sprintf(text, args...))
}

// member takes one chunk.
func (r *reader) member(h *tar.Header, body io.Reader) error {
	path, n, ok := parseMember(h.Name)
	p := r.parts[path]
	switch {
	case !ok || p == nil:
		return damaged("%s holds %.200q, which its manifest does not tell of", r.where, h.Name)
	case h.Typeflag != tar.TypeReg:
		return r.bad(p, "it is stored as a link or device, not as a file")
	case n != p.chunks+1:
		return r.bad(p, "chunk %d comes where chunk %d is due", n, p.chunks+1)
	case n > p.Chunks:
		return r.bad(p, "it has more than its %d chunks", p.Chunks)
	case h.Size > maxStoredChunk || p.stored+h.Size > p.Stored:
		return r.bad(p, "chunk %d is stored in %d bytes, more than declared", n, h.Size)
	}
	r.packed.Reset()
	_, err := io.CopyN(&r.packed, body, h.Size)
	if err != nil {
		r.last = fmt.Sprintf("%s, chunk %d", path, n-1)
		if n == 1 {
			r.last = "the beginning of " + path
		}
		return r.broken(unexpected(err))
	}
	r.last = fmt.Sprintf("%s, chunk %d", path, n)
	if err := r.unpack(p); err != nil {
		return err
	}
	if n == 1 {
		p.sum = sha256.New()
		if p.sink, err = r.sink(p.Part); err != nil {
			return err
		}
	}
	p.chunks++
	p.stored += h.Size
	p.size += int64(len(r.plain))
	p.sum.Write(r.plain)
	if p.sink != nil {
		if _, err := p.sink.Write(r.plain); err != nil {
			return err
		}
	}
	if p.chunks < p.Chunks {
		return nil
	}
	return r.finish(p)
}

// finish compares a part whose chunks are all there.
func (r *reader) finish(p *partState) error {
	switch {
	case p.size != p.Size:
		return r.bad(p, "it has %d bytes; the manifest tells of %d", p.size, p.Size)
	case p.stored != p.Stored:
		return r.bad(p, "it is stored in %d bytes; the manifest tells of %d", p.stored, p.Stored)
	case hex.EncodeToString(p.sum.Sum(nil)) != p.SHA256:
		return r.bad(p, "its SHA-256 is not that of the manifest")
	}
	sink := p.sink
	p.sink, p.sum = nil, nil
	if sink == nil {
		return nil
	}
	return sink.Close()
}

// unpack checks what the frame claims before it takes any memory for it.
func (r *reader) unpack(p *partState) error {
	n := p.chunks + 1
	want := min(p.Size-p.size, chunkSize)
	var h zstd.Header
	if err := h.Decode(r.packed.Bytes()); err != nil || h.Skippable || !h.HasFCS || want > 0 && !h.HasCheckSum {
		return r.bad(p, "chunk %d is damaged: it does not begin as a zstd frame", n)
	}
	if h.FrameContentSize != uint64(want) {
		return r.bad(p, "chunk %d would unpack to %d bytes; %d are declared", n, h.FrameContentSize, want)
	}
	if cap(r.plain) < int(want) {
		r.plain = make([]byte, 0, want)
	}
	var err error
	r.plain, err = unpacker().DecodeAll(r.packed.Bytes(), r.plain[:0])
	if err != nil {
		return r.bad(p, "chunk %d is damaged: %v", n, err)
	}
	if int64(len(r.plain)) != want {
		return r.bad(p, "chunk %d unpacks to %d bytes; %d are declared", n, len(r.plain), want)
	}
	return nil
}

// parseMember reads PATH.zst.000001.
func parseMember(name string) (path string, n int, ok bool) {
	i := len(name) - len(".zst.000001")
	if i <= 0 {
		return "", 0, false
	}
	n, err := strconv.Atoi(name[i+len(".zst."):])
	if err != nil || n < 1 || name != fmt.Sprintf(memberName, name[:i], n) {
		return "", 0, false
	}
	return name[:i], n, true
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
