package legacy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"maps"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

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

// documentKey names a document as the rejects do: its _id's text in a JSON array.
func (v *run) documentKey(t *Table, id bson.RawValue) string {
	text, err := bsonText(nil, id, cmp.Or(v.m.Sources[t.Source].UUID, uuidStandard))
	if err != nil {
		return ""
	}
	return "[" + string(appendJSONText(nil, text)) + "]"
}

// resolvedDocuments are the keys of a tenant's documents that were mended: the source's are others.
func (a *setAside) resolvedDocuments(id uuid.UUID) map[string]bool {
	keys := map[string]bool{}
	for _, key := range a.resolvedOf(id) {
		keys[compactKey(key)] = true
	}
	return keys
}

func (v *run) digestCollections(ctx context.Context, p *pass, aside *setAside) ([]tableDigest, error) {
	out := make([]tableDigest, len(p.tenants))
	g, ctx := tenant.NewGroup(ctx)
	g.SetLimit(v.Parallel)
	for n, at := range p.tenants {
		mended := aside.resolvedDocuments(v.tenantAt(at))
		g.Go(func() error {
			return v.eachOf(ctx, p, at, bson.D{}, func(doc bson.Raw) bool {
				out[n].all++
				if len(mended) == 0 || !mended[v.documentKey(p.table, doc.Lookup("_id"))] {
					out[n].add(digest{1, documentSum(doc)})
				}
				return true
			})
		})
	}
	return out, g.Wait()
}

// eachOf gives documents of a tenant's collection, until yield has seen enough.
func (v *run) eachOf(ctx context.Context, p *pass, at int32, filter bson.D, yield func(doc bson.Raw) bool, opts ...options.Lister[options.FindOptions]) error {
	cur, err := v.collection(at, p.table).Find(ctx, filter, opts...)
	if err == nil {
		for more := true; more && cur.Next(ctx); {
			more = yield(cur.Current)
		}
		err = errors.Join(cur.Err(), cur.Close(ctx))
	}
	return documentError("read collection "+p.table.ToCollection, v.list[at].tenant.Name, err)
}

// seenIDs is a set of _ids in a bounded space: one that is not in it is certainly not among those that were added.
type seenIDs []uint64

const seenBits = 1 << 24

func (s seenIDs) place(id bson.RawValue) (word int, bit uint64) {
	h := fnv.New64a()
	_, _ = h.Write(append([]byte{byte(id.Type)}, id.Value...)) // it never fails
	n := h.Sum64() % seenBits
	return int(n / 64), 1 << (n % 64)
}

// documentComparison finds documents of one tenant that are not the same on both sides.
type documentComparison struct {
	*run
	p       *pass
	at      int32
	known   map[string]bool // keys of rejects, also of mended ones
	seen    seenIDs
	ids     bson.A
	sums    map[string]uint64
	differs []Difference
}

func (c *documentComparison) found(id bson.RawValue, what string) {
	if len(c.differs) < differencesShown && !c.known[c.documentKey(c.p.table, id)] {
		c.differs = append(c.differs, Difference{c.list[c.at].tenant.Name, id.String(), what})
	}
}

// compare looks for the documents that were gathered.
func (c *documentComparison) compare(ctx context.Context) error {
	err := c.eachOf(ctx, c.p, c.at, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: c.ids}}}}, func(doc bson.Raw) bool {
		id := doc.Lookup("_id")
		if want, asked := c.sums[id.String()]; asked && want != documentSum(doc) {
			c.found(id, "differs")
		}
		delete(c.sums, id.String())
		return true
	})
	for _, id := range c.ids {
		if raw := id.(bson.RawValue); err == nil {
			if _, left := c.sums[raw.String()]; left {
				c.found(raw, "missing")
			}
		}
	}
	c.ids = c.ids[:0]
	clear(c.sums)
	return err
}

func (v *run) differentDocuments(ctx context.Context, p *pass, n int32, aside *setAside) ([]Difference, error) {
	at := p.tenants[n]
	c := &documentComparison{run: v, p: p, at: at, known: aside.resolvedDocuments(v.tenantAt(at)), seen: make(seenIDs, seenBits/64), sums: map[string]uint64{}}
	maps.Copy(c.known, aside.keys())
	err := v.eachDocument(ctx, v.alone(p, at), func(key string, doc bson.Raw) error {
		if key != v.list[at].key && !p.copied {
			return nil
		}
		id := doc.Lookup("_id")
		id.Value = bytes.Clone(id.Value)
		word, bit := c.seen.place(id)
		c.seen[word] |= bit
		if len(c.differs) >= differencesShown {
			return nil
		}
		c.ids = append(c.ids, bson.RawValue{Type: id.Type, Value: id.Value})
		c.sums[id.String()] = documentSum(doc)
		if len(c.ids) < documentsAtOnce {
			return nil
		}
		return c.compare(ctx)
	})
	if err == nil && len(c.ids) > 0 {
		err = c.compare(ctx)
	}
	if err == nil && len(c.differs) < differencesShown {
		err = v.eachOf(ctx, p, at, bson.D{}, func(doc bson.Raw) bool {
			id := doc.Lookup("_id")
			if word, bit := c.seen.place(id); c.seen[word]&bit == 0 {
				c.found(id, "not in the source")
			}
			return len(c.differs) < differencesShown
		}, options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}))
	}
	return c.differs, err
}
