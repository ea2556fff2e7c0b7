package schema

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// offline is a resource that needs no server.
func offline(dir string) *Resource { return New(nil, Config{Dir: dir}) }

func TestBrokenFilesAreRefusedWithFileAndLine(t *testing.T) {
	for _, c := range []struct{ name, content, where, word string }{
		{"empty", "", "1", "no '-- +goose Up'"},
		{"comments only", "-- hello\n\n", "1", "no '-- +goose Up'"},
		{"statement before Up", "\n-- hello\nSELECT 1;\n-- +goose Up\n", "3", "before the '-- +goose Up'"},
		{"byte order mark", "\ufeff-- +goose Up\nSELECT 1;\n", "1", "byte order mark"},
		{"unknown annotation", "-- +goose Up\n-- +goose StatmentBegin\nSELECT 1;\n", "2", `"StatmentBegin"`},
		{"empty annotation", "-- +goose Up\n-- +goose\nSELECT 1;\n", "2", "empty annotation"},
		{"indented annotation", "-- +goose Up\nSELECT 1;\n  -- +goose Down\nSELECT 1;\n", "3", "space before"},
		{"two Ups", "-- +goose Up\nSELECT 1;\n-- +goose Up\n", "3", "second '-- +goose Up'"},
		{"two Downs", "-- +goose Up\n-- +goose Down\nSELECT 1;\n-- +goose Down\n", "4", "second '-- +goose Down'"},
		{"Down first", "-- +goose Down\nSELECT 1;\n", "1", "before '-- +goose Up'"},
		{"no semicolon", "-- +goose Up\nSELECT 1;\n\nSELECT\n  2\n", "4", "without a semicolon"},
		{"no semicolon before Down", "-- +goose Up\nSELECT 1\n-- +goose Down\nSELECT 2;\n", "2", "without a semicolon"},
		{"no semicolon in Down", "-- +goose Up\nSELECT 1;\n-- +goose Down\n\nSELECT 2\n", "5", "without a semicolon"},
		{"Begin without End", "-- +goose Up\nSELECT 1;\n-- +goose StatementBegin\nSELECT 2;\n", "3", "StatementBegin without StatementEnd"},
		{"Begin within Begin", "-- +goose Up\n-- +goose StatementBegin\n-- +goose StatementBegin\n", "3", "within the StatementBegin of line 2"},
		{"Down within Begin", "-- +goose Up\n-- +goose StatementBegin\nSELECT 1;\n-- +goose Down\n", "4", "within the StatementBegin of line 2"},
		{"End without Begin", "-- +goose Up\nSELECT 1;\n-- +goose StatementEnd\n", "3", "StatementEnd without"},
		{"nothing between Begin and End", "-- +goose Up\n-- +goose StatementBegin\n-- +goose StatementEnd\nSELECT 1;\n", "4", "leave out this line"},
		{"Begin before Up", "-- +goose StatementBegin\n", "1", "before '-- +goose Up'"},
		{"NUL", "-- +goose Up\nSELECT 1;\nSELECT '\x00';\n", "3", "NUL"},
		{"function without Begin", "-- +goose Up\nSELECT 1;\nCREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n  RETURN 1;\nEND $$;\n", "3", "dollar-quoted string begins here"},
		{"string over a semicolon", "-- +goose Up\nSELECT 'a;\nb';\n", "2", "a string begins here"},
		{"comment over a semicolon", "-- +goose Up\nSELECT 1 /* ;\n*/ ;\n", "2", "a comment begins here"},
		{"commit", "-- +goose Up\nSELECT 1;\nCOMMIT;\n", "3", "COMMIT would end the transaction"},
		{"characteristics", "-- +goose Up\nSET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;\n", "2", "begin each file that needs another one with SET TRANSACTION"},
		{"default level", "-- +goose Up\nSET default_transaction_isolation = 'serializable';\n", "2", "begin each file that needs another one with SET TRANSACTION"},
		{"begin in a block", "-- +goose Up\n-- +goose StatementBegin\nSELECT 1;\nbegin;\n-- +goose StatementEnd\n", "4", "BEGIN would end the transaction"},
		{"concurrently", "-- +goose Up\nSELECT 1;\n\nCREATE INDEX CONCURRENTLY a ON b (c);\n", "4", "NO TRANSACTION"},
		{"concurrently in Down", "-- +goose Up\nSELECT 1;\n-- +goose Down\nDROP INDEX CONCURRENTLY a;\n", "4", "NO TRANSACTION"},
		{"vacuum", "-- +goose Up\nVACUUM a;\n", "2", "NO TRANSACTION"},
		{"copy", "-- +goose Up\nCOPY a FROM stdin;\n", "2", "use INSERT"},
		{"rows of a dump", "-- +goose Up\nCREATE TABLE a (id int);\nCOPY public.a (id) FROM stdin;\n1\n2\n\\.\n\nSELECT 1;\n", "3", "pg_dump --inserts"},
		{"rows of a dump at the end", "-- +goose Up\nCOPY a FROM stdin;\n1\tit's\n\\.\n", "2", "pg_dump --inserts"},
		{"restrict of a dump", "-- +goose Up\n--\n-- PostgreSQL database dump\n--\n\n\\restrict abc123\n\nSET statement_timeout = 0;\n", "6", `\restrict is a command of psql that pg_dump writes`},
		{"unrestrict of a dump", "-- +goose Up\nSELECT 1;\n\\unrestrict abc123\n", "3", `\unrestrict is a command of psql that pg_dump writes`},
		{"a command of psql", "-- +goose Up\n\\connect other\nSELECT 1;\n", "2", `\connect is a command of psql`},
		{"dollar quotes under ENVSUB", "-- +goose Up\n-- +goose ENVSUB ON\n-- +goose StatementBegin\nDO $$ BEGIN PERFORM 1; END $$;\n-- +goose StatementEnd\n", "4", "write $$$$ for $$"},
		{"tagged quotes under ENVSUB", "-- +goose Up\n-- +goose ENVSUB ON\nSELECT $tag$a$tag$;\n", "3", "write $$$$ for $$"},
		{"create role", "-- +goose Up\nCREATE ROLE a;\n", "2", "CREATE ROLE is of the whole server"},
		{"create database", "-- +goose NO TRANSACTION\n-- +goose Up\nCREATE DATABASE a;\n", "3", "CREATE DATABASE is of the whole server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := offline(folder(t, map[string]string{"00001_good.sql": "-- +goose Up\nSELECT 1;\n", "00002_bad.sql": c.content}))
			_, err := r.Files(t.Context())
			e := refused(t, err, tenant.ErrMigration, c.word, "migrate check")
			if want := "00002_bad.sql:" + c.where + ": "; !strings.HasPrefix(e.Msg, want) {
				t.Errorf("got %q, want it to begin with %s", e.Msg, want)
			}
			findings, err := r.Check(t.Context())
			must(t, err)
			for _, f := range findings {
				if f.Severity == migrationfile.Severe {
					if fmt.Sprint(f.Line) != c.where || !strings.HasSuffix(f.File, "00002_bad.sql") || !strings.Contains(f.Message, c.word) || f.Rule == "" || f.Store != tenant.KindPostgres {
						t.Errorf("check says %+v", f)
					}
					return
				}
			}
			t.Errorf("check finds nothing severe: %+v", findings)
		})
	}
}

