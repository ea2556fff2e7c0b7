package legacy

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// endless gives the same bytes up to a size.
type endless struct {
	text []byte
	left int64
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p, e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	e.left -= int64(n)
	return n, nil
}

func TestMemoryDoesNotGrowWithARowOrAFile(t *testing.T) {
	for name, text := range map[string]string{"one huge row": "\"aaaaaaaaaaaa\n", "many rows": "12345,abcdef\n"} {
		c := &csvScanner{window: newWindow(&endless{text: []byte(text), left: 48 << 20}, 1<<20), delimiter: ','}
		if name == "one huge row" {
			c.r = io.MultiReader(strings.NewReader(`"`), &endless{text: []byte("aaaaaaaaaaaa\n"), left: 48 << 20})
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for c.next() == nil {
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
			t.Errorf("%s: %d MB were allocated", name, grown>>20)
		}
	}
}

func FuzzCSVIsReadAsItWasWritten(f *testing.F) {
	f.Add("a", "b\"c\r\nd", "", true, int64(4))
	f.Add("", "\r", "\n", false, int64(100))
	f.Fuzz(func(t *testing.T, a, b, c string, crlf bool, cut int64) {
		quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
		end := "\n"
		if crlf {
			end = "\r\n"
		}
		row := quote(a) + "," + quote(b) + "," + quote(c) + end
		// Bytes that come one by one, and in pieces of any size, are read alike.
		r := &pieces{text: row + row, size: int(min(max(cut, 1), 1000))}
		s := &csvScanner{window: newWindow(r, 0), delimiter: ','}
		for range 2 {
			if err := s.next(); err != nil || s.fault != "" {
				t.Fatalf("%q: %v, %s", row, err, s.fault)
			}
			var got []string
			for _, f := range s.fields {
				got = append(got, string(s.appendValue(nil, f)))
			}
			if !slices.Equal(got, []string{a, b, c}) {
				t.Fatalf("%q became %q", row, got)
			}
		}
		if err := s.next(); err != io.EOF {
			t.Fatalf("at the end: %v", err)
		}
	})
}

type pieces struct {
	text string
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	n := copy(b, p.text[:min(p.size, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

func FuzzAnyCSVEnds(f *testing.F) {
	f.Add("a,\"b\nc\"x\n\"", 3)
	f.Fuzz(func(t *testing.T, text string, size int) {
		s := &csvScanner{window: newWindow(&pieces{text: text, size: max(size, 1)}, 64), delimiter: ','}
		for n := 0; ; n++ {
			if n > len(text)+1 {
				t.Fatal("it does not end")
			}
			if err := s.next(); err == io.EOF {
				return
			} else if err != nil {
				t.Fatal(err)
			}
			for _, f := range s.fields {
				s.appendValue(nil, f)
			}
		}
	})
}

func FuzzJSONIsWhatEncodingJSONSays(f *testing.F) {
	f.Add(`{"a":[1,-0.5e3,true,null,"\u00e9\\"],"b":{}}`)
	f.Add(`{"a":01}`)
	f.Fuzz(func(t *testing.T, text string) {
		var names []string
		err := jsonMembers([]byte(text), func(name, value []byte) {
			names = append(names, string(name))
			if !json.Valid(value) {
				t.Errorf("%q of %q is no JSON", value, text)
			}
			if value[0] == '"' {
				var want string
				got, err := appendUnquoted(nil, value)
				if jerr := json.Unmarshal(value, &want); err == nil && (jerr != nil || strings.ToValidUTF8(string(got), "\uFFFD") != strings.ToValidUTF8(want, "\uFFFD")) && !strings.Contains(want, "\uFFFD") {
					t.Errorf("%q became %q, want %q", value, got, want)
				}
			}
		})
		trimmed := bytes.TrimLeft([]byte(text), " \t\r\n")
		valid := json.Valid([]byte(text)) && bytes.HasPrefix(trimmed, []byte("{"))
		if (err == nil) != valid && strings.Count(text, "{")+strings.Count(text, "[") < deepestJSON {
			t.Errorf("%q: %v, but encoding/json says %v", text, err, valid)
		}
	})
}

func BenchmarkNDJSONDocuments(b *testing.B) {
	line := `{"tenant":"t` + strconv.Itoa(17) + `","name":"a name of some length","n":123456,"tags":["a","b"],"nested":{"x":1.5}}` + "\n"
	s := filesWith(b, SourceSpec{}, map[string]string{"a.ndjson": strings.Repeat(line, 100_000)})
	q := &query{table: &Table{From: "a.ndjson", Key: "tenant", ToCollection: "c"}, document: true}
	b.SetBytes(int64(len(line) * 100_000))
	for b.Loop() {
		if err := s.read(context.Background(), q, part{low: "a.ndjson"}, "", func(*record) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCSVRows(b *testing.B) {
	line := "17,a name of some length,123456,\"quoted, text\",2024-01-01 10:00:00,,x\n"
	s := filesWith(b, SourceSpec{}, map[string]string{"a.csv": "t,a,b,c,d,e,f\n" + strings.Repeat(line, 100_000)})
	q := &query{table: &Table{From: "a.csv", Key: "t"}, fields: fieldsOf("a", "b", "c", "d", "e", "f")}
	b.SetBytes(int64(len(line) * 100_000))
	for b.Loop() {
		if err := s.read(context.Background(), q, part{low: "a.csv"}, "", func(*record) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
