package legacy

import (
	"bytes"
	"io"
)

const (
	windowSize = 256 << 10
	longestRow = 64 << 20 // bytes, where a query sets no limit
)

// window is the stretch of a stream that a record is looked for in. It grows with the record up to max bytes; of a longer
// one the beginning is dropped.
type window struct {
	r          io.Reader
	max        int
	buf        []byte
	start, end int
	err        error
	dropped    int64 // bytes of the current record
}

func newWindow(r io.Reader, longest int64) window {
	if longest <= 0 {
		longest = longestRow
	}
	return window{r: r, max: int(longest), buf: make([]byte, windowSize)}
}

// more reads on; false at the end. at is the place in the record that is looked at, which it gives back corrected.
func (w *window) more(at int) (int, bool) {
	switch {
	case w.end-w.start > w.max:
		w.dropped += int64(w.end - w.start)
		w.start, w.end, at = 0, 0, 0
	case w.end < len(w.buf):
	case w.start > 0:
		w.end = copy(w.buf, w.buf[w.start:w.end])
		w.start = 0
	default:
		w.buf = append(w.buf, make([]byte, len(w.buf))...)
	}
	for w.err == nil {
		var n int
		n, w.err = w.r.Read(w.buf[w.end:])
		if w.end += n; n > 0 {
			return at, true
		}
	}
	return at, false
}

// line goes to the next line; io.EOF at the end. text is without the end of the line, and nil where it is longer than max.
func (w *window) line() (text []byte, length int64, err error) {
	w.dropped = 0
	at := 0
	for {
		if n := bytes.IndexByte(w.buf[w.start+at:w.end], '\n'); n >= 0 {
			text = w.buf[w.start : w.start+at+n]
			w.start += at + n + 1
			break
		}
		at = w.end - w.start
		var ok bool
		if at, ok = w.more(at); ok {
			continue
		}
		if w.err != io.EOF || w.end == w.start && w.dropped == 0 {
			return nil, 0, w.err
		}
		text = w.buf[w.start:w.end]
		w.start = w.end
		break
	}
	if length = w.dropped + int64(len(text)); length > int64(w.max) {
		return nil, length, nil
	}
	return bytes.TrimSuffix(text, []byte("\r")), length, nil
}

// csvScanner reads the records of a CSV file. It tells quoted fields from others, which encoding/csv does not: an empty
// field is NULL or an empty text.
type csvScanner struct {
	window
	delimiter byte
	single    bool // records have one field, which an empty line is then

	// Of the current record:
	raw    []byte // as in the file, without the end of its line; nil where it is too long
	fields []csvField
	length int64  // bytes
	fault  string // why it is none
}

// csvField is a field's place in raw, without its quotes.
type csvField struct {
	from, to int
	quoted   bool
	doubled  bool // quotes inside are written twice
}

// Where the scanner is in a record.
const (
	csvStart = iota // of a field
	csvPlain
	csvQuoted
	csvQuote  // in a quoted field: its end, or the first of two
	csvReturn // behind a quoted field, before a newline
	csvBroken // up to the end of the line
)

// next goes to the next record; io.EOF at the end.
func (s *csvScanner) next() error {
	for {
		if err := s.scan(); err != nil {
			return err
		}
		if s.length > 0 || s.fault != "" || s.single {
			return nil
		}
	}
}

// scan takes one record. Of one that is malformed only the first line is taken: a stray quote costs one row and not the
// rest of the file.
func (s *csvScanner) scan() error {
	s.fields, s.fault, s.dropped = s.fields[:0], "", 0
	state, at, firstLine := csvStart, 0, -1
	var f csvField
	for {
		if s.start+at == s.end {
			var ok bool
			if at, ok = s.more(at); !ok {
				return s.atEnd(state, f, at, firstLine)
			}
		}
		record := s.buf[s.start:s.end]
		for ; at < len(record); at++ {
			c := record[at]
			switch state {
			case csvStart:
				f = csvField{from: at}
				if c == '"' {
					f.quoted, f.from, state = true, at+1, csvQuoted
					continue
				}
				state = csvPlain
				fallthrough
			case csvPlain:
				for c != s.delimiter && c != '\n' && c != '"' && at+1 < len(record) {
					at++
					c = record[at]
				}
				switch c {
				case s.delimiter:
					f.to = at
					s.fields = append(s.fields, f)
					state = csvStart
				case '\n':
					f.to = at
					if at > f.from && record[at-1] == '\r' {
						f.to--
					}
					s.fields = append(s.fields, f)
					return s.take(at, at+1)
				case '"':
					s.fault, state = "a quote in a field that does not begin with one", csvBroken
				}
			case csvQuoted:
				n := bytes.IndexByte(record[at:], '"')
				if firstLine < 0 && s.dropped == 0 {
					line := record[at:]
					if n >= 0 {
						line = line[:n]
					}
					if nl := bytes.IndexByte(line, '\n'); nl >= 0 {
						firstLine = at + nl + 1
					}
				}
				if n < 0 {
					at = len(record) - 1
					continue
				}
				at += n
				f.to, state = at, csvQuote
			case csvQuote:
				switch c {
				case '"':
					f.doubled, state = true, csvQuoted
				case s.delimiter:
					s.fields = append(s.fields, f)
					state = csvStart
				case '\r':
					state = csvReturn
				case '\n':
					s.fields = append(s.fields, f)
					return s.take(at, at+1)
				default:
					s.fault, state = "text behind a closing quote", csvBroken
				}
			case csvReturn:
				if c == '\n' {
					s.fields = append(s.fields, f)
					return s.take(at, at+1)
				}
				s.fault, state = "text behind a closing quote", csvBroken
			}
			if state == csvBroken {
				if firstLine >= 0 && s.dropped == 0 {
					return s.take(firstLine-1, firstLine)
				}
				n := bytes.IndexByte(record[at:], '\n')
				if n >= 0 {
					return s.take(at+n, at+n+1)
				}
				at = len(record) - 1
			}
		}
	}
}

// atEnd takes the last record, which may lack its newline.
func (s *csvScanner) atEnd(state int, f csvField, at, firstLine int) error {
	if s.err != io.EOF || at == 0 && s.dropped == 0 {
		return s.err
	}
	switch state {
	case csvQuoted:
		s.fault = "a quote is never closed"
		if firstLine >= 0 && s.dropped == 0 {
			return s.take(firstLine-1, firstLine)
		}
	case csvStart, csvPlain:
		if state == csvStart {
			f = csvField{from: at}
		}
		f.to = at
		s.fields = append(s.fields, f)
	case csvQuote, csvReturn:
		s.fields = append(s.fields, f)
	}
	return s.take(at, at)
}

// take ends the record at an offset; next is where the one behind it begins.
func (s *csvScanner) take(end, next int) error {
	if next > end && end > 0 && s.buf[s.start+end-1] == '\r' {
		end--
	}
	s.raw = s.buf[s.start : s.start+end]
	s.start += next
	if s.length = s.dropped + int64(end); s.length > int64(s.max) {
		s.raw, s.fields, s.fault = nil, s.fields[:0], ""
	}
	return nil
}

// appendValue appends a field's value.
func (s *csvScanner) appendValue(buf []byte, f csvField) []byte {
	value := s.raw[f.from:f.to]
	if !f.doubled {
		return append(buf, value...)
	}
	for {
		n := bytes.IndexByte(value, '"')
		if n < 0 {
			return append(buf, value...)
		}
		buf = append(buf, value[:n+1]...)
		value = value[n+2:]
	}
}
