package archive

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/tenantctl/tenantctl/tenant"
)

// watch ends a context once a call within it makes no headway: a store that is gone may never say so.
type watch struct {
	timer *time.Timer
	limit time.Duration
}

func newWatch(ctx context.Context, limit time.Duration) (context.Context, context.CancelCauseFunc, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{limit: limit, timer: time.AfterFunc(limit, func() { cancel(errSilent(limit)) })}
	w.timer.Stop()
	return ctx, cancel, w
}

func (w *watch) begin() { w.timer.Reset(w.limit) }
func (w *watch) end()   { w.timer.Stop() }

// errSilent is a store in which nothing moved for that long.
type errSilent time.Duration

func (e errSilent) Error() string {
	return fmt.Sprintf("nothing moved for %s", time.Duration(e))
}

// grace is how long a store may take to end what is given up in good order.
const grace = 10 * time.Second

// upload is a file on its way into a store. Close makes it be there, for good; until then, and after abort, it is not.
type upload struct {
	s      *store
	key    string
	asked  context.Context // of the caller
	ctx    context.Context // of the driver: outlives the caller's by grace
	cancel context.CancelCauseFunc
	watch  *watch
	w      *blob.Writer
	ended  bool
}

// Pieces of an upload: memory is pieces at once times their size. Stores take 10,000 pieces of one file at most.
const (
	piece      = 8 << 20
	pieces     = 4
	mostPieces = 8000
)

// upload begins a file of about that many bytes at most; 0 where it is small.
func (s *store) upload(ctx context.Context, key, kind string, about int64) (*upload, error) {
	u := &upload{s: s, key: key, asked: ctx}
	u.ctx, u.cancel, u.watch = newWatch(context.WithoutCancel(ctx), s.silence)
	context.AfterFunc(ctx, u.soon)
	opts := &blob.WriterOptions{ContentType: kind, BufferSize: piece, MaxConcurrency: pieces, BeforeWrite: private}
	if about > piece*mostPieces {
		opts.BufferSize, opts.MaxConcurrency = int(about/mostPieces), 2
	}
	var err error
	for range 2 {
		// A folder that prune takes away at this very moment is made again.
		if u.w, err = s.bucket.NewWriter(u.ctx, key, opts); gcerrors.Code(err) != gcerrors.NotFound {
			break
		}
	}
	if err != nil {
		u.cancel(nil)
		return nil, s.failure("write "+s.at(key), err)
	}
	return u, nil
}

// private keeps a file of file:// from other users of the machine.
func private(as func(any) bool) error {
	var f *os.File
	if as(&f) {
		return f.Chmod(0o600)
	}
	return nil
}

// soon ends an upload that does not come to an end by itself.
func (u *upload) soon() { time.AfterFunc(grace, func() { u.cancel(context.Canceled) }) }

// Write gives bare errors; the caller says what was being written.
func (u *upload) Write(p []byte) (int, error) {
	if err := u.over(); err != nil {
		return 0, err
	}
	u.watch.begin()
	n, err := u.w.Write(p)
	u.watch.end()
	return n, u.cause(err)
}

func (u *upload) Close() error {
	if u.ended {
		return nil
	}
	if err := u.over(); err != nil {
		u.abort()
		return err
	}
	u.ended = true
	u.watch.begin()
	err := u.w.Close()
	u.watch.end()
	if err == nil {
		err = u.s.persist(u.key)
	}
	err = u.cause(err)
	u.cancel(nil)
	return err
}

// abort leaves nothing of a file that was not closed.
func (u *upload) abort() {
	if !u.ended {
		u.ended = true
		u.cancel(context.Canceled)
		_ = u.w.Close() // of a cancelled context: it must fail
	}
}

// giveUp is abort for a file that the caller removes afterwards. Pieces that are on their way when an upload to a bucket is
// broken off can outlive it; so it is ended, where that takes no longer than grace.
func (u *upload) giveUp() {
	if u.s.dir != "" || u.ctx.Err() != nil {
		u.abort()
		return
	}
	if !u.ended {
		u.ended = true
		u.soon()
		_ = u.w.Close() // what is removed next need not be whole
		u.cancel(nil)
	}
}

// over is why nothing more is to be written, or nil.
func (u *upload) over() error {
	if u.asked.Err() != nil {
		return context.Cause(u.asked)
	}
	if u.ctx.Err() != nil {
		return context.Cause(u.ctx)
	}
	return nil
}

// cause prefers why an upload is over to what the driver says then.
func (u *upload) cause(err error) error {
	if why := u.over(); err != nil && why != nil {
		return why
	}
	return err
}

// download is a file on its way out of a store. Its errors are whole sentences.
type download struct {
	s      *store
	key    string
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *watch
	r      *blob.Reader
}

// download begins to read a file. ErrNotFound where there is none.
func (s *store) download(ctx context.Context, key string) (*download, error) {
	d := &download{s: s, key: key}
	d.ctx, d.cancel, d.watch = newWatch(ctx, s.silence)
	d.watch.begin()
	var err error
	d.r, err = s.bucket.NewReader(d.ctx, key, nil)
	d.watch.end()
	if err == nil {
		return d, nil
	}
	err = d.explain(err)
	d.cancel(nil)
	return nil, err
}

func (d *download) explain(err error) error {
	if d.ctx.Err() != nil {
		err = context.Cause(d.ctx)
	}
	if absent(err) {
		return &tenant.Error{Kind: tenant.ErrNotFound, Store: storeName, Msg: "there is no " + d.s.at(d.key), Err: err}
	}
	return d.s.failure("read "+d.s.at(d.key), err)
}

func (d *download) Read(p []byte) (int, error) {
	d.watch.begin()
	n, err := d.r.Read(p)
	d.watch.end()
	if err != nil && err != io.EOF {
		err = d.explain(err)
	}
	return n, err
}

func (d *download) Close() error {
	d.cancel(nil)
	return d.r.Close()
}
