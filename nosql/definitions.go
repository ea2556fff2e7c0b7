package nosql

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/tenantctl/tenantctl/tenant"
)

// definitions is wholeDefinitions without the indexes of our books, each of which would be another round trip.
func (r *Resource) definitions(ctx context.Context, t tenant.Tenant) (all []definition, left []string, err error) {
	return r.listDefinitions(ctx, t, func(name string) bool { return !isBook(name) })
}

// wholeDefinitions lists what a tenant's database holds, by name. The server's own collections are left out, and so is the
// lock of golang-migrate, which would stay locked; left names those that held something of the tenant's.
func (r *Resource) wholeDefinitions(ctx context.Context, t tenant.Tenant) (all []definition, left []string, err error) {
	return r.listDefinitions(ctx, t, func(string) bool { return true })
}

func (r *Resource) listDefinitions(ctx context.Context, t tenant.Tenant, indexed func(name string) bool) (all []definition, left []string, err error) {
	specs, err := r.db(t).ListCollectionSpecifications(ctx, bson.D{})
	if err != nil {
		return nil, nil, failure("list collections", err)
	}
	buckets := map[string]bool{}
	for _, s := range specs {
		buckets[s.Name] = strings.HasPrefix(s.Name, bucketPrefix)
	}
	for _, s := range specs {
		if s.Name == "system.js" {
			left = append(left, s.Name)
		}
		if strings.HasPrefix(s.Name, "system.") || s.Name == lockCollection {
			continue
		}
		d := definition{Name: s.Name, Type: s.Type, Indexes: []bson.D{}}
		d.bucketless = d.Type == typeTimeseries && !buckets[d.rows()]
		if s.UUID != nil {
			d.UUID = hex.EncodeToString(s.UUID.Data)
		}
		if len(s.Options) > 0 {
			if err := bson.Unmarshal(s.Options, &d.Options); err != nil {
				return nil, nil, failure("read the options of collection "+s.Name, err)
			}
		}
		if d.Type != typeView && indexed(s.Name) {
			if d.Indexes, err = r.listIndexes(ctx, t, s.Name); err != nil {
				return nil, nil, failure("list the indexes of collection "+s.Name, err)
			}
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b definition) int { return cmp.Compare(a.Name, b.Name) })
	return all, left, nil
}

// listIndexes gives them as the server does; a collection that is gone has none.
func (r *Resource) listIndexes(ctx context.Context, t tenant.Tenant, collection string) ([]bson.D, error) {
	indexes := []bson.D{}
	cursor, err := r.db(t).Collection(collection).Indexes().List(ctx)
	if isCode(err, codeNamespaceNotFound) {
		return indexes, nil
	}
	if err != nil {
		return nil, err
	}
	return indexes, cursor.All(ctx, &indexes)
}

// sameDefinitions tells whether nothing was made, dropped or changed between two listings.
func sameDefinitions(a, b []definition) bool {
	return slices.EqualFunc(a, b, func(x, y definition) bool {
		return x.Name == y.Name && x.UUID == y.UUID && x.Type == y.Type && equal(x.Options, y.Options) && slices.EqualFunc(x.Indexes, y.Indexes, func(p, q bson.D) bool { return equal(p, q) })
	})
}

// structure is a fingerprint of collections with options and indexes, in any order, without what a server chooses by
// itself and without our books.
func structure(all []definition) string {
	var lines []string
	for _, d := range all {
		if isBook(d.Name) {
			continue
		}
		var indexes []string
		for _, x := range d.Indexes {
			if !madeByCreate(x) {
				indexes = append(indexes, canonical(plainFields(x, "v", "ns", "background", "textIndexVersion", "2dsphereIndexVersion")))
			}
		}
		slices.Sort(indexes)
		lines = append(lines, fmt.Sprintf("%q %s %s %q", d.Name, d.Type, canonical(plainFields(d.Options, "autoIndexId")), indexes))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])
}

// madeByCreate tells an index that comes with its collection.
func madeByCreate(index bson.D) bool {
	return lookup(index, "name") == "_id_" || isTrue(index, "clustered")
}

// plainFields is d without these fields and without what is false, in order of name.
func plainFields(d bson.D, without ...string) bson.D {
	d = slices.DeleteFunc(slices.Clone(d), func(e bson.E) bool { return e.Value == false || slices.Contains(without, e.Key) })
	slices.SortFunc(d, func(a, b bson.E) int { return cmp.Compare(a.Key, b.Key) })
	return d
}

