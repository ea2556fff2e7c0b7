package mongoproxy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// definitions keeps what MongoDB knows of collections and indexes and the server behind does not: views,
// validators, and options of both. They are shown again in every listing. A validator is enforced at inserts.
type definitions struct {
	mu      sync.Mutex
	views   map[string]bson.D // options by namespace
	options map[string]bson.D // of collections, by namespace
	indexes map[string]bson.D // options by namespace and "/" and name
}

// What the server behind is not told.
var (
	keptOfCollections = []string{"validator", "validationLevel", "validationAction", "expireAfterSeconds", "collation"}
	keptOfIndexes     = []string{"expireAfterSeconds", "partialFilterExpression", "collation", "hidden", "wildcardProjection"}
)

// KeepDefinitions knows views, validators and the options of indexes, for a server that does not.
func (p *Proxy) KeepDefinitions() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = &definitions{views: map[string]bson.D{}, options: map[string]bson.D{}, indexes: map[string]bson.D{}}
}

// answer is what becomes of a command; the zero Action where none of it is kept here.
func (k *definitions) answer(c Command) Action {
	k.mu.Lock()
	defer k.mu.Unlock()
	ns := c.namespace()
	view, isView := k.views[ns]
	switch c.Name {
	case "create":
		return k.create(c, ns)
	case "collMod":
		return k.change(c, ns)
	case "createIndexes":
		return k.createIndexes(c, ns)
	case "listIndexes":
		if isView {
			return Action{Reply: Refusal(166, "CommandNotSupportedOnView", "Namespace "+ns+" is a view, not a collection")}
		}
		return Action{Edit: func(reply bson.D) bson.D { return k.showIndexes(ns, reply) }}
	case "listCollections":
		return k.listed(c)
	case "insert":
		if isView {
			return Action{Reply: Refusal(166, "CommandNotSupportedOnView", "Namespace "+ns+" is a view, not a collection")}
		}
		return k.insert(c, ns)
	case "find":
		if isView {
			return Action{Body: readView(c, view)}
		}
	case "drop":
		k.forget(ns)
		if isView {
			return Action{Reply: append(bson.D{{Key: "ns", Value: ns}}, done()...)}
		}
	case "dropDatabase":
		k.forget(c.DB + ".")
	case "dropIndexes":
		if name, ok := c.Body.Lookup("index").StringValueOK(); ok {
			delete(k.indexes, ns+"/"+name)
		}
	case "renameCollection":
		to, _ := c.Body.Lookup("to").StringValueOK()
		from, _ := c.Body.Lookup(c.Name).StringValueOK()
		k.rename(from, to)
	}
	return Action{}
}

// forget is of one namespace, or of all that begin with a database and its dot.
func (k *definitions) forget(ns string) {
	gone := func(key string) bool {
		return key == ns || strings.HasPrefix(key, ns+"/") || strings.HasSuffix(ns, ".") && strings.HasPrefix(key, ns)
	}
	for _, m := range []map[string]bson.D{k.views, k.options, k.indexes} {
		maps.DeleteFunc(m, func(key string, _ bson.D) bool { return gone(key) })
	}
}

func (k *definitions) rename(from, to string) {
	if options, ok := k.options[from]; ok {
		k.options[to] = options
	}
	for key, options := range maps.Clone(k.indexes) {
		if name, ok := strings.CutPrefix(key, from+"/"); ok {
			k.indexes[to+"/"+name] = options
		}
	}
	k.forget(from)
}

// take divides a document into what is kept here and what the server is told.
func take(d bson.D, keys []string) (kept, told bson.D) {
	for _, e := range d {
		if slices.Contains(keys, e.Key) {
			kept = append(kept, e)
		} else {
			told = append(told, e)
		}
	}
	return kept, told
}

