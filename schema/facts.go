package schema

// fact is a question about the structure of the schema that is in force. Each row of the answer goes into the
// fingerprint.
type fact struct {
	// fields says of each column what it is: n is plain, s a piece of SQL, r a role's name.
	fields string
	since  int // major version of the server that can be asked
	sql    string
}

// members are the objects of the schema, by their dependence on it, which is indexed: the catalogs hold the objects of
// all tenants. What an extension made is the extension's.
const members = `WITH o AS MATERIALIZED (
	SELECT DISTINCT d.classid, d.objid FROM pg_depend d
	WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident(current_schema()))
		AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
), r AS MATERIALIZED (
	SELECT c.* FROM o JOIN pg_class c ON c.oid = o.objid WHERE o.classid = 'pg_class'::regclass
), x AS MATERIALIZED (
	SELECT r.relname, i.* FROM r JOIN pg_index i ON i.indrelid = r.oid
), y AS MATERIALIZED (
	SELECT t.* FROM o JOIN pg_type t ON t.oid = o.objid WHERE o.classid = 'pg_type'::regclass
), f AS MATERIALIZED (
	SELECT p.* FROM o JOIN pg_proc p ON p.oid = o.objid WHERE o.classid = 'pg_proc'::regclass
)
`

// structureFacts are all that a dump of the definitions tells, but for owners and rights.
var structureFacts = []fact{
	{"nnnnnnnnnnnsssss", 0, `SELECT 'relation', r.relname, r.relkind, r.relpersistence, m.amname, ` + only("r.reloptions", relationOptions) + `,
		` + only("t.reloptions", relationOptions) + `, r.relrowsecurity, r.relforcerowsecurity,
		r.relreplident, obj_description(r.oid, 'pg_class'), pg_get_expr(r.relpartbound, r.oid),
		CASE r.relkind WHEN 'p' THEN pg_get_partkeydef(r.oid) END, CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END,
		nullif(r.reloftype, 0)::regtype, (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM pg_inherits i WHERE i.inhrelid = r.oid)
	FROM r LEFT JOIN pg_am m ON m.oid = r.relam LEFT JOIN pg_class t ON t.oid = r.reltoastrelid ORDER BY r.relname`},
	{"nnnnsnsnnsnnnnnn", 0, `SELECT 'column', r.relname, row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum), a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
		pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation END,
		nullif(a.attstorage, t.typstorage), coalesce(a.attstattarget, -1), ` + only("a.attoptions", columnOptions) + `, a.attislocal, a.attinhcount, col_description(r.oid, a.attnum)
	FROM r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped JOIN pg_type t ON t.oid = a.atttypid
		LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
	WHERE r.relkind <> 'S' ORDER BY r.relname, a.attnum`},
	{"nnnn", 14, `SELECT 'compression', r.relname, a.attname, a.attcompression
	FROM r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attcompression <> '' ORDER BY r.relname, a.attname`},
	// From PostgreSQL 18 on NOT NULL is a constraint. A name that the server made up tells of no structure: it is of the table and
	// the column as they were once called, or as they were at the upgrade.
	{"nnnsnnnnn", 0, `SELECT 'constraint', r.relname, m.name, pg_get_constraintdef(k.oid), k.convalidated, k.conislocal, k.coninhcount, obj_description(k.oid, 'pg_constraint'),
		k.conparentid <> 0
	FROM r JOIN pg_constraint k ON k.conrelid = r.oid CROSS JOIN LATERAL (SELECT CASE WHEN k.contype = 'n' AND k.conname ~ '_not_null[0-9]*$' THEN '' ELSE k.conname END::name) m(name)
	ORDER BY r.relname, m.name, pg_get_constraintdef(k.oid)`},
	{"nnsnnnnnsn", 0, `SELECT 'index', x.relname, pg_get_indexdef(x.indexrelid), x.indisvalid, x.indisready, x.indisclustered, x.indisreplident, obj_description(x.indexrelid, 'pg_class'),
		(SELECT i.inhparent::regclass FROM pg_inherits i WHERE i.inhrelid = x.indexrelid),
		(SELECT string_agg(a.attnum || ':' || a.attstattarget, ',' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = x.indexrelid AND a.attstattarget >= 0)
	FROM x JOIN pg_class c ON c.oid = x.indexrelid ORDER BY c.relname`},
	{"nnnsnnn", 0, `SELECT 'trigger', r.relname, g.tgname, pg_get_triggerdef(g.oid), g.tgenabled, g.tgparentid <> 0, obj_description(g.oid, 'pg_trigger')
	FROM r JOIN pg_trigger g ON g.tgrelid = r.oid AND (NOT g.tgisinternal OR g.tgparentid <> 0 AND g.tgconstraint = 0) ORDER BY r.relname, g.tgname`},
	{"nnnsnn", 0, `SELECT 'rule', r.relname, w.rulename, pg_get_ruledef(w.oid), w.ev_enabled, obj_description(w.oid, 'pg_rewrite')
	FROM r JOIN pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN' ORDER BY r.relname, w.rulename`},
	{"nnnnnssn", 0, `SELECT 'policy', r.relname, p.polname, p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid),
		obj_description(p.oid, 'pg_policy')
	FROM r JOIN pg_policy p ON p.polrelid = r.oid ORDER BY r.relname, p.polname`},
	{"nnnr", 0, `SELECT 'policy role', r.relname, p.polname, u.rolname
	FROM r JOIN pg_policy p ON p.polrelid = r.oid CROSS JOIN unnest(p.polroles) role LEFT JOIN pg_roles u ON u.oid = role ORDER BY r.relname, p.polname, u.rolname`},
	{"nnnnnnnnnsn", 0, `SELECT 'sequence', r.relname, format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle,
		d.refobjid::regclass, a.attname
	FROM r JOIN pg_sequence s ON s.seqrelid = r.oid
		LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
		LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
	ORDER BY r.relname, a.attname`},
	{"nssnn", 0, `SELECT 'routine', f.oid::regprocedure, pg_get_functiondef(f.oid), obj_description(f.oid, 'pg_proc'), f.probin
	FROM f WHERE f.prokind <> 'a' ORDER BY f.proname, pg_get_function_identity_arguments(f.oid)`},
	{"nnnsnssssn", 0, `SELECT 'type', y.typname, y.typtype, CASE y.typtype WHEN 'd' THEN format_type(y.typbasetype, y.typtypmod) END, y.typnotnull, coalesce(pg_get_expr(y.typdefaultbin, 'pg_type'::regclass), y.typdefault),
		CASE WHEN y.typtype = 'd' AND y.typcollation <> b.typcollation THEN y.typcollation::regcollation END,
		concat_ws(' ', g.rngsubtype::regtype, g.rngcollation::regcollation, g.rngcanonical::regproc, g.rngsubdiff::regproc),
		(SELECT quote_ident(q.nspname) || '.' || quote_ident(c.opcname) FROM pg_opclass c JOIN pg_namespace q ON q.oid = c.opcnamespace WHERE c.oid = g.rngsubopc),
		obj_description(y.oid, 'pg_type')
	FROM y LEFT JOIN pg_type b ON b.oid = y.typbasetype LEFT JOIN pg_range g ON g.rngtypid = y.oid ORDER BY y.typname`},
	{"nns", 14, `SELECT 'multirange', y.typname, g.rngmultitypid::regtype FROM y JOIN pg_range g ON g.rngtypid = y.oid ORDER BY y.typname`},
	{"nnn", 0, `SELECT 'label', y.typname, e.enumlabel FROM y JOIN pg_enum e ON e.enumtypid = y.oid ORDER BY y.typname, e.enumsortorder`},
	{"nnnnssn", 0, `SELECT 'attribute', y.typname, row_number() OVER (PARTITION BY y.oid ORDER BY a.attnum), a.attname, format_type(a.atttypid, a.atttypmod),
		CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation END, col_description(y.typrelid, a.attnum)
	FROM y JOIN pg_attribute a ON a.attrelid = y.typrelid AND a.attnum > 0 AND NOT a.attisdropped JOIN pg_type t ON t.oid = a.atttypid
	WHERE y.typtype = 'c' ORDER BY y.typname, a.attnum`},
	{"nnnsnn", 0, `SELECT 'check of a domain', y.typname, k.conname, pg_get_constraintdef(k.oid), k.convalidated, obj_description(k.oid, 'pg_constraint')
	FROM y JOIN pg_constraint k ON k.conrelid = 0 AND k.contypid = y.oid ORDER BY y.typname, k.conname`},
	{"nnsnn", 0, `SELECT 'statistics', s.stxname, pg_get_statisticsobjdef(s.oid), s.stxstattarget, obj_description(s.oid, 'pg_statistic_ext')
	FROM o JOIN pg_statistic_ext s ON s.oid = o.objid WHERE o.classid = 'pg_statistic_ext'::regclass ORDER BY s.stxname`},
}

