package migrationfile

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/tenantctl/tenantctl/schema/sqltext"
)

func TestCompilesWhatGooseSends(t *testing.T) {
	m, err := Compile("dir/00042_x.sql", 42, "x", []byte("-- +goose Up\n-- note\nSELECT 1;\n-- +goose StatementBegin\nSELECT 2;\nSELECT 3;\n-- +goose StatementEnd\n-- +goose Down\nSELECT 4;\n"))
	if err != nil {
		t.Fatal(err)
	}
	if m.NoTransaction || len(m.Up.Statements) != 2 || len(m.Down.Statements) != 1 {
		t.Fatalf("compiled to %+v", m)
	}
	if s := m.Up.Statements[1]; s.SQL != "SELECT 2;\nSELECT 3;" || s.Line != 5 || s.Commands != 2 {
		t.Errorf("the second statement is %+v", s)
	}
	if m.Up.VersionSQL != "INSERT INTO goose_db_version (version_id, is_applied) VALUES (42, true)" || m.Down.VersionSQL != "DELETE FROM goose_db_version WHERE version_id=42" {
		t.Errorf("the book's changes are %q and %q", m.Up.VersionSQL, m.Down.VersionSQL)
	}
	book, err := NewVersionTable()
	if err != nil {
		t.Fatal(err)
	}
	if len(book) != 2 || !strings.HasPrefix(book[0], "CREATE TABLE goose_db_version") || book[1] != "INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true)" {
		t.Errorf("the new book is made by %q", book)
	}
}

// The whole of goose, with its own store for a folder, sends what compile says it does.
func TestExampleCompilesToWhatGoosesOwnUpSends(t *testing.T) {
	example := filepath.Join("..", "..", "migrations", "example", "postgres")
	rec := &recorder{}
	db := sql.OpenDB(rec)
	defer db.Close()
	store, err := database.NewStore(database.DialectPostgres, VersionTable)
	if err != nil {
		t.Fatal(err)
	}
	book := &listedBook{blankBook{Store: store}}
	provider, err := goose.NewProvider(goose.DialectCustom, db, os.DirFS(example), goose.WithStore(book), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = provider.Up(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, s := range rec.sent {
		want = append(want, inline(s))
	}
	set, err := Load(example)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range set.List {
		for _, s := range m.Up.Statements {
			got = append(got, s.SQL)
		}
		got = append(got, m.Up.VersionSQL)
	}
	if !slices.Equal(got, want) {
		t.Errorf("compiled\n%q\ngoose sends\n%q", got, want)
	}
}

// listedBook is a blankBook with the first row that every book has.
type listedBook struct{ blankBook }

func (listedBook) ListMigrations(context.Context, database.DBTxConn) ([]*database.ListMigrationsResult, error) {
	return []*database.ListMigrationsResult{{Version: 0, IsApplied: true}}, nil
}

func (listedBook) GetLatestVersion(context.Context, database.DBTxConn) (int64, error) { return 0, nil }

// Whatever a file holds: goose and the outline agree on what its statements are, and a file that cannot be run is
// refused with a line of it.
func FuzzReadMigration(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("..", "..", "migrations", "example", "postgres", "*.sql"))
	if err != nil || len(files) == 0 {
		f.Fatal("no examples to begin with", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
		f.Add([]byte(strings.ReplaceAll(string(content), "\n", "\r\n")))
	}
	for _, content := range []string{
		"", "\n", "\ufeff-- +goose Up\n", "-- +goose Up\nSELECT 1", "-- +goose Up\n-- +goose StatementBegin\n-- +goose StatementEnd\nSELECT 1;\nSELECT 2;",
		"-- +goose Up\n \n--x\nSELECT 1; -- y\n-- +goose Down\n\t\n-- z\nSELECT 'ä';", "-- +goose ENVSUB ON\n-- +goose up\nSELECT '$HOME';\n-- +goose ENVSUB OFF\n",
		"-- +goose Up\nSELECT $$;\n$$;", "--+goose Up\n-- -- +goose NO TRANSACTION\nSELECT 1;\n-- +goose Down\n-- +goose StatementBegin\nx\n--y\n-- +goose StatementEnd",
		"-- +goose Up\n-- +goose StatementBegin\nSELECT 1;\n  \n-- +goose StatementEnd\n\nSELECT 2;;\n;\n", "-- +goose Up\nE'\\';';\nU&\"a\";\n$1$a$1$;", "-- +goose Up\r\r\nSELECT 1;\r\r\n",
	} {
		f.Add([]byte(content))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		o := outlineOf(content)
		lines := 1 + strings.Count(string(content), "\n")
		m, err := Compile("00001_x.sql", 1, "x", content)
		if err != nil {
			var why faulty
			if !errors.As(err, &why) || why.Line < 1 || why.Line > lines {
				t.Fatalf("refused without a line of the %d: %v", lines, err)
			}
			return
		}
		for _, p := range []struct {
			got  []Statement
			want []placed
		}{{m.Up.Statements, o.up}, {m.Down.Statements, o.down}} {
			if len(p.got) != len(p.want) {
				t.Fatalf("goose sends %d statements, the outline has %d", len(p.got), len(p.want))
			}
			for i, s := range p.got {
				if s.SQL != p.want[i].Text && !o.env {
					t.Fatalf("goose sends %q, the outline has %q", s.SQL, p.want[i].Text)
				}
				if s.Line < 1 || s.Line > lines {
					t.Fatalf("statement at line %d of %d", s.Line, lines)
				}
				if shown := sqltext.Show(s.SQL); len([]rune(shown)) > sqltext.MaxShown+1 || strings.Contains(shown, "\n") {
					t.Fatalf("shown as %q", shown)
				}
			}
		}
		for _, finding := range m.Lint() {
			if finding.Line < 0 || finding.Line > lines {
				t.Fatalf("a finding at line %d of %d: %+v", finding.Line, lines, finding)
			}
		}
	})
}
