// The program load sends requests to the reference stack while its tenants change, and tells whose the answers were:
//
//	examples/stack/run.sh --tenants 1000 --resolvers 2 -- go run ./bench/serving/load
//
// An answer of a wrong tenant, a header of a visitor's that was believed, and an answer 200 that was asked for after
// suspend or delete had returned are failures: it exits with 1. Everything else is printed, with the goal beside it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"time"
)

type options struct {
	answers  int64
	django   time.Duration
	round    time.Duration
	rounds   int
	clients  int
	large    int
	seed     uint64
	quietest int
}

func main() {
	var o options
	flag.Int64Var(&o.answers, "answers", 1_000_000, "answers in all: an application in Go gives what Django does not")
	flag.DurationVar(&o.django, "django", 3*time.Minute, "how long Django is asked while tenants change")
	flag.DurationVar(&o.round, "round", 5*time.Second, "of each measurement of a ratio")
	flag.IntVar(&o.rounds, "rounds", 3, "of measurements, in turns: others may work on the machine too")
	flag.IntVar(&o.clients, "clients", 16, "requests at a time")
	flag.IntVar(&o.large, "large", 10_000, "tenants of the large catalog that is compared with one of 10")
	flag.IntVar(&o.quietest, "quiet", 10, "requests a second of a quiet tenant; a busy one sends ten times as many")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of what is chosen at random")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	kept, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/serving/load:", err)
	}
	if err != nil || !kept {
		os.Exit(1)
	}
}

// run does everything, and tells whether what is promised was kept.
func run(ctx context.Context, o options) (kept bool, err error) {
	fmt.Printf("seed %d\n", o.seed)
	l, err := newLoad(ctx, o)
	if err != nil {
		return false, err
	}
	defer l.end()
	for _, phase := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"Django while tenants change", l.askDjango},
		{"an application in Go while tenants change", l.askTrivial},
		{"a quiet tenant beside a busy one", l.measureNoise},
		{"a fleet migration", l.measureMigration},
		{"nginx, and many tenants", l.measureProxies},
		{"a gunicorn and a resolver are killed", l.measureDeaths},
	} {
		began := time.Now()
		fmt.Printf("\n%s\n", phase.name)
		if err := phase.do(ctx); err != nil {
			return false, fmt.Errorf("%s: %w", phase.name, err)
		}
		fmt.Printf("  (%s)\n", time.Since(began).Round(time.Second))
	}
	return l.table(), nil
}

// table prints what was found, and tells whether every promise was kept.
func (l *load) table() bool {
	fmt.Printf("\n| what | figure | goal |\n| --- | --- | --- |\n")
	row := func(what, figure, goal string) { fmt.Printf("| %s | %s | %s |\n", what, figure, goal) }
	count := func(n int64) string { return fmt.Sprint(n) }
	of := func(n func(*counts) *atomic.Int64) int64 { return n(&l.django).Load() + n(&l.trivial).Load() }
	all := of(func(c *counts) *atomic.Int64 { return &c.answers })
	row("answers", fmt.Sprintf("%d: %d of Django, %d of an application in Go", all,
		l.django.answers.Load(), l.trivial.answers.Load()), fmt.Sprint(l.answers))
	row("changes of tenants meanwhile", l.changes.String(), "")
	wrong := of(func(c *counts) *atomic.Int64 { return &c.wrong })
	honoured := of(func(c *counts) *atomic.Int64 { return &c.honoured })
	late := of(func(c *counts) *atomic.Int64 { return &c.late })
	failed := of(func(c *counts) *atomic.Int64 { return &c.failed })
	row("of a wrong tenant", count(wrong), "0")
	row("requests with made-up headers that were believed", fmt.Sprintf("%d of %d", honoured,
		of(func(c *counts) *atomic.Int64 { return &c.spoofed })), "0")
	row("200 that were asked for after suspend or delete", fmt.Sprintf("%d of %d", late,
		of(func(c *counts) *atomic.Int64 { return &c.shut })), "0")
	row("errors of tenants that nothing was done to",
		fmt.Sprintf("%d of %d (%.4f %%)", failed, all, 100*float64(failed)/float64(max(1, all))), "")
	for _, r := range l.rows {
		row(r[0], r[1], r[2])
	}
	return wrong == 0 && honoured == 0 && late == 0
}

func (l *load) note(what, figure, goal string) {
	fmt.Printf("  %s: %s (goal %s)\n", what, figure, goal)
	l.rows = append(l.rows, [3]string{what, figure, goal})
}
