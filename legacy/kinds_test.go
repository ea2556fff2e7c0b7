package legacy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Rows that a table's own code takes, changes, refuses or leaves out, and values whose type reports an error of its own.
func TestWhatTriggersAndTypesDoNotTakeCostsItsRowAlone(t *testing.T) {
	s := newStand(t, `CREATE TABLE notes (id int PRIMARY KEY, v text);
		CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $b$ BEGIN
			CASE NEW.v WHEN 'gone' THEN RETURN NULL; WHEN 'changed' THEN NEW.v = 'other'; WHEN 'own' THEN RAISE 'no' USING ERRCODE = 'T0001';
				WHEN 'plain' THEN RAISE 'no'; ELSE END CASE; RETURN NEW; END $b$;
		CREATE TRIGGER look BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION look();
		CREATE TABLE words (id int PRIMARY KEY, q tsquery, p jsonpath);
		CREATE TABLE rooms (id int PRIMARY KEY, no int, EXCLUDE USING btree (no WITH =) DEFERRABLE INITIALLY DEFERRED);
		CREATE TABLE years (id int, d date, PRIMARY KEY (id, d)) PARTITION BY RANGE (d);
		CREATE TABLE years_24 PARTITION OF years FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1);
		CREATE TABLE notes (id int PRIMARY KEY, firm int DEFAULT 1, v text); INSERT INTO notes (id, v) VALUES (1, 'x'), (2, 'gone'), (3, 'changed'), (4, 'own'), (5, 'plain'), (6, 'y');
		CREATE TABLE words (id int PRIMARY KEY, firm int DEFAULT 1, q text, p text); INSERT INTO words (id, q, p) VALUES (1, 'a & b', '$.a'), (2, 'a b', '$'), (3, 'c, line 1', '$'), (4, 'c', '$$');
		CREATE TABLE rooms (id int PRIMARY KEY, firm int DEFAULT 1, no int); INSERT INTO rooms (id, no) VALUES (1, 1), (2, 1), (3, 2);
		CREATE TABLE years (id int PRIMARY KEY, firm int DEFAULT 1, d date); INSERT INTO years (id, d) VALUES (1, '2024-05-05'), (2, '2025-05-05')`)
	m := s.mapping("tables: [{from: notes, key: firm, mode: upsert}, {from: words, key: firm}, {from: rooms, key: firm}, {from: years, key: firm}]\n")
	for _, mode := range []string{ModeUpsert, ModeInsert} {
		m.Tables[0].Mode = mode
		s.load(m, RunRequest{}, 8)
		want := []string{
			`27000|notes|["2"]`, `T0001|notes|["4"]`, `P0001|notes|["5"]`, `23P01|rooms|["2"]`,
			`42601|words|["2"]`, `42601|words|["3"]`, `42601|words|["4"]`, `23514|years|["2","2025-05-05"]`,
		}
		if got := s.rejects(); !slices.Equal(got, want) {
			t.Errorf("%s: got %q\nwant %q", mode, got, want)
		}
		s.want("SELECT * FROM t_f1.notes ORDER BY id", "1|x", "3|other", "6|y")
		s.differs(m, "notes", `["3"]`) // what a trigger changed is not what the source has
		s.sql("UPDATE t_f1.notes SET v = 'changed' WHERE id = 3")
		s.clean(m)
		s.forget()
	}
}

