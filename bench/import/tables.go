package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sync/errgroup"
)

// columns of both tables that are loaded; the tenants' tables and the floor's have the same, and the same indexes.
const (
	eventColumns = "id bigint PRIMARY KEY, tenant_id integer NOT NULL, kind text NOT NULL, payload text, amount numeric(12,2) NOT NULL, created_at timestamptz NOT NULL"
	lineColumns  = "id bigint PRIMARY KEY, order_id bigint NOT NULL, kind text NOT NULL, payload text, amount numeric(12,2) NOT NULL, created_at timestamptz NOT NULL"
)

const (
	memoryRows   = 50_000  // of the small import that the large one's memory is compared with
	batchRows    = 1000    // of a script's INSERT
	batchSample  = 100_000 // rows that the script loads
	singleSample = 2000    // rows that the script without batches loads
)

// legacy makes the old database: so many rows, about 120 bytes each, the first tenants with far more than the last.
func (b *bench) legacy(ctx context.Context, server, name string, rows int) error {
	if err := b.exec(ctx, database(server, "postgres"), "CREATE DATABASE "+name); err != nil {
		return err
	}
	skewed := fmt.Sprintf("1 + floor(%d * power((hashint8(g) & 2147483647) / 2147483648.0, 3))::int", b.tenants)
	values := "'kind' || g %% 7, repeat(md5(g::text), 2), (g %% 1000000) / 100.0, '2026-01-01'::timestamptz + g * interval '1 second' FROM generate_series(1, %d) g"
	return b.exec(
		ctx, database(server, name),
		"CREATE TABLE companies (id int PRIMARY KEY)",
		fmt.Sprintf("INSERT INTO companies SELECT generate_series(1, %d)", b.tenants),
		"CREATE TABLE events ("+eventColumns+")",
		fmt.Sprintf("INSERT INTO events SELECT g, "+skewed+", "+values, rows),
		// A tenth as many orders as lines, and a tenth as many customers.
		"CREATE TABLE customers (id bigint PRIMARY KEY, tenant_id integer NOT NULL REFERENCES companies)",
		fmt.Sprintf("INSERT INTO customers SELECT g, "+skewed+" FROM generate_series(1, %d) g", rows/100+1),
		"CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers)",
		fmt.Sprintf("INSERT INTO orders SELECT g, g / 10 + 1 FROM generate_series(0, %d) g", rows/10),
		"CREATE TABLE lines ("+strings.Replace(lineColumns, "order_id bigint NOT NULL", "order_id bigint NOT NULL REFERENCES orders", 1)+")",
		fmt.Sprintf("INSERT INTO lines SELECT g, g / 10, "+values, rows),
		"VACUUM ANALYZE",
	)
}

// prepare makes the old databases, and the tenants that each import gets a copy of.
func (b *bench) prepare(ctx context.Context) error {
	// Else the one that loads more quickly meets more checkpoints that the other one left.
	for _, server := range []string{b.server, b.other} {
		if err := b.exec(ctx, server, "ALTER SYSTEM SET max_wal_size = '8GB'", "SELECT pg_reload_conf()"); err != nil {
			return err
		}
	}
	if err := errors.Join(b.legacy(ctx, b.server, "legacy", b.rows), b.legacy(ctx, b.other, "legacy", b.rows), b.legacy(ctx, b.server, "small", memoryRows)); err != nil {
		return err
	}
	tables := fmt.Sprintf("CREATE TABLE events (%[1]s);\nCREATE INDEX ON events (%[3]s);\nCREATE TABLE lines (%[2]s);\nCREATE INDEX ON lines (%[3]s);\n", eventColumns, lineColumns, b.index)
	if err := errors.Join(
		b.write("postgres/00001_bench.sql", "-- +goose Up\n"+tables+"-- +goose Down\nDROP TABLE lines, events;\n"),
		b.write("mongodb/00001_bench.up.json", `[{"create": "events"}]`), b.write("mongodb/00001_bench.down.json", `[{"drop": "events"}]`),
	); err != nil {
		return err
	}
	names := "name\n"
	for i := range b.tenants {
		names += fmt.Sprintf("t%d\n", i+1)
	}
	if err := b.write("tenants.csv", names); err != nil {
		return err
	}
	if err := b.exec(ctx, database(b.server, "postgres"), "CREATE DATABASE tenants", "CREATE DATABASE floor"); err != nil {
		return err
	}
	if err := b.exec(ctx, database(b.server, "floor"), tables); err != nil {
		return err
	}
	for _, args := range [][]string{{"init"}, {"create", "--file", "tenants.csv"}} {
		if _, err := b.tenantctl(ctx, database(b.server, "tenants"), "", false, args...); err != nil {
			return err
		}
	}
	return nil
}

// load is an import and its floor.
type load struct {
	source  string // URL of the old database
	mapping string // its tables
	out     string // what COPY reads for the floor
	into    string
}

