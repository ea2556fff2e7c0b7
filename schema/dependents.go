package schema

import (
	"context"
	_ "embed"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

// Dependents lists what depends on the objects in a tenant's schema from outside it.
func (r *Resource) Dependents(ctx context.Context, t tenant.Tenant) ([]tenant.Dependent, error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	defer rollback(ctx, conn)
	var list []tenant.Dependent
	pg := conn.Conn().PgConn()
	err = send(ctx, pg, []command{
		cmd("BEGIN READ ONLY"), cmd("SET LOCAL search_path = pg_catalog"),
		dependents(t.Schema, major(pg), &list), cmd("COMMIT"),
	})
	return list, failure("look for what depends on schema "+t.Schema, err)
}

// dependents reads them into a list, with definitions that are whole where search_path is pg_catalog alone.
func dependents(schema string, major int, list *[]tenant.Dependent) command {
	filter, columns, wholeSchemas := "NULL::text", "NULL::text", ""
	if major >= 15 {
		filter, columns = publishedRows, publishedColumns
		wholeSchemas = publishedSchemas
	}
	sql := strings.NewReplacer("<schema>", text(quote(schema)), "<filter>", filter, "<columns>", columns,
		"<published schemas>", wholeSchemas)
	c := command{sql: sql.Replace(dependentsSQL), count: 1}
	c.row = func(row [][]byte) {
		d := tenant.Dependent{
			Kind: string(row[0]), Object: string(row[1]), Schema: string(row[2]), On: string(row[3]),
			Extension: string(row[4]), Free: string(row[5]), Dropped: is(row[6]), Repoints: is(row[7]), Fixed: is(row[10]),
		}
		for i, into := range []*[]string{&d.Unmake, &d.Remake} {
			if s := string(row[8+i]); s != "" {
				*into = []string{s}
			}
		}
		*list = append(*list, d)
	}
	return c
}

//go:embed dependents.sql
var dependentsSQL string

// What only PostgreSQL 15 and newer can be asked of publications.
const (
	publishedRows    = `pg_get_expr(b.prqual, b.prrelid)`
	publishedColumns = `(SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
		FROM pg_attribute a WHERE a.attrelid = b.prrelid AND a.attnum = ANY (b.prattrs::int2[]))`
	publishedSchemas = `UNION ALL
SELECT 'publication', 'publication ' || quote_ident(p.pubname), NULL, 'schema ' || n.name, NULL,
	format('ALTER PUBLICATION %I DROP TABLES IN SCHEMA %s', p.pubname, n.name), false,
	(SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
	format('ALTER PUBLICATION %I DROP TABLES IN SCHEMA %s', p.pubname, n.name),
	format('ALTER PUBLICATION %I ADD TABLES IN SCHEMA %s', p.pubname, n.name), false
FROM n JOIN pg_publication_namespace s ON s.pnnspid = n.oid JOIN pg_publication p ON p.oid = s.pnpubid`
)
