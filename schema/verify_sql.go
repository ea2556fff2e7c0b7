package schema

import (
	"github.com/tenantctl/tenantctl/schema/migrationfile"
)

// Rules of verify.
const (
	ruleMissingSchema = "missing-schema"
	ruleForeignSchema = "foreign-schema"
	ruleMissingRole   = "missing-role"
	ruleAttributes    = "role-attributes"
	ruleMember        = "role-member"
	ruleForeignRole   = "foreign-role"
	ruleRoleSetting   = "role-setting"
	ruleNotLockedOut  = "not-locked-out"
	rulePublicGrant   = "public-grant"
	ruleForeignGrant  = "foreign-grant"
	ruleReachesOut    = "reaches-out"
	ruleReachedInto   = "reached-into"
	ruleReadsReplaced = "reads-replaced"
	ruleDefiner       = "security-definer"
	ruleDefinerPinned = "security-definer-pinned"
	ruleUnsafePath    = "unsafe-search-path"
	ruleInvalidIndex  = "invalid-index"
	ruleRowSecurity   = "row-security-off"
	ruleLostObject    = "large-object-lost"
	ruleAccess        = "application-access"
	ruleNoAccess      = "application-without-rights"
)

// inquiry is a question about all tenants at once. Each row of its answer is a fault: the tenant's number, the rule, the
// object, the message, and the statements that put it right, separated by "; " and empty where nothing does.
type inquiry struct {
	ofRoles bool // only where tenants have roles
	tells   bool // nothing is done about what it finds
	sql     string
}

// subjects0 are the tenants that are asked about with their schemas and roles (w), those of them that migrate or are
// locked, the roles of all tenants (tr), and the provisioning role (me), whose CREATEROLE is narrow from PostgreSQL 16 on: it
// takes only what it has itself or has given. Where a tenant was adopted without a role of its own there is none to judge;
// the owners in what was adopted are the other tool's (theirs), and what the provisioning role owns there is not as it should be.
const subjects0 = `WITH w AS MATERIALIZED (
	SELECT x.*, x.state IN ('active', 'suspended') AS lives, x.state <> 'active' AS locked, n.oid AS nsp, n.nspowner, n.nspacl, coalesce(split_part(d.description, ' ', 1) = x.mark, false) AS ours,
		coalesce(split_part(d.description, ' ', 2) = 'replaced', false) AS replaced,
		u.oid AS anyrole, CASE WHEN split_part(e.description, ' ', 1) = x.mark THEN u.oid END AS role
	FROM jsonb_to_recordset(current_setting('tenantctl.ask')::jsonb) AS x(i integer, schema text, mark text, rolname text, state text, asked boolean, theirs boolean, behind text)
		LEFT JOIN pg_namespace n ON n.nspname = x.schema
		LEFT JOIN pg_description d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0
		LEFT JOIN pg_roles u ON u.rolname = x.rolname
		LEFT JOIN pg_shdescription e ON e.objoid = u.oid AND e.classoid = 'pg_authid'::regclass
), tr AS MATERIALIZED (
	SELECT u.oid, u.rolname FROM pg_shdescription e JOIN pg_roles u ON u.oid = e.objoid WHERE e.classoid = 'pg_authid'::regclass AND starts_with(e.description, '` + markPrefix + `')
), me AS (SELECT *, current_setting('server_version_num')::int >= 160000 AS narrow FROM pg_roles WHERE rolname = current_user)
`

