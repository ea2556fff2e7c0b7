package schema

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// rowsAtOnce is how many bytes of rows one COPY takes. Rows wait here for a connection and never hold one: whatever parts
// a backup holds between each other, they cannot wait for one another.
const rowsAtOnce = 4 << 20

// rowPart takes a part with rows.
type rowPart struct {
	l      *loader
	counts *counts
	copy   string // the statement; empty until its line has come
	buffer []byte // what has come since the last COPY

	objects *relabel // where the rows refer to large objects
}

func (p *rowPart) Write(b []byte) (int, error) {
	if err := p.l.failed(); err != nil {
		return 0, err
	}
	if p.buffer == nil {
		p.buffer = p.l.buffer()
	}
	if p.objects != nil {
		p.objects.write(b)
	} else {
		p.buffer = append(p.buffer, b...)
	}
	if p.copy == "" {
		end := copyEnd(p.buffer)
		if end < 0 && len(p.buffer) < maxHeader {
			return len(b), nil
		}
		statement, columns, err := copyStatement(string(p.buffer[:max(end, 0)]), quote(p.l.t.Schema))
		if err != nil {
			return 0, p.l.fail(invalid("the backup is damaged: verify it", "part %s does not begin with a COPY", p.counts.part.Path))
		}
		p.copy = statement
		places := objectPlaces(p.l.columns, p.counts.part.Name, columns)
		rows := p.buffer[end+1:]
		if places == nil || len(p.l.objects) == 0 {
			p.buffer = append(p.buffer[:0], rows...)
		} else {
			p.buffer, rows = p.buffer[:0], bytes.Clone(rows)
			p.objects = &relabel{columns: places, to: p.l.now, out: func(b []byte) { p.buffer = append(p.buffer, b...) }}
			p.objects.write(rows)
		}
	}
	if len(p.buffer) >= rowsAtOnce && bytes.IndexByte(b, '\n') >= 0 {
		p.hand(false)
	}
	return len(b), nil
}

// Close hands on the last rows. Whether all were taken is known at the end.
func (p *rowPart) Close() error {
	if err := p.l.failed(); err != nil {
		return err
	}
	if !bytes.HasSuffix(p.buffer, []byte("\n"+endOfCopy)) && string(p.buffer) != endOfCopy || p.copy == "" {
		return p.l.fail(invalid("the backup is damaged: verify it", "part %s ends early", p.counts.part.Path))
	}
	p.hand(true)
	return p.l.failed()
}

// hand gives whole lines to a COPY; what comes after the last of them stays, and so does what may be the end's line.
func (p *rowPart) hand(last bool) {
	rows := p.buffer[:bytes.LastIndexByte(p.buffer, '\n')+1]
	if before, ends := bytes.CutSuffix(rows, []byte(endOfCopy)); ends && (len(before) == 0 || before[len(before)-1] == '\n') {
		rows = before
	}
	rest := p.buffer[len(rows):]
	if last {
		rest = nil
	}
	if len(rows) == 0 {
		return
	}
	if p.buffer = nil; len(rest) > 0 {
		p.buffer = append(p.l.buffer(), rest...)
	}
	p.counts.expected += int64(bytes.Count(rows, []byte{'\n'}))
	l := p.l
	l.jobs.Go(func() error {
		taken, err := l.copy(p.copy, rows)
		if err != nil {
			return l.fail(unloadable(p.counts.part.Name, err))
		}
		l.mu.Lock()
		p.counts.taken += taken
		l.mu.Unlock()
		select {
		case l.spare <- rows[:0]:
		default:
		}
		return nil
	})
}

// buffer gives an empty one, which may have been used before.
func (l *loader) buffer() []byte {
	select {
	case b := <-l.spare:
		return b
	default:
		return nil
	}
}

