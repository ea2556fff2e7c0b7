-- What depends on a schema from outside it. Its objects and the types that come with them (m) are found by their
-- dependence on it, which is indexed; then what is elsewhere and depends on these (d), with the table or view that a
-- rule, constraint, default, trigger, policy or index is of (u). Temporary objects are their session's and go with it.
WITH n AS MATERIALIZED (
	SELECT oid, nspname, quote_ident(nspname) AS name FROM pg_namespace WHERE oid = to_regnamespace(<schema>)
), m0 AS MATERIALIZED (
	SELECT DISTINCT d.classid, d.objid
	FROM n JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
	WHERE d.classid <> coalesce(to_regclass('pg_catalog.pg_publication_namespace'), 0)
), m1 AS MATERIALIZED (
	SELECT classid, objid FROM m0
	UNION SELECT d.classid, d.objid FROM m0 JOIN pg_depend d ON d.refclassid = m0.classid AND d.refobjid = m0.objid
		AND d.classid = 'pg_type'::regclass AND d.deptype = 'i'
), m AS MATERIALIZED (
	SELECT classid, objid FROM m1
	UNION SELECT d.classid, d.objid FROM m1 JOIN pg_depend d ON d.refclassid = m1.classid AND d.refobjid = m1.objid
		AND d.classid = 'pg_type'::regclass AND d.deptype = 'i'
), d AS MATERIALIZED (
	SELECT d.classid, d.objid, max(d.objsubid) AS sub, bool_or(d.refclassid = 'pg_class'::regclass) AS onrel,
		string_agg(DISTINCT i.type || ' ' || i.identity, ', ') AS "on", min(x.extname) AS extension,
		bool_and(x.extrelocatable) AS moves,
		min(i.identity) FILTER (WHERE d.refclassid = 'pg_class'::regclass) AS parent
	FROM m JOIN pg_depend d ON d.refclassid = m.classid AND d.refobjid = m.objid
		CROSS JOIN LATERAL pg_identify_object(m.classid, m.objid, 0) i
		LEFT JOIN pg_depend e ON e.classid = m.classid AND e.objid = m.objid AND e.deptype = 'e'
		LEFT JOIN pg_extension x ON x.oid = e.refobjid
	WHERE d.deptype <> 'e' AND NOT EXISTS (SELECT FROM m o WHERE o.classid = d.classid AND o.objid = d.objid)
	GROUP BY d.classid, d.objid
), u AS MATERIALIZED (
	SELECT d.*, i.type, i.identity, coalesce(i.schema, '') AS schema, b.oid AS pub, quote_ident(w.rulename) AS rule,
		k.oid AS con, quote_ident(k.conname) AS conname, k.contype, k.conparentid, quote_ident(f.attname) AS column,
		f.attgenerated, a.oid AS def, quote_ident(g.tgname) AS trigger, quote_ident(y.polname) AS policy,
		c.oid AS relid, c.relkind, c.relnamespace, c.relowner, c.reloptions, c.relispartition, s.nspname, v.relword,
		quote_ident(s.nspname) || '.' || quote_ident(c.relname) AS whole,
		v.relword || ' ' || quote_ident(s.nspname) || '.' || quote_ident(c.relname) AS label
	FROM d CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) i
		LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
		LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
		LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
		LEFT JOIN pg_trigger g ON d.classid = 'pg_trigger'::regclass AND g.oid = d.objid
		LEFT JOIN pg_policy y ON d.classid = 'pg_policy'::regclass AND y.oid = d.objid
		LEFT JOIN pg_publication_rel b ON d.classid = 'pg_publication_rel'::regclass AND b.oid = d.objid
		LEFT JOIN pg_class c ON c.oid = CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid
			ELSE coalesce(w.ev_class, nullif(k.conrelid, 0), a.adrelid, g.tgrelid, y.polrelid) END
		LEFT JOIN pg_attribute f ON f.attrelid = c.oid AND f.attnum = coalesce(a.adnum, nullif(d.sub, 0))
		LEFT JOIN pg_namespace s ON s.oid = c.relnamespace
		CROSS JOIN LATERAL (SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
			WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' WHEN 'c' THEN 'composite type'
			WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' END AS relword) v
), o AS MATERIALIZED (
	SELECT u.*, CASE WHEN rule = '"_RETURN"' THEN relword WHEN rule IS NOT NULL THEN 'rule'
			WHEN contype = 'f' THEN 'foreign key' WHEN con IS NOT NULL THEN 'constraint' WHEN def IS NOT NULL THEN 'default'
			WHEN trigger IS NOT NULL THEN 'trigger' WHEN policy IS NOT NULL THEN 'policy' WHEN relid IS NULL THEN type
			WHEN sub > 0 THEN 'column' WHEN relkind IN ('i', 'I', 'S') THEN relword WHEN relispartition THEN 'partition'
			WHEN onrel THEN 'child table' ELSE 'table' END AS kind
	FROM u CROSS JOIN n
	WHERE relid IS NOT NULL AND relnamespace <> n.oid AND relkind <> 't' AND u.nspname !~ '^pg_(toast|temp)'
		AND coalesce(conparentid, 0) = 0 AND NOT (relkind IN ('v', 'm') AND classid = 'pg_class'::regclass)
	UNION ALL
	SELECT u.*, CASE WHEN con IS NOT NULL THEN 'constraint' ELSE type END
	FROM u CROSS JOIN n
	WHERE relid IS NULL AND pub IS NULL AND schema !~ '^pg_(toast|temp)' AND schema <> n.nspname
		AND (schema <> '' OR con IS NOT NULL OR classid IN ('pg_event_trigger'::regclass, 'pg_extension'::regclass,
			'pg_language'::regclass, 'pg_foreign_data_wrapper'::regclass))
)
SELECT kind,
	CASE kind WHEN 'rule' THEN format('rule %s on %s', rule, label)
		WHEN 'trigger' THEN format('trigger %s on %s', trigger, label)
		WHEN 'policy' THEN format('policy %s on %s', policy, label)
		WHEN 'foreign key' THEN format('foreign key %s of %s', conname, label)
		WHEN 'constraint' THEN format('constraint %s of %s', conname, coalesce(label, identity))
		WHEN 'default' THEN format('default of column %s of %s', "column", label)
		WHEN 'column' THEN format('column %s of %s', "column", label) WHEN 'partition' THEN 'partition: ' || label
		WHEN 'child table' THEN 'child ' || label ELSE coalesce(label, type || ' ' || identity) END,
	coalesce(nspname, nullif(schema, '')), "on", extension,
	CASE kind WHEN 'rule' THEN format('DROP RULE %s ON %s', rule, whole)
		WHEN 'trigger' THEN format('DROP TRIGGER %s ON %s', trigger, whole)
		WHEN 'policy' THEN format('DROP POLICY %s ON %s', policy, whole)
		WHEN 'foreign key' THEN format('ALTER TABLE %s DROP CONSTRAINT %s', whole, conname)
		WHEN 'constraint' THEN coalesce(format('ALTER TABLE %s DROP CONSTRAINT %s', nullif(whole, ''), conname), identity)
		WHEN 'default' THEN format('ALTER TABLE %s ALTER COLUMN %s DROP %s', whole, "column",
			CASE attgenerated WHEN '' THEN 'DEFAULT' ELSE 'EXPRESSION' END)
		WHEN 'column' THEN format(CASE relkind WHEN 'c' THEN 'ALTER TYPE %s DROP ATTRIBUTE %s'
			ELSE 'ALTER TABLE %s DROP COLUMN %s' END, whole, "column")
		WHEN 'sequence' THEN format('ALTER SEQUENCE %s OWNED BY NONE', whole)
		WHEN 'partition' THEN format('ALTER TABLE %s DETACH PARTITION %s', parent, whole)
		WHEN 'child table' THEN format('ALTER TABLE %s NO INHERIT %s', whole, parent)
		ELSE format('DROP %s %s', upper(coalesce(relword, type)), coalesce(whole, identity)) END,
	true,
	coalesce(pg_has_role(relowner, 'USAGE')
		AND (kind = 'view' AND (kept OR NOT used) OR kind = 'foreign key' AND plain), false),
	CASE kind WHEN 'foreign key' THEN format('ALTER TABLE %s DROP CONSTRAINT %s', whole, conname) END,
	CASE kind WHEN 'view' THEN reads || format(CASE WHEN kept THEN 'CREATE OR REPLACE VIEW %1$s %2$s AS %3$s'
				ELSE 'DROP VIEW %1$s; CREATE VIEW %1$s %2$s AS %3$s%4$s' END, whole,
			'WITH (' || array_to_string(reloptions, ', ') || ')', rtrim(pg_get_viewdef(relid), '; '), rights)
		WHEN 'foreign key' THEN format('ALTER TABLE %s ADD CONSTRAINT %s %s', whole, conname, pg_get_constraintdef(con))
			|| coalesce(format('; COMMENT ON CONSTRAINT %s ON %s IS %L', conname, whole,
				obj_description(con, 'pg_constraint')), '') END,
	extension IS NOT NULL AND NOT moves