var inquiries = []inquiry{
	{sql: `SELECT i, CASE WHEN nsp IS NULL THEN '` + ruleMissingSchema + `' ELSE '` + ruleForeignSchema + `' END, '',
		CASE WHEN nsp IS NULL THEN 'the schema does not exist' ELSE 'the schema does not bear the tenant''s ownership tag' END, '' FROM w WHERE asked AND NOT ours AND (nsp IS NOT NULL OR state <> 'deleting') ORDER BY i`},
	{ofRoles: true, sql: `SELECT i, CASE WHEN anyrole IS NULL THEN '` + ruleMissingRole + `' ELSE '` + ruleForeignRole + `' END, '',
		CASE WHEN anyrole IS NULL THEN 'the role does not exist' ELSE 'the role does not bear the tenant''s ownership tag' END, '' FROM w WHERE asked AND ours AND (lives OR anyrole IS NOT NULL) AND role IS NULL AND rolname <> '' ORDER BY i`},
	{ofRoles: true, sql: `SELECT w.i, '` + ruleAttributes + `', '', 'the role has ' || a.names, CASE WHEN a.may THEN format('ALTER ROLE %I%s', w.rolname, a.without) ELSE '' END
	FROM w JOIN pg_roles u ON u.oid = w.role JOIN me ON true CROSS JOIN LATERAL (
		SELECT may, string_agg(name, ', ' ORDER BY name) AS names, string_agg(' NO' || name, '' ORDER BY name) AS without
		FROM (VALUES ('SUPERUSER', u.rolsuper, false), ('CREATEDB', u.rolcreatedb, me.rolcreatedb OR NOT me.narrow), ('CREATEROLE', u.rolcreaterole, true), ('REPLICATION', u.rolreplication, me.rolreplication AND me.narrow),
				('BYPASSRLS', u.rolbypassrls, me.rolbypassrls AND me.narrow), ('INHERIT', u.rolinherit, true)) v(name, has, mine),
			LATERAL (SELECT me.rolsuper OR mine AND NOT u.rolsuper AND (me.narrow OR NOT u.rolreplication)) m(may)
		WHERE has GROUP BY may
	) a WHERE w.asked ORDER BY w.i, a.names`},
	{ofRoles: true, sql: `SELECT w.i, '` + ruleMember + `', '', 'the role is a member of ' || CASE WHEN tr.oid IS NULL THEN g.rolname ELSE 'another tenant''s role, ' || g.rolname END,
		CASE WHEN NOT me.narrow THEN format('REVOKE %I FROM %I', g.rolname, w.rolname)
			WHEN pg_has_role(m.grantor, 'USAGE') AND pg_has_role(g.oid, 'MEMBER WITH ADMIN OPTION') THEN format('REVOKE %I FROM %I GRANTED BY %I', g.rolname, w.rolname, pg_get_userbyid(m.grantor)) ELSE '' END
	FROM w JOIN me ON true JOIN pg_auth_members m ON m.member = w.role JOIN pg_roles g ON g.oid = m.roleid LEFT JOIN tr ON tr.oid = g.oid WHERE w.asked ORDER BY w.i, g.rolname`},
	{ofRoles: true, sql: `SELECT w.i, 'role-search-path', '', CASE WHEN bad.path IS NULL THEN 'the role has no search_path of its own' ELSE 'the role''s search_path is not what it has to be: ' || replace(bad.path, w.schema, 'SCHEMA') END,
		format('ALTER ROLE %I%s SET search_path = %s', w.rolname, CASE WHEN bad.here THEN format(' IN DATABASE %I', current_database()) END, quote_ident(w.schema) || w.behind)
	FROM w CROSS JOIN LATERAL (SELECT s.setdatabase <> 0 AS here, substr(c, length('search_path=') + 1) AS path FROM (VALUES (0)) one LEFT JOIN pg_db_role_setting s ON s.setrole = w.role
			AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) AND EXISTS (SELECT FROM unnest(s.setconfig) c WHERE starts_with(c, 'search_path='))
		LEFT JOIN unnest(s.setconfig) c ON starts_with(c, 'search_path=') ORDER BY s.setdatabase DESC NULLS LAST LIMIT 1) bad
	WHERE w.asked AND w.role IS NOT NULL AND replace(bad.path, ', ', ',') IS DISTINCT FROM w.schema || replace(w.behind, ', ', ',') AND replace(bad.path, ', ', ',') IS DISTINCT FROM quote_ident(w.schema) || replace(w.behind, ', ', ',') AND replace(bad.path, '"', '') IS DISTINCT FROM w.schema || w.behind ORDER BY w.i`},
	{ofRoles: true, sql: `SELECT w.i, '` + ruleRoleSetting + `', '', 'the role has a setting by which it works as another role: ' || c,
		format('ALTER ROLE %I%s RESET role', w.rolname, CASE WHEN s.setdatabase <> 0 THEN format(' IN DATABASE %I', d.datname) END)
	FROM w JOIN pg_db_role_setting s ON s.setrole = w.role LEFT JOIN pg_database d ON d.oid = s.setdatabase CROSS JOIN LATERAL unnest(s.setconfig) c
	WHERE w.asked AND starts_with(c, 'role=') AND lower(c) <> 'role=none' ORDER BY w.i, c`},
	{ofRoles: true, sql: `SELECT w.i, '` + ruleNotLockedOut + `', '', 'the tenant is ' || w.state || ', and its role can ' || concat_ws(' and ', CASE WHEN u.rolcanlogin THEN 'log in' END, CASE WHEN g.can THEN 'use the schema' END),
		format('ALTER ROLE %I NOLOGIN; REVOKE USAGE ON SCHEMA %I FROM %I', w.rolname, w.schema, w.rolname)
	FROM w JOIN pg_roles u ON u.oid = w.role CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM aclexplode(w.nspacl) WHERE grantee = w.role AND privilege_type = 'USAGE') AS can) g
	WHERE w.asked AND w.ours AND w.locked AND (u.rolcanlogin OR g.can) ORDER BY w.i`},
	{ofRoles: true, sql: `SELECT w.i, 'locked-out', '', CASE WHEN u.rolcanlogin THEN 'the tenant is active, and the role''s password is no longer valid' ELSE 'the tenant is active, and its role cannot log in' END,
		format('ALTER ROLE %I LOGIN', w.rolname) || CASE WHEN u.rolvaliduntil <= now() THEN ' VALID UNTIL ''infinity''' ELSE '' END
	FROM w JOIN pg_roles u ON u.oid = w.role WHERE w.asked AND NOT w.locked AND (NOT u.rolcanlogin OR u.rolvaliduntil <= now()) ORDER BY w.i`},
	{sql: `SELECT w.i, 'schema-owner', '', 'the schema is owned by ' || CASE WHEN w.nspowner = w.role THEN 'the tenant''s role' ELSE pg_get_userbyid(w.nspowner)::text END || ', not by ' || current_user, format('ALTER SCHEMA %I OWNER TO %I', w.schema, current_user)
	FROM w JOIN me ON true WHERE w.asked AND w.ours AND w.nspowner <> me.oid AND NOT w.theirs ORDER BY w.i`},
	{sql: objectsSQL + accessSQL},
	{sql: objectsSQL + `SELECT b.i, 'object-owner', b.label, 'is owned by ' || CASE WHEN b.owner = w.role THEN 'the tenant''s role' ELSE pg_get_userbyid(b.owner)::text END || ', not by the schema''s owner', format('ALTER %s OWNER TO %I', b.target, pg_get_userbyid(w.nspowner))
	FROM b JOIN w USING (i) JOIN me ON true WHERE b.owned AND b.owner <> w.nspowner AND (b.owner = me.oid) = w.theirs AND w.asked
		AND NOT (b.class = 'pg_proc'::regclass AND (b.owner IS NOT DISTINCT FROM w.role OR b.owner = to_regrole(quote_ident(me.rolname || '_nobody'))) AND EXISTS (SELECT FROM pg_proc f WHERE f.oid = b.oid AND f.prosecdef)) -- as a restore leaves them
	ORDER BY b.i, b.label`},
	{sql: objectsSQL + grantsSQL},
	{ofRoles: true, sql: defaultsSQL},
	{tells: true, sql: dependsSQL},
	{tells: true, sql: `SELECT w.i, '` + ruleReadsReplaced + `', quote_ident(c.relname), 'was replaced by a restore and is used from outside by publication ' || quote_ident(p.pubname), ''
	FROM w JOIN pg_class c ON c.relnamespace = w.nsp JOIN pg_publication_rel b ON b.prrelid = c.oid JOIN pg_publication p ON p.oid = b.prpubid
	WHERE w.asked AND w.ours AND w.replaced ORDER BY w.i, c.relname, p.pubname`},
	{tells: true, sql: `SELECT w.i, CASE WHEN p.unsafe AND p.path IS NOT NULL THEN '` + ruleUnsafePath + `' WHEN p.path IS NULL THEN '` + ruleDefiner + `' ELSE '` + ruleDefinerPinned + `' END,
		'function ' || p.name || '(' || replace(p.args, w.schema || '.', '') || ')',
		CASE WHEN p.unsafe AND p.path IS NOT NULL THEN 'has a search_path of its own that goes beyond the schema: ' || replace(p.path, w.schema, 'SCHEMA') WHEN p.path IS NULL THEN 'is SECURITY DEFINER with the search_path of its caller' ELSE 'is SECURITY DEFINER' END, ''
	FROM w JOIN (
		SELECT f.pronamespace, f.proname AS name, pg_get_function_identity_arguments(f.oid) AS args, substr(c, length('search_path=') + 1) AS path, f.prosecdef, f.proowner, f.oid, n.nspname,
			EXISTS (SELECT FROM unnest(string_to_array(substr(c, length('search_path=') + 1), ',')) item WHERE btrim(item, ' "') NOT IN ('', 'pg_catalog', 'pg_temp', n.nspname, ltrim(current_setting('tenantctl.behind', true), ', '))) AS unsafe
		FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace LEFT JOIN LATERAL (SELECT c FROM unnest(f.proconfig) c WHERE starts_with(c, 'search_path=')) g(c) ON true
		WHERE f.prosecdef OR f.proconfig IS NOT NULL
	) p ON p.pronamespace = w.nsp AND (p.prosecdef AND p.proowner IS DISTINCT FROM w.role AND p.proowner IS DISTINCT FROM to_regrole(quote_ident(current_user || '_nobody')) OR p.unsafe)
	WHERE w.asked AND w.ours AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e') ORDER BY w.i, p.name`},
	{tells: true, sql: `SELECT w.i, '` + ruleInvalidIndex + `', 'index ' || quote_ident(c.relname), 'is not valid: nobody reads it, and every write keeps it up', ''
	FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN w ON w.nsp = c.relnamespace WHERE w.asked AND w.ours AND c.relkind = 'i' AND NOT (x.indisvalid AND x.indisready) ORDER BY w.i, c.relname`},
	{tells: true, sql: `SELECT i, '` + ruleRowSecurity + `', 'table ' || quote_ident(relname), 'has row-level security off, and most tenants have it on', '' FROM (
		SELECT w.i, w.asked, c.relname, c.relrowsecurity, count(*) FILTER (WHERE c.relrowsecurity) OVER (PARTITION BY c.relname) AS "on", count(*) OVER (PARTITION BY c.relname) AS of
		FROM w JOIN pg_class c ON c.relnamespace = w.nsp WHERE w.ours AND w.lives AND c.relkind IN ('r', 'p')
	) t WHERE asked AND NOT relrowsecurity AND "on" * 2 > of ORDER BY i, relname`},
}

