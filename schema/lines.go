package schema

import (
	"bytes"
	"io"

	"github.com/cespare/xxhash/v2"
)

// bufferSize is how many bytes go to a part at once.
const bufferSize = 256 << 10

// lines counts what is written through it: how many lines, and the sum of each one's XXH64 without its newline. It
// gathers what it hands on.
type lines struct {
	to   io.Writer
	rows int64
	sum  uint64

	begun  xxhash.Digest // of a line that came in pieces
	within bool          // such a line has begun
	buffer []byte
}

func newLines(to io.Writer) *lines { return &lines{to: to, buffer: make([]byte, 0, bufferSize)} }

func (l *lines) Write(p []byte) (int, error) {
	l.count(p)
	return len(p), l.put(p)
}

// put writes what is no row.
func (l *lines) put(p []byte) error {
	if len(l.buffer)+len(p) > cap(l.buffer) {
		if err := l.flush(); err != nil {
			return err
		}
	}
	if len(p) > cap(l.buffer) {
		_, err := l.to.Write(p)
		return err
	}
	l.buffer = append(l.buffer, p...)
	return nil
}

func (l *lines) flush() error {
	if len(l.buffer) == 0 {
		return nil
	}
	_, err := l.to.Write(l.buffer)
	l.buffer = l.buffer[:0]
	return err
}

func (l *lines) count(p []byte) {
	for {
		end := bytes.IndexByte(p, '\n')
		switch {
		case end < 0 && len(p) == 0:
			return
		case end < 0:
			if !l.within {
				l.begun.Reset()
			}
			l.within = true
			_, _ = l.begun.Write(p) // never fails
			return
		case l.within:
			_, _ = l.begun.Write(p[:end]) // never fails
			l.sum += l.begun.Sum64()
			l.within = false
		default:
			l.sum += xxhash.Sum64(p[:end])
		}
		l.rows++
		p = p[end+1:]
	}
}
