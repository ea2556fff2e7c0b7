package schema

// grantConstructors gives on the functions that make a range the rights that default privileges give: they come with the
// type, before those are there, and a dump does not tell of them.
const grantConstructors = `DO $do$ DECLARE target text; BEGIN
	FOR target IN SELECT DISTINCT format('%%s ON FUNCTION %%s TO %%s', g.privilege_type, f.oid::regprocedure,
			CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END)
		FROM pg_depend n JOIN pg_type y ON n.classid = 'pg_type'::regclass AND y.oid = n.objid AND y.typtype IN ('r', 'm')
			JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.refobjid = y.oid AND d.deptype = 'i'
			JOIN pg_proc f ON d.classid = 'pg_proc'::regclass AND f.oid = d.objid
			JOIN pg_default_acl a ON a.defaclnamespace = n.refobjid AND a.defaclobjtype = 'f' AND a.defaclrole = f.proowner
			CROSS JOIN LATERAL aclexplode(a.defaclacl) g
		WHERE n.refclassid = 'pg_namespace'::regclass AND n.refobjid = to_regnamespace(%s)
	LOOP
		EXECUTE 'GRANT ' || target;
	END LOOP;
END $do$`

// unpublishConstructors takes from PUBLIC what PostgreSQL gives it on them, as it is taken at the end of a migration.
const unpublishConstructors = `DO $do$ DECLARE target text; BEGIN
	FOR target IN SELECT f.oid::regprocedure
		FROM pg_depend n JOIN pg_type y ON n.classid = 'pg_type'::regclass AND y.oid = n.objid AND y.typtype IN ('r', 'm')
			JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.refobjid = y.oid AND d.deptype = 'i'
			JOIN pg_proc f ON d.classid = 'pg_proc'::regclass AND f.oid = d.objid
		WHERE n.refclassid = 'pg_namespace'::regclass AND n.refobjid = to_regnamespace(%s)
			AND pg_has_role(f.proowner, 'USAGE') -- they are the first superuser's, whoever makes the type
	LOOP
		EXECUTE 'REVOKE ALL ON FUNCTION ' || target || ' FROM PUBLIC';
	END LOOP;
END $do$`
