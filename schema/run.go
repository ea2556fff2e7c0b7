package schema

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// run brings one tenant up or down, one transaction after another. As with goose in a process of its own, what a file
// leaves in the session is there for the next ones, and for no other tenant.
type run struct {
	t     tenant.Tenant
	set   *migrationfile.Set
	up    bool
	plan  func(book map[int64]bool) ([]*migrationfile.File, error)
	watch *watch // looks on, where it is not nil

	conn     *pgxpool.Conn
	sessions sessions
	past     bool           // conn leads past the pooler
	alone    bool           // a transaction for each file
	done     map[int64]bool // what this run has brought forward or back
	moved    tenant.Moved
	noted    bool // moved has where the tenant was
}

// errNeedsSession tells that what comes next needs a session of the server's own, and nothing was done of it.
var errNeedsSession = errors.New("needs a session")

// move does a run. What is to do is decided anew in each transaction, under the tenant's lock, so that two processes
// never apply the same file.
func (r *Resource) move(ctx context.Context, x *run) (tenant.Moved, error) {
	conn, err := r.filesConn(ctx)
	if err != nil {
		return tenant.Moved{}, err
	}
	x.conn, x.done = conn, map[int64]bool{}
	defer func() { giveBack(ctx, x.conn) }()
	if x.sessions, err = r.sessionsFor(ctx, conn, x.set); err != nil {
		return tenant.Moved{}, err
	}
	useOf(conn.Conn().PgConn()).inBand = x.sessions.shared
	x.alone = x.watch != nil || !x.up || !x.sessions.joins
	if !x.alone {
		moved, done, err := r.atOnce(ctx, conn, x.t, x.set, x.plan)
		if done {
			err = tenant.Checkpoint(ctx, "postgres/migration-applied")
		}
		if done || err != nil {
			return moved, err
		}
	}
	for {
		group, err := r.step(ctx, x)
		switch {
		case errors.Is(err, errNeedsSession):
			if err := r.goPast(ctx, x); err != nil {
				return x.moved, err
			}
			continue
		case err != nil && len(group) > 1: // it counts where the file fails alone too
			x.alone = true
			continue
		}
		more, err := x.note(group, err)
		if err != nil {
			return x.moved, err
		}
		if err := tenant.Checkpoint(ctx, "postgres/migration-applied"); err != nil || !more {
			return x.moved, err
		}
	}
}

// filesConn takes the connection that a tenant's files are run on.
func (r *Resource) filesConn(ctx context.Context) (*pgxpool.Conn, error) {
	return r.acquireOwn(ctx) // step says when a file is run that may leave something
}

// goPast goes on with a run past the pooler.
func (r *Resource) goPast(ctx context.Context, x *run) error {
	conn, err := r.session(ctx)
	if err != nil {
		return err
	}
	giveBack(ctx, x.conn)
	x.conn, x.past = conn, true
	return nil
}

// step does the next stages of a run, which are given back with the error of the one that failed.
func (r *Resource) step(ctx context.Context, x *run) (group []stage, err error) {
	apart := false // the next file needs the session, not a transaction of ours
	err = r.transactAt(ctx, x.conn, x.t, lookAtSchema, readRun, func(p *place) ([]command, error) {
		if err := p.ours(x.t); err != nil {
			return nil, err
		}
		todo, err := x.next(p.book)
		if err != nil {
			return nil, err
		}
		if group = stagesOf(x.t, x.up, p.book, todo); x.alone {
			group = group[:1]
		}
		s := &group[0]
		p.noted = []command{group[len(group)-1].record(ctx)} // by the guard, where there is one
		if s.File == nil || !s.together() || !x.sessions.joins {
			p.noted = append([]command{r.keepTag(ctx, x.t)}, p.noted...)
		}
		if s.File == nil {
			return nil, nil
		}
		if !s.together() {
			if r.cfg.DirectURL != "" && !x.past {
				return nil, errNeedsSession
			}
			leave(x.conn, x.set.Leaves())
		}
		if apart = s.apart(); apart {
			p.noted = nil
			return nil, nil
		}
		return x.watch.around(r.apply(group, p)), nil
	})
	if err == nil && apart {
		s := group[0]
		var ran bool
		ran, err = x.watch.outside(ctx, x.conn, func() (bool, error) { return r.applyApart(ctx, x, s) })
		if err == nil && !ran { // another process was faster
			group[0].File = nil
		}
	}
	return group, err
}

// next is what is to do. A file that this run has done already would be done for ever.
func (x *run) next(book map[int64]bool) ([]*migrationfile.File, error) {
	todo, err := x.plan(book)
	if err != nil {
		return nil, err
	}
	for _, m := range todo {
		if !x.done[m.Version] {
			continue
		}
		e := &tenant.Error{
			Kind: tenant.ErrMigration, Code: "pending_again", Store: tenant.KindPostgres,
			Msg:  fmt.Sprintf("%s was run just now, and %s of schema %s does not say so", m.Base(), migrationfile.VersionTable, x.t.Schema),
			Hint: "look for a trigger, a rule or another process that changes " + migrationfile.VersionTable,
		}
		return nil, e
	}
	return todo, x.sessions.allow(todo, x.up)
}

// note keeps what came of some stages, and tells whether more are to follow.
func (x *run) note(group []stage, err error) (more bool, failed error) {
	var s, last stage
	if len(group) > 0 {
		s, last = group[0], group[len(group)-1]
	}
	if !x.noted {
		x.noted = true
		x.moved = tenant.Moved{From: s.from, To: s.from, Applied: s.had}
	}
	x.watch.tell(s, err)
	if err != nil {
		return false, migrationFailure(group, err)
	}
	x.moved.To, x.moved.Applied = last.to, last.has
	for _, s := range group {
		if s.File != nil {
			x.moved.Ran = append(x.moved.Ran, s.Version)
			x.done[s.Version] = true
		}
	}
	return last.more, nil
}
