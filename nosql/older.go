package nosql

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// modern is a definition with the indexes that MongoDB 2.x took and no newer server does as mongorestore
// --convertLegacyIndexes makes them: a key that is no number and no name of a kind counts as 1, as it did there, and options
// that nobody knows are left out. notes tell each change.
func modern(d definition) (out definition, notes []string) {
	out = d
	out.Indexes = []bson.D{}
	for _, x := range d.Indexes {
		now, changed := modernIndex(x)
		if !changed {
			out.Indexes = append(out.Indexes, x)
			continue
		}
		same := func(o bson.D) bool { return compareIndexes(o, now) == indexesSame }
		others := slices.DeleteFunc(slices.Clone(d.Indexes), func(o bson.D) bool { return equal(o, x) })
		if slices.ContainsFunc(out.Indexes, same) || slices.ContainsFunc(others, same) {
			notes = append(notes, fmt.Sprintf("index %v of %s is left out: another one is the same", lookup(x, "name"), d.Name))
			continue
		}
		notes = append(notes, fmt.Sprintf("index %v of %s is of MongoDB 2 and is made as %s, not %s", lookup(x, "name"), d.Name, canonical(now), canonical(x)))
		out.Indexes = append(out.Indexes, now)
	}
	return out, notes
}

func modernIndex(x bson.D) (now bson.D, changed bool) {
	for _, e := range x {
		if !slices.Contains(indexOptions, e.Key) {
			changed = true
			continue
		}
		if keys, ok := e.Value.(bson.D); ok && e.Key == "key" {
			replaced := make(bson.D, len(keys))
			for i, k := range keys {
				value, old := modernKey(k.Value)
				replaced[i], changed = bson.E{Key: k.Key, Value: value}, changed || old
			}
			e.Value = replaced
		}
		now = append(now, e)
	}
	return now, changed
}

// modernKey is what a key's value stands for.
func modernKey(v any) (now any, changed bool) {
	if s, ok := v.(string); ok && s != "" {
		return v, false
	}
	if d, ok := v.(bson.Decimal128); ok && d.String() != "0" && !d.IsNaN() {
		return v, false
	}
	if n, ok := number(v); !ok || n == 0 || math.IsNaN(n) {
		return int32(1), true
	}
	return v, false
}

// modernize makes the definitions those that a copy can have.
func (v *reading) modernize() (notes []string) {
	for i, d := range v.defs {
		var said []string
		v.defs[i], said = modern(d)
		notes = append(notes, said...)
	}
	return notes
}

// bucketless tells whether the server keeps the rows of a time series in no collection beside it, as MongoDB 8.3 does.
func (r *Resource) bucketless(ctx context.Context, t tenant.Tenant, name string) (bool, error) {
	names, err := r.db(t).ListCollectionNames(ctx, bson.D{{Key: "name", Value: bucketPrefix + name}})
	return len(names) == 0, failure("list collections", err)
}

// shardAgain is in each note of shardKeys alone.
const shardAgain = "sh.shardCollection("

// shardKeys says of each collection of a tenant's that is sharded by which key: copies and dumps hold no trace of that.
func (r *Resource) shardKeys(ctx context.Context, t tenant.Tenant) (notes []string, err error) {
	first, end := t.Database+".", t.Database+"/" // the slash comes right after the dot
	cursor, err := r.client.Database("config").Collection("collections").Find(ctx,
		bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: first}, {Key: "$lt", Value: end}}}})
	if isCode(err, codeUnauthorized) {
		return []string{"the shard keys are not known: the user of nosql.url may not read config.collections"}, nil
	}
	var all []struct {
		ID      string `bson:"_id"`
		Key     bson.D `bson:"key"`
		Unique  bool   `bson:"unique"`
		Dropped bool   `bson:"dropped"`
	}
	if err == nil {
		err = cursor.All(ctx, &all)
	}
	if err != nil {
		return nil, failure("read the shard keys", err)
	}
	for _, c := range all {
		if name := strings.TrimPrefix(c.ID, first); !c.Dropped && len(c.Key) > 0 {
			options := ""
			if c.Unique {
				options = ", true"
			}
			notes = append(notes, fmt.Sprintf("collection %s is sharded, and its copy is not: %s\"DATABASE.%s\", %s%s) shards it again", name, shardAgain, name, canonical(c.Key), options))
		}
	}
	return notes, nil
}
