package schema

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// big is a migration with many tables that refer to each other, with partitions, views and children.
func big(tables int) string {
	var b strings.Builder
	b.WriteString("-- +goose Up\nCREATE TABLE t0 (id int PRIMARY KEY);\n")
	for i := 1; i < tables; i++ {
		fmt.Fprintf(&b, "CREATE TABLE t%d (id int PRIMARY KEY, other int REFERENCES t%d);\n", i, i-1)
	}
	b.WriteString("CREATE TABLE parts (id int) PARTITION BY LIST (id);\n")
	for i := range 30 {
		fmt.Fprintf(&b, "CREATE TABLE part%d PARTITION OF parts FOR VALUES IN (%d);\n", i, i)
	}
	b.WriteString("CREATE TABLE child () INHERITS (t0);\nCREATE VIEW v AS SELECT * FROM t1;\nCREATE MATERIALIZED VIEW mv AS SELECT * FROM v;\n")
	b.WriteString("CREATE FUNCTION f(v) RETURNS int LANGUAGE sql AS 'SELECT 1';\nCREATE SEQUENCE s;\nCREATE TYPE state AS ENUM ('a');\nALTER TABLE t0 ADD COLUMN state state, ADD COLUMN n int DEFAULT nextval('s');\n")
	return b.String()
}

// A schema of thousands of tables does not fit into one transaction's locks.
func TestBigSchemaIsDroppedInParts(t *testing.T) {
	t.Parallel()
	b := newBench(t, folder(t, map[string]string{"00001_big.sql": big(120)}))
	tn := b.created("acme")
	tables := func() int {
		n, err := strconv.Atoi(b.scalar("SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('%s') AND relkind IN ('r', 'p')", tn.Schema))
		must(t, err)
		return n
	}
	left := []int{tables()}
	for left[len(left)-1] > 0 {
		g := newGuillotine(t, b.cfg.URL, 9, true) // after the first part: the rest is not begun
		cut := b.at(g.url)
		err := cut.Drop(t.Context(), tn)
		cut.pool.Close()
		refused(t, err, tenant.ErrUnreachable)
		if st, err := b.Stat(t.Context(), tn); err != nil || st.Presence != tenant.Ours {
			t.Fatalf("in the midst, stat is %+v, %v", st, err)
		}
		if _, err := b.Up(t.Context(), tn, tenant.Newest, false); err == nil {
			t.Error("what is half dropped passes for a tenant at the newest version")
		}
		if left = append(left, tables()); left[len(left)-1] == left[len(left)-2] {
			t.Fatal("the cut comes before anything is dropped")
		}
	}
	for i, n := range left[1:] {
		if n >= left[i] || left[i]-n > dropAtOnce {
			t.Errorf("the number of tables went down by %v", left)
		}
	}
	must(t, b.Drop(t.Context(), tn))
	if st, err := b.Stat(t.Context(), tn); err != nil || st.Presence != tenant.Absent {
		t.Errorf("at the end, stat is %+v, %v", st, err)
	}
}

func TestDropRefusesWhatOthersHangOn(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	b.exec("CREATE SCHEMA %sreports", b.prefix)
	for what, sql := range map[string][2]string{
		"view " + b.prefix + "reports.all_orders":          {"CREATE VIEW %sreports.all_orders AS SELECT * FROM %s.orders", "DROP VIEW %sreports.all_orders"},
		"table " + b.prefix + "reports.notes":              {"CREATE TABLE %sreports.notes (customer bigint REFERENCES %s.customers)", "DROP TABLE %sreports.notes"},
		"table " + b.prefix + "reports.more":               {"CREATE TABLE %sreports.more () INHERITS (%s.products)", "DROP TABLE %sreports.more"},
		"function " + b.prefix + "reports.paid(":           {"CREATE FUNCTION %sreports.paid(%s.order_state) RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION %sreports.paid"},
		"table " + b.prefix + "reports.states":             {"CREATE TABLE %sreports.states (state %s.order_state)", "DROP TABLE %sreports.states"},
		"table " + b.prefix + "reports.numbers":            {"CREATE TABLE %sreports.numbers (n bigint DEFAULT nextval('%s.orders_id_seq'))", "DROP TABLE %sreports.numbers"},
		"table " + b.prefix + "reports.guarded":            {"CREATE TABLE %[1]sreports.guarded (state int); CREATE TRIGGER t BEFORE UPDATE ON %[1]sreports.guarded FOR EACH ROW EXECUTE FUNCTION %[2]s.keep_sent_orders()", "DROP TABLE %sreports.guarded"},
		"materialized view " + b.prefix + "reports.totals": {"CREATE MATERIALIZED VIEW %sreports.totals AS SELECT * FROM %s.order_totals", "DROP MATERIALIZED VIEW %sreports.totals"},
	} {
		b.exec(sql[0], b.prefix, tn.Schema)
		refused(t, b.Drop(t.Context(), tn), tenant.ErrForeign, what, "not the tenant's")
		if n := b.scalar("SELECT count(*) FROM pg_class WHERE relnamespace = '%s'::regnamespace AND relkind = 'r'", tn.Schema); n != "5" {
			t.Fatalf("%s tables are left of 5", n)
		}
		b.exec(sql[1], b.prefix)
	}
	must(t, b.Drop(t.Context(), tn))
}

func TestDropTakesWhatTheRoleMadeItself(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	conn := b.as(tn)
	if _, err := conn.Exec(t.Context(), "SELECT lo_create(0)"); err != nil {
		t.Fatal(err)
	}
	must(t, b.Drop(t.Context(), tn))
	if st, err := b.Stat(t.Context(), tn); err != nil || len(st.Remains) != 0 {
		t.Errorf("what remains is %+v, %v", st, err)
	}
	if n := b.scalar("SELECT count(*) FROM pg_largeobject_metadata"); n != "0" {
		t.Errorf("%s large objects are left", n)
	}
}

func TestHalfAPlaceIsMadeWholeAndDropped(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	for _, take := range []string{"DROP SCHEMA %[1]s CASCADE", "ALTER ROLE %[1]s NOLOGIN; DROP SCHEMA %[1]s CASCADE", "DROP OWNED BY %[1]s; DROP ROLE %[1]s"} {
		tn := b.created("acme")
		whole := b.state(tn)
		half := func() {
			must(t, b.Create(t.Context(), tn))
			if strings.Contains(take, "OWNED") {
				b.exec("GRANT %s TO CURRENT_USER", tn.Role)
			}
			b.exec(take, tn.Schema)
			st, err := b.Stat(t.Context(), tn)
			must(t, err)
			if st.Presence != tenant.Ours || len(st.Remains) != 1 {
				t.Errorf("after %s, stat is %+v", take, st)
			}
		}
		half()
		must(t, b.Create(t.Context(), tn))
		if now := b.state(tn); now != whole {
			t.Errorf("after %s, create made\n%s\nwant\n%s", take, now, whole)
		}
		half()
		must(t, b.Drop(t.Context(), tn))
		if state := b.state(tn); state != "" {
			t.Errorf("after %s, drop left\n%s", take, state)
		}
	}
}