var (
	events = load{mapping: "{from: events, key: tenant_id}", out: "events", into: "events"}
	lines  = load{
		mapping: "{from: lines, via: [{columns: order_id, table: orders, references: id}, {columns: customer_id, table: customers, references: id}], key: tenant_id}",
		out:     "(SELECT l.* FROM lines l JOIN orders o ON o.id = l.order_id JOIN customers c ON c.id = o.customer_id)", into: "lines",
	}
)

func (l load) from(source string) load {
	l.source = source
	return l
}

// importMapping writes a new mapping and gives its file.
func (b *bench) importMapping(tables string) (string, error) {
	b.made++
	name := fmt.Sprintf("bench%d", b.made)
	return name + ".yaml", b.write(name+".yaml", fmt.Sprintf("version: 1\nname: %s\nsources:\n  legacy: {url_env: TENANTCTL_IMPORT_URL}\ntenants: {from: companies, key: id, name: \"'t' || id\"}\ntables:\n  - %s\n", name, tables))
}

// imported measures an import into fresh tenants, and its verification where that is asked for.
func (b *bench) imported(ctx context.Context, l load, verify bool) (ours, verified measured, err error) {
	file, err := b.importMapping(l.mapping)
	if err != nil {
		return ours, verified, err
	}
	target, drop, err := b.fresh(ctx, "tenants")
	if err != nil {
		return ours, verified, err
	}
	defer drop()
	ours, err = b.measure(ctx, func() (int64, error) {
		return b.tenantctl(ctx, target, l.source, false, "import", "run", "-f", file, "-o", "json")
	})
	if err != nil {
		return ours, verified, err
	}
	var report struct {
		LoadMS int64 `json:"load_ms"`
	}
	if err := json.Unmarshal([]byte(b.said), &report); err != nil {
		return ours, verified, fmt.Errorf("read the import's report: %w", err)
	}
	ours.load = time.Duration(report.LoadMS) * time.Millisecond
	if !verify {
		return ours, verified, nil
	}
	verified, err = b.measure(ctx, func() (int64, error) {
		return b.tenantctl(ctx, target, l.source, false, "import", "verify", "-f", file)
	})
	return ours, verified, err
}

// floor measures COPY out | COPY in, into one table, and ANALYZE of that.
func (b *bench) floor(ctx context.Context, l load) (loaded, analyzed measured, err error) {
	target, drop, err := b.fresh(ctx, "floor")
	if err != nil {
		return loaded, analyzed, err
	}
	defer drop()
	from, err := pgx.Connect(ctx, l.source)
	if err != nil {
		return loaded, analyzed, err
	}
	defer from.Close(ctx)
	into, err := pgx.Connect(ctx, target)
	if err != nil {
		return loaded, analyzed, err
	}
	defer into.Close(ctx)
	loaded, err = b.measure(ctx, func() (int64, error) {
		r, w, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		defer r.Close()
		var g errgroup.Group
		g.Go(func() error {
			defer w.Close()
			buffered := bufio.NewWriterSize(w, 64<<10)
			if _, err := from.PgConn().CopyTo(ctx, buffered, "COPY "+l.out+" TO STDOUT"); err != nil {
				return err
			}
			return buffered.Flush()
		})
		_, err = into.PgConn().CopyFrom(ctx, r, "COPY "+l.into+" FROM STDIN")
		return 0, errors.Join(err, g.Wait())
	})
	if err != nil {
		return loaded, analyzed, err
	}
	start := time.Now()
	_, err = into.Exec(ctx, "ANALYZE "+l.into)
	analyzed.took = loaded.took + time.Since(start)
	return loaded, analyzed, err
}

// against measures an import and its floor by turns, and gives the best of both.
func (b *bench) against(ctx context.Context, work string, l load) (ours, verified measured, err error) {
	var loaded, analyzed measured
	for range b.tries {
		floor, floorAnalyzed, err := b.floor(ctx, l)
		if err != nil {
			return ours, verified, fmt.Errorf("%s, floor: %w", work, err)
		}
		run, verify, err := b.imported(ctx, l, true)
		if err != nil {
			return ours, verified, fmt.Errorf("%s: %w", work, err)
		}
		loaded, analyzed, ours, verified = better(loaded, floor), better(analyzed, floorAnalyzed), better(ours, run), better(verified, verify)
	}
	alone := measured{took: ours.load}
	b.row(work, "tenantctl import run, its load alone", alone, alone)
	b.row(work, "floor: COPY out | COPY in, one table", loaded, alone)
	b.row(work, "tenantctl import run, with ANALYZE of each table", ours, ours)
	b.row(work, "floor, and ANALYZE of that table", analyzed, ours)
	return ours, verified, nil
}

