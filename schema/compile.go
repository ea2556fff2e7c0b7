package schema

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/tenantctl/tenantctl/tenant"
)

// bookTable is goose's own version table, in each tenant's schema.
const bookTable = goose.DefaultTablename

// migration is one file as goose runs it.
type migration struct {
	tenant.MigrationFile
	outside  bool // NO TRANSACTION
	env      bool // the statements hold values from the environment
	content  []byte
	up, down program
}

// program is what goose sends for one direction of a migration.
type program struct {
	statements []statement
	book       string // the change to the version table, last
	publishes  bool   // makes routines or types, which PostgreSQL lets PUBLIC use
	plain      bool   // all statements are plain
}

// statement is one that goose sends, which may be several for the server.
type statement struct {
	placed
	sql      string
	commands int // how many results the server answers with
}

// has tells whether a statement is one of the program's.
func (p program) has(st *statement) bool {
	for i := range p.statements {
		if &p.statements[i] == st {
			return true
		}
	}
	return false
}

// base is the file's name without its folder.
func (m *migration) base() string { return filepath.Base(m.Path) }

// compile lets goose run a file, up and down, against a database that only records.
func compile(path string, version int64, name string, content []byte) (*migration, error) {
	m := &migration{
		MigrationFile: tenant.MigrationFile{Version: version, Name: name, Path: path, Earlier: tenant.ByteSums(content)},
		content:       content,
	}
	outline := outlineOf(content)
	m.env = outline.env

	rec := &recorder{}
	db := sql.OpenDB(rec)
	defer db.Close()
	store, err := database.NewStore(database.DialectPostgres, bookTable)
	if err != nil {
		return nil, err
	}
	book := &blankBook{Store: store}
	provider, err := goose.NewProvider(goose.DialectCustom, db, oneFile{m.base(), content},
		goose.WithStore(book), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, m.broken(outline.fault, err)
	}
	for _, d := range []struct {
		up     bool
		into   *program
		placed []placed
	}{{true, &m.up, outline.up}, {false, &m.down, outline.down}} {
		rec.sent, book.applied = nil, !d.up
		if _, err := provider.ApplyVersion(context.Background(), version, d.up); err != nil {
			return nil, m.broken(outline.fault, err)
		}
		*d.into = programOf(rec.sent, d.placed)
	}
	if outline.fault.msg != "" {
		return nil, m.broken(outline.fault, nil)
	}
	m.outside = !rec.begun
	m.Checksum, m.Empty = m.checksum(), len(m.up.statements) == 0
	return m, nil
}

// broken says where a file cannot be read. goose's own words are used where the place was not found.
func (m *migration) broken(f fault, cause error) error {
	if f.msg == "" {
		f.msg = cause.Error()
	}
	return fileError(finding(m.Path, f.line, cmp.Or(f.rule, ruleBroken), f.msg))
}

var publishing = regexp.MustCompile(`(?i)\bcreate\s+(or\s+replace\s+)?(function|procedure|aggregate|type|domain|extension)\b`)

// programOf puts together what goose sent, whose last is the change to its book, and where the file has it.
func programOf(all []sent, at []placed) program {
	last := all[len(all)-1]
	p := program{book: inline(last), plain: true}
	for i, s := range all[:len(all)-1] {
		st := statement{sql: s.sql, placed: placed{text: s.sql}}
		if len(at) == len(all)-1 {
			st.placed = at[i]
		}
		tokens, _ := lex(s.sql)
		st.commands = len(split(tokens))
		p.statements = append(p.statements, st)
		p.publishes = p.publishes || publishing.MatchString(s.sql)
		p.plain = p.plain && !slices.ContainsFunc(split(tokens), func(t []token) bool { return !plainDDL(t) })
	}
	return p
}

var parameter = regexp.MustCompile(`\$\d+`)

// inline writes a statement's parameters, which are numbers and truth values, into it.
func inline(s sent) string {
	return parameter.ReplaceAllStringFunc(s.sql, func(p string) string {
		n, _ := strconv.Atoi(p[1:])
		return fmt.Sprint(s.args[n-1].Value)
	})
}

// newBook is how goose makes its version table, with the row that it begins with.
func newBook() ([]string, error) {
	rec := &recorder{}
	db := sql.OpenDB(rec)
	defer db.Close()
	store, err := database.NewStore(database.DialectPostgres, bookTable)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := store.CreateVersionTable(ctx, db); err != nil {
		return nil, err
	}
	if err := store.Insert(ctx, db, database.InsertRequest{Version: 0}); err != nil {
		return nil, err
	}
	var statements []string
	for _, s := range rec.sent {
		statements = append(statements, inline(s))
	}
	return statements, nil
}

// blankBook is goose's store for PostgreSQL over a recorder: its writes are goose's own, its answers are given.
type blankBook struct {
	database.Store
	applied bool // what to answer of every version
}

func (b *blankBook) TableExists(context.Context, database.DBTxConn) (bool, error) { return true, nil }

func (b *blankBook) GetMigration(context.Context, database.DBTxConn, int64) (*database.GetMigrationResult, error) {
	if !b.applied {
		return nil, database.ErrVersionNotFound
	}
	return &database.GetMigrationResult{IsApplied: true}, nil
}

// oneFile is a folder with a single file in it.
type oneFile struct {
	name    string
	content []byte
}

// Glob spares the folder a listing.
func (f oneFile) Glob(pattern string) ([]string, error) {
	if ok, err := filepath.Match(pattern, f.name); !ok {
		return nil, err
	}
	return []string{f.name}, nil
}

func (f oneFile) Open(name string) (fs.File, error) {
	if name != f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return opened{bytes.NewReader(f.content)}, nil
}

type opened struct{ *bytes.Reader }

func (opened) Stat() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }
func (opened) Close() error               { return nil }
