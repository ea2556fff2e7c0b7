package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// tables are how many the tenant has, and each of the others.
const tables = 20

// The tenant that is backed up, in a database with the others; its copies are made and removed.
const (
	oneDatabase = "one"
	oneName     = "measured"
	oneSchema   = "bench_measured" // and its role
	copyName    = "copied"
	copySchema  = "bench_copied"
	awaySchema  = "bench_away" // what its schema is called while pg_restore makes one of its name
)

func (b *bench) place(nosql bool) place {
	return place{database: oneDatabase, migrations: filepath.Join(b.dir, "one"), vault: "vault", nosql: nosql}
}

func tableName(i int) string { return fmt.Sprintf("t%02d", i) }

// definitions are the SQL of one tenant's tables.
func definitions() string {
	var sql strings.Builder
	for i := range tables {
		fmt.Fprintf(&sql, "CREATE TABLE %[1]s (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, kind text NOT NULL, payload text, amount numeric(12,2) NOT NULL, created_at timestamptz NOT NULL DEFAULT now());\nCREATE INDEX %[1]s_created ON %[1]s (created_at);\n", tableName(i))
	}
	return sql.String()
}

// prepareOne makes a database with a tenant of rows of about 120 bytes, and the others, which are schemas alone.
func (b *bench) prepareOne(ctx context.Context) error {
	for name, text := range map[string]string{
		"one/postgres/00001_tables.sql":      "-- +goose Up\n" + definitions() + "\n-- +goose Down\nSELECT 1;\n",
		"one/mongodb/00001_events.up.json":   `[{"create": "events"}]`,
		"one/mongodb/00001_events.down.json": `[{"drop": "events"}]`,
	} {
		if err := b.write(name, text); err != nil {
			return err
		}
	}
	if err := b.exec(ctx, "postgres", "CREATE DATABASE "+oneDatabase); err != nil {
		return err
	}
	for _, args := range [][]string{{"init"}, {"create", oneName}} {
		if _, _, err := b.tenantctl(ctx, b.place(true), args...); err != nil {
			return err
		}
	}
	say("making %d other schemas", b.others)
	if err := b.makeOthers(ctx); err != nil {
		return err
	}
	var fill []string
	for i := range tables {
		fill = append(fill, fmt.Sprintf("INSERT INTO %[1]s.%[2]s (kind, payload, amount, created_at) SELECT 'kind' || g %% 7, repeat(md5((g + %[3]d)::text), 2), (g %% 1000000) / 100.0, '2026-01-01'::timestamptz + g * interval '1 second' FROM generate_series(1, %[4]d) g",
			oneSchema, tableName(i), i*b.rows, b.rows), fmt.Sprintf("VACUUM ANALYZE %s.%s", oneSchema, tableName(i)))
	}
	if err := b.exec(ctx, oneDatabase, fill...); err != nil {
		return err
	}
	if err := b.vacuumCatalogs(ctx, oneDatabase); err != nil {
		return err
	}
	// From here on its structure is known.
	first := b.place(true)
	first.vault = "first"
	_, err := b.kept(ctx, first)
	return err
}