func (b *bench) shared(ctx context.Context) error {
	const work = "shared table, same server"
	source := database(b.server, "legacy")
	ours, verified, err := b.against(ctx, work, events.from(source))
	if err != nil {
		return err
	}
	hand, err := b.byHand(ctx, source)
	if err != nil {
		return err
	}
	b.row(work, "INSERT ... SELECT per tenant, ANALYZE; the index on the key was there", hand, ours)
	batches, err := b.script(ctx, source, batchSample, batchRows)
	if err != nil {
		return err
	}
	b.row(work, fmt.Sprintf("script: INSERTs of %d rows (scaled up from %d rows)", batchRows, batchSample), batches, ours)
	singles, err := b.script(ctx, source, singleSample, 1)
	if err != nil {
		return err
	}
	b.row(work, fmt.Sprintf("script: row by row (scaled up from %d rows)", singleSample), singles, ours)
	b.row(work, fmt.Sprintf("tenantctl import verify: %.2f x the load", float64(verified.took)/float64(ours.took)), verified, measured{})
	small, _, err := b.imported(ctx, events.from(database(b.server, "small")), true)
	if err != nil {
		return err
	}
	b.row(work, fmt.Sprintf("tenantctl import run, %d rows", memoryRows), small, measured{})
	return nil
}

func (b *bench) acrossServers(ctx context.Context) error {
	_, _, err := b.against(ctx, "shared table, across two servers", events.from(database(b.other, "legacy")))
	return err
}

func (b *bench) throughKeys(ctx context.Context) error {
	_, _, err := b.against(ctx, "table through two foreign keys", lines.from(database(b.server, "legacy")))
	return err
}

// schemas makes empty tables of tenants beside the old ones; drop removes them.
func (b *bench) schemas(ctx context.Context, source string) (drop func(), err error) {
	both := [2][]string{}
	for i := range b.tenants {
		both[0] = append(both[0], fmt.Sprintf("CREATE SCHEMA hand%[1]d; CREATE TABLE hand%[1]d.events (%[2]s); CREATE INDEX ON hand%[1]d.events (%[3]s)", i+1, eventColumns, b.index))
		both[1] = append(both[1], fmt.Sprintf("DROP SCHEMA hand%d CASCADE", i+1))
	}
	// What is left goes with the throwaway server.
	return func() { _ = b.exec(ctx, source, both[1]...) }, b.exec(ctx, source, both[0]...)
}

// byHand measures INSERT ... SELECT: within one database, which an import is not bound to.
func (b *bench) byHand(ctx context.Context, source string) (m measured, err error) {
	drop, err := b.schemas(ctx, source)
	defer drop()
	if err != nil {
		return m, err
	}
	if err := b.exec(ctx, source, "CREATE INDEX events_tenant ON events (tenant_id)", "VACUUM ANALYZE events"); err != nil {
		return m, err
	}
	statements := make([]string, b.tenants)
	for i := range statements {
		statements[i] = fmt.Sprintf("INSERT INTO hand%[1]d.events SELECT * FROM events WHERE tenant_id = %[1]d; ANALYZE hand%[1]d.events", i+1)
	}
	return b.measure(ctx, func() (int64, error) { return 0, b.exec(ctx, source, statements...) })
}

// script measures what a team would write, through database/sql: tenant after tenant, rows are read and inserted so many
// at once, until the sample is over. Each INSERT is a transaction. The time is scaled to all rows.
func (b *bench) script(ctx context.Context, source string, sample, batch int) (m measured, err error) {
	drop, err := b.schemas(ctx, source)
	defer drop()
	if err != nil {
		return m, err
	}
	cfg, err := pgx.ParseConfig(source)
	if err != nil {
		return m, err
	}
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	done := 0
	m, err = b.measure(ctx, func() (int64, error) {
		// From the middle of the list: tenants that are neither the largest nor the smallest.
		for i := range b.tenants {
			id := (i+b.tenants/8)%b.tenants + 1
			n, err := copyTenant(ctx, db, id, batch, sample-done)
			if done += n; err != nil || done >= sample {
				return 0, err
			}
		}
		return 0, nil
	})
	if done > 0 {
		m.took = time.Duration(float64(m.took) * float64(b.rows) / float64(done))
	}
	return m, err
}

// copyTenant copies at most limit rows of a tenant, and tells how many.
func copyTenant(ctx context.Context, db *sql.DB, id, batch, limit int) (n int, err error) {
	rows, err := db.QueryContext(ctx, "SELECT id, tenant_id, kind, payload, amount, created_at FROM events WHERE tenant_id = $1 LIMIT $2", id, limit)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var args []any
	insert := func() error {
		var text strings.Builder
		fmt.Fprintf(&text, "INSERT INTO hand%d.events VALUES ", id)
		for i := range len(args) / 6 {
			if i > 0 {
				text.WriteByte(',')
			}
			fmt.Fprintf(&text, "($%d,$%d,$%d,$%d,$%d,$%d)", 6*i+1, 6*i+2, 6*i+3, 6*i+4, 6*i+5, 6*i+6)
		}
		_, err := db.ExecContext(ctx, text.String(), args...)
		n += len(args) / 6
		args = args[:0]
		return err
	}
	for rows.Next() {
		var key, tenant int64
		var kind, payload, amount string
		var created time.Time
		if err := rows.Scan(&key, &tenant, &kind, &payload, &amount, &created); err != nil {
			return n, err
		}
		if args = append(args, key, tenant, kind, payload, amount, created); len(args) == 6*batch {
			if err := insert(); err != nil {
				return n, err
			}
		}
	}
	if err := rows.Err(); err != nil || len(args) == 0 {
		return n, err
	}
	return n, insert()
}