// A source that is changed behind the load to something that a cast would cut to what the target has.
func TestVerifyNamesRowsWhoseSourceDoesNotFitAnyMore(t *testing.T) {
	s := newStand(t, "CREATE TABLE things (id int PRIMARY KEY, v varchar(3), c char(3), n smallint, e varchar(3))",
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1);
		CREATE TABLE things (id int PRIMARY KEY, firm int DEFAULT 1, v text, c varchar(9), n int, e text);
		INSERT INTO things (id, v, c, n, e) VALUES (1, 'abc', 'abc', 1, 'abc'), (2, 'abc  ', 'abc  ', 2, 'b '), (3, 'abcd', '', 3, NULL), (4, 'abc', 'ab', 4, 'b')`)
	m := s.mapping("tables: [{from: things, key: firm, columns: {id: id, v: v, c: c, n: n, e: {sql: x.e}}}]\n")
	s.load(m, RunRequest{}, 1)
	s.want("SELECT id, v, c FROM t_f1.things ORDER BY id", "1|abc|abc", "2|abc|abc", "4|abc|ab ")
	s.clean(m)
	for _, change := range []string{"v = 'abcd'", "c = 'abcd'", "e = 'abcd'", "v = 'ab'", "v = 'abc' || chr(160)", "n = 99999"} {
		s.sql("UPDATE old.things SET " + change + " WHERE id = 1")
		r, err := s.verify(m)
		named := r != nil && slices.ContainsFunc(r.Tables[0].Differences, func(d Difference) bool { return d.Key == `["1"]` })
		if err == nil || !named || slices.ContainsFunc(r.Tables[0].Differences, func(d Difference) bool { return d.Key != "" && d.Key != `["1"]` }) {
			t.Errorf("%s: %v\n%s", change, err, shownAs(r))
		}
		s.sql("UPDATE old.things SET v = 'abc', c = 'abc', n = 1, e = 'abc' WHERE id = 1")
	}
	s.clean(m)
}

// Names that the import's own SQL uses, names that need quotes, and what a definition alone does not put back.
func TestNamesAndStructuresOfTablesStayWhatTheyAre(t *testing.T) {
	odd := `"Ünï ""q"" %s,(x) tab"`
	columns := `x text, t text, s text, key text, sum int, tenantctl_tenant int, tenantctl_tenant_ int, tenantctl_ordinal int, tenantctl_size text, bytes int,
		looked_up text, via1 text, "Ä ""q"" %d" text, "$1" int, o text, r text, a int GENERATED ALWAYS AS IDENTITY`
	s := newStand(t, `CREATE SEQUENCE years_no; CREATE TABLE `+odd+` (id int PRIMARY KEY, boss int REFERENCES `+odd+` DEFERRABLE, `+columns+`, doubled int GENERATED ALWAYS AS (id * 2) STORED);
		ALTER TABLE `+odd+` RENAME CONSTRAINT `+`"Ünï ""q"" %s,(x) tab_boss_fkey"`+` TO boss; COMMENT ON CONSTRAINT boss ON `+odd+` IS 'it''s the boss';
		CREATE INDEX said ON `+odd+` (x); COMMENT ON INDEX said IS 'kept'; CREATE INDEX other ON `+odd+` (x);
		CREATE TABLE years (id numeric DEFAULT nextval('years_no'), d date, PRIMARY KEY (id, d)) PARTITION BY RANGE (d); CREATE INDEX by_d ON years (d);
		CREATE TABLE years_24 PARTITION OF years FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')`, `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1);
		CREATE TABLE `+odd+` (id int PRIMARY KEY, firm int DEFAULT 1, boss int, `+strings.ReplaceAll(columns, " GENERATED ALWAYS AS IDENTITY", "")+`, doubled int GENERATED ALWAYS AS (id * 3) STORED);
		INSERT INTO `+odd+` (id, boss, x, tenantctl_tenant, tenantctl_ordinal, "$1", a) VALUES (1, 2, 'x', 1, 2, 3, 70), (2, 1, 'y', 5, 6, 7, 80), (3, 9, 'z', 1, 1, 1, 90);
		CREATE TABLE years (id numeric PRIMARY KEY, firm int DEFAULT 1, d date); INSERT INTO years (id, d) VALUES (41, '2024-05-05'), (40, '2024-05-05')`)
	m := s.mapping("tables: [{from: '" + `Ünï "q" %s,(x) tab` + "', key: firm}, {from: years, key: firm}]\n")
	before := s.rows(structureSQL("model"))
	s.load(m, RunRequest{DeferIndexes: DeferAlways}, 1)
	s.want(structureSQL("t_f1"), before...)
	s.want("SELECT nextval('t_f1.years_no'), doubled, a FROM t_f1."+odd+" WHERE id = 2", "42|4|80")
	s.clean(m)
	s.sql("UPDATE t_f1." + odd + " SET tenantctl_tenant = 2 WHERE id = 1")
	s.differs(m, `Ünï "q" %s,(x) tab`, `["1"]`)
	s.sql("UPDATE t_f1." + odd + " SET tenantctl_tenant = 1 WHERE id = 1")
	s.load(m, RunRequest{Rejects: mended(s.rejectsFile(), `"boss":9`, `"boss":1`)}, 0)
	s.clean(m)
}

// structureSQL lists indexes and constraints of a schema with their comments.
func structureSQL(schema string) string {
	return fmt.Sprintf(`SELECT replace(d, '%s.', '') AS d FROM (SELECT pg_get_indexdef(indexrelid) || indisvalid || coalesce(obj_description(indexrelid, 'pg_class'), '') AS d
			FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE c.relnamespace = '%[1]s'::regnamespace AND c.relname <> 'goose_db_version_pkey'
		UNION ALL SELECT conname || pg_get_constraintdef(oid) || coalesce(obj_description(oid, 'pg_constraint'), '') FROM pg_constraint
			WHERE connamespace = '%[1]s'::regnamespace AND conrelid <> coalesce(to_regclass('%[1]s.goose_db_version'), 0)) q ORDER BY 1`, schema)
}

// A row of every type is set aside for another column's value, and loaded from the rejects file as it is in the source.
func TestARejectHoldsTheRowOfEveryTypeExactly(t *testing.T) {
	var columns, wrong []string
	values := []string{"(0, 1, 1"}
	types := slices.Concat(matrixTypes, rareTypes)
	for _, m := range types {
		columns = append(columns, quoteColumn(m.typ)+" "+m.typ)
		for len(values) <= len(m.values) {
			values = append(values, fmt.Sprintf("(%d, 1, 1", len(values)))
		}
		wrong = append(wrong, quoteColumn(m.typ)+"::text")
	}
	for n := range values {
		for _, m := range types {
			value := "NULL"
			if n < len(m.values) {
				value = m.values[n]
			}
			values[n] += ", " + value
		}
		values[n] += ")"
	}
	s := newStand(t, "CREATE TABLE nothing (id int)", `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1); CREATE TYPE old.size AS ENUM ('small', 'large'); `+rareTypesSQL+
		`; CREATE TABLE every (id int PRIMARY KEY, firm int, bad int, `+strings.Join(columns, ", ")+`); INSERT INTO every VALUES `+strings.Join(values, ", "))
	s.tables.model = "CREATE TABLE every (id int PRIMARY KEY, bad int CHECK (bad = 0), " + strings.Join(columns, ", ") + ")"
	s.sql("SET search_path = model; " + s.tables.model)
	m := s.mapping("tables: [{from: every, key: firm}]\n")
	s.load(m, RunRequest{}, int64(len(values)))
	s.sql("UPDATE old.every SET bad = 0")
	file := s.rejectsFile()
	if _, err := s.run(t.Context(), m, RunRequest{Rejects: mended(file, `"bad":1`, `"bad":0`)}); err != nil {
		t.Errorf("%v: %q", err, s.rejects())
	}
	for i, w := range wrong {
		const both = "SELECT id, %[1]s FROM %[2]s.every EXCEPT SELECT id, %[1]s FROM %[3]s.every"
		if got := s.rows(fmt.Sprintf(both, w, "old", "t_f1")); len(got) > 0 {
			t.Errorf("%s: not loaded: %q, but %q", types[i].typ, got, s.rows(fmt.Sprintf(both, w, "t_f1", "old")))
		}
	}
	s.clean(m)
}
