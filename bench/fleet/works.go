package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// create makes tenants of 20 tables and 30 migrations.
func (b *bench) create(ctx context.Context) error {
	var files []string
	for i := range 30 {
		sql := fmt.Sprintf("ALTER TABLE t%d ADD COLUMN more text", i%20)
		if i < 20 {
			sql = fmt.Sprintf("CREATE TABLE t%[1]d (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name text NOT NULL, at timestamptz NOT NULL DEFAULT now()); CREATE INDEX t%[1]d_name ON t%[1]d (name)", i)
		}
		files = append(files, sql)
		if err := b.migration("create", i+1, sql); err != nil {
			return err
		}
	}
	if err := b.database(ctx, "creates", "create"); err != nil {
		return err
	}
	return b.measure(ctx, "creates", work{
		name: fmt.Sprintf("create %d tenants of 20 tables, 30 migrations", b.many), goal: 1.25, delayed: true,
		before: func(n int) error { return b.tenants("create.csv", fmt.Sprintf("r%d-", n), 0, b.many, "all") },
		ours: func(ctx context.Context, url string, _ int) (int64, error) {
			return b.tenantctl(ctx, url, "create", "create", "--file", "create.csv")
		},
		floor: func(ctx context.Context, n int) error {
			return b.each(ctx, "creates", b.many, func(i int) string { return made(fmt.Sprintf("f%d_%d", n, i), files) })
		},
	})
}

// database makes a database with a catalog in it.
func (b *bench) database(ctx context.Context, name, folder string) error {
	if err := b.exec(ctx, "postgres", "CREATE DATABASE "+name); err != nil {
		return err
	}
	_, err := b.tenantctl(ctx, b.url(name), folder, "init")
	return err
}

const (
	small    = "CREATE TABLE t (id bigint PRIMARY KEY, name text)"
	numFiles = 20
	sample   = 30 // tenants that the goose CLI is run for
)

// files brings tenants forward by 20 small files at once.
func (b *bench) files(ctx context.Context) error {
	if err := b.migration("files", 1, small); err != nil {
		return err
	}
	if err := b.database(ctx, "manyfiles", "files"); err != nil {
		return err
	}
	if err := b.tenants("files.csv", "t", 0, b.some, "all"); err != nil {
		return err
	}
	if _, err := b.tenantctl(ctx, b.url("manyfiles"), "files", "create", "--file", "files.csv"); err != nil {
		return err
	}
	if err := b.each(ctx, "manyfiles", b.some, func(i int) string { return made(fmt.Sprintf("f_%d", i), []string{small}) }); err != nil {
		return err
	}
	if err := b.each(ctx, "manyfiles", sample, func(i int) string { return made(fmt.Sprintf("g_%d", i), []string{small}) }); err != nil {
		return err
	}
	round := func(n int) []string {
		var out []string
		for i := range numFiles {
			out = append(out, fmt.Sprintf("ALTER TABLE t ADD COLUMN c%d_%d int", n, i))
		}
		return out
	}
	return b.measure(ctx, "manyfiles", work{
		name: fmt.Sprintf("%d small files over %d tenants", numFiles, b.some), goal: 1.3, gooseGoal: 15, scale: float64(b.some) / sample, delayed: true,
		before: func(n int) error {
			for i, f := range round(n) {
				if err := b.migration("files", 2+n*numFiles+i, f); err != nil {
					return err
				}
			}
			return nil
		},
		ours: func(ctx context.Context, url string, _ int) (int64, error) {
			return b.tenantctl(ctx, url, "files", "migrate")
		},
		floor: func(ctx context.Context, n int) error {
			return b.each(ctx, "manyfiles", b.some, func(i int) string { return moved(fmt.Sprintf("f_%d", i), 2+n*numFiles, round(n)...) })
		},
		goose: func(ctx context.Context, _ int) error {
			return b.gooseUp(ctx, "manyfiles", "files", schemas("g_", sample)...)
		},
	})
}

func schemas(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(prefix, i)
	}
	return out
}

// pass reads every version table in the server, in one go.
const pass = `DO $$ DECLARE s text; v bigint; BEGIN
	FOR s IN SELECT schema_name FROM tenantctl.tenants LOOP
		EXECUTE format('SELECT max(version_id) FROM %I.goose_db_version WHERE is_applied', s) INTO v;
	END LOOP;
END $$`

