package schema

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// acme are the names that forged statements are filled with.
var acme = sqltext.Spelling{Ident: quote("tenant_acme"), Literal: text("tenant_acme"), Role: quote("tenant_acme")}

// admitsAll fails where a statement of a part is refused.
func admitsAll(t *testing.T, path, sql string) {
	t.Helper()
	for _, s := range statementsOf(sql) {
		if _, err := admit(path, []sqlStatement{s}, acme, "tenant_acme"); err != nil {
			t.Errorf("%v\n%s", err, s.text)
		}
	}
}

func TestEveryKindOfObjectInASchemaIsAdmitted(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	super := b.super()
	rare, err := os.ReadFile("testdata/rare.sql")
	must(t, err)
	schema := b.prefix + "rare"
	_, err = super.Exec(t.Context(), fmt.Sprintf("CREATE SCHEMA %s; SET search_path = %[1]s; GRANT CREATE, USAGE ON SCHEMA %[1]s TO PUBLIC;\n", schema)+string(rare))
	must(t, err)
	program, err := b.client(t.Context(), b.major())
	must(t, err)
	u, err := url.Parse(tenanttest.SuperuserURL(t))
	must(t, err)
	u.Path = "/" + b.pool.Config().ConnConfig.Database
	raw, err := b.at(u.String()).pgDump(t.Context(), tenant.Tenant{Schema: schema}, program)
	must(t, err)
	defs := raw.write(sqltext.Renaming{Schema: schema, Owners: []string{u.User.Username()}, Objects: map[string]bool{}, To: sqltext.Variables}, nil)
	for path, sql := range map[string]string{partPre: defs.pre, partPost: defs.post, partGrants: defs.grants} {
		admitsAll(t, path, sql)
	}
	for _, kind := range []string{"OPERATOR CLASS", "OPERATOR FAMILY", "TEXT SEARCH CONFIGURATION", "CONVERSION", "AGGREGATE", "FOREIGN TABLE", "COLLATION"} {
		if !strings.Contains(defs.pre, kind) {
			t.Errorf("the dump holds no %s", kind)
		}
	}
}

