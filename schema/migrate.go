package schema

import (
	"context"
	"maps"
	"strconv"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// Files reads the migrations on disk in order of version.
func (r *Resource) Files(context.Context) ([]tenant.MigrationFile, error) {
	set, err := r.files()
	if err != nil {
		return nil, err
	}
	var out []tenant.MigrationFile
	for _, m := range set.List {
		out = append(out, m.MigrationFile)
	}
	return out, nil
}

// Up applies what is not applied up to and including version to, as goose does: file by file. Files of plain statements
// share a transaction and a round trip, where the result is the same; see plainDDL.
func (r *Resource) Up(ctx context.Context, t tenant.Tenant, to int64, outOfOrder bool) (tenant.Moved, error) {
	if r.Delegates() {
		return r.delegate(ctx, t)
	}
	return r.up(ctx, t, to, outOfOrder, nil)
}

func (r *Resource) up(ctx context.Context, t tenant.Tenant, to int64, outOfOrder bool, w *watch) (tenant.Moved, error) {
	set, err := r.files()
	if err != nil {
		return tenant.Moved{}, err
	}
	if to == tenant.Newest {
		to = set.Newest()
	}
	if err := set.Knows(to); err != nil {
		return tenant.Moved{}, err
	}
	return r.moveAsOwner(ctx, &run{t: t, set: set, up: true, watch: w, plan: func(book map[int64]bool) ([]*migrationfile.File, error) { return set.Above(book, to, outOfOrder) }})
}

// Down undoes the applied versions above to, newest first.
func (r *Resource) Down(ctx context.Context, t tenant.Tenant, to int64) (tenant.Moved, error) {
	set, err := r.files()
	if err != nil {
		return tenant.Moved{}, err
	}
	if err := set.Knows(to); err != nil {
		return tenant.Moved{}, err
	}
	return r.moveAsOwner(ctx, &run{t: t, set: set, plan: func(book map[int64]bool) ([]*migrationfile.File, error) { return set.Below(book, to) }})
}

// stage is one step of a move: a migration and what the tenant's book says before and after it.
type stage struct {
	*migrationfile.File // nil where nothing is left to do
	tenant              tenant.Tenant
	up, more            bool // more are to follow
	from, to            int64
	had, has            int
}

// program is the direction of the migration that the stage takes.
func (s *stage) program() migrationfile.Program {
	if s.up {
		return s.File.Up
	}
	return s.File.Down
}

// most statements are sent together: each may hold locks until the commit.
const most = 200

// stagesOf are the stages that go into the next transaction: all that can be together, one at least.
func stagesOf(t tenant.Tenant, up bool, book map[int64]bool, todo []*migrationfile.File) []stage {
	if len(todo) == 0 {
		return []stage{{tenant: t, up: up, from: migrationfile.Newest(book), to: migrationfile.Newest(book), had: len(book), has: len(book)}}
	}
	book = maps.Clone(book)
	var group []stage
	statements, at := 0, migrationfile.Newest(book)
	for i, m := range todo {
		s := stage{File: m, tenant: t, up: up, more: i+1 < len(todo), from: at, had: len(book)}
		statements += len(s.program().Statements)
		if i > 0 && (statements > most || !group[i-1].together() || !s.together()) {
			break
		}
		if up {
			book[m.Version] = true
			at = max(at, m.Version)
		} else {
			delete(book, m.Version)
			at = migrationfile.Newest(book)
		}
		s.to, s.has = at, len(book)
		group = append(group, s)
	}
	return group
}

// together tells whether a stage may share its transaction and its message with others.
func (s *stage) together() bool { return !s.NoTransaction && s.program().Plain }

// readRun reads what a run needs to know.
func readRun(p *place) []command { return append(readBook(p), began(p)) }

// readBook reads which versions are applied. Of several rows for a version the last one counts, as it does for goose.
func readBook(p *place) []command {
	p.book = map[int64]bool{}
	c := cmd("SELECT version_id, is_applied FROM %s WHERE version_id > 0 ORDER BY id", migrationfile.VersionTable)
	c.row = func(row [][]byte) {
		version, _ := strconv.ParseInt(string(row[0]), 10, 64)
		if is(row[1]) {
			p.book[version] = true
		} else {
			delete(p.book, version)
		}
	}
	return []command{c}
}
