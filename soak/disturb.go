package main

import (
	"context"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"
)

// line is a proxy before a server whose connections can be cut, and held: nothing passes, and nobody is told.
type line struct {
	url, server string
	listener    net.Listener

	mu    sync.Mutex
	conns []crossing
	gone  time.Time // until then nobody gets through
}

// crossing is one connection on its way.
type crossing struct {
	near, far net.Conn
	way       *sync.RWMutex // locked while the connection is held
}

// port is the one by which the server knows it.
func (c crossing) port() int { return c.far.LocalAddr().(*net.TCPAddr).Port }

func newLine(to string) (*line, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	l := &line{server: u.Host}
	if l.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	u.Host = l.listener.Addr().String()
	l.url = u.String()
	go l.serve()
	return l, nil
}

func (l *line) serve() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		gone := time.Now().Before(l.gone)
		l.mu.Unlock()
		if gone {
			near.Close()
			continue
		}
		far, err := net.Dial("tcp", l.server)
		if err != nil {
			near.Close()
			continue
		}
		c := crossing{near, far, new(sync.RWMutex)}
		l.mu.Lock()
		l.conns = append(l.conns, c)
		l.mu.Unlock()
		go c.pass(far, near)
		go func() {
			c.pass(near, far)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.conns = slices.DeleteFunc(l.conns, func(c crossing) bool { return c.near == near })
		}()
	}
}

// pass hands on what comes until one side is gone, and then closes the other.
func (c crossing) pass(to, from net.Conn) {
	_, _ = io.Copy(open{to, c.way}, from) // an end is an end
	to.Close()
	from.Close()
}

// open is where what comes goes, once the way is open.
type open struct {
	to  net.Conn
	way *sync.RWMutex
}

func (o open) Write(b []byte) (int, error) {
	o.way.RLock()
	defer o.way.RUnlock()
	return o.to.Write(b)
}

// hold lets nothing pass for a while, in either direction.
func (c crossing) hold(d time.Duration) {
	c.way.Lock()
	time.AfterFunc(d, c.way.Unlock)
}

// briefHold is as a network that stumbles; longHold is longer than a lease, so that others take over what is held.
const (
	briefHold = 5 * time.Second
	longHold  = 45 * time.Second
)

// takeAway ends all connections and lets nobody through for a while, as a server does that is restarted with its data.
func (l *line) takeAway(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = time.Now().Add(d)
	for _, c := range l.conns {
		c.near.Close()
		c.far.Close()
	}
}

// any is one of the connections that there are.
func (l *line) any(chance func(int) int) (c crossing, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) == 0 {
		return c, false
	}
	return l.conns[chance(len(l.conns))], true
}

// disturb cuts and holds connections, ends sessions in the server, and takes servers away, now and then.
func (w *world) disturb(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(100+w.chance(900)) * time.Millisecond):
		}
		to, name := w.postgres, "PostgreSQL"
		if w.chance(4) == 0 {
			to, name = w.mongodb, "MongoDB"
		}
		c, ok := to.any(w.chance)
		switch {
		case !ok:
		case w.chance(40) == 0:
			to.takeAway(time.Duration(100+w.chance(2900)) * time.Millisecond)
			w.count("took " + name + " away for a while")
		case w.chance(3) == 0:
			most := briefHold
			if w.chance(10) == 0 {
				most = longHold
			}
			go c.hold(time.Duration(1+w.chance(int(most/time.Millisecond))) * time.Millisecond)
			w.count("held a connection to " + name)
		case to == w.postgres && w.chance(3) == 0:
			if _, err := w.pool.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port = $1`, c.port()); err == nil {
				w.count("ended a session in PostgreSQL")
			}
		default:
			c.near.Close()
			w.count("cut a connection to " + name)
		}
	}
}
