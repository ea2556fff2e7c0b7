package schema

import (
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// stockGoose builds goose's own command line, with the one driver that is needed.
func stockGoose(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "goose")
	build := exec.CommandContext(t.Context(), "go", "build", "-modfile=../tools/go.mod", "-tags=no_clickhouse,no_libsql,no_mssql,no_mysql,no_sqlite3,no_vertica,no_ydb",
		"-o", program, "github.com/pressly/goose/v3/cmd/goose")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build goose: %v\n%s", err, out)
	}
	return program
}

func TestStockGooseAgrees(t *testing.T) {
	t.Parallel()
	program := stockGoose(t)
	dir := copied(t, example)
	b := newBench(t, dir)
	tn := b.created("acme")
	goose := func(schema string, args ...string) string {
		t.Helper()
		u, err := url.Parse(b.cfg.URL)
		must(t, err)
		q := u.Query()
		q.Set("search_path", schema)
		u.RawQuery = q.Encode()
		c := exec.CommandContext(t.Context(), program, append([]string{"-dir", dir, "postgres", u.String()}, args...)...)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("goose %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	says := func(out string, patterns ...string) {
		t.Helper()
		for _, p := range patterns {
			if !regexp.MustCompile(p).MatchString(out) {
				t.Errorf("goose does not say %q:\n%s", p, out)
			}
		}
	}
	version := func(want int64) {
		t.Helper()
		vs, err := b.Versions(t.Context(), []tenant.Tenant{tn})
		must(t, err)
		if vs[0].Version != want || vs[0].Applied != int(want) {
			t.Errorf("versions says %+v, want %d", vs[0], want)
		}
	}

	status := goose(tn.Schema, "status")
	says(status, "00001_customers.sql", "00005_open_orders.sql")
	if strings.Contains(status, "Pending") {
		t.Errorf("something is pending for goose:\n%s", status)
	}
	says(goose(tn.Schema, "version"), `version 5\b`)
	says(goose(tn.Schema, "up"), "no migrations to run. current version: 5")

	goose(tn.Schema, "down")
	version(4)
	goose(tn.Schema, "down-to", "2")
	version(2)
	if moved := up(t, b, tn); len(moved.Ran) != 3 {
		t.Errorf("after goose's down, up gave %+v", moved)
	}
	version(5)
	says(goose(tn.Schema, "up"), "no migrations to run")

	_, err := b.Down(t.Context(), tn, 3)
	must(t, err)
	says(goose(tn.Schema, "version"), `version 3\b`)
	says(goose(tn.Schema, "up"), "00004_order_totals.sql", "version: 5")
	version(5)
	if moved := up(t, b, tn); len(moved.Ran) != 0 {
		t.Errorf("after goose's up, up gave %+v", moved)
	}
	_, err = b.Down(t.Context(), tn, 0)
	must(t, err)
	says(goose(tn.Schema, "version"), `version 0\b`)

	// A schema of goose's alone has the same version table, and after the same files the same content.
	up(t, b, tn)
	other := b.prefix + "goose"
	b.exec("CREATE SCHEMA %s", other)
	goose(other, "up")
	columns := func(schema string) string {
		return b.scalar(`SELECT string_agg(concat_ws(' ', table_name, ordinal_position, column_name, data_type, is_nullable, is_identity, identity_generation, replace(column_default, '%[1]s', '')), E'\n'
			ORDER BY table_name, ordinal_position) FROM information_schema.columns WHERE table_schema = '%[1]s'`, schema)
	}
	if ours, theirs := columns(tn.Schema), columns(other); ours != theirs {
		t.Errorf("we made\n%s\ngoose makes\n%s", ours, theirs)
	}
	indexes := func(schema string) string {
		return b.scalar(`SELECT string_agg(replace(indexdef, '%[1]s', ''), E'\n' ORDER BY indexname) FROM pg_indexes WHERE schemaname = '%[1]s'`, schema)
	}
	if ours, theirs := indexes(tn.Schema), indexes(other); ours != theirs {
		t.Errorf("we made\n%s\ngoose makes\n%s", ours, theirs)
	}
	book := func(schema string) string {
		return b.scalar("SELECT string_agg(version_id || ' ' || is_applied, ',' ORDER BY id) FROM %s.goose_db_version", schema)
	}
	if ours, theirs := book(tn.Schema), book(other); ours != theirs {
		t.Errorf("our book is %s, goose's is %s", ours, theirs)
	}

	// A book that is written without running anything is goose's all the same.
	b.baselined(t, tn, 3)
	says(goose(tn.Schema, "version"), `version 3\b`)
	says(goose(tn.Schema, "status"), `Pending +-- 00004_order_totals.sql`)
	b.baselined(t, tn, 3)
	_, err = b.Baseline(t.Context(), tn, 5, false)
	must(t, err)
	if status := goose(tn.Schema, "status"); strings.Contains(status, "Pending") {
		t.Errorf("after a baseline, something is pending for goose:\n%s", status)
	}
	goose(tn.Schema, "down")
	version(4)
}

// A schema that is marked by hand is one that goose brought there.
func (b bench) baselined(t *testing.T, tn tenant.Tenant, to int64) {
	t.Helper()
	want := b.scalar("SELECT string_agg(version_id || ' ' || is_applied, ',' ORDER BY id) FROM %s.goose_db_version WHERE version_id <= %d", tn.Schema, to)
	b.exec("DROP TABLE %s.goose_db_version", tn.Schema)
	moved, err := b.Baseline(t.Context(), tn, to, false)
	must(t, err)
	if moved.To != to || moved.Applied != int(to) || len(moved.Ran) != int(to) {
		t.Errorf("baseline gave %+v", moved)
	}
	if got := b.scalar("SELECT string_agg(version_id || ' ' || is_applied, ',' ORDER BY id) FROM %s.goose_db_version", tn.Schema); got != want {
		t.Errorf("the book is %s, goose's was %s", got, want)
	}
}

// Very old gooses wrote a row that says a version is not applied.
func TestNewestRowOfAVersionDecides(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	b.exec("DROP INDEX %[1]s.orders_open; INSERT INTO %[1]s.goose_db_version (version_id, is_applied) VALUES (5, false)", tn.Schema)
	vs, err := b.Versions(t.Context(), []tenant.Tenant{tn})
	must(t, err)
	if vs[0].Version != 4 || vs[0].Applied != 4 {
		t.Errorf("versions says %+v", vs[0])
	}
	if moved := up(t, b, tn); len(moved.Ran) != 1 || moved.From != 4 || moved.Applied != 5 {
		t.Errorf("up gave %+v", moved)
	}
}
