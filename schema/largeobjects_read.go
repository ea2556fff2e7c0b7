package schema

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantctl/tenantctl/tenant"
)

const (
	objectPiece   = 256 << 10 // bytes of an object in one statement
	objectsAtOnce = 200       // whose first pieces one query reads
	piecesAtOnce  = 16        // of one object that one query reads
)

// objectSaid is what a dump says of a large object.
type objectSaid struct {
	Number uint32        `json:"oid"`
	Role   bool          `json:"role"`             // it is the tenant's role's, and else the owner's of the schema
	Rights []objectRight `json:"rights,omitempty"` // of others than its owner
	In     []int         `json:"in"`               // the columns that refer to it, by their place in the list
}

type objectRight struct {
	To     string `json:"to,omitempty"` // empty for all
	Role   bool   `json:"role,omitempty"`
	Update bool   `json:"update,omitempty"` // and else it is to read
	Grants bool   `json:"grants,omitempty"`
}

// objectSink takes large objects, in order of their numbers. Pieces of objects that are told of together come mixed, those
// of one in order.
type objectSink interface {
	object(said objectSaid) error
	piece(number uint32, at int64, digits, raw []byte) error
	told() error // all pieces of those that were told of have come
}

// objectReader reads a tenant's large objects in a transaction that sees one moment.
type objectReader struct {
	r       *Resource
	pg      *pgconn.PgConn
	t       tenant.Tenant
	columns []objectColumn
	to      objectSink
	me      string
}

// run reads all of them, with the rights of those whose they are. No code of the tenant's runs in it.
func (o *objectReader) run(ctx context.Context) error {
	who := cmd("SELECT current_user")
	who.row = func(row [][]byte) { o.me = string(row[0]) }
	if err := send(ctx, o.pg, []command{who, cmd("DECLARE objects NO SCROLL CURSOR FOR %s", o.sql())}); err != nil {
		return failure("look for large objects of schema "+o.t.Schema, err)
	}
	for {
		var list []objectSaid
		var readers []string
		var misread error
		fetch := cmd("FETCH %d FROM objects", objectsAtOnce)
		fetch.row = func(row [][]byte) {
			var said objectSaid
			misread = cmp.Or(misread, json.Unmarshal(row[1], &said))
			readers, list = append(readers, string(row[0])), append(list, said)
		}
		if err := cmp.Or(send(ctx, o.pg, []command{fetch}), misread); err != nil {
			return failure("read the large objects of schema "+o.t.Schema, err)
		}
		if len(list) == 0 {
			return nil
		}
		for from, to := 0, 1; from < len(list); to++ { // those that one role reads together, in order of their numbers
			if to == len(list) || readers[to] != readers[from] {
				if err := o.read(ctx, readers[from], list[from:to]); err != nil {
					return failure("read the large objects of schema "+o.t.Schema, err)
				}
				from = to
			}
		}
	}
}

// sql gives of each object with whose rights it is read, and what is said of it as JSON.
func (o *objectReader) sql() string {
	return fmt.Sprintf(`WITH w AS MATERIALIZED (%s)
SELECT CASE WHEN q.first THEN w.role ELSE w.second END::regrole, json_build_object('oid', q.oid::int8,
	'role', w.role IS NOT NULL AND (q.lomowner = w.role OR q.lomowner NOT IN (w.me, w.owner)), 'in', q.ks, 'rights', (SELECT coalesce(json_agg(json_build_object(
		'to', CASE WHEN g.grantee <> 0 AND g.grantee IS DISTINCT FROM w.role THEN pg_get_userbyid(g.grantee) END, 'role', coalesce(g.grantee = w.role, false),
		'update', g.privilege_type = 'UPDATE', 'grants', g.is_grantable) ORDER BY g.grantee, g.privilege_type), '[]')
		FROM aclexplode(coalesce(q.lomacl, acldefault('L', q.lomowner))) g
		WHERE g.grantee <> q.lomowner OR q.lomowner NOT IN (w.me, w.owner, coalesce(w.role, w.me))))
FROM (SELECT m.oid, m.lomowner, m.lomacl, f.ks, coalesce(%[3]s, false) AS first, coalesce(%[4]s, false) AS second
	FROM (%[2]s) f JOIN pg_largeobject_metadata m ON m.oid = f.n, w) q, w
WHERE q.first OR q.second ORDER BY q.oid`,
		o.r.objectReaders(o.t), references(o.t.Schema, o.columns), mayReadObject("w.role"), mayReadObject("w.second"))
}

// read reads objects with the rights of a role.
func (o *objectReader) read(ctx context.Context, reader string, list []objectSaid) error {
	var numbers []string
	for _, said := range list {
		numbers = append(numbers, strconv.FormatUint(uint64(said.Number), 10))
	}
	var failed error
	var long []uint32
	i := 0
	first := cmd("SELECT pg_catalog.lo_get(n, 0, %d) FROM pg_catalog.unnest('{%s}'::pg_catalog.oid[]) WITH ORDINALITY u(n, i) ORDER BY i",
		objectPiece, strings.Join(numbers, ","))
	first.row = func(row [][]byte) {
		failed = cmp.Or(failed, o.to.object(list[i]))
		if o.piece(list[i].Number, 0, row[0], &failed) {
			long = append(long, list[i].Number)
		}
		i++
	}
	err := send(ctx, o.pg, []command{cmd("SET LOCAL ROLE %s", reader), first})
	for _, number := range long {
		if err == nil && failed == nil {
			err = o.rest(ctx, number, &failed)
		}
	}
	if err == nil && failed == nil {
		err = send(ctx, o.pg, []command{cmd("SET LOCAL ROLE %s", quote(o.me))})
	}
	return cmp.Or(failed, err, o.to.told())
}

// rest reads what follows the first piece of an object.
func (o *objectReader) rest(ctx context.Context, number uint32, failed *error) error {
	at := int64(objectPiece)
	for more := true; more; {
		c := cmd("SELECT pg_catalog.lo_get(%d, %d + %d * i::pg_catalog.int8, %[3]d) FROM pg_catalog.generate_series(0, %d) i ORDER BY i",
			number, at, objectPiece, piecesAtOnce-1)
		c.row = func(row [][]byte) {
			if more {
				more = o.piece(number, at, row[0], failed)
			}
			at += objectPiece
		}
		if err := send(ctx, o.pg, []command{c}); err != nil || *failed != nil {
			return err
		}
	}
	return nil
}

// piece hands one on, which the server gives as \x and hex digits, and tells whether another may follow.
func (o *objectReader) piece(number uint32, at int64, value []byte, failed *error) (more bool) {
	if *failed != nil || len(value) <= len(`\x`) {
		return false
	}
	digits := value[len(`\x`):]
	raw := make([]byte, hex.DecodedLen(len(digits)))
	if _, *failed = hex.Decode(raw, digits); *failed == nil {
		*failed = o.to.piece(number, at, digits, raw)
	}
	return *failed == nil && len(raw) == objectPiece
}
