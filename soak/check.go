package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// record is what the catalog says of a tenant.
type record struct{ State, Schema, Database string }

func (w *world) record(ctx context.Context, name string) (r record, ok bool) {
	e := w.undisturbed(ctx, "get", name, "-o", "json")
	if e.code == 4 {
		return r, false
	}
	if err := json.Unmarshal([]byte(e.stdout), &r); e.code != 0 || err != nil {
		w.fault("get %s: exit %d, %v\n%s", name, e.code, err, e.stderr)
	}
	return r, true
}

// state is the tenant's, empty where there is no such tenant.
func (w *world) state(ctx context.Context, name string) string {
	r, _ := w.record(ctx, name)
	return r.State
}

// nothingOf looks for remains of a tenant that is gone.
func (w *world) nothingOf(ctx context.Context, name string) {
	place := "soak_" + strings.ReplaceAll(name, "-", "_")
	var schemas, roles int
	err := w.pool.QueryRow(context.WithoutCancel(ctx), `SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = $1), (SELECT count(*) FROM pg_roles WHERE rolname = $1)`, place).Scan(&schemas, &roles)
	if err != nil || schemas+roles > 0 {
		w.fault("of %s are left %d schemas and %d roles (%v)", name, schemas, roles, err)
	}
	names, err := w.documents.ListDatabaseNames(context.WithoutCancel(ctx), bson.D{{Key: "name", Value: place}})
	if err != nil || len(names) > 0 {
		w.fault("of %s is left %v (%v)", name, names, err)
	}
}

// compare reads what a tenant holds, and gives which of the contents it is: all of it, nothing else, the same in both
// stores; -1 where it is none.
func (w *world) compare(ctx context.Context, p *place, after string, could ...contents) int {
	ctx = context.WithoutCancel(ctx)
	r, ok := w.record(ctx, p.name)
	if !ok {
		w.faultOf(p, "%s is gone after %s", p.name, after)
		return -1
	}
	rows, err := w.keys(ctx, r.Schema)
	if err != nil {
		w.faultOf(p, "read the rows of %s after %s: %v", p.name, after, err)
		return -1
	}
	documents, err := w.ids(ctx, r.Database)
	if err != nil {
		w.faultOf(p, "read the documents of %s after %s: %v", p.name, after, err)
		return -1
	}
	why := ""
	for i, c := range could {
		if why = differ("row", rows, c.rows, c.unsure) + differ("document", documents, c.documents, c.unsure); why == "" {
			return i
		}
	}
	w.faultOf(p, "%s (%s) after %s, beside %d possibilities:%s", p.name, r.State, after, len(could), why)
	return -1
}