func (k *definitions) create(c Command, ns string) Action {
	body := without(c.Body)
	if _, there := k.views[ns]; there {
		return Action{Reply: Refusal(48, "NamespaceExists", "Collection "+ns+" already exists.")}
	}
	if kept, _ := take(body, []string{"viewOn", "pipeline", "collation"}); c.Body.Lookup("viewOn").Validate() == nil {
		k.views[ns] = kept
		return Action{Reply: done()}
	}
	kept, told := take(body, keptOfCollections)
	if len(kept) == 0 {
		return Action{}
	}
	return Action{Body: told, Edit: func(reply bson.D) bson.D {
		if ok(reply) {
			k.set(k.options, ns, kept)
		}
		return reply
	}}
}

// set keeps options beside those that are there.
func (k *definitions) set(in map[string]bson.D, key string, options bson.D) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range options {
		in[key] = Set(slices.Clone(in[key]), e.Key, e.Value)
	}
}

func ok(reply bson.D) bool {
	for _, e := range reply {
		if e.Key == "ok" {
			return e.Value == 1.0 || e.Value == int32(1)
		}
	}
	return false
}

// change is collMod, which the server behind does not know.
func (k *definitions) change(c Command, ns string) Action {
	kept, _ := take(without(c.Body), append(slices.Clone(keptOfCollections), "viewOn", "pipeline"))
	in := k.options
	if _, isView := k.views[ns]; isView {
		in = k.views
	}
	for _, e := range kept {
		in[ns] = Set(slices.Clone(in[ns]), e.Key, e.Value)
	}
	if index, isIndex := c.Body.Lookup("index").DocumentOK(); isIndex {
		name, _ := index.Lookup("name").StringValueOK()
		options, _ := take(without(index), keptOfIndexes)
		for _, e := range options {
			k.indexes[ns+"/"+name] = Set(slices.Clone(k.indexes[ns+"/"+name]), e.Key, e.Value)
		}
	}
	return Action{Reply: done()}
}

func (k *definitions) createIndexes(c Command, ns string) Action {
	body, told := without(c.Body), map[string]bson.D{}
	for i, e := range body {
		list, isList := e.Value.(bson.A)
		if e.Key != "indexes" || !isList {
			continue
		}
		plain := bson.A{}
		for _, v := range list {
			var index bson.D
			switch v := v.(type) {
			case bson.Raw:
				index = without(v)
			case bson.D:
				index = v
			}
			kept, rest := take(index, keptOfIndexes)
			for _, n := range rest {
				if name, isText := n.Value.(string); n.Key == "name" && isText && len(kept) > 0 {
					told[ns+"/"+name] = kept
				}
			}
			plain = append(plain, rest)
		}
		body[i].Value = plain
	}
	if len(told) == 0 {
		return Action{}
	}
	return Action{Body: body, Edit: func(reply bson.D) bson.D {
		for key, kept := range told {
			if ok(reply) {
				k.set(k.indexes, key, kept)
			}
		}
		return reply
	}}
}

// batch is the first batch of a cursor, changed.
func batch(reply bson.D, change func(bson.A) bson.A) bson.D {
	for _, e := range reply {
		cursor, isCursor := e.Value.(bson.D)
		for i := range cursor {
			if list, isList := cursor[i].Value.(bson.A); isCursor && isList && cursor[i].Key == "firstBatch" {
				cursor[i].Value = change(list)
			}
		}
	}
	return reply
}

func (k *definitions) showIndexes(ns string, reply bson.D) bson.D {
	k.mu.Lock()
	defer k.mu.Unlock()
	return batch(reply, func(list bson.A) bson.A {
		for i, v := range list {
			index, _ := v.(bson.D)
			list[i] = append(index, k.indexes[fmt.Sprintf("%s/%v", ns, value(index, "name"))]...)
		}
		return list
	})
}

