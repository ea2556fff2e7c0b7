package cmd_test

import (
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// fakeDNS is the address of a DNS server that answers with the TXT records in a file, as that is at the time.
func fakeDNS(t testing.TB, file string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return // the test is over
			}
			var m dnsmessage.Message
			if err := m.Unpack(buf[:n]); err != nil || len(m.Questions) != 1 {
				continue
			}
			answer, err := answerTXT(m, file)
			if err != nil {
				continue
			}
			if _, err := conn.WriteTo(answer, from); err != nil {
				return
			}
		}
	}()
	return conn.LocalAddr().String()
}

func answerTXT(m dnsmessage.Message, file string) ([]byte, error) {
	q := m.Questions[0]
	m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeNameError, nil
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(content), "\n") {
		name, text, _ := strings.Cut(line, " ")
		if name+"." != q.Name.String() || q.Type != dnsmessage.TypeTXT {
			continue
		}
		m.RCode = dnsmessage.RCodeSuccess
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.TXTResource{TXT: []string{text}},
		})
	}
	return m.Pack()
}
