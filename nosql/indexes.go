package nosql

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// likeness is how two definitions of an index compare.
type likeness int

const (
	indexesSame   likeness = iota
	indexesDiffer          // no server would take the one for the other
	indexesUnsure          // what is not written depends on the collection or the server, which decides
)

// sameIndex tells whether two definitions are of the same index, name included.
func sameIndex(have, want bson.D) bool {
	return equal(lookup(have, "name"), lookup(want, "name")) && compareIndexes(have, want) == indexesSame
}

func sameKeys(have, want bson.D) bool {
	return equal(lookup(wholeIndex(have), "key"), lookup(wholeIndex(want), "key"))
}

// indexDefaults are what an option that is not written stands for.
var indexDefaults = bson.D{
	{Key: "unique", Value: false},
	{Key: "sparse", Value: false},
	{Key: "hidden", Value: false},
	{Key: "prepareUnique", Value: false},
	{Key: "bits", Value: int32(26)}, // of a 2d index
	{Key: "min", Value: int32(-180)},
	{Key: "max", Value: int32(180)},
	{Key: "storageEngine", Value: bson.D{}},
}

// compareIndexes compares an index as the server lists it with one as a migration writes it, option by option. Its name is
// left out, and so is what the server chooses by itself where the migration does not say it.
func compareIndexes(have, want bson.D) likeness {
	have, want = wholeIndex(have), wholeIndex(want)
	result := indexesSame
	for _, option := range optionsOf(have, want) {
		h, w := withDefault(have, option), withDefault(want, option)
		switch option {
		case "name", "v", "ns", "background":
			continue
		case "textIndexVersion", "2dsphereIndexVersion":
			if h == nil || w == nil {
				continue
			}
		case "collation":
			switch l := compareCollations(h, w); {
			case l == indexesDiffer:
				return l
			case l == indexesUnsure:
				result = l
			}
			continue
		case "weights", "partialFilterExpression":
			h, w = sorted(h), sorted(w)
		case "wildcardProjection":
			h, w = sorted(switches(h)), sorted(switches(w))
		}
		if !equal(h, w) {
			return indexesDiffer
		}
	}
	return result
}

func optionsOf(definitions ...bson.D) []string {
	var all []string
	for _, d := range definitions {
		for _, e := range d {
			if !slices.Contains(all, e.Key) {
				all = append(all, e.Key)
			}
		}
	}
	return all
}

// withDefault is an option's value; numbers stand for truth values where those are asked for.
func withDefault(index bson.D, option string) any {
	value, other := lookup(index, option), lookup(indexDefaults, option)
	if value == nil {
		return other
	}
	if n, ok := number(value); ok && other == false {
		return n != 0
	}
	return value
}

// wholeIndex writes out what a text index stands for, as the server lists it.
func wholeIndex(index bson.D) bson.D {
	keys, _ := lookup(index, "key").(bson.D)
	written, _ := lookup(index, "weights").(bson.D)
	weights := slices.Clone(written)
	var listed bson.D
	for _, k := range keys {
		if k.Value != "text" || k.Key == "_fts" {
			listed = append(listed, k)
			continue
		}
		if lookup(listed, "_fts") == nil {
			listed = append(listed, bson.E{Key: "_fts", Value: "text"}, bson.E{Key: "_ftsx", Value: int32(1)})
		}
		if lookup(weights, k.Key) == nil {
			weights = append(weights, bson.E{Key: k.Key, Value: int32(1)})
		}
	}
	if lookup(listed, "_fts") == nil {
		return index
	}
	whole := bson.D{{Key: "key", Value: listed}, {Key: "weights", Value: weights}}
	for _, e := range index {
		if e.Key != "key" && e.Key != "weights" {
			whole = append(whole, e)
		}
	}
	for _, e := range (bson.D{{Key: "default_language", Value: "english"}, {Key: "language_override", Value: "language"}}) {
		if lookup(whole, e.Key) == nil {
			whole = append(whole, e)
		}
	}
	return whole
}

// collationDefaults are those that are the same in every language.
var collationDefaults = bson.D{
	{Key: "strength", Value: int32(3)},
	{Key: "caseLevel", Value: false},
	{Key: "numericOrdering", Value: false},
	{Key: "maxVariable", Value: "punct"},
}

// compareCollations compares what the server lists with what is asked for. An index without one has that of its
// collection, and what is not written depends on the language; both the server alone knows.
func compareCollations(have, want any) likeness {
	h, _ := have.(bson.D)
	w, _ := want.(bson.D)
	simple := func(d bson.D) bool { return len(d) == 0 || lookup(d, "locale") == "simple" }
	switch {
	case simple(h) && simple(w):
		return indexesSame
	case simple(h):
		return indexesDiffer
	case len(w) == 0:
		return indexesUnsure
	}
	result := indexesSame
	for _, option := range optionsOf(h, w) {
		hv, wv, usual := lookup(h, option), lookup(w, option), lookup(collationDefaults, option)
		if option == "version" {
			continue
		}
		if hv == nil {
			hv = usual
		}
		if wv == nil {
			wv = usual
		}
		switch {
		case equal(hv, wv):
		case wv == nil:
			// the language's own, which nobody asked to be otherwise
		case hv == nil:
			result = indexesUnsure
		default:
			return indexesDiffer
		}
	}
	return result
}

// sorted is a value whose documents have their fields in order of name.
func sorted(v any) any {
	switch v := v.(type) {
	case bson.D:
		out := make(bson.D, len(v))
		for i, e := range v {
			out[i] = bson.E{Key: e.Key, Value: sorted(e.Value)}
		}
		slices.SortStableFunc(out, func(a, b bson.E) int { return strings.Compare(a.Key, b.Key) })
		return out
	case bson.A:
		out := make(bson.A, len(v))
		for i := range v {
			out[i] = sorted(v[i])
		}
		return out
	}
	return v
}

// switches are a projection's fields as truth values, which may be written as numbers.
func switches(v any) any {
	if n, ok := number(v); ok {
		return n != 0
	}
	d, ok := v.(bson.D)
	if !ok {
		return v
	}
	out := make(bson.D, len(d))
	for i, e := range d {
		out[i] = bson.E{Key: e.Key, Value: switches(e.Value)}
	}
	return out
}
