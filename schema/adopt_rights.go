package schema

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// adoptable reads of each place its owner, its comment, which owners' rights the provisioning role lacks, whether it has
// goose's table, and whether its role is somebody else's. Of the schema's owner all rights of a member are needed: it
// is SET ROLE that makes new objects its own, and ADMIN (CREATEROLE before PostgreSQL 16) that lets a login of its own
// have them for the time of a migration. Of the owners of single objects it is those rights that backups need.
const adoptable = `WITH me AS (SELECT oid, rolname, rolsuper, rolcreaterole, current_setting('server_version_num')::int >= 160000 AS narrow FROM pg_roles WHERE rolname = current_user)
SELECT pg_get_userbyid(n.nspowner), coalesce(d.description, ''), m.lacks, b.oid IS NOT NULL,
	r.oid IS NOT NULL AND split_part(shobj_description(r.oid, 'pg_authid'), ' ', 1) IS DISTINCT FROM q.mark
FROM unnest(ARRAY[%s]::text[], ARRAY[%s]::text[], ARRAY[%s]::text[]) WITH ORDINALITY q(schema, role, mark, i)
	LEFT JOIN pg_namespace n ON n.nspname = q.schema
	LEFT JOIN pg_description d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0
	LEFT JOIN pg_class b ON b.relnamespace = n.oid AND b.relname = '` + migrationfile.VersionTable + `'
	LEFT JOIN pg_roles r ON r.rolname = q.role
	LEFT JOIN LATERAL (
		SELECT jsonb_agg(jsonb_build_object('owner', u.rolname, 'super', u.rolsuper, 'whole', u.oid = n.nspowner, 'narrow', me.narrow, 'self', me.rolname, 'makes', me.rolcreaterole,
			'lacks', l.rights) ORDER BY u.oid <> n.nspowner, u.rolname) AS lacks
		FROM me JOIN pg_roles u ON u.oid <> me.oid AND NOT me.rolsuper AND u.oid IN (
			SELECT n.nspowner
			UNION ALL SELECT coalesce(c.relowner, p.proowner, t.typowner)
			FROM pg_depend o
				LEFT JOIN pg_class c ON o.classid = 'pg_class'::regclass AND c.oid = o.objid
				LEFT JOIN pg_proc p ON o.classid = 'pg_proc'::regclass AND p.oid = o.objid
				LEFT JOIN pg_type t ON o.classid = 'pg_type'::regclass AND t.oid = o.objid
			WHERE o.refclassid = 'pg_namespace'::regclass AND o.refobjid = n.oid
				AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = o.classid AND e.objid = o.objid AND e.deptype = 'e')
		) CROSS JOIN LATERAL (SELECT array_agg(v.name ORDER BY v.name) AS rights FROM (VALUES
			('INHERIT', pg_has_role(u.oid, 'USAGE')),
			('SET', NOT me.narrow OR pg_has_role(u.oid, CASE WHEN me.narrow THEN 'SET' ELSE 'USAGE' END)),
			('ADMIN', u.oid <> n.nspowner OR NOT me.narrow OR pg_has_role(u.oid, 'MEMBER WITH ADMIN OPTION')),
			('CREATEROLE', u.oid <> n.nspowner OR me.rolcreaterole),
			('SUPERUSER', u.oid <> n.nspowner OR NOT u.rolsuper)
		) v(name, has) WHERE NOT v.has) l WHERE l.rights IS NOT NULL
	) m ON n.oid IS NOT NULL
ORDER BY i`

// missingRights are what the provisioning role lacks of an owner's rights.
type missingRights struct {
	Owner  string   `json:"owner"`
	Super  bool     `json:"super"`
	Whole  bool     `json:"whole"`  // the owner of the schema itself
	Narrow bool     `json:"narrow"` // memberships have options, from PostgreSQL 16 on
	Self   string   `json:"self"`
	Makes  bool     `json:"makes"` // it may make roles
	Lacks  []string `json:"lacks"` // in order of the alphabet
}

// notMember refuses a schema whose owners' rights the provisioning role lacks, and names the statements that give them.
func notMember(schema string, lacking []byte) error {
	var all []missingRights
	if err := json.Unmarshal(lacking, &all); err != nil || len(all) == 0 {
		return fmt.Errorf("read whose schema %s is: %w", schema, err)
	}
	e := &tenant.Error{Kind: tenant.ErrRights, Store: tenant.KindPostgres}
	var said, grants []string
	for _, m := range all {
		where := "objects in schema " + schema + " belong to role " + m.Owner
		if m.Whole {
			where = fmt.Sprintf("schema %s belongs to role %s", schema, m.Owner)
		}
		if slices.Contains(m.Lacks, "SUPERUSER") {
			e.Msg = where + ", a superuser, whose rights nothing is to have that runs a tenant's code"
			e.Hint = fmt.Sprintf("give it to the application's role: ALTER SCHEMA %s OWNER TO ...", quote(schema))
			return e
		}
		reason, grant := m.fix()
		said, grants = append(said, where+", "+reason), append(grants, grant)
	}
	e.Msg, e.Hint = strings.Join(said, "; "), strings.Join(grants, "; ")
	return e
}

// fix says what is lacking and gives the statements for it.
func (m missingRights) fix() (reason, grant string) {
	lacks := slices.DeleteFunc(slices.Clone(m.Lacks), func(r string) bool { return r == "CREATEROLE" })
	switch {
	case len(lacks) == 0:
		reason = "and postgres.url's may not make the login that works as it"
	case slices.Contains(lacks, "INHERIT") && (!m.Narrow || slices.Contains(lacks, "SET")):
		reason = "and postgres.url's is no member of it"
	default:
		reason = "and postgres.url's is a member of it without " + strings.Join(lacks, ", ")
	}
	var all []string
	if len(lacks) > 0 {
		grant = fmt.Sprintf("GRANT %s TO %s", quote(m.Owner), quote(m.Self))
		switch {
		case m.Narrow && m.Whole:
			grant += " WITH ADMIN TRUE, INHERIT TRUE, SET TRUE"
		case m.Narrow:
			grant += " WITH INHERIT TRUE, SET TRUE"
		}
		all = append(all, grant)
	}
	if slices.Contains(m.Lacks, "CREATEROLE") {
		all = append(all, fmt.Sprintf("ALTER ROLE %s CREATEROLE", quote(m.Self)))
	}
	return reason, strings.Join(all, "; ")
}