// A file that does nothing is a fault, but not one that keeps others from being run: tenants may have applied it.
func TestAFileThatDoesNothingIsFound(t *testing.T) {
	for name, content := range map[string]string{"the template": migrationfile.Template, "comments": "-- +goose Up\n-- to be done\n", "a Down alone": "-- +goose Up\n\n-- +goose Down\nSELECT 1;\n"} {
		r := offline(folder(t, map[string]string{"00001_good.sql": "-- +goose Up\nSELECT 1;\n", "00002_nothing.sql": content}))
		findings, err := r.Check(t.Context())
		must(t, err)
		if !slices.ContainsFunc(findings, func(f tenant.Finding) bool {
			return f.Rule == migrationfile.RuleEmpty && f.Severity == migrationfile.Severe && f.Version == 2
		}) {
			t.Errorf("%s: check says %+v", name, findings)
		}
		files, err := r.Files(t.Context())
		must(t, err)
		if files[0].Empty || !files[1].Empty {
			t.Errorf("%s: the files are %+v", name, files)
		}
	}
}

func TestDollarQuotesWhereTheEnvironmentIsNotReadAreLeftAlone(t *testing.T) {
	for _, content := range []string{
		"-- +goose ENVSUB ON\n-- +goose StatementBegin\nDO $$$$ BEGIN PERFORM '${HOME}'; END $$$$;\n-- +goose StatementEnd\n",
		"-- +goose ENVSUB ON\nSELECT 'US$$5';\n-- +goose ENVSUB OFF\n-- +goose StatementBegin\nDO $$ BEGIN PERFORM 1; END $$;\n-- +goose StatementEnd\n",
	} {
		_, err := offline(one(t, content)).Files(t.Context())
		must(t, err)
	}
}

