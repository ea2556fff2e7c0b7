package tenant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
)

// loadStep fills a place from a backup. What an earlier attempt left there is taken away first.
func (s *Service) loadStep(t Tenant, p restoreParams, role string, makeRole bool, n *notes) step {
	drop := func(ctx context.Context) error {
		for _, r := range s.reverse() {
			if err := r.Drop(ctx, t); err != nil {
				return err
			}
		}
		return nil
	}
	return step{
		name: "load",
		do: func(ctx context.Context) error {
			if err := drop(ctx); err != nil {
				return err
			}
			if err := s.point(ctx, OpRestore, "load", "cleared"); err != nil {
				return err
			}
			return s.load(ctx, t, p, role, makeRole, n)
		},
		undo: drop,
	}
}

// load reads an archive once and gives each store its parts.
func (s *Service) load(ctx context.Context, t Tenant, p restoreParams, role string, makeRole bool, n *notes) (err error) {
	defer func() { err = ofBackup(p.Backup, err) }()
	if err := s.sweepWorkers(ctx); err != nil {
		return err
	}
	v, err := s.vault(ctx)
	if err != nil {
		return err
	}
	b, err := s.openKnown(ctx, v, p.Of, p.Backup)
	if err != nil {
		return err
	}
	loaders := map[string]PartLoader{}
	defer func() {
		for _, l := range loaders {
			l.Stop()
		}
	}()
	for kind, d := range b.Stores {
		names, asked := p.Names[kind]
		if p.Names != nil && !asked {
			continue
		}
		a := s.archiver(kind)
		if a == nil {
			return Invalid("switch the store on in the configuration", "the backup holds %s, which is not used here", kind)
		}
		if len(names) == 0 {
			names = nil
		}
		l, err := a.Load(ctx, t, LoadOptions{
			Dumped: d, Role: role, Owner: p.Owner, MakeRole: makeRole, Names: names, Parallel: dumpParallel,
			Log: func(text string) { n.add(kind + ": " + text) },
		})
		if err != nil {
			return err
		}
		loaders[kind] = l
	}
	err = v.Read(ctx, b, func(part Part) (io.WriteCloser, error) {
		kind, _, _ := strings.Cut(part.Path, "/")
		if l := loaders[kind]; l != nil {
			return l.Part(ctx, part)
		}
		return nil, nil
	})
	if err != nil {
		return err
	}
	for _, r := range s.resources { // in order, not the map's
		if l := loaders[r.Kind()]; l != nil {
			if err := l.Finish(ctx); err != nil {
				return err
			}
			d := b.Stores[r.Kind()]
			if err := LeaseFrom(ctx).Record(ctx, t.ID, r.Kind(), d.Version, d.Applied); err != nil {
				return catalogError("record the version", err)
			}
		} else if p.Names == nil { // a store that came into use after the backup
			if err := r.Create(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// ofBackup names the backup in the refusal of what it holds.
func ofBackup(id uuid.UUID, err error) error {
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, ErrDiffers) && !errors.Is(err, ErrInvalid) || strings.Contains(e.Msg, id.String()) {
		return err
	}
	of := *e
	of.Msg = fmt.Sprintf("backup %s: %s", id, e.Msg)
	return &of
}

// ownerFor is who is to own what is made of a backup: who owns the tenant's place now. The backup's own word is not taken
// for it, since code in it would run with the rights of whomever it names: where nobody else knows, wanted has to say it.
func (s *Service) ownerFor(ctx context.Context, b *Backup, wanted string, needed bool) (string, error) {
	if wanted != "" {
		return wanted, nil
	}
	for _, r := range each[CodeRunner](s) {
		owner := ""
		of, err := s.catalog.byID(ctx, b.TenantID, b.Tenant)
		if err == nil {
			owner, err = r.OwnerOf(ctx, of)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return "", err
		}
		if was := b.Stores[r.Kind()].Owner; owner == "" && was != "" && needed {
			return "", &Error{
				Kind: ErrInvalid, Tenant: b.Tenant, Store: r.Kind(), Msg: fmt.Sprintf("the backup is of a schema that belonged to %s, and the tenant's schema is not there any more or belongs to another", was),
				Hint: fmt.Sprintf("say who is to own what is made: --owner %s, or the provisioning role", was),
			}
		}
		if owner != "" {
			return owner, nil
		}
	}
	return "", nil
}

// migrateLoaded brings what was loaded to the newest versions.
func (s *Service) migrateLoaded(ctx context.Context, t Tenant) error {
	for _, m := range each[Migrator](s) {
		moved, err := m.Up(ctx, t, Newest, true) // nobody uses it yet, so their order is no danger
		if err != nil {
			return err
		}
		if err := LeaseFrom(ctx).Record(ctx, t.ID, m.Kind(), moved.To, moved.Applied); err != nil {
			return catalogError("record the version", err)
		}
	}
	return nil
}
