package nosql

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

var _ tenant.Archiver = (*Resource)(nil)

// Dump writes a folder as mongodump does: all definitions first, by name, then the rows, as the server sent them. Of our
// own collection it holds how far the migrations got, and not whose the database was. A time series is dumped by its
// buckets, a view by its definition alone.
func (r *Resource) Dump(ctx context.Context, t tenant.Tenant, w tenant.PartWriter, o tenant.DumpOptions) (tenant.Dumped, error) {
	d := tenant.Dumped{}
	s, err := r.look(ctx, t)
	if err != nil {
		return d, err
	}
	if err := r.usable(ctx, t, &s); err != nil {
		return d, err
	}
	if d.Server, err = r.serverName(ctx); err != nil {
		return d, err
	}
	v, err := r.read(ctx, t)
	if err != nil {
		return d, err
	}
	d.From, d.Snapshot, d.Notes, d.Fingerprint = v.since, v.whole(), v.notes, structure(v.defs)
	applied, err := s.book.applied(nil)
	if err != nil {
		d.Notes = append(d.Notes, err.Error())
	}
	d.Version, d.Applied = newest(applied), len(applied)
	if run := s.book.progress.Running; run != nil {
		d.Notes = append(d.Notes, fmt.Sprintf("migration %d was begun (%s) and not finished", run.Version, run.Direction))
	}

	for _, def := range v.defs {
		if err := writeDefinition(w, def); err != nil {
			return d, err
		}
	}
	workers, wctx := tenant.NewGroup(ctx)
	workers.SetLimit(max(o.Parallel, 1))
	for _, def := range v.defs {
		if def.rows() != "" {
			workers.Go(func() error { return v.writeRows(wctx, w, def) })
		}
	}
	if err := workers.Wait(); err != nil {
		return d, err
	}

	d.Until = d.From
	if !d.Snapshot {
		d.Until = time.Now()
		after, _, err := r.listDefinitions(ctx, t, func(string) bool { return false }) // their names and identities are enough
		if err != nil {
			return d, err
		}
		d.Notes = append(d.Notes, changes(v.defs, after)...)
	}
	return d, nil
}

// changes says what was made or dropped while a database was read that stood still at no moment.
func changes(before, after []definition) (notes []string) {
	has := func(all []definition, d definition) bool {
		return slices.ContainsFunc(all, func(o definition) bool { return o.Name == d.Name && o.UUID == d.UUID })
	}
	for _, d := range after {
		if !has(before, d) {
			notes = append(notes, fmt.Sprintf("%s %s was made meanwhile and is not in it", d.Type, d.Name))
		}
	}
	for _, d := range before {
		if !has(after, d) {
			notes = append(notes, fmt.Sprintf("%s %s was dropped meanwhile: its rows may be in it in part", d.Type, d.Name))
		}
	}
	return notes
}

func writeDefinition(w tenant.PartWriter, d definition) error {
	text, err := d.encode()
	if err != nil {
		return failure("write the definition of "+d.Name, err)
	}
	f, err := w.Create(partFolder+fileStem(d.Name)+definitionSuffix, "")
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.End(0, 0)
}

func (v *reading) writeRows(ctx context.Context, w tenant.PartWriter, d definition) error {
	const buffer = 256 << 10
	f, err := w.Create(partFolder+fileStem(d.rows())+rowsSuffix, d.Name)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, buffer)
	var n tally
	err = v.each(ctx, d, func(doc bson.Raw) error {
		n.add(doc)
		_, err := out.Write(doc)
		return err
	})
	if err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if d.Type == typeTimeseries && n.rows == 0 {
		// A server that keeps its time series in another way must not be taken for an empty one.
		if empty, err := v.isEmpty(ctx, d); err != nil || !empty {
			if err == nil {
				err = refused(tenant.ErrUnsupported, "move its rows to an ordinary collection", "the server does not show the buckets of time series %s", d.Name)
			}
			return err
		}
	}
	return f.End(n.rows, n.sum)
}

// tally counts rows and sums them up in any order.
type tally struct {
	rows int64
	sum  uint64
}

func (n *tally) add(doc []byte) {
	n.rows++
	n.sum += xxhash.Sum64(doc)
}
