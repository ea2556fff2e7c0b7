package schema

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// repointed exchanges a tenant's schema with one restored beside it, as a restore does, and takes along what is outside.
func (b bench) repointed(tn, beside tenant.Tenant) error {
	return pgx.BeginFunc(b.t.Context(), b.pool, func(tx pgx.Tx) error {
		list, err := b.DependentsIn(b.t.Context(), tx, tn)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(d tenant.Dependent) bool { return !d.Repoints })
		return b.Repoint(b.t.Context(), tx, list, func() error { return b.Exchange(b.t.Context(), tx, tn, beside) })
	})
}

func TestDependentsAreMadeAgainOnWhatWasRestored(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	l := b.catalog()
	tn := b.created("acme")
	l.enter(tn)
	here, reader := b.outsider(), b.prefix+"reader"
	super := b.super()
	run := func(format string, args ...any) {
		t.Helper()
		if _, err := super.Exec(t.Context(), fmt.Sprintf(format, args...), pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%v\n%s", err, fmt.Sprintf(format, args...))
		}
	}
	run("CREATE ROLE %[1]s; GRANT %[1]s TO %[2]s", reader, b.pool.Config().ConnConfig.User)
	t.Cleanup(func() {
		for _, sql := range []string{"DROP OWNED BY %s CASCADE", "DROP ROLE %s"} {
			if _, err := super.Exec(context.Background(), fmt.Sprintf(sql, reader)); err != nil {
				t.Error(err)
			}
		}
	})
	b.exec("INSERT INTO %s.customers (email, name) VALUES ('a', 'then')", tn.Schema)
	m := b.dump(tn)
	b.exec("INSERT INTO %s.customers (email, name) VALUES ('b', 'now')", tn.Schema)
	b.exec(`CREATE VIEW %[1]s.people WITH (security_barrier = true) AS SELECT email FROM %[2]s.customers;
		COMMENT ON VIEW %[1]s.people IS 'who'; GRANT SELECT ON %[1]s.people TO PUBLIC;
		CREATE VIEW %[1]s.over AS SELECT * FROM %[1]s.people;
		CREATE VIEW %[1]s.states AS SELECT id, state FROM %[2]s.orders; COMMENT ON COLUMN %[1]s.states.state IS 'of an enum'; GRANT SELECT (id) ON %[1]s.states TO PUBLIC;
		CREATE VIEW %[1]s.theirs AS SELECT count(*) FROM %[2]s.products; GRANT SELECT ON %[2]s.products TO %[3]s; GRANT USAGE, CREATE ON SCHEMA %[1]s TO %[3]s; ALTER VIEW %[1]s.theirs OWNER TO %[3]s;
		CREATE TABLE %[1]s.notes (customer bigint CONSTRAINT of_one REFERENCES %[2]s.customers ON DELETE CASCADE DEFERRABLE); COMMENT ON CONSTRAINT of_one ON %[1]s.notes IS 'why';
		INSERT INTO %[1]s.notes VALUES (1)`, here, tn.Schema, reader)
	b.exec("CREATE PUBLICATION %sp FOR TABLE %s.customers (id, email) WHERE (id > 5), TABLE %[2]s.orders", b.prefix, tn.Schema)
	state := func() string {
		return b.scalar(`SELECT string_agg(line, E'\n' ORDER BY line) FROM (
			SELECT c.relname || ' ' || pg_get_viewdef(c.oid) || ' ' || coalesce(c.reloptions::text, '') || ' ' || coalesce(c.relacl::text, '') || pg_get_userbyid(c.relowner) || coalesce(obj_description(c.oid, 'pg_class'), '')
				|| coalesce((SELECT string_agg(coalesce(attacl::text, '') || coalesce(col_description(c.oid, attnum), ''), ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0), '')
			FROM pg_class c WHERE relnamespace = '%[1]s'::regnamespace AND relkind = 'v'
			UNION ALL SELECT conname || pg_get_constraintdef(oid) || obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conrelid = '%[1]s.notes'::regclass
			UNION ALL SELECT schemaname || '.' || tablename || attnames::text || coalesce(rowfilter, '') FROM pg_publication_tables WHERE pubname = '%[2]sp') x(line)`, here, b.prefix)
	}
	before := state()
	beside := b.tenant("acme-restored")
	must(t, m.into(t.Context(), b.Resource, beside, tenant.LoadOptions{Role: tn.Role}, 1<<20))
	list, err := b.Dependents(t.Context(), tn)
	must(t, err)
	if len(list) != 6 || slices.ContainsFunc(list, func(d tenant.Dependent) bool { return !d.Repoints }) {
		t.Fatalf("of 6 that can be made again there are %+v", list)
	}
	must(t, b.repointed(tn, beside))
	if after := state(); after != before {
		t.Errorf("made again they are\n%s\nwant\n%s", after, before)
	}
	for _, sql := range []string{"SELECT count(*) FROM %s.people", "SELECT count(*) FROM %s.over"} {
		if n := b.scalar(sql, here); n != "1" {
			t.Errorf("%s finds %s, want what was restored", fmt.Sprintf(sql, here), n)
		}
	}
	run("SET ROLE %s; SELECT * FROM %s.theirs; RESET ROLE", reader, here)
	if list, err := b.Dependents(t.Context(), beside); err != nil || len(list) > 0 {
		t.Errorf("on what was replaced there is %+v, %v", list, err)
	}

	// One that does not hold takes all of it back.
	b.exec("INSERT INTO %s.customers (id, email, name) OVERRIDING SYSTEM VALUE VALUES (70, 'c', 'late'); INSERT INTO %s.notes VALUES (70)", tn.Schema, here)
	again := b.tenant("acme-again")
	must(t, m.into(t.Context(), b.Resource, again, tenant.LoadOptions{Role: tn.Role}, 1<<20))
	before = state() + b.state(tn)
	if err := b.repointed(tn, again); code(err) != "23503" {
		t.Errorf("a foreign key that does not hold gives %v", err)
	}
	if after := state() + b.state(tn); after != before {
		t.Errorf("taken back there is\n%s\nwant\n%s", after, before)
	}
}

