package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// begin makes the catalog, and tenants in half of the places.
func (w *world) begin(ctx context.Context) error {
	if e := w.undisturbed(ctx, "init"); e.code != 0 {
		return fmt.Errorf("init: %s", e.stderr)
	}
	w.versions = 5
	file := "name\n"
	for _, p := range w.places[:len(w.places)/2] {
		p.name, p.state, p.life = fmt.Sprintf("s%d-1", p.n), "active", 1
		file += p.name + "\n"
	}
	if err := os.WriteFile(filepath.Join(w.dir, "first.csv"), []byte(file), 0o600); err != nil {
		return err
	}
	if e := w.undisturbed(ctx, "create", "--file", "first.csv"); e.code != 0 {
		return fmt.Errorf("create: %s", e.stderr)
	}
	return nil
}

// work does one thing after another with places chosen at random.
func (w *world) work(ctx context.Context, _ int) {
	for ctx.Err() == nil {
		if w.chance(25) == 0 {
			w.migrate(ctx)
			continue
		}
		p := w.places[w.chance(len(w.places))]
		p.mu.Lock()
		w.one(ctx, p)
		p.mu.Unlock()
	}
}

// one does one thing with a place that nobody else changes, and looks at what came of it.
func (w *world) one(ctx context.Context, p *place) {
	switch {
	case p.name == "":
		switch n := w.chance(3); {
		case n == 0 && w.clone(ctx, p):
		case n == 1 && w.restoreAs(ctx, p):
		default:
			w.create(ctx, p)
		}
	case p.state == "deleted":
		if w.chance(3) == 0 {
			w.purge(ctx, p, "purge", p.name, "--yes")
		} else {
			w.change(ctx, p, p.before, "undelete", p.name)
		}
	case p.state == "suspended" && w.chance(2) == 0:
		w.change(ctx, p, "active", "resume", p.name)
	default:
		switch n := w.chance(20); {
		case n < 5:
			w.backup(ctx, p)
		case n < 9 && len(p.backups) > 0:
			w.restore(ctx, p)
		case n < 12:
			w.rename(ctx, p)
		case n < 14:
			w.change(ctx, p, "suspended", "suspend", p.name)
		case n < 16:
			p.before = p.state
			w.change(ctx, p, "deleted", "delete", p.name, "--no-backup", "--yes")
		case n == 16:
			w.purge(ctx, p, "delete", p.name, "--now", "--no-backup", "--yes")
		case n == 17:
			w.change(ctx, p, p.state, "set", p.name, "--label", fmt.Sprintf("turn=%d", w.chance(1000)))
		default:
			w.change(ctx, p, p.state, "credentials", p.name, "--rotate")
			p.login = ""
		}
	}
}

func (w *world) create(ctx context.Context, p *place) {
	p.life++
	w.arrive(ctx, p, fmt.Sprintf("s%d-%d", p.n, p.life), nothing(), "create")
}

// clone makes a tenant of another one, whose application waits meanwhile.
func (w *world) clone(ctx context.Context, p *place) bool {
	source := w.places[w.chance(len(w.places))]
	if source == p || !source.mu.TryLock() {
		return false
	}
	defer source.mu.Unlock()
	if source.name == "" || source.state != "active" {
		return false
	}
	p.life++
	w.arrive(ctx, p, fmt.Sprintf("s%d-%d", p.n, p.life), source.holds.clone(), "clone", source.name)
	return true
}

// restoreAs makes a tenant of another one's backup.
func (w *world) restoreAs(ctx context.Context, p *place) bool {
	source := w.places[w.chance(len(w.places))]
	if source == p || !source.mu.TryLock() {
		return false
	}
	defer source.mu.Unlock()
	if len(source.backups) == 0 {
		return false
	}
	b := source.backups[w.chance(len(source.backups))]
	p.life++
	w.arrive(ctx, p, fmt.Sprintf("s%d-%d", p.n, p.life), b.clone(), "restore", b.id, "--as")
	return true
}

// arrive makes a tenant in an empty place: it is there with all that it should hold, or it is not.
func (w *world) arrive(ctx context.Context, p *place, name string, holds contents, args ...string) {
	e := w.tenantctl(ctx, append(args, name)...)
	w.settle(ctx, name)
	state := w.state(ctx, name)
	switch {
	case state == "" && e.code == 0:
		w.fault("%s says that it made %s, and there is none", args[0], name)
	case state == "":
		w.nothingOf(ctx, name)
	default:
		p.name, p.state, p.holds, p.login, p.backups = name, state, holds, "", nil
		w.compare(ctx, p, args[0], holds)
	}
	w.counted(p, args[0], e, state != "")
}

// change brings a tenant into another state, or leaves it in the one that it has. What it holds stays.
func (w *world) change(ctx context.Context, p *place, to string, args ...string) {
	was := p.state
	e := w.tenantctl(ctx, args...)
	w.settle(ctx, p.name)
	p.state = w.state(ctx, p.name)
	if p.state != was && p.state != to || e.code == 0 && p.state != to {
		w.faultOf(p, "%s left %s %q; it was %s before: exit %d\n%s", args[0], p.name, p.state, was, e.code, e.stderr)
	}
	w.compare(ctx, p, args[0], p.holds)
	w.counted(p, args[0], e, p.state == to)
}