// otherKinds are objects whose definitions the facts do not tell: a schema that has some is dumped by itself.
var otherKinds = `SELECT pg_describe_object(o.classid, o.objid, 0) FROM o LEFT JOIN r ON o.classid = 'pg_class'::regclass AND r.oid = o.objid
	LEFT JOIN y ON o.classid = 'pg_type'::regclass AND y.oid = o.objid LEFT JOIN f ON o.classid = 'pg_proc'::regclass AND f.oid = o.objid
WHERE r.relkind NOT IN ('r', 'p', 'v', 'm', 'S', 'c', 'i', 'I') OR y.typtype NOT IN ('c', 'd', 'e', 'r', 'm') OR f.prokind = 'a'
	OR o.classid NOT IN ('pg_class'::regclass, 'pg_type'::regclass, 'pg_proc'::regclass, 'pg_constraint'::regclass, 'pg_statistic_ext'::regclass, 'pg_default_acl'::regclass)
	OR EXISTS (SELECT FROM pg_seclabel l WHERE l.objoid = o.objid AND l.classoid = o.classid)
UNION ALL
SELECT 'extension ' || e.extname FROM pg_depend d JOIN pg_depend m ON m.classid = d.classid AND m.objid = d.objid AND m.deptype = 'e' JOIN pg_extension e ON e.oid = m.refobjid
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident(current_schema()))
UNION ALL
SELECT 'all options of ' || r.oid::regclass FROM r LEFT JOIN pg_class t ON t.oid = r.reltoastrelid
WHERE r.relkind NOT IN ('i', 'I') AND (` + unknown("r.reloptions || t.reloptions", relationOptions) + `
	OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = r.oid AND NOT a.attisdropped AND ` + unknown("a.attoptions", columnOptions) + `))
LIMIT 5`