// forgeries are statements that no dump writes, by what they would do.
var forgeries = map[string]string{
	"a statement of another kind":           `DROP TABLE :"tenant_schema".customers`,
	"a block":                               `DO $$ BEGIN END $$`,
	"a call":                                `CALL :"tenant_schema".f()`,
	"the end of the transaction":            `COMMIT`,
	"the end of the transaction, otherwise": `END`,
	"an abort":                              `ROLLBACK`,
	"a prepared transaction":                `PREPARE TRANSACTION 'x'`,
	"a savepoint":                           `SAVEPOINT x`,
	"a transaction's settings":              `SET TRANSACTION READ ONLY`,
	"a setting":                             `SET standard_conforming_strings = off`,
	"a role":                                `SET ROLE postgres`,
	"a session's user":                      `SET SESSION AUTHORIZATION postgres`,
	"a reset":                               `RESET ROLE`,
	"the search path":                       `SET search_path = public`,
	"two settings in one":                   `SET default_table_access_method = heap, x`,
	"rows":                                  `INSERT INTO :"tenant_schema".t VALUES (1)`,
	"a query":                               `SELECT pg_catalog.pg_read_file('/etc/passwd')`,
	"a query beside a sequence":             `SELECT pg_catalog.setval('"'` + "\n" + `:'tenant_schema'` + "\n" + `'"."s"', 5, true), pg_catalog.pg_sleep(9)`,
	"a value from a query":                  `SELECT pg_catalog.setval('"'` + "\n" + `:'tenant_schema'` + "\n" + `'"."s"', (SELECT 1), true)`,
	"a sequence elsewhere":                  `SELECT pg_catalog.setval('"tenant_other"."s"', 5, true)`,
	"a sequence by one string":              `SELECT pg_catalog.setval('tenant_acme.s', 5, true)`,
	"a sequence elsewhere by escapes":       `SELECT pg_catalog.setval(E'"tenant\x5fother"."s"', 5, true)`,
	"another setval":                        `SELECT public.setval('"'` + "\n" + `:'tenant_schema'` + "\n" + `'"."s"', 5, true)`,
	"a file":                                `COPY :"tenant_schema".t FROM '/etc/passwd'`,
	"a program":                             `COPY :"tenant_schema".t FROM PROGRAM 'id'`,
	"an extension":                          `CREATE EXTENSION plpython3u`,
	"a schema":                              `CREATE SCHEMA other`,
	"a role that is made":                   `CREATE ROLE r SUPERUSER`,
	"a role that is changed":                `ALTER ROLE tenantctl SUPERUSER`,
	"a role that is granted":                `GRANT tenantctl TO tenant_acme`,
	"an event trigger":                      `CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION :"tenant_schema".f()`,
	"a cast":                                `CREATE CAST (int AS text) WITH FUNCTION :"tenant_schema".f(int)`,
	"a publication":                         `CREATE PUBLICATION p FOR ALL TABLES`,
	"a subscription":                        `CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p`,
	"a language":                            `CREATE LANGUAGE plperlu`,
	"a table without a schema":              `CREATE TABLE customers (id int)`,
	"a table elsewhere":                     `CREATE TABLE public.t (id int)`,
	"a table elsewhere in the database":     `CREATE TABLE :"tenant_schema".public.t (id int)`,
	"a temporary table":                     `CREATE TEMP TABLE t (id int)`,
	"a table of a query":                    `CREATE TABLE :"tenant_schema".t AS SELECT pg_catalog.pg_read_file('x')`,
	"a table of a query, with names":        `CREATE TABLE :"tenant_schema".t (a) AS SELECT 1`,
	"a table by a prepared query":           `CREATE TABLE :"tenant_schema".t (a) WITH (fillfactor = 10) AS EXECUTE q`,
	"a partition of another's table":        `CREATE TABLE :"tenant_schema".t PARTITION OF public.t DEFAULT`,
	"a materialised view that is filled":    `CREATE MATERIALIZED VIEW :"tenant_schema".v AS SELECT pg_catalog.pg_read_file('x')`,
	"a view elsewhere":                      `CREATE VIEW public.v AS SELECT 1`,
	"a recursive view":                      `CREATE RECURSIVE VIEW :"tenant_schema".v (n) AS SELECT 1`,
	"a function elsewhere":                  `CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
	"a function in the place of another":    `CREATE OR REPLACE FUNCTION :"tenant_schema".f() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
	"a function without a language":         `CREATE FUNCTION :"tenant_schema".f() RETURNS int AS 'SELECT 1'`,
	"a language by escapes":                 `CREATE FUNCTION :"tenant_schema".f() RETURNS int LANGUAGE E'\x63' AS 'a', 'b'`,
	"a language by numbers":                 `CREATE FUNCTION :"tenant_schema".f() RETURNS int LANGUAGE U&'\0063' AS 'a', 'b'`,
	"an index elsewhere":                    `CREATE INDEX i ON public.t (id)`,
	"an index beside the transaction":       `CREATE INDEX CONCURRENTLY i ON :"tenant_schema".t (id)`,
	"a trigger elsewhere":                   `CREATE TRIGGER t BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION :"tenant_schema".f()`,
	"a trigger elsewhere, with a column":    `CREATE TRIGGER t BEFORE UPDATE OF "on", a ON public.t FOR EACH ROW EXECUTE FUNCTION :"tenant_schema".f()`,
	"a rule elsewhere":                      `CREATE RULE r AS ON INSERT TO public.t DO INSTEAD NOTHING`,
	"a policy elsewhere":                    `CREATE POLICY p ON public.t USING (true)`,
	"an owner":                              `ALTER TABLE :"tenant_schema".t OWNER TO postgres`,
	"a function's owner":                    `ALTER FUNCTION :"tenant_schema".f() OWNER TO postgres`,
	"a function's rights":                   `ALTER FUNCTION :"tenant_schema".f() SECURITY DEFINER`,
	"another schema":                        `ALTER TABLE :"tenant_schema".t SET SCHEMA public`,
	"another name":                          `ALTER TABLE :"tenant_schema".t RENAME TO u`,
	"two changes in one":                    `ALTER TABLE :"tenant_schema".t ALTER COLUMN a SET DEFAULT 1, OWNER TO postgres`,
	"a change of two, behind an array":      `ALTER TABLE :"tenant_schema".t ALTER COLUMN a SET DEFAULT ARRAY[1, 2], OWNER TO postgres`,
	"a partition elsewhere":                 `ALTER TABLE ONLY :"tenant_schema".t ATTACH PARTITION public.u DEFAULT`,
	"a table elsewhere that is changed":     `ALTER TABLE public.t ADD CONSTRAINT c CHECK (true)`,
	"a column's type by a query":            `ALTER TABLE :"tenant_schema".t ALTER COLUMN a TYPE text USING pg_catalog.pg_read_file('x')`,
	"an identity's sequence elsewhere":      `ALTER TABLE :"tenant_schema".t ALTER COLUMN a ADD GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME public.s)`,
	"a multirange elsewhere":                `CREATE TYPE :"tenant_schema".r AS RANGE (subtype = int, multirange_type_name = public.m)`,
	"a sequence elsewhere that is owned":    `ALTER SEQUENCE public.s OWNED BY :"tenant_schema".t.a`,
	"a comment on the schema":               `COMMENT ON SCHEMA :"tenant_schema" IS 'tenantctl:00000000-0000-0000-0000-000000000000'`,
	"a comment on a role":                   `COMMENT ON ROLE tenant_acme IS 'tenantctl:x'`,
	"a comment on the database":             `COMMENT ON DATABASE app IS 'x'`,
	"a comment that is a query":             `COMMENT ON TABLE :"tenant_schema".t IS 'a' || 'b'`,
	"a right on the database":               `GRANT ALL ON DATABASE app TO tenant_acme`,
	"a right on another schema":             `GRANT ALL ON SCHEMA public TO tenant_acme`,
	"a right on all of a schema":            `GRANT ALL ON ALL TABLES IN SCHEMA :"tenant_schema" TO PUBLIC`,
	"a right on a table elsewhere":          `GRANT SELECT ON TABLE public.t TO tenant_acme`,
	"a right on two tables":                 `GRANT SELECT ON TABLE :"tenant_schema".t, public.t TO tenant_acme`,
	"a right on a language":                 `GRANT USAGE ON LANGUAGE plperlu TO tenant_acme`,
	"a right on a server":                   `GRANT USAGE ON FOREIGN SERVER s TO tenant_acme`,
	"a right on a setting":                  `GRANT SET ON PARAMETER log_statement TO tenant_acme`,
	"a right to whoever works":              `GRANT SELECT ON TABLE :"tenant_schema".t TO SESSION_USER`,
	"a right in another's name":             `GRANT SELECT ON TABLE :"tenant_schema".t TO r GRANTED BY postgres`,
	"rights of what is made anywhere":       `ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO tenant_acme`,
	"rights of what is made elsewhere":      `ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO tenant_acme`,
	"rights of what is made in two":         `ALTER DEFAULT PRIVILEGES IN SCHEMA :"tenant_schema", public GRANT ALL ON TABLES TO tenant_acme`,
	"a look at a statement":                 `EXPLAIN ANALYZE SELECT 1`,
	"a lock":                                `LOCK TABLE :"tenant_schema".t`,
	"a library":                             `LOAD 'x'`,
	"a message":                             `NOTIFY x`,
	"a large object":                        `SELECT pg_catalog.lo_import('/etc/passwd')`,
	"an import of a foreign schema":         `IMPORT FOREIGN SCHEMA s FROM SERVER x INTO :"tenant_schema"`,
	"a user of a server":                    `CREATE USER MAPPING FOR PUBLIC SERVER s`,
	"the system":                            `ALTER SYSTEM SET archive_command = 'id'`,
	"a statement in a comment's end":        "CREATE VIEW :\"tenant_schema\".v AS SELECT 1 --\rUNION SELECT 2",
	"a comment":                             `CREATE VIEW :"tenant_schema".v AS SELECT 1 /* x */ AS a`,
	"a comment before the kind":             `CREATE /* x */ VIEW :"tenant_schema".v AS SELECT 1`,
	"a string that goes on with escapes":    `COMMENT ON TABLE :"tenant_schema".t IS E'a'` + "\n" + `'\'; DROP TABLE x; --'`,
	"a view with a string that goes on":     `CREATE VIEW :"tenant_schema".v AS SELECT E'a'` + "\n" + `'\'; DROP TABLE x; --'`,
	"an escape behind a number":             `CREATE VIEW :"tenant_schema".v AS SELECT 1e'\'; DROP TABLE x; --'`,
	"a number that runs into a word":        `CREATE VIEW :"tenant_schema".v AS SELECT 1union select 2`,
	"names by numbers":                      `CREATE VIEW U&"tenant\005facme".v AS SELECT 1`,
	"strings by numbers":                    `CREATE VIEW :"tenant_schema".v AS SELECT U&'\0061'`,
	"a NUL":                                 "CREATE VIEW :\"tenant_schema\".v AS SELECT 1\x00; DROP TABLE x",
	"a kind in quotes":                      `"CREATE" VIEW :"tenant_schema".v AS SELECT 1`,
	"nothing but a sign":                    `= 1`,
	"a statement that does not end":         `COMMENT ON TABLE :"tenant_schema".t IS 'a`,
}

