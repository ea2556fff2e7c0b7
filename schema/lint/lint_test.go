package lint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// before is what older files made, in every test.
const before = `
CREATE TABLE customers (id bigint PRIMARY KEY, email varchar(50) NOT NULL, note text, amount numeric(10,2), at timestamp(3), flag bit(3), code char(3), ip cidr, n int);
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint REFERENCES customers, total int, state text);
CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE part1 PARTITION OF parts DEFAULT;
CREATE INDEX orders_total ON orders (total);
CREATE TYPE mood AS ENUM ('sad');
CREATE DOMAIN short AS text;
CREATE TABLE moods (m mood, s short);
CREATE MATERIALIZED VIEW sums AS SELECT total FROM orders;
ALTER TABLE orders ADD CONSTRAINT has_state CHECK (state IS NOT NULL) NOT VALID;
ALTER TABLE orders VALIDATE CONSTRAINT has_state;
ALTER TABLE orders ADD CONSTRAINT has_total CHECK (total IS NOT NULL) NOT VALID`

// older is the history after those files.
func older(t testing.TB) *History {
	t.Helper()
	h := New()
	for _, sql := range strings.Split(before, ";\n") {
		if _, err := h.File(true).Read(sql); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// rules are those that the statements of one file break.
func rules(t testing.TB, transaction bool, statements string) []string {
	t.Helper()
	f := older(t).File(transaction)
	found := []string{}
	for _, sql := range strings.Split(statements, ";\n") {
		s, err := f.Read(sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		for _, x := range s.Findings {
			found = append(found, x.Rule)
		}
	}
	return found
}

// examples are for each rule what breaks it, and what is its alternative; ones after "outside:" run without a transaction.
var examples = []struct {
	rule   string
	unsafe []string
	safe   []string
}{
	{AddCheck, []string{"ALTER TABLE orders ADD CONSTRAINT c CHECK (total > 0)", "ALTER TABLE orders ADD COLUMN x int CHECK (x > 0)"}, []string{"ALTER TABLE orders ADD CONSTRAINT c CHECK (total > 0) NOT VALID", "ALTER TABLE orders VALIDATE CONSTRAINT has_total"}},
	{AddColumnRewrite, []string{
		"ALTER TABLE orders ADD x uuid DEFAULT gen_random_uuid()", "ALTER TABLE orders ADD x timestamptz DEFAULT clock_timestamp()", "ALTER TABLE orders ADD x text DEFAULT lower('x') || random()::text",
		"ALTER TABLE orders ADD x bigserial", "ALTER TABLE orders ADD x int GENERATED ALWAYS AS IDENTITY", "ALTER TABLE orders ADD x int GENERATED ALWAYS AS (total * 2) STORED", "ALTER TABLE orders ADD x int DEFAULT my_own()",
	}, []string{"ALTER TABLE orders ADD x uuid", "ALTER TABLE orders ALTER x SET DEFAULT gen_random_uuid()", "ALTER TABLE orders ADD x timestamptz NOT NULL DEFAULT now()", "ALTER TABLE orders ADD x text DEFAULT 'a' NOT NULL", "ALTER TABLE orders ADD x date DEFAULT current_date", "ALTER TABLE orders ADD x jsonb DEFAULT '{}'::jsonb", "ALTER TABLE orders ADD x text DEFAULT lower('A')"}},
	{AddExclusion, []string{"ALTER TABLE orders ADD EXCLUDE USING gist (total WITH =)"}, nil},
	{AddForeignKey, []string{"ALTER TABLE orders ADD FOREIGN KEY (total) REFERENCES customers", "ALTER TABLE orders ADD x bigint DEFAULT 1 REFERENCES customers"}, []string{"ALTER TABLE orders ADD CONSTRAINT c FOREIGN KEY (total) REFERENCES customers NOT VALID", "ALTER TABLE orders ADD x bigint REFERENCES customers"}},
	{AddNotNullColumn, []string{"ALTER TABLE orders ADD x int NOT NULL"}, []string{"ALTER TABLE orders ADD x int NOT NULL DEFAULT 0", "ALTER TABLE orders ADD x int"}},
	{AddUnique, []string{"ALTER TABLE orders ADD UNIQUE (total)", "ALTER TABLE moods ADD PRIMARY KEY (m)", "ALTER TABLE orders ADD x int UNIQUE"}, []string{"ALTER TABLE orders ADD CONSTRAINT u UNIQUE USING INDEX orders_total"}},
	{AttachPartition, []string{"ALTER TABLE parts ATTACH PARTITION orders FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')"}, []string{"CREATE TABLE p (LIKE parts);\nALTER TABLE parts ATTACH PARTITION p FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')"}},
	{ChangeType, []string{
		"ALTER TABLE orders ALTER total TYPE bigint", "ALTER TABLE customers ALTER email TYPE varchar(20)", "ALTER TABLE customers ALTER note TYPE varchar(20)", "ALTER TABLE customers ALTER code TYPE char(5)", "ALTER TABLE customers ALTER code TYPE text", "ALTER TABLE customers ALTER amount TYPE numeric(12,3)",
		"ALTER TABLE customers ALTER note TYPE text USING lower(note)", "ALTER TABLE customers ALTER note TYPE text COLLATE \"C\"", "ALTER TABLE customers ALTER at TYPE timestamptz", "ALTER TABLE elsewhere ALTER a TYPE text", "ALTER TABLE customers ALTER note TYPE text[] USING ARRAY[note]",
	}, []string{
		"ALTER TABLE customers ALTER email TYPE varchar(60)", "ALTER TABLE customers ALTER email TYPE varchar", "ALTER TABLE customers ALTER email TYPE text", "ALTER TABLE customers ALTER email TYPE text USING email::text", "ALTER TABLE customers ALTER note TYPE varchar",
		"ALTER TABLE customers ALTER amount TYPE numeric(12,2)", "ALTER TABLE customers ALTER amount TYPE numeric", "ALTER TABLE customers ALTER at TYPE timestamp(6)", "ALTER TABLE customers ALTER at TYPE timestamp", "ALTER TABLE customers ALTER ip TYPE inet",
	}},
	{CreatePartition, []string{"CREATE TABLE p PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')"}, []string{"CREATE TABLE p (LIKE parts INCLUDING ALL)", "CREATE TABLE new (a int) PARTITION BY LIST (a);\nCREATE TABLE p PARTITION OF new DEFAULT"}},
	{CreateTrigger, []string{"CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION f()"}, []string{"CREATE TABLE new (a int);\nCREATE TRIGGER t BEFORE UPDATE ON new FOR EACH ROW EXECUTE FUNCTION f()"}},
	{DetachPartition, []string{"ALTER TABLE parts DETACH PARTITION part1"}, []string{"outside:ALTER TABLE parts DETACH PARTITION part1 CONCURRENTLY"}},
	{DisableTrigger, []string{"ALTER TABLE orders DISABLE TRIGGER ALL", "ALTER TABLE orders DISABLE TRIGGER t", "ALTER TABLE orders DISABLE TRIGGER USER"}, []string{"SET LOCAL session_replication_role = replica", "ALTER TABLE orders ENABLE TRIGGER t"}},
	{DomainConstraint, []string{"ALTER DOMAIN short ADD CONSTRAINT c CHECK (length(value) < 5)", "ALTER DOMAIN short SET NOT NULL"}, []string{"ALTER DOMAIN short ADD CONSTRAINT c CHECK (length(value) < 5) NOT VALID"}},
	{DropColumn, []string{"ALTER TABLE orders DROP COLUMN total"}, nil},
	{DropIndexBlocking, []string{"DROP INDEX orders_total", "DROP INDEX IF EXISTS unknown"}, []string{"outside:DROP INDEX CONCURRENTLY IF EXISTS orders_total", "CREATE TABLE new (a int);\nCREATE INDEX i ON new (a);\nDROP INDEX i"}},
	{DropTable, []string{"DROP TABLE orders", "DROP TABLE IF EXISTS unknown"}, []string{"CREATE TABLE new (a int);\nDROP TABLE new", "DROP VIEW v", "DROP TYPE mood"}},
	{EnumValueUsed, []string{"ALTER TYPE mood ADD VALUE 'happy';\nINSERT INTO moods VALUES ('happy')", "ALTER TYPE mood ADD VALUE 'happy';\nUPDATE moods SET m = 'happy' WHERE m = 'sad'"}, []string{"ALTER TYPE mood ADD VALUE 'happy';\nINSERT INTO moods VALUES ('sad')", "CREATE TYPE m2 AS ENUM ();\nALTER TYPE m2 ADD VALUE 'a';\nSELECT 'a'", "outside:ALTER TYPE mood ADD VALUE 'happy';\nINSERT INTO moods VALUES ('happy')"}},
	{IndexBlocking, []string{"CREATE INDEX i ON orders (state)", "CREATE UNIQUE INDEX ON orders (state)"}, []string{"outside:CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON orders (state)", "CREATE TABLE new (a int);\nCREATE INDEX i ON new (a)", "CREATE TABLE new (a int);\nALTER TABLE new RENAME TO newer;\nCREATE INDEX i ON newer (a)", "CREATE TABLE new AS SELECT 1 a;\nCREATE INDEX i ON new (a)"}},
	{LockTable, []string{"LOCK TABLE orders IN SHARE MODE", "LOCK orders"}, []string{"SELECT * FROM orders FOR UPDATE"}},
	{MassChange, []string{"UPDATE orders SET total = 1", "DELETE FROM orders"}, []string{"UPDATE orders SET total = 1 WHERE id = 1", "DELETE FROM orders WHERE id = 1", "CREATE TABLE new (a int);\nUPDATE new SET a = 1"}},
	{RefreshBlocking, []string{"REFRESH MATERIALIZED VIEW sums"}, []string{"REFRESH MATERIALIZED VIEW CONCURRENTLY sums"}},
	{ReindexBlocking, []string{"REINDEX TABLE orders", "REINDEX INDEX orders_total", "REINDEX INDEX unknown"}, []string{"outside:REINDEX TABLE CONCURRENTLY orders", "outside:REINDEX (CONCURRENTLY) INDEX orders_total"}},
	{RenameColumn, []string{"ALTER TABLE orders RENAME total TO sum"}, []string{"ALTER TABLE orders RENAME CONSTRAINT has_state TO s", "CREATE TABLE new (a int);\nALTER TABLE new RENAME a TO b"}},
	{RenameTable, []string{"ALTER TABLE orders RENAME TO o"}, []string{"ALTER INDEX orders_total RENAME TO i", "CREATE TABLE new (a int);\nALTER TABLE new RENAME TO b"}},
	{RewriteTable, []string{"ALTER TABLE orders SET UNLOGGED", "ALTER TABLE orders SET TABLESPACE x", "ALTER TABLE orders SET ACCESS METHOD heap"}, []string{"ALTER TABLE orders SET (fillfactor = 50)"}},
	{SetNotNull, []string{"ALTER TABLE orders ALTER total SET NOT NULL"}, []string{"ALTER TABLE orders ALTER state SET NOT NULL", "ALTER TABLE orders ALTER id SET NOT NULL", "ALTER TABLE customers ALTER email SET NOT NULL", "ALTER TABLE orders ADD x int DEFAULT 1 NOT NULL;\nALTER TABLE orders ALTER x SET NOT NULL"}},
	{SeveralLocks, []string{"ALTER TABLE orders ADD x int;\nALTER TABLE customers ADD x int"}, []string{"ALTER TABLE orders ADD x int;\nALTER TABLE orders ADD y int", "outside:ALTER TABLE orders ADD x int;\nALTER TABLE customers ADD x int", "CREATE TABLE new (a int);\nALTER TABLE new ADD b int;\nALTER TABLE orders ADD x int"}},
	{Truncate, []string{"TRUNCATE orders"}, []string{"CREATE TABLE new (a int);\nTRUNCATE new"}},
	{VacuumFull, []string{"outside:VACUUM FULL orders", "outside:VACUUM (FULL) orders", "outside:VACUUM FULL", "CLUSTER orders USING orders_total", "outside:CLUSTER"}, []string{"outside:VACUUM orders", "ANALYZE orders"}},
	{ValidateAtOnce, []string{"ALTER TABLE orders ADD CONSTRAINT c CHECK (total > 0) NOT VALID;\nALTER TABLE orders VALIDATE CONSTRAINT c"}, []string{"ALTER TABLE orders VALIDATE CONSTRAINT has_total"}},
}

func TestEachRuleFindsWhatIsUnsafeAndLeavesItsAlternativeAlone(t *testing.T) {
	read := func(example string) []string {
		statements, outside := strings.CutPrefix(example, "outside:")
		return rules(t, !outside, statements)
	}
	tested := map[string]bool{}
	for _, e := range examples {
		tested[e.rule] = true
		for _, sql := range e.unsafe {
			if got := read(sql); !slices.Contains(got, e.rule) {
				t.Errorf("%s: not found in %s (but %v)", e.rule, sql, got)
			}
		}
		for _, sql := range e.safe {
			if got := read(sql); len(got) > 0 {
				t.Errorf("%s: the alternative %s breaks %v", e.rule, sql, got)
			}
		}
	}
	for _, r := range Rules {
		if !tested[r.ID] {
			t.Errorf("%s has no example", r.ID)
		}
		if r.Reason == "" || r.Alternative == "" {
			t.Errorf("%s has no reason or alternative", r.ID)
		}
	}
	if !slices.IsSortedFunc(Rules, func(a, b Rule) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("the rules are not in order")
	}
}

func TestFindingsHaveTheirLine(t *testing.T) {
	s, err := older(t).File(true).Read("ALTER TABLE orders\n  ADD a int,\n  ADD b int NOT NULL,\n  ADD CONSTRAINT c CHECK (total > 0)")
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, f := range s.Findings {
		got += fmt.Sprintf("%s %d\n", f.Rule, f.Line)
	}
	if got != "add-not-null-column 3\nadd-check 4\n" {
		t.Errorf("got\n%s", got)
	}
}

func TestASyntaxErrorHasItsLine(t *testing.T) {
	for sql, line := range map[string]int{"SELEC 1": 1, "SELECT 'é',\n'é' fro\nm n": 3, "ALTER TABLE a\nADD COLUM b int x": 2, "SELECT '\x00'": 1} {
		err := Syntax(sql)
		var e *SyntaxError
		if !errors.As(err, &e) || e.Line != line || e.Msg == "" {
			t.Errorf("%q gives %v", sql, err)
		}
	}
	if err := Syntax("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ no sql at all $$"); err != nil {
		t.Errorf("the body of a function is read: %v", err)
	}
}

func FuzzReadEndsWell(f *testing.F) {
	for _, e := range examples {
		for _, sql := range append(e.unsafe, e.safe...) {
			f.Add(strings.TrimPrefix(sql, "outside:"))
		}
	}
	f.Add("MERGE INTO orders USING customers ON true WHEN MATCHED THEN DELETE")
	f.Add("WITH q AS (SELECT 1) SELECT * FROM q, orders FOR UPDATE")
	f.Add("SELECT " + strings.Repeat("NOT ", 20_000) + "true")
	if err := Syntax("SELECT 1"); err != nil { // compiles the parser, which the fuzzer would take for a hang
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		h := New()
		s, err := h.File(true).Read(sql)
		var syntax *SyntaxError
		if err != nil && !errors.As(err, &syntax) {
			t.Errorf("%q: %v", sql, err)
		}
		for _, l := range s.Locks {
			if l.Table == "" || l.Mode < AccessShare || l.Mode > AccessExclusive {
				t.Errorf("%q takes %+v", sql, l)
			}
		}
		for _, x := range s.Findings {
			if x.Line < 1 || x.Line > 1+strings.Count(sql, "\n") {
				t.Errorf("%q has a finding in line %d", sql, x.Line)
			}
		}
	})
}
