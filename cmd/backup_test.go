package cmd_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

var longAgo = time.Now().Add(-48 * time.Hour)

// customer puts one customer and one document of that name into a tenant, in place of what it had.
func (b *bench) customer(t testing.TB, tenant, name string) {
	t.Helper()
	schema, database := b.places(t, tenant)
	ctx := context.Background()
	if _, err := b.pg.Exec(ctx, fmt.Sprintf(`DELETE FROM %s.customers; INSERT INTO %[1]s.customers (email, name) VALUES ('%s@example.com', '%[2]s')`, schema, name)); err != nil {
		t.Fatal(err)
	}
	documents := b.mongo.Database(database).Collection("documents")
	if _, err := documents.DeleteMany(ctx, bson.D{}); err != nil {
		t.Fatal(err)
	}
	if _, err := documents.InsertOne(ctx, bson.D{{Key: "_id", Value: 1}, {Key: "slug", Value: name}}); err != nil {
		t.Fatal(err)
	}
}

// places are where the catalog says that a tenant is.
func (b *bench) places(t testing.TB, tenant string) (schema, database string) {
	t.Helper()
	row := b.column(t, `SELECT schema_name || ' ' || database_name FROM tenantctl.tenants WHERE name = $1`, tenant)
	if len(row) != 1 {
		t.Fatalf("there is no tenant %s", tenant)
	}
	schema, database, _ = strings.Cut(row[0], " ")
	return schema, database
}

// holds tells which customer and which document a tenant has.
func (b *bench) holds(t testing.TB, tenant string) string {
	t.Helper()
	schema, database := b.places(t, tenant)
	names := b.column(t, fmt.Sprintf(`SELECT name FROM %s.customers`, schema))
	cursor, err := b.mongo.Database(database).Collection("documents").Find(context.Background(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	var docs []struct{ Slug string }
	if err := cursor.All(context.Background(), &docs); err != nil {
		t.Fatal(err)
	}
	for _, d := range docs {
		names = append(names, d.Slug)
	}
	return strings.Join(names, " ")
}

// archives are the files below the place of backups, by their base names.
func (b *bench) archives(t testing.TB) (manifests, others []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(b.dir, "backups"), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir() || d.Name() == "tenantctl-store": // the store's own id
			return err
		case d.Name() == "manifest.json":
			manifests = append(manifests, path)
		default:
			others = append(others, path)
		}
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return manifests, others
}

// A backup that is killed at any point is listed whole or not at all; it holds nobody, and the next one is made.
func TestAKilledBackupIsListedWholeOrNotAtAll(t *testing.T) {
	for _, quiesce := range []bool{false, true} {
		t.Run(fmt.Sprintf("quiesce=%v", quiesce), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.keepUsers(t)
			b.must(t, "init")
			b.must(t, "create", "acme")
			b.customer(t, "acme", "old")
			args := []string{"backup", "acme"}
			if quiesce {
				args = append(args, "--quiesce")
			}
			points := (&faultTest{bench: b}).traced(t, "", 0, args)
			if len(points) < 4 {
				t.Fatalf("there are %d points only: checkpoints got lost", len(points))
			}
			unlocked := b.usersOf(b.prefix + "acme")
			for _, p := range points {
				if end := b.start(t, "kill@"+p, args...).wait(); !end.killed {
					t.Fatalf("at %s: %s", p, end)
				}
				b.must(t, "backup", "list", "--scan")
				listed := strings.Fields(b.must(t, "backup", "list", "-o", "name").stdout)
				if manifests, _ := b.archives(t); len(manifests) != len(listed) {
					t.Fatalf("at %s: %d are listed, and %d manifests are there", p, len(listed), len(manifests))
				}
				b.must(t, args...)
				for _, id := range strings.Fields(b.must(t, "backup", "list", "-o", "name").stdout) {
					if !slices.Contains(listed, id) {
						b.must(t, "backup", "verify", id)
					}
				}
				if held := b.unfinished(t, "acme"); len(held) > 0 {
					t.Fatalf("at %s: the tenant is held by %v", p, held)
				}
				if users := b.usersOf(b.prefix + "acme"); !slices.Equal(users, unlocked) {
					t.Fatalf("at %s: its users are locked out: %v", p, users)
				}
			}
			// A day later, what was left is gone.
			_, before := b.archives(t)
			for _, path := range before {
				if err := os.Chtimes(path, longAgo, longAgo); err != nil {
					t.Fatal(err)
				}
			}
			b.must(t, "backup", "prune", "--keep-last", "100", "--yes")
			manifests, others := b.archives(t)
			if len(manifests) != len(others) {
				t.Errorf("%d manifests and %d other files are left: %v", len(manifests), len(others), others)
			}
		})
	}
}