// large is the work on a large fleet of small tenants.
func (b *bench) large(ctx context.Context) error {
	if err := b.migration("fleet", 1, small); err != nil {
		return err
	}
	if err := b.database(ctx, "fleets", "fleet"); err != nil {
		return err
	}
	if err := b.grow(ctx); err != nil {
		return err
	}
	if err := b.exec(ctx, "fleets", "ANALYZE"); err != nil {
		return err
	}
	if err := b.measure(ctx, "fleets", work{
		name: fmt.Sprintf("nothing to do, %d tenants", b.fleet), goal: 3, delayed: true,
		ours: func(ctx context.Context, url string, _ int) (int64, error) {
			return b.tenantctl(ctx, url, "fleet", "migrate")
		},
		floor: func(ctx context.Context, _ int) error {
			return b.asks(ctx, "fleets", "SELECT count(*) FROM tenantctl.versions WHERE version = 1")
		},
	}); err != nil {
		return err
	}
	if err := b.measure(ctx, "fleets", work{
		name: fmt.Sprintf("migrate status --verify, %d tenants", b.fleet), goal: 1.5, delayed: true,
		ours: func(ctx context.Context, url string, _ int) (int64, error) {
			return b.tenantctl(ctx, url, "fleet", "migrate", "status", "--verify")
		},
		floor: func(ctx context.Context, _ int) error {
			// One transaction takes two locks for each: as many as there may be are raised by the server's default only so far.
			return b.asks(ctx, "fleets", pass)
		},
	}); err != nil {
		return err
	}
	return b.one(ctx)
}

// grow fills the fleet, and compares the price of a tenant at its beginning and at its end with the floor's.
func (b *bench) grow(ctx context.Context) error {
	step := min(200, b.fleet/10)
	var shares [2]float64
	made200 := func(at, from int, label string) error {
		if err := b.tenants("fleet.csv", "x", from, from+step, label); err != nil {
			return err
		}
		start := time.Now()
		if _, err := b.tenantctl(ctx, b.url("fleets"), "fleet", "create", "--file", "fleet.csv"); err != nil {
			return err
		}
		ours := time.Since(start)
		start = time.Now()
		if err := b.each(ctx, "fleets", step, func(i int) string { return made(fmt.Sprintf("g%d_%d", at, i), []string{small}) }); err != nil {
			return err
		}
		shares[at] = float64(ours) / float64(time.Since(start))
		return nil
	}
	fill := func(from, to int, label string) error {
		if err := b.tenants("fleet.csv", "x", from, to, label); err != nil {
			return err
		}
		say("creating tenants %d to %d", from, to)
		_, err := b.tenantctl(ctx, b.url("fleets"), "fleet", "create", "--file", "fleet.csv")
		return err
	}
	few := min(100, b.some/2)
	if err := fill(0, few, "few"); err != nil {
		return err
	}
	if err := fill(few, b.some, "some"); err != nil {
		return err
	}
	if err := made200(0, b.some, "rest"); err != nil {
		return err
	}
	if err := fill(b.some+step, b.fleet-step, "rest"); err != nil {
		return err
	}
	if err := made200(1, b.fleet-step, "rest"); err != nil {
		return err
	}
	b.report.AppendRow(table.Row{fmt.Sprintf("a tenant created at %d against one at %d, the floor's growth divided out", b.fleet, b.some), "", "", fmt.Sprintf("%.2f x (goal: at most 1.5)", shares[1]/shares[0]), "", "", ""})
	return nil
}

// one brings some tenants of the fleet one migration forward, and compares the memory of a small and a large run.
func (b *bench) one(ctx context.Context) error {
	for _, prefix := range []string{"f_", "s_"} {
		if err := b.each(ctx, "fleets", b.some, func(i int) string { return made(fmt.Sprint(prefix, i), []string{small}) }); err != nil {
			return err
		}
	}
	sql := func(n int) string {
		return fmt.Sprintf("ALTER TABLE t ADD COLUMN c%[1]d text; CREATE INDEX t_c%[1]d ON t (c%[1]d)", n)
	}
	last := 2*b.rounds + 2
	err := b.measure(ctx, "fleets", work{
		name: fmt.Sprintf("one new migration over %d of them", b.some), goal: 1.3, gooseGoal: 15, scale: float64(b.some) / sample, delayed: true,
		before: func(n int) error { return b.migration("fleet", n+2, sql(n)) },
		ours: func(ctx context.Context, url string, _ int) (int64, error) {
			return b.tenantctl(ctx, url, "fleet", "migrate", "--selector", "part in (few,some)")
		},
		floor: func(ctx context.Context, n int) error {
			return b.each(ctx, "fleets", b.some, func(i int) string { return moved(fmt.Sprint("f_", i), n+2, sql(n)) })
		},
		goose: func(ctx context.Context, _ int) error {
			return b.gooseUp(ctx, "fleets", "fleet", schemas("s_", sample)...)
		},
	})
	if err != nil {
		return err
	}
	if err := b.migration("fleet", last, sql(last)); err != nil {
		return err
	}
	small, err := b.tenantctl(ctx, b.url("fleets"), "fleet", "migrate", "--selector", "part=few")
	if err != nil {
		return err
	}
	say("migrating the whole fleet")
	whole, err := b.tenantctl(ctx, b.url("fleets"), "fleet", "migrate")
	if err != nil {
		return err
	}
	b.report.AppendRow(table.Row{fmt.Sprintf("memory of a run over %d tenants against a small one", b.fleet), "", "", "", "", "", fmt.Sprintf("%.1f MB against %.1f MB (goal: within 20)", float64(whole)/1e6, float64(small)/1e6)})
	return nil
}
