package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jedib0t/go-pretty/v6/table"
)

// loads measures nothing but the floor and the load of the shared table, by turns, for each of some builds of the program:
// what a change of the load gains is told by the medians of a few rounds.
func (b *bench) loads(ctx context.Context, programs []string) error {
	for i, p := range programs {
		var err error
		if programs[i], err = filepath.Abs(p); err != nil {
			return err
		}
	}
	b.program = programs[0]
	if err := b.prepare(ctx); err != nil {
		return err
	}
	b.report.SetTitle("%d rows into %d tenants, indexes on id and %s; medians of %d, fsync on, CHECKPOINT before each", b.rows, b.tenants, b.index, b.tries)
	b.report.AppendHeader(table.Row{"source", "who", "median", "of the floor", "WAL", "peak memory"})
	for _, from := range []struct{ name, server string }{{"same server", b.server}, {"other server", b.other}} {
		l := events.from(database(from.server, "legacy"))
		floors := []time.Duration{}
		ours := make([][]time.Duration, len(programs))
		wal, peak := make([]int64, len(programs)+1), make([]int64, len(programs))
		for range b.tries {
			before, err := b.wal(ctx)
			if err != nil {
				return err
			}
			floor, _, err := b.floor(ctx, l)
			if err != nil {
				return fmt.Errorf("floor: %w", err)
			}
			floors = append(floors, floor.took)
			if wal[0], err = b.walSince(ctx, before); err != nil {
				return err
			}
			for i, p := range programs {
				b.program = p
				if before, err = b.wal(ctx); err != nil {
					return err
				}
				run, _, err := b.imported(ctx, l, false)
				if err != nil {
					return fmt.Errorf("%s: %w", p, err)
				}
				ours[i], peak[i] = append(ours[i], run.load), max(peak[i], run.peak)
				if wal[i+1], err = b.walSince(ctx, before); err != nil {
					return err
				}
			}
		}
		middle := median(floors)
		b.report.AppendRow(table.Row{from.name, "floor", middle.Round(10 * time.Millisecond), "", fmt.Sprintf("%d MB", wal[0]/1_000_000)})
		for i, p := range programs {
			m := median(ours[i])
			b.report.AppendRow(table.Row{from.name, p, m.Round(10 * time.Millisecond), fmt.Sprintf("%.2f x", float64(m)/float64(middle)), fmt.Sprintf("%d MB", wal[i+1]/1_000_000), fmt.Sprintf("%d MB", peak[i]/1_000_000)})
		}
		b.report.AppendSeparator()
	}
	b.report.Render()
	return nil
}

func median(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// wal is how many bytes the tenants' server has written to its log.
func (b *bench) wal(ctx context.Context) (n int64, err error) {
	conn, err := pgx.Connect(ctx, b.server)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	return n, conn.QueryRow(ctx, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").Scan(&n)
}

func (b *bench) walSince(ctx context.Context, before int64) (int64, error) {
	now, err := b.wal(ctx)
	return now - before, err
}