func (w *world) rename(ctx context.Context, p *place) {
	p.life++
	was, to := p.name, fmt.Sprintf("s%d-%d", p.n, p.life)
	e := w.tenantctl(ctx, "rename", was, to)
	w.settle(ctx, was, to)
	at := map[bool]string{true: was, false: to}[w.state(ctx, to) == ""]
	if p.name = at; e.code == 0 && at != to || w.state(ctx, at) == "" {
		w.faultOf(p, "rename of %s to %s: exit %d, and it is not there\n%s", was, to, e.code, e.stderr)
	}
	w.compare(ctx, p, "rename", p.holds)
	w.counted(p, "rename", e, at == to)
}

// purge takes a tenant away for good: it goes, or it is there with all that it holds.
func (w *world) purge(ctx context.Context, p *place, args ...string) {
	if p.state != "deleted" {
		p.before = p.state
	}
	e := w.tenantctl(ctx, args...)
	w.settle(ctx, p.name)
	state := w.state(ctx, p.name)
	if state == "" {
		w.nothingOf(ctx, p.name)
		p.name, p.state, p.holds, p.login = "", "", nothing(), ""
	} else {
		p.state = state
		w.compare(ctx, p, args[0], p.holds)
	}
	w.counted(p, strings.Join(append(args[:1:1], args[2:]...), " "), e, state == "")
}

func (w *world) backup(ctx context.Context, p *place) {
	holds := p.holds.clone()
	e := w.tenantctl(ctx, "backup", p.name, "-o", "json")
	w.settle(ctx, p.name)
	var doc struct {
		Backups []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(e.stdout), &doc); e.code == 0 && (err != nil || len(doc.Backups) != 1) {
		w.fault("backup of %s: it does not say which it is: %v\n%s", p.name, err, e.stdout)
	} else if e.code == 0 {
		p.backups = append(p.backups, kept{doc.Backups[0].ID, holds})
		if len(p.backups) > 3 {
			p.backups = p.backups[1:]
		}
	}
	w.counted(p, "backup", e, e.code == 0)
}

// restore puts a tenant back: it holds all of what it held, or all of the backup.
func (w *world) restore(ctx context.Context, p *place) {
	b := p.backups[w.chance(len(p.backups))]
	e := w.tenantctl(ctx, "restore", b.id, "--yes")
	w.settle(ctx, p.name)
	p.state = w.state(ctx, p.name)
	if e.code == 0 {
		p.holds = b.clone()
		w.compare(ctx, p, "restore", p.holds)
	} else if w.compare(ctx, p, "restore", p.holds, b.contents) == 1 {
		p.holds = b.clone()
	}
	w.counted(p, "restore", e, e.code == 0)
}

// migrate brings the whole fleet forward while the applications write; now and then there is a new migration.
func (w *world) migrate(ctx context.Context) {
	if w.chance(2) == 0 {
		w.mu.Lock()
		w.versions++
		n := w.versions
		w.mu.Unlock()
		up := fmt.Sprintf("ALTER TABLE customers ADD COLUMN c%[1]d text;\nCREATE INDEX customers_c%[1]d ON customers (c%[1]d);", n)
		// What is half written would be refused.
		file := filepath.Join(w.dir, "migrations", "postgres", fmt.Sprintf("%05d_more.sql", n))
		err := os.WriteFile(file+".new", []byte("-- +goose Up\n"+up+"\n\n-- +goose Down\nALTER TABLE customers DROP COLUMN c"+fmt.Sprint(n)+";\n"), 0o600)
		if err == nil {
			err = os.Rename(file+".new", file)
		}
		if err != nil {
			w.fault("write a migration: %v", err)
		}
	}
	e := w.tenantctl(ctx, "migrate", "--max-failures", "100%")
	w.counted(nil, "migrate", e, e.code == 0 || e.code == 3)
}

// counted counts a piece of work, in a place if it was in one, by how it ended.
func (w *world) counted(p *place, what string, e ended, done bool) {
	end := map[bool]string{true: "done", false: "not done"}[done]
	switch {
	case e.code < 0:
		end = "killed, then " + end
	case e.code > 0:
		end = fmt.Sprintf("exit %d, then %s", e.code, end)
	}
	w.count(what + ": " + end)
	if p != nil {
		p.past = append(p.past, fmt.Sprintf("%s %s: %s; now %s %s\n  %s", time.Now().Format(time.TimeOnly), what, end, p.name, p.state, strings.ReplaceAll(strings.TrimSpace(e.stderr), "\n", "\n  ")))
	}
}

// settle ends what a killed or failed run has left of a tenant, as an operator would.
func (w *world) settle(ctx context.Context, names ...string) {
	for _, name := range names {
		for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
			e := w.undisturbed(ctx, "ops", "list", "--unfinished", "--tenant", name, "-o", "json")
			var ops []struct{ ID, Kind, Run string }
			if err := json.Unmarshal([]byte(e.stdout), &ops); err != nil {
				w.fault("ops list: exit %d\n%s%s", e.code, e.stdout, e.stderr)
				return
			}
			if len(ops) == 0 {
				break
			}
			var last ended
			for _, op := range ops {
				last = w.undisturbed(ctx, "ops", "resume", op.ID)
			}
			// One that the last resume has ended is gone when it is looked for again.
			if took := time.Since(began); took > 2*time.Minute || took > time.Minute && last.code != 0 {
				w.fault("%s is held by %+v, and ops resume does not end it: exit %d\n%s", name, ops, last.code, last.stderr)
				return
			}
		}
	}
}
