package schema

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tenantctl/tenantctl/tenant"
)

// Listed reads what another tool's tables, a query or a pattern list, in a transaction that can only read.
func (r *Resource) Listed(ctx context.Context, s tenant.Source) ([]tenant.Listed, error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, failure("begin to read the tenants of "+s.From, err)
	}
	defer rollback(ctx, conn)
	l := lister{tx}
	var out []tenant.Listed
	switch s.From {
	case tenant.FromDjango:
		out, err = l.django(ctx, s)
	case tenant.FromApartment:
		out, err = l.apartment(ctx, s)
	case tenant.FromMigrator:
		out, err = l.migrator(ctx)
	case tenant.FromQuery:
		out, err = l.query(ctx, s.Query)
	case tenant.FromPattern:
		out, err = l.pattern(ctx, s.Pattern)
	default:
		return nil, invalid("the sources are "+strings.Join(tenant.Sources(), ", "), "there is no source %s", s.From)
	}
	if s.From == tenant.FromQuery && code(err) == readOnly {
		err = invalid("write SELECT name, schema[, database[, domain]]", "the query may only read")
	}
	return out, failure("read the tenants of "+s.From, err)
}

type lister struct{ tx pgx.Tx }

// rows reads name, schema, database and domain; the rows of one schema are one place with all their domains.
func (l lister) rows(ctx context.Context, sql string, args ...any) ([]tenant.Listed, error) {
	rows, err := l.tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []tenant.Listed
	at := map[[3]string]int{}
	for rows.Next() {
		columns := make([]pgtype.Text, len(rows.FieldDescriptions()))
		if len(columns) < 2 || len(columns) > 4 {
			return nil, invalid("write SELECT name, schema[, database[, domain]]", "the query gives %d columns", len(columns))
		}
		scan := make([]any, len(columns))
		for i := range columns {
			scan[i] = &columns[i]
		}
		if err := rows.Scan(scan...); err != nil {
			return nil, invalid("cast each column: name::text", "the query gives other columns than text")
		}
		columns = append(columns, make([]pgtype.Text, 4-len(columns))...)
		key := [3]string{columns[0].String, columns[1].String, columns[2].String}
		i, ok := at[key]
		if !ok {
			i, at[key] = len(out), len(out)
			out = append(out, tenant.Listed{Name: key[0], Schema: key[1], Database: key[2]})
		}
		if d := columns[3].String; d != "" {
			out[i].Domains = append(out[i].Domains, d)
		}
	}
	return out, rows.Err()
}

func (l lister) query(ctx context.Context, sql string) ([]tenant.Listed, error) {
	if err := oneStatement(sql); err != nil {
		return nil, err
	}
	return l.rows(ctx, sql)
}

// pattern lists the schemas whose names are as the pattern says: % stands for the tenant's name, all else for itself.
func (l lister) pattern(ctx context.Context, pattern string) ([]tenant.Listed, error) {
	before, after, ok := strings.Cut(pattern, "%")
	if !ok || strings.Contains(after, "%") {
		return nil, invalid("write one % for the tenant's name, such as 'tenant_%'", "the pattern %s has not one %%", quote(pattern))
	}
	return l.rows(ctx, `SELECT substr(nspname, length($1) + 1, length(nspname) - length($1) - length($2)), nspname::text FROM pg_namespace
		WHERE starts_with(nspname, $1) AND right(nspname, length($2)) = $2 AND length(nspname) > length($1) + length($2)
			AND nspname !~ '^pg_(toast|temp|toast_temp)' ORDER BY nspname`, before, after)
}

// django reads the tables of django-tenants, whose models have names of their own: they are known by their columns.
func (l lister) django(ctx context.Context, s tenant.Source) ([]tenant.Listed, error) {
	tenants, err := l.table(ctx, "tenants", "--tenants-table", s.TenantsTable, "schema_name")
	if err != nil {
		return nil, err
	}
	domains, err := l.table(ctx, "domains", "--domains-table", s.DomainsTable, "domain", "tenant_id", "is_primary")
	if err != nil {
		return nil, err
	}
	var key string
	if err := l.tx.QueryRow(ctx, `SELECT coalesce((SELECT quote_ident(a.attname) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = $1::regclass AND i.indisprimary AND i.indnkeyatts = 1), 'id')`, tenants).Scan(&key); err != nil {
		return nil, err
	}
	return l.rows(ctx, fmt.Sprintf(`SELECT t.schema_name::text, t.schema_name::text, NULL::text, d.domain::text FROM %s t LEFT JOIN %s d ON d.tenant_id = t.%s
		ORDER BY t.schema_name, d.is_primary DESC, d.domain`, tenants, domains, key))
}

// apartment reads the table that holds the names of schemas where one is named; else every schema with Rails's own table
// of versions is one.
func (l lister) apartment(ctx context.Context, s tenant.Source) ([]tenant.Listed, error) {
	if s.TenantsTable == "" {
		return l.rows(ctx, `SELECT n.nspname::text, n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relname = 'schema_migrations' AND c.relkind IN ('r', 'p')
				AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'version' AND NOT a.attisdropped) ORDER BY n.nspname`)
	}
	table, err := l.table(ctx, "tenants", "--tenants-table", s.TenantsTable, s.TenantsColumn)
	if err != nil {
		return nil, err
	}
	column := quote(s.TenantsColumn)
	return l.rows(ctx, fmt.Sprintf(`SELECT DISTINCT %[1]s::text, %[1]s::text FROM %[2]s WHERE %[1]s IS NOT NULL ORDER BY 1`, column, table))
}

func (l lister) migrator(ctx context.Context) ([]tenant.Listed, error) {
	const table = "migrator.migrator_tenants"
	if _, err := l.table(ctx, "tenants", "--from query", table, "name"); err != nil {
		return nil, err
	}
	return l.rows(ctx, `SELECT name::text, name::text FROM `+table+` ORDER BY name`)
}

// table is the one table with these columns, written as SQL: the one that is named, or the only one in public.
func (l lister) table(ctx context.Context, what, flag, named string, columns ...string) (string, error) {
	rows, err := l.tx.Query(ctx, `SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v') AND (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = ANY($1::text[]) AND a.attnum > 0 AND NOT a.attisdropped) = cardinality($1::text[])
			AND CASE WHEN $2 = '' THEN n.nspname = 'public' ELSE $2 IN (n.nspname || '.' || c.relname, CASE n.nspname WHEN 'public' THEN c.relname END) END
		ORDER BY 1`, columns, named)
	if err != nil {
		return "", err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	list := strings.Join(columns, ", ")
	switch {
	case err != nil:
		return "", err
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1 && named == "":
		return "", invalid("say which: "+flag+" "+found[0], "several tables in public could be that of the %s, with %s: %s", what, list, strings.Join(found, ", "))
	case named != "":
		return "", invalid("give another by "+flag, "there is no table %s with the columns %s", named, list)
	}
	return "", invalid("name it by "+flag, "no table in public has the columns of the %s, %s", what, list)
}
