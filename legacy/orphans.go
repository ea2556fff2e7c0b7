package legacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// orphans finds the rows that break the foreign keys which a load took away, in tables that were loaded together.
type orphans struct {
	*run
	passes []*pass
	owed   []map[uuid.UUID][]tenant.ImportUndo // of each pass

	mu        sync.Mutex
	bad       []int32                // tenants that have some
	originals []map[string]*original // of each pass, by place; nil before the source has given them back
}

// setOrphansAside takes rows away that refer to rows which are not there, before any of the foreign keys comes back: a
// key that is there would have others deleted or changed with them. A first round only finds them, so that the source
// is asked once for all tenants.
func (r *run) setOrphansAside(ctx context.Context, passes []*pass) error {
	o := &orphans{run: r, passes: passes}
	var tenants []int32
	for _, p := range passes {
		if p.table.ToCollection != "" {
			return nil
		}
		owed, err := r.owed(ctx, p)
		if err != nil {
			return err
		}
		o.owed, o.originals = append(o.owed, owed), append(o.originals, map[string]*original{})
		tenants = append(tenants, p.tenants...)
	}
	slices.Sort(tenants)
	errFound := errors.New("found")
	err := r.each(ctx, slices.Compact(tenants), func(ctx context.Context, at int32) error {
		err := o.inTenant(ctx, at, func(ctx context.Context, tx pgx.Tx, n int, found []tenant.ImportReject) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			for _, x := range found {
				o.originals[n][o.place(passes[n], at, x.Key)] = nil
			}
			return nil
		}, errFound)
		if errors.Is(err, errFound) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.bad = append(o.bad, at)
			return nil
		}
		return err
	})
	if err != nil || len(o.bad) == 0 {
		return err
	}
	for n, p := range passes {
		if err := o.askSource(ctx, n, p); err != nil {
			return err
		}
	}
	return r.each(ctx, o.bad, func(ctx context.Context, at int32) error {
		return o.inTenant(ctx, at, func(ctx context.Context, tx pgx.Tx, n int, found []tenant.ImportReject) error {
			return o.record(ctx, tx, n, at, found)
		}, nil)
	})
}

// inTenant deletes one tenant's orphans and hands them to see, again until there are none: those that went may have been
// referred to themselves. The transaction ends with the error end, if there were some.
func (o *orphans) inTenant(ctx context.Context, at int32, see func(ctx context.Context, tx pgx.Tx, n int, found []tenant.ImportReject) error, end error) error {
	some := false
	err := o.inTx(ctx, "look for rows that refer to missing ones", func(tx pgx.Tx) error {
		for more := true; more; {
			more = false
			for n, p := range o.passes {
				for _, u := range o.owed[n][o.tenantAt(at)] {
					if u.Kind != "foreign key" || !slices.Contains(p.tenants, at) {
						continue
					}
					found, err := o.remove(ctx, tx, at, p, u.Name)
					if err != nil {
						return err
					}
					if len(found) > 0 {
						more, some = true, true
						if err := see(ctx, tx, n, found); err != nil {
							return err
						}
					}
				}
			}
		}
		if some && end != nil {
			return end
		}
		return nil
	})
	if end != nil && some && errors.Is(err, end) {
		return end
	}
	return tenant.WithTenant(err, o.list[at].tenant.Name)
}

// place tells rows of a pass apart.
func (o *orphans) place(p *pass, at int32, key string) string {
	if p.copied {
		return key
	}
	return o.list[at].key + nobody + key
}

// askSource has the source give back the rows that were found.
func (o *orphans) askSource(ctx context.Context, n int, p *pass) error {
	wanted := o.originals[n]
	if len(wanted) == 0 {
		return nil
	}
	parts, err := p.src.parts(ctx, p.q, o.PartSize)
	if err != nil {
		return err
	}
	q := *p.q
	q.binary = false // keys are read from lines of text
	l := &load{run: o.run, p: p}
	var refs [][]byte
	var places []string
	for _, one := range parts {
		err := readRows(ctx, p.src, &q, one, "", func(rec *record) error {
			to, skip := l.owner(rec)
			if skip || to < 0 || rec.line == nil {
				return nil
			}
			place := o.place(p, p.tenants[to], l.keyOf(rec.line))
			if _, ours := wanted[place]; ours {
				refs, places = append(refs, bytes.Clone(rec.ref)), append(places, place)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	found, err := p.src.originals(ctx, p.q, refs)
	for i := range found {
		wanted[places[i]] = &found[i]
	}
	return err
}

// record enters rows that were deleted as rejects.
func (o *orphans) record(ctx context.Context, tx pgx.Tx, n int, at int32, found []tenant.ImportReject) error {
	p := o.passes[n]
	for i := range found {
		x := &found[i]
		// A row without a primary key is not found again: it is kept as the tenant had it.
		if original := o.originals[n][o.place(p, at, x.Key)]; original != nil && original.row != nil {
			text := strings.ReplaceAll(string(original.row), nobody, "\uFFFD")
			x.Row = &text
		}
		o.noteReason(p.name, x.Reason)
	}
	p.rejected.Add(int64(len(found)))
	o.rejected.Add(int64(len(found)))
	count := tenant.ImportCount{Tenant: o.tenantAt(at), Loaded: -int64(len(found)), Rejected: int64(len(found))}
	return o.held.Record(ctx, tx, p.name, tenant.ImportPart{}, []tenant.ImportCount{count}, found)
}

// remove deletes the rows of a tenant's table that break a foreign key.
func (o *orphans) remove(ctx context.Context, tx pgx.Tx, at int32, p *pass, constraint string) ([]tenant.ImportReject, error) {
	t := o.target[p.table.To]
	n := slices.IndexFunc(t.foreignKeys, func(f foreignKey) bool { return f.name == constraint })
	if n < 0 {
		return nil, nil
	}
	f := t.foreignKeys[n]
	var given, same []string
	for j := range f.columns {
		given = append(given, "x."+quoteColumn(f.columns[j])+" IS NOT NULL")
		same = append(same, "f."+quoteColumn(f.references[j])+" = x."+quoteColumn(f.columns[j]))
	}
	rows, err := tx.Query(ctx, fmt.Sprintf(`DELETE FROM %s AS x WHERE %s AND NOT EXISTS (SELECT FROM %s.%s AS f WHERE %s) RETURNING %s::text, row_to_json(x.*)::text, %s`,
		o.rows(at, p.table), strings.Join(given, " AND "), quoteColumn(o.list[at].tenant.Schema), quoteColumn(f.table), strings.Join(same, " AND "), o.targetKey(p), o.targetSum(p)))
	if err != nil {
		return nil, err
	}
	listKey := o.list[at].key
	var out []tenant.ImportReject
	var name, row string
	var sum int64
	_, err = pgx.ForEachRow(rows, []any{&name, &row, &sum}, func() error {
		text, u := row, uint64(sum)
		out = append(out, tenant.ImportReject{
			Target: p.name, Tenant: o.tenantAt(at), TenantKey: &listKey, Key: compactKey(name), Code: "23503", Row: &text, Sum: &u,
			Reason: fmt.Sprintf("the row of %s that it refers to by %s is missing", f.table, strings.Join(f.columns, ", ")),
		})
		return nil
	})
	return out, err
}
