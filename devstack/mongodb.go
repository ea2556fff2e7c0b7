package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const mongodbStartLimit = 30 * time.Second

// mongodb is the embedded MongoDB-compatible server.
type mongodb struct {
	url    string
	cancel context.CancelFunc
	done   chan struct{} // closed when its connections and files are closed
}

// startMongoDB starts FerretDB with its SQLite files under dir and returns once it answers. Embedded, it sends no telemetry.
func startMongoDB(ctx context.Context, dir string, cfg config) (*mongodb, error) {
	// The kernel picks the port while listening, so that nothing can take it before.
	return serveMongoDB(ctx, filepath.Join(dir, "mongodb"), "127.0.0.1:0", cfg)
}

// serveMongoDB starts FerretDB at an address, on the files that a folder has, or on new ones.
func serveMongoDB(ctx context.Context, dir, address string, cfg config) (*mongodb, error) {
	data := url.URL{Scheme: "file", Path: filepath.ToSlash(dir) + "/"}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if cfg.fast {
		data.RawQuery = url.Values{"_pragma": {"synchronous(off)"}}.Encode()
	}
	logger := slog.New(slog.DiscardHandler)
	if cfg.verbose {
		logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: address},
		Logger:    logger,
		Handler:   "sqlite",
		SQLiteURL: data.String(),
	})
	if err != nil {
		return nil, fmt.Errorf("start FerretDB: %w", err)
	}

	run, cancel := context.WithCancel(context.Background())
	m := &mongodb{url: server.MongoDBURI(), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		// Run has no errors to report: it returns when its context ends.
		_ = server.Run(run)
	}()
	if err := m.awaitAnswer(ctx); err != nil {
		m.stop()
		return nil, fmt.Errorf("wait for FerretDB to answer: %w", err)
	}
	return m, nil
}

func (m *mongodb) awaitAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, mongodbStartLimit)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI(m.url))
	if err != nil {
		return err
	}
	return errors.Join(client.Ping(ctx, nil), client.Disconnect(context.WithoutCancel(ctx)))
}

// stop closes the server; clients that are still connected get three seconds from FerretDB itself.
func (m *mongodb) stop() {
	m.cancel()
	<-m.done
}

// mongodbAlone serves MongoDB alone until its input ends, for tests that kill the server and start it again with its data.
func mongodbAlone(dir, address string) (int, error) {
	m, err := serveMongoDB(context.Background(), dir, address, config{fast: true})
	if err != nil {
		return exitFailed, err
	}
	fmt.Println(m.url)
	_, err = io.Copy(io.Discard, os.Stdin)
	m.stop()
	return 0, err
}