FROM o CROSS JOIN LATERAL (
		-- A view keeps its identity, unless one of its columns is of a type of the schema's: another has to take its place.
		SELECT NOT EXISTS (SELECT FROM pg_attribute a JOIN m ON m.classid = 'pg_type'::regclass AND m.objid = a.atttypid
				WHERE a.attrelid = relid AND NOT a.attisdropped) AS kept,
			EXISTS (SELECT FROM pg_class c JOIN pg_type y ON y.oid = c.reltype JOIN pg_depend p ON p.deptype <> 'i'
					AND (p.refclassid = 'pg_class'::regclass AND p.refobjid = c.oid
						OR p.refclassid = 'pg_type'::regclass AND p.refobjid IN (y.oid, y.typarray))
				WHERE c.oid = relid AND NOT (p.classid = 'pg_rewrite'::regclass AND p.objid = o.objid)) AS used
	) v CROSS JOIN LATERAL (
		-- Rows are compared when a foreign key is made: by PostgreSQL's own code alone.
		SELECT NOT EXISTS (SELECT FROM pg_constraint k CROSS JOIN LATERAL (
					SELECT k.conrelid AS rel, unnest(k.conkey) AS att UNION ALL SELECT k.confrelid, unnest(k.confkey)) j
				JOIN pg_attribute a ON a.attrelid = j.rel AND a.attnum = j.att JOIN pg_type y ON y.oid = a.atttypid
			WHERE k.oid = con AND y.typnamespace <> 'pg_catalog'::regnamespace) AS plain
	) f CROSS JOIN LATERAL (
		-- What a view had that is made anew, but for what default privileges give.
		SELECT concat_ws('',
			(SELECT string_agg(DISTINCT format('; REVOKE ALL ON %s FROM %s', whole,
						CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END), '')
				FROM pg_default_acl p CROSS JOIN LATERAL aclexplode(p.defaclacl) g
				WHERE p.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
					AND p.defaclobjtype = 'r' AND p.defaclnamespace IN (0, relnamespace)),
			format('; ALTER VIEW %s OWNER TO %I', whole, pg_get_userbyid(relowner)),
			(SELECT string_agg(format('; GRANT %s%s ON %s TO %s%s', g.privilege_type, x.columns, whole,
					CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
					CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END), '')
				FROM (SELECT '' AS columns, relacl AS acl FROM pg_class WHERE oid = relid
					UNION ALL SELECT ' (' || quote_ident(attname) || ')', attacl FROM pg_attribute
					WHERE attrelid = relid AND attacl IS NOT NULL) x CROSS JOIN LATERAL aclexplode(x.acl) g),
			(SELECT string_agg(format('; COMMENT ON %s IS %L', CASE objsubid WHEN 0 THEN 'VIEW ' || whole
					ELSE format('COLUMN %s.%I', whole, (SELECT attname FROM pg_attribute WHERE attrelid = relid
						AND attnum = objsubid)) END, description), '')
				FROM pg_description WHERE classoid = 'pg_class'::regclass AND objoid = relid)) AS rights
	) r CROSS JOIN LATERAL (
		-- What a view is on its owner reads, who keeps that right.
		SELECT coalesce(string_agg(DISTINCT format('GRANT SELECT ON %s TO %I; ', i.identity, u.rolname), ''), '') AS reads
		FROM pg_roles u JOIN pg_depend p ON p.classid = 'pg_rewrite'::regclass AND p.objid = o.objid
			AND p.refclassid = 'pg_class'::regclass JOIN m ON m.classid = p.refclassid AND m.objid = p.refobjid
			JOIN pg_class c ON c.oid = p.refobjid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
			CROSS JOIN LATERAL pg_identify_object(m.classid, m.objid, 0) i
		WHERE u.oid = o.relowner AND NOT u.rolsuper AND NOT pg_has_role(u.oid, c.relowner, 'USAGE')
			AND has_table_privilege(u.oid, c.oid, 'SELECT')
	) g
