package legacy

import "slices"

// COPY's text format: fields with tabs between them, \N for NULL, a newline at the end, and escapes for what would be
// taken for one of these.

// copyEscape gives for each byte the letter that stands for it behind a backslash; 0 where it stands for itself.
var copyEscape = [256]byte{'\b': 'b', '\t': 't', '\n': 'n', '\v': 'v', '\f': 'f', '\r': 'r', '\\': '\\'}

// appendField appends a value to a line, and the tab behind it.
func appendField[T []byte | string](line []byte, value T) []byte {
	return append(appendEscaped(line, value), '\t')
}

// appendEscaped appends a piece of a field's value.
func appendEscaped[T []byte | string](line []byte, value T) []byte {
	done := 0
	for i := range len(value) {
		if e := copyEscape[value[i]]; e != 0 {
			line = append(append(line, value[done:i]...), '\\', e)
			done = i + 1
		}
	}
	return append(line, value[done:]...)
}

// appendNull appends NULL to a line, and the tab behind it.
func appendNull(line []byte) []byte { return append(line, '\\', 'N', '\t') }

// endLine puts the newline in the place of the last field's tab.
func endLine(line []byte) []byte {
	if len(line) == 0 {
		return append(line, '\n')
	}
	line[len(line)-1] = '\n'
	return line
}

// splitLine takes a line, with or without its newline, apart into its values; nil for NULL. They point into line, or
// into buf where something was escaped. Both slices are used again from call to call.
func splitLine(line []byte, fields [][]byte, buf []byte) ([][]byte, []byte) {
	fields = fields[:0]
	buf = slices.Grow(buf[:0], len(line)) // no value is longer than its escapes: the values before never move
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	start, escaped := 0, false
	for i := 0; ; i++ {
		switch {
		case i == len(line) || line[i] == '\t':
			field := line[start:i:i]
			switch {
			case string(field) == `\N`:
				field = nil
			case escaped:
				at := len(buf)
				buf = unescape(buf, field)
				field = buf[at:len(buf):len(buf)]
			}
			fields = append(fields, field)
			if i == len(line) {
				return fields, buf
			}
			start, escaped = i+1, false
		case line[i] == '\\':
			escaped = true
			i = min(i+1, len(line)-1)
		}
	}
}

// unescape appends the value of a field that is not NULL.
func unescape(buf, field []byte) []byte {
	for i := 0; i < len(field); i++ {
		c := field[i]
		if c == '\\' && i+1 < len(field) {
			i++
			switch c = field[i]; {
			case c == 'b':
				c = '\b'
			case c == 't':
				c = '\t'
			case c == 'n':
				c = '\n'
			case c == 'v':
				c = '\v'
			case c == 'f':
				c = '\f'
			case c == 'r':
				c = '\r'
			case c >= '0' && c <= '7':
				c -= '0'
				for n := 1; n < 3 && i+1 < len(field) && field[i+1] >= '0' && field[i+1] <= '7'; n++ {
					i++
					c = c<<3 | (field[i] - '0')
				}
			case c == 'x' && i+1 < len(field) && unhex[field[i+1]] >= 0:
				c = 0
				for n := 0; n < 2 && i+1 < len(field) && unhex[field[i+1]] >= 0; n++ {
					i++
					c = c<<4 | byte(unhex[field[i]])
				}
			}
		}
		buf = append(buf, c)
	}
	return buf
}

// unhex gives the value of a hexadecimal digit; -1 for all else.
var unhex = func() (digits [256]int8) {
	for c := range digits {
		digits[c] = -1
	}
	for i, c := range []byte("0123456789abcdef") {
		digits[c] = int8(i)
	}
	for i, c := range []byte("ABCDEF") {
		digits[c] = int8(10 + i)
	}
	return digits
}()

const hexDigits = "0123456789abcdef"

// appendBytea appends a value as PostgreSQL reads a bytea, and the tab behind it.
func appendBytea(line, value []byte) []byte {
	line = append(line, '\\', '\\', 'x')
	for _, c := range value {
		line = append(line, hexDigits[c>>4], hexDigits[c&15])
	}
	return append(line, '\t')
}
