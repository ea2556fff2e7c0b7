package schema

import (
	"errors"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

// mute is a proxy that passes nothing on any more once it is silent, and goes on taking connections.
func mute(t *testing.T, to string) (at string, silent *atomic.Bool) {
	silent = new(atomic.Bool)
	at = listen(t, to, func(client net.Conn) {
		server, err := dial(to)
		if err != nil {
			return
		}
		defer server.Close()
		pass := func(from, to net.Conn) {
			buffer := make([]byte, 4096)
			for {
				n, err := from.Read(buffer)
				if err != nil {
					return
				}
				if silent.Load() {
					continue
				}
				if _, err := to.Write(buffer[:n]); err != nil {
					return
				}
			}
		}
		go pass(server, client)
		pass(client, server)
		if silent.Load() {
			_, _ = io.Copy(io.Discard, client) // until it hangs up
		}
	})
	return at, silent
}

func TestASilentConnectionEnds(t *testing.T) {
	t.Parallel()
	const connect, silence = time.Second, 300 * time.Millisecond
	b := newBench(t, example)
	at, silent := mute(t, b.cfg.URL)
	cfg := b.cfg
	cfg.URL, cfg.ConnectTimeout, cfg.silence, cfg.MaxConnections = at, connect, silence, 2
	pool, err := Open(t.Context(), cfg)
	must(t, err)
	defer pool.Close()

	// A long statement is none that nobody answers.
	_, err = pool.Exec(t.Context(), "SELECT pg_sleep(1)")
	must(t, err)

	tx, err := pool.Begin(t.Context())
	must(t, err)
	conn, err := pool.Acquire(t.Context())
	must(t, err)
	defer conn.Release()
	silent.Store(true)
	ended := make(chan error, 3)
	go func() { ended <- failure("commit", tx.Commit(t.Context())) }()
	go func() {
		_, err := conn.Exec(t.Context(), "SELECT 1")
		ended <- failure("a statement", err)
	}()
	go func() {
		_, err := Open(t.Context(), cfg)
		ended <- err
	}()
	bound := time.After(20 * time.Second) // 1.3 seconds, but for a busy machine
	for range cap(ended) {
		select {
		case err := <-ended:
			if !errors.Is(err, tenant.ErrUnreachable) {
				t.Errorf("%v", err)
			}
		case <-bound:
			t.Fatal("it does not end")
		}
	}
}

// Whoever answers is asked in a way that needs no login.
func TestAServerAnswersWithoutALogin(t *testing.T) {
	b := newBench(t, example)
	u, err := url.Parse(b.cfg.URL)
	must(t, err)
	must(t, answers(t.Context(), dialer().DialContext, "tcp", u.Host))
}