func TestForgedStatementsAreRefused(t *testing.T) {
	for what, sql := range forgeries {
		t.Run(what, func(t *testing.T) {
			before := "SET search_path = :\"tenant_schema\";\nCREATE TABLE :\"tenant_schema\".t (\n a int\n);\n"
			_, err := admit(partPost, statementsOf(before+sql+";\n"), acme, "tenant_acme")
			var e *tenant.Error
			if !errors.As(err, &e) || e.Code != "forged" || e.Kind != tenant.ErrDiffers || !strings.Contains(e.Msg, partPost) || !strings.Contains(e.Msg, "line 5") {
				t.Errorf("%s gives %v", sql, err)
			}
		})
	}
}

func TestAStatementAfterEachAdmittedOneIsRefusedByName(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	m := b.dump(b.full("acme"))
	for _, path := range []string{partPre, partSequences, partPost, partGrants} {
		all := statementsOf(m.file(t, path).String())
		admitsAll(t, path, m.file(t, path).String())
		for i := range all {
			for _, sql := range []string{"DROP ROLE x", "COMMIT"} {
				forged := slices.Insert(slices.Clone(all), i+1, statementsOf(sql)...)
				if _, err := admit(path, forged, acme, "tenant_acme"); err == nil || !strings.Contains(err.Error(), sql) {
					t.Fatalf("after %s: %v", all[i].text, err)
				}
			}
		}
	}
}

