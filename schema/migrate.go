package schema

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

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

// Up applies what is not applied up to and including version to. Files are applied together in one transaction and one
// round trip where they can be, so that a failure leaves the tenant as it was; see together.
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
	return r.move(ctx, t, set, true, func(book map[int64]bool) ([]*migration, error) { return set.above(book, to, outOfOrder) }, w)
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
	return r.move(ctx, t, set, false, func(book map[int64]bool) ([]*migration, error) { return set.below(book, to) }, nil)
}

// knows refuses a version that no file has. 0 is before the first.
func (f *files) knows(version int64) error {
	if version == 0 || f.byVersion[version] != nil {
		return nil
	}
	return invalid(fmt.Sprintf("the newest is %d; tenantctl migrate status lists them", f.newest()), "there is no migration with version %d", version)
}

// above lists what is to be applied, oldest first.
func (f *files) above(book map[int64]bool, to int64, outOfOrder bool) ([]*migration, error) {
	if err := f.covers(book); err != nil {
		return nil, err
	}
	var todo []*migration
	var late []string
	newest := newestOf(book)
	for _, m := range f.list {
		if m.Version > to || book[m.Version] {
			continue
		}
		if m.Version < newest {
			late = append(late, m.base())
		}
		todo = append(todo, m)
	}
	if len(late) > 0 && !outOfOrder {
		e := invalid("give it a newer number, or apply it with --out-of-order", "%s would run after version %d, which is applied already", strings.Join(late, ", "), newest)
		e.Code = "out_of_order"
		return nil, e
	}
	return todo, nil
}

// below lists what is to be undone, newest first.
func (f *files) below(book map[int64]bool, to int64) ([]*migration, error) {
	if err := f.covers(book); err != nil {
		return nil, err
	}
	var todo []*migration
	for _, m := range slices.Backward(f.list) {
		if m.Version <= to || !book[m.Version] {
			continue
		}
		if len(m.down.statements) == 0 {
			e := invalid("write the statements that undo it below '-- +goose Down'", "%s has no Down", m.base())
			e.Code = "no_down"
			return nil, e
		}
		todo = append(todo, m)
	}
	return todo, nil
}

// covers refuses a book with versions that have no file: those of a newer checkout.
func (f *files) covers(book map[int64]bool) error {
	var unknown []string
	for _, v := range slices.Sorted(maps.Keys(book)) {
		if f.byVersion[v] == nil {
			unknown = append(unknown, fmt.Sprint(v))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	e := invalid("the files here are older than the tenant: use the newest checkout", "applied without a file here: version %s", strings.Join(unknown, ", "))
	e.Code = "unknown_version"
	return e
}

// newestOf is the highest version in a book, 0 where there is none.
func newestOf(book map[int64]bool) int64 {
	newest := int64(0)
	for v := range book {
		newest = max(newest, v)
	}
	return newest
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

// together tells whether a stage may share its transaction: it is in one, and changes no setting for what follows.
func (s *stage) together() bool { return !s.outside && !s.program().sets }

// apart are the SQLSTATEs of what works only once the files before it are committed: a new value of an enum, and ALTER
// TABLE after rows whose deferred checks are pending.
var apart = map[string]bool{"55P04": true, "55006": true}

// move brings a tenant up or down, one migration after another. What is to do is decided anew in each transaction,
// under the tenant's lock, so that two processes never apply the same file. w looks on, where it is not nil.
func (r *Resource) move(ctx context.Context, t tenant.Tenant, set *files, up bool, plan func(book map[int64]bool) ([]*migration, error), w *watch) (tenant.Moved, error) {
	var moved tenant.Moved
	conn, err := r.acquire(ctx)
	if err != nil {
		return moved, err
	}
	defer conn.Release()
	sessions, err := r.sessionsFor(ctx, conn, set)
	if err != nil {
		return moved, err
	}
	alone := w != nil || !up
	if !alone {
		moved, done, err := r.atOnce(ctx, conn, t, set, plan)
		if done {
			err = tenant.Checkpoint(ctx, "postgres/migration-applied")
		}
		if done || err != nil {
			return moved, err
		}
	}
	for first := true; ; first = false {
		var group []stage
		err := r.transactAt(ctx, conn, t, lookAtSchema, readBook, func(p *place) ([]command, error) {
			if err := p.ours(t); err != nil {
				return nil, err
			}
			todo, err := plan(p.book)
			if err != nil {
				return nil, err
			}
			if err := sessions.allow(todo); err != nil {
				return nil, err
			}
			if group = stagesOf(t, up, p.book, todo); alone {
				group = group[:1]
			}
			if group[0].migration != nil && group[0].outside {
				return nil, nil
			}
			p.noted = []command{r.keepTag(ctx, t), group[len(group)-1].record(ctx)}
			return w.around(r.apply(group)), nil
		})
		if err != nil && len(group) > 1 && apart[code(err)] {
			alone = true
			continue
		}
		var s, last stage
		if len(group) > 0 {
			s, last = group[0], group[len(group)-1]
		}
		if first {
			moved = tenant.Moved{From: s.from, To: s.from, Applied: s.had}
		}
		applied := s.migration != nil
		if err == nil && applied && s.outside {
			applied, err = w.outside(ctx, conn, func() (bool, error) { return r.applyOutside(ctx, conn, s) })
		}
		w.tell(s, err)
		if err != nil {
			return moved, migrationFailure(group, err)
		}
		moved.To, moved.Applied = last.to, last.has
		for _, s := range group {
			if applied {
				moved.Ran = append(moved.Ran, s.Version)
			}
		}
		if err := tenant.Checkpoint(ctx, "postgres/migration-applied"); err != nil {
			return moved, err
		}
		if !last.more {
			return moved, nil
		}
	}
}

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
