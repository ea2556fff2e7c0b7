package migrationfile

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// How a file is written does not change its checksum; what it does changes it.
func TestChecksumIsOfWhatAFileDoes(t *testing.T) {
	const file = "-- +goose Up\n-- the note\nCREATE TABLE a (\n\tid int, -- the key\n\tt text DEFAULT 'x  y'\n);\n-- +goose StatementBegin\n" +
		"CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN\n\tRETURN 1; -- one\nEND $$;\n-- +goose StatementEnd\n-- +goose Down\nDROP TABLE a;\n"
	sum := func(content string) string {
		t.Helper()
		m, err := Compile("00001_a.sql", 1, "a", []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		return m.Checksum
	}
	was := sum(file)
	replaced := func(old, with string) string {
		t.Helper()
		if !strings.Contains(file, old) {
			t.Fatalf("%q is not in the file", old)
		}
		return strings.Replace(file, old, with, 1)
	}
	for name, content := range map[string]string{
		"CRLF":                strings.ReplaceAll(file, "\n", "\r\n"),
		"space at an end":     replaced("id int,", "id int,   "),
		"space at all":        replaced("\tid int,", "    id   int,"),
		"blank lines":         replaced("-- the note\n", "\n\n") + "\n\n",
		"a comment":           replaced("-- the key", "-- another, it's; $$"),
		"a comment in a file": replaced("-- the note", "/* none */ -- and none"),
		"no newline at last":  strings.TrimSuffix(file, "\n"),
		"an annotation":       replaced("+goose StatementBegin", "+goose  statementbegin"),
	} {
		if sum(content) != was {
			t.Errorf("%s changes the checksum", name)
		}
	}
	for name, content := range map[string]string{
		"a name":                replaced("id int", "ids int"),
		"text in quotes":        replaced("x  y", "x y"),
		"the body of a routine": replaced("RETURN 1;", "RETURN 2;"),
		"a line of a body":      replaced("RETURN 1; -- one\n", "RETURN 1; -- one \n"),
		"another order":         replaced("\tid int, -- the key\n\tt text DEFAULT 'x  y'\n", "\tt text DEFAULT 'x  y', id int\n"),
		"the Down":              replaced("DROP TABLE a", "DROP TABLE IF EXISTS a"),
		"what is in a block":    replaced("-- +goose StatementBegin\n", "-- +goose StatementBegin\nSELECT 1;\n"),
		"the transaction":       "-- +goose NO TRANSACTION\n" + file,
		"the environment":       replaced("-- +goose Down", "-- +goose Down\n-- +goose ENVSUB ON"),
		"a statement in parts":  replaced(");\n-- +goose StatementBegin\n", ");\nSELECT 1;\n-- +goose StatementBegin\n"),
	} {
		if sum(content) == was {
			t.Errorf("%s does not change the checksum", name)
		}
	}
}

// Values from the environment are not in a checksum, and it is the same wherever they differ.
func TestChecksumIsTheSameInEveryEnvironment(t *testing.T) {
	content := []byte("-- +goose Up\n-- +goose ENVSUB ON\nCREATE TABLE a (t text DEFAULT '${TENANTCTL_TEST_REGION}');\n")
	var sums []string
	for _, region := range []string{"north", "south"} {
		t.Setenv("TENANTCTL_TEST_REGION", region)
		m, err := Compile("00001_a.sql", 1, "a", content)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(m.Up.Statements[0].SQL, region) {
			t.Errorf("the statement is %s", m.Up.Statements[0].SQL)
		}
		sums = append(sums, m.Checksum)
	}
	if sums[0] != sums[1] {
		t.Error("the checksum depends on the environment")
	}
}

// What earlier releases recorded of a file passes for the same file, also where git has changed its line ends since.
func TestEarlierChecksumsPass(t *testing.T) {
	unix := "-- +goose Up\nSELECT 1;\n"
	dos := strings.ReplaceAll(unix, "\n", "\r\n")
	for _, recorded := range []string{unix, dos} {
		for _, now := range []string{unix, dos} {
			m, err := Compile("00001_a.sql", 1, "a", []byte(now))
			if err != nil {
				t.Fatal(err)
			}
			if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(recorded))); !slices.Contains(m.Earlier, sum) {
				t.Errorf("%q does not pass for %q", now, recorded)
			}
		}
	}
}
