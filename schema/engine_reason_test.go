package schema

import (
	"strings"
	"testing"
)

func TestTheReasonOfAFailedCommandIsTheLastLineThatSaysSomething(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"":                            "",
		"\n  \n":                      "",
		"boom":                        "boom",
		"first\nrelation is broken\n": "relation is broken",
		"Traceback (most recent call last):\n  File \"x.py\", line 3, in <module>\ndjango.db.utils.ProgrammingError: column \"x\" does not exist\n" +
			"LINE 1: SELECT x FROM t\n               ^\nHINT:  Perhaps you meant \"t.y\".\n\n": `django.db.utils.ProgrammingError: column "x" does not exist`,
		"psql:2.sql:3: ERROR:  relation \"x\" does not exist\nLINE 1: SELECT * FROM x;\n                      ^\n":      `psql:2.sql:3: ERROR:  relation "x" does not exist`,
		"IntegrityError: duplicate key value violates unique constraint \"k\"\nDETAIL:  Key (id)=(7) already exists.\n": `IntegrityError: duplicate key value violates unique constraint "k"`,
		"sqlalchemy.exc.ProgrammingError: (psycopg2.errors.UndefinedTable) relation \"x\" does not exist\n\n[SQL: \nALTER TABLE x\n  ADD y int\n]\n" +
			"[parameters: {'a': 1}]\n(Background on this error at: https://sqlalche.me/e/20/f405)\n": `sqlalchemy.exc.ProgrammingError: (psycopg2.errors.UndefinedTable) relation "x" does not exist`,
		"rails aborted!\nPG::UndefinedTable: ERROR:  relation \"x\" does not exist\n/app/db/migrate/1_x.rb:3:in `change'\n/app/bin/rails:4:in `<main>'\n" +
			"Tasks: TOP => db:migrate\n(See full trace by running task with --trace)\n": `PG::UndefinedTable: ERROR:  relation "x" does not exist`,
		"Error: no such table\n    at Object.<anonymous> (/app/x.js:1:7)\n    at Module._compile (node:internal:1)\n\nNode.js v20.1.0\n":                                   "Error: no such table",
		"ERROR: Migration failed\nCaused by: org.postgresql.util.PSQLException: ERROR: no table\n  Position: 15\n\tat org.flyway.Main.main(Main.java:12)\n\t... 12 more\n": "Caused by: org.postgresql.util.PSQLException: ERROR: no table",
		"\x1b[31mboom\x1b[0m\n\x1b[0m\n":              "boom",
		"manage.py: error: no command\n----\n":        "manage.py: error: no command",
		"at work\nstopped at step 3: no space left\n": "stopped at step 3: no space left",
		"LINE 1: SELECT x\n   ^\n":                    "^",
		strings.Repeat("x", 300):                      strings.Repeat("x", 200) + "…",
	} {
		if got := lastLine(said); got != want {
			t.Errorf("%q gives %q, not %q", said, got, want)
		}
	}
}
