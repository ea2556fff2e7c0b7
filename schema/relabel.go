package schema

import (
	"bytes"
	"strconv"

	"github.com/tenantctl/tenantctl/schema/sqltext"
)

// relabel passes rows of COPY on with numbers of large objects in some columns replaced.
type relabel struct {
	columns []bool // by place: those that hold numbers of large objects
	to      func(number uint32) ([]byte, bool)
	out     func([]byte)

	column  int
	held    []byte // what has come of a value in such a column
	through bool   // the value is too long for a number, and passed on
}

// longestNumber is how many digits a number of a large object has at most.
const longestNumber = 10

func (r *relabel) write(p []byte) {
	for len(p) > 0 {
		end := bytes.IndexAny(p, "\t\n")
		if !r.of(r.column) || r.through {
			if end < 0 {
				r.out(p)
				return
			}
			r.out(p[:end+1])
			r.next(p[end])
			p = p[end+1:]
			continue
		}
		value := p
		if end >= 0 {
			value = p[:end]
		}
		r.held = append(r.held, value...)
		switch {
		case end >= 0:
			r.value()
			r.out(p[end : end+1])
			r.next(p[end])
			p = p[end+1:]
		case len(r.held) > longestNumber:
			r.out(r.held)
			r.held, r.through = r.held[:0], true
			return
		default:
			return
		}
	}
}

func (r *relabel) of(column int) bool { return column < len(r.columns) && r.columns[column] }

// next goes on after a value. COPY writes newlines and tabs within values with a backslash.
func (r *relabel) next(delimiter byte) {
	r.through = false
	if r.column++; delimiter == '\n' {
		r.column = 0
	}
}

// value passes a whole value on, or what replaces it.
func (r *relabel) value() {
	defer func() { r.held = r.held[:0] }()
	if len(r.held) <= longestNumber {
		number, err := strconv.ParseUint(string(r.held), 10, 32)
		if err == nil && r.held[0] != '0' && r.held[0] != '+' {
			if now, known := r.to(uint32(number)); known {
				r.out(now)
				return
			}
		}
	}
	r.out(r.held)
}

// objectPlaces tells which columns of a table's COPY hold numbers of large objects; nil for none.
func objectPlaces(columns []objectColumn, table string, names []string) []bool {
	var places []bool
	for i, name := range names {
		for _, c := range columns {
			if c.table == table && c.column == name {
				if places == nil {
					places = make([]bool, len(names))
				}
				places[i] = true
			}
		}
	}
	return places
}

// columnNames are those of a list of identifiers.
func columnNames(list string) (names []string) {
	tokens, _ := sqltext.Lex(list)
	for _, t := range tokens {
		if name := t.Name(); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// counted writes lines as they are, and counts them as relabel gives them.
type counted struct {
	to *lines
	as relabel
}

func (c *counted) Write(p []byte) (int, error) {
	c.as.write(p)
	return len(p), c.to.put(p)
}
