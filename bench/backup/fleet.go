package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// fleet is the database of the small tenants.
const fleet = "fleet"

// few of the fleet are there when memory is measured for the first time. They alone have MongoDB databases: the embedded
// server looks at all of them whenever one is asked for.
func (b *bench) few() int { return max(1, b.tenants/5) }

func (b *bench) fleetPlace(nosql bool) place {
	return place{database: fleet, migrations: b.example, vault: "fleet", nosql: nosql}
}

func smallSchema(i int) string { return fmt.Sprintf("bench_small%d", i) }

// addTenants makes small tenants of the example migrations, with a few rows in each table.
func (b *bench) addTenants(ctx context.Context, from, to int, nosql bool) error {
	say("making the small tenants %d to %d", from+1, to)
	names := "name\n"
	var fill []string
	for i := from; i < to; i++ {
		names += fmt.Sprintf("small%d\n", i)
		fill = append(fill, fmt.Sprintf(`SET search_path = %s;
			INSERT INTO customers (email, name) SELECT 'user' || g || '@example.com', md5(g::text) FROM generate_series(1, 20) g;
			INSERT INTO products (sku, name, price_cents) SELECT 'sku' || g, md5(g::text), g * 100 FROM generate_series(1, 20) g;
			INSERT INTO orders (customer_id, state) SELECT id, 'paid' FROM customers;
			INSERT INTO order_lines SELECT o.id, 1, p.id, 2, p.price_cents FROM orders o JOIN products p ON p.id = o.id`, smallSchema(i)))
	}
	if err := b.write("small.csv", names); err != nil {
		return err
	}
	if _, _, err := b.tenantctl(ctx, b.fleetPlace(nosql), "create", "--file", "small.csv", "--parallel", strconv.Itoa(b.parallel)); err != nil {
		return err
	}
	return b.exec(ctx, fleet, fill...)
}

// all measures the backup of many small tenants.
func (b *bench) all(ctx context.Context) error {
	if err := b.exec(ctx, "postgres", "CREATE DATABASE "+fleet); err != nil {
		return err
	}
	if _, _, err := b.tenantctl(ctx, b.fleetPlace(true), "init"); err != nil {
		return err
	}
	backup := func(who string, nosql bool) *contestant {
		return &contestant{who: who, do: b.tenantctlDoes(b.fleetPlace(nosql), "backup", "--all", "--parallel", strconv.Itoa(b.parallel)), stores: "fleet"}
	}
	if err := b.addTenants(ctx, 0, b.few(), true); err != nil {
		return err
	}
	work := fmt.Sprintf("backup of %d tenants", b.few())
	if err := b.contest(ctx, work, backup("tenantctl backup --all", false), backup("tenantctl backup --all, with MongoDB", true)); err != nil {
		return err
	}
	if err := b.addTenants(ctx, b.few(), b.tenants, false); err != nil {
		return err
	}
	if err := b.vacuumCatalogs(ctx, fleet); err != nil {
		return err
	}
	var lines, sample []string
	dumps := min(b.dumps, b.tenants)
	for i := range b.tenants {
		s := smallSchema(i)
		lines = append(lines, fmt.Sprintf("%s: %[1]s.customers %[1]s.goose_db_version %[1]s.order_lines %[1]s.orders %[1]s.products", s))
	}
	for i := range dumps {
		sample = append(sample, smallSchema(i*b.tenants/dumps))
	}
	loop := "mkdir peer; for s in " + strings.Join(sample, " ") + "; do pg_dump -n $s -Fc -f peer/$s.dump || exit 1; done"
	return b.contest(
		ctx, fmt.Sprintf("backup of %d tenants", b.tenants),
		backup("tenantctl backup --all", false),
		&contestant{who: fmt.Sprintf("floor: COPY by pgx and zstd in Go, %d connections", b.parallel), is: isFloor, do: b.copies(fleet, floor{connections: b.parallel, level: 3}, lines...), stores: copied},
		&contestant{who: "the floor, with fsync of each file", do: b.copies(fleet, floor{connections: b.parallel, level: 3, sync: true}, lines...), stores: copied},
		&contestant{who: fmt.Sprintf("peer: pg_dump -n -Fc in a shell loop (scaled up from %d)", dumps), is: isPeer, do: b.shell(fleet, loop), stores: "peer", scale: float64(b.tenants) / float64(dumps)},
	)
}