// populated are the materialized views that hold rows. A dump of the definitions tells it, but it is no difference of
// structure: REFRESH changes it.
var populated = fact{"nnn", 0, `SELECT 'populated', relname, relispopulated FROM r WHERE relkind = 'm' ORDER BY relname`}

// rights are who owns what and may do what, as rows of the object, its owner and each grant.
var rights = fact{"nsrrrnn", 0, `SELECT a.kind, a.object, pg_get_userbyid(a.owner), CASE WHEN g.grantee = 0 THEN 'PUBLIC' WHEN g.grantee IS NOT NULL THEN pg_get_userbyid(g.grantee) END,
	pg_get_userbyid(g.grantor), string_agg(g.privilege_type, ',' ORDER BY g.privilege_type) AS privileges, g.is_grantable
FROM (
	SELECT 'relation' AS kind, relname::text AS object, relowner AS owner, relacl AS acl FROM r
	UNION ALL SELECT 'column', r.relname || '.' || quote_ident(a.attname), r.relowner, a.attacl FROM r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attacl IS NOT NULL
	UNION ALL SELECT 'routine', oid::regprocedure::text, proowner, proacl FROM f
	UNION ALL SELECT 'type', typname::text, typowner, typacl FROM y
	UNION ALL SELECT 'schema', '', nspowner, nspacl FROM pg_namespace WHERE oid = to_regnamespace(quote_ident(current_schema()))
	UNION ALL SELECT 'default', d.defaclobjtype::text, d.defaclrole, d.defaclacl FROM o JOIN pg_default_acl d ON o.classid = 'pg_default_acl'::regclass AND d.oid = o.objid
) a LEFT JOIN LATERAL aclexplode(a.acl) g ON true
GROUP BY 1, 2, 3, 4, 5, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7`}

// objectNames are the names that can stand after the schema's and a dot.
const objectNames = `SELECT relname FROM r UNION SELECT typname FROM y UNION SELECT proname FROM f UNION SELECT c.relname FROM x JOIN pg_class c ON c.oid = x.indexrelid
	UNION SELECT s.stxname FROM o JOIN pg_statistic_ext s ON s.oid = o.objid WHERE o.classid = 'pg_statistic_ext'::regclass`

// rowHolders are the tables and leaf partitions, with the columns that COPY gives, as SQL, and the size on disk. Where
// rows went to partitions by the hash of an enum, which is another in each database, they are loaded by way of the
// topmost table.
const rowHolders = `SELECT r.relname, (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
		WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''),
	pg_table_size(r.oid),
	CASE WHEN r.relispartition AND EXISTS (SELECT FROM pg_partition_ancestors(r.oid) up JOIN pg_partitioned_table p ON p.partrelid = up.relid AND p.partstrat = 'h'
			JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs::int2[]) JOIN pg_type t ON t.oid = a.atttypid AND t.typtype = 'e')
		THEN (SELECT c.relname FROM pg_class c WHERE c.oid = pg_partition_root(r.oid)) END
FROM r WHERE r.relkind = 'r' ORDER BY r.relname`

// sequenceNames are the schema's sequences, those of identity columns too.
const sequenceNames = `SELECT relname FROM r WHERE relkind = 'S' ORDER BY relname`

// neededExtensions are those that the schema's objects use.
const neededExtensions = `SELECT DISTINCT e.extname, n.nspname FROM (
		SELECT classid, objid FROM o UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM x UNION ALL SELECT 'pg_attrdef'::regclass, d.oid FROM r JOIN pg_attrdef d ON d.adrelid = r.oid
	) u JOIN pg_depend d ON d.classid = u.classid AND d.objid = u.objid
	JOIN pg_depend m ON m.classid = d.refclassid AND m.objid = d.refobjid AND m.deptype = 'e'
	JOIN pg_extension e ON e.oid = m.refobjid JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname <> 'plpgsql' ORDER BY 1`