func TestWhatIsNoTransactionControlIsLeftAlone(t *testing.T) {
	for _, content := range []string{
		"SAVEPOINT a;\nROLLBACK TO a;\nROLLBACK WORK TO SAVEPOINT a;\nRELEASE a;\n",
		"-- +goose StatementBegin\nCREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;\n-- +goose StatementEnd\n",
		"-- +goose StatementBegin\nCREATE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT CASE WHEN a = 1 THEN 2 END; SELECT 3; END;\n-- +goose StatementEnd\nSELECT 1;\n",
		"SELECT 'COMMIT;' /* COMMIT; */; -- COMMIT;\n",
		"CREATE TABLE \"begin\" (\"end\" int);\n",
		"CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b);\n",
	} {
		if _, err := offline(one(t, content)).Files(t.Context()); err != nil {
			t.Errorf("%s\nis refused: %v", content, err)
		}
	}
}

func TestFoldersWithoutMigrationsAreRefused(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "nothing")
	_, err := offline(missing).Files(t.Context())
	refused(t, err, tenant.ErrInvalid, missing, "does not exist", "tenantctl migrate new")
	_, err = offline(missing).Check(t.Context())
	refused(t, err, tenant.ErrInvalid, missing)

	empty := folder(t, map[string]string{"README.md": "", "notes.sql": "", "helpers.go": "", "00001_x_test.go": ""})
	_, err = offline(empty).Files(t.Context())
	refused(t, err, tenant.ErrInvalid, empty, "holds no migrations", "tenantctl migrate new")

	file := filepath.Join(empty, "README.md")
	_, err = offline(file).Files(t.Context())
	refused(t, err, tenant.ErrInvalid, file, "not a directory")

	goCode := folder(t, map[string]string{"00001_a.sql": "-- +goose Up\nSELECT 1;\n", "00002_b.go": "package x"})
	_, err = offline(goCode).Files(t.Context())
	refused(t, err, tenant.ErrInvalid, "00002_b.go: ", "go-coded migrations are out of scope")

	twice := folder(t, map[string]string{"00001_a.sql": "-- +goose Up\nSELECT 1;\n", "1_b.sql": "-- +goose Up\nSELECT 1;\n"})
	_, err = offline(twice).Files(t.Context())
	refused(t, err, tenant.ErrMigration, "1_b.sql: ", "00001_a.sql")
}

