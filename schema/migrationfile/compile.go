// Package migrationfile reads the SQL migrations of a folder: what goose sends for each, what is wrong or risky in them,
// and which are to be applied or undone. It knows no server; schema runs what it reads.
package migrationfile

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

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// VersionTable is goose's own version table, in each tenant's schema.
const VersionTable = goose.DefaultTablename

// File is one file as goose runs it.
type File struct {
	tenant.MigrationFile
	NoTransaction bool // NO TRANSACTION
	UsesEnv       bool // the statements hold values from the environment
	Content       []byte
	Up, Down      Program
}

// Program is what goose sends for one direction of a migration.
type Program struct {
	Statements []Statement
	VersionSQL string // the change to the version table, last
	Publishes  bool   // makes routines or types, which PostgreSQL lets PUBLIC use
	Plain      bool   // all statements are plain
}

// Statement is one that goose sends, which may be several for the server.
type Statement struct {
	placed
	SQL      string
	Commands int // how many results the server answers with
}

// Has tells whether a statement is one of the program's.
func (p Program) Has(st *Statement) bool {
	for i := range p.Statements {
		if &p.Statements[i] == st {
			return true
		}
	}
	return false
}

// Base is the file's name without its folder.
func (m *File) Base() string { return filepath.Base(m.Path) }

// Compile lets goose run a file, up and down, against a database that only records.
func Compile(path string, version int64, name string, content []byte) (*File, error) {
	m := &File{
		MigrationFile: tenant.MigrationFile{Version: version, Name: name, Path: path, Earlier: tenant.ByteSums(content)},
		Content:       content,
	}
	outline := outlineOf(content)
	m.UsesEnv = outline.env

	rec := &recorder{}
	db := sql.OpenDB(rec)
	defer db.Close()
	store, err := database.NewStore(database.DialectPostgres, VersionTable)
	if err != nil {
		return nil, err
	}
	book := &blankBook{Store: store}
	provider, err := goose.NewProvider(goose.DialectCustom, db, oneFile{m.Base(), content},
		goose.WithStore(book), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, m.broken(outline.fault, err)
	}
	for _, d := range []struct {
		up     bool
		into   *Program
		placed []placed
	}{{true, &m.Up, outline.up}, {false, &m.Down, outline.down}} {
		rec.sent, book.applied = nil, !d.up
		if _, err := provider.ApplyVersion(context.Background(), version, d.up); err != nil {
			return nil, m.broken(outline.fault, err)
		}
		*d.into = programOf(rec.sent, d.placed)
	}
	if outline.fault.msg != "" {
		return nil, m.broken(outline.fault, nil)
	}
	m.NoTransaction = !rec.begun
	m.Checksum, m.Empty = m.checksum(), len(m.Up.Statements) == 0
	return m, nil
}

// broken says where a file cannot be read. goose's own words are used where the place was not found.
func (m *File) broken(f fault, cause error) error {
	if f.msg == "" {
		f.msg = cause.Error()
	}
	return fileError(finding(m.Path, f.line, cmp.Or(f.rule, ruleBroken), f.msg))
}

var publishing = regexp.MustCompile(`(?i)\bcreate\s+(or\s+replace\s+)?(function|procedure|aggregate|type|domain|extension)\b`)

// programOf puts together what goose sent, whose last is the change to its book, and where the file has it.
func programOf(all []sent, at []placed) Program {
	last := all[len(all)-1]
	p := Program{VersionSQL: inline(last), Plain: true}
	for i, s := range all[:len(all)-1] {
		st := Statement{SQL: s.sql, placed: placed{Text: s.sql}}
		if len(at) == len(all)-1 {
			st.placed = at[i]
		}
		tokens, _ := sqltext.Lex(s.sql)
		st.Commands = len(sqltext.Split(tokens))
		p.Statements = append(p.Statements, st)
		p.Publishes = p.Publishes || publishing.MatchString(s.sql)
		p.Plain = p.Plain && !slices.ContainsFunc(sqltext.Split(tokens), func(t []sqltext.Token) bool { return !plainDDL(t) })
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

// NewVersionTable is how goose makes its version table, with the row that it begins with.
func NewVersionTable() ([]string, error) {
	rec := &recorder{}
	db := sql.OpenDB(rec)
	defer db.Close()
	store, err := database.NewStore(database.DialectPostgres, VersionTable)
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
