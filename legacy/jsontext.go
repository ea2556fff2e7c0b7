package legacy

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON is looked through without decoding it, and passed on as it is.

var errJSON = errors.New("no valid JSON")

const deepestJSON = 200

// jsonMembers gives the members of a JSON object as they are written, names without their quotes.
func jsonMembers(object []byte, yield func(name, value []byte)) error {
	i := skipSpace(object, 0)
	if i == len(object) || object[i] != '{' {
		return errors.New("no JSON object")
	}
	end, err := skipObject(object, i, 0, yield)
	if err == nil && skipSpace(object, end) != len(object) {
		err = errors.New("text behind the JSON object")
	}
	return err
}

// isJSONObject tells whether a text is a whole JSON object.
func isJSONObject(text []byte) bool { return jsonMembers(text, nil) == nil }

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipObject gives the offset behind the object that begins at i.
func skipObject(b []byte, i, depth int, yield func(name, value []byte)) (int, error) {
	if i = skipSpace(b, i+1); i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		name := i
		nameEnd, err := skipString(b, name)
		if err != nil {
			return i, err
		}
		if i = skipSpace(b, nameEnd); i == len(b) || b[i] != ':' {
			return i, errJSON
		}
		value := skipSpace(b, i+1)
		if i, err = skipJSON(b, value, depth+1); err != nil {
			return i, err
		}
		if yield != nil {
			yield(b[name+1:nameEnd-1], b[value:i])
		}
		if i = skipSpace(b, i); i < len(b) && b[i] == '}' {
			return i + 1, nil
		}
		if i == len(b) || b[i] != ',' {
			return i, errJSON
		}
		i = skipSpace(b, i+1)
	}
}

// skipJSON gives the offset behind the value that begins at i.
func skipJSON(b []byte, i, depth int) (int, error) {
	if i >= len(b) {
		return i, errJSON
	}
	if depth > deepestJSON {
		return i, errors.New("the JSON is nested too deeply")
	}
	switch c := b[i]; c {
	case '{':
		return skipObject(b, i, depth, nil)
	case '[':
		if i = skipSpace(b, i+1); i < len(b) && b[i] == ']' {
			return i + 1, nil
		}
		for {
			var err error
			if i, err = skipJSON(b, i, depth+1); err != nil {
				return i, err
			}
			if i = skipSpace(b, i); i < len(b) && b[i] == ']' {
				return i + 1, nil
			}
			if i == len(b) || b[i] != ',' {
				return i, errJSON
			}
			i = skipSpace(b, i+1)
		}
	case '"':
		return skipString(b, i)
	case 't', 'f', 'n':
		for _, word := range []string{"true", "false", "null"} {
			if c == word[0] && bytes.HasPrefix(b[i:], []byte(word)) {
				return i + len(word), nil
			}
		}
		return i, errJSON
	}
	return skipNumber(b, i)
}

func skipNumber(b []byte, i int) (int, error) {
	digits := func() bool {
		start := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i > start
	}
	if b[i] == '-' {
		i++
	}
	start := i
	if !digits() || i > start+1 && b[start] == '0' {
		return i, errJSON
	}
	if i < len(b) && b[i] == '.' {
		if i++; !digits() {
			return i, errJSON
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return i, errJSON
		}
	}
	return i, nil
}

// skipString gives the offset behind the string that begins at i.
func skipString(b []byte, i int) (int, error) {
	if i >= len(b) || b[i] != '"' {
		return i, errJSON
	}
	for i++; i < len(b); i++ {
		if plainJSON[b[i]] {
			continue
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, nil
		case c == '\\':
			if i++; i == len(b) || strings.IndexByte(`"\/bfnrtu`, b[i]) < 0 {
				return i, errJSON
			}
			if b[i] == 'u' {
				for range 4 {
					if i++; i == len(b) || unhex[b[i]] < 0 {
						return i, errJSON
					}
				}
			}
		case c < ' ':
			return i, errJSON
		}
	}
	return i, errJSON
}