// What a test restore that is killed leaves beside its tenant is taken away by the next one, or by ops abort.
func TestAKilledTestRestoreIsClearedAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(t, "init")
	b.must(t, "create", "acme")
	b.must(t, "backup", "acme")
	args := []string{"backup", "verify", "acme@latest", "--restore-test"}
	before := append(b.schemas(t), b.databases(t)...)
	for i, p := range (&faultTest{bench: b}).traced(t, "", 0, args) {
		if !strings.HasPrefix(p, "restore-test/") {
			continue // inside of a store, which other tests stop everywhere
		}
		if end := b.start(t, "kill@"+p, args...).wait(); !end.killed {
			t.Fatalf("at %s: %s", p, end)
		}
		left := b.column(t, `SELECT id::text FROM tenantctl.operations WHERE state IN ('running', 'undoing', 'stuck')`)
		if i%2 == 0 && len(left) > 0 {
			b.must(t, "ops", "abort", left[0])
		} else {
			b.must(t, args...)
		}
		if after := append(b.schemas(t), b.databases(t)...); !slices.Equal(before, after) {
			t.Fatalf("at %s, something is left: %v", p, after)
		}
	}
}

// schemas are all that there are in PostgreSQL.
func (b *bench) schemas(t testing.TB) []string {
	t.Helper()
	return b.column(t, `SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1`)
}

// A tenant whose restore is killed, fails or is interrupted at any point holds all of the old or all of the new, in both
// stores; and what is left is what the catalog knows.
func TestARestoreThatIsStoppedLeavesATenantWhollyOldOrWhollyNew(t *testing.T) {
	b := newBench(t)
	b.keepUsers(t)
	b.must(t, "init")
	b.must(t, "create", "acme")
	b.customer(t, "acme", "old")
	b.must(t, "backup", "acme")
	restore := []string{"restore", strings.TrimSpace(b.must(t, "backup", "list", "-o", "name").stdout), "--yes"}
	b.customer(t, "acme", "new")
	points := (&faultTest{bench: b}).traced(t, "", 0, restore)
	if len(points) < 15 {
		t.Fatalf("there are %d points only: checkpoints got lost", len(points))
	}
	b.clear(t)
	ways := []string{"again", "resume", "abort"}
	tried := 0
	for i, p := range points {
		strikes := []string{"kill"}
		if strings.HasPrefix(p, "restore/") && strings.HasSuffix(p, "#1") {
			strikes = append(strikes, "fail", "interrupt")
		}
		for _, strike := range strikes {
			tried++
			b.customer(t, "acme", "new")
			end := b.start(t, strike+"@"+p, restore...).wait()
			if end.killed != (strike == "kill") || strings.Contains(end.stderr, "panic") || end.code == 0 && strike == "fail" {
				t.Fatalf("%s at %s: %s", strike, p, end)
			}
			if has := b.holds(t, "acme"); has != "old old" && has != "new new" {
				t.Fatalf("%s at %s: the tenant holds %q", strike, p, has)
			}
			way := ways[i%len(ways)]
			left := b.column(t, `SELECT id::text FROM tenantctl.operations WHERE state IN ('running', 'undoing', 'stuck')`)
			if strike == "interrupt" && len(left) > 0 {
				t.Fatalf("interrupted at %s, it neither finished nor undid: %v", p, left)
			}
			if len(left) > 1 || strike == "kill" && len(left) == 0 && !strings.Contains(p, "finish/after") {
				t.Fatalf("%s at %s: these operations are left: %v", strike, p, left)
			}
			for _, id := range left {
				switch way {
				case "again":
					b.must(t, restore...)
				case "resume":
					b.must(t, "ops", "resume", id)
				case "abort":
					if end := b.run(t, "ops", "abort", id); end.code == 2 && strings.Contains(end.stderr, "past the point") {
						b.must(t, "ops", "resume", id)
					} else if end.code != 0 {
						t.Fatalf("%s at %s, then abort: %s", strike, p, end)
					}
				}
			}
			has := b.holds(t, "acme")
			if has != "old old" && has != "new new" || len(left) > 0 && way != "abort" && has != "old old" {
				t.Fatalf("%s at %s, then %s: the tenant holds %q", strike, p, way, has)
			}
			b.known(t, strike+" at "+p+", then "+way)
			b.clear(t)
		}
	}
	t.Logf("tried %d faults at %d points", tried, len(points))
}

