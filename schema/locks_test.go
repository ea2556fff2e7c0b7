package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/schema/lint"
)

// older is what stands in the database before each statement of the test below.
const older = `
CREATE TABLE customers (id bigint PRIMARY KEY, email varchar(50) NOT NULL, note text, amount numeric(10,2), at timestamp(3), flag varbit(3), code char(3), ip cidr);
INSERT INTO customers SELECT g, 'a' || g, 'b', g, now(), '101', 'c', '10.0.0.0/8' FROM generate_series(1, 10) g;
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint REFERENCES customers, total int, state text);
INSERT INTO orders SELECT g, g, g, 'x' FROM generate_series(1, 10) g;
CREATE TABLE other (id bigint, state text);
CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE INDEX orders_total ON orders (total);
CREATE UNIQUE INDEX orders_state ON orders (state, id);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();
CREATE POLICY everyone ON orders;
CREATE SEQUENCE numbers;
CREATE DOMAIN short AS text;
CREATE DOMAIN checked AS text CHECK (value <> '');
CREATE TABLE words (w short);
CREATE VIEW totals AS SELECT id FROM orders;
CREATE MATERIALIZED VIEW sums AS SELECT id FROM orders;
CREATE UNIQUE INDEX sums_id ON sums (id);
ALTER TABLE orders ADD CONSTRAINT has_total CHECK (total IS NOT NULL) NOT VALID;
ALTER TABLE orders ADD CONSTRAINT in_other FOREIGN KEY (total) REFERENCES customers NOT VALID`

