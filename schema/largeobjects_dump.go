package schema

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

const (
	partObjects = tenant.KindPostgres + "/large-objects.sql"
	objectsName = "large objects" // of the part
)

// Lines of the part, which psql runs after the rows are there. tenantctl reads those that begin with objectColumnLine,
// objectLine and objectPutLine, and runs none of them as they stand.
const (
	objectColumnLine = "-- column "
	objectLine       = "-- object "
	objectPutLine    = "SELECT pg_catalog.lo_put(now, "
	objectPutData    = ", pg_catalog.decode('"
	objectPutOf      = "', 'hex')) FROM pg_temp.large_objects WHERE was = "
	objectsBegin     = `-- Large objects: run this by psql after the rows are there and before post-data.sql.
BEGIN;
CREATE TEMPORARY TABLE large_objects (was oid PRIMARY KEY, now oid NOT NULL, of_role boolean NOT NULL) ON COMMIT DROP;
`
	objectsEnd = `GRANT :"tenant_role" TO CURRENT_USER;
SELECT pg_catalog.format('ALTER LARGE OBJECT %s OWNER TO %I', now, :'tenant_role') FROM pg_temp.large_objects WHERE of_role
\gexec
COMMIT;
`
)

// sql is the GRANT for an object, with its number and the grantee written as they are given.
func (g objectRight) sql(number, to string) string {
	right, option := "SELECT", ""
	if g.Update {
		right = "UPDATE"
	}
	if g.Grants {
		option = " WITH GRANT OPTION"
	}
	return fmt.Sprintf("GRANT %s ON LARGE OBJECT %s TO %s%s", right, number, to, option)
}

// objectSum is the sum of a large object's bytes: the same whatever its number is.
type objectSum struct {
	number uint32
	sum    uint64
}

// knownObjects are sums of large objects by number, in order.
type knownObjects []objectSum

// text is what stands for an object in the sum of a row.
func (k knownObjects) text(number uint32) ([]byte, bool) {
	i, found := slices.BinarySearchFunc(k, number, func(s objectSum, n uint32) int { return cmp.Compare(s.number, n) })
	if !found {
		return nil, false
	}
	return fmt.Appendf(nil, "object:%016x", k[i].sum), true
}

// objects writes the tenant's large objects, before the rows that refer to them.
func (d *dump) objects(ctx context.Context) error {
	pg := d.conn.Conn().PgConn()
	var err error
	if d.columns, err = d.r.objectColumns(ctx, pg, d.t); err != nil || len(d.columns) == 0 {
		return err
	}
	w := &objectsWriter{d: d, sums: map[uint32]*xxhash.Digest{}}
	o := objectReader{r: d.r, pg: pg, t: d.t, columns: d.columns, to: w}
	if err := o.run(ctx); err != nil {
		return err
	}
	d.known = w.known
	return w.end()
}

// objectsWriter writes the part.
type objectsWriter struct {
	d     *dump
	f     tenant.PartFile
	l     *lines
	known knownObjects
	sum   uint64
	sums  map[uint32]*xxhash.Digest // of those that are being written
	list  []uint32                  // those, in order
}

func (w *objectsWriter) put(texts ...string) error {
	for _, s := range texts {
		if err := w.l.put([]byte(s)); err != nil {
			return err
		}
	}
	return nil
}

// object writes the statements that make one.
func (w *objectsWriter) object(said objectSaid) error {
	if err := w.begin(); err != nil {
		return err
	}
	w.sums[said.Number], w.list = xxhash.New(), append(w.list, said.Number)
	about, err := json.Marshal(said)
	if err != nil {
		return err
	}
	number := strconv.FormatUint(uint64(said.Number), 10)
	err = w.put(objectLine, string(about), "\nINSERT INTO pg_temp.large_objects VALUES (", number, ", pg_catalog.lo_create(0), ", strconv.FormatBool(said.Role), ");\n")
	for _, g := range said.Rights {
		to, value := "%I", ", "+text(g.To)
		switch {
		case g.Role:
			value = ", :'tenant_role'"
		case g.To == "":
			to, value = "PUBLIC", ""
		}
		if err == nil {
			err = w.put("SELECT pg_catalog.format('", g.sql("%s", to), "', now", value, ") FROM pg_temp.large_objects WHERE was = ", number, "\n\\gexec\n")
		}
	}
	return err
}

