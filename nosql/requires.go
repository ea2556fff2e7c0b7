package nosql

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// release is a version of MongoDB as its documentation names it: two numbers.
type release [2]int

func (v release) String() string { return fmt.Sprintf("%d.%d", v[0], v[1]) }

func (v release) before(w release) bool { return slices.Compare(v[:], w[:]) < 0 }

// parseRelease reads the first two numbers of a version, of which the second may be missing; ok is false where there are none.
func parseRelease(text string) (v release, ok bool) {
	for i, part := range strings.SplitN(text, ".", 3) {
		if i == 2 {
			break
		}
		n, err := strconv.Atoi(part)
		if err != nil {
			return release{}, false
		}
		v[i], ok = n, true
	}
	return v, ok
}

// oldest is the oldest release that is worked with: what it knows needs no word.
var oldest = release{4, 2}

// target is the server that the files are judged for. Of another kind or where nobody knows it, known is false.
type target struct {
	known  bool
	ferret bool // FerretDB 1
	other  bool // a server whose refusals are not documented here
	at     release
}

// target is what nosql.version states or, where it states nothing, the server that is there.
func (r *Resource) target(ctx context.Context) target {
	if v, ok := parseRelease(r.cfg.Version); ok {
		return target{known: true, at: v}
	}
	if r.client == nil {
		return target{}
	}
	b, err := r.build(ctx)
	switch v, ok := parseRelease(b.Version); {
	case err != nil:
		return target{} // a version for administrators alone
	case strings.HasPrefix(b.ferretVersion(), "1.") || !b.Features.IsZero(): // an embedded one does not know its version
		return target{ferret: true}
	case b.isFerret():
		return target{other: true}
	default:
		return target{known: ok, at: v}
	}
}

// need is one thing in a command that not every server knows.
type need struct {
	what  string
	since release // the first that knows it; zero for always
	gone  release // the first that knows it no more; zero for never
}

// verdict is what is said of a command on a server.
type verdict struct{ severity, message string }

// refusals are what of a command the server refuses: errors where it is known, warnings where nobody knows it.
func (t target) refusals(c command) (all []verdict) {
	if t.ferret {
		for _, lacks := range ferretLacks(c) {
			all = append(all, verdict{"error", "FerretDB 1 does not do " + lacks})
		}
		return all
	}
	if t.other {
		return nil
	}
	for _, n := range needs(c) {
		if v := n.judge(t); v.severity != "" {
			all = append(all, v)
		}
	}
	return all
}

func (n need) judge(t target) verdict {
	removed := n.gone != release{}
	switch {
	case t.known && t.at.before(n.since):
		return verdict{"error", fmt.Sprintf("%s needs MongoDB %s or newer, and the server is %s", n.what, n.since, t.at)}
	case t.known && removed && !t.at.before(n.gone):
		return verdict{"error", fmt.Sprintf("%s is refused from MongoDB %s on, and the server is %s", n.what, n.gone, t.at)}
	case t.known:
		return verdict{}
	case removed:
		return verdict{"warning", fmt.Sprintf("%s is refused from MongoDB %s on: state the server's version in nosql.version", n.what, n.gone)}
	case oldest.before(n.since):
		return verdict{"warning", fmt.Sprintf("%s needs MongoDB %s or newer: state the server's version in nosql.version", n.what, n.since)}
	}
	return verdict{}
}

// Options of commands, and stages and operators of pipelines, with the release that brought them.
var (
	createNeeds = map[string]release{
		"timeseries": {5, 0}, "clusteredIndex": {5, 3}, "changeStreamPreAndPostImages": {6, 0}, "encryptedFields": {6, 0},
	}
	collModNeeds = map[string]release{
		"timeseries": {5, 0}, "changeStreamPreAndPostImages": {6, 0}, "cappedSize": {6, 0}, "cappedMax": {6, 0},
	}
	commandNeeds = map[string]release{"createSearchIndexes": {6, 0}, "updateSearchIndex": {6, 0}, "dropSearchIndex": {6, 0}}
	stageNeeds   = map[string]release{
		"$unionWith": {4, 4}, "$function": {4, 4}, "$accumulator": {4, 4}, "$setWindowFields": {5, 0}, "$setField": {5, 0},
		"$densify": {5, 1}, "$documents": {5, 1}, "$fill": {5, 3}, "$top": {5, 2}, "$bottom": {5, 2}, "$topN": {5, 2},
		"$bottomN": {5, 2}, "$median": {7, 0}, "$percentile": {7, 0},
	}
)

// needs are what of a command not every server knows.
func needs(c command) (all []need) {
	add := func(what string, since release) { all = append(all, need{what: what, since: since}) }
	if since, special := commandNeeds[c.name]; special {
		add(c.name, since)
	}
	options := map[string]map[string]release{"create": createNeeds, "collMod": collModNeeds}[c.name]
	for _, e := range c.body[1:] {
		if since, special := options[e.Key]; special {
			add(c.name+" with "+e.Key, since)
		}
		if series, ok := e.Value.(bson.D); ok && e.Key == "timeseries" &&
			(lookup(series, "bucketMaxSpanSeconds") != nil || lookup(series, "bucketRoundingSeconds") != nil) {
			add("a time series with bucketMaxSpanSeconds", release{6, 3})
		}
		if e.Key == "validationAction" && e.Value == "errorAndLog" {
			add("validationAction errorAndLog", release{8, 1})
		}
		if e.Key == "commitQuorum" {
			add("createIndexes with commitQuorum", release{4, 4})
		}
	}
	switch c.name {
	case "createIndexes":
		for _, index := range c.documents("indexes") {
			all = append(all, indexNeeds(index)...)
		}
	case "collMod":
		index, _ := c.field("index").(bson.D)
		for key, since := range map[string]release{"hidden": {4, 4}, "unique": {6, 0}, "prepareUnique": {6, 0}} {
			if lookup(index, key) != nil {
				add("collMod with index."+key, since)
			}
		}
	case "aggregate", "create":
		all = append(all, pipelineNeeds(c.field("pipeline"))...)
	}
	slices.SortFunc(all, func(a, b need) int { return cmp.Compare(a.what, b.what) })
	return slices.CompactFunc(all, func(a, b need) bool { return a == b })
}