// objectsSQL are what is in the schemas and can be granted: its label, what GRANT calls it, its owner, its rights, and
// those that the tenant's role has to have. What an extension made is the extension's; a sequence that belongs to a
// column follows its table's owner.
const objectsSQL = `, b AS MATERIALIZED (
	SELECT w.i, CASE c.relkind WHEN 'S' THEN 'sequence ' WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table ' ELSE 'table ' END || quote_ident(c.relname) AS label, '' AS columns,
		CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || quote_ident(w.schema) || '.' || quote_ident(c.relname) AS target,
		c.relowner AS owner, coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)) AS acl,
		CASE WHEN c.relname = '` + migrationfile.VersionTable + `' THEN '{SELECT}' WHEN c.relname = '` + migrationfile.VersionTable + `_id_seq' THEN '{}' WHEN c.relkind = 'S' THEN '{USAGE,SELECT,UPDATE}' ELSE '{SELECT,INSERT,UPDATE,DELETE}' END::text[] AS rights,
		true AS needed, c.relkind <> 'S' OR NOT EXISTS (SELECT FROM pg_depend a WHERE a.classid = 'pg_class'::regclass AND a.objid = c.oid AND a.deptype IN ('a', 'i') AND a.refclassid = 'pg_class'::regclass) AS owned, 'pg_class'::regclass AS class, c.oid
	FROM w JOIN pg_class c ON c.relnamespace = w.nsp AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') WHERE w.asked AND w.ours
	UNION ALL
	SELECT w.i, 'column ' || quote_ident(c.relname) || '.' || quote_ident(a.attname), ' (' || quote_ident(a.attname) || ')', 'TABLE ' || quote_ident(w.schema) || '.' || quote_ident(c.relname), c.relowner, a.attacl,
		CASE WHEN c.relname = '` + migrationfile.VersionTable + `' THEN '{SELECT}' ELSE '{SELECT,INSERT,UPDATE}' END::text[], false, false, 'pg_class'::regclass, c.oid
	FROM w JOIN pg_class c ON c.relnamespace = w.nsp AND c.relkind IN ('r', 'p', 'v', 'm', 'f') JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped WHERE w.asked AND w.ours
	UNION ALL
	SELECT w.i, 'function ' || quote_ident(p.proname) || '(' || replace(pg_get_function_identity_arguments(p.oid), quote_ident(w.schema) || '.', '') || ')', '',
		'ROUTINE ' || quote_ident(w.schema) || '.' || quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')',
		p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)), '{EXECUTE}', true, true, 'pg_proc'::regclass, p.oid
	FROM w JOIN pg_proc p ON p.pronamespace = w.nsp WHERE w.asked AND w.ours
	UNION ALL
	SELECT w.i, 'type ' || quote_ident(t.typname), '', 'TYPE ' || quote_ident(w.schema) || '.' || quote_ident(t.typname), t.typowner, coalesce(t.typacl, acldefault('T', t.typowner)), '{USAGE}', true, true, 'pg_type'::regclass, t.oid
	FROM w JOIN pg_type t ON t.typnamespace = w.nsp LEFT JOIN pg_class c ON c.oid = t.typrelid WHERE w.asked AND w.ours AND (t.typtype IN ('d', 'e', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
	UNION ALL
	SELECT w.i, 'schema', '', 'SCHEMA ' || quote_ident(w.schema), w.nspowner, coalesce(w.nspacl, acldefault('n', w.nspowner)), '{USAGE}', NOT w.locked, false, 'pg_namespace'::regclass, w.nsp FROM w WHERE w.asked AND w.ours
)
`

