package cmd_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// scissors is a proxy before PostgreSQL that breaks a connection at every nth commit that speaks of a word: when the
// server has answered and before the client hears of it, or before the server gets it.
type scissors struct {
	url      string
	word     []byte
	every    int64
	answered bool
	met      atomic.Int64 // such commits
	cuts     atomic.Int64
}

func newScissors(t testing.TB, to, word string, every int64, answered bool) *scissors {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal("the server's URL cannot be read")
	}
	server := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.Addr().String()
	s := &scissors{url: u.String(), word: []byte(word), every: every, answered: answered}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve(client, server) })
		}
	})
	t.Cleanup(func() { // whoever came through it has gone by now
		l.Close()
		serving.Wait()
	})
	return s
}

// serve takes one session to its end, or to its cut.
func (s *scissors) serve(client net.Conn, to string) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	var deaf atomic.Bool
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		defer client.Close()
		for {
			m, err := wireMessage(server, 1)
			switch {
			case err != nil, deaf.Load() && m[0] == 'Z': // it has done what it was asked, and is ready for more
				return
			case deaf.Load():
			default:
				_, _ = client.Write(m) // a client that is gone is seen where it is read from
			}
		}
	}()
	for kind := 0; ; kind = 1 { // the first message of a session has no letter
		m, err := wireMessage(client, kind)
		if err != nil {
			return
		}
		if kind == 1 && m[0] == 'Q' && bytes.Contains(m, []byte("COMMIT")) && bytes.Contains(m, s.word) && s.met.Add(1)%s.every == 0 {
			s.cuts.Add(1)
			if !s.answered {
				return
			}
			deaf.Store(true)
		}
		if _, err := server.Write(m); err != nil {
			return
		}
		if deaf.Load() {
			<-answers
			return
		}
	}
}

// wireMessage reads a message of PostgreSQL's, with the letter before its length or without.
func wireMessage(r io.Reader, letter int) ([]byte, error) {
	head := make([]byte, letter+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	m := make([]byte, letter+int(binary.BigEndian.Uint32(head[letter:])))
	copy(m, head)
	_, err := io.ReadFull(r, m[letter+4:])
	return m, err
}
