package legacy

import (
	"bytes"
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// digestDocuments computes the source's side of a collection. Documents have no checksum in MongoDB: they are read.
func (v *run) digestDocuments(ctx context.Context, p *pass) (map[string]digest, error) {
	out := map[string]digest{}
	err := v.eachDocument(ctx, p, func(key string, doc bson.Raw) error {
		d := out[key]
		d.add(digest{1, documentSum(doc)})
		out[key] = d
		return nil
	})
	if p.unread > 0 {
		d := out[nobody]
		d.rows += p.unread
		out[nobody] = d
	}
	return out, err
}

// eachDocument gives the documents that a source makes, with the keys of their tenants. Those that cannot be read were
// rejected and are left out.
func (v *run) eachDocument(ctx context.Context, p *pass, yield func(key string, doc bson.Raw) error) error {
	parts, err := p.src.parts(ctx, p.q, v.PartSize)
	if err != nil {
		return err
	}
	var buf []byte
	for _, one := range parts {
		err := readRows(ctx, p.src, p.q, one, "", func(rec *record) error {
			key, to := nobody, int32(-1)
			if n, ours := p.byKey[string(rec.key)]; ours && rec.key != nil {
				key, to = string(rec.key), n
			}
			if rec.line == nil {
				p.leaveOut(to)
				return nil
			}
			var doc bson.Raw
			var err error
			if doc, buf, err = parseDocument(buf, rec.line, p.q); err != nil {
				p.leaveOut(to)
				return nil
			}
			return yield(key, doc)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *run) digestCollections(ctx context.Context, p *pass) ([]tableDigest, error) {
	out := make([]tableDigest, len(p.tenants))
	g, ctx := tenant.NewGroup(ctx)
	g.SetLimit(v.Parallel)
	for n, at := range p.tenants {
		g.Go(func() error {
			cur, err := v.collection(at, p.table).Find(ctx, bson.D{})
			if err == nil {
				for cur.Next(ctx) {
					out[n].add(digest{1, documentSum(cur.Current)})
					out[n].all++
				}
				err = errors.Join(cur.Err(), cur.Close(ctx))
			}
			return documentError("read collection "+p.table.ToCollection, v.list[at].tenant.Name, err)
		})
	}
	return out, g.Wait()
}

func (v *run) differentDocuments(ctx context.Context, p *pass, n int32) ([]Difference, error) {
	at := p.tenants[n]
	one, name := v.alone(p, at), v.list[at].tenant.Name
	c := v.collection(at, p.table)
	var out []Difference
	ids, sums := bson.A{}, map[string]uint64{}
	compare := func() error {
		cur, err := c.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
		if err != nil {
			return documentError("read collection "+p.table.ToCollection, name, err)
		}
		for cur.Next(ctx) {
			id := cur.Current.Lookup("_id").String()
			if want, asked := sums[id]; asked && want != documentSum(cur.Current) {
				out = append(out, Difference{name, id, "differs"})
			}
			delete(sums, id)
		}
		for id := range sums {
			out = append(out, Difference{name, id, "missing"})
		}
		ids = ids[:0]
		clear(sums)
		return documentError("read collection "+p.table.ToCollection, name, errors.Join(cur.Err(), cur.Close(ctx)))
	}
	err := v.eachDocument(ctx, one, func(key string, doc bson.Raw) error {
		if key != v.list[at].key && !p.copied || len(out) >= differencesShown {
			return nil
		}
		id := doc.Lookup("_id")
		ids = append(ids, bson.RawValue{Type: id.Type, Value: bytes.Clone(id.Value)})
		sums[id.String()] = documentSum(doc)
		if len(ids) < documentsAtOnce {
			return nil
		}
		return compare()
	})
	if err == nil && len(ids) > 0 {
		err = compare()
	}
	return out, err
}
