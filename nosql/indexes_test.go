package nosql

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// An index that is there already passes for the one that a file asks for only where every option is the same, written
// or not.
func TestIndexesAreComparedWhole(t *testing.T) {
	const a = `"key": {"a": 1}, "name": "a"`
	text := `{"v": 2, "key": {"_fts": "text", "_ftsx": 1}, "name": "t", "weights": {"body": 1, "title": 3}, "default_language": "english", "language_override": "language", "textIndexVersion": 3}`
	german := `{"v": 2, ` + a + `, "collation": {"locale": "de", "caseLevel": false, "caseFirst": "off", "strength": 2, "numericOrdering": false, "alternate": "non-ignorable", "maxVariable": "punct", "normalization": false, "backwards": false, "version": "57.1"}}`
	for _, c := range []struct {
		name, have, want string
		is               likeness
	}{
		{"plain", `{"v": 2, ` + a + `}`, `{` + a + `}`, indexesSame},
		{"number types of a key", `{"v": 2, "key": {"a": {"$numberDouble": "1.0"}}, "name": "a"}`, `{` + a + `}`, indexesSame},
		{"another order of keys", `{"key": {"a": 1, "b": 1}}`, `{"key": {"b": 1, "a": 1}}`, indexesDiffer},
		{"another direction", `{"key": {"a": 1}}`, `{"key": {"a": -1}}`, indexesDiffer},
		{"background", `{"v": 2, ` + a + `, "background": true}`, `{` + a + `}`, indexesSame},
		{"sparse", `{"v": 2, ` + a + `}`, `{` + a + `, "sparse": true}`, indexesDiffer},
		{"sparse the other way", `{"v": 2, ` + a + `, "sparse": true}`, `{` + a + `}`, indexesDiffer},
		{"not sparse, written out", `{"v": 2, ` + a + `}`, `{` + a + `, "sparse": false, "unique": false, "hidden": false}`, indexesSame},
		{"unique as a number", `{"v": 2, ` + a + `, "unique": true}`, `{` + a + `, "unique": 1}`, indexesSame},
		{"unique", `{"v": 2, ` + a + `, "unique": true}`, `{` + a + `}`, indexesDiffer},
		{"hidden", `{"v": 2, ` + a + `, "hidden": true}`, `{` + a + `}`, indexesDiffer},
		{"TTL", `{"v": 2, ` + a + `, "expireAfterSeconds": 10}`, `{` + a + `, "expireAfterSeconds": 20}`, indexesDiffer},
		{"TTL that is missing", `{"v": 2, ` + a + `}`, `{` + a + `, "expireAfterSeconds": 20}`, indexesDiffer},
		{"TTL of another number type", `{"v": 2, ` + a + `, "expireAfterSeconds": 10}`, `{` + a + `, "expireAfterSeconds": {"$numberLong": "10"}}`, indexesSame},
		{"partial", `{"v": 2, ` + a + `, "partialFilterExpression": {"x": {"$gt": 1}}}`, `{` + a + `, "partialFilterExpression": {"x": {"$gt": 2}}}`, indexesDiffer},
		{"partial that is missing", `{"v": 2, ` + a + `}`, `{` + a + `, "partialFilterExpression": {"x": 1}}`, indexesDiffer},
		{"partial in another order", `{"v": 2, ` + a + `, "partialFilterExpression": {"x": 1, "y": {"$lt": 3, "$gt": 1}}}`, `{` + a + `, "partialFilterExpression": {"y": {"$gt": 1, "$lt": 3}, "x": 1}}`, indexesSame},
		{"wildcard projection", `{"v": 2, "key": {"$**": 1}, "wildcardProjection": {"a": 1}}`, `{"key": {"$**": 1}, "wildcardProjection": {"a": 0}}`, indexesDiffer},
		{"wildcard projection by truth values", `{"v": 2, "key": {"$**": 1}, "wildcardProjection": {"a": {"b": 1}, "_id": 0}}`, `{"key": {"$**": 1}, "wildcardProjection": {"_id": false, "a": {"b": true}}}`, indexesSame},
		{"the server's version of 2dsphere", `{"v": 2, "key": {"g": "2dsphere"}, "2dsphereIndexVersion": 3}`, `{"key": {"g": "2dsphere"}}`, indexesSame},
		{"a version of 2dsphere that is asked for", `{"v": 2, "key": {"g": "2dsphere"}, "2dsphereIndexVersion": 3}`, `{"key": {"g": "2dsphere"}, "2dsphereIndexVersion": 2}`, indexesDiffer},
		{"bounds of 2d, written out", `{"v": 2, "key": {"g": "2d"}}`, `{"key": {"g": "2d"}, "min": -180, "max": 180, "bits": 26}`, indexesSame},
		{"other bounds of 2d", `{"v": 2, "key": {"g": "2d"}}`, `{"key": {"g": "2d"}, "max": 90}`, indexesDiffer},
		{"text", text, `{"key": {"title": "text", "body": "text"}, "name": "t", "weights": {"title": 3}}`, indexesSame},
		{"text with other weights", text, `{"key": {"title": "text", "body": "text"}, "name": "t", "weights": {"title": 4}}`, indexesDiffer},
		{"text without weights", text, `{"key": {"title": "text", "body": "text"}, "name": "t"}`, indexesDiffer},
		{"text of other fields", text, `{"key": {"title": "text", "more": "text"}, "name": "t", "weights": {"title": 3}}`, indexesDiffer},
		{"text in another language", text, `{"key": {"title": "text", "body": "text"}, "name": "t", "weights": {"title": 3}, "default_language": "german"}`, indexesDiffer},
		{"text behind a key", `{"v": 2, "key": {"s": 1, "_fts": "text", "_ftsx": 1}, "weights": {"b": 1}, "default_language": "english", "language_override": "language"}`, `{"key": {"s": 1, "b": "text"}}`, indexesSame},
		{"a collation", german, `{` + a + `, "collation": {"locale": "de", "strength": 2}}`, indexesSame},
		{"another strength", german, `{` + a + `, "collation": {"locale": "de"}}`, indexesDiffer},
		{"another language", german, `{` + a + `, "collation": {"locale": "fr", "strength": 2}}`, indexesDiffer},
		{"a collation that is missing", `{"v": 2, ` + a + `}`, `{` + a + `, "collation": {"locale": "de"}}`, indexesDiffer},
		{"the simple collation", `{"v": 2, ` + a + `}`, `{` + a + `, "collation": {"locale": "simple"}}`, indexesSame},
		{"perhaps the collection's collation", german, `{` + a + `}`, indexesUnsure},
		{"an option of times to come", `{"v": 2, ` + a + `, "later": 1}`, `{` + a + `}`, indexesDiffer},
	} {
		t.Run(c.name, func(t *testing.T) {
			var have, want bson.D
			must(t, bson.UnmarshalExtJSON([]byte(c.have), false, &have))
			must(t, bson.UnmarshalExtJSON([]byte(c.want), false, &want))
			if is := compareIndexes(have, want); is != c.is {
				t.Errorf("it is %d, want %d", is, c.is)
			}
		})
	}
}
