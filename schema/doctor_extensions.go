package schema

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// examineExtensions finds extensions in tenants' schemas, which serve all tenants and would be dropped with one, what else
// of a tenant's other schemas depend on, and whether the schema for extensions is fit for all tenants.
func (r *Resource) examineExtensions(ctx context.Context, d *doctor, conn *pgxpool.Conn) error {
	var installed, names, fixed []string
	ext := cmd(misplacedSQL)
	ext.row = func(row [][]byte) {
		installed = append(installed, fmt.Sprintf("%s in %s", row[0], row[1]))
		names = append(names, string(row[0]))
		if !is(row[2]) {
			fixed = append(fixed, string(row[0]))
		}
	}
	var shared []string
	used := cmd(sharedSQL, likeOthers)
	used.row = func(row [][]byte) { shared = append(shared, string(row[0])) }
	if err := send(ctx, conn.Conn().PgConn(), []command{ext, used}); err != nil {
		return failure("look for extensions in tenants' schemas", err)
	}
	if len(installed) == 0 {
		d.ok("extensions", "no extension is installed in a tenant's schema")
	} else {
		d.check("extensions", false, tenant.CheckError, tenant.MoveExtensions(names, fixed, r.extensionsSchema()), "",
			"installed in a tenant's schema, with which it would be dropped for all: %s", strings.Join(installed, ", "))
	}
	if len(shared) == 0 {
		d.ok("shared objects", "nothing outside depends on a tenant's objects")
	} else {
		d.check("shared objects", false, tenant.CheckWarning,
			"move them out of the tenants' schemas: these tenants cannot be purged before", "",
			"used from outside of their tenant's schema: %s", strings.Join(shared, ", "))
	}
	if r.cfg.ExtensionsSchema == "" {
		return nil
	}
	return r.examineExtensionsSchema(ctx, d, conn)
}

// extensionsSchema is the one that is configured, or the one that the documentation proposes.
func (r *Resource) extensionsSchema() string {
	if r.cfg.ExtensionsSchema == "" {
		return "extensions"
	}
	return r.cfg.ExtensionsSchema
}

// misplacedSQL finds the extensions in schemas that bear a tenant's tag.
const misplacedSQL = `SELECT e.extname, n.nspname, e.extrelocatable FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
	LEFT JOIN pg_description d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0
WHERE starts_with(d.description, '` + anyMark + `') ORDER BY 1`

// sharedSQL finds tables and the like of tenants that constraints, views, defaults and functions elsewhere depend on.
const sharedSQL = `WITH ms AS MATERIALIZED (
	SELECT n.oid, n.nspname FROM pg_namespace n
		JOIN pg_description d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0
	WHERE starts_with(d.description, '` + anyMark + `')
), e AS (
	SELECT coalesce(c.relnamespace, p.pronamespace) AS nsp, v.relnamespace AS refnsp, v.relname AS name
	FROM pg_depend d JOIN pg_class v ON d.refclassid = 'pg_class'::regclass AND v.oid = d.refobjid
		LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
		LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
		LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
		LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
		LEFT JOIN pg_class c ON c.oid = CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid
			ELSE coalesce(w.ev_class, nullif(k.conrelid, 0), a.adrelid) END
	WHERE d.deptype IN ('n', 'a') AND v.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
)
SELECT DISTINCT quote_ident(ms.nspname) || '.' || quote_ident(e.name) FROM e JOIN ms ON ms.oid = e.refnsp
	JOIN pg_namespace n ON n.oid = e.nsp WHERE e.nsp <> e.refnsp AND n.nspname !~ '^pg_' ORDER BY 1 LIMIT %d`

// examineExtensionsSchema looks whether the schema behind every tenant's on the search_path is there, can be used by all,
// filled by nobody else, and holds nothing but what extensions have made.
func (r *Resource) examineExtensionsSchema(ctx context.Context, d *doctor, conn *pgxpool.Conn) error {
	name := quote(r.cfg.ExtensionsSchema)
	there, usable, open := false, false, false
	var own []string
	look := cmd(`SELECT has_schema_privilege('public', n.oid, 'USAGE'), has_schema_privilege('public', n.oid, 'CREATE')
FROM pg_namespace n WHERE n.nspname = %s`, text(r.cfg.ExtensionsSchema))
	look.row = func(row [][]byte) { there, usable, open = true, is(row[0]), is(row[1]) }
	stray := cmd(strayInExtensionsSQL, text(r.cfg.ExtensionsSchema))
	stray.row = func(row [][]byte) { own = append(own, string(row[0])) }
	if err := send(ctx, conn.Conn().PgConn(), []command{look, stray}); err != nil {
		return failure("look at schema "+r.cfg.ExtensionsSchema, err)
	}
	const check = "extensions schema"
	switch {
	case !there:
		d.check(check, false, tenant.CheckError, fmt.Sprintf("CREATE SCHEMA %s; GRANT USAGE ON SCHEMA %s TO PUBLIC", name, name), "",
			"schema %s (postgres.extensions_schema) does not exist", r.cfg.ExtensionsSchema)
	case !usable:
		d.check(check, false, tenant.CheckError, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO PUBLIC", name), "",
			"the tenants' roles may not use schema %s", r.cfg.ExtensionsSchema)
	case open:
		d.check(check, false, tenant.CheckError, fmt.Sprintf("REVOKE CREATE ON SCHEMA %s FROM PUBLIC", name), "",
			"every tenant can make objects in schema %s, which all others would find", r.cfg.ExtensionsSchema)
	default:
		d.check(check, len(own) == 0, tenant.CheckError,
			"move them to another schema: a tenant that lacks a table of that name would use this one",
			"schema %[1]s holds extensions alone", "schema %[1]s holds what no extension has made: %[2]s",
			r.cfg.ExtensionsSchema, strings.Join(own, ", "))
	}
	return nil
}

const strayInExtensionsSQL = `SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
	AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY 1 LIMIT 5`
