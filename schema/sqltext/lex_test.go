package sqltext

import (
	"strings"
	"testing"
)

func TestCutsSQLAsPostgreSQLDoes(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT 1":                                "SELECT 1",
		"select a.b,'c;d' from \"e;\"\"f\"":       "select a . b , 'c;d' from \"e;\"\"f\"",
		"1 -- x;\n2 /* ; /* ; */ ; */ 3":          "1 2 3",
		"'it''s' E'\\'' e'\\\\' U&'x' B'01'":      "'it''s' E'\\'' e'\\\\' U & 'x' B '01'",
		"$$a;$$ $t$b$$;$t$ $1 a$b$c":              "$$a;$$ $t$b$$;$t$ $1 a$b$c",
		"1.5e3 .5 x::int":                         "1.5e3 . 5 x : : int",
		"größe 表 _x1":                             "größe 表 _x1",
		"'a\\' 'b'":                               "'a\\' 'b'",
		"a<>b -> '{x}' ->> 'y' @> '[1]' || $$z$$": "a < > b - > '{x}' - > > 'y' @ > '[1]' | | $$z$$",
	} {
		tokens, open := Lex(sql)
		var got []string
		for _, t := range tokens {
			got = append(got, t.Text)
		}
		if strings.Join(got, " ") != want || open.What != "" {
			t.Errorf("%q is cut into %q (%v), want %q", sql, got, open, want)
		}
	}
	for sql, want := range map[string]open{
		"SELECT\n'abc":     {"string", 2},
		"E'\\'":            {"string", 1},
		"\n\n\"abc":        {"quoted name", 3},
		"/* /* */":         {"comment", 1},
		"$a$ $b$ $$":       {"dollar-quoted string", 1},
		"'x' \n $$ '\n $1": {"dollar-quoted string", 2},
	} {
		if _, got := Lex(sql); got != want {
			t.Errorf("%q leaves open %+v, want %+v", sql, got, want)
		}
	}
}

func TestCountsStatements(t *testing.T) {
	for sql, want := range map[string]int{
		"":                                     0,
		" ; ; -- x":                            0,
		"SELECT 1":                             1,
		"SELECT 1; SELECT ';'; ; SELECT $$;$$": 3,
		"CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b); SELECT 1":                            2,
		"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 3":                         2,
		"CREATE OR REPLACE PROCEDURE f() BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3": 2,
		"BEGIN; SELECT 1; END; ": 3,
	} {
		tokens, _ := Lex(sql)
		if got := len(Split(tokens)); got != want {
			t.Errorf("%q has %d statements, want %d", sql, got, want)
		}
	}
}

func TestShowsStatementsWithoutValues(t *testing.T) {
	for sql, want := range map[string]string{
		"INSERT INTO a\n  VALUES ('secret', $$secret$$, E'sec\\'ret', 5);": "INSERT INTO a VALUES ('…', '…', '…', 5)",
		"CREATE USER x PASSWORD 'secret' -- secret\n":                      "CREATE USER x PASSWORD '…'",
		"SELECT 'secret":                     "SELECT",
		"/* secret */ SELECT\t1":             "SELECT 1",
		"SELECT " + strings.Repeat("ä", 500): "SELECT " + strings.Repeat("ä", MaxShown-7) + "…",
	} {
		if got := Show(sql); got != want {
			t.Errorf("%q is shown as %q, want %q", sql, got, want)
		}
	}
}
