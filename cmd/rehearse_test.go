package cmd_test

import (
	"slices"
	"testing"
)

// A file that was only rehearsed may still be changed: it is not taken for applied, even while a copy has it.
func TestWhatWasOnlyRehearsedWasNeverApplied(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(t, "init")
	b.must(t, "create", "acme")
	b.write(t, "migrations/postgres/00006_new.sql", "-- +goose Up\nCREATE TABLE new (id int);\n-- +goose Down\nDROP TABLE new;\n")
	if end := b.start(t, "kill@rehearse/migrate/after", "migrate", "rehearse", "acme").wait(); !end.killed {
		t.Fatal(end)
	}
	if copies := b.column(t, `SELECT name FROM tenantctl.tenants WHERE name <> 'acme'`); len(copies) != 1 {
		t.Fatalf("there are the copies %v, want one", copies)
	}
	b.must(t, "migrate", "acme", "--only", "mongodb") // at its end, the files that are applied are recorded
	known := b.column(t, `SELECT version::text FROM tenantctl.migration_files WHERE kind = 'postgres' ORDER BY version`)
	if !slices.Equal(known, []string{"1", "2", "3", "4", "5"}) {
		t.Errorf("the files %v were recorded as applied", known)
	}
}
