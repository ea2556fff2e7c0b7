package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// outsiders are one of each kind of thing that can hang on a tenant's objects: %[1]s is a schema elsewhere, %[2]s the tenant's.
var outsiders = []struct {
	kind, object, make string
	repoints, stays    bool
}{
	{kind: "view", object: "view %[1]s.all_orders", make: "CREATE VIEW %[1]s.all_orders AS SELECT * FROM %[2]s.orders", repoints: true},
	{kind: "materialized view", object: "materialized view %[1]s.totals", make: "CREATE MATERIALIZED VIEW %[1]s.totals AS SELECT * FROM %[2]s.order_totals"},
	{kind: "rule", object: "rule r on table %[1]s.watched", make: "CREATE TABLE %[1]s.watched (n int); CREATE RULE r AS ON INSERT TO %[1]s.watched DO ALSO DELETE FROM %[2]s.orders"},
	{kind: "foreign key", object: `foreign key "my fk" of table %[1]s.notes`, make: `CREATE TABLE %[1]s.notes (customer bigint CONSTRAINT "my fk" REFERENCES %[2]s.customers)`, repoints: true},
	{kind: "child table", object: "child table %[1]s.more", make: "CREATE TABLE %[1]s.more () INHERITS (%[2]s.products)"},
	{kind: "function", object: "function %[1]s.paid(%[2]s.order_state)", make: "CREATE FUNCTION %[1]s.paid(%[2]s.order_state) RETURNS int LANGUAGE sql AS 'SELECT 1'"},
	{kind: "function", object: "function %[1]s.counted()", make: "CREATE FUNCTION %[1]s.counted() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM %[2]s.orders; END"},
	{kind: "column", object: "column state of table %[1]s.states", make: "CREATE TABLE %[1]s.states (state %[2]s.order_state)"},
	{kind: "column", object: "column lines of table %[1]s.lists", make: "CREATE TABLE %[1]s.lists (lines %[2]s.products[])"},
	{kind: "default", object: "default of column n of table %[1]s.numbers", make: "CREATE TABLE %[1]s.numbers (n bigint DEFAULT nextval('%[2]s.orders_id_seq'))"},
	{kind: "trigger", object: "trigger t on table %[1]s.guarded", make: "CREATE TABLE %[1]s.guarded (state int); CREATE TRIGGER t BEFORE UPDATE ON %[1]s.guarded FOR EACH ROW EXECUTE FUNCTION %[2]s.keep_sent_orders()"},
	{kind: "policy", object: "policy p on table %[1]s.ruled", make: "CREATE TABLE %[1]s.ruled (n int); CREATE POLICY p ON %[1]s.ruled USING (n IN (SELECT 1 FROM %[2]s.orders))"},
	{kind: "constraint", object: "constraint c of table %[1]s.checked", make: "CREATE FUNCTION %[2]s.good(int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT true'; CREATE TABLE %[1]s.checked (n int CONSTRAINT c CHECK (%[2]s.good(n)))"},
	{kind: "index", object: "index %[1]s.by_f", make: "CREATE FUNCTION %[2]s.f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'; CREATE TABLE %[1]s.found (n int); CREATE INDEX by_f ON %[1]s.found (%[2]s.f(n))"},
	{kind: "type", object: "type %[1]s.often", make: "CREATE DOMAIN %[1]s.often AS %[2]s.order_state"},
	{kind: "partition", object: "partition: table %[1]s.first", make: "CREATE TABLE %[2]s.parted (n int) PARTITION BY LIST (n); CREATE TABLE %[1]s.first PARTITION OF %[2]s.parted FOR VALUES IN (1)"},
	{kind: "publication", object: "publication %[1]s_p", make: "CREATE PUBLICATION %[1]s_p FOR TABLE %[2]s.orders (id, state) WHERE (id > 5)", repoints: true, stays: true},
	{kind: "publication", object: "publication %[1]s_s", make: "CREATE PUBLICATION %[1]s_s FOR TABLES IN SCHEMA %[2]s", repoints: true, stays: true},
}

// outsider makes a place that is no tenant's, with a name that needs quotes.
func (b bench) outsider() string {
	b.t.Helper()
	b.exec("CREATE SCHEMA %sreports", b.prefix)
	return b.prefix + "reports"
}