// copy runs one COPY in a transaction of its own. It need not wait for the disk: what comes last does.
func (l *loader) copy(statement string, rows []byte) (taken int64, err error) {
	ctx := l.ctx
	conn, err := l.w.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	g, err := l.r.guard(ctx, cmd("%s", tenant.LeaseFrom(ctx).HoldSQL()))
	if err != nil {
		return 0, err
	}
	defer g.release(ctx)
	defer rollback(ctx, conn)
	pg := conn.Conn().PgConn()
	opening := append([]command{cmd("BEGIN"), cmd("SET LOCAL synchronous_commit = off")}, l.r.readSettings(l.t, major(pg))...)
	if err := send(ctx, pg, opening); err != nil {
		return 0, err
	}
	tag, err := pg.CopyFrom(ctx, bytes.NewReader(rows), statement)
	if err != nil {
		return 0, err
	}
	return tag.RowsAffected(), g.commit(ctx, pg)
}

// maxHeader is how many bytes a part's COPY may have: 1,600 columns with the longest names.
const maxHeader = 1 << 20

// copyEnd is where the line of a part's COPY ends, -1 where it has not come yet. A column's name may have line ends in
// it.
func copyEnd(b []byte) int {
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte(";\n"))
		if i < 0 {
			return -1
		}
		from += i + 1
		if _, open := sqltext.Lex(string(b[:from])); open.What == "" {
			return from
		}
	}
}

// copyStatement makes the COPY of a part's first line into one of a schema: COPY :"tenant_schema".name (columns) FROM stdin;
// It is written anew from the names in it, so that nothing else of the line reaches the server. The columns
// are given by name too.
func copyStatement(line, schema string) (statement string, columns []string, err error) {
	tokens, open := sqltext.Lex(line)
	names := func(i int) bool { return i < len(tokens) && tokens[i].Name() != "" }
	if open.What != "" || !sqltext.Begins(tokens, "copy") || !sqltext.IsAt(tokens, 1, ":") || len(tokens) < 5 || tokens[2].Text != `"tenant_schema"` || !sqltext.IsAt(tokens, 3, ".") || !names(4) {
		return "", nil, errors.New("no COPY")
	}
	var list []string
	i := 5
	if sqltext.IsAt(tokens, i, "(") {
		for i++; names(i); i++ {
			columns, list = append(columns, tokens[i].Name()), append(list, quote(tokens[i].Name()))
			if i++; !sqltext.IsAt(tokens, i, ",") {
				break
			}
		}
		if !sqltext.IsAt(tokens, i, ")") {
			return "", nil, errors.New("no list of columns")
		}
		i++
	}
	if i+3 != len(tokens) || !tokens[i].Is("from") || !tokens[i+1].Is("stdin") || !sqltext.IsAt(tokens, i+2, ";") {
		return "", nil, errors.New("no end of COPY")
	}
	statement = "COPY " + schema + "." + quote(tokens[4].Name())
	if list != nil {
		statement += " (" + strings.Join(list, ", ") + ")"
	}
	return statement + " FROM STDIN", columns, nil
}

// unloadable says why a table's rows were not taken.
func unloadable(name string, err error) error {
	err = failure("load the rows of table "+name, err)
	var e *tenant.Error
	if errors.As(err, &e) && e.Hint == "" && strings.HasPrefix(e.Code, "2") {
		helped := *e
		helped.Hint = "the backup's rows do not fit the definitions: look at checks that call functions, or at a type of an extension"
		return &helped
	}
	return err
}

// counted compares how many rows were to be loaded with how many were.
func (l *loader) counted() error {
	for path, c := range l.loaded {
		if c.taken != c.expected || c.expected != c.part.Rows {
			return &tenant.Error{
				Kind: tenant.ErrDiffers, Store: tenant.KindPostgres, Hint: "verify the backup",
				Msg: fmt.Sprintf("part %s has %d rows, %d of them came and the server took %d", path, c.part.Rows, c.expected, c.taken),
			}
		}
	}
	return nil
}