// lockers are of every kind whose locks are told. Those that cannot run in a transaction are not here: nothing
// shows what they held.
var lockers = []string{
	"CREATE TABLE new (a int)",
	"CREATE TABLE new (a bigint REFERENCES customers)",
	"CREATE TABLE new (a bigint, FOREIGN KEY (a) REFERENCES customers)",
	"CREATE TABLE new () INHERITS (orders)",
	"CREATE TABLE new (LIKE orders)",
	"CREATE TABLE new PARTITION OF parts FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')",
	"CREATE TABLE new AS SELECT * FROM orders",
	"SELECT * INTO new FROM orders",
	"CREATE INDEX ON orders (state)",
	"DROP INDEX orders_total",
	"REINDEX TABLE orders",
	"REINDEX INDEX orders_total",
	"ALTER TABLE orders ADD x int",
	"ALTER TABLE orders ADD x int DEFAULT 5",
	"ALTER TABLE orders ADD x timestamptz NOT NULL DEFAULT now()",
	"ALTER TABLE orders ADD x uuid DEFAULT gen_random_uuid()",
	"ALTER TABLE orders ADD x serial",
	"ALTER TABLE orders ADD x int GENERATED ALWAYS AS IDENTITY",
	"ALTER TABLE orders ADD x int GENERATED ALWAYS AS (total + 1) STORED",
	"ALTER TABLE orders ADD x checked",
	"ALTER TABLE orders ADD x short",
	"ALTER TABLE orders ADD x int CHECK (x > 0)",
	"ALTER TABLE orders ADD x int UNIQUE",
	"ALTER TABLE orders ADD x bigint REFERENCES customers",
	"ALTER TABLE orders DROP total",
	"ALTER TABLE orders DROP id CASCADE",
	"ALTER TABLE orders ALTER total TYPE bigint",
	"ALTER TABLE orders ALTER customer_id TYPE int",
	"ALTER TABLE customers ALTER id TYPE int",
	"ALTER TABLE customers ALTER email TYPE varchar(60)",
	"ALTER TABLE customers ALTER email TYPE varchar(20)",
	"ALTER TABLE customers ALTER email TYPE text",
	"ALTER TABLE customers ALTER email TYPE text USING email::text",
	"ALTER TABLE customers ALTER email TYPE text USING email || ''",
	"ALTER TABLE customers ALTER note TYPE varchar",
	"ALTER TABLE customers ALTER note TYPE varchar(20)",
	"ALTER TABLE customers ALTER amount TYPE numeric(12,2)",
	"ALTER TABLE customers ALTER amount TYPE numeric(12,3)",
	"ALTER TABLE customers ALTER amount TYPE numeric",
	"ALTER TABLE customers ALTER at TYPE timestamp(6)",
	"ALTER TABLE customers ALTER at TYPE timestamp(1)",
	"ALTER TABLE customers ALTER at TYPE timestamp",
	"ALTER TABLE customers ALTER flag TYPE varbit(5)",
	"ALTER TABLE customers ALTER flag TYPE varbit",
	"ALTER TABLE customers ALTER code TYPE char(5)",
	"ALTER TABLE customers ALTER code TYPE text",
	"ALTER TABLE customers ALTER ip TYPE inet",
	"ALTER TABLE orders ALTER total SET NOT NULL",
	"ALTER TABLE orders ALTER total DROP NOT NULL",
	"ALTER TABLE orders ALTER total SET DEFAULT 5",
	"ALTER TABLE orders ALTER total SET STATISTICS 5",
	"ALTER TABLE orders ALTER total SET (n_distinct = 5)",
	"ALTER TABLE orders ALTER state SET STORAGE EXTERNAL",
	"ALTER TABLE orders SET (fillfactor = 50)",
	"ALTER TABLE orders RESET (autovacuum_enabled)",
	"ALTER TABLE orders SET (user_catalog_table = true)",
	"ALTER TABLE orders ADD CONSTRAINT c CHECK (total > 0)",
	"ALTER TABLE orders ADD CONSTRAINT c CHECK (total > 0) NOT VALID",
	"ALTER TABLE orders ADD FOREIGN KEY (total) REFERENCES customers",
	"ALTER TABLE orders ADD CONSTRAINT c FOREIGN KEY (total) REFERENCES customers NOT VALID",
	"ALTER TABLE orders ADD UNIQUE (total)",
	"ALTER TABLE other ADD PRIMARY KEY (id)",
	"ALTER TABLE orders ADD CONSTRAINT u UNIQUE USING INDEX orders_state",
	"ALTER TABLE orders VALIDATE CONSTRAINT has_total",
	"ALTER TABLE orders VALIDATE CONSTRAINT in_other",
	"ALTER TABLE orders DROP CONSTRAINT has_total",
	"ALTER TABLE orders DROP CONSTRAINT in_other",
	"ALTER TABLE orders DROP CONSTRAINT orders_customer_id_fkey",
	"ALTER TABLE orders DISABLE TRIGGER touched",
	"ALTER TABLE orders ENABLE TRIGGER touched",
	"ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
	"ALTER TABLE orders REPLICA IDENTITY FULL",
	"ALTER TABLE orders CLUSTER ON orders_total",
	"ALTER TABLE other SET UNLOGGED",
	"CREATE TABLE new (id bigint, state text);\nALTER TABLE new INHERIT other",
	"ALTER TABLE parts DETACH PARTITION part1",
	"CREATE TABLE new (id int, at date);\nALTER TABLE parts ATTACH PARTITION new FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')",
	"ALTER TABLE orders RENAME TO o",
	"ALTER TABLE orders RENAME total TO t",
	"ALTER TABLE orders RENAME CONSTRAINT has_total TO h",
	"ALTER TABLE orders ADD x int, ALTER total SET STATISTICS 5",
	"ALTER INDEX orders_total RENAME TO i",
	"DROP TABLE other",
	"DROP TABLE orders CASCADE",
	"DROP TABLE customers CASCADE",
	"DROP VIEW totals",
	"DROP TRIGGER touched ON orders",
	"DROP POLICY everyone ON orders",
	"CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch()",
	"CREATE POLICY p ON orders",
	"ALTER POLICY everyone ON orders USING (true)",
	"CREATE RULE r AS ON INSERT TO other DO NOTHING",
	"CREATE STATISTICS s ON total, state FROM orders",
	"COMMENT ON TABLE orders IS 'x'",
	"COMMENT ON COLUMN orders.total IS 'x'",
	"CREATE VIEW v AS SELECT * FROM orders",
	"CREATE OR REPLACE VIEW totals AS SELECT id FROM orders",
	"REFRESH MATERIALIZED VIEW sums",
	"REFRESH MATERIALIZED VIEW CONCURRENTLY sums",
	"ALTER SEQUENCE numbers RESTART 5",
	"ALTER DOMAIN short ADD CONSTRAINT c CHECK (value <> '')",
	"INSERT INTO other SELECT id, state FROM orders",
	"UPDATE other SET state = '' FROM words WHERE w = state",
	"DELETE FROM other",
	"SELECT * FROM orders FOR UPDATE",
	"SELECT * FROM orders",
	"WITH q AS (SELECT 1) SELECT * FROM q, orders",
	"TRUNCATE other",
	"TRUNCATE customers CASCADE",
	"LOCK TABLE orders IN EXCLUSIVE MODE",
	"CLUSTER orders USING orders_total",
	"ANALYZE orders",
	"GRANT SELECT ON orders TO PUBLIC",
}

