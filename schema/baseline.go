package schema

import (
	"context"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// Baseline marks the migrations up to and including version to as applied, without running them, exactly as goose
// would have: with its version table, where there is none, and a row for each. In one transaction; dry takes it back.
func (r *Resource) Baseline(ctx context.Context, t tenant.Tenant, to int64, dry bool) (tenant.Moved, error) {
	var moved tenant.Moved
	set, err := r.files()
	if err != nil {
		return moved, err
	}
	if err := set.Knows(to); err != nil {
		return moved, err
	}
	err = r.asOwner(ctx, t, func(r *Resource) (err error) {
		moved, err = r.baseline(ctx, t, set, to, dry)
		return err
	})
	return moved, err
}

func (r *Resource) baseline(ctx context.Context, t tenant.Tenant, set *migrationfile.Set, to int64, dry bool) (moved tenant.Moved, err error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return moved, err
	}
	defer conn.Release()
	booked := false
	find := cmd("SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = '%s')", text(t.Schema), migrationfile.VersionTable)
	find.row = func(row [][]byte) { booked = is(row[0]) }
	err = r.transact(ctx, conn, t, func(*place) []command { return []command{find} }, func(p *place) ([]command, error) {
		if err := p.ours(t); err != nil {
			return nil, err
		}
		var commands []command
		if booked {
			if err := send(ctx, conn.Conn().PgConn(), readBook(p)); err != nil {
				return nil, err
			}
		} else if commands, err = r.missingBook(t, p); err != nil {
			return nil, err
		}
		marks, done, err := marking(set, p.book, to)
		if err != nil {
			return nil, err
		}
		moved = done
		if dry {
			return nil, nil
		}
		p.noted = []command{cmd("%s", tenant.LeaseFrom(ctx).RecordSQL(t.ID, tenant.KindPostgres, moved.To, moved.Applied))}
		return append(commands, marks...), nil
	})
	if err != nil {
		return tenant.Moved{}, refusal("mark the migrations of schema "+t.Schema+" as applied", conn, t, err)
	}
	if dry {
		return moved, nil
	}
	return moved, tenant.Checkpoint(ctx, "postgres/baseline-written")
}

// missingBook makes goose's version table in a schema that another tool has made.
func (r *Resource) missingBook(t tenant.Tenant, p *place) ([]command, error) {
	book, err := migrationfile.NewVersionTable()
	if err != nil {
		return nil, err
	}
	var commands []command
	for _, s := range book {
		commands = append(commands, cmd("%s", s))
	}
	if r.cfg.Roles && p.role == tenant.Ours {
		// The schema's default privileges have given more than the tenant has on a book.
		commands = append(commands, cmd("REVOKE ALL ON %s, %s_id_seq FROM %s", migrationfile.VersionTable, migrationfile.VersionTable, quote(t.Role)), cmd("GRANT SELECT ON %s TO %s", migrationfile.VersionTable, quote(t.Role)))
	}
	return commands, nil
}

// marking gives goose's own entries for the versions up to to that are not in the book. A book that is further is
// refused: what it says is not taken away.
func marking(f *migrationfile.Set, book map[int64]bool, to int64) ([]command, tenant.Moved, error) {
	if err := f.Covers(book); err != nil {
		return nil, tenant.Moved{}, err
	}
	moved := tenant.Moved{From: migrationfile.Newest(book), To: to, Applied: len(book)}
	if moved.From > to {
		e := invalid("give that version or a newer one; to take migrations back, use tenantctl migrate down", "version %d is applied already, which is above %d", moved.From, to)
		e.Code = "beyond_baseline"
		return nil, tenant.Moved{}, e
	}
	var commands []command
	for _, m := range f.List {
		if m.Version > to || book[m.Version] {
			continue
		}
		commands = append(commands, cmd("%s", m.Up.VersionSQL))
		moved.Ran = append(moved.Ran, m.Version)
		moved.Applied++
	}
	return commands, moved, nil
}