// plainJSON tells of each byte whether it stands for itself in a string.
var plainJSON = func() (plain [256]bool) {
	for c := range plain {
		plain[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return plain
}()

// appendUnquoted appends the text of a JSON string that skipString accepts.
func appendUnquoted(buf, quoted []byte) ([]byte, error) {
	s := quoted[1 : len(quoted)-1]
	for {
		n := bytes.IndexByte(s, '\\')
		if n < 0 {
			return append(buf, s...), nil
		}
		buf = append(buf, s[:n]...)
		c := s[n+1]
		s = s[n+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := unquoteRune(s)
			s = s[4:]
			if utf16.IsSurrogate(r) {
				if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
					return buf, errors.New("half of a surrogate pair")
				}
				if r = utf16.DecodeRune(r, unquoteRune(s[2:])); r == utf8.RuneError {
					return buf, errors.New("half of a surrogate pair")
				}
				s = s[6:]
			}
			buf = utf8.AppendRune(buf, r)
			continue
		}
		buf = append(buf, c)
	}
}

func unquoteRune(digits []byte) rune {
	var r rune
	for _, d := range digits[:4] {
		r = r<<4 | rune(unhex[d])
	}
	return r
}

// appendJSONText appends a text as JSON writes it. One that is no UTF-8 becomes an object that appendJSONField knows, so
// that nothing of it is lost.
func appendJSONText(b, text []byte) []byte {
	if !utf8.Valid(text) {
		b = append(b, `{"$binary":{"base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, text)
		return append(b, `","subType":"00"}}`...)
	}
	b = append(b, '"')
	done := 0
	for i, c := range text {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, text[done:i]...)
		done = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, text[done:]...), '"')
}

// appendJSONField appends a JSON value as a field of a kind, and the tab behind it. Extended JSON, as MongoDB exports it,
// is understood; order is that of the bytes of legacy UUIDs.
func appendJSONField(line, value []byte, k kind, order string) ([]byte, error) {
	switch {
	case len(value) == 0 || value[0] == 'n':
		return appendNull(line), nil
	case k == kindJSON:
		return appendField(line, value), nil
	case value[0] == '"' && bytes.IndexByte(value, '\\') < 0:
		return appendField(line, value[1:len(value)-1]), nil
	case value[0] == '"':
		text, err := appendUnquoted(nil, value)
		return appendField(line, text), err
	case value[0] == '{' && bytes.HasPrefix(value[skipSpace(value, 1):], []byte(`"$`)):
		return appendExtendedJSON(line, value, k, order)
	}
	return appendField(line, value), nil
}

// jsonName is a member's name as JSON writes it, without quotes; nil for none.
func jsonName(name string) []byte {
	if name == "" {
		return nil
	}
	quoted := jsonString(name)
	return []byte(quoted[1 : len(quoted)-1])
}

// withMembers appends an object: members first, and of an object's own those with other names, but for the one that left
// is the name of.
func withMembers(b []byte, members, names [][]byte, object, left []byte) ([]byte, error) {
	b = append(b, '{')
	start := len(b)
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(append(b, '"'), names[i]...), '"', ':'), m...)
	}
	err := jsonMembers(object, func(name, value []byte) {
		if slices.ContainsFunc(names, func(n []byte) bool { return bytes.Equal(n, name) }) || left != nil && bytes.Equal(left, name) {
			return
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(append(append(append(b, '"'), name...), '"', ':'), value...)
	})
	return append(b, '}'), err
}

// jsonKey is the JSON array of the values of a line's fields that name its row; "" where none do.
func jsonKey(fields []field, line []byte) string {
	values, _ := splitLine(line, nil, nil)
	var b []byte
	for i, f := range fields {
		if !f.key || i >= len(values) {
			continue
		}
		if len(b) == 0 {
			b = append(b, '[')
		} else {
			b = append(b, ',')
		}
		if values[i] == nil {
			b = append(b, "null"...)
		} else {
			b = append(b, jsonString(string(values[i]))...)
		}
	}
	if len(b) == 0 {
		return ""
	}
	return string(append(b, ']'))
}

// inexactJSON names what a document cannot hold exactly: half a surrogate pair becomes another character, and a whole number
// of more than 64 bits one with fewer digits.
func inexactJSON(text []byte) error {
	inString := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '"':
			inString = !inString
		case inString && c == '\\' && i+5 < len(text) && text[i+1] == 'u':
			r := unquoteRune(text[i+2:])
			i += 5
			if !utf16.IsSurrogate(r) {
				continue
			}
			if i+6 >= len(text) || text[i+1] != '\\' || text[i+2] != 'u' || utf16.DecodeRune(r, unquoteRune(text[i+3:])) == utf8.RuneError {
				return errors.New("it has half of a surrogate pair")
			}
			i += 6
		case inString && c == '\\':
			i++
		case !inString && (c == '-' || c >= '0' && c <= '9'):
			start := i
			for i+1 < len(text) && strings.IndexByte("0123456789+-.eE", text[i+1]) >= 0 {
				i++
			}
			number := string(text[start : i+1])
			if _, err := strconv.ParseInt(number, 10, 64); errors.Is(err, strconv.ErrRange) {
				return fmt.Errorf("its number %s has more than 64 bits: write it as {\"$numberDecimal\": ...}", number)
			}
		}
	}
	return nil
}
