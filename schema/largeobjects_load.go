package schema

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

const (
	objectsPerLoad  = 200     // made in one transaction
	maxObjectLine   = 1 << 20 // bytes
	objectsGiven    = 200     // given another owner in one transaction, each with some of the server's locks
	objectOfRole    = " role" // follows the tenant's mark in the comment of an object that its role is to own
	objectKept      = " kept" // of one that the provisioning role owns
	objectsPartName = "the part with large objects"
)

// newObject is a large object that was made, by its number in the backup.
type newObject struct{ was, now uint32 }

// now is the number that an object has here.
func (l *loader) now(was uint32) ([]byte, bool) {
	i, found := slices.BinarySearchFunc(l.objects, was, func(o newObject, n uint32) int { return cmp.Compare(o.was, n) })
	if !found {
		return nil, false
	}
	return strconv.AppendUint(nil, uint64(l.objects[i].now), 10), true
}

// objectsPart makes the large objects of a backup, as the provisioning role: functions of PostgreSQL alone run in it. They
// bear the tenant's mark in a comment until somebody else owns them, so that a drop takes them away.
type objectsPart struct {
	l       *loader
	by      *Resource // whose connections do it
	rows    int64     // as the part tells
	met     int64
	last    uint32
	skipped map[uint32]bool // the tables that refer to them are not loaded
	line    []byte          // what has come of one

	made  []objectSaid // that the next transaction makes
	puts  []objectPut
	bytes int
}

type objectPut struct{ was, at, digits string }

func (p *objectsPart) Write(b []byte) (int, error) {
	if err := p.l.failed(); err != nil {
		return 0, err
	}
	for from := b; len(from) > 0; {
		end := bytes.IndexByte(from, '\n')
		if end < 0 {
			end = len(from)
		}
		if len(p.line)+end > maxObjectLine {
			return 0, p.damaged("has a line that is too long")
		}
		p.line = append(p.line, from[:end]...)
		if end == len(from) {
			break
		}
		if err := p.read(string(p.line)); err != nil {
			return 0, p.l.fail(err)
		}
		p.line, from = p.line[:0], from[end+1:]
	}
	return len(b), nil
}

func (p *objectsPart) damaged(format string, args ...any) error {
	return p.l.fail(invalid("the backup is damaged: verify it", "%s %s", objectsPartName, fmt.Sprintf(format, args...)))
}

// read takes a line. Those that are for psql alone say nothing else.
func (p *objectsPart) read(line string) error {
	if about, is := strings.CutPrefix(line, objectColumnLine); is {
		var name []string
		if err := json.Unmarshal([]byte(about), &name); err != nil || len(name) != 2 {
			return p.damaged("names no column in %s", sqltext.Show(line))
		}
		p.l.columns = append(p.l.columns, objectColumn{table: name[0], column: name[1]})
		return nil
	}
	if about, is := strings.CutPrefix(line, objectLine); is {
		return p.object(about)
	}
	put, is := strings.CutPrefix(line, objectPutLine)
	if !is {
		return nil
	}
	at, put, one := strings.Cut(put, objectPutData)
	digits, put, two := strings.Cut(put, objectPutOf)
	was, three := strings.CutSuffix(put, ";")
	number, err := strconv.ParseUint(was, 10, 32)
	_, wrong := strconv.ParseInt(at, 10, 63)
	if !one || !two || !three || err != nil || wrong != nil || strings.Trim(digits, "0123456789abcdef") != "" || uint32(number) > p.last {
		return p.damaged("has a piece that no dump writes")
	}
	if p.skipped[uint32(number)] {
		return nil
	}
	p.puts = append(p.puts, objectPut{was, at, digits})
	if p.bytes += len(digits); p.bytes >= rowsAtOnce {
		return p.hand()
	}
	return nil
}

// object begins one.
func (p *objectsPart) object(about string) error {
	var said objectSaid
	if err := json.Unmarshal([]byte(about), &said); err != nil || said.Number <= p.last {
		return p.damaged("does not tell of its objects in order")
	}
	p.last = said.Number
	p.met++
	if len(p.made) >= objectsPerLoad {
		if err := p.hand(); err != nil {
			return err
		}
	}
	if p.l.wanted != nil && !slices.ContainsFunc(said.In, func(i int) bool { return i >= 0 && i < len(p.l.columns) && p.l.wanted[p.l.columns[i].table] }) {
		p.skipped[said.Number] = true
		return nil
	}
	p.made = append(p.made, said)
	return nil
}

// Close ends the part.
func (p *objectsPart) Close() error {
	if err := p.l.failed(); err != nil {
		return err
	}
	if len(p.line) > 0 || p.met != p.rows {
		return p.damaged("tells of %d objects and should hold %d", p.met, p.rows)
	}
	return p.l.fail(p.hand())
}

