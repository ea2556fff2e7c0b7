// Command fleet measures tenantctl's work on a large fleet against a floor in the same run (bare pgx: the same statements
// and version rows, one transaction and one round trip a tenant, as many connections) and a peer (the stock goose CLI in
// a loop, on a sample), and prints ratios: machines are noisy, absolute times prove nothing. What is measured of
// tenantctl is the whole process. MongoDB is left out, so that like is compared with like; it has works of its own.
//
//	make bench-fleet FLEET=10000
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

const workers = 8

type bench struct {
	fleet, some, many, rounds int

	server  string // URL
	program string // tenantctl, as built
	goose   string // the stock CLI
	psql    string
	dir     string
	spent   time.Duration // CPU of all children so far
	report  table.Writer
}

func run(ctx context.Context) error {
	b := &bench{server: os.Getenv("TENANTCTL_POSTGRES_URL"), report: table.NewWriter()}
	flag.IntVar(&b.fleet, "fleet", 10000, "tenants of the large fleet")
	flag.IntVar(&b.some, "some", 1000, "tenants of it that get a new migration, and tenants that get 20 files")
	flag.IntVar(&b.many, "many", 200, "tenants that are created with 20 tables and 30 migrations")
	flag.IntVar(&b.rounds, "rounds", 3, "measure by turns so often, and take the medians")
	program := flag.String("tenantctl", "bin/tenantctl", "the built program")
	goose := flag.String("goose", "bin/tools/goose", "the stock goose CLI")
	only := flag.String("only", "", "only this work: fleet, create, files or documents")
	flag.Parse()
	if b.server == "" {
		return fmt.Errorf("TENANTCTL_POSTGRES_URL is not set: run it by make bench-fleet")
	}
	var err error
	if b.program, err = filepath.Abs(*program); err != nil {
		return err
	}
	if b.goose, err = filepath.Abs(*goose); err != nil {
		return err
	}
	if b.psql, err = psql(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "tenantctl-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.report.SetOutputMirror(os.Stdout)
	b.report.SetTitle("A fleet of %d; %d at once; medians of %d; fsync on", b.fleet, workers, b.rounds)
	b.report.AppendHeader(table.Row{"work", "tenantctl", "floor", "of the floor", "goose CLI takes", "with 2 ms of delay", "peak memory", "CPU, and the floor's"})
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{{"create", b.create}, {"files", b.files}, {"fleet", b.large}, {"documents", b.documents}} {
		if *only != "" && *only != part.name {
			continue
		}
		if err := part.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	b.report.Render()
	return nil
}

// work is one line of the table. Each of its functions is measured once a round; n counts the rounds, from 0.
type work struct {
	name      string
	ours      func(ctx context.Context, url string, n int) (peak int64, err error)
	floor     func(ctx context.Context, n int) error
	goal      float64 // times the floor at most
	goalIsCPU bool    // the goal is of the CPU that both clients take, and not of the time: the servers take most of that
	goose     func(ctx context.Context, n int) error
	gooseGoal float64
	scale     float64 // of goose's sample: how many times as much the whole is
	before    func(n int) error
	delayed   bool // also through a network with delay, in rounds of their own
}

func (b *bench) measure(ctx context.Context, database string, w work) error {
	var ours, floor, goose, delayed []time.Duration
	var peak int64
	var cpu, floorCPU time.Duration
	timed := func(to *[]time.Duration, do func() error) error {
		if err := b.exec(ctx, "postgres", "CHECKPOINT"); err != nil {
			return err
		}
		start := time.Now()
		err := do()
		*to = append(*to, time.Since(start))
		return err
	}
	mine := func(to *[]time.Duration, url string, n int) error {
		return timed(to, func() error {
			p, err := w.ours(ctx, url, n)
			peak = max(peak, p)
			return err
		})
	}
	for n := range b.rounds {
		say("%s: round %d of %d", w.name, n+1, b.rounds)
		if w.before != nil {
			if err := w.before(n); err != nil {
				return err
			}
		}
		before := b.spent
		if err := mine(&ours, b.url(database), n); err != nil {
			return err
		}
		cpu += b.spent - before
		if w.floor != nil {
			began := ownCPU()
			if err := timed(&floor, func() error { return w.floor(ctx, n) }); err != nil {
				return err
			}
			floorCPU += ownCPU() - began
		}
		if w.goose != nil && n == 0 {
			if err := timed(&goose, func() error { return w.goose(ctx, n) }); err != nil {
				return err
			}
		}
	}
	if w.delayed {
		far, stop, err := delay(b.url(database), time.Millisecond)
		if err != nil {
			return err
		}
		defer stop()
		for n := b.rounds; n < 2*b.rounds; n++ {
			say("%s, with delay: round %d of %d", w.name, n-b.rounds+1, b.rounds)
			if w.before != nil {
				if err := w.before(n); err != nil {
					return err
				}
			}
			if err := mine(&delayed, far, n); err != nil {
				return err
			}
		}
	}
	row := table.Row{w.name, median(ours).Round(time.Millisecond), "", "", "", "", fmt.Sprintf("%.1f MB", float64(peak)/1e6), cpu.Round(time.Millisecond)}
	if len(floor) > 0 {
		row[2], row[3] = median(floor).Round(time.Millisecond), ratio(median(ours), median(floor), "at most", w.goal)
		row[7] = fmt.Sprintf("%s, %s", cpu.Round(time.Millisecond), floorCPU.Round(time.Millisecond))
		if w.goalIsCPU {
			row[3] = ratio(median(ours), median(floor), "", 0)
			row[7] = fmt.Sprintf("%s: %s", row[7], ratio(cpu, floorCPU, "at most", w.goal))
		}
	}
	if len(goose) > 0 {
		row[4] = ratio(time.Duration(float64(median(goose))*w.scale), median(ours), "at least", w.gooseGoal)
	}
	if len(delayed) > 0 {
		row[5] = ratio(median(delayed), median(ours), "at most", 2)
	}
	b.report.AppendRow(row)
	return nil
}

// ownCPU is what this process, which is the floor's client, has taken so far.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// ratio is of two times, with the goal for it.
func ratio(a, b time.Duration, limit string, goal float64) string {
	said := fmt.Sprintf("%.2f x", float64(a)/float64(b))
	if goal > 0 {
		said += fmt.Sprintf(" (goal: %s %g)", limit, goal)
	}
	return said
}

// say tells on stderr what is being done: it takes minutes.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
