package legacy

import (
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// Of a tenant with more rows than are held at once, verify names those that differ and no others, and of rows that are among the
// rejects none.
func TestVerifyNamesTheRowsThatDifferAndNoOthers(t *testing.T) {
	s := newStand(t, `CREATE TABLE notes (id int PRIMARY KEY, body text); CREATE TABLE logs (a text, b text)`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1);
		CREATE TABLE notes (id int, firm int DEFAULT 1, body text); CREATE TABLE logs (firm int DEFAULT 1, a text, b text);
		INSERT INTO notes (id, body) SELECT g, repeat('x', 100) FROM generate_series(1, 3000) g;
		INSERT INTO notes (id, body) VALUES (7, 'again'), (7, repeat('x', 100)), (NULL, 'nameless');
		INSERT INTO logs (a, b) SELECT 'line ' || g % 1000, 'x' FROM generate_series(1, 3000) g;
		INSERT INTO logs (a, b) VALUES (E'1\x1f2', '3'), (E'\x01', 'null')`)
	m := s.mapping("tables:\n  - {from: notes, key: firm}\n  - {from: logs, key: firm}\n")
	s.load(m, RunRequest{}, 3)
	s.clean(m)
	s.sql("UPDATE t_f1.notes SET body = body || 'y' WHERE id IN (2, 2999); DELETE FROM t_f1.notes WHERE id = 1500; INSERT INTO t_f1.notes VALUES (9000, '')")
	s.differs(m, "notes", `["1500"]`, `["2"]`, `["2999"]`, `["9000"]`)
	s.sql("UPDATE t_f1.notes SET body = left(body, 100) WHERE id < 3000; DELETE FROM t_f1.notes WHERE id = 9000; INSERT INTO t_f1.notes VALUES (1500, repeat('x', 100))")
	s.clean(m)
	// What stands for the end of a field, or for NULL, is a value like another.
	s.sql(`UPDATE t_f1.logs SET a = '1', b = E'2\x1f3' WHERE a = E'1\x1f2'; UPDATE t_f1.logs SET a = NULL WHERE b = 'null'`)
	s.differs(m, "logs", `["1","2\u001f3"]`, `["1\u001f2","3"]`, `["\u0001","null"]`, `[null,"null"]`)
	s.sql(`UPDATE t_f1.logs SET a = E'1\x1f2', b = '3' WHERE a = '1'; UPDATE t_f1.logs SET a = E'\x01' WHERE b = 'null'; DELETE FROM t_f1.logs WHERE ctid = (SELECT min(ctid) FROM t_f1.logs WHERE a = 'line 5')`)
	s.differs(m, "logs", `["line 5","x"]`)
}

func TestASourceWithAnotherEncodingIsComparedByWhatItSays(t *testing.T) {
	s := newStand(t, `CREATE TABLE notes (id int PRIMARY KEY, body text)`, `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1)`)
	admin := tenanttest.SuperuserURL(t)
	s.sqlAt(admin, `CREATE DATABASE latin_notes ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)
	t.Cleanup(func() { s.sqlAt(admin, "DROP DATABASE latin_notes WITH (FORCE)") })
	url := database(t, admin, "latin_notes")
	s.sqlAt(url, "CREATE SCHEMA old; CREATE TABLE old.firms (id int PRIMARY KEY); INSERT INTO old.firms VALUES (1); CREATE TABLE old.notes (id int PRIMARY KEY, firm int, body text); INSERT INTO old.notes VALUES (1, 1, 'é')")
	m := s.mapping("tables:\n  - {from: notes, key: firm}\n")
	t.Setenv("LEGACY_TEST_URL", url)
	s.load(m, RunRequest{}, 0)
	s.want("SELECT body FROM t_f1.notes", "é")
	s.clean(m)
	s.sql("UPDATE t_f1.notes SET body = 'e'")
	s.differs(m, "notes", `["1"]`)
}

func TestASessionThatLostItsSettingsIsRefused(t *testing.T) {
	s := newStand(t, `CREATE TABLE notes (id int PRIMARY KEY)`, `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1)`)
	src, err := openPostgres(t.Context(), &SourceSpec{Schema: "old"}, s.url, "old")
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	if _, err := src.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	src.end()
	src.(*postgresSource).settings["DateStyle"] = "ISO, DMY" // as if it had been asked for, and lost on the way
	if _, err := src.begin(t.Context()); err == nil || !strings.Contains(err.Error(), `the session has DateStyle = "ISO, MDY"`) {
		t.Errorf("got %v", err)
	}
}
