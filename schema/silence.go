package schema

import (
	"cmp"
	"context"
	"net"
	"sync/atomic"
	"time"
)

// silenceAfter is how long an answer is waited for before the server is asked whether it is still there. A statement may take
// as long as it needs; a proxy that keeps the connection and passes nothing on any more is noticed.
const silenceAfter = 15 * time.Second

// observed is a connection whose silence ends: while it is waited for, the way to the server is tried time and again, and where
// nobody answers there the connection is closed.
type observed struct {
	net.Conn
	after time.Duration
	there func() error // nil where somebody answers at the other end
}

// watching lets a dialer make observed connections.
func watching(dial func(ctx context.Context, network, address string) (net.Conn, error), cfg Config) func(context.Context, string, string) (net.Conn, error) {
	patience := cmp.Or(cfg.ConnectTimeout, deadAfter)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		there := func() error {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			return answers(ctx, dial, network, address)
		}
		return &observed{Conn: conn, after: cmp.Or(cfg.silence, silenceAfter), there: there}, nil
	}
}

// answers asks for TLS on a connection of its own, which every PostgreSQL and every pooler answers by a letter, without a login.
func answers(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), network, address string) error {
	conn, err := dial(ctx, network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return err
		}
	}
	if _, err := conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil { // SSLRequest
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

func (o *observed) Write(p []byte) (int, error) {
	defer o.observe()()
	return o.Conn.Write(p)
}

func (o *observed) Read(p []byte) (int, error) {
	defer o.observe()()
	return o.Conn.Read(p)
}

// observe looks after what waits for the other end, until over is called.
func (o *observed) observe() (over func()) {
	var ended atomic.Bool
	var look func()
	look = func() {
		if ended.Load() {
			return
		}
		err := o.there()
		switch {
		case ended.Load():
		case err != nil:
			_ = o.Conn.Close() // who waits is told that it is closed
		default:
			time.AfterFunc(o.after, look)
		}
	}
	first := time.AfterFunc(o.after, look)
	return func() {
		ended.Store(true)
		first.Stop()
	}
}