// known fails where a store holds a place that no tenant has, where a tenant's place is marked as another's, or where an
// active tenant's users are locked out.
func (b *bench) known(t testing.TB, when string) {
	t.Helper()
	want := b.column(t, `SELECT schema_name FROM tenantctl.tenants ORDER BY 1`)
	if got := b.column(t, `SELECT nspname::text FROM pg_namespace WHERE nspname LIKE $1 ORDER BY 1`, b.prefix+"%"); !slices.Equal(got, want) {
		t.Fatalf("%s: there are schemas %v for tenants with %v", when, got, want)
	}
	want = b.column(t, `SELECT database_name FROM tenantctl.tenants ORDER BY 1`)
	got := b.databases(t)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("%s: there are databases %v for tenants with %v", when, got, want)
	}
	for _, name := range b.column(t, `SELECT name FROM tenantctl.tenants ORDER BY 1`) {
		d := b.must(t, "describe", name).stdout
		if strings.Count(d, " present ") != 2 {
			t.Fatalf("%s: a place of %s is not its own:\n%s", when, name, d)
		}
		if name == "acme" && strings.Contains(d, " yes\n") {
			t.Fatalf("%s: the users of %s are locked out:\n%s", when, name, d)
		}
	}
	if left := b.column(t, `SELECT kind FROM tenantctl.operations WHERE state IN ('running', 'undoing', 'stuck')`); len(left) > 0 {
		t.Fatalf("%s: operations are left: %v", when, left)
	}
}

// clear purges what restores have put aside.
func (b *bench) clear(t testing.TB) {
	t.Helper()
	for _, name := range b.column(t, `SELECT name FROM tenantctl.tenants WHERE state = 'deleted'`) {
		b.must(t, "purge", name, "--yes")
	}
}

// A store that fails while a tenant is being deleted leaves the tenant as it was, with its users let in, though what was
// to be undone there cannot be reached either.
func TestADeleteWhoseStoreFailsLetsTheUsersInAgain(t *testing.T) {
	b := newBench(t)
	b.must(t, "init")
	b.must(t, "create", "acme")
	// An emulator of Google's store: nobody asks for credentials, it can be listed, has an id, and refuses all else.
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/b/backups/o") {
			_, _ = io.WriteString(w, `{"kind": "storage#objects"}`) // a client that is gone hears nothing
			return
		}
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/tenantctl-store") {
			_, _ = io.WriteString(w, "01a22f05-83a2-7438-8948-b3e26c1521fc\n") // as above
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"error": {"code": 403, "message": "full up"}}`) // as above
	}))
	defer store.Close()
	b.extra = []string{"STORAGE_EMULATOR_HOST=" + store.Listener.Addr().String(), "GOOGLE_APPLICATION_CREDENTIALS=" + filepath.Join(b.dir, "none.json"), "TENANTCTL_BACKUP_URL=gs://backups"}
	before := b.everything(t)
	end := b.exits(t, 1, "delete", "acme", "--yes")
	if !strings.Contains(end.stderr, "full up") || !strings.Contains(end.stderr, "allowed to list, read, write and delete") || !strings.Contains(end.stderr, "left for backup prune") {
		t.Errorf("%s", end)
	}
	outside := func(lines []string) []string {
		return slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "tenantctl.") })
	}
	if diff := differences(outside(before), outside(b.everything(t))); diff != "" {
		t.Errorf("the tenant is not as before:\n%s", diff)
	}
	if held := b.unfinished(t, "acme"); len(held) > 0 {
		t.Errorf("the tenant is held by %v", held)
	}
	b.extra = nil
	b.must(t, "delete", "acme", "--yes")
}