// exportedValue is the value of a column in the one row of a file.
func exportedValue(t *testing.T, dir, file, column string) any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	must(t, err)
	var row map[string]any
	must(t, json.Unmarshal(text, &row))
	return row[column]
}

// A column may be called as anything that the program's own SQL uses.
func TestExportTakesEveryNameOfAColumn(t *testing.T) {
	t.Parallel()
	names := []string{"t", "x", "r", "T", `q"q`, "a.b", "ü", "row_to_json", "select", "with space", "a,b", "e", "line\nend"}
	columns := ""
	for i, n := range names {
		columns += fmt.Sprintf("%s int DEFAULT %d, ", quote(n), i)
	}
	b := newBench(t, one(t, "CREATE TABLE t ("+columns+"z int);\nCREATE TABLE \"T\" (t t);\n"))
	tn := b.created("acme")
	b.exec(`INSERT INTO %[1]s.t DEFAULT VALUES; INSERT INTO %[1]s."T" SELECT ROW(u.*)::%[1]s.t FROM %[1]s.t u`, tn.Schema)
	for _, format := range []string{tenant.FormatCSV, tenant.FormatNDJSON} {
		dir := t.TempDir()
		tables, err := b.Export(t.Context(), tn, format, sink(dir))
		must(t, err)
		if len(tables) != 2 || tables[1].Rows != 1 || len(tables[1].Fields) != len(names)+1 {
			t.Errorf("exported %+v", tables)
		}
		if format == tenant.FormatNDJSON {
			for i, n := range names {
				if got := exportedValue(t, dir, "t.ndjson", n); got != float64(i) {
					t.Errorf("column %q is %v, want %d", n, got, i)
				}
			}
		}
	}
}

// What makes a range comes with its type: its rights are those that it has where a migration makes it.
func TestTheMakersOfARangeAreGrantedAsBefore(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, "CREATE TYPE span AS RANGE (subtype = int4, multirange_type_name = spans);\nCREATE TABLE s (s span);\n"))
	tn, restored, cloned := b.created("acme"), b.tenant("globex"), b.tenant("initech")
	must(t, b.dump(tn).into(t.Context(), b.Resource, restored, tenant.LoadOptions{Role: restored.Role, MakeRole: true}, 1<<20))
	must(t, b.Clone(t.Context(), tn, cloned, true))
	rights := func(tn tenant.Tenant) string {
		return b.scalar(`SELECT string_agg(proname || ' ' || replace(replace(coalesce(proacl::text, ''), '%[2]s', 'ROLE'), '%[1]s', 'SCHEMA'), ', ' ORDER BY proname, pronargs, proargtypes[0])
			FROM pg_proc WHERE pronamespace = '%[1]s'::regnamespace`, tn.Schema, tn.Role)
	}
	want := rights(tn)
	for _, who := range []tenant.Tenant{restored, cloned} {
		if got := rights(who); got != want {
			t.Errorf("%s has\n%s\nwant\n%s", who.Name, got, want)
		}
		if got := scalarOf(t, b.as(who), "SELECT spans(span(1, 5))::text"); got != "{[1,5)}" {
			t.Errorf("%s makes %s", who.Name, got)
		}
	}
}
