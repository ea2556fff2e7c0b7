package legacy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestAFullArenaGivesTheLargestTenantsAndKeepsTheOthers(t *testing.T) {
	a := newArena(1 << 10)
	// Of tenant 1 there is most, of tenant 2 nothing.
	for n, to := range []int32{0, 1, 3, 1, 1, 0, 1, 1, 3, 1} {
		a.add(to, fmt.Appendf(nil, "(%d)", n), fmt.Appendf(nil, "row %d of %d", n, to))
	}
	var got []string
	take := func(tenant int32, rows []int32) error {
		for _, row := range rows {
			got = append(got, fmt.Sprintf("%d: %s %s", tenant, a.ref(row), a.line(row)))
		}
		return nil
	}
	for _, c := range []struct {
		half bool
		want string
	}{
		{true, "1: (1) row 1 of 1, 1: (3) row 3 of 1, 1: (4) row 4 of 1, 1: (6) row 6 of 1, 1: (7) row 7 of 1, 1: (9) row 9 of 1"},
		{true, "0: (0) row 0 of 0, 0: (5) row 5 of 0"},
		{false, "0: (11) row 11 of 0, 3: (2) row 2 of 3, 3: (8) row 8 of 3"},
	} {
		got = nil
		if err := a.empty(4, c.half, take); err != nil {
			t.Fatal(err)
		}
		if want := strings.Split(c.want, ", "); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if !c.half && (len(a.rows) > 0 || len(a.bytes) > 0) {
			t.Errorf("%d rows and %d bytes are left", len(a.rows), len(a.bytes))
		}
		if len(got) == 2 {
			a.add(0, []byte("(11)"), []byte("row 11 of 0"))
		}
	}
}

// The server asks for another try when several parts of the source are in the transaction.
func TestPartsOfOneTransactionAreLoadedAgainTogether(t *testing.T) {
	s := newStand(t, `CREATE TABLE notes (id int PRIMARY KEY, firm int, body text);
		CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('old.tries') = 1 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END IF;
			RETURN NEW; END $$;
		CREATE TRIGGER stumble BEFORE INSERT ON notes FOR EACH ROW WHEN (NEW.id = 1100) EXECUTE FUNCTION stumble()`,
		`CREATE SEQUENCE tries; CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2);
		CREATE TABLE notes (id int PRIMARY KEY, firm int, body text); INSERT INTO notes SELECT g, 1 + g % 2, repeat('n', 60) FROM generate_series(1, 3000) g; ANALYZE notes`)
	s.options.Parallel = 1
	s.load(s.mapping("tables: [{from: notes, key: firm}]\n"), RunRequest{}, 0)
	s.want("SELECT last_value FROM old.tries", "2")
	s.want("SELECT count(*), count(DISTINCT id) FROM (SELECT * FROM t_f1.notes UNION ALL SELECT * FROM t_f2.notes) n", "3000|3000")
	s.want("SELECT sum(loaded) FROM tenantctl.import_loads", "3000")
}
