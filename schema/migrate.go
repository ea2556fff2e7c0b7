package schema

import (
	"context"
	"maps"
	"strconv"

	"github.com/tenantctl/tenantctl/tenant"
)

// Files reads the migrations on disk in order of version.
func (r *Resource) Files(context.Context) ([]tenant.MigrationFile, error) {
	set, err := r.files()
	if err != nil {
		return nil, err
	}
	var out []tenant.MigrationFile
	for _, m := range set.list {
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
		to = set.newest()
	}
	if err := set.knows(to); err != nil {
		return tenant.Moved{}, err
	}
	return r.moveAsOwner(ctx, &run{t: t, set: set, up: true, watch: w, plan: func(book map[int64]bool) ([]*migration, error) { return set.above(book, to, outOfOrder) }})
}

// Down undoes the applied versions above to, newest first.
func (r *Resource) Down(ctx context.Context, t tenant.Tenant, to int64) (tenant.Moved, error) {
	set, err := r.files()
	if err != nil {
		return tenant.Moved{}, err
	}
	if err := set.knows(to); err != nil {
		return tenant.Moved{}, err
	}
	return r.moveAsOwner(ctx, &run{t: t, set: set, plan: func(book map[int64]bool) ([]*migration, error) { return set.below(book, to) }})
}

// stage is one step of a move: a migration and what the tenant's book says before and after it.
type stage struct {
	*migration // nil where nothing is left to do
	tenant     tenant.Tenant
	up, more   bool // more are to follow
	from, to   int64
	had, has   int
}

// program is the direction of the migration that the stage takes.
func (s *stage) program() program {
	if s.up {
		return s.migration.up
	}
	return s.migration.down
}

// most statements are sent together: each may hold locks until the commit.
const most = 200

// stagesOf are the stages that go into the next transaction: all that can be together, one at least.
func stagesOf(t tenant.Tenant, up bool, book map[int64]bool, todo []*migration) []stage {
	if len(todo) == 0 {
		return []stage{{tenant: t, up: up, from: newestOf(book), to: newestOf(book), had: len(book), has: len(book)}}
	}
	book = maps.Clone(book)
	var group []stage
	statements, at := 0, newestOf(book)
	for i, m := range todo {
		s := stage{migration: m, tenant: t, up: up, more: i+1 < len(todo), from: at, had: len(book)}
		statements += len(s.program().statements)
		if i > 0 && (statements > most || !group[i-1].together() || !s.together()) {
			break
		}
		if up {
			book[m.Version] = true
			at = max(at, m.Version)
		} else {
			delete(book, m.Version)
			at = newestOf(book)
		}
		s.to, s.has = at, len(book)
		group = append(group, s)
	}
	return group
}

// together tells whether a stage may share its transaction and its message with others.
func (s *stage) together() bool { return !s.outside && s.program().plain }

// readRun reads what a run needs to know.
func readRun(p *place) []command { return append(readBook(p), began(p)) }

// readBook reads which versions are applied. Of several rows for a version the last one counts, as it does for goose.
func readBook(p *place) []command {
	p.book = map[int64]bool{}
	c := cmd("SELECT version_id, is_applied FROM %s WHERE version_id > 0 ORDER BY id", bookTable)
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