func TestTheServerItselfRefusesSeveralStatementsInOne(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	conn, err := b.pool.Acquire(t.Context())
	must(t, err)
	defer conn.Release()
	pg := conn.Conn().PgConn()
	for _, sql := range []string{"SELECT 1; SELECT 2", "CREATE TABLE x (a int); COMMIT; DROP TABLE x"} {
		commands := []command{cmd("BEGIN"), {sql: "SELECT 0", count: 1, alone: true}, {sql: sql, count: 1, alone: true}, cmd("COMMIT")}
		err := send(t.Context(), pg, commands)
		var at *refusedCommand
		if code(err) != syntaxError || !errors.As(err, &at) || at.sql != sql {
			t.Errorf("%s gives %v", sql, err)
		}
		if pg.TxStatus() != 'E' {
			t.Errorf("after %s the transaction is %c", sql, pg.TxStatus())
		}
		rollback(t.Context(), conn)
	}
}

func TestForgedPartsAreRefusedBeforeAnythingOfThemIsRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	m := b.dump(b.created("acme"))
	for _, c := range [][]string{
		{partPre, "CREATE ROLE forged", "CREATE ROLE"},
		{partPre, `CREATE FUNCTION :"tenant_schema".f() RETURNS int LANGUAGE c AS 'a', 'b'`, "untrusted language c"},
		{partPost, `CREATE FUNCTION :"tenant_schema".f() RETURNS int LANGUAGE "internal" AS 'a'`, "untrusted language internal"},
		{partSequences, "COMMIT", "COMMIT"},
		{partPost, `ALTER FUNCTION :"tenant_schema".f() OWNER TO postgres`, "ALTER FUNCTION"},
		{partGrants, "GRANT postgres TO PUBLIC", "GRANT"},
	} {
		path := c[0]
		forged := new(memory)
		forged.info = m.info
		for _, f := range m.files {
			g := &memoryFile{part: f.part}
			g.Write(f.Bytes())
			if f.part.Path == path {
				g.WriteString("CREATE TABLE :\"tenant_schema\".forged (a int);\n" + c[1] + ";\n")
			}
			forged.files = append(forged.files, g)
		}
		tn := b.tenant("globex")
		err := forged.into(t.Context(), b.Resource, tn, tenant.LoadOptions{Role: tn.Role, MakeRole: true}, 1<<20)
		refused(t, err, tenant.ErrDiffers, path, c[2])
		if n := b.scalar("SELECT count(*) FROM pg_class WHERE relname = 'forged' AND relnamespace = to_regnamespace('%s')", tn.Schema); n != "0" {
			t.Errorf("%s: the statement before the forged one was run", path)
		}
		must(t, b.Drop(t.Context(), tn))
	}
}

func TestACopyIsWrittenAnewFromItsNames(t *testing.T) {
	for line, want := range map[string]string{
		`COPY :"tenant_schema".t FROM stdin;`:                           `COPY "s"."t" FROM STDIN`,
		`COPY :"tenant_schema".t (a, "B ""c") FROM stdin;`:              `COPY "s"."t" ("a", "B ""c") FROM STDIN`,
		"COPY :\"tenant_schema\".t --\r FROM PROGRAM 'id' --\n;":        "",
		"COPY :\"tenant_schema\".t /* ; */ (a -- x\n) FROM stdin;":      `COPY "s"."t" ("a") FROM STDIN`,
		`COPY :"tenant_schema".t FROM PROGRAM 'id';`:                    "",
		`COPY :"tenant_schema".t FROM stdin WHERE pg_sleep(9) IS NULL;`: "",
		`COPY public.t FROM stdin;`:                                     "",
		`COPY (SELECT 1) TO STDOUT;`:                                    "",
	} {
		if got, _, err := copyStatement(line, `"s"`); got != want || (err == nil) != (want != "") {
			t.Errorf("%s is %q (%v), want %q", line, got, err, want)
		}
	}
}