// hand makes objects and writes pieces, in one transaction.
func (p *objectsPart) hand() error {
	if len(p.made) == 0 && len(p.puts) == 0 {
		return nil
	}
	l := p.l
	allowed, err := l.objectGrantees(p.by, p.made)
	if err != nil {
		return err
	}
	conn, err := p.by.acquire(l.ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var now []uint32
	var misread error
	known := len(l.objects)
	reads := func(*place) []command {
		now, misread = nil, nil
		c := cmd("SELECT pg_catalog.lo_create(0) FROM pg_catalog.generate_series(1, %d)", len(p.made))
		c.row = func(row [][]byte) {
			n, err := strconv.ParseUint(string(row[0]), 10, 32)
			misread = cmp.Or(misread, err)
			now = append(now, uint32(n))
		}
		return []command{c}
	}
	err = p.by.transact(l.ctx, conn, l.t, reads, func(at *place) ([]command, error) {
		if at.schema != tenant.Ours || misread != nil {
			return nil, cmp.Or(misread, at.ours(l.t))
		}
		l.objects = l.objects[:known]
		commands := unlimited(major(conn.Conn().PgConn()))
		for i, said := range p.made {
			l.objects = append(l.objects, newObject{said.Number, now[i]})
			commands = append(commands, l.claim(said, now[i], allowed)...)
		}
		for _, put := range p.puts {
			was, _ := strconv.ParseUint(put.was, 10, 32) // it was read before
			number, made := l.now(uint32(was))
			if !made {
				return nil, p.damaged("has a piece of object %d, of which it does not tell", was)
			}
			commands = append(commands, cmd("SELECT pg_catalog.lo_put(%s, %s, pg_catalog.decode('%s', 'hex'))", number, put.at, put.digits))
		}
		return commands, nil
	})
	p.made, p.puts, p.bytes = p.made[:0], p.puts[:0], 0
	return failure("load the large objects of schema "+l.t.Schema, err)
}

// claim marks an object and gives the rights on it.
func (l *loader) claim(said objectSaid, now uint32, allowed map[string]bool) []command {
	comment := mark(l.t) + objectKept
	if said.Role {
		comment = mark(l.t) + objectOfRole
	}
	number := strconv.FormatUint(uint64(now), 10)
	commands := []command{cmd("COMMENT ON LARGE OBJECT %s IS %s", number, text(comment))}
	for _, g := range said.Rights {
		switch {
		case g.Role && l.o.Role != "":
			commands = append(commands, cmd("%s", g.sql(number, quote(l.o.Role))))
		case g.Role:
		case g.To == "":
			commands = append(commands, cmd("%s", g.sql(number, "PUBLIC")))
		case allowed[g.To]:
			commands = append(commands, cmd("%s", g.sql(number, quote(g.To))))
		}
	}
	return commands
}

// objectGrantees are the roles that have rights on objects and get them here. It tells of the others once.
func (l *loader) objectGrantees(by *Resource, all []objectSaid) (map[string]bool, error) {
	allowed, asked := map[string]bool{}, map[string]bool{}
	for _, said := range all {
		for _, g := range said.Rights {
			if g.To != "" {
				asked[g.To], allowed[g.To] = true, true
			}
		}
	}
	left, err := l.withoutRights(by, asked)
	for name, why := range left {
		delete(allowed, name)
		l.o.Log(fmt.Sprintf("role %s had rights on large objects and %s: they are left out", name, why))
	}
	return allowed, err
}

// giveObjects gives the objects that were made to who is to own them: the tenant's role where it is made for this tenant,
// and the schema's owner where that is not the provisioning role. The others wait with their mark: those of the role of
// what is replaced until it is replaced.
func (l *loader) giveObjects() error {
	if len(l.objects) == 0 {
		return nil
	}
	gifts := map[string]string{objectKept: l.o.Owner, objectOfRole: ""}
	switch {
	case l.o.MakeRole:
		gifts[objectOfRole] = l.o.Role
	case l.o.Role == "":
		gifts[objectOfRole] = l.o.Owner
	}
	for kind, to := range gifts {
		if err := l.r.giveMarked(l.ctx, l.t, mark(l.t)+kind, to, ""); err != nil {
			return err
		}
	}
	return nil
}

// giveMarked gives objects with a comment, which the provisioning role owns, to a role, if one is named, and leaves them with
// another comment, or none.
func (r *Resource) giveMarked(ctx context.Context, t tenant.Tenant, comment, to, leave string) error {
	if to == "" && leave == "" {
		return nil
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	for last, more := "0", true; more; {
		var some []string
		reads := func(*place) []command {
			some = nil
			c := cmd(markedObjects, text(comment), last, objectsGiven)
			c.row = func(row [][]byte) { some = append(some, string(row[0])) }
			return []command{c}
		}
		err := r.transact(ctx, conn, t, reads, func(p *place) ([]command, error) {
			if more = len(some) == objectsGiven; len(some) == 0 {
				return nil, nil
			}
			var commands []command
			if to != "" {
				commands = append(commands, cmd("GRANT %s TO CURRENT_USER", quote(to)))
			}
			is := "NULL"
			if leave != "" {
				is = text(leave)
			}
			for _, number := range some {
				commands = append(commands, cmd("COMMENT ON LARGE OBJECT %s IS %s", number, is))
				if to != "" {
					commands = append(commands, cmd("ALTER LARGE OBJECT %s OWNER TO %s", number, quote(to)))
				}
			}
			return commands, nil
		})
		if err != nil {
			return refusal("give large objects of schema "+t.Schema+" to their owner", conn, t, err)
		}
		if more {
			last = some[len(some)-1]
		}
	}
	return nil
}

// SettleObjects gives t's role the large objects that were loaded for beside. Those to which only the replaced schema refers
// are the provisioning role's from then on, with the mark of beside.
func (r *Resource) SettleObjects(ctx context.Context, t, beside tenant.Tenant) error {
	role, left := "", mark(t)+objectKept
	if r.hasRole(t) {
		role, left = t.Role, ""
	}
	if err := r.giveMarked(ctx, t, mark(beside)+objectOfRole, role, left); err != nil {
		return err
	}
	if err := r.giveMarked(ctx, t, mark(beside)+objectKept, "", mark(t)+objectKept); err != nil {
		return err
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	commands, err := r.retireObjects(ctx, conn, t, beside)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(commands, objectsGiven) {
		err := r.transact(ctx, conn, t, nil, func(*place) ([]command, error) {
			if role != "" {
				some = append([]command{cmd("GRANT %s TO CURRENT_USER", quote(role))}, some...)
			}
			return some, nil
		})
		if err != nil {
			return refusal("take the large objects of schema "+beside.Schema+" from role "+t.Role, conn, t, err)
		}
	}
	return nil
}

// retireObjects are the commands that take large objects from t to which only beside's schema refers.
func (r *Resource) retireObjects(ctx context.Context, conn *pgxpool.Conn, t, beside tenant.Tenant) (commands []command, err error) {
	defer rollback(ctx, conn)
	pg := conn.Conn().PgConn()
	opening := append([]command{cmd("BEGIN READ ONLY")}, r.readSettings(t, major(pg))...)
	if err := send(ctx, pg, opening); err != nil {
		return nil, failure("look for large objects of schema "+beside.Schema, err)
	}
	old, err := r.objectColumns(ctx, pg, beside)
	if old = readableOf(old); err != nil || len(old) == 0 {
		return nil, err
	}
	used := "SELECT 0::oid AS n"
	if columns, err := r.objectColumns(ctx, pg, t); err != nil {
		return nil, err
	} else if columns = readableOf(columns); len(columns) > 0 {
		used = references(t.Schema, columns)
	}
	c := cmd(retiredObjects, references(beside.Schema, old), used, text(t.Role), text(mark(t)))
	c.row = func(row [][]byte) {
		kind, ofRole := objectKept, is(row[1])
		if ofRole {
			kind = objectOfRole
		}
		commands = append(commands, cmd("COMMENT ON LARGE OBJECT %s IS %s", row[0], text(mark(beside)+kind)))
		if ofRole { // after its mark: what is neither the role's nor marked would be nobody's
			commands = append(commands, cmd("ALTER LARGE OBJECT %s OWNER TO CURRENT_USER", row[0]))
		}
	}
	err = send(ctx, pg, []command{c})
	return commands, failure("look for large objects of schema "+beside.Schema, err)
}

const retiredObjects = `SELECT m.oid, u.rolname = %[3]s AND u.rolname <> current_user FROM (%[1]s) f JOIN pg_largeobject_metadata m ON m.oid = f.n
	JOIN pg_roles u ON u.oid = m.lomowner
WHERE (u.rolname = %[3]s AND u.rolname <> current_user OR u.rolname = current_user AND obj_description(m.oid, 'pg_largeobject') = %[4]s || '` + objectKept + `')
	AND m.oid NOT IN (SELECT n FROM (%[2]s) g) ORDER BY m.oid`

// ownObjects are the large objects of the provisioning role. They are found by their owner, which is indexed, but for the
// superuser that initdb made: that one is pinned, and pg_shdepend tells nothing of it.
const ownObjects = `SELECT s.objid AS oid FROM pg_shdepend s
	WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = current_user) AND s.deptype = 'o'
		AND s.classid = 'pg_largeobject'::regclass AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
	UNION ALL SELECT m.oid FROM pg_largeobject_metadata m
	WHERE (SELECT oid < 16384 FROM pg_roles WHERE rolname = current_user) AND m.lomowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)`

const markedObjects = `SELECT o.oid FROM (` + ownObjects + `) o
	JOIN pg_description d ON d.objoid = o.oid AND d.classoid = 'pg_largeobject'::regclass AND d.objsubid = 0
WHERE d.description = %s AND o.oid > %s ORDER BY 1 LIMIT %d`
