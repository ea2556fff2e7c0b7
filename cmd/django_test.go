package cmd_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// djangoPath is PATH with a Python first that has Django, and what else the tests with Django import.
func djangoPath(t *testing.T) string {
	t.Helper()
	path := os.Getenv("PATH")
	for _, p := range []string{path, "/usr/bin" + string(os.PathListSeparator) + path} {
		c := exec.Command("sh", "-c", `python3 -c "import django, psycopg2, pymongo, redis, celery, gunicorn, uvicorn"`)
		c.Env = append(os.Environ(), "PATH="+p)
		if c.Run() == nil {
			return p
		}
	}
	t.Fatal("no python3 here has Django and what its tests need; tools/setup.sh --dry-run test names the packages")
	return ""
}

func TestTheDjangoExampleMigratesAFleet(t *testing.T) {
	b := newBench(t)
	b.extra = append(b.extra, "PATH="+djangoPath(t), "PYTHONDONTWRITEBYTECODE=1")
	if err := os.CopyFS(b.dir, os.DirFS("../examples/django-migrate")); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	orders := func(statement string, want ...string) {
		t.Helper()
		if got := b.column(t, strings.ReplaceAll(statement, "SCHEMA", b.prefix+"acme")); !slices.Equal(got, want) {
			t.Errorf("%s gives %q, want %q", statement, got, want)
		}
	}
	note := filepath.Join(b.dir, "orders/migrations/0002_note.py")
	later, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(note); err != nil {
		t.Fatal(err)
	}
	b.must(t, "init")
	b.must(t, "create", "acme", "globex", "initech")
	orders(`SELECT app || '.' || name FROM SCHEMA.django_migrations`, "orders.0001_initial")
	orders(`SELECT nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relname = 'orders_order' AND NOT starts_with(nspname, '` + b.prefix + `')`)
	if _, err := b.pg.Exec(ctx, `INSERT INTO `+b.prefix+`acme.orders_order (number, total) VALUES ('A-1', 10.5)`); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(note, later, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.pg.Exec(ctx, `ALTER TABLE `+b.prefix+`globex.orders_order ADD COLUMN note text`); err != nil { // by hand, as it happens
		t.Fatal(err)
	}
	end := b.run(t, "migrate", "--max-failures", "100%", "--report", "report.json")
	if end.code != 3 || !strings.Contains(end.stdout, "2 changed, 0 unchanged, 1 failed") || !strings.Contains(end.stdout, `column "note" of relation "orders_order" already exists`) {
		t.Fatalf("a tenant that differs does not fail alone, with Django's reason: %s", end)
	}
	report, err := os.ReadFile(filepath.Join(b.dir, "report.json"))
	if err != nil || !strings.Contains(string(report), "Applying orders.0002_note... OK") || !strings.Contains(string(report), "Traceback") {
		t.Errorf("the report has not what Django said: %s %v", report, err)
	}
	orders(`SELECT number || ' ' || total || ' ' || note FROM SCHEMA.orders_order`, "A-1 10.50 ")

	if _, err := b.pg.Exec(ctx, `ALTER TABLE `+b.prefix+`globex.orders_order DROP COLUMN note`); err != nil {
		t.Fatal(err)
	}
	b.must(t, "migrate", "--parallel", "2")
	if end := b.run(t, "migrate", "status", "--verify"); end.code != 0 || !strings.Contains(end.stdout, "3 tenants: 3 current, 0 behind, 0 unknown") {
		t.Errorf("the fleet is not at one version: %s", end)
	}
}