// begin begins the part with the first object.
func (w *objectsWriter) begin() (err error) {
	if w.f != nil {
		return nil
	}
	if w.f, err = w.d.w.Create(partObjects, objectsName); err != nil {
		return err
	}
	w.l = newLines(w.f)
	if err := w.put(objectsBegin); err != nil {
		return err
	}
	for _, c := range w.d.columns {
		name, err := json.Marshal([]string{c.table, c.column})
		if err == nil {
			err = w.put(objectColumnLine, string(name), "\n")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *objectsWriter) piece(number uint32, at int64, digits, raw []byte) error {
	_, _ = w.sums[number].Write(raw) // never fails
	return w.put(objectPutLine, strconv.FormatInt(at, 10), objectPutData, string(digits), objectPutOf, strconv.FormatUint(uint64(number), 10), ";\n")
}

func (w *objectsWriter) told() error {
	for _, number := range w.list {
		sum := w.sums[number].Sum64()
		w.known = append(w.known, objectSum{number, sum})
		w.sum += xxhash.Sum64String(strconv.FormatUint(sum, 16))
	}
	clear(w.sums)
	w.list = w.list[:0]
	return nil
}

// end writes how psql rewrites the columns, and ends the part.
func (w *objectsWriter) end() error {
	if w.f == nil {
		return nil
	}
	for _, c := range w.d.columns {
		now := "m.now"
		switch c.of {
		case "text", "character varying":
			now = "m.now::pg_catalog.text"
		case "integer", "bigint":
			now = "m.now::pg_catalog.int8"
		}
		err := w.put("UPDATE ", sqltext.Variables.Ident, ".", ident(c.table), " t SET ", ident(c.column), " = ", now,
			" FROM pg_temp.large_objects m WHERE t.", ident(c.column), "::pg_catalog.text = m.was::pg_catalog.text;\n")
		if err != nil {
			return err
		}
	}
	if err := w.put(objectsEnd); err != nil {
		return err
	}
	if err := w.l.flush(); err != nil {
		return err
	}
	return w.f.End(int64(len(w.known)), w.sum)
}

// joinObjectReaders makes the provisioning role a member of the roles with whose rights it reads a tenant's large objects,
// where there are any.
func (r *Resource) joinObjectReaders(ctx context.Context, t tenant.Tenant) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	pg := conn.Conn().PgConn()
	may := "MEMBER"
	if major(pg) >= 16 {
		may = "SET"
	}
	var roles []string
	c := cmd(`SELECT x::regrole FROM (%s) w CROSS JOIN unnest(ARRAY[w.role, w.second]) x
WHERE x <> w.me AND NOT pg_has_role(w.me, x, '%s') AND EXISTS (SELECT FROM pg_largeobject_metadata)`, r.objectReaders(t), may)
	c.row = func(row [][]byte) { roles = append(roles, string(row[0])) }
	if err := send(ctx, pg, []command{c}); err != nil {
		return failure("ask who may read large objects of schema "+t.Schema, err)
	}
	if len(roles) == 0 {
		return nil
	}
	if columns, err := r.objectColumns(ctx, pg, t); err != nil || len(columns) == 0 {
		return err
	}
	for _, role := range roles {
		err := send(ctx, pg, []command{cmd("GRANT %s TO CURRENT_USER", role)})
		if code(err) == insufficientRights {
			return &tenant.Error{
				Kind: tenant.ErrRights, Store: tenant.KindPostgres, Tenant: t.Name, Code: insufficientRights,
				Msg:  fmt.Sprintf("the provisioning role may not read the large objects of schema %s with the rights of role %s", t.Schema, role),
				Hint: fmt.Sprintf("as a superuser: GRANT %s TO %s", role, quote(r.pool.Config().ConnConfig.User)),
			}
		}
		if err != nil && !raced(err) { // another process may have been faster
			return failure("read large objects with the rights of role "+role, err)
		}
	}
	return nil
}
