package schema

import (
	"context"
	"regexp"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

// qualified is a name with a schema's before it, wherever it stands in SQL: in a statement, a literal or a routine's body.
var qualified = regexp.MustCompile(`("(?:[^"]|"")+"|[A-Za-z_][\w$]*)\.("(?:[^"]|"")+"|[A-Za-z_][\w$]*)`)

// needs lets the worker use what the definitions name outside the schema, as far as the provisioning role may hand that on:
// a table that a foreign key refers to, a function in a check. It gets nothing of the catalog and of any tenant. The
// rights go with the login. A worker that works as the schema's owner has what that has.
func (w *worker) needs(ctx context.Context, sql string) error {
	if w.owner != "" {
		return nil
	}
	seen := map[string]bool{}
	var schemas, names []string
	for _, m := range qualified.FindAllStringSubmatch(sql, -1) {
		if seen[m[0]] {
			continue
		}
		seen[m[0]] = true
		schemas, names = append(schemas, text(bare(m[1]))), append(names, text(bare(m[2])))
	}
	if len(schemas) == 0 {
		return nil
	}
	conn, err := w.keeper.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var grants []command
	list := cmd(grantable, strings.Join(schemas, ", "), strings.Join(names, ", "), text(anyMark))
	list.row = func(row [][]byte) { grants = append(grants, cmd("GRANT %s TO %s", row[0], quote(w.login.role))) }
	err = w.keeper.transact(ctx, conn, w.t, func(*place) []command { grants = nil; return []command{list} }, func(p *place) ([]command, error) {
		return grants, p.ours(w.t)
	})
	return refusal("let a worker use what schema "+w.t.Schema+" needs outside it", conn, tenant.Tenant{Schema: w.t.Schema}, err)
}

// bare is a name as it is without quotes.
func bare(name string) string {
	if inner, found := strings.CutPrefix(name, `"`); found {
		return strings.ReplaceAll(strings.TrimSuffix(inner, `"`), `""`, `"`)
	}
	return strings.ToLower(name)
}

// grantable are the rights on named objects outside that the provisioning role may hand on.
const grantable = `WITH q AS MATERIALIZED (
	SELECT n.oid, n.nspname, q.name FROM unnest(ARRAY[%s]::text[], ARRAY[%s]::text[]) q(schema, name) JOIN pg_namespace n ON n.nspname = q.schema
		LEFT JOIN pg_description d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0
	WHERE n.nspname <> 'tenantctl' AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname, 'pg_') AND NOT starts_with(coalesce(d.description, ''), %s)
)
SELECT DISTINCT format('USAGE ON SCHEMA %%I', nspname) FROM q WHERE has_schema_privilege(oid, 'USAGE WITH GRANT OPTION')
UNION ALL
SELECT DISTINCT r.may || ' ON ' || CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || format('%%I.%%I', q.nspname, c.relname)
FROM q JOIN pg_class c ON c.relnamespace = q.oid AND c.relname = q.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
	CROSS JOIN LATERAL (SELECT CASE WHEN c.relkind = 'S' THEN 'USAGE' ELSE u END AS may FROM unnest(ARRAY['SELECT', 'REFERENCES']) u) r
WHERE CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE WITH GRANT OPTION') ELSE has_table_privilege(c.oid, r.may || ' WITH GRANT OPTION') END
UNION ALL
SELECT DISTINCT 'EXECUTE ON ROUTINE ' || p.oid::regprocedure FROM q JOIN pg_proc p ON p.pronamespace = q.oid AND p.proname = q.name
WHERE has_function_privilege(p.oid, 'EXECUTE WITH GRANT OPTION') AND NOT p.prosecdef
UNION ALL
SELECT DISTINCT 'USAGE ON TYPE ' || t.oid::regtype FROM q JOIN pg_type t ON t.typnamespace = q.oid AND t.typname = q.name AND (t.typtype IN ('d', 'e', 'r') OR t.typtype = 'c' AND EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
WHERE has_type_privilege(t.oid, 'USAGE WITH GRANT OPTION')`