func indexNeeds(index bson.D) (all []need) {
	keys, _ := lookup(index, "key").(bson.D)
	wildcard := slices.ContainsFunc(keys, func(k bson.E) bool { return k.Key == "$**" || strings.HasSuffix(k.Key, ".$**") })
	if wildcard && len(keys) > 1 {
		all = append(all, need{what: "a compound wildcard index", since: release{7, 0}})
	}
	if slices.ContainsFunc(keys, func(k bson.E) bool { return k.Value == "geoHaystack" }) {
		all = append(all, need{what: "an index of geoHaystack", gone: release{5, 0}})
	}
	if lookup(index, "hidden") != nil {
		all = append(all, need{what: "a hidden index", since: release{4, 4}})
	}
	if lookup(index, "prepareUnique") != nil {
		all = append(all, need{what: "an index with prepareUnique", since: release{6, 0}})
	}
	if uses(lookup(index, "partialFilterExpression"), "$or", "$in") {
		all = append(all, need{what: "a partial index with $or or $in", since: release{6, 0}})
	}
	return all
}

// uses tells whether one of the operators is a key anywhere in a value.
func uses(v any, operators ...string) bool {
	switch v := v.(type) {
	case bson.A:
		return slices.ContainsFunc(v, func(e any) bool { return uses(e, operators...) })
	case bson.D:
		return slices.ContainsFunc(v, func(e bson.E) bool { return slices.Contains(operators, e.Key) || uses(e.Value, operators...) })
	}
	return false
}

func pipelineNeeds(pipeline any) (all []need) {
	for operator, since := range stageNeeds {
		if uses(pipeline, operator) {
			all = append(all, need{what: operator, since: since})
		}
	}
	return all
}

// indexOptions are those that some MongoDB from 4.2 on takes. It refuses an index with any other.
var indexOptions = []string{
	"key", "name", "v", "ns", "background", "unique", "sparse", "hidden", "expireAfterSeconds", "partialFilterExpression", "collation",
	"storageEngine", "weights", "default_language", "language_override", "textIndexVersion", "2dsphereIndexVersion", "bits", "min", "max",
	"bucketSize", "wildcardProjection", "prepareUnique", "clustered", "columnstoreProjection", "coarsestIndexedLevel", "finestIndexedLevel",
}

// indexTypes are what a key of an index may be beside a number.
var indexTypes = []string{"text", "2d", "2dsphere", "hashed", "geoHaystack", "columnstore"}

// badIndexes are the reasons for which every server refuses the indexes of a command.
func badIndexes(c command) (rules, problems []string) {
	if c.name != "createIndexes" {
		return nil, nil
	}
	add := func(rule, format string, args ...any) {
		rules, problems = append(rules, rule), append(problems, c.String()+": "+fmt.Sprintf(format, args...))
	}
	for _, index := range c.documents("indexes") {
		keys, _ := lookup(index, "key").(bson.D)
		if name, _ := lookup(index, "name").(string); name == "" {
			add("index-name", "the index of %s has no name: the command takes none without one (drivers and mongosh make it up: %s)", show(keys), madeUpName(keys))
		}
		if len(keys) == 0 {
			add("index-key", "an index has no key")
		}
		for _, k := range keys {
			if n, ok := number(k.Value); ok && n != 0 {
				continue
			}
			if kind, ok := k.Value.(string); !ok || !slices.Contains(indexTypes, kind) {
				add("index-key", "the key %s of an index is neither a number other than 0 nor one of %s", k.Key, strings.Join(indexTypes, ", "))
			}
		}
		for _, e := range index {
			if !slices.Contains(indexOptions, e.Key) {
				add("index-option", "an index has no option %s: servers refuse it", e.Key)
			}
		}
	}
	return rules, problems
}

// madeUpName is what drivers call an index that has no name.
func madeUpName(keys bson.D) string {
	var parts []string
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%s_%v", k.Key, k.Value))
	}
	return strings.Join(parts, "_")
}

// ferretLacks are what FerretDB 1 does not do, by command and field.
func ferretLacks(c command) (lacks []string) {
	fields := map[string][]string{
		"create":        {"validator", "timeseries", "viewOn", "expireAfterSeconds", "collation"},
		"createIndexes": {"expireAfterSeconds", "partialFilterExpression", "collation", "hidden"},
	}[c.name]
	if slices.Contains([]string{"collMod", "convertToCapped", "aggregate", "createSearchIndexes", "updateSearchIndex", "dropSearchIndex"}, c.name) {
		return []string{c.name}
	}
	documents := []bson.D{c.body[1:]}
	if c.name == "createIndexes" {
		documents = c.documents("indexes")
	}
	for _, field := range fields {
		if slices.ContainsFunc(documents, func(d bson.D) bool { return lookup(d, field) != nil }) {
			lacks = append(lacks, c.name+" with "+field)
		}
	}
	return lacks
}