// differ tells what is missing and what is too many.
func differ(what string, have, want, unsure map[string]bool) string {
	var s strings.Builder
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if !have[k] {
			fmt.Fprintf(&s, "\n  %s %s is lost", what, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(have)) {
		if !want[k] && !unsure[k] {
			fmt.Fprintf(&s, "\n  %s %s does not belong here", what, k)
		}
	}
	return s.String()
}

func (w *world) keys(ctx context.Context, schema string) (map[string]bool, error) {
	rows, err := w.pool.Query(ctx, "SELECT email FROM "+pgx.Identifier{schema, "customers"}.Sanitize())
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return set(all), err
}

func (w *world) ids(ctx context.Context, database string) (map[string]bool, error) {
	cursor, err := w.documents.Database(database).Collection("documents").Find(ctx, bson.D{})
	if err != nil {
		return nil, err
	}
	var all []struct {
		ID string `bson:"_id"`
	}
	err = cursor.All(ctx, &all)
	out := map[string]bool{}
	for _, d := range all {
		out[d.ID] = true
	}
	return out, err
}

func set(keys []string) map[string]bool {
	out := map[string]bool{}
	for _, k := range keys {
		out[k] = true
	}
	return out
}

// applications write for tenants at random, as the tenants' own roles.
func (w *world) applications(ctx context.Context) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				p := w.places[w.chance(len(w.places))]
				if p.mu.TryLock() { // alone, so that its counts need no lock of their own
					w.write(ctx, p)
					p.mu.Unlock()
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	all.Wait()
}

// write adds some rows and documents to a tenant by its own login, which a suspended one must not have.
func (w *world) write(ctx context.Context, p *place) {
	if p.name == "" || p.state == "deleted" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if p.login == "" {
		if p.state != "active" {
			return
		}
		e := w.undisturbed(ctx, "credentials", p.name, "--rotate", "-o", "dsn")
		for line := range strings.Lines(e.stdout) {
			if strings.HasPrefix(line, "postgres") {
				p.login = strings.TrimSpace(line)
			}
		}
		if e.code == 5 { // the fleet is being migrated
			return
		}
		if p.login == "" {
			w.fault("credentials of %s: exit %d\n%s", p.name, e.code, e.stderr)
			return
		}
	}
	r, ok := w.record(ctx, p.name)
	if !ok {
		w.faultOf(p, "%s is gone", p.name)
		return
	}
	conn, err := pgx.Connect(ctx, p.login)
	if p.state == "suspended" {
		if err == nil {
			conn.Close(ctx)
			w.faultOf(p, "%s is suspended, and its application gets in", p.name)
		}
		return
	}
	if err != nil {
		w.faultOf(p, "the application of %s does not get in: %v", p.name, errors.New(strings.ReplaceAll(err.Error(), p.login, "DSN")))
		return
	}
	defer conn.Close(ctx)
	for range 1 + w.chance(5) {
		p.count++
		key := fmt.Sprintf("%s-%d@%d", p.name, p.count, p.n)
		if _, err := conn.Exec(ctx, "INSERT INTO customers (email, name) VALUES ($1, $2)", key, p.name); err != nil {
			p.holds.unsure[key] = true
			w.faultOf(p, "the application of %s cannot write: %v", p.name, err)
			return
		}
		p.holds.rows[key] = true
		if _, err := w.documents.Database(r.Database).Collection("documents").InsertOne(ctx, bson.D{{Key: "_id", Value: key}, {Key: "slug", Value: key}}); err != nil {
			p.holds.unsure[key] = true
			w.faultOf(p, "the application of %s cannot write a document: %v", p.name, err)
			return
		}
		p.holds.documents[key] = true
	}
	w.count("written to")
}

// tell says every minute how it goes.
func (w *world) tell(ctx context.Context) {
	start := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Minute):
		}
		w.mu.Lock()
		total := 0
		for _, n := range w.done {
			total += n
		}
		fmt.Printf("%s: %d things done, %d faults\n", time.Since(start).Round(time.Second), total, len(w.faults))
		w.mu.Unlock()
	}
}

// conclude ends what is unfinished, brings all tenants forward, and looks at every one of them.
func (w *world) conclude(ctx context.Context) error {
	for _, p := range w.places {
		if p.name != "" {
			w.settle(ctx, p.name)
		}
	}
	for _, args := range [][]string{{"migrate", "--max-failures", "100%"}, {"migrate", "status", "--verify"}, {"verify"}, {"verify", "--probe", "--sample", "0"}} {
		if e := w.undisturbed(ctx, args...); e.code != 0 {
			w.fault("at the end, tenantctl %s: exit %d\n%s%s", strings.Join(args, " "), e.code, e.stdout, e.stderr)
		}
	}
	tenants, rows := 0, 0
	for _, p := range w.places {
		if p.name != "" {
			w.compare(ctx, p, "all", p.holds)
			tenants, rows = tenants+1, rows+len(p.holds.rows)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(w.done)) {
		fmt.Printf("%6d  %s\n", w.done[what], what)
	}
	fmt.Printf("%d tenants hold %d rows, and as many documents; %d migrations\n", tenants, rows, w.versions)
	if len(w.faults) > 0 {
		return fmt.Errorf("%d faults", len(w.faults))
	}
	fmt.Println("everything is where it belongs")
	return nil
}