func TestCheckFindsWhatIsRisky(t *testing.T) {
	dir := folder(t, map[string]string{
		"00001_fine.sql":  "-- +goose Up\nCREATE TABLE a (id int REFERENCES b);\nSELECT a.id, extract(epoch FROM a.at) FROM a JOIN b ON a.id = b.id WHERE a.x IS DISTINCT FROM a.y;\nSELECT pg_catalog.now() FROM information_schema.tables;\nUPDATE a SET x = 'public.b', y = \"a\".\"x\"; -- public.c\n-- +goose Down\nDROP TABLE a;\n",
		"00002_names.sql": "-- +goose Up\nCREATE TABLE other.a (id int);\nCREATE INDEX i ON\n  other.a (id);\nSELECT public.gen_random_uuid();\nINSERT INTO \"Other\".a SELECT 1 FROM other.b;\n-- +goose StatementBegin\nCREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n  DELETE FROM public.a;\n  SELECT 1 INTO r.x;\nEND $$;\n-- +goose StatementEnd\n-- +goose Down\nDROP TABLE IF EXISTS other.a;\n",
		"00004_more.sql":  "-- +goose Up\nCREATE SCHEMA x;\nSET search_path = x;\nSET LOCAL search_path TO x;\n",
		"00007_notx.sql":  "-- +goose NO TRANSACTION\n-- +goose Up\nSELECT 1;\nSELECT 2;\n-- +goose Down\nSELECT 1;\n",
		"first.sql":       "",
	})
	findings, err := offline(dir).Check(t.Context())
	must(t, err)
	var got []string
	for _, f := range findings {
		got = append(got, fmt.Sprintf("%s:%d %s %s", filepath.Base(f.File), f.Line, f.Severity, f.Rule))
		if f.Severity == migrationfile.Warning && f.Rule == "schema-name" && !strings.Contains(f.Message, "extensions") {
			t.Errorf("%q does not say when a name is right", f.Message)
		}
	}
	want := []string{
		"00002_names.sql:2 warning schema-name", "00002_names.sql:4 warning schema-name", "00002_names.sql:5 warning schema-name",
		"00002_names.sql:6 warning schema-name", "00002_names.sql:6 warning schema-name", "00002_names.sql:10 warning schema-name",
		"00002_names.sql:15 warning schema-name",
		"00004_more.sql:0 warning gap", "00004_more.sql:0 warning no-down", "00004_more.sql:2 warning schema", "00004_more.sql:3 warning search-path", "00004_more.sql:4 warning search-path",
		"00007_notx.sql:0 warning gap", "00007_notx.sql:4 warning not-atomic", "first.sql:0 warning name",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, err := offline(dir).Files(t.Context()); err != nil {
		t.Errorf("what has warnings only is refused: %v", err)
	}
	findings, err = offline(example).Check(t.Context())
	if findings = slices.DeleteFunc(findings, func(f tenant.Finding) bool { return f.Ignored }); err != nil || len(findings) != 0 {
		t.Errorf("the example has %+v, %v", findings, err)
	}
	times := folder(t, map[string]string{"20260101000000_a.sql": "-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 1;\n", "20260201000000_b.sql": "-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 1;\n"})
	if findings, err := offline(times).Check(t.Context()); err != nil || len(findings) != 0 {
		t.Errorf("numbers that are times have %+v, %v", findings, err)
	}
}

func TestCheckFindsEverySpellingOfAPathOrRole(t *testing.T) {
	for sql, want := range map[string]string{
		"SET search_path = x;": "search-path", "SET SESSION search_path TO x;": "search-path", "SET LOCAL search_path = x;": "search-path",
		"SET SCHEMA 'x';": "search-path", "SET LOCAL SCHEMA 'x';": "search-path", "SET SESSION SCHEMA 'x';": "search-path", `SET "search_path" = x;`: "search-path",
		"SET /* a */ Search_Path = x;": "search-path", "RESET search_path;": "search-path", "RESET ALL;": "search-path",
		"SELECT set_config('search_path', 'x', false);": "search-path", "SELECT pg_catalog.set_config('Search_Path', 'x', true);": "search-path",
		"DO $$ BEGIN PERFORM set_config('search_path', 'x', false); END $$;": "search-path",
		"DO $$ BEGIN IF true THEN SET search_path = x; END IF; END $$;":      "search-path",
		"DO $$ BEGIN SET SCHEMA 'x'; END $$;":                                "search-path",
		"SET ROLE x;":                                                        "role-change", "SET LOCAL ROLE x;": "role-change", "SET SESSION AUTHORIZATION x;": "role-change", "SET role = x;": "role-change",
		"SELECT set_config('role', 'x', false);": "role-change", "RESET ROLE;": "", "SET LOCAL SESSION AUTHORIZATION x;": "role-change",
		"SET TIME ZONE 'UTC';": "", "SET statement_timeout = 0;": "", "UPDATE a SET role = 'x', schema = 'y';": "",
		"CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = pg_catalog AS $$ SELECT 1 $$;": "",
		"ALTER TABLE a SET SCHEMA b;": "", "ALTER FUNCTION f() RESET ALL;": "",
	} {
		m, err := migrationfile.Compile("00001_a.sql", 1, "a", []byte("-- +goose Up\n-- +goose StatementBegin\n"+sql+"\n-- +goose StatementEnd\n-- +goose Down\nSELECT 1;\n"))
		must(t, err)
		got := ""
		for _, f := range m.Lint() {
			got += f.Rule
		}
		if got != want {
			t.Errorf("%s gave %q, want %q", sql, got, want)
		}
	}
}

func TestCheckFindsWhatCannotRunInATransaction(t *testing.T) {
	const block = "-- +goose StatementBegin\n%s\n-- +goose StatementEnd\n"
	for _, c := range []struct{ header, sql, want string }{
		{"", "REINDEX (VERBOSE) INDEX CONCURRENTLY a;", "no-transaction"},
		{"", "REINDEX (CONCURRENTLY) TABLE a;", "no-transaction"},
		{"", "REINDEX (CONCURRENTLY true, VERBOSE) TABLE a;", "no-transaction"},
		{"", "REINDEX TABLE CONCURRENTLY a;", "no-transaction"},
		{"", "REINDEX SCHEMA a;", "no-transaction"},
		{"", "CLUSTER;", "no-transaction"},
		{"", "CREATE UNIQUE INDEX CONCURRENTLY a ON b (c);", "no-transaction"},
		{"", "REINDEX (CONCURRENTLY false) TABLE a;", ""},
		{"", "REINDEX INDEX a;", ""},
		{"", "CLUSTER a;", ""},
		{"-- +goose NO TRANSACTION\n", "CREATE INDEX CONCURRENTLY a ON c (d); CREATE INDEX CONCURRENTLY b ON c (d);", "no-transaction no-transaction"},
		{"-- +goose NO TRANSACTION\n", "SET lock_timeout = 0; REINDEX (VERBOSE) TABLE CONCURRENTLY c;", "no-transaction"},
		{"-- +goose NO TRANSACTION\n", "CREATE INDEX CONCURRENTLY a ON c (d);", ""},
	} {
		m, err := migrationfile.Compile("00001_a.sql", 1, "a", []byte(c.header+"-- +goose Up\n"+fmt.Sprintf(block, c.sql)+"-- +goose Down\nSELECT 1;\n"))
		must(t, err)
		var got []string
		for _, f := range m.Lint() {
			got = append(got, f.Rule)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s%s gave %q, want %q", c.header, c.sql, got, c.want)
		}
	}
}

func TestFilesAreOrderedByVersionNotByName(t *testing.T) {
	dir := folder(t, map[string]string{"10_c.sql": "-- +goose Up\nSELECT 3;\n", "9_b.sql": "-- +goose Up\nSELECT 2;\n", "001_a.sql": "-- +goose Up\nSELECT 1;\n"})
	files, err := offline(dir).Files(t.Context())
	must(t, err)
	var got []string
	for _, f := range files {
		got = append(got, fmt.Sprintf("%d %s %s %d", f.Version, f.Name, filepath.Base(f.Path), len(f.Checksum)))
	}
	if fmt.Sprint(got) != "[1 a 001_a.sql 72 9 b 9_b.sql 72 10 c 10_c.sql 72]" {
		t.Errorf("got %v", got)
	}
	before := files[1].Checksum
	write(t, dir, "9_b.sql", "-- +goose Up\nSELECT 2, 2;\n")
	files, err = offline(dir).Files(t.Context())
	must(t, err)
	if files[1].Checksum == before {
		t.Error("a change of the file does not change its checksum")
	}
}

func TestNewFollowsTheNumbersThatAreThere(t *testing.T) {
	for _, c := range []struct{ have, name, want string }{
		{"", "add_orders", "00001_add_orders.sql"},
		{"00007_x.sql", "Add-Orders", "00008_add_orders.sql"},
		{"007_x.sql", "y2", "008_y2.sql"},
		{"9_x.sql", "y", "10_y.sql"},
		{"99990101000000_x.sql", "y", "99990101000001_y.sql"},
	} {
		dir := filepath.Join(t.TempDir(), "deep", "migrations")
		if c.have != "" {
			must(t, os.MkdirAll(dir, 0o700))
			write(t, dir, c.have, "broken")
		}
		paths, err := offline(dir).New(c.name, false)
		must(t, err)
		if len(paths) != 1 || paths[0] != filepath.Join(dir, c.want) {
			t.Errorf("after %q, new %s wrote %v, want %s", c.have, c.name, paths, c.want)
		}
	}
	if got := migrationfile.NextNumber([]migrationfile.Source{{Version: 20260101000000}}, time.Date(2026, 11, 23, 1, 2, 3, 0, time.FixedZone("", 3600))); got != "20261123000203" {
		t.Errorf("the next time is %s", got)
	}
	dir := t.TempDir()
	for i := range 3 {
		if _, err := offline(dir).New("again", false); err != nil {
			t.Fatal(i, err)
		}
	}
	if files, err := offline(dir).Files(t.Context()); err != nil || len(files) != 3 {
		t.Errorf("what new wrote is %v, %v", files, err)
	}
	for _, name := range []string{"", " ", "../x", "a b", "a/b", "a.b", "_a", "a_", "a__b", "ä", strings.Repeat("a", 200), "a\n"} {
		_, err := offline(dir).New(name, false)
		refused(t, err, tenant.ErrInvalid, "migration name")
	}
}
