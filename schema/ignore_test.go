package schema

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// checked is what a check finds in files, as FILE:LINE SEVERITY RULE, ignored ones with a star.
func checked(t *testing.T, files map[string]string) []string {
	t.Helper()
	found, err := offline(folder(t, files)).Check(t.Context())
	must(t, err)
	var got []string
	for _, f := range found {
		star := ""
		if f.Ignored {
			star = "*"
		}
		if f.Live != (f.Alternative != "") {
			t.Errorf("%+v: what is about tables in use has an alternative", f)
		}
		got = append(got, fmt.Sprintf("%s:%d %s %s%s", filepath.Base(f.File), f.Line, f.Severity, f.Rule, star))
	}
	return got
}

const down = "-- +goose Down\nSELECT 1;\n"

func TestCommentsIgnoreTheRulesTheyName(t *testing.T) {
	for _, c := range []struct{ name, up, want string }{
		{"none", "DROP TABLE a;\n", "2 warning drop-table"},
		{"line before", "-- tenantctl:ignore drop-table nobody uses it\nDROP TABLE a;\n", "3 warning drop-table*"},
		{"with lines between", "-- tenantctl:ignore drop-table nobody uses it\n\n-- because\nDROP TABLE a;\n", "5 warning drop-table*"},
		{"same line", "DROP TABLE a; -- tenantctl:ignore drop-table nobody uses it\n", "2 warning drop-table*"},
		{"within", "ALTER TABLE a\n  -- tenantctl:ignore drop-column,add-not-null-column it is empty\n  DROP b,\n  ADD c int NOT NULL;\n", "2 warning drop-column*|5 warning add-not-null-column*"},
		{"another statement", "-- tenantctl:ignore drop-table nobody uses it\nSELECT 1;\nDROP TABLE a;\n", "2 warning unused-ignore|4 warning drop-table"},
		{"another rule", "-- tenantctl:ignore drop-column nobody uses it\nDROP TABLE a;\n", "2 warning unused-ignore|3 warning drop-table"},
		{"the file", "-- tenantctl:ignore-file drop-table old\nDROP TABLE a;\nSELECT 1;\nDROP TABLE b;\n", "3 warning drop-table*|5 warning drop-table*|5 warning several-locks"},
		{"unknown", "-- tenantctl:ignore drop-tables x\nDROP TABLE a;\n", "2 error unknown-ignore|3 warning drop-table"},
		{"nothing", "-- tenantctl:ignore\nDROP TABLE a;\n", "2 error unknown-ignore|3 warning drop-table"},
		{"what keeps a file from being run", "-- tenantctl:ignore transaction-control x\nCOMMIT;\n", "2 error unknown-ignore|3 error transaction-control"},
		{"syntax", "-- tenantctl:ignore syntax the server is newer\nALTER TABLE a ADD b int GENERATED ALWAYS AS (1) VIRTUAL;\n", "3 error syntax*"},
		{"a name in a function", "-- +goose StatementBegin\nCREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\n-- tenantctl:ignore schema-name shared\nBEGIN RETURN (SELECT 1 FROM public.a); END $$;\n-- +goose StatementEnd\n", "5 warning schema-name*"},
	} {
		got := strings.Join(checked(t, map[string]string{"00001_a.sql": "-- +goose Up\n" + c.up + down}), "|")
		if got = strings.ReplaceAll(got, "00001_a.sql:", ""); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	got := checked(t, map[string]string{"00003_a.sql": "-- tenantctl:ignore-file gap,no-down history\n-- +goose Up\nSELECT 1;\n"})
	if strings.Join(got, "|") != "00003_a.sql:0 warning gap*|00003_a.sql:0 warning no-down*" {
		t.Errorf("of the file as a whole: %v", got)
	}
}

func TestCheckReadsFilesInTheirOrder(t *testing.T) {
	got := checked(t, map[string]string{
		"00001_a.sql": "-- +goose Up\nCREATE TABLE a (b varchar(10));\nCREATE INDEX ON a (b);\n-- +goose Down\nDROP TABLE a;\n",
		"00002_b.sql": "-- +goose Up\nALTER TABLE a ALTER b TYPE varchar(20);\n-- +goose Down\nALTER TABLE a DROP b;\n",
		"00003_c.sql": "-- +goose Up\nALTER TABLE a ALTER b TYPE varchar(5);\n" + down,
	})
	if strings.Join(got, "|") != "00003_c.sql:2 warning change-type" {
		t.Errorf("got %v", got)
	}
}

func TestSyntaxErrorsHaveTheirLineInTheFile(t *testing.T) {
	t.Setenv("COLUMN", "")
	t.Setenv("SECRET", "a' hunter2 hunter2 '")
	got := checked(t, map[string]string{
		"00001_a.sql": "-- +goose Up\nSELECT 1;\n\nALTER TABLE a\n  ADD COLUM b int x;\n" + down,
		"00002_b.sql": "-- +goose Up\nSELECT 1;\n-- +goose Down\n-- +goose StatementBegin\nSELECT 1;\nSELEC 2;\n-- +goose StatementEnd\n",
		"00003_c.sql": "-- +goose Up\n-- +goose ENVSUB ON\nALTER TABLE a DROP CONSTRAINT ${COLUMN};\n" + down,
	})
	found, err := offline(one(t, "-- +goose ENVSUB ON\nSELECT '${SECRET}' x y;\n")).Check(t.Context())
	must(t, err)
	if text := fmt.Sprint(found); strings.Contains(text, "hunter2") || !strings.Contains(text, "environment") {
		t.Errorf("a value of the environment is told: %s", text)
	}
	want := "00001_a.sql:5 error syntax|00002_b.sql:6 error syntax|00003_c.sql:3 warning syntax"
	if strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
}

func TestThePageHasEveryRule(t *testing.T) {
	page, err := os.ReadFile("../docs/migrations.md")
	must(t, err)
	for _, r := range offline("").Rules() {
		if r.Store != tenant.KindPostgres || r.Severity == "" || r.Reason == "" || r.Alternative == "" {
			t.Errorf("%+v lacks something", r)
		}
		if !strings.Contains(string(page), "\n| `"+r.ID+"` |") {
			t.Errorf("docs/migrations.md does not have the rule %s", r.ID)
		}
	}
	if !slices.IsSortedFunc(offline("").Rules(), func(a, b tenant.Rule) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("the rules are not in order")
	}
}
