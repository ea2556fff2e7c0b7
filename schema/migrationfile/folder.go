package migrationfile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pressly/goose/v3"

	"github.com/tenantctl/tenantctl/tenant"
)

// Source is a migration file as the folder has it.
type Source struct {
	Version int64
	name    string // what follows the version
	path    string
}

// listing is what the migrations' folder holds.
type listing struct {
	sources  []Source // by version
	findings []tenant.Finding
}

// list finds the migrations of a folder by goose's rules: NUMBER_name.sql, and nothing in folders below it.
func list(dir string) (listing, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return listing{}, noMigrations("migrations folder %s does not exist", dir)
	}
	if err != nil {
		return listing{}, &tenant.Error{Kind: tenant.ErrInvalid, Store: tenant.KindPostgres, Msg: fmt.Sprintf("read migrations folder %s: %v", dir, Reason(err)), Hint: "set migrations.postgres to a folder that can be read", Err: err}
	}
	var l listing
	found := func(file, rule, format string, args ...any) {
		l.findings = append(l.findings, finding(filepath.Join(dir, file), 0, rule, fmt.Sprintf(format, args...)))
	}
	byVersion := map[int64]string{}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if e.IsDir() || (ext != ".sql" && ext != ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		version, err := goose.NumericComponent(e.Name())
		switch {
		case err != nil && ext == ".sql":
			found(e.Name(), "name", "goose ignores it: its name does not begin with a number above 0 and '_'")
			continue
		case err != nil:
			continue
		case ext == ".go":
			found(e.Name(), ruleGoCode, "go-coded migrations are out of scope: write it in SQL")
			continue
		}
		if first, twice := byVersion[version]; twice {
			found(e.Name(), "duplicate", "version %d is %s already: give one of them another number", version, first)
			continue
		}
		byVersion[version] = e.Name()
		_, name, _ := strings.Cut(strings.TrimSuffix(e.Name(), ext), "_")
		l.sources = append(l.sources, Source{version, name, filepath.Join(dir, e.Name())})
	}
	slices.SortFunc(l.sources, func(a, b Source) int { return cmp.Compare(a.Version, b.Version) })
	return l, nil
}

// Reason is why a file system refuses, without the path, which the caller names.
func Reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// read compiles one migration.
func (s Source) read() (*File, error) {
	content, err := os.ReadFile(s.path)
	if err != nil {
		return nil, &tenant.Error{Kind: tenant.ErrMigration, Store: tenant.KindPostgres, Msg: fmt.Sprintf("read %s: %v", s.path, Reason(err)), Err: err}
	}
	return Compile(s.path, s.Version, s.name, content)
}

// Set are the migrations of a folder, fit to be run.
type Set struct {
	List      []*File // by version
	ByVersion map[int64]*File

	looking      sync.Once // see look, which sets what follows
	left         Residue   // in a session at most
	NeedsSession bool      // some are not plain, and need a session
	Operators    bool      // some speak of operators or event triggers, see ownOperators
}

// Load reads a whole folder and refuses it where a single file cannot be run.
func Load(dir string) (*Set, error) {
	l, err := list(dir)
	if err != nil {
		return nil, err
	}
	if err := firstSevere(l.findings); err != nil {
		return nil, err
	}
	if len(l.sources) == 0 {
		return nil, noMigrations(holdsNone, dir)
	}
	set := &Set{ByVersion: map[int64]*File{}}
	for _, s := range l.sources {
		m, err := s.read()
		if err == nil {
			err = firstSevere(m.Lint())
		}
		if err != nil {
			return nil, err
		}
		set.List = append(set.List, m)
		set.ByVersion[m.Version] = m
	}
	return set, nil
}

// refuse is tenant.Invalid with this store's name.
func refuse(hint, format string, args ...any) *tenant.Error {
	return &tenant.Error{Kind: tenant.ErrInvalid, Store: tenant.KindPostgres, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// noMigrations refuses a folder that holds none.
func noMigrations(format, dir string) error {
	e := refuse(hintNew, format, dir)
	e.Err = tenant.ErrNoMigrations
	return e
}

const holdsNone = "migrations folder %s holds no migrations"

const hintNew = "write the first one with: tenantctl migrate new NAME"

// Newest is the highest version.
func (f *Set) Newest() int64 { return f.List[len(f.List)-1].Version }
