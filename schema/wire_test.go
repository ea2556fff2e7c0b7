package schema

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// message is one of PostgreSQL's wire protocol, as it goes over the wire. kind is 0 for the one that begins a session.
type message struct {
	kind byte
	raw  []byte
}

func readMessage(r io.Reader, startup bool) (message, error) {
	head := make([]byte, 5)
	if startup {
		head = head[:4]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return message{}, err
	}
	m := message{raw: head}
	if !startup {
		m.kind = head[0]
	}
	body := make([]byte, binary.BigEndian.Uint32(head[len(head)-4:])-4)
	_, err := io.ReadFull(r, body)
	m.raw = append(m.raw, body...)
	return m, err
}

// listen serves connections on a loopback port until the test ends, and gives url with that port.
func listen(t *testing.T, to string, serve func(client net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var serving sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	serving.Add(1)
	go func() {
		defer serving.Done()
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[client] = true
			mu.Unlock()
			serving.Add(1)
			go func() {
				defer serving.Done()
				defer client.Close()
				serve(client)
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for client := range open {
			client.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	u, err := url.Parse(to)
	must(t, err)
	u.Host = l.Addr().String()
	return u.String()
}

func dial(to string) (net.Conn, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	return net.Dial("tcp", u.Host)
}

// guillotine is a proxy that ends a session at its nth question: before the server gets it, or when the server has
// answered and before the client hears of it. It then lets nobody in.
type guillotine struct {
	url    string
	fell   atomic.Bool
	asked  atomic.Int64
	at     int64
	answer bool
}

func newGuillotine(t *testing.T, to string, at int64, answered bool) *guillotine {
	g := &guillotine{at: at, answer: answered}
	g.url = listen(t, to, func(client net.Conn) {
		if g.fell.Load() {
			return
		}
		server, err := dial(to)
		if err != nil {
			return
		}
		defer server.Close()
		var cut atomic.Bool
		go func() { // answers
			defer client.Close()
			r := bufio.NewReader(server)
			for {
				m, err := readMessage(r, false)
				if err != nil {
					return
				}
				if cut.Load() {
					if m.kind == 'Z' || m.kind == 'G' { // it is ready for the next, or for the rows of a COPY
						return
					}
					continue
				}
				if _, err := client.Write(m.raw); err != nil {
					return
				}
			}
		}()
		r := bufio.NewReader(client)
		for startup := true; ; startup = false {
			m, err := readMessage(r, startup)
			if err != nil {
				return
			}
			if m.kind == 'Q' && g.asked.Add(1) == g.at {
				g.fell.Store(true)
				if !g.answer {
					return
				}
				cut.Store(true)
			}
			if _, err := server.Write(m.raw); err != nil {
				return
			}
			if cut.Load() {
				_, _ = io.Copy(io.Discard, r) // until the answer has come and the client is cut off
				return
			}
		}
	})
	return g
}

// pooler is one in transaction mode: a client has a backend only while its transaction lasts.
type pooler struct {
	backends   int
	roundRobin bool
	version    string                // what it says the server's version is
	answer     func(message) message // changes what the server says; may be nil
	heard      func(message)         // hears what clients say; may be nil
}

// session is one of a pooler's with the server. The driver may have begun to read ahead: answers come from its reader.
type session struct {
	*pgconn.HijackedConn
	from io.Reader
}

func (p pooler) start(t *testing.T, to string) (url string) {
	t.Helper()
	idle := make(chan *session, p.backends)
	for range p.backends {
		s := new(session)
		cfg, err := pgconn.ParseConfig(to)
		must(t, err)
		cfg.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
			s.from = r
			return pgproto3.NewFrontend(r, w)
		}
		conn, err := pgconn.ConnectConfig(t.Context(), cfg)
		must(t, err)
		s.HijackedConn, err = conn.Hijack()
		must(t, err)
		t.Cleanup(func() { s.Conn.Close() })
		idle <- s
	}
	last := make(chan *session, 1) // the one given back last, which is taken first
	take := func() *session {
		select {
		case b := <-last:
			return b
		default:
		}
		select {
		case b := <-last:
			return b
		case b := <-idle:
			return b
		case <-t.Context().Done():
			return nil
		}
	}
	giveBack := func(b *session) {
		if !p.roundRobin {
			select {
			case last <- b:
				return
			default:
			}
		}
		idle <- b
	}
	return listen(t, to, func(client net.Conn) {
		r := bufio.NewReader(client)
		if _, err := readMessage(r, true); err != nil {
			return
		}
		hello, _ := (&pgproto3.AuthenticationOk{}).Encode(nil)
		for _, s := range [][2]string{{"server_version", p.version}, {"standard_conforming_strings", "on"}, {"client_encoding", "UTF8"}} {
			hello, _ = (&pgproto3.ParameterStatus{Name: s[0], Value: s[1]}).Encode(hello)
		}
		hello, _ = (&pgproto3.BackendKeyData{ProcessID: 4_000_000_000, SecretKey: []byte{1, 2, 3, 4}}).Encode(hello)
		hello, _ = (&pgproto3.ReadyForQuery{TxStatus: 'I'}).Encode(hello)
		if _, err := client.Write(hello); err != nil {
			return
		}
		var backend *session
		for {
			m, err := readMessage(r, false)
			if err != nil || m.kind == 'X' {
				if backend != nil {
					backend.Conn.Close()
				}
				return
			}
			if p.heard != nil {
				p.heard(m)
			}
			if backend == nil {
				if backend = take(); backend == nil {
					return
				}
			}
			if _, err := backend.Conn.Write(m.raw); err != nil {
				return
			}
			for ready := !strings.ContainsRune("QScf", rune(m.kind)); !ready; { // a question, or the end of a COPY's rows
				m, err := readMessage(backend.from, false)
				if err != nil {
					return
				}
				if p.answer != nil {
					m = p.answer(m)
				}
				_, _ = client.Write(m.raw) // where the client is gone, the server still ends what it does
				ready = m.kind == 'Z' || m.kind == 'G'
				if m.kind == 'Z' && m.raw[5] == 'I' {
					giveBack(backend)
					backend = nil
				}
			}
		}
	})
}
