package legacy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// mended replaces texts in a rejects file; odd ones are replaced by the even ones behind them.
func mended(file string, pairs ...string) []byte {
	return []byte(strings.NewReplacer(pairs...).Replace(file))
}

func TestARejectThatIsMendedIsLoadedAndTheOthersWait(t *testing.T) {
	s := newStand(t, `CREATE TABLE people (id int PRIMARY KEY, label varchar(8) NOT NULL, boss int REFERENCES people); CREATE TABLE kinds (id int PRIMARY KEY, name text UNIQUE)`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2);
		CREATE TABLE people (id int PRIMARY KEY, firm int, name text, boss int);
		INSERT INTO people VALUES (1, 1, 'ok', NULL), (2, 1, 'much too long', 1), (3, NULL, 'nobody', NULL), (4, 9, 'stranger', NULL), (5, 1, 'lost', 500), (6, 2, 'lost too', 501);
		CREATE TABLE kinds (id int PRIMARY KEY, name text); INSERT INTO kinds VALUES (1, 'a'), (2, 'b')`)
	m := s.mapping(`tables:
  - {from: people, key: firm, columns: {id: id, label: name, boss: boss}}
  - {from: kinds, shared: copy}
`)
	for _, n := range []string{"f1", "f2"} {
		if _, err := s.service.Create(t.Context(), tenant.CreateRequest{Name: n}, false); err != nil {
			t.Fatal(err)
		}
	}
	s.sql(`INSERT INTO t_f1.kinds VALUES (7, 'b')`)
	s.load(m, RunRequest{}, 6)
	want := []string{`23505|kinds|["2"]`, `22001|people|["2"]`, `no_key|people|["3"]`, `unknown_key|people|["4"]`, `23503|people|["5"]`, `23503|people|["6"]`}
	if got := s.rejects(); !slices.Equal(got, want) {
		t.Fatalf("got %q\nwant %q", got, want)
	}
	file := s.rejectsFile()
	s.load(m, RunRequest{Rejects: []byte(file)}, 6) // nothing is mended
	s.load(m, RunRequest{Rejects: mended(file, "much too long", "mended", `"firm": null`, `"firm": 2`, `"firm":null`, `"firm":2`, "500", "1")}, 3)
	want = []string{`23505|kinds|["2"]`, `unknown_key|people|["4"]`, `23503|people|["6"]`}
	if got := s.rejects(); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	s.want(`SELECT * FROM t_f1.people ORDER BY id`, "1|ok|NULL", "2|mended|1", "5|lost|1")
	s.want(`SELECT * FROM t_f2.people ORDER BY id`, "3|nobody|NULL")
	// What was loaded from the file is not loaded by it again, and what is copied goes to the tenant that lacks it.
	s.sql(`DELETE FROM t_f1.kinds WHERE id = 7`)
	s.load(m, RunRequest{Rejects: mended(file, "much too long", "again", `"firm": null`, `"firm": 2`)}, 2)
	s.want(`SELECT label FROM t_f1.people WHERE id = 2`, "mended")
	s.want(`SELECT * FROM t_f1.kinds ORDER BY id`, "1|a", "2|b")
	s.want(`SELECT * FROM t_f2.kinds ORDER BY id`, "1|a", "2|b")
	s.clean(m)
}

func TestARejectsFileThatCannotBeReadIsRefusedWithItsLine(t *testing.T) {
	s := newStand(t, "CREATE TABLE kinds (id int PRIMARY KEY)", "CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1); CREATE TABLE kinds (id int, firm int); INSERT INTO kinds VALUES (1, 1), (1, 1)")
	m := s.mapping("tables: [{from: kinds, key: firm}]\n")
	s.load(m, RunRequest{}, 1)
	good := s.rejectsFile()
	for _, c := range []struct{ file, word string }{
		{good + "broken\n", "line 2 of the rejects file cannot be read"},
		{good + "{}\n", "line 2 of the rejects file cannot be read"},
		{"\n" + strings.Replace(good, `"row":{`, `"row":null,"x":{`, 1), "line 2 of the rejects file has no row"},
		{strings.Replace(good, `"table":"kinds"`, `"table":"other"`, 1), "rows of other, which the mapping does not load"},
	} {
		_, err := s.run(context.Background(), m, RunRequest{Rejects: []byte(c.file)})
		if !errors.Is(err, tenant.ErrInvalid) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("got %v, want %s", err, c.word)
		}
	}
	s.clean(m)
}

func TestLimitsAreReadAndBorne(t *testing.T) {
	for _, bad := range []string{"", "-1", "x", "%", "0%", "101%", "NaN%", "Inf%", "1.5", "99999999999999999999"} {
		if _, err := ParseLimit(bad); !errors.Is(err, tenant.ErrInvalid) {
			t.Errorf("%q is taken: %v", bad, err)
		}
	}
	for _, c := range []struct {
		text           string
		rejected, read int64
		exceeded       bool
	}{
		{"0", 0, 0, false},
		{"0", 1, 1, true},
		{"5", 5, 5, false},
		{"5", 6, 1e9, true},
		{"1%", 10, 1, false},
		{"1%", 11, 1, true},
		{"1%", 100, 10000, false},
		{"1%", 101, 10000, true},
		{"0.1%", 1, 1, false},
		{"100%", 5000, 5000, false},
	} {
		l, err := ParseLimit(c.text)
		if err != nil || l.exceeded(c.rejected, c.read) != c.exceeded {
			t.Errorf("%s with %d of %d rejected: %v %v", c.text, c.rejected, c.read, !c.exceeded, err)
		}
	}
	if (Limit{}).exceeded(1e9, 1) {
		t.Error("no limit is one")
	}
}

func FuzzALimitIsRefusedOrMeansSomething(f *testing.F) {
	for _, s := range []string{"0", "100", "0.5%", "100%", "1e1%", "NaN%", "-0%", "+3", "0x1p-2%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLimit(s)
		if err != nil {
			if !errors.Is(err, tenant.ErrInvalid) {
				t.Fatalf("%v", err)
			}
			return
		}
		if l.exceeded(0, 0) {
			t.Errorf("%q does not even bear nothing", s)
		}
		if !l.exceeded(1<<62, 1<<61) {
			t.Errorf("%q bears more rejects than rows", s)
		}
	})
}

func FuzzARejectsFileIsRefusedOrLoaded(f *testing.F) {
	s := newStand(f, "CREATE TABLE kinds (id int PRIMARY KEY, v varchar(3))", `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1); CREATE TABLE kinds (id int, firm int, v text); INSERT INTO kinds VALUES (1, 1, 'long'), (2, NULL, 'x')`)
	f.Setenv("LEGACY_TEST_URL", s.url)
	m := s.mapping("tables: [{from: kinds, key: firm}]\n")
	s.load(m, RunRequest{}, 2)
	good := s.rejectsFile()
	f.Add(good)
	f.Add("")
	f.Add("{}")
	f.Add(strings.ReplaceAll(good, "null", "1"))
	for _, row := range []string{"[]", "1", `"x"`, `{"id": "x"}`, `{"id": 1e99}`, `{"v": "\u0000"}`, `{"v": {"a": []}}`, `{"firm": [1]}`, `{}`, `{"nothing": 1}`, `{"id": 3, "firm": 1, "v": "ok"}`} {
		f.Add(fmt.Sprintf(`{"id": 1, "table": "kinds", "tenant_key": "1", "key": ["1"], "row": %s}`, row))
	}
	f.Fuzz(func(t *testing.T, file string) {
		s.t = t
		_, err := s.run(t.Context(), m, RunRequest{Rejects: []byte(file)})
		if err != nil && !errors.Is(err, tenant.ErrPartial) && !errors.Is(err, tenant.ErrInvalid) {
			t.Fatalf("%q: %v", file, err)
		}
		r, err := s.verify(m)
		if err != nil {
			t.Fatalf("%q: %v\n%s", file, err, shownAs(r))
		}
		if left := s.rows(`SELECT id FROM tenantctl.operations WHERE state = 'running'`); len(left) > 0 {
			t.Fatalf("%q: it is still held", file)
		}
	})
}

// The load of a tenant that came later reads all of its rows: those of the rejects file would be there twice.
func TestRejectsOfATenantThatIsNotLoadedWaitForItsLoad(t *testing.T) {
	s := newStand(t, "CREATE TABLE notes (v text)", "CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1); CREATE TABLE notes (firm int, v text); INSERT INTO notes VALUES (1, 'a'), (2, 'b'), (NULL, 'c')")
	m := s.mapping("tables: [{from: notes, key: firm}]\n")
	s.load(m, RunRequest{}, 2)
	file := s.rejectsFile()
	s.sql("INSERT INTO old.firms VALUES (2)")
	r := s.load(m, RunRequest{Rejects: mended(file, `"firm":null`, `"firm":1`)}, 1)
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.HasPrefix(n, "notes is not loaded for f2: ") }) {
		t.Errorf("notes: %q", r.Notes)
	}
	s.load(m, RunRequest{}, 0)
	s.want("SELECT v FROM t_f1.notes ORDER BY 1", "a", "c")
	s.want("SELECT v FROM t_f2.notes", "b")
	s.clean(m)
}
