package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

// copyMode is the first argument that makes this program the floor: a process that copies tables and does nothing else.
const copyMode = "copy"

// copied is the folder that it writes to.
const copied = "floor"

// floor is how tables are copied.
type floor struct {
	connections int
	level       int  // of zstd, as its command counts
	sync        bool // each file, as an archive is
}

// copies is the floor as a process: each line is the tables of one file, NAME: TABLE TABLE ...
func (b *bench) copies(database string, how floor, lines ...string) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) {
		if err := os.MkdirAll(filepath.Join(b.dir, copied), 0o700); err != nil {
			return 0, err
		}
		_, peak, err := b.child(ctx, b.libpq(database), strings.Join(lines, "\n"), b.self, copyMode, fmt.Sprint(how.connections), fmt.Sprint(how.level), fmt.Sprint(how.sync))
		return peak, err
	}
}

// copyOut is that process: COPY of all tables of a file through zstd, so many files at once, with a connection each.
func copyOut(ctx context.Context, args []string) error {
	var how floor
	if _, err := fmt.Sscan(strings.Join(args, " "), &how.connections, &how.level, &how.sync); err != nil {
		return fmt.Errorf("read the arguments of %s: %w", copyMode, err)
	}
	jobs := make(chan string)
	g, ctx := errgroup.WithContext(ctx)
	for range how.connections {
		g.Go(func() error {
			conn, err := pgx.Connect(ctx, "") // by libpq's variables
			if err != nil {
				return err
			}
			defer conn.Close(context.WithoutCancel(ctx))
			// As the zstd command: one thread beside the one that reads.
			packer, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(how.level)))
			if err != nil {
				return err
			}
			for line := range jobs {
				if err := copyFile(ctx, conn, packer, line, how.sync); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(jobs)
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			select {
			case jobs <- lines.Text():
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return lines.Err()
	})
	return g.Wait()
}

func copyFile(ctx context.Context, conn *pgx.Conn, packer *zstd.Encoder, line string, sync bool) error {
	name, tables, _ := strings.Cut(line, ": ")
	f, err := os.Create(filepath.Join(copied, name+".zst"))
	if err != nil {
		return err
	}
	defer f.Close()
	packer.Reset(f)
	out := bufio.NewWriterSize(packer, 256<<10)
	for _, table := range strings.Fields(tables) {
		if _, err := conn.PgConn().CopyTo(ctx, out, "COPY "+table+" TO STDOUT"); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := packer.Close(); err != nil {
		return err
	}
	if sync {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return f.Close()
}
