package schema

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

// columnsVerified is how many columns one query reads.
const columnsVerified = 50

// verifyObjects finds numbers of large objects that are gone, in columns that are for such numbers: those of type lo, those
// that the configuration names or an lo_manage trigger takes care of, and those of type oid in which another number is of
// one, in this tenant or in another of these. No code of the tenants' runs.
func (r *Resource) verifyObjects(ctx context.Context, ts []tenant.Tenant, found func(tenant.Fault)) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	defer rollback(ctx, conn)
	pg := conn.Conn().PgConn()
	var schemas []string
	at := map[string]tenant.Tenant{}
	for _, t := range ts {
		schemas, at[t.Schema] = append(schemas, t.Schema), t
	}
	type asked struct {
		objectColumn
		schema  string
		certain bool
		lost    string // how many of its numbers are of nothing
	}
	var all []asked
	ofObjects := map[[2]string]bool{} // tables and columns that refer to objects somewhere
	list := cmd(objectColumnsSQL, textArray(schemas), textArray(r.cfg.LargeObjectColumns))
	list.row = func(row [][]byte) {
		c := asked{objectColumn{string(row[1]), string(row[2]), string(row[3]), is(row[4])}, string(row[0]), is(row[6]), "0"}
		if c.readable && !is(row[5]) && slices.Contains(objectTypes, c.of) { // policies may be code of the tenant's
			all = append(all, c)
		}
	}
	opening := append([]command{cmd("BEGIN READ ONLY"), cmd("SET LOCAL search_path = pg_catalog"), cmd("SET LOCAL row_security = off")}, unlimited(major(pg))...)
	if err := send(ctx, pg, append(opening, list)); err != nil {
		return failure("look for columns that refer to large objects", err)
	}
	for some := range slices.Chunk(all, columnsVerified) {
		var each []string
		for i, c := range some {
			each = append(each, fmt.Sprintf(`SELECT %d, count(*) FILTER (WHERE m.oid IS NULL), count(m.oid)
FROM (%s) q LEFT JOIN pg_largeobject_metadata m ON m.oid = q.n WHERE q.n <> 0`, i, c.values(c.schema)))
		}
		q := cmd("%s", strings.Join(each, " UNION ALL "))
		q.row = func(row [][]byte) {
			i, err := strconv.Atoi(string(row[0]))
			if err != nil {
				return
			}
			if some[i].lost = string(row[1]); some[i].certain || string(row[2]) != "0" {
				ofObjects[[2]string{some[i].table, some[i].column}] = true
			}
		}
		if err := send(ctx, pg, []command{q}); err != nil {
			return failure("look for large objects that are lost", err)
		}
	}
	for _, c := range all {
		if c.lost != "0" && ofObjects[[2]string{c.table, c.column}] {
			found(tenant.Fault{
				Tenant: at[c.schema].ID, Rule: ruleLostObject, Object: fmt.Sprintf("column %s.%s", ident(c.table), ident(c.column)),
				Message: fmt.Sprintf("holds %s numbers of large objects that are not there", c.lost), Hint: wayOutOf[ruleLostObject],
			})
		}
	}
	return nil
}
