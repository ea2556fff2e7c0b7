package schema

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

func TestDoesWhatEveryResourceMustDo(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	tenanttest.Exercise(t, b.world)
}

func TestDoesWhatEveryResourceMustDoWithoutRoles(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", func(c *Config) { c.Roles = false })
	tenanttest.Exercise(t, b.world)
}

// world is a part of the bench's database for one test of the suite, with the example's migrations.
func (b bench) world(t *testing.T) tenanttest.Harness {
	b.t = t
	dir := copied(t, example)
	return tenanttest.Harness{
		Prefix: b.prefix + strconv.FormatInt(b.worlds.Add(1), 36) + "_",
		New:    func(*testing.T) tenant.Resource { return b.over(dir).Resource },
		AddMigration: func(t *testing.T) func() {
			write(t, dir, "00006_later.sql", "-- +goose Up\nCREATE TABLE later (id int);\n-- +goose Down\nDROP TABLE later;\n")
			return func() { must(t, os.Remove(filepath.Join(dir, "00006_later.sql"))) }
		},
		Foreign: func(t *testing.T, tn tenant.Tenant) func(*testing.T) {
			b.exec("CREATE SCHEMA %[1]s; CREATE TABLE %[1]s.theirs AS SELECT 42 AS answer", tn.Schema)
			return func(t *testing.T) {
				if n := b.scalar("SELECT sum(answer) FROM %s.theirs", tn.Schema); n != "42" {
					t.Errorf("the foreign table holds %s", n)
				}
				if n := b.scalar("SELECT count(*) FROM pg_class WHERE relnamespace = '%s'::regnamespace", tn.Schema); n != "1" {
					t.Errorf("there are %s relations in the foreign schema", n)
				}
			}
		},
		Write: func(_ *testing.T, tn tenant.Tenant, n int) {
			b.exec("INSERT INTO %s.customers (email, name) SELECT 'c' || i || '@example.com', 'c' || i FROM generate_series(1, %d) i", tn.Schema, n)
		},
		Count: func(t *testing.T, tn tenant.Tenant) int {
			n, err := strconv.Atoi(b.scalar("SELECT count(*) FROM %s.customers", tn.Schema))
			must(t, err)
			return n
		},
	}
}

func TestConnectionsAreClosedAfterSomeSchemas(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, "SELECT 1;"), func(c *Config) { c.SchemasPerConnection, c.MaxConnections = 3, 1 })
	pids := map[string]int{}
	tn := b.created("acme")
	for range 12 {
		pids[b.scalar("pg_backend_pid()")]++
		_, err := b.Up(t.Context(), tn, tenant.Newest, false)
		must(t, err)
	}
	if len(pids) < 3 || len(pids) == 12 {
		t.Errorf("12 tenants were served by %d connections: %v", len(pids), fmt.Sprint(pids))
	}
}
