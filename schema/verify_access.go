package schema

import (
	"github.com/tenantctl/tenantctl/schema/migrationfile"
)

// accessSQL finds in adopted schemas what the application cannot use. An application logs in as the schema's owner, or as a
// role that is given rights by default on what the owner makes. What the provisioning role owns is mended. What the
// schema's owner itself keeps from the application may be meant to be so, and is told only where all rights are lacking.
const accessSQL = `, k AS (
	SELECT * FROM (VALUES ('r'::"char", '{SELECT,INSERT,UPDATE,DELETE}'::text[]), ('S', '{USAGE}')) v(objtype, rights)
), app AS MATERIALIZED (
	SELECT w.i, w.schema, w.nspowner, o.oid AS login, o.rolname AS name, k.objtype, k.rights
	FROM w JOIN pg_roles o ON o.oid = w.nspowner CROSS JOIN k WHERE w.asked AND w.ours AND w.lives AND w.theirs AND o.rolcanlogin
	UNION ALL
	SELECT w.i, w.schema, w.nspowner, u.oid, u.rolname, k.objtype, array_agg(DISTINCT g.privilege_type)
	FROM w JOIN pg_default_acl d ON d.defaclrole = w.nspowner AND d.defaclnamespace IN (0, w.nsp) JOIN k ON k.objtype = d.defaclobjtype
		CROSS JOIN LATERAL aclexplode(d.defaclacl) g JOIN pg_roles u ON u.oid = g.grantee LEFT JOIN tr ON tr.oid = u.oid
	WHERE w.asked AND w.ours AND w.lives AND w.theirs AND u.oid <> w.nspowner AND tr.oid IS NULL AND g.privilege_type = ANY (k.rights)
	GROUP BY 1, 2, 3, 4, 5, 6
), l AS (
	SELECT app.*, b.label, b.target, b.owner, b.owned, c.relname, array_length(app.rights, 1) AS needs, array_agg(r ORDER BY r) AS lacks
	FROM app JOIN b USING (i) JOIN pg_class c ON b.class = 'pg_class'::regclass AND c.oid = b.oid AND b.columns = '' CROSS JOIN unnest(app.rights) r
	WHERE c.relname NOT IN ('` + migrationfile.VersionTable + `', '` + migrationfile.VersionTable + `_id_seq') AND app.objtype = CASE c.relkind WHEN 'S' THEN 'S' ELSE 'r' END AND b.owner <> app.login
		AND (c.relkind IN ('r', 'p', 'S') OR r = 'SELECT')
		AND NOT CASE c.relkind WHEN 'S' THEN has_sequence_privilege(app.login, c.oid, r) ELSE has_table_privilege(app.login, c.oid, r) END
	GROUP BY app.i, app.schema, app.nspowner, app.login, app.name, app.objtype, app.rights, b.label, b.target, b.owner, b.owned, c.relname
)
SELECT l.i, CASE WHEN l.owner = l.nspowner THEN '` + ruleNoAccess + `' ELSE '` + ruleAccess + `' END, l.label,
	CASE WHEN l.login = l.nspowner THEN 'the schema''s owner' ELSE 'the application''s role ' || replace(l.name, l.schema, 'SCHEMA') END || ' lacks ' || array_to_string(l.lacks, ', '),
	CASE WHEN l.owner <> me.oid OR l.owner = l.nspowner THEN '' WHEN l.login = l.nspowner THEN format('ALTER %s OWNER TO %I', l.target, l.name)
		ELSE format('GRANT %s ON %s TO %I', array_to_string(l.lacks, ', '), l.target, l.name) END
FROM l JOIN me ON true WHERE (l.owner <> l.nspowner OR l.needs = array_length(l.lacks, 1)) AND (l.owned OR l.login <> l.nspowner OR l.owner <> me.oid)
ORDER BY l.i, l.label, l.name`
