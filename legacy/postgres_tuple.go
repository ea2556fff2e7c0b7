package legacy

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
)

// Where a column has the same type on both sides, its values go from server to server in COPY's binary format, which
// neither has to write out or to parse. A record's line is a tuple then: the number of fields, and each with its length.

var (
	tupleHeader  = []byte("PGCOPY\n\377\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	tupleTrailer = []byte{0xff, 0xff}
)

// tupleWriter makes records of what COPY writes in its binary format: the header with the first tuple, and then a tuple at
// a time.
type tupleWriter struct {
	*recordWriter
	begun bool
	place []byte
	line  []byte
}

var errTuple = errors.New("the server's binary format cannot be read")

func (w *tupleWriter) Write(message []byte) (int, error) {
	rest := message
	if !w.begun {
		if len(rest) < len(tupleHeader) {
			return 0, errTuple
		}
		rest, w.begun = rest[len(tupleHeader):], true
	}
	if len(rest) == 0 || string(rest) == string(tupleTrailer) {
		return len(message), nil
	}
	fields := int(binary.BigEndian.Uint16(rest))
	rest = rest[2:]
	var head [recordHead][]byte
	for i := range head {
		n := int32(binary.BigEndian.Uint32(rest))
		rest = rest[4:]
		if n >= 0 {
			head[i], rest = rest[:n:n], rest[n:]
		}
	}
	rec := &w.rec
	*rec = record{key: head[recordKey], ref: head[recordRef]}
	if len(rec.ref) == 6 { // a ctid as it is: of which a person, and SQL, read (BLOCK,ROW)
		w.place = strconv.AppendUint(append(w.place[:0], '('), uint64(binary.BigEndian.Uint32(rec.ref)), 10)
		w.place = append(strconv.AppendUint(append(w.place, ','), uint64(binary.BigEndian.Uint16(rec.ref[4:])), 10), ')')
		rec.ref = w.place
	}
	w.line = append(binary.BigEndian.AppendUint16(w.line[:0], uint16(fields-recordHead)), rest...)
	rec.line = w.line
	w.emit(head[recordState])
	if w.err != nil {
		return 0, errStopped
	}
	return len(message), nil
}

// baseType is a type without its length or precision.
func baseType(typ string) string {
	before, rest, some := strings.Cut(typ, "(")
	if _, after, closed := strings.Cut(rest, ")"); some && closed {
		return strings.TrimSpace(before) + after
	}
	return typ
}