func value(d bson.D, key string) any {
	for _, e := range d {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

// listed adds the views and the options. Of filters it knows one by name and one by type.
func (k *definitions) listed(c Command) Action {
	filter, _ := c.Body.Lookup("filter").DocumentOK()
	name, byName := filter.Lookup("name").StringValueOK()
	kind, byKind := filter.Lookup("type").StringValueOK()
	if not, isNot := filter.Lookup("type", "$ne").StringValueOK(); isNot {
		kind, byKind = map[string]string{"view": "collection", "collection": "view"}[not], true
	}
	return Action{Body: without(c.Body, "filter"), Edit: func(reply bson.D) bson.D {
		k.mu.Lock()
		defer k.mu.Unlock()
		return batch(reply, func(list bson.A) bson.A {
			for ns, options := range k.views {
				if view, here := strings.CutPrefix(ns, c.DB+"."); here {
					list = append(list, bson.D{
						{Key: "name", Value: view},
						{Key: "type", Value: "view"},
						{Key: "options", Value: options},
						{Key: "info", Value: bson.D{{Key: "readOnly", Value: true}}},
					})
				}
			}
			return slices.DeleteFunc(list, func(v any) bool {
				d, _ := v.(bson.D)
				for i := range d {
					if own, isDoc := d[i].Value.(bson.D); isDoc && d[i].Key == "options" {
						d[i].Value = append(own, k.options[fmt.Sprintf("%s.%v", c.DB, value(d, "name"))]...)
					}
				}
				return byName && value(d, "name") != name || byKind && value(d, "type") != kind
			})
		})
	}}
}

// readView asks the collection behind a view for what a find of it would give.
func readView(c Command, view bson.D) bson.D {
	from, _ := value(view, "viewOn").(string)
	pipeline, _ := value(view, "pipeline").(bson.A)
	pipeline = slices.Clone(pipeline)
	for _, stage := range []struct{ field, stage string }{
		{"filter", "$match"}, {"sort", "$sort"}, {"skip", "$skip"}, {"limit", "$limit"}, {"projection", "$project"},
	} {
		if v, err := c.Body.LookupErr(stage.field); err == nil {
			pipeline = append(pipeline, bson.D{{Key: stage.stage, Value: v}})
		}
	}
	return bson.D{
		{Key: "aggregate", Value: from},
		{Key: "pipeline", Value: pipeline},
		{Key: "cursor", Value: bson.D{}},
		{Key: "$db", Value: c.DB},
	}
}

// insert lets documents through up to the first that the collection's validator refuses.
func (k *definitions) insert(c Command, ns string) Action {
	validator, _ := value(k.options[ns], "validator").(bson.D)
	schema, _ := value(validator, "$jsonSchema").(bson.D)
	if bypass, _ := c.Body.Lookup("bypassDocumentValidation").BooleanOK(); schema == nil || bypass {
		return Action{}
	}
	docs, _ := c.Body.Lookup("documents").ArrayOK()
	values, _ := docs.Values()
	for i, v := range values {
		if valid(schema, v.Document()) {
			continue
		}
		refused := bson.E{Key: "writeErrors", Value: bson.A{bson.D{
			{Key: "index", Value: int32(i)},
			{Key: "code", Value: int32(121)},
			{Key: "errmsg", Value: "Document failed validation"},
		}}}
		if i == 0 {
			return Action{Reply: append(bson.D{{Key: "n", Value: int32(0)}, refused}, done()...)}
		}
		body := without(c.Body)
		for j := range body {
			if body[j].Key == "documents" {
				body[j].Value = values[:i]
			}
		}
		return Action{Body: body, Edit: func(reply bson.D) bson.D { return append(reply, refused) }}
	}
	return Action{}
}

// valid knows required and bsonType, of the fields at the top.
func valid(schema bson.D, doc bson.Raw) bool {
	required, _ := value(schema, "required").(bson.A)
	for _, name := range required {
		if _, err := doc.LookupErr(fmt.Sprint(name)); err != nil {
			return false
		}
	}
	properties, _ := value(schema, "properties").(bson.D)
	for _, p := range properties {
		rule, _ := p.Value.(bson.D)
		v, err := doc.LookupErr(p.Key)
		if kind, isText := value(rule, "bsonType").(string); err == nil && isText && v.Type.String() != names[kind] {
			return false
		}
	}
	return true
}

// names are what the driver calls types.
var names = map[string]string{
	"string": "string", "int": "32-bit integer", "long": "64-bit integer", "double": "double", "bool": "boolean",
	"object": "embedded document", "array": "array", "date": "UTC datetime", "objectId": "objectID",
}