// makeOthers makes schemas that are only in the catalogs' way. The server does without fsync meanwhile: it is thrown away.
func (b *bench) makeOthers(ctx context.Context) error {
	if err := b.exec(ctx, "postgres", "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET synchronous_commit = off", "ALTER SYSTEM SET max_wal_size = '8GB'", "SELECT pg_reload_conf()"); err != nil {
		return err
	}
	schemas := make(chan int)
	g, inner := errgroup.WithContext(ctx)
	for range 4 {
		g.Go(func() error {
			// A new connection now and then: each remembers every table that it made.
			for more := true; more; {
				conn, err := pgx.Connect(inner, b.database(oneDatabase))
				if err != nil {
					return err
				}
				for range 50 {
					var i int
					if i, more = <-schemas; !more {
						break
					}
					sql := fmt.Sprintf("CREATE SCHEMA other%[1]d; SET LOCAL search_path = other%[1]d; %[2]s", i, definitions())
					if _, err = conn.Exec(inner, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
						break
					}
				}
				_ = conn.Close(inner) // it has nothing to say any more
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(schemas)
		for i := range b.others {
			select {
			case schemas <- i:
			case <-inner.Done():
				return inner.Err()
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return b.exec(ctx, "postgres", "CHECKPOINT", "ALTER SYSTEM RESET fsync", "ALTER SYSTEM RESET synchronous_commit", "SELECT pg_reload_conf()")
}

// vacuumCatalogs does now what autovacuum would begin in the middle of a measurement.
func (b *bench) vacuumCatalogs(ctx context.Context, database string) error {
	conn, err := pgx.Connect(ctx, b.database(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT 'VACUUM ANALYZE ' || oid::regclass FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'")
	if err != nil {
		return err
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	return b.exec(ctx, database, statements...)
}

// one measures the backup of one tenant.
func (b *bench) one(ctx context.Context) error {
	var copies, names []string
	for i := range tables {
		names = append(names, oneSchema+"."+tableName(i))
		copies = append(copies, fmt.Sprintf("-c 'COPY %s.%s TO STDOUT'", oneSchema, tableName(i)))
	}
	line := oneName + ": " + strings.Join(names, " ")
	forget := func(ctx context.Context) error { return b.exec(ctx, oneDatabase, "DELETE FROM tenantctl.structures") }
	return b.contest(
		ctx, "backup",
		&contestant{who: "tenantctl backup", floorGoal: 1.4, peerGoal: 10, do: b.tenantctlDoes(b.place(false), "backup", oneName), stores: "vault"},
		&contestant{who: "tenantctl backup, with MongoDB", do: b.tenantctlDoes(b.place(true), "backup", oneName), stores: "vault"},
		&contestant{who: "tenantctl backup, the first of its structure", before: forget, do: b.tenantctlDoes(b.place(false), "backup", oneName), stores: "vault"},
		&contestant{who: "floor: psql COPY | zstd -3 -T1", is: isFloor, do: b.shell(oneDatabase, "psql -XqAt "+strings.Join(copies, " ")+" | zstd -3 -T1 -q > floor.zst"), stores: "floor.zst"},
		&contestant{who: "floor: COPY by pgx and zstd in Go, one connection", is: isFloor, do: b.copies(oneDatabase, floor{connections: 1, level: 3}, line), stores: copied},
		&contestant{who: "the same at zstd's level 1", do: b.copies(oneDatabase, floor{connections: 1, level: 1}, line), stores: copied},
		&contestant{who: "peer: pg_dump -n -Fc", is: isPeer, do: b.shell(oneDatabase, "pg_dump -n "+oneSchema+" -Fc -f peer.dump"), stores: "peer.dump"},
	)
}

// kept makes a backup that stays, and gives its id.
func (b *bench) kept(ctx context.Context, p place) (id string, err error) {
	id, _, err = b.tenantctl(ctx, p, "backup", oneName, "-o", "name")
	return strings.TrimSpace(id), err
}

// unpack writes an archive's parts below the folder parts, as docs/restore-by-hand.md says.
const unpack = `set -e
mkdir pieces parts
tar -xf "$(find byhand -name backup.tar)" -C pieces
(cd pieces && find . -name '*.zst.000001') | while read -r first; do
  part=${first%.zst.000001}
  mkdir -p "parts/$(dirname "$part")"
  cat "pieces/$part".zst.?????? | zstd -dcq > "parts/$part"
done`

// restore measures how a tenant is made of its backup.
func (b *bench) restore(ctx context.Context) error {
	alone, both, hand := b.place(false), b.place(true), b.place(false)
	alone.vault, both.vault, hand.vault = "alone", "both", "byhand"
	oneStore, err := b.kept(ctx, alone)
	if err != nil {
		return err
	}
	twoStores, err := b.kept(ctx, both)
	if err != nil {
		return err
	}
	if _, err = b.kept(ctx, hand); err != nil {
		return err
	}
	for _, line := range []string{unpack, "pg_dump -n " + oneSchema + " -Fc -f restore.dump"} {
		if _, err := b.shell(oneDatabase, line)(ctx); err != nil {
			return err
		}
	}
	psql := "psql -XqAt -v ON_ERROR_STOP=1 -v tenant_schema=" + copySchema + " -v tenant_role=" + oneSchema +
		" $(printf -- '-f %s ' parts/postgres/pre-data.sql parts/postgres/data/*.sql parts/postgres/sequences.sql parts/postgres/post-data.sql parts/postgres/grants.sql) > /dev/null"
	var all []string
	for i := range tables {
		all = append(all, copySchema+"."+tableName(i))
	}
	create := func(ctx context.Context) error { return b.exec(ctx, oneDatabase, "CREATE SCHEMA "+copySchema) }
	drop := func(ctx context.Context) error { return b.exec(ctx, oneDatabase, "DROP SCHEMA "+copySchema+" CASCADE") }
	return b.contest(
		ctx, "restore",
		&contestant{who: "tenantctl restore --as", floorGoal: 1.3, do: b.tenantctlDoes(alone, "restore", oneStore, "--as", copyName), after: b.remove(alone)},
		&contestant{who: "tenantctl restore --as, with MongoDB", do: b.tenantctlDoes(both, "restore", twoStores, "--as", copyName), after: b.remove(both)},
		&contestant{who: "floor: psql -f of the unpacked parts", is: isFloor, before: create, do: b.shell(oneDatabase, psql), after: drop},
		&contestant{who: "the floor, and ANALYZE", before: create, do: b.shell(oneDatabase, psql+" && psql -Xq -c 'ANALYZE "+strings.Join(all, ", ")+"'"), after: drop},
		&contestant{
			who: "peer: pg_restore -j2", is: isPeer,
			before: func(ctx context.Context) error {
				return b.exec(ctx, oneDatabase, fmt.Sprintf("ALTER SCHEMA %s RENAME TO %s", oneSchema, awaySchema))
			},
			do: b.shell(oneDatabase, "pg_restore -j2 -d "+oneDatabase+" restore.dump"),
			after: func(ctx context.Context) error {
				return b.exec(ctx, oneDatabase, fmt.Sprintf("DROP SCHEMA %s CASCADE", oneSchema), fmt.Sprintf("ALTER SCHEMA %s RENAME TO %s", awaySchema, oneSchema))
			},
		},
	)
}

// remove takes a copied tenant away.
func (b *bench) remove(p place) func(context.Context) error {
	return func(ctx context.Context) error {
		_, _, err := b.tenantctl(ctx, p, "delete", copyName, "--now", "--yes", "--no-backup")
		return err
	}
}

// clone measures how a tenant is made of another. pg_dump knows no new name: sed puts it in.
func (b *bench) clone(ctx context.Context) error {
	return b.contest(
		ctx, "clone",
		&contestant{who: "tenantctl clone", do: b.tenantctlDoes(b.place(false), "clone", oneName, copyName), after: b.remove(b.place(false))},
		&contestant{who: "tenantctl clone, with MongoDB", do: b.tenantctlDoes(b.place(true), "clone", oneName, copyName), after: b.remove(b.place(true))},
		&contestant{
			who: "peer: pg_dump | sed of its name | psql", is: isPeer,
			before: func(ctx context.Context) error { return b.exec(ctx, oneDatabase, "CREATE ROLE "+copySchema) },
			do:     b.shell(oneDatabase, fmt.Sprintf("pg_dump -n %s | sed 's/%[1]s/%s/g' | psql -XqAt -v ON_ERROR_STOP=1 > /dev/null", oneSchema, copySchema)),
			after: func(ctx context.Context) error {
				return b.exec(ctx, oneDatabase, "DROP SCHEMA "+copySchema+" CASCADE", "DROP OWNED BY "+copySchema, "DROP ROLE "+copySchema)
			},
		},
	)
}