// what one transaction holds on the relations that were there before it, and their files, are the server's own answers.
const (
	heldSQL = `SELECT c.relname, max(array_position(ARRAY['AccessShareLock', 'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'], l.mode))
		FROM pg_locks l JOIN known c ON c.oid = l.relation WHERE l.pid = pg_backend_pid() AND l.granted GROUP BY c.relname`
	rewrittenSQL = `SELECT c.relname, 0 FROM known c JOIN pg_class now ON now.oid = c.oid WHERE now.relfilenode <> c.relfilenode AND c.relkind IN ('r', 'm')`
)

func TestLocksAndRewritesAreThoseOfTheServer(t *testing.T) {
	b := newBench(t, example)
	conn := b.super()
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
	}
	ask := func(sql string) map[string]lint.Mode {
		t.Helper()
		rows, err := conn.Query(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
		must(t, err)
		out := map[string]lint.Mode{}
		var name string
		var mode int
		_, err = pgx.ForEachRow(rows, []any{&name, &mode}, func() error { out[name] = lint.Mode(mode); return nil })
		must(t, err)
		return out
	}
	exec("CREATE SCHEMA locks; SET search_path = locks;" + older)
	exec(`CREATE TEMPORARY TABLE known AS SELECT oid, relname, relkind, relfilenode FROM pg_class WHERE relnamespace = 'locks'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S') AND relname NOT LIKE '%_seq'`)
	for _, sql := range lockers {
		history := lint.New()
		for _, s := range strings.Split(older, ";\n") {
			_, err := history.File(true).Read(s)
			must(t, err)
		}
		file := history.File(true)
		exec("BEGIN")
		told, anew, opaque := map[string]lint.Mode{}, map[string]bool{}, false
		for _, s := range strings.Split(sql, ";\n") {
			does, err := file.Read(s)
			must(t, err)
			for _, l := range does.Locks {
				told[l.Table] = max(told[l.Table], l.Mode)
			}
			opaque = opaque || does.Opaque
			for _, r := range does.Rewrites {
				anew[r] = true
			}
			exec(s)
		}
		held, rewritten := ask(heldSQL), ask(rewrittenSQL)
		exec("ROLLBACK")
		for table, mode := range held {
			if told[table] == 0 && (mode <= lint.RowShare || opaque) { // such as a foreign key looks at
				delete(held, table)
			}
		}
		if !maps.Equal(held, told) {
			t.Errorf("%s\n  holds %v\n  told  %v", sql, held, told)
		}
		if strings.HasPrefix(sql, "TRUNCATE") {
			continue // it begins with an empty file, and writes nothing anew
		}
		if got, want := slices.Sorted(maps.Keys(anew)), slices.Sorted(maps.Keys(rewritten)); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s\n  writes anew %v\n  told        %v", sql, want, got)
		}
	}
}
