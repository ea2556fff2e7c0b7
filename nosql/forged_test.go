package nosql

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

func TestForgedDefinitionsAreRefused(t *testing.T) {
	index := []bson.D{{{Key: "key", Value: bson.D{{Key: "a", Value: 1}}}, {Key: "name", Value: "a_1"}}}
	for what, d := range map[string]definition{
		"another database":          {Name: "a", Type: typeCollection, Options: bson.D{{Key: "$db", Value: "admin"}}},
		"a field of every command":  {Name: "a", Type: typeCollection, Options: bson.D{{Key: "writeConcern", Value: bson.D{}}}},
		"an option twice":           {Name: "a", Type: typeCollection, Options: bson.D{{Key: "size", Value: 1}, {Key: "size", Value: 2}}},
		"the server's collection":   {Name: "system.users", Type: typeCollection},
		"stored code":               {Name: "system.js", Type: typeCollection},
		"no name":                   {Name: "", Type: typeCollection},
		"a name with a NUL":         {Name: "a\x00b", Type: typeCollection},
		"a name with a dollar":      {Name: "$cmd", Type: typeCollection},
		"a view on users":           {Name: "v", Type: typeView, Options: bson.D{{Key: "viewOn", Value: "system.users"}, {Key: "pipeline", Value: bson.A{}}}},
		"a collection that is view": {Name: "v", Type: typeCollection, Options: bson.D{{Key: "viewOn", Value: "a"}, {Key: "pipeline", Value: bson.A{}}}},
		"a view of nothing":         {Name: "v", Type: typeView},
		"an index without a name":   {Name: "a", Type: typeCollection, Indexes: []bson.D{{{Key: "key", Value: bson.D{{Key: "a", Value: 1}}}}}},
	} {
		if d.forged() == "" {
			t.Errorf("%s is taken", what)
		}
	}
	for _, d := range []definition{
		{Name: "a.b-c", Type: typeCollection, Indexes: index, Options: bson.D{{Key: "capped", Value: true}, {Key: "size", Value: 4096}, {Key: "validator", Value: bson.D{{Key: "a", Value: 1}}}}},
		{Name: "v", Type: typeView, Options: bson.D{{Key: "viewOn", Value: "a"}, {Key: "pipeline", Value: bson.A{}}, {Key: "collation", Value: bson.D{}}}},
		{Name: "t", Type: typeTimeseries, Options: bson.D{{Key: "timeseries", Value: bson.D{{Key: "timeField", Value: "t"}}}, {Key: "expireAfterSeconds", Value: 60}}},
	} {
		if problem := d.forged(); problem != "" {
			t.Errorf("%s: %s", d.Name, problem)
		}
	}
}