// grantsSQL finds rights of everybody, of other tenants' roles, rights that the tenant's role should not have, and those
// that it lacks. Of what is kept of a deleted tenant only the schema counts: nobody reaches what is in it without a right
// to use it.
const grantsSQL = `, h AS (
	SELECT b.i, b.label, b.columns, b.target, b.rights, b.needed, w.role, w.rolname, w.lives, w.locked,
		string_agg(g.privilege_type, ', ' ORDER BY g.privilege_type) FILTER (WHERE g.grantee = 0) AS everybody,
		string_agg(DISTINCT tr.rolname::text, ', ') FILTER (WHERE g.grantee <> b.owner AND g.grantee <> coalesce(w.role, 0)) AS others,
		string_agg(DISTINCT quote_ident(tr.rolname), ', ') FILTER (WHERE g.grantee <> b.owner AND g.grantee <> coalesce(w.role, 0)) AS otherroles,
		string_agg(g.privilege_type, ', ' ORDER BY g.privilege_type) FILTER (WHERE g.grantee = w.role AND g.grantee <> b.owner AND NOT g.privilege_type = ANY (b.rights)) AS wide,
		bool_or(g.is_grantable) FILTER (WHERE g.grantee = w.role AND g.grantee <> b.owner) AS passes,
		array_agg(g.privilege_type) FILTER (WHERE g.grantee = w.role) AS has
	FROM b JOIN w USING (i) LEFT JOIN LATERAL aclexplode(b.acl) g ON true LEFT JOIN tr ON tr.oid = g.grantee
	WHERE (w.lives OR b.label = 'schema') AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = b.class AND e.objid = b.oid AND e.deptype = 'e')
	GROUP BY b.i, b.label, b.columns, b.target, b.rights, b.needed, b.owner, w.role, w.rolname, w.lives, w.locked
)
SELECT i, '` + rulePublicGrant + `', label, 'is granted to PUBLIC: ' || everybody, format('REVOKE ALL%s ON %s FROM PUBLIC', columns, target) FROM h WHERE everybody IS NOT NULL
UNION ALL
SELECT i, '` + ruleForeignGrant + `', label, 'is granted to another tenant''s role: ' || others, format('REVOKE ALL%s ON %s FROM %s', columns, target, otherroles) FROM h WHERE others IS NOT NULL
UNION ALL
SELECT i, 'wide-grant', label, 'the tenant''s role has more than it needs: ' || wide, format('REVOKE %s ON %s FROM %I', (SELECT string_agg(p || columns, ', ') FROM unnest(string_to_array(wide, ', ')) p), target, rolname) FROM h WHERE wide IS NOT NULL
UNION ALL
SELECT i, 'wide-grant', label, 'the tenant''s role may grant it to others', format('REVOKE GRANT OPTION FOR ALL%s ON %s FROM %I', columns, target, rolname) FROM h WHERE passes
UNION ALL
SELECT i, 'missing-grant', label, 'the tenant''s role lacks ' || array_to_string(lacks, ', '), format('GRANT %s ON %s TO %I', array_to_string(lacks, ', '), target, rolname)
FROM h CROSS JOIN LATERAL (SELECT array_agg(r ORDER BY r) AS lacks FROM unnest(rights) r WHERE NOT r = ANY (coalesce(has, '{}'))) l WHERE needed AND lives AND role IS NOT NULL AND lacks IS NOT NULL
ORDER BY 1, 2, 3`

