// Command soak lives with tenantctl for a while: workers create, migrate, suspend, back up, restore, clone, rename and
// delete tenants at random, while the tenants' applications write rows and documents, processes are killed and
// connections are cut. After each piece of work, and at the end of all, every tenant has to hold what its application was
// told is written, and nothing else: where a process was killed, all of the old or all of the new.
//
//	make soak MINUTES=30
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	minutes := flag.Float64("minutes", 30, "how long the work goes on")
	tenants := flag.Int("tenants", 200, "places for tenants")
	workers := flag.Int("workers", 8, "pieces of work at once")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "what is done, and when it is disturbed")
	program := flag.String("tenantctl", "bin/tenantctl", "the built program")
	flag.Parse()
	path, err := filepath.Abs(*program)
	if err != nil {
		return err
	}
	fmt.Printf("seed %d\n", *seed)
	w, err := newWorld(ctx, path, *tenants, *seed)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.begin(ctx); err != nil {
		return err
	}
	working, end := context.WithTimeout(ctx, time.Duration(*minutes*float64(time.Minute)))
	defer end()
	var all sync.WaitGroup
	for n := range *workers {
		all.Go(func() { w.work(working, n) })
	}
	all.Go(func() { w.applications(working) })
	all.Go(func() { w.disturb(working) })
	all.Go(func() { w.tell(working) })
	all.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return w.conclude(ctx)
}
