package cmd

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestControlCharactersAreShownAndNotObeyed(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\n":                 "plain\ttext\n",
		"\x1b]0;title\x07":              `\x1b]0;title\x07`,
		"\x1b[2J\x1b[31mred\x1b[0m":     `\x1b[2J` + "\x1b[31mred\x1b[0m", // colours are ours too
		"back\b\rover":                  `back\x08\x0dover`,
		"\u009b2J \u202egpj.exe \u2028": `\u009b2J \u202egpj.exe \u2028`,
		"Zoë, Łódź, 東京, 😀":              "Zoë, Łódź, 東京, 😀",
		"broken \xff\x9b":               `broken \xff\x9b`,
		"\x7f":                          `\x7f`,
	} {
		if got := visible(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
		var out strings.Builder
		s := &stream{to: &out, shows: true}
		for i := range len(in) { // however it comes in pieces
			if _, err := s.Write([]byte{in[i]}); err != nil {
				t.Fatal(err)
			}
		}
		if got := out.String(); !strings.Contains(in, "\x1b[31m") && got != want {
			t.Errorf("%q in pieces is shown as %q, want %q", in, got, want)
		}
	}
	if got := inOneLine("a\nb\r\tc"); got != `a\nb\r\tc` {
		t.Errorf("in one line: %q", got)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestAStreamRemembersItsFirstError(t *testing.T) {
	a := newApp(nil, full{}, full{})
	l := a.newList("name")
	a.format = formatTable
	if err := l.add(nil, "", "acme"); err != nil {
		t.Fatal(err)
	}
	if err := l.end(""); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a list that cannot be written: %v", err)
	}
	if _, err := a.out.Write([]byte("more")); err == nil {
		t.Error("it went on after an error")
	}
}

func TestEveryLineOfAJSONStreamIsAnObject(t *testing.T) {
	var out strings.Builder
	s := &stream{to: &out, shows: true}
	s.asJSON(true)
	in := red.EscapeSeq() + "warning:" + "\x1b[0m two\nlines\n\n" + `{"time":"t","msg":"its own"}` + "\n{no object\n\x7f\x1b]0;title\x07\u202e \xff\nrest"
	for i := range len(in) {
		if _, err := s.Write([]byte{in[i]}); err != nil {
			t.Fatal(err)
		}
	}
	s.flush()
	var got []string
	for line := range strings.Lines(out.String()) {
		var doc struct{ Time, Msg string }
		if err := json.Unmarshal([]byte(line), &doc); err != nil || doc.Time == "" {
			t.Errorf("%q: %v", line, err)
		}
		if strings.ContainsFunc(strings.TrimSpace(line), hidden) {
			t.Errorf("%q has control characters", line)
		}
		got = append(got, doc.Msg)
	}
	want := []string{"warning: two", "lines", "its own", "{no object", "\x7f\x1b]0;title\x07\u202e \ufffd", "rest"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestThatStderrIsToBeJSONIsKnownBeforeTheFlagsAreRead(t *testing.T) {
	for args, want := range map[string]bool{
		"list --log-format json":            true,
		"--log-format=json list":            true,
		"list --log-format text":            false,
		"exec -- --log-format json":         false,
		"list --log-format":                 false,
		"list --nonsense --log-format=json": true,
	} {
		if got := wantsJSONLog(strings.Fields(args)); got != want {
			t.Errorf("%s: %v", args, got)
		}
	}
}
