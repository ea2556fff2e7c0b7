package schema

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// everyKind are objects of many kinds for the tests of alignment.
const everyKind = `-- +goose Up
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE "Odd Name" (
	"select" integer PRIMARY KEY, plain text DEFAULT 'it''s (a), b' NOT NULL, price numeric(10, 2) DEFAULT 0, m mood DEFAULT 'glad',
	CONSTRAINT "dear, or not" CHECK (price < 100 AND plain <> ')')
);
CREATE INDEX odd_plain ON "Odd Name" (lower(plain)) WHERE price > 0;
COMMENT ON INDEX odd_plain IS 'of the test';
COMMENT ON COLUMN "Odd Name".plain IS 'plain';
CREATE FUNCTION cheap(p numeric DEFAULT 3) RETURNS boolean LANGUAGE sql AS $$ SELECT p < 10; $$;
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER notes BEFORE INSERT ON "Odd Name" FOR EACH ROW EXECUTE FUNCTION noted();
CREATE VIEW cheap_ones AS SELECT "select" FROM "Odd Name" WHERE cheap(price);
ALTER TABLE "Odd Name" ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON "Odd Name" USING (true);
CREATE STATISTICS together ON plain, price FROM "Odd Name";
CREATE TABLE counted (a integer GENERATED ALWAYS AS IDENTITY, "B" serial);
CREATE SEQUENCE alone;
`

// drifted is a tenant and the one whose structure it should have.
func drifted(t *testing.T) (b bench, acme, like tenant.Tenant) {
	t.Helper()
	dir := copied(t, example)
	write(t, dir, "00006_kinds.sql", everyKind)
	b = newBench(t, dir)
	acme, like = b.tenant("acme"), b.tenant("like")
	acme.State, like.State = tenant.Active, tenant.Active
	for _, tn := range []tenant.Tenant{acme, like} {
		must(t, b.Create(t.Context(), tn))
	}
	return b, acme, like
}

