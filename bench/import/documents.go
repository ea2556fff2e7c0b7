package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const (
	documentTenants = 20
	documentsAtOnce = 1000 // as many as import inserts at once
)

// ndjson measures files of documents, plain and compressed, against a bare loop of InsertMany over the same file.
func (b *bench) ndjson(ctx context.Context) error {
	if err := b.writeDocuments(); err != nil {
		return err
	}
	if err := b.exec(ctx, database(b.server, "postgres"), "CREATE DATABASE documents"); err != nil {
		return err
	}
	if _, err := b.tenantctl(ctx, database(b.server, "documents"), "", true, "init"); err != nil {
		return err
	}
	client, err := mongo.Connect(options.Client().ApplyURI(b.nosql))
	if err != nil {
		return err
	}
	defer func() { _ = client.Disconnect(ctx) }() // everything was measured by then
	for n, file := range []string{"events.ndjson", "events.ndjson.gz"} {
		work := fmt.Sprintf("%d documents of %s", b.documents, file)
		var ours, bare measured
		for try := range b.tries {
			one, err := b.bareInserts(ctx, client, file)
			if err != nil {
				return fmt.Errorf("%s, bare: %w", work, err)
			}
			// Each import gets tenants of its own, and with them fresh databases.
			run, err := b.importDocuments(ctx, file, fmt.Sprintf("d%d-%d-", n, try))
			if err != nil {
				return fmt.Errorf("%s: %w", work, err)
			}
			ours, bare = better(ours, run), better(bare, one)
		}
		b.row(work, "tenantctl import run", ours, ours)
		b.row(work, fmt.Sprintf("floor: InsertMany of %d, decoded by bson.UnmarshalExtJSON", documentsAtOnce), bare, ours)
	}
	return nil
}

// writeDocuments writes the same documents plain and compressed, and the list of tenants.
func (b *bench) writeDocuments() error {
	plain, err := os.Create(filepath.Join(b.dir, "events.ndjson"))
	if err != nil {
		return err
	}
	defer plain.Close()
	packed, err := os.Create(filepath.Join(b.dir, "events.ndjson.gz"))
	if err != nil {
		return err
	}
	defer packed.Close()
	z := gzip.NewWriter(packed)
	w := bufio.NewWriter(io.MultiWriter(plain, z))
	for i := range b.documents {
		fmt.Fprintf(w, `{"_id": %d, "tenant": "%d", "kind": "kind%d", "payload": "%032x", "amount": %d.25, "tags": ["a", "b"], "at": {"$date": "2026-01-01T00:%02d:%02dZ"}}`+"\n",
			i+1, i%documentTenants+1, i%7, uint64(i)*0x9E3779B97F4A7C15, i%1000, i/60%60, i%60)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	list := "id\n"
	for i := range documentTenants {
		list += fmt.Sprintf("%d\n", i+1)
	}
	return b.write("companies.csv", list)
}

// importDocuments imports a file into tenants whose names begin with prefix.
func (b *bench) importDocuments(ctx context.Context, file, prefix string) (m measured, err error) {
	target := database(b.server, "documents")
	names, list := "name\n", "id,name\n"
	for i := range documentTenants {
		names += fmt.Sprintf("%s%d\n", prefix, i+1)
		list += fmt.Sprintf("%d,%s%d\n", i+1, prefix, i+1)
	}
	if err := b.write("tenants.csv", names); err != nil {
		return m, err
	}
	if err := b.write("companies.csv", list); err != nil {
		return m, err
	}
	if _, err := b.tenantctl(ctx, target, "", true, "create", "--file", "tenants.csv"); err != nil {
		return m, err
	}
	b.made++
	mapping := fmt.Sprintf("bench%d", b.made)
	text := fmt.Sprintf("version: 1\nname: %s\nsources:\n  files: {path: .}\ntenants: {from: companies.csv, key: id, name: name}\ntables:\n  - {from: %s, key: tenant, to_collection: events}\n", mapping, file)
	if err := b.write(mapping+".yaml", text); err != nil {
		return m, err
	}
	return b.measure(ctx, func() (int64, error) {
		return b.tenantctl(ctx, target, "", true, "import", "run", "-f", mapping+".yaml")
	})
}

// bareInserts loads a file into a collection per tenant, and drops them.
func (b *bench) bareInserts(ctx context.Context, client *mongo.Client, file string) (measured, error) {
	into := make([]*mongo.Collection, documentTenants)
	for i := range into {
		into[i] = client.Database(fmt.Sprintf("bench_floor%d", i+1)).Collection("events")
		// The tenants' collections are there as well.
		if err := into[i].Database().CreateCollection(ctx, "events"); err != nil {
			return measured{}, err
		}
	}
	m, err := b.measure(ctx, func() (int64, error) { return 0, insertFile(ctx, into, filepath.Join(b.dir, file)) })
	for _, c := range into {
		if derr := c.Database().Drop(ctx); derr != nil && err == nil {
			err = derr
		}
	}
	return m, err
}

func insertFile(ctx context.Context, into []*mongo.Collection, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = f
	if filepath.Ext(path) == ".gz" {
		if r, err = gzip.NewReader(f); err != nil {
			return err
		}
	}
	batches := make([][]any, len(into))
	send := func(to int) error {
		if len(batches[to]) == 0 {
			return nil
		}
		_, err := into[to].InsertMany(ctx, batches[to], options.InsertMany().SetOrdered(false))
		batches[to] = batches[to][:0]
		return err
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var doc bson.Raw
		if err := bson.UnmarshalExtJSON(lines.Bytes(), false, &doc); err != nil {
			return err
		}
		var to int
		if _, err := fmt.Sscan(doc.Lookup("tenant").StringValue(), &to); err != nil {
			return err
		}
		to--
		if batches[to] = append(batches[to], doc); len(batches[to]) == documentsAtOnce {
			if err := send(to); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	for to := range batches {
		if err := send(to); err != nil {
			return err
		}
	}
	return nil
}