// canonical is a document as text, numbers by their value alone.
func canonical(d bson.D) string {
	if len(d) == 0 {
		return "{}"
	}
	text, err := bson.MarshalExtJSON(plainNumbers(d), true, false)
	if err != nil { // what came as BSON can be written
		return fmt.Sprint(d)
	}
	return string(text)
}

func plainNumbers(v any) any {
	switch v := v.(type) {
	case int32:
		return int64(v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	case bson.A:
		out := make(bson.A, len(v))
		for i := range v {
			out[i] = plainNumbers(v[i])
		}
		return out
	case bson.D:
		out := make(bson.D, 0, len(v))
		for _, e := range v {
			value := plainNumbers(e.Value)
			if d, ok := value.(bson.D); ok && e.Key == "collation" {
				value = plainFields(d, "version") // of the server's library
			}
			out = append(out, bson.E{Key: e.Key, Value: value})
		}
		return out
	}
	return v
}

// collectionOptions are those that a server tells of a collection and takes in create.
var collectionOptions = []string{
	"capped", "size", "max", "storageEngine", "validator", "validationLevel", "validationAction", "indexOptionDefaults", "viewOn", "pipeline", "collation",
	"timeseries", "expireAfterSeconds", "clusteredIndex", "changeStreamPreAndPostImages", "encryptedFields", "recordPreImages", "recordIdsReplicated",
	"create", "autoIndexId", "temp", "flags", "idIndex",
}

// forged says what no server has told of a collection, or is empty: a definition is a document of a store in which others
// may write, and its options become fields of a command.
func (d definition) forged() string {
	viewOn, isView := lookup(d.Options, "viewOn").(string)
	switch {
	case d.Name == "" || strings.ContainsAny(d.Name, "\x00$") || strings.HasPrefix(d.Name, "system.") || strings.HasPrefix(d.Name, "."):
		return "no collection of an application has that name"
	case isView != (d.Type == typeView) || isView && (viewOn == "" || strings.ContainsAny(viewOn, "\x00$") || strings.HasPrefix(viewOn, "system.")):
		return "it is half a view, or one on a collection of the server's own"
	}
	seen := map[string]bool{}
	for _, e := range d.Options {
		if !slices.Contains(collectionOptions, e.Key) || seen[e.Key] {
			return fmt.Sprintf("create has no option %q, or it comes twice", e.Key)
		}
		seen[e.Key] = true
	}
	for _, x := range d.Indexes {
		if name, ok := lookup(x, "name").(string); !ok || name == "" {
			return "an index has no name"
		}
	}
	return ""
}

// createDefinition makes the collection without its indexes. What old servers kept among the options and new ones refuse
// is left out.
func (r *Resource) createDefinition(ctx context.Context, t tenant.Tenant, d definition) error {
	cmd := bson.D{{Key: "create", Value: d.Name}}
	for _, e := range d.Options {
		if !slices.Contains([]string{"create", "autoIndexId", "temp", "flags"}, e.Key) {
			cmd = append(cmd, e)
		}
	}
	if _, problem := reach(lookup(d.Options, "pipeline")); problem != "" {
		return refused(tenant.ErrInvalid, "", "view %s: %s", d.Name, problem)
	}
	err := r.send(ctx, r.db(t), cmd)
	if isCode(err, codeInvalidNamespace) {
		return &tenant.Error{Kind: tenant.ErrInvalid, Store: tenant.KindMongoDB, Err: err, Msg: fmt.Sprintf("the server takes no collection of the name %q", d.Name)}
	}
	return failure(fmt.Sprintf("create %s %s", d.Type, d.Name), err)
}

// wanted is an index as createIndexes takes it; which version it has is the server's choice.
func wanted(index bson.D) bson.D {
	return slices.DeleteFunc(slices.Clone(index), func(e bson.E) bool { return e.Key == "v" || e.Key == "ns" })
}

// buildIndexes makes what does not come with the collection.
func (r *Resource) buildIndexes(ctx context.Context, t tenant.Tenant, d definition) error {
	indexes := bson.A{}
	for _, x := range d.Indexes {
		if !madeByCreate(x) {
			indexes = append(indexes, wanted(x))
		}
	}
	if d.Type == typeView || len(indexes) == 0 {
		return nil
	}
	err := r.send(ctx, r.db(t), bson.D{{Key: "createIndexes", Value: d.Name}, {Key: "indexes", Value: indexes}})
	if mongo.IsDuplicateKeyError(err) {
		return &tenant.Error{Kind: tenant.ErrDiffers, Store: tenant.KindMongoDB, Err: err, Msg: fmt.Sprintf("collection %s holds documents that its unique index forbids", d.Name)}
	}
	return failure("create the indexes of collection "+d.Name, err)
}
