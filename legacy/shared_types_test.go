package legacy

import (
	"testing"
)

func TestTheSharedSchemaKeepsTypesAndMayBeRead(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY)`, `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1); CREATE TABLE a (id int PRIMARY KEY, firm int);
		CREATE TYPE old.mood AS ENUM ('ok', 'it''s'); CREATE DOMAIN old.code AS varchar(3);
		CREATE TABLE lands (id smallint PRIMARY KEY, name varchar(15) NOT NULL, area numeric(10,2), mood mood, was mood, code code, tags text[], at timestamp(3), ip inet);
		INSERT INTO lands VALUES (1, 'de', 1.50, 'it''s', 'ok', 'abc', '{x}', '2024-01-01 00:00:00.123', '10.0.0.1')`)
	role := "reader_" + s.rows("SELECT txid_current()")[0]
	s.sql("CREATE ROLE " + role)
	t.Cleanup(func() { s.sql("DROP ROLE " + role) })
	const shared = "shared_schema: common\ntables:\n  - {from: a, key: firm}\n  - {from: lands, shared: schema}\n"
	m := s.mapping(shared)
	s.load(m, RunRequest{}, 0)
	s.clean(m)
	s.want(`SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute WHERE attrelid = 'common.lands'::regclass AND attnum > 0 ORDER BY attnum`,
		"id|smallint|true", "name|character varying(15)|true", "area|numeric(10,2)|false", "mood|common.mood|false", "was|common.mood|false",
		"code|text|false", "tags|text[]|false", "at|timestamp(3) without time zone|false", "ip|inet|false")
	s.want("SELECT mood::text FROM common.lands", "it's")
	s.want("SELECT has_schema_privilege('"+role+"', 'common', 'USAGE'), has_table_privilege('"+role+"', 'common.lands', 'SELECT'), has_table_privilege('"+role+"', 'common.lands', 'INSERT')", "true|true|false")
	s.sql("UPDATE common.lands SET area = 1.51")
	s.differs(m, "lands", `["1"]`)
}

func TestTypesOfMySQLForTheSharedSchema(t *testing.T) {
	for typ, want := range map[string]string{
		"tinyint(4)": "smallint", "smallint(5) unsigned": "integer", "int(11)": "integer", "int(10) unsigned": "bigint", "bigint(20) unsigned": "numeric(20,0)",
		"int(5) unsigned zerofill": "text", "year(4)": "smallint", "decimal(10,2)": "numeric(10,2)", "decimal(10)": "numeric(10,0)", "float": "real", "double": "double precision",
		"datetime(3)": "timestamp(3) without time zone", "timestamp": "timestamp with time zone", "time": "interval", "date": "date",
	} {
		dataType := baseType(typ)
		for i, r := range dataType {
			if r == ' ' {
				dataType = dataType[:i]
				break
			}
		}
		if got := typeOfMySQL(sourceColumn{typ: typ, kind: mysqlKind(dataType, typ)}); got != want {
			t.Errorf("%s: got %s, want %s", typ, got, want)
		}
	}
}
