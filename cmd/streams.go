package cmd

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/text"
)

// stream is where the program writes to. It remembers the first error, so that no byte is lost in silence, and shows control
// characters as escapes where people read: what a server or a tenant says must not speak to the terminal.
type stream struct {
	to io.Writer

	mu    sync.Mutex
	shows bool   // people read it
	json  bool   // each line is to be a JSON object
	rest  []byte // the beginning of a character, or of a line of JSON, that the next write ends
	err   error

	held *strings.Builder // where a document is gathered that is not to be printed as it is
}

// holds makes the stream gather what is written until taken is called.
func (s *stream) holds(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = nil
	if is {
		s.held = new(strings.Builder)
	}
}

// taken gives what was gathered, and ends that.
func (s *stream) taken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.held.String()
	s.held = nil
	return held
}

// Write writes p, or says why that or an earlier write failed.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	if s.held != nil {
		return s.held.Write(p)
	}
	out := p
	switch {
	case s.json:
		out = s.inJSON(p)
	case s.shows:
		all := append(s.rest, p...)
		whole := len(all)
		for n := 1; n < utf8.UTFMax && n <= len(all); n++ {
			if start := len(all) - n; utf8.RuneStart(all[start]) {
				if !utf8.FullRune(all[start:]) {
					whole = start
				}
				break
			}
		}
		out, s.rest = []byte(visible(string(all[:whole]))), append([]byte(nil), all[whole:]...)
	}
	if _, s.err = s.to.Write(out); s.err != nil {
		return 0, s.err
	}
	return len(p), nil
}

// failed is the first error of a write.
func (s *stream) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// forPeople makes the stream show control characters as escapes.
func (s *stream) forPeople(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shows = is
}

// beneath is what a stream writes to.
func beneath(w any) any {
	if s, ok := w.(*stream); ok {
		return s.to
	}
	return w
}

// colors are the only sequences of control characters that this program writes itself.
var colors = []string{red.EscapeSeq(), green.EscapeSeq(), yellow.EscapeSeq(), text.Reset.EscapeSeq()}

// visible shows control characters, and those that turn the direction of text, as escapes. Lines and tabs stay, and colours.
func visible(s string) string {
	if strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		color := ""
		for _, c := range colors {
			if r == '\x1b' && strings.HasPrefix(s, c) {
				color = c
			}
		}
		switch {
		case color != "":
			n = len(color)
			b.WriteString(color)
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case !hidden(r):
			b.WriteString(s[:n])
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// hidden tells of what a terminal does not show, or acts upon.
func hidden(r rune) bool {
	return r != '\n' && r != '\t' && unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// inOneLine is visible text in one line: a value must not look like several.
func inOneLine(s string) string {
	return visible(strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s))
}