// harm runs statements in a tenant's schema, as the provisioning role.
func (b bench) harm(t *testing.T, tn tenant.Tenant, sql string) {
	t.Helper()
	sql = strings.ReplaceAll(sql, "$R", quote(tn.Role))
	if _, err := b.pool.Exec(t.Context(), "BEGIN; SET LOCAL search_path = "+quote(tn.Schema)+"; "+sql+"; COMMIT", pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
}

func (b bench) structures(t *testing.T, ts ...tenant.Tenant) []string {
	t.Helper()
	prints, err := b.Structures(t.Context(), ts)
	must(t, err)
	return prints
}

func TestAStructureThatHasDriftedIsMadeTheUsualOneAgainWithItsRows(t *testing.T) {
	t.Parallel()
	b, acme, like := drifted(t)
	exec := func(sql string) { t.Helper(); b.harm(t, acme, sql) }
	exec(`INSERT INTO "Odd Name" VALUES (1, 'a', 5), (2, 'b', 7)`)
	for _, harm := range []string{
		`DROP INDEX odd_plain`,
		`CREATE UNIQUE INDEX more ON "Odd Name" (price); COMMENT ON INDEX more IS 'by hand'`,
		`DROP INDEX odd_plain; CREATE INDEX odd_plain ON "Odd Name" (plain)`,
		`ALTER TABLE "Odd Name" DROP CONSTRAINT "dear, or not"`,
		`ALTER TABLE "Odd Name" DROP CONSTRAINT "dear, or not", ADD CONSTRAINT "dear, or not" CHECK (price < 50)`,
		`ALTER TABLE "Odd Name" ADD CONSTRAINT more UNIQUE (plain)`,
		`ALTER TABLE "Odd Name" DROP CONSTRAINT "Odd Name_pkey"`,
		`ALTER TABLE "Odd Name" ALTER plain DROP NOT NULL, ALTER price SET NOT NULL`,
		`ALTER TABLE "Odd Name" ALTER plain DROP DEFAULT, ALTER price SET DEFAULT 1 + (2), ALTER "select" SET DEFAULT 7`,
		`ALTER TABLE "Odd Name" DROP COLUMN m`,
		`DROP TABLE order_lines CASCADE`,
		`DROP TABLE counted`,
		`DROP VIEW cheap_ones`,
		`CREATE OR REPLACE VIEW cheap_ones AS SELECT "select" FROM "Odd Name"; CREATE VIEW more AS SELECT 1 AS one`,
		`CREATE OR REPLACE FUNCTION cheap(p numeric DEFAULT 3) RETURNS boolean LANGUAGE sql AS $$ SELECT p < 20; $$; CREATE FUNCTION more(a int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT a'`,
		`DROP TRIGGER notes ON "Odd Name"; CREATE TRIGGER more AFTER UPDATE ON "Odd Name" FOR EACH ROW EXECUTE FUNCTION noted()`,
		`ALTER TABLE "Odd Name" DISABLE ROW LEVEL SECURITY; DROP POLICY everybody ON "Odd Name"; CREATE POLICY more ON "Odd Name" TO $R USING (price > 1)`,
		`ALTER TABLE "Odd Name" FORCE ROW LEVEL SECURITY; ALTER TABLE orders ENABLE ROW LEVEL SECURITY`,
		`COMMENT ON COLUMN "Odd Name".plain IS NULL; COMMENT ON TABLE orders IS 'by hand'`,
		`COMMENT ON COLUMN "Odd Name".plain IS 'other'`,
		`DROP STATISTICS together; CREATE STATISTICS more ON m, price FROM "Odd Name"`,
	} {
		exec(harm)
		prints := b.structures(t, acme, like)
		if prints[0] == prints[1] {
			t.Fatalf("%s: is no difference", harm)
		}
		statements, reason, err := b.Align(t.Context(), acme, like)
		must(t, err)
		if reason != "" {
			t.Fatalf("%s: nothing ends it: %s", harm, reason)
		}
		if err := b.Realign(t.Context(), acme, statements, prints[0], prints[1]); err != nil {
			t.Fatalf("%s: %v\n%s", harm, err, strings.Join(statements, "\n"))
		}
		if after := b.structures(t, acme, like); after[0] != after[1] {
			t.Fatalf("%s: still differs after\n%s", harm, strings.Join(statements, "\n"))
		}
		must(t, b.Realign(t.Context(), acme, statements, prints[0], prints[1])) // as after a crash
		if found := faults(t, b, acme); len(found) > 0 {
			t.Fatalf("%s: what was made has faults: %q\n%s", harm, found, strings.Join(statements, "\n"))
		}
	}
	var rows int
	must(t, b.super().QueryRow(t.Context(), `SELECT count(*) FROM `+quote(acme.Schema)+`."Odd Name" WHERE plain IN ('a', 'b') AND price IN (5, 7)`).Scan(&rows))
	if rows != 2 {
		t.Errorf("%d of 2 rows are left as they were", rows)
	}
}

func TestNoStatementTakesRowsAway(t *testing.T) {
	t.Parallel()
	b, acme, like := drifted(t)
	exec := func(sql string) { t.Helper(); b.harm(t, acme, sql) }
	for _, c := range []struct{ harm, reason, undo string }{
		{`CREATE TABLE more (id int)`, "table more is not in the usual structure, and what it holds is not for this to drop", `DROP TABLE more`},
		{`ALTER TABLE orders ADD COLUMN more int`, "column more of table orders is not in the usual structure", `ALTER TABLE orders DROP COLUMN more`},
		{`DROP VIEW cheap_ones; ALTER TABLE "Odd Name" ALTER price TYPE numeric(12, 2)`, `column price of table "Odd Name" is "numeric(12,2)", and "numeric(10,2)" in the usual structure: it takes a migration`, `ALTER TABLE "Odd Name" ALTER price TYPE numeric(10, 2); CREATE VIEW cheap_ones AS SELECT "select" FROM "Odd Name" WHERE cheap(price)`},
		{`CREATE SEQUENCE more`, `"CREATE SEQUENCE more" is not in the usual structure, and is not for this to take back`, `DROP SEQUENCE more`},
		{`ALTER TABLE counted ALTER a DROP IDENTITY`, "the identity of table counted would count from its start again", `ALTER TABLE counted ALTER a ADD GENERATED ALWAYS AS IDENTITY`},
		{`DROP SEQUENCE alone`, "sequence alone would count from its start again", `CREATE SEQUENCE alone`},
		{`CREATE MATERIALIZED VIEW more AS SELECT 1`, "is not for this to take back", `DROP MATERIALIZED VIEW more`},
		{`ALTER TABLE orders SET (fillfactor = 70)`, `table orders is made "WITH (fillfactor='70')", and "" in the usual structure`, `ALTER TABLE orders RESET (fillfactor)`},
		{`DROP SEQUENCE "counted_B_seq" CASCADE`, `sequence "counted_B_seq" would count from its start again`, `CREATE SEQUENCE "counted_B_seq" AS integer OWNED BY counted."B"; ALTER TABLE counted ALTER "B" SET DEFAULT nextval('"counted_B_seq"')`},
		{`ALTER TABLE "Odd Name" DROP COLUMN plain CASCADE; ALTER TABLE "Odd Name" ADD COLUMN plain text DEFAULT 'it''s (a), b' NOT NULL`, `the columns of table "Odd Name" stand in another order`, ``},
	} {
		exec(c.harm)
		statements, reason, err := b.Align(t.Context(), acme, like)
		must(t, err)
		if !strings.Contains(reason, c.reason) || len(statements) > 0 {
			t.Errorf("%s: the reason is %q, with %q", c.harm, reason, statements)
		}
		if c.undo != "" {
			exec(c.undo)
		}
	}
}

func TestStatementsThatDoNotEndTheDifferenceLeaveNothing(t *testing.T) {
	t.Parallel()
	b, acme, like := drifted(t)
	b.harm(t, acme, "DROP INDEX odd_plain")
	prints := b.structures(t, acme, like)
	statements, _, err := b.Align(t.Context(), acme, like)
	must(t, err)
	for _, c := range []struct {
		name       string
		statements []string
		have       string
		kind       error
	}{
		{"half of them", []string{"CREATE INDEX half ON orders (id)"}, prints[0], tenant.ErrDiffers},
		{"one that fails", append(slices.Clone(statements), "ALTER TABLE nowhere ADD COLUMN a int"), prints[0], nil},
		{"another structure than was looked at", statements, prints[1][:5] + "other", tenant.ErrBusy},
	} {
		err := b.Realign(t.Context(), acme, c.statements, c.have, prints[1])
		if err == nil || c.kind != nil && !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", c.name, err)
		}
		if after := b.structures(t, acme); after[0] != prints[0] {
			t.Errorf("%s: the structure is another now", c.name)
		}
	}
}
