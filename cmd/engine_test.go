package cmd_test

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// delegate has another tool migrate PostgreSQL: psql, to version 2 or that in NEWEST, unless a file "alive" is there: that
// one waits for its end.
func (b *bench) delegate(t testing.TB) {
	t.Helper()
	b.write(t, "steps.sql", `BEGIN;
SET LOCAL client_min_messages = warning;
CREATE TABLE IF NOT EXISTS history (version int);
CREATE TABLE IF NOT EXISTS orders (n int);
INSERT INTO history SELECT 1 WHERE NOT EXISTS (SELECT FROM history);
SELECT max(version) < :newest AS behind FROM history \gset
\if :behind
ALTER TABLE orders ADD COLUMN note text;
INSERT INTO history VALUES (2);
\endif
COMMIT;
`)
	command := `if [ -e alive ]; then exec >alive 2>&1; (sleep 1000; echo no) & echo begun; sleep 1000; echo no; fi; psql -qX -v ON_ERROR_STOP=1 -v newest="${NEWEST:-2}" -f steps.sql`
	b.extra = append(b.extra, "TENANTCTL_MIGRATIONS_ENGINE=exec", "TENANTCTL_MIGRATIONS_COMMAND="+command, "TENANTCTL_MIGRATIONS_VERSION_QUERY=SELECT max(version) FROM history")
}

// What the command has started holds a pipe open: it is read to its end only when all of them are gone.
func TestTheCommandOfAnotherToolDiesWithAKilledProgram(t *testing.T) {
	b := newBench(t)
	b.delegate(t)
	b.must(t, "init")
	b.must(t, "create", "acme")
	alive := filepath.Join(b.dir, "alive")
	if err := syscall.Mkfifo(alive, 0o600); err != nil {
		t.Fatal(err)
	}
	r := b.start(t, "", "migrate", "acme")
	f, err := os.Open(alive) // waits for the command
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	begun := make([]byte, len("begun\n"))
	if _, err := io.ReadFull(f, begun); err != nil || string(begun) != "begun\n" {
		t.Fatalf("the command said %q, %v", begun, err)
	}
	r.signal(syscall.SIGKILL)
	if end := r.wait(); !end.killed {
		t.Fatal(end)
	}
	if said, err := io.ReadAll(f); err != nil || len(said) > 0 {
		t.Fatalf("the command goes on after its tenantctl was killed: %q, %v", said, err)
	}
	if err := os.Remove(alive); err != nil {
		t.Fatal(err)
	}
	b.must(t, "migrate", "acme") // the tenant is free again
}
