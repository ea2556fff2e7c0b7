package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestExplainTellsOfEachStatementWhatItDoes(t *testing.T) {
	t.Setenv("SECRET", "hunter2")
	dir := folder(t, map[string]string{
		"00001_a.sql": "-- +goose Up\nCREATE TABLE a (b int);\nCREATE INDEX ON a (b);\n-- +goose Down\nDROP TABLE a;\n",
		"00002_b.sql": "-- +goose Up\n-- +goose StatementBegin\nALTER TABLE a ALTER b TYPE bigint; CREATE INDEX ON a\n  (b);\nDO $$ BEGIN END $$;\n-- +goose StatementEnd\n",
		"00003_c.sql": "-- +goose Up\n-- +goose ENVSUB ON\nINSERT INTO a SELECT length('${SECRET}');\n",
		"00004_d.sql": "-- +goose Up\nALTER TABLE a ADD c int GENERATED ALWAYS AS (1) VIRTUAL;\n",
	})
	files, err := offline(dir).Explain(t.Context())
	must(t, err)
	var got strings.Builder
	for _, f := range files {
		for _, s := range f.Statements {
			fmt.Fprintf(&got, "%d:%d %s %v rewrites %v scans %v %v\n", f.Version, s.Line, strings.Join(strings.Fields(s.Statement), " "), s.Locks, s.Rewrites, s.Scans, s.Unknown)
		}
	}
	want := `1:2 CREATE TABLE a (b int) [] rewrites [] scans [] false
1:3 CREATE INDEX ON a (b) [] rewrites [] scans [] false
2:3 ALTER TABLE a ALTER b TYPE bigint [{a ACCESS EXCLUSIVE}] rewrites [a] scans [] false
2:3 CREATE INDEX ON a (b) [{a SHARE}] rewrites [] scans [a] false
2:5 DO $$ BEGIN END $$ [] rewrites [] scans [] true
3:3 INSERT INTO a SELECT length('${SECRET}') [{a ROW EXCLUSIVE}] rewrites [] scans [] false
4:2 ALTER TABLE a ADD c int GENERATED ALWAYS AS (1) VIRTUAL [] rewrites [] scans [] true
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

func TestSizesAreThoseOfEachTenantAndWaitForNobody(t *testing.T) {
	b := newBench(t, one(t, "CREATE TABLE a (id int PRIMARY KEY);\nCREATE TABLE p (id int) PARTITION BY RANGE (id);\nCREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000000);\nCREATE TABLE z (id int);\n"))
	acme, globex, gone := b.created("acme"), b.created("globex"), b.tenant("gone")
	b.exec("INSERT INTO %[1]s.a SELECT generate_series(1, 10000); INSERT INTO %[1]s.p SELECT generate_series(1, 10000); ANALYZE %[1]s.a; ANALYZE %[1]s.p1", globex.Schema)
	sizes := func() [][]tenant.TableSize {
		t.Helper()
		got, err := b.Sizes(t.Context(), []tenant.Tenant{acme, gone, globex}, []string{"a", "nowhere", "p"})
		must(t, err)
		return got
	}
	got := sizes()
	if len(got) != 3 || len(got[0]) != 2 || len(got[1]) != 0 || len(got[2]) != 2 || got[0][0].Heap != 0 || got[0][0].Rows != 0 {
		t.Fatalf("got %+v", got)
	}
	a, p := got[2][0], got[2][1]
	if a.Table != "a" || a.Heap < 300_000 || a.Total < a.Heap+200_000 || a.Rows != 10000 {
		t.Errorf("a is %+v", a)
	}
	if p.Table != "p" || p.Heap < 300_000 || p.Rows != 10000 {
		t.Errorf("p, which is its partition, is %+v", p)
	}
	held := b.super()
	_, err := held.Exec(t.Context(), "BEGIN; LOCK TABLE "+globex.Schema+".a IN ACCESS EXCLUSIVE MODE")
	must(t, err)
	if again := sizes(); again[2][0].Heap != a.Heap || again[2][0].Rows != a.Rows || again[2][0].Total < a.Heap {
		t.Errorf("of a table that is locked: %+v", again[2][0])
	}
}
