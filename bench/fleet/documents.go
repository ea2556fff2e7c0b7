package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"golang.org/x/sync/errgroup"
)

// documents is MongoDB's half: tenants with a small schema and a database each. The floor is pgx and the bare driver, with
// the commands that nobody can do without: who can go on after a crash notes for each tenant what begins and what is done,
// and who knows all databases lists them, once.
func (b *bench) documents(ctx context.Context) error {
	url := os.Getenv("TENANTCTL_NOSQL_URL")
	if url == "" {
		return fmt.Errorf("TENANTCTL_NOSQL_URL is not set: run it by make bench-fleet")
	}
	client, err := mongo.Connect(options.Client().ApplyURI(url))
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }() // the program ends
	if err := b.migration("documents", 1, small); err != nil {
		return err
	}
	first := `[{"create": "notes"}, {"createIndexes": "notes", "indexes": [{"key": {"at": 1}, "name": "at"}]}]`
	if err := b.commands(1, first); err != nil {
		return err
	}
	if err := b.database(ctx, "papers", "documents"); err != nil {
		return err
	}
	per := max(b.many/2, 1)
	ours := func(args ...string) func(context.Context, string, int) (int64, error) {
		return func(ctx context.Context, database string, _ int) (int64, error) {
			return b.child(ctx, []string{
				"TENANTCTL_POSTGRES_URL=" + database, "TENANTCTL_NAMING_PREFIX=b_",
				"TENANTCTL_MIGRATIONS_POSTGRES=" + filepath.Join(b.dir, "documents"), "TENANTCTL_MIGRATIONS_MONGODB=" + filepath.Join(b.dir, "commands"),
			}, b.program, args...)
		}
	}
	all := func(do func(ctx context.Context, db *mongo.Database, n int) error) func(context.Context, int) error {
		return func(ctx context.Context, n int) error {
			return eachDatabase(ctx, client, b.rounds*per, func(ctx context.Context, db *mongo.Database) error { return do(ctx, db, n) })
		}
	}
	works := []work{
		{
			name: fmt.Sprintf("create %d tenants with a database of one collection", per), goal: 2, goalIsCPU: true,
			before: func(n int) error { return b.tenants("documents.csv", fmt.Sprintf("d%d-", n), 0, per, "all") },
			ours:   ours("create", "--file", "documents.csv"),
			floor: func(ctx context.Context, n int) error {
				if err := b.each(ctx, "papers", per, func(i int) string { return made(fmt.Sprintf("f%d_%d", n, i), []string{small}) }); err != nil {
					return err
				}
				if err := b.noted(ctx, per); err != nil {
					return err
				}
				if _, err := client.ListDatabaseNames(ctx, bson.D{}); err != nil {
					return err
				}
				return eachDatabase(ctx, client, per, func(ctx context.Context, db *mongo.Database) error {
					return createdBare(ctx, client.Database(fmt.Sprintf("%s_%d", db.Name(), n*per)))
				})
			},
		},
		{
			name: fmt.Sprintf("one new migration over %d databases", b.rounds*per), goal: 1.5, goalIsCPU: true,
			before: func(n int) error { return b.commands(n+2, index(n)) },
			ours:   ours("migrate", "--only", "mongodb"),
			floor:  all(func(ctx context.Context, db *mongo.Database, n int) error { return migratedBare(ctx, db, n) }),
		},
		{
			name: fmt.Sprintf("verify %d databases", b.rounds*per), goal: 1.5, goalIsCPU: true,
			ours: ours("verify", "--store", "mongodb"),
			floor: func(ctx context.Context, n int) error {
				if _, err := client.ListDatabaseNames(ctx, bson.D{}); err != nil {
					return err
				}
				return all(func(ctx context.Context, db *mongo.Database, _ int) error { return verifiedBare(ctx, db) })(ctx, n)
			},
		},
	}
	for i, w := range works {
		if i == 1 { // what the next floors work on
			if err := eachDatabase(ctx, client, b.rounds*per, createdBare); err != nil {
				return err
			}
		}
		if err := b.measure(ctx, "papers", w); err != nil {
			return err
		}
	}
	return nil
}

// noted writes into PostgreSQL for each tenant that something begins, and that it is done.
func (b *bench) noted(ctx context.Context, n int) error {
	if err := b.exec(ctx, "papers", "CREATE TABLE IF NOT EXISTS public.notes (tenant int PRIMARY KEY, state text)"); err != nil {
		return err
	}
	for _, state := range []string{"begun", "done"} {
		err := b.each(ctx, "papers", n, func(i int) string {
			return fmt.Sprintf("INSERT INTO public.notes VALUES (%d, '%s') ON CONFLICT (tenant) DO UPDATE SET state = excluded.state", i, state)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// commands writes a migration of MongoDB's.
func (b *bench) commands(version int, commands string) error {
	dir := filepath.Join(b.dir, "commands")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%05d_bench.up.json", version)), []byte(commands), 0o600)
}

func index(n int) string {
	return fmt.Sprintf(`[{"createIndexes": "notes", "indexes": [{"key": {"c%d": 1}, "name": "c%[1]d"}]}]`, n)
}

// eachDatabase does something with many databases, over as many connections as tenantctl has workers.
func eachDatabase(ctx context.Context, client *mongo.Client, n int, do func(context.Context, *mongo.Database) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for i := range n {
		g.Go(func() error { return do(ctx, client.Database(fmt.Sprintf("bare_%d", i))) })
	}
	return g.Wait()
}

func createdBare(ctx context.Context, db *mongo.Database) error {
	if _, err := db.Collection("owner").InsertOne(ctx, bson.D{{Key: "_id", Value: "owner"}}); err != nil {
		return err
	}
	for _, c := range []bson.D{
		{{Key: "create", Value: "notes"}},
		{{Key: "createIndexes", Value: "notes"}, {Key: "indexes", Value: bson.A{named("at")}}},
	} {
		if err := db.RunCommand(ctx, c).Err(); err != nil {
			return err
		}
	}
	_, err := db.Collection("version").InsertOne(ctx, bson.D{{Key: "_id", Value: 1}, {Key: "version", Value: 1}})
	return err
}

func migratedBare(ctx context.Context, db *mongo.Database, n int) error {
	if err := db.Collection("version").FindOne(ctx, bson.D{}).Err(); err != nil {
		return err
	}
	dirty := func(is bool) error {
		_, err := db.Collection("version").UpdateOne(ctx, bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: n + 2}, {Key: "dirty", Value: is}}}})
		return err
	}
	if err := dirty(true); err != nil {
		return err
	}
	if err := db.RunCommand(ctx, bson.D{{Key: "createIndexes", Value: "notes"}, {Key: "indexes", Value: bson.A{named(fmt.Sprintf("c%d", n))}}}).Err(); err != nil {
		return err
	}
	return dirty(false)
}

func verifiedBare(ctx context.Context, db *mongo.Database) error {
	if err := db.Collection("owner").FindOne(ctx, bson.D{}).Err(); err != nil {
		return err
	}
	if err := db.Collection("version").FindOne(ctx, bson.D{}).Err(); err != nil {
		return err
	}
	names, err := db.ListCollectionNames(ctx, bson.D{})
	if err != nil || len(names) == 0 {
		return fmt.Errorf("list the collections of %s: %w", db.Name(), err)
	}
	_, err = db.Collection("notes").Indexes().ListSpecifications(ctx)
	return err
}

func named(field string) bson.D {
	return bson.D{{Key: "key", Value: bson.D{{Key: field, Value: 1}}}, {Key: "name", Value: field}}
}