func TestDependentsAreNamedAndFreed(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn, other, here := b.created("acme"), b.created("globex"), b.outsider()
	super := b.super()
	run := func(sql string) {
		t.Helper()
		if _, err := super.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
	}
	for _, o := range outsiders {
		run(fmt.Sprintf(o.make, here, tn.Schema))
		list, err := b.supers().Dependents(t.Context(), tn)
		must(t, err)
		want := fmt.Sprintf(strings.ReplaceAll(o.object, "%[2]s", tn.Schema), here)
		if len(list) != 1 || list[0].Kind != o.kind || list[0].Object != want || list[0].Repoints != o.repoints || list[0].Dropped == o.stays {
			t.Fatalf("%s: found %+v, want %s", o.make, list, want)
		}
		if !strings.Contains(list[0].On, tn.Schema) {
			t.Errorf("%s is said to be on %s", want, list[0].On)
		}
		run(list[0].Free)
		if list, err := b.Dependents(t.Context(), tn); err != nil || len(list) > 0 {
			t.Fatalf("freed by %s, there is %+v, %v", list[0].Free, list, err)
		}
	}
	if list, err := b.Dependents(t.Context(), other); err != nil || len(list) > 0 {
		t.Errorf("the other tenant has %+v, %v", list, err)
	}
	if list, err := b.Dependents(t.Context(), b.tenant("nobody")); err != nil || len(list) > 0 {
		t.Errorf("who is not there has %+v, %v", list, err)
	}
}

// A sequence of another schema cannot depend on a table: PostgreSQL refuses to let it be owned by one. A subscription can.
func TestASubscriptionThatWritesToATenantsTableIsNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	super, name := b.super(), b.prefix+"sub"
	run := func(format string, args ...any) {
		t.Helper()
		if _, err := super.Exec(t.Context(), fmt.Sprintf(format, args...), pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%v\n%s", err, fmt.Sprintf(format, args...))
		}
	}
	run("CREATE SEQUENCE public.%scounter", b.prefix)
	if _, err := super.Exec(t.Context(), fmt.Sprintf("ALTER SEQUENCE public.%scounter OWNED BY %s.orders.id", b.prefix, tn.Schema)); err == nil {
		t.Error("a sequence of another schema is owned by a column of the tenant's")
	}
	run("CREATE SUBSCRIPTION %s CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false)", name)
	run("SET allow_system_table_mods = on; INSERT INTO pg_subscription_rel SELECT oid, '%s.orders'::regclass, 'r', NULL FROM pg_subscription WHERE subname = '%s'", tn.Schema, name)
	list, err := b.supers().Dependents(t.Context(), tn)
	must(t, err)
	if len(list) != 1 || list[0].Kind != "subscription" || list[0].Object != "subscription "+name || list[0].Dropped || list[0].Repoints || !strings.Contains(list[0].On, tn.Schema+".orders") {
		t.Errorf("found %+v", list)
	}
	run("DELETE FROM pg_subscription_rel WHERE srrelid = '%s.orders'::regclass; ALTER SUBSCRIPTION %s DISABLE", tn.Schema, name)
	run("ALTER SUBSCRIPTION %s SET (slot_name = NONE)", name)
	run("DROP SUBSCRIPTION %s", name)
	must(t, b.Drop(t.Context(), tn))
}

// supers is the resource with every right in the bench's database.
func (b bench) supers() bench {
	return b.at(b.super().Config().ConnString())
}

func TestDependentsOfOtherTenantsAndExtensionsAreNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn, other := b.created("acme"), b.created("globex")
	super := b.super()
	for _, sql := range []string{
		"CREATE EXTENSION citext SCHEMA " + tn.Schema,
		fmt.Sprintf("CREATE TABLE %s.people (name %s.citext)", other.Schema, tn.Schema),
		fmt.Sprintf("CREATE TEMP VIEW passing AS SELECT * FROM %s.orders", tn.Schema),
	} {
		if _, err := super.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	list, err := b.Dependents(t.Context(), tn)
	must(t, err)
	if len(list) != 1 || list[0].Extension != "citext" || list[0].Schema != other.Schema || list[0].Object != "column name of table "+other.Schema+".people" {
		t.Errorf("found %+v", list)
	}
	refused(t, b.Drop(t.Context(), tn), tenant.ErrForeign, other.Schema+".people")
}
