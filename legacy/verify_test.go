package legacy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestVerifyFindsWhateverIsDoneToTheRows(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, v text, n numeric); CREATE TABLE logs (what text)`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2), (3);
		CREATE TABLE a (id int PRIMARY KEY, firm int, v text, n numeric); INSERT INTO a SELECT g, 1 + g % 2, 'v' || g, g FROM generate_series(1, 400) g; INSERT INTO a VALUES (401, NULL, '', 1), (402, 9, NULL, 1);
		CREATE TABLE logs (firm int, what text); INSERT INTO logs SELECT 1 + g % 2, 'w' || g % 5 FROM generate_series(1, 100) g`)
	m := s.mapping("tables: [{from: a, key: firm}, {from: logs, key: firm}]\n")
	s.load(m, RunRequest{}, 2)
	s.clean(m)
	for _, c := range []struct{ name, do, undo, want string }{
		{"a row is lost", `DELETE FROM t_f1.a WHERE id = 2`, `INSERT INTO t_f1.a VALUES (2, 'v2', 2)`, `f1 ["2"] missing`},
		{"the last row is lost", `DELETE FROM t_f1.a WHERE id = 400`, `INSERT INTO t_f1.a VALUES (400, 'v400', 400)`, `f1 ["400"] missing`},
		{"a row is too many", `INSERT INTO t_f2.a VALUES (999)`, `DELETE FROM t_f2.a WHERE id = 999`, `f2 ["999"] not in the source`},
		{"a value is another", `UPDATE t_f1.a SET v = 'V2' WHERE id = 2`, `UPDATE t_f1.a SET v = 'v2' WHERE id = 2`, `f1 ["2"] differs`},
		{"a value is NULL and not empty", `UPDATE t_f1.a SET v = NULL WHERE id = 2`, `UPDATE t_f1.a SET v = 'v2' WHERE id = 2`, `f1 ["2"] differs`},
		{"two values are exchanged", `UPDATE t_f1.a SET v = 'v' || (6 - id) WHERE id IN (2, 4)`, `UPDATE t_f1.a SET v = 'v' || id WHERE id IN (2, 4)`, `f1 ["2"] differs`},
		{"text moves to the next column", `UPDATE t_f1.a SET v = 'v', n = 22 WHERE id = 2`, `UPDATE t_f1.a SET v = 'v2', n = 2 WHERE id = 2`, `f1 ["2"] differs`},
		{"a row is another tenant's", `DELETE FROM t_f1.a WHERE id = 2; INSERT INTO t_f3.a VALUES (2, 'v2', 2)`, `INSERT INTO t_f1.a VALUES (2, 'v2', 2); DELETE FROM t_f3.a`, `f3 ["2"] not in the source`},
		{"a row is two tenants'", `INSERT INTO t_f3.a VALUES (2, 'v2', 2)`, `DELETE FROM t_f3.a`, `f3 ["2"] not in the source`},
		{"a row without a key is doubled", `INSERT INTO t_f1.logs VALUES ('w1')`, `DELETE FROM t_f1.logs WHERE ctid = (SELECT max(ctid) FROM t_f1.logs)`, `f1`},
		{"the source gets a row", `INSERT INTO old.a VALUES (500, 3, 'new', 1)`, `DELETE FROM old.a WHERE id = 500`, `f3 ["500"] missing`},
		{"the source loses a row", `DELETE FROM old.a WHERE id = 2`, `INSERT INTO old.a VALUES (2, 1, 'v2', 2)`, `f1 ["2"] not in the source`},
		{"the source gives a row to another", `UPDATE old.a SET firm = 3 WHERE id = 2`, `UPDATE old.a SET firm = 1 WHERE id = 2`, `f3 ["2"] missing`},
		{"the source gets a row of nobody", `INSERT INTO old.a VALUES (501, 9, 'new', 1)`, `DELETE FROM old.a WHERE id = 501`, `  3 rows of the source are no tenant's, and 2 of them are among the rejects`},
		{"a row of nobody is another", `UPDATE old.a SET id = 403 WHERE id = 402`, `UPDATE old.a SET id = 402 WHERE id = 403`, `  rows of the source that are no tenant's are not those`},
		{"a row of nobody has changed", `UPDATE old.a SET n = 2 WHERE id = 402`, `UPDATE old.a SET n = 1 WHERE id = 402`, `  rows of the source that are no tenant's are not those`},
		{
			"a reject is forgotten", `CREATE TABLE old.kept AS SELECT * FROM tenantctl.import_rejects WHERE row_key = '["401"]'; DELETE FROM tenantctl.import_rejects WHERE row_key = '["401"]'`,
			`INSERT INTO tenantctl.import_rejects OVERRIDING SYSTEM VALUE SELECT * FROM old.kept`, `  2 rows of the source are no tenant's, and 1 of them are among the rejects`,
		},
	} {
		s.sql(c.do)
		r, err := s.verify(m)
		if !errors.Is(err, tenant.ErrDiffers) || r.State != "differs" {
			t.Errorf("%s: nobody notices: %v", c.name, err)
			s.sql(c.undo)
			continue
		}
		var got []string
		for _, x := range r.Tables {
			for _, d := range x.Differences {
				got = append(got, string(d.Tenant)+" "+d.Key+" "+d.What)
			}
		}
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, c.want) }) {
			t.Errorf("%s: got %q, want %s", c.name, got, c.want)
		}
		s.sql(c.undo)
		if _, err := s.verify(m); err != nil {
			t.Fatalf("%s: it is as it was, and still: %v", c.name, err)
		}
	}
}

func TestVerifySeesWhatALoadStillOwes(t *testing.T) {
	s := newStand(t, `CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY); ALTER TABLE a ADD CONSTRAINT to_b FOREIGN KEY (b) REFERENCES b`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1); CREATE TABLE a (id int, firm int, b int); INSERT INTO a VALUES (1, 1, NULL); CREATE TABLE b (id int, firm int)`)
	m := s.mapping("tables: [{from: a, key: firm}, {from: b, key: firm}]\n")
	notes := func(want string) {
		t.Helper()
		r, err := s.verify(m)
		if !errors.Is(err, tenant.ErrDiffers) || !strings.Contains(strings.Join(r.Notes, "\n")+shownAs(r.Tables), want) {
			t.Errorf("%v, want %s: %s", err, want, shownAs(r))
		}
	}
	if _, err := s.service.Create(t.Context(), tenant.CreateRequest{Name: "f1"}, false); err != nil {
		t.Fatal(err)
	}
	notes("not loaded for f1: run the import")
	s.load(m, RunRequest{}, 0)
	s.clean(m)
	s.sql(`ALTER TABLE t_f1.a DROP CONSTRAINT to_b; ALTER TABLE t_f1.a ADD CONSTRAINT to_b FOREIGN KEY (b) REFERENCES t_f1.b NOT VALID`)
	notes("foreign key to_b of t_f1.a is not validated")
	s.sql(`ALTER TABLE t_f1.a VALIDATE CONSTRAINT to_b; INSERT INTO tenantctl.import_passes VALUES ('old', 'a', '', '')`)
	notes("the load of a is not over")
	s.sql(`DELETE FROM tenantctl.import_passes; INSERT INTO tenantctl.import_undo (import, target, kind, name, statement) VALUES ('old', 'a', 'index', 'i', '')`)
	notes("1 indexes, constraints or triggers are still to be put back")
	s.sql(`DELETE FROM tenantctl.import_undo; CREATE TABLE t_f1.spare AS SELECT * FROM t_f1.a`)
	s.clean(m)
}