UNION ALL
SELECT 'publication', 'publication ' || quote_ident(p.pubname), NULL, u."on", NULL,
	format('ALTER PUBLICATION %I DROP TABLE %s', p.pubname, t.name), false, pg_has_role(p.pubowner, 'USAGE'),
	format('ALTER PUBLICATION %I DROP TABLE %s', p.pubname, t.name),
	format('ALTER PUBLICATION %I ADD TABLE %s%s%s', p.pubname, t.name, ' (' || <columns> || ')',
		' WHERE (' || <filter> || ')'), false
FROM u JOIN pg_publication_rel b ON b.oid = u.pub JOIN pg_publication p ON p.oid = b.prpubid CROSS JOIN LATERAL (
	SELECT n.name || '.' || quote_ident(c.relname) AS name FROM n CROSS JOIN pg_class c WHERE c.oid = b.prrelid) t
UNION ALL
SELECT 'subscription', 'subscription ' || quote_ident(s.subname), NULL,
	string_agg('table ' || n.name || '.' || quote_ident(c.relname), ', ' ORDER BY c.relname), NULL,
	format('ALTER SUBSCRIPTION %I REFRESH PUBLICATION', s.subname), false, false, NULL, NULL, false
FROM n CROSS JOIN m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
	JOIN pg_subscription_rel r ON r.srrelid = c.oid JOIN pg_subscription s ON s.oid = r.srsubid
GROUP BY s.subname
<published schemas>
ORDER BY 1, 2, 4
