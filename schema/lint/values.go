package lint

import (
	"errors"
	"strings"

	"github.com/wasilibs/go-pgquery/parser"
	"google.golang.org/protobuf/encoding/protowire"
)

// nothing stands where nothing of a statement can be kept.
const nothing = "…"

// WithoutValues is SQL without its constants and comments, as PostgreSQL's own scanner tells them from the rest. Of what the
// parser cannot read nothing is kept, and of a string that a setting of the server's may end elsewhere, the key word before it.
func WithoutValues(sql string) string {
	if plain(sql) {
		return sql
	}
	if strings.IndexByte(sql, 0) >= 0 {
		return nothing
	}
	if _, err := parser.ParseToJSON(sql); err != nil {
		return nothing
	}
	tokens, err := scan(sql)
	if err != nil {
		return nothing
	}
	var b strings.Builder
	end := 0
	for _, t := range tokens {
		text := sql[t.start:t.end]
		switch {
		case t.is == sqlComment || t.is == blockComment:
			continue
		case t.is == plainString && text[0] == '\'' && strings.Contains(text, `\`):
			if tokens[0].key {
				return sql[tokens[0].start:tokens[0].end] + " " + nothing
			}
			return nothing
		case t.constant():
			text = "?"
		}
		if b.Len() > 0 && t.start > end {
			b.WriteByte(' ')
		}
		b.WriteString(text)
		end = t.end
	}
	return b.String()
}

// plain tells of names, key words and signs alone: no constant and no comment is written without one of these. It spares most
// statements the second that the parser's first call takes.
func plain(sql string) bool {
	other := func(r rune) bool { return r != '\n' && r != '\t' && (r < ' ' || r > '~') }
	return !strings.ContainsAny(sql, "'\"$\\0123456789") && !strings.Contains(sql, "--") && !strings.Contains(sql, "/*") && !strings.ContainsFunc(sql, other)
}

// The scanner's numbers of what is no plain word or sign.
const (
	decimal       = 260
	plainString   = 261
	unicodeString = 262
	bitString     = 263
	hexString     = 264
	integer       = 266
	sqlComment    = 275
	blockComment  = 276
)

type scanned struct {
	start, end int // in bytes
	is         int
	key        bool // a key word
}

func (t scanned) constant() bool {
	switch t.is {
	case decimal, plainString, unicodeString, bitString, hexString, integer:
		return true
	}
	return false
}

var errScan = errors.New("the scanner's answer cannot be read")

// scan cuts SQL into tokens. The answer's messages are read field by field: their Go types would need cgo.
func scan(sql string) ([]scanned, error) {
	answer, err := parser.ScanToProtobuf(sql)
	if err != nil {
		return nil, err
	}
	var tokens []scanned
	err = fields(answer, func(number protowire.Number, value uint64, message []byte) error {
		if number != 2 { // tokens
			return nil
		}
		var t scanned
		err := fields(message, func(number protowire.Number, value uint64, _ []byte) error {
			switch number {
			case 1:
				t.start = int(value)
			case 2:
				t.end = int(value)
			case 4:
				t.is = int(value)
			case 5:
				t.key = value > 0
			}
			return nil
		})
		if err == nil && (t.start < 0 || t.end <= t.start || t.end > len(sql)) {
			err = errScan
		}
		tokens = append(tokens, t)
		return err
	})
	return tokens, err
}

// fields goes through a message of numbers and messages.
func fields(message []byte, each func(number protowire.Number, value uint64, inner []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return errScan
		}
		message = message[n:]
		var value uint64
		var inner []byte
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			inner, n = protowire.ConsumeBytes(message)
		default:
			n = -1
		}
		if n < 0 {
			return errScan
		}
		message = message[n:]
		if err := each(number, value, inner); err != nil {
			return err
		}
	}
	return nil
}