// defaultsSQL finds default privileges in the schemas for others, and those that the tenant's role lacks.
const defaultsSQL = `, k AS (
	SELECT * FROM (VALUES ('r'::"char", 'TABLES', '{SELECT,INSERT,UPDATE,DELETE}'::text[]), ('S', 'SEQUENCES', '{USAGE,SELECT,UPDATE}'), ('f', 'ROUTINES', '{EXECUTE}'), ('T', 'TYPES', '{USAGE}')) v(objtype, name, rights)
), h AS (
	SELECT w.i, w.schema, w.rolname, k.name, d.defaclrole, g.grantee, tr.rolname AS other, string_agg(g.privilege_type, ', ' ORDER BY g.privilege_type) AS privileges
	FROM w JOIN pg_default_acl d ON d.defaclnamespace = w.nsp JOIN k ON k.objtype = d.defaclobjtype CROSS JOIN LATERAL aclexplode(d.defaclacl) g LEFT JOIN tr ON tr.oid = g.grantee
	WHERE w.asked AND w.ours AND (g.grantee = 0 OR tr.oid IS NOT NULL AND tr.oid <> coalesce(w.role, 0)) GROUP BY 1, 2, 3, 4, 5, 6, 7
), l AS (
	SELECT w.i, w.schema, w.rolname, k.name, CASE WHEN w.theirs AND w.nspowner <> me.oid THEN format('FOR ROLE %I ', pg_get_userbyid(w.nspowner)) ELSE '' END AS maker, array_agg(r ORDER BY r) AS lacks
	FROM w JOIN me ON true CROSS JOIN k CROSS JOIN unnest(k.rights) r LEFT JOIN pg_default_acl d ON d.defaclnamespace = w.nsp AND d.defaclobjtype = k.objtype AND d.defaclrole = CASE WHEN w.theirs THEN w.nspowner ELSE me.oid END
	WHERE w.asked AND w.ours AND w.lives AND w.role IS NOT NULL AND NOT EXISTS (SELECT FROM aclexplode(d.defaclacl) g WHERE g.grantee = w.role AND g.privilege_type = r)
	GROUP BY 1, 2, 3, 4, 5
)
SELECT i, 'default-privileges', 'default privileges on ' || lower(name), 'are granted to ' || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE 'another tenant''s role, ' || other END || ': ' || privileges,
	format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I REVOKE ALL ON %s FROM %s', pg_get_userbyid(defaclrole), schema, name, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(other) END) FROM h
UNION ALL
SELECT i, 'default-privileges', 'default privileges on ' || lower(name), 'what migrations will make lacks rights of the tenant''s role: ' || array_to_string(lacks, ', '),
	format('ALTER DEFAULT PRIVILEGES %sIN SCHEMA %I GRANT %s ON %s TO %I', maker, schema, array_to_string(lacks, ', '), name, rolname) FROM l
ORDER BY 1, 3, 4`

