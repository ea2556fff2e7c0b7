package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// changes counts what was done to tenants, by verb.
type changes struct {
	mu    sync.Mutex
	done  map[string]int
	added int // tenants, and migrations
}

func (c *changes) count(verb string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = map[string]int{}
	}
	c.done[verb]++
}

func (c *changes) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.added++
	return c.added
}

func (c *changes) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, verb := range slices.Sorted(maps.Keys(c.done)) {
		all = append(all, fmt.Sprintf("%d %s", c.done[verb], verb))
	}
	return strings.Join(all, ", ")
}

// meanwhile changes tenants until work has returned.
func (l *load) meanwhile(ctx context.Context, work func(context.Context)) error {
	changing, stop := context.WithCancel(ctx)
	failed := make(chan error, 1)
	go func() { failed <- l.change(changing) }()
	working, end := context.WithCancel(ctx)
	go func() {
		defer end()
		select {
		case <-working.Done():
		case err := <-failed:
			failed <- err
		}
	}()
	work(working)
	end()
	stop()
	return <-failed
}

// change does one thing after another to tenants. It ends between two of them.
func (l *load) change(ctx context.Context) error {
	quiet := context.WithoutCancel(ctx)
	for n := 0; ctx.Err() == nil; n++ {
		t, _ := l.any()
		if *t.gate.Load() != open {
			continue
		}
		var err error
		switch n % 6 {
		case 0, 3:
			err = l.suspendFor(quiet, t, 300*time.Millisecond)
		case 1:
			err = l.create(quiet)
		case 2:
			err = l.migrate(quiet, t)
		case 4:
			err = l.restore(quiet, t)
		case 5:
			err = l.remove(quiet, t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *load) suspendFor(ctx context.Context, t *tenant, pause time.Duration) error {
	t.set(busy)
	if _, err := l.tenantctl(ctx, "suspend", t.name, "--reason", "Of the load."); err != nil {
		return err
	}
	t.set(shut)
	time.Sleep(pause)
	t.set(busy)
	if _, err := l.tenantctl(ctx, "resume", t.name); err != nil {
		return err
	}
	go l.reopen(t)
	l.changes.count("suspend and resume")
	return nil
}

// reopen expects answers again once the resolvers have read that, as nobody waits for them then.
func (l *load) reopen(t *tenant) {
	time.Sleep(2 * time.Second)
	t.set(open)
}

func (l *load) create(ctx context.Context) error {
	name := fmt.Sprintf("n%04d", l.changes.next())
	if _, err := l.tenantctl(ctx, "create", name); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, l.grant).CombinedOutput(); err != nil {
		return fmt.Errorf("grant: %w: %s", err, out)
	}
	out, err := l.tenantctl(ctx, "describe", name, "-o", "json")
	if err != nil {
		return err
	}
	var one struct{ ID string }
	if err := json.Unmarshal(out, &one); err != nil {
		return err
	}
	go func() {
		time.Sleep(2 * time.Second) // the resolvers read it meanwhile
		l.add(name, one.ID)
	}()
	l.changes.count("create")
	return nil
}

// addMigration writes a migration that no tenant has.
func (l *load) addMigration() error {
	n := 100 + l.changes.next()
	file := filepath.Join(l.dir, "migrations", "postgres", fmt.Sprintf("%05d_load.sql", n))
	return os.WriteFile(file, fmt.Appendf(nil, "-- +goose Up\nCREATE TABLE load_%d (id bigint PRIMARY KEY);\n"+
		"-- +goose Down\nDROP TABLE load_%[1]d;\n", n), 0o644) //nolint:gosec // as the files beside it
}

// migrate brings one tenant to a version that is new. Its requests are answered meanwhile.
func (l *load) migrate(ctx context.Context, t *tenant) error {
	if err := l.addMigration(); err != nil {
		return err
	}
	_, err := l.tenantctl(ctx, "migrate", t.name)
	l.changes.count("migrate")
	return err
}

func (l *load) restore(ctx context.Context, t *tenant) error {
	if _, err := ask(ctx, "GET", l.url+"/whoami", l.host(t), ""); err != nil { // its markers are in the backup
		return err
	}
	if _, err := l.tenantctl(ctx, "backup", t.name); err != nil {
		return err
	}
	t.set(busy)
	if _, err := l.tenantctl(ctx, "restore", t.name+"@latest", "--yes"); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, l.grant).CombinedOutput(); err != nil {
		return fmt.Errorf("grant: %w: %s", err, out)
	}
	go l.reopen(t)
	l.changes.count("restore")
	return nil
}

func (l *load) remove(ctx context.Context, t *tenant) error {
	if l.count() < 20 { // too few would be left
		return nil
	}
	t.set(busy)
	if _, err := l.tenantctl(ctx, "delete", t.name, "--no-backup", "--yes"); err != nil {
		return err
	}
	t.set(shut)
	l.changes.count("delete")
	return nil
}
