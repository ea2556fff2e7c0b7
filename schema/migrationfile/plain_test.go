package migrationfile

import (
	"github.com/tenantctl/tenantctl/schema/sqltext"
)

import "testing"

func TestOnlyStatementsThatAreKnownToBeHarmlessShareAMessage(t *testing.T) {
	for _, sql := range []string{
		"CREATE TABLE a (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name text NOT NULL, at timestamptz NOT NULL DEFAULT now())",
		"CREATE TABLE IF NOT EXISTS a (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), b int REFERENCES b (id) ON DELETE CASCADE, CHECK (b > 0 AND name <> 'x'), UNIQUE (b, id))",
		`create unlogged table "a" (n numeric(12, 2) DEFAULT -1.5, j jsonb NOT NULL DEFAULT '{}'::jsonb, l text[], s serial, d character varying(10))`,
		"CREATE TABLE a (b int, CONSTRAINT c FOREIGN KEY (b) REFERENCES d (e) ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED)",
		"CREATE INDEX a_b ON a (b)", "CREATE UNIQUE INDEX IF NOT EXISTS a_b ON a USING btree (b DESC NULLS LAST, c) WHERE c IS NOT NULL AND (d = 'x' OR e IN (1, 2))",
		"ALTER TABLE a ADD COLUMN b int", "ALTER TABLE a ADD b text NOT NULL DEFAULT '', DROP COLUMN IF EXISTS c CASCADE", "ALTER TABLE a ADD CONSTRAINT c CHECK (b >= 0) NOT VALID",
		"ALTER TABLE a VALIDATE CONSTRAINT c", "ALTER TABLE a RENAME COLUMN b TO c", "ALTER TABLE a RENAME TO b", "ALTER TABLE a ALTER COLUMN b SET NOT NULL, ALTER b DROP DEFAULT",
		"ALTER TABLE a ALTER COLUMN b SET DEFAULT now()", "ALTER TABLE a ADD PRIMARY KEY (b)", "DROP TABLE IF EXISTS a, b CASCADE", "DROP INDEX a_b",
		"COMMENT ON TABLE a IS 'why'", "COMMENT ON COLUMN a.b IS NULL", "CREATE TYPE mood AS ENUM ('sad', 'ok')", "CREATE SEQUENCE s",
		"/* a */ CREATE TABLE a ( -- b\n id int)",
	} {
		if !isPlain(sql) {
			t.Errorf("%s is not plain", sql)
		}
	}
	for _, sql := range []string{
		"", "SELECT 1", "INSERT INTO a VALUES (1)", "UPDATE a SET b = 1", "DO $$ BEGIN END $$", "SET a = 1", "CREATE TEMP TABLE a (id int)", "CREATE TABLE a AS SELECT 1",
		"CREATE TABLE a (id int DEFAULT f())", "CREATE TABLE a (id int DEFAULT b.now())", "CREATE TABLE a (at timestamptz DEFAULT 'now')", "CREATE TABLE a (at date DEFAULT 'Tomorrow'::date)",
		"CREATE TABLE a (id int CHECK (f(id)))", "CREATE TABLE a (id int, CHECK (id > (SELECT 1)))", "CREATE TABLE a (id int CHECK (id OPERATOR(x.=) 1))", "CREATE TABLE a (LIKE b INCLUDING ALL)",
		"CREATE TABLE b.a (id int)", "CREATE TABLE a (id b.c)", "CREATE TABLE a (id int) PARTITION BY RANGE (id)", "CREATE TABLE a (id int) INHERITS (b)", "CREATE TABLE a (id int) ON COMMIT DROP",
		"CREATE TABLE a (b int GENERATED ALWAYS AS (f(1)) STORED)", "CREATE TABLE goose_db_version (id int)", "DROP TABLE goose_db_version", "ALTER TABLE goose_db_version ADD b int",
		"CREATE INDEX ON a (lower(b))", "CREATE INDEX ON a ((b + 1))", "CREATE INDEX CONCURRENTLY a_b ON a (b)", "CREATE INDEX ON b.a (c)", "CREATE INDEX ON a (b) WHERE c > now()",
		"CREATE INDEX ON a (b) WHERE c > current_date", "CREATE INDEX ON a (b) WHERE current_user = c", "CREATE INDEX ON a (b) WHERE (c).d", "CREATE INDEX ON a (b x_ops)",
		"ALTER TABLE a ADD COLUMN b timestamptz DEFAULT now()", "ALTER TABLE a ADD COLUMN b timestamptz DEFAULT current_timestamp", "ALTER TABLE a ADD COLUMN b email", "ALTER TABLE a ADD COLUMN b serial",
		"ALTER TABLE a ADD COLUMN b int GENERATED ALWAYS AS IDENTITY", "ALTER TABLE a ALTER COLUMN b TYPE text USING f(b)", "ALTER TABLE a SET SCHEMA b", "ALTER TABLE a OWNER TO b", "ALTER TABLE b.a ADD c int",
		"ALTER TABLE a ADD CHECK (f(b))", "ALTER TABLE a ADD EXCLUDE USING gist (b WITH =)", "ALTER TABLE a ENABLE TRIGGER ALL", "ALTER TYPE a ADD VALUE 'b'", "COMMENT ON SCHEMA a IS 'b'", "COMMENT ON COLUMN s.a.b IS 'c'",
		"COMMENT ON TABLE s.a IS 'c'", "CREATE TYPE a AS (b int)", "CREATE VIEW a AS SELECT 1", "CREATE FUNCTION a() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION a", "DROP SCHEMA a", "GRANT ALL ON a TO b",
		"COMMENT ON TABLE a IS E'b'", "COMMENT ON TABLE a IS 'b' 'c'", `COMMENT ON TABLE a IS 'C:\'`, "COMMENT ON TABLE a IS $$b$$", `CREATE TABLE U&"a" (id int)`, "CREATE TABLE ä (id int)", "CREATE TABLE a (id int DEFAULT 1a)",
		"CREATE TABLE a (id int))", "CREATE TABLE a (id int", "CREATE TABLE a ()", "ALTER TABLE a", "CREATE TABLE a (id int DEFAULT 1::b.c)", "CREATE TABLE a (id int) TABLESPACE b", "LOCK TABLE a", "TRUNCATE a",
	} {
		if isPlain(sql) {
			t.Errorf("%s is plain", sql)
		}
	}
}

func isPlain(sql string) bool {
	tokens, open := sqltext.Lex(sql)
	all := sqltext.Split(tokens)
	return open.What == "" && len(all) == 1 && plainDDL(all[0])
}