// dependsSQL finds what crosses the border of a schema: of a tenant's objects that depend on another tenant's, both are
// named with the one that depends; else it is what depends on a tenant's from outside.
const dependsSQL = `, ms AS MATERIALIZED (
	SELECT n.oid, n.nspname FROM pg_namespace n JOIN pg_description d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0 WHERE starts_with(d.description, '` + markPrefix + `')
), e AS MATERIALIZED (
	SELECT coalesce(u.relnamespace, f.pronamespace) AS nsp, coalesce('relation ' || quote_ident(u.relname), 'function ' || quote_ident(f.proname)) AS name,
		coalesce(v.relnamespace, g.pronamespace, t.typnamespace) AS refnsp, coalesce(v.relname, g.proname, t.typname) AS refname
	FROM pg_depend d
		LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
		LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
		LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
		LEFT JOIN pg_trigger x ON d.classid = 'pg_trigger'::regclass AND x.oid = d.objid
		LEFT JOIN pg_policy y ON d.classid = 'pg_policy'::regclass AND y.oid = d.objid
		LEFT JOIN pg_class u ON u.oid = CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid ELSE coalesce(w.ev_class, nullif(k.conrelid, 0), a.adrelid, x.tgrelid, y.polrelid) END
		LEFT JOIN pg_proc f ON d.classid = 'pg_proc'::regclass AND f.oid = d.objid
		LEFT JOIN pg_class v ON d.refclassid = 'pg_class'::regclass AND v.oid = d.refobjid AND v.relkind NOT IN ('i', 'I')
		LEFT JOIN pg_proc g ON d.refclassid = 'pg_proc'::regclass AND g.oid = d.refobjid
		LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid
	WHERE d.deptype = 'n' AND d.refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass)
		AND d.classid IN ('pg_rewrite'::regclass, 'pg_constraint'::regclass, 'pg_attrdef'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_class'::regclass, 'pg_proc'::regclass)
		AND coalesce(u.relnamespace, f.pronamespace) <> coalesce(v.relnamespace, g.pronamespace, t.typnamespace)
)
SELECT DISTINCT w.i, '` + ruleReachesOut + `', e.name, 'depends on another tenant''s ' || quote_ident(ms.nspname) || '.' || quote_ident(e.refname), '' FROM e JOIN w ON w.nsp = e.nsp JOIN ms ON ms.oid = e.refnsp WHERE w.asked AND w.ours
UNION
SELECT DISTINCT w.i, CASE WHEN w.replaced THEN '` + ruleReadsReplaced + `' ELSE '` + ruleReachedInto + `' END, quote_ident(e.refname),
	CASE WHEN w.replaced THEN 'was replaced by a restore and ' ELSE '' END || 'is used from outside by ' || e.name || ' of schema ' || quote_ident(n.nspname), ''
FROM e JOIN w ON w.nsp = e.refnsp JOIN pg_namespace n ON n.oid = e.nsp WHERE w.asked AND w.ours AND NOT EXISTS (SELECT FROM w o WHERE o.nsp = e.nsp AND o.asked) AND n.nspname NOT LIKE 'pg\_%'
ORDER BY 1, 2, 3`

// namedSchemas and namedRoles are those that bear a mark, and those that only begin with the prefix. A role of another
// database of the server has rights there; one that has none anywhere is told by its prefix.
const namedSchemas = `SELECT n.nspname, coalesce(d.description, '') FROM pg_namespace n LEFT JOIN pg_description d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0
WHERE d.description LIKE %[1]s OR %[2]s <> '' AND starts_with(n.nspname, %[2]s) ORDER BY 1`

const namedRoles = `SELECT u.rolname, coalesce(e.description, '') FROM pg_roles u LEFT JOIN pg_shdescription e ON e.objoid = u.oid AND e.classoid = 'pg_authid'::regclass
WHERE u.rolname NOT IN (current_user, session_user) AND coalesce(e.description, '') !~ '^tenantctl-(probe|work):' AND (e.description LIKE %[1]s OR %[2]s <> '' AND starts_with(u.rolname, %[2]s))
	AND NOT EXISTS (SELECT FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = u.oid AND s.dbid NOT IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))
	AND (%[2]s <> '' AND starts_with(u.rolname, %[2]s)
		OR EXISTS (SELECT FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = u.oid AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()))) ORDER BY 1`
