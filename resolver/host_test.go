package resolver

import (
	"strings"
	"testing"
)

func TestEachSpellingOfAHostIsOneHostOrAnError(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, c := range []struct{ sent, host, port string }{ // an error where host is empty
		{"acme.example.com", "acme.example.com", ""},
		{"ACME.Example.COM", "acme.example.com", ""},
		{"acme.example.com.", "acme.example.com", ""},
		{"acme.example.com:8080", "acme.example.com", "8080"},
		{"acme.example.com.:443", "acme.example.com", "443"},
		{"acme.example.com:", "acme.example.com", ""},
		{"localhost", "localhost", ""},
		{"xn--mnchen-3ya.example", "xn--mnchen-3ya.example", ""},
		{"1.example.com", "1.example.com", ""},
		{long + ".com", long + ".com", ""},
		{"münchen.example", "", ""}, // a browser sends punycode
		{"acme.example.com..", "", ""},
		{".acme.example.com", "", ""},
		{"acme..example.com", "", ""},
		{"acme_1.example.com", "", ""},
		{"-acme.example.com", "", ""},
		{"acme-.example.com", "", ""},
		{"acme.example-", "", ""},
		{"*.example.com", "", ""},
		{"", "", ""},
		{".", "", ""},
		{":80", "", ""},
		{"acme.example.com:0", "", ""},
		{"acme.example.com:65536", "", ""},
		{"acme.example.com:+80", "", ""},
		{"acme.example.com:80:80", "", ""},
		{"127.0.0.1", "", ""},
		{"127.0.0.1:8080", "", ""},
		{"2130706433", "", ""},
		{"[::1]", "", ""},
		{"[::1]:8080", "", ""},
		{"::1", "", ""},
		{"acme.example.com/", "", ""},
		{"user@acme.example.com", "", ""},
		{"acme.example.com globex.example.com", "", ""},
		{"acme.example.com,globex.example.com", "", ""},
		{"acme.example.com\x00", "", ""},
		{"acme.example.com\r\nX: y", "", ""},
		{"acme.example.com\t", "", ""},
		{"acme%2eexample.com", "", ""},
		{long + "a.com", "", ""},
		{strings.Repeat(long+".", 4) + "com", "", ""},
		{strings.Repeat("a", 300), "", ""},
		{strings.Repeat("a.", 5000), "", ""},
	} {
		host, port, err := ParseHost(c.sent)
		if host != c.host || port != c.port || (err == nil) != (c.host != "") {
			t.Errorf("%q: got %q, %q, %v; want %q, %q", c.sent, host, port, err, c.host, c.port)
		}
	}
}

func FuzzAHostIsOneNameOfTheDNS(f *testing.F) {
	for _, s := range []string{"acme.example.com:80", "A.b.", "[::1]", "1.2.3.4", "-", "a..b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		host, port, err := ParseHost(sent)
		if err != nil {
			return
		}
		again, none, err := ParseHost(host)
		if again != host || none != "" || err != nil {
			t.Errorf("%q is %q, which is %q, %q, %v", sent, host, again, none, err)
		}
		rest := sent[len(host):]
		if !strings.EqualFold(sent[:len(host)], host) || strings.TrimPrefix(strings.TrimPrefix(rest, "."), ":") != port {
			t.Errorf("%q is %q at port %q", sent, host, port)
		}
	})
}
