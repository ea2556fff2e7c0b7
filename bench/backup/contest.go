package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// What a contestant is for the others.
const (
	aside   = iota // nothing
	isFloor        // of several floors, the fastest counts
	isPeer
)

// contestant does a work in one of the ways that are compared.
type contestant struct {
	who           string
	is            int
	floorGoal     float64                         // how many times the floor's time it may take at most; 0 for no goal
	peerGoal      float64                         // how many times as long the peer is to take at least; 0 for no goal
	before, after func(ctx context.Context) error // not measured; nil for nothing
	do            func(ctx context.Context) (peak int64, err error)
	stores        string  // name of the file or folder that do makes
	scale         float64 // of a sample: how many times as much the whole is

	took []time.Duration
	size int64 // bytes stored
	peak int64 // bytes of memory
}

// contest lets all do the work by turns, and adds them to the report.
func (b *bench) contest(ctx context.Context, work string, all ...*contestant) error {
	for round := range b.rounds {
		say("%s: round %d of %d", work, round+1, b.rounds)
		for _, c := range all {
			if err := b.measure(ctx, c); err != nil {
				return fmt.Errorf("%s: %w", c.who, err)
			}
		}
	}
	var floor, peer time.Duration
	for _, c := range all {
		switch {
		case c.is == isFloor && (floor == 0 || median(c.took) < floor):
			floor = median(c.took)
		case c.is == isPeer:
			peer = median(c.took)
		}
	}
	for _, c := range all {
		m := median(c.took)
		row := table.Row{work, c.who, m.Round(time.Millisecond), fmt.Sprintf("%s-%s", slices.Min(c.took).Round(time.Millisecond), slices.Max(c.took).Round(time.Millisecond))}
		row = append(row, ratio(m, floor, "at most", c.floorGoal), ratio(peer, m, "at least", c.peerGoal), megabytes(c.size), megabytes(c.peak))
		b.report.AppendRow(row)
	}
	return nil
}

// measure takes the time of one turn, from a checkpoint on.
func (b *bench) measure(ctx context.Context, c *contestant) error {
	if c.before != nil {
		if err := c.before(ctx); err != nil {
			return err
		}
	}
	if err := b.exec(ctx, "postgres", "CHECKPOINT"); err != nil {
		return err
	}
	start := time.Now()
	peak, err := c.do(ctx)
	if err != nil {
		return err
	}
	c.took = append(c.took, time.Duration(float64(time.Since(start))*cmp.Or(c.scale, 1)))
	c.peak = max(c.peak, peak)
	if c.stores != "" {
		if c.size, err = size(filepath.Join(b.dir, c.stores)); err != nil {
			return err
		}
		c.size = int64(float64(c.size) * cmp.Or(c.scale, 1))
		if err := os.RemoveAll(filepath.Join(b.dir, c.stores)); err != nil {
			return err
		}
	}
	if c.after != nil {
		return c.after(ctx)
	}
	return nil
}

func median(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// ratio is of two times, with the goal for it.
func ratio(a, b time.Duration, limit string, goal float64) string {
	if a == 0 || b == 0 {
		return ""
	}
	said := fmt.Sprintf("%.2f x", float64(a)/float64(b))
	if goal > 0 {
		said += fmt.Sprintf(" (goal: %s %g)", limit, goal)
	}
	return said
}

func megabytes(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// size is how many bytes a file has, or all files below a folder.
func size(path string) (n int64, err error) {
	err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
